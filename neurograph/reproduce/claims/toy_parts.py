"""Variation of genomes over first synapses, and decisions of their networks: parts of the reproduction `toy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from neurograph.topology import Topology

__all__ = ["GRAPH", "Hits", "Place", "maps", "over_synapses", "spreads"]

GRAPH = "mlp_2d_classes"
SIDE = 6  # of the square of images in `maps`

Hits = dict[tuple[str, str], dict[int, np.ndarray]]
"""{(label, task): {genome seed: [draws], the accuracy by every draw of first synapses}}."""


@dataclass(frozen=True)
class Place:
    """What is learned by which graph; `graph` is its name."""

    graph: str
    topology: Topology
    task: str


@jax.jit
def _accuracies(network: Network, genome: Any, episode: Any, keys: jax.Array) -> jax.Array:
    """Returns [keys], the accuracy on the query after learning the support from synapses drawn by every key."""

    def one(key: jax.Array) -> jax.Array:
        synapses, _ = network.unroll(genome, network.init(genome, key=key), *episode.support)
        return accuracy(network.predict(genome, synapses, episode.query.x), episode.query.y)

    return jax.lax.map(one, keys)


def over_synapses(members: Sequence[Trained], places: Mapping[str, Place], steps: int, draws: int, batch: int) -> Hits:
    """Returns accuracies after `steps` of `batch` points, drawn once per place, by `draws` draws of first synapses, the same
    for all."""
    keys = jax.random.split(jax.random.key(1), draws)
    hits: Hits = {}
    for name, place in places.items():
        episode = get_task(place.task).episode(jax.random.key(2), steps, batch, 512, query_split="test")
        for member in members:
            network = Network(place.topology, member.rule)  # type: ignore[arg-type]
            found = np.asarray(_accuracies(network, member.genome, episode, keys), float)
            hits.setdefault((member.label, name), {})[member.seed] = found
    return hits


def spreads(hits: Hits) -> list[Row]:
    """Returns per start and place the deviation of the accuracy over first synapses and over genomes.

    Over genomes: of their means over the synapses, less what the synapses alone would make of it.
    """
    rows: list[Row] = []
    for (label, name), by_seed in hits.items():
        found = np.array(list(by_seed.values()))
        inner = found.var(axis=1, ddof=1).mean()
        outer = found.mean(axis=1).var(ddof=1) - inner / found.shape[1] if len(found) > 1 else 0.0
        rows.append({"label": label, "task": name, "synapses": float(inner**0.5), "genomes": float(max(outer, 0) ** 0.5)})
        rows[-1] |= {"mean": float(found.mean()), "number": len(found), "draws": found.shape[1]}
    return rows


def maps(best: Trained, places: Mapping[str, Place], sets: Mapping[str, str], steps: int, side: int, batch: int) -> Picture:
    """Draws what figure 3 shows, points of all functions and images, over the answers of networks after `steps` steps."""
    figure, axes = panels(len(places), columns=5, width=2.3, height=2.3)
    genome: Any = best.genome
    for axis, (name, place) in zip(axes, places.items()):
        network = Network(place.topology, best.rule)  # type: ignore[arg-type]
        task = get_task(place.task)
        (xs, ys), query = task.episode(jax.random.key(3), steps, batch, 200, query_split="test")
        synapses, _ = network.unroll(genome, network.init(genome, key=jax.random.key(4)), xs, ys)
        # Moments of the training points: those of the grid would be another normalization.
        moments = network.statistics(genome, synapses, xs.reshape(-1, xs.shape[-1]))

        def answers(x: Any, network: Network = network, synapses: Any = synapses, moments: Any = moments) -> np.ndarray:
            return np.asarray(jax.nn.softmax(network.predict(genome, synapses, x, statistics=moments)))

        labels = np.asarray(decode_labels(query.y))
        right = answers(query.x).argmax(axis=1) == labels
        if task.image_shape is None:
            _points(axis, np.asarray(query.x), labels, answers, side)
        else:
            _tiles(axis, np.asarray(query.x).reshape(-1, *task.image_shape[:2]), right)
        axis.set_title(f"{name}, {right.mean():.2f}\n{'trained on' if sets[name] == 'trained on' else 'never seen'}", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(False)
    return figure


def _points(axis: Any, points: np.ndarray, labels: np.ndarray, answers: Any, side: int) -> None:
    """Draws points over the answers on [-2, 2]^2: the shares of the second class of two, the first class of several."""
    ticks, extent = np.linspace(-2, 2, side), (-2, 2, -2, 2)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2).astype(np.float32)
    found = answers(grid)
    colours = [COLOURS[1], COLOURS[0], *COLOURS[2:]]
    if found.shape[1] == 2:
        shown = found[:, 1].reshape(side, side)
        axis.imshow(shown, origin="lower", extent=extent, cmap="PuOr", vmin=0, vmax=1)
    else:
        from matplotlib.colors import ListedColormap

        shown = found.argmax(axis=1).reshape(side, side)
        map_ = ListedColormap(colours[: found.shape[1]])
        axis.imshow(shown, origin="lower", extent=extent, cmap=map_, vmin=-0.5, vmax=found.shape[1] - 0.5, alpha=0.45)
    for value in range(found.shape[1]):
        mine = points[labels == value]
        axis.scatter(
            mine[:, 0], mine[:, 1], s=5 if found.shape[1] == 2 else 14, color=colours[value], edgecolor="white", linewidth=0.3
        )
    axis.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], "-", color="black", lw=0.8)
    axis.set(xlim=extent[:2], ylim=extent[2:], xticks=(-2, 0, 2), yticks=(-2, 0, 2))


def _tiles(axis: Any, images: np.ndarray, right: np.ndarray) -> None:
    """Draws a square of images; those answered wrong have a frame."""
    count = min(len(images), SIDE**2)
    height, width = images.shape[1:]
    sheet = np.full((SIDE * height, SIDE * width), images.min())
    for number in range(count):
        top, left = number // SIDE * height, number % SIDE * width
        sheet[top : top + height, left : left + width] = images[number]
    axis.imshow(sheet, cmap="gray", extent=(0, SIDE * width, SIDE * height, 0))
    for number in np.flatnonzero(~right[:count]):
        top, left = number // SIDE * height, number % SIDE * width
        xs, ys = (left, left + width), (top, top + height)
        axis.plot([xs[0], xs[1], xs[1], xs[0], xs[0]], [ys[0], ys[0], ys[1], ys[1], ys[0]], "-", color=COLOURS[1], lw=1.6)
    axis.set(xticks=(), yticks=(), xlabel="framed: answered wrong")
