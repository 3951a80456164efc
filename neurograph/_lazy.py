"""Names that are imported when they are first used: the public names of a package, and functions of rooms above."""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # as in typing, whose import would take half of the package's
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Face = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def from_above(module: str, name: str) -> Any:
    """Returns `neurograph.MODULE.NAME`, a function of a room above the caller's.

    Rooms import one way. The one exception are methods by which a thing shows itself (`draw`, `_repr_html_`): they ask for the
    function of the room `report` when they are called, so that neither the import nor matplotlib costs anybody else anything.
    """
    return getattr(importlib.import_module(f"neurograph.{module}"), name)


def attach(package: str, modules: Mapping[str, tuple[str, ...]]) -> Face:
    """`__getattr__`, `__dir__` and `__all__` of a package whose public names live in the modules given, relative to it."""
    homes = {name: f"{package}.{module}" for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__, lambda: sorted({*vars(sys.modules[package]), *homes}), sorted(homes)
