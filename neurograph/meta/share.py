"""What a meta-optimizer needs of workers: the strategy stays here, members of a generation are judged elsewhere."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import numpy as np

from neurograph.genome import Genome
from neurograph.meta.objective import Learning

__all__ = ["Share"]


class Share(Protocol):
    """Computes the members of a generation in parts that do not depend on how many workers there are, nor on who is first.

    Both methods know the objective; random graphs are those of the meta-step.
    """

    def judged(self, meta_step: int, population: Genome, key: jax.Array, episodes: int, steps: Any) -> dict[str, np.ndarray]:
        """Returns what `evaluate` returns for a population [P, ...]."""
        ...

    def windows(self, meta_step: int, particles: Any, steps: Any) -> tuple[dict[str, Any], Learning]:
        """Returns what `learn_windows` of `neurograph.meta.pes` returns for particles [P, ...]."""
        ...
