"""What notebooks show: texts that stay short, and HTML that says what the thing holds, of whatever is in it."""

from __future__ import annotations

import io
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import neurograph as ng
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import Transfer
from neurograph.report.notebook import graph as graph_display


@pytest.fixture(scope="module")
def parts():
    file = ng.load_genome_file("functions")
    network = ng.Network(ng.load_topology("mlp_2d_classes"), file.rule)
    return file, network, network.init(file.genome, key=jax.random.key(0))


def cells(html: str) -> list[str]:
    return re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", html)


def test_texts_are_short_and_name_sizes(parts):
    file, network, synapses = parts
    assert repr(file.genome) == "Genome(2 states, float32)"
    assert repr(jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), file.genome)) == "Genome(5 x 2 states, float32)"
    layered = ng.LayeredGenome.repeat(file.genome, "depth", 20)
    assert repr(layered) == "LayeredGenome(by depth: 0, 1, 2, 3, 4, 5, 6, 7, ...; Genome(20 x 2 states, float32))"
    assert repr(file).startswith("GenomeFile(Genome(2 states, float32), with a rule, ")
    count = sum(leaf.size for leaf in jax.tree.leaves(synapses.forward))
    assert repr(synapses) == f"Synapses(forward {count:,} numbers of float32)"
    assert repr(synapses.forward) == f"Weights({count:,} numbers of float32)"
    assert repr(network.plan).startswith("Plan(")
    trace = network.trace(file.genome, synapses, jnp.zeros((3, 2)), jnp.ones((3, 2)))
    assert repr(trace).startswith(f"Trace(states {3 * 2 * network.topology.num_neurons:,} numbers of float32 in each")
    for thing in (file.genome, layered, file, synapses, synapses.forward, network, network.plan, trace):
        assert len(repr(thing)) < 250


def test_tracers_shapes_and_what_else_stands_in_a_tree_is_shown_by_size(parts):
    file, _, synapses = parts
    seen = []

    def look(genome, layered, weights):
        seen.extend([(repr(thing), thing._repr_html_()) for thing in (genome, layered, weights)])
        return genome.neuron_keep

    things = (file.genome, ng.LayeredGenome.repeat(file.genome, "role"), synapses)
    jax.eval_shape(look, *things)
    assert [text for text, _ in seen] == [repr(thing) for thing in things]
    assert all("(2, 2)" in html or "float32" in html for _, html in seen)
    shapes = jax.eval_shape(lambda *trees: trees, *things)
    assert [repr(thing) for thing in shapes] == [repr(thing) for thing in things]
    assert [thing._repr_html_() for thing in shapes] == [html for _, html in seen]
    words = jax.tree.map(lambda leaf: "<b>", things)
    assert repr(words[0]) == "Genome of str"
    assert repr(words[2]) == f"Synapses(forward {len(jax.tree.leaves(synapses))} leaves of str)"
    for thing in words[1:]:
        assert "<b>" not in thing._repr_html_()
    given = jax.tree.map(jnp.copy, file.genome)
    jax.tree.map(lambda leaf: leaf.delete(), given)
    assert repr(given) == repr(file.genome)
    assert "(2, 2)" in given._repr_html_()


def test_a_genome_shows_its_numbers_and_the_gates_that_have_an_effect(parts):
    file = parts[0]
    html = file._repr_html_()
    shown = cells(html)
    for name in ("forward_transform", "backward_transform", "pre_transform", "post_transform"):
        assert name in html
        for value in np.asarray(getattr(file.genome, name)).ravel():
            assert f"{value:.2f}" in shown
    assert f"{float(file.genome.synapse_update):.4g}" in shown
    assert ("oja_multiplier" in html) == (file.rule.oja != "none")
    assert file.card["description"][:40] in html
    assert "background:rgb(" in html
    layers = ng.LayeredGenome.repeat(file.genome, "depth", 30)._repr_html_()
    assert layers.count("<details>") == 12
    assert "and 18 more layers" in layers
    wide = ng.Genome.random(jax.random.key(0), ng.Rule(states=64))._repr_html_()
    assert "(64, 64)" in wide
    assert len(wide) < 20_000


def test_colours_are_white_at_zero_orange_below_and_purple_above(parts):
    genome = parts[0].genome.replace(forward_transform=[[0.0, 2.0], [-2.0, 0.0]])
    html = genome._repr_html_().split("backward_transform")[0]
    colours = re.findall(r"rgb\(([\d,]+)\)", html)
    assert colours == ["255,255,255", "94,60,153", "230,97,1", "255,255,255"]


def test_a_network_shows_its_plan_and_a_batch_its_classes(parts):
    file, network, synapses = parts
    html = network._repr_html_()
    assert html.count("<tr>") == 1 + len(network.plan.blocks)
    assert "every sender meets every receiver" in html
    batch = ng.NetworkBatch([network.topology] * 2, file.rule)
    assert cells(batch._repr_html_())[3] == str(batch.classes[0])
    assert cells(batch._repr_html_())[5] == "2"
    assert all(str(leaf.shape) in synapses._repr_html_() for leaf in jax.tree.leaves(synapses))


