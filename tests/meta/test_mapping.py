"""Populations in chunks: the same numbers whatever the chunk, within the budget, or an error that says what fits."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from benchmarks import workloads
from neurograph.meta.mapping import population_map
from neurograph.network.kernels import native
from neurograph.network.memory import compiled_bytes, measured_bytes, predicted_bytes

MEMBERS = 5


def toy(genome, key):
    return {"sum": genome["a"] * jax.random.normal(key, (3,)), "empty": jnp.zeros((2, 0))}


@pytest.fixture
def genomes():
    return {"a": jnp.arange(1.0, MEMBERS + 1)}


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("replicas", [(), (3,)])
def test_every_chunk_gives_what_a_loop_gives(genomes, chunk, replicas):
    keys = jax.random.split(jax.random.key(0), (MEMBERS, *replicas))
    results = population_map(toy, genomes, keys=keys, chunk=chunk)
    assert results["sum"].shape == (MEMBERS, *replicas, 3)
    assert results["empty"].shape == (MEMBERS, *replicas, 2, 0)
    for place in np.ndindex(MEMBERS, *replicas):
        np.testing.assert_allclose(results["sum"][place], toy({"a": genomes["a"][place[0]]}, keys[place])["sum"], rtol=1e-6)


def test_keys_of_both_kinds_and_none(genomes):
    old = jax.random.split(jax.random.PRNGKey(3), MEMBERS)
    new = jax.vmap(jax.random.wrap_key_data)(old)
    np.testing.assert_array_equal(population_map(toy, genomes, keys=old)["sum"], population_map(toy, genomes, keys=new)["sum"])
    np.testing.assert_array_equal(population_map(lambda g: g["a"] + 1, genomes), genomes["a"] + 1)


def test_inside_jit_and_under_gradients(genomes):
    def total(scale, member_bytes=None):
        return jnp.sum(population_map(lambda g: scale * g["a"] ** 2, genomes, member_bytes=member_bytes))

    np.testing.assert_allclose(jax.jit(total)(2.0), 110.0)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(2.0), 55.0)
    np.testing.assert_allclose(jax.grad(total)(2.0), 55.0)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"keys": jax.random.split(jax.random.key(0), 4)}, ng.ShapeError, r"keys: \[4\] keys; expected \[5\]"),
        ({"chunk": 0}, ng.PlanError, "chunk: got 0; expected an integer > 0"),
        (
            {"budget_bytes": 100, "member_bytes": 250},
            ng.PlanError,
            r"one member takes 250 bytes.*100 bytes.*0.4 times",
        ),
        ({"budget_bytes": 8}, ng.PlanError, r"one member takes .* the budget is 8 bytes"),
        ({"budget_bytes": 8, "chunk": 5}, ng.PlanError, r"a chunk of 5 members takes .* the budget is 8 bytes"),
    ],
)
def test_what_does_not_fit_says_so(genomes, change, error, match):
    with pytest.raises(error, match=match):
        population_map(toy, genomes, **({"keys": jax.random.split(jax.random.key(0), MEMBERS)} | change))


def test_populations_need_one_leading_axis():
    with pytest.raises(ng.ShapeError, match=r"genomes: leaves of shape \[2\], \[3\]; expected one leading population axis"):
        population_map(lambda g: g, {"a": jnp.ones(2), "b": jnp.ones(3)})
    with pytest.raises(ng.ShapeError, match="one leading population axis"):
        population_map(lambda g: g, {"a": jnp.ones(())})


def test_what_a_function_takes_is_read_from_its_program():
    matrix = jnp.ones((64, 64))

    def chain(x):
        return jnp.tanh(matrix @ jnp.tanh(matrix @ x))

    number = 64 * 1000 * 4  # bytes of one result; the chain holds at least one more, and not many
    used = measured_bytes(chain, jnp.ones((64, 1000)))
    assert 2 * number <= used <= 5 * number
    inside = []
    jax.jit(lambda m: inside.append(measured_bytes(lambda x: m @ chain(x), jnp.ones((64, 1000)))))(matrix)
    assert inside[0] >= used


GRAPHS = {
    "layered": lambda: workloads.layered((40, 30, 20, 5)),
    "residual": lambda: workloads.residual((30, *[20] * 4, 5)),
    "sparse levels": lambda: workloads.layered_sparse(4, 60, 1500),
    "irregular": lambda: workloads.random_dag(120, 600, inputs=20),
    "cyclic": lambda: workloads.connectome(90, 1500, inputs=20, outputs=5, ticks=4, spread=0.3),
    "local": lambda: workloads.local(side=7, channels=(1, 4), outputs=5),
    "conv": lambda: workloads.local(side=7, channels=(1, 4), outputs=5, shared=True),
}
# (steps, gradient, checkpoints) of every graph; the default run has a few.
RUNS = [(4, False, True), (5, True, True), (50, True, True), (5, True, False), (20, True, False)]
QUICK = [("layered", RUNS[1]), ("irregular", RUNS[2]), ("cyclic", RUNS[1]), ("irregular", RUNS[3])]
CASES = [pytest.param(g, r, marks=() if (g, r) in QUICK else pytest.mark.thorough) for g in GRAPHS for r in RUNS]


@pytest.mark.parametrize(("graph", "run"), CASES)
def test_memory_is_predicted_within_a_quarter(graph, run):
    rule = ng.Rule(forward_activation="tanh", backward_activation="tanh")
    hold(graph, run, ng.Genome.random(jax.random.key(0), rule), rule)


NORMALIZED = [(5, True, True), (5, True, False), (20, True, False)]
NORMALIZED_QUICK = [("universal", "irregular", NORMALIZED[0]), ("universal", "cyclic", NORMALIZED[1])]
NORMALIZED_QUICK += [("digits", "layered", NORMALIZED[1])]
NORMALIZED_CASES = [
    pytest.param(*case, marks=() if case in NORMALIZED_QUICK else pytest.mark.thorough)
    for case in itertools.product(("universal", "descent", "digits"), GRAPHS, NORMALIZED)
]


@pytest.mark.parametrize(("name", "graph", "run"), NORMALIZED_CASES)
def test_memory_is_predicted_under_batch_normalization(name, graph, run):
    if name == "descent":
        genome, rule = ng.backprop_genome(0.1, normalization="batch", loss="softmax_cross_entropy")
    else:  # universal has traces and averages, digits four states
        file = ng.load_genome_file(name)
        genome, rule = file.genome, file.rule
    hold(graph, run, genome, rule)


def hold(graph, run, genome, rule):
    """Holds the prediction of a graph's run to what its compiled program asks for."""
    if not native.available():
        pytest.skip("measured with native code")
    steps, gradient, checkpoint = run
    batch, network = 128, ng.Network(GRAPHS[graph](), rule)
    synapses = network.init(genome, key=jax.random.key(0))
    xs = jnp.ones((steps, batch, len(network.topology.inputs)))
    ys = jnp.ones((steps, batch, len(network.topology.outputs)))

    def learned(genome, network, synapses, xs, ys):
        return network.unroll(genome, synapses, xs, ys, checkpoint=checkpoint)[0]

    def loss(genome, network, *rest):
        return jnp.sum(network.predict(genome, learned(genome, network, *rest), xs[0]) ** 2)

    function = jax.grad(loss) if gradient else learned
    used = compiled_bytes(jax.jit(function).lower(genome, network, synapses, xs, ys).compile())
    predicted = predicted_bytes(network, batch, steps, gradient=gradient, checkpoint=checkpoint)
    most = 0.25 if gradient else 0.4  # steps alone take a few copies, of which one counts more
    assert (1 - most) * used <= predicted <= (1 + most) * used, predicted / used


def test_the_compiler_is_asked_once_and_the_budget_every_time(genomes, monkeypatch):
    asked = []
    monkeypatch.setattr("neurograph.meta.mapping.compiled_bytes", lambda compiled: asked.append(1) or compiled_bytes(compiled))

    def double(genome):
        return genome["a"] * jnp.ones((100,))

    for _ in range(3):
        population_map(double, genomes)
    assert len(asked) == 1
    with pytest.raises(ng.PlanError, match="the budget is 10 bytes"):
        population_map(double, genomes, budget_bytes=10)
    assert len(asked) == 1
    more = {"a": jnp.arange(1000.0)}
    assert population_map(double, more).shape == (1000, 100)
    assert len(asked) == 2
