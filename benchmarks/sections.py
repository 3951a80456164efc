"""The measurements: the table of steps, meta-gradients, scaling curves, populations, and precisions. Each gives plain data."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from benchmarks import workloads
from benchmarks.measure import interleave, resident_bytes
from benchmarks.peers import GRADIENTS, PEERS, Case, Run, make_case
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["gradients", "populations", "precision", "scaling", "steps"]

# Workloads on which the meta-gradient of the segment sums takes minutes to compile or to run once (the 2k DAG: nine to compile).
SLOW_GRADIENTS = dict.fromkeys(("residual-identity", "conv", "dag-2k", "dag-20k"), ("segment sums",))


def _make(case: Case, makers: dict[str, Callable[[Case], Run | None]], peers: Iterable[str]) -> tuple[dict[str, Run], dict]:
    """The peers that can run a case, and why others cannot."""
    runs, missing = {}, {}
    for name in peers:
        if name not in makers:
            continue
        try:
            run = makers[name](case)
        except ImportError as error:
            missing[name] = f"not installed ({error.name})"
            continue
        if run is not None:
            runs[name] = run
    return runs, missing


def _measure(case: Case, makers: dict, peers: Iterable[str], seconds: float, most: int) -> dict[str, Any]:
    runs, missing = _make(case, makers, peers)
    for name, why in missing.items():
        print(f"  {name}: left out, {why}", file=sys.stderr)
    results = interleave({name: run.step for name, run in runs.items()}, seconds=seconds, most=most)
    for name, run in runs.items():
        own = resident_bytes(run.step) if run.bytes is None else run.bytes
        results[name] |= {"compile s": run.compile_seconds, "bytes": own, "bytes from": "RSS" if run.bytes is None else "XLA"}
    return {"synapses": case.topology.num_synapses, "multiply-adds": case.multiply_adds, "peers": results}


def _forget() -> None:
    """Compiled programs of one workload are of no use to the next."""
    import jax

    jax.clear_caches()
    gc.collect()


def steps(names: Iterable[str], peers: Iterable[str], seconds: float) -> dict[str, Any]:
    """One learning step of every workload by every peer."""
    out = {}
    for name in names:
        print(f"step: {name}", file=sys.stderr)
        out[name] = _measure(make_case(WORKLOADS[name]), PEERS, peers, seconds, 50)
        _forget()
    return out


def gradients(names: Iterable[str], peers: Iterable[str], seconds: float, slow: bool = False) -> dict[str, Any]:
    """The meta-gradient through ten steps of every workload. `slow`: segment sums also where they take minutes."""
    out = {}
    for name in names:
        print(f"meta-gradient: {name}", file=sys.stderr)
        chosen = [peer for peer in peers if peer not in SLOW_GRADIENTS.get(name, ()) or slow]
        out[name] = _measure(make_case(WORKLOADS[name]), GRADIENTS, chosen, seconds, 10)
        _forget()
    return out


def _curve(points: dict[Any, Workload], seconds: float, peers: Iterable[str] = ("ours",)) -> list[dict[str, Any]]:
    out = []
    for value, workload in points.items():
        print(f"  {workload.name}: {value}", file=sys.stderr)
        out.append({"at": value, **_measure(make_case(workload), PEERS, peers, seconds, 15)})
        _forget()
    return out


def _square(synapses: int) -> Callable[[], Any]:
    """Four complete layers of one size with about so many synapses."""
    width = round((synapses / 3) ** 0.5)
    return lambda: workloads.layered((width,) * 4)


def _sparse(synapses: int, levels: int = 10, width: int | None = None) -> Callable[[], Any]:
    """Sparse levels; by default 111 synapses arrive at every neuron, as in the workload of a million synapses."""
    width = max(synapses // 1000, 111) if width is None else width
    return lambda: workloads.layered_sparse(levels, width, synapses)


def scaling(seconds: float, quick: bool = False) -> dict[str, Any]:
    """Cost of a step against synapses, depth, batch and states."""
    top = 6 if quick else 7
    sizes = [10**e for e in range(4, top + 1)]
    dag, mlp, sparse = WORKLOADS["dag-2k"], WORKLOADS["mlp-784-512-10"], Workload("sparse levels", _sparse(100_000))
    out: dict[str, Any] = {"synapses": {}, "depth": {}, "batch": {}, "states": {}}
    print("scaling: synapses", file=sys.stderr)
    out["synapses"] = {
        "sparse levels": _curve({s: Workload("sparse levels", _sparse(s)) for s in sizes}, seconds),
        "complete layers": _curve({s: Workload("complete layers", _square(s)) for s in sizes}, seconds),
        "random graph": _curve(
            {s: Workload("random graph", lambda s=s: workloads.random_dag(s // 10, s)) for s in sizes[: 2 if quick else 3]},
            seconds,
        ),
    }
    print("scaling: depth", file=sys.stderr)
    depths = (4, 16, 64) if quick else (4, 16, 64, 256, 512)
    out["depth"] = {
        "400,000 synapses, 20,480 neurons": _curve(
            {d: Workload("depth", _sparse(400_000, d, 20_480 // d)) for d in depths}, seconds
        )
    }
    print("scaling: batch", file=sys.stderr)
    batches = (8, 128) if quick else (8, 32, 128, 512, 2048)
    out["batch"] = {
        w.name: _curve({b: replace(w, batch=b) for b in batches if w is not dag or b <= 512}, seconds) for w in (mlp, sparse, dag)
    }
    print("scaling: states", file=sys.stderr)
    out["states"] = {
        w.name: _curve({k: replace(w, states=k) for k in ((2, 4) if quick else (2, 4, 8, 16))}, seconds) for w in (mlp, sparse)
    }
    return out


# -- populations: a process of its own, which sees all cores as devices ----------------------------------------------------------


def populations(seconds: float, quick: bool = False) -> dict[str, Any]:
    """Members at once against as many one after another: steps and meta-gradients, wall time on all cores."""
    print("populations", file=sys.stderr)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.populations", f"--seconds={seconds}", *(["--quick"] if quick else [])]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(result.stdout)


def precision(seconds: float, quick: bool = False) -> dict[str, Any]:
    """A step with 16-bit states beside float32."""
    from benchmarks.peers.jax_peers import ours

    print("precision", file=sys.stderr)
    names = ("mlp-784-512-10", "dag-2k") if quick else ("mlp-784-512-10", "million-synapses", "dag-2k", "dag-20k")
    out = {}
    for name in names:
        case = make_case(WORKLOADS[name])
        runs = {p: ours(case, p) for p in ("float32", "bfloat16", "float16")}
        results = interleave({p: run.step for p, run in runs.items()}, seconds=seconds, most=20)
        out[name] = {p: results[p] | {"bytes": run.bytes, "compile s": run.compile_seconds} for p, run in runs.items()}
        _forget()
    return out
