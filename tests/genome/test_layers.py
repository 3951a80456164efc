"""Per-layer genomes: every kernel equals the NumPy oracle, equal layers equal the shared genome, files, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import KERNELS, rest_is_thorough
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.learning.inner_loop import meta_loss
from neurograph.testing import assert_equals_oracle, random_genome, rules
from neurograph.testing.comparing import relative, steps
from neurograph.testing.graphs import batch, random_synapses, random_topology, small, topology_of_blocks
from neurograph.topology import build_topology

LAYERS = ("depth", "role", "population")
MANY = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))


def layered(topology: ng.Topology, states: int, seed: int, by: str) -> ng.LayeredGenome:
    names = {"role": ("input", "hidden", "output"), "depth": [str(i) for i in range(topology.depth + 1)]}
    names = names.get(by, (*topology.population_names, "*"))
    return ng.LayeredGenome.from_genomes({name: random_genome(states, seed + i) for i, name in enumerate(names)}, by)


@st.composite
def cases(draw: st.DrawFn):
    """A topology, a rule that suits it, a genome for every layer, and a seed."""
    seed, cyclic = draw(st.integers(0, 2**31)), draw(st.booleans())
    fields = {"cyclic": True, "schedule": "mixed", "ticks": 2, "max_hidden": 2} if cyclic else {}
    topology = random_topology(seed, fixed=draw(st.booleans()), projecting=draw(st.booleans()), **fields)
    rule = draw(rules(len(topology.outputs)))
    return topology, rule, layered(topology, rule.states, seed, draw(st.sampled_from(LAYERS))), seed


@pytest.mark.parametrize("name", rest_is_thorough(KERNELS, "native", "blocks"))
@pytest.mark.usefixtures("x64")
@FEW
@given(case=cases())
def test_every_kernel_equals_the_oracle(name, case):
    *network, seed = case
    assert_equals_oracle(*network, kernel=name, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.usefixtures("x64")
@MANY
@given(case=cases())
def test_every_kernel_equals_the_oracle_on_many_rules(name, case):
    *network, seed = case
    assert_equals_oracle(*network, kernel=name, seed=seed)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["blocks", "levels"])
@pytest.mark.usefixtures("x64")
def test_blocks_of_every_kind_with_a_rule_that_has_everything(name):
    topology = topology_of_blocks(0).replace(group=np.full(topology_of_blocks(0).num_synapses, -1), bias_group=None)
    rule = ng.Rule(
        states=3,
        symmetric=False,
        normalization="batch",
        oja="weights",
        synapse_normalization="in_pass",
        rescale=True,
        saturation="tanh",
        forward_synapse_update=True,
        self_gating=True,
    )
    assert_equals_oracle(topology, rule, layered(topology, 3, 5, "depth"), kernel=name, seed=1)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("by", "name"),
    [
        pytest.param("depth", "levels", marks=pytest.mark.slow),
        ("role", "auto"),
        pytest.param("population", "reference", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("x64")
def test_equal_layers_are_the_shared_genome(name, by):
    topology = random_topology(7, fixed=True)
    halves = {"population": np.arange(topology.num_neurons) % 2, "population_names": ("even", "odd"), "population_shapes": ()}
    topology = topology.replace(**halves)
    rule = ng.Rule(states=3, symmetric=False, normalization="batch", oja="activity", saturation="exponential")
    genome = random_genome(3, 0)
    repeated = ng.LayeredGenome.repeat(genome, by, {"depth": topology.depth + 1, "role": None, "population": ["even", "odd"]}[by])
    network = ng.Network(topology, rule, kernel=name)
    arrays = random_synapses(topology, 3, 0)
    x, y = batch(topology)
    shared, own = (steps(network, g, arrays, np.stack([x, -x]), np.stack([y, y]), x) for g in (genome, repeated))
    for field, value in shared.items():
        assert relative(own[field], value) < 1e-11, field
    fresh = [network.unpack(network.init(g, key=jax.random.key(0))) for g in (genome, repeated)]
    assert all(np.array_equal(fresh[0][field], fresh[1][field]) for field in fresh[0])


@pytest.mark.thorough
def test_two_graphs_side_by_side_learn_as_each_does_alone():
    """Populations with different genomes in the same stages: neither feels the other."""
    one, n = small(), 7
    names = tuple("abcdefgABCDEFG")
    both = ng.Topology(
        names,
        np.concatenate([one.senders, one.senders + n]),
        np.concatenate([one.receivers, one.receivers + n]),
        np.concatenate([one.inputs, one.inputs + n]),
        np.concatenate([one.outputs, one.outputs + n]),
        population=np.repeat([0, 1], n),
        population_names=("left", "right"),
    )
    rule = ng.Rule(states=2, symmetric=False, normalization="batch")
    genomes = {"left": random_genome(2, 0), "right": random_genome(2, 1)}
    parts = {name: random_synapses(one, 2, i) for i, name in enumerate(genomes)}
    data = {name: batch(one, seed=i) for i, name in enumerate(genomes)}
    whole = {key: np.concatenate([part[key] for part in parts.values()]) for key in ("forward", "backward", "bias")}
    x, y = (np.concatenate([pair[i] for pair in data.values()], axis=1) for i in (0, 1))
    together = steps(ng.Network(both, rule), ng.LayeredGenome.from_genomes(genomes, "population"), whole, x[None], y[None])
    for i, (name, genome) in enumerate(genomes.items()):
        a, b = data[name]
        alone = steps(ng.Network(one, rule), genome, parts[name], a[None], b[None])
        neurons, edges = slice(i * n, (i + 1) * n), slice(i * 8, (i + 1) * 8)
        assert relative(together["states.backward"][:, :, neurons], alone["states.backward"]) < 1e-5
        assert relative(together["forward"][:, edges], alone["forward"]) < 1e-5
        assert relative(together["bias"][:, neurons], alone["bias"]) < 1e-5


@pytest.mark.parametrize("name", rest_is_thorough(["auto", "levels"], "auto"))
@pytest.mark.usefixtures("x64")
def test_meta_gradient_equals_differences(name):
    """Through unrolled learning, on scanned levels too: every layer's matrix along a random direction."""
    topology, rule = random_topology(3, max_hidden=3), ng.Rule(states=2, forward_activation="tanh", backward_activation="tanh")
    rule = rule.replace(self_gating=True)
    network = ng.Network(topology, rule, kernel=name)
    genome = layered(topology, 2, 0, "depth")
    direction = jax.tree.map(lambda leaf: jnp.asarray(np.random.default_rng(leaf.size).normal(size=leaf.shape)), genome)
    x, y = batch(topology)
    xs, ys = np.stack([x, -x]), np.stack([y, y])
    synapses = network.pack(**{key: v for key, v in random_synapses(topology, 2, 0).items() if key != "backward"})

    @jax.jit
    def loss(genome):
        learned, _ = network.unroll(genome, synapses, xs, ys)
        return jnp.mean((network.predict(genome, learned, x) - y) ** 2)

    slope = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(jax.grad(loss)(genome)), jax.tree.leaves(direction), strict=True))
    step = 1e-5
    ends = [loss(jax.tree.map(lambda g, d, s=s: g + s * d, genome, direction)) for s in (step, -step)]
    assert abs(float(slope)) > 1e-3
    assert float(slope) == pytest.approx(float((ends[0] - ends[1]) / (2 * step)), rel=1e-6)


