"""The functions of two variables of section 4.1, pure JAX.

Every sampler takes (key, parameters, count) and returns inputs [count, 2] and labels [count]; the points of most are uniform on
[-1, 1]^2. Domains and constants are those of the authors' released code where it has the function; a docstring names differences.
Families (`random_xor`, `circle`, `rotated_moons`, `blobs`, `sine`) draw their parameters once per episode; an option fixes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import TaskError
from neurograph.tasks.generated import FunctionTask, Points


def _uniform(key: jax.Array, shape: tuple[int, ...], minval: float = 0.0, maxval: float = 1.0) -> jax.Array:
    # Explicit types here and below: the same key gives the same batch also where 64-bit mode is on.
    return jax.random.uniform(key, shape, jnp.float32, minval, maxval)


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(key, shape, jnp.float32)


def _randint(key: jax.Array, count: int, high: int) -> jax.Array:
    return jax.random.randint(key, (count,), 0, high, jnp.int32)


def _square_points(key: jax.Array, count: int) -> jax.Array:
    return _uniform(key, (count, 2), minval=-1.0, maxval=1.0)


def _rotate(x: jax.Array, angle: jax.Array) -> jax.Array:
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return x @ jnp.array([[cosine, -sine], [sine, cosine]])


def _on_square(rule: Callable[[jax.Array, jax.Array, Any], jax.Array]) -> Points:
    """A sampler from a rule (x0, x1, parameters) -> bool, on points uniform on [-1, 1]^2."""

    def points(key: jax.Array, parameters: Any, count: int) -> tuple[jax.Array, jax.Array]:
        x = _square_points(key, count)
        return x, rule(x[:, 0], x[:, 1], parameters).astype(jnp.int32)

    points.__name__ = rule.__name__
    return points


def _and(a: jax.Array, b: jax.Array, _: Any) -> jax.Array:
    return (a > 0) & (b > 0)


def _or(a: jax.Array, b: jax.Array, _: Any) -> jax.Array:
    return (a > 0) | (b > 0)


def _xor(a: jax.Array, b: jax.Array, _: Any) -> jax.Array:
    # Positive where the signs agree: the authors' convention, x0 * x1 > 0.
    return a * b > 0


def _nxor(a: jax.Array, b: jax.Array, _: Any) -> jax.Array:
    return a * b < 0


def _qand(a: jax.Array, b: jax.Array, _: Any) -> jax.Array:
    return (a < 0) & (b > 0)


def _circle(a: jax.Array, b: jax.Array, p: Any) -> jax.Array:
    return jnp.hypot(a - p["center"][0], b - p["center"][1]) < p["radius"]


def _cross(a: jax.Array, b: jax.Array, p: Any) -> jax.Array:
    return (jnp.abs(a) < p["width"]) | (jnp.abs(b) < p["width"])


def _triangle(a: jax.Array, b: jax.Array, _: Any) -> jax.Array:
    return (a + b < 1) & (b - a < 1) & (b > -0.5)


def _slice(a: jax.Array, b: jax.Array, p: Any) -> jax.Array:
    angle = jnp.arctan2(b, a)
    return (angle >= p["begin"]) & (angle <= p["end"])


def _random_xor(a: jax.Array, b: jax.Array, p: Any) -> jax.Array:
    u = jnp.stack([a, b], axis=-1) @ p["projection"] + p["bias"][None]
    return u[:, 0] * u[:, 1] > 0


def _squares(key: jax.Array, p: Any, count: int) -> tuple[jax.Array, jax.Array]:
    x = _square_points(key, count)
    distance = jnp.max(jnp.abs(x[:, None, :] - p["centers"][None]), axis=-1)
    # The labels belong to the unturned square: with an angle the whole domain turns, as in the authors' code.
    return _rotate(x, p["angle"]), jnp.any(distance < p["size"], axis=-1).astype(jnp.int32)


def _raw_moons(key: jax.Array, noise: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    label_key, angle_key, noise_key = jax.random.split(key, 3)
    labels = _randint(label_key, count, 2)
    angle = _uniform(angle_key, (count,), maxval=np.pi)
    outer = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    inner = jnp.stack([1 - jnp.cos(angle), 0.5 - jnp.sin(angle)], axis=-1)
    x = jnp.where(labels[:, None] == 1, inner, outer)
    return x + noise * _normal(noise_key, (count, 2)), labels


def _moons(key: jax.Array, p: Any, count: int) -> tuple[jax.Array, jax.Array]:
    x, labels = _raw_moons(key, p["noise"], count)
    low, extent = jnp.array([[-1.0, -0.5]], jnp.float32), jnp.array([[3.0, 1.5]], jnp.float32)
    return (x - low) * 2 / extent - 1, labels


def _rotated_moons(key: jax.Array, p: Any, count: int) -> tuple[jax.Array, jax.Array]:
    x, labels = _raw_moons(key, p["noise"], count)
    return _rotate(x, p["angle"]), labels


def _concentric_circles(key: jax.Array, p: Any, count: int) -> tuple[jax.Array, jax.Array]:
    label_key, angle_key, noise_key = jax.random.split(key, 3)
    labels = _randint(label_key, count, 4)
    angle = _uniform(angle_key, (count,), maxval=2 * np.pi)
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1) * jnp.where(labels % 2 == 1, p["factor"], 1.0)[:, None]
    x = ring + p["noise"] * _normal(noise_key, (count, 2))
    return x * jnp.where(labels >= 2, 5.0, 1.0)[:, None], labels


def _blobs(key: jax.Array, p: Any, count: int) -> tuple[jax.Array, jax.Array]:
    label_key, noise_key = jax.random.split(key)
    labels = _randint(label_key, count, p["centers"].shape[0])
    return p["centers"][labels] + p["spread"] * _normal(noise_key, (count, 2)), labels


def _random_labels(key: jax.Array, _: Any, count: int) -> tuple[jax.Array, jax.Array]:
    point_key, label_key = jax.random.split(key)
    return _square_points(point_key, count), _randint(label_key, count, 2)


def _sine(key: jax.Array, p: Any, count: int) -> tuple[jax.Array, jax.Array]:
    point_key, noise_key = jax.random.split(key)
    x = _uniform(point_key, (count, 1), maxval=2 * np.pi)
    return x, p["amplitude"] * jnp.sin(x) + p["noise"] * _normal(noise_key, (count, 1))


def _circle_draw(key: jax.Array, p: Any) -> Any:
    center_key, radius_key = jax.random.split(key)
    center = _uniform(center_key, (2,), minval=-1.0, maxval=1.0) if p["center"] is None else p["center"]
    radius = _uniform(radius_key, (), minval=0.2, maxval=0.7) if p["radius"] is None else p["radius"]
    return {"center": center, "radius": radius}


def _random_xor_draw(key: jax.Array, p: Any) -> Any:
    projection_key, bias_key = jax.random.split(key)
    return {
        "projection": _uniform(projection_key, (2, 2), minval=-1.0, maxval=1.0),
        "bias": _uniform(bias_key, (2,), minval=-0.5, maxval=0.5),
    }


def _rotated_moons_draw(key: jax.Array, p: Any) -> Any:
    return {**p, "angle": _uniform(key, (), maxval=2 * np.pi)}


def _blobs_draw(key: jax.Array, p: Any) -> Any:
    return {**p, "centers": _uniform(key, p["centers"].shape, minval=-1.0, maxval=1.0)}


def _sine_draw(key: jax.Array, p: Any) -> Any:
    return {**p, "amplitude": _uniform(key, (), maxval=10.0)}


_PLAIN: dict[str, Points] = {
    "and": _on_square(_and),
    "or": _on_square(_or),
    "xor": _on_square(_xor),
    "nxor": _on_square(_nxor),
    "qand": _on_square(_qand),
    "triangle": _on_square(_triangle),
    "random_labels": _random_labels,
}
_CIRCLE, _CROSS, _SLICE, _RANDOM_XOR = (_on_square(rule) for rule in (_circle, _cross, _slice, _random_xor))


def _task(name: str, points: Points, parameters: Any = None, draw: Any = None, num_classes: int = 2) -> FunctionTask:
    names = ("-1", "+1") if num_classes == 2 else tuple(str(index) for index in range(num_classes))
    return FunctionTask(name, 2, num_classes, num_classes, names, None, parameters, points, draw)


def _number(argument: str, value: Any, *, positive: bool = False) -> jax.Array:
    try:
        number = np.nan if isinstance(value, (bool, np.bool_, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not np.isfinite(number) or abs(number) > float(np.finfo(np.float32).max) or (positive and number <= 0):
        raise TaskError(f"{argument}: got {value!r}; expected a finite number{' > 0' if positive else ''}.")
    return jnp.float32(number)


def _pairs(argument: str, value: Any, *, one: bool = False) -> jax.Array:
    try:
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind in "iuf" else np.zeros(0, np.float32)
    except (TypeError, ValueError):
        array = np.zeros(0, np.float32)
    good = array.shape == (2,) if one else array.ndim == 2 and array.shape[1:] == (2,) and len(array) > 0
    if not good or not np.isfinite(array).all():
        raise TaskError(f"{argument}: got {value!r}; expected {'one pair' if one else 'a list of pairs'} of finite numbers.")
    return jnp.asarray(array)


def plain(rule: str) -> FunctionTask:
    """A function without parameters: and, or, xor, nxor, qand, triangle, random_labels (a control that cannot be learned)."""
    return _task(rule, _PLAIN[rule])


def circle(center: Sequence[float] | None = None, radius: float | None = None) -> FunctionTask:
    """Inside of a circle. Not given, its centre is drawn per episode from [-1, 1]^2, its radius from [0.2, 0.7]."""
    place = None if center is None else _pairs("center", center, one=True)
    size = None if radius is None else _number("radius", radius, positive=True)
    draw = _circle_draw if place is None or size is None else None
    return _task("circle", _CIRCLE, {"center": place, "radius": size}, draw)


def random_xor(seed: int | None = None) -> FunctionTask:
    """xor of x P + b, P uniform on [-1, 1], b on [-0.5, 0.5]: fresh per episode, or with `seed` one fixed projection."""
    task = _task("random_xor", _RANDOM_XOR, {"projection": None, "bias": None}, _random_xor_draw)
    return task if seed is None else task.instance(jax.random.key(_seed(seed)))


def moons(noise: float = 0.1) -> FunctionTask:
    """scikit-learn's two moons, scaled to about [-1, 1]^2 as the authors do ((x + 1) 2/3 - 1, (y + 0.5) 2/1.5 - 1)."""
    return _task("moons", _moons, {"noise": _number("noise", noise)})


