"""Makes celegans.graphml and celegans_readout.graphml, the measured nervous system among the topologies, from published tables.

python topologies/make_celegans.py NeuronConnect.xls all_cell_info.csv

- NeuronConnect.xls: the wiring of Varshney, Chen, Paniagua, Hall and Chklovskii, "Structural properties of the Caenorhabditis
  elegans neuronal network", PLoS Computational Biology 7(2): e1001066 (2011), open access under CC BY; WormAtlas gives it out.
  Reading it needs `xlrd`.
- all_cell_info.csv: the kinds of cells (sensory, inter-, motor neurons) after Cook et al., "Whole-animal connectomes of both
  Caenorhabditis elegans sexes", Nature 571: 63-71 (2019), as OpenWorm's ConnectomeToolbox (MIT licence) lists them.

Both lie in `cect/data` of the package cect 0.3.5 on PyPI, that toolbox.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import networkx as nx

from neurograph.topology import Topology, from_networkx, save_topology

HERE = Path(__file__).parent
INPUTS, OUTPUTS, TICKS, REACH = 64, 10, 12, 4  # REACH: ticks after which every input has reached every output
KINDS = ("sensory", "inter", "motor")
SENSORY = ("amphid", "cephalic", "mechanosensory", "o2, co2", "phasmid", "touch")

Row = tuple[str, str, str, float]

MEASURED = (
    "Measured: 279 neurons of the adult hermaphrodite (all but the pharynx and three that make no synapses with other neurons), "
    "the kind of each, and which neuron makes chemical synapses onto which, 2,194 directed pairs. Wiring: Varshney et al., PLoS "
    "Comput. Biol. 7(2): e1001066 (2011). Kinds: Cook et al., Nature 571: 63-71 (2019)."
)
CHOSEN = (
    "Ours: the inputs are the 64 of the 83 sensory neurons with synapses onto the most neurons; {outputs} Inputs are clamped, so "
    "the {lost} pairs that lead into them are left out. Numbers and signs of synapses and all gap junctions are not used: weights"
    " are learned. After {reach} ticks every input has reached every output."
)
MOTOR = "the outputs are the 10 of the 115 motor neurons that hear the most neurons."
READOUT = (
    "the outputs are 10 neurons beside the worm's, each of which hears all 115 motor neurons (1,150 synapses that no worm has)."
)


def read_wiring(path: str | Path) -> list[Row]:
    """Rows (neuron 1, neuron 2, type, number of synapses) of NeuronConnect.xls."""
    import xlrd

    sheet = xlrd.open_workbook(str(path)).sheet_by_index(0)
    return [tuple(sheet.row_values(i)[:4]) for i in range(1, sheet.nrows)]


def read_kinds(path: str | Path) -> dict[str, str]:
    """Kind ("sensory", "inter", "motor") of every neuron in all_cell_info.csv; other cells are left out."""
    kinds = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            words = row["Type"].split(";")[0].lower()  # what stands after is what others called it
            if "motor neuron" in words:
                kinds[row["Cell name"]] = "motor"
            elif "interneuron" in words or words == "linker to pharynx":
                kinds[row["Cell name"]] = "inter"
            elif words.startswith(SENSORY):
                kinds[row["Cell name"]] = "sensory"
    return kinds


def wiring(rows: Iterable[Row], kinds: Mapping[str, str]) -> nx.DiGraph:
    """Neurons and chemical synapses: an edge where a row of type S or Sp ("send") says that neuron 1 synapses onto neuron 2."""
    graph = nx.DiGraph()
    pairs = {(_name(one), _name(two)) for one, two, kind, _ in rows if kind in ("S", "Sp")}
    graph.add_nodes_from((name, {"kind": kinds[name]}) for name in sorted({name for pair in pairs for name in pair}))
    graph.add_edges_from(sorted(pairs))
    return graph


def _name(name: str) -> str:
    """As WormAtlas writes it: capitals, VB1 for VB01."""
    return re.sub(r"0(\d)$", r"\1", name.strip().upper())


def celegans(worm: nx.DiGraph, readout: bool = False) -> Topology:
    """The topology: 64 sensory neurons are inputs; 10 motor neurons, or 10 neurons that read all motor neurons, are outputs."""

    def most(kind: str, degree: Mapping[str, int], count: int) -> set[str]:
        candidates = [name for name in worm if worm.nodes[name]["kind"] == kind]
        return set(sorted(candidates, key=lambda name: (-degree[name], name))[:count])

    inputs = most("sensory", dict(worm.out_degree), INPUTS)
    outputs = set() if readout else most("motor", dict(worm.in_degree), OUTPUTS)
    lost = sum(target in inputs for _, target in worm.edges)
    chosen = CHOSEN.format(outputs=READOUT if readout else MOTOR, lost=lost, reach=REACH)
    graph = nx.DiGraph(
        title=f"The nervous system of C. elegans{', read from all motor neurons' if readout else ''}",
        description=f"{MEASURED} {chosen}",
        schedule="mixed",
        ticks=TICKS,
        damping=0.5,
        outputs_may_project=not readout,
    )
    for kind in KINDS:  # by kind, as the tables of connectomes stand
        for name in (name for name in worm if worm.nodes[name]["kind"] == kind):
            role = "input" if name in inputs else "output" if name in outputs else "hidden"
            graph.add_node(name, role=role, population=kind)
    graph.add_edges_from((source, target) for source, target in worm.edges if target not in inputs)
    if readout:
        for i in range(OUTPUTS):
            graph.add_node(f"readout.{i}", role="output", population="readout")
            graph.add_edges_from((name, f"readout.{i}") for name in worm if worm.nodes[name]["kind"] == "motor")
    return from_networkx(graph)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    worm = wiring(read_wiring(sys.argv[1]), read_kinds(sys.argv[2]))
    save_topology(celegans(worm), HERE / "celegans.graphml")
    save_topology(celegans(worm, readout=True), HERE / "celegans_readout.graphml")