@pytest.mark.thorough
def test_a_population_of_layered_genomes_in_a_meta_loss():
    task = ng.get_task("xor")
    dense = [{"kind": "dense", "from": a, "to": b} for a, b in ("xh", "hy")]
    populations = {"x": 2, "h": 4, "y": 2}
    topology = build_topology({"populations": populations, "inputs": "x", "outputs": "y", "connections": dense})
    rule = ng.Rule(states=2)
    genomes = [layered(topology, 2, seed, "population") for seed in (0, 10)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *genomes)
    episode = task.episode(jax.random.key(0), 2, 8, 16)
    network = ng.Network(topology, rule)
    many = jax.vmap(lambda g: meta_loss(network, g, episode, key=jax.random.key(1))[0])(stacked)
    single = [meta_loss(network, g, episode, key=jax.random.key(1))[0] for g in genomes]
    np.testing.assert_allclose(many, single, rtol=1e-5)


def test_initial_deviation_is_of_the_neuron_where_a_synapse_arrives():
    topology = small()
    genome = ng.LayeredGenome.repeat(ng.Genome.from_arrays(initial_deviation=1.0), "role")
    louder = genome.replace(output=ng.Genome.from_arrays(initial_deviation=3.0))
    network = ng.Network(topology, ng.Rule(symmetric=False))
    plain, loud = (network.unpack(network.init(g, key=jax.random.key(0))) for g in (genome, louder))
    ratio = np.where(np.isin(topology.receivers, topology.outputs), 3, 1)
    np.testing.assert_allclose(loud["forward"], plain["forward"] * ratio[:, None], rtol=1e-6)
    np.testing.assert_allclose(loud["backward"], plain["backward"], rtol=1e-6)  # arrive at neurons that are no outputs


