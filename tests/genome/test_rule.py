"""`Rule`: every option, every contradiction, and its JSON form."""

from __future__ import annotations

import dataclasses
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import neurograph as ng
from neurograph.genome.activations import derivative, resolve_activation, value_activation
from neurograph.genome.rule import CHOICES
from neurograph.testing import rules
from neurograph.testing.oracle import VALUE_AND_SLOPE

ACTIVATIONS = "relu_tanh, tanh, identity, relu, sigmoid, leaky_relu, swish, gelu"


def message(**options) -> str:
    with pytest.raises(ng.RuleError) as caught:
        ng.Rule(**options)
    return str(caught.value)


# ---- values


def test_defaults_are_the_published_ones():
    rule = ng.Rule()
    assert (rule.states, rule.symmetric, rule.feedback, rule.backward_update) == (2, True, "labels", "additive")
    assert (rule.forward_activation, rule.backward_activation, rule.output_activation) == ("relu_tanh", "relu_tanh", "tanh")
    for option, allowed in CHOICES.items():
        assert getattr(rule, option) == allowed[0]  # the default is named first


@pytest.mark.parametrize("option", CHOICES)
def test_an_unknown_choice_names_the_allowed_ones(option):
    assert message(**{option: "?"}) == f"{option}: got '?'; allowed: {', '.join(CHOICES[option])}."


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"feedback": "softmax"}, "feedback: got 'softmax'; allowed: labels, mse, softmax_cross_entropy."),
        ({"oja": "weight"}, "oja: got 'weight'; did you mean 'weights'?"),
        ({"oja": None}, "oja: got nothing; did you mean 'none'?"),
        ({"oja": ["none"]}, "oja: got a list; did you mean 'none'?"),
        ({"states": 0}, "states: got 0; expected an integer > 0"),
        ({"states": 2.0}, "states: got 2.0; expected an integer > 0"),
        ({"states": True}, "states: got True; expected an integer > 0"),
        ({"supervise_every": -1}, "supervise_every: got -1; expected an integer > 0"),
        ({"symmetric": "false"}, "symmetric: got 'false'; allowed: true, false"),
        ({"symmetric": 0}, "symmetric: got 0; allowed: true, false"),
        ({"noise": -0.1}, "noise: got -0.1; expected a finite number >= 0"),
        ({"noise": "0.1"}, "noise: got '0.1'; expected a finite number >= 0"),
        ({"noise": float("nan")}, "noise: got nan; expected a finite number >= 0"),
        ({"noise": float("inf")}, "noise: got inf; expected a finite number >= 0"),
        (
            {"forward_activation": "sigmod"},
            "forward_activation: got 'sigmod'; expected a name or a callable; did you mean 'sigmoid'?",
        ),
        ({"output_activation": 3}, f"output_activation: got 3; expected a name or a callable; allowed: {ACTIVATIONS}."),
    ],
)
def test_wrong_values(options, expected):
    assert message(**options) == expected


def test_all_faults_are_told_at_once():
    text = message(states=-1, oja="x", symmetric=None, noise=-1)
    assert [line.split(":")[0] for line in text.splitlines()] == ["states", "symmetric", "oja", "noise"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"normalize_outputs": True}, "normalize_outputs: true needs normalization: batch (got normalization: none)"),
        (
            {"bias_after_normalization": True},
            "bias_after_normalization: true needs normalization: batch (got normalization: none)",
        ),
        (
            {"bias_after_normalization": True, "normalization": "batch", "synapse_normalization": "stored"},
            "bias_after_normalization: true needs synapse_normalization: none (got synapse_normalization: stored, which counts"
            " biases among the synapses)",
        ),
        (
            {"rescale": True},
            "rescale: true needs synapse_normalization: in_pass or stored (got synapse_normalization: none)",
        ),
        ({"saturation_eps": 0.5}, "saturation_eps: 0.5 needs saturation: exponential (got saturation: none)"),
        (
            {"saturation_eps": 0.5, "saturation": "tanh"},
            "saturation_eps: 0.5 needs saturation: exponential (got saturation: tanh)",
        ),
        ({"oja_scale": 0.5}, "oja_scale: 0.5 needs oja: weights, activity, printed or printed_first (got oja: none)"),
        ({"states": 1}, "states: 1 leaves no state 1 for the feedback: labels; expected states >= 2"),
        ({"states": 1, "feedback": "mse"}, "states: 1 leaves no state 1, which feedback: mse needs"),
        (
            {"states": 1, "feedback": "softmax_cross_entropy", "backward_update": "multiplicative_second_state"},
            "states: 1 leaves no state 1, which backward_update: multiplicative_second_state needs\n"
            "states: 1 leaves no state 1, which feedback: softmax_cross_entropy needs",
        ),
        (
            {"backward_normalization": "batch"},
            "backward_normalization: batch needs normalization: batch (got normalization: none)",
        ),
        (
            {"backward_normalization": "derivative", "backward_update": "multiplicative"},
            "backward_normalization: derivative needs normalization: batch (got normalization: none)",
        ),
        (
            {"backward_normalization": "derivative", "normalization": "batch"},
            "backward_normalization: derivative needs backward_update: multiplicative or multiplicative_second_state (got"
            " backward_update: additive, whose states are not feedback on a pre-activation)",
        ),
        (
            {"synapse_derivative": True},
            "synapse_derivative: true needs synapse_normalization: in_pass (got synapse_normalization: none)",
        ),
        (
            {"synapse_derivative": True, "synapse_normalization": "stored"},
            "synapse_derivative: true needs synapse_normalization: in_pass (got synapse_normalization: stored)",
        ),
        (
            {"synapse_derivative": True, "synapse_normalization": "in_pass", "symmetric": False},
            "synapse_derivative: true needs symmetric: true (feedback flows through the forward synapses)",
        ),
        *(
            (
                {"backward_synapses": value},
                f"backward_synapses: {value} needs symmetric: false (got symmetric: true, where backward synapses are the forward"
                " ones)",
            )
            for value in ("mirrored", "fixed")
        ),
        (
            {"backward_synapses": "sign", "symmetric": False},
            "backward_synapses: sign needs symmetric: true (the sign is that of the forward synapses)",
        ),
        (
            {"backward_synapses": "sign", "synapse_derivative": True, "synapse_normalization": "in_pass"},
            "synapse_derivative: true needs backward_synapses: learned (got backward_synapses: sign, through which no derivative"
            " flows)",
        ),
    ],
)
def test_options_that_make_each_other_meaningless_are_both_named(options, expected):
    assert message(**options) == expected


