"""Tasks that need no data on disk: functions, digits, the registry, episodes."""

from __future__ import annotations

import re
import subprocess
import sys

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from neurograph.errors import TaskError
from neurograph.tasks import (
    FIGURE_3_HELD_OUT,
    FIGURE_3_TRAIN,
    FunctionTask,
    balance_weights,
    decode_labels,
    function_task,
    get_task,
    mix,
    register_task,
    task_entry,
    task_names,
)
from neurograph.tasks.registry import read_task
from neurograph.tasks.shuffle import permute

OFFLINE = [name for name in task_names() if task_entry(name).kind in ("function", "embedded data")]
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def digits():
    return get_task("digits")


@pytest.fixture
def registry(monkeypatch):
    from neurograph.tasks import registry

    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


@pytest.mark.parametrize("name", OFFLINE)
def test_every_task_keeps_the_contract(name):
    """The smoke test that every registered task passes: shapes, types, label values, determinism, query unlike support."""
    task = get_task(name)
    draw = jax.jit(lambda task, key: (task.sample(key, 6), task.episode(key, 2, 6, 4, "validation")))
    (x, y), episode = draw(task, KEY)
    assert x.shape == (6, task.num_inputs)
    assert y.shape == (6, task.num_outputs)
    xs, ys = episode.support
    assert xs.shape == (2, 6, task.num_inputs)
    assert ys.shape == (2, 6, task.num_outputs)
    assert episode.query.x.shape == (4, task.num_inputs)
    assert {a.dtype.name for a in jax.tree.leaves(((x, y), episode))} == {"float32"}
    if task.num_classes:
        assert set(np.unique(ys)) <= {-1.0, 1.0}
        assert np.array_equal(np.sum(np.asarray(y) > 0, axis=1), np.ones(6))
    again = draw(task, KEY)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(((x, y), episode)), jax.tree.leaves(again)))
    other = draw(task, jax.random.key(8))[1]
    assert not np.array_equal(xs, other.support.x)
    rows = {row.tobytes() for row in np.asarray(xs).reshape(12, -1)}
    assert not rows & {row.tobytes() for row in np.asarray(episode.query.x)}


@pytest.mark.parametrize("name", ["random_xor", "digits"])
def test_scan_and_vmap(name):
    task = get_task(name)
    keys = jax.random.split(KEY, 3)
    draw = jax.jit(lambda key: task.episode(key, 2, 4, 3))
    one = [draw(key) for key in keys]
    mapped = jax.jit(jax.vmap(draw))(keys)
    _, scanned = jax.lax.scan(lambda _, key: (None, task.sample(key, 4)), None, keys)
    for index, episode in enumerate(one):
        for a, b in zip(jax.tree.leaves(episode), jax.tree.leaves(mapped)):
            np.testing.assert_allclose(a, b[index], atol=1e-6)
    assert scanned.x.shape == (3, 4, task.num_inputs)


ORACLES = {
    "and": lambda a, b: a > 0 and b > 0,
    "or": lambda a, b: a > 0 or b > 0,
    "xor": lambda a, b: np.sign(a * b) > 0,
    "nxor": lambda a, b: np.sign(a * b) < 0,
    "qand": lambda a, b: a < 0 and b > 0,
    "center_circle": lambda a, b: np.sqrt(a * a + b * b) < 0.7,
    "small_center_circle": lambda a, b: np.sqrt(a * a + b * b) < 0.4,
    "square": lambda a, b: max(abs(a), abs(b)) < 0.2,
    "squares": lambda a, b: max(abs(a - 0.5), abs(b - 0.5)) < 0.3 or max(abs(a + 0.5), abs(b + 0.5)) < 0.3,
    "cross": lambda a, b: abs(a) < 0.3 or abs(b) < 0.3,
    "triangle": lambda a, b: a + b < 1 and -a + b < 1 and b > -0.5,
    "slice": lambda a, b: -0.78 <= np.arctan2(b, a) <= 0.78,
}


