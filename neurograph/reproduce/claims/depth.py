"""Figure 10: genomes on networks of other depths than they were trained on."""

from __future__ import annotations

from collections import defaultdict

from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.summaries import at, baseline_rows, by_genome, by_label, range_of, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Variant, Workbench
from neurograph.topology.layered import layered_document

__all__ = ["run"]

CARRIED = 0.9
"""A genome carries over to a depth if it keeps this share of its accuracy where it was trained."""
DESCENT = {False: "gradient descent", True: "gradient descent, batch norm"}


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes trained at 2, 3 and 4 hidden layers, and at several at once, on 1 to 10."""
    trained_at = bench.pick((1,), (2, 3, 4), (2, 3, 4))
    depths = bench.pick((1, 2), tuple(range(1, 11)), tuple(range(1, 11)))
    files = {depth: _plain(bench, depth) for depth in {*depths, *trained_at}}
    seeds = bench.seeds(1, 3, 3)
    labels = {depth: f"trained at {depth}" for depth in trained_at}
    runs = bench.train({labels[depth]: _variant(bench, files[depth], depth) for depth in trained_at}, seeds)
    runs |= _several(bench, runs[labels[trained_at[0]]])
    steps, judged = bench.pick((0, 2), (0, 10, 50), (0, 10, 50)), bench.pick((2,), (10, 50), (10, 50))
    task = bench.pick({"digits": "digits"}, {"mnist/10x10": "mnist/10x10"}, {"mnist/10x10": "mnist/10x10"})
    beside = bench.pick((), (1, 4, 10), depths)  # where gradient descent is tuned, too
    sizes = {"at": steps, "seeds": bench.pick(1, 2, 5), "query_size": bench.pick(64, 1024, 2048)}
    alone = {str(depth): files[depth] for depth in depths if depth not in beside}
    matrices = [bench.test(runs, alone, task, **sizes)] if alone else []
    if beside:
        sizes |= {"optimizers": ("sgd", "momentum"), "validation_seeds": bench.pick(1, 2, 3)}
        matrices.append(bench.test(runs, {str(depth): files[depth] for depth in beside}, task, **sizes))
    rows = [row | {"depth": int(row["topology"])} for matrix in matrices for row in tested(matrix)]
    bench.csv("data.csv", rows)
    table = summarize(rows, by=("label", "depth", "step"))
    rivals = [
        row | {"label": label, "depth": int(row["topology"])}
        for matrix in matrices
        for batch_norm, label in DESCENT.items()
        for row in baseline_rows(matrix, batch_norm=batch_norm)
    ]
    if rivals:
        bench.csv("baselines.csv", rivals)
    _draw(bench, table, rivals, judged)
    findings = _findings(rows, table, rivals, labels, depths, judged)
    settings = (
        f"Hidden layers of 64 (smoke: 16); {seeds} seeds of {bench.recipe_steps} meta-steps per depth (several depths"
        f" at once: {bench.pick(0, 80, 10_000)} more, from the shallowest's genome), {sizes['seeds']} test runs per genome and"
        f" depth. {bench.recipe_words}"
    )
    return findings, settings


def _plain(bench: Workbench, depth: int) -> str:
    """Returns the path of 100-64-...-64-10 with so many hidden layers."""
    if depth == bench.pick(1, 2, 2):
        return next(iter(bench.image_places()[0].values()))
    side, width = bench.pick(8, 10, 10), bench.pick(16, 64, 64)
    return bench.topology(f"depth{depth}_{side}x{side}", layered_document((side, side), *[width] * depth, 10))


def _variant(bench: Workbench, topology: str, depth: int) -> Variant:
    shared = depth == bench.pick(1, 2, 2)  # the genome that several reproductions test
    return bench.images(*bench.recipe(), *(() if shared else (f"problems=[{{task: mnist/10x10, topology: {topology}}}]",)))


def _several(bench: Workbench, shallow: list[Trained]) -> dict[str, list[Trained]]:
    """Meta-training goes on from every shallow genome, through one, four and six hidden layers at once."""
    if bench.scale == "smoke":
        return {}
    found: list[Trained] = []
    label = "trained at 1, 4, 6"
    for start in shallow:
        if start.genome is not None:
            more = f"start.genome={start.folder / 'genome.json'}", f"training.meta_steps={bench.pick(2, 80, 10_000)}"
            more += "training.genomes=1", "training.learning_rate=0.005", "rule.forward_activation=relu"
            found += bench.train({label: Variant("mnist-depth", more)}, [start.seed])[label]
    return {label: found} if found else {}


def _draw(bench: Workbench, table: list[Row], rivals: list[Row], judged: tuple[int, ...]) -> None:
    figure, axes = panels(len(judged), sharey=True)
    for axis, step in zip(axes, judged, strict=True):
        now = [row for row in (*table, *rivals) if row["step"] == step]
        lines = by_label(now, dict.fromkeys(row["label"] for row in now))
        curves(axis, lines, x="depth", xlabel="hidden layers", title=f"after {step} steps", dashed=list(DESCENT.values()))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    bench.figure("figure.png", figure)


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
