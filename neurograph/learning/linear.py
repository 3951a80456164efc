"""scikit-learn's linear models on the rows that a genome learns from: the least that a network has to beat."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.learning.baselines import splits_of
from neurograph.learning.inner_loop import episode_of, is_regression, scores_of
from neurograph.tasks import Episode, Task, decode_labels

__all__ = ["Linear", "linear_baseline"]

PENALTIES = (0.1, 1.0, 10.0)
"""Weights of the penalty that are tried, from which one is chosen on validation data."""

MOST_ROWS = 2000  # different ones, that a model is fitted to: more take long and change little


@dataclass(frozen=True)
class Linear:
    """A linear model of scikit-learn, tuned and judged.

    Attributes:
      name: "logistic regression", of a regression "ridge regression".
      penalty: the chosen one: 1/C, or alpha.
      scores: accuracy, of a regression R^2, of every run [runs].
      rows: the most different rows that a run's model was fitted to.
    """

    name: str
    penalty: float
    scores: np.ndarray
    rows: int


def linear_baseline(
    task: Task, *, keys: jax.Array, choice_key: jax.Array, steps: int, batch_size: int, query_size: int, judged_on: str = "test"
) -> Linear:
    """Fits a linear model to the rows of the first `steps` batches of a run, and judges it on the run's query.

    A key gives the batches that `learning_curve` gives a genome. The penalty is chosen on validation data, by a run of its own.

    Args:
      task: a classification, for logistic regression, or a regression, for ridge.
      keys: one per run, [runs].
      choice_key: of the run on validation data.
      judged_on: the split of the query, see `splits_of`.
    """
    sizes = (steps, batch_size, query_size)
    trial = episode_of(task, choice_key, (*sizes, *splits_of(task, "validation")))[0]
    scores = [_score(task, trial, penalty)[0] for penalty in PENALTIES]
    penalty = PENALTIES[int(np.argmax(scores))]
    episodes = (episode_of(task, key, (*sizes, *splits_of(task, judged_on)))[0] for key in keys)
    found = [_score(task, episode, penalty) for episode in episodes]
    name = "ridge regression" if is_regression(task) else "logistic regression"
    return Linear(name, penalty, np.array([score for score, _ in found]), max(rows for _, rows in found))


def _score(task: Task, episode: Episode, penalty: float) -> tuple[float, int]:
    """Accuracy or R^2 on the query of a model of the support rows, and the number of different ones."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    (x, y), (query, wanted) = episode
    # An episode goes round small data again and again: each row once, with its number as its weight.
    pairs = np.concatenate([np.asarray(part).reshape(-1, part.shape[-1]) for part in (x, y)], axis=1)
    pairs, first, weights = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    chosen = np.argsort(first)[:MOST_ROWS]
    rows, targets, weights = pairs[chosen, : x.shape[-1]], pairs[chosen, x.shape[-1] :], weights[chosen]
    with threadpool_limits(1):
        if is_regression(task):
            ridge: Any = Ridge(alpha=penalty).fit(rows, targets, weights)
            outputs = jnp.asarray(ridge.predict(np.asarray(query)).reshape(wanted.shape))
            return float(scores_of(outputs, wanted, regression=True)["r2"]), len(rows)
        labels, answers = np.asarray(decode_labels(targets)), np.asarray(decode_labels(wanted))
        if len(np.unique(labels)) == 1:
            return float(np.mean(answers == labels[0])), len(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model: Any = LogisticRegression(C=1 / penalty).fit(rows, labels, weights)
        return float(np.mean(model.predict(np.asarray(query)) == answers)), len(rows)
