"""What a genome does: parts, alignment, long runs, sensitivity, Oja; and the page and command."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.analysis import (
    AnalysisError,
    UpdateField,
    alignment,
    asymmetry,
    decompose,
    long_run,
    oja_limit,
    sensitivity,
)
from neurograph.analysis.oja import derived_terms
from neurograph.cli import main
from neurograph.report.figures.analysis import long_run_figure, sensitivity_figure
from neurograph.testing.graphs import batch, small
from neurograph.topology.layered import mlp


@pytest.fixture(scope="module")
def functions():
    return ng.load_genome_file("functions-4state")


@pytest.fixture(scope="module")
def xor():
    return ng.get_task("xor")


def field_of(file, task, topology) -> UpdateField:
    return UpdateField.build(topology, file.rule, file.genome, *task.sample(jax.random.key(0), 32))


# ---- parts


def test_the_parts_of_the_update_sum_to_its_hebbian_part(functions, xor):
    f = field_of(functions, xor, mlp(2, 4, 2))
    found = decompose(f)
    assert found.alignment.sum() == pytest.approx(1)
    for shares in found.shares.values():
        assert sum(shares.values()) == pytest.approx(1)
    assert found.pairs.shape == (4, 4)


def test_the_decomposition_of_known_matrices():
    eye, swap = np.eye(3), np.eye(3)[[1, 0, 2]]
    genome = ng.Genome.from_arrays(forward_transform=2 * eye, backward_transform=swap, post_transform=swap, pre_transform=eye)
    rule = ng.Rule(states=3)
    found = decompose(UpdateField.build(small(), rule, genome, *batch(small())))
    assert found.shares["forward_transform"] == pytest.approx({"backprop": 2 / 3, "first two": 0, "self": 1 / 3, "other": 0})
    assert found.coefficients["forward_transform"] == pytest.approx(2)
    assert found.shares["backward_transform"] == pytest.approx({"backprop": 0, "first two": 2 / 3, "self": 1 / 3, "other": 0})
    assert found.shares["post_transform"]["backprop"] == pytest.approx(2 / 3)
    backprop, its = ng.backprop_genome(0.1)
    whole = decompose(UpdateField.build(small(), its, backprop, *batch(small())))
    np.testing.assert_allclose(whole.alignment, [[0, 1], [0, 0]], atol=1e-12)


# ---- descent


@pytest.mark.parametrize("outputs", [pytest.param(1, marks=pytest.mark.thorough), 2])
def test_backprop_is_aligned_and_descends(xor, outputs):
    loss = "mse" if outputs == 1 else "softmax_cross_entropy"
    genome, rule = ng.backprop_genome(0.1 / 32, loss=loss)
    x, y = xor.with_outputs(outputs).sample(jax.random.key(0), 32)
    found = alignment(UpdateField.build(mlp(2, 4, outputs), rule.replace(initial_deviation="fan_in"), genome, x, y), steps=4)
    for name in ("genome", "backprop"):
        np.testing.assert_allclose(found.overall[found.methods.index(name)], 1, atol=1e-10)
    assert found.levels == (1, 2)
    row = found.cosine[found.methods.index("feedback alignment")]
    np.testing.assert_allclose(row[:, 1], 1, atol=1e-10)  # the last level's error is exact
    assert (row[:, 0] < 0.99).any()
    assert found.lyapunov
    assert found.loss[0, -1] < found.loss[0, 0]
    ascent = alignment(UpdateField.build(mlp(2, 4, outputs), rule, genome.replace(synapse_update=0.1 / 32), x, y), steps=2)
    assert ascent.mean_cosine() == pytest.approx(-1)
    assert not ascent.falls.any()
    with pytest.raises(AnalysisError, match="expected steps >= 1, a rate > 0"):
        alignment(UpdateField.build(mlp(2, 4, outputs), rule, genome, x, y), steps=0)


# ---- long runs and sensitivity


def test_long_runs_see_growth_and_its_absence(xor):
    topology = mlp(2, 4, 2)
    rule = ng.Rule(forward_activation="tanh", output_activation="identity")
    still = ng.Genome.from_arrays(synapse_update=0.0)
    growing = ng.Genome.from_arrays(synapse_update=0.0, synapse_keep=1.1)
    problem = ng.Problem(ng.Network(topology, rule), xor)
    found = [long_run(problem, genome, steps=20, seeds=2, batch_size=8, query_size=32, records=6) for genome in (still, growing)]
    np.testing.assert_allclose(found[0].norms[:, -1], found[0].norms[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found[1].norms[:, -1] / found[1].norms[:, 0], 1.1**20, rtol=1e-4)
    assert found[0].levels == (1, 2)
    assert found[0].failed == 0
    blown = long_run(problem, growing.replace(synapse_keep=1e30), steps=20, seeds=2, batch_size=8, query_size=32, records=6)
    assert blown.failed == 2
    assert "2 not finite" in blown.summary()
    with pytest.raises(AnalysisError, match="long_run: got steps 0"):
        long_run(problem, still, steps=0)


@pytest.mark.thorough
@pytest.mark.parametrize("outputs", [1, 2])
def test_regressions_are_judged_by_r2(outputs):
    x = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)
    y = 3.0 + np.stack([x[:, 0], 2 * x[:, 1]], 1)[:, :outputs]  # all positive, mostly: their sign is easy
    task = ng.tasks.from_arrays(x, y, target="number")
    genome, rule = ng.backprop_genome(0.05 / 16, loss="mse")
    rule, topology = rule.replace(initial_deviation="fan_in"), mlp(2, 4, outputs)
    problem = ng.Problem(ng.Network(topology, rule), task)
    long = long_run(problem, genome, steps=60, seeds=2, batch_size=16, query_size=20, records=5)
    moved = sensitivity(problem, genome.replace(synapse_update=0.0), steps=1, seeds=2, batch_size=16, query_size=20)
    fallen = alignment(UpdateField.build(topology, rule, genome, x[:16], y[:16]), steps=2, regression=True)
    np.testing.assert_allclose(fallen.overall[[0, 2]], 1, atol=1e-10)
    for found in (long, moved, fallen):
        assert "R^2" in found.summary()
        assert "accuracy" not in found.summary()
    assert (long.accuracy[:, 0] < 0.2).all()  # fresh synapses
    assert (long.accuracy[:, -1] > 0.5).all()
    assert moved.accuracy < 0.2
    assert long_run_figure(long).axes[2].get_ylabel() == "query R^2 (validation)"
    assert sensitivity_figure(moved).axes[0].get_xlabel().startswith("R^2 lost")


@pytest.mark.thorough
def test_sensitivity_knows_what_is_needed_and_what_is_idle(functions, xor):
    problem = ng.Problem(ng.Network(mlp(2, 12, 2), functions.rule), xor)
    found = sensitivity(problem, functions.genome, steps=8, seeds=3, batch_size=32, query_size=128)
    by = dict(zip(found.names, found.importance))
    assert found.accuracy > 0.8
    assert by["synapse_keep"] > 0.2  # without it every step forgets all
    assert len(found.names) == 4 * 16 + 4 + 4 * 4
    assert np.isfinite(found.slope).all()


@pytest.mark.thorough
def test_the_slope_of_the_loss_is_that_of_differences(functions, xor):
    problem = ng.Problem(ng.Network(mlp(2, 12, 2), functions.rule), xor)
    found = sensitivity(problem, functions.genome, steps=8, seeds=3, batch_size=32, query_size=128)
    h = 1e-2
    at = found.names.index("synapse_update")
    moved = [
        sensitivity(
            problem,
            functions.genome.replace(synapse_update=found.values[at] + s * h),
            steps=8,
            seeds=3,
            batch_size=32,
            query_size=128,
        )
        for s in (-1, 1)
    ]
    assert found.slope[at] == pytest.approx((moved[1].loss - moved[0].loss) / (2 * h), rel=0.1, abs=1e-3)


# ---- Eq. 8


@given(st.integers(0, 2**31 - 1), st.floats(0.3, 1.5), st.floats(-0.5, 0.5))
@settings(max_examples=40, deadline=None)
def test_oja_terms_are_the_limit_of_the_normalised_update(seed, keep, update):
    # No simulator: random bundles of unit norm, Eq. 14 in higher precision than its limit needs.
    rng = np.random.default_rng(seed)
    owner = np.array([0, 0, 0, 1, 1, 2])
    w, h = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    for j in range(3):
        w[owner == j] /= np.linalg.norm(w[owner == j], axis=0)
    change = update * h + (keep - 1) * w
    first, second = derived_terms(w, h, keep, update, owner, 3)

    def normalised(gamma):
        moved = w + gamma * change
        for j in range(3):
            moved[owner == j] /= np.linalg.norm(moved[owner == j], axis=0)
        return moved

    limit = (normalised(1e-5) - normalised(-1e-5)) / 2e-5
    np.testing.assert_allclose(limit, change + first + second, atol=1e-8)


@given(seed=st.integers(0, 2**31 - 1), keep=st.floats(0.5, 1.2))
@example(seed=0, keep=0.99999)
@settings(max_examples=4, deadline=None)
def test_oja_of_a_network_is_approached_linearly(seed, keep):
    rule = ng.Rule(states=2, forward_activation="tanh", symmetric=seed % 2 == 0, initial_deviation="fan_in")
    genome = ng.Genome.random(jax.random.key(seed), rule, synapse_update=0.05, synapse_keep=keep)
    found = oja_limit(small(), rule, genome, *batch(small(), 5, seed))
    assert found.holds
    assert found.order == pytest.approx(1, abs=0.1)
    assert found.own < 1e-12
    assert found.printed < 1e-12
    kept = float(genome.synapse_keep)  # in the genome's 32 bits; unit bundles: one per neuron and channel
    assert found.first == pytest.approx(abs(kept - 1) * np.sqrt(2 * 5), rel=1e-6)


def test_oja_refuses_what_it_cannot_normalise():
    rule = ng.Rule()
    genome = ng.Genome.from_arrays()
    shared = small(group=[0, 0, -1, -1, -1, -1, -1, -1])
    with pytest.raises(AnalysisError, match="shared or fixed synapses cannot be normalised"):
        oja_limit(shared, rule, genome, *batch(shared))


# ---- page and command


@pytest.mark.thorough
def test_the_command_writes_one_page_with_everything(tmp_path):
    out = tmp_path / "a"
    arguments = ["analyze", "functions", "--topology", "2-3-2", "--task", "xor", "--batch", "16", "--metric-states", "3"]
    result = CliRunner().invoke(
        main, [*arguments, "--only", "asymmetry, metric,decompose,oja", "--out", str(out)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "untrained random genomes are asymmetric too" in page
    assert "265" in page
    data = json.loads((out / "results.json").read_text())
    assert data["tools"]["asymmetry"]["backprop"]["symmetric"] is True
    assert data["tools"]["metric"]["functions"]["positive_definite"] == "no"
    assert np.load(out / "arrays.npz")["asymmetry.functions.jacobian"].shape == (17, 17)
    assert sorted(p.name for p in (out / "plots").glob("*.png")) == [
        f"analysis_{t}.png" for t in ("asymmetry", "decompose", "metric", "oja")
    ]


def test_the_command_prints_json_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["analyze", "backprop", "--topology", "2-3-2", "--task", "xor", "--batch", "8", "--only", "asymmetry", "--json"]
    result = CliRunner().invoke(main, [*arguments, "--select", "level:2", "--no-bias"], catch_exceptions=False)
    data = json.loads(result.stdout)
    assert data["tools"]["asymmetry"]["backprop"]["relative"] < 1e-12
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--only", "asymetry"], "only: got asymetry; allowed: asymmetry, metric"),
        (["--only", "asymmetry", "--memory", "0.000001"], r"the Jacobian: 17 stored numbers need .* numbers would fit"),
        (["--only", "asymmetry", "--select", "level:7"], "matches no stored number"),
    ],
)
def test_the_command_says_what_is_wrong(more, message):
    with pytest.raises(AnalysisError, match=message):
        CliRunner().invoke(main, ["analyze", "functions", "--topology", "2-3-2", "--task", "xor", *more], catch_exceptions=False)


# ---- normalised updates, traces


def descent(**options):
    genome, rule = ng.backprop_genome(
        0.02, loss="softmax_cross_entropy", normalization="batch" if options.pop("normalized", False) else "none"
    )
    return genome, rule.replace(initial_deviation="fan_in", **options)


def test_descent_through_normalization_is_symmetric_and_a_normalised_descent_is_not(xor):
    x, y = xor.sample(jax.random.key(0), 16)
    found = {}
    for name, options in {"derivative": {"normalized": True}, "sized": {"update_normalization": "neuron"}}.items():
        genome, rule = descent(**options)
        found[name] = asymmetry(UpdateField.build(mlp(2, 3, 2), rule, genome, x, y))
    assert found["derivative"].symmetric
    assert found["sized"].relative > 0.1


def test_the_parts_of_an_update_are_those_before_its_division(xor):
    x, y = xor.sample(jax.random.key(0), 16)
    parts = []
    for options in ({}, {"update_normalization": "neuron", "synapse_trace": True}):
        genome, rule = descent(**options)
        parts.append(decompose(UpdateField.build(mlp(2, 3, 2), rule, genome, x, y)).pairs)
    np.testing.assert_allclose(parts[1], parts[0], rtol=1e-12)


def test_a_field_is_that_of_steps_from_rest(xor):
    x, y = xor.sample(jax.random.key(0), 16)
    (genome, rule), (_, traced) = descent(), descent(synapse_trace=True)
    plain, f = (UpdateField.build(mlp(2, 3, 2), r, genome.replace(trace_keep=0.9), x, y) for r in (rule, traced))
    assert f.places == plain.places
    np.testing.assert_allclose(f(f.start), plain(plain.start), rtol=1e-12)
    np.testing.assert_allclose(f.jacobian(), plain.jacobian(), rtol=1e-9, atol=1e-15)


@pytest.mark.thorough
def test_alignment_keeps_traces_along_the_trajectory(xor, x64):
    """Momentum by hand beside it."""
    x, y = xor.sample(jax.random.key(0), 16)
    (genome, rule), (_, traced) = descent(), descent(synapse_trace=True)
    topology, genome = mlp(2, 3, 2), genome.replace(trace_keep=0.9)
    f = UpdateField.build(topology, rule, genome, x, y)
    w, memory = f.start, 0.0
    for _ in range(4):
        memory = 0.9 * memory + f(w)
        w = w + memory
    network = f.network
    outputs = network.predict(f.genome, f.synapses(w), f.x)
    expected = float(ng.query_loss(outputs, jnp.asarray(f.y)))
    found = alignment(UpdateField.build(topology, traced, genome, x, y), steps=4)
    assert found.loss[0, -1] == pytest.approx(expected, rel=1e-6)
    assert found.loss[0, -1] != pytest.approx(alignment(f, steps=4).loss[0, -1], rel=1e-3)
    assert found.cosine.shape == (3, 4, 2)


@pytest.mark.thorough
def test_long_runs_keep_traces(xor):
    found = {}
    for kappa in (None, 0.0, 0.9):
        genome, rule = descent(synapse_trace=kappa is not None, reset_states=False)
        problem = ng.Problem(ng.Network(mlp(2, 3, 2), rule), xor)
        found[kappa] = long_run(problem, genome.replace(trace_keep=kappa or 0.0), steps=8, seeds=1, records=3).loss[0]
    np.testing.assert_allclose(found[0.0], found[None], rtol=1e-5)
    assert found[0.9][1] == pytest.approx(found[None][1], rel=1e-5)  # the first step has nothing to remember
    assert found[0.9][-1] != pytest.approx(found[None][-1], rel=1e-3)


@pytest.mark.thorough
def test_sensitivity_moves_what_sizes_and_traces_depend_on(xor):
    genome, rule = descent(update_normalization="neuron", synapse_trace=True, learned_damping=True)
    problem = ng.Problem(ng.Network(mlp(2, 3, 2), rule), xor)
    found = sensitivity(problem, genome.replace(synapse_update=-0.3, trace_keep=0.3), steps=3, seeds=2)
    slopes = dict(zip(found.names, found.slope.tolist(), strict=True))
    new = ("update_power", "error_power", "depth_power", "trace_keep")
    assert {*new, "damping"} <= slopes.keys()
    assert all(slopes[name] for name in new)
