"""The data sets as pictures: what is there is drawn, what is missing is named."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from neurograph.errors import TaskError
from neurograph.reproduce.claims import datasets
from neurograph.reproduce.plan import plan
from neurograph.reproduce.run import reproduce
from neurograph.tasks.build import array_task
from neurograph.tasks.tfds.stored import NotStored


def stripes(classes, size, rows=160):
    """Images of class c are bright in column c alone."""
    labels = np.arange(rows) % classes
    x = np.zeros((rows, size, size), np.uint8)
    x[np.arange(rows), :, labels] = 200
    flat, parts = x.reshape(rows, -1), np.array_split(np.arange(rows), [rows // 2, 3 * rows // 4])
    splits = {split: (flat[part], labels[part]) for split, part in zip(("train", "validation", "test"), parts, strict=True)}
    return array_task("stripes", splits, [str(one) for one in range(classes)], image_shape=(size, size))


@pytest.fixture
def stored(monkeypatch):
    """MNIST and its halves alone are there."""
    asked = []

    def get(name, size, **options):
        asked.append((name, size, options))
        if not name.startswith("mnist"):
            raise NotStored(f"data set {name!r} is not on this machine.")
        return stripes(10 if name == "mnist" else 5, size)

    monkeypatch.setattr(datasets, "get_task", get)
    return asked


def test_missing_sets_are_named_and_the_others_drawn(stored, tmp_path):
    result = reproduce("datasets", "laptop", tmp_path)
    (finding,) = result.findings
    assert "not on this machine: Fashion-MNIST, EMNIST a-j, EMNIST, Omniglot (its two small sets)" in finding.seen
    assert result.verdict == "seen, no claim to judge"
    assert result.counting == "Nothing is meta-trained or tested."
    with (tmp_path / "laptop" / "datasets" / "data.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["set"], row["resolution"]) for row in rows[:2]] == [("MNIST", "10x10"), ("MNIST", "28x28")]
    assert [row["classes"] for row in rows] == ["10", "10", "5", "5", "5", "5"]
    assert ("mnist", 10, {"crop": 20}) in stored  # section 4.2
    assert ("mnist", 28, {}) in stored


def test_without_any_set_the_fault_says_how_to_get_one(monkeypatch, tmp_path):
    def get(name, **options):
        raise NotStored(f"data set {name!r} is not on this machine.")

    monkeypatch.setattr(datasets, "get_task", get)
    with pytest.raises(TaskError, match="data set 'mnist' is not on this machine"):
        reproduce("datasets", "laptop", tmp_path)


@pytest.mark.parametrize("classes", [10, 5])
def test_columns_are_classes(classes):
    sheet = datasets._sheet(stripes(classes, 10))
    side = (sheet.shape[1] + datasets.GAP) // datasets.ACROSS
    for column in range(datasets.ACROSS):
        tile = sheet[:: side // 2, column * side : (column + 1) * side - datasets.GAP]
        bright = np.nanmean(tile, axis=0).reshape(10, -1).mean(axis=1)
        assert bright.argmax() == column // (datasets.ACROSS // classes)


def test_nothing_is_planned():
    assert plan("datasets", "paper").words == "nothing is meta-trained"
