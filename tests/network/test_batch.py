"""Batches of graphs compute what `Network` computes on its reference kernel, whatever they are stacked with."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import foreign_calls, rest_is_thorough
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.network.batch import programs
from neurograph.network.batch.dense import packed_shapes
from neurograph.network.batch.sizes import exact_sizes
from neurograph.testing import random_genome, rules
from neurograph.testing.comparing import relative, steps
from neurograph.testing.graphs import random_synapses, random_topology, small

FEW = settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
FOLDER = Path(__file__).parents[2] / "topologies"
SHIPPED = sorted(path for path in FOLDER.iterdir() if path.suffix in {".yaml", ".json", ".graphml", ".csv"})
STATES = ("forward", "feedback", "backward")
TOLERANCE = 1e-10


@st.composite
def cases(draw: st.DrawFn, cyclic: bool = False):
    """Two topologies of one size class, a rule that suits both, and a seed."""
    seed = draw(st.integers(0, 2**31 - 1))
    shared, fixed = draw(st.booleans()), draw(st.booleans())
    fields: dict = {"min_outputs": 2, "shared": shared, "fixed": fixed, "projecting": draw(st.booleans())}
    settle: dict = {}
    if cyclic:
        schedule = draw(st.sampled_from(["mixed", "mixed", "synchronous"]))
        fields |= {"cyclic": True, "schedule": schedule, "max_hidden": 2}
        settle = {"damping": draw(st.sampled_from([0.0, 0.5])), "tolerance": draw(st.sampled_from([0.0, 0.0, 0.02]))}
    ticks = lambda number: {"ticks": 1 + number % 4} if cyclic else {}  # noqa: E731
    many = [random_topology(seed + number, **fields, **ticks(number)).replace(**settle) for number in range(40)]
    ends = [(len(graph.inputs), len(graph.outputs), exact_sizes(graph).schedule) for graph in many]
    graphs = [graph for graph, end in zip(many, ends) if end == ends[0]][:2]
    rule = draw(rules(2, stored=not shared))
    return graphs, rule, seed


def compare(graphs, rule, seed, number: int = 2, genome=None, tolerance: float = TOLERANCE, **options) -> ng.NetworkBatch:
    """`number` steps and a prediction: states, synapses and outputs of every graph."""
    rng = np.random.default_rng(seed)
    genome = random_genome(rule.states, seed) if genome is None else genome
    options = options or {"sizes": ng.SizeClass.of(graphs)}
    batch = ng.NetworkBatch(graphs, rule, **options)
    rows, inputs, outputs = 3, max(len(t.inputs) for t in graphs), max(len(t.outputs) for t in graphs)
    xs = rng.normal(size=(number, len(graphs), rows, inputs))
    ys = rng.choice([-1.0, 1.0], (number, len(graphs), rows, outputs))
    query = rng.normal(size=(len(graphs), rows, inputs))
    arrays = []
    for g, graph in enumerate(graphs):
        w = random_synapses(graph, rule.states, seed + g, single=rule.single_state_synapses)
        carried = None if rule.reset_states else rng.normal(0, 0.5, (rows, graph.num_neurons, rule.states))
        arrays.append(w | {"backward": None if rule.symmetric else w["backward"], "neurons": carried})
    synapses, found = batch.pack(arrays), []
    for index in range(number):
        trace = batch.trace(genome, synapses, xs[index], ys[index], index=index)
        synapses = trace.synapses
        found.append((trace, batch.unpack(synapses)))
    predicted = batch.predict(genome, synapses, query)
    for g, graph in enumerate(graphs):
        n, n_in, n_out = graph.num_neurons, len(graph.inputs), len(graph.outputs)
        network = ng.Network(graph, rule, kernel="reference")
        given = {name: value for name, value in arrays[g].items() if value is not None}
        theirs = steps(network, genome, given, xs[:, g, :, :n_in], ys[:, g, :, :n_out], query[g, :, :n_in])
        theirs = jax.device_get(theirs)
        for index, (trace, unpacked) in enumerate(found):
            ours = {f"states.{name}": np.asarray(getattr(trace, name)[g]) for name in STATES}
            for name, value in ours.items():
                assert not value[:, n:].any(), name
                assert relative(value[:, :n], theirs[name][index]) < tolerance, (g, name, index)
            assert not trace.outputs[g, :, n_out:].any()
            assert relative(trace.outputs[g, :, :n_out], theirs["outputs"][index]) < tolerance, (g, index)
            for name, value in unpacked[g].items():
                assert value.dtype == theirs[name].dtype
                assert relative(value, theirs[name][index]) < tolerance, (g, name, index)
        assert relative(predicted[g, :, :n_out], theirs["query"]) < tolerance
    return batch


@pytest.mark.thorough
@FEW
@given(case=cases())
def test_levels(case, x64):
    compare(*case)


@pytest.mark.thorough
@FEW
@given(case=cases(cyclic=True))
def test_cycles(case, x64):
    compare(*case)


@pytest.mark.slow
@MANY
@given(case=st.booleans().flatmap(lambda cyclic: cases(cyclic=cyclic)))
def test_many(case, x64):
    compare(*case)


RULE = ng.Rule(backward_activation="tanh", forward_activation="tanh", normalization="batch", batch_reduction="mean")
DESCENT = RULE.replace(
    backward_update="multiplicative_second_state",
    backward_normalization="derivative",
    update_normalization="neuron",
    feedback="softmax_cross_entropy",
    synapse_trace=True,
    hebbian_pre="forward",
)


def ends(graphs, steps=None, rows=4, seed=0):
    """x and y that lead with the graphs."""
    rng = np.random.default_rng(seed)
    lead = (len(graphs), *([] if steps is None else [steps]), rows)
    widths = max(len(t.inputs) for t in graphs), max(len(t.outputs) for t in graphs)
    return rng.normal(size=(*lead, widths[0])), rng.choice([-1.0, 1.0], (*lead, widths[1]))


MIXED = {"cyclic": True, "schedule": "mixed", "ticks": 3}


@pytest.mark.thorough
@pytest.mark.parametrize("value", ["mirrored", "fixed", "sign"])
def test_backward_synapses(value, x64):
    """Of graphs with own, shared and fixed synapses, under traces, known sizes and decay."""
    many = [random_topology(seed, shared=True, fixed=True, min_outputs=2, max_hidden=2) for seed in range(40)]
    alike = [(len(graph.inputs), len(graph.outputs)) for graph in many]
    graphs = [graph for graph, sizes in zip(many, alike) if sizes == alike[0]][:2]
    compare(graphs, DESCENT.replace(symmetric=value == "sign", backward_synapses=value, oja="weights"), 3)


@pytest.mark.thorough
@pytest.mark.parametrize("fields", [pytest.param({}, id="levels"), pytest.param(MIXED, id="mixed", marks=pytest.mark.thorough)])
def test_outputs_that_send(fields, x64):
    """Outputs in front of hidden neurons and on cycles, beside a graph whose outputs end it."""
    many = [random_topology(seed, projecting=seed % 2 == 0, min_outputs=2, max_hidden=2, **fields) for seed in range(60)]
    sizes = [exact_sizes(graph) for graph in many]
    kind = lambda size: (size.inputs, size.outputs, size.schedule)  # noqa: E731
    sending = next(n for n, size in enumerate(sizes) if any(size.sending[1::2] if fields else size.sending))
    plain = next(n for n, size in enumerate(sizes) if not size.sending and kind(size) == kind(sizes[sending]))
    batch = compare([many[sending], many[plain]], DESCENT, 3, number=1)
    assert "sending" in str(batch.classes[0])


@pytest.mark.thorough
def test_graphs_of_several_classes_at_once(x64):
    """Other numbers of inputs and outputs, cycles and none: columns beyond a graph's own are not read, and zero in results."""
    graphs = [random_topology(3, min_outputs=2), random_topology(4, min_outputs=3), small()]
    graphs.append(random_topology(5, cyclic=True, schedule="mixed", ticks=3, min_outputs=2))
    batch = compare(graphs, RULE, 1, number=1, sizes=None)
    assert len(batch.classes) > 2
    assert [size.holds(exact_sizes(graph)) for size, graph in zip(batch.sizes, graphs)] == [True] * 4
    assert (batch.padding >= 1).all()
    assert len(batch.describe().splitlines()) == len(batch.classes)


