"""Figures under the settings of a user, with long names, and side by side."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import neurograph as ng
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.report.figures import transfer as figures
from neurograph.report.figures.bands import curves, panels, ranges
from neurograph.report.figures.genome import genome_picture
from neurograph.report.figures.heat_map import annotated_cells
from neurograph.report.figures.runs import comparison_figure
from neurograph.report.figures.style import legend_below, picture, rows_of_axes, short, styled
from neurograph.report.figures.topology import draw_topology
from neurograph.report.figures.transfer import curves_figure, difference_map, heat_map, learning_figure, rivals_figure
from neurograph.report.transfer import _heat_maps

LONG = "a name that goes on and on " * 12
OTHER_SETTINGS = {"text.usetex": True, "axes.facecolor": "black", "font.size": 40, "figure.dpi": 30, "savefig.dpi": 400}
OTHER_SETTINGS |= {"savefig.bbox": "tight", "savefig.transparent": True, "axes.titlesize": 60, "svg.fonttype": "path"}


def rows_of(topology: str, task: str) -> list[dict]:
    row = {"topology": topology, "task": task, "method": "genome", "activation": None, "batch_norm": None, "learning_rate": None}
    return [row | {"step": step, "seed": 0, "accuracy": 0.1 * step, "loss": 1.0, "failed": False} for step in (1, 5)]


def matrix_of(names: list[str], differences: tuple[float, ...] = ()) -> TransferMatrix:
    """A matrix of one task in which every name is a genome and a topology; differences to a baseline at steps 1, 5."""
    rows = [row | {"genome": genome} for genome in names for name in names for row in rows_of(name, "task " + name)]
    chosen = []
    for step, difference in zip((1, 5), differences):
        for name in names:
            place = {"topology": name, "task": "task " + name, "method": "sgd", "activation": "relu", "batch_norm": False}
            chosen.append(place | {"step": step, "learning_rate": 0.1, "best": True, "accuracy": 0.5})
            rows.append(chosen[-1] | {"genome": None, "seed": 0, "accuracy": 0.1 * step - difference, "loss": 1.0})
    notes = {"genomes": names, "topologies": dict.fromkeys(names), "tasks": ["task " + name for name in names], "at": [1, 5]}
    notes |= {"baselines": ["sgd"] if differences else [], "seeds": 1, "chance": {}, "shown": [1, 5]}
    return TransferMatrix(tuple(rows), tuple(chosen), (), notes)


def every_figure(name: str) -> dict[str, Figure]:
    rows = rows_of(name, name)
    genome, rule = ng.backprop_genome()
    record = [{"step": 1, "loss": [1.0], "accuracy": [0.5]}]
    entry = {"genome": {"median": 0.5}, "task": name, "topology": name, "step": 1, "difference": None}
    figures = {
        "learning": learning_figure(rows, [], name, name),
        "rivals": rivals_figure([(name, rows, []), (f"{name}2", rows, [])], name, name),
        "curves": curves_figure(matrix_of([name, name[::-1]])),
        "heat map": heat_map(matrix_of([name, name[::-1]])),
        "differences": difference_map([entry, entry | {"task": name + "2"}], who=name, other=name),
        "comparison": comparison_figure([(name, record, [], 0), (name, record, [], None)]),
        "genome": genome_picture(ng.LayeredGenome.repeat(genome, "role"), rule, title=name, narrow=True),
        "topology": draw_topology(ng.load_topology("tiny").replace(title=name)),
    }
    figures["bands"], axes = panels(2)
    line = [{"median": 0.5, "low": 0.4, "high": 0.6, "minimum": 0.1, "maximum": 0.9, "step": 1}]
    curves(axes[0], {name: line}, title="title")
    ranges(axes[1], {name: line[0]})
    return figures


def svg_of(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    return stream.getvalue()


@pytest.mark.thorough
def test_settings_of_the_user_change_no_figure():
    plain = {name: svg_of(figure) for name, figure in every_figure("a name").items()}
    with matplotlib.rc_context(OTHER_SETTINGS):
        found = {name: svg_of(figure) for name, figure in every_figure("a name").items()}
        assert matplotlib.rcParams["text.usetex"]  # the user's own figures keep them
    assert [name for name in plain if plain[name] != found[name]] == []


@pytest.mark.thorough
def test_a_matplotlibrc_that_asks_for_latex_changes_no_picture(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 30\n")
    commands = [
        "topology draw tiny --out topology.png",
        "task show moons --out task.png",
        "genome draw backprop --out genome.svg",
        "report run",
    ]
    code = "from neurograph.cli import main\nfor line in " + repr(commands) + ": main(line.split(), standalone_mode=False)"
    pictures = []
    for name, settings in (("plain", {}), ("latex", {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")})):
        folder = tmp_path / name
        (folder / "run").mkdir(parents=True)
        (folder / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": [1.0], "accuracy": [0.5]}\n')
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        pictures.append({path.name: path.read_bytes() for path in folder.rglob("*.*g") if path.suffix in (".png", ".svg")})
    assert len(pictures[0]) == 5  # the page's figure twice
    assert pictures[0] == pictures[1]


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]


def test_long_names_leave_room_for_the_axes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in every_figure(LONG).items():
            svg_of(figure)
            for axis in figure.findobj(plt.Axes):
                box = axis.get_window_extent()
                room = box.width > (4 if axis.get_label() == "<colorbar>" else 30) and box.height > 20
                assert room or not axis.get_visible(), name
            assert max(len(line) for text in texts_of(figure) for line in text.split("\n")) <= 100, name
            for legend in figure.legends:
                assert legend.get_window_extent().width <= figure.bbox.width, name


def test_a_figure_grows_where_labels_leave_no_room():
    with styled():
        figure, (axis,) = rows_of_axes(2, width=2)
        axis.set_yticks([0, 1], ["w" * 60, "short"])
        axis.set_title("\n".join("title"))
    plain = Figure(figsize=(2, 2), layout="constrained")
    plain.subplots().set_yticks([0, 1], ["w" * 60, "short"])
    with pytest.warns(UserWarning, match="constrained_layout not applied"):
        plain.savefig(io.BytesIO())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())
    assert figure.get_size_inches()[0] > 2
    assert axis.get_window_extent().width > 0
    small, _ = rows_of_axes(2, width=2)
    small.savefig(io.BytesIO())
    assert tuple(small.get_size_inches()) == (2, 2)


def test_short_names():
    assert short("a name") == "a name"
    assert short("two\nlines\tand  a \x00") == "two lines and a \ufffd"
    assert short("0123456789", 5) == "01…89"
    assert short("0123456789", 4) == "01…9"
    assert {len(short(LONG, most)) for most in (7, 36)} == {7, 36}


def test_names_are_no_formulas():
    figure = difference_map([{"genome": {"median": 0.5}, "task": "t", "topology": "$x^{", "step": 1, "difference": None}])
    assert "$x^{" in svg_of(figure)


def test_legends_have_fewer_columns_where_labels_are_long():
    for length, columns in ((5, 3), (20, 2), (60, 1)):
        figure, (axis,) = rows_of_axes(3)
        handles = [axis.plot([0, 1])[0] for _ in range(4)]
        legend_below(figure, handles, ["x" * length] * 4, 3)
        assert figure.legends[0]._ncols == columns
    empty = picture(2, 2)
    legend_below(empty, [], [])
    assert empty.legends == []


def test_heat_maps_of_one_page_share_a_range():
    matrix = matrix_of(["a", "b"], (0.02, 0.3))
    alone = [heat_map(matrix, step) for step in (1, 5)]
    seen: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "heat_map", lambda *words, **options: seen.append(heat_map(*words, **options)) or seen[-1])
        _heat_maps(matrix)
    assert [limit_of(figure) for figure in alone] == [0.05, pytest.approx(0.3)]
    assert [limit_of(figure) for figure in seen] == [pytest.approx(0.3)] * 2


def limit_of(figure: Figure) -> float:
    """The end of the scale of a heat map, the same in all its panels."""
    (limits,) = {axis.collections[0].get_clim() for axis in figure.axes if axis.get_title(loc="left")}
    assert limits[0] == -limits[1]
    return limits[1]


def test_cells_say_what_they_are():
    with styled():
        _, (axis,) = rows_of_axes(2)
        values = np.array([[0.9, -0.2], [np.nan, 1.0]])
        pale = np.array([[False, False], [False, True]])
        cells = annotated_cells(axis, values, [["a", "b"], [None, "d"]], limit=1.0, pale=pale)
    assert [(text.get_text(), text.get_color()) for text in axis.texts] == [("a", "white"), ("b", "black"), ("d", "#b5b5b5")]
    assert [patch.get_hatch() for patch in axis.patches] == ["////"]
    assert np.ma.getmaskarray(cells.get_array()).tolist() == [[False, False], [True, True]]
    assert axis.get_ylim() == (1.5, -0.5)  # the first row on top
