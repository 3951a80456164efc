"""One learning step of a graph of the size of a fly's brain, against CSR products of PyTorch and scipy.

    python -m benchmarks.brain

The graph is `benchmarks.workloads.connectome`: 140,000 neurons, 15,000,000 synapses, 5 ticks; two states, batch 128, float32.
Every peer runs in a process of its own; its peak memory includes the graph. `--neurons`, `--synapses` and `--batch` make a
smaller graph. Torch has as many threads as there are cores; scipy has one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

from benchmarks.measure import machine
from benchmarks.peers import PEERS, make_case
from benchmarks.workloads import Workload, connectome

PEERS_HERE = ("ours", "torch csr", "scipy")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(peer: str, neurons: int, synapses: int, batch: int, rounds: int) -> dict[str, float]:
    """Seconds and gigabytes of one peer; the first step is not counted, unless it is the only one."""
    start = time.perf_counter()
    few = {"inputs": max(neurons // 14, 1), "outputs": max(neurons // 108, 1)}
    case = make_case(Workload("connectome", lambda: connectome(neurons, synapses, **few), batch=batch), deviation=0.02)
    found = {"graph s": time.perf_counter() - start, "graph GB": _peak()}
    start = time.perf_counter()
    run = PEERS[peer](case)
    if run is None:
        raise SystemExit(f"{peer} does not run this graph")
    if peer == "torch csr":
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
    found["ready s"] = time.perf_counter() - start
    steps = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        run.step()
        steps.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = sorted(steps[1:] or steps)[len(steps[1:] or steps) // 2]
    found |= {"step s": wall, "step CPU s": cpu, "peak GB": _peak()}
    return found | ({"program GB": run.bytes / 1e9} if run.bytes else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=140_000)
    parser.add_argument("--synapses", type=int, default=15_000_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2, help="steps, of which the first is not counted (2)")
    parser.add_argument("--peer", choices=PEERS_HERE, help="this one alone, in this process, as JSON")
    given = parser.parse_args()
    if given.peer:
        print(json.dumps(measure(given.peer, given.neurons, given.synapses, given.batch, given.rounds)))
        return
    print(json.dumps(machine()), file=sys.stderr)
    for peer in PEERS_HERE:
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks.brain", "--peer", peer, *sys.argv[1:]], stdout=subprocess.PIPE, text=True
        )
        if result.returncode:
            print(f"{peer}: left out", flush=True)
            continue
        found = json.loads(result.stdout.splitlines()[-1])
        print(f"{peer}: " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
