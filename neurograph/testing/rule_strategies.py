"""Hypothesis strategies for rules and genomes: every option and every array is drawn."""

from __future__ import annotations

from typing import Any

from neurograph.errors import MissingExtraError
from neurograph.genome import Genome, Rule, with_derivative
from neurograph.testing.oracle import VALUE_AND_SLOPE
from neurograph.testing.random_genomes import random_genome

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise MissingExtraError("hypothesis", "testing", "neurograph.testing.rule_strategies") from error

NAMES = st.sampled_from(sorted(VALUE_AND_SLOPE))


@st.composite
def rules(draw: st.DrawFn, outputs: int = 2, stored: bool = True) -> Rule:
    """Rules with every option drawn, for graphs of so many outputs.

    Args:
      outputs: softmax cross-entropy needs two.
      stored: whether `synapse_normalization` may be "stored", which graphs with shared synapses refuse.

    Examples:
      >>> from hypothesis import given, settings
      >>> from neurograph.testing import rules
      >>> @settings(max_examples=5)
      ... @given(rule=rules(outputs=2))
      ... def test_options_survive_a_file(rule):
      ...     assert type(rule).from_dict(rule.to_dict()) == rule
      >>> test_options_survive_a_file()
    """

    def choose(*values):
        return draw(st.sampled_from(values))

    pair = draw(st.booleans())
    rule: dict[str, Any] = {f"{name}_activation": draw(NAMES) for name in ("forward", "backward", "output")}
    if pair:
        for name in ("forward_activation", "output_activation"):
            rule[name] = with_derivative(rule[name])
    rule["normalization"] = choose("none", "batch")
    rule["oja"] = choose("none", "none", "weights", "activity", "printed", "printed_first")
    rule["synapse_normalization"] = choose("none", "none", "in_pass", *(["stored"] if stored else []))
    rule["saturation"] = choose("none", "none", "tanh", "exponential")
    if rule["normalization"] == "batch":
        rule["normalize_outputs"] = draw(st.booleans())
    if rule["oja"] != "none":
        rule["oja_scale"] = choose(1.0, 0.3)
    if rule["synapse_normalization"] != "none":
        rule["rescale"] = draw(st.booleans())
    if rule["saturation"] == "exponential":
        rule["saturation_eps"] = choose(0.0, 0.25)
    update = choose("additive", "multiplicative", "multiplicative_second_state")
    symmetric = draw(st.booleans())
    if rule["normalization"] == "batch":
        rule["backward_normalization"] = choose("auto", "none", "batch", *(["derivative"] * 2 if update != "additive" else []))
    if rule["synapse_normalization"] == "in_pass" and symmetric:
        rule["synapse_derivative"] = draw(st.booleans())
    if symmetric:
        rule["backward_synapses"] = choose("learned", *([] if rule.get("synapse_derivative") else ["sign"]))
    else:
        rule["backward_synapses"] = choose("learned", "mirrored", "fixed")
    found = Rule(
        states=choose(2, 3),
        backward_update=update,
        symmetric=symmetric,
        update_normalization=choose("none", "neuron"),
        synapse_trace=draw(st.booleans()),
        synapse_average=draw(st.booleans()),
        learned_damping=choose(False, False, True),
        cycle_fading=draw(st.booleans()),
        self_gating=draw(st.booleans()),
        single_state_synapses=draw(st.booleans()),
        feedback=choose("labels", "mse", *(["softmax_cross_entropy"] if outputs > 1 else [])),
        hebbian_pre=choose("backward", "forward"),
        forward_synapse_update=draw(st.booleans()),
        reset_states=draw(st.booleans()),
        supervise_every=choose(1, 1, 2),
        batch_reduction=choose("sum", "mean"),
        **rule,
    )
    if found.update_normalization == "neuron":
        found = found.replace(error_scale=choose(1.0, 0.5))
    if found.normalization == "none" or found.synapse_normalization != "none":
        return found
    return found.replace(bias_after_normalization=draw(st.booleans()))


def genomes(rule: Rule | int) -> st.SearchStrategy[Genome]:
    """Genomes for a rule (or of so many states), every array drawn: see `random_genome`.

    Examples:
      >>> from hypothesis import given, settings
      >>> from neurograph.testing import genomes
      >>> @settings(max_examples=5)
      ... @given(genome=genomes(2))
      ... def test_matrices(genome):
      ...     assert genome.forward_transform.shape == (2, 2)
      >>> test_matrices()
    """
    states = rule if isinstance(rule, int) else rule.states
    return st.integers(0, 2**32 - 1).map(lambda seed: random_genome(states, seed))
