"""Makes the topologies that are graph files rather than YAML, from fixed seeds. All of them are synthetic.

python topologies/make_graph_files.py
"""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np

from neurograph.topology import Topology, from_networkx, save_topology

HERE = Path(__file__).parent


def connectome(seed: int = 31) -> Topology:
    """In the manner of a small nervous system: sensory, inter and motor neurons on a line from head to tail.

    SYNTHETIC: no measured connectome is in it. What it takes from measured ones: sizes of a few hundred neurons, synapses that
    become rarer with distance, neurons of very unequal degree, many pairs that talk both ways, and sparse direct reflexes.
    """
    rng = np.random.default_rng(seed)
    kinds = np.repeat(["sensory", "inter", "motor"], [64, 140, 10])
    n = len(kinds)
    names = [f"{kind[0].upper()}{i:03d}" for i, kind in enumerate(kinds)]
    place = rng.random(n)
    love = rng.lognormal(0, 0.7, n)  # how sought-after a neuron is
    graph = nx.DiGraph(
        title="A synthetic connectome",
        description=(
            "Made up by a seeded generator, not measured: sensory, inter and motor neurons along a body axis, unequal degrees, "
            "reciprocal pairs, a few reflexes straight from sensory to motor neurons."
        ),
        schedule="mixed",
        ticks=12,
        damping=0.5,
        populations='{"sensory": [64], "inter": [140], "motor": [10]}',
    )
    for i in range(n):
        role = {"sensory": "input", "inter": "hidden", "motor": "output"}[kinds[i]]
        graph.add_node(names[i], role=role, population=str(kinds[i]), position_on_axis=round(float(place[i]), 4))
    rate = {("sensory", "inter"): 5.0, ("inter", "inter"): 6.0, ("inter", "motor"): 20.0, ("sensory", "motor"): 1.0}
    for j in range(n):
        for source in ("sensory", "inter"):
            expected = rate.get((source, str(kinds[j])), 0.0)
            near = np.flatnonzero((kinds == source) & (np.arange(n) != j))
            weight = love[near] * np.exp(-np.abs(place[near] - place[j]) / 0.2)
            count = min(int(rng.poisson(expected)), len(near))
            for i in rng.choice(near, count, replace=False, p=weight / weight.sum()) if count else []:
                graph.add_edge(names[i], names[j])
                if source == "inter" and kinds[j] == "inter" and rng.random() < 0.25:
                    graph.add_edge(names[j], names[i])
    return from_networkx(graph)


def growing(seed: int = 37) -> Topology:
    """A growing network with copying (Krapivsky and Redner): newcomers copy the synapses of one they meet; read as a DAG."""
    graph = nx.gnc_graph(110, seed=seed)  # synapses lead from newer to older nodes
    rng = np.random.default_rng(seed)
    result = nx.DiGraph(
        title="A graph that grew by copying",
        description="Each newcomer copies the synapses of a neuron that it meets (networkx's gnc_graph), a third of them kept.",
    )
    result.add_nodes_from((f"x{i}" for i in range(64)), role="input")
    result.add_nodes_from(f"h{i}" for i in range(110))
    result.add_nodes_from((f"y{i}" for i in range(10)), role="output")
    for newer, older in graph.edges:
        if rng.random() < 0.35:
            result.add_edge(f"h{newer}", f"h{older}")
    for j in range(110):
        for i in rng.choice(64, 6, replace=False):
            result.add_edge(f"x{i}", f"h{j}")
    for j in range(10):
        for i in rng.choice(110, 40, replace=False):
            result.add_edge(f"h{i}", f"y{j}")
    return from_networkx(result)


def tangle(seed: int = 41) -> Topology:
    """An edge list as a spreadsheet would hold it: six stages, synapses to any later stage, the nearer the likelier."""
    rng = np.random.default_rng(seed)
    stage = np.repeat(np.arange(7), [64, 24, 24, 24, 24, 24, 10])
    names = [f"s{s}_{i}" for s in range(7) for i in range(int((stage == s).sum()))]
    chance = np.array([0, 0.22, 0.06, 0.03, 0.02, 0.01, 0.01])
    gap = np.clip(stage[None, :] - stage[:, None], 0, 6)
    senders, receivers = np.nonzero(rng.random(gap.shape) < chance[gap])
    return Topology(
        names=tuple(names),
        senders=senders,
        receivers=receivers,
        inputs=np.flatnonzero(stage == 0),
        outputs=np.flatnonzero(stage == 6),
        title="Six stages and every skip",
        description="Synapses from each stage to all later ones, rarer the farther; an edge list whose comment holds the rest.",
    )


if __name__ == "__main__":
    save_topology(connectome(), HERE / "connectome.graphml")
    save_topology(growing(), HERE / "growing.json")
    save_topology(tangle(), HERE / "stages.csv")
