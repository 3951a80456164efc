"""Ordinary networks on the same graph, trained by gradient descent on the same batches: the alternative to a genome.

An ordinary neuron has one number; hidden ones apply relu or tanh, outputs the identity. An ordinary synapse has one weight. The
network runs on the plan and kernel of any topology (levels, cycles, shared and fixed synapses, missing biases). `jax.grad` gives
its gradient, optax its optimiser, and hidden neurons may be batch-normalised as a genome's are. `tuning` chooses learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neurograph.errors import ExperimentError
from neurograph.genome.activations import resolve_activation
from neurograph.genome.rule import Rule
from neurograph.learning.inner_loop import Problem, episode_of, is_regression, query_loss, scores_of
from neurograph.network.batch.graph import Graph
from neurograph.network.batch.sizes import SizeClass, class_plan
from neurograph.network.kernels import FORWARD
from neurograph.network.network import Network
from neurograph.network.passes import normalised, output_values, through_normalization
from neurograph.network.quick import brisk_options
from neurograph.network.state import Weights
from neurograph.network.walk import Walk
from neurograph.tasks import Task
from neurograph.topology.graph import Topology

__all__ = [
    "LEARNING_RATES",
    "SETTINGS",
    "Curves",
    "Parameters",
    "Setting",
    "any_optimizer",
    "baseline_curves",
    "init_parameters",
    "learning_rates",
    "ordinary_network",
    "predict",
    "splits_of",
    "train_step",
]

OPTIMIZERS = ("sgd", "momentum", "adam")
ACTIVATIONS = ("relu", "tanh")
MOMENTUM = 0.9


def learning_rates(low: float = 1e-3, high: float = 10.0, per_decade: float = 2.0) -> tuple[float, ...]:
    """Returns rates evenly spaced in their logarithm, with both ends.

    Raises:
      ExperimentError: 0 < low < high does not hold, or there is no rate per decade.
    """
    if not (0 < low < high < math.inf and 0 < per_decade <= 100):
        raise ExperimentError(f"learning_rates: got {low!r} to {high!r}, {per_decade!r} per decade; expected 0 < low < high")
    count = max(2, 1 + round(math.log10(high / low) * per_decade))
    return tuple(float(f"{rate:.6g}") for rate in np.geomspace(low, high, count))


LEARNING_RATES = learning_rates()
"""The default grid: 9 rates over 4 decades, 0.001 to 10."""


@dataclass(frozen=True, order=True)
class Setting:
    """An ordinary way to train: optimiser "sgd", "momentum" (0.9) or "adam"; hidden activation "relu" or "tanh"; batch norm.

    Raises:
      ExperimentError: an unknown name.
    """

    optimizer: str = "sgd"
    activation: str = "relu"
    batch_norm: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", OPTIMIZERS), ("activation", ACTIVATIONS), ("batch_norm", (True, False))):
            if getattr(self, name) not in allowed:
                raise ExperimentError(
                    f"{name} of a baseline: got {getattr(self, name)!r}; allowed: {', '.join(map(str, allowed)).lower()}"
                )

    def __str__(self) -> str:
        return f"{self.optimizer}, {self.activation}{', batch norm' if self.batch_norm else ''}"


SETTINGS = tuple(Setting(o, a, b) for o in OPTIMIZERS for a in ACTIVATIONS for b in (False, True))
"""All twelve settings."""


# -- the network ---------------------------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Parameters:
    """The numbers that gradient descent changes.

    Attributes:
      weights: as the kernel stores forward synapses, one channel each.
      scale, shift: with batch norm one array [1, neurons, 1] per stage of hidden neurons, None elsewhere; else empty.
    """

    weights: Weights
    scale: tuple[Any, ...] = ()
    shift: tuple[Any, ...] = ()


ORDINARY = Rule(single_state_synapses=True)


def ordinary_network(topology: Topology, kernel: str = "auto", size: SizeClass | None = None) -> Network | Graph:
    """Returns a network whose plan and kernel hold one number per synapse; of its rule only the storage of synapses is used.

    With a size class that holds the topology it is a `Graph`, which runs by the programs of other graphs of that class.
    """
    return Network(topology, ORDINARY, kernel) if size is None else Graph.of(topology, ORDINARY, size)


def _arriving(network: Network | Graph) -> tuple[Any, Any, Any]:
    """Returns the receiver of every synapse, every neuron's fan-in, and given values; of a `Graph` traced, at its positions."""
    if isinstance(network, Graph):
        tables = network.kernel.tables
        fan_in = jnp.zeros(network.topology.num_neurons, jnp.int32).at[tables["receivers"]].add(tables["sort"] != 0)
        return tables["receivers"], fan_in, tables["weight"]
    topology = network.topology
    return topology.receivers, np.bincount(topology.receivers, minlength=topology.num_neurons), topology.weight


