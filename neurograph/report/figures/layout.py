"""Where to put neurons and boxes: levels from left to right, few crossings, cycles as circles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurograph.topology import structure
from neurograph.topology.graph import Topology

__all__ = ["Box", "Link", "neuron_positions", "population_layout"]

MAX_BOXES = 40
MAX_COLUMNS = 7  # of boxes in one row: more are wrapped as lines of text are,
MAX_ACROSS = 5  # but not where more links on average would lead from one row to the next
PITCH = 3.4  # from one column of boxes to the next


@dataclass
class Box:
    """A population, or neurons put together because they belong to none."""

    name: str
    label: str
    role: str
    size: int
    dead: int
    x: float = 0.0
    y: float = 0.0
    width: float = 1.9
    height: float = 0.75


@dataclass
class Link:
    """All synapses from one box to another. `lane` 0 is a direct arrow, above 0 over the boxes, below 0 under them.

    `corners` are those of a way to another row of boxes, or of a way back to an earlier one; empty inside a row.
    """

    source: int
    target: int
    label: str
    style: str  # plain, fixed or shared
    cyclic: bool
    lane: int = 0
    height: float = 0.0
    corners: tuple[tuple[float, float], ...] = ()


def neuron_positions(
    t: Topology, *, shapes: Mapping[int, np.ndarray] | None = None, tallest: int | None = None
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Returns positions [n, 2] of the neurons, and the middle of every cyclic component.

    Args:
      shapes: positions [members, 2] of a component's neurons about its middle, by its number; the others are circles.
      tallest: columns of more single neurons are folded; None folds none.
    """
    shapes = shapes or {}
    sizes = np.bincount(t.components)
    level = t.levels.copy()
    isolated = (np.bincount(np.concatenate([t.senders, t.receivers]), minlength=t.num_neurons) == 0) & (sizes[t.components] == 1)
    last = t.outputs[sizes[t.components[t.outputs]] == 1]
    sinks = last[np.bincount(t.senders, minlength=t.num_neurons)[last] == 0]
    level[sinks] = level.max() if (level[sinks] == level.max()).any() else level.max() + 1  # all outputs in the last column
    # an item is one neuron or one cyclic component; columns hold items
    component_level = np.zeros(len(sizes), int)
    component_level[t.components] = level
    members = [np.flatnonzero(t.components == c) for c in range(len(sizes))]
    radius = np.where(sizes > 1, np.maximum(0.55, sizes * 0.8 / (2 * np.pi)), 0.0)
    for c, shape in shapes.items():
        radius[c] = max(0.55, float(np.linalg.norm(shape, axis=1).max()))
    columns: list[list[int]] = [np.flatnonzero(component_level == value).tolist() for value in range(component_level.max() + 1)]
    columns = [column for column in columns if column]
    alone = {int(t.components[i]) for i in np.flatnonzero(isolated)}
    place = np.zeros(len(sizes))
    neighbours: list[list[int]] = [[] for _ in sizes]
    for i, j in zip(t.components[t.senders].tolist(), t.components[t.receivers].tolist()):
        if i != j:
            neighbours[i].append(j)
            neighbours[j].append(i)

    def settle(column: list[int]) -> None:
        heights = [2 * radius[c] + 0.9 for c in column]
        top = sum(heights) / 2
        for c, height in zip(column, heights):
            place[c] = top - height / 2
            top -= height

    rank = {int(c): k for k, c in enumerate(t.components[np.concatenate([t.inputs, t.outputs])])}
    for column in columns:
        column.sort(key=lambda c: (c in alone, rank.get(int(c), 10**9), c))
        settle(column)
    for sweep in range(8):  # barycentres, there and back
        for column in columns[1:] if sweep % 2 == 0 else columns[-2::-1]:
            if len(column) > 1 and not all(int(c) in rank for c in column):
                middle = {c: float(np.mean([place[o] for o in neighbours[c]])) if neighbours[c] else place[c] for c in column}
                column.sort(key=lambda c: (c in alone, -middle[c]))
                settle(column)
    spot, middles, x = np.zeros((t.num_neurons, 2)), {}, 0.0
    for column in columns:
        widest = max(radius[c] for c in column)
        if tallest and len(column) > tallest and not widest:
            folds = -(-len(column) // tallest)
            tall = -(-len(column) // folds)
            for k, c in enumerate(column):
                spot[members[c][0]] = x + 0.8 * (k // tall), ((tall - 1) / 2 - k % tall) * 0.8
            x += 0.8 * (folds - 1) + 1.6
            continue
        x += widest
        for c in column:
            if sizes[c] == 1:
                spot[members[c][0]] = x, place[c]
            else:
                middles[int(c)] = np.array([x, place[c]])
                angle = np.pi - 2 * np.pi * np.arange(sizes[c]) / sizes[c]
                circle = radius[c] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
                spot[members[c]] = middles[int(c)] + shapes.get(int(c), circle)
        x += widest + (1.6 if len(columns) <= 12 else 1.2)
    return spot, middles


def _boxes(t: Topology) -> tuple[np.ndarray, list[Box]]:
    """The box of every neuron, and the boxes."""
    role = np.zeros(t.num_neurons, int)
    role[t.inputs], role[t.outputs] = 1, 2
    if t.population_names and len(t.population_names) <= MAX_BOXES:
        # neurons in no population stand together by role
        key = np.where(t.population >= 0, t.population, len(t.population_names) + role)
    else:
        level = t.levels.astype(int)
        wide = max(1, -(-(int(level.max()) + 1) // (MAX_BOXES // 2)))
        inner = np.where(role == 0, 2 + level // wide, np.where(role == 1, 0, 1))
        key = len(t.population_names) + inner if not t.population_names else 3 + inner
    keys, box_of = np.unique(key, return_inverse=True)
    boxes = []
    for number, value in enumerate(keys.tolist()):
        here = box_of == number
        size = int(here.sum())
        kinds = np.bincount(role[here], minlength=3)
        kind = "output" if kinds[2] else "input" if kinds[1] else "hidden"
        if t.population_names and len(t.population_names) <= MAX_BOXES and value < len(t.population_names):
            name, shape = t.population_names[value], t.population_shapes[value]
            label = " x ".join(map(str, shape)) if len(shape) > 1 else f"{size:,}"
            label += "".join(f", {count:,} {what}" for count, what in zip(kinds[1:], ("in", "out")) if 0 < count < size)
        else:
            levels = np.unique(t.levels[here])
            span = f"level {levels[0]}" if len(levels) == 1 else f"levels {levels[0]} to {levels[-1]}"
            name = {"input": "inputs", "output": "outputs"}.get(kind, span)
            label = f"{size:,}"
        boxes.append(Box(name, label, kind, size, int(t.dead[here].sum())))
    return box_of.ravel(), boxes


def population_layout(t: Topology) -> tuple[list[Box], list[Link]]:
    """Returns boxes with their positions and the links between them."""
    box_of, boxes = _boxes(t)
    n = len(boxes)
    pair = box_of[t.senders].astype(np.int64) * n + box_of[t.receivers]
    pairs, inverse, count = np.unique(pair, return_inverse=True, return_counts=True)
    fixed = np.bincount(inverse, weights=t.fixed, minlength=len(pairs))
    grouped = np.bincount(inverse, weights=t.group >= 0, minlength=len(pairs))
    source, target = pairs // n, pairs % n
    amount, component = structure.strong_components(n, source, target)
    inner = np.zeros(len(pairs), bool)  # links on a cycle of neurons, not only of boxes
    same = t.components[t.senders] == t.components[t.receivers]
    inner[inverse[same]] = True
    level = structure.component_levels(amount, component[source], component[target])[component].astype(float)
    # boxes of one cycle stand one after the other, in the order of the file
    order = np.lexsort((np.arange(n), component, level))
    column = np.zeros(n, int)
    following: dict[int, int] = {}
    next_free, level_start = 0, {}
    for box in order:
        if level[box] not in level_start:
            level_start[level[box]] = next_free
        first = level_start[level[box]]
        column[box] = first + following.get(int(component[box]), 0)
        following[int(component[box])] = following.get(int(component[box]), 0) + 1
        next_free = max(next_free, column[box] + 1)
    outputs = [i for i, box in enumerate(boxes) if box.role == "output" and not (source[target != source] == i).any()]
    for i in outputs:
        column[i] = column.max() if (column[outputs] == column.max()).any() else column.max() + 1
    for x in range(column.max() + 1):
        here = np.flatnonzero(column == x)
        for k, box in enumerate(here):
            boxes[box].y = ((len(here) - 1) / 2 - k) * 1.5
    for x in range(1, column.max() + 1):  # a box stands beside what feeds it
        here = np.flatnonzero(column == x)
        if len(here) > 1:
            pull = {b: [boxes[s].y for s, d in zip(source, target) if d == b and s != b] for b in here}
            for k, box in enumerate(sorted(here, key=lambda b: -float(np.mean(pull[b])) if pull[b] else 0.0)):
                boxes[box].y = ((len(here) - 1) / 2 - k) * 1.5
    links = []
    for k in range(len(pairs)):
        a, b = boxes[source[k]], boxes[target[k]]
        links.append(
            Link(
                int(source[k]), int(target[k]), *_label(t, k, inverse, int(count[k]), fixed[k], grouped[k], a, b), bool(inner[k])
            )
        )
    _wrap(boxes, links, column)
    return boxes, links


def _wrap(boxes: list[Box], links: list[Link], column: np.ndarray) -> None:
    """Places columns in as many rows as they need, one below the other, and routes the links."""
    columns = int(column.max()) + 1
    rows = -(-columns // MAX_COLUMNS)
    row, place = np.divmod(column, -(-columns // rows))
    across = [link for link in links if row[link.source] != row[link.target]]
    if len(across) > MAX_ACROSS * (rows - 1):
        rows, row, place, across = 1, np.zeros_like(column), column, []
    for i, box in enumerate(boxes):
        box.x = float(place[i]) * PITCH
    # a link to a later row runs in the gap above its target's, one to an earlier row in the gap below
    gap = [int(row[k.target]) - 1 if row[k.target] > row[k.source] else int(row[k.target]) for k in across]
    ends = [(boxes[k.source].x + boxes[k.source].width / 2, boxes[k.target].x - boxes[k.target].width / 2) for k in across]
    lane, ways = _lanes_of_gaps(gap, ends), {}
    bottom = 0.0  # of the rows so far
    for number in range(rows):
        here = np.flatnonzero(row == number)
        own = [link for link in links if row[link.source] == row[link.target] == number]
        _lanes([boxes[i] for i in here], own, place)
        loops = [boxes[k.source].y + 1.2 for k in own if k.source == k.target]
        top = max([boxes[i].y + boxes[i].height / 2 for i in here] + [k.height + 0.2 for k in own if k.lane > 0] + loops)
        low = min([boxes[i].y - boxes[i].height / 2 for i in here] + [k.height - 0.2 for k in own if k.lane < 0])
        if number:
            above = [k for k in range(len(across)) if gap[k] == number - 1]
            for k in above:
                ways[k] = bottom - 0.35 - 0.4 * lane[k]
            bottom -= 0.7 + 0.4 * max((lane[k] for k in above), default=0)
        shift = bottom - top
        for i in here:
            boxes[i].y += shift
        for link in own:
            link.height += shift
        bottom += low - top
    for k, (link, (start, stop)) in enumerate(zip(across, ends)):
        a, b = boxes[link.source], boxes[link.target]
        aside = 0.3 + 0.14 * (lane[k] % 4)  # lines of several lanes do not lie on each other
        link.lane = lane[k] + 1
        link.height = ways[k]
        turns = (start + aside, a.y), (start + aside, ways[k]), (stop - aside, ways[k]), (stop - aside, b.y)
        link.corners = ((start, a.y), *turns, (stop, b.y))


def _lanes_of_gaps(gap: list[int], ends: list[tuple[float, float]]) -> list[int]:
    """Returns a lane of every way through a gap between two rows, so that no two ways of a lane meet."""
    lanes: list[int] = []
    for k, (start, stop) in enumerate(ends):
        low, high = min(start, stop) - 1, max(start, stop) + 1
        taken = {lanes[o] for o in range(k) if gap[o] == gap[k] and low < max(ends[o]) + 1 and min(ends[o]) - 1 < high}
        lanes.append(next(lane for lane in range(len(ends)) if lane not in taken))
    return lanes


def _label(t: Topology, k: int, inverse: np.ndarray, count: int, fixed: float, grouped: float, a: Box, b: Box) -> tuple[str, str]:
    places = a.size * (b.size - 1 if a is b else b.size)
    if fixed == count:
        return f"{count:,} fixed", "fixed"
    if grouped == count:
        return f"{count:,} from {len(np.unique(t.group[inverse == k])):,} numbers", "shared"
    extra = f", {int(fixed):,} fixed" if fixed else ""
    if count >= places:
        return f"{count:,} dense{extra}", "plain"
    share = 100 * count / places
    return f"{count:,} ({share:.2g} %){extra}", "plain"


def _lanes(row: list[Box], links: list[Link], column: np.ndarray) -> None:
    """Arrows to the next column go straight; skips over the boxes and backward ones under them, each at a height of its own.

    Args:
      row: the boxes of one row; `links` lead from one of them to another; `column` is that of every box of the graph.
    """
    top, bottom = max(box.y for box in row), min(box.y for box in row)
    loops = {link.source for link in links if link.source == link.target}
    taken: dict[int, list[tuple[int, int, int]]] = {1: [], -1: []}
    far = [link for link in links if link.source != link.target and column[link.target] - column[link.source] != 1]
    for link in sorted(far, key=lambda k: abs(int(column[k.target] - column[k.source]))):
        first, last = sorted((int(column[link.source]), int(column[link.target])))
        side = 1 if column[link.target] > column[link.source] else -1
        lane = 1
        while any(depth == lane and first < stop and start < last for start, stop, depth in taken[side]):
            lane += 1
        taken[side].append((first, last, lane))
        link.lane = side * lane
        between = loops if side > 0 else set()
        lifted = 0.6 if any(first <= column[i] <= last for i in between) else 0.0
        link.height = (top + 0.55 + lifted + 0.45 * lane) if side > 0 else (bottom - 0.55 - 0.45 * lane)
