"""Drawings of topologies: what they show, against networkx and plain loops, and how large their files are."""

from __future__ import annotations

import io
import os
import re

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings

import neurograph as ng
from neurograph.errors import TopologyError
from neurograph.network.plan import compile_plan
from neurograph.report.figures import topology as drawings
from neurograph.report.figures.layout import population_layout
from neurograph.report.figures.matrix import histograms_panel, matrix_panel
from neurograph.report.figures.neurons import nodes_panel
from neurograph.report.figures.panel import KINDS
from neurograph.report.figures.style import picture, styled
from neurograph.report.figures.topology import VIEWS, draw_topology, svg_of
from neurograph.testing import topologies

WHITE = "#FFFFFF"


def cells_of(topology: ng.Topology) -> np.ndarray:
    """The colours of the matrix that is drawn, one per pair of neurons, in plan order."""
    with styled():
        axes = matrix_panel(picture(1, 1, fitted=False), topology).axes[0][0]
    image = np.round(255 * axes.images[0].get_array()).astype(int)
    times = len(image) // topology.num_neurons
    cells = image.reshape(topology.num_neurons, times, topology.num_neurons, times, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    return np.array([["#{:02X}{:02X}{:02X}".format(*cell) for cell in row] for row in cells[:, 0, :, 0].tolist()])


@pytest.mark.parametrize("name", ["tiny", "conv_shared", "celegans"])
def test_the_matrix_has_a_cell_per_synapse_in_plan_order_and_cycles_are_red(name):
    topology = ng.load_topology(name)
    graph = nx.DiGraph(zip(topology.senders.tolist(), topology.receivers.tolist()))
    member = {neuron: number for number, part in enumerate(nx.strongly_connected_components(graph)) for neuron in part}
    rank = {neuron: place for place, neuron in enumerate(compile_plan(topology).order.tolist())}
    expected = np.full((topology.num_neurons,) * 2, WHITE, object)
    for e, (i, j) in enumerate(zip(topology.senders.tolist(), topology.receivers.tolist())):
        kind = "fixed" if topology.fixed[e] else "shared" if topology.group[e] >= 0 else "own"
        expected[rank[i], rank[j]] = KINDS["cycle" if member[i] == member[j] else kind]
    assert cells_of(topology).tolist() == expected.tolist()


def test_neurons_of_large_graphs_share_cells_that_are_darker_the_more_synapses_they_hold():
    layers = ng.load_topology("300-300-2")
    with styled():
        axes = matrix_panel(picture(1, 1, fitted=False), layers).axes[0][0]
    image = axes.images[0].get_array()
    assert "a cell is 3 x 3 pairs" in axes.get_title()
    assert image.shape[0] == image.shape[1] < 1300
    at = lambda sender, receiver: image[int(len(image) * sender / 602), int(len(image) * receiver / 602), 0]  # noqa: E731
    assert at(150, 450) == pytest.approx(0x33 / 255)  # dense
    assert at(450, 150) == 1.0  # empty
    kept = ((layers.senders + layers.receivers) % 3 == 0) | (layers.receivers >= 600)
    few = {"senders": layers.senders[kept], "receivers": layers.receivers[kept]}
    sparse = layers.replace(**few, fixed=None, weight=None, group=None)
    with styled():
        image = matrix_panel(picture(1, 1, fitted=False), sparse).axes[0][0].images[0].get_array()
    assert 0x33 / 255 < at(150, 450) < 1.0


@pytest.mark.parametrize("name", ["tiny", "small_world", "torus"])
def test_histograms_count_every_neuron_once(name):
    topology = ng.load_topology(name)
    with styled():
        panels = histograms_panel(picture(1, 1, fitted=False), topology).axes
    graph = nx.DiGraph(zip(topology.senders.tolist(), topology.receivers.tolist()))
    graph.add_nodes_from(range(topology.num_neurons))
    inputs, outputs = set(topology.inputs.tolist()), set(topology.outputs.tolist())
    into = [degree for i, degree in graph.in_degree if i not in inputs]
    outof = [degree for i, degree in graph.out_degree if degree or i not in outputs]
    for (axes, _), values in zip(panels, (into, outof, topology.levels.tolist())):
        heights = np.zeros(max(values, default=0) + 1)
        for bar in axes.patches:
            heights[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
        assert heights.tolist() == np.bincount(values).tolist() or not values


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_repeats_byte_for_byte(view):
    graph = ng.load_topology("tiny")
    first, second = (svg_of(draw_topology(graph, view=view)) for _ in range(2))
    assert first == second
    assert b"on a cycle" not in first


def test_nodes_of_a_cycle_keep_apart_and_a_ring_is_a_ring():
    ring = ng.load_topology("ring")
    with styled():
        axes = nodes_panel(picture(1, 1, fitted=False), ring).axes[0][0]
    (circles,) = [part for part in axes.collections if len(part.get_paths()) == ring.num_neurons and part.get_zorder() == 2]
    spot = np.array([path.get_extents().get_points().mean(axis=0) for path in circles.get_paths()])
    apart = np.linalg.norm(spot[:, None] - spot[None], axis=2)
    assert apart[~np.eye(len(spot), dtype=bool)].min() > 0.55
    members = spot[ring.population == ring.population_names.index("ring")]
    radius = np.linalg.norm(members - members.mean(axis=0), axis=1)
    assert np.ptp(radius) < 0.1 * radius.mean()


def test_nodes_are_for_small_graphs_and_all_says_that_it_leaves_them_out():
    graph = ng.load_topology("irregular_dag")
    with pytest.raises(TopologyError, match=r"194 neurons and 1,589 synapses; nodes are drawn up to 160 and 2,500"):
        draw_topology(graph, view="nodes")
    figure = draw_topology(graph, view="all")
    assert figure.notes == ("no nodes: they are drawn up to 160 neurons and 2,500 synapses",)
    assert [axes.get_label() for axes in figure.axes if axes.get_label() in ("matrix", "fan-in", "fan-out", "levels")] == [
        "matrix",
        "fan-in",
        "fan-out",
        "levels",
    ]


def test_views_and_details_that_do_not_exist_are_refused():
    graph = ng.load_topology("tiny")
    with pytest.raises(TopologyError, match=r"view: got 'circle'; allowed: boxes, matrix, histograms, nodes, all"):
        draw_topology(graph, view="circle")  # type: ignore[arg-type]
    with pytest.raises(TopologyError, match=r"detail: got 'neurons' with the view matrix; expected auto"):
        draw_topology(graph, view="matrix", detail="neurons")


@pytest.mark.skipif(os.name == "nt", reason="the program that stands for dot is a shell script")
@pytest.mark.parametrize("works", [True, False])
def test_dot_places_the_nodes_where_it_is_installed(works, tmp_path, monkeypatch):
    graph = ng.load_topology("tiny")
    lines = "".join(f"node {i} {i % 3} {i} 0.3 0.3 x solid circle black lightgrey\\n" for i in range(graph.num_neurons))
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/asked\nprintf '{lines}stop\\n'\nexit {0 if works else 1}\n")
    program.chmod(0o755)
    without = svg_of(draw_topology(graph, view="nodes"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    figure = draw_topology(graph, view="nodes")
    asked = (tmp_path / "asked").read_text()
    assert len(re.findall(r"\d+->\d+;", asked)) == graph.num_synapses
    assert graph.names[0] not in asked  # numbers only
    if not works:
        assert svg_of(figure) == without
        return
    (circles,) = [part for part in figure.axes[0].collections if part.get_zorder() == 2]
    spot = np.array([path.get_extents().get_points().mean(axis=0) for path in circles.get_paths()])
    for column in range(3):  # three columns, in each the lowest neuron below
        here = spot[column::3]
        assert np.allclose(here[:, 0], spot[column, 0])
        assert (np.diff(here[:, 1]) > 0.8).all()
    assert np.allclose(np.diff(spot[:3, 0]), 1.6)


def test_a_large_svg_holds_its_lines_as_an_image_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "MAX_SVG", 450_000)
    figure = draw_topology(ng.load_topology("small_world"), tmp_path / "a.svg", view="nodes")
    assert b"<image" in (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "a.svg").stat().st_size <= 450_000
    assert re.fullmatch(r"synapses are an image of \d+ dots per inch, so that the SVG stays below 1 MB", *figure.notes)
    monkeypatch.setattr(drawings, "MAX_SVG", 1000)
    with pytest.raises(TopologyError, match=r"the drawing as SVG has .* MB; at most 1 MB is written. Draw a \.png"):
        draw_topology(ng.load_topology("tiny"), tmp_path / "b.svg")
    assert not (tmp_path / "b.svg").exists()


def test_the_worm_by_neurons_takes_less_than_a_megabyte():
    svg = svg_of(draw_topology(ng.load_topology("celegans"), detail="neurons"))
    assert len(svg) <= 1_000_000
    assert b"<image" not in svg


@pytest.mark.parametrize("name", ["mnist_10x10_depth10", "residual", "growing", "celegans"])
def test_ways_between_rows_of_boxes_pass_through_no_box(name):
    boxes, links = population_layout(ng.load_topology(name))
    wide = max(box.x for box in boxes) / 3.4 + 1
    assert wide <= 7 or name == "growing"  # whose many skips would cross from row to row
    assert any(link.corners for link in links) == (name in ("mnist_10x10_depth10", "residual"))
    for a in boxes:
        for b in boxes:
            assert a is b or abs(a.x - b.x) >= 1.9 or abs(a.y - b.y) >= 0.75
    for link in links:
        for start, stop in zip(link.corners, link.corners[1:]):
            for step in np.linspace(0.001, 0.999, 200):
                x, y = (1 - step) * np.array(start) + step * np.array(stop)
                assert not any(abs(x - box.x) < box.width / 2 and abs(y - box.y) < box.height / 2 for box in boxes)


@settings(max_examples=3, deadline=None)
@given(topology=topologies(cyclic=True, attributes=True, wild_names=True))
def test_all_views_of_anything_small_can_be_drawn(topology):
    draw_topology(topology, view="all").savefig(io.BytesIO(), format="svg")
