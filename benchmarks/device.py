"""Steps, meta-gradients, populations, padded graphs and 16-bit states on one device: `python -m benchmarks.run --device gpu`.

Sized for ten minutes on a GPU: after that nothing more is begun, and what was left out is named. The device's own rates (copies,
products, launches) are measured in the same run, so that bytes can be held against them, and the assumptions of
neurograph/network/plan/gpu.py too. `--device cpu --quick` tries all of it on a CPU, in a minute or two.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.measure import interleave, machine
from benchmarks.workloads import WORKLOADS

__all__ = ["LIMIT", "measure", "ready", "render"]

LIMIT = 600.0  # seconds, of all sections together
STEPS = ("mlp-100-64-64-10", "dag-2k", "mlp-784-512-10", "local", "million-synapses", "dag-20k", "deep-dag")
# The rule's choice, what the rule is there to beat, and jraph's segment sums.
KERNELS = ("gpu", "levels", "gather", "reference")
GRADIENTS = ("mlp-100-64-64-10", "dag-2k", "million-synapses", "dag-20k")
POPULATIONS = ("mlp-100-64-64-10", "dag-2k")
PRECISIONS = ("mlp-784-512-10", "dag-20k")
MEMBERS, GRAPHS = (16, 64), (10, 100)
# These unroll levels: of more, their programs take minutes to compile.
MAX_LEVELS = {"gather": 100, "reference": 100}


def ready(device: str) -> str:
    """Makes JAX use "cpu" or "gpu"; "" if it can, else why not, in a line."""
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    try:
        found = jax.default_backend()
    except RuntimeError as error:
        found = str(error).splitlines()[0]
    if found == device:
        return ""
    return f"JAX has no {device} here (it has: {found}); a GPU needs pip install 'neurograph[cuda12]', and a driver"


def measure(device: str, seconds: float, quick: bool = False) -> dict[str, Any]:
    """Returns all sections as plain data; "left out" names what was not begun, or failed, and why."""
    import jax

    start = time.perf_counter()
    out: dict[str, Any] = {
        "machine": machine(),
        "device": jax.devices()[0].device_kind,
        "rates": _rates(quick),
        "steps": {},
        "gradients": {},
        "populations": {},
        "padded": {},
        "precision": {},
        "left out": {},
    }

    @contextmanager
    def part(section: str, name: str) -> Iterator[dict[str, Any] | None]:
        """Where its figures go; None when time is up."""
        label = f"{section}: {name}"
        print(label, file=sys.stderr, flush=True)
        if time.perf_counter() - start > LIMIT:
            out["left out"][label] = "time was up"
            yield None
            return
        try:
            yield out[section].setdefault(name, {})
        except Exception as error:  # out of memory, say: the rest is measured
            out["left out"][label] = f"{type(error).__name__}: {error}".splitlines()[0]
        jax.clear_caches()
        gc.collect()

    for name in STEPS[:2] if quick else STEPS:
        for kernel in KERNELS[:2] if quick else KERNELS:
            with part("steps", f"{name}, {kernel}") as found:
                if found is not None:
                    found |= _step(name, kernel, seconds)
    for name in GRADIENTS[:1] if quick else GRADIENTS:
        with part("gradients", name) as found:
            if found is not None:
                found |= _gradient(name, seconds)
    for name in POPULATIONS[:1] if quick else POPULATIONS:
        with part("populations", name) as found:
            if found is not None:
                found |= _population(name, MEMBERS[:1] if quick else MEMBERS, seconds)
    for count in GRAPHS[:1] if quick else GRAPHS:
        with part("padded", f"{count} graphs") as found:
            if found is not None:
                found |= _padded(count, seconds)
    for name in STEPS[:1] if quick else PRECISIONS:
        with part("precision", name) as found:
            if found is not None:
                for precision in ("float32", "bfloat16", "float16"):
                    found[precision] = _step(name, "gpu", seconds, precision)
    out["seconds"] = time.perf_counter() - start
    return {section: {k: v for k, v in rows.items() if v} if isinstance(rows, dict) else rows for section, rows in out.items()}


def _rates(quick: bool) -> dict[str, float]:
    """Bytes per second of a copy (read and written), operations per second of a product, seconds of a step of a loop."""
    import jax
    import jax.numpy as jnp

    count, side, steps = (1 << 22, 512, 200) if quick else (1 << 28, 8192, 2000)
    copied, matrix, few = jnp.zeros(count, jnp.float32), jnp.ones((side, side), jnp.float32), jnp.zeros(128, jnp.float32)
    programs = {
        "copy": (jax.jit(lambda x: x + 1), copied),
        "product": (jax.jit(lambda x: x @ x), matrix),
        "loop": (jax.jit(lambda x: jax.lax.fori_loop(0, steps, lambda i, x: jnp.sort(x) + i, x)), few),
    }
    runs = {name: lambda run=run, given=given: jax.block_until_ready(run(given)) for name, (run, given) in programs.items()}
    for run in runs.values():
        run()  # compiles
    wall = {name: row["wall ms"] / 1e3 for name, row in interleave(runs, seconds=1.0, most=20).items()}
    return {
        "copy bytes/s": 8 * count / wall["copy"],
        "product flop/s": 2 * side**3 / wall["product"],
        "loop step s": wall["loop"] / steps,
    }


def _timed(run: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> dict[str, Any]:
    """Compiled ahead, so that compiling is timed apart; medians of wall time, and what the program asks for."""
    import jax

    begin = time.perf_counter()
    compiled = jax.jit(run).lower(*arguments).compile()
    took = time.perf_counter() - begin
    row = interleave({"it": lambda: jax.block_until_ready(compiled(*arguments))}, seconds=seconds, most=100)["it"]
    analysis: Any = compiled.memory_analysis()
    return {"wall ms": row["wall ms"], "rounds": row["rounds"], "compile s": took, "bytes": int(analysis.temp_size_in_bytes)}


def _step(name: str, kernel: str, seconds: float, precision: str | None = None) -> dict[str, Any]:
    import jax.numpy as jnp

    from benchmarks.launches import launches_of
    from benchmarks.peers import make_case
    from benchmarks.peers.jax_peers import our_network
    from neurograph.network.plan.gpu import cost_on_gpu

    case = make_case(WORKLOADS[name])
    if len(case.forward) > MAX_LEVELS.get(kernel, len(case.forward)):
        raise ValueError(f"{len(case.forward)} levels take too long to compile")
    network, genome, synapses = our_network(case, precision, kernel)
    given = network, genome, synapses, jnp.asarray(case.x[0]), jnp.asarray(case.y[0])
    step = lambda network, *arguments: network.step(*arguments)  # noqa: E731
    found = _timed(step, given, seconds)
    itemsize = 2 if precision in ("bfloat16", "float16") else 4
    cost = cost_on_gpu(network.plan, case.states, case.batch, itemsize) if network.plan.gpu else None
    if cost:
        found |= {"rule bytes": cost.bytes, "rule launches": cost.launches}
    return found | {"launches": launches_of(step, *given)}


def _gradient(name: str, seconds: float) -> dict[str, Any]:
    from benchmarks.peers import make_case
    from benchmarks.peers.jax_peers import our_gradient

    run = our_gradient(make_case(WORKLOADS[name]), "gpu")
    row = interleave({"it": run.step}, seconds=seconds, most=30)["it"]
    return {"wall ms": row["wall ms"], "compile s": run.compile_seconds, "bytes": run.bytes}


def _population(name: str, counts: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Members side by side, each on synapses of its own, beside one."""
    import jax
    import jax.numpy as jnp

    import neurograph as ng
    from benchmarks.peers import make_case
    from benchmarks.peers.jax_peers import our_network

    case = make_case(WORKLOADS[name])
    network, genome, synapses = our_network(case, kernel="gpu")
    x, y = jnp.asarray(case.x[0]), jnp.asarray(case.y[0])
    member = lambda pair: network.step(*pair, x, y)  # noqa: E731
    one = jax.jit(member)
    runs = {"1": lambda: jax.block_until_ready(one((genome, synapses)))}
    for count in counts:
        stacked = jax.tree.map(lambda leaf, count=count: jnp.repeat(leaf[None], count, axis=0), (genome, synapses))
        runs[str(count)] = lambda stacked=stacked: jax.block_until_ready(ng.population_map(member, stacked))
    for run in runs.values():
        run()  # compiles
    return {count: row["wall ms"] for count, row in interleave(runs, seconds=seconds, most=50).items()}


