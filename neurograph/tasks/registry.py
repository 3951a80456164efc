"""Names of tasks. Free of JAX, so that listing them is instant; a task's module is imported when the task is asked for."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from neurograph.documents import parse_yaml, shown, suggestion
from neurograph.errors import SpecError, TaskError

if TYPE_CHECKING:
    from neurograph.tasks.base import Task

__all__ = [
    "FIGURE_3_HELD_OUT",
    "FIGURE_3_TRAIN",
    "TaskEntry",
    "get_task",
    "read_options",
    "read_task",
    "register_task",
    "schemes",
    "task_entry",
    "task_names",
]

F = TypeVar("F", bound=Callable[..., Any])

FIGURE_3_TRAIN = ("xor", "and", "moons", "center_circle", "small_center_circle", "slice")
"""Figures 3 and 4: the functions of meta-training that the paper shows ("several others" of section 4.1 are not named)."""

FIGURE_3_HELD_OUT = ("blobs5", "cross", "triangle")
"""Figures 3 and 4: the functions kept for validation (MNIST as well)."""


@dataclass(frozen=True)
class TaskEntry:
    """One name of the registry.

    Attributes:
      name: what `get_task` is asked for.
      factory: callable that makes the task, or "module:attribute" imported on first use.
      summary: one line.
      kind: heading in lists: "function", "embedded data", "tensorflow-datasets", "your own".
      preset: arguments fixed by the name; a user's option of the same name takes precedence unless it is in `fixed`.
      fixed: presets that are no options.
      rest: "module:attribute" of a function whose keyword options the factory takes as well.
    """

    name: str
    factory: Callable[..., Any] | str
    summary: str = ""
    kind: str = "your own"
    preset: Mapping[str, Any] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    rest: str = ""

    def resolve(self) -> Callable[..., Any]:
        return self.factory if callable(self.factory) else _imported(self.factory)

    def options(self) -> dict[str, inspect.Parameter]:
        """The options a user may give, in order."""
        parameters = dict(inspect.signature(self.resolve()).parameters)
        if self.rest:
            more = inspect.signature(_imported(self.rest)).parameters
            parameters |= {name: p for name, p in more.items() if p.kind is p.KEYWORD_ONLY and name not in (*_DATA, *parameters)}
        return {
            name: parameter.replace(default=self.preset.get(name, parameter.default))
            for name, parameter in parameters.items()
            if name not in self.fixed and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that are given: None is not, where it means nothing to an option."""
        known = self.options()
        return {name: value for name, value in options.items() if value is not None or _takes_none(known.get(name))}


_DATA = ("name", "x_test", "labels_test")  # options of Python alone


def _imported(place: str) -> Callable[..., Any]:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _function(name: str, attribute: str, summary: str, fixed: tuple[str, ...] = (), **preset: Any) -> TaskEntry:
    return TaskEntry(name, f"neurograph.tasks.functions:{attribute}", summary, "function", preset, fixed)


def _plain(name: str, summary: str) -> TaskEntry:
    return _function(name, "plain", summary, fixed=("rule",), rule=name)


def _images(name: str, summary: str, **preset: Any) -> TaskEntry:
    preset.setdefault("dataset", name)
    return TaskEntry(name, "neurograph.tasks.tfds.datasets:images", summary, "tensorflow-datasets", preset, ("dataset",))


def _omniglot(name: str, summary: str, **preset: Any) -> TaskEntry:
    return TaskEntry(name, "neurograph.tasks.tfds.datasets:omniglot", summary, "tensorflow-datasets", preset)


