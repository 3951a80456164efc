"""`write_report`: one page about a run, made from its folder alone. `compare.write_comparison` puts two on one page.

`report.html` holds everything (drawings, style, numbers) and loads nothing; the drawings also lie in `plots/` as SVG and PNG.
The page says which parts the folder lacks and which are broken, and shows the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurograph.errors import NeurographError
from neurograph.experiments.folder.reading import Run, mapping, read_run
from neurograph.experiments.transfer.results import (
    BY_QUARTILES,
    GENOME,
    Row,
    Transfer,
    aggregate,
    best_settings,
    label,
    score_name,
    score_text,
    spread,
    standing,
    standings,
)
from neurograph.report.html import Markup, details, drawing, grid, items, joined, paragraph, preformatted, table
from neurograph.report.verdict import verdict_of
from neurograph.report.words import environment_rows, facts, faults, finish, number, rerun, score_of

if TYPE_CHECKING:
    from neurograph.topology import Topology

__all__ = ["write_report"]

# Topologies that a page draws: of larger ones, or more of them, it gives the sizes only.
MAX_DRAWINGS, MAX_NEURONS, MAX_SYNAPSES = 12, 200_000, 5_000_000


def write_report(folder: Path | str, *, base: Path | None = None) -> Path:
    """Writes a self-contained page about the run in `folder`, `report.html` in it, and returns its path.

    Args:
      folder: the folder of the run.
      base: where topology files that the run does not keep are looked up too, after the current folder and before the run's.

    Raises:
      ExperimentError: no such folder, nothing of a run in it, or it cannot be written to.

    Examples:
      >>> import json, tempfile
      >>> from pathlib import Path
      >>> folder = Path(tempfile.mkdtemp())
      >>> record = {"step": 1, "loss": [2.3], "accuracy": [0.1]}  # meta-training writes such lines
      >>> _ = (folder / "metrics.jsonl").write_text(json.dumps(record))
      >>> write_report(folder).name
      'report.html'
    """
    run = read_run(folder)
    plots = run.folder / "plots"
    sections = faults([run]) | {
        "Transfer": transfer_curves(run, plots),
        "Meta-training": training(run, plots),
        "Genome": genome(run, plots),
        "Topologies": topologies(run, plots, base),
        "Comparison with gradient descent": _baselines(run),
        "Facts": _facts(run),
        "Configuration": _configuration(run),
        "Environment": _environment(run),
        "How to rerun": rerun(run),
    }
    return finish(run.folder / "report.html", run.title, overview(run), sections)


# -- sections ------------------------------------------------------------------------------------------------------------------


def overview(run: Run) -> Markup:
    """Returns the verdict about a run, and its description."""
    parts = []
    if told := verdict_of(run):
        parts.append(told)
    elif reached := dict(facts(run)).get(f"{run.score} on validation data"):
        parts.append(
            paragraph(f"{score_of([run], run.tasks, capital=True)} on validation data {reached}; no test on test data yet.")
        )
    if isinstance(told := run.summary.get("at_chance"), str):
        parts.append(paragraph(f"This run is at chance: its genome is no better than guessing on validation data; {told}."))
    description = run.config.get("description") or run.card.get("description")
    return joined([*parts, paragraph(str(description)) if description else ""])


def _facts(run: Run) -> Markup:
    found = facts(run)
    return table([], found) if found else Markup()


def training(run: Run, plots: Path | None) -> Markup:
    """Returns the curves of meta-training."""
    if not run.records and not run.validations:
        return paragraph("No metrics.jsonl with meta-steps in this folder.")
    from neurograph.report.figures.runs import training_figure

    look: dict[str, Any] = {"selected": run.chosen, "chance": run.chance(), "evolved": run.evolved, "score": run.score}
    figure = training_figure(run.records, run.validations, **look)
    if run.evolved:
        caption = (
            "A meta-step is a generation: the median of its genomes that did not diverge, and the fittest of them, judged on"
            " query batches after learning on support batches; points are the mean genome on validation data."
        )
    else:
        caption = (
            "Every line is one genome, judged on query batches after learning on support batches; points are validation data,"
            " by which the genome was chosen."
        )
        caption += " The lines of a genome are means over its particles." if run.method == "pes" else ""
    return drawing(plots, "training", figure, caption)


def transfer_curves(run: Run, plots: Path | None) -> Markup:
    """Returns the heat map and the learning curves of the transfer test."""
    transfer = run.transfer
    if transfer is None or not transfer.rows:
        return paragraph("No transfer test in this folder.")
    from neurograph.report.figures.transfer import difference_map, learning_figure

    notes, parts = transfer.notes, []
    comparison = transfer.comparison()
    seeds, batch = number(notes.get("seeds")), number(notes.get("batch_size"))
    tasks = [row["task"] for row in transfer.rows]
    score, words = score_of([run], tasks), score_of([run], tasks, capital=True)
    words += f" on test data, {seeds} seeds, batches of {batch}. All methods see the same batches on the same graphs;"
    parts.append(paragraph(f"{words} lines are medians, bands and brackets quartiles."))
    if comparison:
        caption = f"Median test {score} of the genome"
        caption += "; below it, its difference to the best baseline (chosen on validation data)." if transfer.chosen else "."
        parts.append(drawing(plots, "transfer", difference_map(comparison, score=score), caption))
    drawings = []
    for index, (topology, task) in enumerate(dict.fromkeys((row["topology"], row["task"]) for row in transfer.rows)):
        known: dict[str, Any] = {"chance": run.chance(task), "trained": run.trained_steps, "score": score_of([run], [task])}
        figure = learning_figure(transfer.rows, transfer.chosen, topology, task, **known)
        size = mapping(mapping(notes.get("topologies")).get(topology))
        words = f"{task} on {topology}" + (f": {_size(size)}" if size else "")
        drawings.append(drawing(plots, f"learning-{index}", figure, words))
    return joined([*parts, grid(drawings)])


def _size(size: dict[str, Any]) -> str:
    text = f"{number(size.get('neurons'))} neurons, {number(size.get('synapses'))} synapses, depth {number(size.get('depth'))}"
    return text if size.get("schedule") in (None, "levels") else f"{text}, {size['schedule']}, {number(size.get('ticks'))} ticks"


def _baselines(run: Run) -> Markup:
    transfer = run.transfer
    if transfer is None or not transfer.rows:
        return Markup()
    notes, parts, comparison = transfer.notes, [], transfer.comparison()
    if transfer.chosen:
        others = notes.get("validation_seeds")
        tried = f"{number(notes.get('configurations'))} pairs of setting and rate tried in {number(notes.get('runs'))} runs"
        halved = " by successive halving" if notes.get("search") == "halving" else ""
        text = (
            "Baselines are ordinary networks trained by gradient descent. For each of them and each step count the learning rate"
            f" was chosen{halved} on validation data with {number(others)} other seed{'s' * (others != 1)} ({tried};"
            f" {number(notes.get('baseline_failures'))} ended in a loss that was not finite). Test data was used once."
        )
        parts.append(paragraph(text))
        parts.append(paragraph(_ahead(comparison)))
    else:
        parts.append(paragraph("No baselines were run; transfer.baselines of the experiment says which."))
    if comparison:
        parts.append(_comparison_table(comparison))
    optimizers = _optimizer_table(transfer)
    parts.append(details("The best setting of every optimiser", optimizers) if optimizers else "")
    parts.append(details("All methods, all step counts", _full_table(transfer)))
    return joined(parts)


def _ahead(comparison: list[Row]) -> str:
    """Returns in how many places the genome is ahead of, level with and behind the best baseline, per step count."""
    steps: dict[int, list[str]] = {}
    for row in comparison:
        if row["baseline"]:
            steps.setdefault(row["step"], []).append(standing(row["genome"], row["baseline"]))
    parts = [
        f"after {step} step{'s' * (step != 1)} the genome is {standings(found, 'the best baseline')}"
        for step, found in sorted(steps.items())
    ]
    text = "; ".join(parts)
    return f"A{text[1:]}. {BY_QUARTILES}" if parts else "No step count was judged with both."


def _several_tasks(rows: Any) -> bool:
    return len({row["task"] for row in rows}) > 1


def _comparison_table(comparison: list[Row]) -> Markup:
    rows, several = [], _several_tasks(comparison)
    for row in comparison:
        best = row["baseline"]
        which = f"{label(best)}, {best['learning_rate']:.3g}" if best else "-"
        difference = "-" if row["difference"] is None else f"{row['difference']:+.3f}"
        place = [row["topology"], *([row["task"]] if several else []), str(row["step"])]
        rows.append([*place, spread(row["genome"]), spread(best), difference, which])
    place = ["topology", *(["task"] if several else []), "steps"]
    return table([*place, "genome", "best baseline", "difference", "which, learning rate"], rows)


def _optimizer_table(transfer: Transfer) -> Markup:
    """Returns the genome beside each optimiser's setting with the highest accuracy on validation data at that step count."""
    best = best_settings(transfer.rows, transfer.chosen)
    methods = list(dict.fromkeys(place[-1] for place in best))
    if not methods:
        return Markup()
    several, rows = _several_tasks(transfer.rows), []
    for entry in aggregate(row for row in transfer.rows if row["method"] == GENOME):
        topology, task, step = (entry[name] for name in ("topology", "task", "step"))
        place = [topology, *([task] if several else []), str(step)]
        rows.append([*place, spread(entry), *(spread(best.get((topology, task, step, method))) for method in methods)])
    return table(["topology", *(["task"] if several else []), "steps", GENOME, *methods], rows)


