"""The graphs that everything here is measured on: seeded generators, arrays only, a name for each.

`WORKLOADS[name].topology()` gives a `neurograph.Topology` without biases, which not every peer has; `states` and `batch` are
those at which the bars are stated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from neurograph.topology import Topology

__all__ = ["WORKLOADS", "Workload", "connectome", "deep_dag", "layered", "layered_sparse", "local", "random_dag", "residual"]


@dataclass(frozen=True)
class Workload:
    """A graph with the sizes it is run at. `dense`: its layer sizes, where a dense peer can run it."""

    name: str
    make: Callable[[], Topology]
    states: int = 2
    batch: int = 128
    dense: tuple[int, ...] | None = None
    skips: str = ""

    def topology(self) -> Topology:
        made = self.make()
        return replace(made, bias=np.zeros(made.num_neurons, bool))


def _topology(n: int, senders: np.ndarray, receivers: np.ndarray, inputs: int, outputs: int, **fields: object) -> Topology:
    """The first `inputs` neurons are inputs, the last `outputs` are outputs; parallel synapses are merged."""
    key = np.unique(receivers.astype(np.int64) * n + senders)
    receivers, senders = np.divmod(key, n)
    fixed = fields.pop("identity", None)
    if fixed is not None:
        fields["fixed"] = np.isin(key, fixed)
        fields["weight"] = np.where(fields["fixed"], 1.0, np.nan)
    names = tuple(map(str, range(n)))
    return Topology(names, senders, receivers, np.arange(inputs), np.arange(n - outputs, n), **fields)  # type: ignore[arg-type]


def _pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(first, len(second)), np.tile(second, len(first))


def _spans(sizes: tuple[int, ...]) -> list[np.ndarray]:
    ends = np.cumsum([0, *sizes])
    return [np.arange(a, b) for a, b in itertools.pairwise(ends)]


def layered(sizes: tuple[int, ...]) -> Topology:
    """Complete layers, one after another."""
    spans = _spans(sizes)
    s, r = zip(*(_pairs(a, b) for a, b in itertools.pairwise(spans)), strict=True)
    return _topology(sum(sizes), np.concatenate(s), np.concatenate(r), sizes[0], sizes[-1])


def residual(sizes: tuple[int, ...], *, skips: str = "dense") -> Topology:
    """Complete layers; every hidden layer also reaches the next but one: completely, or one to one with fixed 1."""
    spans = _spans(sizes)
    s, r = map(list, zip(*(_pairs(a, b) for a, b in itertools.pairwise(spans)), strict=True))
    ones = []
    for a, b in zip(spans[1:-3], spans[3:-1], strict=True):
        ends = _pairs(a, b) if skips == "dense" else (a, b)
        if skips != "dense":
            ones.append(b.astype(np.int64) * sum(sizes) + a)
        s.append(ends[0])
        r.append(ends[1])
    extra = {} if skips == "dense" else {"identity": np.concatenate(ones)}
    return _topology(sum(sizes), np.concatenate(s), np.concatenate(r), sizes[0], sizes[-1], **extra)


def local(
    side: int = 28, reach: int = 1, channels: tuple[int, ...] = (1, 8, 8), outputs: int = 10, *, shared: bool = False
) -> Topology:
    """Locally connected maps of side x side positions, (2 reach + 1)^2 windows cut at the border, then a complete layer.

    `shared`: a window's synapses are one kernel for all positions, as in a convolution.
    """
    sizes = [side * side * c for c in channels] + [outputs]
    spans = _spans(tuple(sizes))
    rows, columns = np.divmod(np.arange(side * side), side)
    senders, receivers, groups, kernels = [], [], [], 0
    for layer, (c_in, c_out) in enumerate(itertools.pairwise(channels)):
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                inside = (rows + dy >= 0) & (rows + dy < side) & (columns + dx >= 0) & (columns + dx < side)
                target = np.flatnonzero(inside)
                source = target + dy * side + dx
                for i in range(c_in):
                    for o in range(c_out):
                        senders.append(spans[layer][source * c_in + i])
                        receivers.append(spans[layer + 1][target * c_out + o])
                        groups.append(np.full(len(target), kernels))
                        kernels += 1
    last = _pairs(spans[-2], spans[-1])
    s, r = np.concatenate([*senders, last[0]]), np.concatenate([*receivers, last[1]])
    group = np.concatenate([*groups, np.full(len(last[0]), -1)])
    n = sum(sizes)
    order = np.argsort(r.astype(np.int64) * n + s)
    extra = {"group": group[order]} if shared else {}
    return _topology(n, s, r, sizes[0], outputs, **extra)


def layered_sparse(levels: int = 10, width: int = 1000, synapses: int = 1_000_000, *, seed: int = 0) -> Topology:
    """`levels` levels of `width` neurons; synapses between neighbouring levels drawn at random. First level in, last out."""
    random = np.random.default_rng(seed)
    per_level = synapses // (levels - 1)
    senders, receivers = [], []
    for level in range(levels - 1):
        chosen = random.choice(width * width, per_level, replace=False)
        senders.append(chosen % width + level * width)
        receivers.append(chosen // width + (level + 1) * width)
    return _topology(levels * width, np.concatenate(senders), np.concatenate(receivers), width, width)


def random_dag(neurons: int, synapses: int, *, inputs: int = 100, outputs: int = 10, seed: int = 0) -> Topology:
    """Every non-input draws its senders uniformly from all earlier neurons that are not outputs."""
    random = np.random.default_rng(seed)
    receivers = np.sort(random.integers(inputs, neurons, synapses))
    receivers = np.concatenate([receivers, np.arange(inputs, neurons)])  # every neuron has a sender
    senders = (random.random(len(receivers)) * np.minimum(receivers, neurons - outputs)).astype(np.int64)
    return _topology(neurons, senders, receivers, inputs, outputs)


def deep_dag(
    neurons: int = 2000, synapses: int = 25_000, *, reach: int = 20, inputs: int = 10, outputs: int = 10, seed: int = 0
) -> Topology:
    """A narrow, very deep graph: senders are drawn from the `reach` neurons before the receiver."""
    random = np.random.default_rng(seed)
    receivers = np.concatenate([random.integers(inputs, neurons, synapses), np.arange(inputs, neurons)])
    newest = np.minimum(receivers, neurons - outputs)
    senders = newest - 1 - (random.random(len(receivers)) * np.minimum(newest, reach)).astype(np.int64)
    return _topology(neurons, senders, receivers, inputs, outputs)


def connectome(
    neurons: int = 140_000,
    synapses: int = 15_000_000,
    *,
    inputs: int = 10_000,
    outputs: int = 1_300,
    ticks: int = 5,
    spread: float = 1.0,
    reciprocal: float = 0.138,
    seed: int = 0,
) -> Topology:
    """A cyclic graph of the size of a fly's brain, all neurons updated at once for some ticks; made, not measured.

    Sizes are those of FlyWire (Dorkenwald et al. 2024: 139,255 neurons, some 15 million connected pairs where no threshold of
    synapses is set), the share of connections that have an opposite one is that of Lin et al. 2024 (0.138). Degrees are
    heavy-tailed: every neuron has lognormal propensities to send and to receive, of deviation `spread` in the logarithm, that
    share half of their variance; ends are drawn by them. The numbers of inputs and outputs, and `spread`, are chosen here.
    """
    random = np.random.default_rng(seed)
    common, *apart = random.standard_normal((3, neurons)) * (spread * 0.5**0.5)
    send, receive = (np.exp(common + own) for own in apart)
    receive[:inputs] = 0  # inputs are clamped
    send[neurons - outputs :] = 0

    def draw(propensity: np.ndarray, number: int) -> np.ndarray:
        return np.searchsorted(np.cumsum(propensity) / propensity.sum(), random.random(number), side="right")

    # What is drawn twice, and what closes on itself, is dropped: more are drawn than are wanted, and the rest is cut by lot, by
    # pairs of neurons, so that both ways of a pair stay or go together.
    single = round(1.2 * synapses)
    senders, receivers = draw(send, single), draw(receive, single)
    able = (receive[senders] > 0) & (send[receivers] > 0)
    turned = able & (random.random(single) < reciprocal / (2 - reciprocal) / able.mean())
    key = np.concatenate([receivers * neurons + senders, senders[turned] * neurons + receivers[turned]])
    key = np.unique(key[key % (neurons + 1) != 0])
    receivers, senders = np.divmod(key, neurons)
    _, pair = np.unique(np.minimum(receivers, senders) * neurons + np.maximum(receivers, senders), return_inverse=True)
    kept = np.sort(np.argsort(random.permutation(pair.max() + 1)[pair], kind="stable")[:synapses])
    receivers, senders = receivers[kept], senders[kept]
    lonely = np.setdiff1d(np.arange(inputs, neurons), receivers)  # with few synapses some receive nothing: they get one
    if len(lonely):
        drawn = draw(send, len(lonely))
        receivers = np.concatenate([receivers, lonely])
        senders = np.concatenate([senders, np.where(drawn == lonely, 0, drawn)])
    return _topology(neurons, senders, receivers, inputs, outputs, schedule="synchronous", ticks=ticks)


WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("mlp-784-512-10", lambda: layered((784, 512, 10)), dense=(784, 512, 10)),
        Workload("mlp-100-64-64-10", lambda: layered((100, 64, 64, 10)), states=4, dense=(100, 64, 64, 10)),
        Workload("residual-dense", lambda: residual((784, *[256] * 6, 10)), dense=(784, *[256] * 6, 10), skips="dense"),
        Workload(
            "residual-identity",
            lambda: residual((784, *[256] * 6, 10), skips="identity"),
            dense=(784, *[256] * 6, 10),
            skips="identity",
        ),
        Workload("local", local),
        Workload("conv", lambda: local(shared=True)),
        Workload("million-synapses", layered_sparse),
        Workload("dag-2k", lambda: random_dag(2_000, 20_000)),
        Workload("dag-20k", lambda: random_dag(20_000, 200_000)),
        Workload("deep-dag", deep_dag),
    )
}
