"""`Network`: one topology, one rule, one kernel: the door that users come through.

Outside, arrays are batch first and in the topology's own order; inside (step.py) they are one array [states, neurons, batch] per
stage of the plan.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, PRNGKeyArray

from neurograph._lazy import from_above
from neurograph.errors import PlanError, SettlingWarning, ShapeError
from neurograph.genome import AnyGenome, LayeredGenome, genome_of_neurons
from neurograph.genome.rule import Rule
from neurograph.network.kernels.allocator import keep_freed_memory
from neurograph.network.kernels.base import namespace
from neurograph.network.kernels.choice import make_kernel
from neurograph.network.passes import output_values
from neurograph.network.state import SCALARS, Synapses, Trace, Weights, check_synapses
from neurograph.network.step import forward_pass, learning_step, learning_steps
from neurograph.network.walk import Moments
from neurograph.network.wiring import Wiring
from neurograph.topology.graph import Topology

__all__ = ["UNSETTLED", "Network", "check_genome", "find_faults", "numbers", "one_number", "unsettled"]

UNSETTLED = 0.1  # a last tick that moves a state by more has not settled
SHARED_DRAWS = 1 << 16  # up to so many random numbers are drawn in sizes that graphs share
PRECISIONS = ("float32", "float64", "bfloat16", "float16")


@jax.tree_util.register_pytree_node_class
class Network(Wiring):
    """A topology that runs under a rule. Immutable; a pytree whose leaves are the kernel's index tables.

    Args:
      topology: the graph.
      rule: the options of the learning step.
      kernel: "auto" (dense blocks where they pay, elsewhere native code if a C++ compiler is at hand and the device is a CPU,
        else gathers; on a GPU as "gpu"), "gpu" (what a rule chooses for one, `neurograph plan --device gpu`; it runs on a CPU,
        too), "native" (every synapse by native code), "blocks" (dense blocks and gathers), "gather" (gathers only),
        "levels" (every run of hidden levels scanned), or "reference" (jraph's segment sums: slow, and what every other kernel
        must equal). All have derivatives of every order in reverse mode: `jax.jacrev(jax.grad(loss))` is a Hessian. Only
        "reference" has forward mode (`jax.jvp`, `jax.jacfwd`, `jax.hessian`); the others raise PlanError.
      precision: type of neurons' states and of what passes between them: None (the synapses' own type, which is the genome's),
        "float32", "float64", or "bfloat16" and "float16", which halve the memory of states. Sums at neurons and over the batch
        are taken in float32 at least; synapses, their updates, and outputs keep the genome's type (float32 at least).

    Raises:
      PlanError: an unknown kernel, or options of the rule that this topology makes meaningless (both are named).

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), file.rule)
      >>> synapses = network.init(file.genome, key=jax.random.key(0))
      >>> (xs, ys), query = ng.get_task("xor").episode(jax.random.key(1), steps=10, batch_size=64, query_size=256)
      >>> synapses, outputs = network.unroll(file.genome, synapses, xs, ys)
      >>> outputs.shape  # [steps, batch, outputs]
      (10, 64, 2)
      >>> prediction = network.predict(file.genome, synapses, query.x)
      >>> float((prediction.argmax(1) == query.y.argmax(1)).mean()) > 0.8
      True
    """

    _warned = False  # about ticks that have not settled
    _expected: Synapses | None = None  # shapes of its own synapses, found when first asked for

    def __init__(self, topology: Topology, rule: Rule, kernel: str = "auto", *, precision: str | None = None):
        self.topology, self.rule, self.precision = topology, rule, precision
        if faults := find_faults(topology, rule, precision):
            raise PlanError("\n".join(faults))
        if jax.default_backend() == "cpu":
            keep_freed_memory()
        self.kernel_name = kernel
        self.kernel = make_kernel(topology, kernel)
        self.plan = self.kernel.plan

    def __repr__(self) -> str:
        t = self.topology
        return (
            f"Network({t.num_neurons} neurons, {t.num_synapses} synapses, states={self.rule.states}, kernel={self.kernel_name!r})"
        )

    def _repr_html_(self) -> str:
        return from_above("report.notebook.network", "network_html")(self)

    # -- synapses ----------------------------------------------------------------------------------------------------------

    def init(self, genome: AnyGenome, *, key: PRNGKeyArray) -> Synapses:
        """Draw fresh synapses; values that the topology gives stay as given. The same key gives the same on every kernel."""
        self._check_genome(genome)
        topology, rule = self.topology, self.rule
        dtype = jax.tree.leaves(genome)[0].dtype
        n, keys = topology.num_neurons, _split(key)

        def draw(key: jax.Array, receivers: np.ndarray, fan_in: np.ndarray) -> Any:
            count = len(receivers)
            shape = (_shared_size(count, key), rule.synapse_channels)
            values = _drawn(key, rule.initial_distribution, shape, dtype)
            traced = any(isinstance(leaf, Tracer) for leaf in (values, *jax.tree.leaves(genome)))
            values, xp = (values[:count], jnp) if traced else (np.asarray(values)[:count], np)
            if rule.initial_deviation == "genome":
                deviation = xp.asarray(genome_of_neurons(genome, topology, receivers).initial_deviation).astype(dtype)
                return values * (deviation[:, None] if deviation.ndim else deviation)
            return values * (1.0 / np.sqrt(np.maximum(fan_in[receivers], 1))).astype(dtype)[:, None]

        def given(values: Any) -> Any:
            known = np.isfinite(topology.weight)
            if not known.any():
                return values
            weight = np.where(known, topology.weight, 0).astype(dtype)
            return namespace(values).where(known[:, None], weight[:, None], values)

        arriving = np.bincount(topology.receivers, minlength=n) + topology.bias
        leaving = np.bincount(topology.senders, minlength=n)
        forward = _pack(self.kernel, given(draw(keys[0], topology.receivers, arriving)), draw(keys[2], np.arange(n), arriving))
        backward = None if rule.symmetric else _pack(self.kernel, given(draw(keys[1], topology.senders, leaving)), None)
        return self._averaged(self._with_traces(Synapses(forward, backward)))

    def _with_traces(self, synapses: Synapses, given: dict[str, Any] | None = None) -> Synapses:
        """With traces, where the rule keeps them: those given in topology order, else zeros."""
        if not self.rule.synapse_trace:
            return synapses
        n, edges, k = self.topology.num_neurons, self.topology.num_synapses, self.rule.states
        shapes = {"forward": (edges, k), "backward": (edges, k), "bias": (n, k)}
        arrays = {}
        for name, shape in shapes.items():
            value = (given or {}).get(name)
            value = np.zeros(shape, np.float32) if value is None else value
            arrays[name] = self._as_edges(f"traces[{name!r}]", value, shape).astype(jax.tree.leaves(synapses)[0].dtype)
        traces = {"forward": _pack(self.kernel, arrays["forward"], arrays["bias"])}
        if synapses.backward is not None:
            traces["backward"] = _pack(self.kernel, arrays["backward"], None)
        return replace(synapses, traces=traces)

    def _averaged(self, synapses: Synapses, given: dict[str, Any] | None = None) -> Synapses:
        """With averages, where the rule keeps them: those given in topology order, else the synapses, not averaged yet."""
        if not self.rule.synapse_average:
            return synapses
        dtype = jax.tree.leaves(synapses.forward)[0].dtype
        given = {name: value for name, value in (given or {}).items() if value is not None}
        if missing := {"forward", "bias", *SCALARS} - {*given} if given else ():
            raise ShapeError(f"averages: {sorted(missing)[0]!r} is missing; expected forward, bias, steps and error, or None")
        scalars = {name: one_number(f"averages[{name!r}]", given.get(name, 0.0)).astype(dtype) for name in SCALARS}
        forward = synapses.forward
        if given:
            n, edges, k = self.topology.num_neurons, self.topology.num_synapses, self.rule.states
            shapes = {"forward": (edges, k), "bias": (n, k)}
            arrays = [self._as_edges(f"averages[{name!r}]", given[name], shape).astype(dtype) for name, shape in shapes.items()]
            forward = _pack(self.kernel, *arrays)
        return replace(synapses, averages={"forward": forward, **scalars})

    def pack(
        self,
        forward: Any,
        backward: Any = None,
        bias: Any = None,
        neurons: Any = None,
        traces: dict[str, Any] | None = None,
        averages: dict[str, Any] | None = None,
    ) -> Synapses:
        """Arrays in topology order to packed synapses.

        Args:
          forward: [E, k] (single-state synapses: channel 0 is taken; [E, 1] is accepted).
          backward: [E, k], or None where the rule is symmetric.
          bias: [n, k], or None for zeros; rows of neurons without a bias are ignored.
          neurons: [B, n, k] states to carry over, where the rule says `reset_states: false`.
          traces: arrays as "forward", "backward" and "bias", where the rule says `synapse_trace: true`; None for zeros.
            Fixed synapses keep the topology's value, whatever is given; a group takes its first member's.
          averages: "forward" and "bias", and "steps", how many learning steps they have seen, and "error", the
            outputs' at the very first, where the rule says `synapse_average: true`; None for the synapses themselves, and 0.

        Raises:
          ShapeError: a wrong shape, or a backward array that the rule does not have (or lacks).
        """
        n, edges, k = self.topology.num_neurons, self.topology.num_synapses, self.rule.states
        forward = self._as_edges("forward", forward, (edges, k))
        if self.rule.symmetric and backward is not None:
            raise ShapeError("backward: the rule is symmetric, so backward synapses are the forward ones; expected None")
        if not self.rule.symmetric and backward is None:
            raise ShapeError(f"backward: the rule has symmetric: false; expected an array of shape [{edges}, {k}]")
        bias = np.zeros((n, k), forward.dtype) if bias is None else bias
        bias = self._as_edges("bias", bias, (n, k)).astype(forward.dtype)
        twin = None if backward is None else _pack(self.kernel, self._as_edges("backward", backward, (edges, k)), None)
        if neurons is not None:
            if self.rule.reset_states:
                raise ShapeError("neurons: the rule has reset_states: true, so no states are carried over; expected None")
            neurons = numbers("neurons", neurons, f"[batch, {n}, {k}]").astype(forward.dtype)
            if neurons.ndim != 3 or neurons.shape[1:] != (n, k):
                raise ShapeError(f"neurons: got shape {list(neurons.shape)}; expected [batch, {n}, {k}]")
            neurons = self.inside(neurons)
        if traces is not None and not self.rule.synapse_trace:
            raise ShapeError("traces: the rule has synapse_trace: false, so synapses keep no traces; expected None")
        if averages is not None and not self.rule.synapse_average:
            raise ShapeError("averages: the rule has synapse_average: false, so synapses keep no averages; expected None")
        return self._averaged(self._with_traces(Synapses(_pack(self.kernel, forward, bias), twin, neurons), traces), averages)

    def _as_edges(self, name: str, value: Any, shape: tuple[int, int]) -> Any:
        """The numbers given, checked: a NumPy array, or one of JAX that is being traced."""
        value = numbers(name, value, str(list(shape)))
        value = value if isinstance(value, Tracer) else np.asarray(value)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            value = value.astype(jnp.result_type(float))
        allowed = (shape, (shape[0], 1)) if self.rule.single_state_synapses else (shape,)
        if value.shape not in allowed:
            raise ShapeError(f"{name}: got shape {list(value.shape)}; expected {list(shape)}")
        return value[:, :1] if self.rule.single_state_synapses else value

    def unpack(self, synapses: Synapses) -> dict[str, Float[jax.Array, "_ states"]]:
        """Packed synapses to arrays in topology order: forward [E, k], backward [E, k] and bias [n, k] (0 where none).

        Symmetric rules give the forward array as `backward`; single-state synapses are repeated over the states. Rules with
        traces give these as "forward_trace", "backward_trace" and "bias_trace"; fixed synapses have none (0). Rules with averages
        give "forward_average", "bias_average", and the numbers "average_steps" and "average_error".
        """
        self._check_synapses(synapses)
        k = self.rule.states
        arrays = self._unpacked(synapses.forward, synapses.backward)
        if synapses.traces is not None:
            traces = self._unpacked(synapses.traces["forward"], synapses.traces.get("backward"))
            free = ~self.topology.fixed[:, None]
            arrays |= {f"{name}_trace": value * free if name != "bias" else value for name, value in traces.items()}
        if synapses.averages is not None:
            averages = self._unpacked(synapses.averages["forward"], None)
            arrays |= {f"{name}_average": averages[name] for name in ("forward", "bias")}
        if self.rule.single_state_synapses:
            arrays = {name: namespace(value).repeat(value, k, axis=1) for name, value in arrays.items()}
        if synapses.averages is not None:
            arrays |= {f"average_{name}": synapses.averages[name] for name in SCALARS}
        return {name: jax.device_put(value) for name, value in arrays.items()}

    def _unpacked(self, forward: Weights, backward: Weights | None) -> dict[str, Any]:
        values, bias = _unpack(self.kernel, forward)
        return {
            "forward": values,
            "backward": values if backward is None else _unpack(self.kernel, backward)[0],
            "bias": bias,
        }

    def _check_batch(self, x: Any, y: Any = None, lead: int = 0) -> tuple[jax.Array, jax.Array | None]:
        widths = {"x": (x, len(self.topology.inputs), "inputs"), "y": (y, len(self.topology.outputs), "outputs")}
        arrays: dict[str, Any] = {"x": None, "y": None}
        lead_text = "steps, " if lead else ""
        for name, (value, width, what) in widths.items():
            if value is None:
                continue
            value = numbers(name, value, f"[{lead_text}batch, {width}]")
            if value.ndim != 2 + lead or value.shape[-1] != width:
                raise ShapeError(f"{name}: got shape {list(value.shape)}; expected [{lead_text}batch, {width}] ({width} {what})")
            if not value.shape[-2]:
                raise ShapeError(f"{name}: got shape {list(value.shape)}; expected at least one row")
            arrays[name] = value
        if y is not None and arrays["x"].shape[:-1] != arrays["y"].shape[:-1]:
            raise ShapeError(
                f"x and y: got {list(arrays['x'].shape[:-1])} and {list(arrays['y'].shape[:-1])} rows; expected equal"
            )
        return arrays["x"], arrays["y"]

    # -- the door ----------------------------------------------------------------------------------------------------------

    def step(
        self, genome: AnyGenome, synapses: Synapses, x: Any, y: Any, *, index: Any = 0, key: PRNGKeyArray | None = None
    ) -> tuple[Synapses, Float[jax.Array, "batch outputs"]]:
        """One learning step on a batch.

        Args:
          genome: the learned numbers.
          synapses: packed.
          x: [B, n_in]; y: [B, n_out], +1 / -1 (or targets, for feedback: mse).
          index: number of the step, for `supervise_every`.
          key: for `noise`.

        Returns:
          `(synapses, outputs)`: updated synapses and the prediction before the update, state 0 of the outputs, [B, n_out].

        Raises:
          ShapeError: x or y do not fit the topology, or the synapses are another network's.
        """
        x, y = self._check_batch(x, y)
        self._check_call(genome, synapses, x)
        self._check_key(key)
        synapses = self._at_rest(synapses)
        learned, outputs, settling = _jit_step(self, genome, synapses, x, y, index, key, self._watches(genome, synapses, x))
        self._warn(settling)
        return learned, outputs

    def trace(
        self, genome: AnyGenome, synapses: Synapses, x: Any, y: Any, *, index: Any = 0, key: PRNGKeyArray | None = None
    ) -> Trace:
        """The same step, with the states of all neurons after each phase: see `Trace`."""
        x, y = self._check_batch(x, y)
        self._check_call(genome, synapses, x)
        self._check_key(key)
        synapses = self._at_rest(synapses)
        return _jit_trace(self, genome, synapses, x, y, index, key)

    def unroll(
        self,
        genome: AnyGenome,
        synapses: Synapses,
        xs: Any,
        ys: Any,
        *,
        index: Any = 0,
        key: PRNGKeyArray | None = None,
        checkpoint: bool = True,
    ) -> tuple[Synapses, Float[jax.Array, "steps batch outputs"]]:
        """Steps on xs [U, B, n_in], ys [U, B, n_out] in turn (`lax.scan`).

        Args:
          index: number of the first step, for `supervise_every` and noise: an unroll cut in two goes on where it was.
          key: for `noise`.
          checkpoint: recompute each step when differentiating instead of keeping its states: memory grows with one step.

        Returns:
          `(synapses, outputs)`: after the last step, and every step's prediction [U, B, n_out].
        """
        xs, ys = self._check_batch(xs, ys, lead=1)
        self._check_call(genome, synapses, xs)
        self._check_key(key)
        synapses = self._at_rest(synapses)
        watch = self._watches(genome, synapses, xs)
        learned, outputs, settling = _jit_unroll(self, genome, synapses, xs, ys, index, key, checkpoint, watch)
        self._warn(settling)
        return learned, outputs

    def _watches(self, *arguments: Any) -> bool:
        """Whether to find out how ticks settle: of a graph with cycles, where no other program is being traced."""
        cyclic = any(phase.cyclic for phase in self.plan.phases)
        return cyclic and not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))

    def _warn(self, settling: list[tuple[jax.Array, jax.Array]]) -> None:
        """Warn, once, where the last forward tick still moved a state far."""
        if self._warned or not settling:
            return
        self._warned = True  # looked at once: later calls do not wait for their results
        moved = max(float(np.max(moved)) for moved, _ in settling)
        if moved > UNSETTLED:
            ticks = max(int(np.max(count)) for _, count in settling)
            warnings.warn(unsettled("this graph", ticks, moved), SettlingWarning, stacklevel=3)

    def predict(
        self, genome: AnyGenome, synapses: Synapses, x: Any, *, statistics: Moments = None
    ) -> Float[jax.Array, "batch outputs"]:
        """Forward pass only, without noise: state 0 of the outputs, [B, n_out].

        Args:
          statistics: frozen moments from `statistics`, so that a single sample can be normalised; default: this batch's.
        """
        x, _ = self._check_batch(x)
        self._check_call(genome, synapses, x)
        return _jit_predict(self, genome, synapses, x, statistics)

    def statistics(self, genome: AnyGenome, synapses: Synapses, x: Any) -> Moments:
        """Mean and variance of every pre-activation over a batch, to freeze for `predict` (normalization: batch)."""
        x, _ = self._check_batch(x)
        self._check_call(genome, synapses, x)
        return _jit_statistics(self, genome, synapses, x)

    def _check_genome(self, genome: AnyGenome) -> None:
        check_genome(genome, self.rule, self.topology)

    def _check_synapses(self, synapses: Synapses, whole: bool = True) -> None:
        if self._expected is None:
            n, edges, k = self.topology.num_neurons, self.topology.num_synapses, self.rule.synapse_channels
            dtype = getattr(next(iter(jax.tree.leaves(synapses)), None), "dtype", jnp.float32)  # of `init`: not traced again
            forward, bias = (jax.ShapeDtypeStruct((rows, k), dtype) for rows in (edges, n))
            twins = {"forward": jax.eval_shape(_jit_pack, self.kernel, forward, bias)}
            if not self.rule.symmetric:
                twins["backward"] = jax.eval_shape(_jit_pack, self.kernel, forward, None)
            averages = {"forward": twins["forward"]} | {name: jax.ShapeDtypeStruct((), dtype) for name in SCALARS}
            self._expected = Synapses(
                *twins.values(),
                traces=twins if self.rule.synapse_trace else None,
                averages=averages if self.rule.synapse_average else None,
            )
        stages = None if self.rule.reset_states else [stage.size for stage in self.plan.stages]
        expected = self._expected
        if not whole and isinstance(synapses, Synapses):
            expected = replace(expected, **{name: None for name in ("traces", "averages") if getattr(synapses, name) is None})
        check_synapses(synapses, expected, stages)

    def _at_rest(self, synapses: Synapses) -> Synapses:
        """Traces that were left out are zero, and averages the synapses, as in `pack`."""
        if synapses.averages is None:
            synapses = self._averaged(synapses)
        if not self.rule.synapse_trace or synapses.traces is not None:
            return synapses
        twins = {"forward": synapses.forward} | ({} if synapses.backward is None else {"backward": synapses.backward})
        return replace(synapses, traces=jax.tree.map(lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype)), twins))

    def _check_call(self, genome: AnyGenome, synapses: Synapses, x: jax.Array) -> None:
        self._check_genome(genome)
        self._check_synapses(synapses, whole=False)
        carried = None if self.rule.reset_states or synapses.neurons is None else synapses.neurons[0].shape[-1]
        if carried is not None and carried != x.shape[-2]:
            raise ShapeError(
                f"x: got {x.shape[-2]} rows, but the carried states have {carried}; start at rest from"
                " dataclasses.replace(synapses, neurons=None)"
            )

    def _check_key(self, key: jax.Array | None) -> None:
        if self.rule.noise and key is None:
            raise ShapeError("key: the rule has noise, so every step needs a PRNG key; expected key=...")


def unsettled(graph: str, ticks: int, moved: float, others: str = "") -> str:
    """The text of a `SettlingWarning`; `others`: words for further graphs."""
    return (
        f"after {ticks} ticks the states of {graph}'s cycles{others} have not settled: the last tick moved one by {moved:.2g}, so"
        " a learning step is not at the fixed point; more ticks, damping (with_schedule), `ticks: settle`, or smaller synapses"
        " help"
    )


def check_genome(genome: AnyGenome, rule: Rule, topology: Topology) -> None:
    """Raises what is wrong with a genome under a rule and on a topology, before anything is compiled."""
    if genome.states != rule.states:
        raise ShapeError(f"genome: has {genome.states} states; the rule says states: {rule.states}")
    if isinstance(genome, LayeredGenome):
        genome.layer_of(topology)


def find_faults(topology: Topology, rule: Rule, precision: str | None) -> list[str]:
    """Returns the reasons why a topology cannot run under a rule, one line each."""
    faults = []
    if precision not in (None, *PRECISIONS):
        faults.append(f"precision: got {precision!r}; allowed: {', '.join(PRECISIONS)}, or None for the synapses' type")
    elif precision == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        faults.append('precision: float64 needs 64-bit types: jax.config.update("jax_enable_x64", True) first')
    if rule.feedback == "softmax_cross_entropy" and len(topology.outputs) < 2:
        faults.append("feedback: softmax_cross_entropy needs at least two outputs; the topology has one (use mse or labels)")
    if rule.synapse_normalization == "stored":
        shared = {"synapses": topology.group[~topology.fixed], "biases": topology.bias_group}
        for what, group in shared.items():
            if count := len(np.unique(group[group >= 0])):
                faults.append(
                    "synapse_normalization: stored gives every receiving neuron its own length, which the topology's shared "
                    f"{what} ({count} group{'s' if count > 1 else ''}) cannot have; use in_pass"
                )
    return faults


def one_number(name: str, value: Any) -> jax.Array:
    """`numbers` of which there is one, or a ShapeError that names the argument."""
    array = numbers(name, value, "[]")
    if array.shape:
        raise ShapeError(f"{name}: got shape {list(array.shape)}; expected one number")
    return array


def numbers(name: str, value: Any, shape: str) -> jax.Array:
    """Anything that is an array of real numbers, or a ShapeError that names the argument."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value  # the usual case, in a loop over small steps
    try:
        array = value if isinstance(value, jax.Array) else jax.device_put(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name}: cannot be read as an array; expected real numbers of shape {shape}") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ShapeError(f"{name}: got {array.dtype}; expected real numbers of shape {shape}")
    return array


