"""The page of any number of runs: seeds as bands, transfer tests that settings have in common, what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from meta_runs import write_run
from pages import check_self_contained, text_of

import neurograph as ng
from neurograph.experiments import find_runs, group_seeds
from neurograph.experiments.folder.reading import read_run
from neurograph.report.figures import bands
from neurograph.report.figures.bands import limit_scores
from neurograph.report.figures.runs import bands_figure
from neurograph.report.groups import write_group_comparison


def write_test_of(folder: Path, topologies: dict[str, float], **notes: object) -> None:
    """Writes a transfer test with two seeds, 0.1 apart, around these accuracies."""
    place = {"task": "xor", "method": "genome", "activation": None, "batch_norm": None, "loss": 1.0, "failed": False}
    rows = [
        place | {"topology": topology, "step": step, "seed": seed, "accuracy": accuracy - 0.05 + 0.1 * seed + step / 100}
        for topology, accuracy in topologies.items()
        for step in (0, 10)
        for seed in (0, 1)
    ]
    (folder / "transfer.json").write_text(json.dumps({"rows": rows, "notes": notes}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for steps, seed, accuracy in ((10, 0, 0.5), (10, 1, 0.6), (5, 0, 0.3), (5, 1, 0.3)):
        place = write_run(folder / f"{steps}-{seed}", f"unroll.steps={steps}", f"seed={seed}", score=accuracy)
        alone = {"ring": 0.2} if steps == 5 else {}
        write_test_of(place, {"mlp": accuracy} | alone, batch_size=steps)
    write_run(folder / "untested", "unroll.steps=2")
    (folder / "10-0" / "environment.json").write_text(json.dumps({"python": "3.11"}))
    (folder / "10-1" / "environment.json").write_text(json.dumps({"python": "3.12"}))
    (folder / "5-0" / "environment.json").write_text(json.dumps({"python": "3.11"}))
    (folder / "planned").mkdir()
    (folder / "planned/command.txt").write_text("neurograph\n")
    return folder


def test_the_page_has_what_settings_share_and_names_the_rest(runs, tmp_path):
    path = write_group_comparison(group_seeds(find_runs(runs)), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    check_self_contained(text)
    assert text.count("<svg") == 2
    words = " ".join(text_of(text).split())
    for expected in (
        "6 runs, 4 settings",
        "mlp xor 10 0.650 (0.600-0.700) 0.400",  # medians over the seeds of each test, then over runs
        "Only functions, gradient, steps 5 was tested on ring (xor).",
        "No transfer test: planned; functions, gradient, steps 2.",
        "The tests differ in batch size",
        "The settings differ in unroll.steps: validation does not measure the same",
        "python 3.11 or 3.12 3.11",
        "No meta-steps in metrics.jsonl: planned.",
        "planned has no config.yaml.",
    ):
        assert expected in words


def test_the_line_is_the_median_over_runs_and_the_band_goes_from_lowest_to_highest():
    runs = [([{"step": step, "loss": [loss * step], "accuracy": [0.5]} for step in (1, 2)], [], 0) for loss in (1.0, 2.0, 6.0)]
    runs[0][0].pop()  # stopped after one step
    axis = bands_figure({"a": runs}).axes[0]
    assert np.array(axis.lines[0].get_data()).T.tolist() == [[1, 2], [2, 8]]
    corners = np.array(axis.collections[0].get_paths()[0].vertices)
    assert {(x, y) for x, y in corners.tolist()} >= {(1, 1), (1, 6), (2, 4), (2, 12)}


def test_panels_in_a_row_share_their_range_which_ends_where_r2_says_nothing_more(runs, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(bands, "limit_scores", lambda axes: (limit_scores(axes), drawn.append(axes)))
    for steps, low in ((10, -0.6), (5, -7.0)):
        for seed in (0, 1):
            place = write_run(tmp_path / f"{steps}-{seed}", f"unroll.steps={steps}", f"seed={seed}", score=-0.5, regression=True)
            write_test_of(place, {"mlp": 0.5, "ring": low, "lattice": -4.0}, numbers=["xor"])
    page = write_group_comparison(group_seeds(find_runs(tmp_path)), tmp_path / "page.html")
    assert "R^2 on test data" in text_of(page.read_text(encoding="utf-8"))
    (first, second), (alone,) = (axes for axes in drawn if axes[0].get_title(loc="left"))
    assert first.get_ylim() == second.get_ylim() == (-1.0, pytest.approx(1.0, abs=0.3))
    assert alone.get_ylim()[0] < -4
    assert second.get_ylabel() == "test R^2"


def test_many_settings_are_drawn_in_part_and_one_run_is_no_comparison(tmp_path):
    for number in range(10):
        write_run(tmp_path / f"run{number}", f"unroll.batch_size={number + 1}")
    groups = group_seeds(find_runs(tmp_path))
    words = text_of(write_group_comparison(groups, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Drawn are the 8 settings that are best on validation data, of 10." in words
    with pytest.raises(ng.ExperimentError, match="run0: expected at least two runs to compare"):
        write_group_comparison(groups[:1], tmp_path / "page.html")


def test_a_genome_is_read_only_where_it_is_wanted(tmp_path):
    folder = write_run(tmp_path / "run", score=0.5)
    assert read_run(folder, genome=False).faults == []
    assert [fault.split(":")[0] for fault in read_run(folder).faults] == ["genome.json"]
