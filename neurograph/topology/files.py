"""`load_topology` and `save_topology`: every file format behind one door."""

from __future__ import annotations

import contextlib
import gc
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from neurograph.documents import Source, parse_yaml
from neurograph.errors import Fault, SpecError, TopologyError
from neurograph.files import write_atomically
from neurograph.topology.columns import Table
from neurograph.topology.formats import write
from neurograph.topology.formats.adjacency import read_matrix_csv, read_matrix_market, read_numpy
from neurograph.topology.formats.dot import read_dot
from neurograph.topology.formats.edge_list import read_csv, read_edge_lines
from neurograph.topology.formats.gml import read_gml
from neurograph.topology.formats.node_link import read_json
from neurograph.topology.formats.options import Options, Selector
from neurograph.topology.formats.reading import topology_of
from neurograph.topology.formats.xml import read_gexf, read_graphml
from neurograph.topology.graph import Topology
from neurograph.topology.language.build import build_topology
from neurograph.topology.layered import layered_document
from neurograph.topology.shipped import layer_widths, topology_file
from neurograph.topology.validate import DEFAULT_LIMITS, Limits

__all__ = ["FORMATS", "load_topology", "save_topology"]

_BY_PATH = {".graphml": read_graphml, ".gexf": read_gexf, ".mtx": read_matrix_market, ".npz": read_numpy, ".npy": read_numpy}
_TEXT = {".gml": read_gml, ".json": read_json, ".csv": read_csv, ".edgelist": read_edge_lines, ".edges": read_edge_lines}
_TEXT |= {".dot": read_dot, ".gv": read_dot}
_WRITE = {
    ".yaml": write.write_yaml,
    ".yml": write.write_yaml,
    ".graphml": write.write_graphml,
    ".gml": write.write_gml,
    ".gexf": write.write_gexf,
    ".json": write.write_json,
    ".csv": write.write_csv,
}
FORMATS = tuple(_WRITE)
READ = (*FORMATS, *(ending for ending in (*_BY_PATH, *_TEXT) if ending not in _WRITE))

MAX_BYTES = 4_000_000_000
MAX_YAML_BYTES = 100_000_000


