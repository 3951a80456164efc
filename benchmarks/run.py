"""Measure neurograph beside its peers: `python -m benchmarks.run --out docs/performance`.

Writes OUT.json, the generated part of OUT.md (between its markers) and pictures beside it, in images/performance-*.png; without
--out it prints the tables. All methods of a workload live in one process and run in turn. Pin it
to one core, and let the heap keep its pages:

    export GLIBC_TUNABLES=$(python -c "from benchmarks.measure import TUNABLES; print(TUNABLES)")
    taskset -c 0 python -m benchmarks.run --out docs/performance

Peers are the `benchmark` extra (torch, torch_geometric, numba); missing ones are left out, with a line that says so.

`--device gpu` measures what a GPU does instead, without peers: see benchmarks/device.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import device, sections
from benchmarks.measure import gemm_rate, machine, warn_if_unpinned
from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS

SECTIONS = ("steps", "gradients", "scaling", "populations", "precision")


def _chosen(parser: argparse.ArgumentParser, what: str, given: str | None, allowed: tuple[str, ...]) -> list[str]:
    names = list(allowed) if given is None else [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in allowed]:
        parser.error(f"--{what}: {unknown[0]!r} is unknown; allowed: {', '.join(allowed)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="SECTION,...", help=f"of {', '.join(SECTIONS)}; what OUT.json has of others is kept")
    parser.add_argument("--workloads", metavar="NAME,...", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--peers", metavar="NAME,...", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--seconds", type=float, default=1.0, help="per peer and workload (1); slow peers run once")
    parser.add_argument("--quick", action="store_true", help="small workloads, short curves, half a second each")
    parser.add_argument("--slow", action="store_true", help="meta-gradients of segment sums also where they take minutes")
    parser.add_argument("--out", type=Path, metavar="OUT", help="such as docs/performance")
    parser.add_argument("--device", choices=["cpu", "gpu"], help="sections of benchmarks/device.py alone, on this device")
    parser.add_argument("--render", action="store_true", help="measure nothing; make tables and pictures from OUT.json again")
    given = parser.parse_args()
    chosen = _chosen(parser, "only", given.only, SECTIONS)
    names = _chosen(parser, "workloads", given.workloads, tuple(WORKLOADS))
    peers = _chosen(parser, "peers", given.peers, tuple(PEERS))
    if given.render and given.out is None:
        parser.error("--render: say where the figures are: --out OUT")
    if given.device and not given.render and (why := device.ready(given.device)):
        raise SystemExit(f"--device {given.device}: {why}")
    seconds = 0.5 if given.quick else given.seconds
    if given.quick and given.workloads is None:
        names = ["mlp-100-64-64-10", "dag-2k"]
    path = given.out.with_suffix(".json") if given.out else None
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    if given.device and not given.render:
        results.setdefault("devices", {})[given.device] = device.measure(given.device, seconds, given.quick)
        if path:
            _write(path, json.dumps(results, indent=1) + "\n")
    elif not given.render:
        warn_if_unpinned()
        start = time.perf_counter()
        results |= {"machine": machine(), "multiply-adds per second": gemm_rate()}
        for section in chosen:
            if section in ("steps", "gradients"):
                more = (given.slow,) if section == "gradients" else ()
                made = getattr(sections, section)(names, peers, seconds, *more)
                # A run of some workloads or peers only replaces those.
                for name, row in made.items():
                    known = results.setdefault(section, {}).get(name, {}).get("peers", {})
                    results[section][name] = row | {"peers": known | row["peers"]}
            else:
                results[section] = getattr(sections, section)(seconds, given.quick)
            if path:
                _write(path, json.dumps(results, indent=1) + "\n")
        print(f"measured in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    from benchmarks import tables

    text = tables.render(results)
    if given.out is None:
        print(text)
        return
    from benchmarks import plots

    for picture in plots.draw(results, given.out.parent / "images"):
        print(f"wrote {picture}", file=sys.stderr)
    page = given.out.with_suffix(".md")
    _write(page, tables.insert(page.read_text(encoding="utf-8") if page.exists() else "", text))
    print(f"wrote {path} and {page}", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    from neurograph.files import write_atomically

    write_atomically(path, text)


if __name__ == "__main__":
    main()
