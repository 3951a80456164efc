"""Meta-training as an experiment says, in a folder from which it resumes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from neurograph.errors import ExperimentError
from neurograph.experiments.chance import PART, advice, at_chance, chance_level
from neurograph.experiments.experiment import Experiment
from neurograph.experiments.folder.best_so_far import BestSoFar
from neurograph.experiments.folder.checkpoint import checkpoint_config
from neurograph.experiments.folder.lock import locked
from neurograph.experiments.folder.reading import TASKS, validation_score
from neurograph.experiments.folder.run_folder import RunFolder
from neurograph.experiments.generations import Generations, Recipe
from neurograph.experiments.given import NOTHING, Given
from neurograph.experiments.loggers import Logger
from neurograph.experiments.spec import EVOLVED, ExperimentSpec
from neurograph.experiments.workers.executor import Executor
from neurograph.genome import Genome, save_genome
from neurograph.genome.rule import Rule
from neurograph.learning.inner_loop import is_regression
from neurograph.learning.lost import lost_score
from neurograph.meta import best_member, select
from neurograph.meta.devices import on_this_host
from neurograph.meta.population import member

__all__ = ["Callback", "Interval", "Progress", "check_parts", "meta_train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Interval:
    """What a callback is given after every interval of meta-steps, when its checkpoint has been written.

    Attributes:
      step: meta-steps so far.
      metrics: the interval's record as in metrics.jsonl: "loss", "accuracy" [G] and others; where the genomes were judged,
        "validation", {"loss", "accuracy"}, each [G].
      genomes: the genomes of the search, leaves [G, ...] (the mean genome of an evolution).
      rule: theirs.
    """

    step: int
    metrics: dict[str, Any]
    genomes: Genome
    rule: Rule

    def genome(self, index: int = 0) -> Genome:
        """Returns one of the genomes."""
        return member(self.genomes, index)


Callback = Callable[[Interval], None]
Progress = Callable[[dict[str, Any]], None]
Scores = dict[str, np.ndarray]  # {"loss", "accuracy"}, each [genomes, problems]


def meta_train(
    spec: ExperimentSpec,
    folder: Path,
    *,
    base: Path | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    executor: Executor | None = None,
    progress: Progress = lambda record: None,
    callback: Callback = lambda interval: None,
    loggers: Sequence[Logger] = (),
    given: Given = NOTHING,
) -> tuple[Genome, Rule]:
    """Meta-trains and writes a run folder; a run that is stopped at any moment resumes to the same result, bit for bit.

    The folder gets config.yaml, environment.json, tasks.json (their names, and which are regressions: what is called accuracy is
    their R^2), start_genome.json (of `start.genome`), topologies/ (copies of files that do not come with neurograph; a run that
    goes on from a checkpoint reads them), metrics.jsonl (a line per interval), checkpoint and best.json (with `keep: best`); at
    the end genome.json and summary.json.

    A run whose genomes are no better than guessing at its first validation after a third of the meta-steps says so in a warning
    of the log, and summary.json has "at_chance" with what to try where the result is no better.

    Args:
      spec: the experiment.
      folder: folder of this run; made if missing.
      base: folder in which relative paths of topologies and of the start genome are looked up, after the current one.
      resume: whether to continue from the folder's checkpoint.
      allow_changes: whether to continue although precision, versions, device or kernels are not those of the checkpoint: the
        result is then not, bit for bit, that of a run without a stop, and summary.json tells the differences.
      executor: computes the members of a generation (methods cma, es, pes), in place of this process: the same numbers.
      progress: called with every record that is written.
      callback: called after every interval, with its genomes. An error that it raises ends the run, which resumes there.
      loggers: get the metrics too, beside those that the specification names.
      given: objects that the specification names.

    Returns:
      The genome that is best on validation data at the end (the mean genome of an evolution) and its rule; with `keep: best` the
      genome of the best validation.

    Raises:
      ExperimentError: another process writes the folder, it holds another run, or its checkpoint belongs to another
        configuration, or, without `allow_changes`, to another precision, version, device or kernels. The executor is gone, or
        has nothing to do: the method has no generations, or devices share them.
      GenomeError: every genome failed.
    """
    if executor is not None:
        check_parts(spec)
    kept = resume and (folder / "checkpoint").exists()
    if kept:
        spec = spec.as_begun(checkpoint_config(folder / "checkpoint"))
    experiment = Experiment(spec, base, folder if kept else None, given)
    with locked(folder) if jax.process_index() == 0 else nullcontext():
        return _meta_train(experiment, folder, resume, allow_changes, executor, progress, callback, loggers)


def _meta_train(
    experiment: Experiment,
    folder: Path,
    resume: bool,
    allow_changes: bool,
    executor: Executor | None,
    progress: Progress,
    callback: Callback,
    loggers: Sequence[Logger],
) -> tuple[Genome, Rule]:
    """Does the work of `meta_train`, in a folder that nobody else writes."""
    spec = experiment.spec
    training, unroll, optimizer = spec.training, spec.unroll, experiment.optimizer
    like = experiment.initial_state()
    run = RunFolder(spec, folder, resume=resume, like=like, allow_changes=allow_changes, loggers=loggers)
    run.keep(experiment.files)
    if spec.start.genome and experiment.start_file:
        run.keep_start(spec.start.genome, experiment.start_file)
    tasks = [problem.task for problem in experiment.objective.problems]
    told = {"tasks": [task.name for task in tasks], "numbers": sorted({task.name for task in tasks if is_regression(task)})}
    run.write(TASKS, json.dumps(told) + "\n")
    elsewhere = {} if executor is None else {"share": Generations(executor, Recipe.of(experiment, folder))}
    best = BestSoFar(experiment.rule, folder, run.done) if training.keep == "best" else None
    state, done, length = run.state, run.done, unroll.length(run.done)
    scores: Scores | None = None
    asked = done >= PART * training.meta_steps  # whether the run is at chance: once, also of a run that was stopped

    def validate(state: Any, length: int) -> Scores:
        scores = experiment.validate(optimizer.genomes(state), length)
        if best:
            best.offer(optimizer.genomes(state), scores, step=done, length=length, write=run.writes)
        return scores

    try:
        while done < training.meta_steps:
            count, length = _steps_at_once(spec, done), unroll.length(done)
            steps = np.array([unroll.drawn_length(done + number, spec.seed) for number in range(count)])
            state, numbers = optimizer.advance(experiment.objective, state, count, steps, **elsewhere)
            state = on_this_host(state, experiment.objective.mesh)
            done += count
            means = {name: _rounded(_mean_of_finite(value)) for name, value in numbers.items()}
            times = {"step": done, "seconds": round(run.seconds, 3), "unroll": length}
            metrics = times | means | {"skipped": np.asarray(state.skipped).tolist()}
            run.record(metrics, progress)
            if done % training.validate_every == 0 or done == training.meta_steps:
                scores = validate(state, length)
                if not asked and done >= PART * training.meta_steps:
                    asked = True
                    if run.writes:
                        _warn_at_chance(experiment, scores, done)
                record = {"step": done, "validation": {name: _rounded(v.mean(axis=1)) for name, v in scores.items()}}
                if training.replace and done < training.meta_steps:
                    state, record["parents"] = _replaced(state, scores, training.replace)
                run.record(record, progress)
                metrics = metrics | record
            run.save(state, done)
            callback(Interval(done, metrics, optimizer.genomes(state), experiment.rule))
    finally:
        run.close()
    last = unroll.length(training.meta_steps)
    if scores is None or last != length:
        scores = validate(state, last)
    genome, chosen = _choose(best, optimizer.genomes(state), scores)
    common = {"method": training.method, "meta_steps": done, "seconds": round(run.seconds, 1)}
    summary = {"name": spec.name, **common, "chosen": chosen.pop("chosen"), "genomes": training.genomes}
    summary["validation"] = chosen.pop("validation")
    summary["validation_all"] = {name: _rounded(value.mean(axis=1)) for name, value in scores.items()}
    summary["skipped"] = np.asarray(state.skipped).tolist()
    summary["tasks"] = told["tasks"]
    if at_chance(experiment, validation_score(summary) or lost_score()):
        summary["at_chance"] = advice(experiment)
    card = {"experiment": spec.name, "description": spec.description, "seed": spec.seed} | common
    card |= {"tasks": sorted({p.task for p in spec.problems}), "topologies": sorted({str(p.topology) for p in spec.problems})}
    score = "r2" if all(map(is_regression, tasks)) else "accuracy"
    card |= {f"validation_{score}": summary["validation"]["accuracy"], "chosen_of": training.genomes}
    card["trained_steps"] = unroll.length(max(0, training.meta_steps - 1))
    if run.writes:
        save_genome(folder / "genome.json", genome, experiment.rule, card)
    run.write("summary.json", json.dumps(summary | chosen | run.notes, indent=1) + "\n")
    return genome, experiment.rule


def _warn_at_chance(experiment: Experiment, scores: Scores, done: int) -> None:
    accuracies = scores["accuracy"].mean(axis=1)
    accuracy = float(np.max(accuracies[np.isfinite(accuracies)], initial=lost_score()))
    if at_chance(experiment, accuracy):
        log.warning(
            "%s is at chance after %d of %d meta-steps: accuracy %.3f on validation data, guessing %.3f; %s",
            experiment.spec.name,
            done,
            experiment.spec.training.meta_steps,
            accuracy,
            chance_level(experiment),
            advice(experiment),
        )


def check_parts(spec: ExperimentSpec) -> None:
    """Checks that an executor has something to do in a run.

    Raises:
      ExperimentError: the method has no generations, or devices share them.
    """
    training = spec.training
    if training.command != "evolve":
        raise ExperimentError(
            f"workers: training.method is {training.method}, whose meta-steps workers do not share; expected one of {EVOLVED},"
            " or several runs (--runs, or neurograph sweep)"
        )
    if spec.devices is not None or jax.process_count() > 1:
        raise ExperimentError("workers: devices, or several processes, already share the population; expected one or the other")


def _steps_at_once(spec: ExperimentSpec, done: int) -> int:
    """Returns the number of meta-steps until the next record, validation or longer unroll."""
    training, unroll = spec.training, spec.unroll
    count = min(training.interval, training.meta_steps - done, training.validate_every - done % training.validate_every)
    return min(count, unroll.grow_every - done % unroll.grow_every) if unroll.grow_every else count


def _replaced(state: Any, scores: Scores, replace: int) -> tuple[Any, list[int]]:
    """Replaces the worst genomes by the best one; returns the state, and for each genome the index of its original."""
    kept, parents = select((state.genomes, state.optimizer), scores, replace)
    return state.selected(*kept, np.asarray(parents) != np.arange(len(parents))), parents


def _choose(best: BestSoFar | None, population: Genome, scores: Scores) -> tuple[Genome, dict[str, Any]]:
    """Returns the resulting genome and {"chosen", "validation"} of the summary, with "chosen_at" where the best is kept.

    Raises:
      GenomeError: no genome has a finite loss.
    """
    if best and best.genome is not None:
        genome, chosen, found = best.genome, best.card["chosen"], best.scores
    else:
        chosen = best_member(scores)
        genome, found = member(population, chosen), {name: value[chosen : chosen + 1] for name, value in scores.items()}
    notes = {"chosen": chosen, "validation": {name: _rounded(value[0]) for name, value in found.items()}}
    return genome, notes | ({"chosen_at": best.card["step"]} if best else {})


def _mean_of_finite(values: Any) -> np.ndarray:
    """Returns the mean over meta-steps [count, G] of the finite values; NaN without one."""
    array = np.asarray(values, float)
    fine = np.isfinite(array)
    return np.where(fine, array, 0).sum(axis=0) / np.where(fine.any(axis=0), fine.sum(axis=0), np.nan)


def _rounded(values: Any) -> list[float | None]:
    """Returns values with the six digits that a plot needs; those that are not finite become None, since JSON has no NaN."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in np.asarray(values, float).tolist()]