def _shared_size(count: int, key: jax.Array) -> int:
    """The next power of two for a small number of draws, so that graphs share programs; a larger one as it is.

    Only where further draws do not change the first ones, as with the generator that is JAX's default.
    """
    free = jax.config.jax_threefry_partitionable  # pyright: ignore[reportAttributeAccessIssue]
    shared = free and 0 < count <= SHARED_DRAWS and str(jax.random.key_impl(key)) == "threefry2x32"
    return 1 << (count - 1).bit_length() if shared else count


@jax.jit
def _split(key: jax.Array) -> tuple[jax.Array, ...]:
    """The keys of synapses forward, of synapses backward and of biases."""
    return tuple(jax.random.split(key, 3))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _drawn(key: jax.Array, distribution: str, shape: tuple[int, int], dtype: Any) -> jax.Array:
    """Draws of mean 0 and deviation 1."""
    if distribution == "normal":
        return jax.random.normal(key, shape, dtype)
    return jax.random.uniform(key, shape, dtype, minval=-(3**0.5), maxval=3**0.5)


def _pack(kernel: Any, edges: Any, bias: Any) -> Weights:
    if not _on_host(kernel, (edges, bias)):
        return _jit_pack(kernel, edges, bias)
    return jax.device_put(kernel.pack(*jax.tree.map(np.asarray, (edges, bias))))


