"""Preparing text: the frequencies of its words, weighted by how rare they are among the training samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.schema import Modality
from equipoise.data.text import join_text
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class TextPreparation:
    r"""Text as a vector: what scikit-learn's ``TfidfVectorizer`` gives, kept as plain words and numbers.

    A term is a word (two or more letters or digits, in lower case) or two in succession. For a term t that occurs c > 0
    times in a sample, and in d of the n training samples,

    .. math:: x_t = (1 + \ln c) \left(1 + \ln \frac{1 + n}{1 + d}\right)

    and 0 where it does not occur; x is then divided by its Euclidean length. A sample without any of the terms is a vector
    of zeros. The columns are joined by a blank.

    Attributes:
        columns: Raw columns, in order.
        terms: The most frequent terms of the training part, in the order of their outputs.
        idf: Weight of each term, the second factor above, float64 of shape (terms,).

    References:
        Salton and Buckley, "Term-weighting approaches in automatic text retrieval", Information Processing and Management 1988.
    """

    columns: tuple[str, ...]
    terms: tuple[str, ...]
    idf: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared sample."""
        return (len(self.terms),)

    @classmethod
    def fit(
        cls, modality: Modality, value: pd.DataFrame, present: NDArray[np.bool_], options: PreprocessingOptions
    ) -> TextPreparation:
        """Fit on those training rows that are present.

        Args:
            modality: Description of the modality.
            value: Training rows.
            present: Which of them have the modality, of shape (samples,).
            options: What to do.

        Raises:
            DataError: No word occurs in two samples.
        """
        vectorizer = _vectorizer(max_features=options.text_features, min_df=2)
        try:
            vectorizer.fit(join_text(value[present]))
        except ValueError as error:  # no terms are left
            raise DataError(f"modality {modality.name!r}: no word occurs in two samples of the training part") from error
        return cls(modality.columns, tuple(map(str, vectorizer.get_feature_names_out())), vectorizer.idf_)

    @cached_property
    def _fitted(self) -> Any:
        vectorizer = _vectorizer(vocabulary=self.terms)
        vectorizer.idf_ = self.idf
        return vectorizer

    def transform(self, raw: pd.DataFrame) -> NDArray[np.float32]:
        """Prepare raw rows.

        Args:
            raw: Rows with the raw columns, of shape (samples, raw columns).

        Returns:
            Vectors of length 1 (or 0) of shape (samples, terms).
        """
        dense: NDArray[np.float32] = self._fitted.transform(join_text(raw)).astype(np.float32).toarray()
        return dense

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; floats keep all their digits."""
        return {"columns": self.columns, "terms": self.terms, "idf": self.idf.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TextPreparation:
        """Rebuild from :meth:`to_json`'s data."""
        return cls(tuple(value["columns"]), tuple(value["terms"]), np.array(value["idf"], dtype=np.float64))


def _vectorizer(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **options)
