"""Figures as Markdown, for docs/performance.md or the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks import device
from benchmarks.peers.case import STEPS

__all__ = ["insert", "render"]

BEGIN, END = "<!-- figures: made by benchmarks.run -->", "<!-- end of figures -->"
LABELS = {
    "mlp-784-512-10": "MLP 784-512-10, k = 2",
    "mlp-100-64-64-10": "MLP 100-64-64-10, k = 4",
    "residual-dense": "residual 784-256x6-10, dense skips",
    "residual-identity": "the same, identity skips",
    "local": "locally connected 28x28, 3x3, 8 and 8 channels",
    "conv": "the same, convolutions",
    "million-synapses": "10 sparse levels, 1,000,000 synapses",
    "dag-2k": "random DAG 2,000 / 20,000",
    "dag-20k": "random DAG 20,000 / 200,000",
    "deep-dag": "narrow DAG 2,000 / 25,000, over 1,100 levels",
}
# Whom "best peer" means: everyone but the two forms of the jraph way, which have columns of their own.
REFERENCES = ("ours", "segment sums", "jraph [B,E,k]")


def insert(page: str, text: str) -> str:
    """The page with what is between the markers replaced; markers are added at its end where there are none."""
    block = f"{BEGIN}\n\n{text.strip()}\n\n{END}"
    if BEGIN in page and END in page:
        return page[: page.index(BEGIN)] + block + page[page.index(END) + len(END) :]
    return f"{page.rstrip()}\n\n{block}\n".lstrip()


def render(results: dict[str, Any]) -> str:
    """Every section that there is."""
    parts = []
    if "machine" in results:
        parts.append(_machine(results))
    if results.get("steps"):
        parts += [
            "### One learning step",
            _times(results["steps"]),
            _ratios(results["steps"], results["multiply-adds per second"]),
        ]
        parts += ["### Memory and compile time of a step", _memory(results["steps"])]
    if results.get("gradients"):
        parts += ["### Meta-gradient: ten steps, a checkpoint each", _times(results["gradients"]), _ratios(results["gradients"])]
        parts.append(_over_steps(results["gradients"], results.get("steps", {})))
        parts.append(_memory(results["gradients"]))
    if results.get("populations"):
        parts += ["### Populations of 16", _populations(results["populations"])]
    if results.get("precision"):
        parts += ["### 16-bit states", _precision(results["precision"])]
    if results.get("scaling"):
        parts += ["### Scaling", _scaling(results["scaling"])]
    for name, found in results.get("devices", {}).items():
        parts += [f"### On a {name.upper()}", device.render(found)]
    return "\n\n".join(parts)


def _machine(results: dict[str, Any]) -> str:
    m = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items() if version)
    return (
        f"{m['date']}: {m['processor']}, {m['cores used']} of {m['cores']} cores, load {m['load'][0]} at the start, "
        f"{results['multiply-adds per second'] / 1e9:.0f} G multiply-adds per second in a large matrix product; "
        f"Python {m['python']}, {versions}."
    )


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _peers(rows: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for row in rows.values():
        names += [name for name in row["peers"] if name not in names]
    order = ("ours", "einsum", "torch", "torch csr", "PyG", "scipy", "numba", "segment sums", "jraph [B,E,k]")
    return [name for name in order if name in names]


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"


def _times(rows: dict[str, Any]) -> str:
    names = _peers(rows)
    body = [[LABELS[name], *(_number(row["peers"].get(peer, {}).get("cpu ms")) for peer in names)] for name, row in rows.items()]
    return "Median CPU milliseconds:\n\n" + _table(["workload", *names], body)


def _ratios(rows: dict[str, Any], rate: float | None = None) -> str:
    """The columns in which the bars are stated."""
    head = ["workload", "ours / einsum", "ours / torch", "segment sums / ours", "best other peer / ours", "which"]
    body = []
    for name, row in rows.items():
        ms = {peer: figures["cpu ms"] for peer, figures in row["peers"].items()}
        mine = ms.get("ours")
        if mine is None:
            continue
        others = {peer: value for peer, value in ms.items() if peer not in REFERENCES}
        best = min(others, key=lambda peer: others[peer]) if others else None
        cells = [mine / ms["einsum"] if "einsum" in ms else None, mine / ms["torch"] if "torch" in ms else None]
        cells += [ms["segment sums"] / mine if "segment sums" in ms else None, others[best] / mine if best else None]
        line = [LABELS[name], *map(_number, cells), best or ""]
        body.append(line if rate is None else [*line, _number(mine / (1e3 * row["multiply-adds"] / rate))])
    if rate is not None:
        head.append("ours / floor")
    return "Ratios of these medians:\n\n" + _table(head, body)


def _over_steps(gradients: dict[str, Any], steps: dict[str, Any]) -> str:
    """Our meta-gradient per unrolled step, over a step that only learns."""
    mine = {name: row["peers"]["ours"]["cpu ms"] for name, row in steps.items() if "ours" in row["peers"]}
    body = [
        [LABELS[name], _number(row["peers"]["ours"]["cpu ms"] / STEPS / mine[name])]
        for name, row in gradients.items()
        if name in mine and "ours" in row["peers"]
    ]
    return "Per unrolled step, over a learning step alone:\n\n" + _table(["workload", "times"], body)


def _memory(rows: dict[str, Any]) -> str:
    names = _peers(rows)

    def cell(figures: dict[str, Any] | None) -> str:
        if not figures:
            return ""
        size, seconds = figures.get("bytes"), figures.get("compile s")
        parts = [_number(None if size is None else size / 1e6) + (" MB" if size is not None else "")]
        parts += [] if seconds is None else [f"{seconds:.1f} s"]
        return ", ".join(part for part in parts if part)

    body = [[LABELS[name], *(cell(row["peers"].get(peer)) for peer in names)] for name, row in rows.items()]
    text = (
        "Temporary memory (of JAX what the compiled program asks for; of the others how far the resident set grows at its"
        " highest during a step) and, where a peer compiles, the time for it:"
    )
    return f"{text}\n\n{_table(['workload', *names], body)}"


def _populations(found: dict[str, Any]) -> str:
    body = []
    for what in ("step", "meta-gradient"):
        for name, row in found[what].items():
            one = row["one"]["wall ms"]
            cells = [
                _number(row[key]["wall ms"] / (16 * one)) if key in row else "" for key in ("16, one device", "16, all cores")
            ]
            body.append([LABELS[name], what, _number(one), *cells])
    text = f"Wall time of 16 genomes at once against 16 times one, on {found['machine']['cores used']} cores:"
    return f"{text}\n\n{_table(['workload', 'what', 'one, ms', 'one device', 'a device per core'], body)}"


def _precision(found: dict[str, Any]) -> str:
    body = []
    for name, row in found.items():
        base = row["float32"]
        cells = [_number(base["cpu ms"])]
        for kind in ("bfloat16", "float16"):
            cells += [_number(row[kind]["cpu ms"] / base["cpu ms"]), _number(row[kind]["bytes"] / max(base["bytes"], 1))]
        body.append([LABELS[name], *cells])
    head = ["workload", "float32, ms", "bfloat16: time", "memory", "float16: time", "memory"]
    return "Against float32, on this processor:\n\n" + _table(head, body)


def _scaling(found: dict[str, Any]) -> str:
    body = []
    for axis, curves in found.items():
        for name, points in curves.items():
            for point in points:
                mine = point["peers"]["ours"]
                body.append(
                    [
                        axis,
                        LABELS.get(name, name),
                        f"{point['at']:,}",
                        f"{point['synapses']:,}",
                        _number(mine["cpu ms"]),
                        _number(1e6 * mine["cpu ms"] / point["multiply-adds"]),
                        _number(mine["bytes"] / 1e6),
                        f"{mine['compile s']:.1f}",
                    ]
                )
    head = ["along", "graph", "at", "synapses", "ms", "ns per multiply-add", "MB", "compile, s"]
    return _table(head, body)
