"""One task made many: what an episode draws, and that support and query share it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import neurograph as ng
from neurograph.tasks.base import decode_labels

KEY = jax.random.key(4)


def both(**changes):
    """An episode, and the same rows unchanged."""
    task = ng.get_task("digits", varied=changes)
    held = task.instance(jax.random.split(KEY)[0])
    plain = held.base.episode(jax.random.split(KEY)[1], 3, 20, 40, "train", "validation")
    return task.episode(KEY, 3, 20, 40, "train", "validation"), plain, held


def parts(episode):
    return (episode.support, episode.query)


def test_inputs_change_places_and_size_in_support_and_query_alike():
    found, plain, held = both(shuffled=True, scale=[0.1, 10])
    order, factor = np.asarray(held.drawn["shuffled"]), float(held.drawn["scale"])
    assert sorted(order) == list(range(64))
    assert list(order) != list(range(64))
    assert 0.1 <= factor <= 10
    for mine, theirs in zip(parts(found), parts(plain), strict=True):
        np.testing.assert_allclose(mine.x, np.asarray(theirs.x)[..., order] * np.float32(factor), rtol=1e-6)
        np.testing.assert_array_equal(mine.y, theirs.y)


def test_inputs_are_projected_to_other_directions_in_every_episode():
    found, plain, held = both(inputs=7)
    assert held.num_inputs == 7
    for mine, theirs in zip(parts(found), parts(plain), strict=True):
        np.testing.assert_allclose(mine.x, np.asarray(theirs.x) @ np.asarray(held.drawn["inputs"]), rtol=1e-4, atol=1e-5)
    task = ng.get_task("digits", varied={"inputs": 7})
    assert task.is_family
    assert not held.is_family
    assert not np.allclose(found.query.x, task.episode(jax.random.key(5), 3, 20, 40, "train", "validation").query.x)


def test_classes_change_names_and_are_dealt_out():
    found, plain, _ = both(relabelled=True)
    pairs = {*zip(*(np.ravel(decode_labels(p.y)).tolist() for p in (plain.support, found.support)), strict=True)}
    pairs |= {*zip(*(np.ravel(decode_labels(p.y)).tolist() for p in (plain.query, found.query)), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 10
    assert any(a != b for a, b in pairs)
    task, counts = ng.get_task("digits", varied={"classes": [2, 4]}), []
    for number in range(12):
        labels = decode_labels(task.episode(jax.random.key(number), 5, 40, 8).support.y)
        counts.append(len(np.unique(labels)))
        assert labels.max() == counts[-1] - 1
    assert {*counts} == {2, 3, 4}


def test_factors_are_spread_evenly_on_a_logarithmic_scale():
    task = ng.get_task("xor", varied={"scale": [0.1, 10]})
    factors = jax.vmap(lambda key: task.instance(key).drawn["scale"])(jax.random.split(KEY, 400))
    assert np.mean(np.asarray(factors) < 1) == pytest.approx(0.5, abs=0.1)


def test_an_instance_and_a_compiled_program_hold_one_draw():
    task = ng.get_task("random_xor", varied={"shuffled": True})
    held = task.instance(KEY)
    assert not held.is_family
    run = jax.jit(lambda task, key: task.episode(key, 2, 4, 8).query.x)
    np.testing.assert_array_equal(run(held, KEY), held.episode(KEY, 2, 4, 8).query.x)
    assert task.sample(KEY, 5).x.shape == (5, 2)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("digits", {}, "varied: got a mapping; expected a mapping with some of inputs, shuffled"),
        ("digits", {"shufled": True}, "varied: no key 'shufled'; did you mean 'shuffled'"),
        ("digits", {"shuffled": 1}, "varied: shuffled: got 1; expected true or false"),
        ("digits", {"inputs": 0}, "varied: inputs: got 0; expected an integer >= 1"),
        ("digits", {"classes": [2, 11]}, r"varied: classes: got \[2, 11\]; expected \[least, most\] from 2 to 10"),
        ("digits", {"scale": [0, 1]}, r"varied: scale: got \[0, 1\]; expected \[least, most\] above 0"),
        ("sine", {"relabelled": True}, "varied: task 'sine' has no classes to rename"),
        ("digits", {"scale": "big"}, "varied: scale: got 'big'"),
    ],
)
def test_what_cannot_be_is_named(name: str, changes: dict, message: str):
    with pytest.raises(ng.TaskError, match=message):
        ng.get_task(name, varied=changes)
