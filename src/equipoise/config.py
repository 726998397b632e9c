"""Every option of a training run, declared once: the command line, YAML, keyword arguments and ``config.json`` read it here.

An option is a dataclass field made by :func:`option`. Its section says which part of the software reads it; its name is
unique over all sections, so people write ``--epochs 50``, ``epochs: 50`` or ``fit(data, epochs=50)`` without the section.
Nothing here imports torch, pandas or scikit-learn: ``equipoise fit --help`` is made from this file alone.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from equipoise.errors import ConfigError, suggest

T = TypeVar("T")


def option(
    default: Any,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    search: tuple[Any, ...] | None = None,
    log: bool = False,
) -> Any:
    """Declare one option or hyper-parameter with its default, meaning and bounds.

    Args:
        default: Value when the user says nothing.
        help: One line for people; shown by the command line and the documentation.
        low: Smallest allowed value.
        high: Largest allowed value.
        above: The value must be greater than this.
        below: The value must be smaller than this.
        choices: The allowed words.
        search: Where a hyper-parameter search looks: ``(low, high)`` for numbers, the candidates otherwise.
        log: Whether the search is on a logarithmic scale.

    Returns:
        A dataclass field.

    Example:
        >>> @dataclass
        ... class Options:
        ...     alpha: float = option(0.3, low=0.0, help="how hard the leading modality is slowed")
        >>> Options().alpha
        0.3
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "above": above,
        "below": below,
        "choices": choices,
        "search": search,
        "log": log,
    }
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@cache
def type_hints(cls: type) -> dict[str, Any]:
    """Return the resolved annotations of a dataclass."""
    return typing.get_type_hints(cls)


