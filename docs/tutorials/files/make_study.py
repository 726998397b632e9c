"""Writes a small study of tumours to try things on: ``python make_study.py FOLDER``.

600 made-up patients of six hospitals, three subtypes, and three tables of what was measured. In mRNA the subtype can be read off
easily, in protein less so; in copy number it stands in pairs of changes, which takes longer to learn. Not every patient has
every table.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd


def main(folder: Path, patients: int = 600) -> None:
    """Write labels.csv and a table per layer."""
    random = np.random.default_rng(7)
    subtype, hospital = random.integers(0, 3, patients), random.integers(0, 6, patients)
    ids = [f"P{number:03}" for number in range(patients)]
    names = np.array(["basal", "luminal", "her2"])
    folder.mkdir(parents=True)
    labels = {"patient": ids, "subtype": names[subtype], "hospital": [f"h{number}" for number in hospital]}
    pd.DataFrame(labels).to_csv(folder / "labels.csv", index=False)
    noisy = np.eye(3)[subtype] + 0.55 * random.normal(size=(patients, 3))  # what mRNA and protein both see
    angle = np.pi * subtype / 3 + np.pi * random.integers(0, 2, patients)
    pairs = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.25 * random.normal(size=(patients, 2))
    protein = noisy + 0.4 * random.normal(size=(patients, 3))
    layers = {"mrna": (noisy, 40, 1.0), "protein": (protein, 20, 0.7), "copy_number": (2 * pairs, 25, 0.85)}
    for name, (signal, columns, share) in layers.items():
        values = 1.5 * signal @ random.normal(size=(signal.shape[1], columns)) + random.normal(size=(patients, columns))
        table = pd.DataFrame(values.round(3), columns=[f"{name}_{number}" for number in range(columns)])
        table.insert(0, "patient", ids)
        table[random.random(patients) < share].sample(frac=1, random_state=1).to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
