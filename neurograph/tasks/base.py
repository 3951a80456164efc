"""The base of tasks: batches and episodes from a key, pure JAX.

A task is a pytree. Its arrays (the resident data, the fixed parameters of a function) are leaves, so a task passed to a jitted
function as an argument is not baked into the program; everything else (name, sizes, functions) is static.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, Num, PRNGKeyArray

from neurograph.errors import TaskError

__all__ = ["SPLITS", "Batch", "Episode", "Task", "balance_weights", "decode_labels", "encode_labels", "task_dataclass"]

SPLITS = ("train", "validation", "test")
"""Names of the three splits, in the order in which data sets store them."""

T = TypeVar("T", bound=type)


class Batch(NamedTuple):
    """Inputs and labels that belong together: `x` [..., num_inputs], `y` [..., num_outputs], both float32."""

    x: Float32[Array, "*batch inputs"]
    y: Float32[Array, "*batch outputs"]


class Episode(NamedTuple):
    """The data of one inner loop: `support` leads with the steps ([U, B, n]), `query` is one batch ([Q, n]).

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> episode = ng.get_task("xor").episode(jax.random.key(0), steps=2, batch_size=4, query_size=8)
      >>> isinstance(episode, ng.Episode)
      True
      >>> xs, ys = episode.support
      >>> x, y = episode.query
      >>> xs.shape, y.shape
      ((2, 4, 2), (8, 2))
    """

    support: Batch
    query: Batch


@dataclass_transform(frozen_default=True)
def task_dataclass(*, data: tuple[str, ...] = ()) -> Callable[[T], T]:
    """Make a class a frozen dataclass and a pytree: the fields in `data` are leaves, all others static (hashable)."""

    def decorate(cls: T) -> T:
        cls = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        names = [field.name for field in dataclasses.fields(cls)]
        return jax.tree_util.register_dataclass(cls, [n for n in names if n in data], [n for n in names if n not in data])

    return decorate


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Task(ABC):
    """Support and query batches from a key.

    Attributes:
      name: the name it was asked for by.
      num_inputs: width of x.
      num_outputs: width of y: one per class, or 1 (a single +-1 output); of a regression one per target.
      num_classes: number of classes; 0 for regression.
      class_names: one per class; empty for regression and where the classes change from episode to episode.
      image_shape: (height, width) or (height, width, channels) if an input is an image, else None.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> task = ng.get_task("digits")
      >>> isinstance(task, ng.Task), task.num_inputs, task.num_classes
      (True, 64, 10)
      >>> x, y = task.sample(jax.random.key(0), batch_size=3)
      >>> x.shape, y.shape
      ((3, 64), (3, 10))
    """

    name: str
    num_inputs: int
    num_outputs: int
    num_classes: int
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None
    kind: ClassVar[str] = "task"

    @property
    def is_family(self) -> bool:
        """True if every episode draws a new problem (a random function, a fresh choice of classes)."""
        return False

    @property
    def splits_apart(self) -> bool:
        """True if its splits hold other classes: support and query of an episode then come from one of them."""
        return False

    @abstractmethod
    def episode(
        self,
        key: PRNGKeyArray,
        steps: int,
        batch_size: int,
        query_size: int,
        split: str = "train",
        query_split: str | None = None,
    ) -> Episode:
        """One inner loop's data: `steps` support batches and one query batch, of ONE problem.

        Args:
          key: PRNG key. The same key gives the same episode, in any process.
          steps: U, number of support batches.
          batch_size: B, rows per support batch.
          query_size: Q, rows of the query batch.
          split: "train", "validation" or "test".
          query_split: where the query comes from, if not from `split`; `query_split="test"` is the usual evaluation.

        Returns:
          `Episode`: support.x [U, B, num_inputs], support.y [U, B, num_outputs]; query.x [Q, num_inputs], query.y likewise.

        Raises:
          TaskError: a size below 1 or an unknown split.
        """

    @abstractmethod
    def sample(self, key: PRNGKeyArray, batch_size: int, split: str = "train") -> Batch:
        """One batch: x [B, num_inputs] float32, y [B, num_outputs] float32 in {-1, +1}, or the targets of a regression.

        For a family, every call draws a new problem; `task.instance(key)` holds one.

        Raises:
          TaskError: `batch_size` below 1 or an unknown split.
        """

    def instance(self, key: PRNGKeyArray, split: str = "train") -> Task:
        """The task with its problem drawn once and held; itself if it is no family."""
        del key
        self.check_split(split)
        return self

    def arrays(
        self, split: str = "test"
    ) -> tuple[Float32[Array, "rows inputs"], Int32[Array, " rows"] | Float32[Array, "rows outputs"]]:
        """All rows of a split, for evaluation: x [N, num_inputs] float32, labels [N] int32 (of a regression its standardised
        targets [N, num_outputs] float32).

        Raises:
          TaskError: the task has no finite data (2-D functions), or the split is unknown or empty.
        """
        raise TaskError(f"task {self.name!r} generates its inputs: it has no finite {split} split; use sample or episode.")

    def with_outputs(self, outputs: int | None) -> Self:
        """The same task with `outputs` output neurons: one per class, or 1 for a two-class task (class 1 is +1)."""
        natural = self.num_classes or self.num_outputs
        if outputs is None or outputs == self.num_outputs:
            return self
        allowed = (natural, 1) if self.num_classes == 2 else (natural,)
        if isinstance(outputs, bool) or outputs not in allowed:
            text = " or ".join(str(number) for number in allowed)
            raise TaskError(f"outputs of task {self.name!r}: got {outputs!r}; allowed: {text} ({self.num_classes} classes).")
        return dataclasses.replace(self, num_outputs=int(outputs))

    def encode(self, labels: Num[Array, " ..."] | Num[np.ndarray, " ..."]) -> Float32[Array, " ..."]:
        """Labels [...] int to y [..., num_outputs] float32 in {-1, +1}; regression targets [..., num_outputs] pass through."""
        if self.num_classes == 0:
            return jnp.asarray(labels, jnp.float32)
        return encode_labels(labels, self.num_classes, self.num_outputs)

    def check_split(self, split: str) -> str:
        if split not in SPLITS:
            raise TaskError(f"split of task {self.name!r}: got {split!r}; allowed: {', '.join(SPLITS)}.")
        return split

    def check_size(self, argument: str, value: int) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise TaskError(f"{argument} of task {self.name!r}: got {value!r}; expected an integer >= 1.")
        return int(value)

    def __repr__(self) -> str:
        classes = f"{self.num_classes} classes" if self.num_classes else "regression"
        return f"<{type(self).__name__} {self.name}: {self.num_inputs} inputs, {self.num_outputs} outputs, {classes}>"


def as_array(value: Any) -> jax.Array | np.ndarray:
    """An array of JAX as it is, all else as NumPy's: compiled functions take both; `jnp.asarray` would compile one more."""
    return value if isinstance(value, jax.Array) else np.asarray(value)


