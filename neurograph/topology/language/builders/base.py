"""The base of builders: validated descriptions of some synapses, which they turn into index arrays.

A new kind takes ten lines:

```python
from neurograph.topology import Projection, register_builder

@register_builder
class EveryOther(Projection):
    '''One synapse for every second source.'''

    kind: Literal["every_other"] = "every_other"
    step: int = 2

    def build(self, canvas):
        source, target = self.ends(canvas)
        chosen = np.arange(0, source.size, self.step)
        canvas.reserve(len(chosen))
        return self.edges(source.start + chosen, target.start + chosen % target.size)
```
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, TypeVar, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from neurograph.errors import TopologyError
from neurograph.topology.validate import DEFAULT_LIMITS, MAX_NAME, Limits

__all__ = ["BUILDERS", "Builder", "Canvas", "Description", "Edges", "Group", "Name", "Projection", "Within", "register_builder"]


def _name(value: Any) -> Any:
    """A whole number is a fit name for a neuron or population: `from: 1` means "1"."""
    return getattr(value, "written", str(value)) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_name), Field(min_length=1, max_length=MAX_NAME)]


@dataclasses.dataclass(frozen=True)
class Group:
    """Neurons `start` to `start + size - 1`: a population, or one explicit neuron (shape (1,))."""

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def indices(self) -> Int64[np.ndarray, " size"]:
        """[size] int64 neuron indices."""
        return np.arange(self.start, self.start + self.size)


@dataclasses.dataclass(frozen=True)
class Edges:
    """Synapses of one connection.

    Attributes:
      senders, receivers: [E] neuron indices.
      weight: [E] float64, or one number for all, or None (drawn at initialisation).
      fixed: [E] bool, or one value for all.
      group: [E] ids local to this connection, negative = not shared; None = none is shared.
      shared_biases: a group of neurons and a number c: neuron i of the group shares its bias with all others of equal i modulo c.
    """

    senders: Integer[np.ndarray, " synapses"]
    receivers: Integer[np.ndarray, " synapses"]
    weight: Float64[np.ndarray, " synapses"] | float | None = None
    fixed: Bool[np.ndarray, " synapses"] | bool = False
    group: Integer[np.ndarray, " synapses"] | None = None
    shared_biases: tuple[Group, int] | None = None


class Canvas:
    """The graph as a builder sees it: the groups by name, a random generator of its own, and the limit."""

    def __init__(self, groups: Mapping[str, Group], seed: Sequence[int] = (0,), limits: Limits = DEFAULT_LIMITS, used: int = 0):
        self._groups, self._seed, self._limits, self.used = groups, seed, limits, used

    @cached_property
    def rng(self) -> np.random.Generator:
        """A generator of this connection's own: others do not change what it draws."""
        return np.random.default_rng(list(self._seed))

    def group(self, name: str) -> Group:
        """The population or explicit neuron called `name`.

        Raises:
          TopologyError: there is none; the message lists those there are.
        """
        try:
            return self._groups[name]
        except KeyError:
            from neurograph.documents import suggestion

            raise TopologyError(f"there is no population or neuron {name!r}{suggestion(name, self._groups)}") from None

    def reserve(self, synapses: int) -> None:
        """Must be called with the number of synapses before arrays of that length are made.

        Raises:
          TopologyError: the graph would go over its limit.
        """
        self._limits.check(synapses=self.used + int(synapses))


class Description(BaseModel):
    """Base of all mappings of the topology language: unknown keys are refused, null and empty text mean "not given"."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        optional = {key for name, info in cls.model_fields.items() if not info.is_required() for key in (name, info.alias)}
        # types are checked strictly, but Python callers may hand tuples where a file has lists
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in data.items()
            if key not in optional or not (value is None or (isinstance(value, str) and not value))
        }


class Builder(Description, ABC):
    """Base of all connection kinds. Fields are what a file may say; `build` makes the synapses."""

    kind: str

    @abstractmethod
    def build(self, canvas: Canvas) -> Edges:
        """The synapses; raises TopologyError if the populations do not fit."""

    @classmethod
    def allowed(cls) -> list[str]:
        """Keys that a file may give, as written there."""
        return [str(info.alias or name) for name, info in cls.model_fields.items() if name != "kind"]


class _Weighted(Builder):
    weight: float | None = Field(None, description="value of every synapse; drawn at initialisation if not given")
    fixed: bool = Field(False, description="synapses keep their weight; needs one")
    shared: bool = Field(False, description="all synapses of this connection are one stored number")

    @model_validator(mode="after")
    def _fixed_needs_weight(self) -> Any:
        if self.fixed and self.weight is None:
            raise ValueError("fixed synapses need a weight")
        return self

    def edges(self, senders: np.ndarray, receivers: np.ndarray) -> Edges:
        """`Edges` with this connection's weight, fixed and shared."""
        group = np.zeros(len(senders), np.int32) if self.shared else None
        return Edges(senders, receivers, self.weight, self.fixed, group)


class Projection(_Weighted):
    """Base of kinds that lead from one population (or neuron) to another."""

    from_: Name = Field(alias="from", description="population or neuron")
    to: Name = Field(description="population or neuron")

    def ends(self, canvas: Canvas) -> tuple[Group, Group]:
        """Source and target."""
        return canvas.group(self.from_), canvas.group(self.to)


class Within(_Weighted):
    """Base of kinds that wire one population to itself."""

    within: Name = Field(description="population")

    def members(self, canvas: Canvas) -> Group:
        """The population."""
        return canvas.group(self.within)


BUILDERS: dict[str, type[Builder]] = {}

B = TypeVar("B", bound=type[Builder])


def register_builder(cls: B) -> B:
    """Class decorator that makes a builder available in files under its `kind`.

    Raises:
      TopologyError: the class does not fix its kind by `kind: Literal["name"] = "name"`, has no docstring (its first line is the
        entry in the builder table), or the name is taken.

    Examples:
      >>> from typing import Literal
      >>> import neurograph as ng
      >>> from neurograph.topology import Projection
      >>> @ng.register_builder
      ... class Pairs(Projection):
      ...     '''Each source to the target of its number.'''
      ...     kind: Literal["pairs"] = "pairs"
      ...     def build(self, canvas):
      ...         source, target = self.ends(canvas)
      ...         canvas.reserve(source.size)
      ...         return self.edges(source.indices, target.indices[: source.size])
      >>> ng.build_topology({"populations": {"x": 2, "y": 2}, "inputs": "x", "outputs": "y",
      ...                    "connections": [{"kind": "pairs", "from": "x", "to": "y"}]}).num_synapses
      2
    """
    info = cls.model_fields.get("kind")
    names = get_args(info.annotation) if info else ()
    if len(names) != 1 or info is None or info.default != names[0]:
        raise TopologyError(f'builder {cls.__name__}: needs a field `kind: Literal["name"] = "name"`.')
    if not (cls.__doc__ or "").strip():
        raise TopologyError(f"builder {cls.__name__}: needs a docstring; its first line is what `topology list` shows.")
    kind = names[0]
    known = BUILDERS.get(kind)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TopologyError(f"builder {cls.__name__}: the kind {kind!r} is taken by {known.__name__}.")
    BUILDERS[kind] = cls
    return cls
