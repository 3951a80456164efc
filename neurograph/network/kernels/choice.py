"""The kernels by name, and which one `auto` takes: on a GPU by the rule of plan/gpu.py."""

from __future__ import annotations

import jax

from neurograph.errors import PlanError
from neurograph.network.kernels import BlockKernel, Kernel, native
from neurograph.network.plan import compile_plan
from neurograph.network.plan.gpu import choose, plan_of
from neurograph.topology.graph import Topology

__all__ = ["KERNELS", "make_kernel"]


KERNELS = ("auto", "blocks", "gather", "gpu", "levels", "native", "reference")


def make_kernel(topology: Topology, name: str) -> Kernel:
    if name == "auto" and jax.default_backend() == "gpu":
        name = "gpu"
    if name == "gpu":
        return BlockKernel.build(plan_of(topology, choose(topology)[0]))
    if name == "auto":
        return BlockKernel.build(compile_plan(topology, native=native.available()))
    if name == "native":
        if not native.available():
            raise PlanError(f"kernel: native cannot run here ({native.description()}); use auto")
        return BlockKernel.build(compile_plan(topology, blocks=False, levels="always", native=True))
    if name == "blocks":
        return BlockKernel.build(compile_plan(topology))
    if name == "gather":
        return BlockKernel.build(compile_plan(topology, blocks=False))
    if name == "levels":
        return BlockKernel.build(compile_plan(topology, levels="always"))
    if name == "reference":
        from neurograph.network.kernels.reference import ReferenceKernel

        return ReferenceKernel.build(compile_plan(topology, blocks=False, levels="never"))
    raise PlanError(f"kernel: got {name!r}; allowed: {', '.join(KERNELS)}")