@pytest.mark.thorough
@pytest.mark.parametrize("rule", [RULE, DESCENT], ids=["additive", "descent"])
def test_ten_steps(rule, x64):
    graphs = [random_topology(s, min_outputs=2, fixed=True) for s in (1, 12)]
    compare(graphs, rule, 2, number=10, sizes=None)


@pytest.mark.thorough
def test_synapses_are_those_of_network_init(x64):
    graphs = [small(), random_topology(8, shared=True, fixed=True), random_topology(9)]
    for rule in (ng.Rule(symmetric=False), ng.Rule(initial_deviation="fan_in", initial_distribution="uniform")):
        genome, key = random_genome(2, 0), jax.random.key(3)
        batch = ng.NetworkBatch(graphs, rule)
        ours = batch.unpack(batch.init(genome, key=key))
        for graph, own, mine in zip(graphs, ours, jax.random.split(key, 3)):
            network = ng.Network(graph, rule)
            for name, value in network.unpack(network.init(genome, key=mine)).items():
                np.testing.assert_array_equal(own[name], value)


def test_packed_arrays_come_back(x64):
    graphs = [small(), random_topology(8, shared=True, fixed=True)]
    rule = ng.Rule(symmetric=False, synapse_trace=True, synapse_average=True)
    arrays = [random_synapses(graph, 2, seed) for seed, graph in enumerate(graphs)]
    traces = [random_synapses(graph, 2, seed + 5) for seed, graph in enumerate(graphs)]
    batch = ng.NetworkBatch(graphs, rule)
    averages = [random_synapses(graph, 2, seed + 9) | {"steps": seed + 2.0, "error": 0.25} for seed, graph in enumerate(graphs)]
    given = [own | {"traces": t, "averages": a} for own, t, a in zip(arrays, traces, averages)]
    back = batch.unpack(batch.pack(given))
    for graph, own, trace, average, found in zip(graphs, arrays, traces, averages, back):
        assert (found["average_steps"], found["average_error"]) == (average["steps"], average["error"])
        for name in ("forward", "bias"):
            np.testing.assert_array_equal(found[f"{name}_average"], average[name])
        for name in own:
            np.testing.assert_array_equal(found[name], own[name])
            free = 1 if name == "bias" else ~graph.fixed[:, None]
            np.testing.assert_array_equal(found[f"{name}_trace"], trace[name] * free)