@pytest.mark.parametrize("name", ORACLES)
def test_functions_against_their_definition(name):
    x, y = (np.asarray(a) for a in get_task(name).sample(KEY, 400))
    assert np.abs(x).max() <= 1
    assert x.min() < -0.9
    assert x.max() > 0.9
    wanted = np.array([ORACLES[name](*point.astype(float)) for point in x])
    # Points within rounding of an edge may fall on either side.
    assert np.mean((y[:, 1] > 0) == wanted) > 0.99
    assert np.array_equal(y[:, 0], -y[:, 1])


def test_moons_lie_where_scikit_learn_puts_them():
    from sklearn.datasets import make_moons

    ours = get_task("moons", noise=0.0)
    x, y = ours.sample(KEY, 3000)
    theirs, labels = make_moons(4000, noise=0.0)
    theirs = np.stack([(theirs[:, 0] + 1) * 2 / 3 - 1, (theirs[:, 1] + 0.5) * 2 / 1.5 - 1], axis=1)
    for label in (0, 1):
        points = np.asarray(x)[np.asarray(decode_labels(y)) == label]
        distance = np.linalg.norm(points[:, None] - theirs[labels == label][None], axis=2)
        assert distance.min(axis=1).max() < 5e-3
        assert distance.min(axis=0).max() < 5e-2


def test_rotated_moons_turn_and_options_fix_the_family():
    plain = get_task("rotated_moons", angle=0.0).sample(KEY, 50)
    turned = get_task("rotated_moons", angle=np.pi / 2).sample(KEY, 50)
    np.testing.assert_allclose(turned.x, np.stack([plain.x[:, 1], -plain.x[:, 0]], axis=1), atol=1e-6)
    assert get_task("rotated_moons").is_family
    assert not get_task("rotated_moons", angle=0.0).is_family
    assert not get_task("fixed_random_xor").is_family
    assert get_task("circle", center=[0.1, 0.2]).is_family


@pytest.mark.parametrize("name", ["random_xor", "circle", "blobs5", "rotated_moons", "sine"])
def test_families_draw_one_problem_per_episode(name):
    """Support and query are of one problem, episodes of different ones, and an instance holds one."""
    task = get_task(name)
    instance = task.instance(KEY)
    assert not instance.is_family
    parameters = [jax.tree.leaves(task.instance(key).parameters) for key in jax.random.split(KEY, 2)]
    assert any(not np.array_equal(a, b) for a, b in zip(*parameters))
    same = [jax.tree.leaves(instance.instance(key).parameters) for key in jax.random.split(KEY, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(*same))
    if name == "blobs5":
        x, y = task.episode(KEY, 2, 200, 200).query
        support = task.episode(KEY, 2, 200, 200).support
        for label in range(5):
            mean = np.asarray(x)[np.asarray(decode_labels(y)) == label].mean(0)
            rows = np.asarray(support.x).reshape(-1, 2)[np.asarray(decode_labels(support.y)).reshape(-1) == label]
            assert np.linalg.norm(mean - rows.mean(0)) < 0.1


def test_one_output_is_the_sign_of_the_second_class():
    two, one = get_task("xor").sample(KEY, 20), get_task("xor", outputs=1).sample(KEY, 20)
    assert one.y.shape == (20, 1)
    assert np.array_equal(two.y[:, 1:], one.y)
    assert np.array_equal(decode_labels(two.y), decode_labels(one.y))


def test_a_task_is_an_argument_and_not_a_constant(digits):
    sample = jax.jit(lambda task, key: task.sample(key, 4))
    sample(digits, KEY)
    sample(get_task("digits", split_seed=3), KEY)
    assert sample._cache_size() == 1
    text = sample.lower(digits, KEY).as_text()
    assert len(text) < 50_000


def test_digits_splits_are_whole_disjoint_and_stratified(digits):
    from sklearn.datasets import load_digits

    rows, _ = load_digits(return_X_y=True)
    counts = [count for _, count in digits.extents]
    assert sum(counts) == 1797 == len(rows)
    assert counts == [1151, 287, 359]
    stored = np.asarray(digits.data)
    assert np.array_equal(np.unique(stored, axis=0), np.unique(rows.astype(np.uint8), axis=0))
    for split in ("train", "validation", "test"):
        _, labels = digits.arrays(split)
        share = np.bincount(labels, minlength=10) / len(labels)
        assert np.abs(share - 0.1).max() < 0.01
    x, labels = digits.arrays("train")
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std()) - 1) < 1e-4
    # The digit 0 is hollow and the digit 1 is not: rows and labels have stayed together.
    center = np.asarray(x).reshape(-1, 8, 8)[:, 3:5, 3:5].mean(axis=(1, 2))
    assert center[np.asarray(labels) == 0].mean() < -0.5 < center[np.asarray(labels) == 1].mean()


