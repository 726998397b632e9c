"""A trained model as one file that runs without equipoise, checked against the run that it came from.

Two formats: ``onnx`` for ONNX runtimes, and ``torch``, the archive of :func:`torch.export.save` (``.pt2``). Both hold the model
with the arithmetic of its preparation; see :class:`~equipoise.inference.exported.ExportedModel`. Beside the file ``NAME.json``
says what goes in and what comes out.

An ONNX file is data. To load a ``.pt2`` file from somebody else is not safe: :func:`torch.export.load` unpickles parts of it.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise._version import __version__
from equipoise.data.dataset import Dataset
from equipoise.data.memory import readable
from equipoise.errors import ConfigError, RunError, first_line
from equipoise.files import write_bytes, write_json
from equipoise.inference.exported import ExportedModel, Inside
from equipoise.inference.predictor import Predictor
from equipoise.inference.trial import trials

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""The formats and how their files end."""

TOLERANCE = 1e-5
"""Largest difference between a file and its run: absolute for probabilities, relative to the largest for predicted numbers."""

_PACKAGES = {"onnx": ("torch", "onnx", "onnxscript", "onnxruntime"), "torch": ("torch",)}
_LARGEST_ONNX = 2 * 2**30 - 2**20

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
_Runner: TypeAlias = Callable[[Arrays, Arrays], Arrays]


@dataclass(frozen=True)
class Check:
    """A comparison of the file with the run.

    Attributes:
        samples: What it was compared on.
        count: How many samples.
        difference: Largest difference of any output.
    """

    samples: str
    count: int
    difference: float


def check_format(path: Path, format: str) -> None:
    """Check that a format can be written, before anything is computed.

    Args:
        path: The file.
        format: One of :data:`SUFFIXES`.

    Raises:
        ConfigError: The format is unknown, the file name does not fit it, or a package is missing.

    Example:
        >>> check_format(Path("model.onnx"), "torch")
        Traceback (most recent call last):
        equipoise.errors.ConfigError: model.onnx: files of format torch end in .pt2
    """
    if format not in SUFFIXES:
        raise ConfigError(f"format = {format!r} is not valid, expected {' or '.join(SUFFIXES)}")
    if path.suffix.lower() != SUFFIXES[format]:
        raise ConfigError(f"{path}: files of format {format} end in {SUFFIXES[format]}")
    for package in _PACKAGES[format]:
        try:
            import_module(package)
        except ImportError:
            raise ConfigError(f"{path}: {package} is not installed; install it by: pip install 'equipoise[onnx]'") from None


def export(predictor: Predictor, path: Path, format: str = "onnx", samples: Dataset | None = None) -> list[Check]:
    """Write a trained model as one file, after the file was run and compared with the model.

    Args:
        predictor: The model, such as ``load("RUN").predictor``.
        path: The file; ``NAME.json`` is written beside it. Files that exist are replaced.
        format: ``onnx`` or ``torch``.
        samples: Samples to compare on; None makes some up.

    Returns:
        What was compared.

    Raises:
        ConfigError: The model cannot be exported, or a package is missing.
        RunError: The file differs from the model by more than :data:`TOLERANCE`, or cannot be written.

    Example:
        >>> import tempfile
        >>> from equipoise.run import fit
        >>> run = fit("wisconsin", epochs=1, progress=False, device="cpu")
        >>> path = Path(tempfile.mkdtemp()) / "model.pt2"
        >>> max(check.difference for check in export(run.predictor, path, "torch")) < TOLERANCE
        True
        >>> sorted(item.name for item in path.parent.iterdir())
        ['model.pt2', 'model.pt2.json']
    """
    check_format(path, format)
    model = ExportedModel(predictor)
    run = replace(predictor, module=model.model, device=torch.device("cpu"))
    compared = [(words, dataset, model.given(dataset)) for words, dataset in trials(samples, run.schema, run.preprocessing)]
    # The task keeps tensors that tracing replaces, so that the model traced is a copy of the one compared with.
    content, runner = _FORMATS[format](ExportedModel(predictor), *compared[0][2])
    checks = [_check(words, dataset, given, run, runner) for words, dataset, given in compared]
    write_bytes(path, content)
    write_json(path.with_name(f"{path.name}.json"), _described(model, path, format, checks))
    return checks


def _check(words: str, dataset: Dataset, given: tuple[Arrays, Arrays], run: Predictor, runner: _Runner) -> Check:
    predictions, said = run.predict(dataset), runner(*given)
    expected = {"fused": predictions.probabilities, **predictions.unimodal}
    difference = max(_difference(said[name], value) for name, value in expected.items())
    if not difference <= TOLERANCE:
        raise RunError(
            f"on {words} the exported model differs from the run by {difference:.1e}, expected at most {TOLERANCE:.0e}; "
            "nothing was written"
        )
    return Check(words, len(dataset), difference)


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if found.shape != expected.shape or not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    known = ~np.isnan(expected)
    largest = np.abs(expected[known]).max(initial=1.0)
    return float(np.abs(found[known] - expected[known]).max(initial=0.0) / largest)


