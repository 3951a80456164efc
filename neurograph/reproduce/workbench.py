"""The means of a reproduction: meta-training by experiment files, tests by transfer matrices, files of results.

Everything lies under `OUT/SCALE`: `runs/` (ordinary run folders, shared by all reproductions), `cells/` (of transfer matrices),
`topologies/` (graphs that are made on the way) and a folder per reproduction. Results that are there are not computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError, GenomeError
from neurograph.experiments.folder.reading import LOST, validation_score
from neurograph.experiments.runs import Run, train_all
from neurograph.experiments.spec import FREE, ExperimentSpec, load_experiment
from neurograph.experiments.transfer.bundles import TaskSource
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import Row, csv_text
from neurograph.experiments.workers.executor import Executor, Here
from neurograph.files import write_atomically
from neurograph.genome import Genome, load_genome_file
from neurograph.genome.rule import Rule
from neurograph.learning.lost import lost_score
from neurograph.reproduce import RECIPES, SCALES
from neurograph.reproduce.summaries import RECIPES as RECIPES_IN_WORDS
from neurograph.tasks import Task
from neurograph.topology import Topology
from neurograph.topology.layered import layered_document

__all__ = ["Trained", "Variant", "Workbench"]

T = TypeVar("T")
SMALL = (
    *(f"training.{name}" for name in ("meta_steps=2", "validate_every=2", "validation_episodes=1")),
    *(f"unroll.{name}" for name in ("steps=2", "batch_size=32", "query_size=32")),
)


@dataclass(frozen=True)
class Variant:
    """An experiment, by the name of a shipped one or a path, with overrides as `neurograph meta-train --set` takes them."""

    experiment: str
    overrides: tuple[str, ...] = ()

    def spec(self, *more: str) -> ExperimentSpec:
        return load_experiment(self.experiment, (*self.overrides, *more))


@dataclass(frozen=True)
class Trained:
    """A finished run: `label` of its variant, `seed`, what it found and the folder that says how.

    `genome` and `rule` are None where the run was lost (every genome diverged); `reason` says why.
    """

    label: str
    seed: int
    folder: Path
    genome: Genome | None = None
    rule: Rule | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.label} / {self.seed}"

    @property
    def summary(self) -> dict[str, Any]:
        return parse_json((self.folder / "summary.json").read_text(encoding="utf-8"))

    @property
    def accuracy(self) -> float:
        """Returns the accuracy on validation data, mean over the experiment's problems; 0 for a lost run."""
        return lost_score() if self.genome is None else validation_score(self.summary) or lost_score()

    def records(self) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl; none for a run that was lost at once."""
        path = self.folder / "metrics.jsonl"
        return [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class Workbench:
    """The means of one reproduction at one scale.

    Args:
      name: of the reproduction.
      scale: one of `SCALES`.
      out: folder of all reproductions.
      executor: does the meta-training runs; default: this process, one after another.
      seeds: number of meta-training seeds, instead of the reproduction's own.
      allow_changes: of stopped runs, as in `meta_train`.
      recipe: one of `RECIPES`, by which `images` trains.
      say: called with a line about the run that starts or ends.

    Raises:
      ExperimentError: an unknown scale.
    """

    def __init__(
        self,
        name: str,
        scale: str,
        out: Path,
        *,
        executor: Executor | None = None,
        seeds: int | None = None,
        allow_changes: bool = False,
        recipe: str = "shipped",
        say: Callable[[str], None] = lambda text: None,
    ):
        if scale not in SCALES:
            raise ExperimentError(f"scale: got {scale!r}; allowed: {', '.join(SCALES)}")
        self.name, self.scale, self.executor, self.say = name, scale, executor or Here(), say
        self.recipe_name, self.recipe_words = recipe, RECIPES_IN_WORDS[recipe]
        self.out = out / scale
        self.folder = self.out / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.own_seeds, self.allow_changes = seeds, allow_changes
        self.trained: dict[Path, Trained] = {}
        self.counts: Counter[str] = Counter()
        self.files: list[str] = []

    # -- sizes ---------------------------------------------------------------------------------------------------------------

    def pick(self, smoke: T, laptop: T, paper: T) -> T:
        """Returns the value for this scale."""
        return {"smoke": smoke, "laptop": laptop, "paper": paper}[self.scale]

    def seeds(self, smoke: int, laptop: int, paper: int) -> int:
        """Returns the number of meta-training seeds: the user's, if there is one."""
        return self.own_seeds or self.pick(smoke, laptop, paper)

    def topology(self, name: str, document: Mapping[str, Any]) -> str:
        """Returns the path of a topology file with this content, kept beside the runs."""
        folder = self.out / "topologies"
        folder.mkdir(parents=True, exist_ok=True)
        path, text = folder / f"{name}.yaml", yaml.safe_dump(dict(document), sort_keys=False)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
        return str(path)

    def variant(self, experiment: str, *overrides: str) -> Variant:
        """Returns an experiment with overrides; at smoke scale it is so small that it only shows that it runs."""
        return Variant(experiment, (*overrides, *SMALL) if self.scale == "smoke" else overrides)

    def images(self, *overrides: str, experiment: str | None = None) -> Variant:
        """Returns an experiment (default: the recipe's) on MNIST at 10x10 pixels; at smoke scale on the embedded digits."""
        if self.scale != "smoke":
            return Variant(experiment or RECIPES[self.recipe_name], overrides)
        return self.variant(
            "digits" if self.recipe_name == "shipped" else RECIPES[self.recipe_name],
            *overrides,
            f"problems=[{{task: digits, topology: {self._digits()}}}]",
        )

    @property
    def recipe_steps(self) -> int:
        """Returns the meta-steps of `recipe`."""
        return self.pick(2, 300, 10_000)

    def recipe(self) -> tuple[str, ...]:
        """Returns overrides of the plain genome for images, which several reproductions test and which is trained once."""
        return (f"training.meta_steps={self.recipe_steps}", f"training.genomes={self.pick(1, 2, 8)}")

    def curriculum(self) -> tuple[tuple[str, ...], str]:
        """Returns overrides for section 4.2's growing unroll, shortened at laptop scale, and what they say in words."""
        stage, first, last, by = self.pick((1, 2, 3, 1), (100, 10, 20, 5), (10_000, 10, 50, 5))
        genomes = self.pick(1, 2, 8)
        meta_steps = stage * (1 + (last - first) // by)
        words = f"{meta_steps:,} meta-steps, the unroll growing from {first} by {by} every {stage:,} to {last},"
        words += f" when all {genomes} searches side by side go on from the best on validation data"
        overrides = (f"unroll.steps={first}", f"unroll.grow_by={by}", f"unroll.grow_every={stage}", f"unroll.max_steps={last}")
        overrides += (f"training.meta_steps={meta_steps}", f"training.genomes={genomes}", f"training.replace={genomes - 1}")
        return (*overrides, f"training.validate_every={stage}"), words

    def zoo(self, name: str) -> Trained:
        """Returns a genome of the zoo, which is tested beside those trained here; it is no run of this bench."""
        file: Any = load_genome_file(name)
        return Trained(f"zoo's {name}", 0, Path(), file.genome, file.rule)

    def image_places(self) -> tuple[dict[str, str], dict[str, str]]:
        """Returns (topologies, tasks) by name, those on which `images` trains."""
        if self.scale == "smoke":
            return {"64-16-10": self._digits()}, {"digits": "digits"}
        return {"100-64-64-10": "mnist_10x10"}, {"mnist/10x10": "mnist/10x10"}

    def _digits(self) -> str:
        return self.topology("digits_small", layered_document((8, 8), 16, 10))

    # -- meta-training -------------------------------------------------------------------------------------------------------

    def train(self, variants: Mapping[str, Variant], seeds: int | Sequence[int]) -> dict[str, list[Trained]]:
        """Meta-trains every variant with every seed; finished runs are taken as they are, stopped runs go on.

        Args:
          variants: by label.
          seeds: their number (from 0), or themselves.

        Returns:
          Per label its runs, in the order of the seeds; see `Trained` for lost ones.

        Raises:
          SpecError, ExperimentError: an experiment that says something wrong, or runs that could not be done.
        """
        wanted = range(seeds) if isinstance(seeds, int) else seeds
        runs: dict[tuple[str, int], Run] = {}
        for label, variant in variants.items():
            for seed in wanted:
                spec = variant.spec(f"seed={seed}")
                folder = self._run_folder(variant, spec)
                command = ["neurograph", "meta-train", variant.experiment]
                command += [word for one in (*variant.overrides, f"seed={seed}") for word in ("--set", one)]
                command += ["--out", str(folder), "--no-transfer", "--resume"]
                name = f"{label}, seed {seed}"
                runs[label, seed] = Run(name, spec, folder, command=tuple(command), allow_changes=self.allow_changes)
        todo = {run.folder: run for run in runs.values() if not run.finished}
        if todo:
            self.say(f"{self.name}: {len(todo)} of {len(runs)} meta-training runs to do")
        if failed := train_all(todo.values(), self.executor, self.say):
            text = "\n".join(f"  {name}: {why}" for name, why in failed.items())
            raise ExperimentError(f"{self.name}: runs that are needed were not done; the same command tries them again:\n{text}")
        found: dict[str, list[Trained]] = {}
        for (label, seed), run in runs.items():
            trained = _read(label, seed, run.folder)
            self.trained[trained.folder] = trained
            found.setdefault(label, []).append(trained)
        return found

    def _run_folder(self, variant: Variant, spec: ExperimentSpec) -> Path:
        """Returns the folder named by the settings that decide the run: reproductions that need the same run share it."""
        decides = json.dumps(spec.model_dump(mode="json", exclude=FREE), sort_keys=True)
        digest = hashlib.sha256(decides.encode()).hexdigest()[:12]
        return self.out / "runs" / f"{Path(variant.experiment).stem}-{digest}"

    # -- tests ---------------------------------------------------------------------------------------------------------------

    def test(
        self,
        runs: Mapping[str, Sequence[Trained]],
        topologies: Mapping[str, str | Topology],
        tasks: Mapping[str, str | Mapping[str, Any] | Task],
        *,
        at: Sequence[int],
        seeds: int,
        **options: Any,
    ) -> TransferMatrix:
        """Tests all runs on all topologies and tasks, on test data; `options` are those of `transfer_matrix`.

        Genomes are named `LABEL / SEED`; lost runs have no cells. Default: no baselines.
        """
        from neurograph.experiments.transfer.matrix import transfer_matrix
        from neurograph.topology import load_topology

        tried = [run for members in runs.values() for run in members]
        genomes = {run.name: (run.genome, run.rule) for run in tried if run.genome is not None and run.rule}
        graphs = {name: one if isinstance(one, Topology) else load_topology(one) for name, one in topologies.items()}
        data, sources = {}, {}
        for name, one in tasks.items():
            if isinstance(one, Task):
                data[name] = one
                continue
            words = {"name": one} if isinstance(one, str) else dict(one)
            sources[name] = TaskSource(words.pop("name"), words)
            data[name] = sources[name].task()
        if not genomes:
            raise GenomeError(f"{self.name}: every meta-training run was lost; there is nothing to test")
        elsewhere = {} if isinstance(self.executor, Here) else {"executor": self.executor, "sources": sources}
        options = {"optimizers": ()} | elsewhere | options
        matrix = transfer_matrix(genomes, graphs, data, self.out, at=at, seeds=seeds, progress=self.say, **options)
        self.count((row for row in matrix.rows if row["genome"] is not None and row["step"] == matrix.steps[-1]), matrix.notes)
        return matrix

    def count(self, tests: Iterable[Row], baselines: Mapping[str, Any]) -> None:
        """Adds tests to the counts of the verdict.

        Args:
          tests: one row per tested network, with "failed".
          baselines: {"configurations", "runs", "baseline_failures"}.
        """
        rows = list(tests)
        self.counts.update(tests=len(rows), diverged=sum(bool(row["failed"]) for row in rows))
        for name, key in (("configurations",) * 2, ("baseline_runs", "runs"), ("baseline_failures",) * 2):
            self.counts[name] += int(baselines[key])

    # -- what is written -----------------------------------------------------------------------------------------------------

    def write(self, name: str, data: str | bytes) -> None:
        """Writes a file into the folder of the reproduction."""
        write_atomically(self.folder / name, data)
        self.files = [*dict.fromkeys([*self.files, name])]

    def csv(self, name: str, rows: Iterable[Row]) -> None:
        """Writes rows as a table with the keys of all of them as columns."""
        rows = list(rows)
        self.write(name, csv_text(list(dict.fromkeys(key for row in rows for key in row)), rows))

    def figure(self, name: str, figure: Any, *, dpi: int = 110, colours: int = 128) -> None:
        """Writes a PNG of few colours, small enough for a repository."""
        from PIL import Image  # matplotlib needs it anyway

        full, small = io.BytesIO(), io.BytesIO()
        figure.savefig(full, format="png", dpi=dpi)
        with Image.open(full) as picture:
            picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(small, "png", optimize=True)
        self.write(name, small.getvalue())


def _read(label: str, seed: int, folder: Path) -> Trained:
    if (folder / LOST).exists():
        return Trained(label, seed, folder, reason=parse_json((folder / LOST).read_text(encoding="utf-8")))
    file: Any = load_genome_file(folder / "genome.json")
    return Trained(label, seed, folder, file.genome, file.rule)