def test_an_activation_pair_is_for_the_forward_pass():
    text = message(backward_activation=ng.with_derivative("tanh"))
    assert text == "backward_activation: with_derivative(...) is a pair for the forward pass; expected a plain activation"


def test_replace_checks_anew():
    rule = ng.Rule().replace(states=3)
    assert rule.states == 3
    with pytest.raises(ng.RuleError, match="states: got 0"):
        rule.replace(states=0)


def test_what_the_backward_pass_does_about_normalization():
    rule = ng.Rule(normalization="batch")
    assert ng.Rule().normalizes_backward == "none"
    assert rule.normalizes_backward == "batch"
    assert rule.replace(backward_update="multiplicative").normalizes_backward == "none"
    assert rule.replace(backward_update="multiplicative", backward_normalization="batch").normalizes_backward == "batch"
    assert rule.replace(backward_normalization="none").normalizes_backward == "none"


def test_synapse_channels():
    assert ng.Rule(states=3).synapse_channels == 3
    assert ng.Rule(states=3, single_state_synapses=True).synapse_channels == 1


# ---- JSON


@settings(max_examples=60, deadline=None)
@given(rule=rules(outputs=2))
def test_a_rule_is_plain_json_and_back(rule):
    data = json.loads(json.dumps(rule.to_dict()))
    assert set(data) == {field.name for field in dataclasses.fields(ng.Rule)}
    assert ng.Rule.from_dict(data) == rule
    assert hash(ng.Rule.from_dict(data)) == hash(rule)


def test_functions_of_the_table_are_written_by_name():
    rule = ng.Rule(forward_activation=jnp.tanh, output_activation=ng.with_derivative(jax.nn.sigmoid))
    data = rule.to_dict()
    assert data["forward_activation"] == "tanh"
    assert data["output_activation"] == {"with_derivative": "sigmoid"}


@pytest.mark.parametrize("name", ng.ACTIVATIONS)
def test_rules_with_slopes_are_pickled(name):
    rule = ng.Rule(forward_activation=ng.with_derivative(name))
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_a_nameless_activation_cannot_be_written():
    rule = ng.Rule(forward_activation=jnp.sin)
    with pytest.raises(
        ng.RuleError, match=r"^forward_activation: .* has no name and cannot be written to a file; allowed: relu_tanh"
    ):
        rule.to_dict()


def test_unknown_keys_are_refused():
    with pytest.raises(ng.RuleError) as caught:
        ng.Rule.from_dict({"state": 2, "colour": "red"})
    assert str(caught.value) == "state, colour: unknown option of a rule; did you mean 'states'?"


@pytest.mark.parametrize("value", [{"with_derivatives": "tanh"}, {"with_derivative": "tanh", "more": 1}, {}])
def test_a_malformed_pair_is_refused(value):
    with pytest.raises(ng.RuleError, match=r"forward_activation: got .*; expected a name or \{with_derivative: name\}"):
        ng.Rule.from_dict({"forward_activation": value})


# ---- activations


@pytest.mark.parametrize("name", list(ng.ACTIVATIONS))
def test_values_and_derivatives(name, x64):
    x = np.concatenate([np.linspace(-4, 4, 41), [0.0]])
    value, slope = VALUE_AND_SLOPE[name]
    function = resolve_activation(name)
    np.testing.assert_allclose(function(jnp.asarray(x)), value(x), atol=1e-14)
    np.testing.assert_allclose(derivative(function, jnp.asarray(x)), slope(x), atol=1e-14)
    pair = ng.with_derivative(name)(jnp.stack([x, x, x]))
    np.testing.assert_allclose(pair, [value(x), slope(x), slope(x)], atol=1e-14)
    assert value_activation(ng.with_derivative(name)) is function


def test_pairs_of_one_function_are_equal():
    assert ng.with_derivative("tanh") == ng.with_derivative(jnp.tanh)
    assert hash(ng.with_derivative("tanh")) == hash(ng.with_derivative("tanh"))
    assert ng.with_derivative("tanh") != ng.with_derivative("sigmoid")


def test_any_elementwise_callable_is_an_activation():
    assert resolve_activation(jnp.sin) is jnp.sin
    with pytest.raises(ng.RuleError, match="activation: got 'sine'; expected a name or a callable; allowed"):
        ng.with_derivative("sine")
