"""Preparing sequences: standardised channels, one length for all, and a channel that says which time steps are real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.prepare_array import ArrayPreparation
from equipoise.data.rows import LazyRows, row_chunks
from equipoise.data.schema import Modality
from equipoise.data.sequences import real_steps


@dataclass(frozen=True, eq=False)
class SequencePreparation:
    """What is done to the time steps of one modality of sequences.

    A prepared sample has shape (channels + 1, length). Its last channel is 1 where a time step is real; where it is 0, after the
    end of a shorter sequence, all channels are 0. Of a sequence that is longer the first ``length`` steps are kept.

    Attributes:
        length: Time steps of a prepared sample: those of the longest training sample, or fewer where the options say so.
        steps: What is done to the channels of one time step, missing values included.
    """

    length: int
    steps: ArrayPreparation

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared sample: (channels + 1, time)."""
        return (self.measured + 1, self.length)

    @property
    def measured(self) -> int:
        """The number of channels that hold what was measured; the one after them says which steps are real."""
        return self.steps.shape[0]

    @classmethod
    def fit(
        cls, modality: Modality, value: NDArray[Any] | LazyRows, present: NDArray[np.bool_], options: PreprocessingOptions
    ) -> SequencePreparation:
        """Fit on those training sequences that are present.

        Args:
            modality: Description of the modality.
            value: Training sequences of shape (samples, time, channels); what :func:`~equipoise.data.sequences.real_steps` does
                not count is padding.
            present: Which of them have the modality, of shape (samples,).
            options: What to do; missing numbers get the mean of their channel for ``median`` too, which needs one pass.

        Raises:
            DataError: All numbers are the same.
        """
        longest = max(int(real_steps(rows).sum(axis=1).max(initial=1)) for _, rows in row_chunks(value, present))
        length = min(longest, options.sequence_length or longest)
        chunks = (rows[real_steps(rows)] for _, rows in row_chunks(value, present))
        return cls(length, ArrayPreparation.fit_chunks(chunks, modality.name, modality.shape[1:], "first", options))

    def transform(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Prepare raw sequences.

        Args:
            raw: Sequences of shape (samples, time, channels), however long.

        Returns:
            Prepared sequences of shape (samples, channels + 1, length).
        """
        real = real_steps(raw)[:, : self.length]
        prepared = np.zeros((len(raw), self.length, self.shape[0]), dtype=np.float32)
        steps = prepared[:, : real.shape[1]]
        steps[real, :-1] = self.steps.transform(raw[:, : self.length][real])
        steps[..., -1] = real
        return np.ascontiguousarray(prepared.transpose(0, 2, 1))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; floats keep all their digits."""
        return {"length": self.length, "steps": self.steps.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SequencePreparation:
        """Rebuild from :meth:`to_json`'s data."""
        return cls(int(value["length"]), ArrayPreparation.from_json(value["steps"]))
