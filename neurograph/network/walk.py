"""The order in which a pass visits neurons: phase after phase, cycles tick by tick, runs of levels by the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from neurograph.network.kernels import ALL, EXTERNAL, FORWARD, INTERNAL
from neurograph.network.kernels.bilinear import mix_states
from neurograph.network.kernels.rows import Ends
from neurograph.network.plan import Phase
from neurograph.network.state import Weights
from neurograph.network.wiring import States, Wiring

__all__ = ["Moments", "Pass", "Walk"]

Moments = Any


@dataclass
class Pass:
    """States after one sweep, and what the rest of the step needs of it.

    Attributes:
      states: per stage [states, neurons, batch].
      moments: per phase, a list per stage of (mean, variance) or None.
      outer: state 0 of the outputs' pre-activations, per stage, for feedbacks that need h'.
      units: per stage, the normalised pre-activation u^ and its slope s / sqrt(v + eps) by the pre-activation, where the backward
        pass takes the derivative of batch normalization.
      tilts: per stage, the states as they would be without the derivative of batch normalization, from which biases after it
        learn.
      changes: per scanned stage, the products of its synapses' update, where the pass has found them on the way.
      settling: per cyclic phase, how far its last tick moved a state, and how many ticks ran; only where asked for.
    """

    states: States
    moments: list[Any]
    outer: dict[int, jax.Array]
    units: dict[int, tuple[jax.Array, jax.Array]]
    tilts: dict[int, jax.Array]
    changes: dict[int, jax.Array]
    settling: list[tuple[jax.Array, jax.Array]]


@dataclass
class Walk:
    """One pass over all phases of a plan; what neurons do with their inflow is given.

    Attributes:
      direction: "forward", or "backward", in which outputs stay clamped as inputs do.
      weights: stored numbers of the direction, in the states' type.
      prepare: `prepare(stage, a, fresh, known, *path) -> (update, rows)`: the update of a stage's neurons (see
        `Kernel.sweep_levels`) and what they bring along; `path` has the number of the tick in cycles.
      drive: what the inflow of a stage begins with, [states, neurons, 1], or None.
      matrices: per stage what turns states into signals, [states, states] or with an axis of neurons; None: nothing does.
      params: per stage, arrays that its neurons share; () where each brings its own.
      fresh: states are zero at the start.
      product: a tick is given the states at the start of the pass, not those of the tick before.
      damping: per stage the share of its last state that a tick keeps, from the second on; None for none.
      fading: per stage what its signals to its own cyclic phase are multiplied by, at every tick; None for nothing.
      frozen: moments to normalise by, per phase and stage.
      ends: per stage, see `Kernel.sweep_levels`.
      watch: find out how cyclic phases settle.
    """

    wiring: Wiring
    direction: str
    weights: Weights
    prepare: Callable[..., tuple[Any, dict[str, Any]]]
    drive: Callable[[int], jax.Array | None]
    matrices: list[jax.Array] | None
    params: list[Any]
    fresh: bool = False
    product: bool = False
    damping: list[jax.Array] | None = None
    fading: list[jax.Array] | None = None
    frozen: Any = None
    ends: list[Ends] | None = None
    watch: bool = False
    found: Pass = field(init=False)

    def __call__(self, states: States) -> Pass:
        """States after the pass; those given are not changed, and clamped stages keep theirs."""
        plan, kernel, forward = self.wiring.plan, self.wiring.kernel, self.direction == FORWARD
        states, moving = list(states), ("hidden", "output") if forward else ("hidden",)
        self.found = Pass(states, [None] * len(plan.phases), {}, {}, {}, {}, [])
        signals: States = states
        if self.matrices is not None:
            signals = [None if s is None else kernel.mixed(m, s) for m, s in zip(self.matrices, states, strict=True)]
        order = range(len(plan.phases)) if forward else range(len(plan.phases) - 1, -1, -1)
        for number in order:
            phase = plan.phases[number]
            members = [s for s in phase.stages if plan.stages[s].kind in moving]
            if not members:
                continue
            known = [None] * len(members) if self.frozen is None else self.frozen[number]
            visit = self._cycle if phase.cyclic else self._levels
            self.found.moments[number] = visit(phase, members, known, signals)
            if self.matrices is not None and not phase.scanned:
                for stage in members:
                    signals[stage] = kernel.mixed(self.matrices[stage], states[stage])
        return self.found

    def _inflow(self, stage: int, part: str, signals: States) -> jax.Array | None:
        start = None if part == INTERNAL else self.drive(stage)
        return self.wiring.kernel.aggregate(self.direction, stage, self.weights, signals, part, start=start)

    def _note(self, stage: int, a: jax.Array, record: dict[str, Any]) -> None:
        found = self.found
        found.states[stage] = a
        if "change" in record:
            found.changes[stage] = record["change"]
        if "outer" in record:
            found.outer[stage] = record["outer"]
        if "unit" in record:
            found.units[stage] = record["unit"], record["slope"]
        if "tilt" in record:
            found.tilts[stage] = record["tilt"]

    def _levels(self, phase: Phase, members: list[int], known: list[Any], signals: States) -> list[Any]:
        """Stages whose inflow is final; the moments that they were normalised by."""
        used = []
        for stage, fixed in zip(members, known, strict=True):
            a = self.found.states[stage]
            update, rows = self.prepare(stage, a, self.fresh, fixed)
            if phase.scanned:
                matrix = jnp.ones((1, 1), a.dtype) if self.matrices is None else self.matrices[stage]
                common = () if "params" in rows else self.params[stage]
                if matrix.ndim == 3:
                    rows["matrix"], matrix = matrix.reshape(-1, a.shape[1], 1), None
                given = self.weights, signals, update, matrix, common, self.drive(stage), a.shape, rows
                ends = self.ends[stage] if self.ends else None
                state, signals[stage], record = self.wiring.kernel.sweep_levels(self.direction, stage, *given, ends)
            else:
                state, record = update(self.params[stage], rows, _full(self._inflow(stage, ALL, signals), a))
            used.append(record.get("moments"))
            self._note(stage, state, record)
        return used

    def _cycle(self, phase: Phase, members: list[int], known: list[Any], signals: States) -> list[Any]:
        """Stages that see each other's last tick; the moments of every tick, leaves [ticks, ...]."""
        external = [self._inflow(stage, EXTERNAL, signals) for stage in members]
        start = [self.found.states[s] for s in members]

        def tick(index: Any, current: list[jax.Array], known: list[Any]) -> tuple[list[jax.Array], list[dict[str, Any]]]:
            """States after one more tick, and what the updates recorded."""
            now = dict(zip(members, current, strict=True))
            sent, out, records = list(signals), [], []
            for stage in members:
                sent[stage] = now[stage] if self.matrices is None else mix_states(self.matrices[stage], now[stage])
                if self.fading is not None:
                    sent[stage] = sent[stage] * self.fading[stage].astype(sent[stage].dtype)
            for stage, outside, fixed, first in zip(members, external, known, start, strict=True):
                z = self._inflow(stage, INTERNAL, sent)
                z = outside if z is None else z if outside is None else z + outside
                update, rows = self.prepare(stage, first if self.product else now[stage], False, fixed, index)
                a, record = update(self.params[stage], rows, _full(z, now[stage]))
                if self.damping is not None:  # the first tick is taken whole
                    kept = jnp.where(index == 0, 0, self.damping[stage]).astype(a.dtype)
                    a = kept * now[stage] + (1 - kept) * a
                out.append(a)
                records.append(record)
            return out, records

        wiring = self.wiring
        final, records, used, settled = _ticks(
            tick, start, phase, known, wiring.topology.tolerance, wiring.tick_limit, self.watch
        )
        self.found.settling += settled
        for stage, a, record in zip(members, final, records, strict=True):
            self._note(stage, a, record)
        return used


