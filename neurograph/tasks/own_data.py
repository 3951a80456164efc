"""Tasks from your own data: arrays, tables, folders of images. Whatever is wrong with them is said before anything is trained."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.errors import MissingExtraError, TaskError
from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.build import Classes, array_task, carve
from neurograph.tasks.images import pair

__all__ = ["from_arrays", "from_csv", "from_frame", "from_image_folder", "from_npz", "from_parquet"]

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
_MOST_BYTES = 4 << 30


def from_arrays(
    x: Any,
    labels: Any,
    *,
    name: str = "arrays",
    x_test: Any = None,
    labels_test: Any = None,
    classes: Classes = None,
    ways: int | None = None,
    normalize: str | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    names: Sequence[str] | None = None,
) -> ArrayTask:
    """A task from NumPy arrays.

    Args:
      x: [N, ...] numbers; a row is flattened. Images [N, H, W] or [N, H, W, C] remember their shape; uint8 stays uint8.
      labels: [N] integers or text, at least two different ones.
      name: for messages.
      x_test, labels_test: test rows of your own; without them the share `test` of every class is cut off.
      classes: only these, by number (in sorted order of the labels) or name.
      ways: N-way episodes.
      normalize: "standard", "per_input", "symmetric", "unit" or "none"; default "standard" for images, else "per_input".
      validation: share of the remaining rows for validation.
      test: share for test.
      split_seed: chooses the rows of both.
      names: of the classes, if `labels` are integers 0..len(names)-1.

    Raises:
      TaskError: shapes that do not fit, NaN or infinite values, missing labels, fewer than two classes.
    """
    rows: np.ndarray = _check_rows(x, "x")
    targets: np.ndarray = _check_labels(labels, "labels")
    if len(rows) != len(targets):
        raise TaskError(f"x has {len(rows)} rows and labels has {len(targets)}; they must agree.")
    known: list[Any] = sorted(set(targets.tolist()), key=lambda label: (isinstance(label, str), label))
    if names is not None:
        if not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0 or targets.max() >= len(names):
            raise TaskError(f"names: with {len(names)} names the labels must be integers from 0 to {len(names) - 1}.")
        known = list(range(len(names)))
    if len(known) < 2:
        raise TaskError(f"labels: all rows are of one class, {known[0]!r}; a classification task needs at least 2.")
    index = {label: number for number, label in enumerate(known)}
    numbers = np.array([index[label] for label in targets.tolist()], np.int64)
    if x_test is not None:
        if labels_test is None:
            raise TaskError("x_test is given without labels_test.")
        held_rows, held_labels = _check_rows(x_test, "x_test"), _check_labels(labels_test, "labels_test")
        if held_rows.shape[1:] != rows.shape[1:] or len(held_rows) != len(held_labels):
            raise TaskError(
                f"x_test is {held_rows.shape} with {len(held_labels)} labels; expected rows of {rows.shape[1:]}, one label each."
            )
        strange = sorted({label for label in held_labels.tolist() if label not in index}, key=str)
        if strange:
            raise TaskError(f"labels_test: {strange[:5]} do not occur in labels.")
        if held_rows.dtype != rows.dtype:
            rows, held_rows = rows.astype(np.float32), held_rows.astype(np.float32)
        parts = {"test": (held_rows, np.array([index[label] for label in held_labels.tolist()], np.int64))}
    else:
        keep, cut = carve(numbers, test, split_seed, "test")
        parts = {"test": (rows[cut], numbers[cut])}
        rows, numbers = np.asarray(rows[keep]), np.asarray(numbers[keep])
    keep, cut = carve(numbers, validation, split_seed, "validation")
    parts |= {"train": (rows[keep], numbers[keep]), "validation": (rows[cut], numbers[cut])}
    shape = rows.shape[1:] if rows.ndim in (3, 4) else None
    flat = {split: (data.reshape(len(data), math.prod(rows.shape[1:])), labels) for split, (data, labels) in parts.items()}
    return array_task(
        name,
        flat,
        [str(label) for label in names or known],
        classes=classes,
        ways=ways,
        image_shape=shape,
        normalize=normalize or ("standard" if shape else "per_input"),
    )


def from_npz(path: str | os.PathLike[str], x: str = "x", label: str = "labels", **options: Any) -> ArrayTask:
    """A task from the arrays `x` and `label` of an .npz file, also `x_test` and `<label>_test`. Options: `from_arrays`.

    Raises:
      TaskError: no such file or array, or what `from_arrays` says.
    """
    file = _existing(path)
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (OSError, ValueError) as error:
        raise TaskError(f"{file}: no readable .npz file ({error}).") from error
    for key in (x, label):
        if key not in arrays:
            raise TaskError(f"{file}: it has no array {key!r}; it has: {', '.join(arrays) or 'none'}.")
    if f"{x}_test" in arrays:
        options = {"x_test": arrays[f"{x}_test"], "labels_test": arrays.get(f"{label}_test"), **options}
    return _located(file, lambda: from_arrays(arrays[x], arrays[label], **{"name": file.stem, **options}))


def from_csv(path: str | os.PathLike[str], label: str = "label", delimiter: str = ",", **options: Any) -> ArrayTask:
    """A task from a CSV file with a header: column `label` holds the classes, all others hold numbers. Options: `from_arrays`.

    Raises:
      TaskError: with file, line and column: a cell that is no finite number, a row of another length, an empty label.
    """
    file = _existing(path)
    rows, labels = [], []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            header = [title.strip() for title in next(reader, [])]
            if not header:
                raise TaskError(f"{file}: it is empty; expected a header and rows.")
            place = _label_column(header, label, file)
            inputs = [column for column in range(len(header)) if column != place]
            for cells in reader:
                if not cells:
                    continue
                where = f"{file}:{reader.line_num}"
                if len(cells) != len(header):
                    raise TaskError(f"{where}: {len(cells)} cells; the header has {len(header)}.")
                if not cells[place].strip():
                    raise TaskError(f"{where}: the label (column {label!r}) is missing.")
                labels.append(cells[place].strip())
                try:
                    rows.append(np.array([cells[column] for column in inputs], np.float32))
                except ValueError:
                    rows.append(np.full(len(inputs), np.nan, np.float32))
                if not np.isfinite(rows[-1]).all():
                    bad = next(column for column in inputs if not _is_finite(cells[column]))
                    raise TaskError(f"{where}: column {header[bad]!r}: got {cells[bad]!r}; expected a finite number.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"{file}: no readable CSV file ({error}).") from error
    if not rows:
        raise TaskError(f"{file}: it has a header and no rows.")
    return _located(file, lambda: from_arrays(np.stack(rows), _tidy(labels), **{"name": file.stem, **options}))


def from_parquet(path: str | os.PathLike[str], label: str = "label", **options: Any) -> ArrayTask:
    """A task from a Parquet file with a label column, all other columns numbers. Options: `from_arrays`.

    Raises:
      TaskError: as `from_frame`.
      MissingExtraError: pyarrow is not installed.
    """
    file = _existing(path)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", f"reading {file}") from error
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise TaskError(f"{file}: no readable Parquet file ({error}).") from error
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    return _located(file, lambda: _from_columns(columns, label, {"name": file.stem, **options}))


def from_frame(frame: Any, label: str = "label", **options: Any) -> ArrayTask:
    """A task from a pandas frame (or anything with `columns` and `frame[column]`): column `label` and columns of numbers.

    Raises:
      TaskError: no such column, a column that is not numbers, missing values (with row and column), and what `from_arrays` says.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise TaskError(f"from_frame: got {type(frame).__name__}; expected a data frame.")
    columns = {str(column): np.asarray(frame[column]) for column in frame.columns}
    return _from_columns(columns, label, {"name": "frame", **options})


