"""How a graph is read that is not a topology file of our own: roles, weights, schedule; which attributes are looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Set
from typing import Any

from neurograph.errors import TopologyError
from neurograph.topology.columns import NODE_KEYS
from neurograph.topology.formats.parsing import short
from neurograph.topology.graph import as_switch, as_ticks
from neurograph.topology.validate import DEFAULT_LIMITS, SCHEDULES, Limits, check_limits, settling

__all__ = ["SIGNS", "Keys", "Options", "Selector"]

Selector = str | Iterable[Any] | Mapping[str, Any] | None

SIGNS = ("kept", "dropped")
_EXPECTED = 'a list of names, "sources", "sinks", "ATTRIBUTE=VALUE" or {attribute: value}'


class Keys(dict[Any, str | None]):
    """The attribute that a name in a file stands for, or None where it is not looked at.

    Our own attributes (`any_case`) are found in any case of letters, those that the caller names (`exact`) only as written.
    """

    def __init__(self, any_case: Iterable[str], exact: Iterable[Any] = ()):
        super().__init__({key: key for key in exact})
        self._lower = {key.lower(): key for key in any_case}

    def __missing__(self, key: Any) -> str | None:
        found = self[key] = self._lower.get(key.lower()) if isinstance(key, str) else None
        return found


@dataclasses.dataclass(frozen=True)
class Options:
    """How to read a graph that is not a topology file of our own; see `load_topology`.

    Raises:
      TopologyError: an argument of the wrong kind, by its name.
    """

    inputs: Selector = None
    outputs: Selector = None
    weight: str | None = "weight"
    schedule: str | None = None
    ticks: int | str | None = None
    outputs_may_project: bool | None = None
    limits: Limits = DEFAULT_LIMITS
    signs: str = "kept"

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, _selector(name, getattr(self, name)))
        if self.weight is not None and not isinstance(self.weight, str):
            raise TopologyError(f"weight: got {short(self.weight)}; expected the name of an edge attribute, or None.")
        if self.weight in ("fixed", "group", "index"):
            raise TopologyError(f"weight: the attribute {self.weight!r} has a meaning of its own; expected another.")
        if self.signs not in SIGNS:
            raise TopologyError(f"signs: got {short(self.signs)}; allowed: {', '.join(SIGNS)}.")
        if self.schedule is not None and not (isinstance(self.schedule, str) and self.schedule in SCHEDULES):
            raise TopologyError(f"schedule: got {short(self.schedule)}; allowed: {', '.join(SCHEDULES)}.")
        if self.ticks is not None:
            as_ticks(settling(self.ticks, None)[0])
        if self.outputs_may_project is not None:
            as_switch("outputs_may_project", self.outputs_may_project)
        check_limits(self.limits)

    def node_keys(self) -> Keys:
        """Node attributes that are looked at."""
        named: list[Any] = []
        for rule in (self.inputs, self.outputs):
            if isinstance(rule, Mapping):
                named += rule
            elif isinstance(rule, str) and "=" in rule:
                named.append(rule.split("=", 1)[0])
        return Keys(NODE_KEYS, named)

    def edge_keys(self) -> Keys:
        """Edge attributes that are looked at."""
        own = ["fixed", "group", "index"]
        return Keys([*own, "weight"]) if self.weight == "weight" else Keys(own, [self.weight] if self.weight else [])


def _selector(name: str, rule: Any) -> Selector:
    """`rule`, where it is an iterable of names as a list; TopologyError if it does not say who, or not in which order."""
    if rule is None or isinstance(rule, str):
        return rule
    if isinstance(rule, Mapping):
        if not rule or any(value is None for value in rule.values()):
            raise TopologyError(f"{name}: got {short(dict(rule))}; expected an attribute and its value.")
        return rule
    if isinstance(rule, Set):
        raise TopologyError(f"{name}: got a set, which has no order; expected {_EXPECTED}.")
    try:
        if not isinstance(rule, (bytes, bytearray)):
            return list(rule)
    except TypeError:
        pass
    raise TopologyError(f"{name}: got {short(rule)}; expected {_EXPECTED}.")
