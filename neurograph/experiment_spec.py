"""What an experiment file may say. Every fault is told at once, with file:line, as in topology files."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurograph.errors import ExperimentError, Fault, SpecError
from neurograph.topology.spec import Source, fault_message
from neurograph.topology.yaml_tree import Node, parse_yaml

__all__ = ["ExperimentSpec", "experiment_names", "load_experiment"]

SHIPPED = Path(__file__).parent / "experiments"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class StartSpec(_Spec):
    """Where the search begins: `genome` (file or zoo name), or a kind with a spread; `arrays` overrides single arrays."""

    kind: Literal["near_backprop", "random"] = "near_backprop"
    spread: float | None = Field(None, ge=0)
    arrays: dict[str, Any] = {}
    genome: str | None = None


class ProblemSpec(_Spec):
    """A task by name with its options, on a topology: a file, or the name of a shipped one."""

    task: str
    topology: str
    options: dict[str, Any] = {}


class UnrollSpec(_Spec):
    """Inner loop: `steps` batches of `batch_size`; `grow_by` more every `grow_every` meta-steps, to `max_steps` (4.2)."""

    steps: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(128, ge=1)
    query_size: int = Field(256, ge=1)
    replicas: int = Field(1, ge=1)
    grow_by: int = Field(0, ge=0)
    grow_every: int = Field(0, ge=0)
    max_steps: int | None = Field(None, ge=1)

    @property
    def longest(self) -> int:
        return self.max_steps or self.steps

    def length(self, meta_step: int) -> int:
        """Unroll length at a meta-step."""
        grown = self.grow_by * (meta_step // self.grow_every) if self.grow_every else 0
        return min(self.steps + grown, self.longest)


class TrainingSpec(_Spec):
    """Adam through the unrolled learning, `genomes` side by side; `screen` random ones are tried first."""

    meta_steps: int = Field(300, ge=0)
    genomes: int = Field(3, ge=1)
    screen: int = Field(0, ge=0)
    learning_rate: float = Field(1e-2, gt=0)
    final_learning_rate: float | None = Field(None, gt=0)
    clip: float = Field(10.0, gt=0)
    interval: int = Field(10, ge=1)
    validate_every: int = Field(50, ge=1)
    validation_episodes: int = Field(8, ge=1)
    replace: int = Field(0, ge=0)


class TransferSpec(_Spec):
    """The final test: curves on `topologies` beside gradient descent by the optimisers of `baselines`, over `seeds`."""

    topologies: list[str] = []
    tasks: list[str] = []
    at: list[int] = [0, 1, 2, 5, 10, 20, 50]
    seeds: int = Field(5, ge=1)
    batch_size: int = Field(128, ge=1)
    query_size: int = Field(512, ge=1)
    baselines: list[Literal["sgd", "momentum", "adam"]] = ["sgd", "momentum", "adam"]
    validation_seeds: int = Field(3, ge=1)


class ExperimentSpec(_Spec):
    """A whole experiment: what is learned, on what, how, and what is tested at the end."""

    name: str = Field("experiment", min_length=1, max_length=100)
    description: str = ""
    seed: int = Field(0, ge=0)
    rule: dict[str, Any] = {}
    start: StartSpec = StartSpec()
    problems: list[ProblemSpec] = Field(min_length=1)
    unroll: UnrollSpec = UnrollSpec()
    training: TrainingSpec = TrainingSpec()
    transfer: TransferSpec = TransferSpec()


def experiment_names() -> list[str]:
    """Names of the experiments shipped with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_experiment(source: str | Path, overrides: tuple[str, ...] = ()) -> ExperimentSpec:
    """Read an experiment file, or a shipped experiment by name.

    Args:
      source: path or name.
      overrides: `training.meta_steps=50` and the like; values are read as YAML.

    Raises:
      SpecError: every fault of the file, with its line.
      ExperimentError: no such file or name, or an override that fits nothing.
    """
    path = Path(source)
    if not path.exists() and not path.suffix:
        if path.name not in experiment_names():
            close = difflib.get_close_matches(path.name, experiment_names(), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            names = ", ".join(experiment_names())
            raise ExperimentError(f"{source}: no such file, and no shipped experiment; there are: {names}{hint}")
        path = SHIPPED / f"{path.name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    tree = parse_yaml(text, str(path))
    data = tree.plain()
    for override in overrides:
        _override(data, override)
    return _validate(data, str(path), tree)


def _override(data: Any, override: str) -> None:
    place, equals, text = override.partition("=")
    if not equals or not place:
        raise ExperimentError(f"--set {override}: expected key=value, such as training.meta_steps=50")
    *above, last = place.split(".")
    for step in above:
        if isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        elif isinstance(data, dict):
            data = data.setdefault(step, {})
        else:
            raise ExperimentError(f"--set {override}: nothing at {step!r}")
    try:
        value = parse_yaml(text, f"--set {override}").plain()
    except SpecError as error:
        raise ExperimentError(f"--set {override}: {error}") from error
    if isinstance(data, list) and last.isdigit() and int(last) < len(data):
        data[int(last)] = value
    elif isinstance(data, dict):
        data[last] = value
    else:
        raise ExperimentError(f"--set {override}: nothing at {last!r}")


def _validate(data: Any, path: str, tree: Node | None) -> ExperimentSpec:
    source = Source(path, tree)
    try:
        return ExperimentSpec.model_validate(data)
    except ValidationError as error:
        faults: list[Fault] = []
        for detail in error.errors(include_url=False):
            location = tuple(detail["loc"])
            if detail["type"] == "extra_forbidden":
                allowed = _allowed(location[:-1])
                close = difflib.get_close_matches(str(location[-1]), allowed, 1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                faults.append(source.fault(f"unknown key{hint}; allowed: {', '.join(allowed)}.", location, key=True))
            elif detail["type"] == "missing":
                faults.append(source.fault(f"missing key `{location[-1]}`.", location[:-1]))
            else:
                faults.append(source.fault(fault_message(detail), location))
        raise SpecError(sorted(faults, key=lambda f: (f.line or 0, f.column or 0))) from error


def _allowed(location: tuple[Any, ...]) -> list[str]:
    model: Any = ExperimentSpec
    nested = {
        "start": StartSpec,
        "problems": ProblemSpec,
        "unroll": UnrollSpec,
        "training": TrainingSpec,
        "transfer": TransferSpec,
    }
    for step in location:
        model = nested.get(step, model)
    return list(model.model_fields)


def dump_experiment(spec: ExperimentSpec) -> str:
    """The resolved experiment as YAML text."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
