"""Learning rules of the literature, each beside its paper's rule written by hand in NumPy, layer by layer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from click.testing import CliRunner

import neurograph as ng
from neurograph.cli import main
from neurograph.cli.words import kinds_of, sort_words
from neurograph.genome.files import ZOO, genome_sources
from neurograph.testing.comparing import relative, steps
from neurograph.workflows.objects import as_genome, by_name

Arrays = list[np.ndarray]

SIZES, ROWS, NUMBER, RATE = (4, 6, 5, 3), 7, 6, 0.3
EXACT = 1e-11


# ---- the papers' rules: W[l] [neurons of l, neurons of l + 1], b[l] their biases; B[l], as W[l], is what feedback runs through


@dataclass
class Layers:
    W: Arrays
    b: Arrays
    B: Arrays

    def activities(self, x: np.ndarray, activation: Callable = np.tanh) -> Arrays:
        """x, those of the hidden layers, and the linear outputs'."""
        h = [x]
        for number, (W, b) in enumerate(zip(self.W, self.b)):
            u = h[-1] @ W + b
            h.append(u if number == len(self.W) - 1 else activation(u))
        return h

    def descent(self, x: np.ndarray, y: np.ndarray, back: Arrays) -> tuple[Arrays, Arrays]:
        """Backpropagation of the mean cross-entropy through tanh neurons, with `back` in place of W on the way back."""
        h = self.activities(x)
        share = np.exp(h[-1]) / np.exp(h[-1]).sum(1, keepdims=True)
        error, dW, db = (share - (y + 1) / 2) / len(x), [], []
        for number in reversed(range(len(self.W))):
            dW.insert(0, h[number].T @ error)
            db.insert(0, error.sum(0))
            error = (error @ back[number].T) * (1 - h[number] ** 2)
        return dW, db


def moved(arrays: Arrays, by: Arrays, rate: float = -RATE, keep: float = 1.0) -> Arrays:
    return [keep * a + rate * d for a, d in zip(arrays, by)]


def normal_tanh(u: np.ndarray) -> np.ndarray:
    """tanh of what has mean 0 and deviation 1 over the batch."""
    return np.tanh((u - u.mean(0)) / np.sqrt(u.var(0) + 1e-5))


def hebb(net: Layers, x, y, memory, decay: float = 0.0):
    """Hebb: what fires together; the outputs are held at the labels. With decay 1 Oja: minus y^2 w."""
    h = net.activities(x, normal_tanh)
    post = [*h[1:-1], y]
    dW = [(a.T @ p - decay * W * (p**2).sum(0)) / len(x) for a, p, W in zip(h, post, net.W)]
    db = [(p.sum(0) - decay * b * (p**2).sum(0)) / len(x) for p, b in zip(post, net.b)]
    return Layers(moved(net.W, dW, RATE), moved(net.b, db, RATE), net.B), None


def oja(net: Layers, x, y, memory):
    return hebb(net, x, y, memory, 1.0)


def momentum_descent(net: Layers, x, y, memory):
    """Polyak's heavy ball: w' = w - rate gradient + 0.9 (w - the w before it)."""
    dW, db = net.descent(x, y, net.W)
    before = net if memory is None else memory
    W, b = (
        [w - RATE * d + 0.9 * (w - old) for w, d, old in zip(now, change, then)]
        for now, change, then in ((net.W, dW, before.W), (net.b, db, before.b))
    )
    return Layers(W, b, net.B), net


def kolen_pollack(net: Layers, x, y, memory):
    """Both directions learn the same and decay."""
    dW, db = net.descent(x, y, net.B)
    return Layers(moved(net.W, dW, keep=0.999), moved(net.b, db, keep=0.999), moved(net.B, dW, keep=0.999)), None


def feedback_alignment(net: Layers, x, y, memory):
    """Feedback through fixed random matrices."""
    dW, db = net.descent(x, y, net.B)
    return Layers(moved(net.W, dW), moved(net.b, db), net.B), None


