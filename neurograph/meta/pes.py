"""Persistent evolution strategies: meta-gradients of long unrolls, without bias, from short pieces, without differentiation.

Source: Vicol, Metz, Sohl-Dickstein, "Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent Evolution
Strategies", ICML 2021 (algorithm 2).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neurograph.errors import GenomeError
from neurograph.genome import Genome
from neurograph.meta.devices import replicated
from neurograph.meta.gradient import adam, norm, per_meta_step, stepped
from neurograph.meta.mapping import map_members
from neurograph.meta.objective import Learning, Objective
from neurograph.meta.share import Share
from neurograph.meta.strategies import PENALTY

__all__ = ["PES", "PESState", "learn_windows"]

Members = tuple[Genome, Genome, jax.Array, jax.Array, Learning]  # genomes, perturbations, signs, keys, learning; leaves [P, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PESState:
    """G searches, each with N/2 mirrored pairs of particles.

    Attributes:
      genomes, optimizer: leaves [G, ...].
      skipped: [G] int32, particles whose loss was not finite.
      learning: leaves [G, N/2, 2, R, ...]; the third axis is a particle and its mirror image.
      perturbation: leaves [G, N/2, ...], the sum of the first particle's perturbations since its episode began; the second's is
        its negative.
    """

    genomes: Genome
    optimizer: Any
    skipped: jax.Array
    key: jax.Array
    step: jax.Array
    learning: Learning
    perturbation: Genome

    def selected(self, genomes: Genome, optimizer: Any, moved: Any) -> PESState:
        """Returns the state with other genomes; where `moved` [G] is true, learning begins again."""
        return replace(self, genomes=genomes, optimizer=optimizer, learning=self.learning.restarted(moved))


@dataclass(frozen=True)
class PES:
    """Adam on the persistent evolution strategy's estimate of the meta-gradient.

    Every particle learns on through its episode, one window of the objective's truncation per meta-step, each window under a
    fresh perturbation of the genome. Its loss is attributed to the sum xi of its perturbations since the episode began:
    g = mean over particles of xi L / sigma^2, an unbiased estimate of the gradient through the whole unroll, smoothed over sigma.
    Pairs begin at different windows, so that every meta-step sees all parts of an episode.

    Args:
      population: N, particles per genome, even.
      sigma: standard deviation of a perturbation.
      fields: the arrays that are perturbed, see `effective_fields`; None: all.
      scales: per array, a factor on sigma.
      learning_rate, final_learning_rate, decay_steps, clip: as in `GradientOptimizer`.

    Raises:
      GenomeError: the population is odd, sigma is not positive, or a genome has no such field.
    """

    population: int = 40
    sigma: float = 0.05
    fields: tuple[str, ...] | None = None
    scales: tuple[tuple[str, float], ...] = ()
    learning_rate: float = 1e-2
    final_learning_rate: float | None = None
    decay_steps: int = 1
    clip: float = 10.0

    def __post_init__(self) -> None:
        if self.population < 2 or self.population % 2 or not self.sigma > 0:
            raise GenomeError(
                f"population: {self.population}, sigma: {self.sigma}; expected an even population >= 2 and sigma > 0"
            )
        known = [field.name for field in dataclasses.fields(Genome)]
        if unknown := [name for name in (*(self.fields or ()), *dict(self.scales)) if name not in known]:
            raise GenomeError(f"{', '.join(unknown)}: no array of a genome; allowed: {', '.join(known)}")
        if wrong := [f"{name}: {scale}" for name, scale in self.scales if not scale > 0]:
            raise GenomeError(f"scales: got {', '.join(wrong)}; expected numbers > 0")

    def _transform(self) -> Any:
        return adam(self.learning_rate, self.final_learning_rate, self.decay_steps, self.clip)

    def _deviation(self, name: str) -> float:
        searched = self.fields is None or name in self.fields
        return self.sigma * dict(self.scales).get(name, 1.0) if searched else 0.0

    def init(self, genomes: Genome, *, key: jax.Array, objective: Objective) -> PESState:
        """Returns the state of searches [G, ...] before their first meta-step."""
        count, pairs = genomes.neuron_keep.shape[0], self.population // 2
        windows = objective.steps // objective.stretch

        def begin(genome: Genome, offset: jax.Array) -> Learning:
            return jax.vmap(lambda _: objective.begin(genome, offset))(jnp.arange(2))

        offsets = jnp.arange(pairs) * windows // pairs
        learning = jax.vmap(lambda genome: jax.vmap(lambda offset: begin(genome, offset))(offsets))(genomes)
        perturbation = jax.tree.map(lambda leaf: jnp.zeros((count, pairs, *leaf.shape[1:]), leaf.dtype), genomes)
        optimizer = jax.vmap(self._transform().init)(genomes)
        zero = jnp.zeros((), jnp.int32)
        return PESState(genomes, optimizer, jnp.zeros(count, jnp.int32), key, zero, learning, perturbation)

    def advance(
        self, objective: Objective, state: PESState, count: int, steps: Any = None, share: Share | None = None
    ) -> tuple[PESState, dict[str, Any]]:
        """Takes `count` meta-steps, each one window of every particle; see `GradientOptimizer.advance`.

        Args:
          share: learns the windows elsewhere.
        """
        if share is None:
            return _advance(self, objective, state, *per_meta_step(objective, state.step, count, steps), count)
        lengths, records = per_meta_step(objective, state.step, count, steps)[0], []
        for length in lengths:
            meta_step = int(state.step)
            own = objective.at(meta_step)
            members, total = _draw(self, own, state, length)
            state, record = _finish(self, own, state, total, *share.windows(meta_step, members, length))
            records.append(record)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *records)

    def genomes(self, state: PESState) -> Genome:
        """Returns the unperturbed genomes, leaves [G, ...]."""
        return state.genomes

    def contributions(self, objective: Objective, state: PESState, steps: Any = None) -> tuple[Genome, PESState, dict[str, Any]]:
        """Learns one window of every particle at fixed genomes, and estimates the gradient by each pair.

        Returns:
          `(estimates, state, scores)`: estimates, leaves [G, N/2, ...], whose mean over the counted pairs estimates the
          gradient; the state after the window, genomes untouched; scores "loss", "accuracy", "counted", "failed" [G, N/2, 2].
        """
        members, total = self._drawn(objective, state, steps)
        return self._estimated(objective, state, total, *map_members(partial(_window, objective, steps), members, objective.mesh))

    def _drawn(self, objective: Objective, state: PESState, steps: Any) -> tuple[Members, dict[str, jax.Array]]:
        """Draws perturbations; returns the particles [G * N] and, by array, the sum of the perturbations of every pair."""
        count, pairs = state.skipped.shape[0], self.population // 2
        noise_key, data_key = jax.random.split(jax.random.clone(state.key))  # the same in every meta-step, on purpose
        begins = objective.begins(state.learning, steps)[:, :, 0, 0]
        noise_key = jax.random.fold_in(noise_key, state.step)
        fresh, total = {}, {}
        for number, field in enumerate(dataclasses.fields(Genome)):
            leaf = getattr(state.perturbation, field.name)
            drawn = jax.random.normal(jax.random.fold_in(noise_key, number), leaf.shape, leaf.dtype)
            fresh[field.name] = self._deviation(field.name) * drawn
            started = begins.reshape(begins.shape + (1,) * (leaf.ndim - 2))
            total[field.name] = jnp.where(started, 0, leaf) + fresh[field.name]
        keys = jax.vmap(lambda n: jax.random.fold_in(data_key, n))(jnp.arange(count * pairs))

        def flat(leaf: jax.Array, lead: int) -> jax.Array:
            """Returns a leaf [G, ...], [G, N/2, ...] or [G, N/2, 2, ...] as [G * N, ...]."""
            shape = (count, pairs, 2)
            missing = leaf.reshape(leaf.shape[:lead] + (1,) * (3 - lead) + leaf.shape[lead:])
            return jnp.broadcast_to(missing, (*shape, *missing.shape[3:])).reshape(2 * count * pairs, *missing.shape[3:])

        members = (
            jax.tree.map(lambda leaf: flat(leaf, 1), state.genomes),
            jax.tree.map(lambda leaf: flat(leaf, 2), Genome(**fresh)),
            jnp.tile(jnp.array([1, -1]), count * pairs),
            jnp.repeat(keys, 2, axis=0),
            jax.tree.map(lambda leaf: flat(leaf, 3), state.learning),
        )
        return members, total

    def _estimated(
        self, objective: Objective, state: PESState, total: dict[str, jax.Array], scores: Any, learning: Learning
    ) -> tuple[Genome, PESState, dict[str, jax.Array]]:
        """Returns what `contributions` returns, of the particles' scores and learning [G * N]."""
        count, pairs = state.skipped.shape[0], self.population // 2
        scores = jax.tree.map(lambda leaf: leaf.reshape(count, pairs, 2), replicated(scores, objective.mesh))
        learning = jax.tree.map(lambda leaf: leaf.reshape(count, pairs, 2, *leaf.shape[1:]), learning)
        failed = ~jnp.isfinite(scores["loss"])
        # A particle that diverged loses against every other of its search, and its pair begins a new episode.
        worst = jnp.max(jnp.where(failed, -jnp.inf, scores["loss"]), axis=(1, 2), keepdims=True)
        loss = jnp.where(failed, jnp.where(jnp.isfinite(worst), worst, 0) + PENALTY, scores["loss"])
        slope = jnp.where(scores["counted"][..., 0], (loss[..., 0] - loss[..., 1]) / (2 * self.sigma**2), 0)
        estimates = {}
        for name, leaf in total.items():
            scale = self._deviation(name) / self.sigma  # xi / deviation^2 for an array whose deviation is scale * sigma
            weight = slope.reshape(slope.shape + (1,) * (leaf.ndim - 2)).astype(leaf.dtype)
            estimates[name] = leaf * weight / scale**2 if scale else jnp.zeros_like(leaf)
        # Whole on every device: each sums all pairs in the same order, and none a part of them.
        estimates, total = replicated((estimates, total), objective.mesh)
        learning = learning.restarted(failed.any(axis=2, keepdims=True))
        after = replace(state, learning=learning, perturbation=Genome(**total), step=state.step + 1)
        return Genome(**estimates), after, scores | {"failed": failed}

    def _moved(
        self, state: PESState, estimates: Genome, after: PESState, scores: dict[str, jax.Array]
    ) -> tuple[PESState, dict[str, jax.Array]]:
        """Takes the step that the estimates of `contributions` give; returns the state and a record, leaves [G]."""
        fine = scores["counted"] & ~scores["failed"]
        counted = scores["counted"][..., 0].sum(axis=1)
        gradients = jax.tree.map(lambda leaf: _mean(leaf, counted), estimates)
        sizes = jax.vmap(norm)(gradients)
        moves = fine.any(axis=(1, 2)) & jnp.isfinite(sizes)
        stepping = partial(stepped, self._transform())
        genomes, optimizer = jax.vmap(stepping)(state.genomes, state.optimizer, gradients, moves)
        skipped = state.skipped + scores["failed"].sum(axis=(1, 2), dtype=jnp.int32)
        share = fine.astype(float) / jnp.maximum(fine.sum(axis=(1, 2), keepdims=True), 1).astype(float)
        record = {name: jnp.sum(jnp.where(fine, scores[name] * share, 0), axis=(1, 2)) for name in ("loss", "accuracy")}
        record = {name: jnp.where(fine.any(axis=(1, 2)), value, jnp.nan) for name, value in record.items()}
        return replace(after, genomes=genomes, optimizer=optimizer, skipped=skipped), record | {"gradient_norm": sizes}