@pytest.mark.parametrize(
    ("normalize", "low", "high"), [("unit", 0, 1), ("symmetric", -1, 1), ("none", 0, 16), ("per_input", None, None)]
)
def test_normalizations(normalize, low, high):
    x, _ = get_task("digits", normalize=normalize).arrays("train")
    if normalize == "per_input":
        deviation = np.asarray(x).std(0)
        assert np.allclose(np.asarray(x).mean(0), 0, atol=1e-4)
        assert np.allclose(deviation[deviation > 0], 1, atol=1e-3)
        assert (deviation == 0).any()
    else:
        assert (float(x.min()), float(x.max())) == (low, high)


def _rows_of(task, x):
    """Which stored rows a batch is."""
    table = {row.tobytes(): index for index, row in enumerate(np.asarray(task.normalize(task.data)))}
    return [table[row.tobytes()] for row in np.asarray(x).reshape(-1, task.num_inputs)]


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31 - 1))
def test_episode_of_data_repeats_nothing(digits, seed):
    episode = digits.episode(jax.random.key(seed), 5, 32, 64)
    support, query = _rows_of(digits, episode.support.x), _rows_of(digits, episode.query.x)
    assert len(set(support)) == len(support)
    assert len(set(query)) == len(query)
    assert not set(support) & set(query)
    assert max(support + query) < digits.extents[0][1]
    labels = np.asarray(digits.labels)
    assert np.array_equal(labels[support], np.asarray(decode_labels(episode.support.y)).reshape(-1))
    assert np.array_equal(labels[query], np.asarray(decode_labels(episode.query.y)))


def test_episode_larger_than_the_split_goes_round(digits):
    """287 validation rows: a query of 200 takes 143, the support the other 144, each once before any comes again."""
    episode = digits.episode(KEY, 10, 40, 200, "validation")
    support, query = _rows_of(digits, episode.support.x), _rows_of(digits, episode.query.x)
    assert len(set(query)) == 143
    assert not set(support) & set(query)
    counts = np.bincount(support, minlength=max(support) + 1)
    assert sorted(set(counts[counts > 0])) == [2, 3]
    assert len(set(support[:144])) == 144
    assert support[:100] != support[144:244]


def test_query_from_another_split(digits):
    episode = digits.episode(KEY, 2, 20, 300, "train", "test")
    start, count = digits.extents[2]
    query = _rows_of(digits, episode.query.x)
    assert start <= min(query) <= max(query) < start + count
    assert len(set(query)) == 300


def test_ways_draw_fresh_balanced_classes():
    task = get_task("digits", ways=3)
    chosen = set()
    draw = jax.jit(lambda key: task.episode(key, 4, 9, 30))
    for key in jax.random.split(KEY, 6):
        episode = draw(key)
        support, query = _rows_of(task, episode.support.x), _rows_of(task, episode.query.x)
        assert not set(support) & set(query)
        assert len(set(support)) == 36
        classes = np.asarray(task.labels)[support]
        ways = np.asarray(decode_labels(episode.support.y)).reshape(-1)
        pairs = set(zip(ways.tolist(), classes.tolist()))
        assert len(pairs) == 3
        assert {(int(w), int(c)) for w, c in zip(decode_labels(episode.query.y), np.asarray(task.labels)[query])} == pairs
        assert np.array_equal(np.bincount(ways[:9]), [3, 3, 3])
        chosen.add(frozenset(classes.tolist()))
    assert len(chosen) > 1
    held = task.instance(KEY)
    a, b = held.episode(jax.random.key(1), 2, 6, 6), held.episode(jax.random.key(2), 2, 6, 6)
    assert set(np.asarray(task.labels)[_rows_of(task, a.query.x)]) == set(np.asarray(task.labels)[_rows_of(task, b.query.x)])
    # The splits of digits hold the same classes, so that a query may come from another.
    assert task.episode(KEY, 1, 6, 6, "train", "test").query.x.shape == (6, 64)