def _traced(model: ExportedModel, inputs: Arrays, present: Arrays) -> Any:
    """The graph of the model, for any number of samples and of time steps."""
    batch = torch.export.Dim("batch")
    sizes: dict[str, Any] = {"inputs": {}, "present": {name: {0: batch} for name in present}}
    for number, name in enumerate(inputs):
        steps = {1: torch.export.Dim(f"steps_{number}")} if cast("Inside", model.inside[name]).steps else {}
        sizes["inputs"][name] = {0: batch, **steps}
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(
                model, (), kwargs={"inputs": _tensors(inputs), "present": _tensors(present)}, dynamic_shapes=sizes, strict=False
            )
    except Exception as error:  # whatever an operator that cannot be traced raises
        raise ConfigError(f"the run cannot be exported: {_culprit(model, inputs)}{_cause(error)}") from error


def _culprit(model: ExportedModel, inputs: Arrays) -> str:
    """The name of an encoder that cannot be traced by itself, for messages."""
    for name, value in _tensors(inputs).items():
        try:
            with _quiet(), torch.no_grad():
                prepared = cast("Inside", model.inside[name])(value)
                sizes = ({0: torch.export.Dim("batch")},)
                torch.export.export(model.model.encoders[name], (prepared,), dynamic_shapes=sizes, strict=False)
        except Exception:  # as above
            return f"the encoder of modality {name!r} ({type(model.model.encoders[name]).__name__}) is no graph of operators: "
    return ""


def _to_torch(model: ExportedModel, inputs: Arrays, present: Arrays) -> tuple[bytes, _Runner]:
    file = io.BytesIO()
    with _quiet():
        torch.export.save(_traced(model, inputs, present), file)
        module = torch.export.load(io.BytesIO(file.getvalue())).module()

    def run(inputs: Arrays, present: Arrays) -> Arrays:
        with torch.no_grad():
            said = module(inputs=_tensors(inputs), present=_tensors(present))
        return {name: value.numpy() for name, value in said.items()}

    return file.getvalue(), run


def _to_onnx(model: ExportedModel, inputs: Arrays, present: Arrays) -> tuple[bytes, _Runner]:
    runtime: Any = import_module("onnxruntime")
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if size > _LARGEST_ONNX:
        raise ConfigError(f"the weights take {readable(size)}, an ONNX file holds at most 2 GiB; expected --format torch")
    program = _traced(model, inputs, present)
    outputs = _outputs(model)
    try:
        with _quiet():
            exported: Any = torch.onnx.export(
                program, input_names=_inputs(model), output_names=list(outputs), dynamo=True, external_data=False, verbose=False
            )
    except Exception as error:  # the exporter raises errors of many unrelated classes
        raise ConfigError(f"the run cannot be exported as onnx, but perhaps by --format torch: {_cause(error)}") from error
    content: bytes = exported.model_proto.SerializeToString()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(inputs: Arrays, present: Arrays) -> Arrays:
        said = session.run(list(outputs), dict(zip(_inputs(model), [*inputs.values(), *present.values()], strict=True)))
        return dict(zip(outputs.values(), said, strict=True))

    return content, run


_FORMATS = {"onnx": _to_onnx, "torch": _to_torch}


def _inputs(model: ExportedModel) -> list[str]:
    return [f"{what}_{name}" for what in ("inputs", "present") for name in model.model.modalities]


def _outputs(model: ExportedModel) -> dict[str, str]:
    """The names of outputs in the file, with what they are in the model."""
    return {"fused": "fused", **{f"unimodal_{name}": name for name in model.model.modalities}}


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Let torch's exporter not speak of its own future and of packages that no model of ours needs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in (".*LeafSpec.*", ".*torchvision.*"):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    if "Constraints violated" in str(error):
        return "it takes the number of samples of a batch as fixed, as len(x) does where x.shape[0] would not"
    return re.sub(r"\x1b\[\d+m", "", first_line(cast("Exception", error)))


def _described(model: ExportedModel, path: Path, format: str, checks: list[Check]) -> dict[str, Any]:
    """What a reader of the file must know."""
    schema, task = model.schema, model.model.task
    of_torch = format == "torch"
    return {
        "file": path.name,
        "format": format,
        "versions": {"equipoise": __version__, **{name: version(name) for name in _PACKAGES[format]}},
        "call": "module(inputs={modality: tensor}, present={modality: tensor})" if of_torch else "run(outputs, {name: array})",
        "task": task.to_json(),
        "classes": list(schema.classes),
        "inputs": {
            name: {
                "name": name if of_torch else f"inputs_{name}",
                "present": name if of_torch else f"present_{name}",
                **cast("Inside", model.inside[name]).described(schema[name]),
            }
            for name in model.model.modalities
        },
        "outputs": {
            said if of_torch else name: {"shape": ["batch", len(schema.classes)], "dtype": "float32"}
            for name, said in _outputs(model).items()
        },
        "notes": [
            "batch is any number of samples; present, bool of shape (batch,), says which samples have the modality",
            "NaN is a missing number; a sample of NaN alone lacks the modality; where it is absent, anything may stand",
            "categories are given as their place in the list from 0; one that is not in it is -1, a missing one NaN",
            "outputs are probabilities, for regression numbers, in the order of classes; NaN where a modality is absent",
        ],
        "largest_difference_from_run": max(check.difference for check in checks),
        "checks": [asdict(check) for check in checks],
    }
