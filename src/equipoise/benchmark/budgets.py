"""How much each modality alone tells about the target: probes, and their information budgets on the validation part."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from equipoise._version import __version__
from equipoise.config import FitConfig
from equipoise.data.dataset import Dataset
from equipoise.data.splits import make_splits
from equipoise.errors import ConfigError, DataError
from equipoise.functional.budgets import PRIOR_TEMPERATURE, anchor, bootstrap_interval, label_entropy, measure, prior
from equipoise.run import fit


def measure_budgets(dataset: Dataset, *, progress: bool = True, **options: Any) -> dict[str, Any]:
    """Train a probe per modality and measure its information budget on the validation part.

    Args:
        dataset: The data.
        progress: Whether to show a progress bar.
        options: Any option of :mod:`equipoise.config` but ``method``. Unless ``monitor`` is given, a probe keeps the epoch of
            least validation loss.

    Returns:
        What ``equipoise budgets`` writes and the method ``iibalance`` reads: per modality what
        :func:`~equipoise.functional.budgets.measure` returns, its ``prior``, its validation ``samples``, and ``low`` and
        ``high``, the 95 % interval of the budget over resamples of these samples at the temperature found; beside it the
        entropy of the labels, the anchor (and which it would be without calibration), and the split that all this belongs to.

    Raises:
        ConfigError: A method or an unknown option is given.
        DataError: No validation sample has some modality.
    """
    if "method" in options:
        raise ConfigError("budgets are measured by training each modality alone; leave out the method")
    dataset.schema.require_classes("a measurement of information budgets")
    options = {"monitor": "loss", **options}
    splitting = FitConfig.from_options(options).splitting
    split = make_splits(dataset, splitting)[splitting.fold]
    held_out = dataset.subset(split.validation)
    for name, present in held_out.present.items():
        if not present.any():
            raise DataError(f"{dataset.schema.name}: no validation sample has modality {name!r}, so it has no budget")
    run = fit(dataset, method="unimodal", progress=progress, **options)
    outputs = run.predictor.outputs(run.predictor.part(held_out))
    assert held_out.target is not None
    target = torch.from_numpy(held_out.target)
    known, found = label_entropy(target), {}
    for name, present in held_out.present.items():
        have = torch.from_numpy(present)
        logits = outputs.unimodal[name].float().cpu()[have]
        values = measure(logits, target[have], known)
        # At the best temperature mean entropy and mean loss are equal; only the losses carry the chance of the labels.
        low, high = bootstrap_interval(known - cross_entropy(logits / values["temperature"], target[have], reduction="none"))
        found[name] = {**values, "low": max(low, 0.0), "high": max(high, 0.0), "samples": len(logits)}
    names = list(found)
    budgets = torch.tensor([found[name]["entropy"] for name in names])
    losses = torch.tensor([found[name]["loss"] for name in names])
    raw = torch.tensor([found[name]["raw"] for name in names])
    for name, share in zip(names, prior(budgets, PRIOR_TEMPERATURE).tolist(), strict=True):
        found[name]["prior"] = share
    return {
        "equipoise": __version__,
        "data": dataset.schema.name,
        "fingerprint": run.config["data"]["fingerprint"],
        "split": split.name,
        "split_hash": split.hash,
        "label_entropy": known,
        "anchor": names[anchor(budgets, losses)],
        "anchor_uncalibrated": names[anchor(raw, losses)],
        "modalities": found,
    }
