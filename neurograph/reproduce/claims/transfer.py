"""Beyond the paper: genomes by the graphs that they were trained on, on graphs that they never saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.report.figures.transfer import heat_map
from neurograph.reproduce.claims.properties import PROPERTIES, predictors, properties, relate, relation_figure
from neurograph.reproduce.summaries import baseline_rows, range_of, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench
from neurograph.topology import load_topology
from neurograph.topology.shipped import shipped_names

__all__ = ["TRAINING", "run"]

TRAINING: dict[str, tuple[str, ...]] = {
    "shallow": ("mlp1",),
    "layered": ("mlp",),
    "deep": ("mlp4",),
    "very deep": ("deep_mlp",),
    "narrow": ("mlp_narrow",),
    "residual": ("residual",),
    "learned skips": ("dense_skips",),
    "local": ("receptive_fields",),
    "mildly irregular": ("irregular_mild",),
    "irregular": ("irregular_dag",),
    "very irregular": ("irregular_wild",),
    "small world": ("small_world",),
    "cyclic": ("reservoir",),
    "shallow, deep": ("mlp1", "mlp4"),
    "layered, irregular": ("mlp", "irregular_dag"),
    "layered, small world": ("mlp", "small_world"),
    "deep, irregular": ("mlp4", "irregular_dag"),
    "four kinds": ("mlp", "residual", "irregular_dag", "small_world"),
}
"""Shipped topologies that genomes are trained on together, by the name of the set."""
START = "start: gradient descent"
UNIVERSAL = "universal"
"""Genome of the zoo that is tested among the rest: nobody trained it, and on none of these graphs were its numbers chosen."""
EPISODES = 4
"""Episodes per meta-step, for any number of graphs."""


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """The matrix, and what property of the training graphs goes with transfer."""
    training = bench.pick({"layered": tuple(bench.image_places()[0].values())}, TRAINING, TRAINING)
    meta_steps, seeds = bench.pick(2, 200, 10_000), bench.seeds(1, 3, 5)
    runs = bench.train({name: _variant(bench, on, meta_steps) for name, on in training.items()}, seeds)
    runs |= bench.train({START: _variant(bench, next(iter(training.values())), 0)}, 1)
    if bench.scale != "smoke":
        zoo = bench.zoo(UNIVERSAL)
        runs[zoo.label] = [zoo]
    graphs = _fitting(bench)
    steps, judged = bench.pick((0, 2), (0, 10, 50), (0, 10, 50)), bench.pick(2, 10, 10)
    rivals = {"optimizers": bench.pick((), ("sgd", "momentum"), ("sgd", "momentum")), "validation_seeds": bench.pick(1, 1, 3)}
    rivals |= {"learning_rates": bench.pick((0.1,), (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), tuple(np.geomspace(0.001, 10, 9)))}
    sizes = {"seeds": bench.pick(1, 2, 5), "query_size": bench.pick(64, 360, 360)}
    matrix = bench.test(runs, graphs, {"digits": "digits"}, at=steps, **sizes, **rivals)
    rows = [*tested(matrix)]
    if bench.scale != "smoke":  # MNIST is not embedded
        second = bench.test(runs, graphs, {"mnist 8x8": {"name": "mnist", "size": 8}}, at=steps, **sizes)
        rows += tested(second)
    bench.csv("data.csv", rows)
    best = baseline_rows(matrix)
    if best:
        bench.csv("baselines.csv", best)
    of = {name: properties(load_topology(path)) for name, path in graphs.items()}
    bench.csv("properties.csv", [{"graph": name} | found for name, found in of.items()])
    places = {path: name for name, path in graphs.items()}
    sets = {name: [places[path] for path in on] for name, on in training.items()}
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    outcome = {task: _held_out(rows, sets, list(of), task, judged) for task in tasks}
    related = {task: relate(_mean(found, 0), predictors(sets, of)) for task, found in outcome.items()}
    if any(related.values()):
        related |= {f"{task}, no cycles": _acyclic(_mean(found, 0), sets, of) for task, found in outcome.items()}
        bench.csv("relations.csv", [{"where": where} | row for where, found in related.items() for row in found])
        bench.figure("relations.png", relation_figure(related), dpi=90)
    picture = heat_map(_by_set(matrix, list(runs)), judged)
    width, height = picture.get_size_inches()
    picture.set_size_inches(0.72 * width, 0.8 * height)
    bench.figure("heat_map.png", picture, dpi=90, colours=200)
    settings = (
        "Two states, from the genome of gradient descent through batch normalization on (experiment digits-descent),"
        f" {meta_steps} meta-steps of {EPISODES} episodes, one genome, kept where it was best on validation data; {len(training)}"
        f" sets of graphs, {seeds} seed{'s' * (seeds > 1)} each, {sizes['seeds']} test runs per genome and graph. Graphs: all"
        f" {len(graphs)} shipped ones of 64 inputs and 10 outputs; a genome is judged on those that it was not trained on. Looked"
        " at for what makes a genome transfer: more of, and nearness to the training graphs in,"
        f" {', '.join(PROPERTIES.values())}; nearness in all; number of graphs."
    )
    findings = _answers(related)
    findings += _several(outcome, sets) + _beside(rows, outcome, best, sets, list(of), judged)
    findings += [_one_for_all(rows, best, "digits", step) for step in steps if best and step]
    return findings, settings


def _fitting(bench: Workbench) -> dict[str, str]:
    """Returns all shipped graphs for the digits by name; at smoke scale the one trained on and another."""
    if bench.scale == "smoke":
        return bench.image_places()[0] | {"two_towers": "two_towers"}
    found = {name: load_topology(name) for name in shipped_names()}
    return {name: name for name, one in found.items() if (len(one.inputs), len(one.outputs)) == (64, 10)}


def _variant(bench: Workbench, topologies: tuple[str, ...], meta_steps: int) -> Variant:
    problems = ", ".join(f"{{task: digits, topology: {name}}}" for name in topologies)
    more = (f"problems=[{problems}]", f"unroll.replicas={EPISODES // len(topologies)}")
    if not meta_steps:
        more += ("start.spread=0.0",)
    return bench.variant("digits-descent", f"training.meta_steps={meta_steps}", *more)


def _held_out(rows: Sequence[Row], sets: Mapping[str, Sequence[str]], graphs: list[str], task: str, step: int) -> np.ndarray:
    """Returns [seeds, sets, graphs], the mean accuracy of a genome; NaN where it was trained on the graph, or was lost."""
    names, seeds = list(sets), 1 + max(row["genome_seed"] for row in rows)
    cells: dict[tuple[int, int, int], list[float]] = {}
    for row in rows:
        if row["task"] == task and row["step"] == step and row["label"] in sets and row["topology"] not in sets[row["label"]]:
            place = row["genome_seed"], names.index(row["label"]), graphs.index(row["topology"])
            cells.setdefault(place, []).append(row["accuracy"])
    found = np.full((seeds, len(names), len(graphs)), np.nan)
    for place, values in cells.items():
        found[place] = np.mean(values)
    return found


def _mean(found: np.ndarray, axis: int) -> np.ndarray:
    """Returns the mean of the finite values; NaN where there are none."""
    return np.ma.masked_invalid(found).mean(axis=axis).filled(np.nan)


def _by_set(matrix: TransferMatrix, names: list[str]) -> TransferMatrix:
    """The genomes of a set as one, all seeds together."""
    rows = tuple(row | {"genome": row["genome"] and row["genome"].rpartition(" / ")[0]} for row in matrix.rows)
    notes = matrix.notes | {"genomes": [name for name in names if any(row["genome"] == name for row in rows)]}
    return dataclasses.replace(matrix, rows=rows, notes=notes)


def _acyclic(outcome: np.ndarray, sets: Mapping[str, Sequence[str]], of: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """`relate` among sets and graphs without cycles."""
    plain = {name: found for name, found in of.items() if not found["cyclic"]}
    kept = {name: members for name, members in sets.items() if all(member in plain for member in members)}
    rows, columns = [list(sets).index(name) for name in kept], [list(of).index(name) for name in plain]
    return relate(outcome[np.ix_(rows, columns)], predictors(kept, plain))


def _answers(related: Mapping[str, Sequence[Row]]) -> list[Finding]:
    """Judges which properties go with transfer on the task trained on, on the other task, and without cycles."""
    (_, first), *others = related.items()
    if not first:
        return []
    sure = [row for row in first if row["corrected"] < 0.05 and row["lowest"] * row["highest"] > 0 and row["predicted"] > 0]
    question = (
        "What makes a genome transfer? (answered by what has p < 0.05 after correction for all that was looked at, keeps its sign"
        " without any one set, and predicts sets left out)"
    )
    near, more = ([row["rho"] for row in first if row["predictor"].startswith(word)] for word in ("near in", "more: "))
    text = (
        f"{', '.join(row['predictor'] for row in sure) or 'nothing for sure'}. Rank correlation over {first[0]['sets']} sets of"
        f" training graphs, mean over graphs: {'; '.join(_relation(row) for row in (sure or first)[:6])}. {len(first)} looked"
        f" at: nearness to the training graphs {range_of(near, 2)}, more of a property {range_of(more, 2)}"
    )
    findings = [Finding(question, text, bool(sure), "too few sets, or none of these properties")]
    for where, rows in others if sure else ():
        again = {row["predictor"]: row for row in rows}
        known = [row for row in sure if row["predictor"] in again]  # without cycles nothing is nearer in them
        same = [row for row in known if again[row["predictor"]]["p"] < 0.05 and again[row["predictor"]]["rho"] * row["rho"] > 0]
        text = "; ".join(_relation(again[row["predictor"]]) for row in known[:6])
        claim = f"The same is seen on {where} (p < 0.05 with the same sign, for each)"
        findings.append(Finding(claim, text, len(same) == len(known) > 0, "task and graphs decide, too, what is hard"))
    return findings


def _relation(row: Row) -> str:
    return (
        f"{row['predictor']} {row['rho']:+.2f} ({row['lowest']:+.2f} to {row['highest']:+.2f} without one set), p {row['p']:.4f}"
        f" (corrected {row['corrected']:.3f}), error explained on sets left out {row['predicted']:+.2f}"
    )


def _several(outcome: Mapping[str, np.ndarray], sets: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Sets of several graphs against each of their graphs alone, on what neither saw."""
    names, text, not_worse, compared = list(sets), [], 0, 0
    alone = {members[0]: name for name, members in sets.items() if len(members) == 1}
    found = next(iter(outcome.values()))
    for name, members in sets.items():
        parts = [alone[one] for one in members if one in alone]
        if len(members) < 2 or not parts:
            continue
        own = found[:, names.index(name)]
        gains = {part: _mean(own - found[:, names.index(part)], 1) for part in parts}
        gains = {part: gain[np.isfinite(gain)] for part, gain in gains.items()}
        compared, not_worse = compared + 1, not_worse + all(np.median(gain) >= 0 for gain in gains.values() if len(gain))
        text.append(f"{name}: " + ", ".join(f"{five_numbers(gain)['median']:+.3f} than {part}" for part, gain in gains.items()))
    if not compared:
        return []
    claim = "Trained on several graphs at once, a genome carries over no worse than one trained on any of them alone"
    seen = f"median difference over seeds on graphs that neither saw: {'; '.join(text)}; {not_worse} of {compared}"
    return [Finding(claim, seen, not_worse == compared, "the same episodes are shared out among more kinds of graph")]


