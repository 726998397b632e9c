"""Samples per second: batches gathered in memory against torch's DataLoader with its default collate."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import Setup, Spread, Table, interleave, ratio, report, verdict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from equipoise.data.loader import Loader, MemoryPart, Part, StreamPart
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset

WIDTHS = {"cnv": 515, "mrna": 260, "rppa": 164}
BATCH = 64
PLAIN, WORKERS = "DataLoader, default collate", "DataLoader, default collate, 2 workers"


class Samples(Dataset[dict[str, Tensor]]):
    """What one writes for a DataLoader: a sample is a mapping from modality to its row."""

    def __init__(self, part: MemoryPart) -> None:
        self._part = part

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        assert self._part.target is not None
        return {name: value[row] for name, value in self._part.inputs.items()} | {"target": self._part.target[row]}


def memory_part(samples: int) -> MemoryPart:
    """Return random rows in memory."""
    random = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(samples, width, generator=random) for name, width in WIDTHS.items()}
    present = {name: torch.ones(samples, dtype=torch.bool) for name in inputs}
    return MemoryPart(inputs, present, torch.randint(0, 5, (samples,), generator=random))


def stream_part(part: MemoryPart, folder: Path, workers: int) -> StreamPart:
    """Return the same rows as raw arrays on disk, prepared batch by batch."""
    if not (folder / "labels.csv").is_file():
        ids = [f"s{row:06d}" for row in range(len(part))]
        assert part.target is not None
        pd.DataFrame({"id": ids, "label": part.target.numpy()}).to_csv(folder / "labels.csv", index=False)
        for name, value in part.inputs.items():
            np.save(folder / f"{name}.npy", value.numpy())
    dataset = open_dataset(folder)
    return StreamPart(dataset, Preprocessing.fit(dataset), torch.device("cpu"), workers)


def measure(samples: int, epochs: int, rounds: int, folder: Path) -> Table:
    """Measure one size of data."""
    part = memory_part(samples)
    epoch = count()

    def pass_over(make: Callable[[], Iterable[object]]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(epochs):
                for _batch in make():
                    pass

        return run

    def ours(which: Part) -> Setup:
        loader = Loader(which, BATCH)
        return partial(pass_over, lambda: loader.epoch(next(epoch)))

    def torchs(workers: int) -> Setup:
        loader = DataLoader(Samples(part), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        return partial(pass_over, lambda: loader)

    variants = {
        "Loader, in memory": ours(part),
        "Loader, streamed from npy": ours(stream_part(part, folder, 0)),
        PLAIN: torchs(0),
        WORKERS: torchs(2),
    }
    if epochs == 1:  # starting workers takes longer than reading a small set
        variants["Loader, streamed from npy, 2 workers"] = ours(stream_part(part, folder, 2))
    seconds = interleave(variants, rounds, f"{samples} samples")
    columns = ["batches", "samples per second [quartiles]", f"x {PLAIN} [quartiles]", f"x {WORKERS}", "target"]
    table = Table(f"{samples} samples of {sum(WIDTHS.values())} numbers in 3 modalities, batches of {BATCH}", columns)
    for name, values in seconds.items():
        speed = Spread.of([samples * epochs / value for value in values])
        faster, than_workers = ratio(seconds, PLAIN, name), ratio(seconds, WORKERS, name)
        wanted = verdict(min(faster.median, than_workers.median), at_least=3) if name == "Loader, in memory" else ""
        table.rows.append([name, speed.text(",.0f"), faster.text(".2f"), f"{than_workers.median:.2f}", wanted])
    return table


NOTES = [
    "Wall-clock time of whole shuffled epochs, nothing is done with the batches; variants run in turn, a ratio is that of one "
    "round. One torch thread in this process.",
    "DataLoader: a Dataset in memory that returns a mapping from modality to a row, `shuffle=True`, default collate; its workers "
    "persist over epochs.",
    "Loader: what the training loop uses. In memory the samples are prepared before; streamed they are read from memory-mapped "
    "files and prepared (imputed, standardised, clipped) batch by batch; its workers persist too.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = []
    for samples, epochs in ((615, 20), (20_000, 1)):
        with tempfile.TemporaryDirectory() as folder:
            tables.append(measure(samples, epochs, arguments.rounds, Path(folder)))
    report("loader_speed", "Speed of batches", tables, NOTES)


if __name__ == "__main__":
    main()
