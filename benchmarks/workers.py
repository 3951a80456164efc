"""Workers: start-up, overhead per task, efficiency of two processes, and a simulation of many.

Usage: python -m benchmarks.workers [overhead] [bound] [evolve] [transfer] [simulate]     (default: all; on an idle machine)

`bound` runs an evolution in so many processes at once that know nothing of each other, beside one alone: no engine exceeds that
on this machine, whose cores share memory, caches and clock. `evolve` and `transfer` compare `--workers N` (default 2) with one
process by wall time, start-up excluded and compilation included, and check that numbers are equal to the bit. `simulate` takes
the overhead that was measured before it, or --overhead MILLISECONDS, and draws task times from lognormal distributions.
"""

from __future__ import annotations

import argparse
import heapq
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.transfer import graphs as fitting

WORKERS = (1, 2, 10, 30, 100, 300, 1000)
# name: tasks per wave, waves, median seconds of a task, sigma of its logarithm
WORK = {
    "35 graphs, 30 s": (35, 1, 30.0, 0.8),
    "3,150 groups of cells, 30 s": (3150, 1, 30.0, 0.8),
    "population 40, 20 generations, part 1 s": (20, 20, 1.0, 0.2),
    "population 2,000, 20 generations, part 1 s": (1000, 20, 1.0, 0.2),
    "population 2,000, 20 generations, part 0.1 s": (1000, 20, 0.1, 0.2),
    "1,000 runs, 10 min": (1000, 1, 600.0, 0.3),
}


def nothing(number: int) -> int:
    return number


def overhead(workers: int, count: int = 1000) -> float:
    """Prints start-up and overhead; returns the milliseconds that a task costs the process that asks."""
    from neurograph.experiments.workers import make_executor

    started = time.perf_counter()
    with make_executor(workers) as executor:
        executor.submit(nothing, 0).result()
        print(f"start-up to the first answer, {workers} processes of this machine: {time.perf_counter() - started:.1f} s")
        costs, walls = [], []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            for task in executor.as_completed([executor.submit(nothing, number) for number in range(count)]):
                task.result()
            walls.append((time.perf_counter() - wall) / count * 1000)
            costs.append((time.process_time() - cpu) / count * 1000)
        closing = time.perf_counter()
    wall, cost = statistics.median(walls), statistics.median(costs)
    print(f"an empty task: {wall:.2f} ms of wall time, {cost:.2f} ms of this process's CPU (client and scheduler)")
    print(f"closing: {time.perf_counter() - closing:.1f} s")
    return cost


