"""Several genomes side by side: a population is a genome whose leaves have a leading axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import GenomeError
from neurograph.genome import Genome
from neurograph.genome.rule import Rule
from neurograph.meta.devices import replicated
from neurograph.meta.mapping import map_members
from neurograph.meta.objective import Objective

__all__ = ["best_member", "evaluate", "member", "screen", "select", "stack", "start_genomes"]


def stack(genomes: Sequence[Genome]) -> Genome:
    """Returns the genomes as a population, leaves [G, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *genomes)


def member(population: Any, index: int) -> Any:
    """Returns one genome (or one member's optimiser state) of a population."""
    return jax.tree.map(lambda leaf: leaf[index], population)


STARTS: dict[str, Callable[..., Genome]] = {"near_backprop": Genome.near_backprop, "random": Genome.random}


def start_genomes(start: str, count: int, rule: Rule, *, key: jax.Array, spread: float | None = None, **arrays: Any) -> Genome:
    """Draws `count` genomes to search from.

    Args:
      start: "near_backprop" (section 4.5) or "random" (matrices N(0, spread^2)).
      spread: standard deviation of the drawn numbers; default 0.05 near backprop, 1 for random.
      **arrays: start values of the other arrays, by their names in `Genome`.

    Raises:
      GenomeError: the start is unknown, or arrays do not fit.
    """
    if start not in STARTS:
        raise GenomeError(f"start: got {start!r}; allowed: {', '.join(STARTS)}")
    options = dict(arrays)
    if spread is not None:
        options["noise" if start == "near_backprop" else "scale"] = spread
    return stack([STARTS[start](k, rule, **options) for k in jax.random.split(key, count)])


@jax.jit
def _evaluate(objective: Objective, population: Genome, keys: jax.Array, steps: Any) -> dict[str, jax.Array]:
    def one(genome: Genome) -> dict[str, jax.Array]:
        return jax.lax.map(lambda k: objective(genome, k, steps)[1], keys)

    return replicated(map_members(one, population, objective.mesh), objective.mesh)


def evaluate(objective: Objective, population: Genome, key: jax.Array, episodes: int, steps: Any = None) -> dict[str, np.ndarray]:
    """Judges every member on the same `episodes` draws.

    Returns:
      {"loss", "accuracy"}, each [G, problems]; NaN where a loss is not finite.
    """
    metrics = _evaluate(objective, population, jax.random.split(key, episodes), objective.steps if steps is None else steps)
    return {name: np.asarray(value).mean(axis=1) for name, value in metrics.items()}


def best_member(scores: dict[str, np.ndarray]) -> int:
    """Returns the index of the member with the highest mean accuracy; the loss decides ties, and must be finite.

    Raises:
      GenomeError: no member has a finite loss.
    """
    loss, score = scores["loss"].mean(axis=1), scores["accuracy"].mean(axis=1)
    if not np.isfinite(loss).any():
        raise GenomeError(f"none of {len(loss)} genomes has a finite loss: start closer to backprop, or with smaller updates")
    return int(np.lexsort((np.where(np.isfinite(loss), loss, np.inf), -np.where(np.isfinite(loss), score, -np.inf)))[0])


def screen(objective: Objective, population: Genome, keep: int, *, key: jax.Array, episodes: int = 1) -> Genome:
    """Returns the `keep` members of lowest finite loss: cheap, since nothing is differentiated."""
    loss = evaluate(objective, population, key, episodes)["loss"].mean(axis=1)
    order = np.argsort(np.where(np.isfinite(loss), loss, np.inf), kind="stable")[:keep]
    return jax.tree.map(lambda leaf: leaf[order], population)


def select(state: Any, scores: dict[str, np.ndarray], replace: int) -> tuple[Any, list[int]]:
    """Replaces the `replace` worst members by the best one (section 4.2 replaces all of them).

    Returns:
      `(state, parents)`: the new state, leaves [G, ...], and for each member the index of the one that it is a copy of.
    """
    loss = np.where(np.isfinite(scores["loss"]).all(axis=1), scores["loss"].mean(axis=1), np.inf)
    best = best_member(scores)
    parents = list(range(len(loss)))
    for loser in [int(i) for i in np.argsort(-loss, kind="stable") if i != best][: min(replace, len(loss) - 1)]:
        parents[loser] = best
    return jax.tree.map(lambda leaf: leaf[np.asarray(parents)], state), parents
