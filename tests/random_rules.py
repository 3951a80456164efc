"""Random rules and genomes: hypothesis draws every option."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from oracle import VALUE_AND_SLOPE

import neurograph as ng

NAMES = st.sampled_from(sorted(VALUE_AND_SLOPE))


@st.composite
def rules(draw: st.DrawFn, outputs: int, stored: bool = True) -> tuple[ng.Rule, dict]:
    """A rule with every option drawn, and its activations as the oracle takes them."""

    def choose(*values):
        return draw(st.sampled_from(values))

    pair = draw(st.booleans())
    activations = {name: draw(NAMES) for name in ("forward", "backward", "output")}
    rule = {f"{name}_activation": value for name, value in activations.items()}
    if pair:
        for name in ("forward", "output"):
            rule[f"{name}_activation"] = ng.with_derivative(activations[name])
            activations[name] = ("pair", activations[name])
    rule["normalization"] = choose("none", "batch")
    rule["oja"] = choose("none", "none", "weights", "activity")
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
    return ng.Rule(
        states=choose(2, 3),
        backward_update=update,
        symmetric=symmetric,
        update_normalization=choose("none", "neuron"),
        synapse_trace=draw(st.booleans()),
        learned_damping=choose(False, False, True),
        single_state_synapses=draw(st.booleans()),
        feedback=choose("labels", "mse", *(["softmax_cross_entropy"] if outputs > 1 else [])),
        hebbian_pre=choose("backward", "forward"),
        forward_synapse_update=draw(st.booleans()),
        reset_states=draw(st.booleans()),
        supervise_every=choose(1, 1, 2),
        batch_reduction=choose("sum", "mean"),
        **rule,
    ), activations


def random_genome(states: int, seed: int) -> ng.Genome:
    """Every array drawn, so that none can be mistaken for another."""
    rng = np.random.default_rng(seed)
    draw = {
        f"{field}_transform": rng.normal(0, 0.6, (states, states))
        for field in ("forward", "backward", "pre", "post", "forward_pre", "forward_post")
    }
    draw |= {field: rng.uniform(0.5, 1.5, states) for field in ("forward_scale", "backward_scale")}
    draw |= {field: rng.normal(0, 0.5, states) for field in ("forward_shift", "backward_shift")}
    draw |= {field: rng.uniform(0.6, 1.1) for field in ("neuron_keep", "neuron_update", "synapse_keep", "forward_synapse_keep")}
    draw |= {field: rng.choice([-1, 1]) * rng.uniform(0.02, 0.1) for field in ("synapse_update", "forward_synapse_update")}
    draw |= {"backward_keep": rng.uniform(0.6, 1.1), "trace_keep": rng.uniform(0.2, 0.9), "damping": rng.uniform(0.1, 0.6)}
    draw |= {"update_power": rng.uniform(0.5, 1.2), "error_power": rng.uniform(0.5, 1.5), "depth_power": rng.uniform(-0.5, 1)}
    draw |= {"oja_multiplier": rng.normal(), "rescale": rng.uniform(0.5, 1.5), "saturation": rng.uniform(0.5, 1.5)}
    return ng.Genome.from_arrays(**{name: jnp.asarray(value) for name, value in draw.items()})
