"""Families of random graphs: what is drawn is a `Topology`, every number of it from a range.

Graph number i of a seed is the same whatever else is drawn, so that a training run which resumes draws what it would have drawn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from neurograph.documents import Source, fault_message, kind_of, shown, suggestion
from neurograph.errors import Fault, SpecError
from neurograph.topology.graph import Topology
from neurograph.topology.language.build import build_topology

__all__ = ["FAMILIES", "Family", "RandomTopologies"]


def _range(value: Any) -> Any:
    """A number stands for the range that is only this number."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in pair):
        raise ValueError("expected a number, or [least, most]")
    if pair[0] > pair[1]:
        raise ValueError(f"expected [least, most]; {pair[0]} is more than {pair[1]}")
    return pair


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Counts = Annotated[tuple[Count, Count], BeforeValidator(_range)]
Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Share, Share], BeforeValidator(_range)]
Damping = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], BeforeValidator(_range)]


def _number(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    """A whole number of a range; small ones as often as large ones on a logarithmic scale."""
    low, high = bounds
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))


def _share(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


class Family(BaseModel):
    """Graphs of one kind. Ranges are `[least, most]`, or one number; counts are drawn evenly on a logarithmic scale."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    weight: float = Field(1.0, gt=0, description="how often, among the families")
    name: ClassVar[str]

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        """A graph of the family, in the words of topology files."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, inputs: int, outputs: int) -> Topology:
        """A graph of the family."""
        words = {"populations": {}, "inputs": "input", "outputs": "output", "seed": int(rng.integers(2**62)), "title": self.name}
        described = self.describe(rng, inputs, outputs)
        populations = {"input": inputs} | described.pop("populations") | {"output": outputs}
        return build_topology(words | described | {"populations": populations})


def _dense(*names: str) -> list[dict[str, Any]]:
    return [{"kind": "dense", "from": a, "to": b} for a, b in itertools.pairwise(names)]


class Layered(Family):
    """Complete layers, one after another, each of a width of its own."""

    name = "layered"
    family: Literal["layered"] = "layered"
    depth: Counts = Field((1, 6), description="hidden layers")
    width: Counts = Field((16, 96), description="neurons of a layer")

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        layers = {f"hidden{i}": _number(rng, self.width) for i in range(_number(rng, self.depth))}
        return {"populations": layers, "connections": _dense("input", *layers, "output")}


class Skips(Layered):
    """Complete layers, and sparse random synapses past some of them."""

    name = "skips"
    family: Literal["skips"] = "skips"  # pyright: ignore[reportIncompatibleVariableOverride]
    depth: Counts = Field((2, 6), description="hidden layers")
    skips: Shares = Field((0.2, 1.0), description="share of the pairs of layers, not neighbours, that are joined")
    density: Shares = Field((0.05, 0.5), description="share of the pairs of neurons of such layers")

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        described, chance = super().describe(rng, inputs, outputs), _share(rng, self.skips)
        names = ["input", *described["populations"], "output"]
        for a in range(len(names)):
            for b in range(a + 2, len(names)):
                if rng.random() < chance:
                    density = _share(rng, self.density)
                    described["connections"].append({"kind": "random", "from": names[a], "to": names[b], "density": density})
        return described


class Residual(Family):
    """Blocks x + F(x) of complete layers, past which a fixed synapse of weight 1 leads."""

    name = "residual"
    family: Literal["residual"] = "residual"
    blocks: Counts = Field((1, 4), description="blocks, one after another")
    width: Counts = Field((16, 64), description="neurons of a block's sum")
    inner: Counts = Field((16, 64), description="neurons of a block's layer")
    skip: Literal["identity", "one_to_one", "dense"] = Field("identity", description="as in the connection `residual`")

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        width, last = _number(rng, self.width), "stem"
        populations, connections = {"stem": width}, _dense("input", "stem")
        for block in range(_number(rng, self.blocks)):
            populations |= {f"inner{block}": _number(rng, self.inner), f"sum{block}": width}
            ends = {"from": last, "through": [f"inner{block}"], "to": f"sum{block}"}
            connections.append({"kind": "residual", **ends, "skip": self.skip})
            last = f"sum{block}"
        return {"populations": populations, "connections": connections + _dense(last, "output")}


class Sparse(Layered):
    """Layers joined by random synapses."""

    name = "sparse"
    family: Literal["sparse"] = "sparse"  # pyright: ignore[reportIncompatibleVariableOverride]
    density: Shares = Field((0.1, 0.6), description="share of the pairs of neurons of neighbouring layers")

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        described = super().describe(rng, inputs, outputs)
        sizes = {"input": inputs, **described["populations"], "output": outputs}
        connections = []
        for link in described["connections"]:
            degree = max(1, round(_share(rng, self.density) * sizes[link["from"]]))
            connections.append({"kind": "random", "from": link["from"], "to": link["to"], "in_degree": degree})
        return described | {"connections": connections}


class Acyclic(Family):
    """No layers: every neuron draws its senders from those before it, as many and from as far back as its ranges say."""

    name = "acyclic"
    family: Literal["acyclic"] = "acyclic"
    hidden: Counts = Field((32, 128), description="hidden neurons")
    fan_in: Counts = Field((3, 32), description="synapses into a neuron; every neuron draws its own number")
    reach: Shares = Field((0.1, 1.0), description="from how far back, as a share of all inputs and hidden neurons; one per graph")
    readout: Counts = Field((8, 64), description="synapses into an output")

    def draw(self, rng: np.random.Generator, inputs: int, outputs: int) -> Topology:
        first = inputs + _number(rng, self.hidden)
        reach = max(1, round(_share(rng, self.reach) * first))
        senders, receivers = [], []
        for neuron in range(inputs, first + outputs):
            # The first hidden neurons reach all inputs, or inputs would be out of reach; outputs read any neuron.
            out = neuron >= first
            low = 0 if out or neuron - reach < inputs else neuron - reach
            high = first if out else neuron
            count = min(_number(rng, self.readout if out else self.fan_in), high - low)
            senders.append(low + rng.choice(high - low, count, replace=False))
            receivers.append(np.full(count, neuron))
        places, last = np.arange(first + outputs), np.arange(first, first + outputs)
        return Topology(
            tuple(f"n{i}" for i in places),
            np.concatenate(senders),
            np.concatenate(receivers),
            places[:inputs],
            last,
            title=self.name,
        )


class _Core(Family):
    """A population between inputs and outputs that wires itself."""

    hidden: Counts = Field((32, 96), description="hidden neurons")
    from_inputs: Counts = Field((4, 16), description="synapses from inputs into a hidden neuron")
    readout: Counts = Field((16, 64), description="synapses into an output")

    def within(self, rng: np.random.Generator, size: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The core's own connections, and further keys of the file."""
        raise NotImplementedError

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        size = _number(rng, self.hidden)
        own, more = self.within(rng, size)
        connections = [
            {"kind": "random", "from": "input", "to": "core", "in_degree": min(_number(rng, self.from_inputs), inputs)},
            *own,
            {"kind": "random", "from": "core", "to": "output", "in_degree": min(_number(rng, self.readout), size)},
        ]
        return {"populations": {"core": size}, "connections": connections, **more}


class ScaleFree(_Core):
    """Newcomers attach to neurons that already have many synapses; acyclic."""

    name = "scale_free"
    family: Literal["scale_free"] = "scale_free"
    attach: Counts = Field((2, 8), description="synapses that a newcomer brings")

    def within(self, rng: np.random.Generator, size: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        return [{"kind": "barabasi_albert", "within": "core", "attach": min(_number(rng, self.attach), size - 1)}], {}


class _Ticked(_Core):
    """A core with cycles."""

    ticks: Counts = Field((4, 12), description="of a cyclic graph")
    damping: Damping = Field((0.0, 0.0), description="share of the last state that a tick keeps; one per graph")

    def schedule(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"schedule": "mixed", "ticks": _number(rng, self.ticks), "damping": _share(rng, self.damping)}


class SmallWorld(_Ticked):
    """A ring whose neighbours talk both ways, with some of its synapses led elsewhere."""

    name = "small_world"
    family: Literal["small_world"] = "small_world"
    neighbours: Counts = Field((4, 12), description="of a neuron; rounded down to an even number")
    rewire: Shares = Field((0.0, 0.5), description="share of the synapses that lead elsewhere")

    def within(self, rng: np.random.Generator, size: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        neighbours = min(_number(rng, self.neighbours), size - 1) // 2 * 2
        ring = {"kind": "watts_strogatz", "within": "core", "neighbours": max(neighbours, 2), "direction": "both"}
        return [ring | {"rewire": _share(rng, self.rewire)}], self.schedule(rng)


class Recurrent(_Ticked):
    """A core with random synapses in either direction."""

    name = "recurrent"
    family: Literal["recurrent"] = "recurrent"
    density: Shares = Field((0.06, 0.3), description="share of the pairs of hidden neurons")

    def within(self, rng: np.random.Generator, size: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        links = {"kind": "erdos_renyi", "within": "core", "density": _share(rng, self.density), "direction": "random"}
        return [links], self.schedule(rng)


class Local(Family):
    """Sheets that see neighbourhoods of the sheet before them; inputs are a square grid."""

    name = "local"
    family: Literal["local"] = "local"
    sheets: Counts = Field((1, 3), description="hidden sheets, one after another")
    side: Counts = Field((4, 9), description="neurons along a side of a sheet; sheets do not grow")
    radius: Annotated[tuple[float, float], BeforeValidator(_range)] = Field((1.0, 2.5), description="of a neighbourhood")

    def describe(self, rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
        edge = math.isqrt(inputs)
        if edge * edge != inputs:
            raise SpecError([Fault(f"{inputs} inputs are no square grid; leave the family out, or give 4, 9, 16, ... inputs.")])
        sides = sorted((_number(rng, self.side) for _ in range(_number(rng, self.sheets))), reverse=True)
        names = ["input", *(f"sheet{i}" for i in range(len(sides)))]
        links = [
            {"kind": "local", "from": a, "to": b, "radius": max(_share(rng, self.radius), 1.0)}
            for a, b in itertools.pairwise(names)
        ]
        return {
            "populations": {"input": [edge, edge], **{name: [side, side] for name, side in zip(names[1:], sides, strict=True)}},
            "connections": links + _dense(names[-1], "output"),
        }


FAMILIES: dict[str, type[Family]] = {
    family.name: family for family in (Layered, Skips, Residual, Sparse, Acyclic, ScaleFree, SmallWorld, Recurrent, Local)
}


class RandomTopologies:
    """A distribution of graphs: families with weights, their ranges, and the numbers of inputs and outputs of all.

    Args:
      families: what a file says: a list whose entries are names of families, or mappings with `family` and some of its ranges;
        None: every family that these inputs allow, as it is.
      inputs, outputs: of every graph.
      source: where the families were written, for the places in messages.

    Raises:
      SpecError: unknown families or keys, ranges that are none: every fault at once.
    """

    def __init__(self, families: Any = None, *, inputs: int, outputs: int, source: Source | None = None):
        source = source or Source()
        if families is None:
            families = [name for name in FAMILIES if name != "local" or math.isqrt(inputs) ** 2 == inputs]
        if not isinstance(families, (list, tuple)) or not families:
            raise SpecError([source.fault(f"families: got {kind_of(families)}; expected a list of at least one family.")])
        self.inputs, self.outputs = inputs, outputs
        self.families: list[Family] = []
        faults: list[Fault] = []
        for number, given in enumerate(families):
            self._add(given, number, source, faults)
        if faults:
            raise SpecError(faults)

    def _add(self, given: Any, number: int, source: Source, faults: list[Fault]) -> None:
        if isinstance(given, Family):
            self.families.append(given)
            return
        said = {"family": given} if isinstance(given, str) else given
        name = said.get("family") if isinstance(said, Mapping) else None
        if not isinstance(name, str) or name not in FAMILIES:
            what = f"got {kind_of(given)}; expected a family" if name is None else f"unknown family {shown(name)}"
            faults.append(source.fault(f"{what}{suggestion(str(name), FAMILIES)}", (number,)))
            return
        try:
            self.families.append(FAMILIES[name].model_validate(said))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                key = str(detail["loc"][0]) if detail["loc"] else ""
                if detail["type"] == "extra_forbidden":
                    keys = [known for known in FAMILIES[name].model_fields if known != "family"]
                    text = f"unknown key {shown(key)} of family {name}{suggestion(key, keys)}"
                else:
                    text = f"{key} of family {name}: {fault_message(detail)}"
                faults.append(source.fault(f"{text}", (number, key)))

    def _parts(self) -> tuple[Any, ...]:
        return self.inputs, self.outputs, tuple(self.families)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RandomTopologies) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def draw(self, seed: int, number: int) -> Topology:
        """Graph `number` of a seed: the same whatever else is drawn.

        Raises:
          SpecError: a drawn description that no graph can have, with the family and the numbers.
        """
        rng = np.random.default_rng([seed, number])
        weights = np.array([family.weight for family in self.families])
        family = self.families[int(rng.choice(len(weights), p=weights / weights.sum()))]
        try:
            return family.draw(rng, self.inputs, self.outputs)
        except SpecError as error:
            raise SpecError(
                [Fault(f"family {family.name}, seed {seed}, graph {number}: {f.message}") for f in error.faults]
            ) from error
