"""Strategies that search without gradients (section 4.4): CMA-ES by the `cma` package, and a plain evolution strategy.

Both see vectors and costs only: `ask` returns a generation, `tell` takes its costs. The costs are their whole history: telling
them again restores a stopped search to the bit, without a pickle.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from neurograph.errors import GenomeError

__all__ = ["CMA", "AntitheticES", "Strategy"]

# A genome whose learning diverged must lose against every other, but not by so much that the search loses its scale.
PENALTY = 1.0


class Strategy(ABC):
    """A search over vectors: smaller costs are better.

    Args:
      size: entries of a vector; the search starts at zero.
      population: vectors per generation.
      sigma: initial step size.
      seed: seed of all randomness.
    """

    def __init__(self, size: int, population: int, sigma: float, seed: int):
        if population < 2 or not sigma > 0:
            raise GenomeError(f"population: {population}, sigma: {sigma}; expected population >= 2 and sigma > 0")
        self.size, self.population, self.sigma, self.seed = size, population, sigma, seed
        self.told: list[np.ndarray] = []

    @property
    def generation(self) -> int:
        """Number of generations so far."""
        return len(self.told)

    @abstractmethod
    def ask(self) -> np.ndarray:
        """Returns the next generation, [population, size]; the same until `tell` is called."""

    @abstractmethod
    def _learn(self, vectors: np.ndarray, costs: np.ndarray) -> None:
        """Moves the search by finite costs [population]."""

    @property
    @abstractmethod
    def mean(self) -> np.ndarray:
        """The mean of the search distribution, [size]."""

    def tell(self, costs: np.ndarray) -> int:
        """Takes the costs [population] of the generation of `ask`; those that are not finite become the worst.

        Returns:
          The number of costs that are not finite.

        Raises:
          GenomeError: none is finite.
        """
        costs = np.asarray(costs, float)
        fine = np.isfinite(costs)
        if not fine.any():
            raise GenomeError(
                f"generation {self.generation}: all {len(costs)} genomes diverged; start closer to backprop or with a smaller"
                f" sigma (got {self.sigma})"
            )
        vectors = self.ask()
        self._learn(vectors, np.where(fine, costs, costs[fine].max() + PENALTY))
        self.told.append(costs)
        return int((~fine).sum())

    def retell(self, history: np.ndarray) -> None:
        """Restores a search by its costs [generations, population]: 2 s for 400 generations of 80 genomes."""
        for costs in history:
            self.tell(costs)


class CMA(Strategy):
    """Covariance matrix adaptation, by the `cma` package, with a random generator of its own."""

    def __init__(self, size: int, population: int = 80, sigma: float = 0.3, seed: int = 0):
        super().__init__(size, population, sigma, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cma  # takes seconds to import: only an evolution waits for it

        normal = np.random.default_rng(seed)
        options = {"popsize": population, "randn": lambda *shape: normal.standard_normal(shape), "seed": float("nan")}
        options |= {"verbose": -9, "verb_log": 0, "verb_disp": 0}
        self._search: Any = cma.CMAEvolutionStrategy(np.zeros(size), sigma, options)
        self._asked: Any = None

    def ask(self) -> np.ndarray:
        if self._asked is None:
            # One thread: sixteen times faster for matrices this small on a busy machine, and the same numbers on any.
            with threadpool_limits(1, "blas"):
                self._asked = self._search.ask()
        return np.stack(self._asked)

    def _learn(self, vectors: np.ndarray, costs: np.ndarray) -> None:
        with threadpool_limits(1, "blas"):
            self._search.tell(list(vectors), costs.tolist())
        self._asked = None

    @property
    def mean(self) -> np.ndarray:
        return np.array(self._search.mean)


class AntitheticES(Strategy):
    """Isotropic evolution strategy: pairs mirrored at the mean, ranks instead of costs, Adam on the estimated gradient.

    Source: Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", 2017.
    """

    def __init__(self, size: int, population: int = 80, sigma: float = 0.1, seed: int = 0, learning_rate: float = 0.05):
        super().__init__(size, population, sigma, seed)
        if population % 2:
            raise GenomeError(f"population: got {population}; mirrored pairs need an even number")
        self.learning_rate = learning_rate
        self._mean, self._first, self._second = np.zeros(size), np.zeros(size), np.zeros(size)

    def _noise(self) -> np.ndarray:
        half = np.random.default_rng([self.seed, self.generation]).standard_normal((self.population // 2, self.size))
        return np.concatenate([half, -half])

    def ask(self) -> np.ndarray:
        return self._mean + self.sigma * self._noise()

    def _learn(self, vectors: np.ndarray, costs: np.ndarray) -> None:
        ranks = np.argsort(np.argsort(costs, kind="stable"), kind="stable") / (len(costs) - 1) - 0.5
        gradient = ranks @ self._noise() / (len(costs) * self.sigma)
        step = self.generation + 1
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.99 * self._second + 0.01 * gradient**2
        first, second = self._first / (1 - 0.9**step), self._second / (1 - 0.99**step)
        self._mean = self._mean - self.learning_rate * first / (np.sqrt(second) + 1e-8)

    @property
    def mean(self) -> np.ndarray:
        return self._mean.copy()
