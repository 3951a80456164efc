"""Meta-learning by Adam through the unrolled learning (section 3.3), several genomes side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from neurograph.genome import Genome
from neurograph.meta.devices import replicated
from neurograph.meta.mapping import map_members
from neurograph.meta.objective import Learning, Objective

__all__ = ["GradientOptimizer", "GradientState", "adam", "norm", "per_meta_step", "stepped"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientState:
    """A population in training; every leaf but `key` and `step` leads with the genomes axis G.

    Attributes:
      skipped: [G] int32, updates left out because loss or gradient was not finite.
      step: meta-steps so far.
      learning: where unrolls are truncated, the learning under way, leaves [G, R, ...].
    """

    genomes: Genome
    optimizer: Any
    skipped: jax.Array
    key: jax.Array
    step: jax.Array
    learning: Learning | None = None

    def selected(self, genomes: Genome, optimizer: Any, moved: Any) -> GradientState:
        """Returns the state with other genomes; where `moved` [G] is true, learning begins again."""
        learning = None if self.learning is None else self.learning.restarted(moved)
        return replace(self, genomes=genomes, optimizer=optimizer, learning=learning)


def adam(learning_rate: float, final_learning_rate: float | None, decay_steps: int, clip: float) -> Any:
    """Returns Adam behind a global-norm clip; the rate falls by a cosine over `decay_steps` if a final one is given."""
    rate: Any = learning_rate
    if final_learning_rate is not None:
        rate = optax.cosine_decay_schedule(learning_rate, max(decay_steps, 1), final_learning_rate / learning_rate)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate))


def stepped(transform: Any, genome: Genome, optimizer: Any, gradient: Genome, fine: Any):
    """Returns `(genome, optimizer)` after one update, or unchanged where not `fine`."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to whole numbers
        updates, after = transform.update(gradient, optimizer, genome)
    keep = partial(jax.tree.map, lambda new, old: jnp.where(fine, new, old))
    return keep(optax.apply_updates(genome, updates), genome), keep(after, optimizer)  # type: ignore[arg-type]


def per_meta_step(objective: Objective, step: Any, count: int, steps: Any) -> tuple[jax.Array, Any]:
    """Returns what differs between `count` meta-steps, the first of them number `step`: unroll lengths and random graphs."""
    lengths = jnp.broadcast_to(jnp.asarray(objective.steps if steps is None else steps, jnp.int32), (count,))
    return lengths, objective.graphs(int(step), count) if objective.is_random else ()


def norm(gradient: Genome) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))


@dataclass(frozen=True)
class GradientOptimizer:
    """Adam with a global-norm clip on every genome's own meta-gradient.

    Where the objective has a truncation, a meta-step goes one window further in episodes that outlast it, and differentiates
    through that window alone: biased, but cheap, and gradients cannot explode over hundreds of steps.

    Args:
      learning_rate: rate of Adam; the paper has 5e-4 (appendix C.1), short runs need 1e-2.
      final_learning_rate: rate at the end of a cosine over `decay_steps` meta-steps; None keeps the rate.
      decay_steps: length of that cosine.
      clip: largest global norm of a gradient.
    """

    learning_rate: float = 1e-2
    final_learning_rate: float | None = None
    decay_steps: int = 1
    clip: float = 10.0

    def _transform(self) -> Any:
        return adam(self.learning_rate, self.final_learning_rate, self.decay_steps, self.clip)

    def init(self, genomes: Genome, *, key: jax.Array, objective: Objective | None = None) -> GradientState:
        """Returns the state of a population [G, ...] before its first meta-step; truncated unrolls need the objective."""
        count = genomes.neuron_keep.shape[0]
        optimizer = jax.vmap(self._transform().init)(genomes)
        learning = None
        if objective is not None and objective.truncation:
            # Replicas begin at different windows, so that their episodes do not all end at once.
            windows = objective.steps // objective.truncation
            offset = jnp.arange(objective.replicas) * windows // objective.replicas
            learning = jax.vmap(lambda genome: objective.begin(genome, offset))(genomes)
        return GradientState(genomes, optimizer, jnp.zeros(count, jnp.int32), key, jnp.zeros((), jnp.int32), learning)

    def advance(
        self, objective: Objective, state: GradientState, count: int, steps: Any = None
    ) -> tuple[GradientState, dict[str, jax.Array]]:
        """Takes `count` meta-steps in one compiled call.

        Args:
          objective: the meta-loss.
          count: meta-steps, static.
          steps: unroll length up to `objective.steps`, traced: a curriculum compiles once. An array [count]: one per meta-step.

        Returns:
          `(state, metrics)`: "loss", "accuracy" [count, G] (means over problems), "gradient_norm" [count, G] before the clip.
        """
        return _advance(self, objective, state, *per_meta_step(objective, state.step, count, steps), count)

    def genomes(self, state: GradientState) -> Genome:
        """Returns the population, leaves [G, ...]."""
        return state.genomes


@partial(jax.jit, static_argnums=(0, 5))
def _advance(settings: GradientOptimizer, objective: Objective, state: GradientState, steps: Any, graphs: Any, count: int):
    transform = settings._transform()

    def one(objective: Objective, steps: jax.Array, member):
        genome, optimizer, skipped, key, base, learning = member

        def loss_of(genome: Genome):
            if learning is None:
                loss, metrics = objective(genome, key, steps)
                return loss, (metrics | {"counted": True}, None)
            loss, metrics, after = objective.window(genome, learning, base, steps)
            return loss, (metrics, after)

        (loss, (metrics, after)), gradient = jax.value_and_grad(loss_of, has_aux=True)(genome)
        size = norm(gradient)
        fine = jnp.isfinite(loss) & jnp.isfinite(size)
        counted = jnp.asarray(metrics["counted"])
        genome, optimizer = stepped(transform, genome, optimizer, gradient, fine & counted)
        if after is not None:
            after = after.restarted(~fine)
        nothing = lambda value: jnp.where(counted, value, jnp.nan)  # noqa: E731
        record = {"loss": nothing(loss), "accuracy": nothing(jnp.mean(metrics["accuracy"])), "gradient_norm": nothing(size)}
        return (genome, optimizer, skipped + (~fine).astype(skipped.dtype), after), record

    def meta_step(state: GradientState, own: tuple[jax.Array, Any]):
        steps, graphs = own
        count = state.skipped.shape[0]
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), count)
        bases = jax.vmap(lambda number: jax.random.fold_in(state.key, number))(jnp.arange(count))
        members = (state.genomes, state.optimizer, state.skipped, keys, bases, state.learning)
        ((genomes, optimizer, skipped, learning), record) = map_members(
            partial(one, objective.with_graphs(graphs), steps), members, objective.mesh
        )
        return GradientState(genomes, optimizer, skipped, state.key, state.step + 1, learning), record

    state, record = jax.lax.scan(meta_step, state, (steps, graphs), length=count)
    small = replicated((state.genomes, state.optimizer, state.skipped, record), objective.mesh)
    return replace(state, genomes=small[0], optimizer=small[1], skipped=small[2]), small[3]
