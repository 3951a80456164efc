"""Writers. Numbers are written by `repr`, the shortest text that reads back as the same float64: nothing is lost."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import IO, Any
from xml.sax.saxutils import escape, quoteattr

from neurograph.documents import scalar
from neurograph.topology.columns import EDGE_KEYS, NODE_KEYS, Column, Table, table_of
from neurograph.topology.formats.edge_list import CSV_MARK
from neurograph.topology.graph import Topology

__all__ = ["write_csv", "write_gexf", "write_gml", "write_graphml", "write_json", "write_yaml"]

_TYPES = {"position": "long", "index": "long", "bias_group": "long", "group": "long", "ticks": "long", "weight": "double"}
_TYPES |= {"tolerance": "double", "damping": "double"}
_TYPES |= dict.fromkeys(("bias", "fixed", "outputs_may_project"), "boolean")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _per_element(count: int, columns: dict[str, Column], keys: tuple[str, ...], form: Any) -> list[str]:
    """For every element, its attributes one after the other, each as `form(key, value)`."""
    texts = [""] * count
    for key in keys:
        column = columns.get(key, Column())
        for i, value in zip(column.at, column.values):
            texts[i] += form(key, value)
    return texts


def write_graphml(topology: Topology, file: IO[str]) -> None:
    """GraphML with every attribute declared."""
    t = table_of(topology)
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
    for kind, keys in (("node", t.nodes), ("edge", t.edges), ("graph", t.graph)):
        for key in keys:
            file.write(f'<key id="{kind}.{key}" for="{kind}" attr.name="{key}" attr.type="{_TYPES.get(key, "string")}"/>\n')
    file.write('<graph edgedefault="directed">\n')
    for key, value in t.graph.items():
        file.write(f'<data key="graph.{key}">{escape(_text(value))}</data>\n')
    data = _per_element(len(t.names), t.nodes, NODE_KEYS, lambda k, v: f'<data key="node.{k}">{escape(_text(v))}</data>')
    names = {name: quoteattr(name) for name in t.names}
    for name, extra in zip(t.names, data):
        file.write(f"<node id={names[name]}>{extra}</node>\n" if extra else f"<node id={names[name]}/>\n")
    data = _per_element(len(t.sources), t.edges, EDGE_KEYS, lambda k, v: f'<data key="edge.{k}">{_text(v)}</data>')
    for source, target, extra in zip(t.sources, t.targets, data):
        head = f"<edge source={names[source]} target={names[target]}"
        file.write(f"{head}>{extra}</edge>\n" if extra else f"{head}/>\n")
    file.write("</graph>\n</graphml>\n")


def write_gexf(topology: Topology, file: IO[str]) -> None:
    """GEXF 1.2; graph attributes as JSON in <meta><description>, because GEXF has no others."""
    t = table_of(topology)
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">\n')
    about = escape(json.dumps(t.graph, ensure_ascii=False))
    file.write(f"<meta><creator>neurograph</creator><description>{about}</description></meta>\n")
    file.write('<graph defaultedgetype="directed" mode="static">\n')
    kinds = (
        ("node", [key for key in NODE_KEYS if key in t.nodes]),
        ("edge", [k for k in EDGE_KEYS if k in t.edges and k != "weight"]),
    )
    for kind, keys in kinds:
        if keys:
            file.write(f'<attributes class="{kind}" mode="static">\n')
            for key in keys:
                file.write(f'<attribute id="{kind}.{key}" title="{key}" type="{_TYPES.get(key, "string")}"/>\n')
            file.write("</attributes>\n")
    names = {name: quoteattr(name) for name in t.names}

    def value_of(kind: str) -> Any:
        return lambda k, v: f'<attvalue for="{kind}.{k}" value={quoteattr(_text(v))}/>'

    file.write("<nodes>\n")
    for name, extra in zip(t.names, _per_element(len(t.names), t.nodes, NODE_KEYS, value_of("node"))):
        head = f"<node id={names[name]} label={names[name]}"
        file.write(f"{head}><attvalues>{extra}</attvalues></node>\n" if extra else f"{head}/>\n")
    file.write("</nodes>\n<edges>\n")
    weights = _per_element(len(t.sources), t.edges, ("weight",), lambda k, v: f' weight="{v!r}"')
    data = _per_element(len(t.sources), t.edges, EDGE_KEYS[1:], value_of("edge"))
    for i, (source, target, weight, extra) in enumerate(zip(t.sources, t.targets, weights, data)):
        head = f'<edge id="{i}" source={names[source]} target={names[target]}{weight}'
        file.write(f"{head}><attvalues>{extra}</attvalues></edge>\n" if extra else f"{head}/>\n")
    file.write("</edges>\n</graph>\n</gexf>\n")


def _gml(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e") if "e" in text else f"{text}.0"
    return '"' + re.sub(r'[^ -~]|[&"]', lambda m: f"&#{ord(m.group())};", value) + '"'


def write_gml(topology: Topology, file: IO[str]) -> None:
    """GML in ASCII; ids are the neuron numbers, labels the names."""
    t = table_of(topology)
    file.write("graph [\n  directed 1\n")
    for key, value in t.graph.items():
        file.write(f"  {key} {_gml(value)}\n")
    for i, (name, extra) in enumerate(
        zip(t.names, _per_element(len(t.names), t.nodes, NODE_KEYS, lambda k, v: f" {k} {_gml(v)}"))
    ):
        file.write(f"  node [ id {i} label {_gml(name)}{extra} ]\n")
    data = _per_element(len(t.sources), t.edges, EDGE_KEYS, lambda k, v: f" {k} {_gml(v)}")
    for source, target, extra in zip(topology.senders.tolist(), topology.receivers.tolist(), data):
        file.write(f"  edge [ source {source} target {target}{extra} ]\n")
    file.write("]\n")


def _records(names: list[dict[str, Any]], columns: dict[str, Column], keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        column = columns.get(key, Column())
        for i, value in zip(column.at, column.values):
            names[i][key] = value
    for record in names:
        yield json.dumps(record, ensure_ascii=False)


def write_json(topology: Topology, file: IO[str]) -> None:
    """JSON node-link with `links`; `"edges"` reads as well."""
    t = table_of(topology)
    graph = json.dumps(t.graph, ensure_ascii=False)
    file.write(f'{{"directed": true, "multigraph": false, "graph": {graph},\n"nodes": [\n')
    file.write(",\n".join(_records([{"id": name} for name in t.names], t.nodes, NODE_KEYS)))
    file.write('\n],\n"links": [\n')
    links = [{"source": source, "target": target} for source, target in zip(t.sources, t.targets)]
    file.write(",\n".join(_records(links, t.edges, EDGE_KEYS)))
    file.write("\n]}\n")


def write_csv(topology: Topology, file: IO[str]) -> None:
    """An edge list; what it has no room for stands as JSON in a comment on the first line."""
    t = table_of(topology)
    names = topology.names
    attributes = {
        key: {names[i]: value for i, value in zip(column.at, column.values)}
        for key, column in t.nodes.items()
        if key not in ("role", "position")
    }
    about = {
        "graph": t.graph,
        "neurons": t.names,
        "inputs": [names[i] for i in topology.inputs],
        "outputs": [names[i] for i in topology.outputs],
        "attributes": attributes,
    }
    file.write(f"{CSV_MARK}{json.dumps(about, ensure_ascii=False)}\n")
    keys = [key for key in EDGE_KEYS if key in t.edges and key != "index"]
    columns = [_per_element(len(t.sources), t.edges, (key,), lambda k, v: _text(v)) for key in keys]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["source", "target", *keys])
    writer.writerows(zip(t.sources, t.targets, *columns))


def _quote(name: str) -> str:
    """A name as a YAML scalar that reads back as that text."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.\-]*", name) and isinstance(scalar(name), str)
    return name if plain else json.dumps(name, ensure_ascii=False)


