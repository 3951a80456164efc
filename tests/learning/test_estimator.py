"""`NeurographClassifier` in scikit-learn's hands."""

from __future__ import annotations

import pickle

import jax
import jaxtyping
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import neurograph as ng
from neurograph.topology import mlp

WINE = load_wine(return_X_y=True)


def classifier(**options) -> ng.NeurographClassifier:
    return ng.NeurographClassifier(**({"random_state": 0} | options))


@pytest.mark.thorough
def test_all_checks_of_scikit_learn():
    results = check_estimator(classifier(), on_fail=None, on_skip=None)
    assert len(results) > 50
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] not in ("passed", "skipped")] == []
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


def test_it_learns_ordinary_data():
    X, y = WINE
    scores = cross_val_score(classifier(), X, y, cv=3)
    assert scores.mean() > 0.9
    X, y = load_digits(return_X_y=True)
    assert classifier().fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.8


def test_pipeline_search_frames_and_text():
    pandas = pytest.importorskip("pandas")
    data = load_iris(as_frame=True)
    names = np.array(["setosa", "versicolor", "virginica"])[data.target]
    search = GridSearchCV(make_pipeline(StandardScaler(), classifier()), {"neurographclassifier__steps": [2, 15]}, cv=3)
    search.fit(data.data, names)
    assert search.best_score_ > 0.8
    assert set(search.predict(data.data)) <= {"setosa", "versicolor", "virginica"}
    model = classifier().fit(data.data, pandas.Series(names))
    assert list(model.feature_names_in_) == list(data.data.columns)
    assert model.n_features_in_ == 4
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]


def test_a_row_is_predicted_by_itself():
    X, y = WINE
    model = classifier().fit(X, y)
    together = model.predict_proba(X)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-12)
    for row in (0, 77, 177):
        np.testing.assert_array_equal(model.predict_proba(X[row : row + 1])[0], together[row])
    np.testing.assert_array_equal(model.classes_[together.argmax(1)], model.predict(X))
    np.testing.assert_allclose(model.predict_proba(X.astype(np.float32)), together, atol=1e-4)


def test_predictions_are_those_of_the_network():
    """By the public functions of `Network`, from the estimator's synapses and the moments of the training rows."""
    X, y = WINE
    model = classifier(standardize=False).fit((X - X.mean(0)) / X.std(0), y)
    x = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    network = ng.Network(model.topology_, model.rule_)
    statistics = network.statistics(model.genome_, model._synapses, x)
    expected = network.predict(model.genome_, model._synapses, x, statistics=statistics)
    found = model.decision_function(x)
    assert np.mean(np.asarray(expected).argmax(1) == found.argmax(1)) > 0.97  # moments: every row counts 5 or 6 times, not once


def test_the_same_seed_gives_the_same_numbers():
    X, y = WINE
    first, second, other = (classifier(random_state=seed).fit(X, y).decision_function(X) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_steps_and_rows_need_no_new_program():
    X, y = WINE
    model = classifier().fit(X, y)
    model.predict(X)
    from neurograph.network import network

    before = network._jit_step._cache_size(), network._jit_predict._cache_size(), network._jit_statistics._cache_size()
    classifier(steps=7).fit(X[::2], y[::2]).predict(X[:3])
    assert (network._jit_step._cache_size(), network._jit_predict._cache_size(), network._jit_statistics._cache_size()) == before


def test_partial_fit_goes_on():
    X, y = load_digits(return_X_y=True)
    pieces = [slice(start, start + 128) for start in range(0, 1280, 128)]

    def run():
        model = classifier(hidden_layers=(32,))
        scores = []
        for number, rows in enumerate(pieces):
            model.partial_fit(X[rows], y[rows], classes=range(10) if number == 0 else None)
            scores.append(model.score(X[1280:], y[1280:]))
        return model, scores

    model, scores = run()
    assert model.n_steps_ == 10
    assert scores[-1] > 0.8 > scores[0]
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.decision_function(X), model.decision_function(X))
    for each in (model, copy):
        each.partial_fit(X[:200], y[:200])
    np.testing.assert_array_equal(copy.decision_function(X), model.decision_function(X))
    assert model.n_steps_ == 12
    again = run()[1]
    assert again == scores


@pytest.mark.parametrize("single", [False, True])
def test_two_classes_on_a_topology_of_ones_own(single):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < 2], np.array(["no", "yes"])[y[y < 2]]
    topology = mlp(4, 8, 8, 1 if single else 2)
    model = classifier(topology=topology, genome="digits" if single else "universal").fit(X, y)
    assert model.decision_function(X).shape == (100,)
    assert model.predict_proba(X).shape == (100, 2)
    assert set(model.predict(X)) <= {"no", "yes"}
    np.testing.assert_array_equal(model.decision_function(X) > 0, model.predict(X) == "yes")
    if not single:
        assert model.score(X, y) > 0.9


def test_a_genome_a_rule_and_a_file():
    X, y = WINE
    genome, rule = ng.backprop_genome(0.002, activation="tanh", loss="softmax_cross_entropy")
    model = classifier(genome=genome, rule=rule, steps=60)
    assert model.fit(X, y).score(X, y) > 0.9
    assert clone(model).fit(X, y).score(X, y) == model.score(X, y)
    file = ng.load_genome_file("universal")
    np.testing.assert_array_equal(classifier(genome=file).fit(X, y).predict(X), classifier().fit(X, y).predict(X))


