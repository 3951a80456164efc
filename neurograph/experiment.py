"""Runs of an experiment: meta-train, checkpoint, resume, choose on validation, test transfer, report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from neurograph.best_so_far import BestSoFar
from neurograph.errors import ExperimentError, NeurographError, TopologyError
from neurograph.experiment_spec import ExperimentSpec, GradientSpec, PESSpec, ProblemSpec
from neurograph.genome import Genome, effective_fields, save_genome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import SETTINGS
from neurograph.learning.inner_loop import Problem
from neurograph.meta import (
    PES,
    EvolutionOptimizer,
    GradientOptimizer,
    Objective,
    best_member,
    device_mesh,
    screen,
    select,
    start_genomes,
)
from neurograph.meta.devices import on_this_host
from neurograph.meta.population import evaluate, member, stack
from neurograph.network.network import Network
from neurograph.results import Transfer
from neurograph.run_folder import RunFolder, start_genome
from neurograph.tasks import get_task
from neurograph.topology import Topology, load_topology
from neurograph.topology.kept import keep_topology, kept_topology
from neurograph.topology.shipped import topology_file
from neurograph.transfer import transfer

__all__ = ["Experiment", "final_test", "find_topology", "meta_train"]

Progress = Callable[[dict[str, Any]], None]


def find_topology(name: str | Path, beside: Path | None = None) -> Topology:
    """A topology by path (also relative to the folder `beside`), or a shipped one by its name, such as "mlp".

    Raises:
      ExperimentError: no such file and no such name; the places looked at are named.
    """
    return load_topology(_topology_path(name, beside))


def _topology_path(name: str | Path, beside: Path | None, run: Path | None = None) -> Path:
    """The file of a topology: the copy that the folder of the run keeps, or the run whose configuration is rerun; else a path."""
    try:
        return kept_topology(run, name) or kept_topology(beside, name) or topology_file(name, beside)
    except TopologyError as error:
        raise ExperimentError(str(error)) from error


def _located(where: str, make: Callable[[], Any]) -> Any:
    """Run `make`; name the place in the experiment if it fails."""
    try:
        return make()
    except NeurographError as error:
        raise ExperimentError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from error


class Experiment:
    """A specification made ready to run.

    Args:
      spec: what to do.
      base: folder that relative paths of topologies and of the start genome are looked up in, after the current one.
      run: folder of the run: what it keeps of topology files and of the start genome comes before all others.

    Attributes:
      files: of the topologies, by name.

    Raises:
      ExperimentError: a rule, start, task or topology that does not exist or does not fit; the place is named.
    """

    def __init__(self, spec: ExperimentSpec, base: Path | None = None, run: Path | None = None):
        mesh = device_mesh(spec.devices)
        self.spec = spec
        named = spec.start.genome
        self.start_file = _located("start.genome", lambda: start_genome(named, base, run)) if named else None
        inherited = self.start_file.rule.to_dict() if self.start_file and self.start_file.rule else {}
        self.rule: Rule = _located("rule", lambda: Rule.from_dict(inherited | spec.rule))
        networks: dict[str, Network] = {}
        self.files: dict[str, Path] = {}
        problems = []
        for number, item in enumerate(spec.problems):
            where = f"problems[{number}]"
            task = _located(f"{where}.task", lambda item=item: get_task(item.task, **item.options))
            path = _located(f"{where}.topology", lambda item=item: _topology_path(item.topology, base, run))
            topology = _located(f"{where}.topology", lambda path=path: load_topology(path))
            self.files[item.topology] = path
            if topology.digest not in networks:
                networks[topology.digest] = _located(where, lambda topology=topology: Network(topology, self.rule))
            network = networks[topology.digest]
            problems.append(_located(where, lambda network=network, task=task: Problem(network, task)))
        unroll = spec.unroll
        self.objective = Objective(
            tuple(problems),
            unroll.longest,
            unroll.batch_size,
            unroll.query_size,
            unroll.replicas,
            query_batches=unroll.query_batches,
            loss=unroll.counted,
            truncation=unroll.truncation,
            mesh=mesh,
        )
        self.validation = dataclasses.replace(self.objective, query_split="validation", loss="final")
        self.optimizer = _located("training", self._optimizer)
        keys = jax.random.split(jax.random.key(spec.seed), 5)
        self.keys = dict(zip(("start", "screen", "train", "validate", "transfer"), keys, strict=True))

    def _optimizer(self) -> GradientOptimizer | PES | EvolutionOptimizer:
        training = self.spec.training
        if isinstance(training, (GradientSpec, PESSpec)):
            adam = (training.learning_rate, training.final_learning_rate, max(training.meta_steps, 1), training.clip)
            if isinstance(training, GradientSpec):
                return GradientOptimizer(*adam)
            return PES(training.population, training.sigma, self._fields(), tuple(training.scales.items()), *adam)
        return EvolutionOptimizer(
            training.method,
            training.population,
            training.sigma,
            self.spec.seed,
            self._fields(),
            tuple(training.scales.items()),
            training.episodes,
            training.fitness,
            training.options,
        )

    def _fields(self) -> tuple[str, ...]:
        fields = getattr(self.spec.training, "fields", None)
        return effective_fields(self.rule) if fields is None else tuple(fields)

    def initial_state(self) -> Any:
        """Start genomes, screened if the experiment says so."""
        spec, start = self.spec, self.spec.start
        count = max(spec.training.screen, spec.training.genomes)
        if self.start_file:
            genomes = stack([self.start_file.genome] * spec.training.genomes)
        else:
            genomes = _located(
                "start",
                lambda: start_genomes(start.kind, count, self.rule, key=self.keys["start"], spread=start.spread, **start.arrays),
            )
            if count > spec.training.genomes:
                genomes = screen(self.objective, genomes, spec.training.genomes, key=self.keys["screen"])
        return _located("training", lambda: self.optimizer.init(genomes, key=self.keys["train"], objective=self.objective))

    def validate(self, genomes: Genome, steps: int) -> dict[str, np.ndarray]:
        """Every genome on the same validation episodes: {"loss", "accuracy"}, [G, problems]."""
        return evaluate(self.validation, genomes, self.keys["validate"], self.spec.training.validation_episodes, steps)


def meta_train(
    spec: ExperimentSpec,
    folder: Path,
    *,
    base: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda record: None,
) -> tuple[Genome, Rule]:
    """Meta-train, writing a run folder; stopped at any moment it resumes to the same result, bit for bit.

    The folder gets config.yaml, environment.json, start_genome.json (of `start.genome`) and topologies/ (copies of files that do
    not come with neurograph; a run that goes on from a checkpoint uses those), metrics.jsonl (a line per interval), checkpoint,
    best.json (with `keep: best`), at the end genome.json and summary.json.

    Args:
      spec: the experiment.
      folder: of this run; made if missing.
      base: where relative paths of topologies and of the start genome are looked up.
      resume: continue from the folder's checkpoint.
      progress: called with every record that is written.

    Returns:
      The genome that was best on validation data in the end (of an evolution, the mean genome), and its rule; with `keep: best`
      that of the validation where it was best.

    Raises:
      ExperimentError: the folder holds another run, or its checkpoint belongs to another configuration.
      GenomeError: every genome failed.
    """
    experiment = Experiment(spec, base, folder if resume and (folder / "checkpoint").exists() else None)
    training, unroll, optimizer = spec.training, spec.unroll, experiment.optimizer
    run = RunFolder(spec, folder, resume=resume, like=experiment.initial_state())
    run.keep(experiment.files)
    if spec.start.genome and experiment.start_file:
        run.keep_start(spec.start.genome, experiment.start_file)
    state, done = run.state, run.done
    scores: dict[str, np.ndarray] | None = None
    kept_best = BestSoFar(experiment.rule, folder, done) if training.keep == "best" else None
    length = unroll.length(done)
    try:
        while done < training.meta_steps:
            count = min(training.interval, training.meta_steps - done, training.validate_every - done % training.validate_every)
            if unroll.grow_every:
                count = min(count, unroll.grow_every - done % unroll.grow_every)
            length = unroll.length(done)
            state, numbers = optimizer.advance(experiment.objective, state, count, length)
            state = on_this_host(state, experiment.objective.mesh)
            done += count
            means = {name: _rounded(_mean_of_finite(value)) for name, value in numbers.items()}
            times = {"step": done, "seconds": round(run.seconds, 3), "unroll": length}
            run.record(times | means | {"skipped": np.asarray(state.skipped).tolist()}, progress)
            if done % training.validate_every == 0 or done == training.meta_steps:
                scores = experiment.validate(optimizer.genomes(state), length)
                result = {"step": done, "validation": {name: _rounded(v.mean(axis=1)) for name, v in scores.items()}}
                if kept_best:
                    kept_best.offer(optimizer.genomes(state), scores, step=done, length=length, write=run.writes)
                if training.replace and done < training.meta_steps:
                    kept, parents = select((state.genomes, state.optimizer), scores, training.replace)
                    state = state.selected(*kept, np.asarray(parents) != np.arange(len(parents)))
                    result["parents"] = parents
                run.record(result, progress)
            run.save(state, done)
    finally:
        run.close()
    last = unroll.length(training.meta_steps)
    if scores is None or last != length:
        scores = experiment.validate(optimizer.genomes(state), last)
        if kept_best:
            kept_best.offer(optimizer.genomes(state), scores, step=done, length=last, write=run.writes)
    if kept_best and kept_best.genome is not None:
        best, genome, found = kept_best.card["chosen"], kept_best.genome, kept_best.scores
    else:
        best = best_member(scores)
        genome = member(optimizer.genomes(state), best)
        found = {name: value[best : best + 1] for name, value in scores.items()}
    seconds = round(run.seconds, 1)
    summary = {
        "name": spec.name,
        "method": training.method,
        "meta_steps": done,
        "seconds": seconds,
        "chosen": best,
        "genomes": training.genomes,
        "validation": {name: _rounded(value[0]) for name, value in found.items()},
        "validation_all": {name: _rounded(value.mean(axis=1)) for name, value in scores.items()},
        "skipped": np.asarray(state.skipped).tolist(),
        "tasks": [problem.task.name for problem in experiment.objective.problems],
    }
    if kept_best:
        summary["chosen_at"] = kept_best.card["step"]
    card = {"experiment": spec.name, "description": spec.description, "seed": spec.seed}
    card |= {"method": training.method, "meta_steps": done, "seconds": seconds}
    card |= {"tasks": sorted({p.task for p in spec.problems}), "topologies": sorted({p.topology for p in spec.problems})}
    card |= {"validation_accuracy": summary["validation"]["accuracy"], "chosen_of": training.genomes}
    if run.writes:
        save_genome(folder / "genome.json", genome, experiment.rule, card)
    run.write("summary.json", json.dumps(summary, indent=1) + "\n")
    return genome, experiment.rule


def final_test(
    spec: ExperimentSpec,
    folder: Path,
    genome: Genome,
    rule: Rule,
    *,
    base: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Transfer:
    """Test a genome as the experiment's `transfer` says, once, on test data; writes transfer.json.

    Topologies that a task does not fit are left out for that task. Their files are kept in the folder, as those of training.

    Raises:
      ExperimentError: a topology or task that does not exist, or a task that fits none of the topologies.
    """
    wanted = spec.transfer
    paths = {
        name: _located("transfer.topologies", lambda name=name: _topology_path(name, base, folder)) for name in wanted.topologies
    }
    topologies = {name: _located("transfer.topologies", lambda path=path: load_topology(path)) for name, path in paths.items()}
    items = [ProblemSpec(task=name, topology="") for name in wanted.tasks] or spec.problems
    results = []
    for item in {(i.task, json.dumps(i.options, sort_keys=True)): i for i in items}.values():
        task = _located("transfer.tasks", lambda item=item: get_task(item.task, **item.options))
        width = (task.num_inputs, task.num_outputs)
        fitting = {name: t for name, t in topologies.items() if (len(t.inputs), len(t.outputs)) == width}
        if not fitting:
            raise ExperimentError(
                f"transfer.topologies: none has the {width[0]} inputs and {width[1]} outputs of task {task.name!r}"
            )
        results.append(
            transfer(
                genome,
                rule,
                fitting,
                [task],
                at=wanted.at,
                seeds=wanted.seeds,
                seed=spec.seed,
                batch_size=wanted.batch_size,
                query_size=wanted.query_size,
                settings=tuple(s for s in SETTINGS if s.optimizer in wanted.baselines),
                validation_seeds=wanted.validation_seeds,
                progress=say,
            )
        )
    result = _joined(results)
    if jax.process_index() == 0:
        for name, path in paths.items():
            keep_topology(folder, name, path)
        result.save(folder / "transfer.json")
    return result


def _joined(parts: list[Transfer]) -> Transfer:
    """Tests of several tasks as one: rows in a row, counts added up."""
    notes = dict(parts[0].notes)
    for part in parts[1:]:
        for name, value in part.notes.items():
            if name in ("configurations", "runs", "baseline_failures"):
                notes[name] += value
            elif isinstance(value, dict):
                notes[name] = notes[name] | value
    return Transfer(tuple(r for p in parts for r in p.rows), tuple(c for p in parts for c in p.chosen), notes)


def _mean_of_finite(values: Any) -> np.ndarray:
    """Over meta-steps [count, G]; NaN where none is finite."""
    array = np.asarray(values, float)
    fine = np.isfinite(array)
    return np.where(fine, array, 0).sum(axis=0) / np.where(fine.any(axis=0), fine.sum(axis=0), np.nan)


def _rounded(values: Any) -> list[float | None]:
    """Six digits are enough to plot; what is not finite becomes null, since JSON has no NaN."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in np.asarray(values, float).tolist()]