def test_class_weights_and_balance_weights():
    task = get_task("digits", classes=[1, 7])
    _, labels = task.arrays("train")
    weights = np.asarray(task.class_weights())[np.asarray(labels)]
    assert weights.mean() == pytest.approx(1)
    assert weights[np.asarray(labels) == 0].sum() == pytest.approx(weights[np.asarray(labels) == 1].sum())
    # The docstring of the authors: 1 positive, 9 negative -> 0.9 and 0.1.
    y = np.where(np.arange(10) == 3, 1.0, -1.0)[None]
    np.testing.assert_allclose(balance_weights(y), np.where(y > 0, 0.9, 0.1), atol=1e-6)
    one = np.array([[1.0], [-1], [-1], [-1]])
    np.testing.assert_allclose(balance_weights(one, axis=0)[:, 0], [0.75, 0.25, 0.25, 0.25])


def test_mix_keeps_sizes_apart():
    tasks = mix(["xor", "digits", {"name": "blobs", "classes": 3}, "moons"], weights=[1, 2, 1, 4])
    assert tasks.groups == {(2, 2): (0, 3), (64, 10): (1,), (2, 3): (2,)}
    assert tasks.weights == (0.125, 0.25, 0.125, 0.5)
    episodes = jax.jit(lambda tasks, key: tasks.episodes(key, 2, 4, 3))(tasks, KEY)
    assert [episode.query.y.shape for episode in episodes] == [(3, 2), (3, 10), (3, 3), (3, 2)]
    assert not np.array_equal(episodes[0].query.x, episodes[3].query.x)
    assert mix(mix("xor")).names == ("xor",)
    assert len(mix(FIGURE_3_TRAIN)) == 6
    assert mix(FIGURE_3_HELD_OUT).sizes == ((2, 5), (2, 2), (2, 2))


def test_your_own_function_in_ten_lines(registry):
    @register_task("stripes", summary="parallel stripes")
    def stripes(frequency: float = 6.0):
        def points(key, count):
            x = jax.random.uniform(key, (count, 2), minval=-1.0, maxval=1.0)
            return x, (jnp.sin(frequency * x[:, 0]) > 0).astype(int)

        return function_task(points)

    x, y = get_task("stripes", frequency=3.0).sample(KEY, 50)
    assert np.array_equal(np.sin(3 * np.asarray(x)[:, 0]) > 0, np.asarray(y)[:, 1] > 0)
    assert "stripes" in task_names()
    with pytest.raises(TaskError, match="exists already"):
        register_task("stripes", stripes)
    with pytest.raises(TaskError, match=r"no option 'freqency'; did you mean 'frequency'"):
        get_task("stripes", freqency=1)


