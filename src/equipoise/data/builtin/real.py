"""Small real data sets that scikit-learn carries, cut into modalities."""

from __future__ import annotations

from typing import Any

import numpy as np


def wisconsin() -> dict[str, Any]:
    """Return the breast cancer set: 569 samples, 2 classes, 3 tables of 10 columns (mean, standard error, worst value).

    Example:
        >>> sorted(wisconsin())
        ['error', 'label', 'mean', 'worst']
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    table = bunch.data
    columns = {
        "mean": [name for name in table if name.startswith("mean ")],
        "error": [name for name in table if name.endswith(" error")],
        "worst": [name for name in table if name.startswith("worst ")],
    }
    labels = np.asarray(bunch.target_names, dtype=str)[bunch.target.to_numpy()]
    return {**{name: table[names] for name, names in columns.items()}, "label": labels}


def digits() -> dict[str, Any]:
    """Return 1797 handwritten digits of 8 x 8 pixels, 10 classes, cut into four quadrants of 4 x 4.

    Example:
        >>> digits()["upper_left"].shape
        (1797, 4, 4)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures = bunch.images.astype(np.uint8)
    return {
        "upper_left": pictures[:, :4, :4],
        "upper_right": pictures[:, :4, 4:],
        "lower_left": pictures[:, 4:, :4],
        "lower_right": pictures[:, 4:, 4:],
        "label": bunch.target,
    }