def load_topology(
    path: str | os.PathLike[str],
    *,
    inputs: Selector = None,
    outputs: Selector = None,
    weight: str | None = "weight",
    schedule: str | None = None,
    ticks: int | Literal["settle"] | None = None,
    outputs_may_project: bool | None = None,
    limits: Limits = DEFAULT_LIMITS,
    signs: Literal["kept", "dropped"] = "kept",
    progress: Callable[[str], None] | None = None,
) -> Topology:
    """Returns the topology in a file, whose ending names the format, one that comes with neurograph, or one of complete layers.

    Args:
      path: a shipped topology's name, such as "mlp" (`neurograph topology list`); layer widths, such as "2-20-2", which are
        `mlp(2, 20, 2)`; or a file: .yaml or .yml (the topology language), .graphml, .gml, .gexf, .json
        (node-link with `links` or `edges`), .csv (edge list, or an adjacency matrix whose header begins with an empty cell),
        .dot or .gv (Graphviz), .edgelist or .edges (lines of source and target, as networkx writes them), .mtx (Matrix Market),
        .npz or .npy (adjacency matrix: row i, column j is a synapse from i to j).
      inputs, outputs: for graph files without roles: a list of names in the order of the columns of x and y, "sources", "sinks",
        "ATTRIBUTE=VALUE" or {attribute: value}. A YAML file and layer widths state their own.
      weight: for graph files, the edge attribute with given values; None: ignore it.
      schedule, ticks (a number, or "settle"), outputs_may_project: instead of what the file says.
      limits: how large the graph may become; raise it for larger ones.
      signs: of the given values in graph files: "kept", or "dropped", which gives every synapse the magnitude.
      progress: told in words what begins: the file is read, its graph is put together and checked.

    Raises:
      SpecError: with every fault of the file, each with its line where the format has lines.
      TopologyError: the file cannot be read at all, no topology of that name is shipped, widths are wrong, or an argument is.

    Examples:
      >>> import neurograph as ng
      >>> ng.load_topology("tiny")
      Topology('Eight neurons by hand', 8 neurons, 9 synapses, 2 in, 1 out, levels)
      >>> ng.load_topology("2-20-2")
      Topology('2-20-2', 24 neurons, 80 synapses, 2 in, 2 out, levels)
    """
    options = Options(inputs, outputs, weight, schedule, ticks, outputs_may_project, limits, signs)
    path = _as_path(path)
    if not path.suffix or path.suffix.lower() in READ:
        path = topology_file(path)
    if widths := layer_widths(path):
        return _built(layered_document(*widths), Source(str(path)[:200]), options)
    ending = _ending(path, READ)
    _check_file(path, MAX_YAML_BYTES if ending in (".yaml", ".yml") else MAX_BYTES)
    say = progress or (lambda text: None)
    say(f"reading {path.name}, {path.stat().st_size / 1e6:,.0f} MB")

    def checked(table: Table) -> Topology:
        say(f"checking {len(table.sources):,} synapses")
        return topology_of(table, options)

    try:
        with _no_collection():
            if ending in _BY_PATH:
                return checked(_BY_PATH[ending](path, options))
            content = _read_text(path)
            if ending == ".csv" and content.lstrip(" ").startswith((",", ";", "\t", '"",', '"";', '""\t')):
                return checked(read_matrix_csv(content, str(path), options))
            if ending in _TEXT:
                return checked(_TEXT[ending](content, str(path), options))
            tree = parse_yaml(content, str(path))
            return _built(tree.plain(), Source(str(path), tree), options)
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read ({error.strerror}).") from error


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Readers make millions of objects and no cycles: looking for cycles among them would take a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _built(data: Any, source: Source, options: Options) -> Topology:
    """Returns the topology of a description in the language, with the changes that the options make."""
    kind = "a YAML topology" if source.tree else "a topology of layer widths"
    if options.inputs is not None or options.outputs is not None:
        raise TopologyError(f"{source.path}: {kind} states its own inputs and outputs; give no others.")
    if options.weight != "weight":
        raise TopologyError(f"{source.path}: {kind} states its own weights; weight cannot name another attribute.")
    if options.signs != "kept":
        raise TopologyError(f"{source.path}: {kind} states its own weights; signs cannot be dropped.")
    if isinstance(data, dict):
        changes = {"schedule": options.schedule, "ticks": options.ticks, "outputs_may_project": options.outputs_may_project}
        if options.schedule == "levels":
            for key in ("ticks", "tolerance", "damping"):
                data.pop(key, None)
        data |= {key: value for key, value in changes.items() if value is not None}
    return build_topology(data, limits=options.limits, source=source)


def save_topology(topology: Topology, path: str | os.PathLike[str]) -> None:
    """Writes a topology to a file, whole or not at all; the ending names the format.

    Nothing is lost: `load_topology` returns an equal one.

    Raises:
      TopologyError: the ending is not known, or the file cannot be written.

    Examples:
      >>> import neurograph as ng
      >>> graph = ng.load_topology("tiny")
      >>> ng.save_topology(graph, "graph.graphml")
      >>> ng.load_topology("graph.graphml") == graph
      True
    """
    if not isinstance(topology, Topology):
        raise TopologyError(f"topology: got {type(topology).__name__}; expected a Topology.")
    path = _as_path(path)
    write = _WRITE[_ending(path)]
    text = io.StringIO()
    write(topology, text)
    try:
        write_atomically(path, text.getvalue())
    except OSError as error:
        raise TopologyError(f"{path}: cannot be written ({error.strerror}).") from error


def _as_path(path: Any) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise TopologyError(f"path: got {type(path).__name__}; expected a path.") from None


def _ending(path: Path, known: tuple[str, ...] = FORMATS) -> str:
    ending = path.suffix.lower()
    if ending not in known:
        raise TopologyError(f"{path}: the ending {ending!r} is not known; allowed: {', '.join(known)}.")
    return ending


def _check_file(path: Path, most: int) -> None:
    try:
        if path.is_dir():
            raise TopologyError(f"{path}: is a directory; expected a file.")
        if not path.is_file():
            raise TopologyError(f"{path}: is not a regular file.")
        size = path.stat().st_size
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read ({error.strerror}).") from error
    if size > most:
        raise TopologyError(f"{path}: has {size:,} bytes; at most {most:,} are read. For large graphs use GraphML or CSV.")


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    nul = data.find(b"\0")
    if nul >= 0:
        raise SpecError([Fault("contains a NUL byte; it is no text file.", str(path), data.count(b"\n", 0, nul) + 1)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError([Fault(f"is not UTF-8: byte 0x{data[error.start]:02x}.", str(path), line)]) from error