def sign_symmetric(net: Layers, x, y, memory):
    """Uniform sign-concordant feedback: the sign of every weight, all of one size."""
    dW, db = net.descent(x, y, [0.1 * np.sign(W) for W in net.W])
    return Layers(moved(net.W, dW), moved(net.b, db), net.B), None


PAPERS = {f.__name__: f for f in (hebb, oja, momentum_descent, kolen_pollack, feedback_alignment, sign_symmetric)}


# ---- the network beside them


def by_layers(topology: ng.Topology, forward: np.ndarray, backward: np.ndarray, bias: np.ndarray) -> Layers:
    """One state of a network's synapses as matrices."""
    level = np.asarray(topology.levels)
    place = np.array([np.sum(level[:i] == level[i]) for i in range(topology.num_neurons)])
    sizes = np.bincount(level)
    W, B = ([np.zeros(pair) for pair in itertools.pairwise(sizes)] for _ in range(2))
    for e, (i, j) in enumerate(zip(topology.senders, topology.receivers)):
        W[level[i]][place[i], place[j]], B[level[i]][place[i], place[j]] = forward[e], backward[e]
    return Layers(W, [bias[level == number] for number in range(1, len(sizes))], B)


def run(topology: ng.Topology, genome: ng.Genome, rule: ng.Rule, xs: np.ndarray, ys: np.ndarray) -> list[Layers]:
    """The synapses before the first step and after each, drawn as the rule draws them."""
    network = ng.Network(topology, rule)
    start = network.unpack(network.init(genome, key=jax.random.key(0)))
    arrays = {name: np.asarray(value) for name, value in start.items() if "trace" not in name}
    given = arrays | ({"backward": None} if rule.symmetric else {})
    found = jax.device_get(steps(network, genome, given, xs, ys))
    rows = [arrays, *({name: found[name][number] for name in arrays} for number in range(len(xs)))]
    return [by_layers(topology, *(row[name][:, 0] for name in ("forward", "backward", "bias"))) for row in rows]


def data(number: int = NUMBER, rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(SIZES[-1], size=(number, rows))
    return rng.normal(size=(number, rows, SIZES[0])), 2.0 * np.eye(SIZES[-1])[classes] - 1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ng.CLASSICS)
def test_a_classic_is_the_rule_of_its_paper(name):
    genome, rule = ng.classic(name, RATE)
    xs, ys = data()
    first, *after = run(ng.mlp(*SIZES), genome, rule, xs, ys)
    net, memory = first, None
    for x, y, ours in zip(xs, ys, after, strict=True):
        net, memory = PAPERS[name](net, x, y, memory)
        for part in ("W", "b", *([] if rule.symmetric else ["B"])):
            for mine, theirs in zip(getattr(ours, part), getattr(net, part), strict=True):
                assert relative(mine, theirs) < EXACT, part
    assert all(relative(a, b) > 1e-3 for a, b in zip(first.W, net.W, strict=True))  # something was learned, in every layer
    if name == "feedback_alignment":
        for drawn, last in zip(first.B, after[-1].B, strict=True):
            np.testing.assert_array_equal(drawn, last)
    if name == "kolen_pollack":  # the directions draw near by f~ a step, whatever they learn
        for W, B, W_last, B_last in zip(first.W, first.B, after[-1].W, after[-1].B, strict=True):
            assert relative(W_last - B_last, 0.999**NUMBER * (W - B)) < 1e-9


