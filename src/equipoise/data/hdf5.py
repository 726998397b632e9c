"""Elements of HDF5 files as anndata and mudata write them; a group or dataset says in ``encoding-type`` what it is.

A file is of untrusted origin: what lies outside of it (links to other files, external storage) and what is no plain numbers or
text is refused, so that reading can neither leave the file nor execute code.

References:
    The format: https://anndata.readthedocs.io/en/stable/fileformat-prose.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.files import reading
from equipoise.data.memory import fits, free_bytes, readable
from equipoise.errors import DataError, suggest

if TYPE_CHECKING:
    import pandas as pd

_PIECE = 1 << 24
"""Bytes of a sparse matrix that are read together."""

_SHARE = 8
"""A range of its columns takes at most this part of the free memory."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Args:
        path: The file.

    Yields:
        The root group.

    Raises:
        DataError: h5py is not installed, the file is damaged or is no HDF5 file.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path} needs the package h5py to be read; install it by: pip install 'equipoise[omics]'") from None
    with reading(path, f"an HDF5 file ({path.suffix.removeprefix('.')})"), h5py.File(path, "r") as file:
        yield file


def place(node: Any) -> str:
    """Return how messages call a group or dataset: the file and the path in it."""
    return f"{node.file.filename}: {node.name.strip('/')}".removesuffix(": ")


def child(group: Any, name: str) -> Any:
    """Return a member of a group by its path, without leaving the file.

    Args:
        group: The group.
        name: Names joined by ``/``.

    Raises:
        DataError: There is no such member, or it lies in another file.
    """
    import h5py

    node = group
    for part in name.split("/"):
        if part not in _members(node):
            raise DataError(f"{place(node)} has no {part!r}, {suggest(part, _members(node))}")
        link = node.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(
                f"{place(node)}: {part!r} is a link to another file ({link.filename!r}), which is refused; "
                "copy the data into one file"
            )
        node = node[part]
    if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual):
        raise DataError(f"{place(node)} is stored in other files, which is refused; copy the data into one file")
    return node


def has(group: Any, name: str) -> bool:
    """Return whether a group has a member of this path; a link to another file counts, so that :func:`child` can refuse it."""
    import h5py

    first, _, rest = name.partition("/")
    if first not in _members(group):
        return False
    return not rest or isinstance(group.get(first, getlink=True), h5py.ExternalLink) or has(group[first], rest)


def _members(node: Any) -> list[str]:
    """The names in a group; a dataset has none."""
    return [str(name) for name in node] if hasattr(node, "keys") else []


def columns_of(frame: Any) -> list[str]:
    """Return the columns of an encoded table, its index not among them.

    Raises:
        DataError: It is no table, or one of a version before anndata 0.7.
    """
    if frame.attrs.get("encoding-type") != "dataframe":
        raise DataError(
            f"{place(frame)} is no table as anndata 0.7 and later write them; read the file with anndata and write it again"
        )
    return [_word(name) for name in frame.attrs["column-order"]]


def index_of(frame: Any) -> NDArray[np.str_]:
    """Return the index of an encoded table as text, of shape (rows,)."""
    columns_of(frame)
    values = read_column(child(frame, _word(frame.attrs["_index"])))
    return np.asarray(values, dtype=object).astype(str)


def read_table(frame: Any) -> pd.DataFrame:
    """Return an encoded table without its index."""
    import pandas as pd

    return pd.DataFrame({name: read_column(child(frame, name)) for name in columns_of(frame)})


