"""A specification made ready to run: start genomes, problems, objective, optimizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from neurograph.errors import ExperimentError, NeurographError
from neurograph.experiments.folder.run_folder import start_genome
from neurograph.experiments.folder.topologies import kept_topology
from neurograph.experiments.given import NOTHING, Given
from neurograph.experiments.spec import DrawnSpec, ExperimentSpec, RandomSpec
from neurograph.genome import Genome
from neurograph.genome.rule import Rule
from neurograph.learning.inner_loop import Problem
from neurograph.meta import Objective, RandomNetworks, RandomProblem, device_mesh, screen, start_genomes
from neurograph.meta.graphs import derived_seed
from neurograph.meta.population import evaluate, stack
from neurograph.network.network import Network
from neurograph.tasks import Task
from neurograph.topology import load_topology
from neurograph.topology.language.families import RandomTopologies
from neurograph.topology.shipped import topology_file

__all__ = ["Experiment", "located", "topology_path"]

TRAINING, VALIDATION = 0, 1  # streams of random graphs


def topology_path(name: str, base: Path | None, run: Path | None = None, given: Given = NOTHING) -> Path:
    """Returns the file of a topology: a copy in the folder of the run, or in that of the run that is repeated, the file of one
    that was given, or as `topology_file` finds it. Layer widths have no file and are returned as they are.

    Raises:
      TopologyError: there is no such file and no such name.
    """
    return kept_topology(run, name) or kept_topology(base, name) or given.files.get(name) or topology_file(name, base)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Puts the place in the experiment before every line of an error that its body raises.

    Raises:
      ExperimentError: in place of any `NeurographError`.
    """
    try:
        yield
    except NeurographError as error:
        raise ExperimentError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from error


class Experiment:
    """A specification made ready to run.

    Args:
      spec: the specification.
      base: folder in which relative paths of topologies and of the start genome are looked up, after the current one.
      run: folder of the run: its copies of topology files and of the start genome are taken before all others.
      given: objects that the specification names.

    Attributes:
      files: files of the topologies, by name.

    Raises:
      ExperimentError: a rule, start, task or topology does not exist or does not fit; the place is named.
    """

    def __init__(self, spec: ExperimentSpec, base: Path | None = None, run: Path | None = None, given: Given = NOTHING):
        mesh = device_mesh(spec.devices)
        self.spec, self.given = spec, given
        self.start_file = None
        if spec.start.genome:
            with located("start.genome"):
                self.start_file = self.given.genomes.get(spec.start.genome) or start_genome(spec.start.genome, base, run)
        inherited = self.start_file.rule.to_dict() if self.start_file and self.start_file.rule else {}
        with located("rule"):
            self.rule = Rule.from_dict(inherited | spec.rule)
        self.files: dict[str, Path] = {}
        unroll = spec.unroll
        self.objective = Objective(
            self._problems(base, run),
            unroll.longest,
            unroll.batch_size,
            unroll.query_size,
            unroll.replicas,
            query_batches=unroll.query_batches,
            loss=unroll.counted,
            truncation=unroll.truncation,
            judged_at=tuple(unroll.judged_at) if unroll.judged_at else None,
            mesh=mesh,
        )
        self.validation = dataclasses.replace(self.objective, problems=self._judges(), query_split="validation", loss="final")
        with located("training"):
            self.optimizer = spec.training.optimizer(self.rule, spec.seed)
        keys = jax.random.split(jax.random.key(spec.seed), 5)
        self.keys = dict(zip(("start", "screen", "train", "validate", "transfer"), keys, strict=True))

    def _problems(self, base: Path | None, run: Path | None) -> tuple[Problem | RandomProblem, ...]:
        """Returns the problems, those with equal topologies on one network, and stores the files of the topologies."""
        networks: dict[str, Network] = {}
        problems = []
        for number, item in enumerate(self.spec.problems):
            where = f"problems[{number}]"
            with located(f"{where}.task"):
                task = self.given.task(item.task, item.options)
            if isinstance(item.topology, DrawnSpec):
                with located(f"{where}.topology.random"):
                    problems.append(self._random_problem(number, item.topology.random, task))
                continue
            with located(f"{where}.topology"):
                self.files[item.topology] = topology_path(item.topology, base, run, self.given)
                topology = load_topology(self.files[item.topology])
            with located(where):
                if topology.digest not in networks:
                    networks[topology.digest] = Network(topology, self.rule)
                problems.append(Problem(networks[topology.digest], task))
        return tuple(problems)

    def _random_problem(self, number: int, drawn: RandomSpec, task: Task) -> RandomProblem:
        topologies = RandomTopologies(drawn.families, inputs=task.num_inputs, outputs=task.num_outputs)
        seed = derived_seed(self.spec.seed, number, TRAINING)
        networks = RandomNetworks.of(topologies, self.rule, drawn.graphs, most_classes=drawn.size_classes, seed=seed)
        return RandomProblem.of(networks, task)

    def _judges(self) -> tuple[Problem | RandomProblem, ...]:
        """Returns the problems of validation: random graphs are always the same, and others than those of training."""
        judges = list(self.objective.problems)
        for number, (item, problem) in enumerate(zip(self.spec.problems, self.objective.problems, strict=True)):
            if isinstance(problem, RandomProblem) and isinstance(item.topology, DrawnSpec):
                with located(f"problems[{number}].topology.random.validation_graphs"):
                    seed = derived_seed(self.spec.seed, number, VALIDATION)
                    networks = problem.networks.with_graphs(item.topology.random.validation_graphs, seed)
                    judges[number] = RandomProblem.of(networks, problem.task)
        return tuple(judges)

    def initial_state(self) -> Any:
        """Returns the state before the first meta-step, whose genomes are screened if the experiment says so."""
        spec, start = self.spec, self.spec.start
        count = max(spec.training.screen, spec.training.genomes)
        if self.start_file:
            kept: Any = self.start_file.genome
            genomes = stack([kept] * spec.training.genomes)
        else:
            with located("start"):
                genomes = start_genomes(start.kind, count, self.rule, key=self.keys["start"], spread=start.spread, **start.arrays)
            if count > spec.training.genomes:
                genomes = screen(self.objective, genomes, spec.training.genomes, key=self.keys["screen"])
        with located("training"):
            return self.optimizer.init(genomes, key=self.keys["train"], objective=self.objective)

    def validate(self, genomes: Genome, steps: int) -> dict[str, np.ndarray]:
        """Judges every genome on the same validation episodes; returns {"loss", "accuracy"}, each [G, problems]."""
        return evaluate(
            self.validation, genomes, jax.random.clone(self.keys["validate"]), self.spec.training.validation_episodes, steps
        )