_ENTRIES: dict[str, TaskEntry] = {}
for _entry in (
    _plain("and", "x0 > 0 and x1 > 0"),
    _plain("or", "x0 > 0 or x1 > 0"),
    _plain("xor", "x0 and x1 have the same sign (the authors' convention)"),
    _plain("nxor", "x0 and x1 have different signs"),
    _plain("qand", "the quadrant x0 < 0 < x1"),
    _function("random_xor", "random_xor", "xor of a random projection, fresh per episode"),
    _function("fixed_random_xor", "random_xor", "xor of one fixed random projection", seed=0),
    _function("circle", "circle", "inside of a circle, drawn per episode"),
    _function("center_circle", "circle", "inside of a circle about the origin", center=(0.0, 0.0), radius=0.7),
    _function("small_center_circle", "circle", "inside of a small circle about the origin", center=(0.0, 0.0), radius=0.4),
    _function("moons", "moons", "two half moons"),
    _function("rotated_moons", "rotated_moons", "two half moons, turned by an angle drawn per episode"),
    _function("square", "squares", "inside of a square"),
    _function("squares", "squares", "inside of either of two squares", centers=((-0.5, -0.5), (0.5, 0.5)), size=0.3),
    _function("cross", "cross", "on a cross"),
    _plain("triangle", "inside of a triangle"),
    _function("slice", "angular_slice", "an angular slice"),
    _function("blobs", "blobs", "Gaussian blobs around centres drawn per episode"),
    *(
        _function(f"blobs{n}", "blobs", f"{n} Gaussian blobs, one class each", fixed=("classes",), classes=n)
        for n in (2, 3, 4, 5)
    ),
    _function("concentric_circles", "concentric_circles", "four rings, one class each"),
    _plain("random_labels", "labels by coin toss: a control, nothing to learn"),
    _function("sine", "sine", "regression: one sine wave, its amplitude drawn per episode"),
    TaskEntry("digits", "neurograph.tasks.embedded:digits", "scikit-learn's 8x8 digits, no download", "embedded data"),
    _images("mnist", "handwritten digits, 28x28"),
    _images("mnist/10x10", "MNIST cropped to 20x20 and resized to 10x10 (section 4.2)", dataset="mnist", crop=20, size=10),
    _images("mnist/0-4", "the half of MNIST with digits 0 to 4 (section 4.2)", dataset="mnist", classes="0-4"),
    _images("mnist/5-9", "the half of MNIST with digits 5 to 9 (section 4.2)", dataset="mnist", classes="5-9"),
    _images("fashion_mnist", "pictures of clothes, 28x28, 10 classes"),
    _images("kmnist", "cursive Japanese characters, 28x28, 10 classes"),
    _images("emnist/byclass", "handwritten digits and letters, 28x28, 62 classes"),
    _images("emnist/letters", "handwritten letters, both cases in one class, 28x28, 26 classes"),
    _images("emnist/balanced", "handwritten digits and letters, 28x28, 47 balanced classes"),
    _images("emnist/digits", "handwritten digits, 28x28, 10 classes"),
    _images("emnist/a-j", "the ten letters A to J of EMNIST byclass (figure 5)", dataset="emnist/byclass", classes="10-19"),
    _omniglot("omniglot", "characters of 50 alphabets, 10 fresh classes per episode; test alphabets are never trained on"),
    _omniglot("omniglot/small", "the same from the two small background sets", splits={"train": "small1", "test": "small2"}),
):
    _ENTRIES[_entry.name] = _entry

_SCHEMES = {
    scheme: TaskEntry(
        f"{scheme}:...",
        f"neurograph.tasks.{target}",
        summary,
        kind,
        fixed=(argument,),
        rest="neurograph.tasks.own_data:from_arrays" if kind == "your own" else "",
    )
    for scheme, target, argument, summary, kind in (
        (
            "tfds",
            "tfds.datasets:images",
            "dataset",
            "any image-classification set of tensorflow-datasets, by its name",
            "tensorflow-datasets",
        ),
        ("npz", "own_data:from_npz", "path", "two arrays of an .npz file", "your own"),
        ("csv", "tables:from_csv", "path", "a CSV file with a column of labels", "your own"),
        ("parquet", "tables:from_parquet", "path", "a Parquet file with a column of labels", "your own"),
        ("folder", "own_data:from_image_folder", "path", "a folder of images, one subfolder per class", "your own"),
    )
}


def task_names() -> tuple[str, ...]:
    """All registered names, in the order of `neurograph task list`.

    Examples:
      >>> import neurograph as ng
      >>> {"xor", "digits", "mnist"} <= set(ng.task_names())
      True
    """
    return tuple(_ENTRIES)


def schemes() -> tuple[TaskEntry, ...]:
    """The entries of the words before a colon: "tfds:...", "csv:...", ..."""
    return tuple(_SCHEMES.values())