def test_function_task_checks_what_the_function_returns():
    with pytest.raises(TaskError, match=r"returns x \(3, 3\) and labels \(3,\); expected \(3, 2\) and \(3,\)"):
        function_task(lambda key, count: (jnp.zeros((count, 3)), jnp.zeros(count, int)))
    with pytest.raises(TaskError, match="cannot be traced"):
        function_task(lambda key, count: float(jax.random.uniform(key)))
    wave = function_task(lambda key, count: (jnp.ones((count, 1)), jnp.ones((count, 1))), num_inputs=1, num_classes=0)
    assert isinstance(wave, FunctionTask)
    assert wave.sample(KEY, 4).y.shape == (4, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_task("xr"), "no task is called 'xr'; did you mean 'xor'"),
        (lambda: get_task("xor", sede=1), "task 'xor' has no option 'sede'; allowed: outputs."),
        (lambda: get_task("circle", radius=-1), "radius: got -1; expected a finite number > 0"),
        (lambda: get_task("circle", center=[1]), r"center: got \[1\]; expected one pair"),
        (lambda: get_task("digits", classes="0-12"), "there is no class 12; allowed: 0-9"),
        (lambda: get_task("digits", classes=[1, 1]), "named twice"),
        (lambda: get_task("digits", classes=[1]), "needs at least 2"),
        (lambda: get_task("digits", ways=11), "ways: got 11, but the train split has 10"),
        (lambda: get_task("digits", outputs=1), r"allowed: 10 \(10 classes\)"),
        (lambda: get_task("digits", normalize="zscore"), "allowed: standard, per_input"),
        (lambda: get_task("digits", validation=1.5), "validation: got 1.5; expected a number from 0 to below 1"),
        (lambda: get_task("digits", validation=0).sample(KEY, 2, "validation"), "has no validation split; it has: train, test"),
        (lambda: get_task("slice", begin=1, end=0), "expected begin < end"),
        (lambda: get_task("blobs", classes=1), "classes: got 1"),
        (lambda: get_task("xor").sample(KEY, 0), "batch_size of task 'xor': got 0"),
        (lambda: get_task("xor").sample(KEY, 2, "dev"), "got 'dev'; allowed: train, validation, test"),
        (lambda: get_task("xor").episode(KEY, 2, 2.5, 1), "batch_size of task 'xor': got 2.5"),
        (lambda: get_task("xor").arrays(), "no finite test split"),
        (lambda: get_task(3), "named by text; got int"),
        (lambda: get_task({"nam": "xor"}), "needs its name as text"),
        (lambda: mix([]), "at least one task"),
        (lambda: mix(["xor"], weights=[-1]), "1 positive numbers"),
        (lambda: register_task("two words", lambda: None), "word without spaces"),
    ],
)
def test_messages(make, message):
    with pytest.raises(TaskError, match=message):
        make()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31 - 1), size=st.sampled_from([1, 2, 3, 7, 64, 1000]))
def test_permute_is_a_bijection(seed, size):
    assert sorted(permute(jax.random.key(seed), jnp.arange(size), size).tolist()) == list(range(size))


def test_permute_is_uniform():
    """All 24 orders of 4 elements are as frequent as they should be (chi-squared), and so are places among 300."""
    keys = jax.random.split(jax.random.key(0), 9600)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permute(key, jnp.arange(4), 4)))(keys))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 400) ** 2 / 400).sum() < 50  # 23 degrees of freedom: exceeded once in 1,000
    places = np.asarray(jax.jit(jax.vmap(lambda key: permute(key, jnp.arange(30), 300)))(keys[:4000]))
    counts = np.bincount(places.ravel(), minlength=300)
    assert ((counts - 400) ** 2 / 400).sum() < 380  # 299 degrees, fewer as nothing repeats
    pairs = np.bincount((places[:, 0] * 300 + places[:, 1]) % 997, minlength=997)
    assert pairs.max() < 25


def test_permute_of_streams_and_sizes_at_once():
    sizes = jnp.array([5, 9, 2])
    way = jnp.repeat(jnp.arange(3), sizes, total_repeat_length=16)
    place = jnp.concatenate([jnp.arange(5), jnp.arange(9), jnp.arange(2)])
    result = np.asarray(permute(KEY, place, sizes[way], stream=way))
    for index, size in enumerate((5, 9, 2)):
        assert sorted(result[np.asarray(way) == index]) == list(range(size))


