"""Tasks from your own data: arrays, tables, folders of images; every fault is found before anything is trained."""

from __future__ import annotations

import csv
import math
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.errors import MissingExtraError, TaskError
from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.build import Classes, array_task, carve
from neurograph.tasks.image_folder import image_files, read_folder
from neurograph.tasks.images import pair
from neurograph.tasks.rows import check_labels, check_rows, float32_column, read_cells, tidy_labels

__all__ = ["from_arrays", "from_csv", "from_frame", "from_image_folder", "from_npz", "from_parquet"]


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
      TaskError: shapes that do not fit, values that are missing, masked, infinite or beyond float32, labels that are missing or
        could be two, fewer than two classes, or an option of the wrong kind.

    Examples:
      >>> import numpy as np
      >>> import neurograph as ng
      >>> x = np.random.default_rng(0).normal(size=(60, 3))
      >>> ng.from_arrays(x, np.where(x[:, 0] > 0, "up", "down"))
      <ArrayTask arrays: 3 inputs, 2 outputs, 2 classes>
    """
    targets = check_labels(labels, lambda row: f"labels[{row}]", "labels")
    rows = check_rows(x, "x")
    if len(rows) != len(targets):
        raise TaskError(f"x has {len(rows)} rows and labels has {len(targets)}; they must agree.")
    if not isinstance(name, str) or not name:
        raise TaskError(f"name: got {name!r}; expected text.")
    known = _classes(targets, names)
    index = {label: number for number, label in enumerate(known)}
    numbers = np.array([index[label] for label in targets.tolist()], np.int64)
    if (x_test is None) != (labels_test is None):
        given = ("x_test", "labels_test") if labels_test is None else ("labels_test", "x_test")
        raise TaskError(f"{given[0]} is given without {given[1]}.")
    seed = 0 if split_seed is None else split_seed
    if x_test is not None:
        held_rows, held = _held_out(x_test, labels_test, rows, index)
        if held_rows.dtype != rows.dtype:
            rows, held_rows = rows.astype(np.float32), held_rows.astype(np.float32)
        parts = {"test": (held_rows, held)}
    else:
        keep, cut = carve(numbers, 0.2 if test is None else test, seed, "test")
        parts = {"test": (rows[cut], numbers[cut])}
        rows, numbers = np.asarray(rows[keep]), np.asarray(numbers[keep])
    keep, cut = carve(numbers, 0.2 if validation is None else validation, seed, "validation")
    parts |= {"train": (rows[keep], numbers[keep]), "validation": (rows[cut], numbers[cut])}
    shape = rows.shape[1:] if rows.ndim in (3, 4) else None
    flat = {split: (data.reshape(len(data), math.prod(rows.shape[1:])), labels) for split, (data, labels) in parts.items()}
    return array_task(
        name,
        flat,
        [str(label) for label in (known if names is None else names)],
        classes=classes,
        ways=ways,
        image_shape=shape,
        normalize=normalize or ("standard" if shape else "per_input"),
    )


def _classes(targets: np.ndarray, names: Any) -> list[Any]:
    """The different labels, sorted, numbers before text; with `names`, 0 to their number."""
    if names is None:
        known = sorted(set(targets.tolist()), key=lambda label: (isinstance(label, str), label))
    else:
        if isinstance(names, (str, bytes, Mapping, Set)) or not isinstance(names, Iterable):
            raise TaskError(f"names: got {type(names).__name__}; expected a list of names.")
        listed = [str(name) for name in names]
        if len(set(listed)) < len(listed):
            raise TaskError(f"names: two classes have one name: {', '.join(listed)[:200]}.")
        if not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0 or targets.max() >= len(listed):
            raise TaskError(f"names: with {len(listed)} names the labels must be integers from 0 to {len(listed) - 1}.")
        known = list(range(len(listed)))
        absent = sorted(set(known) - set(targets.tolist()))
        if absent:
            raise TaskError(
                f"names: no row is of class {absent[0]}, {listed[absent[0]]!r}; expected a name for each class there is."
            )
    if len(known) < 2:
        raise TaskError(f"labels: all rows are of one class, {known[0]!r}; a classification task needs at least 2.")
    return known


def _held_out(x: Any, labels: Any, rows: np.ndarray, index: Mapping[Any, int]) -> tuple[np.ndarray, np.ndarray]:
    """The caller's own test rows, which must be like the training rows, and the numbers of their classes."""
    held_labels = check_labels(labels, lambda row: f"labels_test[{row}]", "labels_test")
    held_rows = check_rows(x, "x_test")
    if held_rows.shape[1:] != rows.shape[1:] or len(held_rows) != len(held_labels):
        raise TaskError(
            f"x_test is {held_rows.shape} with {len(held_labels)} labels; expected rows of {rows.shape[1:]}, one label each."
        )
    strange = sorted({label for label in held_labels.tolist() if label not in index}, key=str)
    if strange:
        raise TaskError(f"labels_test: {strange[:5]} do not occur in labels.")
    return held_rows, np.array([index[label] for label in held_labels.tolist()], np.int64)