def init_parameters(network: Network | Graph, setting: Setting, *, key: jax.Array) -> Parameters:
    """Draws weights from N(0, gain^2 / fan-in); biases and shifts are 0, scales 1; values that the topology gives stay.

    The gain is sqrt(2) into relu neurons (He et al. 2015), 1 into tanh neurons and outputs. A shared synapse takes its first
    member's draw, as in `Network.init`.
    """
    return _drawn(network, GAINS[setting.activation], setting.batch_norm, key)


GAINS = {"relu": math.sqrt(2.0), "tanh": 1.0}


def _drawn(network: Network | Graph, gain: float | jax.Array, batch_norm: bool, key: jax.Array) -> Parameters:
    """`init_parameters` with a gain into hidden neurons, which may be traced."""
    traced = isinstance(network, Graph)
    topology, xp = network.topology, np if not traced and isinstance(gain, float) else jnp
    receivers, fan_in, weight = _arriving(network)
    outputs = [info.neurons for info in class_plan(network.kernel.size).stages if info.kind == "output"] if traced else []
    last = np.zeros(topology.num_neurons, bool)
    last[np.concatenate(outputs) if traced else topology.outputs] = True
    dtype = jnp.result_type(float)
    deviation = xp.asarray((xp.where(last, 1.0, gain) / xp.sqrt(xp.maximum(fan_in, 1)))[receivers], dtype)
    values = jax.random.normal(key, (len(receivers), 1), dtype) * deviation[:, None]
    given = xp.isfinite(weight)
    values = jnp.where(given[:, None], jnp.asarray(xp.where(given, weight, 0), dtype)[:, None], values)
    weights = network.kernel.pack(values, jnp.zeros((topology.num_neurons, 1), dtype))
    if not batch_norm:
        return Parameters(weights)
    hidden = [info.size if info.kind == "hidden" else None for info in network.plan.stages]
    scale = tuple(None if size is None else jnp.ones((1, size, 1), dtype) for size in hidden)
    return Parameters(weights, scale, tuple(None if s is None else jnp.zeros_like(s) for s in scale))


