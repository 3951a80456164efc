"""Metric search and closed trajectories, against fields whose answer is known."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.analysis import AnalysisError, UpdateField, circulation, closed_curves, metric_of_jacobians, metric_search
from neurograph.analysis.loops import circulation_of, closed_curves_of
from neurograph.analysis.metric import most_definite
from neurograph.topology.layered import mlp

SEEDS = st.integers(0, 2**31 - 1)


def symmetric(rng: np.random.Generator, n: int) -> np.ndarray:
    a = rng.normal(size=(n, n))
    return a + a.T


def backprop_field(*sizes: int) -> UpdateField:
    genome, rule = ng.backprop_genome(0.1, loss="softmax_cross_entropy")
    x, y = ng.get_task("xor").sample(jax.random.key(0), 16)
    return UpdateField.build(mlp(*sizes), rule.replace(initial_deviation="fan_in"), genome, x, y)


# ---- Eq. 13


@given(SEEDS, st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_a_preconditioned_gradient_has_its_metric_and_only_that(seed, n):
    # Updates -P H(w): the metric is the inverse of P, up to a factor.
    rng = np.random.default_rng(seed)
    p = np.diag(rng.uniform(0.3, 3, n))
    root = symmetric(rng, n)
    p = p + 0.02 * root @ root
    found = metric_of_jacobians(-p @ symmetric(rng, n), [-p @ symmetric(rng, n) for _ in range(4)])
    inverse = np.linalg.inv(p)
    assert found.null_dimension == n  # generic: as many as numbers
    assert len(found.joint) == 1
    np.testing.assert_allclose(np.abs(found.joint[0]), np.abs(inverse) / np.linalg.norm(inverse), atol=1e-6)
    assert found.positive_definite == "yes"
    assert found.complex_states == 0


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_fields_without_a_metric_have_none(seed):
    rng = np.random.default_rng(seed)
    found = metric_of_jacobians(rng.normal(size=(4, 4)), [rng.normal(size=(4, 4)) for _ in range(4)])
    assert found.null_dimension == 4
    assert (found.surviving, len(found.joint)) == (0, 0)
    assert found.positive_definite == "no"


@given(SEEDS, st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_the_null_space_has_the_dimension_that_the_eigenvalues_say(seed, repeated):
    # Symmetric g with g Q symmetric, Q diagonalisable: m (m + 1) / 2 for every real eigenvalue of multiplicity m.
    rng = np.random.default_rng(seed)
    n = 5
    values = np.concatenate([np.zeros(repeated), np.arange(1, n - repeated + 1)])
    v = np.eye(n) + 0.2 * rng.normal(size=(n, n))
    found = metric_of_jacobians(v @ np.diag(values) @ np.linalg.inv(v), [np.eye(n)])
    assert found.null_dimension == (n - repeated) + repeated * (repeated + 1) // 2
    assert found.surviving == found.null_dimension == len(found.joint)  # the identity excludes nothing


def test_backprop_keeps_the_identity_where_no_basis_vector_survives():
    f = backprop_field(2, 3, 2)
    found = metric_search(f, states=12)
    identity = np.eye(f.size) / f.size**0.5
    inside = np.tensordot(np.tensordot(found.joint, identity, 2), found.joint, 1)
    np.testing.assert_allclose(inside, identity, atol=1e-6)
    assert found.positive_definite == "yes"
    assert found.least_eigenvalue > 0.1
    assert found.complex_states == 0
    # The paper's count depends on the basis that the SVD returns: here it finds none of the metrics that exist.
    assert found.surviving < len(found.joint) < found.null_dimension
    # The softmax's errors sum to 0: what a neuron sends to all outputs, of 3 hidden ones and the constant, never learns in sum.
    assert found.conserved == 4
    assert len(found.joint) == 4 * 5 // 2 + 1
    assert "generalized gradient descent" in found.summary()


def test_backprop_with_a_rate_per_number_has_the_inverse_rates_as_its_metric():
    f = backprop_field(2, 3, 2)
    rates = np.random.default_rng(0).uniform(0.2, 5, f.size)
    states = [f.fresh(jax.random.key(s)) for s in range(12)]
    found = metric_of_jacobians(rates[:, None] * f.jacobian(), [rates[:, None] * f.jacobian(w) for w in states])
    wanted = np.diag(1 / rates)
    wanted /= np.linalg.norm(wanted)
    np.testing.assert_allclose(np.tensordot(np.tensordot(found.joint, wanted, 2), found.joint, 1), wanted, atol=1e-6)
    assert found.positive_definite == "yes"


def test_a_learned_genome_has_no_constant_metric():
    file = ng.load_genome_file("functions-4state")
    x, y = ng.get_task("xor").sample(jax.random.key(0), 16)
    found = metric_search(UpdateField.build(mlp(2, 3, 2), file.rule, file.genome, x, y), states=12)
    assert found.null_dimension > 0
    assert found.positive_definite == "no"
    assert found.complex_states > 0
    assert len(found.table()) == 9


@pytest.mark.parametrize("keep", [1.0, 0.9])
def test_numbers_that_nothing_depends_on_make_most_of_a_null_space(keep):
    """They are left eigenvectors of one eigenvalue, f~ - 1, and each pair of those gives a vector."""
    rule = ng.Rule(symmetric=False, forward_activation="tanh", backward_activation="tanh", initial_deviation="fan_in")
    genome = ng.Genome.random(jax.random.key(0), rule, synapse_update=0.1, synapse_keep=keep)
    x, y = ng.get_task("xor").sample(jax.random.key(0), 16)
    found = metric_search(UpdateField.build(mlp(2, 2, 2), rule, genome, x, y), states=2)
    assert found.size == 2 * (8 + 4) + 2 * 8  # both directions and biases, of two states
    assert found.idle == 2 * 4 + (4 + 2)  # backward into inputs; state 1 into outputs, which the feedback replaces
    assert found.null_dimension >= found.size + found.idle * (found.idle - 1) // 2
    # The four numbers of a synapse, two states in both directions, learn from products a^e b^d in two combinations and in those
    # with e and d exchanged: one combination of them never learns, and two where it starts at an input, whose state 1 is 0 (4
    # times). Labels of two outputs are opposite, which makes it three of the eight numbers of a hidden neuron (twice). Biases of
    # outputs learn from two sums, those of state 0 (2 of 4 numbers).
    assert found.conserved == 4 * 2 + 2 * 3 + 2
    # All their products solve every state's system; the vectors that the SVD returns at one state mix them with others.
    assert len(found.joint) >= found.conserved * (found.conserved + 1) // 2
    assert found.surviving == 0


@given(SEEDS, st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_a_definite_combination_is_found_where_one_is_hidden(seed, others):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(4, 4))
    basis = np.stack([a @ a.T + 0.5 * np.eye(4), *(symmetric(rng, 4) for _ in range(others))])
    mixed = np.tensordot(np.linalg.qr(rng.normal(size=(others + 1, others + 1)))[0], basis, 1)
    best, least, bound = most_definite(mixed)
    assert np.linalg.eigvalsh(best)[0] == pytest.approx(least)
    assert 1e-3 < least <= bound + 1e-9


def test_spans_without_a_definite_matrix_are_proved_so():
    rng = np.random.default_rng(0)
    traceless = np.stack([m - np.trace(m) / 4 * np.eye(4) for m in (symmetric(rng, 4), symmetric(rng, 4))])
    singular = np.zeros((3, 4, 4))
    singular[:, :3, :3] = [symmetric(rng, 3), np.eye(3), symmetric(rng, 3)]
    for basis in (traceless, singular):
        _, least, bound = most_definite(basis)
        assert least <= 1e-9
        assert bound <= 1e-6


def test_what_a_metric_search_refuses():
    f = backprop_field(2, 3, 2)
    with pytest.raises(AnalysisError, match=r"the system for a metric: 17 stored numbers need .* 11 numbers would fit"):
        metric_search(f, memory=100_000)
    with pytest.raises(AnalysisError, match="states: got 0; expected an integer >= 1"):
        metric_search(f, states=0)
    with pytest.raises(AnalysisError, match="threshold: got 2; expected a number between 0 and 1"):
        metric_of_jacobians(np.eye(2), [], threshold=2)
    with pytest.raises(AnalysisError, match="the Jacobian at one state is zero"):
        metric_of_jacobians(np.zeros((2, 2)), [])


# ---- closed loops


@given(SEEDS, st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_the_work_round_a_circle_is_the_curl_times_its_area(seed, turn):
    # g = A w: by Stokes, the integral is pi r^2 (e2^T A e1 - e1^T A e2); zero for symmetric A.
    rng = np.random.default_rng(seed)
    s, a = symmetric(rng, 5), rng.normal(size=(5, 5))
    matrix = s + turn * (a - a.T)
    found = circulation_of(lambda w: w @ matrix.T, rng.normal(size=5), loops=3, radius=0.7, seed=seed)
    draws = np.random.default_rng(seed)
    for integral, error in zip(found.integral, found.error):
        e1, e2 = np.linalg.qr(draws.normal(size=(5, 2)))[0].T
        expected = np.pi * 0.49 * (e2 @ matrix @ e1 - e1 @ matrix @ e2)
        assert abs(integral - expected) <= error + 1e-9
    if abs(turn) > 0.05:
        assert found.nonzero == 3
    if turn == 0:
        assert found.nonzero == 0


@pytest.mark.thorough
def test_the_work_of_backprop_is_zero_and_that_of_others_is_not():
    found = circulation(backprop_field(2, 4, 2), loops=3)
    assert found.nonzero == 0
    assert found.relative.max() < 1e-10
    assert "as of a gradient" in found.summary()
    file = ng.load_genome_file("functions-4state")
    x, y = ng.get_task("xor").sample(jax.random.key(0), 16)
    f = UpdateField.build(mlp(2, 4, 2), file.rule, file.genome, x, y)
    assert circulation(f, loops=3, max_points=256).nonzero > 0
    with pytest.raises(AnalysisError, match="expected loops >= 1, radius > 0"):
        circulation(f, loops=0)
    alone = UpdateField.build(mlp(2, 4, 2), file.rule, file.genome, x, y, select=["name:1->hidden1.0"])
    assert alone.size == 1
    with pytest.raises(AnalysisError, match="has no plane"):
        circulation(alone)


def test_closed_curves_are_found_where_they_exist():
    def hopf(w: np.ndarray) -> np.ndarray:  # every curve runs into the unit circle
        x, y = w
        shrink = 1 - x * x - y * y
        return np.array([shrink * x - y, shrink * y + x])

    found = closed_curves_of(hopf, [np.array([0.2, 0.1]), np.array([2.0, 0.0])], time=60)
    assert found.outcome == ("closed", "closed")
    assert found.ratio.max() < 1e-3
    assert "a closed integral curve: no loss in any metric" in found.summary()


@pytest.mark.parametrize(
    ("matrix", "outcome", "spiral"),
    [
        ([[-1, 0], [0, -0.5]], "rest", False),
        ([[-1, 2], [-2, -1]], "rest", True),
        ([[1, 0], [0, 1]], "away", False),
    ],
)
def test_the_ends_of_linear_flows(matrix, outcome, spiral):
    a = np.array(matrix, float)
    found = closed_curves_of(lambda w: a @ w, [np.array([1.0, 0.7])], time=40, jacobian=lambda _: a)
    assert found.outcome == (outcome,)
    assert found.spiral == (spiral,)
    assert found.found == 0


@pytest.mark.thorough
def test_gradient_flow_has_no_closed_curve():
    f = backprop_field(2, 3, 2)
    found = closed_curves(dataclasses.replace(f), starts=2, time=30)
    assert found.found == 0
    assert "does not show that there is none" in found.summary()
    with pytest.raises(AnalysisError, match="expected starts >= 1, time > 0"):
        closed_curves(f, starts=0)
