"""`Graph`: one graph of a size class with what the inner loop asks of a `Network`, its topology as data."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import PlanError
from neurograph.genome import AnyGenome, Genome, LayeredGenome
from neurograph.genome.layers import OTHERS
from neurograph.genome.rule import Rule
from neurograph.network.batch.dense import DenseKernel
from neurograph.network.batch.layout import layout
from neurograph.network.batch.sizes import SizeClass, class_plan
from neurograph.network.kernels.allocator import keep_freed_memory
from neurograph.network.network import find_faults
from neurograph.network.passes import output_values
from neurograph.network.state import SCALARS, Synapses, Weights
from neurograph.network.step import forward_pass, learning_steps
from neurograph.network.wiring import StagedGenome, Wiring
from neurograph.topology.graph import Topology

__all__ = ["Graph", "both_ways", "drawn", "first", "laid_out", "tables_of", "wiring_of"]


def tables_of(topology: Topology, rule: Rule, size: SizeClass) -> dict[str, Any]:
    """`layout` and what a rule asks of the topology beside it."""
    tables = layout(topology, size)
    names = np.array([*map(_name_number, topology.population_names), 0], np.int32)
    walk = np.log(topology.walk_length) if rule.update_normalization == "neuron" else 0.0
    return tables | {"population": names[tables["population"]], "log_walk_length": np.asarray(walk)}


def _name_number(name: str) -> int:
    """A population's name as a number, so that names are data as well; 0 is no population."""
    return int(np.uint32(zlib.crc32(name.encode())).astype(np.int32))


@jax.tree_util.register_pytree_node_class
class Graph(Wiring):
    """One graph of a size class, with what the inner loop asks of a `Network`: a pytree whose leaves are index tables and masks.

    Passed to a function under `jax.jit`, another graph of the class does not compile it again. A genome of layers has to be
    `laid_out` first. Made by `of`.
    """

    kernel: DenseKernel

    @classmethod
    def of(cls, topology: Topology, rule: Rule, size: SizeClass) -> Graph:
        """Returns the graph of a topology that the class holds.

        Raises:
          PlanError: options of the rule that the topology makes meaningless.
        """
        if faults := find_faults(topology, rule, None):
            raise PlanError("\n".join(faults))
        if jax.default_backend() == "cpu":
            keep_freed_memory()
        return _unfolded(rule, size, tables_of(topology, rule, size))

    def laid_out(self, genome: AnyGenome) -> Any:
        """Returns the genome, one of layers laid out by the stages of the class; inside a compiled function."""
        return laid_out(genome, self.kernel.size, self.kernel.tables)

    @property
    def log_walk_length(self) -> jax.Array:
        return self.kernel.tables["log_walk_length"]

    @property
    def output_places(self) -> jax.Array | None:
        return self.kernel.tables["outputs"] if self.kernel.size.sending else None

    @property
    def tick_limit(self) -> jax.Array:
        return self.kernel.tables["ticks"]

    @property
    def damping(self) -> Any:
        return self.kernel.tables["damping"] if self.kernel.size.damped else 0.0

    def init(self, genome: Any, *, key: jax.Array) -> Synapses:
        """See `Network.init`; equal to rounding."""
        dtype = jax.tree.leaves(genome)[0].dtype
        return first(self, genome, drawn(self.rule, self.kernel.size, dtype, key))

    def unroll(
        self, genome: Any, synapses: Synapses, xs: Any, ys: Any, *, index: Any = 0, key: Any = None, checkpoint: bool = True
    ):
        """See `Network.unroll`."""
        return learning_steps(self, genome, synapses, xs, ys, index, key, checkpoint)

    def predict(self, genome: Any, synapses: Synapses, x: Any, *, statistics: Any = None) -> jax.Array:
        """See `Network.predict`."""
        return output_values(self, forward_pass(self, genome, synapses, x, statistics=statistics).states)


def wiring_of(rule: Rule, size: SizeClass, tables: dict[str, Any]) -> Graph:
    """Returns the wiring of one graph, which the mathematics reads."""
    wiring = Graph()
    wiring.topology, wiring.rule, wiring.kernel_name, wiring.precision = class_plan(size).topology, rule, "dense", None
    wiring.kernel = DenseKernel.of(size, tables)
    wiring.plan = wiring.kernel.plan
    return wiring


