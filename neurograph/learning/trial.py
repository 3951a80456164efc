"""How a learner is tried: step counts, sizes of batches and queries, seeds."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from neurograph.errors import ExperimentError

__all__ = ["Trial"]


@dataclass(frozen=True)
class Trial:
    """The questions that every learner of a comparison is asked alike, and the seeds of its answers.

    Args:
      at: step counts after which it is judged; 0 is before the first step. Kept in ascending order, each once.
      batch_size: rows per learning step.
      query_size: rows that it is judged on.
      seeds: runs on test data.
      seed: of all randomness.
      validation_seeds: runs on validation data, by which learning rates are chosen.

    Raises:
      ExperimentError: no step counts, one below 0, or another number that is no integer or too small.
    """

    at: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 50)
    batch_size: int = 128
    query_size: int = 512
    seeds: int = 5
    seed: int = 0
    validation_seeds: int = 3

    def __post_init__(self) -> None:
        try:
            steps = sorted({operator.index(step) for step in self.at})
        except TypeError:
            steps = []
        if not steps or steps[0] < 0:
            raise ExperimentError(f"at: got {str(self.at)[:60]}; expected step counts >= 0, such as (0, 1, 10)")
        object.__setattr__(self, "at", tuple(steps))
        for name, least in (("batch_size", 1), ("query_size", 1), ("seeds", 1), ("seed", 0), ("validation_seeds", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ExperimentError(f"{name}: got {value!r}; expected an integer >= {least}")
            object.__setattr__(self, name, int(value))

    @property
    def sizes(self) -> dict[str, Any]:
        """{"at", "batch_size", "query_size"}: keywords of `baseline_curves` and `genome_curves`."""
        return {"at": self.at, "batch_size": self.batch_size, "query_size": self.query_size}

    def keys(self, task: int = 0) -> tuple[jax.Array, jax.Array]:
        """[seeds] keys of the runs on test data, and the key of all choices, for the task of this number."""
        test_key, choice_key = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), task))
        return jax.random.split(test_key, self.seeds), choice_key
