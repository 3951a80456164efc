"""Tasks over resident arrays: classification with fixed classes, and N-way tasks with fresh classes per episode."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, PRNGKeyArray

from neurograph.errors import TaskError
from neurograph.tasks.base import SPLITS, Batch, Episode, Task, as_array, task_dataclass
from neurograph.tasks.shuffle import permute

__all__ = ["ArrayTask", "WaysTask"]

_NO_ARRAY: Any = None


@jax.jit
def _normalized(rows: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    leading = (1,) * (rows.ndim - 1)
    return rows.astype(jnp.float32) * scale.reshape(*leading, -1) + shift.reshape(*leading, -1)


@task_dataclass(data=("data", "labels", "scale", "shift", "target_mean", "target_deviation"))
class ArrayTask(Task):
    """Rows that stay on the device in their compact form, with labels or targets; a batch is gathered, then normalised.

    Attributes:
      data: [N, num_inputs], uint8 or float32; the splits lie one after the other.
      labels: [N] int32 in 0..num_classes-1; targets of a regression [N, num_outputs] float32, of mean 0 and deviation 1.
      scale: scalar or [num_inputs] float32; an input is `data * scale + shift`.
      shift: as `scale`.
      extents: (first row, number of rows) of the train, validation and test split.
      target_mean, target_deviation: [num_outputs] float32, of a regression alone: outputs * target_deviation + target_mean are
        in the units of its targets.
    """

    data: jax.Array = _NO_ARRAY
    labels: jax.Array = _NO_ARRAY
    scale: jax.Array = _NO_ARRAY
    shift: jax.Array = _NO_ARRAY
    extents: tuple[tuple[int, int], ...] = ((0, 0),) * 3
    target_mean: jax.Array | None = None
    target_deviation: jax.Array | None = None
    kind: ClassVar[str] = "data"

    def extent(self, split: str) -> tuple[int, int]:
        """First row and number of rows of a split.

        Raises:
          TaskError: unknown or empty split.
        """
        start, count = self.extents[SPLITS.index(self.check_split(split))]
        if count == 0:
            full = ", ".join(name for name, (_, rows) in zip(SPLITS, self.extents) if rows)
            raise TaskError(f"task {self.name!r} has no {split} split; it has: {full}.")
        return start, count

    def sample(self, key: PRNGKeyArray, batch_size: int, split: str = "train") -> Batch:
        """One batch, rows drawn with replacement; see `Task.sample`."""
        self.extent(split)
        return self._sample(key, self.check_size("batch_size", batch_size), split)

    @partial(jax.jit, static_argnums=(2, 3))
    def _sample(self, key: jax.Array, size: int, split: str) -> Batch:
        start, count = self.extent(split)
        return self._rows(start + jax.random.randint(key, (size,), 0, count, jnp.int32))

    def episode(
        self,
        key: PRNGKeyArray,
        steps: int,
        batch_size: int,
        query_size: int,
        split: str = "train",
        query_split: str | None = None,
    ) -> Episode:
        """One inner loop's data; see `Task.episode`.

        Within one split of N rows the query takes min(Q, N // 2) rows; the support never sees them and goes through the others
        without repeating any, and only when they run out starts again, in a new order. A query larger than its rows repeats them.
        """
        steps, batch_size = self.check_size("steps", steps), self.check_size("batch_size", batch_size)
        query_size = self.check_size("query_size", query_size)
        other = split if query_split is None else query_split
        for name in (split, other):
            self.extent(name)
        return self._episode(key, steps, batch_size, query_size, split, other)

    @partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
    def _episode(self, key: jax.Array, steps: int, batch_size: int, query_size: int, split: str, other: str) -> Episode:
        start, count = self.extent(split)
        size = steps * batch_size
        order_key, pass_key, query_key = jax.random.split(key, 3)
        same = other == split
        reserved = min(query_size, count // 2) if same else 0
        support, query = jnp.arange(size, dtype=jnp.int32), jnp.arange(query_size, dtype=jnp.int32)
        left = count - reserved
        if size > left:
            support = permute(pass_key, support % left, left, stream=support // left)
        if same:  # one order of the rows: the query has its beginning, the support what follows
            places = jnp.concatenate([query % max(reserved, 1), reserved + support])
            rows = start + permute(order_key, places, count)
            query_rows, support_rows = rows[:query_size], rows[query_size:]
        else:
            query_start, query_count = self.extent(other)
            query_rows = query_start + permute(query_key, query % query_count, query_count)
            support_rows = start + permute(order_key, support, count)
        x, y = self._rows(support_rows)
        return Episode(Batch(x.reshape(steps, batch_size, -1), y.reshape(steps, batch_size, -1)), self._rows(query_rows))

    def arrays(
        self, split: str = "test"
    ) -> tuple[Float32[Array, "rows inputs"], Int32[Array, " rows"] | Float32[Array, "rows outputs"]]:
        """All rows of a split; see `Task.arrays`."""
        start, count = self.extent(split)
        return self.normalize(self.data[start : start + count]), self.labels[start : start + count]

    def class_weights(self, split: str = "train") -> Float32[Array, " classes"]:
        """[num_classes] float32 under which all classes count the same: N / (C N_c), mean 1 over rows; 0 for an absent class."""
        if not self.num_classes:
            raise TaskError(f"task {self.name!r} is a regression: it has no classes to weigh.")
        start, count = self.extent(split)
        labels = self.labels[start : start + count]
        counts = jnp.zeros(self.num_classes, jnp.float32).at[labels].add(1.0)
        return jnp.where(counts > 0, count / (self.num_classes * jnp.maximum(counts, 1.0)), 0.0)

    def normalize(self, rows: Any) -> Float32[Array, "*batch inputs"]:
        """Rows in the units of `data`, [..., num_inputs], to float32 inputs."""
        return _normalized(as_array(rows), self.scale, self.shift)

    def _rows(self, rows: Int32[Array, " rows"]) -> Batch:
        return Batch(self.normalize(self.data[rows]), self.encode(self.labels[rows]))


@task_dataclass(data=("data", "labels", "scale", "shift", "target_mean", "target_deviation", "starts", "counts", "chosen"))
class WaysTask(ArrayTask):
    """N-way classification: every episode draws `num_classes` classes of its split and numbers them from 0.

    Batches are balanced: they go round the classes in turn. `arrays` returns the rows with the classes' own numbers.

    Attributes:
      starts: [P] int32, first row of each (split, class).
      counts: [P] int32, its number of rows.
      pools: (first entry, number of classes) of each split in `starts` and `counts`.
      shared: all splits hold the same classes in the same order (other rows of them).
      chosen: [num_classes] int32 classes of an instance, numbered within `chosen_split`'s pool; None: fresh per episode.
    """

    starts: jax.Array = _NO_ARRAY
    counts: jax.Array = _NO_ARRAY
    pools: tuple[tuple[int, int], ...] = ((0, 0),) * 3
    shared: bool = False
    chosen: jax.Array | None = None
    chosen_split: str = ""
    kind: ClassVar[str] = "N-way data"

    @property
    def is_family(self) -> bool:
        return self.chosen is None

    @property
    def splits_apart(self) -> bool:
        return not self.shared

    def instance(self, key: PRNGKeyArray, split: str = "train") -> WaysTask:
        """The task with its classes drawn once, from those of `split`, and held."""
        self.extent(split)
        if self.chosen is not None:
            return self
        chosen = permute(key, jnp.arange(self.num_classes, dtype=jnp.int32), self.pools[SPLITS.index(split)][1])
        return dataclasses.replace(self, chosen=chosen, chosen_split=split)

    def sample(self, key: PRNGKeyArray, batch_size: int, split: str = "train") -> Batch:
        """One balanced batch of one draw of classes; see `Task.sample`."""
        self.extent(split)
        return self._sample(key, self.check_size("batch_size", batch_size), split)

    @partial(jax.jit, static_argnums=(2, 3))
    def _sample(self, key: jax.Array, size: int, split: str) -> Batch:
        class_key, key = jax.random.split(key)
        return self.instance(class_key, split)._slots(key, size, split)

    def episode(
        self,
        key: PRNGKeyArray,
        steps: int,
        batch_size: int,
        query_size: int,
        split: str = "train",
        query_split: str | None = None,
    ) -> Episode:
        """One inner loop's data; see `Task.episode`.

        Of a class with n rows the query takes min(ceil(Q / ways), n // 2); the support never sees them and goes through the
        others without repeating any until they run out.
        """
        steps, batch_size = self.check_size("steps", steps), self.check_size("batch_size", batch_size)
        query_size = self.check_size("query_size", query_size)
        other = split if query_split is None else query_split
        self.extent(split)
        return self._episode(key, steps, batch_size, query_size, split, other)

    @partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
    def _episode(self, key: jax.Array, steps: int, batch_size: int, query_size: int, split: str, other: str) -> Episode:
        class_key, key = jax.random.split(key)
        task = self.instance(class_key, split)
        size = steps * batch_size
        if other == split:
            rows = task._slots(key, size, split, query_size)
            query, support = Batch(rows.x[:query_size], rows.y[:query_size]), Batch(rows.x[query_size:], rows.y[query_size:])
        else:
            support, query = task._slots(key, size, split), task._slots(key, query_size, other)
        x, y = support
        return Episode(Batch(x.reshape(steps, batch_size, -1), y.reshape(steps, batch_size, -1)), query)

    def class_weights(self, split: str = "train") -> Float32[Array, " classes"]:
        """[num_classes] ones: batches are balanced already."""
        self.extent(split)
        return jnp.ones(self.num_classes, jnp.float32)

    def _slots(self, key: PRNGKeyArray, size: int, split: str, query_size: int = 0) -> Batch:
        """Rows that go round the classes: `query_size` of a query, then `size` others; the query has the first of every class."""
        self.extent(split)
        if split != self.chosen_split and not self.shared:
            raise TaskError(
                f"task {self.name!r}: its classes were drawn from the {self.chosen_split} split, the {split} split holds others; "
                "support and query must come from one split."
            )
        order_key, pass_key = jax.random.split(jax.random.fold_in(key, SPLITS.index(split)))
        slots = jnp.concatenate([jnp.arange(query_size, dtype=jnp.int32), jnp.arange(size, dtype=jnp.int32)])
        way, turn = slots % self.num_classes, slots // self.num_classes
        entry = self.pools[SPLITS.index(split)][0] + jnp.asarray(self.chosen)[way]
        count = self.counts[entry]
        reserved = jnp.minimum(-(-query_size // self.num_classes), count // 2)
        asked = turn[:query_size] % jnp.maximum(reserved[:query_size], 1)
        turn, left = turn[query_size:], (count - reserved)[query_size:]
        stream = way[query_size:] + self.num_classes * (turn // left)
        others = reserved[query_size:] + permute(pass_key, turn % left, left, stream=stream)
        rows = self.starts[entry] + permute(order_key, jnp.concatenate([asked, others]), count, stream=way)
        return Batch(self.normalize(self.data[rows]), self.encode(way))

    def __repr__(self) -> str:
        pools = ", ".join(f"{number} for {split}" for split, (_, number) in zip(SPLITS, self.pools) if number)
        return f"<WaysTask {self.name}: {self.num_inputs} inputs, {self.num_classes} classes per episode out of {pools}>"
