"""Which form of text each modality is prepared in: the one that its encoder reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from equipoise.config import PreprocessingOptions, TextOptions
from equipoise.data.text import text_form
from equipoise.errors import ConfigError, suggest
from equipoise.nn.encoders.base import ENCODERS, encoder_class, is_import_path

_PLAIN = {"name": TextOptions.name}


def with_text_forms(
    options: PreprocessingOptions,
    kinds: Mapping[str, str],
    described: Mapping[str, Mapping[str, Any]],
    modules: Mapping[str, nn.Module] | None = None,
) -> PreprocessingOptions:
    """Return the options of preprocessing with the form of each modality of text stated, where it is not weights of words.

    An encoder of the user's own that says nothing about text reads whatever form the option ``text`` states.

    Args:
        options: What was stated.
        kinds: Kind of each modality.
        described: Description of each modality's encoder.
        modules: Encoders that the user supplied as modules.

    Raises:
        ConfigError: An encoder does not read the form that was stated, or a form was stated of what is no text.
    """
    texts = [name for name, kind in kinds.items() if kind == "text"]
    for name in options.text if isinstance(options.text, Mapping) else ():
        if name not in texts and name not in TextOptions.__dataclass_fields__:
            raise ConfigError(f"text: {name!r} is no modality of text, {suggest(name, texts)}")
    forms: dict[str, dict[str, Any]] = {}
    for modality in texts:
        name, module = str(described[modality]["name"]), (modules or {}).get(modality)
        source = encoder_class(name, f"encoder of modality {modality!r}") if module is None else module
        reads = _reads(source, described[modality])
        form = text_form(options.text, modality, reads or _PLAIN)
        ours = module is None and not is_import_path(name)
        if form.name != (reads or _PLAIN)["name"] and (ours or reads):
            able = [other for other in ENCODERS.names() if (_reads(ENCODERS.get(other), {}) or _PLAIN)["name"] == form.name]
            raise ConfigError(
                f"text of modality {modality!r} is of the form {form.name}, but its encoder {name} reads "
                f"{(reads or _PLAIN)['name']}; encoders that read {form.name}: {', '.join(able)}"
            )
        if form.name != TextOptions.name:
            forms[modality] = {key: value for key, value in asdict(form).items() if value is not None}
    return replace(options, text=forms or None)


def _reads(encoder: Any, description: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the form of text that an encoder says it reads, or None."""
    asked = getattr(encoder, "text_form", None)
    return None if asked is None else dict(asked(description))