@pytest.mark.usefixtures("x64")
def test_a_linear_neuron_finds_the_first_principal_component():
    """Oja 1982: one linear neuron without bias, a row at a time; it is a hidden neuron, as outputs are held at labels."""
    topology = ng.mlp(4, 1, 1)
    topology = topology.replace(bias=np.zeros(topology.num_neurons, bool))
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    xs = rng.normal(size=(1500, 1, 4)) * [2.0, 1.0, 0.5, 0.3] @ axes.T
    genome, rule = ng.classic("oja", 0.01, activation="identity")
    rule = rule.replace(initial_deviation="fan_in", normalization="none", backward_normalization="auto")
    first, *after = run(topology, genome, rule, xs, np.ones((1500, 1, 1)))
    w = first.W[0][:, 0]
    for x, ours in zip(xs[:, 0], after, strict=True):
        y = w @ x
        w = w + 0.01 * y * (x - y * w)
        np.testing.assert_allclose(ours.W[0][:, 0], w, rtol=0, atol=1e-10)
    assert abs(w @ axes[:, 0]) > 0.98
    assert np.linalg.norm(w) == pytest.approx(1, abs=0.1)


# ---- names, files, words


def test_what_classic_refuses():
    with pytest.raises(ng.GenomeError, match="feedback_aligment: no such classic; did you mean 'feedback_alignment'"):
        ng.classic("feedback_aligment")
    with pytest.raises(ng.GenomeError, match="learning_rate: got nan; expected a finite number"):
        ng.classic("hebb", float("nan"))
    with pytest.raises(ng.RuleError, match="did you mean 'tanh'"):
        ng.classic("oja", activation="tahn")


@pytest.mark.parametrize("name", ng.CLASSICS)
def test_the_zoo_has_the_classics(name):
    genome, rule = ng.classic(name)
    file = ng.load_genome_file(name)
    assert file.rule == rule
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(file.genome), jax.tree.leaves(genome), strict=True))
    data = json.loads((ZOO / f"{name}.json").read_text())
    assert data["card"] == {"description": ng.CLASSICS[name].about, "paper": ng.CLASSICS[name].paper, "retrain": None}


def test_classics_stands_for_all_of_them(tmp_path, monkeypatch):
    assert genome_sources("classics") == [*ng.CLASSICS]
    assert genome_sources("hebb") == ["hebb"]
    assert kinds_of("classics") == ["genome"]
    assert sort_words(["classics", "mlp", "digits"], {})["genome"] == ["classics"]
    found = by_name(["digits", "classics"], as_genome, lambda given, made: given, genome_sources)
    assert [*found] == ["digits", *ng.CLASSICS]
    with pytest.raises(ng.GenomeError, match="classics: stands for 6 genomes; expected one of them: hebb, oja, "):
        ng.load_genome("classics")
    with pytest.raises(ng.GenomeError, match="did you mean 'classics'"):
        ng.load_genome("clasics")
    with pytest.raises(ng.ExperimentError, match="clasics: no such file, and no genome or topology of that name; did you mean"):
        sort_words(["clasics", "mlp"], {"task": True})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classics").write_text("{}")  # a file of that name comes first, as with names of the zoo
    assert genome_sources("classics") == ["classics"]


def transferred(folder, *arguments: str) -> dict:
    sizes = ["--baselines", "none", "--runs", "1", "--batch", "16", "--query", "32", "--out", str(folder), "--quiet", "--json"]
    result = CliRunner().invoke(main, ["transfer", *arguments, *sizes], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_classic_is_a_source_of_transfer():
    few = {"steps": (0, 2), "runs": 1, "baselines": (), "batch_size": 16, "query_size": 32}
    matrix = ng.transfer("feedback_alignment", "mlp", "digits", **few)
    assert [(cell["genome"], cell["step"], cell["reason"]) for cell in matrix.cells(2)] == [("feedback_alignment", 2, None)]


@pytest.mark.thorough
def test_every_classic_is_a_row_of_the_matrix(tmp_path):
    found = transferred(tmp_path, "classics", "-t", "mlp", "-k", "digits", "--steps", "0,20")
    cells = {cell["genome"]: cell["median"] for cell in found["cells"]}
    assert [*cells] == [*ng.CLASSICS]
    assert min(cells.values()) > 0.2
    assert "classics" in found["notes"]["command"]
    matrix = ng.transfer("classics", "2-4-2", "xor", steps=(0, 2), runs=1, baselines=(), query_size=32)
    assert matrix.genomes == [*ng.CLASSICS]