@pytest.mark.thorough
def test_noise_is_drawn_anew_and_repeats():
    X, y = WINE
    rule = ng.load_genome_file("universal").rule.replace(noise=0.3)
    noisy, again = (classifier(rule=rule).fit(X, y).decision_function(X) for _ in range(2))
    np.testing.assert_array_equal(noisy, again)
    assert not np.array_equal(noisy, classifier().fit(X, y).decision_function(X))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"topology": "mlp"}, ng.ShapeError, "64 inputs and 10 outputs; the data has 13 features and 3 classes"),
        ({"topology": "nosuch"}, ng.TopologyError, "no shipped topology"),
        ({"genome": "nosuch"}, ng.GenomeError, "no shipped genome of that name"),
        ({"steps": 0}, ValueError, "steps: got 0; expected an integer >= 1"),
        ({"batch_size": 2.5}, ValueError, "batch_size: got 2.5"),
        ({"hidden_layers": (0,)}, ng.SpecError, "hidden1"),
        ({"genome": ng.backprop_genome(0.1)[0]}, ng.GenomeError, "does not know its rule"),
        ({"kernel": "fast"}, ng.PlanError, "allowed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        classifier(**options).fit(*WINE)


def test_wrong_calls():
    X, y = WINE
    with pytest.raises(NotFittedError):
        classifier().predict(X)
    with pytest.raises(ValueError, match="needs all labels"):
        classifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"got \[2\], which the first call's classes lack: \[0, 1\]"):
        classifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier().fit(X, np.zeros(len(X)))
    genome, rule = ng.backprop_genome(1e30, activation="relu", loss="mse")
    with pytest.raises(ng.NeurographError, match="diverged"):
        classifier(genome=genome, rule=rule).fit(X, y)


def test_fixed_random_numbers_of_others_are_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    classifier(random_state=np.random.RandomState(0), steps=1).fit(*WINE)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert jax.config.jax_enable_x64 is False


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("hidden_layers", "64", "hidden_layers: got '64'"),
        ("hidden_layers", (3, 2.5), "hidden_layers: got"),
        ("hidden_layers", {3}, "hidden_layers: got"),
        ("hidden_layers", 0, "hidden1: got 0"),
        ("hidden_layers", True, "hidden_layers: got True"),
        ("steps", "3", "steps: got '3'"),
        ("batch_size", 1.5, r"batch_size: got 1\.5"),
        ("standardize", "no", "standardize: got 'no'"),
        ("genome", 5, "genome: got int"),
        ("topology", 5, "topology: got int"),
        ("rule", "xor", "rule: got str"),
        ("kernel", 5, "kernel: got int"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_by_name(argument, value, message):
    with pytest.raises(ValueError, match=message):
        classifier(**{argument: value}).fit(*WINE)


def test_none_is_the_default_and_a_number_one_hidden_layer():
    X, y = load_iris(return_X_y=True)
    names = ("genome", "topology", "hidden_layers", "steps", "batch_size", "standardize", "rule", "kernel")
    model = classifier(**dict.fromkeys(names)).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), classifier().fit(X, y).predict_proba(X))
    assert model.topology_.num_neurons == 4 + 64 + 3
    assert clone(model).get_params()["steps"] is None
    for widths in (64, np.int64(64), [64], np.array([64])):
        assert classifier(steps=1, hidden_layers=widths).fit(X, y).topology_ == model.topology_
    assert classifier(steps=1, hidden_layers=()).fit(X, y).topology_.num_neurons == 4 + 3


def test_values_too_large_for_float32_are_refused():
    X, y = load_iris(return_X_y=True)
    model = classifier(steps=2).fit(X, y)
    for call in (
        lambda: model.predict_proba(X * 1e40),
        lambda: classifier(steps=2).fit(X * 1e300, y),
        lambda: classifier(steps=2, standardize=False).fit(X * 1e40, y),
        lambda: classifier(steps=2, standardize=False).fit(X * 1e37, y),
    ):
        with pytest.raises(ValueError, match="too large"):
            call()
    wide = classifier(steps=2).fit(X * 1e100, y)
    assert np.isfinite(wide.predict_proba(X * 1e100)).all()


def test_what_is_missing_or_masked_is_refused():
    X, y = load_iris(return_X_y=True)
    model = classifier(steps=1)
    read = model.fit(np.ma.masked_array(X, np.zeros(X.shape, bool)), np.ma.masked_array(y))
    with pytest.raises(ValueError, match=r"X\[102, 0\]: is masked"):
        read.predict(np.ma.masked_array(X, X > 7))
    for rows, labels, message in (
        (np.ma.masked_array(X, X > 7), y, r"X\[102, 0\]: is masked"),
        (X, np.ma.masked_array(y, np.arange(150) == 3), r"y\[3\]: is masked"),
        (X, ["a", None, "b"] * 50, "y: a label is missing"),
        (X, [1, "1", "a"] * 50, "y: the label '1' is text in one place and a number in another"),
        (X.astype("datetime64[s]"), y, "X: got times"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(rows, labels)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="y: a label is missing"):
        model.fit(X, pandas.Series(["a", None, "b"] * 50, dtype="string"))


@pytest.mark.parametrize("classes", ["abc", 5, [[0, 1], [2, 3]], [0, "0", 1, 2], [0, 1, None], [0, 1, 2, float("nan")]])
def test_all_classes_are_a_list_of_labels(classes):
    with pytest.raises(ValueError, match=r"^classes: "):
        classifier().partial_fit(*load_iris(return_X_y=True), classes=classes)


def test_arrays_of_another_shape_are_noticed():
    model = classifier(steps=1).fit(*WINE)
    with pytest.raises(jaxtyping.TypeCheckError):
        model._targets(WINE[1][:, None])
