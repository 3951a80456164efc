"""The table of docs/performance.md: `python -m benchmarks.run [WORKLOAD ...]`.

All methods of a workload live in one process and run in turn; medians of CPU time of the process, and of wall time. Pin it to one
core (`taskset -c 0`) and set GLIBC_TUNABLES=glibc.malloc.hugetlb=1: the baselines' large arrays otherwise pay for page faults.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS

FLOOR = 37e9  # multiply-adds per second of a large matrix product on one core of the reference machine


def measure(name: str, rounds: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Median milliseconds of one learning step by every peer that can run the workload."""
    workload = WORKLOADS[name]
    topology = workload.make()
    runs, results = {}, {}
    for peer, make in PEERS.items():
        start = time.perf_counter()
        try:
            run = make(workload, topology, seed)
        except ImportError as error:
            print(f"  {peer}: left out ({error})", file=sys.stderr)
            continue
        if run is None:
            continue
        run()
        runs[peer] = run
        results[peer] = {"first call s": time.perf_counter() - start}
    wall: dict[str, list[float]] = {peer: [] for peer in runs}
    used: dict[str, list[float]] = {peer: [] for peer in runs}
    for _ in range(rounds):
        for peer, run in runs.items():
            before, start = time.process_time(), time.perf_counter()
            run()
            wall[peer].append(time.perf_counter() - start)
            used[peer].append(time.process_time() - before)
    for peer in runs:
        results[peer] |= {"wall ms": 1e3 * float(np.median(wall[peer])), "cpu ms": 1e3 * float(np.median(used[peer]))}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (9)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    if unknown := [w for w in given.workloads if w not in WORKLOADS]:
        parser.error(f"{unknown[0]}: no such workload; allowed: {', '.join(WORKLOADS)}")
    table = {}
    print("| workload | " + " | ".join(PEERS) + " | ours / best other | segment_sum / ours | first call s |")
    print("|---" * (len(PEERS) + 4) + "|")
    for name in given.workloads:
        row = table[name] = measure(name, given.rounds)
        cells = [f"{row[p]['cpu ms']:.1f}" if p in row else "" for p in PEERS]
        mine = row["ours"]["cpu ms"]
        best = min((row[p]["cpu ms"] for p in row if p not in ("ours", "segment_sum")), default=float("nan"))
        slow = row.get("segment_sum", {}).get("cpu ms", float("nan"))
        print(
            f"| {name} | "
            + " | ".join(cells)
            + f" | {mine / best:.2f} | {slow / mine:.1f} | {row['ours']['first call s']:.1f} |",
            flush=True,
        )
    if given.out:
        given.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
