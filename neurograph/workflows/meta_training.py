"""`meta_train` and `evolve` in Python: a run with its folder, test and report, and its result in frames and figures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax

from neurograph.errors import ExperimentError, MissingExtraError
from neurograph.experiments.final import final_test
from neurograph.experiments.folder.lock import locked
from neurograph.experiments.folder.reading import Run, read_run, validation_score
from neurograph.experiments.given import NOTHING, Given
from neurograph.experiments.loggers import Logger, make_logger
from neurograph.experiments.spec import EVOLVED, METHODS, ExperimentSpec, load_experiment, make_experiment
from neurograph.experiments.train import Callback, Interval, check_parts
from neurograph.experiments.train import meta_train as train
from neurograph.experiments.transfer.results import Row, Transfer, score_text
from neurograph.experiments.workers import make_executor
from neurograph.genome import Genome, save_genome
from neurograph.genome.rule import Rule
from neurograph.meta import device_mesh
from neurograph.workflows.objects import given_of

__all__ = ["MetaTraining", "Watch", "evolve", "meta_train", "run_experiment"]

Say = Callable[[str], None]


@dataclass(frozen=True, repr=False)
class MetaTraining:
    """The result of a run.

    Attributes:
      genome, rule: what was found.
      spec: the experiment, all defaults filled in.
      folder: of the run; None for a temporary one, which is gone.
      run: what the folder held: records, validations, summary, environment.
      test: the final test on test data; None where the experiment names no topologies for it.

    Examples:
      >>> import neurograph as ng
      >>> document = {"problems": [{"task": "xor", "topology": "2-4-2"}], "unroll": {"steps": 2, "batch_size": 8}}
      >>> changes = {"training.meta_steps": 2, "training.genomes": 1, "training.validation_episodes": 1}
      >>> found = ng.meta_train(document, changes=changes)
      >>> isinstance(found, ng.MetaTraining), found.genome.states
      (True, 4)
    """

    genome: Genome
    rule: Rule
    spec: ExperimentSpec
    folder: Path | None
    run: Run
    test: Transfer | None = None

    def __repr__(self) -> str:
        where = f" in {self.folder}" if self.folder else ""
        scores = "" if self.validation is None else f", validation {self.run.score} {score_text(self.validation)}"
        steps = f"{self.summary['meta_steps']} meta-steps ({self.summary['method']})"
        return f"<MetaTraining {self.spec.name}: {steps}{scores}, genome of {self.genome.states} states{where}>"

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: the chosen genome, its validation, seconds, skipped meta-steps."""
        return self.run.summary

    @property
    def validation(self) -> float | None:
        """Accuracy of the genome (of regressions R^2) on validation data, mean over problems; None where no run was finite."""
        return validation_score(self.summary, self.run.numbers)

    def metrics(self) -> Any:
        """Returns a pandas frame, a line per interval and genome: "step", "genome", "loss", "accuracy", "seconds", ...

        Raises:
          MissingExtraError: pandas is not installed.
        """
        return _frame(self.run.records)

    def validations(self) -> Any:
        """Returns a pandas frame, a line per validation and genome: "step", "genome", "loss", "accuracy".

        Raises:
          MissingExtraError: pandas is not installed.
        """
        return _frame(self.run.validations)

    def plot(self) -> Any:
        """Returns a matplotlib figure: loss and accuracy (of regressions R^2) over meta-steps, and on validation data."""
        from neurograph.report.figures.runs import training_figure

        look: dict[str, Any] = {"selected": self.run.chosen, "chance": self.run.chance(), "evolved": self.run.evolved}
        look["score"] = self.run.score
        return training_figure(self.run.records, self.run.validations, **look)

    def save(self, path: str | Path) -> Path:
        """Writes the genome with its rule, as `save_genome` does; returns the path."""
        return save_genome(path, self.genome, self.rule, self.run.card)


