"""Size classes for graphs that are still to be drawn, chosen by graphs of the same distribution."""

from __future__ import annotations

from collections.abc import Sequence

from neurograph.network.batch.sizes import SizeClass, class_plan, join, padded, pairs

__all__ = ["choose_classes", "class_of", "counts_of", "shares_of"]

# A further class has to save this share of the work: each is one more program to compile.
WORTH = 0.15


def class_of(exact: SizeClass, classes: Sequence[SizeClass]) -> int | None:
    """Returns the index of the first class that holds a graph of these exact sizes; None where none does."""
    return next((number for number, size in enumerate(classes) if size.holds(exact)), None)


def choose_classes(exact: Sequence[SizeClass], most: int) -> tuple[SizeClass, ...]:
    """Returns classes that hold all of these graphs, such that padding costs little.

    Graphs of other schedules or tolerances cannot share a class. Of one kind, graphs are split by size where that saves the most
    multiply-adds; smaller classes come first.

    Args:
      exact: sizes of sample graphs, as often as they come, all with the same numbers of inputs and outputs.
      most: how many classes there may be, unless there are more kinds of graphs: each has one.
    """
    kinds: dict[tuple[str, float], list[SizeClass]] = {}
    for size in exact:
        kinds.setdefault((size.schedule, size.tolerance), []).append(size)
    groups = [sorted(group, key=work) for group in kinds.values()]
    while len(groups) < most:
        total = sum(map(_work_of, groups))
        splits = [(_work_of(group) - cost, number, at) for number, group in enumerate(groups) for cost, at in [_split(group)]]
        saved, number, at = max(splits)
        if saved < WORTH * total:
            break
        groups[number : number + 1] = [groups[number][:at], groups[number][at:]]
    return tuple(sorted((padded(join(group)) for group in groups), key=lambda size: (size.schedule, work(size))))


def work(size: SizeClass) -> int:
    """Multiply-adds of a pass per row and state."""
    plan = class_plan(size)
    phase, total = plan.phase_of_stage, 0
    for receiver, sender in pairs(size):
        own = plan.phases[phase[receiver]]
        ticks = own.ticks if own.cyclic and phase[receiver] == phase[sender] else 1
        total += ticks * plan.stages[receiver].size * plan.stages[sender].size
    return total


def _work_of(group: Sequence[SizeClass]) -> int:
    return len(group) * work(padded(join(group)))


def _split(group: Sequence[SizeClass]) -> tuple[int, int]:
    """Returns the least work of a group, sorted by it, that is cut in two, and where."""
    eighths = sorted({len(group) * part // 8 for part in range(1, 8)} - {0})
    cuts = [(_work_of(group[:at]) + _work_of(group[at:]), at) for at in eighths]
    return min(cuts, default=(_work_of(group), 0))


def shares_of(exact: Sequence[SizeClass], classes: Sequence[SizeClass]) -> tuple[float, ...]:
    """Returns the share of the graphs that fall in each class."""
    found = [class_of(size, classes) for size in exact]
    return tuple(found.count(number) / len(found) for number in range(len(classes)))


def counts_of(shares: Sequence[float], total: int) -> tuple[int, ...]:
    """Returns how many of `total` graphs each class gets: at least one, else as its share says."""
    counts = [1] * len(shares)
    for _ in range(total - len(shares)):
        # The one that is furthest behind its share.
        behind = [share * total - count for share, count in zip(shares, counts, strict=True)]
        counts[behind.index(max(behind))] += 1
    return tuple(counts)
