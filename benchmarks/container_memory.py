"""Memory that a sparse h5ad file takes from looking at it to a trained model, against the same numbers held densely."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from common import Table, report, verdict

SAMPLES, COLUMNS, DENSITY, EPOCHS, CLASSES = 20_000, 20_000, 0.02, 3, 3
STEPS = {
    "inspect": ["data", "describe", "{data}"],
    "train, prepared samples in memory": ["fit", "{data}", "--epochs", str(EPOCHS), "--loader", "memory", "--out", "{out}"],
    "train, streamed": ["fit", "{data}", "--epochs", str(EPOCHS), "--loader", "stream", "--out", "{out}"],
}


def write(path: Path) -> None:
    """Write random counts of which a third of the columns is larger in each class, as anndata does."""
    random = np.random.default_rng(0)
    label = random.integers(0, CLASSES, SAMPLES)
    each = int(COLUMNS * DENSITY)
    indices = np.arange(0, COLUMNS, COLUMNS // each) + random.integers(0, COLUMNS // each, (SAMPLES, each))
    data = random.poisson(2.0, indices.shape) + 1 + 2 * (indices % CLASSES == label[:, None])
    with h5py.File(path, "w") as file:
        matrix = file.create_group("X")
        matrix.attrs.update({"encoding-type": "csr_matrix", "shape": (SAMPLES, COLUMNS)})
        matrix["data"], matrix["indices"] = data.ravel().astype(np.float32), indices.ravel().astype(np.int32)
        matrix["indptr"] = np.arange(SAMPLES + 1) * each
        for name, count, columns in (("obs", SAMPLES, {"label": label}), ("var", COLUMNS, {})):
            frame = file.create_group(name)
            frame.attrs.update(
                {"encoding-type": "dataframe", "_index": "_index", "column-order": np.array([*columns], dtype="S")}
            )
            frame["_index"] = np.array([f"{name}{number}" for number in range(count)], dtype="S")
            for column, values in columns.items():
                frame[column] = values


def measure(words: list[str]) -> tuple[float, float]:
    """Run a command in a process of its own; return its largest memory in GiB, and seconds."""
    code = "import sys; from equipoise.cli.main import main; main(sys.argv[1:])"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, time.perf_counter() - start


def line(step: str, path: Path, folder: Path) -> list[str]:
    """Measure one step in a process of its own, of which it is the only child; return a line of the table."""
    words = [word.format(data=path, out=folder / step.replace(" ", "_")) for word in STEPS[step]]
    found = subprocess.run([sys.executable, __file__, "--one", *words], check=True, capture_output=True, text=True).stdout
    peak, seconds = json.loads(found)
    dense = SAMPLES * COLUMNS * 4 / 2**30
    target = verdict(peak, at_most=dense) if "memory" not in step else ""
    return [step, f"{peak:.2f}", f"{peak / dense:.2f}", target, f"{seconds:.0f}"]


NOTES = [
    f"{SAMPLES} samples x {COLUMNS} columns, {DENSITY:.0%} of the entries, in float32: {SAMPLES * COLUMNS * 4 / 2**30:.2f} GiB "
    f"if dense. {EPOCHS} epochs of the default encoder.",
    "Memory is the largest resident size of the process, with Python, torch and the sparse matrix in it.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=argparse.REMAINDER, help="measure one command and print memory and seconds as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "counts.h5ad"
        write(path)
        rows = [line(step, path, Path(name)) for step in STEPS]
    columns = ["step", "memory (GiB)", "share of the dense matrix", "target", "wall (s)"]
    report("container_memory", "Memory of a sparse matrix", [Table("Memory of a sparse matrix", columns, rows)], NOTES)


if __name__ == "__main__":
    main()
