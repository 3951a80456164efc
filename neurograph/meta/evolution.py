"""Evolution as a meta-optimizer: strategies over vectors search genomes (section 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import GenomeError
from neurograph.genome import Genome
from neurograph.genome.vector import GenomeVector
from neurograph.meta.objective import Objective
from neurograph.meta.population import evaluate, member
from neurograph.meta.share import Share
from neurograph.meta.strategies import CMA, AntitheticES, Strategy

__all__ = ["STRATEGIES", "Evolution", "EvolutionOptimizer", "EvolutionState"]

FITNESS = ("accuracy", "loss")
STRATEGIES: dict[str, Callable[..., Strategy]] = {"cma": CMA, "es": AntitheticES}


def _costs(objective: Any, population: Genome, fitness: str, judge: Callable[..., Any]) -> dict[str, np.ndarray]:
    """Returns {"cost", "loss", "accuracy"}, each [P] float64; NaN where a genome failed."""
    if not isinstance(objective, Objective):
        count = population.neuron_keep.shape[0]
        cost = np.array([_number(objective(member(population, index))) for index in range(count)])
        return {"cost": cost, "loss": cost, "accuracy": np.full(count, np.nan)}
    scores = judge(population)
    loss, accuracy = (np.asarray(scores[name], float).mean(axis=1) for name in ("loss", "accuracy"))
    cost = np.where(np.isfinite(loss), loss if fitness == "loss" else -accuracy, np.nan)
    return {"cost": cost, "loss": loss, "accuracy": np.where(np.isfinite(loss), accuracy, np.nan)}


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise GenomeError(f"objective: got a {type(value).__name__}; expected one number, smaller is better") from error


def _check_fitness(fitness: str) -> None:
    if fitness not in FITNESS:
        raise GenomeError(f"fitness: got {fitness!r}; allowed: {', '.join(FITNESS)}")


def _generation(
    objective: Any,
    vector: GenomeVector,
    strategy: Strategy,
    key: jax.Array,
    episodes: int,
    fitness: str,
    steps: Any = None,
    share: Share | None = None,
) -> dict[str, Any]:
    """Asks for a generation, evaluates it, tells its costs; returns a record."""
    number = strategy.generation
    key = jax.random.fold_in(key, number)

    def judge(population: Genome) -> dict[str, np.ndarray]:
        if share is None:
            return evaluate(objective.at(number), population, key, episodes, steps)
        return share.judged(number, population, key, episodes, objective.steps if steps is None else steps)

    found = _costs(objective, vector.to_genomes(strategy.ask()), fitness, judge)
    failed = strategy.tell(found["cost"])
    fine = np.isfinite(found["cost"])
    best = int(np.argmin(np.where(fine, found["cost"], np.inf)))
    return {
        "loss": float(np.median(found["loss"][fine])),
        "accuracy": float(np.median(found["accuracy"][fine])),
        "best_accuracy": float(found["accuracy"][best]),
        "best_loss": float(found["loss"][best]),
        "failed": failed,
    }


@dataclass
class Evolution:
    """A strategy that searches genomes by their loss or accuracy after learning, or by any other number.

    Args:
      objective: judges a genome; nothing is differentiated. An `Objective` is evaluated for the whole generation at once on the
        device. Any other callable takes a genome and returns one number, where smaller is better and NaN or infinity means that
        the genome failed. It may use NumPy, files, other programs.
      vector: the numbers that are searched.
      strategy: `CMA` or `AntitheticES`, or any `Strategy`.
      key: PRNG key of episodes and synapses; every genome of a generation sees the same ones.
      episodes: learning runs per genome, each with its own data and first synapses; section 4.4 has one, judged on 20 query
        batches (`Objective.query_batches`).
      fitness: "accuracy" or "loss", of an `Objective`.
      share: judges the generations of an `Objective` elsewhere.

    Raises:
      GenomeError: the fitness is unknown.
    """

    objective: Objective | Callable[[Genome], Any]
    vector: GenomeVector
    strategy: Strategy
    key: jax.Array
    episodes: int = 1
    fitness: str = "accuracy"
    share: Share | None = None

    def __post_init__(self) -> None:
        _check_fitness(self.fitness)

    def advance(self) -> dict[str, Any]:
        """Searches one generation further.

        Returns:
          {"generation", "loss", "accuracy" (medians of the genomes that did not fail), "best_loss", "best_accuracy" (of the
          fittest), "failed"}; accuracies are NaN where the objective is a plain function.

        Raises:
          GenomeError: every genome failed.
        """
        judged = (self.episodes, self.fitness, None, self.share)
        record = _generation(self.objective, self.vector, self.strategy, self.key, *judged)
        return {"generation": self.strategy.generation} | record

    @property
    def genome(self) -> Genome:
        """The mean of the search distribution, rather than the luckiest sample."""
        return self.vector.to_genome(self.strategy.mean)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EvolutionState:
    """The whole of an evolution: its first genome and the costs so far.

    Attributes:
      origin: the genome at vector zero, leaves [1, ...].
      told: costs [generations, population] float64 (NumPy), NaN where a genome failed.
      skipped: [1] int32, failed genomes so far.
      step: generations so far.
    """

    origin: Genome
    told: np.ndarray
    skipped: np.ndarray
    key: jax.Array
    step: np.ndarray


@dataclass(frozen=True)
class EvolutionOptimizer:
    """A strategy with the `init` and `advance` of the other meta-optimizers; one generation is one meta-step.

    Args:
      strategy: "cma" or "es".
      population, sigma: genomes per generation, first step size.
      seed: seed of the strategy.
      fields: the arrays of a genome that are searched, see `effective_fields`.
      scales: per array, how much one unit of the vector changes it; 1 where not given.
      episodes, fitness: as in `Evolution`.
      options: further arguments of the strategy, such as ("learning_rate", 0.05) of "es".

    Raises:
      GenomeError: the strategy or the fitness is unknown.
    """

    strategy: str
    population: int
    sigma: float
    seed: int
    fields: tuple[str, ...]
    scales: tuple[tuple[str, float], ...] = ()
    episodes: int = 1
    fitness: str = "accuracy"
    options: tuple[tuple[str, Any], ...] = ()
    _live: list[Strategy] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_fitness(self.fitness)
        if self.strategy not in STRATEGIES:
            raise GenomeError(f"strategy: got {self.strategy!r}; allowed: {', '.join(STRATEGIES)}")

    def init(self, genomes: Genome, *, key: jax.Array, objective: Objective | None = None) -> EvolutionState:
        """Returns a search that begins at `genomes`, leaves [1, ...]; it does not depend on the objective.

        Raises:
          GenomeError: there is more than one genome, or fields and scales do not fit.
        """
        count = genomes.neuron_keep.shape[0]
        if count != 1:
            raise GenomeError(f"evolution starts from one genome; got {count}")
        state = EvolutionState(genomes, np.zeros((0, self.population)), np.zeros(1, np.int32), key, np.zeros((), np.int32))
        self._search(state)  # raises now where fields or scales do not fit
        return state

    def advance(
        self, objective: Objective, state: EvolutionState, count: int, steps: Any = None, share: Share | None = None
    ) -> tuple[EvolutionState, dict[str, Any]]:
        """Searches `count` generations further; `steps` as in `GradientOptimizer.advance`, `share` as in `Evolution`.

        Returns:
          `(state, metrics)`: "loss", "accuracy" (medians), "best_loss", "best_accuracy", "failed", each [count, 1].

        Raises:
          GenomeError: every genome of a generation failed.
        """
        vector, strategy = self._search(state)
        lengths = [None] * count if steps is None else np.broadcast_to(steps, (count,)).tolist()
        judged = (self.episodes, self.fitness)
        records = [_generation(objective, vector, strategy, state.key, *judged, length, share) for length in lengths]
        metrics = {name: np.array([[record[name]] for record in records]) for name in records[0]} if records else {}
        told = np.stack(strategy.told) if strategy.told else state.told
        failed = np.array([(~np.isfinite(told)).sum()], np.int32)
        return EvolutionState(state.origin, told, failed, state.key, np.asarray(len(told), np.int32)), metrics

    def genomes(self, state: EvolutionState) -> Genome:
        """Returns the mean genome, leaves [1, ...]."""
        vector, strategy = self._search(state)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], vector.to_genome(strategy.mean))

    def _search(self, state: EvolutionState) -> tuple[GenomeVector, Strategy]:
        """Returns the strategy in the given state: the live one, or a new one that is given all costs again."""
        vector = GenomeVector(member(state.origin, 0), self.fields, self.scales)
        if self._live:
            told = self._live[0].told
            if self._live[0].size == vector.size and len(told) == len(state.told) and _same(told, state.told):
                return vector, self._live[0]
        strategy = STRATEGIES[self.strategy](vector.size, self.population, self.sigma, self.seed, **dict(self.options))
        strategy.retell(state.told)
        self._live[:] = [strategy]
        return vector, strategy


def _same(told: list[np.ndarray], history: np.ndarray) -> bool:
    return not told or np.array_equal(np.stack(told), history, equal_nan=True)