def from_npz(path: str | os.PathLike[str], x: str = "x", label: str = "labels", **options: Any) -> ArrayTask:
    """A task from the arrays `x` and `label` of an .npz file, also `x_test` and `<label>_test`. Options: `from_arrays`.

    Raises:
      TaskError: no such file or array, or any fault that `from_arrays` finds.
    """
    file = _existing(path)
    names = {"x": _text("x", x), "labels": _text("label", label)}
    names |= {"x_test": f"{x}_test", "labels_test": f"{label}_test"}
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {argument: stored[name] for argument, name in names.items() if name in stored.files}
            there = ", ".join(stored.files) or "none"
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise TaskError(f"{file}: no readable .npz file ({error}).") from error
    for argument in ("x", "labels"):
        if argument not in arrays:
            raise TaskError(f"{file}: it has no array {names[argument]!r}; it has: {there}.")
    rows, labels = arrays.pop("x"), arrays.pop("labels")
    return _located(file, lambda: from_arrays(rows, labels, **{"name": file.stem, **arrays, **options}))


def from_csv(path: str | os.PathLike[str], label: str = "label", delimiter: str = ",", **options: Any) -> ArrayTask:
    """A task from a CSV file with a header: column `label` holds the classes, all others hold numbers. Options: `from_arrays`.

    Blanks at the ends of a cell do not count. Labels are integers if all are written as such (7, not 007), else names.

    Raises:
      TaskError: with file, line and column: a cell that is no finite number or beyond float32, a row of another length, an empty
        label.

    Examples:
      >>> from pathlib import Path
      >>> import neurograph as ng
      >>> _ = Path("flowers.csv").write_text("width,kind\\n" + "0.1,iris\\n0.9,rose\\n" * 10)
      >>> ng.from_csv("flowers.csv", label="kind").class_names
      ('iris', 'rose')
    """
    file = _existing(path)
    label, delimiter = _text("label", label or "label"), _text("delimiter", delimiter or ",")
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise TaskError(f"delimiter: got {delimiter!r}; expected one character.")
    rows, labels = [], []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
            header = [title.strip() for title in next(reader, [])]
            if not header:
                raise TaskError(f"{file}: it is empty; expected a header and rows.")
            place = _label_column(header, label, file)
            inputs = [column for column in range(len(header)) if column != place]
            names = [header[column] for column in inputs]
            for cells in reader:
                if not cells:
                    continue
                where = f"{file}:{reader.line_num}"
                if len(cells) != len(header):
                    raise TaskError(f"{where}: {len(cells)} cells; the header has {len(header)}.")
                if not cells[place].strip():
                    raise TaskError(f"{where}: the label (column {label!r}) is missing.")
                labels.append(cells[place].strip())
                rows.append(read_cells([cells[column].strip() for column in inputs], names, where))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"{file}: no readable CSV file ({error}).") from error
    if not rows:
        raise TaskError(f"{file}: it has a header and no rows.")
    return _located(file, lambda: from_arrays(np.stack(rows), tidy_labels(labels), **{"name": file.stem, **options}))


