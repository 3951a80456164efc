"""What a reproduction meta-trains, without doing it: its experiments, their cost, and their expected time."""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from neurograph.errors import ExperimentError
from neurograph.experiments.spec import ExperimentSpec
from neurograph.reproduce.run import checked
from neurograph.reproduce.workbench import Trained, Variant, Workbench
from neurograph.topology import load_topology

__all__ = ["Plan", "plan"]

RATES = {False: 1.5e-9, True: 2e-10}
"""Seconds of a core per learning step, row, state and synapse, by gradients and (True) by evolution.

From the laptop-scale runs of figures 6, 7 and 9 on dense layers, compilation and validation among them: good to a factor of three
there, and too little elsewhere.
"""

EACH = 5e-4
"""Seconds of a learning step of a problem beside that, which decide on small graphs; from figure 3's laptop-scale runs."""


@dataclass(frozen=True)
class Plan:
    """The experiments that a reproduction meta-trains before its first test, by label and seed."""

    specs: dict[tuple[str, int], ExperimentSpec] = field(default_factory=dict)
    cost: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def hours(self) -> float:
        """Expected hours of one core for meta-training alone, roughly."""
        return sum(self.cost.values()) / 3600

    @property
    def labels(self) -> list[str]:
        return list(dict.fromkeys(label for label, _ in self.specs))

    @property
    def words(self) -> str:
        """Returns the plan in words."""
        if not self.specs:
            return "nothing is meta-trained"
        steps = sorted({spec.training.meta_steps for spec in self.specs.values()})
        time = f"about {_time(self.hours)} of one core" if math.isfinite(self.hours) else "no estimate for irregular graphs"
        return (
            f"{_counted(len(self.specs), 'meta-training run')} of {_counted(len(self.labels), 'variant')},"
            f" {' or '.join(f'{step:,}' for step in steps)} meta-steps each; {time}"
        )


class _Listed(Exception):
    """The reproduction came to its first test."""


class _Lister(Workbench):
    """Keeps the experiments that are asked for; every run counts as lost."""

    plan: Plan

    def train(self, variants: Mapping[str, Variant], seeds: int | Sequence[int]) -> dict[str, list[Trained]]:
        wanted = range(seeds) if isinstance(seeds, int) else seeds
        costs = {label: _cost(variant.spec()) for label, variant in variants.items()}
        for label, variant in variants.items():
            for seed in wanted:
                self.plan.specs[label, seed] = variant.spec(f"seed={seed}")
                self.plan.cost[label, seed] = costs[label]
        return {label: [Trained(label, seed, self.folder, reason="only listed") for seed in wanted] for label in variants}

    def test(self, *args: Any, **options: Any) -> NoReturn:
        raise _Listed

    def zoo(self, name: str) -> NoReturn:
        raise _Listed


def plan(name: str, scale: str, recipe: str = "shipped", seeds: int | None = None) -> Plan:
    """Returns what `reproduce` would meta-train at a scale, up to its first test: nothing is trained, and no data are read.

    Runs that go on from genomes found before are not among it.

    Args:
      name: of a reproduction.
      scale: "laptop" or "paper"; what smoke trains takes seconds.
      recipe: as of `reproduce`.
      seeds: as of `reproduce`.

    Raises:
      ExperimentError: as `checked`, or another scale.
    """
    entry = checked(name, recipe)
    if scale not in ("laptop", "paper"):
        raise ExperimentError(f"scale: got {scale!r}; allowed: laptop, paper")
    if not entry.trains:
        return Plan()
    with tempfile.TemporaryDirectory() as folder:
        bench = _Lister(name, scale, Path(folder), seeds=seeds, recipe=recipe)
        bench.plan = Plan()
        with suppress(_Listed):
            importlib.import_module(entry.module).run(bench)
        return bench.plan


def _cost(spec: ExperimentSpec) -> float:
    """Returns the expected seconds of one run; NaN where a graph is drawn, or does not consist of dense layers."""
    training, unroll = spec.training, spec.unroll
    learning_steps = sum(unroll.length(step) for step in range(training.meta_steps))
    members = training.population * training.episodes if training.evolved else training.genomes  # type: ignore[attr-defined]
    work = 0.0
    for problem in spec.problems:
        if not isinstance(problem.topology, str):
            return math.nan
        topology = load_topology(problem.topology)
        sizes = np.bincount(topology.levels) if topology.is_acyclic else np.zeros(1)
        if topology.num_synapses != (sizes[:-1] * sizes[1:]).sum():
            return math.nan
        work += topology.num_synapses
    states = spec.rule.get("states", 2)
    rate = RATES[training.evolved] * members * unroll.replicas * unroll.batch_size * states
    return learning_steps * (rate * work + EACH * len(spec.problems))


def _time(hours: float) -> str:
    """Returns a time to one digit: "8 minutes", "3 hours", "40 days"."""
    unit, size = next((unit, size) for unit, size in (("day", 24.0), ("hour", 1.0), ("minute", 0.0)) if hours >= size)
    return _counted(max(1, int(float(f"{hours / (size or 1 / 60):.1g}"))), unit)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
