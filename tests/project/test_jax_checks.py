"""JAX's own checks on networks, tasks and meta-training.

Of `jax.config` these say something about a program, and are on here: jax_check_tracer_leaks, jax_debug_key_reuse,
jax_legacy_prng_key (no raw keys), jax_numpy_rank_promotion, jax_numpy_dtype_promotion, jax_enable_checks (types of equations),
jax_debug_nans, jax_debug_infs. The others are not: jax_disable_jit runs the same equations; jax_check_static_indices and
jax_pallas_* are about primitives that are used nowhere; jax_transfer_guard forbids that a user passes NumPy arrays; jax_log_* and
jax_explain_cache_misses print. NaN is what a meta-step that does not count records and what a genome that failed is known by:
those two are on where neither happens. jax_enable_checks is on while tracing: of programs that are lowered under it,
jax_debug_key_reuse takes every key that a loop holds for used, in JAX 0.10.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import rest_is_thorough

import neurograph as ng
from neurograph.meta import PES, EvolutionOptimizer, GradientOptimizer, Objective, start_genomes
from neurograph.meta.population import _evaluate

RULE = ng.Rule(states=2, normalization="batch")
NUMBERS = {"debug_nans": True, "debug_infs": True}
RUNNING = {
    "debug_key_reuse": True,
    "legacy_prng_key": "error",
    "numpy_rank_promotion": "raise",
    "numpy_dtype_promotion": "strict",
}
TRACING = {"checking_leaks": None, "enable_checks": True}
OPTIMIZERS = {
    "gradient": GradientOptimizer(),
    "pes": PES(2),
    "cma": EvolutionOptimizer("cma", 2, 0.3, 0, ("forward_transform",)),
    "es": EvolutionOptimizer("es", 2, 0.3, 0, ("forward_transform",)),
}


@contextlib.contextmanager
def checks(**flags):
    with contextlib.ExitStack() as stack:
        for name, value in flags.items():
            stack.enter_context(getattr(jax, name)(*[] if value is None else [value]))
        yield


def network_learns():
    network = ng.Network(ng.load_topology("2-2"), RULE)
    genome = ng.Genome.near_backprop(jax.random.key(0), RULE)
    batch = ng.get_task("xor").sample(jax.random.key(2), 4)
    synapses, _ = network.step(genome, network.init(genome, key=jax.random.key(1)), batch.x, batch.y)
    return network.predict(genome, synapses, batch.x)


def start(method):
    problem = ng.Problem(ng.Network(ng.load_topology("2-2"), RULE), ng.get_task("xor"))
    windows: dict[str, Any] = {"truncation": 1, "loss": "truncations"} if method == "pes" else {}
    objective = Objective((problem,), 2, 4, 4, **windows)
    genomes = start_genomes("near_backprop", 1, RULE, key=jax.random.key(0))
    return objective, OPTIMIZERS[method].init(genomes, key=jax.random.key(1), objective=objective)


def advanced(method):
    objective, state = start(method)
    return OPTIMIZERS[method].advance(objective, state, 1)[1]["loss"]


def test_a_network_learns_on_a_task():
    with checks(**RUNNING, **NUMBERS):
        assert np.isfinite(network_learns()).all()
    with checks(**TRACING):
        jax.eval_shape(network_learns)


@pytest.mark.parametrize("method", rest_is_thorough(OPTIMIZERS, "gradient", "cma"))
def test_a_meta_step(method):
    with checks(**RUNNING, **NUMBERS if method == "gradient" else {}):
        assert np.isfinite(advanced(method)).any()


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["gradient", "pes"])
def test_a_meta_step_leaks_no_tracer(method):
    objective, state = start(method)
    with checks(**TRACING):
        jax.eval_shape(partial(OPTIMIZERS[method].advance, objective, count=1), state)


@pytest.mark.thorough
def test_judging_a_population_leaks_no_tracer():
    """What cma and es run on the device; the strategies are NumPy."""
    objective, state = start("cma")
    with checks(**TRACING):
        jax.eval_shape(lambda genomes: _evaluate(objective, genomes, jax.random.split(jax.random.key(0), 2), 2), state.origin)


@pytest.mark.thorough
def test_the_checks_are_on():
    with checks(**RUNNING):
        with pytest.raises(Exception, match="no available implicit dtype promotion"):
            jnp.ones(2, jnp.int32) + jnp.ones(2, jnp.float32)
        with pytest.raises(ValueError, match="rank"):
            jnp.ones((2, 2)) + jnp.ones(2)
        key = jax.random.key(0)
        jax.random.normal(key)
        with pytest.raises(jax.errors.KeyReuseError):
            jax.random.normal(key)
        with pytest.raises(ValueError, match="legacy"):
            jax.random.normal(jax.random.PRNGKey(0))
    kept = []
    with checks(**TRACING), pytest.raises(Exception, match="Leaked"):
        jax.jit(lambda x: kept.append(x + 1) or x)(1.0)
    with checks(**NUMBERS), pytest.raises(FloatingPointError):
        jnp.log(-jnp.ones(2)).block_until_ready()
