"""Time and peak memory of loading a large graph file, ours against networkx's own reader.

Every reading runs in a fresh process. Times are of the processor, so that others on the machine matter less; memory is the peak
resident size above that of the process after its imports. Ours includes
all checks (parallel synapses, cycles, reachability) and the levels; networkx's ends with its DiGraph.

    python benchmarks/topology_readers.py --synapses 1000000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from neurograph.topology import Topology, save_topology

ENDINGS = (".graphml", ".gexf", ".gml", ".json", ".csv")

CHILD = """
import json, sys, time
reader, path = sys.argv[1:]
import networkx as nx
from neurograph.topology import load_topology
ending = path[path.rindex("."):]
def peer():
    if ending == ".json":
        with open(path) as file:
            return nx.node_link_graph(json.load(file), edges="links")
    if ending == ".csv":
        with open(path) as file:
            while not next(file).startswith("source"):
                pass
            return nx.parse_edgelist(file, delimiter=",", create_using=nx.DiGraph, data=[("weight", float)])
    return {".graphml": nx.read_graphml, ".gexf": nx.read_gexf, ".gml": nx.read_gml}[ending](path)
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
before = peak()
start = time.process_time()
graph = load_topology(path) if reader == "neurograph" else peer()
seconds = time.process_time() - start
if reader == "neurograph":
    edges = graph.num_synapses
    graph.levels
    seconds = time.process_time() - start
else:
    edges = graph.number_of_edges()
print(json.dumps({"seconds": seconds, "MB": (peak() - before) / 1024, "edges": edges}))
"""


def make(neurons: int, synapses: int) -> Topology:
    """A random acyclic graph with a weight on every synapse."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(neurons, size=(synapses * 2, 2))
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    codes = np.unique((low * neurons + high)[low != high])
    codes = rng.permutation(codes)[:synapses]
    senders, receivers = codes // neurons, codes % neurons
    order = np.lexsort((receivers, senders))
    senders, receivers = senders[order], receivers[order]
    into = np.bincount(receivers, minlength=neurons) > 0
    outof = np.bincount(senders, minlength=neurons) > 0
    return Topology(
        names=tuple(f"n{i}" for i in range(neurons)),
        senders=senders,
        receivers=receivers,
        inputs=np.flatnonzero(~into & outof),
        outputs=np.flatnonzero(into & ~outof),
        weight=rng.normal(size=len(codes)).round(4),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=100_000)
    parser.add_argument("--synapses", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    topology = make(options.neurons, options.synapses)
    print(f"{topology.num_neurons:,} neurons, {topology.num_synapses:,} synapses with weights; median of {options.repeat}")
    print(f"{'format':10}{'file MB':>9}{'neurograph s':>14}{'MB':>8}{'networkx s':>12}{'MB':>8}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for ending in ENDINGS:
            path = Path(folder) / f"graph{ending}"
            save_topology(topology, path)
            found = {}
            for reader in ("neurograph", "networkx"):
                command = [sys.executable, "-c", CHILD, reader, str(path)]
                runs = [
                    json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(options.repeat)
                ]
                assert all(run["edges"] == topology.num_synapses for run in runs)
                found[reader] = {key: float(np.median([run[key] for run in runs])) for key in ("seconds", "MB")}
            ours, theirs = found["neurograph"], found["networkx"]
            print(
                f"{ending:10}{path.stat().st_size / 1e6:>9.0f}{ours['seconds']:>14.2f}{ours['MB']:>8.0f}"
                f"{theirs['seconds']:>12.2f}{theirs['MB']:>8.0f}{theirs['seconds'] / ours['seconds']:>7.1f}x",
                flush=True,
            )
            path.unlink()


if __name__ == "__main__":
    main()
