"""`Rule`: the discrete choices of a learning rule. What is continuous and learned lives in `Genome`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from neurograph.documents import shown, suggestion
from neurograph.errors import RuleError
from neurograph.genome.activations import Activation, WithDerivative, resolve_activation

__all__ = ["CHOICES", "Rule"]

CHOICES: dict[str, tuple[str, ...]] = {
    "backward_synapses": ("learned", "mirrored", "fixed", "sign"),
    "backward_update": ("additive", "multiplicative", "multiplicative_second_state"),
    "normalization": ("none", "batch"),
    "backward_normalization": ("auto", "none", "batch", "derivative"),
    "feedback": ("labels", "mse", "softmax_cross_entropy"),
    "hebbian_pre": ("backward", "forward"),
    "oja": ("none", "weights", "activity", "printed", "printed_first"),
    "synapse_normalization": ("none", "in_pass", "stored"),
    "saturation": ("none", "tanh", "exponential"),
    "update_normalization": ("none", "neuron"),
    "batch_reduction": ("sum", "mean"),
    "initial_distribution": ("normal", "uniform"),
    "initial_deviation": ("genome", "fan_in"),
}


@dataclass(frozen=True)
class Rule:
    """Options of one learning step; defaults are the authors' published ones where the paper names one.

    Args:
      states: k, numbers per neuron and per synapse.
      forward_activation, backward_activation, output_activation: a name of `ACTIVATIONS` or an elementwise callable;
        `with_derivative(sigma)` for the pair of section 3.1.
      backward_update: how feedback changes a neuron [6]: "additive", "multiplicative" or "multiplicative_second_state".
      symmetric: the backward twin of a synapse is the forward synapse itself.
      backward_synapses: what the backward pass reads: backward synapses that are "learned" by their own products, "mirrored"
        (they learn what their forward twins learn), or "fixed" as drawn; "sign" reads the forward synapses' signs (symmetric).
      single_state_synapses: all k channels of a synapse are one number, updated by channel 0.
      normalization: "batch" shifts and scales pre-activations to learned moments over the batch (3.4).
      backward_normalization: what the backward pass does about it: "none"; "batch" shifts and scales its pre-activations alike
        (3.4); "derivative" turns feedback on a normalised value into feedback on the pre-activation, so that descent stays
        descent; "auto" is "batch" for additive updates and "none" for multiplicative ones.
      normalize_outputs: normalise output neurons as well.
      feedback: what becomes state 1 of the outputs: the +-1 "labels", or dL/dh * h' of "mse" (L = 1/2 sum (h - y)^2) or of
        "softmax_cross_entropy" (targets (y + 1) / 2).
      bias_after_normalization: biases are added to what batch normalization gives, as its learned shift, and learn by the
        feedback there; before it, it takes them away. Neurons then have thresholds of their own.
      hebbian_pre: "forward" takes the states of each synapse's sending neuron as they stood after the forward pass.
      forward_synapse_update: a second Hebbian genome updates the synapses between forward pass and feedback.
      oja: decay by squared "weights" or squared post-synaptic "activity", as in the authors' code; or [8] as "printed", or its
        first term alone, "printed_first". `oja_scale` multiplies the decay, of [8] the first term.
      synapse_normalization: synapses arriving at a neuron have unit length "in_pass" only, or are "stored" so (C.6).
      rescale: the length is the genome's `rescale` instead of 1.
      synapse_derivative: feedback flows through the synapses as "in_pass" used them, and the update takes the derivative by the
        stored ones (weight normalization), so that descent stays descent.
      saturation: "tanh": alpha tanh(w / alpha) after the update; "exponential": updates damped by
        exp(-|w| (saturation_eps + |alpha|)).
      update_normalization: "neuron" divides the Hebbian products that arrive at a neuron by their length, to the power of the
        genome's `update_power`, and multiplies them by the size of the outputs' error, to the power of `error_power`.
      error_scale: multiplies the size of that error: the errors of a softmax and of numbers are of different size.
      synapse_trace: every synapse keeps a decaying sum of its Hebbian products (`trace_keep`), which updates it in their place.
      synapse_average: every synapse keeps an average over its last learning steps (`average_power`, `average_keep`), which
        predictions take in its place; learning does not.
      learned_damping: the genome's `damping` joins that of the topology's schedule.
      cycle_fading: the genome's `cycle_keep` multiplies the feedback that hidden neurons of a cyclic phase give to each other, at
        every tick.
      self_gating: a neuron's own states, as they are before an update, open and close its gates keep and update, through a
        sigmoid of what the genome's `keep_gating` and `update_gating` make of them.
      reset_states: neurons start every step at zero; if not, they carry over.
      supervise_every: feedback, backward pass and update happen only on every n-th step of an unroll.
      batch_reduction: Hebbian products are summed over the batch, or averaged.
      noise: standard deviation of Gaussian noise added to pre-activations.
      initial_distribution, initial_deviation: how `Network.init` draws synapses: standard deviation from the genome, or
        1 / sqrt(fan-in) of the receiving neuron.

    Raises:
      RuleError: a wrong value, or options that make each other meaningless (both are named).

    Examples:
      >>> import neurograph as ng
      >>> rule = ng.Rule(states=3, normalization="batch", forward_activation="tanh")
      >>> rule.replace(states=4).normalization
      'batch'
    """

    states: int = 2
    forward_activation: str | Activation = "relu_tanh"
    backward_activation: str | Activation = "relu_tanh"
    output_activation: str | Activation = "tanh"
    backward_update: str = "additive"
    symmetric: bool = True
    backward_synapses: str = "learned"
    single_state_synapses: bool = False
    normalization: str = "none"
    backward_normalization: str = "auto"
    normalize_outputs: bool = False
    bias_after_normalization: bool = False
    feedback: str = "labels"
    hebbian_pre: str = "backward"
    forward_synapse_update: bool = False
    oja: str = "none"
    oja_scale: float = 1.0
    synapse_normalization: str = "none"
    rescale: bool = False
    synapse_derivative: bool = False
    saturation: str = "none"
    saturation_eps: float = 0.0
    update_normalization: str = "none"
    error_scale: float = 1.0
    synapse_trace: bool = False
    synapse_average: bool = False
    learned_damping: bool = False
    cycle_fading: bool = False
    self_gating: bool = False
    reset_states: bool = True
    supervise_every: int = 1
    batch_reduction: str = "sum"
    noise: float = 0.0
    initial_distribution: str = "normal"
    initial_deviation: str = "genome"

    def __post_init__(self) -> None:
        faults = [*self._value_faults(), *self._contradictions()]
        if faults:
            raise RuleError("\n".join(faults))

    def _value_faults(self) -> list[str]:
        faults = []
        for field in dataclasses.fields(self):
            value, name = getattr(self, field.name), field.name
            if name in CHOICES:
                if value not in CHOICES[name]:
                    faults.append(f"{name}: got {shown(value)}{suggestion(str(value), CHOICES[name])}")
            elif field.type == "bool" and not isinstance(value, bool):
                faults.append(f"{name}: got {value!r}; allowed: true, false")
            elif field.type == "int" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                faults.append(f"{name}: got {value!r}; expected an integer > 0")
            elif field.type == "float" and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf
            ):
                faults.append(f"{name}: got {value!r}; expected a finite number >= 0")
            elif name.endswith("activation"):
                try:
                    resolve_activation(getattr(self, name), name)
                except RuleError as error:
                    faults.append(str(error))
        return faults

    def _contradictions(self) -> list[str]:
        faults = []
        needs_second = [n for n in ("backward_update", "feedback") if getattr(self, n) in ("multiplicative_second_state", "mse")]
        if self.feedback == "softmax_cross_entropy":
            needs_second.append("feedback")
        if self.states == 1 and self.states is not True:
            faults += [f"states: 1 leaves no state 1, which {n}: {getattr(self, n)} needs" for n in dict.fromkeys(needs_second)]
            if self.feedback == "labels":
                faults.append("states: 1 leaves no state 1 for the feedback: labels; expected states >= 2")
        if self.normalize_outputs and self.normalization == "none":
            faults.append("normalize_outputs: true needs normalization: batch (got normalization: none)")
        if self.bias_after_normalization and self.normalization == "none":
            faults.append("bias_after_normalization: true needs normalization: batch (got normalization: none)")
        if self.bias_after_normalization and self.synapse_normalization != "none":
            faults.append(
                "bias_after_normalization: true needs synapse_normalization: none (got synapse_normalization:"
                f" {self.synapse_normalization}, which counts biases among the synapses)"
            )
        if self.backward_normalization in ("batch", "derivative") and self.normalization == "none":
            faults.append(
                f"backward_normalization: {self.backward_normalization} needs normalization: batch (got normalization: none)"
            )
        if self.backward_normalization == "derivative" and self.backward_update == "additive":
            faults.append(
                "backward_normalization: derivative needs backward_update: multiplicative or multiplicative_second_state (got"
                " backward_update: additive, whose states are not feedback on a pre-activation)"
            )
        if self.backward_synapses in ("mirrored", "fixed") and self.symmetric:
            faults.append(
                f"backward_synapses: {self.backward_synapses} needs symmetric: false (got symmetric: true, where backward"
                " synapses are the forward ones)"
            )
        if self.backward_synapses == "sign" and not self.symmetric:
            faults.append("backward_synapses: sign needs symmetric: true (the sign is that of the forward synapses)")
        if self.synapse_derivative:
            if self.synapse_normalization != "in_pass":
                faults.append(
                    "synapse_derivative: true needs synapse_normalization: in_pass (got synapse_normalization:"
                    f" {self.synapse_normalization})"
                )
            if not self.symmetric:
                faults.append("synapse_derivative: true needs symmetric: true (feedback flows through the forward synapses)")
            if self.backward_synapses == "sign":
                faults.append(
                    "synapse_derivative: true needs backward_synapses: learned (got backward_synapses: sign, through which no"
                    " derivative flows)"
                )
        if self.rescale and self.synapse_normalization == "none":
            faults.append("rescale: true needs synapse_normalization: in_pass or stored (got synapse_normalization: none)")
        if self.saturation_eps and self.saturation != "exponential":
            faults.append(
                f"saturation_eps: {self.saturation_eps} needs saturation: exponential (got saturation: {self.saturation})"
            )
        if self.error_scale != 1.0 and self.update_normalization == "none":
            faults.append(f"error_scale: {self.error_scale} needs update_normalization: neuron (got update_normalization: none)")
        if self.error_scale == 0:
            faults.append("error_scale: 0 leaves no updates; expected a number > 0")
        if self.oja_scale != 1.0 and self.oja == "none":
            faults.append(f"oja_scale: {self.oja_scale} needs oja: weights, activity, printed or printed_first (got oja: none)")
        if isinstance(self.backward_activation, WithDerivative):
            faults.append("backward_activation: with_derivative(...) is a pair for the forward pass; expected a plain activation")
        return faults

    def replace(self, **changes: Any) -> Rule:
        """Returns a copy with some options changed, after the same checks."""
        return dataclasses.replace(self, **changes)

    @property
    def normalizes_backward(self) -> str:
        """`backward_normalization` with "auto" decided: "none", "batch" or "derivative"."""
        if self.normalization == "none":
            return "none"
        if self.backward_normalization != "auto":
            return self.backward_normalization
        return "batch" if self.backward_update == "additive" else "none"

    @property
    def synapse_channels(self) -> int:
        """Stored numbers per synapse: 1 for single-state synapses, else `states`."""
        return 1 if self.single_state_synapses else self.states

    def to_dict(self) -> dict[str, Any]:
        """Every option as plain JSON data; activation pairs become {"with_derivative": name}.

        Raises:
          RuleError: an activation is a callable without a name in `ACTIVATIONS`.
        """
        return {
            f.name: _activation_to_data(value, f.name) if f.name.endswith("activation") else value
            for f in dataclasses.fields(self)
            for value in [getattr(self, f.name)]
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Rule:
        """The inverse of `to_dict`; unknown keys are refused with the allowed ones named."""
        allowed = [f.name for f in dataclasses.fields(cls)]
        if unknown := [key for key in data if key not in allowed]:
            names = ", ".join(str(key)[:40] for key in unknown[:8])
            raise RuleError(f"{names}: unknown option of a rule{suggestion(str(unknown[0]), allowed)}")
        return cls(**{k: _activation_from_data(v, k) if k.endswith("activation") else v for k, v in data.items()})


def _activation_to_data(value: Any, option: str) -> Any:
    from neurograph.genome.activations import ACTIVATIONS

    if isinstance(value, str):
        return value
    if isinstance(value, WithDerivative):
        return {"with_derivative": _activation_to_data(value.activation, option)}
    for name, function in ACTIVATIONS.items():
        if value is function:
            return name
    raise RuleError(f"{option}: {value!r} has no name and cannot be written to a file; allowed: {', '.join(ACTIVATIONS)}")


def _activation_from_data(value: Any, option: str) -> Any:
    if isinstance(value, dict):
        if set(value) != {"with_derivative"}:
            raise RuleError(f"{option}: got {value!r}; expected a name or {{with_derivative: name}}")
        return WithDerivative(resolve_activation(value["with_derivative"], option))
    return value
