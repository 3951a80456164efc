"""Step counts, sizes of batches and queries, and seeds, by which learners are compared."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from neurograph.errors import ExperimentError

__all__ = ["SEARCHES", "Trial"]

SEARCHES = ("grid", "halving")


@dataclass(frozen=True)
class Trial:
    """The numbers that all learners of a comparison share.

    Args:
      at: step counts after which a learner is judged; 0 is before the first step. Stored in ascending order, each once.
      batch_size: rows per learning step.
      query_size: rows that a learner is judged on.
      seeds: runs on test data.
      seed: seed of all randomness.
      validation_seeds: runs on validation data, by which learning rates are chosen.
      search: how they are: "grid", every rate for all steps; "halving", the better half of the rates goes on to the next step
        count (Jamieson and Talwalkar 2016), in about half of the time.

    Raises:
      ExperimentError: there are no step counts, one is below 0, a number is no integer or too small, or there is no such search.
    """

    at: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 50)
    batch_size: int = 128
    query_size: int = 512
    seeds: int = 5
    seed: int = 0
    validation_seeds: int = 3
    search: str = "grid"

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
        if self.search not in SEARCHES:
            raise ExperimentError(f"search: got {self.search!r}; allowed: {', '.join(SEARCHES)}")

    @property
    def sizes(self) -> dict[str, Any]:
        """{"at", "batch_size", "query_size"}: keywords of `baseline_curves` and `genome_curves`."""
        return {"at": self.at, "batch_size": self.batch_size, "query_size": self.query_size}

    def keys(self, task: int = 0) -> tuple[jax.Array, jax.Array]:
        """Returns the keys [seeds] of the runs on test data and the key of all choices, for the task of this number."""
        test_key, choice_key = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), task))
        return jax.random.split(test_key, self.seeds), choice_key
