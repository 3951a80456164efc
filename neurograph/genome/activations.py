"""Nonlinearities by name, their derivatives, and the pair (sigma, sigma') of section 3.1.

An activation is a callable on pre-activations of any shape, applied elementwise. `WithDerivative` is the one exception: it
treats the leading (states) axis, so inside the simulator every activation is called with the states axis first.

Examples:
  >>> import neurograph as ng
  >>> sorted(ng.ACTIVATIONS)
  ['gelu', 'identity', 'leaky_relu', 'relu', 'relu_tanh', 'sigmoid', 'swish', 'tanh']
  >>> ng.Rule(forward_activation="tanh").forward_activation
  'tanh'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from neurograph.documents import shown, suggestion
from neurograph.errors import RuleError

__all__ = ["ACTIVATIONS", "WithDerivative", "derivative", "resolve_activation", "with_derivative"]

Activation = Callable[[jax.Array], jax.Array]


def relu_tanh(x: Float[jax.Array, "*shape"]) -> Float[jax.Array, "*shape"]:
    """max(tanh x, 0): the authors' default for hidden neurons."""
    return jax.nn.relu(jnp.tanh(x))


def identity(x: Float[jax.Array, "*shape"]) -> Float[jax.Array, "*shape"]:
    """x itself."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "relu_tanh": relu_tanh,
    "tanh": jnp.tanh,
    "identity": identity,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "leaky_relu": jax.nn.leaky_relu,
    "swish": jax.nn.swish,
    "gelu": jax.nn.gelu,
}


def resolve_activation(activation: str | Activation, option: str = "activation") -> Activation:
    """The callable behind a name; a callable is returned as it is.

    Raises:
      RuleError: an unknown name, or something that is neither a name nor callable; `option` names the culprit.
    """
    if callable(activation):
        return activation
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    hint = suggestion(str(activation), ACTIVATIONS)
    raise RuleError(f"{option}: got {shown(activation)}; expected a name or a callable{hint}")


def derivative(activation: Activation, x: Float[jax.Array, "*shape"]) -> Float[jax.Array, "*shape"]:
    """Elementwise derivative of an elementwise activation at `x`, same shape."""
    return jax.jvp(activation, (x,), (jnp.ones_like(x),))[1]


@dataclass(frozen=True)
class WithDerivative:
    """phi = (sigma, sigma'): state 0 becomes sigma(z), every other state sigma'(z). Section 3.1.

    Called with the states axis first: `[states, ...] -> [states, ...]`.
    """

    activation: Activation

    def __call__(self, x: Float[jax.Array, " states *rest"]) -> Float[jax.Array, " states *rest"]:
        return jnp.concatenate([self.activation(x[:1]), derivative(self.activation, x[1:])], axis=0)

    def __reduce__(self) -> tuple[Any, ...]:
        """By name where there is one: most functions of JAX cannot be pickled."""
        names = [name for name, known in ACTIVATIONS.items() if known is self.activation]
        return with_derivative, (names[0] if names else self.activation,)


def with_derivative(activation: str | Activation) -> WithDerivative:
    """Returns the pair (sigma, sigma'), by which the backprop genome carries sigma' in its second state (section 3.1).

    Examples:
      >>> import jax.numpy as jnp
      >>> import neurograph as ng
      >>> pair = ng.with_derivative("relu")
      >>> pair(jnp.array([[-1.0, 3.0], [-1.0, 3.0]])).tolist()  # [states, neurons]: relu, then its slope
      [[0.0, 3.0], [0.0, 1.0]]
    """
    return WithDerivative(resolve_activation(activation))


def value_activation(activation: Activation) -> Activation:
    """The elementwise function that state 0 goes through."""
    return activation.activation if isinstance(activation, WithDerivative) else activation
