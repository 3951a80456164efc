"""Your own data is read as it stands or refused: no row, label, mask or column is changed, merged, dropped or guessed."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from harness import rest_is_thorough

import neurograph as ng
from neurograph.errors import TaskError
from neurograph.tasks import (
    from_arrays,
    from_csv,
    from_frame,
    from_image_folder,
    from_npz,
    from_parquet,
    function_task,
    get_task,
    mix,
)
from neurograph.tasks.rows import tidy_labels

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = np.arange(60) % 3


def table(labels: list[str], first: str = "{row}") -> str:
    """40 rows of x, 2x and a label; the first rows' labels come in turn."""
    rows = [f"{first.format(row=row)},{2 * row},{labels[row % len(labels)]}" for row in range(40)]
    return "\n".join(["x,y,label", *rows]) + "\n"


@pytest.fixture
def write(tmp_path):
    def put(text: str, name: str = "data.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        return tmp_path / name

    return put


# ---- CSV


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["100000000000000000000", "100000000000000000001"], ("100000000000000000000", "100000000000000000001")),
        (["--1", "1"], ("--1", "1")),
        (["01", "1"], ("01", "1")),
        (["+1", "1"], ("+1", "1")),
        (["-0", "0"], ("-0", "0")),
        (["１", "1"], ("1", "１")),
        (["9", "10"], ("9", "10")),
        (["-1", "1"], ("-1", "1")),
        (["b", " a "], ("a", "b")),
        (['"a, b"', ' "c"'], ("a, b", "c")),
    ],
)
def test_labels_in_csv_are_whole_numbers_or_names(write, labels, classes):
    assert from_csv(write(table(labels))).class_names == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(["a", "b"]) + "1e39,1,a\n", r"data\.csv:42: column 'x': got 1e39; beyond float32"),
        (table(["a", "b"]) + "1_000,1,a\n", r"data\.csv:42: column 'x': got '1_000'; expected a finite number"),
        (table(["a", "b"]) + '1,1,"a"b\n', "no readable CSV file"),
        (
            table(["a", "b"]) + "1, ,a\n",
            r"1 value is missing: 'y' \(1, the first at .*data\.csv:42\); expected a choice: missing=drop",
        ),
        (table(["a", "b"]) + "1,2, \n", r"data\.csv:42: column 'label': the label is missing"),
        (table(["a", "b"], first="17000000{row:02}"), "column 'x': float32 cannot tell its values apart"),
    ],
)
def test_cells_that_cannot_be_read_are_refused_with_their_place(write, text, message):
    with pytest.raises(TaskError, match=message):
        from_csv(write(text))


@pytest.mark.parametrize("delimiter", ["", ";;", "\n", 5])
def test_a_delimiter_is_one_character(write, delimiter):
    path = write(table(["a", "b"]))
    assert from_csv(path, delimiter=None).num_classes == 2  # type: ignore[arg-type]
    if delimiter:
        with pytest.raises(TaskError, match=r"^delimiter: got"):
            from_csv(path, delimiter=delimiter)


def test_integers_are_sorted_as_such():
    assert tidy_labels(["10", "9", "-3"]).tolist() == [10, 9, -3]
    assert tidy_labels(["9223372036854775807", "9223372036854775808"]).dtype.kind == "U"


