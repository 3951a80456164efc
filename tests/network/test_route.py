"""The rule by which graphs run as data, as a `Network`, and by programs without optimisations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from neurograph.network import quick
from neurograph.network.batch import route
from neurograph.network.batch.route import Load, explain, routes
from neurograph.network.batch.sizes import exact_sizes

MLP = [ng.load_topology(f"8-{width}-4") for width in (6, 8, 10, 12)]


def test_many_small_graphs_share_a_program_and_one_has_its_own():
    load = Load(rows=1e5, program=6)
    found = routes(MLP, load)
    assert {way.size for way in found} == {found[0].size}
    assert found[0].size is not None
    assert all(found[0].size.holds(exact_sizes(graph)) for graph in MLP)
    (alone,) = routes(MLP[:1], load)
    assert alone.size is None
    assert "1 graph of one size class" in alone.why


def test_graphs_that_run_for_long_are_networks():
    assert {way.size for way in routes(MLP, Load(rows=1e12, program=6))} == {None}


def test_graphs_of_other_kinds_share_nothing():
    ring = ng.load_topology("ring")
    others = [ng.load_topology("mlp"), ng.load_topology("mlp1")]
    found = routes([others[0], ring, others[1], ring], Load(rows=1e4, program=6))
    assert found[0].size == found[2].size != found[1].size == found[3].size


@pytest.mark.parametrize(("rows", "wanted"), [(1e2, True), (1e9, False)])
def test_a_program_that_runs_little_is_compiled_quickly(rows, wanted):
    load = Load(rows=rows, program=6, may_be_quick=True)
    assert {way.quick for way in routes(MLP, load)} == {wanted}
    assert ("without optimisations" in explain(MLP[0], load)) == wanted
    assert not any(way.quick for way in routes(MLP, Load(rows=rows, program=6)))


def test_the_explanation_counts_the_graphs_from_which_data_is_quicker():
    load = Load(rows=1e5, program=6)
    text = explain(MLP[0], load)
    least = int(text.removeprefix("as data from ").split()[0])
    assert routes([MLP[0]] * least, load)[0].size is not None
    assert routes([MLP[0]] * (least - 1), load)[0].size is None
    assert explain(MLP[0], Load(rows=1e12, program=6)).startswith("a program of its own")


def test_a_quick_program_computes_the_same(monkeypatch):
    options = quick.quick_options()
    assert options is not None
    assert options["xla_backend_optimization_level"] == 0
    network = ng.Network(MLP[0], ng.Rule())
    genome = ng.Genome.near_backprop(jax.random.key(0), network.rule)
    x, y = jax.random.normal(jax.random.key(1), (5, 8)), jnp.eye(4)[jnp.arange(5) % 4]
    synapses = network.init(genome, key=jax.random.key(2))

    def outputs(synapses):
        return network.step(genome, synapses, x, y)[1]

    for some in (options, quick.brisk_options()):
        np.testing.assert_allclose(jax.jit(outputs, compiler_options=some)(synapses), outputs(synapses), rtol=1e-5)
    # A release that does not know an option goes without it.
    monkeypatch.setattr(quick, "OPTIONS", {"xla_of_another_time": 1, "xla_backend_optimization_level": 0})
    assert quick.quick_options.__wrapped__() == {"xla_backend_optimization_level": 0}
    monkeypatch.setattr(quick, "BRISK", ("xla_of_another_time",))
    assert quick.brisk_options.__wrapped__() is None
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert quick.quick_options.__wrapped__() is None


def test_the_share_of_compiling_that_a_quick_program_takes_is_in_the_rule():
    usual, quickly = Load(0, 6).best(10, 0), Load(0, 6, may_be_quick=True).best(10, 0)
    assert (usual.seconds, quickly.seconds) == (10, 10 * route.QUICK)
