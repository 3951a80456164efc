"""Every builder against an independent construction: loops, scipy, networkx, or the definition itself."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from building import between, build, within
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from neurograph.topology import build_topology
from neurograph.topology.language import sampling


def test_dense_and_one_to_one():
    pairs, t = between({"kind": "dense", "from": "x", "to": "y", "weight": 0.5, "shared": True}, 3, 2)
    assert pairs == list(itertools.product(range(3), range(2)))
    assert t.weight.tolist() == [0.5] * 6
    assert t.group.tolist() == [0] * 6
    pairs, t = between({"kind": "one_to_one", "from": "x", "to": "y", "weight": 1, "fixed": True}, 3, 3)
    assert pairs == [(0, 0), (1, 1), (2, 2)]
    assert t.fixed.all()
    pairs, _ = within({"kind": "dense", "from": "c", "to": "c"}, 3)
    assert pairs == [(i, j) for i in range(3) for j in range(3) if i != j]
    pairs, _ = within({"kind": "dense", "from": "c", "to": "c", "self_synapses": True}, 3)
    assert len(pairs) == 9


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.01, 1), st.integers(0, 9))
def test_random_by_density(n, m, density, seed):
    pairs, _ = _random(n, m, {"density": density, "seed": seed})
    assert len(set(pairs)) == len(pairs) == max(1, round(density * n * m))


def _random(n, m, keys):
    connection = {"kind": "random", "from": "x", "to": "h", **keys}
    t = build(connection, {"kind": "dense", "from": "x", "to": "y"}, populations={"x": n, "h": m, "y": 1})
    keep = t.receivers < n + m
    return list(zip(t.senders[keep].tolist(), (t.receivers[keep] - n).tolist())), t


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_random_by_in_degree(n, m, data):
    degree = data.draw(st.integers(1, n))
    pairs, _ = _random(n, m, {"in_degree": degree})
    assert len(set(pairs)) == len(pairs)
    assert np.bincount([j for _, j in pairs], minlength=m).tolist() == [degree] * m


def test_random_is_uniform_and_seeded():
    counts = np.zeros((4, 5))
    for seed in range(300):
        for i, j in _random(4, 5, {"density": 0.3, "seed": seed})[0]:
            counts[i, j] += 1
    assert abs(counts / 300 - 0.3).max() < 0.12  # 4.5 standard deviations
    first, t = _random(4, 5, {"density": 0.3, "seed": 1})
    assert first == _random(4, 5, {"density": 0.3, "seed": 1})[0]
    assert t == _random(4, 5, {"density": 0.3, "seed": 1})[1]
    same = {"populations": {"x": 9, "y": 9}, "inputs": "x", "outputs": "y", "connections": []}
    one = {"kind": "random", "from": "x", "to": "y", "in_degree": 2}
    by_seed = [build_topology(same | {"connections": [one], "seed": seed}) for seed in (0, 1, 0)]
    assert by_seed[0] == by_seed[2] != by_seed[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.data())
def test_sampling_is_distinct(seed, total, data):
    rng = np.random.default_rng(seed)
    count = data.draw(st.integers(0, total))
    chosen = sampling.distinct(rng, total, count)
    assert len(chosen) == count
    assert len(set(chosen.tolist())) == count
    assert count == 0 or (chosen.min() >= 0 and chosen.max() < total)
    rows = sampling.distinct_rows(rng, 4, total, max(count, 1))
    assert all(len(set(row)) == max(count, 1) for row in rows.tolist())


def test_pair_codes_are_all_pairs():
    for n in range(2, 12):
        assert list(zip(*map(np.ndarray.tolist, sampling.upper_pairs(np.arange(n * (n - 1) // 2), n)))) == list(
            itertools.combinations(range(n), 2)
        )
        assert list(zip(*map(np.ndarray.tolist, sampling.ordered_pairs(np.arange(n * (n - 1)), n)))) == list(
            itertools.permutations(range(n), 2)
        )
    n = 5_000_000  # no rounding of the root
    codes = np.array([0, n - 2, n - 1, n * (n - 1) // 2 - 1, 123_456_789_012])
    low, high = sampling.upper_pairs(codes, n)
    assert (low * (2 * n - low - 1) // 2 + high - low - 1 == codes).all()
    assert ((low < high) & (high < n)).all()


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev", "manhattan"])
@pytest.mark.parametrize("wrap", [False, True])
def test_local_against_all_distances(metric, wrap):
    source, target, radius = (5, 6), (4, 7), 1.6
    pairs, _ = between(
        {"kind": "local", "from": "x", "to": "y", "radius": radius, "metric": metric, "wrap": wrap}, list(source), list(target)
    )
    wanted = []
    for place, where in enumerate(np.ndindex(target)):
        for cell, here in enumerate(np.ndindex(source)):
            away = [abs((w + 0.5) * s / t - 0.5 - h) for w, h, s, t in zip(where, here, source, target)]
            away = [min(a % s, -a % s) if wrap else a for a, s in zip(away, source)]
            length = {"euclidean": np.hypot(*away), "chebyshev": max(away), "manhattan": sum(away)}[metric]
            if length <= radius:
                wanted.append((cell, place))
    assert sorted(pairs) == sorted(wanted)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_convolution_against_scipy(data):
    """The synapses, filled with a kernel through their groups, are scipy's correlation, strides and channels included."""
    height, width = data.draw(st.integers(3, 7)), data.draw(st.integers(3, 7))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    channels_in, channels_out = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    pad = data.draw(st.one_of(st.just("valid"), st.just("same"), st.integers(0, min(kernel) - 1)))
    sizes, before = [], []
    for size, k, s in zip((height, width), kernel, stride):
        if pad == "same":
            out = -(-size // s)
            total = max((out - 1) * s + k - size, 0)
            before.append((total // 2, total - total // 2))
        else:
            before.append((0, 0) if pad == "valid" else (pad, pad))
            out = (size + sum(before[-1]) - k) // s + 1
        sizes.append(out)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.normal(size=(height, width, channels_in))
    weights = rng.normal(size=(*kernel, channels_in, channels_out))
    connection = {"kind": "convolution", "from": "x", "to": "y", "kernel": list(kernel), "stride": list(stride), "padding": pad}
    _, t = between(connection, [height, width, channels_in], [*sizes, channels_out])
    padded = np.pad(image, [*before, (0, 0)])
    wanted = np.zeros((*sizes, channels_out))
    for c, d in itertools.product(range(channels_in), range(channels_out)):
        full = signal.correlate2d(padded[:, :, c], weights[:, :, c, d], mode="valid")
        wanted[:, :, d] += full[:: stride[0], :: stride[1]][: sizes[0], : sizes[1]]
    # groups are numbered by first appearance, kernel entry by kernel entry; one that only ever meets padding has no synapse
    rows, columns = (
        [k for k in range(size) if any(0 <= o * s + k - pad[0] < length for o in range(out))]
        for size, s, pad, length, out in zip(kernel, stride, before, (height, width), sizes)
    )
    entries = weights[np.ix_(rows, columns)].ravel()
    assert t.group.max() + 1 == len(entries)
    got = np.zeros(t.num_neurons)
    np.add.at(got, t.receivers, entries[t.group] * image.ravel()[t.senders])
    np.testing.assert_allclose(got[height * width * channels_in :].reshape(wanted.shape), wanted, atol=1e-12)
    assert t.bias_group[t.outputs].reshape(-1, channels_out).tolist() == [list(range(channels_out))] * int(np.prod(sizes))


def test_convolution_without_sharing_and_depthwise():
    _, t = between({"kind": "convolution", "from": "x", "to": "y", "kernel": 3, "shared": False}, [4, 4, 2], [4, 4, 3])
    assert (t.group == -1).all()
    assert (t.bias_group == -1).all()
    pairs, t = between({"kind": "convolution", "from": "x", "to": "y", "kernel": 1, "depthwise": True}, [3, 3, 2], [3, 3, 2])
    assert sorted(pairs) == [(i, i) for i in range(18)]
    assert sorted(set(t.group.tolist())) == [0, 1]
    pairs, _ = between({"kind": "convolution", "from": "x", "to": "y", "kernel": [3], "padding": "valid"}, [5], [3])
    assert sorted(pairs) == [(i, j) for i in range(5) for j in range(3) if 0 <= i - j <= 2]


def test_average_pool_is_the_mean():
    _, t = between(
        {"kind": "average_pool", "from": "x", "to": "y", "window": [2, 3]}, [4, 6, 2], {"shape": [2, 2, 2], "bias": False}
    )
    image = np.random.default_rng(0).normal(size=(4, 6, 2))
    got = np.zeros(t.num_neurons)
    np.add.at(got, t.receivers, t.weight * image.ravel()[t.senders])
    np.testing.assert_allclose(got[48:].reshape(2, 2, 2), image.reshape(2, 2, 2, 3, 2).mean(axis=(1, 3)), atol=1e-15)
    assert t.fixed.all()
    assert not t.bias.any()


def test_residual_is_skip_plus_detour():
    populations = {"x": 3, "f": 2, "y": 3}
    identity = build({"kind": "residual", "from": "x", "through": ["f"], "to": "y"}, populations=populations)
    skips = identity.fixed
    assert list(zip(identity.senders[skips], identity.receivers[skips])) == [(0, 5), (1, 6), (2, 7)]
    assert identity.weight[skips].tolist() == [1, 1, 1]
    assert np.isnan(identity.weight[~skips]).all()
    dense = build({"kind": "residual", "from": "x", "through": ["f"], "to": "y", "skip": "dense"}, populations=populations)
    assert dense.num_synapses == 6 + 6 + 9
    assert not dense.fixed.any()


def test_highway_reaches_every_target():
    populations = {"x": 10, "a": 4, "b": 6, "y": 1}
    t = build(
        {"kind": "highway", "from": "x", "to": ["a", "b"], "density": 0.5},
        {"kind": "dense", "from": "b", "to": "y"},
        populations=populations,
    )
    reached = np.bincount(t.population[t.receivers], minlength=4)
    assert reached.tolist() == [0, 20, 30, 6]


def test_erdos_renyi():
    pairs, t = within({"kind": "erdos_renyi", "within": "c", "density": 0.2}, 60)
    assert all(i < j for i, j in pairs)
    assert t.is_acyclic
    assert abs(len(pairs) / (60 * 59 / 2) - 0.2) < 0.05
    both, _ = within({"kind": "erdos_renyi", "within": "c", "density": 0.2, "direction": "both"}, 60)
    assert set(both) == {(j, i) for i, j in both}
    free, t = within({"kind": "erdos_renyi", "within": "c", "density": 0.2, "direction": "random"}, 60)
    assert not t.is_acyclic
    assert len({frozenset(pair) for pair in free}) == len(free)


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.floats(0, 1), st.integers(0, 5), st.data())
def test_watts_strogatz(n, rewire, seed, data):
    neighbours = 2 * data.draw(st.integers(1, (n - 1) // 2))
    pairs, _ = within({"kind": "watts_strogatz", "within": "c", "neighbours": neighbours, "rewire": rewire, "seed": seed}, n)
    edges = {frozenset(pair) for pair in pairs}
    assert len(edges) == len(pairs) == n * neighbours // 2
    assert all(i < j for i, j in pairs)
    ring = {frozenset(edge) for edge in nx.watts_strogatz_graph(n, neighbours, 0).edges}
    if rewire == 0:
        assert edges == ring


def test_barabasi_albert_has_hubs():
    pairs, _ = within({"kind": "barabasi_albert", "within": "c", "attach": 3}, 400)
    assert len(set(pairs)) == len(pairs) == (400 - 3) * 3
    degree = np.bincount(np.array(pairs).ravel(), minlength=400)
    flat = np.bincount(np.array(within({"kind": "erdos_renyi", "within": "c", "density": 0.015}, 400)[0]).ravel(), minlength=400)
    assert degree.max() > 2 * flat.max()
    pairs, _ = within({"kind": "barabasi_albert", "within": "c", "attach": 90}, 200)
    assert len(set(pairs)) == 110 * 90


def test_ring_and_grid_against_networkx():
    pairs, _ = within({"kind": "ring", "within": "c", "reach": 2}, 7)
    assert set(pairs) == {(i, (i + d) % 7) for i in range(7) for d in (1, 2)}
    pairs, _ = within({"kind": "ring", "within": "c", "both_ways": True}, 7)
    assert set(pairs) == set(nx.cycle_graph(7).to_directed().edges)
    for wrap in (False, True):
        grid = nx.convert_node_labels_to_integers(nx.grid_graph([4, 3, 5], periodic=wrap), ordering="sorted")
        pairs, _ = within({"kind": "grid", "within": "c", "direction": "both", "wrap": wrap}, [5, 3, 4])
        assert set(pairs) == set(grid.to_directed().edges)
        assert len(pairs) == len(set(pairs))
    pairs, _ = within({"kind": "grid", "within": "c", "diagonal": True}, [3, 3])
    king = {(i, j) for i in range(9) for j in range(i + 1, 9) if max(abs(i // 3 - j // 3), abs(i % 3 - j % 3)) == 1}
    assert set(pairs) == king


def test_stochastic_block():
    connection = {"kind": "stochastic_block", "within": "c", "blocks": [30, 50, 20], "inside": 0.4, "between": 0.05}
    pairs, _ = within(connection, 100)
    block = np.repeat([0, 1, 2], [30, 50, 20])
    same = np.array([block[i] == block[j] for i, j in pairs])
    inside = 30 * 29 / 2 + 50 * 49 / 2 + 20 * 19 / 2
    assert len(set(pairs)) == len(pairs)
    assert abs(same.sum() / inside - 0.4) < 0.06
    assert abs((~same).sum() / (100 * 99 / 2 - inside) - 0.05) < 0.02
    full = connection | {"inside": 1.0, "between": 1.0}
    assert sorted(within(full, 100)[0]) == list(itertools.combinations(range(100), 2))


def test_cells_repeat():
    t = build(
        {"kind": "dense", "from": "cell", "to": "y"},
        populations={"x": 3, "y": 2},
        cells=[
            {
                "name": "cell",
                "repeat": 3,
                "from": "x",
                "populations": {"a": 2, "b": 3},
                "connections": [
                    {"kind": "dense", "from": "previous", "to": "a"},
                    {"kind": "dense", "from": "a", "to": "b"},
                    {"kind": "one_to_one", "from": "previous", "to": "b", "weight": 1, "fixed": True},
                    {"kind": "random", "from": "x", "to": "a", "in_degree": 1},
                ][:3],
                "output": "b",
            }
        ],
    )
    assert t.population_names == ("x", "y", "cell1.a", "cell1.b", "cell2.a", "cell2.b", "cell3.a", "cell3.b")
    assert t.names[5] == "cell1.a.0"
    by_pair = {}
    for i, j in zip(t.population[t.senders], t.population[t.receivers]):
        pair = t.population_names[i], t.population_names[j]
        by_pair[pair] = by_pair.get(pair, 0) + 1
    assert by_pair == {
        ("cell3.b", "y"): 6,
        ("x", "cell1.a"): 6,
        ("cell1.a", "cell1.b"): 6,
        ("x", "cell1.b"): 3,
        ("cell1.b", "cell2.a"): 6,
        ("cell2.a", "cell2.b"): 6,
        ("cell1.b", "cell2.b"): 3,
        ("cell2.b", "cell3.a"): 6,
        ("cell3.a", "cell3.b"): 6,
        ("cell2.b", "cell3.b"): 3,
    }
