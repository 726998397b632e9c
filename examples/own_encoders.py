"""Encoders of your own, and samples that lack a modality: ``python examples/own_encoders.py``."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from torch import Tensor, nn

import equipoise


class Rows(nn.Module):
    """Reads a picture row by row. Any module will do that turns (batch, ...) into (batch, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(width, 32, batch_first=True)

    def forward(self, picture: Tensor) -> Tensor:
        """Return features of shape (batch, 32); pictures come with their channels first."""
        _, last = self.recurrent(picture.squeeze(1))
        features: Tensor = last[-1]
        return features


def main(epochs: int = 30) -> equipoise.Run:
    """Train on the upper and the lower half of digits, where the lower half of every third one is lost."""
    digits = load_digits()
    upper, lower = digits.images[:, :4], digits.images[:, 4:]
    has_lower = np.arange(len(digits.target)) % 3 > 0
    run = equipoise.fit(
        {"upper": upper, "lower": lower, "lower_present": has_lower},
        target=digits.target,
        method="joint_unimodal",
        encoders={"upper": Rows(8)},  # the other modality gets the default of its kind
        encoder={"lower": "mlp"},
        epochs=epochs,
    )
    for name, values in run.metrics.items():
        print(f"{name:6} accuracy {values['accuracy']:.3f} on {values['samples']} test samples")
    predictions = run.predict({"upper": upper[:5]})  # no lower half at all
    print(predictions.frame()[["id", "prediction", "upper.present", "lower.present"]].to_string(index=False))
    return run


if __name__ == "__main__":
    main()
