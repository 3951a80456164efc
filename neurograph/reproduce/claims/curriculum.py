"""Figure 14, section 4.2: unrolls that grow while a genome is meta-trained."""

from __future__ import annotations

from collections.abc import Sequence

from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.summaries import by_genome, by_label, range_of, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Workbench

__all__ = ["run"]


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes of a growing unroll, of the stages on the way, and of a fixed unroll over as many learning steps in all."""
    stage = bench.pick(1, 60, 10_000)  # meta-steps until the unroll grows
    first, last, by = bench.pick((2, 3, 1), (10, 30, 5), (10, 50, 5))
    unrolls = range(first, last + 1, by)
    genomes = bench.pick(1, 2, 8)
    printed = bench.recipe_name == "printed"
    common = (f"training.genomes={genomes}", f"training.replace={genomes - 1}")
    if not printed:  # a constant rate, so that a short run is a longer one's beginning
        common += ("training.learning_rate=0.005", "training.final_learning_rate=null", "unroll.query_size=256")
    common += (f"training.validate_every={stage}", f"unroll.steps={first}")
    grows = (f"unroll.grow_by={by}", f"unroll.grow_every={stage}", f"unroll.max_steps={last}")
    fixed = ("unroll.grow_by=0", "unroll.grow_every=0", f"unroll.max_steps={first}")
    whole = len(unrolls) * stage
    same_time = sum(unrolls) * stage // first  # a meta-step costs as many learning steps as its unroll
    stops = bench.pick((), (1, 3), (1, 3, 5, 7))  # stages after which a run is stopped to look at its genome

    def variant(meta_steps: int, *more: str):
        return bench.images(*common, f"training.meta_steps={meta_steps}", *more, experiment=None if printed else "mnist-long")

    growing = f"unroll growing to {last}"
    variants = {f"fixed unroll of {first}": variant(same_time, *fixed)}
    variants |= {f"growing, stopped at {unrolls[number - 1]}": variant(number * stage, *grows) for number in stops}
    variants[growing] = variant(whole, *grows)
    seeds = bench.seeds(1, 3, 3)
    runs = bench.train(variants, seeds)
    topologies, tasks = bench.image_places()
    steps = bench.pick((0, 2, 4), (0, 1, 2, 5, 10, 20, 50, 100, 200), (0, 1, 2, 5, 10, 20, 50, 100, 200))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    bench.csv("data.csv", rows)
    trajectory = _trajectory(runs)
    bench.csv("trajectory.csv", trajectory)
    _draw(bench, summarize(trajectory, by=("label", "step")), summarize(rows), growing, stage, list(unrolls))
    start = "random starts hardly learn within so few meta-steps" if printed else "near backprop at the start"
    findings = _findings(rows, list(variants), growing, first, steps, start)
    settings = (
        f"{seeds} seeds; the unroll grows from {first} by {by} every {stage} meta-steps to {last} ({whole} in all; the paper:"
        f" every 10,000), all {genomes} genomes of a run going on from the best on validation data; the fixed unroll has"
        f" {same_time} meta-steps, as many learning steps in all; Adam at a constant {0.0005 if printed else 0.005} for both, so"
        f" that a stopped run is the longer one's beginning; {matrix.notes['seeds']} test runs per genome. {bench.recipe_words}"
    )
    return findings, settings


def _trajectory(runs: dict[str, list[Trained]]) -> list[Row]:
    """Returns the accuracy during meta-training, the best genome of every record, without the runs that were stopped."""
    found = []
    for label, members in runs.items():
        for run in members:
            if run.genome is None or "stopped" in label:
                continue
            for record in run.records():
                values = [value for value in record.get("accuracy", ()) if value is not None]
                if values:
                    place = {"label": label, "genome_seed": run.seed, "step": record["step"], "unroll": record["unroll"]}
                    found.append(place | {"accuracy": max(values)})
    return found


def _draw(bench: Workbench, left_rows: list[Row], table: list[Row], growing: str, stage: int, unrolls: list[int]) -> None:
    figure, (left, right) = panels(2)
    line = [row for row in left_rows if row["label"] == growing]
    curves(
        left,
        {growing: line},
        x="step",
        xlabel="meta-steps",
        ylabel="accuracy after the unroll",
        title="during meta-training",
        even=False,
    )
    low, high = left.get_ylim()
    for number, unroll in enumerate(unrolls):
        left.axvline(number * stage, color="#b0b0b0", linewidth=0.8, linestyle=":")
        left.text((number + 0.5) * stage, low + 0.03 * (high - low), f"U={unroll}", fontsize=8, ha="center")
    curves(right, by_label(table, dict.fromkeys(row["label"] for row in table)), title="learning, on test data")
    right.axvline(sorted({row["step"] for row in table}).index(unrolls[0]), color="#b0b0b0", linewidth=0.8, linestyle=":")
    right.legend(fontsize=8)
    bench.figure("figure.png", figure)


def _findings(rows: list[Row], labels: list[str], growing: str, first: int, steps: Sequence[int], start: str) -> list[Finding]:
    fixed, end = labels[0], steps[-1]
    means = {step: by_genome(row for row in rows if row["step"] == step) for step in steps}

    def gains(label: str) -> list[float]:
        there = means[end].get(label, {})
        return [value - means[first][label][seed] for seed, value in there.items()]

    beyond = [step for step in steps if step > first]
    words = [f"{label}: {range_of(means[first].get(label, {}).values())} after {first} steps" for label in labels]
    words = [
        f"{text}, {range_of(means[end].get(label, {}).values())} after {end}" for text, label in zip(words, labels, strict=True)
    ]
    ours, theirs = gains(growing), gains(fixed)
    finding = Finding(
        "A curriculum gives genomes that keep learning over longer unrolls (gain in accuracy from the first unroll to the last"
        " step, every genome of it over the median of the fixed unroll's)",
        f"{'; '.join(words)}; gain {range_of(ours)} with the growing unroll, {range_of(theirs)} with the fixed one",
        bool(ours) and min(ours) > max(0.0, five_numbers(theirs)["median"]),
        start if "random" in start else f"{start}, a genome of the fixed unroll keeps learning, too",
    )
    higher = {
        step: five_numbers(means[step].get(growing, {}).values())["low"]
        > five_numbers(means[step].get(fixed, {}).values())["high"]
        for step in beyond
    }
    text = ", ".join(f"{step} steps: {'above' if above else 'not above'}" for step, above in higher.items())
    text = f"lower quartile of the growing unroll's genomes against the upper one of the fixed unroll's, {text}"
    level = Finding(
        "At the same cost the growing unroll's genomes are the better ones beyond the fixed unroll", text, higher[end],
        "at this scale each unroll gets few meta-steps, the fixed one all of them",
    )  # fmt: skip
    return [finding, level]
