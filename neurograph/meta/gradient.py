"""Meta-learning by Adam through the unrolled learning (section 3.3), several genomes side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from neurograph.genome import Genome
from neurograph.meta.objective import Objective

__all__ = ["GradientOptimizer", "GradientState"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientState:
    """A population in training; every leaf but `key` and `step` leads with the genomes axis G.

    `skipped` [G] int32: updates left out because loss or gradient was not finite. `step` counts meta-steps.
    """

    genomes: Genome
    optimizer: Any
    skipped: jax.Array
    key: jax.Array
    step: jax.Array


@dataclass(frozen=True)
class GradientOptimizer:
    """Adam with a global-norm clip on every genome's own meta-gradient.

    Args:
      learning_rate: of Adam; the paper has 5e-4 (appendix C.1), short runs want 1e-2.
      final_learning_rate: reached by a cosine over `decay_steps` meta-steps; None keeps the rate.
      decay_steps: length of that cosine.
      clip: largest global norm of a gradient.
    """

    learning_rate: float = 1e-2
    final_learning_rate: float | None = None
    decay_steps: int = 1
    clip: float = 10.0

    def _transform(self) -> optax.GradientTransformation:
        rate: Any = self.learning_rate
        if self.final_learning_rate is not None:
            rate = optax.cosine_decay_schedule(
                self.learning_rate, max(self.decay_steps, 1), self.final_learning_rate / self.learning_rate
            )
        return optax.chain(optax.clip_by_global_norm(self.clip), optax.adam(rate))

    def init(self, genomes: Genome, *, key: jax.Array) -> GradientState:
        """A population [G, ...] ready for `advance`."""
        count = genomes.neuron_keep.shape[0]
        optimizer = jax.vmap(self._transform().init)(genomes)
        return GradientState(genomes, optimizer, jnp.zeros(count, jnp.int32), key, jnp.zeros((), jnp.int32))

    def advance(
        self, objective: Objective, state: GradientState, count: int, steps: Any = None
    ) -> tuple[GradientState, dict[str, jax.Array]]:
        """`count` meta-steps in one compiled call.

        Args:
          objective: the meta-loss.
          count: meta-steps, static.
          steps: unroll length up to `objective.steps`, traced: a curriculum compiles once.

        Returns:
          `(state, metrics)`: "loss", "accuracy" [count, G] (means over problems), "gradient_norm" [count, G] before the clip.
        """
        return _advance(self, objective, state, objective.steps if steps is None else steps, count)

    def genomes(self, state: GradientState) -> Genome:
        """The population, leaves [G, ...]."""
        return state.genomes


@partial(jax.jit, static_argnums=(0, 4))
def _advance(settings: GradientOptimizer, objective: Objective, state: GradientState, steps: Any, count: int):
    transform = settings._transform()

    def one(args):
        genome, optimizer, skipped, key = args
        loss_of = lambda g: objective(g, key, steps)  # noqa: E731
        (loss, metrics), gradient = jax.value_and_grad(loss_of, has_aux=True)(genome)
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
        fine = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, after = transform.update(gradient, optimizer, genome)
        moved = optax.apply_updates(genome, updates)
        keep = partial(jax.tree.map, lambda new, old: jnp.where(fine, new, old))
        record = {"loss": loss, "accuracy": jnp.mean(metrics["accuracy"]), "gradient_norm": norm}
        return keep(moved, genome), keep(after, optimizer), skipped + ~fine, record

    def meta_step(state: GradientState, _):
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), state.skipped.shape[0])
        # One genome after another: on CPU this beats a batch of genomes, whose temporaries leave the cache.
        genomes, optimizer, skipped, record = jax.lax.map(one, (state.genomes, state.optimizer, state.skipped, keys))
        return GradientState(genomes, optimizer, skipped, state.key, state.step + 1), record

    return jax.lax.scan(meta_step, state, None, length=count)