def _unpack(kernel: Any, weights: Weights) -> tuple[Any, Any]:
    """Arrays in topology order; NumPy's where no program has to be compiled."""
    return kernel.unpack(jax.tree.map(np.asarray, weights)) if _on_host(kernel, weights) else _jit_unpack(kernel, weights)


def _on_host(kernel: Any, arrays: Any) -> bool:
    """Whether NumPy can put these numbers in another order: they are not traced, and in the memory of a CPU."""
    leaves = jax.tree.leaves(arrays)
    return (
        kernel.moves_numpy
        and jax.default_backend() == "cpu"
        and not any(isinstance(leaf, Tracer) for leaf in leaves)
        and all(isinstance(leaf, np.ndarray) or len(leaf.devices()) == 1 for leaf in leaves)
    )


@jax.jit
def _jit_pack(kernel, edges, bias):
    return kernel.pack(edges, bias)


@jax.jit
def _jit_unpack(kernel, weights):
    return kernel.unpack(weights)


@partial(jax.jit, static_argnums=(7,))
def _jit_step(network, genome, synapses, x, y, index, key, watch):
    found = learning_step(network, genome, synapses, x, y, index, key, False, watch)
    return found if watch else (*found, [])


@jax.jit
def _jit_trace(network, genome, synapses, x, y, index, key):
    return learning_step(network, genome, synapses, x, y, index, key, True)


@partial(jax.jit, static_argnums=(7, 8))
def _jit_unroll(network, genome, synapses, xs, ys, index, key, checkpoint, watch):
    found = learning_steps(network, genome, synapses, xs, ys, index, key, checkpoint, watch)
    return found if watch else (*found, [])


@jax.jit
def _jit_predict(network, genome, synapses, x, statistics):
    return output_values(network, forward_pass(network, genome, synapses, x, statistics=statistics).states)


@jax.jit
def _jit_statistics(network, genome, synapses, x):
    return forward_pass(network, genome, synapses, x).moments
