"""How much of the time goes into data: drawing an episode against the learning on it, and loading.

    python benchmarks/data_throughput.py [--data-dir FOLDER] [--rounds 60] [--cpu-time]

Prints medians of interleaved rounds. One episode is 10 support batches of 128 and a query of 128; `learning` is the unrolled
inner loop without gradients, the least that anybody does with an episode; `training` is the meta-gradient through it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

import neurograph as ng
from neurograph.errors import TaskError
from neurograph.learning.inner_loop import meta_loss
from neurograph.tasks import Task, get_task

STEPS, BATCH, QUERY = 10, 128, 128
REPEATS = 4
CASES: tuple[tuple[str, dict[str, Any], tuple[int, ...], int], ...] = (
    ("xor", {}, (20, 20), 2),
    ("rotated_moons", {}, (20, 20), 2),
    ("digits", {}, (64, 64), 4),
    ("mnist/10x10", {}, (64, 64), 4),
    ("mnist", {}, (128, 128), 2),
    ("omniglot/small", {}, (128, 128), 2),
)


def medians(rounds: int, clock: Callable[[], float], calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each call, taken in turn so that a busy moment hits all of them."""
    for call in calls.values():
        jax.block_until_ready(call())
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            jax.block_until_ready(call())
            times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def layered(sizes: list[int]) -> ng.Topology:
    """Every layer fully connected to the next."""
    names = [f"layer{index}" for index in range(len(sizes))]
    dense = [{"kind": "dense", "from": sender, "to": receiver} for sender, receiver in itertools.pairwise(names)]
    return ng.build_topology(
        {"populations": dict(zip(names, sizes)), "inputs": names[0], "outputs": names[-1], "connections": dense}
    )


def measure(task: Task, hidden: tuple[int, ...], states: int, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    sizes = [task.num_inputs, *hidden, task.num_outputs]
    rule = ng.Rule(states=states, normalization="batch", batch_reduction="mean")
    network = ng.Network(layered(sizes), rule)
    key = jax.random.key(0)
    genome = ng.Genome.random(key, rule)

    def draw(task: Task, key: jax.Array) -> Any:
        return task.episode(key, STEPS, BATCH, QUERY)

    def loss(genome: ng.Genome, episode: Any, key: jax.Array) -> Any:
        return meta_loss(network, genome, episode, key=key)[0]

    # As in training: many in one program, so that starting a program is not what is measured.
    keys = jax.random.split(key, REPEATS)
    episode = draw(task, key)
    draws = jax.jit(lambda task, keys: jax.lax.map(lambda k: draw(task, k), keys))
    learns = jax.jit(lambda genome, episode, keys: jax.lax.map(lambda k: loss(genome, episode, k), keys))
    trains = jax.jit(lambda genome, episode, keys: jax.lax.map(lambda k: jax.grad(loss)(genome, episode, k), keys))
    found = medians(
        rounds,
        clock,
        {
            "episode": lambda: draws(task, keys),
            "learning": lambda: learns(genome, episode, keys),
            "training": lambda: trains(genome, episode, keys),
        },
    )
    return {name: seconds / REPEATS for name, seconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where tensorflow-datasets keeps its data")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--cpu-time", action="store_true", help="count the process's CPU time: steadier on a busy machine")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    titles = f"{'load s':>7} {'episode ms':>11} {'learning ms':>12} {'training ms':>12} {'data share of':>20}"
    print(f"{'task':<16} {'network':<18} {titles}")
    for name, options, hidden, states in CASES:
        if name.partition("/")[0] in ("mnist", "omniglot"):
            options = {**options, "data_dir": arguments.data_dir}
        try:
            get_task(name, **options)
            start = time.perf_counter()
            task = get_task(name, **options)
            jax.block_until_ready(getattr(task, "data", None))
            load = time.perf_counter() - start
        except TaskError as error:
            print(f"{name:<16} left out: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        found = measure(task, hidden, states, arguments.rounds, clock)
        episode, learning, training = (1e3 * found[part] for part in ("episode", "learning", "training"))
        network = "-".join(map(str, (task.num_inputs, *hidden, task.num_outputs))) + f" k={states}"
        shares = f"{episode / (episode + learning):8.1%} {episode / (episode + training):8.1%}"
        print(f"{name:<16} {network:<18} {load:7.2f} {episode:11.3f} {learning:12.2f} {training:12.2f} {shares:>20}", flush=True)


if __name__ == "__main__":
    main()
