"""`neurograph genome ...` as a user meets it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

import neurograph as ng
from neurograph.cli.genome import genome as command
from neurograph.testing import random_genome


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def refused(*arguments: object) -> str:
    with pytest.raises(ng.NeurographError) as error:
        call(*arguments)
    return str(error.value)


@pytest.fixture
def file(tmp_path):
    return ng.save_genome(tmp_path / "g.json", random_genome(3, 0), ng.Rule(states=3), {"description": "made up"})


def test_list(file, tmp_path):
    assert {row["genome"] for row in json.loads(call("list", "--json"))} == {*ng.zoo_names()}
    (tmp_path / "other.json").write_text("{}")
    assert [(row["genome"], row["description"]) for row in json.loads(call("list", tmp_path, "--json"))] == [
        (str(file), "made up")
    ]
    assert "made up" in call("list", tmp_path)


def test_show_and_draw(file, tmp_path):
    text = call("show", file, "--width", 60)
    assert text.startswith("states 3\nrule   all options at their default\ncard   made up\n")
    data = json.loads(call("show", file, "--json"))
    assert data["arrays"] == ng.load_genome(file).to_dict()
    assert data["rule"]["states"] == 3
    picture = tmp_path / "g.png"
    assert call("draw", file, "-o", picture).strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_compare_and_its_exit_codes(file, tmp_path):
    other = ng.load_genome_file(file)
    moved = ng.save_genome(tmp_path / "m.json", other.genome.replace(neuron_keep=other.genome.neuron_keep + 1), other.rule)
    assert call("compare", file, file, "--tolerance", 0).splitlines()[-1].split()[:2] == ["all", "0"]
    found = json.loads(call("compare", file, moved, "--json", "--tolerance", 1e-3, code=1))
    assert found["arrays"]["neuron_keep"]["distance"] == pytest.approx(1)
    assert found["aligned_under_rule"]
    ruled = ng.save_genome(tmp_path / "r.json", other.genome, other.rule.replace(symmetric=False))
    assert "the rules differ (symmetric: True and False)" in call("compare", file, ruled)


def test_extend_average_convert(file, tmp_path):
    call("extend", file, "-o", tmp_path / "e.json", "--states", 5)
    wider = ng.load_genome_file(tmp_path / "e.json")
    assert (wider.genome.states, wider.rule) == (5, ng.Rule(states=5))
    assert wider.card["extended"]["states"] == 3
    assert not np.asarray(wider.genome.forward_transform)[:3, 3:].any()
    assert "exists; --force overwrites it" in refused("extend", file, "-o", tmp_path / "e.json")
    call("average", file, file, "-o", tmp_path / "a.json", "--weights", "1,3")
    call("compare", file, tmp_path / "a.json", "--tolerance", 1e-6)
    call("convert", file, tmp_path / "g.npz")
    call("convert", tmp_path / "g.npz", tmp_path / "b.json")
    assert ng.load_genome(tmp_path / "b.json").to_dict() == ng.load_genome(file).to_dict()
    call("convert", file, tmp_path / "l.json", "--layers", "depth:4")
    assert ng.load_genome(tmp_path / "l.json").names == ("0", "1", "2", "3")
    call("convert", tmp_path / "l.json", tmp_path / "one.json", "--layer", "2")
    assert ng.load_genome(tmp_path / "one.json").to_dict() == ng.load_genome(file).to_dict()


def test_what_is_refused(file, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no archive")
    layers = tmp_path / "l.json"
    call("convert", file, layers, "--layers", "role")
    for arguments, text in (
        (("average", file, file, "-o", tmp_path / "x.json", "--weights", "1;2"), "--weights: got '1;2'; expected numbers"),
        (("average", file, "digits", "-o", tmp_path / "x.json"), "digits: its rule is not that of"),
        (("convert", file, tmp_path / "x.bin"), "the ending '.bin' is not known; allowed: .json, .npz"),
        (("convert", file, tmp_path / "x.json", "--layers", "depth"), "by depth needs a number of layers"),
        (("convert", file, tmp_path / "x.json", "--layer", "1"), "holds one genome for all layers"),
        (("convert", layers, tmp_path / "x.json", "--layer", "first"), "no such layer; there are: input, hidden, output"),
        (("convert", layers, tmp_path / "x.json", "--layers", "role"), "has layers already, by role"),
        (("convert", layers, tmp_path / "x.npz"), ".npz holds one genome"),
        (("show", tmp_path / "bad.npz"), "bad.npz: not a file of arrays"),
        (("show", tmp_path / "gone.npz"), "gone.npz: cannot be read (No such file or directory)"),
    ):
        assert text in refused(*arguments)
    assert not list(tmp_path.glob("x.*"))