def meta_train(
    experiment: str | Path | Mapping[str, Any] | ExperimentSpec,
    folder: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    workers: int | str | Any = None,
    test: bool = True,
    callbacks: Iterable[Callback] = (),
    loggers: Iterable[str | Logger] = (),
    say: Say = lambda text: None,
) -> MetaTraining:
    """Meta-trains a genome as an experiment says, tests it on test data, and writes a report; what `neurograph meta-train` does.

    A run with a folder that is stopped at any moment goes on with `resume=True` to the same result, bit for bit, under the same
    experiment and objects.

    Args:
      experiment: a file, a shipped name, a mapping with the content of a file, or an `ExperimentSpec`. In a mapping a task may
        be a `Task` or a pair of arrays (x, labels), a topology a `Topology` or a networkx graph, `start.genome` a `GenomeFile`
        or a pair (genome, rule).
      folder: of the run, made if missing; None: a temporary one.
      changes: values by their place, {"training.meta_steps": 50, "seed": 1}.
      resume: whether to go on from the folder's checkpoint.
      allow_changes: whether to go on under other versions, precision or devices.
      workers: how many processes, the address of a Dask scheduler, or a `distributed.Client` shares the members of a generation
        (methods cma, es, pes): the same numbers.
      test: whether the final test of the experiment follows.
      callbacks: called with an `Interval` (step, metrics, genomes) after every interval. An error that one raises ends the run.
      loggers: where else the metrics go: "tensorboard", "wandb", "mlflow", or objects with start, record and close
        (`neurograph.experiments.Logger`).
      say: called with lines about workers and the final test.

    Returns:
      `MetaTraining`.

    Raises:
      SpecError: every fault of the experiment. ExperimentError: the folder holds another run, or what is given does not fit.
      GenomeError: every genome failed.

    Examples:
      >>> import neurograph as ng
      >>> task, graph = ng.get_task("xor"), ng.load_topology("2-4-2")
      >>> document = {"problems": [{"task": task, "topology": graph}], "unroll": {"steps": 2, "batch_size": 8}}
      >>> document["training"] = {"meta_steps": 2, "genomes": 1, "interval": 1, "validation_episodes": 1}
      >>> steps = []
      >>> found = ng.meta_train(document, callbacks=[lambda interval: steps.append(interval.step)])
      >>> steps, found.run.records[-1]["step"]
      ([1, 2], 2)
    """
    return _meta_train(experiment, folder, changes, "gradient", resume, allow_changes, workers, test, callbacks, loggers, say)


def evolve(
    experiment: str | Path | Mapping[str, Any] | ExperimentSpec,
    folder: str | Path | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    workers: int | str | Any = None,
    test: bool = True,
    callbacks: Iterable[Callback] = (),
    loggers: Iterable[str | Logger] = (),
    say: Say = lambda text: None,
) -> MetaTraining:
    """Searches a genome without derivatives: `meta_train` of an experiment of method cma, es or pes, cma where it names none.

    Raises:
      ExperimentError: the method of the experiment is gradient. Others: as `meta_train`.

    Examples:
      >>> import neurograph as ng
      >>> document = {"problems": [{"task": "xor", "topology": "2-4-2"}], "unroll": {"steps": 2, "batch_size": 8}}
      >>> document["training"] = {"method": "cma", "population": 4, "meta_steps": 2, "validation_episodes": 1}
      >>> ng.evolve(document).summary["method"]
      'cma'
    """
    return _meta_train(experiment, folder, changes, "cma", resume, allow_changes, workers, test, callbacks, loggers, say)


def _meta_train(
    experiment: Any,
    folder: str | Path | None,
    changes: Mapping[str, Any] | None,
    method: str,
    resume: bool,
    allow_changes: bool,
    workers: Any,
    test: bool,
    callbacks: Iterable[Callback],
    loggers: Iterable[str | Logger],
    say: Say,
) -> MetaTraining:
    called = tuple(callbacks)
    writers = [make_logger(one) if isinstance(one, str) else one for one in loggers]
    if odd := [one for one in writers if not isinstance(one, Logger)]:
        raise ExperimentError(f"loggers: {type(odd[0]).__name__} lacks a method; expected start, record and close")

    def callback(interval: Interval) -> None:
        for one in called:
            one(interval)

    with ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        spec, base, given = _read(experiment, changes, method, files)
        if METHODS[method].command == "evolve" and spec.training.command != "evolve":
            raise ExperimentError(f"training.method: got {spec.training.method!r}; evolve runs {EVOLVED} (see meta_train)")
        place = files / "run" if folder is None else Path(folder)
        options: dict[str, Any] = {"resume": resume, "allow_changes": allow_changes, "workers": workers}
        options |= {"test": test, "report": folder is not None, "callback": callback, "loggers": writers}
        done = run_experiment(spec, place, base=base, given=given, watch=Watch(say), **options)
        return MetaTraining(done.genome, done.rule, spec, None if folder is None else place, read_run(place), done.test)


