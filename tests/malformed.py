"""Files that must be refused, each with the fault it stands for. The docs show the message of each; the tests check them."""

from __future__ import annotations

from pathlib import Path

from neurograph.errors import NeurographError
from neurograph.topology import load_topology

HEAD = "populations: {input: 4, hidden: 3, output: 2}\ninputs: input\noutputs: output\n"
GOOD = HEAD + "connections:\n- {kind: dense, from: input, to: hidden}\n- {kind: dense, from: hidden, to: output}\n"
THREE = "neurons: [a, b, c]\ninputs: a\noutputs: c\n"
GRAPHML = (
    '<?xml version="1.0"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n<key id="r" for="node" attr.name="role"/>\n'
)
NODES = '<node id="a"><data key="r">input</data></node>\n<node id="b"><data key="r">output</data></node>\n'

_bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
_bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
_laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))

# (what is wrong, file name, content)
CASES: list[tuple[str, str, str | bytes | None]] = [
    ("unknown key", "graph.yaml", GOOD.replace("inputs:", "seeds: 1\ninputs:")),
    ("unknown key of a kind", "graph.yaml", GOOD.replace("{kind: dense, from: input", "{kind: dense, density: 0.5, from: input")),
    ("missing key", "graph.yaml", GOOD.replace("inputs: input\n", "")),
    ("duplicate key", "graph.yaml", GOOD + "inputs: hidden\n"),
    ("unknown kind", "graph.yaml", GOOD.replace("kind: dense, from: hidden", "kind: dens, from: hidden")),
    ("number as text", "graph.yaml", HEAD + 'connections: [{kind: random, from: input, to: output, density: "1e-3"}]\n'),
    ("text for true or false", "graph.yaml", GOOD.replace("hidden: 3", "hidden: {size: 3, bias: no}")),
    ("negative size", "graph.yaml", GOOD.replace("hidden: 3", "hidden: -20")),
    ("fractional size", "graph.yaml", GOOD.replace("hidden: 3", "hidden: 2.5")),
    ("absurd number of neurons", "graph.yaml", GOOD.replace("hidden: 3", "hidden: 1000000000000")),
    (
        "absurd number of synapses",
        "graph.yaml",
        GOOD.replace("hidden: 3", "hidden: 4000000").replace("input: 4", "input: 900000"),
    ),
    ("share out of range", "graph.yaml", HEAD + "connections: [{kind: random, from: input, to: output, density: 1.5}]\n"),
    ("unknown population", "graph.yaml", GOOD.replace("to: hidden", "to: hiden")),
    ("unknown neuron", "graph.yaml", THREE + "synapses:\n- [a, b]\n- [b, d]\n"),
    ("unequal sizes", "graph.yaml", HEAD + "connections:\n- {kind: one_to_one, from: input, to: output}\n"),
    (
        "shape that does not fit",
        "graph.yaml",
        "populations: {i: [8, 8], c: [5, 5, 2]}\ninputs: i\noutputs: c\n"
        "connections: [{kind: convolution, from: i, to: c, kernel: 3}]\n",
    ),
    ("parallel synapses", "graph.yaml", THREE + "synapses:\n- [a, b]\n- [b, c]\n- [a, b]\n"),
    ("cycle under levels", "graph.yaml", THREE + "synapses:\n- [a, b]\n- [b, c]\n- [b, b]\n"),
    ("longer cycle", "graph.yaml", "neurons: [a, b, c, d]\ninputs: a\noutputs: d\nsynapses: [[a, b], [b, c], [c, b], [c, d]]\n"),
    ("synapse into an input", "graph.yaml", THREE + "synapses:\n- [a, b]\n- [b, c]\n- [b, a]\n"),
    ("synapse out of an output", "graph.yaml", THREE + "synapses:\n- [a, c]\n- [c, b]\n"),
    ("unreachable output", "graph.yaml", THREE + "synapses:\n- [b, c]\n"),
    ("input and output at once", "graph.yaml", "neurons: [a, b]\ninputs: a\noutputs: [a, b]\nsynapses: [[a, b]]\n"),
    ("name given twice", "graph.yaml", "neurons: [a, b, a]\ninputs: a\noutputs: b\nsynapses: [[a, b]]\n"),
    ("fixed without weight", "graph.yaml", THREE + "synapses:\n- [a, b]\n- {from: b, to: c, fixed: true}\n"),
    (
        "group of unequal weights",
        "graph.yaml",
        THREE + "synapses:\n- {from: a, to: b, weight: 1, group: g}\n- {from: b, to: c, group: g}\n",
    ),
    ("ticks without schedule", "graph.yaml", GOOD + "ticks: 5\n"),
    (
        "several faults at once",
        "graph.yaml",
        GOOD.replace("input: 4", "input: 0").replace("from: hidden", "form: hidden") + "sed: 1\n",
    ),
    ("no mapping", "graph.yaml", "- a\n- b\n"),
    ("empty file", "graph.yaml", ""),
    ("truncated YAML", "graph.yaml", GOOD[:-30]),
    ("alias bomb", "graph.yaml", _bomb),
    ("alias inside itself", "graph.yaml", "neurons: &a [b, *a]\n"),
    ("deep nesting", "graph.yaml", "[" * 500),
    ("tag that makes objects", "graph.yaml", "neurons: !!python/object/apply:os.system [ls]\n"),
    ("two documents", "graph.yaml", GOOD + "---\n" + GOOD),
    ("NUL byte", "graph.yaml", GOOD.encode()[:60] + b"\0" + GOOD.encode()[60:]),
    ("not UTF-8", "graph.yaml", GOOD.encode() + b"title: \xff\xfe\n"),
    ("no such file", "missing.yaml", None),
    ("directory", "folder.yaml", None),
    ("unknown ending", "graph.txt", GOOD),
    (
        "billion laughs",
        "graph.graphml",
        f'<?xml version="1.0"?>\n<!DOCTYPE g [<!ENTITY l0 "ha">{_laughs}]>\n<graphml>&l11;</graphml>',
    ),
    ("external entity", "graph.gexf", '<!DOCTYPE g [<!ENTITY f SYSTEM "file:///etc/passwd">]>\n<gexf>&f;</gexf>'),
    ("truncated XML", "graph.graphml", GRAPHML + '<graph edgedefault="directed">\n' + NODES[:60]),
    ("undirected graph", "graph.graphml", GRAPHML + '<graph edgedefault="undirected">\n' + NODES + "</graph></graphml>"),
    (
        "unknown neuron in GraphML",
        "graph.graphml",
        GRAPHML
        + '<graph edgedefault="directed">\n'
        + NODES
        + '<edge source="a" target="b"/>\n<edge source="a" target="z"/>\n</graph></graphml>',
    ),
    (
        "parallel synapses in GraphML",
        "graph.graphml",
        GRAPHML + '<graph edgedefault="directed">\n' + NODES + '<edge source="a" target="b"/>\n' * 2 + "</graph></graphml>",
    ),
    ("no GraphML at all", "graph.graphml", "<html><body/></html>"),
    ("no roles", "graph.csv", "source,target\na,b\nb,c\n"),
    ("no header", "graph.csv", "a,b\nb,c\n"),
    ("row of another length", "graph.csv", "source,target\na,b\nb,c,d\n"),
    ("weight that is no number", "graph.csv", "source,target,weight\na,b,much\n"),
    ("truncated JSON", "graph.json", '{"nodes": [{"id": "a"}, '),
    ("duplicate key in JSON", "graph.json", '{"nodes": [{"id": "a",\n "id": "b"}], "links": []}'),
    ("deeply nested JSON", "graph.json", '{"nodes": ' + "[" * 100_000),
    ("link without target", "graph.json", '{"nodes": [{"id": "a"}],\n "links": [\n{"source": "a"}]}'),
    ("undirected JSON", "graph.json", '{"directed": false, "nodes": [], "links": []}'),
    ("undirected GML", "graph.gml", "graph [\n  node [ id 0 label a ]\n]\n"),
    ("broken GML", "graph.gml", 'graph [\n  directed 1\n  node [ id 0 label "a ]\n]\n'),
    ("undirected DOT", "graph.dot", "graph {\n  a -- b\n}\n"),
    ("an arrow against the direction", "graph.dot", "digraph {\n  a -> b [dir=back]\n}\n"),
    ("number without quotes in DOT", "graph.gv", "digraph {\n  a -> b [weight=1e-3]\n}\n"),
    ("port of a record", "graph.dot", "digraph {\n  a:left -> b\n}\n"),
    ("two roles in DOT", "graph.dot", "digraph {\n  a [role=input]\n  a [role=output]\n}\n"),
    ("unknown neuron in GML", "graph.gml", "graph [ directed 1\nnode [ id 0 ]\nedge [ source 0 target 7 ]\n]\n"),
]


def message_of(folder: Path, name: str, content: str | bytes | None) -> str:
    """The message with which the file is refused, with paths relative to `folder`."""
    path = folder / name
    if name.startswith("folder"):
        path.mkdir(exist_ok=True)
    elif content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        load_topology(path)
    except NeurographError as error:
        return str(error).replace(f"{folder}/", "")
    raise AssertionError(f"{name} was accepted")
