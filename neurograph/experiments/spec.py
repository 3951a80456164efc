"""The language of experiment files. A fault is reported with its file and line, all of them at once."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import core_schema

from neurograph.documents import Node, Source, fault_message, named_file, parse_yaml, shown, suggestion
from neurograph.errors import ExperimentError, Fault, SpecError
from neurograph.experiments.loggers import LoggerName
from neurograph.topology.language.families import FAMILIES, Family

if TYPE_CHECKING:
    from neurograph.genome import Rule
    from neurograph.meta import PES, EvolutionOptimizer, GradientOptimizer

__all__ = ["FREE", "ExperimentSpec", "experiment_names", "load_experiment", "make_experiment"]

SHIPPED = Path(__file__).parent / "shipped"

RECIPE = "digits"
"""The shipped experiment whose rule and start a file has that says neither."""

FREE = {"transfer", "devices", "tensorboard", "loggers"}
"""Keys that may differ between a run and its continuation: the final test, the devices, where else metrics go."""


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class StartSpec(_Spec):
    """The start of the search: `genome` (file or zoo name), or a kind with a spread; `arrays` overrides single arrays."""

    kind: Literal["near_backprop", "random"] = "near_backprop"
    spread: float | None = Field(default=None, ge=0)
    arrays: dict[str, Any] = {}
    genome: str | None = None


class _ByFamily:
    """Reads a family of random graphs by its name, or a mapping with `family` and ranges: the words of `topology sample`."""

    @staticmethod
    def named(family: Any) -> str | None:
        name = family.get("family") if isinstance(family, Mapping) else getattr(family, "name", None)
        return name if name is None or isinstance(name, str) else repr(name)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        choices = {name: handler.generate_schema(family) for name, family in FAMILIES.items()}
        return core_schema.no_info_before_validator_function(
            lambda given: {"family": given} if isinstance(given, str) else given,
            core_schema.tagged_union_schema(choices, self.named, strict=False),
        )


class RandomSpec(_Spec):
    """Random graphs of `families` (default: all that the task allows), `graphs` fresh ones in every meta-step.

    Validation has `validation_graphs` of its own, always the same. `size_classes` is the most programs that are compiled.
    """

    families: list[Annotated[Family, _ByFamily()]] | None = Field(default=None, min_length=1)
    graphs: int = Field(default=4, ge=1)
    validation_graphs: int = Field(default=8, ge=1)
    size_classes: int = Field(default=2, ge=1)


class DrawnSpec(_Spec):
    """A topology that is drawn."""

    random: RandomSpec

    @model_validator(mode="before")
    @classmethod
    def _all_families(cls, given: Any) -> Any:
        return {**given, "random": {}} if isinstance(given, Mapping) and given.get("random", 0) is None else given

    def __str__(self) -> str:
        families = self.random.families
        return "random" if families is None else f"random ({', '.join(dict.fromkeys(family.name for family in families))})"


class ProblemSpec(_Spec):
    """A task by name with its options, on a topology: a file, a shipped one's name, layer widths (2-20-2), or random graphs."""

    task: str
    topology: Annotated[
        Annotated[str, Tag("file")] | Annotated[DrawnSpec, Tag("drawn")],
        Discriminator(lambda given: "file" if isinstance(given, str) else "drawn"),
    ]
    options: dict[str, Any] = {}


