"""`NeurographClassifier` and `NeurographRegressor`: a genome on a graph, as scikit-learn's estimators.

They learn nothing by gradient descent unless the genome is gradient descent: `fit` draws synapses and lets the genome
change them for `steps` batches. All batches of an estimator have one size, whatever the data's, so that a program is compiled
once per topology and batch size, and no more.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from neurograph.errors import GenomeError, NeurographError, PlanError, RuleError, ShapeError, TopologyError
from neurograph.genome import Genome, GenomeFile, load_genome_file
from neurograph.genome.rule import Rule
from neurograph.learning.inner_loop import for_regression
from neurograph.network.network import Network
from neurograph.network.state import Synapses
from neurograph.topology import Topology, load_topology
from neurograph.topology.layered import mlp

__all__ = ["NeurographClassifier", "NeurographRegressor"]

CHUNK = 256  # rows per call of `predict`; the last chunk is filled up
LARGE = 1e6  # inputs above this are why learning diverges
SAMPLES = (1024, 4096)  # rows whose moments are frozen: the first for data up to that many rows, else the second


class _Estimator(BaseEstimator):
    """What the classifier and the regressor share: network, scaling, learning, moments for single rows."""

    n_features_in_: int  # set by scikit-learn

    def __init__(
        self,
        genome: str | os.PathLike[str] | Genome | GenomeFile = "universal",
        topology: str | os.PathLike[str] | Topology | None = None,
        hidden_layers: int | Sequence[int] = (64,),
        steps: int = 20,
        batch_size: int = 128,
        standardize: bool = True,
        rule: Rule | None = None,
        kernel: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ):
        self.genome = genome
        self.topology = topology
        self.hidden_layers = hidden_layers
        self.steps = steps
        self.batch_size = batch_size
        self.standardize = standardize
        self.rule = rule
        self.kernel = kernel
        self.random_state = random_state

    def _given(self, name: str) -> Any:
        """An argument, or its default where it is None."""
        value = getattr(self, name)
        return inspect.signature(type(self).__init__).parameters[name].default if value is None else value

    def _count(self, name: str) -> int:
        value = self._given(name)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}: got {value!r}; expected an integer >= 1")
        return int(value)

    def _wanted(self) -> tuple[tuple[int, ...], str]:
        """How many outputs fit the data, the default first, and what they stand for."""
        raise NotImplementedError

    def _usable(self, rule: Rule, own: bool) -> Rule:
        """A rule as it is used: the user's `own`, or that of the genome's file."""
        return rule

    def _start(self) -> None:
        """Everything that does not depend on the rows: network, fresh synapses, random numbers."""
        self._count("batch_size")
        standardize = self._given("standardize")
        if not isinstance(standardize, (bool, np.bool_)):
            raise ValueError(f"standardize: got {standardize!r}; expected True or False")
        self._resolve()
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        key, self._noise_key = jax.random.split(jax.random.key(seed))
        self._order = np.random.default_rng(seed)
        self._synapses = self._network.init(self.genome_, key=key)
        self._statistics: Any = None
        self._recent: tuple[np.ndarray, np.ndarray] | None = None
        self.scaler_ = StandardScaler() if standardize else None
        self.n_steps_ = 0

    def _resolve(self) -> None:
        given: Any = self._given("genome")
        if self.rule is not None and not isinstance(self.rule, Rule):
            raise RuleError(f"rule: got {type(self.rule).__name__}; expected a Rule, or None for the genome's")
        if not isinstance(given, (Genome, GenomeFile, str, os.PathLike)):
            raise GenomeError(f"genome: got {type(given).__name__}; expected a name, a file, a GenomeFile or a Genome")
        if isinstance(given, Genome):
            if self.rule is None:
                raise GenomeError("rule: a Genome does not know its rule; expected rule=Rule(...), or a GenomeFile")
            given = GenomeFile(given, self.rule, {})
        elif not isinstance(given, GenomeFile):
            given = load_genome_file(given)
        rule = self.rule or given.rule
        if rule is None:
            raise GenomeError(f"rule: the genome file {self.genome} holds none; expected rule=Rule(...)")
        self.genome_, self.rule_ = given.genome, self._usable(rule, own=self.rule is not None)
        features, (outputs, stand_for) = self.n_features_in_, self._wanted()
        if self.topology is None:
            self.topology_ = mlp(features, *self._widths(), outputs[0])
        elif not isinstance(self.topology, (Topology, str, os.PathLike)):
            raise TopologyError(f"topology: got {type(self.topology).__name__}; expected a Topology, a file or a name")
        else:
            self.topology_ = self.topology if isinstance(self.topology, Topology) else load_topology(self.topology)
            found = len(self.topology_.inputs), len(self.topology_.outputs)
            if found[0] != features or found[1] not in outputs:
                raise ShapeError(
                    f"topology {self.topology_.title or 'given'!r} has {found[0]} inputs and {found[1]} outputs; the data has"
                    f" {features} features and {stand_for}"
                )
        kernel = self._given("kernel")
        if not isinstance(kernel, str):
            raise PlanError(f"kernel: got {type(kernel).__name__}; expected the name of one")
        self._network_ = Network(self.topology_, self.rule_, kernel)

    def _widths(self) -> list[int]:
        """Neurons of each hidden layer."""
        given: Any = self._given("hidden_layers")
        widths: Any = [given] if isinstance(given, (int, np.integer)) else given
        if isinstance(widths, (str, bytes, Mapping, Set)) or not isinstance(widths, (Sequence, np.ndarray)):
            widths = [None]
        if any(isinstance(width, (bool, np.bool_)) or not isinstance(width, (int, np.integer)) for width in widths):
            raise ValueError(f"hidden_layers: got {given!r:.80}; expected an integer >= 1, or a list of such")
        return [int(width) for width in widths]

    @property
    def _network(self) -> Network:
        if not hasattr(self, "_network_"):  # after unpickling
            self._network_ = Network(self.topology_, self.rule_, self._given("kernel"))
        return self._network_

    def _inputs(self, X: Float[np.ndarray, "rows features"]) -> Float32[np.ndarray, "rows features"]:
        """The rows as the network takes them, standardised, float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            rows = np.asarray(X if self.scaler_ is None else self.scaler_.transform(X), np.float32)
        bad = ~np.isfinite(rows)
        if self.scaler_ is not None:  # squares that float64 cannot hold make a deviation of infinity
            bad |= ~np.isfinite(np.asarray(self.scaler_.scale_, np.float64))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(f"X[{row}, {column}]: {X[row, column]:.3g} is too large for float32, or its square for float64")
        return rows

    def _fit(self, X: np.ndarray, targets: np.ndarray, seen: np.ndarray, steps: int) -> None:
        """Learns for `steps` batches in a random order of the rows; `seen` is y as `_settle` takes it."""
        if self.scaler_ is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                self.scaler_.fit(X)
        rows = self._inputs(X)
        self._learn(rows, targets, steps)
        self._freeze(rows, seen)

    def _go_on(self, X: np.ndarray, targets: np.ndarray, seen: np.ndarray) -> None:
        """One pass through the rows in the order given."""
        if self.scaler_ is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                self.scaler_.partial_fit(X)
        rows = self._inputs(X)
        self._learn(rows, targets, -(-len(rows) // self._count("batch_size")), shuffle=False)
        if self._recent is not None:
            rows, seen = np.concatenate([self._recent[0], rows]), np.concatenate([self._recent[1], seen])
        self._freeze(rows, seen)

    def _learn(self, rows: np.ndarray, targets: np.ndarray, steps: int, shuffle: bool = True) -> None:
        size = self._count("batch_size")
        taken = _passes(len(rows), steps * size, self._order if shuffle else None).reshape(steps, size)
        noisy = self.rule_.noise > 0
        for batch in taken:
            key = jax.random.fold_in(self._noise_key, self.n_steps_) if noisy else None
            # One program per topology and batch size, however many steps.
            self._synapses, _ = self._network.step(
                self.genome_, self._synapses, rows[batch], targets[batch], index=self.n_steps_, key=key
            )
            self.n_steps_ += 1
        if not all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(self._synapses)):
            largest = float(np.abs(rows).max())
            if largest > LARGE:
                raise ValueError(
                    f"X: its values are too large to learn from, up to {largest:.3g}; standardize=True brings them to 1"
                )
            raise NeurographError(
                f"learning diverged: a synapse is not finite after {self.n_steps_} steps of batch_size {size}; try fewer steps,"
                " fewer hidden layers, standardize=True or another genome"
            )

    def _freeze(self, rows: np.ndarray, seen: np.ndarray) -> None:
        """Moments for predicting single rows, from so many of the rows that one or two programs serve all data."""
        size = SAMPLES[0] if len(rows) <= SAMPLES[0] else SAMPLES[1]
        if self._recent is not None:  # in partial_fit the newest count
            rows, seen = rows[-SAMPLES[0] :], seen[-SAMPLES[0] :]
            size = SAMPLES[0]
        chosen = _passes(len(rows), size, np.random.default_rng(0))
        self._recent = rows[-SAMPLES[0] :], seen[-SAMPLES[0] :]
        self._statistics = self._network.statistics(self.genome_, self._rested(), rows[chosen])
        self._settle(rows, seen)

    def _settle(self, rows: np.ndarray, seen: np.ndarray) -> None:
        """What else is measured on the rows of the moments, and their y."""

    def _rested(self) -> Synapses:
        return replace(self._synapses, neurons=None)

    def _outputs(self, X: Any) -> np.ndarray:
        """State 0 of the outputs, `[n_samples, n_outputs]` float64."""
        check_is_fitted(self, "n_steps_")
        _refuse_masked(X)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        outputs = self._run(self._inputs(X))
        if not np.isfinite(outputs).all():
            row = int(np.argwhere(~np.isfinite(outputs))[0, 0])
            raise ValueError(f"X[{row}]: its values are too large, up to {np.abs(X[row]).max():.3g}: the outputs are not finite")
        return outputs

    def _run(self, rows: np.ndarray) -> np.ndarray:
        padded = np.zeros((-(-len(rows) // CHUNK) * CHUNK, rows.shape[1]), np.float32)
        padded[: len(rows)] = rows
        network, genome, synapses = self._network, self.genome_, self._rested()
        chunks = [
            np.asarray(network.predict(genome, synapses, part, statistics=self._statistics), np.float64)
            for part in padded.reshape(-1, CHUNK, rows.shape[1])
        ]
        return np.concatenate(chunks)[: len(rows)]

    # -- housekeeping ------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Plain arrays instead of a device's; the network is built again when it is needed."""
        state: dict[str, Any] = {**cast(Any, super().__getstate__())}
        state.pop("_network_", None)
        for name in ("_synapses", "_statistics"):
            if name in state:
                state[name] = jax.tree.map(np.asarray, state[name])
        if "_noise_key" in state:
            state["_noise_key"] = np.asarray(jax.random.key_data(state["_noise_key"]))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_noise_key" in state:
            self._noise_key = jax.random.wrap_key_data(jax.numpy.asarray(state["_noise_key"]))


class NeurographClassifier(ClassifierMixin, _Estimator):
    """A classifier that learns by a genome, for scikit-learn's pipelines and searches.

    Args:
      genome: a name of the zoo, a file, a `GenomeFile`, or a `Genome` (which needs `rule`).
      topology: a `Topology`, a file, a shipped one's name, or layer widths ("64-32-10"), whose inputs and outputs are as many as
        the data's features and classes (two classes may share one output, by a genome whose feedback is labels or mse, such as
        "digits"). Default: complete layers, as wide as the data needs.
      hidden_layers: neurons per hidden layer of the default topology, a number for a single one; without effect where a topology
        is given.
      steps: learning steps of `fit`, one batch each.
      batch_size: rows per learning step. Smaller data are repeated until they fill a batch.
      standardize: subtract each feature's mean and divide by its standard deviation. Genomes expect inputs of about that size;
        say False if yours are.
      rule: replaces the rule of the genome's file.
      kernel: how the graph is executed; see `Network`.
      random_state: seed of the synapses and batches. An integer makes results repeatable.

    None stands for the default of every argument.

    Attributes:
      classes_: the labels, sorted, `[n_classes]`.
      n_features_in_, feature_names_in_: of the data that `fit` saw; the names only where they were given.
      topology_, genome_, rule_: what the estimator runs on.
      scaler_: the fitted `StandardScaler`, or None.
      n_steps_: learning steps taken so far.

    Examples:
      >>> from sklearn.datasets import load_wine
      >>> import neurograph as ng
      >>> X, y = load_wine(return_X_y=True)
      >>> ng.NeurographClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
      True
    """

    # -- learning ----------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any) -> NeurographClassifier:
        """Draw synapses and learn for `steps` batches, which go through the rows in a random order, again and again.

        Args:
          X: `[n_samples, n_features]` finite numbers; an array or a data frame.
          y: `[n_samples]` labels, numbers or text, at least two different ones.

        Raises:
          ValueError: malformed data, what is missing or masked, values too large for float32, one class only, or an argument of
            the wrong kind.
          ShapeError: the topology's inputs or outputs do not fit the data.
          NeurographError: a genome, rule, topology or kernel that does not exist or does not fit, or learning that diverged.
        """
        steps = self._count("steps")
        _refuse_masked(X, y)
        X, y = validate_data(self, X, _plain_labels(y, "y"), dtype=(np.float64, np.float32), y_numeric=False)
        check_classification_targets(y)
        self._begin(np.unique(y))
        self._fit(X, self._targets(y), y, steps)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> NeurographClassifier:
        """Go on learning: one pass through the rows, in batches of `batch_size`, in the order given.

        Means and deviations of the features go on as well. What normalization needs at prediction is measured over the rows seen
        last, up to 1,024 of them. Batches need a mix of classes and some tens of rows to be worth a step.

        Args:
          X, y: as in `fit`.
          classes: all labels that will ever come; needed in the first call.

        Raises:
          ValueError: as `fit`; also the first call without `classes`, or a label that is not among them.
        """
        self._count("batch_size")
        _refuse_masked(X, y)
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise ValueError("classes: the first call of partial_fit needs all labels that will ever come, as classes=[...]")
        X, y = validate_data(self, X, _plain_labels(y, "y"), dtype=(np.float64, np.float32), reset=first, y_numeric=False)
        check_classification_targets(y)
        if first:
            self._begin(_all_classes(classes))
        elif classes is not None and not np.array_equal(self.classes_, _all_classes(classes)):
            raise ValueError(f"classes: got {list(classes)}; the first call was given {self.classes_.tolist()}")
        self._go_on(X, self._targets(y), y)
        return self

    def _begin(self, classes: np.ndarray) -> None:
        if len(classes) < 2:
            raise ValueError(f"y: got 1 class ({classes.tolist()[0]!r}); a classifier needs at least 2 classes")
        self.classes_ = classes
        self._start()

    def _wanted(self) -> tuple[tuple[int, ...], str]:
        classes = len(self.classes_)
        return ((2, 1) if classes == 2 else (classes,)), f"{classes} classes"

    def _targets(self, y: Shaped[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows outputs"]:
        """Labels as +1 and -1, `[n_samples, n_outputs]`; a single output is +1 for the second class."""
        place = np.searchsorted(self.classes_, y)
        place = np.minimum(place, len(self.classes_) - 1)
        if strange := np.unique(y[self.classes_[place] != y]).tolist():
            raise ValueError(f"y: got {strange[:5]}, which the first call's classes lack: {self.classes_.tolist()}")
        if len(self.topology_.outputs) == 1:
            return np.where(place == 1, 1.0, -1.0).astype(np.float32)[:, None]
        return np.where(place[:, None] == np.arange(len(self.classes_)), 1.0, -1.0).astype(np.float32)

    # -- predicting --------------------------------------------------------------------------------------------------------

    def decision_function(self, X: Any) -> Float64[np.ndarray, " rows *classes"]:
        """State 0 of the outputs: `[n_samples, n_classes]`; for two classes `[n_samples]`, above 0 for `classes_[1]`."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "rows classes"]:
        """`[n_samples, n_classes]`, rows sum to 1: the softmax of the outputs, which is what genomes are meta-learned to make
        good; of a single output h, (1 + h) / 2 within 0 and 1. The values are not calibrated."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            second = np.clip((1 + outputs) / 2, 0, 1)
            return np.hstack([1 - second, second])
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Shaped[np.ndarray, " rows"]:
        """Labels, `[n_samples]`, each row by itself: the largest output, or the sign of a single one."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]


class NeurographRegressor(RegressorMixin, _Estimator):
    """A regressor that learns by a genome, for scikit-learn's pipelines and searches.

    Targets are standardised inside, and the network learns them from the error of its outputs (`feedback: mse`, also where the
    genome was made for classes by softmax). The outputs of normalized neurons have deviation 1 whatever they say of the targets,
    so that each output gets a line, fitted by least squares over the rows whose moments are frozen: that is the prediction.

    Args: as of `NeurographClassifier`. A topology has as many outputs as there are targets.

    Attributes:
      n_features_in_, feature_names_in_, topology_, genome_, rule_, scaler_, n_steps_: as of `NeurographClassifier`.
      n_outputs_: number of targets.
      target_scaler_: the fitted `StandardScaler` of the targets.
      slope_, intercept_: of the lines, `[n_outputs_]`.

    Examples:
      >>> from sklearn.datasets import make_friedman1
      >>> import neurograph as ng
      >>> X, y = make_friedman1(400, random_state=0)
      >>> ng.NeurographRegressor(random_state=0).fit(X, y).score(X, y) > 0.8
      True
    """

    def fit(self, X: Any, y: Any) -> NeurographRegressor:
        """Draw synapses and learn for `steps` batches, which go through the rows in a random order, again and again.

        Args:
          X: `[n_samples, n_features]` finite numbers; an array or a data frame.
          y: `[n_samples]` or `[n_samples, n_outputs]` finite numbers.

        Raises:
          ValueError: malformed data, what is missing or masked, values too large for float32, or an argument of the wrong kind.
          ShapeError: the topology's inputs or outputs do not fit the data.
          RuleError: a rule of one's own whose feedback is for classes.
          NeurographError: a genome, rule, topology or kernel that does not exist or does not fit, or learning that diverged.
        """
        steps = self._count("steps")
        X, y, targets = self._read(X, y, first=True)
        self._start()
        with np.errstate(over="ignore", invalid="ignore"):
            self.target_scaler_ = StandardScaler().fit(targets)
        self._fit(X, self._scaled(targets), targets, steps)
        return self

    def partial_fit(self, X: Any, y: Any) -> NeurographRegressor:
        """Go on learning: one pass through the rows, in batches of `batch_size`, in the order given.

        Means and deviations of features and targets go on as well. What normalization needs at prediction, and the lines, are
        measured over the rows seen last, up to 1,024 of them.

        Args:
          X, y: as in `fit`.

        Raises:
          ValueError: as `fit`.
        """
        self._count("batch_size")
        first = not hasattr(self, "n_steps_")
        X, y, targets = self._read(X, y, first)
        if first:
            self._start()
            self.target_scaler_ = StandardScaler()
        with np.errstate(over="ignore", invalid="ignore"):
            self.target_scaler_.partial_fit(targets)
        self._go_on(X, self._scaled(targets), targets)
        return self

    def _read(self, X: Any, y: Any, first: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X, y and y as `[n_samples, n_outputs]` float64."""
        _refuse_masked(X, y)
        options: dict[str, Any] = {"y_numeric": True, "multi_output": True, "reset": first}
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), **options)
        if np.asarray(y).dtype.kind not in "buif":
            raise ValueError(f"y: got {np.asarray(y).dtype} targets; expected numbers")
        targets = np.asarray(y, np.float64).reshape(len(y), -1)
        if first:
            self.n_outputs_, self._flat = targets.shape[1], np.ndim(y) == 1
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y: got {targets.shape[1]} targets a row; the first call was given {self.n_outputs_}")
        return X, y, targets

    def _scaled(self, targets: Float64[np.ndarray, "rows outputs"]) -> Float32[np.ndarray, "rows outputs"]:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.asarray(self.target_scaler_.transform(targets), np.float32)
        if not (np.isfinite(scaled).all() and np.isfinite(np.asarray(self.target_scaler_.scale_)).all()):
            raise ValueError(f"y: its values are too large, up to {np.abs(targets).max():.3g}: float64 cannot hold their squares")
        return scaled

    def _wanted(self) -> tuple[tuple[int, ...], str]:
        return (self.n_outputs_,), f"{self.n_outputs_} target{'s' * (self.n_outputs_ > 1)}"

    def _usable(self, rule: Rule, own: bool) -> Rule:
        if own and rule != for_regression(rule):
            raise RuleError(f"rule: its feedback is {rule.feedback}, which is for classes; a regressor needs mse")
        return for_regression(rule)

    def _settle(self, rows: np.ndarray, seen: np.ndarray) -> None:
        """A line per output, of least squares."""
        outputs = self._run(rows)
        if not np.isfinite(outputs).all():
            raise NeurographError("learning diverged: the outputs are not finite; try fewer steps, or another genome")
        mean, deviation = outputs.mean(axis=0), outputs - outputs.mean(axis=0)
        square = (deviation**2).mean(axis=0)
        flat = square <= 1e-12 * np.maximum(mean**2, 1e-12)
        self.slope_ = np.where(flat, 0, (deviation * seen).mean(axis=0) / np.where(flat, 1, square))
        self.intercept_ = seen.mean(axis=0) - self.slope_ * mean

    def predict(self, X: Any) -> Float64[np.ndarray, " rows *outputs"]:
        """Targets, `[n_samples]` or `[n_samples, n_outputs]` as y had them, each row by itself."""
        found = self._outputs(X) * self.slope_ + self.intercept_
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _refuse_masked(X: Any, y: Any = None) -> None:
    """Raises ValueError for what scikit-learn would read as numbers: values under a mask, and times."""
    for name, values in (("X", X), ("y", y)):
        if np.ma.is_masked(values):
            place = np.argwhere(np.ma.getmaskarray(np.ma.asarray(values)))[0].tolist()
            raise ValueError(f"{name}{place}: is masked, so its value is missing")
    types = list(X.dtypes) if hasattr(X, "dtypes") else [getattr(X, "dtype", None)]
    if any(getattr(kind, "kind", "") in ("M", "m") for kind in types):
        raise ValueError("X: got times; expected numbers")


def _plain_labels(labels: Any, name: str) -> Any:
    """Returns `labels`; ValueError if one is missing, or a number and a text would be one label to NumPy."""
    if hasattr(labels, "isna") and np.asarray(labels.isna()).any():
        raise ValueError(f"{name}: a label is missing")
    if not isinstance(labels, (list, tuple)) and getattr(getattr(labels, "dtype", None), "kind", "") != "O":
        return labels
    kinds: dict[str, bool] = {}
    for label in labels:
        if label is None:
            raise ValueError(f"{name}: a label is missing")
        if kinds.setdefault(str(label), isinstance(label, str)) != isinstance(label, str):
            raise ValueError(f"{name}: the label {label!r:.60} is text in one place and a number in another")
    return labels


def _all_classes(classes: Any) -> np.ndarray:
    """The labels that will ever come, sorted, `[n_classes]`."""
    found = np.asarray(list(classes) if isinstance(classes, Set) else _plain_labels(classes, "classes"))
    if isinstance(classes, (str, bytes)) or found.ndim != 1 or not len(found):
        raise ValueError(f"classes: got {classes!r:.80}; expected a list of labels")
    if np.ma.is_masked(classes) or any(label is None or label != label for label in found.tolist()):
        raise ValueError("classes: a label is missing")
    return np.unique(found)


def _passes(rows: int, count: int, order: np.random.Generator | None) -> np.ndarray:
    """`count` row numbers that go through all rows again and again, each time in a new order, or in the given one."""
    passes = -(-count // rows)
    return np.concatenate([np.arange(rows) if order is None else order.permutation(rows) for _ in range(passes)])[:count]
