"""What is no number in a table is refused by name, or encoded and filled in by choice, against scikit-learn and pandas."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from neurograph.errors import TaskError
from neurograph.tasks import from_arrays, from_csv, from_frame, from_npz, from_parquet, get_task

pandas = pytest.importorskip("pandas")

RANDOM = np.random.default_rng(0)
ROWS = 60
FRAME = pandas.DataFrame(
    {
        "width": RANDOM.normal(size=ROWS).round(3),
        "colour": RANDOM.choice(["red", "green", "blue"], ROWS),
        "when": pandas.to_datetime("2024-01-31") + pandas.to_timedelta(np.arange(ROWS), unit="D"),
        "zip": RANDOM.choice([8001, 8002], ROWS),
        "kind": np.array(["iris", "rose"])[np.arange(ROWS) % 2],
    }
)
ALL = {"label": "kind", "categories": "one_hot", "dates": "number"}


@pytest.fixture
def table(tmp_path):
    """Writes a frame as CSV and returns its path."""

    def put(frame, name="table.csv"):
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return put


def rows_of(task) -> np.ndarray:
    """All rows as they are stored, before normalisation, in the order of `width`."""
    rows = np.asarray(task.data, np.float64)
    return rows[np.argsort(rows[:, 0], kind="stable")]


def test_csv_frame_and_parquet_are_encoded_alike_and_as_pandas_has_it(table, tmp_path):
    pytest.importorskip("pyarrow")
    FRAME.to_parquet(tmp_path / "table.parquet")
    made = [from_frame(FRAME, **ALL), from_csv(table(FRAME), **ALL), from_parquet(tmp_path / "table.parquet", **ALL)]
    made.append(get_task(f"csv:{table(FRAME)} label=kind categories=one_hot dates=number"))
    sorted_by_width = FRAME.sort_values("width", kind="stable")
    expected = pandas.get_dummies(sorted_by_width.colour).astype(float)
    days = (sorted_by_width.when - pandas.Timestamp(0)) / pandas.Timedelta("1D")
    for task in made:
        assert task.class_names == ("iris", "rose")
        np.testing.assert_array_equal(task.data, made[0].data)
        np.testing.assert_array_equal(rows_of(task)[:, 1:4], expected)
        np.testing.assert_array_equal(rows_of(task)[:, 4], days)
        np.testing.assert_array_equal(rows_of(task)[:, 5], sorted_by_width.zip)


def test_ordinal_is_the_order_of_pandas_or_of_the_text(table):
    sizes = pandas.Categorical(RANDOM.choice(["small", "large"], ROWS), ["small", "large"], ordered=True)
    frame = FRAME[["width", "kind"]].assign(size=sizes)
    ordered = from_frame(frame, "kind", categories="ordinal")
    np.testing.assert_array_equal(rows_of(ordered)[:, 1], frame.sort_values("width", kind="stable")["size"].cat.codes)
    by_text = from_csv(table(frame), "kind", categories={"size": "ordinal"})
    np.testing.assert_array_equal(rows_of(by_text)[:, 1], 1 - rows_of(ordered)[:, 1])


def test_columns_are_left_out_and_numbers_are_names_by_choice(table):
    task = from_csv(table(FRAME), "kind", drop=["colour", "when"], categories={"zip": "one_hot"})
    np.testing.assert_array_equal(rows_of(task)[:, 1:], np.stack([rows_of(task)[:, 1], 1 - rows_of(task)[:, 1]], axis=1))
    again = get_task(f"csv:{table(FRAME)} label=kind drop=[colour, when] categories={{zip: one_hot}}")
    np.testing.assert_array_equal(again.data, task.data)
    assert from_frame(FRAME.drop(columns=["when", "zip"]), "kind", drop="colour").num_inputs == 1


def test_times_are_days_in_utc():
    times = pandas.date_range("2024-01-31 12:00", periods=20, freq="6h")
    frame = pandas.DataFrame({"width": np.arange(20.0), "a": times, "b": times.tz_localize("UTC").tz_convert("Asia/Tokyo")})
    frame = frame.assign(
        c=[time.isoformat() for time in times.to_pydatetime()], d=[time.date() for time in times], label=[0, 1] * 10
    )
    rows = rows_of(from_frame(frame, dates="number", normalize="none"))
    whole = [(datetime(2024, 1, 31, 12) + timedelta(hours=6 * n) - datetime(1970, 1, 1)) / timedelta(days=1) for n in range(20)]
    for column in (1, 2, 3):
        np.testing.assert_array_equal(rows[:, column], whole)
    np.testing.assert_array_equal(rows[:, 4], np.floor(whole))


# ---- missing values


@pytest.mark.parametrize("kind", ["csv", "frame", "arrays"])
def test_missing_values_are_dropped_or_filled_in_from_training_rows(kind, table):
    from sklearn.impute import SimpleImputer

    values = RANDOM.normal(size=(ROWS, 3)).round(3)
    values[RANDOM.random(values.shape) < 0.2] = np.nan
    values[:, 0] = np.arange(ROWS)
    frame = pandas.DataFrame(values, columns=list("abc")).assign(label=np.arange(ROWS) % 2)

    def make(**options):
        if kind == "arrays":
            return from_arrays(values, frame.label, **options)
        return from_frame(frame, **options) if kind == "frame" else from_csv(table(frame), **options)

    complete = values[~np.isnan(values).any(axis=1)].astype(np.float32)
    np.testing.assert_array_equal(rows_of(make(missing="drop")), complete)
    task = make(missing="mean", normalize="none")
    start, count = task.extents[0]
    train = np.asarray(task.data)[start : start + count, 0].astype(int)  # the first column numbers the rows
    expected = SimpleImputer().fit(values[train].astype(np.float32)).transform(values.astype(np.float32))
    np.testing.assert_allclose(rows_of(task), expected, rtol=1e-6)


def test_a_missing_text_is_the_share_of_each_and_a_missing_label_a_row_less(table):
    frame = FRAME[["width", "colour", "kind"]].assign(colour=FRAME.colour.where(np.arange(ROWS) % 7 > 0))
    task = from_csv(table(frame), "kind", categories="one_hot", missing="mean", normalize="none")
    rows = rows_of(task)[:, 1:]
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    assert ((rows != 0) & (rows != 1)).all(axis=1).sum() == frame.colour.isna().sum()
    lost = frame.assign(kind=frame.kind.where(np.arange(ROWS) % 5 > 0), colour=FRAME.colour)
    task = from_csv(table(lost), "kind", categories="one_hot", missing="drop")
    assert len(task.data) == lost.kind.notna().sum()
    assert task.class_names == ("iris", "rose")
    numbered = lost.assign(kind=np.where(lost.kind.isna(), "", np.where(np.arange(ROWS) % 2, "10", "9")))
    assert from_csv(table(numbered), "kind", categories="one_hot", missing="drop").class_names == ("9", "10")


def test_marks_of_files_are_missing_numbers_and_text_elsewhere(table):
    frame = FRAME[["colour", "kind"]].assign(width=FRAME.width.astype(str), colour=FRAME.colour.replace("red", "NA"))
    frame.loc[[3, 9], "width"] = ["NA", "?"]
    path = table(frame)
    with pytest.raises(TaskError, match=r"2 values are missing: 'width' \(2, the first at .*table.csv:5\)"):
        from_csv(path, "kind", categories="one_hot")
    task = from_csv(path, "kind", categories="one_hot", missing="drop")
    assert (len(task.data), task.num_inputs) == (ROWS - 2, 4)


# ---- what is refused


def csv(**columns) -> str:
    """A table of 40 rows; a column is a list that is gone round."""
    columns = {"x": ["1", "2", "3"], **columns, "label": ["a", "b"]}
    rows = [",".join(values[row % len(values)] for values in columns.values()) for row in range(40)]
    return "\n".join([",".join(columns), *rows]) + "\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (csv(c=["red", "blue"], d=["2024-01-31"], e=["u", "v"]), {},
         r"columns 'c' \('red', 'blue'\), 'e' \('u', 'v'\) hold text and column 'd' holds dates; expected numbers, or a choice: "
         r"categories=one_hot or ordinal, dates=number \(days\), or drop=\[c, e, d\] to leave out"),
        (csv(d=["2024-01-31"]), {"categories": "one_hot"}, "column 'd' holds dates; expected numbers, or a choice: dates=number"),
        (csv(c=["red", "blue"]), {"dates": "number"}, "column 'c' .* holds text; expected .* categories=one_hot or ordinal"),
        (csv(c=["red", "blue"], e=["u"]), {"categories": {"c": "one_hot"}}, r"column 'e' \('u'\) holds text"),
        (csv(c=["1", "2", "2b"]), {"categories": "one_hot"},
         r"data.csv:4: column 'c': got '2b'; expected a finite number \(27 of 40 are numbers; if all are names, cat"),
        (csv(d=["2024-01-31", "soon"]), {"dates": "number"}, r":3: column 'd': got 'soon'; expected a date, as in 20 other rows"),
        (csv(d=["31/01/2024"]), {"dates": "number"}, "data.csv:2: column 'd': got '31/01/2024'; expected dates as 2024-01-31"),
        (csv(c=[f"name {row}" for row in range(40)]), {"categories": "one_hot"}, "40 different texts, .* are no categories"),
        (csv(c=["1", "inf"]), {}, "data.csv:3: column 'c': got 'inf'; expected a finite number"),
        (csv(c=["1", "", "2", "NA"], e=[""] * 39 + ["3"]), {}, r"59 values are missing: 'c' \(20, .*:3\), 'e' \(39, .*:2\)"),
        (csv(e=[""]), {"missing": "mean"}, "missing: column 'e' has no value at all, so no mean; leave it out"),
        (csv(e=[""]), {"missing": "drop"}, "missing: drop leaves no row of x"),
        (csv(), {"missing": "median"}, "missing: got 'median'; allowed: drop, mean|missing: got 'median'; did you mean 'mean'"),
        (csv(), {"categories": "onehot"}, "categories: got 'onehot'; expected one of one_hot, ordinal, or a mapping"),
        (csv(), {"categories": {"y": "one_hot"}}, "categories: there is no column 'y'; allowed: x"),
        (csv(), {"dates": "days"}, "dates: got 'days'; expected number"),
        (csv(colour=["1"]), {"drop": ["color"]}, "drop: there is no column 'color'; did you mean 'colour'"),
        (csv(), {"drop": "x"}, "drop: leaves no column besides 'label'"),
        (csv(), {"label": "lable"}, r"there is no column 'lable' \(option label\); did you mean 'label'\? columns: x, label"),
        (csv(y=["1"]), {"label": ["label", "y"]}, r"label: got 2 columns; classes have one \(target=number takes several\)"),
    ],
)  # fmt: skip
def test_what_no_choice_is_made_for_is_refused_by_name(tmp_path, text, options, message):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(TaskError, match=message):
        from_csv(tmp_path / "data.csv", **options)


# ---- npz


def test_arrays_of_npz_are_chosen_or_found_under_their_usual_names(tmp_path):
    x, y = RANDOM.normal(size=(40, 3)), np.arange(40) % 2
    for number, names in enumerate((("x", "labels"), ("X", "y"), ("x_train", "y_train", "x_test", "y_test"))):
        path = tmp_path / f"{number}.npz"
        np.savez(path, **dict(zip(names, (x, y, x[:10], y[:10]))))
        task = from_npz(path)
        assert task.extents[2][1] == (10 if number == 2 else 8)
    np.savez(tmp_path / "own.npz", rows=x, kinds=y, rows_test=x[:6], kinds_test=y[:6], X=x)
    for made in (from_npz(tmp_path / "own.npz", "rows", "kinds"), get_task(f"npz:{tmp_path / 'own.npz'} x=rows y=kinds")):
        assert made.extents[2][1] == 6
    with pytest.raises(TaskError, match="labels_test is given without x_test"):
        from_npz(tmp_path / "own.npz", x="X", label="kinds")
    np.savez(tmp_path / "both.npz", x=x, X=x, y=y)
    for options, message in (
        ({}, "'x' and 'X' could be x; say which: x=x"),
        ({"x": "Rows"}, r"it has no array 'Rows' \(option x\); allowed: x, X, y"),
        ({"x": "x", "y": "y", "label": "y"}, "label: got 'y', and y: 'y'; expected one of them"),
    ):
        with pytest.raises(TaskError, match=message):
            from_npz(tmp_path / "both.npz", **options)
    with pytest.raises(TaskError, match=r"it has no array 'labels' \(option y\); it has: rows, kinds, rows_test, kinds_test, X"):
        from_npz(tmp_path / "own.npz")


# ---- regression


def test_a_target_is_a_number_by_choice_alone(table):
    frame = FRAME[["width", "zip"]].assign(price=10 + 3 * FRAME.width, size=FRAME.width**2)
    with pytest.raises(
        TaskError, match=r"labels\[0\]: got .*; expected class numbers or names \(target=number is for regression\)"
    ):
        from_arrays(frame[["width"]], frame.price)
    with pytest.raises(TaskError, match=r"table.csv:2: column 'price': got .*; expected class numbers or names"):
        from_csv(table(frame), "price")
    task = from_csv(table(frame), "price", target="number")
    np.testing.assert_array_equal(task.data, from_frame(frame, "price", target="number").data)
    x, y = task.arrays("train")
    assert (task.num_classes, task.num_outputs, y.shape) == (0, 1, (len(x), 1))
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)  # of the training rows
    for split in ("train", "validation", "test"):
        start, count = task.extents[("train", "validation", "test").index(split)]
        width = np.asarray(task.data)[start : start + count, 0]
        targets = task.arrays(split)[1] * task.target_deviation + task.target_mean
        np.testing.assert_allclose(targets[:, 0], 10 + 3 * width, rtol=1e-5)
    both = get_task(f"csv:{table(frame)} label=[price, size] target=number")
    assert (both.num_inputs, both.num_outputs, both.sample(_key(), 5).y.shape) == (2, 2, (5, 2))
    held = from_arrays(frame[["width"]], frame.price, target="number", x_test=[[0.0], [1.0]], labels_test=[10.0, 13.0])
    np.testing.assert_allclose(held.arrays("test")[1] * held.target_deviation + held.target_mean, [[10], [13]], rtol=1e-5)


def _key():
    import jax

    return jax.random.key(0)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.ones(ROWS), {}, "the target is 1 in all training rows; there is nothing to learn"),
        (["a"] * ROWS, {}, r"labels\[0\]: got 'a'; expected a number \(target=number\)"),
        ([1, "a"] * 30, {}, r"labels\[1\]: got 'a'; expected a number \(target=number\)"),
        ([1.0, 2.0, 3.0, np.nan] * 15, {}, r"labels\[3\]: the target is missing \(15 are\); missing=drop"),
        ([1.0, 2.0, 3.0, np.inf] * 15, {}, r"labels\[3\]: got inf; expected finite numbers"),
        (np.zeros((ROWS, 2, 2)), {}, r"labels: got shape \(60, 2, 2\); expected \[rows\] or \[rows, outputs\]"),
        (np.arange(ROWS), {"ways": 2}, "ways: got 2; there are no classes where the target is a number"),
        (np.arange(ROWS), {"classes": "0-4"}, "classes: got '0-4'; there are no classes"),
        (np.arange(ROWS), {"target": "numbers"}, "target: got 'numbers'; did you mean 'number'"),
        (np.arange(ROWS - 1), {}, "x has 60 rows and labels has 59"),
        (np.arange(ROWS), {"x_test": [[0.0]], "labels_test": [[0, 1]]}, "labels_test has 2 targets a row; labels has 1"),
    ],
)  # fmt: skip
def test_targets_that_are_refused(labels, options, message):
    with pytest.raises(TaskError, match=message):
        from_arrays(FRAME[["width"]], labels, **{"target": "number", **options})
    task = from_arrays(FRAME[["width"]], np.arange(ROWS), target="number")
    with pytest.raises(TaskError, match="it has no classes to weigh"):
        task.class_weights()
    with pytest.raises(TaskError, match=r"outputs of task .*: got 2; allowed: 1"):
        task.with_outputs(2)