def _full_table(transfer: Transfer) -> Markup:
    rows = []
    for entry in transfer.aggregate():
        what = [entry["topology"], entry["task"], label(entry), number(entry["learning_rate"]), str(entry["step"])]
        rows.append([*what, spread(entry), score_text(entry["minimum"]), number(entry["loss"]), str(entry["seeds"])])
    edges = sum(bool(one.get("at_edge")) for one in transfer.chosen)
    score = score_name((row["task"] for row in transfer.rows), transfer.notes)
    head = ["topology", "task", "method", "learning rate", "steps", score, "worst", "loss", "seeds"]
    note = f"{edges} of {len(transfer.chosen)} chosen rates lie at the edge of the rates tried."
    return joined([paragraph(note) if transfer.chosen else "", table(head, rows)])


def genome(run: Run, plots: Path | None, name: str = "genome", *, limit: float | None = None) -> Markup:
    """Returns the picture of a run's genome and the options of its rule; `limit` ends the colour scale."""
    if run.genome is None:
        return paragraph("No genome.json in this folder that can be shown.")
    from neurograph.report.figures.genome import genome_picture

    caption = (
        "The matrices of the genome that have an effect under its rule, its gates, and its moments; one colour scale, white is"
        " zero, pale figures have no effect."
    )
    parts = [drawing(plots, name, genome_picture(run.genome, narrow=True, limit=limit), caption)]
    rule = run.genome.rule.to_dict() if run.genome.rule else {}
    options = [[key, str(value).lower() if isinstance(value, bool) else str(value)] for key, value in rule.items()]
    return joined([*parts, details("Options of its rule", table(["option", "value"], options)) if options else ""])


