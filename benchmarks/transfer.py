"""A transfer matrix end to end: `python -m benchmarks.transfer` prints JSON. Genomes of the zoo on all shipped graphs of 64
inputs, as data where the rule says so against a `Network` for each; either in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import machine

GENOMES = ("digits", "universal")
STEPS, RUNS = (0, 10, 50), 2
FEW = ("mlp", "irregular_dag", "growing")


def graphs(quick: bool) -> list[str]:
    """Names of the shipped graphs that fit the task digits, or some of them."""
    import neurograph as ng
    from neurograph.topology.shipped import shipped_names

    if quick:
        return list(FEW)
    found = []
    for name in shipped_names():
        topology = ng.load_topology(name)
        if (len(topology.inputs), len(topology.outputs)) == (64, 10):
            found.append(name)
    return found


def child(names: list[str], genomes: list[str], folder: Path, networks: bool) -> None:
    """The matrix, in this process; with `networks` a graph would take so long as data that none does."""
    import neurograph as ng
    from neurograph.experiments.transfer import transfer_matrix
    from neurograph.network.batch import route

    if networks:
        route.RATE = 1.0
        route.QUICK = 1.0
    files = {name: ng.load_genome_file(name) for name in genomes}
    given = {name: (file.genome, file.rule) for name, file in files.items()}
    topologies = {name: ng.load_topology(name) for name in names}
    say = lambda text: print(f"  {text}", file=sys.stderr)  # noqa: E731
    tasks = {"digits": ng.get_task("digits")}
    matrix = transfer_matrix(given, topologies, tasks, at=STEPS, seeds=RUNS, optimizers=(), progress=say)
    matrix.save(folder)


def measured(names: list[str], genomes: list[str], networks: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """CPU seconds (user and system), wall seconds and peak memory of a process, and the rows of the matrix."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.transfer", "--child", folder, "--graphs", ",".join(names)]
        command += ["--genomes", ",".join(genomes), *(["--networks"] if networks else [])]
        begin = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        if status:
            raise SystemExit(f"{' '.join(command)}: ended with status {status}")
        data = json.loads((Path(folder) / "matrix.json").read_text())
    figures = {"cpu s": usage.ru_utime + usage.ru_stime, "wall s": wall, "peak MB": usage.ru_maxrss / 1024}
    return figures | {"cells as data": data["notes"]["cells"]["as data"]}, data["rows"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--graphs", help="names with commas between; default: all that fit")
    parser.add_argument("--genomes", default=",".join(GENOMES))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--networks", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.graphs.split(",") if given.graphs else graphs(given.quick)
    genomes = given.genomes.split(",")[: 1 if given.quick else None]
    if given.child:
        child(names, genomes, given.child, given.networks)
        return
    data, rows = measured(names, genomes, False)
    apart, others = measured(names, genomes, True)
    far = max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(rows, others, strict=True) if a["loss"] and b["loss"])
    out = {"machine": machine(), "graphs": len(names), "genomes": genomes, "steps": STEPS, "runs": RUNS}
    out |= {"as data": data, "networks": apart, "times quicker": apart["cpu s"] / data["cpu s"]}
    print(json.dumps(out | {"largest relative difference of a loss": far}))


if __name__ == "__main__":
    main()
