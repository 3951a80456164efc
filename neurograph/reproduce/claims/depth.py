"""Figure 10: genomes on networks of other depths and widths than they were trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.summaries import at, baseline_rows, by_genome, by_label, range_of, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Variant, Workbench
from neurograph.topology.layered import layered_document

__all__ = ["run"]

CARRIED = 0.9
"""A genome carries over to a depth or width if it keeps this share of its accuracy where it was trained."""
DESCENT = {False: "gradient descent", True: "gradient descent, batch norm"}


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes trained at 2, 3 and 4 hidden layers of 64, and at several at once, on 1 to 10, and on narrower and wider ones."""
    trained_at = bench.pick((1,), (2, 3, 4), (2, 3, 4))
    depths = bench.pick((1, 2), tuple(range(1, 11)), tuple(range(1, 11)))
    files = {depth: _plain(bench, depth) for depth in {*depths, *trained_at}}
    seeds = bench.seeds(1, 3, 3)
    labels = {depth: f"trained at {depth}" for depth in trained_at}
    runs = bench.train({labels[depth]: _variant(bench, files[depth], depth) for depth in trained_at}, seeds)
    runs |= _several(bench, runs[labels[trained_at[0]]])
    steps, judged = bench.pick((0, 2), (0, 10, 50), (0, 10, 50)), bench.pick((2,), (10, 50), (10, 50))
    own = bench.pick(16, 64, 64)  # the width that is trained at
    widths = bench.pick((8, own), (16, 32, own, 128, 256), (16, 32, own, 128, 256, 512))
    task = bench.pick({"digits": "digits"}, {"mnist/10x10": "mnist/10x10"}, {"mnist/10x10": "mnist/10x10"})
    beside = bench.pick((), (1, 4, 10), depths)  # where gradient descent is tuned, too
    sizes = {"at": steps, "seeds": bench.pick(1, 2, 5), "query_size": bench.pick(64, 1024, 2048)}
    alone = {str(depth): files[depth] for depth in depths if depth not in beside}
    matrices = [bench.test(runs, alone, task, **sizes)] if alone else []
    if beside:
        sizes |= {"optimizers": ("sgd", "momentum"), "validation_seeds": bench.pick(1, 2, 3)}
        matrices.append(bench.test(runs, {str(depth): files[depth] for depth in beside}, task, **sizes))
    alike = {name: sizes[name] for name in ("at", "seeds", "query_size")}
    wide = _widths(bench, runs, labels, [width for width in widths if width != own], task, alike)
    rows = [row | {"depth": int(row["topology"])} for matrix in matrices for row in tested(matrix)]
    wide += [row | {"width": own} for row in rows if row["label"] == labels.get(row["depth"])]
    bench.csv("data.csv", rows)
    bench.csv("widths.csv", wide)
    table = summarize(rows, by=("label", "depth", "step"))
    rivals = [
        row | {"label": label, "depth": int(row["topology"])}
        for matrix in matrices
        for batch_norm, label in DESCENT.items()
        for row in baseline_rows(matrix, batch_norm=batch_norm)
    ]
    if rivals:
        bench.csv("baselines.csv", rivals)
    broad = summarize(wide, by=("label", "width", "step"))
    _draw(bench, table, rivals, broad, judged)
    findings = _findings(rows, table, rivals, labels, depths, judged)
    findings.insert(2, _width_finding(broad, list(labels.values()), widths, own, judged[0]))
    several = f" (several depths at once: {bench.pick(0, 80, 10_000)} more, from the shallowest's genome)"
    settings = (
        f"Hidden layers of {own}, and of {', '.join(str(width) for width in widths)} at the depth that a genome was trained at;"
        f" {seeds} seeds of {bench.recipe_steps} meta-steps per depth{several if len(runs) > len(labels) else ''},"
        f" {sizes['seeds']} test runs per genome and network. {bench.recipe_words}"
    )
    return findings, settings


def _plain(bench: Workbench, depth: int, width: int | None = None) -> str:
    """Returns the path of 100-64-...-64-10 with so many hidden layers, or with layers of another width."""
    side, own = bench.pick(8, 10, 10), bench.pick(16, 64, 64)
    if depth == bench.pick(1, 2, 2) and width in (None, own):
        return next(iter(bench.image_places()[0].values()))
    name = f"depth{depth}_{side}x{side}" + (f"_{width}" if width not in (None, own) else "")
    return bench.topology(name, layered_document((side, side), *[width or own] * depth, 10))


def _widths(
    bench: Workbench,
    runs: Mapping[str, list[Trained]],
    labels: Mapping[int, str],
    widths: Sequence[int],
    task: Mapping[str, str],
    sizes: Mapping[str, Any],
) -> list[Row]:
    """Returns the tests on layers of other widths, each genome at the depth that it was trained at (laptop: the shallowest)."""
    found: list[Row] = []
    for depth, label in labels.items():
        if bench.scale == "paper" or depth == min(labels):
            graphs = {str(width): _plain(bench, depth, width) for width in widths}
            if any(one.genome is not None for one in runs[label]):
                found += tested(bench.test({label: runs[label]}, graphs, task, **sizes))
    return [row | {"width": int(row["topology"])} for row in found]


def _variant(bench: Workbench, topology: str, depth: int) -> Variant:
    shared = depth == bench.pick(1, 2, 2)  # the genome that several reproductions test
    return bench.images(*bench.recipe(), *(() if shared else (f"problems=[{{task: mnist/10x10, topology: {topology}}}]",)))


