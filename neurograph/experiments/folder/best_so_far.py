"""The best genome that a run has validated so far, kept beside its checkpoint in case meta-training deteriorates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurograph.errors import ExperimentError, GenomeError
from neurograph.genome import Genome, load_genome_file, save_genome
from neurograph.genome.rule import Rule
from neurograph.meta.population import best_member, member

__all__ = ["FILE", "BestSoFar"]

FILE = "best.json"


class BestSoFar:
    """Compares populations as they are validated, and keeps the best genome in the folder of the run.

    Only scores of the same unroll length are compared: a longer unroll begins a new comparison.

    Args:
      rule: of the genomes.
      folder: folder of the run. Its FILE is read unless it is later than `done`: the run will validate that step again.
      done: meta-steps after which the run goes on.

    Attributes:
      genome: the best, or None.
      scores: {"loss", "accuracy"}, each [1, problems]: its own.
      card: {"step", "length", "chosen"} and the scores, as in FILE.

    Raises:
      ExperimentError, GenomeError: FILE is another file, or damaged.
    """

    def __init__(self, rule: Rule, folder: Path, done: int):
        self.rule, self.path = rule, folder / FILE
        self.genome: Any = None
        self.scores: dict[str, np.ndarray] = {}
        self.card: dict[str, Any] = {}
        if done and self.path.exists():
            file = load_genome_file(self.path)
            if lacking := {"step", "length", "chosen", "loss", "accuracy"} - {*file.card}:
                raise ExperimentError(f"{self.path} at card: lacks {', '.join(sorted(lacking))}; not a genome that this run kept")
            if file.card["step"] <= done:
                self.genome, self.card = file.genome, file.card
                self.scores = {name: np.array([file.card[name]]) for name in ("loss", "accuracy")}

    def offer(self, population: Genome, scores: dict[str, np.ndarray], *, step: int, length: int, write: bool) -> None:
        """Keeps the best member of `population` if it is better than the kept genome; of equals the earlier stays.

        Args:
          population: leaves [G, ...].
          scores: {"loss", "accuracy"}, each [G, problems].
          step, length: meta-steps done, learning steps per episode.
          write: whether this process writes FILE.
        """
        try:
            best = best_member(scores)
        except GenomeError:  # none is finite: the kept genome stays
            return
        own = {name: np.asarray(value[best : best + 1]) for name, value in scores.items()}
        if self.genome is not None and self.card["length"] == length:
            both = {name: np.concatenate([self.scores[name], value]) for name, value in own.items()}
            if best_member(both) == 0:
                return
        self.genome, self.scores = member(population, best), own
        self.card = {"step": step, "length": length, "chosen": best} | {name: value[0].tolist() for name, value in own.items()}
        if write:
            save_genome(self.path, self.genome, self.rule, self.card)