# ---- arrays


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (np.ma.masked_values(np.where(np.eye(60, 3, -1), -9.0, X), -9.0), Y, r"x\[1, 0\]: is masked"),
        (X, np.ma.masked_array(Y, np.arange(60) == 5), r"labels\[5\]: is masked"),
        (np.where(np.eye(60, 3), 1e39, X.astype(float)), Y, r"x\[0, 0\]: got 1e\+39; beyond float32"),
        (np.where(np.eye(60, 3), None, X), Y, r"x\[0, 0\]: a value is missing"),
        (X.astype(np.float64) * 1e-3 + 1.7e9, Y, "x, column 0: float32 cannot tell its values apart"),
        (X, [1, "1"] * 30, r"labels\[1\]: the label '1' is text here and a number elsewhere"),
        (X, [True, "True"] * 30, "is text here and true or false elsewhere"),
        (X, [[0], [0, 1]] * 30, r"labels"),
        (X, np.array([b"a", b"b"] * 30), "got .S1 labels; expected class numbers or names"),
        (X, np.arange(60).astype("datetime64[D]"), "expected class numbers or names"),
        (X, [0.0, np.inf] * 30, "got inf; expected class numbers or names"),
        (X, ["a", float("nan")] * 30, r"labels\[1\]: the label is missing"),
        (X, [{1}, {2}] * 30, r"labels\[0\]: got \{1\}; expected class numbers or names"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(x, labels, message):
    with pytest.raises(TaskError, match=message):
        from_arrays(x, labels)


def test_an_array_without_masked_values_is_read():
    task = from_arrays(np.ma.masked_array(X, np.zeros(X.shape, bool)), np.ma.masked_array(Y))
    np.testing.assert_array_equal(task.data, from_arrays(X, Y).data)
    assert from_arrays(X, [10**20, 10**20 + 1] * 30).class_names == (str(10**20), str(10**20 + 1))
    assert from_arrays(X, [1, "a"] * 30).class_names == ("1", "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "abc"}, r"^names: got str"),
        ({"names": ["a", "b", "a"]}, "two classes have one name"),
        ({"names": ["a", "b", "c", "d"]}, "no row is of class 3, .d."),
        ({"name": 5}, r"^name: got 5"),
        ({"labels_test": [0, 1]}, "labels_test is given without x_test"),
        ({"classes": 5}, r"^classes: got int"),
        ({"classes": {0, 1}}, r"^classes: got set"),
        ({"ways": 2.5}, r"^ways: got 2.5"),
        ({"validation": "0.2"}, r"^validation: got '0.2'"),
        ({"split_seed": 1.5}, r"^split_seed: got 1.5"),
    ],
)
def test_options_of_the_wrong_kind_are_refused_by_name(options, message):
    with pytest.raises(TaskError, match=message):
        from_arrays(X, Y, **options)


def test_none_is_not_given():
    given = from_arrays(X, Y, validation=None, test=None, split_seed=None, normalize=None, classes="")  # type: ignore[arg-type]
    np.testing.assert_array_equal(given.data, from_arrays(X, Y).data)
    assert get_task({"name": "digits", "validation": None, "normalize": None}).num_inputs == 64


@pytest.mark.parametrize("classes", ["1,2", [1, 2], "0-1"])
def test_a_class_that_could_be_two_is_refused(classes):
    """Labels 1, 2, 3 are the classes number 0, 1, 2: what 1 means is said by text in a list."""
    with pytest.raises(TaskError, match=r"is the number of class .* and the name of class number"):
        from_arrays(X, Y + 1, classes=classes)
    assert from_arrays(X, Y + 1, classes=["1", "2"]).class_names == ("1", "2")
    assert from_arrays(X, Y, classes=[0, 2]).class_names == ("0", "2")
    assert from_arrays(X, Y * 4 + 3, classes="3,7").class_names == ("3", "7")
    ages = from_arrays(X, np.array(["0-4", "5-9", "10-14"])[Y], classes=["0-4", "5-9"])
    assert ages.class_names == ("0-4", "5-9")
    with pytest.raises(TaskError, match="'0-4' is a range of numbers, and the name of a class"):
        from_arrays(X, np.array(["0-4", "5-9", "10-14"])[Y], classes="0-4,5-9")


# ---- npz, frames, Parquet


def test_npz_reads_what_it_needs(tmp_path):
    np.savez(tmp_path / "data.npz", x=X, labels=Y, note=np.array([{"a": 1}], object))
    assert from_npz(tmp_path / "data.npz").num_classes == 3
    (tmp_path / "broken.npz").write_bytes((tmp_path / "data.npz").read_bytes()[:500])
    np.save(tmp_path / "array.npy", X)
    for name in ("broken.npz", "array.npy"):
        with pytest.raises(TaskError, match=r"no readable \.npz file"):
            from_npz(tmp_path / name)
    np.savez(tmp_path / "half.npz", x=X, labels=Y, labels_test=Y)
    with pytest.raises(TaskError, match="labels_test is given without x_test"):
        from_npz(tmp_path / "half.npz")