def _full(z: jax.Array | None, a: jax.Array) -> jax.Array:
    return jnp.zeros_like(a) if z is None else jnp.broadcast_to(z, a.shape)


def _ticks(
    tick: Callable[..., Any], start: list[jax.Array], phase: Phase, known: list[Any], tolerance: float, limit: Any, watch: bool
) -> tuple[list[jax.Array], list[dict[str, Any]], list[Any], list[tuple[jax.Array, jax.Array]]]:
    """The ticks of a cyclic phase: all of them, or no more than a limit, or with a tolerance until no state moves by more.

    Returns:
      States and records after the last tick, the moments of every tick (leaves [ticks, ...]), and with `watch` how far the last
      tick moved a state and how many ticks ran.
    """
    some = jax.tree.map(lambda leaf: leaf[0], known)
    shapes = jax.eval_shape(lambda a, known: tick(0, a, known)[1], start, some)
    records = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    rest = [{name: value for name, value in record.items() if name != "moments"} for record in records]
    far = jnp.asarray(jnp.inf, start[0].dtype)

    def distance(out: list[jax.Array], current: list[jax.Array]) -> jax.Array:
        return jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in zip(out, current, strict=True)]).max()

    def run(carry: Any, index: Any, known: Any) -> Any:
        current, _, _, _, count = carry
        out, made = tick(index, current, known)
        moved = far
        if tolerance > 0:
            moved = distance(out, current)
        elif watch:  # the last tick alone is looked at
            last = (phase.ticks if limit is None else jnp.minimum(limit, phase.ticks)) - 1
            moved = jax.lax.cond(index == last, distance, lambda *_: far, out, current)
        made, used = [{**record} for record in made], []
        for record in made:
            used.append(record.pop("moments", None))
        return out, made, used, moved, count + 1

    def body(carry: Any, xs: Any) -> Any:
        index, known = xs
        going = [*([carry[3] > tolerance] if tolerance > 0 else []), *([] if limit is None else [index < limit])]
        if going:
            carry = jax.lax.cond(jnp.stack(going).all(), lambda c: run(c, index, known), lambda c: c, carry)
        else:
            carry = run(carry, index, known)
        return carry, carry[2]

    first = (start, rest, [record.get("moments") for record in records], far, jnp.zeros((), jnp.int32))
    (final, made, _, moved, count), used = jax.lax.scan(body, first, (jnp.arange(phase.ticks), known))
    return final, made, used, [(moved, count)] if watch else []