def read_column(node: Any) -> Any:
    """Return one column of an encoded table: numbers, text, categories, or any of them with missing values.

    Args:
        node: The dataset, or the group of a categorical or nullable array.

    Returns:
        An array or a pandas array of shape (rows,).

    Raises:
        DataError: It is none of these.
    """
    import pandas as pd

    encoding = _word(node.attrs.get("encoding-type", ""))
    if encoding == "categorical":
        return _categories(node, read_column(child(node, "codes")), child(node, "categories"))
    if encoding in ("nullable-integer", "nullable-boolean", "nullable-string-array"):
        known = pd.Series(read_column(child(node, "values")), dtype=object)
        return known.mask(read_column(child(node, "mask")).astype(bool), None).to_numpy()
    if not hasattr(node, "dtype"):
        raise DataError(f"{place(node)} is encoded as {encoding or 'a group'!r}, expected a column of one value per row")
    if "categories" in node.attrs:  # how anndata 0.7 wrote categories: a reference to a dataset beside
        return _categories(node, plain(node)[()], node.file[node.attrs["categories"]])
    values = plain(node)[()]
    if values.dtype.kind in "OS":
        values = np.array([item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in values], dtype=object)
    if values.ndim != 1:
        raise DataError(f"{place(node)} has shape {values.shape}, expected a column of one value per row")
    return values


def _categories(node: Any, codes: NDArray[Any], categories: Any) -> Any:
    import pandas as pd

    names = read_column(categories)
    if len(codes) and (codes.min() < -1 or codes.max() >= len(names)):
        raise DataError(f"{place(node)} is damaged: it has codes beyond its {len(names)} categories")
    return pd.Categorical.from_codes(codes.astype(np.int64), categories=pd.Index(names)).astype(object)