def _several(bench: Workbench, shallow: list[Trained]) -> dict[str, list[Trained]]:
    """Meta-training goes on from every shallow genome, through one, four and six hidden layers at once.

    Its experiment has the shipped recipe's rule: genomes of the printed one do not go on there.
    """
    if bench.scale == "smoke" or bench.recipe_name != "shipped":
        return {}
    found: list[Trained] = []
    label = "trained at 1, 4, 6"
    for start in shallow:
        if start.genome is not None:
            more = f"start.genome={start.folder / 'genome.json'}", f"training.meta_steps={bench.pick(2, 80, 10_000)}"
            more += "training.genomes=1", "training.learning_rate=0.005", "rule.forward_activation=relu"
            found += bench.train({label: Variant("mnist-depth", more)}, [start.seed])[label]
    return {label: found} if found else {}


def _draw(bench: Workbench, table: list[Row], rivals: list[Row], broad: list[Row], judged: tuple[int, ...]) -> None:
    figure, axes = panels(len(judged) + 1, columns=3, sharey=True)
    at_widths = [row for row in broad if row["step"] == judged[0]]
    lines = by_label(at_widths, dict.fromkeys(row["label"] for row in at_widths))
    curves(axes[-1], lines, x="width", xlabel="width of hidden layers", title=f"after {judged[0]} steps")
    for axis, step in zip(axes, judged):
        now = [row for row in (*table, *rivals) if row["step"] == step]
        lines = by_label(now, dict.fromkeys(row["label"] for row in now))
        curves(axis, lines, x="depth", xlabel="hidden layers", title=f"after {step} steps", dashed=list(DESCENT.values()))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    bench.figure("figure.png", figure)


def _width_finding(broad: list[Row], labels: Sequence[str], widths: Sequence[int], own: int, step: int) -> Finding:
    medians = {(row["label"], row["width"]): row["median"] for row in broad if row["step"] == step}
    shown = [label for label in labels if all((label, width) in medians for width in widths)]
    kept = [medians[label, width] / medians[label, own] for label in shown for width in widths if width > own]
    words = (f"{label}: " + ", ".join(f"{medians[label, width]:.3f} at {width}" for width in widths) for label in shown)
    return Finding(
        f"Genomes carry over to widths they were not trained on (keep {CARRIED:.0%} of their accuracy at all wider ones)",
        f"median test accuracy after {step} steps, {'; '.join(words)}",
        bool(shown) and all(share >= CARRIED for share in kept),
        "the genome was meta-trained at one width, for few meta-steps",
    )


def _findings(
    rows: list[Row], table: list[Row], rivals: list[Row], labels: dict[int, str], depths: tuple[int, ...], steps: tuple[int, ...]
) -> list[Finding]:
    first = steps[0]
    medians: dict[tuple[str, int], float] = defaultdict(lambda: float("nan"))  # none where all genomes were lost
    medians |= {(r["label"], r["depth"]): r["median"] for r in table if r["step"] == first}
    kept = {d: {n: medians[name, n] / medians[name, d] for n in depths} for d, name in labels.items()}
    reach = {d: next((n - 1 for n in depths if n > d and not kept[d][n] >= CARRIED), depths[-1]) for d in labels}
    down = all(kept[d][n] >= CARRIED for d in labels for n in depths if n < d)
    words = []
    for d, name in labels.items():
        ends = f"{medians[name, depths[0]]:.3f} at {depths[0]}, {medians[name, depths[-1]]:.3f} at {depths[-1]}"
        words.append(f"{d}: {medians[name, d]:.3f} there, kept up to {reach[d]} layers, {ends}")
    carried = Finding(
        f"Genomes carry over to depths they were not trained on (here: keep {CARRIED:.0%} of their accuracy at all shallower"
        " depths and at least one more layer)",
        f"after {first} steps, trained at " + "; ".join(words),
        down and all(reach[d] > d for d in labels),
        "the meta-steps of this scale are few, and a chain of layers multiplies what is amiss in each",
    )
    deep = [depth for depth in depths if depth > max(labels)] or [depths[-1]]
    means = {step: by_genome(r for r in rows if r["step"] == step and r["depth"] in deep) for step in steps}
    range_ = f"{deep[0]} to {deep[-1]} hidden layers"
    shallow, deeper = (five_numbers(means[first].get(labels[d], {}).values()) for d in (min(labels), max(labels)))
    further = Finding(
        "Genomes trained deeper carry over further up (the deepest-trained's lower quartile over the shallowest's upper one)",
        f"mean accuracy at {range_} after {first} steps, median (lowest to highest) over genomes: "
        + ", ".join(f"{labels[d]} {range_of(means[first].get(labels[d], {}).values())}" for d in labels),
        deeper["low"] > shallow["high"],
        "three seeds; a genome trained deeper has a harder search, and its few meta-steps may not be enough for it",
    )
    findings = [carried, further]
    if more := [name for name in means[first] if name not in labels.values()]:
        words = (f"{name} {range_of(means[step][name].values())} after {step} steps" for name in more for step in steps)
        alone = max(labels.values(), key=lambda name: five_numbers(means[first].get(name, {}).values())["median"])
        words = [*words, *(f"{alone} {range_of(means[step].get(alone, {}).values())} after {step}" for step in steps)]
        text = f"mean accuracy at {range_}: " + ", ".join(words)
        findings.append(
            Finding("Beyond the paper: what several depths at once give, from a genome of the shallowest", text, None)
        )
    if rivals:
        beside = sorted({row["depth"] for row in rivals})
        words = [
            f"{depth} layers {label} {at(rivals, label=label, depth=depth, step=first)['median']:.3f}"
            for depth in beside
            for label in DESCENT.values()
        ]
        findings.append(Finding(f"Beside gradient descent at best rates, after {first} steps", ", ".join(words), None))
    return findings
