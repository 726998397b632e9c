"""Preparing text: the tokens of a Hugging Face tokenizer, which is kept whole with the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.schema import Modality
from equipoise.data.text import join_text, text_form
from equipoise.errors import ConfigError, DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

MOST_TOKENS = 128
"""Most tokens of a sample that are kept where nothing else is stated."""


@dataclass(frozen=True, eq=False)
class TokenizedText:
    """Text as numbers of tokens, and a mask that says which of them are tokens rather than padding.

    The tokenizer is kept as the JSON text that describes it: it holds no code, and neither the folder that it came from nor a
    network is needed to predict.

    Attributes:
        columns: Raw columns, in order, joined by a blank.
        tokens: Tokens per sample, special ones included; what does not fit is left out.
        padding: Number that stands after the last token.
        tokenizer: Description of the tokenizer, JSON.
    """

    symbolic: ClassVar[bool] = True
    """What is prepared are the numbers of things: noise added to them would mean nothing."""
    columns: tuple[str, ...]
    tokens: int
    padding: int
    tokenizer: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared sample: numbers of tokens, and the mask."""
        return (2, self.tokens)

    @classmethod
    def fit(
        cls, modality: Modality, value: pd.DataFrame, present: NDArray[np.bool_], options: PreprocessingOptions
    ) -> TokenizedText:
        """Make rows as long as the longest of those training rows that are present, within the limit.

        Args:
            modality: Description of the modality.
            value: Training rows.
            present: Which of them have the modality, of shape (samples,).
            options: What to do; the form of the text states the tokenizer and the limit.

        Raises:
            ConfigError: No tokenizer is stated, it cannot be loaded, or transformers is not installed.
            DataError: There is no token in any sample.
        """
        form, owner = text_form(options.text, modality.name), f"text of modality {modality.name!r}"
        if form.tokenizer is None:
            where = (
                f"--encoder.{modality.name}.model FOLDER (with encoder transformers) or --text.{modality.name}.tokenizer FOLDER"
            )
            raise ConfigError(f"{owner}: the form huggingface needs a tokenizer; give {where}")
        padding, tokenizer = _load(form.tokenizer, owner)
        widest = cls(modality.columns, form.tokens or MOST_TOKENS, padding, tokenizer)
        longest = int(widest.transform(value[present])[:, 1].sum(1).max())
        if longest == 0:
            raise DataError(f"modality {modality.name!r}: no sample of the training part has a token")
        return cls(modality.columns, longest, padding, tokenizer)

    @cached_property
    def _fitted(self) -> Any:
        try:
            library: Any = import_module("tokenizers")
        except ImportError:
            raise ConfigError("text: transformers is not installed; install it by: pip install 'equipoise[hf]'") from None

        tokenizer = library.Tokenizer.from_str(self.tokenizer)
        tokenizer.enable_truncation(self.tokens)
        tokenizer.enable_padding(length=self.tokens, pad_id=self.padding)
        return tokenizer

    def transform(self, raw: pd.DataFrame) -> NDArray[np.float32]:
        """Prepare raw rows.

        Args:
            raw: Rows with the raw columns, of shape (samples, raw columns).

        Returns:
            Whole numbers of shape (samples, 2, tokens): tokens, and 1 where there is one or 0 where there is padding.
        """
        prepared = np.zeros((len(raw), *self.shape), dtype=np.float32)
        for row, found in enumerate(self._fitted.encode_batch(list(join_text(raw)))):
            prepared[row] = found.ids, found.attention_mask
        return prepared

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"columns": self.columns, "tokens": self.tokens, "padding": self.padding, "tokenizer": self.tokenizer}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TokenizedText:
        """Rebuild from :meth:`to_json`'s data."""
        return cls(tuple(value["columns"]), int(value["tokens"]), int(value["padding"]), str(value["tokenizer"]))


def _load(place: str, owner: str) -> tuple[int, str]:
    """Return the number of padding and the description of the tokenizer in a folder or the local cache."""
    try:
        library: Any = import_module("transformers")
    except ImportError:
        raise ConfigError(f"{owner}: transformers is not installed; install it by: pip install 'equipoise[hf]'") from None
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the library raises errors of many unrelated classes
        if not Path(place).is_dir():
            words = "is neither a folder here nor in the local cache of the hub; nothing is downloaded"
            raise ConfigError(f"{owner}: the tokenizer {place} {words}") from error
        raise ConfigError(f"{owner}: the tokenizer {place} cannot be loaded: {first_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(f"{owner}: the tokenizer {place} runs in Python only, expected one with a tokenizer.json")
    return tokenizer.pad_token_id or 0, tokenizer.backend_tokenizer.to_str()
