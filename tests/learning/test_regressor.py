"""`NeurographRegressor` in scikit-learn's hands, and regression in the inner loop and its baselines."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import neurograph as ng
from neurograph.experiments.transfer.curves import transfer
from neurograph.learning import Setting, Trial, baseline_curves, choose_learning_rates, ordinary_network
from neurograph.learning.inner_loop import for_regression

X, Y = make_friedman1(600, noise=0.5, random_state=0)
FILE = ng.load_genome_file("universal")


def regressor(**options) -> ng.NeurographRegressor:
    return ng.NeurographRegressor(**({"random_state": 0} | options))


@pytest.mark.thorough
def test_all_checks_of_scikit_learn():
    results = check_estimator(regressor(), on_fail=None, on_skip=None)
    assert len(results) > 40
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] not in ("passed", "skipped")] == []
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


def test_it_learns_a_function_better_than_a_line():
    scores = cross_val_score(regressor(steps=50), X, Y, cv=3)
    assert scores.mean() > cross_val_score(Ridge(), X, Y, cv=3).mean() + 0.03
    model = regressor().fit(X, Y)
    assert model.score(X, Y) == pytest.approx(r2_score(Y, model.predict(X)))
    assert (model.rule_.feedback, model.n_outputs_) == ("mse", 1)


def test_units_and_offsets_of_targets_do_not_matter():
    plain, moved = (regressor(steps=5).fit(X, y).predict(X) for y in (Y, 1e6 + 1e-3 * Y))
    np.testing.assert_allclose((moved - 1e6) * 1e3, plain, atol=2e-2)


def test_pipelines_searches_frames_and_clones():
    pandas = pytest.importorskip("pandas")
    search = GridSearchCV(make_pipeline(StandardScaler(), regressor()), {"neurographregressor__steps": [1, 15]}, cv=3)
    assert search.fit(X, Y).best_params_ == {"neurographregressor__steps": 15}
    frame = pandas.DataFrame(X, columns=[f"x{n}" for n in range(10)])
    model = regressor(steps=5).fit(frame, pandas.Series(Y))
    assert list(model.feature_names_in_) == list(frame.columns)
    again = clone(model).fit(frame, Y)
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))
    np.testing.assert_array_equal(model.predict(frame[7:8]), model.predict(frame)[7:8])


def test_several_targets_at_once():
    both = np.stack([Y, -2 * Y + X[:, 0]], axis=1)
    model = regressor().fit(X, both)
    assert model.predict(X).shape == both.shape
    assert r2_score(both, model.predict(X), multioutput="raw_values").min() > 0.7
    assert regressor(steps=1).fit(X, Y[:, None]).predict(X).shape == (600, 1)


def test_partial_fit_goes_on():
    model, scores = regressor(), []
    for start in range(0, 512, 128):
        model.partial_fit(X[start : start + 128], Y[start : start + 128])
        scores.append(model.score(X[512:], Y[512:]))
    assert model.n_steps_ == 4
    assert scores[-1] > max(scores[0], 0.5)
    with pytest.raises(ValueError, match="y: got 2 targets a row; the first call was given 1"):
        model.partial_fit(X, np.stack([Y, Y], axis=1))


def test_a_target_that_never_changes_is_predicted():
    np.testing.assert_allclose(regressor(steps=2).fit(X, np.full(600, 3.5)).predict(X), 3.5)


@pytest.mark.parametrize(
    ("options", "y", "error", "message"),
    [
        ({"topology": "4-2-1"}, Y, ng.ShapeError, "4 inputs and 1 outputs; the data has 10 features and 1 target"),
        ({"topology": "10-4-2"}, Y, ng.ShapeError, "10 inputs and 2 outputs; the data has 10 features and 1 target"),
        ({"rule": FILE.rule}, Y, ng.RuleError, "softmax_cross_entropy, which is for classes; a regressor needs"),
        ({"steps": 0}, Y, ValueError, "steps: got 0"),
        ({}, np.where(np.arange(600) == 3, np.nan, Y), ValueError, "NaN"),
        ({}, np.ma.masked_array(Y, np.arange(600) == 3), ValueError, r"y\[3\]: is masked"),
        ({}, ["a"] * 600, ValueError, "y: got <U1 targets; expected numbers"),
        ({}, Y * 1e300, ValueError, "y: its values are too large"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_what_is_refused(options, y, error, message):
    with pytest.raises(error, match=message):
        regressor(**options).fit(X, y)


# ---- the inner loop and its baselines


def task(outputs: int = 1):
    return ng.from_arrays(X, np.stack([Y, X[:, 0]], axis=1)[:, :outputs], target="number", name="friedman")


def test_loss_and_r2_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    outputs, y = jnp.asarray(rng.normal(size=(2, 50, 3)), jnp.float32)
    np.testing.assert_allclose(ng.r2(outputs, y), r2_score(y, outputs), rtol=1e-5)
    np.testing.assert_allclose(ng.query_loss(outputs, y, regression=True), mean_squared_error(y, outputs), rtol=1e-5)
    assert float(ng.r2(jnp.ones((4, 1)), jnp.ones((4, 1)))) == 0


@pytest.mark.parametrize("outputs", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_learning_curves_of_a_genome_and_of_descent_grow_and_agree_with_scikit_learn(outputs):
    made, graph = task(outputs), ng.mlp(10, 16, outputs)
    problem = ng.Problem(ng.Network(graph, for_regression(FILE.rule)), made)
    curve = ng.learning_curve(problem, FILE.genome, key=jax.random.key(0), at=(0, 20), batch_size=64, query_size=128)
    assert set(curve) == {"loss", "r2"}
    assert curve["r2"][1] > 0.4 > curve["r2"][0]
    sizes = {"at": (0, 20), "batch_size": 64, "query_size": 120}
    found = baseline_curves(
        ng.Problem(ordinary_network(graph), made),
        Setting("adam"),
        [0.01, 0.1],
        keys=jax.random.key(0)[None],
        judged_on="test",
        **sizes,
    )
    assert found.regression
    assert found.accuracy[:, 0, 1].max() > 0.4
    _, y = made.arrays("test")
    if outputs == 1:  # the query is the test split: R^2 and loss are one number in two forms
        np.testing.assert_allclose(found.accuracy, 1 - found.loss / np.var(y), rtol=1e-4, atol=1e-4)


def test_a_rate_at_which_learning_diverges_is_not_chosen():
    trial = Trial((0, 20), 64, 120, 1, 0, 1)
    problem = ng.Problem(ordinary_network(ng.mlp(10, 16, 1)), task())
    choice = choose_learning_rates(problem, trial, [Setting("sgd")], [0.01, 1e30], key=jax.random.key(0), extensions=0)
    assert choice.chosen[1].learning_rate == 0.01
    worst = baseline_curves(
        problem, Setting("sgd"), [1e30], keys=jax.random.key(0)[None], at=(0, 20), batch_size=64, query_size=120
    )
    assert worst.failed[0, 0, 1]
    assert worst.accuracy[0, 0, 1] == -1e5


@pytest.mark.thorough
def test_transfer_tests_a_genome_of_classes_on_numbers():
    found = transfer(FILE.genome, FILE.rule, {"small": ng.mlp(10, 8, 1)}, [task()], Trial((0, 10), 32, 64, 1), settings=())
    assert found.notes["chance"] == {"friedman": 0.0}
    assert found.rows[-1]["accuracy"] > found.rows[0]["accuracy"]
    assert "R^2 on test data: median" in found.text()
    assert (
        "friedman: R^2 on test data, median"
        in ng.transfer("universal", "10-8-1", task(), steps=(10,), runs=1, baselines=()).text()
    )


def test_meta_training_judges_several_targets_by_squared_error_and_r2():
    from neurograph.meta import Objective

    rule = for_regression(FILE.rule)
    network = ng.Network(ng.mlp(10, 4, 2), rule)
    numbers, classes = ng.Problem(network, task(2)), ng.Problem(network, ng.from_arrays(X, X[:, 0] > 0.5))
    sizes = {"steps": 3, "batch_size": 16, "query_size": 64}
    key = jax.random.key(4)
    loss, found = Objective((numbers, classes), **sizes)(FILE.genome, key)
    data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 0), 0))
    support, query = numbers.task.episode(data, *sizes.values())
    synapses = network.init(FILE.genome, key=jax.random.split(init)[0])
    for x, y in zip(*support, strict=True):
        synapses = network.step(FILE.genome, synapses, x, y)[0]
    outputs = network.predict(FILE.genome, synapses, query.x)
    assert found["loss"][0] == pytest.approx(mean_squared_error(query.y, outputs), rel=1e-4)
    assert found["accuracy"][0] == pytest.approx(r2_score(query.y, outputs), rel=1e-3)
    alone = Objective((numbers,), **sizes)(FILE.genome, key)[1]
    np.testing.assert_allclose(found["accuracy"][0], alone["accuracy"][0], rtol=1e-4)
    assert 0.0 <= found["accuracy"][1] <= 1.0
    assert loss == pytest.approx(float(np.mean(found["loss"])))


def test_meta_training_refuses_the_feedback_of_classes_for_numbers():
    from neurograph.meta import Objective

    problem = ng.Problem(ng.Network(ng.mlp(10, 4, 2), FILE.rule.replace(feedback="softmax_cross_entropy")), task(2))
    with pytest.raises(ng.GenomeError, match=r"'friedman' is a regression, but rule\.feedback is softmax_cross_entropy"):
        Objective((problem,), 2)


def test_a_genome_that_fails_is_behind_one_whose_r2_is_low():
    from neurograph.meta import best_member

    scores = {"loss": np.array([[np.nan], [9.0], [10.0]]), "accuracy": np.array([[np.nan], [-8.0], [-9.0]])}
    assert best_member(scores) == 1
