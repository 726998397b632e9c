"""Pretrained Hugging Face models of text and images as encoders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from equipoise.errors import ConfigError, first_line
from equipoise.nn.encoders.base import ENCODERS

POOLINGS = ("mean", "cls")

# A configuration may name code: a class or kernels to download, a way to load weights. None of that is wanted, nor is the place.
_UNWANTED = ("auto_map", "quantization_config", "attn_implementation", "experts_implementation", "name_or_path")


@ENCODERS.register("transformers")
class Transformers(nn.Module):
    """A model of the package transformers; its features have the model's own width, whatever ``feature_size`` says.

    Text is read as tokens of the model's own tokenizer (:class:`~equipoise.data.prepare_tokens.TokenizedText`), images as they
    are prepared. The weights are fine-tuned unless the option ``frozen`` is set. A finished run holds the configuration and the
    weights, so that the folder of the model is not needed to predict. Code that comes with a model is never run.

    Args:
        shape: Shape of one sample: (2, tokens) with the tokens and their mask, or (channels, height, width).
        feature_size: Not used.
        model: Folder of the model, or its name in the local cache of the hub; nothing is downloaded.
        pooling: ``mean`` over the tokens (or places), or ``cls``: the first one.
        config: Configuration of a model with random weights, in place of ``model``.

    Raises:
        ConfigError: transformers is not installed, the model cannot be loaded, or samples are neither tokens nor images.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        feature_size: int,
        *,
        model: str = "",
        pooling: str = "mean",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.text = len(shape) == 2
        if not self.text and len(shape) != 3:
            raise ConfigError(f"encoder transformers needs tokens of text or images, found samples of shape {shape}")
        if pooling not in POOLINGS:
            raise ConfigError(f"encoder transformers: pooling = {pooling!r} is not valid, expected {' or '.join(POOLINGS)}")
        if not model and config is None:
            raise ConfigError("encoder transformers: model is missing, expected the folder of a model")
        self.pooling = pooling
        self.model = _load(model, config)
        wanted = "input_ids" if self.text else "pixel_values"
        if self.model.main_input_name != wanted:
            raise ConfigError(f"encoder transformers: model {model!r} reads {self.model.main_input_name}, expected {wanted}")

    @classmethod
    def text_form(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the form of text that it reads."""
        return {"name": "huggingface", **({"tokenizer": options["model"]} if "model" in options else {})}

    def stored_options(self) -> dict[str, Any]:
        """Return options by which the encoder can be made again, apart from its weights, without the folder of the model."""
        return {"config": _plain(json.loads(self.model.config.to_json_string(use_diff=False)))}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, width of the model)."""
        if not self.text:
            hidden: Tensor = self.model(pixel_values=inputs).last_hidden_state
            return hidden.mean(1) if self.pooling == "mean" else hidden[:, 0]
        tokens, mask = inputs.round().long().unbind(1)
        tokens = tokens.clamp(0, self.model.config.vocab_size - 1)
        hidden = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        weights = mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)


def _load(place: str, config: Mapping[str, Any] | None) -> Any:
    try:
        library: Any = import_module("transformers")
    except ImportError:
        raise ConfigError(
            "encoder transformers: transformers is not installed; install it by: pip install 'equipoise[hf]'"
        ) from None
    try:
        with _quiet():
            if config is not None:
                model = library.AutoModel.from_config(library.AutoConfig.for_model(**_plain(config)), trust_remote_code=False)
            else:
                model = library.AutoModel.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the library raises errors of many unrelated classes
        if config is None and not Path(place).is_dir():
            words = "is neither a folder here nor in the local cache of the hub; nothing is downloaded"
            raise ConfigError(f"encoder transformers: the model {place} {words}") from error
        raise ConfigError(f"encoder transformers: the model {place} cannot be loaded: {first_line(error)}") from error
    return model.float()


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the library show no bars and tables while it loads a model."""
    logging: Any = import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _plain(config: Any) -> Any:
    """Return a configuration of plain sizes and settings; configurations inside it are treated alike."""
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items() if not str(key).strip("_").startswith(_UNWANTED)}
    return [_plain(value) for value in config] if isinstance(config, list) else config
