"""The native code of irregular synapses: compiled on first use, kept in the user's cache, called through `jax.ffi`.

Where it cannot be had (no C++ compiler, NEUROGRAPH_NATIVE=0, another device than a CPU) the kernels gather by XLA's means: the
same results to rounding, several times slower. `description()` says which.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.ffi
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from jax.custom_batching import custom_vmap

from neurograph.errors import PlanError
from neurograph.files import cache_dir, remove_leftovers, switched_off, write_atomically

__all__ = ["ACTIVATIONS", "Run", "available", "description", "empty", "flow", "learn", "product", "sweep", "tile"]

SOURCES = Path(__file__).with_name("cpu")  # every .cpp of it is compiled
# No -ffast-math: sums keep their order, and infinities and NaNs their meaning.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-DNDEBUG")
# Tried one after another, until the compiler takes them. GCC, when it runs out of integer registers, keeps addresses in vector
# registers: they then wait in line behind the arithmetic, and the next row's loads with them (a third of a sweep's time).
TUNINGS = (("-march=native", "-mtune-ctrl=^inter_unit_moves_to_vec"), ("-march=native",), ())
# Those that `sweep` knows, by name, in the order of sweep.h.
ACTIVATIONS = ("identity", "relu", "tanh", "relu_tanh")
# Libraries: their files, and the calls in them. All but the first, and those of 64 bits, are compiled when first asked for.
LIBRARIES = {
    "": (("sweep", "learn", "rows", "product"), ("flow", "tile", "sweep", "learn", "product", "empty")),
    "wide": (("sweep_wide",), ("sweep_wide",)),
}
NUMBERS = {32: "float", 64: "double"}
OTHERS = stat.S_IWGRP | stat.S_IWOTH  # the right of others to write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Status:
    ready: bool
    text: str


def available() -> bool:
    """Whether irregular synapses can run natively: on a CPU, with the code compiled (which this call does if need be)."""
    return _status().ready


def description() -> str:
    """For reports: `"native, g++ (Debian 12.2.0-14) 12.2.0"`, or `"none: "` and why."""
    return _status().text


def _status() -> _Status:
    if switched_off("NEUROGRAPH_NATIVE"):
        return _Status(False, "none: NEUROGRAPH_NATIVE switches it off")
    if jax.default_backend() != "cpu":
        return _Status(False, f"none: the device is a {jax.default_backend()}, not a CPU")
    return _load(32, "")


@lru_cache
def _load(bits: int, part: str) -> _Status:
    """Compiles and registers one of `LIBRARIES`, if need be."""
    if sys.platform == "win32":
        return _Status(False, "none: not written for Windows")
    try:
        compiler = _compiler()
        version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        version = version.splitlines()[0].strip() if version.strip() else compiler[0]
        files, calls = LIBRARIES[part]
        library = _library(compiler, version, bits, files)
        for name in calls:
            symbol = getattr(library, f"neurograph_{name}")
            jax.ffi.register_ffi_target(f"neurograph_{name}_{bits}", jax.ffi.pycapsule(symbol), platform="cpu")
    except _Unavailable as error:
        return _Status(False, f"none: {error}")
    except subprocess.CalledProcessError as error:
        return _Status(False, f"none: {error.cmd[0]} failed: {_last_line(error.stderr)}")
    except Exception as error:  # a foreign toolchain may fail in any way; the fallback gives the same results
        return _Status(False, f"none: {type(error).__name__}: {error}")
    return _Status(True, f"native, {version}")


class _Unavailable(Exception):
    pass


def _compiler() -> list[str]:
    chosen = os.environ.get("CXX")
    for command in [shlex.split(chosen)] if chosen else [["g++"], ["clang++"], ["c++"]]:
        if command and shutil.which(command[0]):
            return command
    raise _Unavailable(f"CXX={chosen} is not found" if chosen else "no C++ compiler is found (g++, clang++, c++, or set CXX)")


def _last_line(text: str | None) -> str:
    lines = [line for line in (text or "").splitlines() if "error" in line] or (text or "").splitlines()
    return lines[0].strip() if lines else "it said nothing"


def _processor() -> str:
    """Returns the description of the processor that -march=native depends on."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    except OSError:
        pass
    return platform.processor()


def _library(compiler: list[str], version: str, bits: int, files: tuple[str, ...]) -> ctypes.CDLL:
    """From the cache, else compiled into it; into a private folder that is forgotten where the cache cannot be written."""
    source = b"\0".join(path.name.encode() + b"\0" + path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.is_file())
    facts = (
        *compiler,
        version,
        *FLAGS,
        str(TUNINGS),
        NUMBERS[bits],
        *files,
        jaxlib.version.__version__,
        platform.machine(),
        _processor(),
    )
    key = hashlib.sha256(source + "\0".join(facts).encode()).hexdigest()[:32]
    place = cache_dir() / "native" / f"neurograph-{key}.so"
    if place.is_file():
        if why := _writable_by_others(place):
            log.warning("the library %s is not loaded, but compiled anew: %s", place, why)
        else:
            with suppress(OSError):  # damaged: compiled again
                return ctypes.CDLL(str(place))
    log.info("compiling native code of %d bits with %s, once on this machine: 10 to 20 s", bits, compiler[0])
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "neurograph.so"
        _compile(compiler, made, bits, files)
        with suppress(OSError):
            _make_private(place.parent)
            remove_leftovers(place.parent, older_than=3600)
            write_atomically(place, made.read_bytes(), private=True)
            if not _writable_by_others(place):
                return ctypes.CDLL(str(place))
        return ctypes.CDLL(str(made))


