"""What the training loop costs beside a minimal hand-written one, and what methods cost beside joint training."""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from common import Setup, Table, interleave, ratio, report, verdict
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.config import TrainingOptions
from equipoise.data.loader import MemoryPart
from equipoise.methods.base import make_method
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.seeding import generator
from equipoise.tasks import Classification
from equipoise.training.context import Context
from equipoise.training.loop import Loop
from equipoise.training.runtime import Runtime

HAND, TRAIN_ONLY = "hand-written", "training alone"


@dataclass(frozen=True)
class Case:
    """A model and data of a certain size.

    Attributes:
        title: What it stands for.
        shapes: Shape of a sample per modality.
        encoder: Which encoder of ours all modalities have.
        classes: Number of classes.
        samples: Training samples.
        held_out: Validation samples.
        batch_size: Samples per update, at most.
        epochs: Epochs per timed run.
        limit: Largest allowed time in that of the hand-written loop.
    """

    title: str
    shapes: Mapping[str, tuple[int, ...]]
    encoder: str
    classes: int
    samples: int
    held_out: int
    batch_size: int
    epochs: int
    limit: float

    @property
    def updates(self) -> int:
        """Updates per timed run."""
        return self.epochs * -(-self.samples // self.batch_size)

    def part(self, samples: int, seed: int) -> MemoryPart:
        """Return random samples."""
        random = torch.Generator().manual_seed(seed)
        target = torch.randint(0, self.classes, (samples,), generator=random)
        inputs = {name: torch.randn(samples, *shape, generator=random) for name, shape in self.shapes.items()}
        return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, target)

    def model(self) -> MultimodalModel:
        """Return our model, with the same initial weights every time."""
        encoders = {name: {"name": self.encoder} for name in self.shapes}
        return build_model(self.shapes, encoders, {"name": "concat"}, 64, Classification(self.classes), 0)


CASES = {
    "brca": Case(
        "MLPs of the size of tcga_brca", {"cnv": (515,), "mrna": (260,), "rppa": (164,)}, "mlp", 5, 369, 61, 64, 20, 1.10
    ),
    "images": Case(
        "small ResNets on two 64x64 images", {"colour": (3, 64, 64), "depth": (1, 64, 64)}, "cnn", 10, 64, 32, 32, 1, 1.03
    ),
}