def test_files(tmp_path):
    genome = layered(small(), 3, 0, "depth")
    rule = ng.Rule(states=3)
    file = ng.load_genome_file(ng.save_genome(tmp_path / "layers.json", genome, rule, {"title": "by depth"}))
    assert (file.rule, file.card, file.genome.by, file.genome.names) == (rule, {"title": "by depth"}, "depth", genome.names)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(file.genome), jax.tree.leaves(genome), strict=True))
    path = tmp_path / "layers.json"
    text = path.read_text()
    assert '"version": 2' in text
    for old, new, expected in (
        ('"by": "depth"', '"by": "colour"', "by: got 'colour'; allowed: depth, role, population"),
        ('"by": "depth"', '"by": 3', ' at layers: expected {"by": "depth", "role" or "population", "genomes": {name: arrays}}'),
        ('"1": {', '"one": {', "names of the layers by depth: got ['0', 'one', "),
        ('"neuron_keep": ', '"neuron_kep": ', " at layers.genomes.0: neuron_kep: unknown array"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(ng.GenomeError) as error:
            ng.load_genome(path)
        assert str(error.value).startswith(str(path))
        assert expected in str(error.value)


def test_what_is_refused():
    genome = random_genome(2, 0)
    with pytest.raises(ng.GenomeError, match=r"names of the layers by role: got \['input'\]; expected input, hidden, output"):
        ng.LayeredGenome.from_genomes({"input": genome}, "role")
    with pytest.raises(ng.GenomeError, match=r"got states {'0': 2, '1': 3}; expected"):
        ng.LayeredGenome.from_genomes({"0": genome, "1": random_genome(3, 0)}, "depth")
    topology = small(population=[0, 0, 1, 1, 1, 2, 2], population_names=("x", "h", "y"))
    network = ng.Network(topology, ng.Rule())
    with pytest.raises(ng.GenomeError, match=r"neuron 'c' is in none of them \(missing: \['h'\]\)"):
        network.init(ng.LayeredGenome.repeat(genome, "population", ["x", "y"]), key=jax.random.key(0))
    assert ng.LayeredGenome.repeat(genome, "population", ["h", "*"]).layer_of(topology).tolist() == [1, 1, 0, 0, 0, 1, 1]
    assert ng.LayeredGenome.repeat(genome, "depth", 2).layer_of(topology).tolist() == [0, 0, 1, 1, 1, 1, 1]
    shared = topology.replace(group=[0, -1, -1, -1, 0, -1, -1, -1])
    with pytest.raises(ng.GenomeError, match=r"group 0 of shared synapses reaches over the layers 'hidden', 'output'"):
        ng.Network(shared, ng.Rule()).init(ng.LayeredGenome.repeat(genome, "role"), key=jax.random.key(0))
    with pytest.raises(ng.GenomeError, match="middle: no such layer; there are: input, hidden, output"):
        ng.LayeredGenome.repeat(genome, "role").replace(middle=genome)