def bound(workers: int) -> None:
    """Prints how much more `workers` processes at once do than one, each of one thread and without any engine between them."""
    command = [sys.executable, "-m", "benchmarks.workers", "--child"]

    def seconds(count: int) -> float:
        begun = [
            subprocess.Popen(command, env=os.environ | {"NPROC": "1"}, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        return max(float(one.communicate()[0].split()[-1]) for one in begun)

    rounds = [(seconds(1), seconds(workers)) for _ in range(3)]
    speed = statistics.median(workers * alone / together for alone, together in rounds)
    told = ", ".join(f"{alone:.1f} s and {together:.1f} s" for alone, together in rounds)
    print(f"{workers} processes at once do {speed:.2f} times what one does (one alone, and all at once: {told})", flush=True)


def _evolution(population: int, generations: int) -> Any:
    from neurograph.experiments import load_experiment

    training = f"{{method: cma, population: {population}, meta_steps: {generations}, validate_every: 10, validation_episodes: 1}}"
    return load_experiment("digits", (f"training={training}", "unroll.steps=15", "unroll.query_batches=20"))


def _child() -> None:
    from neurograph.experiments import meta_train

    with tempfile.TemporaryDirectory() as folder:
        print(_timed(lambda: meta_train(_evolution(20, 20), Path(folder) / "run")))


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _compared(name: str, alone: float, shared: float, workers: int, equal: bool) -> None:
    speed = alone / shared
    bits = "equal" if equal else "NOT EQUAL"
    print(f"| {name} | {alone:.1f} s | {shared:.1f} s | {speed:.2f} | {speed / workers:.2f} | {bits} |", flush=True)


def evolve(workers: int, population: int = 40, few: int = 10, many: int = 60) -> None:
    """Compares an evolution on digits in `workers` processes with one process, which uses all cores as well; the generations
    between the shorter and the longer one compile nothing."""
    import jax

    from neurograph.experiments import meta_train
    from neurograph.experiments.workers import make_executor

    times: dict[str, list[float]] = {"alone": [], "shared": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        meta_train(_evolution(2, 1), folder / "first")  # native code is compiled, data are read
        for count in (few, many):
            spec = _evolution(population, count)
            jax.clear_caches()
            times["alone"].append(_timed(lambda spec=spec, to=folder / f"alone{count}": meta_train(spec, to)))
            jax.clear_caches()
            with make_executor(workers) as executor:
                executor.submit(nothing, 0).result()
                to = folder / f"shared{count}"
                times["shared"].append(
                    _timed(lambda spec=spec, to=to, executor=executor: meta_train(spec, to, executor=executor))
                )
            equal = _genome(folder / f"alone{count}") == _genome(folder / f"shared{count}")
            rows = times["alone"][-1], times["shared"][-1]
            _compared(f"evolve, {population} individuals, {count} generations, compilation included", *rows, workers, equal)
    (alone_few, alone), (shared_few, shared) = times["alone"], times["shared"]
    name = f"evolve, {population} individuals, {many - few} further generations"
    _compared(name, alone - alone_few, shared - shared_few, workers, equal)


def transfer(workers: int) -> None:
    """Compares nine genomes (those of the zoo but the classics; the first of them also at half their updates) on the graphs for
    digits."""
    from neurograph.experiments.transfer.bundles import TaskSource
    from neurograph.experiments.transfer.matrix import transfer_matrix
    from neurograph.experiments.workers import make_executor
    from neurograph.genome import CLASSICS, load_genome_file, zoo_names
    from neurograph.topology import load_topology

    genomes: Any = {}
    for half in (False, True):
        for name in sorted({*zoo_names()} - {*CLASSICS}):
            file: Any = load_genome_file(name)
            genome = file.genome.replace(synapse_update=file.genome.synapse_update / 2) if half else file.genome
            genomes[f"{name} / 2" if half else name] = (genome, file.rule)
    genomes = dict(list(genomes.items())[:9])
    graphs = {name: load_topology(name) for name in fitting(quick=False)}
    source = TaskSource("digits")
    common: Any = (genomes, graphs, {"digits": source.task()})
    options: Any = {"at": (0, 10, 50), "seeds": 2, "optimizers": ()}
    found: dict[str, Any] = {}
    alone = _timed(lambda: found.update(alone=transfer_matrix(*common, **options)))
    with make_executor(workers) as executor:
        executor.submit(nothing, 0).result()
        elsewhere: Any = {"executor": executor, "sources": {"digits": source}}
        shared = _timed(lambda: found.update(shared=transfer_matrix(*common, **elsewhere, **options)))
    name = f"transfer, {len(genomes)} genomes x {len(graphs)} graphs"
    _compared(name, alone, shared, workers, found["alone"].rows == found["shared"].rows)


def _genome(folder: Path) -> Any:
    from neurograph.genome import load_genome_file

    return load_genome_file(folder / "genome.json").genome.to_dict()


def simulate(cost: float) -> None:
    """Prints the efficiency of W workers where the scheduler spends `cost` milliseconds on a task, half before and half after."""
    print(f"\nSimulated, {cost:.2f} ms of the scheduler per task: speed over one worker, efficiency in parentheses\n")
    print(f"| work | {' | '.join(f'{count:,}' for count in WORKERS)} |\n|---{'|---' * len(WORKERS)}|")
    for name, (tasks, waves, median, sigma) in WORK.items():
        rng = np.random.default_rng(0)
        times = median * np.exp(sigma * rng.standard_normal((waves, tasks)))
        alone = times.sum()
        speeds = [alone / sum(wave(own, count, cost / 2000) for own in times) for count in WORKERS]
        print(f"| {name} | {' | '.join(f'{s:,.1f} ({s / count:.2f})' for s, count in zip(speeds, WORKERS))} |")


def wave(times: np.ndarray, workers: int, half: float) -> float:
    """Returns when the last of some tasks is answered: a scheduler that does one thing at a time, workers that take what comes.

    Args:
      times: seconds of every task, [tasks].
      half: seconds of the scheduler to send a task, and to take an answer.
    """
    waiting, busy, clock, idle = list(times[::-1]), [], 0.0, workers
    last = 0.0
    while waiting or busy:
        if waiting and idle:
            clock += half
            heapq.heappush(busy, clock + waiting.pop())
            idle -= 1
            continue
        clock = max(clock, heapq.heappop(busy)) + half
        last, idle = clock, idle + 1
    return last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=["overhead", "bound", "evolve", "transfer", "simulate", []])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--overhead", type=float, help="milliseconds per task, for the simulation")
    options = parser.parse_args()
    if options.child:
        _child()
        return
    parts = options.parts or ["overhead", "bound", "evolve", "transfer", "simulate"]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before this started")
    cost = options.overhead
    if "overhead" in parts or ("simulate" in parts and cost is None):
        cost = overhead(options.workers)
    if "bound" in parts:
        bound(options.workers)
    if {"evolve", "transfer"} & {*parts}:
        print(f"\n| work | one process | {options.workers} workers | speed | efficiency | bits |\n|---|---|---|---|---|---|")
    if "evolve" in parts:
        evolve(options.workers)
    if "transfer" in parts:
        transfer(options.workers)
    if "simulate" in parts and cost is not None:
        simulate(cost)


if __name__ == "__main__":
    main()