class PlainModel(nn.Module):
    """What one writes without a library: an encoder per modality and a linear layer on the concatenated features."""

    def __init__(self, encoders: list[nn.Module], head: nn.Linear) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = head

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Return logits."""
        features = [encoder(value) for encoder, value in zip(self.encoders, inputs, strict=True)]
        logits: Tensor = self.head(torch.cat(features, 1))
        return logits


def plain_copy(model: MultimodalModel) -> PlainModel:
    """Return a plain model with the weights of ours; the encoders lose whatever we wrap around their layers."""
    encoders: list[nn.Module] = []
    for encoder in model.encoders.values():
        layers = getattr(encoder, "layers", None)
        encoders.append(copy.deepcopy(layers if isinstance(layers, nn.Module) else encoder))
    head = nn.Linear(model.fusion.linear.in_features, model.fusion.linear.out_features)  # type: ignore[union-attr,arg-type]
    head.load_state_dict(model.fusion.linear.state_dict())  # type: ignore[union-attr]
    return PlainModel(encoders, head)


def train_plainly(
    model: PlainModel,
    train: MemoryPart,
    validation: MemoryPart,
    case: Case,
    *,
    fused: bool,
    validate: bool,
    select: bool = False,
    order: Callable[[int], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Train by the least code that does the job; the learning rate is constant.

    Args:
        model: The model.
        train: Training samples.
        validation: Validation samples.
        case: Epochs and batch size.
        fused: Whether AdamW uses torch's fused kernel.
        validate: Whether each epoch ends with validation loss and accuracy and keeps the best weights.
        select: Whether batches are gathered by ``index_select``, which few people write, rather than by indexing.
        order: Order of the samples in an epoch; random if None.

    Returns:
        The weights of the best epoch, or of the last one without validation.
    """
    inputs, target = list(train.inputs.values()), train.target
    held_out, held_out_target = list(validation.inputs.values()), validation.target
    assert target is not None
    assert held_out_target is not None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=fused or None)
    best, kept = (-1.0, 0.0), model.state_dict()
    batches = -(-len(target) // case.batch_size)
    for epoch in range(case.epochs):
        model.train()
        permutation = torch.randperm(len(target)) if order is None else order(epoch)
        total = torch.zeros(())
        for rows in permutation.tensor_split(batches):
            optimizer.zero_grad()
            chosen = [value.index_select(0, rows) if select else value[rows] for value in inputs]
            loss = F.cross_entropy(model(chosen), target[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        if not validate:
            continue
        model.eval()
        with torch.no_grad():
            logits = model(held_out)
            loss = F.cross_entropy(logits, held_out_target)
            accuracy = (logits.argmax(1) == held_out_target).float().mean()
        rank = (accuracy.item(), -loss.item())
        _ = total.item() / batches
        if rank > best:
            best, kept = rank, {name: value.clone() for name, value in model.state_dict().items()}
    return kept


class TrainingAlone(Loop):
    """The loop without the judgement of epochs."""

    def _judge(self, *_: object) -> None:
        self.ctx.take_log()


def loop(
    case: Case, train: MemoryPart, validation: MemoryPart, method: Mapping[str, object], *, validate: bool = True
) -> tuple[MultimodalModel, Loop]:
    """Return our model and the loop that trains it."""
    model = case.model()
    options = TrainingOptions(
        epochs=case.epochs, batch_size=case.batch_size, schedule="constant", patience=None, monitor="accuracy", device="cpu"
    )
    ctx = Context(model, Runtime("cpu"), options, train, validation)
    return model, (Loop if validate else TrainingAlone)(ctx, make_method(method))


def same_weights(case: Case, train: MemoryPart, validation: MemoryPart) -> float:
    """Return how far the weights of both loops are apart after equal batches: both must do the same work."""
    model, ours = loop(case, train, validation, {"name": "joint"}, validate=False)
    plain = plain_copy(model)
    ours.fit()

    def order(epoch: int) -> Tensor:
        return torch.randperm(len(train), generator=generator(0, "order", ("train", 0, epoch)))

    train_plainly(plain, train, validation, case, fused=True, validate=False, order=order)
    pairs = zip([*model.encoders.parameters(), *model.fusion.parameters()], plain.parameters(), strict=True)
    return max(float((first - second).abs().max().detach()) for first, second in pairs)


def measure(case: Case, rounds: int) -> Table:
    """Measure one case."""
    train, validation = case.part(case.samples, 0), case.part(case.held_out, 1)
    distance = same_weights(case, train, validation)

    def by_hand(fused: bool = True, validate: bool = True, select: bool = False) -> Callable[[], object]:
        model = plain_copy(case.model())
        return partial(train_plainly, model, train, validation, case, fused=fused, validate=validate, select=select)

    def by_loop(validate: bool = True, **method: object) -> Callable[[], object]:
        return loop(case, train, validation, method, validate=validate)[1].fit

    variants: dict[str, Setup] = {
        HAND: by_hand,
        f"{HAND}, index_select": partial(by_hand, select=True),
        f"{HAND}, default AdamW": partial(by_hand, fused=False),
        f"{HAND}, {TRAIN_ONLY}": partial(by_hand, validate=False),
        "joint": partial(by_loop, name="joint"),
        f"joint, {TRAIN_ONLY}": partial(by_loop, name="joint", validate=False),
        "ogm, noise off": partial(by_loop, name="ogm", noise=False),
        "ogm": partial(by_loop, name="ogm"),
        "mmpareto": partial(by_loop, name="mmpareto"),
    }
    seconds = interleave(variants, rounds, case.title, time.process_time)
    compared = [
        ("joint", HAND, case.limit),
        (f"joint, {TRAIN_ONLY}", f"{HAND}, {TRAIN_ONLY}", case.limit),
        ("joint", f"{HAND}, index_select", None),
        ("joint", f"{HAND}, default AdamW", None),
        ("ogm, noise off", "joint", 1.05),
        ("ogm", "joint", None),
        ("mmpareto", "joint", 2.2),
    ]
    title = f"{case.title}: {rounds} rounds of {case.updates} updates; largest difference of weights {distance:.1e}"
    table = Table(title, ["loop", "ms per update", "compared with", "its ms", "ratio [quartiles]", "target"])
    for name, base, limit in compared:
        found = ratio(seconds, name, base)
        own, other = (1e3 * sorted(seconds[key])[rounds // 2] / case.updates for key in (name, base))
        wanted = "" if limit is None else verdict(found.median, at_most=limit)
        table.rows.append([name, f"{own:.3f}", base, f"{other:.3f}", found.text(), wanted])
    return table


NOTES = [
    "Times are CPU seconds of one thread, which do not count other programs; variants run in turn, a ratio is that of one "
    "round, the table shows medians.",
    "Both loops have the same layers, initial weights, batches and fused AdamW at a constant learning rate; the title says how "
    "far the weights are apart after equal batches.",
    "Hand-written, per update: gather of the batch by indexing (`value[rows]`), zero_grad, forward, cross_entropy, backward, "
    "step, sum of losses. Per epoch: "
    "order of the samples, one validation pass with loss and accuracy, a copy of the weights if it is the best.",
    "joint does beyond that, per epoch: loss, accuracy, balanced accuracy and macro-F1 of the fused output and of each modality, "
    "the log line, the question whether a checkpoint is due; per update: a random state of its own (for bit-exact resuming).",
    "'index_select': the hand-written loop with the faster gather that our loader uses. 'default AdamW': torch's choice when one "
    "does not ask for the fused kernel.",
    "'training alone' leaves validation and the copy of weights out of both loops.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, nargs=2, default=(60, 20), metavar=("BRCA", "IMAGES"), help="rounds; 0 leaves out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = [measure(case, rounds) for case, rounds in zip(CASES.values(), arguments.rounds, strict=True) if rounds]
    report("loop_cost", "Cost of the training loop", tables, NOTES)


if __name__ == "__main__":
    main()
