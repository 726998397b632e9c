"""Memory that large files take: a sparse h5ad file against the same numbers held densely, and tables read whole or in pieces."""

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
import pandas as pd
from common import Table, report, verdict

SAMPLES, COLUMNS, DENSITY, EPOCHS, CLASSES = 20_000, 20_000, 0.02, 3, 3
STEPS = {
    "inspect": ["data", "describe", "{data}"],
    "train, prepared samples in memory": ["fit", "{data}", "--epochs", str(EPOCHS), "--loader", "memory", "--out", "{out}"],
    "train, streamed": ["fit", "{data}", "--epochs", str(EPOCHS), "--loader", "stream", "--out", "{out}"],
}

ROWS, WIDTH, FREE = 50_000, 1000, 2**29
TABLES = {
    "csv, whole": ("csv", 2**40),
    "csv, in pieces": ("csv", FREE),
    "parquet, whole": ("parquet", 2**40),
    "parquet, in pieces": ("parquet", FREE),
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


def write_tables(folder: Path) -> None:
    """Write a table of two modalities as csv and as parquet, and its first rows to train on."""
    random = np.random.default_rng(0)
    names = [f"{prefix}_{number}" for prefix in "ab" for number in range(WIDTH // 2)]
    block = pd.DataFrame(random.normal(size=(500, WIDTH)).round(8), columns=names)
    block.insert(0, "label", np.arange(500) % 2)
    block.to_csv(folder / "train.csv", index_label="id")
    head, *lines = (folder / "train.csv").read_text().splitlines(keepends=True)
    bodies = [line.split(",", 1)[1] for line in lines]
    with (folder / "table.csv").open("w") as file:
        file.write(head)
        file.writelines(f"{row},{bodies[row % len(bodies)]}" for row in range(ROWS))
    whole = block.iloc[np.arange(ROWS) % len(block)].reset_index(drop=True)
    whole.rename_axis("id").reset_index().to_parquet(
        folder / "table.parquet", index=False, use_dictionary=False, compression=None
    )


def measure(words: list[str], free: int | None) -> tuple[float, float]:
    """Run a command in a process, which is told how many bytes are free; return its largest memory in GiB, and seconds."""
    code = "import sys; from equipoise.cli.main import main; main(sys.argv[1:])"
    if free is not None:
        code = f"from equipoise.data import memory; memory.free_bytes = lambda: {free}; {code}"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, time.perf_counter() - start


def alone(words: list[str], free: int | None = None) -> tuple[float, float]:
    """Measure a command in a process of which it is the only child."""
    said = [] if free is None else ["--free", str(free)]
    command = [sys.executable, __file__, *said, "--one", *words]
    peak, seconds = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return peak, seconds


def line(step: str, path: Path, folder: Path) -> list[str]:
    """Measure one step; return a line of the table."""
    words = [word.format(data=path, out=folder / step.replace(" ", "_")) for word in STEPS[step]]
    peak, seconds = alone(words)
    dense = SAMPLES * COLUMNS * 4 / 2**30
    target = verdict(peak, at_most=dense) if "memory" not in step else ""
    return [step, f"{peak:.2f}", f"{peak / dense:.2f}", target, f"{seconds:.0f}"]


def table_lines(folder: Path) -> list[list[str]]:
    """Measure predictions for tables; return the lines of their table."""
    alone(["fit", str(folder / "train.csv"), "--epochs", "1", "--out", str(folder / "model")])
    idle, _ = alone(["predict", str(folder / "model"), str(folder / "train.csv"), "--out", str(folder / "few.csv")])
    lines = []
    for name, (suffix, free) in TABLES.items():
        path, out = folder / f"table.{suffix}", folder / f"{name}.csv".replace(", ", "_")
        peak, seconds = alone(["predict", str(folder / "model"), str(path), "--out", str(out)], free)
        size = path.stat().st_size / 2**30
        lines.append([name, f"{size:.2f}", f"{peak:.2f}", f"{peak - idle:.2f}", f"{seconds:.0f}"])
    return lines


NOTES = [
    f"The sparse matrix: {SAMPLES} samples x {COLUMNS} columns, {DENSITY:.0%} of the entries, in float32: "
    f"{SAMPLES * COLUMNS * 4 / 2**30:.2f} GiB if dense. {EPOCHS} epochs of the default encoder.",
    f"The tables: {ROWS} rows x {WIDTH} columns of numbers with 8 decimals in two modalities, {ROWS * WIDTH * 8 / 2**30:.2f} "
    f"GiB in float64. In pieces: equipoise is told that {FREE / 2**30:.1f} GiB of memory are free.",
    "Memory is the largest resident size of the process, with Python and torch in it; beyond a few rows means without what "
    "predicting 500 rows takes. Of a parquet file a page of every column, up to about 1 MiB each, is in memory at a time.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=argparse.REMAINDER, help="measure one command and print memory and seconds as JSON")
    parser.add_argument("--free", type=int, help="bytes of memory that are said to be free to that command")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.free)))
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "counts.h5ad"
        write(path)
        rows = [line(step, path, Path(name)) for step in STEPS]
        path.unlink()
        write_tables(Path(name))
        lines = table_lines(Path(name))
    columns = ["step", "memory (GiB)", "share of the dense matrix", "target", "wall (s)"]
    heads = ["file", "size (GiB)", "memory (GiB)", "beyond a few rows (GiB)", "wall (s)"]
    tables = [Table("Memory of a sparse matrix", columns, rows), Table("Memory of predictions for one table", heads, lines)]
    report("container_memory", "Memory of large files", tables, NOTES)


if __name__ == "__main__":
    main()