def _beside(
    rows: Sequence[Row],
    outcome: Mapping[str, np.ndarray],
    best: Sequence[Row],
    sets: Mapping[str, Sequence[str]],
    graphs: list[str],
    judged: int,
) -> list[Finding]:
    """Judges the genomes beside their start, and beside gradient descent at its best rate on every graph."""
    findings = []
    for task, found in outcome.items():
        begun: dict[str, list[float]] = {}
        for row in rows:
            if (row["label"], row["task"], row["step"]) == (START, task, judged):
                begun.setdefault(row["topology"], []).append(row["accuracy"])
        start = np.array([np.mean(begun[name]) for name in graphs])
        each, median = _mean(found, 2), np.ma.median(np.ma.masked_invalid(found), axis=0).filled(np.nan)
        order = np.argsort([-five_numbers(column[np.isfinite(column)])["median"] for column in each.T])
        by_set = ", ".join(f"{list(sets)[i]} {range_of(each[np.isfinite(each[:, i]), i])}" for i in order)
        told_of = int((median > start).sum()), int(np.isfinite(median).sum())
        text = f"mean accuracy after {judged} steps on graphs not trained on, median (lowest to highest seed): {by_set}"
        text += f"; the start {start.mean():.3f} on all graphs"
        rival = {row["topology"]: row["median"] for row in best if row["step"] == judged and row["task"] == task}
        if rival:
            text += f", gradient descent at its best rate on each graph {np.mean(list(rival.values())):.3f}"
        claim = (
            f"Meta-training makes genomes better than their start on graphs not trained on ({task}; most pairs of set and graph)"
        )
        text += f"; better than the start in {told_of[0]} of {told_of[1]} pairs"
        findings.append(Finding(claim, text, told_of[0] > told_of[1] / 2, "what helps on one graph is too much on another"))
    return findings


