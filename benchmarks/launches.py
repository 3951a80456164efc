"""How many kernels a GPU would start for a program: counted in what JAX traces, without a GPU.

A count by rules of thumb, not by the compiler: products, reductions, scatters, writes of slices and concatenations start one
kernel each; gathers and elementwise functions join the kernel of whoever reads them, and start one of their own where a product,
a gather, a loop or the end of the program does. Loops start those of their body in every step, and one that counts.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Var

__all__ = ["launches", "launches_of"]

ROOTS = ("dot_general", "conv_general_dilated", "reduce_", "scatter", "dynamic_update_slice", "concatenate", "sort", "cum", "arg")
ROOTS += ("neurograph_pair", "random_", "threefry")
# What only names the same numbers otherwise.
FREE = ("reshape", "squeeze", "transpose", "expand_dims", "convert_element_type", "optimization_barrier", "neurograph_operands")
FREE += ("stop_gradient", "copy", "broadcast_in_dim")
BARRIERS = ("dot_general", "conv_general_dilated", "gather", "scan", "while", "cond")


def launches_of(function: Any, *arguments: Any) -> int:
    """`launches` of a function at some arguments."""
    return launches(jax.make_jaxpr(function)(*arguments))


def launches(closed: ClosedJaxpr) -> int:
    """Kernels that one run of a program starts, by the rules above."""
    return _count(closed.jaxpr)


def _inner(equation: Any) -> list[Any]:
    found = []
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(one, "jaxpr") and hasattr(one.jaxpr, "eqns"):
                found.append(one.jaxpr)
            elif hasattr(one, "eqns"):
                found.append(one)
    return found


def _count(program: Any) -> int:
    total = 0
    fused: dict[Any, bool] = {}  # variables that no kernel has written yet

    def written(variable: Any) -> int:
        """A kernel that writes it, if there was none."""
        own = isinstance(variable, Var) and fused.get(variable, False)
        if own:
            fused[variable] = False
        return int(own)

    for equation in program.eqns:
        name, inside = equation.primitive.name, _inner(equation)
        if name in BARRIERS or inside:
            total += sum(written(v) for v in (equation.invars[:1] if name == "gather" else equation.invars))
        state = False
        if name == "scan":
            total += equation.params["length"] * (1 + _count(inside[0]))
        elif name == "while":
            total += sum(map(_count, inside))
        elif name == "cond":
            total += max(map(_count, inside))
        elif inside and name not in ("scatter-add", "scatter", "reduce", "sort") and not name.startswith(("scatter", "reduce")):
            total += _count(inside[0])  # calls; of functions with derivatives of their own, the function itself
        elif name.startswith(ROOTS):
            total += 1
        elif name in FREE:
            state = any(isinstance(v, Var) and fused.get(v, False) for v in equation.invars)
        else:
            state = True
        for variable in equation.outvars:
            fused[variable] = state
    return total + sum(written(v) for v in program.outvars)