def plain(node: Any) -> Any:
    """Return a dataset that holds numbers or text.

    Raises:
        DataError: It is a group, or holds anything else: references, compounds, pickled objects.
    """
    import h5py

    if not isinstance(node, h5py.Dataset):
        raise DataError(f"{place(node)} is a group of type {_word(node.attrs.get('encoding-type', 'none'))!r}, expected an array")
    if node.dtype.kind not in "buifS" and h5py.check_string_dtype(node.dtype) is None:
        raise DataError(f"{place(node)} holds objects of type {node.dtype}, which are refused; expected numbers or text")
    return node


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, eq=False)
class StoredMatrix:
    """A matrix in an HDF5 file, dense or sparse by rows, whose rows are read when they are asked for.

    Attributes:
        path: The file.
        name: The path in it.
        shape: Rows and columns.
        dtype: Type of the numbers.
        starts: Of a sparse matrix where each row begins, int64 of shape (rows + 1,); None for a dense one.
    """

    path: Path
    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    starts: NDArray[np.int64] | None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> Any:
        """Read rows in any order: an array of shape (chosen, columns), or a sparse one."""
        order = np.argsort(rows, kind="stable")
        unique, back = np.unique(rows[order], return_inverse=True)
        with opened(self.path) as file:
            node = child(file, self.name)
            found = _dense_rows(node, unique) if self.starts is None else _sparse_rows(node, unique, self.starts, self.shape[1])
        again = np.empty(len(rows), dtype=np.int64)
        again[order] = back
        return found if np.array_equal(again, np.arange(len(unique))) else found[again]

    def column_ranges(self, rows: NDArray[np.int64], columns: NDArray[np.int64] | None, width: int) -> Iterator[Any]:
        """Read a sparse matrix range of columns by range of columns, with one pass over the file for each.

        Args:
            rows: The rows to read.
            columns: The columns to read; all when not given.
            width: What the number of columns of a range is a multiple of.

        Yields:
            Sparse arrays of shape (rows, columns in the range), as wide as memory allows.
        """
        from scipy import sparse

        assert self.starts is not None
        columns = np.arange(self.shape[1]) if columns is None else columns
        size = int(np.diff(self.starts)[rows].sum()) * (self.dtype.itemsize + 8)
        pieces = [piece for piece in np.array_split(rows, 1 + size // _PIECE) if len(piece)]
        blocks = -(-len(columns) // width)
        step = width * max(1, blocks // (1 + size * _SHARE // free_bytes()))
        for start in range(0, len(columns), step):
            part = columns[start : start + step]
            yield sparse.vstack([self[piece][:, part] for piece in pieces], format="csr")


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ascending row numbers as ranges: ``1 2 3 7`` is ``(1, 4), (7, 8)``."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, cuts) if len(run)]


def _dense_rows(node: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    pieces = [node[first:last] for first, last in _runs(rows)]
    return np.concatenate(pieces) if pieces else np.empty((0, *node.shape[1:]), node.dtype)


def _sparse_rows(node: Any, rows: NDArray[np.int64], starts: NDArray[np.int64], width: int) -> Any:
    runs = [(int(starts[first]), int(starts[last])) for first, last in _runs(rows)]
    data, indices = (
        np.concatenate([dataset[first:last] for first, last in runs]) if runs else np.empty(0, dataset.dtype)
        for dataset in (plain(child(node, "data")), plain(child(node, "indices")))
    )
    return _checked(data, indices, np.concatenate([[0], np.cumsum(np.diff(starts)[rows])]), (len(rows), width), place(node))


def _checked(data: Any, indices: Any, starts: Any, shape: tuple[int, int], where: str) -> Any:
    """A sparse array by rows; what a damaged file says about positions must not reach compiled code unchecked."""
    from scipy import sparse

    if len(indices) and (indices.min() < 0 or indices.max() >= shape[1]):
        raise DataError(f"{where} is damaged: it has values beyond its {shape[1]} columns")
    try:
        return sparse.csr_array((data, indices, starts), shape=shape)
    except ValueError as error:
        raise DataError(f"{where} is damaged: {error}") from None


def read_matrix(node: Any, path: Path) -> Any:
    """Return a matrix: in memory where it fits, sparse as it is stored, else as a :class:`StoredMatrix`.

    Args:
        node: An array, or the group of a sparse matrix.
        path: The file.

    Returns:
        An array of shape (rows, ...), a sparse array, or a stored matrix.

    Raises:
        DataError: It is no matrix of numbers, it is damaged, or it is sparse by columns and too large for memory.
    """
    encoding = _word(node.attrs.get("encoding-type", ""))
    if encoding not in ("csr_matrix", "csc_matrix"):
        dataset = plain(node)
        if dataset.dtype.kind not in "buif" or dataset.ndim < 2:
            raise DataError(f"{place(node)} holds values of type {dataset.dtype} of shape {dataset.shape}, expected a matrix")
        if fits(dataset.size * dataset.dtype.itemsize) or dataset.ndim > 2:
            return dataset[()]
        return StoredMatrix(path.resolve(), node.name.strip("/"), dataset.shape, dataset.dtype, None)
    rows, columns = (int(size) for size in node.attrs["shape"])
    data, indices = plain(child(node, "data")), plain(child(node, "indices"))
    starts = plain(child(node, "indptr"))[()].astype(np.int64)
    lines = rows if encoding == "csr_matrix" else columns
    if len(starts) != lines + 1 or starts[0] != 0 or (np.diff(starts) < 0).any() or not starts[-1] == len(data) == len(indices):
        raise DataError(f"{place(node)} is damaged: its rows and its values differ in number")
    size = len(data) * (data.dtype.itemsize + indices.dtype.itemsize)
    if encoding == "csr_matrix":
        if fits(size):
            return _checked(data[()], indices[()], starts, (rows, columns), place(node))
        return StoredMatrix(path.resolve(), node.name.strip("/"), (rows, columns), data.dtype, starts)
    if not fits(2 * size):
        raise DataError(
            f"{place(node)} is a sparse matrix of {rows} x {columns} stored by columns (csc_matrix): turning its "
            f"{readable(size)} takes twice that and {readable(free_bytes())} of memory are free, expected one stored by rows, "
            "which is streamed: write the file again after adata.X = adata.X.tocsr()"
        )
    return _checked(data[()], indices[()], starts, (columns, rows), place(node)).T.tocsr()
