"""Preparing text: the hashes of its words and character sequences, as numbers into a table of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.schema import Modality
from equipoise.data.text import join_text, text_form
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

IDS = 2**24
"""Numbers of terms are below this: float32, in which all prepared samples are kept, holds whole numbers up to here exactly."""

MOST_TOKENS = 1024
"""Most terms of a sample that are kept where nothing else is stated."""


@dataclass(frozen=True, eq=False)
class HashedText:
    """Text as the numbers of its terms; nothing is learned of the words of the training part, so that new words count too.

    A term is a word (two or more letters or digits, in lower case), two in succession, or 3 to 5 characters within a word, its
    ends marked by blanks. Its number is ``1 + |murmur3(term)| mod (2**24 - 1)`` (two terms may share one). A sample is the
    numbers of its distinct terms, those of words first, in a row that 0 fills up; what does not fit is left out.

    Attributes:
        columns: Raw columns, in order, joined by a blank.
        tokens: Terms per sample.

    References:
        Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009, arXiv 0902.2206; Joulin et al., "Bag
        of tricks for efficient text classification", EACL 2017, arXiv 1607.01759.

    Example:
        >>> import pandas as pd
        >>> numbers = HashedText(("body",), 12).transform(pd.DataFrame({"body": ["so so", "it is so"]}, dtype=object))
        >>> (numbers > 0).sum(1).tolist(), int(numbers[0, 0]) in numbers[1].astype(int)
        ([5, 12], True)
    """

    symbolic: ClassVar[bool] = True
    """What is prepared are the numbers of things: noise added to them would mean nothing."""
    columns: tuple[str, ...]
    tokens: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared sample."""
        return (self.tokens,)

    @classmethod
    def fit(
        cls, modality: Modality, value: pd.DataFrame, present: NDArray[np.bool_], options: PreprocessingOptions
    ) -> HashedText:
        """Make rows as long as the longest of those training rows that are present, within the limit.

        Args:
            modality: Description of the modality.
            value: Training rows.
            present: Which of them have the modality, of shape (samples,).
            options: What to do; the form of the text states the limit.

        Raises:
            DataError: There is no term in any sample.
        """
        longest = int(np.sum([np.diff(part.indptr) for part in _terms(join_text(value[present]))], axis=0).max())
        if longest == 0:
            raise DataError(f"modality {modality.name!r}: no sample of the training part has a word")
        return cls(modality.columns, min(longest, text_form(options.text, modality.name).tokens or MOST_TOKENS))

    def transform(self, raw: pd.DataFrame) -> NDArray[np.float32]:
        """Prepare raw rows.

        Args:
            raw: Rows with the raw columns, of shape (samples, raw columns).

        Returns:
            Whole numbers from 1, and 0 after the last term, of shape (samples, tokens).
        """
        prepared = np.zeros((len(raw), self.tokens), dtype=np.float32)
        filled = np.zeros(len(raw), dtype=np.int64)
        for part in _terms(join_text(raw)):
            counts = np.diff(part.indptr)
            rows = np.repeat(np.arange(len(raw)), counts)
            places = np.arange(part.nnz) + np.repeat(filled - part.indptr[:-1], counts)
            fits = places < self.tokens
            prepared[rows[fits], places[fits]] = 1 + part.indices[fits]
            filled += counts
        return prepared

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"columns": self.columns, "tokens": self.tokens}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> HashedText:
        """Rebuild from :meth:`to_json`'s data."""
        return cls(tuple(value["columns"]), int(value["tokens"]))


def _terms(texts: Any) -> list[Any]:
    """Return matrices of shape (samples, numbers) whose entries are the distinct terms: those of words, those of characters.

    The numbers of a sample are in order in each, so that they do not depend on what other samples there are.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True)
    try:
        words = counter.fit_transform(texts)
    except ValueError:  # there are none
        return [csr_matrix((len(texts), IDS - 1))] * 2
    # Characters are hashed once per distinct word instead of once per word of every sample.
    spelled = _hashes(counter.get_feature_names_out(), analyzer="char_wb", ngram_range=(3, 5))
    used, compact = np.unique(spelled.indices, return_inverse=True)
    characters = (words @ csr_matrix((spelled.data, compact, spelled.indptr))).tocsr()
    characters.sort_indices()
    characters.indices = used[characters.indices]
    return [_hashes(texts, analyzer="word", ngram_range=(1, 2)), characters]


def _hashes(texts: Any, **terms: Any) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=IDS - 1, alternate_sign=False, norm=None, binary=True, **terms).transform(texts).tocsr()
