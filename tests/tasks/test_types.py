"""The annotations of arrays hold at run time."""

from __future__ import annotations

import typing

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from neurograph.tasks import Batch, Task, balance_weights, decode_labels, encode_labels, from_arrays, get_task, mix
from neurograph.tasks.rows import check_labels, check_rows, check_targets, finite_numbers, tidy_labels

X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3


def holds(batch: Batch) -> bool:
    """Whether x and y have their types, and as many rows."""
    hints = typing.get_type_hints(Batch)
    with jaxtyping.jaxtyped("context"):
        return all(isinstance(getattr(batch, name), hint) for name, hint in hints.items())


TASKS: dict[str, Task] = {
    "xor": get_task("xor"),
    "sine": get_task("sine"),
    "digits": get_task("digits"),
    "own": from_arrays(X, Y),
    "ways": from_arrays(X, Y, ways=2),
}


@pytest.mark.parametrize("name", TASKS)
def test_batches_and_episodes(name):
    task, key = TASKS[name], jax.random.key(0)
    for made in (task, task.instance(key)):
        assert holds(made.sample(key, 5))
        episode = made.episode(key, 2, 3, 4)
        assert holds(episode.support)
        assert holds(episode.query)
    if name in ("digits", "own", "ways"):
        x, labels = task.arrays("test")
        assert len(TASKS["own"].encode(labels % 3)) == len(x)
        assert task.class_weights().shape == (task.num_classes,)
    with pytest.raises(jaxtyping.TypeCheckError):
        task.sample(jnp.ones(3), 5)
    assert not holds(Batch(jnp.ones((4, 2)), jnp.ones((3, 2))))
    assert not holds(Batch(jnp.ones((4, 2), int), jnp.ones((4, 2))))


def test_labels_and_mixes():
    y = encode_labels(jnp.array([[0, 2], [1, 1]]), 3)
    assert decode_labels(y).tolist() == [[0, 2], [1, 1]]
    assert balance_weights(y).shape == (2, 2, 3)
    tasks = mix(["xor", "digits"])
    assert all(holds(episode.query) for episode in tasks.episodes(jax.random.key(0), 2, 3, 4))


def test_rows_and_labels_of_your_own():
    assert check_rows(X, "x").dtype == np.float32
    assert check_rows(np.zeros((2, 4, 4), np.uint8), "x").dtype == np.uint8
    assert check_labels(["a", "b"], str, "labels").tolist() == ["a", "b"]
    assert check_targets([1, 2], str, "labels").tolist() == [[1], [2]]
    numbers = finite_numbers(["1", "2.5"])
    assert numbers is not None
    assert numbers.tolist() == [1, 2.5]
    assert finite_numbers(["1", "nan"]) is None
    assert tidy_labels(["1", "2"]).tolist() == [1, 2]
