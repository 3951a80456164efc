"""What an experiment file may say. Every fault is told at once, with file:line, as in topology files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from neurograph.documents import Node, Source, fault_message, parse_yaml
from neurograph.errors import ExperimentError, Fault, SpecError

__all__ = ["ExperimentSpec", "experiment_names", "load_experiment"]

SHIPPED = Path(__file__).parent / "shipped"


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
    """Inner loop: `steps` batches of `batch_size`; `grow_by` more every `grow_every` meta-steps, to `max_steps` (4.2).

    Judged on `query_batches` batches of `query_size` rows. `truncation` cuts it into windows that meta-steps go through one by
    one; `loss` says what counts: the query after the last step, after all `steps`, or after all `truncations`.
    """

    steps: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(128, ge=1)
    query_size: int = Field(256, ge=1)
    query_batches: int = Field(1, ge=1)
    replicas: int = Field(1, ge=1)
    grow_by: int = Field(0, ge=0)
    grow_every: int = Field(0, ge=0)
    max_steps: int | None = Field(None, ge=1)
    truncation: int | None = Field(None, ge=1)
    loss: Literal["final", "steps", "truncations"] | None = None

    @model_validator(mode="after")
    def _whole(self) -> UnrollSpec:
        for name, value in (("steps", self.steps), ("grow_by", self.grow_by), ("max_steps", self.longest)):
            if self.truncation and value % self.truncation:
                raise ValueError(f"truncation: {self.truncation} does not divide {name}: {value}")
        if self.longest < self.steps:
            raise ValueError(f"max_steps: {self.longest} is less than steps: {self.steps}")
        return self

    @property
    def counted(self) -> str:
        """The loss: every truncation's where there are any, unless the experiment says otherwise."""
        return self.loss or ("truncations" if self.truncation else "final")

    @property
    def longest(self) -> int:
        return self.max_steps or self.steps

    def length(self, meta_step: int) -> int:
        """Unroll length at a meta-step."""
        grown = self.grow_by * (meta_step // self.grow_every) if self.grow_every else 0
        return min(self.steps + grown, self.longest)


class _TrainingSpec(_Spec):
    """What all methods share. `screen` start genomes are tried, the best are taken; `keep`: the result is of which validation."""

    meta_steps: int = Field(300, ge=0)
    screen: int = Field(0, ge=0)
    validation_episodes: int = Field(8, ge=1)
    keep: Literal["last", "best"] = "last"

    @property
    def open_ended(self) -> bool:
        """Whether no meta-step depends on how many there will be, so that a finished run can be prolonged."""
        return getattr(self, "final_learning_rate", None) is None and not getattr(self, "replace", 0)


class GradientSpec(_TrainingSpec):
    """Adam through the unrolled learning, `genomes` side by side."""

    method: Literal["gradient"] = "gradient"
    genomes: int = Field(3, ge=1)
    learning_rate: float = Field(1e-2, gt=0)
    final_learning_rate: float | None = Field(None, gt=0)
    clip: float = Field(10.0, gt=0)
    interval: int = Field(10, ge=1)
    validate_every: int = Field(50, ge=1)
    replace: int = Field(0, ge=0)


class PESSpec(_TrainingSpec):
    """Persistent evolution strategies: `population` particles per genome, each a window of its episode further per meta-step."""

    method: Literal["pes"]
    genomes: int = Field(1, ge=1)
    population: int = Field(40, ge=2)
    sigma: float = Field(0.05, gt=0)
    fields: list[str] | None = None
    scales: dict[str, float] = {}
    learning_rate: float = Field(1e-2, gt=0)
    final_learning_rate: float | None = Field(None, gt=0)
    clip: float = Field(10.0, gt=0)
    interval: int = Field(10, ge=1)
    validate_every: int = Field(50, ge=1)
    replace: int = Field(0, ge=0)


class _EvolutionSpec(_TrainingSpec):
    """A strategy over vectors; a meta-step is a generation, the result is the mean genome."""

    meta_steps: int = Field(100, ge=0)
    population: int = Field(80, ge=2)
    episodes: int = Field(1, ge=1)
    fitness: Literal["accuracy", "loss"] = "accuracy"
    fields: list[str] | None = None
    scales: dict[str, float] = {}
    interval: int = Field(1, ge=1)
    validate_every: int = Field(10, ge=1)

    @property
    def genomes(self) -> int:
        return 1

    @property
    def replace(self) -> int:
        return 0


class CMASpec(_EvolutionSpec):
    """Covariance matrix adaptation (section 4.4)."""

    method: Literal["cma"]
    sigma: float = Field(0.3, gt=0)

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        return ()


class ESSpec(_EvolutionSpec):
    """Antithetic evolution strategy with ranks and Adam."""

    method: Literal["es"]
    sigma: float = Field(0.1, gt=0)
    learning_rate: float = Field(0.05, gt=0)

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        return (("learning_rate", self.learning_rate),)

    @model_validator(mode="after")
    def _pairs(self) -> ESSpec:
        if self.population % 2:
            raise ValueError(f"population: {self.population} is odd; method es needs mirrored pairs")
        return self


METHODS: dict[str, type[_TrainingSpec]] = {"gradient": GradientSpec, "cma": CMASpec, "es": ESSpec, "pes": PESSpec}


def _method(training: Any) -> str | None:
    """What a `training` block says; gradient if it says nothing."""
    if isinstance(training, Mapping):
        method = training.get("method", "gradient")
        return method if isinstance(method, str) else repr(method)
    return getattr(training, "method", None)


TrainingSpec = Annotated[
    Annotated[GradientSpec, Tag("gradient")]
    | Annotated[CMASpec, Tag("cma")]
    | Annotated[ESSpec, Tag("es")]
    | Annotated[PESSpec, Tag("pes")],
    Discriminator(_method),
]


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
    """A whole experiment: what is learned, on what, how, and what is tested at the end.

    `devices` share a population; `tensorboard` writes event files as well.
    """

    name: str = Field("experiment", min_length=1, max_length=100)
    description: str = ""
    seed: int = Field(0, ge=0)
    rule: dict[str, Any] = {}
    start: StartSpec = StartSpec()
    problems: list[ProblemSpec] = Field(min_length=1)
    unroll: UnrollSpec = UnrollSpec()
    training: TrainingSpec = GradientSpec()
    transfer: TransferSpec = TransferSpec()
    devices: int | None = Field(None, ge=1)
    tensorboard: bool = False

    @model_validator(mode="after")
    def _sensible(self) -> ExperimentSpec:
        unroll, method = self.unroll, self.training.method
        if unroll.truncation and method in ("cma", "es"):
            raise ValueError(f"unroll.truncation: has no meaning for training.method: {method}, which judges whole episodes")
        if method == "pes" and unroll.grow_every and not unroll.truncation:
            raise ValueError("unroll.grow_every: with training.method: pes it needs unroll.truncation, the steps of a window")
        return self


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
            method = location[1] if location[:1] == ("training",) and len(location) > 1 else ""
            location = location[:1] + location[2:] if method in METHODS else location  # the tag stands in no document
            if detail["type"] == "union_tag_invalid":
                got = detail["ctx"]["tag"]
                close = difflib.get_close_matches(got, METHODS, 1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                message = f"got {got!r}; allowed: {', '.join(METHODS)}{hint}."
                faults.append(source.fault(message, ("training", "method")))
            elif detail["type"] == "union_tag_not_found":
                faults.append(source.fault(f"got {detail['input']!r}; expected a mapping.", location))
            elif detail["type"] == "extra_forbidden":
                allowed = _allowed(location[:-1], str(method))
                close = difflib.get_close_matches(str(location[-1]), allowed, 1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                what = f"unknown key for method {method!r}{hint}" if method else f"unknown key{hint}"
                faults.append(source.fault(f"{what}; allowed: {', '.join(allowed)}.", location, key=True))
            elif detail["type"] == "missing":
                faults.append(source.fault(f"missing key `{location[-1]}`.", location[:-1]))
            else:
                faults.append(source.fault(fault_message(detail), location))
        raise SpecError(sorted(faults, key=lambda f: (f.line or 0, f.column or 0))) from error


def _allowed(location: tuple[Any, ...], method: str) -> list[str]:
    model: Any = ExperimentSpec
    nested = {
        "start": StartSpec,
        "problems": ProblemSpec,
        "unroll": UnrollSpec,
        "training": METHODS.get(method, GradientSpec),
        "transfer": TransferSpec,
    }
    for step in location:
        model = nested.get(step, model)
    return list(model.model_fields)


def dump_experiment(spec: ExperimentSpec) -> str:
    """The resolved experiment as YAML text."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