def _loss(network, genome, synapses, xs, ys):
    synapses, outputs = network.unroll(genome, synapses, xs, ys)
    return jnp.sum(jnp.sin(outputs), axis=tuple(range(outputs.ndim - 3, outputs.ndim)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("side_by_side", "cyclic"),
    [(False, False), pytest.param(True, True, marks=pytest.mark.slow)],
    ids=["levels", "mixed, side by side"],
)
def test_meta_gradients(side_by_side, cyclic, x64):
    """By genome, synapses and inputs, through three steps."""
    fields = {"cyclic": True, "schedule": "mixed", "ticks": 2} if cyclic else {}
    graphs = [graph for s in range(30) if len((graph := random_topology(s, min_outputs=2, **fields)).inputs) == 3][:2]
    genome = random_genome(2, 5)
    xs, ys = ends(graphs, steps=3)
    outputs = [len(graph.outputs) for graph in graphs]
    batch = ng.NetworkBatch(graphs, DESCENT, side_by_side=side_by_side)
    start = batch.init(genome, key=jax.random.key(0))

    def ours(genome, synapses, xs):
        found = batch.unroll(genome, synapses, xs, ys)[1]
        return sum(jnp.sum(jnp.sin(found[g, ..., :n])) for g, n in enumerate(outputs))

    value, (by_genome, by_synapses, by_inputs) = jax.jit(jax.value_and_grad(ours, argnums=(0, 1, 2)))(genome, start, xs)
    total, expected = 0.0, jax.tree.map(jnp.zeros_like, genome)
    by_synapses = batch.unpack(by_synapses)
    for g, (graph, key) in enumerate(zip(graphs, jax.random.split(jax.random.key(0), 2))):
        network = ng.Network(graph, DESCENT, kernel="reference")
        synapses = network.init(genome, key=key)
        run = jax.jit(jax.value_and_grad(lambda *a, n=network: _loss(n, *a), argnums=(0, 1, 2)))
        part, (own, synaptic, inputs) = run(genome, synapses, xs[g], ys[g, ..., : outputs[g]])
        total, expected = total + part, jax.tree.map(jnp.add, expected, own)
        assert relative(by_inputs[g], inputs) < 1e-9
        largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(synaptic))
        for name, leaf in network.unpack(synaptic).items():  # fixed synapses come back as values, not as derivatives
            free = (graph.bias if name.startswith("bias") else ~graph.fixed)[:, None]
            assert np.max(np.abs(by_synapses[g][name] * free - leaf * free)) < 1e-9 * largest, name
    assert relative(value, total) < 1e-10
    for field in dataclasses.fields(ng.Genome):
        one, other = getattr(by_genome, field.name), getattr(expected, field.name)
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9 * abs(float(total)), err_msg=field.name)