def _window(objective: Objective, steps: Any, member: Any) -> tuple[dict[str, jax.Array], Learning]:
    """Learns one window of a particle."""
    genome, drawn, sign, key, learning = member
    moved = jax.tree.map(lambda leaf, noise: leaf + sign.astype(leaf.dtype) * noise, genome, drawn)
    loss, metrics, after = objective.window(moved, learning, key, steps)
    return {"loss": loss, "accuracy": jnp.mean(metrics["accuracy"]), "counted": metrics["counted"]}, after


# A loop whatever the number of particles: who learns two of them computes what it computes for two of forty.
@jax.jit
def learn_windows(objective: Objective, particles: Members, steps: Any) -> tuple[dict[str, jax.Array], Learning]:
    """Learns one window of each particle.

    Args:
      objective: with the graphs of the meta-step, where they are random.
      particles: `(genomes, perturbations, signs, keys, learning)`, leaves [P, ...].

    Returns:
      `(scores, learning)`, leaves [P, ...]: "loss", "accuracy", "counted"; the learning after the window.
    """
    return map_members(partial(_window, objective, steps), particles, objective.mesh)


@partial(jax.jit, static_argnums=0)
def _draw(settings: PES, objective: Objective, state: PESState, steps: Any) -> tuple[Members, dict[str, jax.Array]]:
    return settings._drawn(objective, state, steps)


@partial(jax.jit, static_argnums=0)
def _finish(settings: PES, objective: Objective, state: PESState, total: Any, scores: Any, learning: Learning):
    return settings._moved(state, *settings._estimated(objective, state, total, scores, learning))


@partial(jax.jit, static_argnums=(0, 5))
def _advance(settings: PES, objective: Objective, state: PESState, steps: Any, graphs: Any, count: int):
    def meta_step(state: PESState, own: tuple[jax.Array, Any]):
        steps, graphs = own
        return settings._moved(state, *settings.contributions(objective.with_graphs(graphs), state, steps))

    state, record = jax.lax.scan(meta_step, state, (steps, graphs), length=count)
    small = replicated((state.genomes, state.optimizer, state.skipped, state.perturbation, record), objective.mesh)
    return replace(state, genomes=small[0], optimizer=small[1], skipped=small[2], perturbation=small[3]), small[4]


def _mean(leaf: jax.Array, counted: jax.Array) -> jax.Array:
    """Returns the mean over the pairs [G, N/2, ...] that count."""
    return leaf.sum(axis=1) / jnp.maximum(counted, 1).reshape(-1, *(1,) * (leaf.ndim - 2)).astype(leaf.dtype)