def _make_private(folder: Path) -> None:
    """Makes a folder of the cache, and takes the right to write in it from others if they have it."""
    root = cache_dir()
    shared = root.exists() and os.environ.get("NEUROGRAPH_CACHE")  # as somebody chose it
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in (folder,) if shared else (folder, root):
        facts = place.stat()
        if facts.st_uid == os.getuid() and facts.st_mode & OTHERS:
            place.chmod(stat.S_IMODE(facts.st_mode) & ~OTHERS)


def _writable_by_others(library: Path) -> str:
    """Returns who else may have written a library of the cache, or may put another in its place; "" if nobody."""
    for place in (library, library.parent, cache_dir()):
        facts = place.lstat() if place == library else place.stat()
        if facts.st_uid not in (os.getuid(), 0):
            return f"{place} belongs to another user"
        if place == library and not stat.S_ISREG(facts.st_mode):
            return f"{place} is a link"
        shared = place == cache_dir() and facts.st_mode & stat.S_ISVTX  # what is ours there, others may not move
        if facts.st_mode & OTHERS and not shared:
            return f"others may write to {place}"
    return ""


def _compile(compiler: list[str], target: Path, bits: int, files: tuple[str, ...]) -> None:
    """Every file by a process of its own, as many at once as there are cores; the first takes longest."""

    def run(*more: str) -> None:
        command = [*compiler, *FLAGS, *more]
        subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    def compiled(source: Path) -> str:
        made = str(target.with_name(f"{source.stem}.o"))
        for tuning in TUNINGS:
            try:
                run(*tuning, f"-DNEUROGRAPH_NUMBER={NUMBERS[bits]}", f"-I{jax.ffi.include_dir()}", "-c", str(source), "-o", made)
                break
            except subprocess.CalledProcessError:
                if not tuning:
                    raise
        return made

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        made = list(threads.map(compiled, (SOURCES / f"{name}.cpp" for name in files)))
    run("-shared", *made, "-o", str(target))


# -- calls: operands may have leading axes under vmap, see cpu/calls.h -------------------------------------------------------


def _call(name: str, shape: Any, dtype: np.dtype, *operands: jax.Array, **options: Any) -> Any:
    """`shape`: of the result, or a list of shapes."""
    bits = 64 if dtype == np.float64 else 32
    part = next(part for part, (_, calls) in LIBRARIES.items() if name in calls)
    found = _load(bits, part)  # a plan may have been made for native code by somebody who never asked whether it is there
    if not found.ready:
        raise PlanError(f"native code of {bits} bits is not there ({found.text[6:]}); NEUROGRAPH_NATIVE=0 goes without it")
    results = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, dtype), shape, is_leaf=lambda s: isinstance(s, tuple))
    call = jax.ffi.ffi_call(f"neurograph_{name}_{bits}", results, vmap_method="expand_dims")
    return _one_graph(partial(call, **{option: np.int64(value) for option, value in options.items()}))(*operands)