def from_image_folder(
    path: str | os.PathLike[str], size: Any = 28, gray: bool = True, test_folder: str = "test", **options: Any
) -> ArrayTask:
    """A task from a folder of images, one subfolder per class; or with subfolders `train` and `test` that hold those.

    Args:
      path: the folder.
      size: every image is resized to this, an integer or [height, width], antialiased.
      gray: one channel; False: three.
      test_folder: name of the test subfolder.
      options: of `from_arrays`.

    Raises:
      TaskError: no images, fewer than two classes, a file that is no readable image (by name).
      MissingExtraError: pillow is not installed.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise TaskError(f"{root}: there is no such folder.")
    target = pair("size", size)
    if target is None:
        raise TaskError("size: a folder of images needs a size, an integer or [height, width].")
    train = root / "train" if (root / "train").is_dir() else root
    images, labels = _read_folder(train, target, gray)
    given: dict[str, Any] = {"name": root.name, **options}
    if train is not root and (root / test_folder).is_dir():
        given["x_test"], given["labels_test"] = _read_folder(root / test_folder, target, gray)
    return _located(root, lambda: from_arrays(images, labels, **given))


def _read_folder(root: Path, size: tuple[int, int], gray: bool) -> tuple[np.ndarray, np.ndarray]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "data", f"reading the images in {root}") from error
    files = [
        file
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in _IMAGES
    ]
    if not files:
        raise TaskError(
            f"{root}: no images found; expected one subfolder per class with {', '.join(sorted(_IMAGES))} files in it."
        )
    channels = () if gray else (3,)
    _check_bytes(len(files) * size[0] * size[1] * (1 if gray else 3), str(root))
    images = np.empty((len(files), *size, *channels), np.uint8)
    for row, file in enumerate(files):
        try:
            with Image.open(file) as picture:
                picture = picture.convert("L" if gray else "RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
                images[row] = np.asarray(picture)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise TaskError(f"{file}: no readable image ({error}).") from error
    return images, np.array([file.relative_to(root).parts[0] for file in files])


def _from_columns(columns: dict[str, np.ndarray], label: str, options: dict[str, Any]) -> ArrayTask:
    place = _label_column(list(columns), label, None)
    inputs = []
    for name in (name for index, name in enumerate(columns) if index != place):
        column = columns[name]
        if column.dtype.kind == "O":
            column = _numbers(column, name)
        if column.dtype.kind not in "buif":
            raise TaskError(f"column {name!r} holds {column.dtype}; expected numbers (drop it, or encode it).")
        bad = np.flatnonzero(~np.isfinite(column.astype(np.float64)))
        if len(bad):
            raise TaskError(
                f"column {name!r}, row {bad[0]}: missing or infinite ({len(bad)} such rows); expected finite numbers."
            )
        inputs.append(column.astype(np.float32))
    if not inputs:
        raise TaskError(f"there is no column besides the label {label!r}.")
    return from_arrays(np.stack(inputs, axis=1), columns[label], **options)


def _numbers(column: np.ndarray, name: str) -> np.ndarray:
    try:
        return np.array([np.nan if value is None else float(value) for value in column.tolist()])
    except (TypeError, ValueError):
        row, value = next((r, v) for r, v in enumerate(column.tolist()) if v is not None and not _is_number(v))
        raise TaskError(f"column {name!r}, row {row}: got {value!r}; expected numbers (drop the column, or encode it).") from None


def _check_rows(x: Any, argument: str) -> np.ndarray:
    try:
        rows = np.asarray(x)
    except ValueError as error:
        raise TaskError(f"{argument}: its rows differ in length; expected an array [rows, inputs].") from error
    if rows.dtype.kind not in "buif":
        raise TaskError(f"{argument}: got {rows.dtype} values; expected numbers.")
    if rows.ndim < 2 or len(rows) == 0 or rows[0].size == 0:
        raise TaskError(f"{argument}: got shape {rows.shape}; expected [rows, inputs] or [rows, height, width(, channels)].")
    if rows.dtype == np.uint8:
        return rows
    _check_bytes(rows.size * 4, argument)
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    bad = ~np.isfinite(rows)
    if bad.any():
        place = [int(index) for index in np.argwhere(bad)[0]]
        raise TaskError(f"{argument}{place}: got {rows[tuple(place)]}; expected finite numbers ({int(bad.sum())} are not).")
    return rows


def _check_labels(labels: Any, argument: str) -> np.ndarray:
    values = np.asarray(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise TaskError(f"{argument}: got shape {values.shape}; expected one label per row (a class number or name).")
    gone = [row for row, value in enumerate(values.tolist()) if value is None or value == "" or value != value]
    if gone:
        raise TaskError(f"{argument}[{gone[0]}]: the label is missing ({len(gone)} are).")
    if values.dtype.kind == "f":
        whole = values.astype(np.int64)
        if (whole != values).any():
            row = int(np.flatnonzero(whole != values)[0])
            raise TaskError(
                f"{argument}[{row}]: got {values[row]}; expected class numbers or names (regression data is not read)."
            )
        return whole
    return values.astype(str) if values.dtype.kind == "O" and any(isinstance(value, str) for value in values) else values


def _tidy(labels: list[str]) -> np.ndarray:
    """Text labels; integers if all are, so that class 10 comes after class 9."""
    return np.array(labels, np.int64) if all(label.lstrip("-").isdecimal() for label in labels) else np.array(labels)


def _label_column(header: list[str], label: str, file: Path | None) -> int:
    where = f"{file}: " if file else ""
    if label not in header:
        raise TaskError(f"{where}there is no column {label!r} (option label); columns: {', '.join(header[:20]) or 'none'}.")
    if header.count(label) > 1:
        raise TaskError(f"{where}column {label!r} occurs {header.count(label)} times.")
    if len(header) < 2:
        raise TaskError(f"{where}there is no column besides the label {label!r}.")
    return header.index(label)


def _existing(path: str | os.PathLike[str]) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise TaskError(f"{file}: there is no such file.")
    return file


def _located(where: Path, make: Any) -> ArrayTask:
    try:
        return make()
    except TypeError as error:
        raise TaskError(f"{where}: {error} (options: those of from_arrays).") from error
    except TaskError as error:
        raise TaskError(f"{where}: {error}") from error


def _check_bytes(number: int, what: str) -> None:
    if number > _MOST_BYTES:
        raise TaskError(
            f"{what}: {number / 1e9:.1f} GB; at most {_MOST_BYTES / 1e9:.1f} GB are kept resident. Use fewer or smaller rows."
        )


def _is_finite(text: str) -> bool:
    return _is_number(text) and bool(np.isfinite(float(text)))


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
