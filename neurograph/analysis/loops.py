"""Closed trajectories (appendix A): the line integral of the update around loops, and the search for closed integral curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
import scipy.integrate

from neurograph.analysis.field import AnalysisError, UpdateField

__all__ = ["Circulation", "ClosedCurves", "circulation", "circulation_of", "closed_curves", "closed_curves_of"]

Field = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Circulation:
    """Result of `circulation`: L circles.

    Attributes:
      integral: [L] the line integral of g along each circle.
      error: [L] how far the quadrature may be off: the largest of its last two refinements' changes, plus rounding.
      scale: [L] the integral of |g| along each circle: the most that the line integral could be.
      points: quadrature points of the finest level.
      radius: of the circles.
    """

    integral: np.ndarray
    error: np.ndarray
    scale: np.ndarray
    points: int
    radius: float

    @property
    def relative(self) -> np.ndarray:
        """Returns |integral| / scale per loop, 0 to 1."""
        return np.abs(self.integral) / np.maximum(self.scale, np.finfo(float).tiny)

    @property
    def nonzero(self) -> int:
        """Returns the number of circles whose integral exceeds five times its error: each shows that g is no gradient."""
        return int((np.abs(self.integral) > 5 * self.error).sum())

    def summary(self) -> str:
        """Returns the result in words."""
        off = self.error / np.maximum(self.scale, np.finfo(float).tiny)
        verdict = (
            f"{self.nonzero} of {len(self.integral)} circles have work left over: not a gradient"
            if self.nonzero
            else f"zero within the error on all {len(self.integral)} circles, as of a gradient"
        )
        return (
            f"|closed integral of g dw| / integral of |g| |dw|: median {np.median(self.relative):.3g}, largest "
            f"{self.relative.max():.3g} (largest error {off.max():.1e}, {self.points} points); {verdict}"
        )


def circulation(
    field: UpdateField, *, loops: int = 8, radius: float = 0.5, max_points: int = 512, key: jax.Array | None = None
) -> Circulation:
    """Integrates the update around circles in random planes of synapse space, centred at the field's start.

    Zero for every gradient (fundamental theorem of calculus), so one clear value refutes a loss, over a whole region and not
    at one state as the Jacobian does.

    Args:
      loops: how many random planes.
      radius: of the circles, in units of the norm of the start.
      max_points: the trapezoid rule doubles its points from 32 up to this, until every error is below 1e-10 of the scale.

    Raises:
      AnalysisError: not loops >= 1, radius > 0, max_points >= 128.

    Source: Sandler et al. 2021, appendix A.
    """
    seed = int(jax.random.randint(jax.random.key(2) if key is None else key, (), 0, 2**31 - 1))
    size = radius * (float(np.linalg.norm(field.start)) or 1.0)
    return circulation_of(field, field.start, loops=loops, radius=size, max_points=max_points, seed=seed)


def circulation_of(
    field: Field, center: np.ndarray, *, loops: int = 8, radius: float = 0.5, max_points: int = 1024, seed: int = 0
) -> Circulation:
    """`circulation` of any field [M, N] -> [M, N] about `center` [N]; `radius` as it is."""
    if loops < 1 or not radius > 0 or max_points < 128:
        raise AnalysisError(
            f"circulation: got loops {loops}, radius {radius}, max_points {max_points}; expected loops >= 1, radius > "
            f"0, max_points >= 128"
        )
    center = np.asarray(center, np.float64)
    if len(center) < 2:
        raise AnalysisError("circulation: one stored number has no plane to go round in; expected at least 2")
    rng = np.random.default_rng(seed)
    planes = np.stack([np.linalg.qr(rng.normal(size=(len(center), 2)))[0].T for _ in range(loops)])  # [L, 2, N]
    values: list[np.ndarray] = []  # [L] work and |g| at the points of each refinement
    history: list[np.ndarray] = []
    points, old_work, old_size = 32, None, None
    while True:
        # Each level adds the points between those of the level before.
        count = points if old_work is None else points // 2
        angles = 2 * np.pi * (np.arange(count) / count + (0.0 if old_work is None else 0.5 / count))
        circle = np.stack([np.cos(angles), np.sin(angles)], 1)
        tangent = np.stack([-np.sin(angles), np.cos(angles)], 1)
        at = center + radius * np.einsum("tp,lpn->ltn", circle, planes)
        g = field(at.reshape(-1, len(center))).reshape(at.shape)
        along = np.einsum("ltn,tp,lpn->lt", g, tangent, planes).sum(1)
        sizes = np.linalg.norm(g, axis=2).sum(1)
        work = along if old_work is None else old_work + along
        size = sizes if old_size is None else old_size + sizes
        step = radius * 2 * np.pi / points
        history.append(work * step)
        values = [history[-1], size * step]
        old_work, old_size = work, size
        if len(history) >= 3:
            changes = np.abs(np.diff(np.stack(history[-3:]), axis=0)).max(0)
            rounding = 16 * np.finfo(float).eps * values[1]
            if points >= max_points or (changes < 1e-10 * values[1]).all():
                return Circulation(values[0], changes + rounding, values[1], points, radius)
        points *= 2


@dataclass(frozen=True)
class ClosedCurves:
    """Result of `closed_curves`: C curves of dw/dt = g(w).

    Attributes:
      outcome: [C] "closed", "rest" (the update vanishes), "away" (the norm grew tenfold or the flow blew up) or "open".
      ratio: [C] how near a curve comes back to where it was, over its extent since: 0 is closed; NaN where it never left.
      length: [C] arc length.
      speed: [C] |g| at the end over |g| at the start.
      spiral: [C] at rest, and the Jacobian there has a complex pair: no smooth metric allows that of a gradient.
      norms: [C, T] |w| over time, NaN after the end; times: [T].
    """

    outcome: tuple[str, ...]
    ratio: np.ndarray
    length: np.ndarray
    speed: np.ndarray
    spiral: tuple[bool, ...]
    norms: np.ndarray
    times: np.ndarray

    @property
    def found(self) -> int:
        """Returns the number of closed integral curves found: one is enough to refute every loss in every metric."""
        return self.outcome.count("closed")

    def summary(self) -> str:
        """Returns the result in words."""
        kinds = ", ".join(
            f"{self.outcome.count(kind)} {kind}" for kind in ("closed", "rest", "away", "open") if kind in self.outcome
        )
        finite = self.ratio[np.isfinite(self.ratio)]
        nearest = f"; nearest return {finite.min():.2g} of the extent" if len(finite) else ""
        verdict = (
            "a closed integral curve: no loss in any metric"
            if self.found
            else "no closed integral curve found, which does not show that there is none"
        )
        spirals = f"; {sum(self.spiral)} end in a spiral, which no loss in any smooth metric allows" if any(self.spiral) else ""
        end = self.times[np.isfinite(self.norms).sum(1).min() - 1]
        return f"{len(self.outcome)} curves to time {end:.3g} at least: {kinds}{nearest}; {verdict}{spirals}"


def closed_curves(field: UpdateField, *, starts: int = 2, time: float = 100.0, key: jax.Array | None = None) -> ClosedCurves:
    """Follows the flow dw/dt = g(w) (learning with small steps; time 1 is one full step) and looks for curves that close.

    Args:
      starts: curves; the first from the field's start, others from fresh synapses.
      time: how far.

    Raises:
      AnalysisError: not starts >= 1 and time > 0.

    Source: Sandler et al. 2021, appendix A.
    """
    if starts < 1 or not time > 0:
        raise AnalysisError(f"closed_curves: got starts {starts}, time {time}; expected starts >= 1, time > 0")
    keys = jax.random.split(jax.random.key(3) if key is None else key, starts)
    points = [field.start, *(field.fresh(one) for one in keys[1:])]
    return closed_curves_of(field, points, time=time, jacobian=field.jacobian if field.size <= 1024 else None)


def closed_curves_of(
    field: Field,
    starts: Sequence[np.ndarray],
    *,
    time: float = 200.0,
    samples: int = 2000,
    evaluations: int = 4000,
    jacobian: Callable[[np.ndarray], np.ndarray] | None = None,
) -> ClosedCurves:
    """Follows curves of any field [N] -> [N] from given starts; a curve may take `evaluations` of the field."""
    times = np.linspace(0, time, samples)
    rows: list[tuple[str, float, float, float, bool]] = []
    norms = np.full((len(starts), samples), np.nan)
    for number, start in enumerate(starts):
        curve, first = _follow(field, np.asarray(start, np.float64), times, evaluations)
        last = field(curve[-1])
        norms[number, : len(curve)] = np.linalg.norm(curve, axis=1)
        length = float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())
        speed = float(np.linalg.norm(last) / (np.linalg.norm(first) or 1.0))
        ratio = _nearest_return(curve)
        spiral = False
        grown = norms[number, len(curve) - 1] > 10 * max(norms[number, 0], 1e-12)
        if not np.isfinite(speed) or grown:
            outcome = "away"
        elif speed < 1e-6:
            outcome = "rest"
            if jacobian is not None:
                values = np.linalg.eigvals(jacobian(curve[-1]))
                spiral = bool(np.abs(values.imag).max() > 1e-3 * np.abs(values).max())
        elif ratio < 1e-3:
            outcome = "closed"
        else:
            outcome = "open"
        rows.append((outcome, ratio, length, speed, spiral))
    outcome, ratio, length, speed, spiral = zip(*rows)
    return ClosedCurves(outcome, np.array(ratio), np.array(length), np.array(speed), spiral, norms, times)


def _follow(field: Field, start: np.ndarray, times: np.ndarray, evaluations: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the curve at `times`, or up to where it blows up or the evaluations are spent: [T', N]; and g at the start."""
    used, first = 0, field(start)

    class Spent(Exception):
        pass

    def slope(_: float, w: np.ndarray) -> np.ndarray:
        nonlocal used
        used += 1
        if used > evaluations or not np.isfinite(w).all():
            raise Spent
        return field(w)

    solver = scipy.integrate.DOP853(slope, 0.0, start, times[-1], rtol=1e-7, atol=1e-9)
    curve, at = [start], 1
    try:
        while solver.status == "running" and at < len(times):
            if solver.step() is not None or solver.status == "failed":
                break
            between = solver.dense_output()
            while at < len(times) and times[at] <= solver.t:
                curve.append(between(times[at]))
                at += 1
            if np.linalg.norm(solver.y) > 1e3 * max(np.linalg.norm(start), 1.0):
                break
    except Spent:
        pass
    return np.stack(curve), first


def _nearest_return(curve: np.ndarray) -> float:
    """Returns how near a curve comes to a point that it left, over the extent of the excursion; NaN if it never leaves.

    Distances are to the segments between samples, so that a closed curve's is far below its sampling. Reference points lie in the
    second half, past transients.
    """
    best = np.nan
    for base in np.unique(np.linspace(len(curve) // 2, int(len(curve) * 0.75), 8).astype(int)):
        rest = curve[base:]
        if len(rest) < 8:
            continue
        along = rest[1:] - rest[:-1]
        lengths = np.maximum((along**2).sum(1), 1e-300)
        shift = np.clip(((curve[base] - rest[:-1]) * along).sum(1) / lengths, 0, 1)
        distance = np.linalg.norm(rest[:-1] + shift[:, None] * along - curve[base], axis=1)
        extent = np.maximum.accumulate(distance)
        # Only returns count: the distance has been at least twice what it is now.
        returned = np.flatnonzero((distance < 0.5 * extent) & (extent > 1e-9 * max(np.linalg.norm(curve[base]), 1e-12)))
        if len(returned):
            value = float((distance[returned] / extent[returned]).min())
            best = value if np.isnan(best) else min(best, value)
    return best