def _padded(count: int, seconds: float) -> dict[str, Any]:
    """A step of so many graphs side by side, beside one of them as a `Network`."""
    import jax
    import jax.numpy as jnp

    import neurograph as ng
    from benchmarks.graphs import BATCH, INPUTS, OUTPUTS, graphs

    genome, rule = ng.backprop_genome(1e-3, normalization="batch")
    drawn, random = graphs(count), np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((count, BATCH, INPUTS), np.float32))
    y = jnp.asarray(random.choice(np.array([-1, 1], np.float32), (count, BATCH, OUTPUTS)))
    batch, network = ng.NetworkBatch(drawn, rule), ng.Network(drawn[0], rule, "gpu")
    many, alone = (made.init(genome, key=jax.random.key(0)) for made in (batch, network))
    runs = {
        "batch": lambda: jax.block_until_ready(batch.step(genome, many, x, y)),
        "one network": lambda: jax.block_until_ready(network.step(genome, alone, x[0], y[0])),
    }
    begin = time.perf_counter()
    runs["batch"]()
    took = time.perf_counter() - begin
    runs["one network"]()
    times = interleave(runs, seconds=seconds, most=50)
    return {"compile s": took, "graphs": count} | {f"{name} ms": row["wall ms"] for name, row in times.items()}


