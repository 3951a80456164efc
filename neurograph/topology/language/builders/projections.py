"""Kinds that lead from one population to another: dense, one_to_one, random, local, residual, highway."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from neurograph.errors import TopologyError
from neurograph.topology.language import sampling
from neurograph.topology.language.builders.base import Builder, Canvas, Edges, Group, Name, Projection, register_builder

__all__ = ["Dense", "Highway", "Local", "OneToOne", "Random", "Residual"]

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, le=1)]


def dense_pairs(canvas: Canvas, source: Group, target: Group, self_synapses: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """All pairs, source by source."""
    canvas.reserve(source.size * target.size)
    senders = np.repeat(source.indices, target.size)
    receivers = np.tile(target.indices, source.size)
    if not self_synapses and source.start == target.start:
        keep = senders != receivers
        senders, receivers = senders[keep], receivers[keep]
    return senders, receivers


def one_to_one_pairs(canvas: Canvas, source: Group, target: Group) -> tuple[np.ndarray, np.ndarray]:
    """Equal places of two groups of one size."""
    if source.size != target.size:
        raise TopologyError(
            f"one-to-one needs equal sizes; {source.name!r} has {source.size:,} neurons, {target.name!r} has {target.size:,}."
        )
    canvas.reserve(source.size)
    return source.indices, target.indices


@register_builder
class Dense(Projection):
    """Every source neuron to every target neuron."""

    kind: Literal["dense"] = "dense"
    self_synapses: bool = Field(False, description="with `from` = `to`: also a synapse of each neuron to itself")

    def build(self, canvas: Canvas) -> Edges:
        return self.edges(*dense_pairs(canvas, *self.ends(canvas), self.self_synapses))


@register_builder
class OneToOne(Projection):
    """Each source neuron to the target neuron at its place; with `fixed` and weight 1 an identity skip."""

    kind: Literal["one_to_one"] = "one_to_one"

    def build(self, canvas: Canvas) -> Edges:
        return self.edges(*one_to_one_pairs(canvas, *self.ends(canvas)))


@register_builder
class Random(Projection):
    """Pairs drawn without replacement: a share of all (`density`), or a number of sources per target (`in_degree`)."""

    kind: Literal["random"] = "random"
    density: Share | None = Field(None, description="share of all pairs, rounded to a whole number of synapses")
    in_degree: Annotated[int, Field(ge=1)] | None = Field(None, description="synapses into each target neuron")
    seed: Seed | None = Field(None, description="its own seed instead of one derived from the file's")

    @model_validator(mode="after")
    def _one_of_two(self) -> Any:
        if (self.density is None) == (self.in_degree is None):
            raise ValueError("give either density or in_degree")
        return self

    def build(self, canvas: Canvas) -> Edges:
        source, target = self.ends(canvas)
        rng = canvas.rng if self.seed is None else np.random.default_rng(self.seed)
        itself = source.start == target.start  # then a neuron is no source of its own
        choices = source.size - itself
        if self.in_degree is not None:
            if self.in_degree > choices:
                raise TopologyError(f"in_degree is {self.in_degree}, but {source.name!r} offers only {choices:,} sources.")
            canvas.reserve(target.size * self.in_degree)
            chosen = sampling.distinct_rows(rng, target.size, choices, self.in_degree)
            place = np.repeat(np.arange(target.size), self.in_degree)
            chosen = chosen.ravel()
        else:
            total = choices * target.size
            count = max(1, round((self.density or 0) * total)) if total else 0
            canvas.reserve(count)
            codes = sampling.distinct(rng, total, count)
            place, chosen = codes // max(choices, 1), codes % max(choices, 1)
        if itself:
            chosen = chosen + (chosen >= place)
        return self.edges(source.start + chosen, target.start + place)


@register_builder
class Local(Projection):
    """Neurons no farther apart than `radius` on the grid of the source; the target's grid is stretched over it."""

    kind: Literal["local"] = "local"
    radius: float = Field(gt=0, description="in source cells")
    metric: Literal["euclidean", "chebyshev", "manhattan"] = Field("euclidean", description="a disc, a square, a diamond")
    wrap: bool = Field(False, description="opposite borders touch")

    def build(self, canvas: Canvas) -> Edges:
        source, target = self.ends(canvas)
        if len(source.shape) != len(target.shape):
            raise TopologyError(
                f"local needs grids of equal rank; {source.name!r} has the shape {source.shape}, {target.name!r} {target.shape}."
            )
        box = np.array(source.shape, float) if self.wrap else None
        if self.wrap and 2 * self.radius >= min(source.shape):
            raise TopologyError(
                f"radius {self.radius} reaches round the whole grid {source.shape}; wrap needs less than half a side."
            )
        here = np.indices(source.shape).reshape(len(source.shape), -1).T.astype(float)
        there = np.indices(target.shape).reshape(len(target.shape), -1).T
        there = (there + 0.5) * (np.array(source.shape) / np.array(target.shape)) - 0.5
        if box is not None:
            there = there % box
        power = {"euclidean": 2.0, "chebyshev": np.inf, "manhattan": 1.0}[self.metric]
        from scipy.spatial import KDTree  # a third of a second that most graphs do not need

        near, far = KDTree(here, boxsize=box), KDTree(there, boxsize=box)
        radius = self.radius * (1 + 1e-12)
        canvas.reserve(int(near.count_neighbors(far, radius, p=power)))
        found: Any = far.sparse_distance_matrix(near, radius, p=power, output_type="ndarray")
        place, chosen = found["i"].astype(np.int64), found["j"].astype(np.int64)
        order = np.lexsort((chosen, place))
        senders, receivers = source.start + chosen[order], target.start + place[order]
        keep = senders != receivers
        return self.edges(senders[keep], receivers[keep])