@pytest.mark.parametrize("kind", ["string", "boolean", "Int64", "object", "category"])
def test_missing_labels_of_every_nullable_type(kind):
    pandas = pytest.importorskip("pandas")
    values = {"boolean": [True, False], "Int64": [0, 1]}.get(kind, ["a", "b"])
    labels = pandas.Series([values[0], None, *values * 29], dtype=kind)
    frame = pandas.DataFrame(X, columns=list("abc")).assign(label=labels)
    with pytest.raises(TaskError, match=r"labels\[1\]: the label is missing"):
        from_arrays(X, labels)
    with pytest.raises(TaskError, match="row 1: column 'label': the label is missing"):
        from_frame(frame)
    assert from_frame(frame.drop(index=1)).num_classes == 2


def test_frames_that_are_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.astype(float), columns=list("abc"))
    for changed, message in (
        (frame.assign(label=[[0, 1], [1, 0], [1, 1]] * 20), r"row 0: column 'label': got \[0, 1\]"),
        (pandas.DataFrame(np.c_[X, Y], columns=["a", "a", "b", "label"]), "column 'a' occurs 2 times"),
        (pandas.DataFrame(np.c_[X, Y], columns=[1, "1", 2, "label"]), "column '1' occurs 2 times"),
        (frame.assign(label=Y, a=1e39), "row 0: column 'a': got 1e.39; beyond float32"),
        (
            frame.assign(label=Y, a=pandas.Series([1, None] * 30, dtype="Int64")),
            r"30 values are missing: 'a' \(30, the first at row 1\)",
        ),
        (
            frame.assign(label=Y, a="1_000"),
            r"column 'a' \('1_000'\) holds text; expected numbers, or a choice: categories=one_hot or ordinal, or drop=\[a\]",
        ),
        (frame.assign(label=Y, a=frame.a * 1e-3 + 1.7e9), "column 'a': float32 cannot tell its values apart"),
    ):
        with pytest.raises(TaskError, match=message):
            from_frame(changed)
    with pytest.raises(TaskError, match=r"^label: got"):
        from_frame(frame.assign(label=Y), label={"label"})  # type: ignore[arg-type]
    assert from_frame(pandas.DataFrame(np.c_[X, Y]), label=3).num_inputs == 3  # type: ignore[arg-type]


def test_the_index_of_a_frame_is_no_column_of_its_parquet_file(tmp_path):
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(X, columns=list("abc")).assign(label=Y)
    frame.index = pandas.Index(np.arange(60)[::-1], name="row")
    frame.to_parquet(tmp_path / "data.parquet")
    assert from_parquet(tmp_path / "data.parquet").num_inputs == from_frame(frame).num_inputs == 3
    assert from_frame(pyarrow.Table.from_pandas(frame, preserve_index=False)).num_inputs == 3


# ---- folders of images


@pytest.fixture
def folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number in range(4):
            image.new("L", (5, 4), 40 * number).save(tmp_path / "all" / name / f"{number}.png")
    return tmp_path / "all"


def test_a_folder_of_images_loses_none(folder):
    from PIL import Image

    assert from_image_folder(folder, size=4).class_names == ("cat", "dog")
    good = folder / "cat" / "0.png"
    for spoil, message in (
        (lambda: Image.new("I;16", (4, 4), 1000).save(good), "more than 8 bits per pixel"),
        (lambda: Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(good), "is transparent in places"),
        (lambda: (folder / "cat" / "0.avif").write_bytes(b"?"), "0.avif: no readable image"),
        (lambda: Image.new("L", (4, 4)).save(folder / "stray.png"), "stray.png: an image beside the classes"),
        (lambda: (folder / "empty").mkdir(), "empty: no images found; every subfolder is a class"),
        (lambda: (folder / "test" / "cat").mkdir(parents=True), "there is no folder train beside it"),
    ):
        spoil()
        with pytest.raises(TaskError, match=message):
            from_image_folder(folder, size=4)
        Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(good)
        (folder / "cat" / "0.avif").unlink(missing_ok=True)
        (folder / "stray.png").unlink(missing_ok=True)
        if (folder / "empty").exists():
            (folder / "empty").rmdir()
    with pytest.raises(TaskError, match=r"^gray: got 'no'"):
        from_image_folder(folder, gray="no")  # type: ignore[arg-type]


