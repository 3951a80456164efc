"""Public names of a package, each imported from its module when it is first used."""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # as in typing, whose import would take half of the package's
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Face = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


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
