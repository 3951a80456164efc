"""What pages open with: the genome beside each baseline and beside chance; R^2 of regressions; trained steps in curves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import check_self_contained, text_of

import neurograph as ng
from neurograph.experiments.final import _joined
from neurograph.experiments.folder.reading import read_run
from neurograph.experiments.transfer.matrix_results import TransferMatrix, load_transfer_matrix
from neurograph.experiments.transfer.results import BY_QUARTILES, Transfer, best_settings, interval, mark_best, score_name
from neurograph.report.figures.transfer import curves_figure, difference_limit, heat_map, learning_figure
from neurograph.report.run import write_report
from neurograph.report.transfer import write_transfer_report
from neurograph.report.verdict import judged_step, verdict

HITS = {"ahead": 0.9, "level": 0.605, "behind": 0.3}  # of the genome; the baseline has 0.6 to 0.61 everywhere


def made(places: list[str], task: str = "digits", genome: str | None = None, **notes: object) -> Transfer:
    """A genome that is ahead, level or behind on the graphs of these names; of sgd the chosen setting is the worse one."""
    rows, chosen = [], []
    for number, topology in enumerate(places):
        hit = HITS[topology.split()[0]]
        for seed in range(2):
            one = {"topology": topology, "task": task, "step": 10, "seed": seed, "loss": 1.0, "failed": False}
            plain = {"method": "genome", "activation": None, "batch_norm": None, "learning_rate": None}
            rows.append(one | plain | {"accuracy": hit + 0.01 * seed, "failed": number == seed == 0, "genome": genome})
            for activation, better in (("tanh", 0.0), ("relu", 0.39)):
                setting = {"method": "sgd", "activation": activation, "batch_norm": False, "learning_rate": 0.1, "genome": None}
                rows.append(one | setting | {"accuracy": 0.6 + 0.01 * seed + better})
        for activation, accuracy in (("tanh", -0.5), ("relu", -1.5)):
            place = {"topology": topology, "task": task, "method": "sgd", "activation": activation, "batch_norm": False}
            chosen.append(place | {"step": 10, "learning_rate": 0.1, "accuracy": accuracy, "loss": 1.0})
    return Transfer(tuple(rows), tuple(mark_best(chosen)), {"seeds": 2, "chance": {task: 0.305}} | notes)


def words_of(page: str) -> str:
    return " ".join(text_of(page).split())


def test_a_few_places_are_told_one_by_one_beside_the_baseline_of_validation_data_and_chance():
    words = words_of(verdict({"genome": made(["ahead", "level", "behind"])}, 10, {"genome": 10}))
    assert words.startswith(
        "After 10 learning steps, as many as it was trained through, the genome is ahead of the best baseline in 1 of 3 places,"
        " level in 1, behind in 1; above chance in 2 of 3 places, at in 1: accuracy on test data 0.305 to 0.905; 2 seeds,"
        " 1 of 6 runs failed."
    )
    baseline = "0.605 (0.603-0.607)"
    assert f"ahead 0.905 (0.903-0.907) 1 failed {baseline} ahead (+0.300) above chance (0.305)" in words
    assert f"level 0.610 (0.607-0.613) {baseline} level (+0.005) above chance (0.305)" in words
    assert f"behind 0.305 (0.302-0.307) {baseline} behind (-0.300) at chance (0.305)" in words


def test_one_place_has_a_short_sentence_and_baselines_may_be_missing():
    test = made(["level"])
    told = words_of(verdict({"a": test}, 10, {"a": 5}))
    assert told.startswith("After 10 learning steps (trained through 5) a is level with the best baseline; above chance: ")
    alone = Transfer(tuple(row for row in test.rows if row["method"] == "genome"), (), {})
    assert words_of(verdict({"a": alone}, 10)).startswith("After 10 learning steps a is at accuracy on test data 0.610; 2 seeds")
    assert verdict({"a": alone}, 20) == ""


def test_many_places_are_counted():
    words = words_of(verdict({"a": made([f"ahead {n}" for n in range(9)] + [f"behind {n}" for n in range(4)])}, 10))
    assert "a is ahead of the best baseline in 9 of 13 places, behind in 4; above chance in 9 of 13 places, at in 4" in words
    assert "genome beside ahead level behind above chance failed runs a sgd 9 0 4 9 of 13 1 of 26" in words


def test_the_step_count_is_the_trained_one_where_it_was_judged():
    assert judged_step([0, 5, 50], 5) == 5
    assert judged_step([0, 5, 50], 7) == judged_step([0, 5, 50]) == 50


def test_the_setting_of_an_optimiser_is_chosen_on_validation_data_also_where_scores_are_negative():
    test = made(["ahead"])
    (place,) = found = best_settings(test.rows, test.chosen)
    assert place == ("ahead", "digits", 10, "sgd")
    assert found[place]["activation"] == "tanh"


def test_scores_of_regressions_are_called_r2():
    notes = {"numbers": ["prices"]}
    assert score_name(["prices", "prices"], notes) == "R^2"
    assert score_name(["digits"], notes) == score_name(["prices"], {}) == "accuracy"
    assert score_name(["digits", "prices"], notes) == "accuracy (R^2 of prices)"
    assert interval({"median": -0.5, "low": -1.0, "high": 0.25}) == "-0.500 (-1.000 to 0.250)"
    assert difference_limit([{"difference": -1e5}]) == 1  # R^2 has no end below; colours have
    joined = _joined([Transfer((), (), {"chance": {}}), Transfer((), (), notes | {"chance": {"prices": 0.0}})])
    assert joined.notes["numbers"] == ["prices"]


def test_the_paragraph_of_a_matrix_counts_as_its_verdict_does(tmp_path):
    test = made(["ahead", "level", "behind"], genome="mine", seed=0, batch_size=8, query_size=8, baselines=["sgd"])
    notes = test.notes | {"genomes": ["mine"], "topologies": {name: {} for name in HITS}, "tasks": ["digits"], "at": [10]}
    notes |= {"configurations": 1, "runs": 1, "baseline_failures": 0}
    matrix = TransferMatrix(test.rows, test.chosen, (), notes)
    counted = "is ahead of the best baseline in 1 of 3 {}s, level in 1, behind in 1"
    assert f"it {counted.format('cell')} (+0.005 in the median). {BY_QUARTILES} " in matrix.summary()
    assert [cell["standing"] for cell in matrix.cells(10)] == ["ahead", "level", "behind"]
    matrix.save(tmp_path)
    assert counted.format("place") in words_of(write_transfer_report(tmp_path).read_text(encoding="utf-8"))
    test.save(tmp_path / "transfer.json")
    words = words_of(write_report(tmp_path).read_text(encoding="utf-8"))
    assert f"After 10 steps the genome {counted.format('place')}. {BY_QUARTILES}" in words


@pytest.fixture
def regression(tmp_path: Path) -> Path:
    test = made(["ahead"], "prices", "mine")
    rows = [row | {"step": step, "accuracy": row["accuracy"] - (step == 0) * 1.5} for row in test.rows for step in (0, 10)]
    notes = test.notes | {"genomes": ["mine", "other"], "topologies": {"ahead": {}}, "tasks": ["prices"], "at": [0, 10]}
    notes |= {"baselines": ["sgd"], "seed": 0, "batch_size": 8, "query_size": 8, "numbers": ["prices"]}
    notes |= {"configurations": 1, "runs": 1, "baseline_failures": 0, "trained_steps": {"mine": 5}}
    data = {"rows": rows, "chosen": list(test.chosen), "problems": [], "notes": notes}
    (tmp_path / "matrix.json").write_text(json.dumps(data))
    return tmp_path


def test_the_page_figures_and_tables_of_a_regression_say_r2(regression):
    page = write_transfer_report(regression).read_text(encoding="utf-8")
    check_self_contained(page)
    words = words_of(page)
    assert "R^2 on test data 0.905; 2 seeds" in words
    assert "mine has a median R^2 of 0.905" in words
    assert "accuracy" not in words
    matrix = load_transfer_matrix(regression / "matrix.json")
    assert "accuracy" not in matrix.text()
    assert "test R^2, median" in matrix._repr_html_()
    assert heat_map(matrix).get_suptitle().startswith("median test R^2")
    figure = curves_figure(matrix)
    assert figure.get_supylabel() == "test R^2"
    assert figure.axes[0].get_ylim()[0] < -0.6
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[-2:] == ["trained through 5 steps: mine", "chance: the mean answer"]
    (line,) = (line for line in figure.axes[0].lines if str(line.get_label()).startswith("trained"))
    assert list(line.get_xdata()) == [0.5, 0.5]  # half way from step 0 to step 10


def test_the_trained_steps_come_from_the_metrics_or_the_genome(tmp_path):
    lines = [{"step": step, "loss": [1.0], "unroll": unroll} for step, unroll in ((1, 3), (2, 4))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_run(tmp_path).trained_steps == 4
    ng.save_genome(tmp_path / "genome.json", *ng.backprop_genome(), {"trained_steps": 7})
    assert read_run(tmp_path).trained_steps == 4
    (tmp_path / "metrics.jsonl").unlink()
    assert read_run(tmp_path).trained_steps == 7
    for wrong in ("7", True, -1, 10**40):
        ng.save_genome(tmp_path / "genome.json", *ng.backprop_genome(), {"trained_steps": wrong})
        assert read_run(tmp_path).trained_steps is None
    assert ng.load_genome_file("digits").trained_steps == 10


def test_a_run_without_a_test_opens_with_validation_data(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"name": "a", "validation": {"accuracy": [0.75]}}))
    words = words_of(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "a Accuracy on validation data 0.750; no test on test data yet." in words


def test_a_step_count_beyond_the_curve_is_not_marked():
    test = made(["ahead"])
    for trained, count in ((10, 1), (11, 0), (None, 0)):
        axis = learning_figure(test.rows, test.chosen, "ahead", "digits", trained=trained).axes[0]
        assert sum(str(line.get_label()).startswith("trained through") for line in axis.lines) == count