def test_a_topology_shows_a_drawing_and_a_huge_one_a_line(monkeypatch):
    small_world, ring = (ng.load_topology(name)._repr_html_() for name in ("small_world", "ring"))
    assert small_world == ng.load_topology("small_world")._repr_html_()
    for html in (small_world, ring):
        assert html.count("<svg") == 1
        assert "cyclic component" in html
        assert len(html) < 1_000_000
    ids = [set(re.findall(r'\bid="([^"]+)"', html)) for html in (small_world, ring)]
    assert not ids[0] & ids[1]  # both may stand in one notebook
    monkeypatch.setattr(graph_display, "MOST_SYNAPSES", 100)
    html = ng.load_topology("ring")._repr_html_()
    assert "<svg" not in html
    assert "104 neurons" in html


def test_draw_returns_figures_that_a_notebook_shows_and_saves_them(tmp_path, parts):
    graph = ng.load_topology("tiny")
    figure = graph.draw(tmp_path / "a.png", view="histograms")
    assert Image.open(io.BytesIO(figure._repr_png_())).size[0] == round(96 * figure.get_size_inches()[0])
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(ng.TopologyError, match=r"view: got 'x'"):
        graph.draw(view="x")  # type: ignore[arg-type]
    file = parts[0]
    assert len(file.draw(tmp_path / "new" / "g.svg").subfigs) == 1
    assert (tmp_path / "new" / "g.svg").exists()
    assert len(file.genome.draw().subfigs[0].axes) == 5  # without a rule the moments too
    with pytest.raises(ng.GenomeError, match=r"the ending '\.gif' is not known"):
        file.draw(tmp_path / "g.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(ng.GenomeError, match="cannot be written"):
        file.draw(tmp_path / "file" / "g.svg")


def rows_of(genomes: list[str], topologies: list[str]) -> TransferMatrix:
    rows, chosen = [], []
    for topology in topologies:
        place = {"topology": topology, "task": "task", "step": 5, "seed": 0, "loss": 1.0, "failed": False}
        rows += [
            place
            | {"genome": name, "method": "genome", "activation": None, "batch_norm": None, "learning_rate": None}
            | {"accuracy": 0.5 + 0.1 * number}
            for number, name in enumerate(genomes)
        ]
        rival = place | {"genome": None, "method": "sgd", "activation": "relu", "batch_norm": False, "learning_rate": 0.1}
        rows.append(rival | {"accuracy": 0.55})
        chosen.append(rival | {"accuracy": 0.55, "best": True})
    notes = {"genomes": genomes, "topologies": dict.fromkeys(topologies), "tasks": ["task"], "at": [5], "seeds": 1}
    return TransferMatrix(tuple(rows), tuple(chosen), (), notes)


def test_results_of_transfer_are_tables_with_the_difference_as_colour():
    matrix = rows_of(["a", "b"], ["x", "y"])
    assert repr(matrix) == "TransferMatrix(2 genomes, 2 topologies, 1 tasks, 6 rows, 0 problems)"
    html = matrix._repr_html_()
    assert cells(html)[6:12] == ["task", "x", "5", "0.500 (0.500-0.500)", "0.600 (0.600-0.600)", "0.550 sgd, relu, 0.1"]
    assert re.findall(r"rgb\(([\d,]+)\)", html)[:2] == ["230,97,1", "94,60,153"]
    one = matrix.of("b")
    assert repr(one) == "Transfer(4 rows of 2 pairs of task and topology)"
    assert cells(one._repr_html_())[7:14] == [
        *("task", "x", "5", "0.600 (0.600-0.600)", "0.550 (0.550-0.550)", "sgd, relu", "+0.050"),
    ]
    many = rows_of([f"g{i}" for i in range(30)], [f"t{i}" for i in range(60)])._repr_html_()
    assert many.count("<tr>") == 41
    assert "and 20 more rows" in many
    assert "and 18 more genomes" in many
    assert TransferMatrix(())._repr_html_() == "<div>TransferMatrix(0 genomes, 0 topologies, 0 tasks, 0 rows, 0 problems)</div>"
    assert Transfer(())._repr_html_().count("<tr>") == 1


def test_names_do_not_leave_their_place(tmp_path):
    from html.parser import HTMLParser

    name = '"><img src=x onerror=alert(1)><script>alert(1)</script>&lt;b&gt;\u202e'
    genome, rule = ng.backprop_genome()
    (tmp_path / "g.json").write_text("")
    path = ng.save_genome(tmp_path / "g.json", genome, rule, {"description": name, "retrain": name})
    assert json.loads(path.read_text())["card"]["description"] == name
    graph = ng.Topology(("a", "b"), [0], [1], [0], [1], title=name)
    things = [
        graph,
        ng.load_genome_file(path),
        ng.LayeredGenome.from_genomes({name: genome, "*": genome}, "population"),
        ng.Network(graph, rule),
        rows_of([name], [name]),
        rows_of([name], [name]).of(name),
    ]
    for thing in things:
        tags: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attrs, tags=tags: tags.append(tag)  # type: ignore[method-assign]
        html = thing._repr_html_()
        parser.feed(html)
        assert not {"img", "script", "b"} & set(tags)
        assert "\u202e" not in html
        assert "&lt;script" in html or thing is things[3]
