"""Variation of genomes for functions of two variables, and decisions of their networks: parts of the reproduction `toy`."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from neurograph.experiments.transfer.results import Row
from neurograph.learning.inner_loop import accuracy
from neurograph.network.network import Network
from neurograph.report.figures.bands import panels
from neurograph.report.figures.style import COLOURS, Picture
from neurograph.reproduce.workbench import Trained
from neurograph.tasks import decode_labels, get_task
from neurograph.topology import load_topology

__all__ = ["GRAPH", "maps", "spreads_of"]

GRAPH = "mlp_2d_classes"
SHOWN = (("xor", "moons", "circle", "square"), ("nxor", "rotated_moons", "cross", "triangle"))


@jax.jit
def _accuracies(network: Network, genome: Any, episode: Any, keys: jax.Array) -> jax.Array:
    """Returns [keys], the accuracy on the query after learning the support from synapses drawn by every key."""

    def one(key: jax.Array) -> jax.Array:
        synapses, _ = network.unroll(genome, network.init(genome, key=key), *episode.support)
        return accuracy(network.predict(genome, synapses, episode.query.x), episode.query.y)

    return jax.lax.map(one, keys)


def spreads_of(members: list[Trained], tasks: tuple[str, ...], steps: int, draws: int) -> list[Row]:
    """Returns per start and function the deviation of the accuracy over first synapses and over genomes, on one draw of batches.

    Over genomes: of their means over the synapses, less what the synapses alone would make of it.
    """
    keys = jax.random.split(jax.random.key(1), draws)
    episodes = {task: get_task(task).episode(jax.random.key(2), steps, 64, 512, "test") for task in tasks}
    rows: list[Row] = []
    for label in dict.fromkeys(member.label for member in members):
        mine = [member for member in members if member.label == label]
        networks = [Network(load_topology(GRAPH), member.rule) for member in mine]  # type: ignore[arg-type]
        for task, episode in episodes.items():
            hits = np.array([_accuracies(n, m.genome, episode, keys) for n, m in zip(networks, mine)], float)
            inner = hits.var(axis=1, ddof=1).mean()
            outer = hits.mean(axis=1).var(ddof=1) - inner / draws if len(mine) > 1 else 0.0
            rows.append({"label": label, "task": task, "synapses": float(inner**0.5), "genomes": float(max(outer, 0) ** 0.5)})
            rows[-1] |= {"mean": float(hits.mean()), "number": len(mine), "draws": draws}
    return rows


def maps(best: Trained, steps: int, side: int, columns: int = 4) -> Picture:
    """Draws the answers of networks on [-2, 2]^2 after `steps` steps, as shares of the softmax."""
    genome: Any = best.genome
    network = Network(load_topology(GRAPH), best.rule)  # type: ignore[arg-type]
    ticks = np.linspace(-2, 2, side)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2).astype(np.float32)
    figure, axes = panels(2 * columns, columns=columns, width=2.2, height=2.2, sharex=True, sharey=True)
    for axis, (row, task) in zip(axes, ((row, task) for row, tasks in enumerate(SHOWN) for task in tasks[:columns])):
        (xs, ys), query = get_task(task).episode(jax.random.key(3), steps, 64, 200, "test")
        synapses, _ = network.unroll(genome, network.init(genome, key=jax.random.key(4)), xs, ys)
        # Moments of the training points: those of the grid would be another normalization.
        moments = network.statistics(genome, synapses, xs.reshape(-1, 2))
        answer = jax.nn.softmax(network.predict(genome, synapses, grid, statistics=moments))[:, 1]
        extent = (-2, 2, -2, 2)
        axis.imshow(np.asarray(answer).reshape(side, side), origin="lower", extent=extent, cmap="PuOr", vmin=0, vmax=1)
        labels = np.asarray(decode_labels(query.y))
        for value, colour in ((0, COLOURS[1]), (1, COLOURS[0])):
            points = np.asarray(query.x)[labels == value]
            axis.scatter(points[:, 0], points[:, 1], s=5, color=colour, edgecolor="white", linewidth=0.3)
        axis.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], "-", color="black", lw=0.8)
        axis.set(xlim=extent[:2], ylim=extent[2:])
        axis.set_title(f"{task} ({'never seen' if row else 'trained on'})", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.grid(False)
    return figure