def encode_labels(labels: Any, num_classes: int, num_outputs: int | None = None) -> Float32[Array, "*batch outputs"]:
    """Labels [...] to one-hot [..., num_classes] of +-1, float32; with `num_outputs=1` (two classes) [..., 1], class 1 is +1."""
    return _encoded(as_array(labels), num_classes, num_outputs)


@partial(jax.jit, static_argnums=(1, 2))
def _encoded(labels: jax.Array, num_classes: int, num_outputs: int | None) -> jax.Array:
    if num_outputs == 1:
        return jnp.where(labels == 1, 1.0, -1.0).astype(jnp.float32)[..., None]
    return 2 * jax.nn.one_hot(labels, num_classes, dtype=jnp.float32) - 1


def decode_labels(y: Any) -> Int32[Array, "*batch"]:
    """The class of outputs or labels y [..., num_outputs]: the argmax, of a single output its sign. Returns [...] int32."""
    return _decoded(as_array(y))


@jax.jit
def _decoded(y: jax.Array) -> jax.Array:
    if y.shape[-1] == 1:
        return (y[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(y, axis=-1).astype(jnp.int32)


def balance_weights(y: Any, axis: int = -1) -> Float32[Array, "*batch outputs"]:
    """Weights under which +1 and -1 labels count the same: a +1 weighs the share of -1, a -1 the share of +1.

    Args:
      y: [..., num_outputs] labels in {-1, +1}.
      axis: what is counted over: -1, the outputs of one sample (as the authors' code does: one +1 among ten outputs weighs 0.9,
        each -1 0.1), or -2, the batch of each output (the choice for a single output, whose own share is always 0 or 1).

    Returns:
      Weights, shape of `y`, float32. Zero throughout where all labels along `axis` are equal.

    Source: `compute_weight_by_frequency` in the released code of Sandler et al. 2021.
    """
    positive = (jnp.asarray(y) > 0).astype(jnp.float32)
    share = jnp.mean(positive, axis=axis, keepdims=True)
    return jnp.where(positive > 0, 1.0 - share, share)