def rotated_moons(angle: float | None = None, noise: float = 0.1) -> FunctionTask:
    """Two moons, unscaled, turned about the origin by `angle` (radians): drawn per episode if not given (the authors: pi/2)."""
    turn = None if angle is None else _number("angle", angle)
    parameters = {"angle": turn, "noise": _number("noise", noise)}
    return _task("rotated_moons", _rotated_moons, parameters, _rotated_moons_draw if turn is None else None)


def squares(centers: Any = ((0.0, 0.0),), size: float = 0.2, angle: float = 0.0) -> FunctionTask:
    """Inside of squares of half-width `size`; with `angle` (radians) the whole domain turns."""
    parameters = {"centers": _pairs("centers", centers), "size": _number("size", size, positive=True)}
    return _task("square", _squares, {**parameters, "angle": _number("angle", angle)})


def cross(width: float = 0.3) -> FunctionTask:
    """|x0| < width or |x1| < width. The authors' labels are 0 and 1, ours -1 and +1 as everywhere."""
    return _task("cross", _CROSS, {"width": _number("width", width, positive=True)})


def angular_slice(begin: float = -0.78, end: float = 0.78) -> FunctionTask:
    """begin <= angle of x <= end, radians in (-pi, pi]."""
    low, high = _number("begin", begin), _number("end", end)
    if float(begin) >= float(end):
        raise TaskError(f"begin, end: got {begin!r}, {end!r}; expected begin < end.")
    return _task("slice", _SLICE, {"begin": low, "end": high})


