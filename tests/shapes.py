"""The type checker that the tests install: array types with their shapes, and nothing else.

What is no array is neurograph's own to check: its errors say more than a type checker's, and tests ask for them.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping
from beartype.door import is_bearable

# Where public names and the kernels' primitives are. What they call inside is not watched: that made the tests a seventh slower.
WATCHED = (
    "neurograph.topology.graph",
    "neurograph.topology.language.builders.base",
    "neurograph.tasks.arrays",
    "neurograph.tasks.base",
    "neurograph.tasks.generated",
    "neurograph.tasks.image_folder",
    "neurograph.tasks.mixes",
    "neurograph.tasks.rows",
    "neurograph.genome",
    "neurograph.network.kernels.base",
    "neurograph.network.kernels.blocks",
    "neurograph.network.kernels.reference",
    "neurograph.network.network",
    "neurograph.network.widen",
    "neurograph.learning.estimator",
    "neurograph.learning.inner_loop",
    "neurograph.learning.sequence",
    "neurograph.meta.mapping",
    "neurograph.analysis.decomposition",
    "neurograph.report.figures.bands",
    "neurograph.report.figures.heat_map",
)


def holds_arrays(hint: Any) -> bool:
    """Whether a type hint has an array type in it."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(holds_arrays(part) for part in typing.get_args(hint))


def checked(function: Callable) -> Callable:
    """Returns the function, checked by beartype where a parameter or the result has an array type.

    Constructors are not: transformations of JAX build pytrees of whatever they carry. `misfits` checks an instance.
    """
    if function.__name__ == "__init__":
        return function
    space = vars(sys.modules[function.__module__])
    hints = {}
    for name, hint in function.__annotations__.items():
        if isinstance(hint, str) and ("[" in hint or hint in space):
            hint = eval(hint, space)
        if holds_arrays(hint):
            hints[name] = hint
    if not hints:
        return function
    function.__annotations__ = hints
    return beartype.beartype(function)


@jaxtyping.jaxtyped(typechecker=None)
def misfits(instance: Any) -> list[str]:
    """Names of the fields of a dataclass that are not of their array types; the same axis has the same size in all of them."""
    space = vars(sys.modules[type(instance).__module__])
    hints = {field.name: eval(str(field.type), space) for field in dataclasses.fields(instance)}
    return [n for n, hint in hints.items() if holds_arrays(hint) and not is_bearable(getattr(instance, n), hint)]