@register_builder
class Residual(Builder):
    """Dense synapses from a population through others to a last one, and a skip past them: y = skip(x) + F(x)."""

    kind: Literal["residual"] = "residual"
    from_: Name = Field(alias="from", description="population")
    through: list[Name] = Field(min_length=1, description="populations on the long way, in order")
    to: Name = Field(description="population")
    skip: Literal["identity", "dense", "one_to_one"] = Field(
        "identity", description="identity: fixed at 1, equal sizes; one_to_one: the same but learned; dense: learned, any sizes"
    )

    def build(self, canvas: Canvas) -> Edges:
        chain = [canvas.group(name) for name in (self.from_, *self.through, self.to)]
        canvas.reserve(sum(a.size * b.size for a, b in itertools.pairwise(chain)) + chain[0].size)
        pairs = [dense_pairs(canvas, a, b) for a, b in itertools.pairwise(chain)]
        long_way = sum(len(senders) for senders, _ in pairs)
        if self.skip == "dense":
            canvas.reserve(long_way + chain[0].size * chain[-1].size)
            pairs.append(dense_pairs(canvas, chain[0], chain[-1]))
        else:
            pairs.append(one_to_one_pairs(canvas, chain[0], chain[-1]))
        senders, receivers = (np.concatenate(part) for part in zip(*pairs))
        is_skip = np.arange(len(senders)) >= long_way
        if self.skip != "identity":
            return Edges(senders, receivers)
        return Edges(senders, receivers, weight=np.where(is_skip, 1.0, np.nan), fixed=is_skip)


@register_builder
class Highway(Builder):
    """From one population straight to several later ones, each by dense or sparse random synapses."""

    kind: Literal["highway"] = "highway"
    from_: Name = Field(alias="from", description="population or neuron")
    to: list[Name] = Field(min_length=1, description="populations or neurons")
    density: Share = Field(1.0, description="share of all pairs")
    seed: Seed | None = Field(None, description="its own seed instead of one derived from the file's")

    def build(self, canvas: Canvas) -> Edges:
        rng = canvas.rng if self.seed is None else np.random.default_rng(self.seed)
        source, targets = canvas.group(self.from_), [canvas.group(name) for name in self.to]
        counts = [max(1, round(self.density * source.size * target.size)) for target in targets]
        canvas.reserve(sum(counts))
        senders, receivers = [], []
        for target, count in zip(targets, counts):
            codes = sampling.distinct(rng, source.size * target.size, count)
            senders.append(source.start + codes // target.size)
            receivers.append(target.start + codes % target.size)
        return Edges(np.concatenate(senders), np.concatenate(receivers))
