"""Units of a transfer matrix: cells that are computed together, by a plain function of what can be pickled."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax

from neurograph.errors import NeurographError
from neurograph.experiments.transfer.curves import baseline_rows, commonest, genome_rows, network_of
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import SETTINGS, Setting, ordinary_network
from neurograph.learning.inner_loop import Problem, is_regression
from neurograph.learning.trial import Trial
from neurograph.learning.tuning import tuned_baselines
from neurograph.network.batch.sizes import SizeClass
from neurograph.tasks import Task
from neurograph.topology.graph import Topology

__all__ = ["Question", "Unit", "compute_unit", "settings_of"]

PROGRAMS = 100  # units after which compiled programs are dropped: a process cannot map many hundreds of them

_number = itertools.count(1)  # of a unit among those of this process


@dataclass(frozen=True)
class Question:
    """What all units of a matrix draw from, by name: genomes with their rules, topologies, tasks; and what is done with them."""

    genomes: dict[str, tuple[AnyGenome, Rule]]
    topologies: dict[str, Topology]
    tasks: dict[str, Task]
    trial: Trial
    rates: tuple[float, ...]
    kernel: str


@dataclass(frozen=True)
class Unit:
    """One method on graphs that are computed one after another by one program.

    Attributes:
      task, topologies: names.
      genome: its name, or None.
      method: "genome", or the optimiser.
      size: the size class as whose data the graphs run; None: a `Network` for each.
      quick: whether a genome's program is compiled without optimisations.
    """

    task: str
    genome: str | None
    method: str
    topologies: tuple[str, ...]
    size: SizeClass | None
    quick: bool = False


def compute_unit(question: Question, unit: Unit) -> Iterator[dict[str, Any]]:
    """Yields the cell of every graph, plain data: {"rows", "chosen", "route", "quick", "seconds"} and counts or chance, see
    `results`; of one that cannot run {"reason"} alone."""
    if next(_number) % PROGRAMS == 0:
        jax.clear_caches()
    for name in unit.topologies:
        begun = time.perf_counter()
        try:
            data = (_tuned if unit.genome is None else _judged)(question, unit, question.topologies[name])
        except NeurographError as error:
            yield {"reason": str(error)}
            continue
        route = "network" if unit.size is None else "data"
        yield data | {"route": route, "quick": unit.quick, "seconds": round(time.perf_counter() - begun, 3)}


def settings_of(optimizer: str) -> tuple[Setting, ...]:
    """Returns all settings of an optimiser."""
    return tuple(setting for setting in SETTINGS if setting.optimizer == optimizer)


def _judged(question: Question, unit: Unit, topology: Topology) -> dict[str, Any]:
    """Computes the cell of a genome."""
    assert unit.genome is not None
    genome, rule = question.genomes[unit.genome]
    task, trial = question.tasks[unit.task], question.trial
    network = network_of(genome, rule, topology, question.kernel, unit.size, is_regression(task))
    rows = genome_rows(Problem(network, task), genome, trial, 0, quick=unit.quick)
    return {"rows": rows, "chosen": [], "chance": commonest(task, trial, 0)}


def _tuned(question: Question, unit: Unit, topology: Topology) -> dict[str, Any]:
    """Computes the cell of an optimiser."""
    problem = Problem(ordinary_network(topology, question.kernel, unit.size), question.tasks[unit.task])
    tuned = tuned_baselines(problem, question.trial, settings=settings_of(unit.method), rates=question.rates)
    rows, chosen = baseline_rows(tuned, {})
    counts = {"configurations": tuned.choice.configurations, "runs": tuned.choice.runs}
    return {"rows": rows, "chosen": chosen, **counts, "baseline_failures": tuned.choice.failures}
