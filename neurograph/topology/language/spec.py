"""The keys of a topology file and their checks; every fault is reported with its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from neurograph.documents import Source, fault_message, kind_of, shown, suggestion
from neurograph.errors import Fault
from neurograph.topology.language.builders import BUILDERS, Builder
from neurograph.topology.language.builders.base import Description, Name

__all__ = [
    "CellSpec",
    "NeuronSpec",
    "PopulationSpec",
    "SynapseSpec",
    "TopologySpec",
    "validate_spec",
]


class _Spec(Description):
    @classmethod
    def allowed(cls) -> list[str]:
        """Keys that a file may give."""
        return [str(info.alias or name) for name, info in cls.model_fields.items()]


def _population(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"size": int(value)}
    if isinstance(value, (list, tuple)):
        return {"shape": list(value)}
    if not isinstance(value, (Mapping, PopulationSpec)):
        raise ValueError("expected a size, a [shape] or a mapping")
    return value


def _biases(value: Any) -> Any:
    if isinstance(value, bool) or value is None or value in ("single", "per_channel", "per_neuron"):
        return value
    raise ValueError("expected true, false, per_neuron, per_channel or single")


def _names(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value if isinstance(value, list) else [value]


def _neuron(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return {"name": value}
    if not isinstance(value, (Mapping, NeuronSpec)):
        raise ValueError("expected a name or a mapping")
    return value


def _synapse(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        if len(value) not in (2, 3):
            raise ValueError("expected [from, to], [from, to, weight] or a mapping")
        return dict(zip(("from", "to", "weight"), value))
    if not isinstance(value, (Mapping, SynapseSpec)):
        raise ValueError("expected [from, to], [from, to, weight] or a mapping")
    return value


Count = Annotated[int, Field(ge=1)]


class PopulationSpec(_Spec):
    """A named group of neurons: a size, a shape, or explicit neurons as members."""

    size: Count | None = Field(None, description="number of neurons; they are called NAME.0, NAME.1, ...")
    shape: list[Count] | None = Field(
        None, min_length=1, max_length=8, description="as in [8, 8, 1]: NAME.0.0.0, ...; channels last"
    )
    members: list[Name] | None = Field(
        None, min_length=1, description="names from `neurons`, in their order there, instead of new ones"
    )
    bias: Annotated[Any, BeforeValidator(_biases)] = Field(
        None, description="true (default), false, or shared: single (one for all), per_channel; per_neuron forbids sharing"
    )

    @model_validator(mode="after")
    def _sized(self) -> PopulationSpec:
        if self.members is None:
            if (self.size is None) == (self.shape is None):
                raise ValueError("give either size or shape")
        elif self.size is not None or self.bias is not None:
            raise ValueError("a population with members takes no size and no bias; its neurons have their own")
        return self


class NeuronSpec(_Spec):
    """One explicit neuron."""

    name: Name = Field(description="unique")
    bias: bool | None = Field(None, description="a synapse from the constant neuron; default true, false for inputs")
    bias_group: Name | None = Field(None, description="neurons of one group share one bias")


class SynapseSpec(_Spec):
    """One explicit synapse."""

    from_: Name = Field(alias="from", description="neuron")
    to: Name = Field(description="neuron")
    weight: float | None = Field(None, description="value; drawn at initialisation if not given")
    fixed: bool = Field(False, description="keeps its weight; needs one")
    group: Name | None = Field(None, description="synapses of one group are one stored number")

    @model_validator(mode="after")
    def _fixed_needs_weight(self) -> SynapseSpec:
        if self.fixed and self.weight is None:
            raise ValueError("a fixed synapse needs a weight")
        return self


Populations = dict[Name, Annotated[PopulationSpec, BeforeValidator(_population)]]


class CellSpec(_Spec):
    """A group of populations and connections, repeated one after the other."""

    name: Name = Field(description="copies are NAME1, NAME2, ...; NAME alone stands for the last copy's output")
    repeat: Annotated[int, Field(ge=1, le=100_000)] = Field(description="number of copies")
    from_: Name = Field(alias="from", description="what `previous` means in the first copy; later, the output of the copy before")
    populations: Populations = Field(min_length=1, description="as above; P becomes NAME1.P, NAME2.P, ...")
    connections: list[Any] = Field(min_length=1, description="as above; they see P, `previous` and all top-level populations")
    output: Name = Field(description="the population that the next copy calls `previous`")

    @model_validator(mode="after")
    def _output_exists(self) -> CellSpec:
        if self.output not in self.populations:
            raise ValueError(
                f"output {self.output!r} is not among the populations of the cell{suggestion(self.output, self.populations)}"
            )
        if "previous" in self.populations:
            raise ValueError("a population of a cell cannot be called 'previous'")
        return self


def _tick_number(value: Any) -> Any:
    if value is None or value == "settle":
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError("expected an integer from 1 to 1,000,000, or settle")
    return value


class TopologySpec(_Spec):
    """A whole file."""

    title: str = Field("", max_length=200, description="a few words")
    description: str = Field("", max_length=20_000, description="for people")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="for all random connections")
    schedule: Literal["levels", "synchronous", "mixed"] = Field("levels", description="levels, synchronous or mixed")
    ticks: Annotated[int | Literal["settle"] | None, BeforeValidator(_tick_number)] = Field(
        None, description="needed by synchronous and mixed: a number, or settle (until states move less than the tolerance)"
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(0.0, description="ticks end when no state moves by more; ticks is the most")
    damping: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of the last state that a tick keeps")
    outputs_may_project: bool = Field(False, description="allows synapses out of output neurons")
    populations: Populations = Field({}, description="name: size, name: [shape] or name: {size, shape, members, bias}")
    neurons: list[Annotated[NeuronSpec, BeforeValidator(_neuron)]] = Field([], description="name or {name, bias, bias_group}")
    inputs: Annotated[list[Name], BeforeValidator(_names)] = Field(min_length=1, description="populations or neurons, in order")
    outputs: Annotated[list[Name], BeforeValidator(_names)] = Field(min_length=1, description="populations or neurons, in order")
    connections: list[Any] = Field([], description="each a mapping with `kind` and the keys of that kind")
    cells: list[CellSpec] = Field([], description="repeated groups of populations and connections")
    synapses: list[Annotated[SynapseSpec, BeforeValidator(_synapse)]] = Field(
        [], description="[from, to], [from, to, weight] or {from, to, weight, fixed, group}"
    )

    @model_validator(mode="after")
    def _ticks_with_schedule(self) -> TopologySpec:
        if self.schedule == "levels" and self.ticks not in (None, 1):
            raise ValueError("ticks: schedule levels has exactly one; allowed with synchronous, mixed")
        for name in ("tolerance", "damping"):
            if self.schedule == "levels" and getattr(self, name):
                raise ValueError(f"{name}: schedule levels has no ticks that could settle; allowed with synchronous, mixed")
        if self.schedule != "levels" and self.ticks is None:
            raise ValueError(f"schedule {self.schedule} needs ticks")
        return self


def validate_spec(data: Any, source: Source) -> tuple[TopologySpec | None, dict[tuple[Any, ...], Builder], list[Fault]]:
    """The description, its connections by path, and every fault of form. The description is None if there are faults in it."""
    if not isinstance(data, Mapping):
        return (
            None,
            {},
            [source.fault(f"got {kind_of(data)}; expected a mapping with keys such as populations, inputs, outputs.")],
        )
    faults: list[Fault] = []
    builders: dict[tuple[Any, ...], Builder] = {}
    try:
        spec = TopologySpec.model_validate(data)
    except ValidationError as error:
        spec = None
        faults += _faults(error, (), TopologySpec, source, data)
    # connections are checked even if something else is wrong, so that all faults are listed at once
    lists: list[tuple[tuple[Any, ...], Any]] = [(("connections",), data.get("connections", []))]
    cells = data.get("cells", [])
    if isinstance(cells, (list, tuple)):
        lists += [
            (("cells", i, "connections"), cell.get("connections", []))
            for i, cell in enumerate(cells)
            if isinstance(cell, Mapping)
        ]
    for path, connections in lists:
        for i, connection in enumerate(connections if isinstance(connections, (list, tuple)) else []):
            builder = _builder(connection, (*path, i), source, faults)
            if builder is not None:
                builders[(*path, i)] = builder
    return spec, builders, sorted(faults, key=lambda f: (f.line or 0, f.column or 0))


def _builder(data: Any, at: tuple[Any, ...], source: Source, faults: list[Fault]) -> Builder | None:
    if isinstance(data, Builder):
        return data
    if not isinstance(data, Mapping):
        faults.append(source.fault(f"got {kind_of(data)}; expected a mapping with a key `kind`.", at))
        return None
    kind = data.get("kind")
    if kind is None:
        faults.append(source.fault(f"missing key `kind`; allowed: {', '.join(BUILDERS)}.", at))
        return None
    if not isinstance(kind, str) or kind not in BUILDERS:
        faults.append(source.fault(f"unknown kind {shown(kind)}{suggestion(str(kind), BUILDERS)}", (*at, "kind")))
        return None
    try:
        return BUILDERS[kind].model_validate(data)
    except ValidationError as error:
        faults += _faults(error, at, BUILDERS[kind], source, data)
        return None


def _faults(error: ValidationError, prefix: tuple[Any, ...], model: Any, source: Source, data: Any) -> list[Fault]:
    faults = []
    for detail in error.errors(include_url=False):
        location = tuple(step for step in detail["loc"] if step != "[key]")
        path = (*prefix, *location)
        if detail["type"] == "extra_forbidden":
            owner, label = _owner(model, location[:-1])
            name = f' for kind "{data.get("kind")}"' if prefix else f" for {label}" if label else ""
            faults.append(source.fault(f"unknown key{name}{suggestion(str(location[-1]), owner)}", path, key=True))
        elif detail["type"] == "missing":
            faults.append(source.fault(f"missing key `{location[-1]}`.", path[:-1]))
        else:
            path, location = _walkable(data, prefix, location)
            faults.append(source.fault(fault_message(detail), path))
    return faults


def _walkable(data: Any, prefix: tuple[Any, ...], location: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The part of a pydantic location that exists in the document: shorthand such as `hidden: 5` has no key `size` there."""
    walked: list[Any] = []
    for step in location:
        inside = step in data if isinstance(data, Mapping) else isinstance(step, int) and isinstance(data, (list, tuple))
        if inside:
            data = data[step]
            walked.append(step)
        elif not isinstance(step, int) or isinstance(data, (Mapping, list, tuple)):
            break  # else: one name where a list is allowed
    return (*prefix, *walked), tuple(walked)


def _owner(model: Any, location: tuple[Any, ...]) -> tuple[list[str], str]:
    """Allowed keys, and what to call the mapping, where an unknown key was found."""
    models = {"populations": (PopulationSpec, "a population"), "neurons": (NeuronSpec, "a neuron")}
    models |= {"synapses": (SynapseSpec, "a synapse"), "cells": (CellSpec, "a cell")}
    for step in reversed(location):
        if step in models:
            found, label = models[step]
            return found.allowed(), label
    return model.allowed(), ""
