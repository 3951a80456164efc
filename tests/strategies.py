"""Hypothesis strategies for graphs. No JAX here: what is drawn is a `Topology`."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from neurograph.topology import Topology

PLAIN = st.text("abcdefgh", min_size=1, max_size=3)
# what a name may be: anything but control characters; quotes, markup, separators and things that look like numbers among it
WILD = st.one_of(
    st.sampled_from(
        ["1", "1e-3", "true", "null", "~", "0x1", "010", ".inf", "<<", "=", "-", "%", "@", "`", "\\", "\\n", "'", '"']
    ),
    st.sampled_from(["<&>", "]]>", "&amp;", "a,b", "a;b", "#x", "[x]", "*a", "&a", "!a", "graph", "node", "é", "ß𝛼"]),
    st.sampled_from(["a b", " a", "a ", "- a", "{y: 1}", "a: b", "a #b"]),
    st.text(
        st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"), blacklist_characters="\ufeff\ufffe\uffff"),
        min_size=1,
        max_size=6,
    ),
)


@st.composite
def topologies(
    draw: st.DrawFn,
    *,
    max_inputs: int = 3,
    max_hidden: int = 7,
    max_outputs: int = 3,
    cyclic: bool = False,
    attributes: bool = False,
    wild_names: bool = False,
    shared: bool = False,
) -> Topology:
    """A small random graph: skips of any length, isolated and dead-end neurons, neurons in any order.

    Args:
      cyclic: adds synapses backwards and onto the neuron itself; the schedule is then synchronous or mixed.
      attributes: draws weights, fixed synapses, groups, shared biases, missing biases, populations, title.
      shared: draws groups of synapses and of biases only.
      wild_names: names that are hard for text formats.
    """
    sizes = draw(st.tuples(st.integers(1, max_inputs), st.integers(0, max_hidden), st.integers(1, max_outputs)))
    n_in, n_hidden, _ = sizes
    n = sum(sizes)
    first_out = n_in + n_hidden
    pairs = [(i, j) for i in range(first_out) for j in range(max(i + 1, n_in), n)]
    chosen = [pair for pair, keep in zip(pairs, draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))) if keep]
    if cyclic and n_hidden:
        backward = [(i, j) for i in range(n_in, first_out) for j in range(n_in, i + 1)]
        chosen += draw(st.lists(st.sampled_from(backward), unique=True, max_size=6))
    reached = set(range(n_in))
    for _ in range(n):
        reached |= {j for i, j in chosen if i in reached}
    chosen += [(draw(st.integers(0, n_in - 1)), j) for j in range(first_out, n) if j not in reached]
    order = draw(st.permutations(range(n)))  # drawn number -> index in the topology
    edges = draw(st.permutations(chosen))
    senders, receivers = [order[i] for i, _ in edges], [order[j] for _, j in edges]
    names = draw(st.lists(WILD if wild_names else PLAIN, min_size=n, max_size=n, unique=True))
    inputs = draw(st.permutations([order[i] for i in range(n_in)]))
    outputs = draw(st.permutations([order[i] for i in range(first_out, n)]))
    topology = Topology(
        names=tuple(names),
        senders=senders,
        receivers=receivers,
        inputs=inputs,
        outputs=outputs,
        **(draw(_ticks()) if cyclic else {}),
    )
    if not (attributes or shared):
        return topology
    return topology.replace(**draw(_attributes(topology, attributes, wild_names)))


def _ticks() -> st.SearchStrategy[dict]:
    share = st.sampled_from([0.0, 0.0, 0.5, 1e-3])
    schedule = st.sampled_from(["synchronous", "mixed"])
    return st.fixed_dictionaries({"schedule": schedule, "ticks": st.integers(1, 6), "damping": share, "tolerance": share})


@st.composite
def _attributes(draw: st.DrawFn, topology: Topology, all_of_them: bool, wild_names: bool) -> dict:
    n, e = topology.num_neurons, topology.num_synapses
    group = np.array(draw(st.lists(st.integers(-1, 2), min_size=e, max_size=e)), int)
    bias = topology.bias.copy()
    if all_of_them:
        bias &= np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    bias_group = np.where(bias, draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n)), -1)
    found = {"group": group, "bias": bias, "bias_group": bias_group}
    if not all_of_them:
        return found
    number = st.one_of(st.just(np.nan), st.floats(allow_nan=False, allow_infinity=False))
    weight = np.array(draw(st.lists(number, min_size=e, max_size=e)), float)
    fixed = np.array(draw(st.lists(st.booleans(), min_size=e, max_size=e)), bool)
    for g in range(3):  # members of a group agree
        if (group == g).any():
            head = int(np.flatnonzero(group == g)[0])
            weight[group == g], fixed[group == g] = weight[head], fixed[head]
    fixed &= ~np.isnan(weight)
    population = np.array(draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n)))
    kept = [p for p in range(3) if (population == p).any()]
    population = np.array([kept.index(p) if p >= 0 else -1 for p in population])
    names = draw(st.lists(WILD if wild_names else PLAIN, min_size=len(kept), max_size=len(kept), unique=True))
    shapes = []
    for i in range(len(kept)):
        size = int((population == i).sum())
        shapes.append(draw(st.sampled_from([(size,), (1, size), (size, 1)] + ([(2, size // 2)] if size % 2 == 0 else []))))
    text = st.sampled_from(["", "a title", 'with "quotes" & <marks>: é'])
    return found | {
        "weight": weight,
        "fixed": fixed,
        "population": population,
        "population_names": tuple(names),
        "population_shapes": tuple(shapes),
        "title": draw(text),
        "description": draw(st.sampled_from(["", "two\nlines: [x]", "# no comment"])),
    }
