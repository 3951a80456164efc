"""The final test of an experiment: once, on test data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jax

from neurograph.errors import ExperimentError
from neurograph.experiments.experiment import located, topology_path
from neurograph.experiments.folder.topologies import keep_topology
from neurograph.experiments.given import NOTHING, Given
from neurograph.experiments.spec import ExperimentSpec, ProblemSpec
from neurograph.experiments.transfer.curves import transfer
from neurograph.experiments.transfer.results import Transfer
from neurograph.genome import Genome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import SETTINGS
from neurograph.learning.trial import Trial
from neurograph.topology import load_topology

__all__ = ["final_test"]


def final_test(
    spec: ExperimentSpec,
    folder: Path,
    genome: Genome,
    rule: Rule,
    *,
    base: Path | None = None,
    given: Given = NOTHING,
    say: Callable[[str], None] = lambda text: None,
) -> Transfer:
    """Tests a genome as the experiment's `transfer` says, once, on test data, and writes transfer.json.

    Topologies that a task does not fit are left out for that task. The folder keeps their files, as those of training.
    `given` has the objects that the specification names.

    Raises:
      ExperimentError: a topology or task does not exist, or a task fits none of the topologies.
    """
    wanted = spec.transfer
    with located("transfer.topologies"):
        paths = {name: topology_path(name, base, folder, given) for name in wanted.topologies}
        topologies = {name: load_topology(path) for name, path in paths.items()}
    items = [ProblemSpec(task=name, topology="") for name in wanted.tasks] or spec.problems
    trial = Trial(tuple(wanted.at), wanted.batch_size, wanted.query_size, wanted.seeds, spec.seed, wanted.validation_seeds)
    settings = tuple(setting for setting in SETTINGS if setting.optimizer in wanted.baselines)
    results = []
    for item in {(i.task, json.dumps(i.options, sort_keys=True)): i for i in items}.values():
        with located("transfer.tasks"):
            task = given.task(item.task, item.options)
        width = (task.num_inputs, task.num_outputs)
        fitting = {name: t for name, t in topologies.items() if (len(t.inputs), len(t.outputs)) == width}
        if not fitting:
            raise ExperimentError(
                f"transfer.topologies: none has the {width[0]} inputs and {width[1]} outputs of task {task.name!r}"
            )
        results.append(transfer(genome, rule, fitting, [task], trial, settings=settings, progress=say))
    result = _joined(results)
    if jax.process_index() == 0:
        for name, path in paths.items():
            keep_topology(folder, name, path)
        result.save(folder / "transfer.json")
    return result


def _joined(parts: list[Transfer]) -> Transfer:
    """Returns tests of several tasks as one: all rows in order, counts added up."""
    notes = dict(parts[0].notes)
    for part in parts[1:]:
        for name, value in part.notes.items():
            if name in ("configurations", "runs", "baseline_failures"):
                notes[name] += value
            elif name == "numbers":
                notes[name] = [*notes.get(name, ()), *value]
            elif isinstance(value, dict):
                notes[name] = notes[name] | value
    return Transfer(tuple(r for p in parts for r in p.rows), tuple(c for p in parts for c in p.chosen), notes)
