"""Random graphs with everything that a topology may hold, larger than those of `strategies`, so that the fast kernels find dense,
masked, diagonal and sparse parts in them. No JAX here."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np

from neurograph.topology import Topology


def random_topology(
    seed: int,
    *,
    schedule: str = "levels",
    ticks: int = 1,
    cyclic: bool = False,
    fixed: bool = False,
    shared: bool = False,
    projecting: bool = False,
    min_outputs: int = 1,
    max_hidden: int = 3,
) -> Topology:
    """Returns a graph of populations with dense, one-to-one and random connections, skips, and some neurons out of the ordinary:
    isolated, without incoming synapses but with receivers, dead ends, without bias.

    Args:
      seed: decides everything.
      schedule, ticks: of the topology.
      cyclic: synapses backwards and onto the neuron itself (the schedule must be synchronous or mixed).
      fixed, shared: some synapses fixed; some synapses and biases in groups.
      projecting: some outputs have outgoing synapses.
      min_outputs: fewest outputs; at most two more.
      max_hidden: most hidden populations.

    Examples:
      >>> from neurograph.testing import random_topology
      >>> topology = random_topology(0, cyclic=True, schedule="mixed", ticks=4)
      >>> topology.is_acyclic
      False
    """
    rng = np.random.default_rng(seed)
    sizes = [int(rng.integers(1, 6))]
    sizes += [int(rng.choice([1, 2, 3, 8])) for _ in range(rng.integers(1, max_hidden + 1))]
    sizes += [int(rng.integers(min_outputs, min_outputs + 3))]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    first_out, n = int(starts[-2]), int(starts[-1])
    populations = [list(range(a, b)) for a, b in itertools.pairwise(starts)]
    edges: set[tuple[int, int]] = set()

    def connect(source: list[int], target: list[int], kind: str) -> None:
        if kind == "diagonal" and len(source) == len(target):
            edges.update(zip(source, target))
        elif kind == "dense":
            edges.update((i, j) for i in source for j in target)
        else:
            edges.update((i, j) for i in source for j in target if rng.random() < 0.35)

    for number in range(1, len(sizes)):
        connect(populations[number - 1], populations[number], rng.choice(["dense", "dense", "diagonal", "random"]))
        for earlier in range(number - 1):
            if rng.random() < 0.4:
                connect(populations[earlier], populations[number], rng.choice(["diagonal", "random"]))
    hidden = list(range(sizes[0], first_out))
    # out of the ordinary: neuron n is isolated
    source, dead = n + 1, n + 2
    n += 3
    edges.add((source, int(rng.choice([*hidden, *populations[-1]]))))
    edges.add((int(rng.choice([*populations[0], *hidden])), dead))
    if cyclic:
        for _ in range(rng.integers(1, 7)):
            edges.add((int(rng.choice(hidden)), int(rng.choice(hidden))))
    outputs = populations[-1]
    if projecting:
        last = n
        n += 1
        edges.update((int(j), last) for j in rng.choice(outputs, 2))
        if cyclic:
            edges.add((int(rng.choice(outputs)), int(rng.choice(hidden))))
            edges.add((last, int(rng.choice(outputs))))
    graph = nx.DiGraph(list(edges))
    for j in outputs:
        if not any(graph.has_node(j) and nx.has_path(graph, i, j) for i in populations[0] if graph.has_node(i)):
            edges.add((int(rng.choice(populations[0])), j))
            graph = nx.DiGraph(list(edges))

    place = rng.permutation(n)  # generated number -> index in the topology
    pairs = [(int(place[i]), int(place[j])) for i, j in rng.permutation(sorted(edges))]
    senders, receivers = np.array(pairs).T
    bias = rng.random(n) < 0.8
    bias[place[source]] = True
    bias[place[populations[0]]] = False
    fields: dict = {"bias": bias}
    if fixed:
        chosen = rng.random(len(pairs)) < 0.25
        fields |= {"fixed": chosen, "weight": np.where(chosen, rng.normal(0, 0.6, len(pairs)), np.nan)}
    if shared:
        group = np.where(rng.random(len(pairs)) < 0.5, rng.integers(0, 3, len(pairs)), -1)
        if fixed:
            group[fields["fixed"]] = -1
        fields |= {"group": group, "bias_group": np.where(bias & (rng.random(n) < 0.6), rng.integers(0, 2, n), -1)}
    if rng.random() < 0.5:
        population = np.full(n, -1)
        for number, members in enumerate(populations):
            population[place[members]] = number
        fields |= {"population": population, "population_names": [f"p{number}" for number in range(len(populations))]}
    return Topology(
        names=tuple(f"n{i}" for i in range(n)),
        senders=senders,
        receivers=receivers,
        inputs=place[rng.permutation(populations[0])],
        outputs=place[rng.permutation(outputs)],
        schedule=schedule,  # type: ignore[arg-type]
        ticks=ticks,
        outputs_may_project=projecting,
        **fields,
    )


def topology_of_blocks(seed: int, *, cyclic: bool = False) -> Topology:
    """Populations so large that the fast kernel cuts blocks of every kind, own, shared and fixed, and leaves some sparse."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 5, "a": 33, "b": 33, "c": 33, "out": 4}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist()))
    parts = [("in", "a", "dense", "own"), ("in", "b", "dense", "shared"), ("in", "c", "dense", "fixed")]
    parts += [("a", "b", "diagonal", "own"), ("b", "c", "diagonal", "shared"), ("a", "c", "diagonal", "fixed")]
    parts += [("b", "out", "masked", "own"), ("a", "out", "masked", "shared"), ("c", "out", "masked", "fixed")]
    parts += [("a", "c", "sparse", "own"), *([("c", "a", "masked", "own"), ("b", "a", "sparse", "own")] if cyclic else [])]
    edges: dict[tuple[int, int], tuple[int, bool]] = {}
    for number, (source, target, kind, sort) in enumerate(parts):
        i, j = np.indices((sizes[source], sizes[target])).reshape(2, -1)
        chance = {"dense": 1.0, "diagonal": 1.0, "masked": 0.6, "sparse": 0.01}[kind]
        keep = (rng.random(len(i)) < chance) & ((i == j) | (kind != "diagonal"))
        for pair in zip((starts[source] + i[keep]).tolist(), (starts[target] + j[keep]).tolist()):
            edges.setdefault(pair, (4 * number + int(rng.integers(4)) if sort == "shared" else -1, sort == "fixed"))
    n = sum(sizes.values())
    place = rng.permutation(n)
    order = rng.permutation(len(edges))
    pairs = place[np.array(list(edges))][order]
    group, fixed = (np.array(column)[order] for column in zip(*edges.values()))
    bias = np.ones(n, bool)
    bias[place[:5]] = False
    return Topology(
        names=tuple(f"n{i}" for i in range(n)),
        senders=pairs[:, 0],
        receivers=pairs[:, 1],
        inputs=place[:5],
        outputs=place[-4:],
        bias=bias,
        group=group,
        fixed=fixed,
        weight=np.where(fixed, rng.normal(0, 0.3, len(pairs)), np.nan),
        bias_group=np.where(bias & (rng.random(n) < 0.2), rng.integers(0, 2, n), -1),
        schedule="mixed" if cyclic else "levels",
        ticks=2 if cyclic else 1,
    )