def concentric_circles(noise: float = 0.1, factor: float = 0.5) -> FunctionTask:
    """Four rings, one class each: radii 1, `factor`, 5, 5 `factor`; the outer two with five-fold noise, as the authors'."""
    parameters = {"noise": _number("noise", noise), "factor": _number("factor", factor, positive=True)}
    return _task("concentric_circles", _concentric_circles, parameters, num_classes=4)


def blobs(classes: int | None = None, centers: Any = None, spread: float = 0.1, seed: int | None = None) -> FunctionTask:
    """Gaussian blobs, deviation `spread`, centres uniform on [-1, 1]^2: fresh per episode, or fixed by `centers` or `seed`.

    Without `centers` there are `classes` of them, 5 if that is not given.
    """
    if centers is not None:
        return _centered_blobs(classes, centers, spread, seed)
    classes = 5 if classes is None else classes
    if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= 1000:
        raise TaskError(f"classes: got {classes!r}; expected an integer from 2 to 1000.")
    parameters = {"centers": jnp.zeros((classes, 2), jnp.float32), "spread": _number("spread", spread, positive=True)}
    task = _task(f"blobs{classes}", _blobs, parameters, _blobs_draw, num_classes=classes)
    return task if seed is None else task.instance(jax.random.key(_seed(seed)))


def _centered_blobs(classes: int | None, centers: Any, spread: float, seed: int | None) -> FunctionTask:
    place = _pairs("centers", centers)
    if len(place) < 2:
        raise TaskError(f"centers: got {len(place)}; a classification task needs at least 2.")
    if classes is not None and classes != len(place):
        raise TaskError(f"centers: got {len(place)} of them for {classes} classes.")
    if seed is not None:
        raise TaskError("seed: it would draw centers, and centers are given.")
    return _task("blobs", _blobs, {"centers": place, "spread": _number("spread", spread, positive=True)}, num_classes=len(place))


def sine(amplitude: float | None = None, noise: float = 0.0) -> FunctionTask:
    """Regression of amplitude * sin(x), x on [0, 2 pi]; the amplitude is drawn per episode from [0, 10] if not given."""
    height = None if amplitude is None else _number("amplitude", amplitude)
    parameters = {"amplitude": height, "noise": _number("noise", noise)}
    task = _task("sine", _sine, parameters, _sine_draw if height is None else None)
    return dataclasses.replace(task, num_inputs=1, num_outputs=1, num_classes=0, class_names=())


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise TaskError(f"seed: got {seed!r}; expected an integer >= 0.")
    return seed
