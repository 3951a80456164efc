"""The linear baseline is scikit-learn's model of the rows that a genome learns from."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

import neurograph as ng
from neurograph.learning import linear_baseline
from neurograph.learning.inner_loop import episode_of
from neurograph.learning.lost import WORST_R2
from neurograph.tasks import decode_labels

X = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(0), 2)
SIZES = {"steps": 3, "batch_size": 40, "query_size": 24}


@pytest.mark.parametrize("target", ["class", "number"])
@pytest.mark.parametrize("judged_on", [pytest.param("validation", marks=pytest.mark.thorough), "test"])
def test_it_is_that_of_the_rows_however_often_they_come(target, judged_on):
    noise = np.random.default_rng(1).normal(size=120)
    labels = X[:, 0] + noise if target == "number" else (X[:, 0] + noise > 0).astype(int)
    task = ng.from_arrays(X, labels, target=target)
    found = linear_baseline(task, keys=KEYS, choice_key=jax.random.key(1), judged_on=judged_on, **SIZES)
    assert found.penalty in (0.1, 1.0, 10.0)
    assert found.rows == task.extents[0][1] < 120  # all training rows, some of them twice
    for score, key in zip(found.scores, KEYS):
        (x, y), query = episode_of(task, key, (3, 40, 24, "train", judged_on))[0]
        x, y = np.asarray(x).reshape(120, 3), np.asarray(y).reshape(120, -1)
        if target == "number":
            expected = Ridge(alpha=found.penalty).fit(x, y).score(query.x, query.y)
        else:
            model = LogisticRegression(C=1 / found.penalty, tol=1e-6).fit(x, decode_labels(y))
            expected = model.score(query.x, decode_labels(query.y))
        assert score == pytest.approx(expected, abs=1e-4 if target == "number" else 1 / 24)
    assert (found.name == "ridge regression") == (target == "number")


@pytest.mark.thorough
def test_a_penalty_is_chosen_on_validation_data_alone():
    task = ng.from_arrays(X, np.arange(120) % 2)
    one, other = (linear_baseline(task, keys=keys, choice_key=KEYS[0], **SIZES) for keys in (KEYS[:1], KEYS[1:]))
    assert one.penalty == other.penalty


@pytest.mark.thorough
def test_rows_of_one_class_are_answered_by_it():
    task = ng.get_task("center_circle", radius=1e-6)
    found = linear_baseline(task, keys=KEYS, choice_key=KEYS[0], steps=1, batch_size=4, query_size=16)
    np.testing.assert_array_equal(found.scores, [1.0, 1.0])


def test_a_model_that_is_far_off_has_the_lowest_score_that_genomes_have(monkeypatch):
    task = ng.from_arrays(X, X[:, 0], target="number")
    monkeypatch.setattr(Ridge, "predict", lambda self, rows: np.full(len(rows), 1e9))
    found = linear_baseline(task, keys=KEYS, choice_key=KEYS[0], **SIZES)
    assert found.scores.tolist() == [WORST_R2] * 2
