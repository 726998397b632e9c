"""Writes short sounds and small pictures of three classes, and a table of them: ``python make_clips.py FOLDER``."""

import csv
import sys
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

RATE = 8000


def main(folder: Path, clips: int = 90) -> None:
    """Write manifest.csv, sounds/ and pictures/; every tenth clip has no picture."""
    random = np.random.default_rng(0)
    time = np.arange(RATE // 4) / RATE
    for name in ("sounds", "pictures"):
        (folder / name).mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "sound", "picture", "label", "speaker"])
        for number in range(clips):
            kind, name = number % 3, f"clip{number:03}"
            tone = np.sin(2 * np.pi * (300 + 250 * kind + random.normal(0, 60)) * time) + random.normal(0, 0.6, len(time))
            soundfile.write(folder / "sounds" / f"{name}.wav", 0.2 * tone, RATE)
            picture = random.integers(0, 160, (20, 24, 3))
            picture[4 + 5 * kind : 8 + 5 * kind, 4:20] += 60
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / f"{name}.png")
            shown = "" if number % 10 == 9 else f"pictures/{name}.png"
            table.writerow([name, f"sounds/{name}.wav", shown, ["low", "middle", "high"][kind], f"s{number // 3 % 10}"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
