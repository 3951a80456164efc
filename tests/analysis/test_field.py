"""The update as a vector field: what its numbers are, its Jacobian, and the asymmetry test."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.analysis import AnalysisError, UpdateField, asymmetry
from neurograph.analysis.field import float64, places_of, require_memory
from neurograph.analysis.tools import untrained
from neurograph.testing.graphs import batch, random_synapses, random_topology, small
from neurograph.topology.layered import mlp


def few(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


def field(topology: ng.Topology, rule: ng.Rule, genome: ng.Genome, seed: int = 0, rows: int = 6, **options) -> UpdateField:
    return UpdateField.build(topology, rule, genome, *batch(topology, rows, seed), key=jax.random.key(seed), **options)


def learned(states: int = 2, **options) -> tuple[ng.Genome, ng.Rule]:
    rule = ng.Rule(states=states, forward_activation="tanh", backward_activation="tanh", initial_deviation="fan_in", **options)
    return ng.Genome.random(jax.random.key(1), rule, synapse_update=0.1, synapse_keep=0.9), rule


# ---- the vector holds stored numbers, once each


@given(st.integers(0, 2**31 - 1), st.booleans(), st.booleans())
@few(8)
def test_every_stored_number_counts_once(seed, symmetric, single):
    topology = random_topology(seed, shared=True, fixed=True)
    _, rule = learned(2, symmetric=symmetric, single_state_synapses=single)
    own = ~topology.fixed & (topology.group < 0)
    groups = len(np.unique(topology.group[~topology.fixed & (topology.group >= 0)]))
    biases = int((topology.bias & (topology.bias_group < 0)).sum()) + len(
        np.unique(topology.bias_group[topology.bias_group >= 0])
    )
    edges = int(own.sum()) + groups
    channels = 1 if single else 2
    with float64():
        found = [p for p in places_of(ng.Network(topology, rule, kernel="reference")) if p]
    assert len(found) == channels * (edges * (1 if symmetric else 2) + biases)
    assert len({(p.direction, p.name, p.channel) for p in found}) == len(found)
    assert sum(p.members for p in found if p.direction == "forward") == channels * int((~topology.fixed).sum())
    assert sum(p.members for p in found if p.direction == "bias") == channels * int(topology.bias.sum())
    assert {p.level for p in found} <= set(topology.levels.tolist())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"saturation": "tanh"},
        {"symmetric": False, "oja": "weights"},
        {"symmetric": False, "backward_synapses": "fixed", "oja": "weights"},
    ],
)
def test_the_field_is_new_minus_old_of_the_fast_kernel(options, x64):
    topology = small()
    genome, rule = learned(**options)
    f = field(topology, rule, genome)
    network = ng.Network(topology, rule)  # another kernel
    arrays = f.network.unpack(f.base)
    given_arrays = {"forward": arrays["forward"], "bias": arrays["bias"]}
    if not rule.symmetric:
        given_arrays["backward"] = arrays["backward"]
    new = network.unpack(network.step(f.genome, network.pack(**given_arrays), f.x, f.y)[0])
    update = f(f.start)
    for place, value in zip(f.places, update):
        if place.direction == "bias":
            expected = new["bias"][place.receiver, place.channel] - arrays["bias"][place.receiver, place.channel]
        else:
            e = int(np.flatnonzero((topology.senders == place.sender) & (topology.receivers == place.receiver))[0])
            expected = new[place.direction][e, place.channel] - arrays[place.direction][e, place.channel]
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-14)


def test_the_jacobian_is_that_of_finite_differences():
    genome, rule = learned(normalization="batch")
    f = field(small(), rule, genome)
    w, h = f.start, 1e-6
    differences = np.stack([(f(w + h * e) - f(w - h * e)) / (2 * h) for e in np.eye(f.size)], axis=1)
    np.testing.assert_allclose(f.jacobian(), differences, atol=1e-7 * np.abs(differences).max())


def test_many_points_are_evaluated_as_one_by_one():
    genome, rule = learned()
    f = field(small(), rule, genome)
    ws = np.stack([f.start, f.fresh(jax.random.key(7))])
    np.testing.assert_allclose(f(ws), np.stack([f(w) for w in ws]), rtol=1e-12)
    np.testing.assert_allclose(f.moved(ws[1]).start, ws[1])


# ---- choice of synapses, and refusals


def test_a_selection_is_a_part_of_the_whole_jacobian():
    genome, rule = learned()
    whole = field(small(), rule, genome)
    part = field(small(), rule, genome, select=["level:2", "name:a->c"], bias=False)
    assert {p.level for p in part.places} == {1, 2}
    assert "bias" not in {p.direction for p in part.places}
    at = [whole.places.index(p) for p in part.places]
    np.testing.assert_allclose(part.jacobian(), whole.jacobian()[np.ix_(at, at)], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": ["layer:1"]}, r"select: got 'layer:1'; allowed: all, forward, backward, level:NUMBER, name:PATTERN"),
        ({"select": ["level:9"]}, r"select: 'level:9' matches no stored number; there are levels with synapses: 1, 2"),
        ({"select": ["name:q->*"]}, r"matches no stored number; there are names such as"),
        ({"select": ["backward"]}, r"select: 'backward' matches no stored number"),
        ({"select": ["name:1->c"], "bias": False}, r"only biases are chosen, and bias=False"),
    ],
)
def test_a_selection_of_nothing_is_refused(options, message):
    genome, rule = learned()
    with pytest.raises(AnalysisError, match=message):
        field(small(), rule, genome, **options)


def test_noise_is_refused():
    genome, rule = learned()
    with pytest.raises(AnalysisError, match=r"noise: 0\.1 makes the update random"):
        field(small(), rule.replace(noise=0.1), genome)


def test_a_jacobian_that_would_not_fit_is_refused_with_the_size_that_would():
    genome, rule = learned()
    f = field(mlp(3, 30, 30, 2), rule, genome)
    limit = 2**20
    with pytest.raises(
        AnalysisError, match=r"the Jacobian: 2,224 stored .* the limit is 1 MiB; 161 numbers would fit.*level:1 has 240"
    ):
        asymmetry(f, memory=limit)
    fits = int((limit / 40) ** 0.5)
    assert fits == 161
    require_memory("x", fits, lambda n: 40 * n * n, limit)
    with pytest.raises(AnalysisError):
        require_memory("x", fits + 1, lambda n: 40 * n * n, limit)


# ---- Eqs. 9 and 10


@pytest.mark.thorough
@given(
    seed=st.integers(0, 2**31 - 1),
    activation=st.sampled_from(["tanh", "sigmoid", "relu", "swish"]),
    loss=st.sampled_from(["mse", "softmax_cross_entropy"]),
    shared=st.booleans(),
    fixed=st.booleans(),
)
@few(6)
def test_backprop_is_symmetric_on_any_acyclic_graph(seed, activation, loss, shared, fixed):
    topology = random_topology(seed, shared=shared, fixed=fixed, min_outputs=2, max_hidden=2)
    genome, rule = ng.backprop_genome(0.1, activation=activation, output_activation="tanh", loss=loss)
    arrays = random_synapses(topology, 2, seed, single=True)
    f = UpdateField.build(topology, rule, genome, *batch(topology, 5, seed), synapses={n: arrays[n] for n in ("forward", "bias")})
    found = asymmetry(f)
    assert found.symmetric, found.summary()
    assert found.norm > 0
    assert found.relative_error < 1e-11
    assert found.relative < 1e-13


@pytest.mark.thorough
@pytest.mark.parametrize("normalization", [pytest.param("none", marks=pytest.mark.thorough), "batch"])
def test_a_random_genome_is_asymmetric_on_many_graphs(normalization):
    for seed in range(1, 2):
        topology = random_topology(seed, max_hidden=2)
        genome, rule = learned(normalization=normalization)
        found = asymmetry(field(topology, rule, genome, seed))
        assert not found.symmetric
        assert found.relative > 1e-3
        assert found.relative_error < 1e-9


def test_the_measures_of_known_matrices():
    genome, rule = learned()
    found = asymmetry(field(small(), rule, genome))
    j = found.jacobian
    assert found.share == pytest.approx(np.linalg.norm((j - j.T) / 2) / np.linalg.norm(j))
    assert sum(found.between_levels().values()) == pytest.approx(1)
    off = ~np.eye(len(j), dtype=bool) & (j != j.T)
    np.testing.assert_allclose(np.exp(found.log_map[off]), np.abs(j - j.T)[off])
    assert np.isneginf(np.diag(found.log_map)).all()
    assert "not a gradient of any loss" in found.summary()


@pytest.mark.thorough
def test_the_zoo_genome_is_asymmetric_and_so_is_its_untrained_control():
    file = ng.load_genome_file("functions-4state")
    x, y = ng.get_task("xor").sample(jax.random.key(0), 32)
    topology = mlp(2, 8, 2)
    control = untrained(file.genome, file.rule, jax.random.key(3))
    for genome in (file.genome, control):
        found = asymmetry(UpdateField.build(topology, file.rule, genome, x, y), repeats=1)
        assert found.relative > 0.05
        assert not found.symmetric
    for name in ("forward_transform", "post_transform"):
        assert not np.allclose(getattr(control, name), getattr(file.genome, name))
    assert (control.synapse_update == file.genome.synapse_update).all()