@dataclass(frozen=True)
class _Update:
    """Computes the activity of neurons from their inflow, in the form that a kernel needs for scanned levels.

    Attributes:
      kind: "hidden" or "output".
      activation: its name; None: relu where a row "relu" is above 0, else tanh.
    """

    kind: str
    activation: str | None

    def __call__(self, params: Any, rows: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        if self.kind == "output":
            return z, {}
        if "scale" in rows:
            z = _unit(z) * rows["scale"] + rows["shift"]
        if self.activation is None:
            return jnp.where(rows["relu"] > 0, jax.nn.relu(z), jnp.tanh(z)), {}
        return resolve_activation(self.activation)(z), {}


@jax.custom_vjp
def _unit(z: jax.Array) -> jax.Array:
    """Batch norm of z [1, neurons, B] before scale and shift. Its derivative needs two arrays, where JAX's would keep six."""
    return _unit_forward(z)[0]


def _unit_forward(z: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    unit, inverse, _ = normalised(z)
    return unit, (unit, inverse)


def _unit_backward(kept: tuple[jax.Array, jax.Array], d: jax.Array) -> tuple[jax.Array]:
    return (through_normalization(d, *kept),)


_unit.defvjp(_unit_forward, _unit_backward)


def predict(network: Network | Graph, parameters: Parameters, x: jax.Array, activation: str | jax.Array) -> jax.Array:
    """Returns outputs [B, n_out] for inputs x [B, n_in]. Cycles start at zero and tick as the topology's schedule says.

    Batch norm (where `parameters` has scales) shifts and scales every hidden neuron by the moments of this batch.

    Args:
      activation: the name of one, or a traced number, its place in `ACTIVATIONS`.
    """
    plan, kernel, weights = network.plan, network.kernel, parameters.weights
    x = x.astype(jax.tree.leaves(parameters)[0].dtype).T
    states: list[Any] = [
        x[None] if info.kind == "input" else jnp.zeros((1, info.size, x.shape[1]), x.dtype) for info in plan.stages
    ]

    def drive(stage: int) -> jax.Array | None:
        info = plan.stages[stage]
        bias = kernel.bias_values(weights, stage) if info.bias.any() else None
        # Stored numbers of neurons without a bias must stay out of the gradient.
        return None if bias is None else jnp.where(info.bias[None, :, None], bias[:, :, None], 0)

    def prepare(stage: int, *_: Any) -> tuple[_Update, dict[str, jax.Array]]:
        info = plan.stages[stage]
        rows: dict[str, Any] = {}
        if info.kind == "hidden":
            if parameters.scale:
                rows |= {"scale": parameters.scale[stage], "shift": parameters.shift[stage]}
            if not isinstance(activation, str):
                rows["relu"] = jnp.broadcast_to(activation == ACTIVATIONS.index("relu"), (1, info.size, 1)).astype(x.dtype)
        return _Update(info.kind, activation if isinstance(activation, str) else None), rows

    damping = network.damping
    still = isinstance(damping, float) and not damping
    damped = None if still else [jnp.asarray(damping, x.dtype)] * len(plan.stages)
    walk = Walk(network, FORWARD, weights, prepare, drive, None, [()] * len(plan.stages), damping=damped)
    return output_values(network, walk(states).states)


def train_step(
    network: Network | Graph,
    optimizer: optax.GradientTransformation,
    activation: str | jax.Array,
    parameters: Parameters,
    memory: optax.OptState,
    x: jax.Array,
    y: jax.Array,
    regression: bool = False,
) -> tuple[Parameters, optax.OptState]:
    """Takes one step of the optimiser on the batch's `query_loss`."""
    slope = jax.grad(lambda p: query_loss(predict(network, p, x, activation), y, regression))(parameters)
    change, memory = optimizer.update(slope, memory, parameters)  # type: ignore[arg-type]
    return optax.apply_updates(parameters, change), memory  # type: ignore[arg-type, return-value]


# -- many runs -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """One setting at several rates and seeds: `loss` and `accuracy` are NumPy arrays [rates, seeds, len(at)].

    Of a `regression` the accuracy is R^2. `until`: the last step count that each rate was run to; what comes after it is NaN.
    """

    setting: Setting
    rates: tuple[float, ...]
    at: tuple[int, ...]
    loss: np.ndarray
    accuracy: np.ndarray
    regression: bool = False
    until: tuple[int, ...] = ()

    @property
    def reached(self) -> np.ndarray:
        """Which step counts a rate was run to, [rates, 1, len(at)] bool."""
        last = np.asarray(self.until or [self.at[-1]] * len(self.rates))
        return (np.asarray(self.at) <= last[:, None])[:, None]

    @property
    def failed(self) -> np.ndarray:
        """Where the loss is not finite, [rates, seeds, len(at)] bool."""
        return ~np.isfinite(self.loss) & self.reached


def splits_of(task: Task, judged_on: str) -> tuple[str, str]:
    """Returns the splits of support and query under which a task is judged on a split.

    Data sets are learned on "train". Families, whose problems are drawn per episode, are learned and judged on that split.
    """
    return (judged_on, judged_on) if task.is_family else ("train", judged_on)


def baseline_curves(
    problem: Problem,
    setting: Setting,
    rates: Sequence[float],
    *,
    keys: jax.Array,
    at: Sequence[int],
    batch_size: int,
    judged_on: str = "validation",
    query_size: int = 1024,
    until: Sequence[int] | None = None,
) -> Curves:
    """Returns query loss and accuracy after each of `at` training steps, for every rate and every key.

    A key gives the support and query batches that `learning_curve` gives a genome for the same key and splits. The program is
    compiled once with and once without batch norm: optimiser, activation, rates, their last steps and keys are its arguments.

    Args:
      problem: an `ordinary_network` and the task.
      rates: learning rates, R of them.
      keys: S PRNG keys, [S].
      at: step counts; 0 is the untrained network.
      judged_on: the split of the query batch, see `splits_of`.
      until: the last of the step counts that each rate is run to, R of them; default: the last of all.

    Raises:
      ExperimentError: there are no rates, a rate is not positive and finite, or a step count is below 0.
    """
    at = tuple(sorted({int(a) for a in at}))
    rates = [float(rate) for rate in rates]
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise ExperimentError(f"learning rates of a baseline: got {rates}; expected numbers > 0")
    if not at or at[0] < 0:
        raise ExperimentError(f"at: got {list(at)}; expected step counts >= 0")
    last = [at[-1]] * len(rates) if until is None else [int(step) for step in until]
    if len(last) != len(rates) or not {*last} <= {*at}:
        raise ExperimentError(f"until: got {last}; expected one of the step counts {list(at)} for each of {len(rates)} rates")
    sizes = (max(*at, 1), int(batch_size), int(query_size), *splits_of(problem.task, judged_on))
    regression = is_regression(problem.task)
    kind, activation = (
        jnp.asarray(names.index(name)) for names, name in ((OPTIMIZERS, setting.optimizer), (ACTIVATIONS, setting.activation))
    )
    results = []
    for key in keys:
        episode, init_key, _ = episode_of(problem.task, key, sizes)
        for start in range(0, len(rates), CAPACITY):
            some = rates[start : start + CAPACITY]
            rest = CAPACITY - len(some)
            buffer, ends = jnp.asarray(some + [1.0] * rest), jnp.asarray(last[start : start + CAPACITY] + [0] * rest)
            how = (setting.batch_norm, at, regression)
            found = _program()(problem.network, episode, init_key, buffer, ends, len(some), kind, activation, *how)
            results.append(np.asarray(found)[:, : len(some)])
    table = np.concatenate(results, axis=1).reshape(2, len(keys), len(rates), len(at)).swapaxes(1, 2)
    curves = Curves(setting, tuple(rates), at, table[0], table[1], regression, tuple(last))
    loss, hits = (np.where(curves.reached, part, np.nan) for part in table)
    return replace(curves, loss=loss, accuracy=hits)


# Largest number of rates per call. How many of them run is an argument of the compiled program.
CAPACITY = 16


@cache
def _program() -> Callable[..., jax.Array]:
    return jax.jit(_runs, static_argnums=(8, 9, 10), compiler_options=brisk_options())


def _runs(network, episode, init_key, rates, ends, count, kind, activation, batch_norm, at, regression):
    """Returns loss and accuracy, [2, CAPACITY, len(at)]. One program serves all settings: compiling costs more than running."""
    fresh = _drawn(network, jnp.asarray([GAINS[name] for name in ACTIVATIONS])[activation], batch_norm, init_key)

    def run(rate, end):
        optimizer = any_optimizer(rate, kind)

        def one(index, carry):
            return train_step(network, optimizer, activation, *carry, *(a[index] for a in episode.support), regression=regression)

        def stretch(carry, bounds):
            first, last = (jnp.minimum(bound, end) for bound in bounds)
            carry = jax.lax.fori_loop(first, last, one, carry)
            outputs = predict(network, carry[0], episode.query.x, activation)
            return carry, jnp.stack(list(scores_of(outputs, episode.query.y, regression).values()))

        start = (fresh, optimizer.init(fresh))
        return jax.lax.scan(stretch, start, (jnp.asarray((0, *at[:-1])), jnp.asarray(at)))[1].T

    found = jnp.zeros((2, CAPACITY, len(at)))
    return jax.lax.fori_loop(0, count, lambda i, found: found.at[:, i].set(run(rates[i], ends[i])), found)


def any_optimizer(rate: Any, kind: jax.Array) -> Any:
    """Returns optax's sgd, sgd with momentum or adam, chosen by a traced number, its place in `OPTIMIZERS`.

    They see all numbers as one vector: an irregular graph has dozens of arrays, for each of which XLA would compile them.
    """
    descent = optax.sgd(rate, momentum=jnp.where(kind == OPTIMIZERS.index("momentum"), MOMENTUM, 0.0))  # momentum 0 is sgd
    adam = optax.adam(rate)

    def update(slope, memory, parameters=None):
        def with_adam(memory):
            change, new = adam.update(slope, memory[1], parameters)
            return change, (memory[0], new)

        def with_descent(memory):
            change, new = descent.update(slope, memory[0], parameters)
            return change, (new, memory[1])

        return jax.lax.cond(kind == OPTIMIZERS.index("adam"), with_adam, with_descent, memory)

    return optax.flatten(optax.GradientTransformation(lambda p: (descent.init(p), adam.init(p)), update))  # type: ignore[arg-type]
