"""`Genome`: building, checking, files and the zoo."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.experiments import load_experiment
from neurograph.genome.files import ZOO
from neurograph.testing import random_genome

FIELDS = [field.name for field in dataclasses.fields(ng.Genome)]
MATRICES = ("forward_transform", "backward_transform", "pre_transform", "post_transform")
EYE = np.eye(2).tolist()


def message(**arrays) -> str:
    with pytest.raises(ng.GenomeError) as caught:
        ng.Genome.from_arrays(**arrays)
    return str(caught.value)


def same(a: ng.Genome, b: ng.Genome) -> bool:
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# ---- building


def test_what_is_left_out_has_its_start_value():
    genome = ng.Genome.from_arrays(forward_transform=np.ones((3, 3)), synapse_update=-0.5)
    assert genome.states == 3
    assert genome.backward_transform.tolist() == np.eye(3).tolist()
    assert (float(genome.neuron_keep), float(genome.synapse_keep), float(genome.synapse_update)) == (1, 1, -0.5)
    assert genome.forward_scale.tolist() == [1, 1, 1]
    assert genome.forward_shift.tolist() == [0, 0, 0]
    assert float(ng.Genome.from_arrays().synapse_update) == pytest.approx(-1e-3)
    # the second Hebbian genome repeats the first unless given
    assert float(genome.forward_synapse_update) == -0.5
    assert ng.Genome.from_arrays(synapse_keep=0.5, forward_synapse_keep=0.9).forward_synapse_keep == pytest.approx(0.9)


def test_dtypes():
    assert {leaf.dtype for leaf in jax.tree.leaves(ng.Genome.from_arrays(neuron_keep=1, pre_transform=EYE))} == {
        np.dtype(np.float32)
    }
    with jax.enable_x64(True):
        genome = ng.Genome.from_arrays(neuron_keep=np.float64(0.1))
        assert {leaf.dtype for leaf in jax.tree.leaves(genome)} == {np.dtype(np.float64)}
        assert {leaf.dtype for leaf in jax.tree.leaves(genome.astype(jnp.float32))} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"forward_transform": np.ones((2, 3))}, "forward_transform: got shape [2, 3]; expected [3, 3] (states = 3)"),
        ({"forward_transform": EYE, "pre_transform": np.eye(3)}, "pre_transform: got shape [3, 3]; expected [2, 2] (states = 2)"),
        ({"forward_scale": [1, 1, 1], "forward_transform": EYE}, "forward_scale: got shape [3]; expected [2] (states = 2)"),
        ({"neuron_keep": [1.0, 2.0]}, "neuron_keep: got shape [2]; expected [] (states = 2)"),
        ({"synapse_update": math.nan}, "synapse_update: contains NaN or infinity"),
        ({"post_transform": [[1, math.inf], [0, 1]]}, "post_transform: contains NaN or infinity"),
    ],
)
def test_wrong_arrays(arrays, expected):
    assert message(**arrays) == expected


def test_things_that_are_no_arrays():
    assert message(neuron_keep="much").startswith("neuron_keep: not an array of numbers (")
    assert message(pre_transform=[[1, 2], [3]]).startswith("pre_transform: not an array of numbers (")
    assert message(pre_transform=None).startswith("pre_transform: not an array of numbers (")
    assert message(neuron_keep=1 + 2j).startswith("neuron_keep: not an array of numbers (")


def test_unknown_names_are_told_with_the_allowed_ones_and_all_faults_at_once():
    text = message(nu=EYE, forward_transfrom=EYE, neuron_keep=[1, 2])
    lines = text.splitlines()
    assert lines[0] == f"nu: unknown array; allowed: {', '.join(FIELDS)}."
    assert lines[1].startswith("forward_transfrom: unknown array; did you mean 'forward_transform'?")
    assert lines[2] == "neuron_keep: got shape [2]; expected [] (states = 2)"


def test_random_genomes():
    rule = ng.Rule(states=3)
    genome = ng.Genome.random(jax.random.key(0), rule, scale=2.0, neuron_keep=0.5)
    again = ng.Genome.random(jax.random.key(0), rule, scale=2.0, neuron_keep=0.5)
    assert same(genome, again)
    assert not same(genome, ng.Genome.random(jax.random.key(1), rule, scale=2.0, neuron_keep=0.5))
    assert float(genome.neuron_keep) == 0.5
    drawn = [np.asarray(getattr(genome, name)) for name in (*MATRICES, "forward_pre_transform", "forward_post_transform")]
    assert len({matrix.tobytes() for matrix in drawn}) == 6
    many = jax.vmap(lambda key: ng.Genome.random(key, rule, scale=2.0).forward_transform)(
        jax.random.split(jax.random.key(2), 400)
    )
    assert abs(float(many.std()) - 2) < 0.1
    assert abs(float(many.mean())) < 0.1


def test_near_backprop():
    rule = ng.Rule(states=3)
    genome = ng.Genome.near_backprop(jax.random.key(0), rule, noise=0.0)
    swap = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert genome.post_transform.tolist() == genome.forward_post_transform.tolist() == swap
    assert all(getattr(genome, name).tolist() == np.eye(3).tolist() for name in MATRICES[:3])
    noisy = ng.Genome.near_backprop(jax.random.key(0), rule)
    assert 0 < np.abs(noisy.pre_transform - genome.pre_transform).max() < 0.5


def test_replace_checks_anew():
    genome = random_genome(2, 0)
    assert float(genome.replace(neuron_keep=0.25).neuron_keep) == 0.25
    assert same(genome.replace(neuron_keep=0.25).replace(neuron_keep=genome.neuron_keep), genome)
    with pytest.raises(ng.GenomeError, match="neuron_keep: contains NaN"):
        genome.replace(neuron_keep=jnp.nan)


def test_a_genome_can_be_built_inside_a_transformation():
    gradient = jax.jit(jax.grad(lambda keep: ng.Genome.from_arrays(neuron_keep=keep).neuron_keep ** 2))(3.0)
    assert float(gradient) == 6


# ---- the backprop genome


def test_backprop_genome_is_as_printed():
    genome, rule = ng.backprop_genome(0.25, activation="sigmoid", output_activation="tanh", loss="softmax_cross_entropy")
    assert genome.forward_transform.tolist() == [[1, 0], [1, 0]]
    assert genome.backward_transform.tolist() == [[0, 0], [0, 1]]
    assert float(genome.synapse_update) == -0.25
    assert (rule.feedback, rule.backward_update) == ("softmax_cross_entropy", "multiplicative_second_state")
    assert (rule.forward_activation, rule.output_activation) == (ng.with_derivative("sigmoid"), ng.with_derivative("tanh"))


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, "0.1", None, [0.1]])
def test_a_wrong_learning_rate(rate):
    with pytest.raises(ng.GenomeError, match=r"^learning_rate: got .*; expected a finite number$"):
        ng.backprop_genome(rate)


def test_wrong_activation_or_loss_of_the_backprop_genome():
    with pytest.raises(ng.RuleError, match="feedback: got 'hinge'; allowed: labels, mse, softmax_cross_entropy"):
        ng.backprop_genome(loss="hinge")
    with pytest.raises(ng.RuleError, match=r"activation: got 'tan'; expected a name or a callable; did you mean 'tanh'\?"):
        ng.backprop_genome(activation="tan")


# ---- files


@settings(max_examples=20, deadline=None)
@given(states=st.integers(1, 4), seed=st.integers(0, 1000), dtype=st.sampled_from([jnp.float32, jnp.float64]))
def test_a_file_reads_back_to_the_same_bits(tmp_path_factory, states, seed, dtype):
    path = tmp_path_factory.mktemp("genomes") / "genome.json"
    with jax.enable_x64(dtype == jnp.float64):
        genome = random_genome(states, seed).astype(dtype)
        assert ng.save_genome(path, genome) == path
        assert same(ng.load_genome(path), genome)


def test_rule_and_card_travel_along(tmp_path):
    genome, rule = ng.backprop_genome()
    card = {"title": "gradient descent", "numbers": [1, 2.5], "nested": {"é": None}}
    file = ng.load_genome_file(ng.save_genome(tmp_path / "new" / "g.json", genome, rule, card))
    assert same(file.genome, genome)
    assert file.rule == rule
    assert file.card == card
    bare = ng.load_genome_file(ng.save_genome(tmp_path / "bare.json", genome))
    assert (bare.rule, bare.card) == (None, {})


def test_a_file_is_readable_and_saved_whole(tmp_path, monkeypatch):
    path = ng.save_genome(tmp_path / "g.json", ng.Genome.from_arrays())
    text = path.read_text()
    assert '    "forward_transform": [\n      [1.0, 0.0],\n      [0.0, 1.0]\n    ],' in text
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        ng.save_genome(path, random_genome(2, 0))
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]  # no half-written file stays behind


def genome_file(tmp_path, **changes):
    data = json.loads(ng.save_genome(tmp_path / "good.json", *ng.backprop_genome()).read_text()) | changes
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": "onnx"}, ': not a genome file; expected "format": "neurograph-genome"'),
        ({"version": 99}, ": version 99 of the format; this neurograph reads versions 1 and 2"),
        ({"arrays": []}, " at arrays: expected an object with the genome's arrays"),
        (
            {"arrays": {"forward_transform": [[1, 2]]}},
            ": forward_transform: got shape [1, 2]; expected [2, 2] (states = 2)",
        ),
        ({"arrays": {"neuron_keep": math.nan}}, ": neuron_keep: contains NaN or infinity"),
        ({"arrays": {"neuron_keep": 10**400}}, ": neuron_keep: contains NaN or infinity"),
        ({"rule": {"states": 0}}, ": states: got 0; expected an integer > 0"),
        ({"rule": {"states": 3}}, ": the rule has states: 3, the arrays have 2"),
        ({"rule": [1]}, " at rule: got list; expected an object, or null"),
        ({"card": "text"}, " at card: got str; expected an object, or null"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, changes, expected):
    path = genome_file(tmp_path, **changes)
    with pytest.raises(ng.GenomeError) as caught:
        ng.load_genome(path)
    assert str(caught.value) == f"{path}{expected}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x00\xff",
        b"[1, 2]",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"format": "neurograph-genome", "version": 1}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_hostile_files_are_refused_with_their_name(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ng.GenomeError) as caught:
        ng.load_genome(path)
    assert str(caught.value).startswith(str(path))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_file_gives_anything_but_a_genome_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "g.json"
    text = ng.save_genome(path, *ng.backprop_genome()).read_bytes()
    at = data.draw(st.integers(0, len(text) - 1))
    path.write_bytes(text[:at] + data.draw(st.binary(max_size=4)) + text[at + data.draw(st.integers(0, 8)) :])
    try:
        told = ""
        assert isinstance(ng.load_genome(path), ng.Genome)  # damage in a digit or in the card leaves a genome
    except ng.GenomeError as error:
        told = str(error)
    assert not told or told.startswith(str(path))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ng.GenomeError, match=r"gone\.json: there is no such file\."):
        ng.load_genome(tmp_path / "gone.json")
    with pytest.raises(ng.GenomeError, match=r"cannot be read \(Is a directory\)"):
        ng.load_genome(tmp_path)
    with pytest.raises(ng.GenomeError, match=r"nowhere: no such file, and no shipped genome of that name; allowed: "):
        ng.load_genome("nowhere")


@pytest.mark.parametrize("name", ng.zoo_names())
def test_every_genome_of_the_zoo_loads(name):
    file = ng.load_genome_file(name)
    assert file.rule is not None
    assert file.rule.states == file.genome.states


@pytest.mark.parametrize("name", ["backprop", "digits", "functions", "functions-4state", "mnist-4state"])
def test_genomes_of_before_keep_their_product(name):
    """Files without a gate of the product: it is the neurons' own, which it was; what else is new has no effect."""
    arrays = json.loads((ZOO / f"{name}.json").read_text())["arrays"]
    file = ng.load_genome_file(name)
    if name == "backprop":  # the gradient at fixed points too
        assert (float(file.genome.neuron_keep), float(file.genome.backward_keep)) == (0, 1)
        assert same(file.genome, ng.backprop_genome(0.01)[0])
        return
    later = ("update_power", "error_power", "depth_power", "trace_keep", "average_power", "average_keep", "damping", "cycle_keep")
    later = (*later, "keep_gating", "update_gating")
    assert not {"backward_keep", *later} & set(arrays)
    assert file.genome.backward_keep == file.genome.neuron_keep
    start = ng.Genome.from_arrays(forward_transform=np.eye(file.genome.states))
    for new in later:
        assert np.array_equal(getattr(file.genome, new), getattr(start, new))
    assert file.rule is not None
    assert not file.rule.synapse_trace
    assert not file.rule.synapse_average
    assert not file.rule.learned_damping
    assert not file.rule.cycle_fading
    assert not file.rule.self_gating
    assert not file.rule.synapse_derivative
    assert (file.rule.update_normalization, file.rule.backward_normalization) == ("none", "auto")


