"""Every registered thing keeps its contract: topologies, builders, tasks, rules' options, kernels, experiments."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import rest_is_thorough

import neurograph as ng
from neurograph.genome.rule import CHOICES
from neurograph.network.kernels import native
from neurograph.network.kernels.choice import KERNELS
from neurograph.testing.oracle import Oracle

FOLDER = Path(__file__).parents[2] / "topologies"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".yaml", ".json", ".graphml", ".gml", ".gexf", ".csv"})
NAMES = "mlp_2d.yaml conv_shared.yaml conv_unshared.yaml pyramid.yaml irregular_dag.yaml stages.csv growing.json"
NAMES += " sparse_mlp.yaml small_world.yaml ring.yaml torus.yaml connectome.graphml elman.yaml"
FEW = [FOLDER / name for name in NAMES.split()]


def test_there_are_many_topologies():
    assert len(FILES) >= 20


@pytest.mark.parametrize("path", rest_is_thorough(FILES, *FEW), ids=lambda path: path.name)
def test_one_learning_step_on_every_topology(path: Path, kernel: str, x64):
    """A random genome learns one step on each: finite, changed where it may change, and the same by the oracle.

    On graphs that are too large for the oracle's loops: the same on the reference kernel.
    """
    topology = ng.load_topology(path)
    rule = ng.Rule(
        states=2,
        symmetric=False,
        normalization="batch",
        batch_reduction="mean",
        initial_deviation="fan_in",
        backward_activation="tanh",
    )
    genome = ng.Genome.random(jax.random.key(0), rule, synapse_update=0.1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, len(topology.inputs))), rng.choice([-1.0, 1.0], (3, len(topology.outputs)))
    network = ng.Network(topology, rule, kernel)
    start = network.init(genome, key=jax.random.key(3))
    before = {name: np.asarray(value) for name, value in network.unpack(start).items()}
    found, outputs = network.step(genome, start, x, y)
    after = network.unpack(found)
    if topology.num_synapses <= 30_000:
        record = Oracle(topology, rule, genome).step(before, x, y)
        expected = record.synapses | {"outputs": record.outputs}
    else:
        reference = ng.Network(topology, rule, "reference")
        found, expected = reference.step(genome, reference.pack(**before), x, y)
        expected = reference.unpack(found) | {"outputs": expected}
    assert outputs.shape == (3, len(topology.outputs))
    assert np.isfinite(outputs).all()
    for name, value in {**after, "outputs": outputs}.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-8, atol=1e-10)
    learned, fixed = np.asarray(after["forward"]), topology.fixed
    np.testing.assert_array_equal(learned[fixed], np.repeat(topology.weight[fixed][:, None], 2, axis=1))
    assert (learned != before["forward"])[~fixed].any()
    for group in range(int(topology.group.max(initial=-1)) + 1):
        members = learned[topology.group == group]
        assert (members == members[0]).all()


@pytest.mark.parametrize("option", CHOICES)
def test_every_choice_of_a_rule_is_taken_and_others_are_refused(option: str):
    needs = {"backward_normalization": {"normalization": "batch", "backward_update": "multiplicative"}}.get(option, {})
    for value in CHOICES[option]:
        own = {"symmetric": False} if value in ("mirrored", "fixed") else {}
        assert getattr(ng.Rule(**needs, **own, **{option: value}), option) == value
    with pytest.raises(ng.RuleError, match=f"{option}: got 'nothing'; allowed: {CHOICES[option][0]}"):
        ng.Rule(**{option: "nothing"})


def test_every_kernel_runs_and_others_are_refused():
    topology = ng.load_topology(FOLDER / "tiny.yaml")
    rule = ng.Rule()
    genome = ng.Genome.random(jax.random.key(0), rule)
    x, y = jnp.ones((2, len(topology.inputs))), jnp.ones((2, len(topology.outputs)))
    outputs = []
    for name in KERNELS:
        if name == "native" and not native.available():
            continue
        network = ng.Network(topology, rule, name)
        outputs.append(network.step(genome, network.init(genome, key=jax.random.key(1)), x, y)[1])
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ng.PlanError, match="kernel: got 'nothing'; allowed: auto"):
        ng.Network(topology, rule, "nothing")


@pytest.mark.parametrize("activation", ng.ACTIVATIONS)
def test_every_activation_has_a_derivative_pair(activation: str):
    x = jnp.linspace(-2, 2, 7).reshape(1, 7) + 0.01
    both = ng.with_derivative(activation)(jnp.concatenate([x, x]))
    slope = (ng.ACTIVATIONS[activation](x + 1e-3) - ng.ACTIVATIONS[activation](x - 1e-3)) / 2e-3
    np.testing.assert_allclose(both[0], ng.ACTIVATIONS[activation](x)[0], rtol=1e-6)
    np.testing.assert_allclose(both[1], slope[0], atol=2e-3)