def parse_word(word: str) -> Any:
    """Return what a word of a command line or a configuration file stands for.

    Example:
        >>> [parse_word(word) for word in ("3", "1e-3", "true", "none", "mlp")]
        [3, 0.001, True, None, 'mlp']
    """
    known = {"true": True, "false": False, "none": None, "null": None}
    if word.lower() in known:
        return known[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _matches(value: Any, annotation: Any) -> bool:
    """Whether ``value`` has the annotated type, an integer being a float too and a boolean being no number."""
    if annotation is Any:
        return True
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_matches(value, part) for part in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    if origin is tuple:
        return isinstance(value, tuple) and all(_matches(item, get_args(annotation)[0]) for item in value)
    if isinstance(value, bool):
        return annotation is bool
    if annotation is float:
        return isinstance(value, (int, float))
    return isinstance(value, origin or annotation)


def _words(annotation: Any) -> str:
    """The annotation in the words of an error message."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(part) for part in get_args(annotation))
    if origin is tuple:
        return f"a list of {_words(get_args(annotation)[0])}"
    names = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "a word",
        type(None): "none",
        dict: "a mapping",
    }
    return names.get(origin or annotation, str(annotation))


def check_fields(instance: Any, owner: str) -> None:
    """Check every declared option of a dataclass instance against its type and bounds.

    Words become numbers, lists become tuples and whole numbers become floats where the declaration says so, so that equal
    settings are equal however they were written.

    Args:
        instance: A dataclass whose fields were made by :func:`option`.
        owner: How messages call it, e.g. ``"method ogm"``.

    Raises:
        ConfigError: A value has the wrong type or is out of bounds; the message names the option, the value and the bound.
    """
    cls: type = type(instance)
    hints = type_hints(cls)
    for item in dataclasses.fields(instance):
        if "help" not in item.metadata:
            continue
        value = getattr(instance, item.name)
        annotation = hints[item.name]
        if isinstance(value, list):
            value = tuple(value)
        if isinstance(value, str) and not _matches(value, annotation):
            value = parse_word(value)
        if isinstance(value, int) and not isinstance(value, bool) and _matches(0.5, annotation) and not _matches("", annotation):
            value = float(value)
        object.__setattr__(instance, item.name, value)
        place = f"{owner}: {item.name} = {value!r}"
        if not _matches(value, annotation):
            raise ConfigError(f"{place} is not valid, expected {_words(annotation)}")
        if value is None or isinstance(value, bool):
            continue
        choices = item.metadata["choices"]
        if choices is not None and isinstance(value, str) and value not in choices:
            raise ConfigError(f"{place} is not valid, {suggest(value, choices)}")
        if isinstance(value, (int, float)):
            _check_bounds(value, item.metadata, place)


def _check_bounds(value: float, bounds: Mapping[str, Any], place: str) -> None:
    if value != value:
        raise ConfigError(f"{place} is not a number")
    tests = (
        ("low", value >= (bounds["low"] if bounds["low"] is not None else value), "at least"),
        ("high", value <= (bounds["high"] if bounds["high"] is not None else value), "at most"),
        ("above", bounds["above"] is None or value > bounds["above"], "more than"),
        ("below", bounds["below"] is None or value < bounds["below"], "less than"),
    )
    for key, holds, words in tests:
        if not holds:
            raise ConfigError(f"{place} is out of range, expected {words} {bounds[key]:g}")


def build(cls: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Make a dataclass of options from plain values.

    Args:
        cls: The dataclass.
        values: Option names and values.
        owner: How messages call it.

    Returns:
        The checked instance.

    Raises:
        ConfigError: An option is unknown (the nearest name is offered) or a value is not valid.

    Example:
        >>> build(TrainingOptions, {"epochs": 5}, "training").epochs
        5
    """
    names = [item.name for item in dataclasses.fields(cls) if "help" in item.metadata]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise ConfigError(f"{owner}: unknown option {name!r}, {suggest(name, names)}")
    instance = cls(**values)
    check_fields(instance, owner)
    return instance


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the data are read. What is not stated comes from ``dataset.yaml`` or is inferred."""

    target: str | tuple[str, ...] | None = option(
        None, help="column (or array) to predict; several: '[rain, snow]', or 'label_*' for all that begin so"
    )
    task: str | None = option(
        None,
        choices=("auto", "classification", "ordinal", "multilabel", "regression"),
        help="what the target is: one class, a class of an order, several labels of 0 or 1, numbers [auto: by its values]",
    )
    layout: str | None = option(
        None,
        help="published layout that a folder is in (listed by: equipoise data layouts), NAME or NAME:VARIANT; none leaves unused "
        "what dataset.yaml or a configuration file states",
    )
    id: str | None = option(None, help="column of sample ids, by which the modalities are joined")
    split: str | None = option(
        None, help="column that says train, validation or test for each sample; none leaves a column called split unused"
    )
    group: str | None = option(None, help="column of groups (patient, speaker, video): no group is on two sides of a split")
    modalities: dict[str, Any] | None = option(
        None, help="modalities by column prefix, column list, file or array: '{audio: {prefix: a_}, text: {columns: [t1, t2]}}'"
    )
    root: str | None = option(
        None, help="folder from which the paths of media files start and which they may not leave (default: that of the data)"
    )
    skip_damaged: bool = option(
        False,
        help="treat what a damaged file (sound, picture, recording) holds as absent, and leave out samples with nothing at all, "
        "instead of stopping",
    )
    cache_gigabytes: float = option(
        10.0, low=0.0, help="room for decoded media on disk, in EQUIPOISE_CACHE or the user's folder of caches; 0 keeps none"
    )


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How samples are divided where the data state no split."""

    test_fraction: float = option(0.2, above=0.0, below=1.0, help="share of samples (or groups) kept for the final test")
    validation_fraction: float = option(0.15, above=0.0, below=1.0, help="share of the training part kept for selection")
    folds: int = option(0, low=0, help="number of cross-validation folds; 0 is one split")
    repeats: int = option(1, low=1, help="how often the cross-validation is repeated with new folds")
    fold: int = option(0, low=0, help="which of the folds x repeats to train on, counted from 0")
    split_seed: int = option(0, low=0, help="seed of the division into train, validation and test")


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions:
    """What is done to raw inputs; everything is fitted on the training part only."""

    impute: str = option("median", choices=("median", "mean", "zero"), help="value for missing entries of numeric columns")
    standardize: bool = option(True, help="give each column (each channel of an image) mean 0 and standard deviation 1")
    clip: float | None = option(10.0, above=0.0, help="largest absolute value after standardisation; none switches it off")
    top_variance: int | None = option(None, low=1, help="keep only this many columns of each table, those of largest variance")
    text_features: int = option(2000, low=1, help="most frequent words and pairs of words that a text becomes a vector of")
    text: str | dict[str, Any] | None = option(
        None, help="form of text, or of each modality of text: tfidf, hashing, huggingface (default: what its encoder reads)"
    )
    sequence_length: int | None = option(
        None, low=1, help="time steps of a sequence that are kept, the first ones (none: as many as the longest of training has)"
    )


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """The form in which a model gets the text of one modality: the options of the option ``text``."""

    name: str = option("tfidf", choices=("tfidf", "hashing", "huggingface"), help="weights of words, hashes of words, or tokens")
    tokens: int | None = option(
        None, low=1, help="hashes or tokens of a text that are kept, the first ones (default: 1024 hashes, 128 tokens)"
    )
    tokenizer: str | None = option(
        None, help="folder, or name in the local cache, of a Hugging Face tokenizer (default: that of the encoder's model)"
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Encoders, one per modality, and the fusion.

    A component is a name with options of its own: ``--encoder mlp --encoder.hidden 128``,
    ``--encoder.image cnn --encoder.image.width 32``, ``--fusion gated``. Every encoder has the options of
    :class:`EncoderOptions` too: ``--encoder.image.frozen true``.
    """

    encoder: str | dict[str, Any] | None = option(
        None,
        help="encoder of all modalities, or of each: mlp, cnn, resnet, tcn, gcn, embedding_bag, transformers, or the import path "
        "of your class (default: by kind)",
    )
    fusion: str | dict[str, Any] | None = option(
        None,
        help="how features become one prediction: concat, sum, logit, gated, film, attention [the method's or concat]",
    )
    feature_size: int = option(64, low=1, help="width of the features that each encoder gives")
    graph: dict[str, Any] | None = option(
        None, help="options of the sample graph that the encoder gcn uses, such as --graph.neighbours 20 --graph.nodes all"
    )


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """How an encoder trains: options that every encoder has beside its own, ours or yours."""

    frozen: bool = option(False, help="leave the encoder as it is: no gradient, evaluation mode throughout")
    learning_rate: float | None = option(
        None, above=0.0, help="learning rate of this encoder, which takes the course of the run's (none: that of the run)"
    )


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """The sample graph of encoders that use one: the options of the option ``graph``."""

    neighbours: int | None = option(
        None, low=1, help="strongest edges that each sample keeps (default: 20, or a tenth of less than 200 samples, at least 5)"
    )
    mu: float = option(0.5, above=0.0, help="width of the kernel that turns distances into similarities, 0.3 to 0.8")
    iterations: int = option(20, low=0, help="sweeps of the fusion of the modalities' networks")
    nodes: str = option(
        "train",
        choices=("train", "all"),
        help="training samples, to which others are attached, or all samples (transductive: their features, not their labels)",
    )
    source: str = option(
        "fused", choices=("fused", "own"), help="one network fused over modalities, or each modality's own for its encoder"
    )
    self_loop: float = option(1.0, low=0.0, help="weight of a sample for itself, beside 1 for all its edges on average")
    norm: str = option("symmetric", choices=("symmetric", "row"), help="normalisation by the degrees of both ends, or of one")
    form: str = option(
        "auto", choices=("auto", "dense", "sparse"), help="from all pairs of samples, or from nearest neighbours alone"
    )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The loop."""

    epochs: int = option(100, low=1, help="most epochs of each training phase")
    batch_size: int = option(64, low=1, help="samples per update, over all processes")
    accumulate: int = option(1, low=1, help="parts into which each batch is cut to save memory")
    optimizer: str = option("adamw", choices=("adamw", "sgd"), help="optimizer")
    learning_rate: float = option(1e-3, above=0.0, help="learning rate", search=(1e-4, 1e-2), log=True)
    weight_decay: float = option(1e-2, low=0.0, help="weight decay")
    momentum: float = option(0.9, low=0.0, below=1.0, help="momentum of sgd")
    schedule: str = option("cosine", choices=("constant", "cosine", "step"), help="course of the learning rate over a phase")
    step_epochs: int = option(30, low=1, help="epochs between the steps of the step schedule")
    step_factor: float = option(0.1, above=0.0, high=1.0, help="factor of each step of the step schedule")
    clip_norm: float | None = option(None, above=0.0, help="largest norm of the gradient; none switches clipping off")
    class_weights: str = option("none", choices=("none", "balanced"), help="weight of each class (each label) in the loss")
    monitor: str = option(
        "auto",
        choices=(
            *("auto", "macro_f1", "accuracy", "balanced_accuracy", "kappa", "micro_f1", "subset_accuracy"),
            *("r2", "mse", "rmse", "mae", "loss"),
        ),
        help="validation metric that selects the epoch; auto is macro_f1, for ordinal kappa, for regression r2",
    )
    patience: int | None = option(20, low=1, help="stop after this many epochs without a better validation metric")
    precision: str = option("float32", choices=("float32", "bfloat16"), help="number format of forward and backward passes")
    compile: bool = option(False, help="compile the encoders with torch.compile")
    device: str = option("auto", help="auto, cpu, cuda or cuda:0")
    threads: int | None = option(None, low=1, help="CPU threads (default: torch's choice)")
    seed: int = option(0, low=0, help="seed of initial weights, order of samples and everything random in training")
    loader: str = option("auto", choices=("auto", "memory", "stream"), help="keep prepared data in memory or stream it from disk")
    workers: int = option(2, low=0, help="processes that prepare batches when data are streamed")
    augment: dict[str, Any] | None = option(
        None,
        help="random changes of training samples by modality, such as --augment.picture flip,crop (images, videos) "
        "or --augment.sound time,frequency (gaps in audio)",
    )
    checkpoint_seconds: float = option(30.0, low=0.0, help="least time between two checkpoints; 0 writes one after every batch")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """All settings of one training run."""

    method: dict[str, Any] = field(default_factory=lambda: {"name": "joint"})
    read: ReadOptions = field(default_factory=ReadOptions)
    splitting: SplitOptions = field(default_factory=SplitOptions)
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> FitConfig:
        """Make the settings from option names without their sections.

        Args:
            options: Option names and values; ``method`` is a name or a mapping with ``name``.

        Returns:
            The checked settings.

        Raises:
            ConfigError: An option is unknown or a value is not valid.

        Example:
            >>> FitConfig.from_options({"method": "ogm", "epochs": 5}).training.epochs
            5
        """
        where = option_sections()
        parts: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for name, value in options.items():
            if name == "method":
                continue
            if name not in where:
                raise ConfigError(f"unknown option {name!r}, {suggest(name, [*where, 'method'])}")
            parts[where[name]][name] = value
        return cls(
            method=component(options.get("method", "joint"), "method"),
            **{name: build(section, parts[name], "option") for name, section in SECTIONS.items()},
        )

    def to_options(self) -> dict[str, Any]:
        """Return the settings as option names and plain values; :meth:`from_options` is its inverse."""
        options: dict[str, Any] = {"method": dict(self.method)}
        for name in SECTIONS:
            options |= dataclasses.asdict(getattr(self, name))
        return options


SECTIONS: dict[str, type[Any]] = {
    "read": ReadOptions,
    "splitting": SplitOptions,
    "preprocessing": PreprocessingOptions,
    "model": ModelOptions,
    "training": TrainingOptions,
}


@cache
def option_sections() -> dict[str, str]:
    """Return the section of every option name."""
    return {item.name: name for name, section in SECTIONS.items() for item in dataclasses.fields(section)}


def component(value: object, owner: str) -> dict[str, Any]:
    """Bring the description of a component (method, encoder, fusion) into its full form.

    Args:
        value: A name, or a mapping with ``name`` and the component's options.
        owner: How messages call it.

    Returns:
        A mapping with ``name`` and the options.

    Raises:
        ConfigError: It is neither, or has no name.

    Example:
        >>> component("ogm", "method")
        {'name': 'ogm'}
    """
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return dict(value)
    raise ConfigError(f"{owner}: expected a name or a mapping with a name, found {value!r}")