@pytest.mark.parametrize("name", ["mnist-cma", "mnist-wide-cma"])
def test_evolved_genomes_have_the_rule_of_their_experiment(name):
    """So that the command of their card makes them again."""
    file = ng.load_genome_file(name)
    assert file.rule is not None
    assert file.rule.to_dict() == ng.Rule.from_dict(load_experiment(name).rule).to_dict()
    assert file.card["retrain"] == f"neurograph meta-train {name} --set seed={file.card['seed']}"


def test_the_universal_genome_is_descent_with_thresholds_averages_and_eight_other_numbers():
    genome, rule = ng.backprop_genome(2.6, loss="softmax_cross_entropy", activation="swish", normalization="batch")
    options = {"normalize_outputs": True, "batch_reduction": "mean", "initial_deviation": "fan_in", "synapse_trace": True}
    rule = rule.replace(
        **options, synapse_average=True, bias_after_normalization=True, update_normalization="neuron", cycle_fading=True
    )
    fading = [[0.0, 0.0], [0.0, 0.6]]
    file = ng.load_genome_file("universal")
    numbers = {"trace_keep": 0.3, "depth_power": 1.0, "cycle_keep": 0.35, "average_power": 3.0, "average_keep": 0.95}
    assert same(file.genome, genome.replace(backward_transform=fading, **numbers))
    assert file.rule == rule


def test_layers_of_before_keep_their_product(tmp_path):
    layers = {"input": ng.Genome.from_arrays(neuron_keep=0.25), "hidden": ng.Genome.from_arrays(neuron_keep=0.5)}
    layers["output"] = ng.Genome.from_arrays(neuron_keep=0.75)
    path = ng.save_genome(tmp_path / "g.json", ng.LayeredGenome.from_genomes(layers, "role"), ng.Rule())
    data = json.loads(path.read_text())
    for one in data["layers"]["genomes"].values():
        del one["backward_keep"]
    path.write_text(json.dumps(data))
    genome = ng.load_genome(path)
    assert {name: float(one.backward_keep) for name, one in genome.layers.items()} == {
        "input": 0.25,
        "hidden": 0.5,
        "output": 0.75,
    }


def test_the_same_key_gives_the_same_genome_in_another_process():
    code = (
        "import jax, numpy as np, neurograph as ng\n"
        "genome = ng.Genome.random(jax.random.key(7), ng.Rule(states=3))\n"
        "print(b''.join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(genome)).hex())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    here = ng.Genome.random(jax.random.key(7), ng.Rule(states=3))
    assert there == b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(here)).hex()