def settling_ticks(topology: Topology) -> int:
    """Ticks after which an acyclic graph has settled: the longest path, where a neuron that only has its bias counts as one."""
    graph = nx.DiGraph(list(zip(topology.senders.tolist(), topology.receivers.tolist())))
    graph.add_nodes_from(range(topology.num_neurons))
    ticks: dict[int, int] = {}
    for j in nx.topological_sort(graph):
        ticks[j] = 0 if j in topology.inputs else 1 + max((ticks[i] for i in graph.predecessors(j)), default=0)
    return max(ticks.values())


def random_synapses(topology: Topology, states: int, seed: int, *, single: bool = False, scale: float = 0.5) -> dict:
    """Returns forward, backward [E, k] and bias [n, k] that respect groups and fixed values.

    Args:
      topology: whose synapses.
      states: k.
      seed: draws the numbers.
      single: one number for all states of a synapse.
      scale: standard deviation.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.testing import random_synapses
      >>> sorted(random_synapses(ng.mlp(2, 3, 1), states=2, seed=0))
      ['backward', 'bias', 'forward']
    """
    rng = np.random.default_rng(seed)
    channels = 1 if single else states
    counts = {"forward": topology.num_synapses, "backward": topology.num_synapses, "bias": topology.num_neurons}
    arrays = {
        name: np.repeat(rng.normal(0, scale, (count, channels)), states // channels, axis=1) for name, count in counts.items()
    }
    for name, group in (("forward", topology.group), ("backward", topology.group), ("bias", topology.bias_group)):
        for g in range(group.max(initial=-1) + 1):
            arrays[name][group == g] = arrays[name][np.argmax(group == g)]
    for name in ("forward", "backward"):
        arrays[name][topology.fixed] = topology.weight[topology.fixed][:, None]
    arrays["bias"][~topology.bias] = 0
    return arrays


def small(**fields) -> Topology:
    """Two inputs, three hidden neurons, two outputs, one skip; outputs given in reverse."""
    edges = [(0, 2), (1, 2), (0, 3), (1, 4), (2, 5), (3, 5), (4, 6), (0, 6)]
    senders, receivers = np.array(edges).T
    return Topology(tuple("abcdefg"), senders, receivers, np.array([0, 1]), np.array([6, 5]), **fields)


def batch(topology: Topology, size: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, len(topology.inputs))), rng.choice([-1.0, 1.0], (size, len(topology.outputs)))
