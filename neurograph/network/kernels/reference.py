"""The reference kernel and the bridge to jraph: messages on every synapse, then segment sums, in the field's own words.

The only file that imports jraph (archived since 2025: see `segment_sum` and `GraphsTuple` there). Slow and plain on purpose: it
shares no table with the fast kernel, differentiates in both modes, and is what every other kernel must equal.
"""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Float, Shaped

from neurograph.network.kernels import ALL, FINAL, FORWARD, INTERNAL, Kernel, Signals
from neurograph.network.kernels.base import Numbers, namespace
from neurograph.network.plan import Plan
from neurograph.network.state import Weights
from neurograph.topology.graph import Topology

__all__ = ["ReferenceKernel", "from_graphs_tuple", "to_graphs_tuple"]


def to_graphs_tuple(
    topology: Topology,
    nodes: Shaped[jax.Array, "neurons ..."] | None = None,
    edges: Shaped[jax.Array, "synapses ..."] | None = None,
) -> jraph.GraphsTuple:
    """Returns the topology as one jraph graph: nodes [n, ...] and edges [E, ...] are yours, senders and receivers the topology's.

    Examples:
      >>> import jax.numpy as jnp
      >>> import neurograph as ng
      >>> topology = ng.load_topology("tiny")
      >>> graph = ng.to_graphs_tuple(topology, nodes=jnp.zeros((topology.num_neurons, 3)))
      >>> int(graph.n_edge[0]) == topology.num_synapses
      True
    """
    return jraph.GraphsTuple(
        nodes=nodes,
        edges=edges,
        senders=jax.device_put(topology.senders),
        receivers=jax.device_put(topology.receivers),
        globals=None,
        n_node=jax.device_put(np.array([topology.num_neurons], np.int32)),
        n_edge=jax.device_put(np.array([topology.num_synapses], np.int32)),
    )


def from_graphs_tuple(graph: jraph.GraphsTuple, *, inputs: Any, outputs: Any, names: Any = None, **fields: Any) -> Topology:
    """Returns a topology from one jraph graph (features are ignored): `inputs` and `outputs` are neuron indices.

    Raises:
      TopologyError: endpoints out of range, a cycle, and all that `Topology` refuses.

    Examples:
      >>> import neurograph as ng
      >>> topology = ng.load_topology("tiny")
      >>> graph = ng.to_graphs_tuple(topology)
      >>> again = ng.from_graphs_tuple(graph, inputs=topology.inputs, outputs=topology.outputs, names=topology.names)
      >>> again.num_synapses == topology.num_synapses
      True
    """
    count = int(np.sum(np.asarray(graph.n_node)))
    names = tuple(f"n{i}" for i in range(count)) if names is None else tuple(names)
    senders, receivers = np.asarray(graph.senders), np.asarray(graph.receivers)
    return Topology(names, senders, receivers, np.asarray(inputs), np.asarray(outputs), **fields)


@jax.tree_util.register_pytree_node_class
class ReferenceKernel(Kernel):
    """Stored numbers: own synapses in `Weights.sparse`, in topology order; groups in `Weights.shared`."""

    name = "reference"
    moves_numpy = True

    @classmethod
    def build(cls, plan: Plan) -> ReferenceKernel:
        return cls(plan, to_graphs_tuple(plan.topology))

    def _sorts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        t = self.plan.topology
        shared = self.plan.group >= 0
        own, shared, fixed = (np.flatnonzero(m).astype(np.int32) for m in (~shared & ~t.fixed, shared, t.fixed))
        return own, shared, fixed

    def pack(self, edges: Float[Numbers, "synapses states"], bias: Float[Numbers, "neurons states"] | None) -> Weights:
        own, shared, _ = self._sorts()
        group = self.plan.group[shared]
        first = shared[np.unique(group, return_index=True)[1]].astype(np.int32)
        own_bias, shared_bias = self.bias_pack(bias) if bias is not None else ((None,) * len(self.plan.stages), None)
        values: Any = edges
        return Weights((), values[own].T, values[first].T if len(shared) else None, own_bias, shared_bias)

    def _edges(self, weights: Weights) -> jax.Array:
        """[E, channels] in topology order."""
        t = self.plan.topology
        own, shared, fixed = self._sorts()
        some, sparse = jax.tree.leaves(weights)[0], cast("jax.Array", weights.sparse)
        xp, parts = namespace(some), [sparse.T]
        if weights.shared is not None:
            parts.append(weights.shared.T[self.plan.group[shared]])
        if len(fixed):
            parts.append(xp.broadcast_to(np.asarray(t.weight[fixed], some.dtype)[:, None], (len(fixed), some.shape[0])))
        place = np.empty(t.num_synapses, np.int32)
        place[np.concatenate([own, shared, fixed])] = np.arange(t.num_synapses)
        return xp.concatenate(parts)[place]

    def unpack(self, weights: Weights) -> tuple[Float[Numbers, "synapses states"], Float[Numbers, "neurons states"]]:
        return self._edges(weights), self.bias_unpack(weights)

    def _nodes(self, signals: Signals) -> jax.Array:
        """[n, batch, channels] in topology order; stages that have no signal yet are zero."""
        present: list[Any] = [s for s in signals if s is not None]
        shape, dtype = present[0].shape, present[0].dtype
        filled: list[Any] = [
            jnp.zeros((shape[0], info.size, shape[2]), dtype) if s is None else s
            for s, info in zip(signals, self.plan.stages, strict=True)
        ]
        return jnp.concatenate(filled, axis=1).transpose(1, 2, 0)[self.plan.rank]

    def aggregate(
        self,
        direction: str,
        stage: int,
        weights: Weights,
        signals: Signals,
        part: str = ALL,
        *,
        square: bool = False,
        start: Float[jax.Array, "states neurons #batch"] | None = None,
    ) -> Float[jax.Array, "states neurons #batch"] | None:
        plan, t = self.plan, self.plan.topology
        sources, targets = (t.senders, t.receivers) if direction == FORWARD else (t.receivers, t.senders)
        arriving = plan.stage_of[plan.rank[targets]] == stage
        if part not in (ALL, FINAL):
            phase = plan.phase_of_stage[plan.stage_of[plan.rank]]
            internal = phase[t.senders] == phase[t.receivers]
            arriving &= internal if part == INTERNAL else ~internal
        chosen = np.flatnonzero(arriving).astype(np.int32)
        if not len(chosen):
            return start
        edges = self._edges(weights)[chosen]
        edges = edges * edges if square else edges
        graph = self.tables._replace(nodes=self._nodes(signals), edges=edges)
        messages = graph.nodes[sources[chosen]] * graph.edges[:, None, :]  # [edges, batch, channels]
        inflow = jraph.segment_sum(messages, jnp.asarray(targets[chosen]), t.num_neurons)
        inflow = inflow[plan.stages[stage].neurons].transpose(2, 0, 1)
        return inflow if start is None else inflow + start

    def correlate(
        self, at_senders: Signals, at_receivers: Signals, known: dict[int, Float[jax.Array, "states synapses"]] | None = None
    ) -> Weights:
        own, shared, _ = self._sorts()
        graph = self.tables
        product = jnp.sum(self._nodes(at_senders)[graph.senders] * self._nodes(at_receivers)[graph.receivers], axis=1)  # [E, k]
        reduced = None
        if len(shared):
            groups = int(self.plan.group.max()) + 1
            reduced = jraph.segment_sum(product[shared], jnp.asarray(self.plan.group[shared]), groups).T
        return Weights((), product[own].T, reduced, (None,) * len(self.plan.stages))