def _flow(names: Any) -> str:
    return "[" + ", ".join(names) + "]"


def write_yaml(topology: Topology, file: IO[str]) -> None:
    """YAML with every neuron and synapse spelled out."""
    t: Table = table_of(topology)
    quoted = [_quote(name) for name in t.names]
    for key in ("title", "description"):
        if getattr(topology, key):
            file.write(f"{key}: {json.dumps(getattr(topology, key), ensure_ascii=False)}\n")
    if topology.schedule != "levels":
        file.write(f"schedule: {topology.schedule}\nticks: {topology.ticks}\n")
        file.writelines(f"{name}: {getattr(topology, name)!r}\n" for name in ("tolerance", "damping") if getattr(topology, name))
    if topology.outputs_may_project:
        file.write("outputs_may_project: true\n")
    file.write("neurons:\n")
    extras = _per_element(
        len(quoted), t.nodes, ("bias", "bias_group"), lambda k, v: f", {k}: {_quote(_text(v)) if k != 'bias' else 'false'}"
    )
    file.writelines(f"- {{name: {name}{extra}}}\n" if extra else f"- {name}\n" for name, extra in zip(quoted, extras))
    if topology.population_names:
        file.write("populations:\n")
        for i, (name, shape) in enumerate(zip(topology.population_names, topology.population_shapes)):
            members = _flow(quoted[j] for j in (topology.population == i).nonzero()[0])
            file.write(f"  {_quote(name)}: {{shape: {_flow(map(str, shape))}, members: {members}}}\n")
    file.write(f"inputs: {_flow(quoted[i] for i in topology.inputs)}\noutputs: {_flow(quoted[i] for i in topology.outputs)}\n")
    if topology.num_synapses:
        file.write("synapses:\n")
    names = dict(zip(t.names, quoted))
    extras = _per_element(len(t.sources), t.edges, ("weight", "fixed", "group"), lambda k, v: f", {k}: {_text(v)}")
    for source, target, extra in zip(t.sources, t.targets, extras):
        ends = f"from: {names[source]}, to: {names[target]}"
        file.write(f"- {{{ends}{extra}}}\n" if extra else f"- [{names[source]}, {names[target]}]\n")