def from_parquet(path: str | os.PathLike[str], label: str = "label", **options: Any) -> ArrayTask:
    """A task from a Parquet file with a label column, all other columns numbers. Options: `from_arrays`.

    The index of a pandas frame that was written to the file is no column, as in `from_frame`.

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
    index = {name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)}
    columns = [
        (name, table.column(i).to_numpy()) for i, name in enumerate(table.column_names) if name == label or name not in index
    ]
    return _located(file, lambda: _from_columns(columns, label, {"name": file.stem, **options}))


def from_frame(frame: Any, label: str = "label", **options: Any) -> ArrayTask:
    """A task from a pandas frame (or anything with `columns` and `frame[column]`): column `label` and columns of numbers.

    Raises:
      TaskError: no such column, two of one name, a column that is not numbers, missing values (with row and column), or any fault
        that `from_arrays` finds.

    Examples:
      >>> import pandas
      >>> import neurograph as ng
      >>> frame = pandas.DataFrame({"width": [0.1, 0.9] * 10, "kind": ["iris", "rose"] * 10})
      >>> ng.from_frame(frame, label="kind").class_names
      ('iris', 'rose')
    """
    names = getattr(frame, "column_names", getattr(frame, "columns", None))  # the former in pyarrow
    if names is None or not hasattr(frame, "__getitem__"):
        raise TaskError(f"from_frame: got {type(frame).__name__}; expected a data frame.")
    names = list(names)
    label = str(label) if type(label) is int else label
    _check_columns([str(name) for name in names])
    return _from_columns([(str(name), frame[name]) for name in names], label, {"name": "frame", **options})


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
      TaskError: no images, fewer than two classes, a class without images, images outside of the classes, a file that is no
        readable image of 8 bits without transparency (by name).
      MissingExtraError: pillow is not installed.

    Examples:
      >>> from pathlib import Path
      >>> from PIL import Image
      >>> import neurograph as ng
      >>> for name, shade in [("dark", 10), ("light", 200)]:
      ...     Path("shades", name).mkdir(parents=True)
      ...     for number in range(4):
      ...         Image.new("L", (6, 6), shade + number).save(Path("shades", name, f"{number}.png"))
      >>> ng.from_image_folder("shades", size=4)
      <ArrayTask shades: 16 inputs, 2 outputs, 2 classes>
    """
    root = _as_path(path)
    if not root.is_dir():
        raise TaskError(f"{root}: there is no such folder.")
    target = pair("size", size)
    if target is None:
        raise TaskError("size: a folder of images needs a size, an integer or [height, width].")
    if not isinstance(gray, (bool, np.bool_)):
        raise TaskError(f"gray: got {gray!r}; expected True or False.")
    train, test = root / "train", root / _text("test_folder", test_folder)
    given: dict[str, Any] = {"name": root.name, **options}
    if train.is_dir():
        others = [folder for folder in root.iterdir() if folder.is_dir() and folder not in (train, test) and image_files(folder)]
        if others:
            raise TaskError(f"{min(others)}: would not be read: beside train, images are expected in {test_folder} alone.")
        if test.is_dir():
            given["x_test"], given["labels_test"] = read_folder(test, target, gray)
        elif test_folder != "test":
            raise TaskError(f"{test}: there is no such folder (option test_folder).")
    elif test.is_dir() and any(folder.is_dir() for folder in test.iterdir()):
        raise TaskError(f"{test}: a test folder with classes, but there is no folder train beside it.")
    images, labels = read_folder(train if train.is_dir() else root, target, gray)
    return _located(root, lambda: from_arrays(images, labels, **given))


def _from_columns(columns: list[tuple[str, Any]], label: str, options: dict[str, Any]) -> ArrayTask:
    label = _text("label", label or "label")
    names = [name for name, _ in columns]
    _check_columns(names)
    place = _label_column(names, label, None)
    labels = check_labels(columns[place][1], lambda row: f"column {label!r}, row {row}", f"column {label!r}")
    inputs = [float32_column(values, name) for name, values in columns[:place] + columns[place + 1 :]]
    return from_arrays(np.stack(inputs, axis=1), labels, **options)


def _check_columns(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise TaskError(f"column {twice!r} occurs {names.count(twice)} times; expected one column of a name.")


def _label_column(header: list[str], label: str, file: Path | None) -> int:
    where = f"{file}: " if file else ""
    if label not in header:
        raise TaskError(f"{where}there is no column {label!r} (option label); columns: {', '.join(header[:20]) or 'none'}.")
    if header.count(label) > 1:
        raise TaskError(f"{where}column {label!r} occurs {header.count(label)} times.")
    if len(header) < 2:
        raise TaskError(f"{where}there is no column besides the label {label!r}.")
    return header.index(label)


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TaskError(f"{argument}: got {value!r}; expected text.")
    return value


def _as_path(path: Any) -> Path:
    try:
        return Path(path).expanduser()
    except TypeError:
        raise TaskError(f"path: got {type(path).__name__}; expected a path.") from None


def _existing(path: Any) -> Path:
    file = _as_path(path)
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
