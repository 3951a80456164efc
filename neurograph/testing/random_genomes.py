"""Genomes in which every array is drawn."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from neurograph.genome import Genome


def random_genome(states: int, seed: int) -> Genome:
    """Returns a genome with every array drawn, so that none can be mistaken for another.

    Examples:
      >>> from neurograph.testing import random_genome
      >>> random_genome(states=3, seed=0).pre_transform.shape
      (3, 3)
    """
    rng = np.random.default_rng(seed)
    draw: dict[str, Any] = {
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
    draw |= {"cycle_keep": rng.uniform(0.2, 0.9)}
    draw |= {field: rng.normal(0, 1, (states, states)) for field in ("keep_gating", "update_gating")}
    draw |= {"average_power": rng.uniform(0.5, 4), "average_keep": rng.uniform(0.2, 0.9)}
    return Genome.from_arrays(**{name: jnp.asarray(value) for name, value in draw.items()})
