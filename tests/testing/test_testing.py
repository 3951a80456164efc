"""The asserts hold where they should, and where they should not they say where and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import neurograph as ng
import neurograph.testing as nt
from neurograph.testing import comparing
from neurograph.testing.graphs import small

few = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


# ---- gradient descent


def test_the_backprop_genome_is_descent_on_a_shipped_graph():
    nt.assert_gradient_descent(ng.load_topology("ring"))


@pytest.mark.slow
@few
@given(topology=nt.topologies(shared=True, fixed=True, max_outputs=2))
def test_and_on_drawn_ones(topology):
    nt.assert_gradient_descent(topology, loss="mse", kernel="reference")


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["mlp", "residual", "deep_mlp", "convolution", "small_world", "elman", "celegans_readout"])
def test_the_backprop_genome_is_descent_on_more_shipped_graphs(name):
    nt.assert_gradient_descent(ng.load_topology(name))


RULES = {
    "normalization's derivative is left out": (
        ng.backprop_genome(0.1, normalization="batch")[1].replace(backward_normalization="none"),
        r"the first neuron that is not updated by it is 'c', 1 synapses from an output: its synapse 'a' -> 'c', channel 0, moves",
    ),
    "oja": (ng.backprop_genome()[1].replace(oja="weights"), "first neuron that is not updated by it is 'f', 0 synapses from"),
    "size": (ng.backprop_genome()[1].replace(update_normalization="neuron"), "it is a normalised descent"),
    "labels": (
        ng.backprop_genome()[1].replace(feedback="labels"),
        r"the cosine of the update with minus the gradient of mse is -?0\.",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_is_not_descent_is_told_where_it_leaves_it(name):
    rule, message = RULES[name]
    with pytest.raises(AssertionError, match=message):
        nt.assert_gradient_descent(small(), rule, kernel="reference")


def test_rates_of_a_rule_may_be_any_but_not_negative():
    genome, rule = ng.backprop_genome(3.0, activation="swish")
    nt.assert_gradient_descent(small(), rule.replace(batch_reduction="mean"), genome, kernel="reference")
    with pytest.raises(AssertionError, match=r"cosine of the update with minus the gradient of mse is -1\.000000"):
        nt.assert_gradient_descent(small(), rule, genome.replace(synapse_update=0.1), kernel="reference")


def test_a_decay_does_not_count_and_weight_normalization_of_stored_synapses_does_not_pass():
    genome, rule = ng.backprop_genome(0.1)
    nt.assert_gradient_descent(small(), rule, genome.replace(synapse_keep=0.9), kernel="reference")
    with pytest.raises(AssertionError, match="first neuron that is not updated by it"):
        nt.assert_gradient_descent(small(), rule.replace(synapse_normalization="stored"), kernel="reference")


@pytest.mark.thorough
def test_outputs_that_send_are_named_as_the_reason():
    t = ng.load_topology("celegans")  # its outputs are motor neurons
    with pytest.raises(AssertionError, match="outputs that send synapses on are clamped in the backward pass"):
        nt.assert_gradient_descent(t, ng.backprop_genome()[1], kernel="reference")


def test_what_has_no_fixed_point_says_so():
    rule, genome = ng.Rule(forward_activation="identity", feedback="mse"), ng.Genome.from_arrays(**vars(nt.random_genome(2, 0)))
    with pytest.raises(AssertionError, match="after 2000 ticks a tick still moves a state, or its feedback, by"):
        nt.assert_gradient_descent(ng.load_topology("ring"), rule, genome.replace(neuron_keep=2.0), kernel="reference")


def test_states_need_a_genome():
    with pytest.raises(ValueError, match="it has 3 states; without a genome, expected 2"):
        nt.assert_gradient_descent(small(), ng.Rule(states=3))


@pytest.mark.parametrize("schedule", ["mixed", "synchronous"])
def test_the_gradient_at_a_fixed_point(schedule):
    t = nt.random_topology(3, cyclic=True, schedule=schedule, ticks=2, min_outputs=2)
    nt.assert_fixed_point_gradient(t, loss="softmax_cross_entropy", kernel="gather")


# ---- kernels, the oracle, numbering


def lies(monkeypatch, name: str) -> None:
    """One kernel's synapses are off in one number at the second step."""

    def run(case, kernel, honest=comparing.run):
        found = {key: value.copy() for key, value in honest(case, kernel).items()}
        if kernel == name:
            found["forward"][1, 2, 0] += 0.5
        return found

    monkeypatch.setattr(comparing, "run", run)