@partial(jax.jit, static_argnums=(0, 1))
def _unfolded(rule: Rule, size: SizeClass, tables: dict[str, Any]) -> Graph:
    return wiring_of(rule, size, tables)


def laid_out(genome: Any, size: SizeClass, tables: dict[str, Any]) -> Any:
    """The genome; one of layers laid out by the stages of the class, where a neuron's layer is data."""
    if not isinstance(genome, LayeredGenome):
        return genome
    plan, stages = class_plan(size), []
    if genome.by == "population":
        layer = jnp.full_like(tables["population"], genome.names.index(OTHERS) if OTHERS in genome.names else 0)
        for number, name in enumerate(genome.names):
            layer = jnp.where(tables["population"] == _name_number(name), number, layer)
    else:
        layer = jnp.minimum(tables["level"], len(genome.names) - 1)
    for stage, info in enumerate(plan.stages):
        if genome.by == "role":
            one: Any = genome.names.index(info.kind)
        else:
            one = 0 if genome.by == "depth" and info.kind == "input" else None
        if one is not None:
            stages.append(jax.tree.map(lambda leaf, i=one: leaf[i], genome.genomes))
        else:
            mine = layer[plan.offsets[stage] : plan.offsets[stage + 1]]
            stages.append(jax.tree.map(lambda leaf, mine=mine: jnp.moveaxis(leaf[mine], 0, -1), genome.genomes))
    return StagedGenome(tuple(stages))


def drawn(rule: Rule, size: SizeClass, dtype: Any, key: jax.Array) -> list[jax.Array]:
    """The numbers that `Network.init` draws, before they are scaled: of a draw, the first do not depend on how many follow."""
    counts = size.synapses, size.synapses, size.neurons
    found = []
    for own, count in zip(jax.random.split(key, 3), counts, strict=True):
        shape = (count, rule.synapse_channels)
        if rule.initial_distribution == "normal":
            found.append(jax.random.normal(own, shape, dtype))
        else:
            found.append(jax.random.uniform(own, shape, dtype, minval=-(3**0.5), maxval=3**0.5))
    return found


def first(wiring: Wiring, genome: Any, drawn: list[jax.Array]) -> Synapses:
    """`Network.init` from its draws."""
    kernel, rule = wiring.kernel, wiring.rule
    tables, dtype = kernel.tables, drawn[0].dtype

    def scaled(values: jax.Array, at: jax.Array, scale: jax.Array) -> jax.Array:
        if rule.initial_deviation != "genome":
            return values * scale.astype(dtype)[at][:, None]
        if isinstance(genome, Genome):
            return values * genome.initial_deviation.astype(dtype)
        pairs = zip(genome.stages, wiring.plan.stages, strict=True)
        each = [jnp.broadcast_to(own.initial_deviation, (info.size,)) for own, info in pairs]
        return values * jnp.concatenate(each).astype(dtype)[at][:, None]

    def given(values: jax.Array) -> jax.Array:
        known = jnp.isfinite(tables["weight"])
        return jnp.where(known[:, None], jnp.where(known, tables["weight"], 0).astype(dtype)[:, None], values)

    forward = given(scaled(drawn[0], tables["receivers"], tables["arriving"]))
    bias = scaled(drawn[2], tables["rank"], tables["arriving"])
    backward = None if rule.symmetric else kernel.pack(given(scaled(drawn[1], tables["senders"], tables["leaving"])), None)
    both = kernel.pack(forward, bias), backward
    memory = jax.tree.map(jnp.zeros_like, both_ways(*both)) if rule.synapse_trace else None
    averages = {"forward": both[0]} | {name: jnp.zeros((), dtype) for name in SCALARS} if rule.synapse_average else None
    return Synapses(*both, None, memory, averages)


def both_ways(forward: Weights, backward: Weights | None) -> dict[str, Weights]:
    return {"forward": forward} | ({} if backward is None else {"backward": backward})