class UnrollSpec(_Spec):
    """The inner loop: `steps` batches of `batch_size`, and `grow_by` more every `grow_every` meta-steps, up to `max_steps` (4.2).

    With `least_steps` every meta-step draws how many steps it has, from these to `steps`, evenly on a logarithmic scale.
    It is judged on `query_batches` batches of `query_size` rows. `truncation` cuts it into windows that meta-steps go through one
    by one. `loss` names the queries that count: the one after the last step, after all `steps`, or after all `truncations`;
    `judged_at` says after which steps instead, as far as an episode goes, and its last counts as well.
    """

    steps: int = Field(default=10, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1)
    query_size: int = Field(default=256, ge=1)
    query_batches: int = Field(default=1, ge=1)
    replicas: int = Field(default=1, ge=1)
    grow_by: int = Field(default=0, ge=0)
    grow_every: int = Field(default=0, ge=0)
    max_steps: int | None = Field(default=None, ge=1)
    truncation: int | None = Field(default=None, ge=1)
    loss: Literal["final", "steps", "truncations"] | None = None
    least_steps: int | None = Field(default=None, ge=1)
    judged_at: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> UnrollSpec:
        for name, value in (("steps", self.steps), ("grow_by", self.grow_by), ("max_steps", self.longest)):
            if self.truncation and value % self.truncation:
                raise ValueError(f"truncation: {self.truncation} does not divide {name}: {value}")
        if self.longest < self.steps:
            raise ValueError(f"max_steps: {self.longest} is less than steps: {self.steps}")
        if self.least_steps and self.least_steps > self.steps:
            raise ValueError(f"least_steps: {self.least_steps} is more than steps: {self.steps}")
        if self.least_steps and self.truncation:
            raise ValueError("least_steps: does not go with truncation, whose episodes outlast a meta-step")
        if self.judged_at and self.truncation:
            raise ValueError("judged_at: does not go with truncation, where every window has a query of its own")
        if self.judged_at and self.loss:
            raise ValueError(f"judged_at: says which queries count, and so does loss: {self.loss}; expected one of them")
        if self.judged_at and (self.judged_at != sorted(set(self.judged_at)) or self.judged_at[-1] > self.longest):
            raise ValueError(f"judged_at: got {self.judged_at}; expected ascending step counts up to {self.longest}")
        return self

    @property
    def counted(self) -> str:
        """The queries that count: those after every truncation where there are any, unless the experiment says otherwise."""
        return self.loss or ("truncations" if self.truncation else "final")

    @property
    def longest(self) -> int:
        return self.max_steps or self.steps

    def length(self, meta_step: int) -> int:
        """Returns the unroll length at a meta-step."""
        grown = self.grow_by * (meta_step // self.grow_every) if self.grow_every else 0
        return min(self.steps + grown, self.longest)

    def drawn_length(self, meta_step: int, seed: int) -> int:
        """Returns the number of steps of a meta-step: `length`, or drawn from `least_steps` to that."""
        longest = self.length(meta_step)
        if self.least_steps is None:
            return longest
        # A word of its own keeps this stream apart from others of the same seed.
        uniform = random.Random(f"steps {seed} {meta_step}").uniform(math.log(self.least_steps), math.log(longest + 1))
        return min(longest, int(math.exp(uniform)))


class _TrainingSpec(_Spec):
    """The fields that all methods share. A method is one class: its fields, its `optimizer`, and the words about its runs.

    `screen` start genomes are tried and the best are taken; `keep` names the validation that decides the result: the last, or
    the best.
    """

    evolved: ClassVar[bool] = False
    """Whether it searches one mean genome; records then hold the scores of its population."""
    command: ClassVar[str] = "evolve"
    """The command that runs it."""

    method: str
    meta_steps: int = Field(default=300, ge=0)
    screen: int = Field(default=0, ge=0)
    validation_episodes: int = Field(default=8, ge=1)
    keep: Literal["last", "best"] = "last"

    @property
    def open_ended(self) -> bool:
        """Whether no meta-step depends on their number, so that a finished run can be prolonged."""
        return True

    @property
    def crowd(self) -> str:
        """The population of a genome in words, "" without one."""
        return ""

    def check(self, unroll: UnrollSpec) -> None:
        """Accepts the inner loop, or raises a ValueError that names what the method cannot do."""


class _AdamSpec(_TrainingSpec):
    """Adam on meta-gradients of `genomes` searches side by side, of which the `replace` worst go on from the best."""

    genomes: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    final_learning_rate: float | None = Field(default=None, gt=0)
    clip: float = Field(default=10.0, gt=0)
    interval: int = Field(default=10, ge=1)
    validate_every: int = Field(default=50, ge=1)
    replace: int = Field(default=0, ge=0)

    @property
    def open_ended(self) -> bool:
        return self.final_learning_rate is None and not self.replace

    @property
    def adam(self) -> tuple[float, float | None, int, float]:
        """Learning rate, final learning rate, meta-steps between them, largest norm."""
        return self.learning_rate, self.final_learning_rate, max(self.meta_steps, 1), self.clip


class _SearchSpec(_TrainingSpec):
    """A search of the arrays `fields` of a genome, each in units of its scale; by default all that have an effect."""

    fields: list[str] | None = None
    scales: dict[str, float] = {}

    def searched(self, rule: Rule) -> tuple[tuple[str, ...], tuple[tuple[str, float], ...]]:
        """Fields and their scales."""
        from neurograph.genome import effective_fields

        # A product's gate does what its matrices can do as well, and runs of older versions had none.
        known = tuple(name for name in effective_fields(rule) if name != "backward_keep")
        fields = known if self.fields is None else tuple(self.fields)
        return fields, tuple(self.scales.items())


class GradientSpec(_AdamSpec):
    """Adam through the unrolled learning, `genomes` side by side."""

    command: ClassVar[str] = "meta-train"
    method: Literal["gradient"] = "gradient"
    genomes: int = Field(default=3, ge=1)

    def optimizer(self, rule: Rule, seed: int) -> GradientOptimizer:
        from neurograph.meta import GradientOptimizer

        return GradientOptimizer(*self.adam)


class PESSpec(_SearchSpec, _AdamSpec):
    """Persistent evolution strategies: `population` particles per genome, each a window of its episode further per meta-step."""

    method: Literal["pes"]
    population: int = Field(default=40, ge=2)
    sigma: float = Field(default=0.05, gt=0)

    @property
    def crowd(self) -> str:
        return f"{self.population} particles each"

    def optimizer(self, rule: Rule, seed: int) -> PES:
        from neurograph.meta import PES

        return PES(self.population, self.sigma, *self.searched(rule), *self.adam)


class _EvolutionSpec(_SearchSpec):
    """A strategy over vectors; a meta-step is a generation, the result is the mean genome."""

    evolved: ClassVar[bool] = True

    meta_steps: int = Field(default=100, ge=0)
    population: int = Field(default=80, ge=2)
    episodes: int = Field(default=1, ge=1)
    fitness: Literal["accuracy", "loss"] = "accuracy"
    interval: int = Field(default=1, ge=1)
    validate_every: int = Field(default=10, ge=1)

    @property
    def genomes(self) -> int:
        """One: the mean."""
        return 1

    @property
    def replace(self) -> int:
        """None is replaced."""
        return 0

    @property
    def crowd(self) -> str:
        return f"population {self.population}"

    def check(self, unroll: UnrollSpec) -> None:
        if unroll.truncation:
            raise ValueError(f"unroll.truncation: has no meaning for training.method: {self.method}, which judges whole episodes")

    def _evolution(self, rule: Rule, seed: int, sigma: float, **options: Any) -> EvolutionOptimizer:
        from neurograph.meta import EvolutionOptimizer

        judged = (self.episodes, self.fitness, tuple(options.items()))
        return EvolutionOptimizer(self.method, self.population, sigma, seed, *self.searched(rule), *judged)


class CMASpec(_EvolutionSpec):
    """Covariance matrix adaptation (section 4.4)."""

    method: Literal["cma"]
    sigma: float = Field(default=0.3, gt=0)

    def optimizer(self, rule: Rule, seed: int) -> EvolutionOptimizer:
        return self._evolution(rule, seed, self.sigma)


class ESSpec(_EvolutionSpec):
    """Antithetic evolution strategy with ranks and Adam."""

    method: Literal["es"]
    sigma: float = Field(default=0.1, gt=0)
    learning_rate: float = Field(default=0.05, gt=0)

    def optimizer(self, rule: Rule, seed: int) -> EvolutionOptimizer:
        return self._evolution(rule, seed, self.sigma, learning_rate=self.learning_rate)

    @model_validator(mode="after")
    def _pairs(self) -> ESSpec:
        if self.population % 2:
            raise ValueError(f"population: {self.population} is odd; method es needs mirrored pairs")
        return self


# The only list of all methods.
Method = GradientSpec | CMASpec | ESSpec | PESSpec

METHODS: dict[str, type[Method]] = {get_args(spec.model_fields["method"].annotation)[0]: spec for spec in get_args(Method)}

EVOLVED = ", ".join(name for name, method in METHODS.items() if method.command == "evolve")
"""The methods that `evolve` runs, in words."""


class _ByMethod:
    """Reads a `training` block by its method, which is gradient by default."""

    @staticmethod
    def named(training: Any) -> str | None:
        if isinstance(training, Mapping):
            method = training.get("method", "gradient")
            return method if isinstance(method, str) else repr(method)
        return getattr(training, "method", None)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        choices = {name: handler.generate_schema(spec) for name, spec in METHODS.items()}
        return core_schema.tagged_union_schema(choices, self.named)


class TransferSpec(_Spec):
    """The final test: curves on `topologies` beside gradient descent by the optimisers of `baselines`, over `seeds`."""

    topologies: list[str] = []
    tasks: list[str] = []
    at: list[int] = [0, 1, 2, 5, 10, 20, 50]
    seeds: int = Field(default=5, ge=1)
    batch_size: int = Field(default=128, ge=1)
    query_size: int = Field(default=512, ge=1)
    baselines: list[Literal["sgd", "momentum", "adam"]] = ["sgd", "momentum", "adam"]
    validation_seeds: int = Field(default=3, ge=1)


class ExperimentSpec(_Spec):
    """A whole experiment: rule and start, problems, inner loop, meta-training, and the final test.

    `devices` share a population; `loggers` get the metrics too; `tensorboard` is the older word for the first of them.
    """

    name: str = Field("experiment", min_length=1, max_length=100)
    description: str = ""
    seed: int = Field(default=0, ge=0)
    rule: dict[str, Any] = {}
    start: StartSpec = StartSpec()
    problems: list[ProblemSpec] = Field(min_length=1)
    unroll: UnrollSpec = UnrollSpec()
    training: Annotated[Method, _ByMethod()] = GradientSpec()
    transfer: TransferSpec = TransferSpec()
    devices: int | None = Field(default=None, ge=1)
    tensorboard: bool = False
    loggers: list[LoggerName] = []

    _before: ExperimentSpec | None = PrivateAttr(default=None)
    """Of a file without rule and start: what it meant to versions that did not give it those of `RECIPE`."""

    @model_validator(mode="after")
    def _sensible(self) -> ExperimentSpec:
        self.training.check(self.unroll)
        return self

    @property
    def logger_names(self) -> list[str]:
        """Each logger that the experiment names, once."""
        return list(dict.fromkeys([*(["tensorboard"] if self.tensorboard else []), *self.loggers]))

    def __eq__(self, other: object) -> bool:
        """Returns whether both say the same; what a file meant to older versions does not count."""
        fields = type(self).model_fields
        return isinstance(other, ExperimentSpec) and all(getattr(self, name) == getattr(other, name) for name in fields)

    def as_begun(self, config: Mapping[str, Any]) -> ExperimentSpec:
        """Returns the experiment as the version read it that began a run with this configuration, if that is told by its rule and
        start."""
        before = self._before
        with suppress(ValidationError):
            then = ExperimentSpec.model_validate(dict(config))
            if before and (then.rule, then.start) == (before.rule, before.start):
                return before
        return self


def experiment_names() -> list[str]:
    """Returns the names of the experiments that come with neurograph."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_experiment(
    source: str | Path, overrides: tuple[str, ...] = (), changes: Mapping[str, Any] | None = None
) -> ExperimentSpec:
    """Reads an experiment file, or a shipped experiment by name.

    A file with neither `rule` nor `start` gets those of the shipped experiment `RECIPE`: under the defaults of both nothing is
    learned.

    Args:
      source: path or name.
      overrides: `training.meta_steps=50` and the like; values are read as YAML.
      changes: the same as values by their place, {"training.meta_steps": 50}.

    Raises:
      SpecError: every fault of the file, with its line.
      ExperimentError: there is no such file or name, or an override fits nothing.
    """
    shipped = {name: SHIPPED / f"{name}.yaml" for name in experiment_names()}
    path = named_file(source, shipped, "experiment", ExperimentError)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    tree = parse_yaml(text, str(path))
    return _made(tree.plain(), overrides, changes or {}, str(path), tree)


def make_experiment(document: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> ExperimentSpec:
    """Returns the experiment of a mapping with the content of an experiment file; `changes` as in `load_experiment`.

    Raises:
      SpecError: every fault, with its place.
      ExperimentError: a change fits nothing.
    """
    return _made(dict(document), (), changes or {}, "experiment", None)


def _made(data: Any, overrides: tuple[str, ...], changes: Mapping[str, Any], path: str, tree: Node | None) -> ExperimentSpec:
    """Returns the experiment of a document after changes, with the rule and start of `RECIPE` where it has neither."""

    def made(document: Any) -> ExperimentSpec:
        document = copy.deepcopy(document)
        for override in overrides:
            _override(document, override)
        for place, value in changes.items():
            _put(document, place, value, f"changes[{place!r}]")
        return _validate(document, path, tree)

    before = made(data)
    if not isinstance(data, dict) or {"rule", "start"} & data.keys() or before.start.genome:
        return before
    recipe = parse_yaml((SHIPPED / f"{RECIPE}.yaml").read_text(encoding="utf-8"), RECIPE).plain()
    spec = made({key: recipe[key] for key in ("rule", "start")} | data)
    spec._before = before
    return spec


def _override(data: Any, override: str) -> None:
    place, equals, text = override.partition("=")
    if not equals or not place:
        raise ExperimentError(f"--set {override}: expected key=value, such as training.meta_steps=50")
    try:
        value = parse_yaml(text, f"--set {override}").plain()
    except SpecError as error:
        raise ExperimentError(f"--set {override}: {error}") from error
    _put(data, place, value, f"--set {override}")


def _put(data: Any, place: str, value: Any, what: str) -> None:
    """Sets a value at a place such as `training.meta_steps`; mappings on the way are made."""
    *above, last = place.split(".")
    for step in above:
        if isinstance(data, list) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        elif isinstance(data, dict):
            data = data.setdefault(step, {})
        else:
            raise ExperimentError(f"{what}: nothing at {step!r}")
    if isinstance(data, list) and last.isdigit() and int(last) < len(data):
        data[int(last)] = value
    elif isinstance(data, dict):
        data[last] = value
    else:
        raise ExperimentError(f"{what}: nothing at {last!r}")


def _validate(data: Any, path: str, tree: Node | None) -> ExperimentSpec:
    try:
        return ExperimentSpec.model_validate(data)
    except ValidationError as error:
        source = Source(path, tree)
        faults = [_fault(source, detail) for detail in error.errors(include_url=False)]
        raise SpecError(sorted(faults, key=lambda f: (f.line or 0, f.column or 0))) from error


def _fault(source: Source, detail: Any) -> Fault:
    location, owner, model = _place(tuple(detail["loc"]))
    kind = detail["type"]
    if kind == "union_tag_invalid":
        got, tag = str(detail["ctx"]["tag"]), ("method",) if location == ("training",) else ()
        return source.fault(f"got {got[:60]!r}{suggestion(got, METHODS if tag else FAMILIES)}", (*location, *tag))
    if kind == "union_tag_not_found":
        expected = "a mapping" if location == ("training",) else "the name of a family, or a mapping with `family`"
        return source.fault(f"got {shown(detail['input'])}; expected {expected}.", location)
    if kind == "extra_forbidden":
        what = f"unknown key for {owner}" if owner else "unknown key"
        return source.fault(f"{what}{suggestion(str(location[-1]), model.model_fields)}", location, key=True)
    if kind == "missing":
        return source.fault(f"missing key `{location[-1]}`.", location[:-1])
    if location[2:] == ("topology",) and kind.startswith("model_"):
        expected = "a file, the name of a topology, layer widths such as 2-20-2, or {random: ...}"
        return source.fault(f"got {shown(detail['input'])}; expected {expected}.", location)
    return source.fault(fault_message(detail), location)


def _place(location: tuple[Any, ...]) -> tuple[tuple[Any, ...], str, Any]:
    """Returns the location without the tags that pydantic adds, and whose key it is: in words, where there are several, and the
    model."""
    nested = {"start": StartSpec, "problems": ProblemSpec, "unroll": UnrollSpec, "transfer": TransferSpec}
    model: Any = nested.get(location[0], ExperimentSpec) if len(location) > 1 else ExperimentSpec
    if location[:1] == ("training",) and len(location) > 1:
        if location[1] not in METHODS:
            return location, "", GradientSpec
        return (location[0], *location[2:]), f"method {location[1]!r}", METHODS[location[1]]
    if model is not ProblemSpec or location[3:4] not in (("file",), ("drawn",)):
        return location, "", model
    model = {4: ProblemSpec, 5: DrawnSpec}.get(len(location), RandomSpec) if location[3:4] == ("drawn",) else ProblemSpec
    location = (*location[:3], *location[4:])
    if location[4:5] == ("families",) and location[6:7] and location[6] in FAMILIES:
        return (*location[:6], *location[7:]), f"family {location[6]!r}", FAMILIES[location[6]]
    return location, "", model


def dump_experiment(spec: ExperimentSpec) -> str:
    """Returns the resolved experiment as YAML text."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