# -- the table -----------------------------------------------------------------------------------------------------------------


def render(found: dict[str, Any]) -> str:
    """Markdown of all sections."""
    from neurograph.network.plan.gpu import FLOPS, LAUNCH, RATE

    rates, copy = found["rates"], found["rates"]["copy bytes/s"]
    parts = [
        f"{found['machine']['date']}: {found['device']}, wall milliseconds (medians), batch 128, in {found['seconds']:.0f} s."
        f" A copy moves {copy / 1e9:,.0f} GB/s (the rule assumes {RATE / 1e9:,.0f}), a product of float32 does"
        f" {rates['product flop/s'] / 1e12:.3g} Tflop/s ({FLOPS / 1e12:g}), a step of a loop of one small sort takes"
        f" {1e6 * rates['loop step s']:.3g} us (a launch: {1e6 * LAUNCH:g})."
    ]

    def rows(head: str, body: list[list[Any]]) -> str:
        names = head.split(", ")
        lines = [names, ["---"] * len(names), *([_cell(value) for value in line] for line in body)]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    body = []
    for name, row in found["steps"].items():
        moved = row.get("rule bytes")
        share = moved / (row["wall ms"] / 1e3) / copy if moved else None
        cells = [row["wall ms"], row["launches"], row.get("rule launches"), moved and moved / 1e6, share]
        body.append([*name.rsplit(", ", 1), *cells, row["bytes"] / 1e6, row["compile s"]])
    head = "step of, kernel, ms, launches counted, by the rule, MB moved (rule), share of the copy rate, MB temporary, compile s"
    parts.append(rows(head, body))
    body = []
    for name, row in found["gradients"].items():
        step = found["steps"].get(f"{name}, gpu", {}).get("wall ms")
        body.append([name, row["wall ms"], step and row["wall ms"] / 10 / step, row["bytes"] / 1e6, row["compile s"]])
    parts.append(rows("meta-gradient of ten steps, ms, per step over a step, MB temporary, compile s", body))
    body = [
        [name, count, ms, ms / (int(count) * row["1"])]
        for name, row in found["populations"].items()
        for count, ms in row.items()
        if count != "1"
    ]
    parts.append(rows("population, members, ms, over as many alone", body))
    body = [
        [name, row["batch ms"], row["batch ms"] / row["graphs"], row["one network ms"], row["compile s"]]
        for name, row in found["padded"].items()
    ]
    parts.append(rows("padded, ms, ms a graph, one as a Network, compile s", body))
    body = []
    for name, row in found["precision"].items():
        base = row["float32"]
        ratios = [row[kind][what] / max(base[what], 1e-9) for kind in ("bfloat16", "float16") for what in ("wall ms", "bytes")]
        body.append([name, base["wall ms"], *ratios])
    parts.append(rows("16-bit states, float32 ms, bfloat16: time, memory, float16: time, memory", body))
    if found["left out"]:
        parts.append("Left out: " + "; ".join(f"{name} ({why})" for name, why in found["left out"].items()) + ".")
    return "\n\n".join(parts)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