def topologies(run: Run, plots: Path | None, base: Path | None = None) -> Markup:
    """Returns drawings of the topologies, from the copies that the run keeps, else from the files as they are now."""
    from neurograph.report.figures.topology import draw_topology

    notes = mapping(run.transfer.notes.get("topologies")) if run.transfer else {}
    drawings, missing = [], []
    for index, (name, use) in enumerate(run.topologies().items()):
        size = mapping(notes.get(name))
        words = f"{name} ({use})" + (f": {_size(size)}" if size else "")
        if index >= MAX_DRAWINGS:
            missing.append(f"{words}; not drawn, since {MAX_DRAWINGS} are")
            continue
        try:
            topology = _topology(run, name, base)
        except (NeurographError, OSError) as error:  # a name may be too long for a file
            reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
            missing.append(f"{words}; not drawn: {reason}")
            continue
        now = {"neurons": topology.num_neurons, "synapses": topology.num_synapses}
        if size and any(size.get(what) != count for what, count in now.items()):
            words += f"; the file has changed since: {now['neurons']} neurons, {now['synapses']} synapses now"
        drawings.append(drawing(plots, f"topology-{index}", draw_topology(topology), words, natural=True))
    return joined([*drawings, items(missing) if missing else ""])


def _topology(run: Run, name: str, base: Path | None) -> Topology:
    """Returns a topology that a run names: its own copy, a file beside it, or a shipped one."""
    from neurograph.experiments.folder.topologies import kept_topology
    from neurograph.topology import load_topology
    from neurograph.topology.shipped import topology_file
    from neurograph.topology.validate import Limits

    beside = next((folder for folder in (base, run.folder) if folder and (folder / name).is_file()), None)
    path = kept_topology(run.folder, name) or topology_file(name, beside)
    return load_topology(path, limits=Limits(MAX_NEURONS, MAX_SYNAPSES))


def _configuration(run: Run) -> Markup:
    if not run.config_text.strip():
        return paragraph("No config.yaml in this folder.")
    return details("config.yaml, with every default", preformatted(run.config_text))


def _environment(run: Run) -> Markup:
    rows = environment_rows(run.environment)
    return table([], rows) if rows else paragraph("No environment.json in this folder.")