class Watch:
    """Is told what a run does; the commands show it in the terminal."""

    def __init__(self, tell: Say = lambda text: None):
        self._tell = tell

    def say(self, text: str) -> None:
        """Is called with a line about workers."""
        self._tell(text)

    def stage(self, text: str) -> None:
        """Is called with a line about a part of the final test."""
        self._tell(text)

    def record(self, record: dict[str, Any]) -> None:
        """Is called with every record that is written."""

    def training(self) -> AbstractContextManager[Any]:
        """Returns what surrounds the meta-training."""
        return nullcontext()

    def testing(self) -> AbstractContextManager[Any]:
        """Returns what surrounds the final test and the report."""
        return nullcontext()


class Done(NamedTuple):
    """What a run has found: a genome and its rule, the final test and the page of the report, where there are any."""

    genome: Genome
    rule: Rule
    test: Transfer | None
    report: Path | None


def run_experiment(
    spec: ExperimentSpec,
    folder: Path,
    *,
    base: Path | None = None,
    given: Given = NOTHING,
    resume: bool = False,
    allow_changes: bool = False,
    workers: Any = None,
    test: bool = True,
    report: bool = True,
    callback: Callback = lambda interval: None,
    loggers: Sequence[Logger] = (),
    watch: Watch | None = None,
    patience: float = 0.0,
) -> Done:
    """Does a run in its folder, with the final test that the experiment names and the report.

    Of several processes (`jax.distributed`) all compute, and the first writes.

    Args:
      base, given: where the experiment's files and objects are: see `neurograph.experiments.train.meta_train`.
      patience: seconds to wait for the folder's lock, whose holder on another machine may be dead.
      others: as in `meta_train`.
    """
    if workers is not None:
        check_parts(spec)
    device_mesh(spec.devices)  # before JAX computes anything: later it makes no devices and joins no processes
    first, watch = jax.process_index() == 0, watch or Watch()
    tested = page = None
    with locked(folder, patience) if first else nullcontext():
        with watch.training(), make_executor(workers, watch.say) as executor:
            options: dict[str, Any] = {"resume": resume, "allow_changes": allow_changes, "callback": callback, "loggers": loggers}
            options |= {"progress": watch.record, "executor": None if workers is None else executor}
            genome, rule = train(spec, folder, base=base, given=given, **options)
        with watch.testing():
            if test and spec.transfer.topologies:
                tested = final_test(spec, folder, genome, rule, base=base, given=given, say=watch.stage)
            if report and first:
                from neurograph.report.run import write_report

                page = write_report(folder, base=base)
    return Done(genome, rule, tested, page)


def _read(
    experiment: Any, changes: Mapping[str, Any] | None, method: str, files: Path
) -> tuple[ExperimentSpec, Path | None, Given]:
    """Returns the specification, the folder of its file, and the objects that it names."""
    if isinstance(experiment, (str, Path)):
        base = Path(experiment).parent if Path(experiment).is_file() else None
        return load_experiment(experiment, changes=changes), base, NOTHING
    if isinstance(experiment, ExperimentSpec):
        return (make_experiment(experiment.model_dump(mode="json"), changes) if changes else experiment), None, NOTHING
    if not isinstance(experiment, Mapping):
        raise ExperimentError(
            f"experiment: got {type(experiment).__name__}; expected a file, a shipped name, a mapping, or an ExperimentSpec"
        )
    training = experiment.get("training", {})
    if isinstance(training, Mapping) and "method" not in training and "training.method" not in (changes or {}):
        experiment = {**experiment, "training": {"method": method, **training}}
    document, given = given_of(experiment, files)
    return make_experiment(document, changes), None, given


def _frame(records: Iterable[Row]) -> Any:
    """Returns a pandas frame with a line per record and genome."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "tables", "a frame of metrics") from error
    lines = []
    for record in records:
        several = {name: value for name, value in record.items() if isinstance(value, list)}
        common = {name: value for name, value in record.items() if name not in several}
        for number in range(max(map(len, several.values()), default=1)):
            own = {name: value[number] for name, value in several.items() if number < len(value)}
            lines.append({"step": common["step"], "genome": number} | common | own)
    return pandas.DataFrame(lines)