@pytest.mark.thorough
def test_losses_and_their_gradient_are_the_same_in_turn_and_side_by_side(x64):
    """In turn is compared with networks in tests/meta/test_graphs.py."""
    graphs = [random_topology(s, min_outputs=2) for s in (0, 2)]
    genome, keys = random_genome(2, 1), jax.random.split(jax.random.key(0), 2)

    def judged(network, genome, key):
        x, y = jax.random.normal(key, (2, 4, 5)), jnp.sign(jax.random.normal(key, (2, 4, 2)))
        synapses, outputs = network.unroll(genome, network.init(genome, key=key), x, y)
        return jnp.sum(jnp.sin(outputs)), network.predict(genome, synapses, x[0])

    found = []
    for side_by_side in (False, True):
        batch = ng.NetworkBatch(graphs, ng.Rule(), sizes=ng.SizeClass.of(graphs), side_by_side=side_by_side)

        def total(genome, batch=batch):
            ((losses, rest),) = batch.losses(judged, genome, [keys])
            return jnp.sum(losses), rest

        found.append(jax.jit(jax.value_and_grad(total, has_aux=True))(genome))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-9 * abs(float(found[0][0][0])))
    jax.tree.map(close, *found)


def test_a_graph_does_not_depend_on_its_company():
    """Bit for bit, whatever other graphs of its class run beside it, and in whatever order."""
    graphs = [graph for s in range(90) if len((graph := random_topology(s)).inputs) == 3 and len(graph.outputs) == 2][:3]
    size, genome = ng.SizeClass.of(graphs), random_genome(2, 1)
    xs, ys = ends(graphs, steps=3)
    keys = jax.random.split(jax.random.key(0), len(graphs))

    def run(chosen):
        batch = ng.NetworkBatch([graphs[g] for g in chosen], RULE, sizes=size)
        synapses, outputs = batch.unroll(genome, batch.init(genome, key=keys[chosen]), xs[chosen], ys[chosen])
        return [*zip(batch.unpack(synapses), outputs)]

    together = run(np.arange(len(graphs)))
    for chosen in ([1, 0], [1, 2, 0]):
        for g, (synapses, outputs) in zip(chosen, run(np.array(chosen))):
            np.testing.assert_array_equal(outputs, together[g][1])
            for name, value in synapses.items():
                np.testing.assert_array_equal(value, together[g][0][name])


@pytest.mark.thorough
def test_two_hundred_graphs_compile_once():
    """One after another, and as arguments of a function of one's own."""
    graphs = [graph for s in range(4000) if len((graph := random_topology(s)).inputs) == 3 and len(graph.outputs) == 2][:200]
    assert len(graphs) == 200
    size, genome = ng.SizeClass.of(graphs), random_genome(2, 1)
    xs, ys = ends(graphs[:1], steps=2)
    counters = programs.first_synapses, programs.unrolls
    before = [counter._cache_size() for counter in counters]
    traced, found = [], []

    @jax.jit
    def run(batch, genome, xs, ys):
        traced.append(1)
        return batch.unroll(genome, batch.init(genome, key=jax.random.key(0)), xs, ys)[1]

    batches = [ng.NetworkBatch([graph], RULE, sizes=size) for graph in graphs]
    for batch in batches:
        found.append(batch.unroll(genome, batch.init(genome, key=jax.random.key(0)), xs, ys)[1])
    assert [counter._cache_size() - count for counter, count in zip(counters, before)] == [1, 1]
    for batch, outputs in zip(batches, found):
        np.testing.assert_allclose(run(batch, genome, xs, ys), outputs, rtol=1e-4, atol=1e-5)
    assert len(traced) == 1
    assert len({graph.digest for graph in graphs}) == 200