@pytest.mark.thorough
def test_kernels_agree():
    nt.assert_kernels_agree(nt.random_topology(1, shared=True, fixed=True), ng.Rule(states=3, symmetric=False), steps=1)


def test_a_kernel_that_differs_is_named_with_the_synapse(monkeypatch):
    lies(monkeypatch, "gather")
    with pytest.raises(
        AssertionError, match=r"kernel 'gather' .* step 1, .* forward synapse 'a' -> 'd', channel 0: .*allowed: 1e-09"
    ):
        nt.assert_kernels_agree(small(), kernels=["gather"])
    with pytest.raises(
        AssertionError, match=r"kernel 'gather' and the formulas differ at step 1, .* synapse 'a' -> 'd', channel 0"
    ):
        nt.assert_equals_oracle(small(), kernel="gather")


def test_numbering_does_not_matter(monkeypatch):
    nt.assert_permutation_invariant(small(), ng.Rule(states=3), kernel="reference")
    honest = ng.Topology.replace
    one_less = lambda self, **c: honest(self, **c | {"bias": c["bias"] & (np.arange(7) != np.argmax(c["bias"]))})  # noqa: E731
    monkeypatch.setattr(ng.Topology, "replace", one_less)
    with pytest.raises(AssertionError, match="a relabelled graph and the graph differ at step 0, the most at"):
        nt.assert_permutation_invariant(small(), kernel="reference")


@pytest.mark.parametrize(
    ("name", "shape", "text"),
    [
        ("states.forward", (3, 7, 2), "state 1 of neuron 'c' after the forward pass, row 1"),
        ("states.feedback", (3, 7, 2), "state 1 of neuron 'c' after feedback, row 1"),
        ("outputs", (3, 2), "output 'f', row 1"),
        ("bias", (7, 2), "bias of neuron 'b', channel 1"),
        ("bias_trace", (7, 2), "trace of the bias of neuron 'b', channel 1"),
        ("backward", (8, 2), "backward synapse 'c' -> 'b', channel 1"),
        ("forward_trace", (8, 2), "forward synapse 'b' -> 'c', channel 1, its trace"),
    ],
)
def test_places_have_names(name, shape, text):
    ours, theirs = np.zeros(shape), np.zeros(shape)
    ours[(1, 2, 1) if len(shape) == 3 else (1, 1)] = 3.0
    assert comparing.where_it_differs(small(), name, ours, theirs) == f"{text}: 3 and 0"


# ---- strategies


@few
@given(topology=nt.topologies(layered=True, fixed=True))
def test_layers(topology):
    assert topology.is_acyclic
    assert topology.population_names[0] == "input"
    assert (np.isnan(topology.weight) == ~topology.fixed).all()


def test_strategies_name_the_extra():
    code = "import sys; sys.modules['hypothesis'] = None; import neurograph.testing as nt; nt.assert_kernels_agree; nt.rules"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs hypothesis, which is not installed: pip install 'neurograph[testing]'" in found.stderr


@pytest.mark.slow
def test_the_page_has_a_test_file_that_passes(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs/howto/testing.md").read_text(encoding="utf-8")
    (tmp_path / "test_mine.py").write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    line = [sys.executable, "-m", "pytest", "-q", "test_mine.py"]
    found = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in found.stdout, found.stdout
