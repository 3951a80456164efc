"""Adjacency matrices: an entry in row i and column j is a synapse from neuron i to neuron j."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.options import Options
from neurograph.topology.formats.parsing import as_finite, short

__all__ = ["read_matrix_csv", "read_matrix_market", "read_numpy"]


def read_matrix_market(path: Path, options: Options) -> Table:
    """Returns a Matrix Market file (.mtx) as a table; neurons are called by their row, from "1".

    Every stored entry is a synapse, of the weight that is stored; in the dense form every entry that is not 0.

    Raises:
      SpecError: no such file format, a matrix that is not square, complex, or of a symmetry that stands for undirected edges.
    """
    from scipy.io import mminfo, mmread

    try:
        rows, columns, entries, _, kind, symmetry = mminfo(path)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        _fail(path, f"not a Matrix Market file ({short(str(error))[1:-1]}).")
    if symmetry != "general":
        _fail(
            path, f"the matrix is {symmetry}: its edges have no direction; expected general, with an entry for every synapse.", 1
        )
    if kind not in ("real", "integer", "pattern", "double", "unsigned-integer"):
        _fail(path, f"the entries are {short(kind)[1:-1]}; expected real, integer or pattern.", 1)
    _square(path, (rows, columns), options, entries)
    try:
        matrix: Any = mmread(path)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        _fail(path, f"not a Matrix Market file ({short(str(error))[1:-1]}).")
    names = [str(number) for number in range(1, rows + 1)]
    if kind == "pattern":
        return _table(path, names, matrix.row, matrix.col, None, options)
    return _of_matrix(path, names, matrix, options)


def read_numpy(path: Path, options: Options) -> Table:
    """Returns an adjacency matrix in a NumPy file as a table; neurons are called by their row, from "0".

    A .npy file holds the matrix, a .npz file the one array that is a square matrix, or what `scipy.sparse.save_npz` writes.
    Entries that are not 0, or those that are stored, are synapses. Truth values have no weights.

    Raises:
      SpecError: no such file, no or several square matrices, objects, complex numbers.
    """
    with path.open("rb") as stream:
        try:
            content = np.load(stream, allow_pickle=False)
            arrays = {"": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}
        except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            _fail(path, f"not a NumPy file of numbers ({short(str(error))[1:-1]}).")
    if "format" in arrays:
        return _of_sparse(path, options)
    if "" in arrays:
        return _of_matrix(path, None, arrays[""], options)
    square = {name: array for name, array in arrays.items() if array.ndim == 2 and len({*array.shape}) == 1}
    if len(square) != 1 or len(arrays) != 1:
        shapes = ", ".join(
            f"{short(name)[1:-1]} {'x'.join(map(str, array.shape)) or 'a number'}" for name, array in arrays.items()
        )
        _fail(path, f"holds {shapes[:300] or 'nothing'}; expected one square matrix.")
    (matrix,) = square.values()
    return _of_matrix(path, None, matrix, options)


def _of_sparse(path: Path, options: Options) -> Table:
    from scipy.sparse import load_npz

    try:
        matrix = load_npz(path)
    except (ValueError, OSError, KeyError, AttributeError, NotImplementedError) as error:
        _fail(path, f"no sparse matrix of scipy ({short(str(error))[1:-1]}).")
    return _of_matrix(path, None, matrix.tocoo(), options)


def read_matrix_csv(text: str, path: str, options: Options) -> Table:
    """Returns an adjacency matrix in CSV as a table: as pandas writes a frame whose index and columns are the neurons.

    The first cell of the header is empty, the others are names; every row begins with the name of its neuron, in the same order.
    Empty cells and zeros are no synapses.

    Raises:
      SpecError: with the line: rows of another length or order, a cell that is no number.
    """
    delimiter = max(",;\t", key=text[: text.find("\n") + 1 or len(text)].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    sources: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    try:
        names = [name.strip() for name in next(reader)[1:]]
        options.limits.check(neurons=len(names), synapses=0, what=path)
        count = 0
        for row in reader:
            if not any(row):
                continue
            if len(row) != len(names) + 1:
                _fail(path, f"a row of {len(row)} values; the header has {len(names) + 1}.", reader.line_num)
            if count == len(names) or row[0].strip() != names[count]:
                expected = "no more rows" if count == len(names) else short(names[count])
                _fail(path, f"a row of neuron {short(row[0].strip())}; expected {expected}, as in the header.", reader.line_num)
            for number, cell in enumerate(row[1:]):
                if not (cell := cell.strip()):
                    continue
                try:
                    value = as_finite(cell)
                except (ValueError, TypeError, OverflowError):
                    ends = f"from {short(names[count])} to {short(names[number])}"
                    _fail(path, f"{ends}: got {short(cell)}; expected a finite number.", reader.line_num)
                if value:
                    sources.append(count)
                    targets.append(number)
                    weights.append(value)
            options.limits.check(neurons=len(names), synapses=len(sources), what=path)
            count += 1
    except csv.Error as error:
        _fail(path, f"not valid CSV: {error}.", reader.line_num)
    if count < len(names):
        _fail(path, f"has {count} rows; the header names {len(names)} neurons.", reader.line_num)
    return _table(path, names, sources, targets, weights, options)


def _of_matrix(path: Any, names: list[str] | None, matrix: Any, options: Options) -> Table:
    """Returns the table of a dense matrix, or of a sparse one with `row`, `col` and `data`."""
    if matrix.ndim != 2:
        _fail(path, f"holds an array of {matrix.ndim} axes; expected a square matrix.")
    _square(path, matrix.shape, options)
    if matrix.dtype.kind not in "biuf":
        _fail(path, f"holds {matrix.dtype} numbers; expected real ones.")
    if isinstance(matrix, np.ndarray):
        rows, columns = np.nonzero(matrix)
        values = matrix[rows, columns]
    else:
        rows, columns, values = matrix.row, matrix.col, matrix.data
    names = [str(number) for number in range(matrix.shape[0])] if names is None else names
    return _table(path, names, rows, columns, None if matrix.dtype.kind == "b" else values, options)


def _table(path: Any, names: list[str], rows: Any, columns: Any, weights: Any, options: Options) -> Table:
    options.limits.check(neurons=len(names), synapses=len(rows), what=str(path))
    table = Table(names, np.asarray(rows, np.int32), np.asarray(columns, np.int32), path=str(path))
    if weights is not None and options.weight:
        table.edges[options.weight] = Column(np.arange(len(weights)), np.asarray(weights))
    return table


def _square(path: Any, shape: tuple[int, ...], options: Options, entries: int = 0) -> None:
    if len({*shape}) != 1:
        _fail(
            path, f"the matrix is {' x '.join(map(str, shape))}; expected a square one, whose rows and columns are the neurons."
        )
    options.limits.check(neurons=shape[0], synapses=entries, what=str(path))


def _fail(path: Any, message: str, line: int | None = None) -> NoReturn:
    raise SpecError([Fault(message, str(path), line)])