def _one_graph(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call whose leading axes share one graph's tables; under vmap over tables it runs for each in turn.

    Nobody need map over graphs for that: of a conditional that is differentiated, tables are among what the derivative keeps, and
    where the condition is mapped, zeros take the place of what the branch not taken would have kept.
    """
    run = custom_vmap(call)

    @run.def_vmap
    def batched(size: int, lead: Any, *operands: jax.Array) -> tuple[Any, Any]:
        if any(own and jnp.issubdtype(operand.dtype, jnp.integer) for own, operand in zip(lead, operands, strict=True)):
            mapped = [operand for own, operand in zip(lead, operands, strict=True) if own]

            def one(parts: list[jax.Array]) -> Any:
                rest = iter(parts)
                return run(*(next(rest) if own else operand for own, operand in zip(lead, operands, strict=True)))

            found = jax.lax.map(one, mapped)
        else:
            found = _one_graph(jax.vmap(call, in_axes=[0 if own else None for own in lead], axis_size=size))(*operands)
        return found, jax.tree.map(lambda _: True, found)

    return run


def _or_empty(array: jax.Array | None, rank: int, dtype: np.dtype) -> jax.Array:
    return jnp.zeros((0,) * rank, dtype) if array is None else array


def flow(table: dict[str, jax.Array], values: jax.Array, signal: jax.Array, start: jax.Array | None = None) -> jax.Array:
    """`start` plus the sums over the rows of a table.

    Args:
      values: [channels or 1, m].
      signal: [k, senders, batch].
      start: [k, rows, batch or 1], or None for 0.

    Returns:
      [k, rows, batch].
    """
    shape = (max(values.shape[0], signal.shape[0]), table["begin"].shape[0] - 1, signal.shape[2])
    return _call("flow", shape, signal.dtype, *_parts(table), values, signal, _or_empty(start, 3, signal.dtype))


def empty(shape: tuple[int, ...], dtype: np.dtype, number: int, after: jax.Array) -> jax.Array:
    """Returns an array without initial values, for callers that write all of it.

    Args:
      number: the compiler makes equal calls one.
      after: any array that is computed in every round of the loops around; it is not read. Else the compiler makes the array
        once, before the loops, and copies it in every round.
    """
    return _call("empty", shape, dtype, after, number=number)


def _parts(table: dict[str, jax.Array]) -> tuple[jax.Array, ...]:
    return table["begin"], table["sources"], table["slots"]


def tile(
    span: jax.Array, size: int, table: dict[str, jax.Array], values: jax.Array, signal: jax.Array, start: jax.Array
) -> jax.Array:
    """A window of `size` rows of `flow`; span [3]: its first row, and the first and last + 1 row to sum (others are `start`)."""
    shape = (start.shape[0], size, signal.shape[2])
    return _call("tile", shape, signal.dtype, span, *_parts(table), values, signal, start)


@dataclass(frozen=True)
class Run:
    """The operands that all calls over rows share.

    `bounds` [levels + 1]: where levels start; rows of one level do not depend on each other. `table`: senders of a row lie in
    levels before its own, or after it if `descending`; `values`: its numbers. `others`: further tables of the same rows, their
    numbers and signals [k, senders, batch] that are known. `shape`: [k, rows, batch]. `gates`: [keep, gate].
    """

    bounds: jax.Array
    table: dict[str, jax.Array]
    descending: bool
    values: jax.Array
    others: Sequence[tuple[dict[str, jax.Array], jax.Array, jax.Array]]
    shape: tuple[int, int, int]
    activation: str
    gates: jax.Array

    def call(self, name: str, shapes: list[tuple[int, ...]], *arrays: tuple[jax.Array | None, int]) -> tuple[jax.Array, ...]:
        """`arrays`: operands of that call, with the ranks that those have which are None."""
        dtype = self.values.dtype
        own = [_or_empty(array, rank, dtype) for array, rank in arrays]
        known = [a for other, numbers, signal in self.others for a in (*_parts(other), numbers, signal)]
        operands = self.bounds, *_parts(self.table), self.values, self.gates, *own, *known
        options = {"activation": ACTIVATIONS.index(self.activation), "against": self.descending}
        return tuple(_call(name, shapes, dtype, *operands, **options))


def sweep(
    run: Run,
    start: jax.Array | None = None,
    inner: jax.Array | None = None,
    outer: jax.Array | None = None,
    offset: jax.Array | None = None,
    gain: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    signals: bool,
    inflows: bool,
) -> tuple[jax.Array, ...]:
    """Rows of a table one after another, each updated from the signals of those before it.

    z = start + sums over the row; state = activation(keep * offset + gate * gain * (inner z)); signal = outer state + shift.
    What is None drops out.

    Args:
      start: [k, rows, batch or 1]; offset, gain, shift: [k, rows, batch]; inner, outer: [k, k].
      signals, inflows: whether to write them out.

    Returns:
      states, signals and inflows z, each [k, rows, batch], or without elements if not wanted.
    """
    shapes = [run.shape, run.shape if signals else (0, 0, 0), run.shape if inflows else (0, 0, 0)]
    name = "sweep" if run.shape[0] <= 2 else "sweep_wide"
    return run.call(name, shapes, (start, 3), (inner, 2), (outer, 2), (offset, 3), (gain, 3), (shift, 3))


def learn(
    run: Run,
    start: jax.Array | None,
    outer: jax.Array | None,
    offset: jax.Array | None,
    gain: jax.Array | None,
    before: jax.Array | None,
    here: jax.Array,
    there: jax.Array,
) -> tuple[jax.Array, ...]:
    """`sweep` of two states, and the product of what synapses between the rows have at both ends.

    Args:
      before: [2, rows, batch], or None for the states; here, there: [2, 2]; the others as for `sweep`.

    Returns:
      states [2, rows, batch], and [2, m]: sums over the batch of here @ before at the row times there @ states at its sender.
    """
    shapes = [run.shape, (2, run.table["sources"].shape[0])]
    arrays = (start, 3), (outer, 2), (offset, 3), (gain, 3), (before, 3), (here, 2), (there, 2)
    return run.call("learn", shapes, *arrays)


def product(table: dict[str, jax.Array], pre: jax.Array, post: jax.Array, mixture: jax.Array | None = None) -> jax.Array:
    """Sum over the batch of both ends of every synapse: pre [k, senders, batch], post [k, rows, batch] -> [k, m].

    With a `mixture` [k, d], post is mixture @ post of an array [d, rows, batch], which is not written out.
    """
    shape = (pre.shape[0], table["sources"].shape[0])
    return _call("product", shape, pre.dtype, *_parts(table), pre, post, _or_empty(mixture, 2, pre.dtype))