PROGRAM = """
import hashlib, jax, numpy as np
from neurograph.tasks import get_task
digest = hashlib.sha256()
for name, options in (("random_xor", {}), ("moons", {}), ("digits", {}), ("digits", {"ways": 4})):
    draw = jax.jit(lambda task, key: task.episode(key, 3, 8, 5))
    for leaf in jax.tree.leaves(draw(get_task(name, **options), jax.random.key(3))):
        digest.update(np.round(np.asarray(leaf), 4).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.thorough
def test_same_key_same_batches_across_processes():
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
        for environment in (
            {**_environment(), "PYTHONHASHSEED": "1"},
            {**_environment(), "PYTHONHASHSEED": "2", "JAX_ENABLE_X64": "1", "JAX_NUMPY_DTYPE_PROMOTION": "strict"},
        )
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == 64


def _environment():
    import os
    from pathlib import Path

    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root}


def test_listing_imports_no_jax():
    program = (
        "import sys, neurograph.tasks as t; t.task_names(); print('jax' in sys.modules, 'tensorflow_datasets' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=_environment())
    assert run.stdout.split() == ["False", "False"]


# ---- a task as text with its options


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("digits", "digits", {}),
        ("  digits   classes=0-4 ", "digits", {"classes": "0-4"}),
        ("moons noise=1e-3 outputs=1", "moons", {"noise": 1e-3, "outputs": 1}),
        ("mnist size=[28, 20] gray=true splits={train: a}", "mnist", {"size": [28, 20], "gray": True, "splits": {"train": "a"}}),
        ("mnist size='[28, 20]' classes=", "mnist", {"size": [28, 20], "classes": None}),
        ("digits classes=no", "digits", {"classes": "no"}),
        ("csv:my wine.csv label=wine type delimiter=; normalize=unit", "csv:my wine.csv",
         {"label": "wine type", "delimiter": ";", "normalize": "unit"}),
        ("csv:a.csv label=7", "csv:a.csv", {"label": "7"}),
        ("csv:a.csv label=null delimiter=', '", "csv:a.csv", {"label": "null", "delimiter": ", "}),
        ("csv:'a b=c.csv' label=\"x y=z\" classes=*a", "csv:a b=c.csv", {"label": "x y=z", "classes": "*a"}),
        ("tfds:cifar10 size=8", "tfds:cifar10", {"size": 8}),
    ],
)  # fmt: skip
def test_a_task_as_text_has_its_options_behind_it(text, name, options):
    assert read_task(text) == (name, options)


def test_text_and_mapping_make_the_same_task():
    made = [get_task("digits classes=0-4 outputs=5"), get_task({"name": "digits classes=0-4", "outputs": 5})]
    made += [
        get_task("digits", classes="0-4"),
        get_task({"name": "digits", "classes": [0, 1, 2, 3, 4]}),
        mix("digits classes=0-4")[0],
    ]
    for task in made:
        assert task.name == "digits"
        np.testing.assert_array_equal(task.data, made[0].data)
    assert get_task("digits varied={shuffled: true, scale: [0.1, 10]}").is_family


def test_a_file_with_an_option_in_its_name_is_a_file(tmp_path):
    (tmp_path / "run lr=0.1.csv").write_text("x,label\n" + "1,a\n2,b\n" * 10)
    assert get_task(f"csv:{tmp_path / 'run lr=0.1.csv'}").num_classes == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits size", "task 'digits': got 'size'; expected KEY=VALUE, such as size=10"),
        ("digits classes=0-4 classes=5-9", "task 'digits': option 'classes' is given twice"),
        ("digits clases=0-4", "task 'digits' has no option 'clases'; did you mean 'classes'?"),
        ("digts classes=0-4", "no task is called 'digts'; did you mean 'digits'?"),
        ("csv:wine.csv lable=kind", "task 'csv:wine.csv' has no option 'lable'; did you mean 'label'?"),
        ("csv:wine.csv x_test=a", "has no option 'x_test'"),
    ],
)
def test_options_in_a_text_that_are_refused(text, message):
    with pytest.raises(TaskError, match=re.escape(message)):
        get_task(text)
    with pytest.raises(TaskError, match="option 'classes' is given twice: '0-4' and '5-9'"):
        get_task("digits classes=0-4", classes="5-9")
