"""Fills the tables of docs/topologies.md from the code and the files they speak of; a test checks that they are up to date.

python docs/make_topology_tables.py
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from malformed import CASES, message_of  # noqa: E402

from neurograph.topology import BUILDERS, FORMATS, load_topology  # noqa: E402
from neurograph.topology.language.spec import CellSpec, NeuronSpec, PopulationSpec, SynapseSpec, TopologySpec  # noqa: E402

PAGE = ROOT / "docs" / "topologies.md"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")


def _default(info: Any) -> str:
    if info.is_required():
        return "required"
    return "" if info.default in (None, "", [], {}) else f"`{json.dumps(info.default)}`"


def _keys(model: Any) -> str:
    rows = [
        f"| `{info.alias or name}` | {_default(info)} | {_cell(info.description or '')} |"
        for name, info in model.model_fields.items()
        if name != "kind"
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def builders() -> str:
    """Every kind with its keys and defaults."""
    rows = []
    for kind, model in BUILDERS.items():
        keys = []
        common = {"weight", "fixed", "shared"} <= set(model.model_fields)
        for name, info in model.model_fields.items():
            if name != "kind" and not (common and name in ("weight", "fixed", "shared")):
                default = "" if info.is_required() or info.default is None else f" = {json.dumps(info.default)}"
                keys.append(f"`{info.alias or name}{default}`")
        rows.append(
            f"| `{kind}`{' *' if common else ''} | {_cell((model.__doc__ or '').strip().splitlines()[0])} | {', '.join(keys)} |"
        )
    return "\n".join(["| kind | what it makes | keys |", "|---|---|---|", *rows])


def stories() -> str:
    """Every shipped file with its size, schedule, title and description."""
    rows = []
    for path in sorted(p for p in (ROOT / "topologies").iterdir() if p.suffix in FORMATS):
        t = load_topology(path)
        schedule = t.schedule if t.schedule == "levels" else f"{t.schedule}, {t.ticks} {'damped ' if t.damping else ''}ticks"
        about = " ".join(t.description.split())
        size = f"{t.num_neurons:,} / {t.num_synapses:,}"
        rows.append(f"| [{path.name}](../topologies/{path.name}) | {size} | {schedule} | {_cell(f'**{t.title}.** {about}')} |")
    return "\n".join(["| file | neurons / synapses | schedule | story |", "|---|---|---|---|", *rows])


def malformed() -> str:
    """Every kind of malformed file with the message that it really gets."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [f"| {what} | {_code(message_of(Path(folder), name, content))} |" for what, name, content in CASES]
    return "\n".join(["| what is wrong | message |", "|---|---|", *rows])


def _code(text: str) -> str:
    lines = [line.replace("|", "\\|") for line in text.splitlines()]
    return "<br>".join(f"`` {line} ``" if "`" in line else f"`{line}`" for line in lines)


TABLES = {
    "file": lambda: _keys(TopologySpec),
    "population": lambda: _keys(PopulationSpec),
    "neuron": lambda: _keys(NeuronSpec),
    "synapse": lambda: _keys(SynapseSpec),
    "cell": lambda: _keys(CellSpec),
    "builders": builders,
    "stories": stories,
    "malformed": malformed,
}


def render(page: str) -> str:
    """The page with every `<!-- table: NAME -->` ... `<!-- end -->` filled."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table: {match.group(1)} -->\n{TABLES[match.group(1)]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", fill, page, flags=re.DOTALL)


SHOWN = (
    ("tiny", "boxes"),
    ("irregular_2d", "nodes"),
    ("convolution", "boxes"),
    ("residual", "boxes"),
    ("small_world", "matrix"),
    ("celegans", "matrix"),
)


def picture(path: Path) -> None:
    """Six shipped topologies side by side, each as `neurograph topology draw` draws it."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=(15, 8), layout="constrained")
    with tempfile.TemporaryDirectory() as folder:
        for axes, (name, view) in zip(figure.subplots(2, 3).flat, SHOWN):
            file = Path(folder) / f"{name}.png"
            load_topology(name).draw(file, view=view)
            axes.imshow(imread(file))
            axes.set_axis_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    picture(PAGE.parent / "images" / "topologies.png")
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
