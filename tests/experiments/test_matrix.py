"""Genomes by topologies by tasks: cells, the store, misfits, tables, pictures, the command."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import shlex
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from pages import check_self_contained, text_of
from transfer_parts import GENOME, RULE, given, layered
from worker_tasks import Reversed

import neurograph as ng
import neurograph.experiments.transfer.matrix as module
import neurograph.experiments.transfer.units as units
import neurograph.workflows.transfers as transfers
from neurograph.cli.report import report
from neurograph.cli.transfer import transfer as command
from neurograph.cli.words import names_in, sort_words
from neurograph.experiments.transfer.bundles import TaskSource, bundles
from neurograph.experiments.transfer.curves import transfer
from neurograph.experiments.transfer.matrix_results import load_transfer_matrix
from neurograph.experiments.workers import TaskLost
from neurograph.learning.baselines import Setting
from neurograph.learning.trial import Trial
from neurograph.report.figures.transfer import curves_figure, heat_map
from neurograph.report.transfer import holds_matrix, write_transfer_report

OPTIONS = {"at": (0, 2, 3), "seeds": 2, "batch_size": 16, "query_size": 32, "learning_rates": [0.1, 0.3], "validation_seeds": 1}


def run(folder, *, genomes=("slow", "fast"), progress=None, **changes):
    known = {"slow": (GENOME.replace(synapse_update=-0.01), RULE), "fast": (GENOME, RULE)}
    topologies = {
        "narrow": given(layered(2, 4, 2)),
        "wide": layered(3, 4, 2),
        "loop": given(layered(2, 4, 2)).with_schedule("synchronous", 2),
    }
    tasks = {"xor": ng.get_task("xor")}
    chosen = {name: known[name] for name in genomes}
    return module.transfer_matrix(chosen, topologies, tasks, folder, progress=progress, **(OPTIONS | changes))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    return folder, run(folder)


@pytest.mark.thorough
def test_cells_are_those_of_single_transfers(store):
    folder, matrix = store
    single = transfer(
        GENOME,
        RULE,
        {"narrow": given(layered(2, 4, 2))},
        [ng.get_task("xor")],
        settings=(),
        **{k: OPTIONS[k] for k in ("at", "seeds", "batch_size", "query_size")},
    )
    mine = [row for row in matrix.rows if (row["genome"], row["topology"]) == ("fast", "narrow")]
    assert [{k: v for k, v in row.items() if k != "genome"} for row in mine] == list(single.rows)
    assert len(list((folder / "cells").iterdir())) == matrix.notes["cells"]["all"] - 3 - sum(
        p["method"] is not None for p in matrix.problems
    )


def test_misfits_are_told_and_do_not_stop_the_rest(store):
    matrix = store[1]
    cells = {(cell["topology"], cell["genome"]): cell for cell in matrix.cells(3)}
    assert cells["wide", "fast"]["reason"] == "does not fit: 3 inputs and 2 outputs; the task has 2 and 2"
    assert cells["narrow", "fast"]["median"] is not None
    assert cells["narrow", "fast"]["difference"] == pytest.approx(
        cells["narrow", "fast"]["median"] - cells["narrow", "fast"]["baseline_median"]
    )
    assert cells["loop", "fast"]["median"] is not None
    best = [row for row in matrix.chosen if row["best"]]
    assert len(best) == 3 * len({row["topology"] for row in matrix.chosen})
    for one in best:
        rivals = [row["accuracy"] for row in matrix.chosen if all(row[k] == one[k] for k in ("topology", "task", "step"))]
        assert one["accuracy"] == max(rivals)


def test_a_run_that_is_stopped_loses_one_cell(store, tmp_path, monkeypatch):
    """Killed at the third cell, then again: what was finished is not computed again, and the result is the same."""
    real, calls = units.genome_rows, []

    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(units, "genome_rows", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, optimizers=())
    kept = sorted((tmp_path / "cells").iterdir())
    assert len(kept) == 2
    kept[0].write_text(kept[0].read_text()[:-20])  # a damaged file is computed anew
    matrix = run(tmp_path, optimizers=())
    assert len(calls) == 3 + 3
    genome_rows = lambda m: [row for row in m.rows if row["genome"]]  # noqa: E731
    assert genome_rows(matrix) == genome_rows(store[1])
    again = run(tmp_path, optimizers=(), genomes=("fast",))
    assert len(calls) == 6
    assert again.notes["cells"]["found"] == 2
    run(tmp_path, optimizers=(), genomes=("fast",), seeds=1)  # another question has other cells
    assert len(calls) == 8


def test_optimisers_tuned_another_way_are_other_cells_and_are_told(tmp_path, monkeypatch):
    searches = []

    def tuned(question, unit, topology):
        searches.append(question.trial.search)
        return {"rows": [], "chosen": [], "configurations": 2, "runs": 4, "baseline_failures": 0}

    monkeypatch.setattr(units, "_tuned", tuned)
    asked = partial(run, tmp_path, genomes=("fast",), optimizers=("adam",))
    grid, halving, again = asked(), asked(search="halving"), asked(search="halving")
    assert searches == ["grid"] * 2 + ["halving"] * 2
    assert [one.notes["cells"]["found"] for one in (grid, halving, again)] == [0, 2, 4]  # a genome's cells are the same
    assert "chosen by successive halving on validation data" in halving.summary()
    assert "chosen on validation data" in grid.summary()


@pytest.mark.thorough
def test_graphs_of_one_class_share_a_program_and_equal_networks_of_their_own(tmp_path, monkeypatch):
    """What a class computes is what a `Network` for each computes; who comes later finds the cells of before, and its route."""
    monkeypatch.setattr(units, "SETTINGS", (Setting("sgd", "tanh", True),))
    graphs = {f"{width} wide": layered(2, width, 3, 2) for width in (4, 9)}
    options = OPTIONS | {"optimizers": ("sgd",), "at": (0, 2)}
    few = {"fast": (GENOME, RULE)}
    together = module.transfer_matrix(few, graphs, {"xor": ng.get_task("xor")}, tmp_path, **options)
    assert together.notes["cells"] == {"all": 4, "found": 0, "as data": 4} | {"seconds": together.notes["cells"]["seconds"]}
    alone = [module.transfer_matrix(few, {n: g}, {"xor": ng.get_task("xor")}, **options) for n, g in graphs.items()]
    assert [one.notes["cells"]["as data"] for one in alone] == [0, 0]
    expected = [row for one in alone for row in one.rows]
    assert [{**row, "loss": 0, "accuracy": 0} for row in together.rows] == [{**row, "loss": 0, "accuracy": 0} for row in expected]
    np.testing.assert_allclose([row["loss"] for row in together.rows], [row["loss"] for row in expected], rtol=1e-5)
    np.testing.assert_allclose([r["accuracy"] for r in together.rows], [r["accuracy"] for r in expected], atol=1 / 32 + 1e-6)
    later = module.transfer_matrix(few, {"4 wide": graphs["4 wide"]}, {"xor": ng.get_task("xor")}, tmp_path, **options)
    assert later.notes["cells"]["found"] == 2  # under the same key, whatever the route
    assert later.notes["cells"]["as data"] == 2


def test_units_can_be_sent_to_another_process():
    named = {"fast": (GENOME, RULE)}, {"a": layered(2, 4, 2)}, {"xor": ng.get_task("xor")}
    question = units.Question(*named, Trial(), (0.1,), "auto")
    size = ng.SizeClass.of([layered(2, 4, 2)])
    unit = units.Unit("xor", "fast", "genome", ("a",), size)
    sent = pickle.loads(pickle.dumps((replace(question, tasks={}), unit)))  # tasks go by name: not all of them can be pickled
    assert sent[1] == unit
    assert sent[0].topologies == question.topologies
    broken = replace(question, genomes={"fast": (GENOME, RULE.replace(states=3))})
    assert [list(cell) for cell in units.compute_unit(broken, unit)] == [["reason"]]


def test_cells_computed_elsewhere_are_the_same_in_whatever_order_they_come(store, tmp_path):
    said = []
    sources = {"xor": TaskSource("xor")}
    matrix = run(tmp_path, executor=Reversed(), sources=sources, optimizers=(), progress=said.append)
    assert list(matrix.rows) == [row for row in store[1].rows if row["genome"]]
    assert matrix.notes["cells"]["found"] == 0
    assert len(said) == len({*said})
    assert said[-1].startswith("[6/6] xor on ")
    again = run(tmp_path, executor=Reversed(), sources=sources, optimizers=())
    assert again.notes["cells"]["found"] == 4
    assert again.rows == matrix.rows


def test_a_cell_that_kills_its_workers_is_told_and_the_others_go_on(store, tmp_path):
    """Its bundle is taken apart, until it is known which cell it is; nothing is kept of it."""

    class Deadly(Reversed):
        def submit(self, function, bundle, shared=None):
            def killed(shared, bundle):
                raise TaskLost("compute: 3 workers died of it")

            deadly = any((unit.genome, name) == ("fast", "loop") for unit in bundle for name in unit.topologies)
            return super().submit(killed if deadly else function, bundle, shared=shared)

    matrix = run(tmp_path, executor=Deadly(), optimizers=())
    place = {"topology": "loop", "task": "xor"}
    assert place | {"genome": "fast", "method": "genome", "reason": "compute: 3 workers died of it"} in matrix.problems
    expected = [row for row in store[1].rows if row["genome"] and (row["genome"], row["topology"]) != ("fast", "loop")]
    assert list(matrix.rows) == expected
    whole = run(tmp_path, optimizers=())
    assert whole.notes["cells"]["found"] == 3
    assert list(whole.rows) == [row for row in store[1].rows if row["genome"]]


def test_bundles_hold_what_shares_a_program_the_largest_first():
    graphs = {"small": layered(2, 4, 2), "large": layered(2, 9, 9, 2)}
    genomes = {"a": (GENOME, RULE), "b": (GENOME, RULE), "c": (GENOME, RULE.replace(states=3))}
    question = units.Question(genomes, graphs, {"xor": ng.get_task("xor")}, Trial(), (0.1,), "auto")
    alone = [units.Unit("xor", genome, "genome", (name,), None) for genome in genomes for name in graphs]
    found = [[(unit.genome, *unit.topologies) for unit in bundle] for bundle in bundles(question, alone)]
    assert found == [[("a", "large"), ("b", "large")], [("c", "large")], [("a", "small"), ("b", "small")], [("c", "small")]]
    ticked = question.topologies["small"].with_schedule("synchronous", 1000)  # its ticks are work, too
    question = replace(question, topologies=graphs | {"small": ticked})
    found = [[*unit.topologies] for bundle in bundles(question, alone) for unit in bundle[:1]]
    assert found == [["small"], ["small"], ["large"], ["large"]]


def test_data_of_a_worker_that_differ_are_refused():
    with pytest.raises(
        ng.ExperimentError, match=r"this process: its data of task xor have the checksum \w{12}; .* asks\W* have 0000"
    ):
        TaskSource("xor", {}, "0" * 64).task()


def test_tables_files_and_pictures(store, tmp_path):
    matrix = store[1]
    names = {path.name for path in matrix.save(tmp_path)}
    assert names == {"matrix.json", "rows.csv", "cells.csv", "matrix.txt"}
    assert load_transfer_matrix(tmp_path / "matrix.json") == matrix
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert len(rows) == len(matrix.rows)
    assert float(rows[0]["accuracy"]) == matrix.rows[0]["accuracy"]
    cells = list(csv.DictReader(io.StringIO((tmp_path / "cells.csv").read_text())))
    assert len(cells) == 2 * 2 * 3
    text = (tmp_path / "matrix.txt").read_text()
    assert "2 genomes on 3 topologies and 1 task: 4 of 6 cells ran. In 2 the widths of task and topology do not fit." in text
    assert "configurations in" in text
    figure = heat_map(matrix)
    assert {text.get_text().split("\n")[0] for text in figure.axes[0].texts} >= {
        f"{cell['median']:.2f}" for cell in matrix.cells(3) if cell["median"] is not None
    }
    assert len([axis for axis in curves_figure(matrix).axes if axis.get_visible()]) == 2
    with pytest.raises(ng.ExperimentError, match="step: got 7; judged were 0, 2, 3"):
        matrix.cells(7)
    wrong = [json.dumps(matrix.to_dict() | {"rows": [dict(matrix.rows[0], accuracy=huge)]}) for huge in (10**400, math.inf)]
    for content, expected in (
        ("{", "not the results"),
        ('{"rows": []}', "not the results"),
        *((text, "accuracy is a number from 0 to 1") for text in wrong),
    ):
        (tmp_path / "matrix.json").write_text(content)
        with pytest.raises(ng.ExperimentError, match=expected):
            load_transfer_matrix(tmp_path / "matrix.json")


def test_page(store, tmp_path, capsys):
    matrix = store[1]
    matrix.save(tmp_path)
    path = write_transfer_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = path.read_text(encoding="utf-8")
    check_self_contained(page)
    words = text_of(page)
    for cell in matrix.cells(3):
        if cell["median"] is not None:
            assert f"{cell['median']:.3f} ({cell['low']:.3f}" in words
            assert f"{cell['difference']:+.3f}" in words
    assert page.count("<svg") == 1 + 2  # the heat map, curves of the places that ran
    for expected in (
        "does not fit: 3 inputs",
        *matrix.summary().split(". ")[:2],
        "By transfer_matrix",
        "jaxlib",
    ):
        assert expected in words
    first = path.read_bytes()
    assert CliRunner().invoke(report, [str(tmp_path), "--json"]).exit_code == 0
    assert path.read_bytes() == first
    matrix.notes["command"] = "neurograph transfer <a>"
    matrix.save(tmp_path)
    del matrix.notes["command"]
    write_transfer_report(tmp_path)
    assert "neurograph transfer &lt;a&gt;" in path.read_text(encoding="utf-8")
    assert "--base: only for a run" in CliRunner().invoke(report, [str(tmp_path), "--base", str(tmp_path)]).output
    (tmp_path / "config.yaml").write_text("{}")
    assert not holds_matrix(tmp_path)  # the page of a run comes first
    data = json.loads((tmp_path / "matrix.json").read_text())
    (tmp_path / "matrix.json").write_text(json.dumps(data | {"notes": data["notes"] | {"topologies": {"narrow": 3}}}))
    with pytest.raises(ng.ExperimentError, match="not the results of a transfer matrix"):
        write_transfer_report(tmp_path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"genomes": ()}, "genomes of the transfer matrix: got none"),
        ({"at": (-1,)}, r"at: got \(-1,\); expected step counts >= 0"),
        ({"at": ()}, r"at: got \(\); "),
        ({"at": "10"}, "at: got 10; "),
        ({"seeds": 0}, "seeds: got 0; expected an integer >= 1"),
        ({"batch_size": 1.5}, r"batch_size: got 1\.5; expected an integer >= 1"),
        ({"optimizers": ("sdg",)}, "baselines: got sdg; allowed: sgd, momentum, adam"),
    ],
)
def test_wrong_questions(changes, text):
    with pytest.raises(ng.ExperimentError, match=text):
        run(None, **changes)


def test_command(tmp_path):
    genome = ng.save_genome(tmp_path / "a" / "genome.json", GENOME, RULE)
    arguments = [str(genome), "-t", "mlp_2d_classes,mlp", "-k", "xor", "--baselines", "none", "--steps", "0,2", "--runs", "2"]
    arguments += ["--batch", "8", "--query", "16", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "1 genome on 2 topologies and 1 task: 1 of 2 cells ran." in " ".join(result.stdout.split())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"heat_map.png", "curves.png", "matrix.txt", "cells", "report.html"}
    told = load_transfer_matrix(tmp_path / "out" / "matrix.json").notes["command"]
    assert f"neurograph transfer {genome} --topology mlp_2d_classes --topology mlp --task xor --steps 0,2 --runs 2" in told
    data = json.loads(CliRunner().invoke(command, [*arguments, "--json", "--quiet"]).stdout)
    assert [cell["genome"] for cell in data["cells"]] == ["a", "a"]
    assert data["notes"]["cells"]["found"] == 1
    again = CliRunner().invoke(command, [*shlex.split(told)[2:], "--json", "--quiet"])
    assert json.loads(again.stdout)["cells"] == data["cells"]
    assert np.isfinite(data["cells"][0]["median"])
    for extra, text in (
        (["--steps", "a"], "--steps: got 'a'; expected whole numbers"),
        (["--show", "7"], "--show: 7 not among --steps"),
        (["-k", "xor noise"], "got 'noise'; expected KEY=VALUE"),
        (["mlp"], "mlp: a topology, but --topology names some already"),
    ):
        with pytest.raises(ng.NeurographError, match=text):
            CliRunner().invoke(command, arguments + extra, catch_exceptions=False)


def test_a_test_in_which_no_genome_ran_is_an_error_and_leaves_no_pictures(tmp_path):
    genome = str(ng.save_genome(tmp_path / "genome.json", GENOME, RULE))
    arguments = [genome, "-t", "mlp", "-t", "residual", "-k", "xor", "--out", str(tmp_path / "out")]
    with pytest.raises(ng.ExperimentError) as caught:
        CliRunner().invoke(command, [*arguments, "--baselines", "none", "--quiet"], catch_exceptions=False)
    head, *lines = str(caught.value).splitlines()
    assert head == "no genome ran on any of these topologies and tasks:"
    assert lines[0].startswith("  xor on mlp: does not fit: ")
    assert len(lines) == 2
    assert not (tmp_path / "out").exists()


def test_the_page_of_a_matrix_without_cells_has_no_heat_map(store, tmp_path):
    replace(store[1], rows=(), chosen=()).save(tmp_path)
    page = write_transfer_report(tmp_path).read_text(encoding="utf-8")
    assert "Heat maps" not in text_of(page)
    assert "No cell ran." in text_of(page)
    assert "<svg" not in page


def test_spellings_of_before_are_understood_and_hidden(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(transfers, "run_transfer", lambda *given, **options: seen.update(options) or given[4])  # no such place
    old = ["--seeds", "2", "--validation-seeds", "4", "--batch-size", "8", "--query-size", "16"]
    with pytest.raises(IndexError):
        CliRunner().invoke(command, ["functions", "-t", "mlp", "-k", "xor", *old], catch_exceptions=False)
    assert [seen[name] for name in ("seeds", "validation_seeds", "batch_size", "query_size")] == [2, 4, 8, 16]
    shown = CliRunner().invoke(command, ["--help"]).stdout
    assert not [spelling for spelling in old[::2] if spelling in shown]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ng.save_genome("mine.json", GENOME, RULE)
    ng.save_topology(layered(2, 4, 2), "graph.json")
    ng.save_topology(layered(2, 4, 2), "a, b.csv")


@pytest.mark.parametrize(
    ("words", "options", "found"),
    [
        ("digits mlp digits", "", "digits | mlp | digits"),
        ("digits functions mlp residual xor", "", "digits,functions | mlp,residual | xor"),
        ("functions,mine.json ring,graph.json xor,moons", "", "functions,mine.json | ring,graph.json | xor,moons"),
        ("xor graph.json mine.json", "", "mine.json | graph.json | xor"),
        ("digits digits", "topology", "digits |  | digits"),
        ("functions digits", "topology", "functions |  | digits"),
        ("functions digits", "topology task", "functions,digits |  | "),
        ("digits mlp", "task", "digits | mlp | "),
    ],
)
def test_words_are_what_they_can_be(files, words, options, found):
    given = dict.fromkeys(options.split(), True)
    assert " | ".join(",".join(names) for names in sort_words(words.split(), given).values()) == found


def test_a_list_of_names_longer_than_a_file_name():
    assert names_in(",".join(["mlp"] * 200)) == ["mlp"] * 200


def test_words_with_commas_and_options(files):
    words = ["mine.json", "a, b.csv", "digits size=8, 9", "csv:a, b.csv"]
    assert list(sort_words(words, {}).values()) == [["mine.json"], ["a, b.csv"], ["digits size=8, 9", "csv:a, b.csv"]]


@pytest.mark.parametrize(
    ("words", "options", "text"),
    [
        ("digts mlp xor", "", r"digts: no such file, and no genome or topology or task of that name; did you mean \'digits\'\?"),
        (
            "digits mlp",
            "",
            r"got digits \(genome or task\), mlp \(topology\); expected GENOME... TOPOLOGY... TASK..., at least one",
        ),
        ("mlp digits digits", "", r"expected GENOME... TOPOLOGY... TASK..."),
        ("functions digits digits", "topology", r"can be read in 2 ways: name topologies by -t, tasks by -k"),
        ("digits mlp xor", "topology", r"mlp: a topology, but --topology names some already"),
    ],
)
def test_words_that_leave_a_doubt(files, words, options, text):
    with pytest.raises(ng.ExperimentError, match=text):
        sort_words(words.split(), dict.fromkeys(options.split(), True))