def test_images_of_several_pictures_or_turned(folder):
    from PIL import Image

    tall = Image.fromarray(np.repeat(np.uint8([[0], [250]]), 2, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half a turn
    tall.save(folder / "cat" / "0.png", exif=exif)
    first = np.asarray(from_image_folder(folder, size=2, normalize="none").data)
    assert any((row.reshape(2, 2) == [[250, 250], [0, 0]]).all() for row in first)
    Image.new("L", (4, 4)).save(folder / "cat" / "0.gif", save_all=True, append_images=[Image.new("L", (4, 4), 200)])
    with pytest.raises(TaskError, match="holds 2 images"):
        from_image_folder(folder, size=4)


def test_folders_beside_train_are_not_passed_over(folder):
    folder.rename(folder.parent / "train")
    root = folder.parent
    assert from_image_folder(root, size=4).num_classes == 2
    with pytest.raises(TaskError, match=r"there is no such folder \(option test_folder\)"):
        from_image_folder(root, size=4, test_folder="held_out")
    (root / "validation" / "cat").mkdir(parents=True)
    assert from_image_folder(root, size=4).num_classes == 2
    (root / "train" / "cat" / "0.png").rename(root / "validation" / "cat" / "0.png")
    with pytest.raises(TaskError, match="validation: would not be read"):
        from_image_folder(root, size=4)


# ---- tasks by name and by function


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mix(5), r"^tasks: got int"),
        (lambda: mix({"xor", "and"}), r"^tasks: got set"),
        (lambda: mix(["xor"], weights="a"), r"^weights: got 'a'"),
        (lambda: get_task({"name": "xor", 5: 1}), "named by text"),
        (lambda: get_task("moons", noise="0.1"), "noise: got '0.1'"),
        (lambda: get_task("moons", noise=True), "noise: got True"),
        (lambda: get_task("moons", noise=1e39), "noise: got 1e.39"),
        (lambda: get_task("blobs3", centers=[[0, 0], [1, 1]]), "got 2 of them for 3 classes"),
        (lambda: get_task("blobs", centers=[[0, 0], [1, 1]], seed=1), "seed: it would draw centers"),
        (lambda: get_task("circle", center=["0", "1"]), "center: got"),
        (lambda: ng.register_task("five", 5), "factory of task 'five': got int"),
        (lambda: function_task(5), r"^points: got int"),  # type: ignore[arg-type]
        (lambda: function_task(lambda key, count: None, num_classes=1), "num_classes of task .* got 1"),
        (lambda: function_task(lambda key, count: None, num_inputs=2.5), "num_inputs of task"),  # type: ignore[arg-type]
        (lambda: function_task(lambda key, count: None, class_names="ab"), "class_names of task"),  # type: ignore[arg-type]
        (lambda: function_task(lambda key, count: None, class_names=("a",)), "expected 2 names"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_by_name(make, message):
    with pytest.raises(TaskError, match=message):
        make()


@pytest.mark.parametrize("flags", [("jax_debug_key_reuse",), ("jax_check_tracer_leaks",)], ids=" ".join)
@pytest.mark.parametrize(
    "task",
    rest_is_thorough(["digits", "ways", "xor", "moons", "circle", "blobs3", "sine", "slice"], "digits", "xor", "circle", "sine"),
)
def test_jax_finds_no_key_used_twice_and_no_leaked_tracer(task, flags):
    made = from_arrays(X, Y, ways=2) if task == "ways" else get_task(task)
    before = {flag: getattr(jax.config, flag) for flag in flags}
    for flag in flags:
        jax.config.update(flag, True)
    try:
        for seed, query_split in enumerate((None, "test")):
            made.episode(jax.random.key(seed), steps=2, batch_size=4, query_size=5, query_split=query_split)
        jax.jit(lambda key: made.sample(key, 3))(jax.random.key(2))
    finally:
        for flag, value in before.items():
            jax.config.update(flag, value)