def _one_for_all(rows: Sequence[Row], best: Sequence[Row], task: str, step: int) -> Finding:
    """Judges `UNIVERSAL` beside gradient descent tuned for each graph."""
    own: dict[str, list[float]] = {}
    for row in rows:
        if row["label"].endswith(UNIVERSAL) and (row["task"], row["step"]) == (task, step):
            own.setdefault(row["topology"], []).append(row["accuracy"])
    rival = {row["topology"]: row["median"] for row in best if (row["task"], row["step"]) == (task, step)}
    genome, descent = ({name: float(np.median(values)) for name, values in each.items()} for each in (own, rival))
    worst = min(genome, key=lambda name: genome[name])
    ahead = sum(genome[name] > descent[name] for name in genome)
    mean, other = np.mean(list(genome.values())), np.mean([descent[name] for name in genome])
    claim = f"The zoo's {UNIVERSAL}, which nobody trained, is ahead of descent tuned for each graph ({task}, {step} steps)"
    text = f"mean accuracy {mean:.3f} against {other:.3f}; ahead on {ahead} of {len(genome)} graphs"
    text += f"; worst {worst}, {genome[worst]:.3f}"
    return Finding(claim, text, bool(mean > other), "what one setting loses to a rate tuned for each graph is more than it gains")