def task_entry(name: str) -> TaskEntry:
    """The registry's entry for a name, also for names with a scheme such as "tfds:cifar10" or "csv:flowers.csv".

    Raises:
      TaskError: no such name; lists all names and the closest.
    """
    if name in _ENTRIES:
        return _ENTRIES[name]
    scheme, colon, rest = name.partition(":")
    if colon and scheme in _SCHEMES and rest:
        entry = _SCHEMES[scheme]
        return replace(entry, name=name, preset={**entry.preset, entry.fixed[0]: rest})
    schemes = ", ".join(f"{scheme}:..." for scheme in _SCHEMES)
    hint = suggestion(name.lower(), _ENTRIES)
    raise TaskError(f"no task is called {shown(name)}{hint} Your own data: {schemes}; all names: neurograph task list.")


_OPTION = re.compile(r"""\s+[A-Za-z_]\w*=("[^"]*"(?=\s|$)|'[^']*'(?=\s|$)|.*?)(?=\s+[A-Za-z_]\w*=|\s*$)""", re.DOTALL)
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)
_QUOTED_FIRST = re.compile(r"""(["']).*?\1(?=\s|$)""", re.DOTALL)


def read_task(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a task as text: "mnist size=10 classes=0-4", "csv:my wine.csv label=cultivar".

    A value ends where the next option begins, or stands in quotes. A text that is the path of a file has no options.

    Raises:
      TaskError: as `read_options`.
    """
    scheme, colon, path = text.partition(":")
    own = bool(colon) and scheme in _SCHEMES
    if text in _ENTRIES or (own and os.path.exists(path)):
        return text, {}
    quoted = _QUOTED_FIRST.match(path) if own else None
    found = list(_OPTION.finditer(text, len(scheme) + 1 + quoted.end() if quoted else 0))
    name = text[: found[0].start() if found else None].strip()
    if own:
        name = f"{scheme}:{_unquoted(name[len(scheme) + 1 :].strip())}"
    elif len(words := name.split()) > 1 and words[0] in _ENTRIES:
        raise TaskError(f"task {words[0]!r}: got {words[1]!r}; expected KEY=VALUE, such as size=10.")
    return name, read_options(name, [match[0].strip() for match in found])


def read_options(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Options of a task from words such as "size=10".

    Values are YAML (`size=[28, 20]`); those of options that are text, such as the name of a column, are taken as they stand.

    Raises:
      TaskError: there is no such task, a word is no option, or an option is given twice.
    """
    known = task_entry(name).options() if words else {}
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise TaskError(f"task {name!r}: got {word!r}; expected KEY=VALUE, such as size=10.")
        if key in given:
            raise TaskError(f"task {name!r}: option {key!r} is given twice.")
        given[key] = _value(_unquoted(text), known.get(key))
    return given


def _unquoted(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else text


def _value(text: str, option: inspect.Parameter | None) -> Any:
    kinds = [] if option is None else getattr(option.annotation, "__name__", str(option.annotation)).split(" | ")
    if kinds == ["str"]:
        return text
    if "str" in kinds and text[:1] not in ("[", "{"):  # text, a list or a mapping
        return text or None
    try:
        return parse_yaml(text, "").plain() if text.strip() else None
    except SpecError:
        return text


def get_task(name: str | Task | Mapping[str, Any], **options: Any) -> Task:
    """The task of a name, with options.

    Args:
      name: a registered name ("xor", "digits", "mnist", ...), "tfds:<name>" for any other image-classification set of
        tensorflow-datasets, "csv:", "parquet:", "npz:" or "folder:" and a path for your own data, each with options behind it
        ("mnist size=10 classes=0-4"); a mapping with `name` and options (as in a YAML file); or a task, returned as it is.
      options: of that task (`neurograph task show NAME` lists them), and for every task `outputs`: 1 for a single +-1
        output, and `varied`: what every episode changes, see docs/tasks.md.

    Raises:
      TaskError: unknown name or option, or data that is missing or malformed; the message lists what is allowed.
      MissingExtraError: the data needs a package that is not installed.

    Examples:
      >>> import neurograph as ng
      >>> ng.get_task("digits", classes=[0, 1], outputs=1)
      <ArrayTask digits: 64 inputs, 1 outputs, 2 classes>
      >>> ng.get_task("digits classes=0-4")
      <ArrayTask digits: 64 inputs, 5 outputs, 5 classes>
    """
    from neurograph.tasks.base import Task

    if isinstance(name, Task):
        if set(options) - {"outputs"}:
            raise TaskError(f"task {name.name!r} is made already: options {', '.join(sorted(options))} come too late.")
        return name.with_outputs(options.get("outputs"))
    if isinstance(name, Mapping):
        merged = {**name, **options}
        if not all(isinstance(key, str) for key in merged):
            raise TaskError(f"a task's options are named by text; got {sorted(map(repr, name))[:8]}.")
        if not isinstance(merged.get("name"), str):
            raise TaskError(f"a task given as a mapping needs its name as text, e.g. {{name: xor}}; got {dict(name)!r}.")
        return get_task(merged.pop("name"), **merged)
    if not isinstance(name, str):
        raise TaskError(f"a task is named by text; got {type(name).__name__}.")
    name, written = read_task(name)
    if twice := next((option for option in written if option in options), None):
        raise TaskError(f"task {name!r}: option {twice!r} is given twice: {written[twice]!r} and {options[twice]!r}.")
    options |= written
    entry = task_entry(name)
    outputs, changes = options.pop("outputs", None), options.pop("varied", None)
    factory, allowed = entry.resolve(), entry.options()
    takes_any = not entry.rest and any(p.kind is p.VAR_KEYWORD for p in inspect.signature(factory).parameters.values())
    unknown = [option for option in options if option not in allowed]
    if unknown and not takes_any:
        raise TaskError(f"task {name!r} has no option {unknown[0]!r}{suggestion(unknown[0], [*allowed, 'outputs', 'varied'])}")
    try:
        task = factory(**{**entry.preset, **entry.given(options)})
    except TaskError as error:
        if repr(name) in str(error):
            raise
        raise TaskError(f"task {name!r}: {error}") from error
    if not isinstance(task, Task):
        raise TaskError(f"the factory of task {name!r} returned a {type(task).__name__}; expected a Task (see function_task).")
    task = replace(task, name=name).with_outputs(outputs)
    if changes is None:
        return task
    from neurograph.tasks.varied import varied

    return varied(task, changes)


def _takes_none(parameter: inspect.Parameter | None) -> bool:
    """Whether None means something to an option; to those that are annotated otherwise it is "not given", as in a file."""
    return parameter is None or any(
        word in str(parameter.annotation) for word in ("None", "Any", "Optional", "_empty", "Classes")
    )


def register_task(
    name: str, factory: Callable[..., Any] | None = None, *, summary: str = "", kind: str = "your own", replace: bool = False
) -> Any:
    """Add a task under a name: `register_task("stripes", stripes)` or `@register_task("stripes")` above a factory.

    The factory's keyword arguments become the task's options; it returns a `Task`, for instance from `function_task` or
    `from_arrays`.

    Raises:
      TaskError: the name is taken (and not `replace`) or is no plain word.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> from neurograph.tasks.generated import function_task
      >>> @ng.register_task("half_plane", replace=True)
      ... def half_plane(offset: float = 0.0):
      ...     def points(key, count):
      ...         x = jax.random.normal(key, (count, 2))
      ...         return x, (x[:, 0] > offset).astype(int)
      ...     return function_task(points)
      >>> ng.get_task("half_plane", offset=0.5)
      <FunctionTask half_plane: 2 inputs, 2 outputs, 2 classes>
    """

    def add(factory: F) -> F:
        if not callable(factory):
            raise TaskError(f"factory of task {name!r}: got {type(factory).__name__}; expected a function that returns a Task.")
        if not isinstance(name, str) or not name or ":" in name or any(letter.isspace() for letter in name):
            raise TaskError(f"a task's name is a word without spaces and colons; got {name!r}.")
        if name in _ENTRIES and not replace:
            raise TaskError(f"task {name!r} exists already ({_ENTRIES[name].summary}); pass replace=True to replace it.")
        text = summary or (inspect.getdoc(factory) or "").partition("\n")[0]
        _ENTRIES[name] = TaskEntry(name, factory, text, kind)
        return factory

    return add if factory is None else add(factory)