def test_a_genome_for_every_graph_and_populations(x64):
    graphs = [small(), small(bias=np.array([False] * 7))]
    genomes = [random_genome(2, s) for s in (1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *genomes)
    x, y = ends(graphs)
    batch = ng.NetworkBatch(graphs, RULE)
    synapses = batch.init(genomes[0], key=jax.random.key(0))
    each = batch.step(stacked, synapses, x, y)[1]
    population = jax.vmap(lambda genome: batch.step(genome, synapses, x, y)[1])(stacked)
    both = jax.vmap(lambda genome: batch.step(genome, synapses, x, y)[1])(
        jax.tree.map(lambda a, b: jnp.stack([a, b]), stacked, stacked)
    )
    for g, genome in enumerate(genomes):
        alone = batch.step(genome, synapses, x, y)[1]
        np.testing.assert_allclose(each[g], alone[g], rtol=1e-12)
        np.testing.assert_allclose(population[g], alone, rtol=1e-12)
        np.testing.assert_allclose(both[1][g], alone[g], rtol=1e-12)
    with pytest.raises(ng.ShapeError, match="lead with 3 graphs; expected 2"):
        batch.step(jax.tree.map(lambda a: jnp.stack([a] * 3), genomes[0]), synapses, x, y)


@pytest.mark.thorough
@pytest.mark.parametrize("by", rest_is_thorough(["depth", "role", "population"], "role", slow=("depth", "population")))
def test_genomes_per_layer(by, x64):
    graphs = [
        graph
        for s in range(60)
        if (graph := random_topology(s, min_outputs=2, max_hidden=2)).population_names and len(graph.inputs) == 2
    ][:2]
    names = {"depth": ("0", "1", "2"), "role": ("hidden", "input", "output"), "population": ("p1", "*")}[by]
    genome = ng.LayeredGenome.from_genomes({name: random_genome(2, i) for i, name in enumerate(names)}, by)
    rule = DESCENT.replace(symmetric=False, oja="weights", synapse_normalization="in_pass", learned_damping=True)
    rule = rule.replace(cycle_fading=True, self_gating=True)
    batch = compare(graphs, rule, 3, genome=genome)
    key = jax.random.key(2)
    for graph, own, mine in zip(graphs, batch.unpack(batch.init(genome, key=key)), jax.random.split(key, 2)):
        network = ng.Network(graph, rule)
        for name, value in network.unpack(network.init(genome, key=mine)).items():
            np.testing.assert_array_equal(own[name], value)


@pytest.mark.thorough
def test_noise_and_frozen_statistics(x64):
    graphs = [random_topology(s, min_outputs=2) for s in (3, 4)]
    rule, genome = RULE.replace(noise=0.3), random_genome(2, 0)
    xs, ys = ends(graphs, steps=2)
    batch = ng.NetworkBatch(graphs, rule)
    key = jax.random.key(1)
    start = batch.init(genome, key=key)
    synapses, outputs = batch.unroll(genome, start, xs, ys, key=key)
    statistics = batch.statistics(genome, synapses, xs[:, 0])
    alone = batch.predict(genome, synapses, xs[:, 0, :1], statistics=statistics)
    np.testing.assert_allclose(alone[:, 0], batch.predict(genome, synapses, xs[:, 0])[:, 0], rtol=1e-10)
    for g, (graph, mine) in enumerate(zip(graphs, jax.random.split(key, 2))):
        network = ng.Network(graph, rule)
        x, y = xs[g][..., : len(graph.inputs)], ys[g][..., : len(graph.outputs)]
        expected = network.unroll(genome, network.init(genome, key=mine), x, y, key=mine)[1]
        assert relative(outputs[g][..., : len(graph.outputs)], expected) < TOLERANCE


@pytest.mark.thorough
@pytest.mark.parametrize("side_by_side", rest_is_thorough([False, True], True))
def test_lowers_for_a_gpu(side_by_side):
    """Step and meta-gradient, without a call that only a CPU has."""
    graphs = [random_topology(s, min_outputs=2, cyclic=True, schedule="mixed", ticks=2) for s in (1, 2)] + [small()]
    batch, genome = ng.NetworkBatch(graphs, DESCENT, side_by_side=side_by_side), random_genome(2, 0)
    synapses = batch.init(genome, key=jax.random.key(0))
    xs, ys = (jnp.asarray(a, jnp.float32) for a in ends(graphs, steps=2))

    def loss(genome, batch):
        return jnp.sum(batch.unroll(genome, synapses, xs, ys)[1])

    for run in (loss, jax.grad(loss)):
        lowered = jax.jit(run).trace(genome, batch).lower(lowering_platforms=("cuda",))
        assert foreign_calls(lowered) <= {"Sharding"}


def test_what_cannot_run_is_refused_by_name():
    rule, graph = ng.Rule(), small()
    with pytest.raises(ng.PlanError, match="topologies: got none"):
        ng.NetworkBatch([], rule)
    with pytest.raises(ng.PlanError, match=r"topology 0: .*3 hidden.*none of the given size classes holds it"):
        ng.NetworkBatch([graph.replace()], rule, sizes=dataclasses.replace(exact_sizes(graph), hidden=(2,)))
    batch = ng.NetworkBatch([graph], rule)
    genome = ng.Genome.random(jax.random.key(0), rule)
    synapses = batch.init(genome, key=jax.random.key(0))
    x, y = ends([graph])
    for arrays, text in (((x[0], y[0]), "x: got shape"), ((x, y[:, :2]), "x and y: got"), ((x[..., :1], y), "x: got shape")):
        with pytest.raises(ng.ShapeError, match=text):
            batch.step(genome, synapses, *arrays)
    for arrays, text in (
        ({}, "graph 0: forward: expected an array"),
        ({"forward": np.zeros((8, 2)), "backward": np.zeros((8, 2))}, "the rule has symmetric: true"),
        ({"forward": np.zeros((7, 2))}, r"forward: got shape \[7, 2\]; expected \[8, 2\]"),
        ({"forward": np.zeros((8, 2)), "traces": {}}, "synapse_trace: false"),
        ({"forward": np.zeros((8, 2)), "averages": {}}, "synapse_average: false"),
        ({"weights": np.zeros((8, 2))}, "'weights' is no array of synapses"),
    ):
        with pytest.raises(ng.ShapeError, match=text):
            batch.pack([arrays])
    with pytest.raises(ng.PlanError, match="not at hand inside a transformed function"):
        jax.jit(lambda batch: batch.unpack(synapses))(batch)
    own = ng.Network(graph, rule).init(genome, key=jax.random.key(0))
    two = ng.NetworkBatch([graph, graph], rule).init(genome, key=jax.random.key(0))
    both = ng.NetworkBatch([graph, random_topology(1)], rule).init(genome, key=jax.random.key(0))
    for theirs, text in ((own, "synapses: got Synapses"), (two, "not this batch's: "), (both, "2 size classes, expected 1")):
        for call in (batch.unpack, lambda given: batch.step(genome, given, x, y), lambda given: batch.predict(genome, given, x)):
            with pytest.raises(ng.ShapeError, match=text):
                call(theirs)
        with pytest.raises(ng.ShapeError, match=text):
            jax.jit(lambda given: batch.unroll(genome, given, x[:, None], y[:, None]))(theirs)


@pytest.mark.parametrize(
    "options",
    rest_is_thorough([{}, {"symmetric": False, "synapse_trace": True, "synapse_average": True}, {"reset_states": False}], {}),
)
def test_shapes_of_packed_synapses_are_those_of_init(options):
    graphs, rule = [random_topology(seed, shared=True, fixed=True) for seed in (3, 4)], ng.Rule(**options)
    batch, genome = ng.NetworkBatch(graphs, rule), ng.Genome.random(jax.random.key(0), rule)
    synapses = batch.init(genome, key=jax.random.key(0))
    for own, size, tables in zip(synapses, batch.classes, batch.tables, strict=True):
        shapes = packed_shapes(size, rule, len(tables["count"]))
        assert jax.tree.structure(own) == jax.tree.structure(shapes)
        assert [leaf.shape for leaf in jax.tree.leaves(own)] == [leaf.shape for leaf in jax.tree.leaves(shapes)]
    x, y = ends(graphs)
    batch.unpack(batch.step(genome, synapses, x, y)[0])


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_topologies(path, x64):
    """A step of descent on everything that is not too large to be one matrix."""
    graph = ng.load_topology(path)
    if graph.num_neurons > 500 or len(graph.outputs) < 2:
        pytest.skip("larger than a class of this test, or too few outputs for softmax")
    compare([graph], DESCENT, 1, number=1, sizes=None)
