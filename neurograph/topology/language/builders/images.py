"""Kinds on grids with channels: convolution, average_pool. Populations have the shape (*grid, channels), or just the grid."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from neurograph.errors import TopologyError
from neurograph.topology.language.builders.base import Builder, Canvas, Edges, Group, Name, register_builder

__all__ = ["AveragePool", "Convolution"]

Size = Annotated[int, Field(ge=1)]
# one number stands for a square
PerAxis = Annotated[list[Size], BeforeValidator(lambda v: [v, v] if type(v) is int else v), Field(min_length=1, max_length=4)]


def _padding(value: object) -> object:
    values = value if isinstance(value, list) else [value]
    if value in ("same", "valid") or (values and all(type(v) is int and 0 <= v < 10**6 for v in values)):
        return value
    raise ValueError('expected "same", "valid", a whole number >= 0, or one such number per axis')


Padding = Annotated[Any, BeforeValidator(_padding)]


def _grid(group: Group, rank: int, kind: str) -> tuple[tuple[int, ...], int]:
    """Grid and channels of a population; a shape of just the grid has one channel."""
    if len(group.shape) == rank:
        return group.shape, 1
    if len(group.shape) == rank + 1:
        return group.shape[:-1], group.shape[-1]
    raise TopologyError(
        f"{kind} over {rank} axes needs populations of {rank} axes, or {rank + 1} with the channels last; "
        f"{group.name!r} has the shape {group.shape}."
    )


def _axis(size: int, kernel: int, stride: int, padding: str | int) -> tuple[int, int]:
    """Length of the result along one axis and the padding in front, as `lax.conv_general_dilated` has them."""
    if padding == "same":
        result = -(-size // stride)
        return result, max((result - 1) * stride + kernel - size, 0) // 2
    before = 0 if padding == "valid" else int(padding)
    return max((size + 2 * before - kernel) // stride + 1, 0), before


def _windows(
    grid: tuple[int, ...], out: tuple[int, ...], offset: tuple[int, ...], stride: list[int], before: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """For one kernel place: flat indices of the source cells and of the target cells that they serve, inside the grid only."""
    sources, targets = [], []
    for size, length, shift, step, pad in zip(grid, out, offset, stride, before):
        target = np.arange(length)
        source = target * step + shift - pad
        inside = (source >= 0) & (source < size)
        sources.append(source[inside])
        targets.append(target[inside])
    return (
        np.ravel_multi_index(np.meshgrid(*sources, indexing="ij"), grid).ravel(),
        np.ravel_multi_index(np.meshgrid(*targets, indexing="ij"), out).ravel(),
    )


def _per_axis(name: str, values: list[int], rank: int) -> list[int]:
    if len(values) == 2 and rank != 2 and values[0] == values[1]:
        values = [values[0]] * rank  # it came from one number
    if len(values) != rank:
        raise TopologyError(f"{name} has {len(values)} values; the kernel has {rank}.")
    return values


@register_builder
class Convolution(Builder):
    """A kernel moved over a grid; shared by default (one number per kernel entry, one bias per channel), or unshared."""

    kind: Literal["convolution"] = "convolution"
    from_: Name = Field(alias="from", description="population of shape (*grid, channels)")
    to: Name = Field(description="population of shape (*grid, channels)")
    kernel: PerAxis = Field(description="size of the kernel; one number means a square")
    stride: PerAxis = Field([1, 1], description="step of the kernel")
    padding: Padding = Field("same", description="same, valid, or zeros on either side")
    shared: bool = Field(True, description="false: every place has numbers of its own")
    depthwise: bool = Field(False, description="channel c only from channel c")

    def build(self, canvas: Canvas) -> Edges:
        source, target = canvas.group(self.from_), canvas.group(self.to)
        rank = len(self.kernel)
        grid, channels_in = _grid(source, rank, self.kind)
        out, channels_out = _grid(target, rank, self.kind)
        stride = _per_axis("stride", self.stride, rank)
        padding = self.padding if isinstance(self.padding, list) else [self.padding] * rank
        if len(padding) != rank:
            raise TopologyError(f"padding has {len(padding)} values; the kernel has {rank}.")
        lengths, before = zip(*(_axis(*axis) for axis in zip(grid, self.kernel, stride, padding)))
        if lengths != out or (self.depthwise and channels_in != channels_out):
            channels = channels_in if self.depthwise else "channels"
            wanted = f"({', '.join(map(str, (*lengths, channels)))})"
            if not all(lengths):
                wanted = "nothing: the kernel is larger than the padded grid"
            raise TopologyError(
                f"convolution of {source.name!r} {source.shape} with kernel {self.kernel}, stride {stride}, "
                f"padding {self.padding} gives {wanted}; {target.name!r} has the shape {target.shape}."
            )
        pairs_of_channels = channels_out * (1 if self.depthwise else channels_in)
        canvas.reserve(math.prod((*self.kernel, *out, pairs_of_channels)))
        if self.depthwise:
            into = outof = np.arange(channels_in)
        else:
            into, outof = (part.ravel() for part in np.indices((channels_in, channels_out)))
        # kernel entry by kernel entry: group g is entry g of the kernel array [*kernel, in, out] read row by row
        senders, receivers, groups = [], [], []
        for number, offset in enumerate(itertools.product(*map(range, self.kernel))):
            cell_in, cell_out = _windows(grid, out, offset, stride, list(before))
            senders.append((source.start + cell_in[None, :] * channels_in + into[:, None]).ravel())
            receivers.append((target.start + cell_out[None, :] * channels_out + outof[:, None]).ravel())
            groups.append(np.repeat(number * len(into) + np.arange(len(into)), len(cell_in)))
        group = np.concatenate(groups) if self.shared else None
        biases = (target, channels_out) if self.shared else None
        return Edges(np.concatenate(senders), np.concatenate(receivers), group=group, shared_biases=biases)


@register_builder
class AveragePool(Builder):
    """The mean over windows of a grid, channel by channel, as fixed synapses."""

    kind: Literal["average_pool"] = "average_pool"
    from_: Name = Field(alias="from", description="population of shape (*grid, channels)")
    to: Name = Field(description="population of shape (*grid, channels); usually with `bias: false`")
    window: PerAxis = Field(description="size of the window; one number means a square")
    stride: PerAxis | None = Field(None, description="step of the window; the window itself if not given")

    def build(self, canvas: Canvas) -> Edges:
        source, target = canvas.group(self.from_), canvas.group(self.to)
        rank = len(self.window)
        grid, channels = _grid(source, rank, self.kind)
        out, channels_out = _grid(target, rank, self.kind)
        stride = self.window if self.stride is None else _per_axis("stride", self.stride, rank)
        lengths = tuple(_axis(size, window, step, "valid")[0] for size, window, step in zip(grid, self.window, stride))
        if lengths != out or channels != channels_out:
            wanted = (
                f"({', '.join(map(str, (*lengths, channels)))})"
                if all(lengths)
                else "nothing: the window is larger than the grid"
            )
            raise TopologyError(
                f"average_pool of {source.name!r} {source.shape} with window {self.window}, stride {stride} gives {wanted}; "
                f"{target.name!r} has the shape {target.shape}."
            )
        canvas.reserve(math.prod((*self.window, *out, channels)))
        senders, receivers = [], []
        for offset in itertools.product(*map(range, self.window)):
            cell_in, cell_out = _windows(grid, out, offset, stride, [0] * rank)
            channel = np.arange(channels)
            senders.append((source.start + cell_in[:, None] * channels + channel).ravel())
            receivers.append((target.start + cell_out[:, None] * channels + channel).ravel())
        return Edges(np.concatenate(senders), np.concatenate(receivers), weight=1 / math.prod(self.window), fixed=True)
