"""Hypothesis strategies for graphs and batches. No JAX here: what is drawn is a `Topology`, or arrays of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurograph.errors import MissingExtraError
from neurograph.topology import Topology, mlp

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise MissingExtraError("hypothesis", "testing", "neurograph.testing.strategies") from error

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
    fixed: bool = False,
    layered: bool = False,
) -> Topology:
    """Small random graphs: skips of any length, isolated and dead-end neurons, neurons in any order.

    Larger ones, with dense and one-to-one parts and everything that a topology may hold, are `random_topology`'s, by a seed.

    Args:
      max_inputs, max_hidden, max_outputs: most neurons of each sort; at least one input and one output.
      cyclic: adds synapses backwards and onto the neuron itself; the schedule is then synchronous or mixed.
      attributes: draws weights, fixed synapses, groups, shared biases, missing biases, populations, title.
      shared: draws groups of synapses and of biases only.
      fixed: draws synapses that do not learn, and their weights, only.
      layered: layers, each fully connected to the next; not with `cyclic`.
      wild_names: names that are hard for text formats.

    Raises:
      ValueError: `layered` and `cyclic`.

    Examples:
      >>> from hypothesis import given, settings
      >>> from neurograph.testing import topologies
      >>> @settings(max_examples=5)
      ... @given(topology=topologies(cyclic=True))
      ... def test_inputs_have_no_bias(topology):
      ...     assert not topology.bias[topology.inputs].any()
      >>> test_inputs_have_no_bias()
    """
    if layered:
        if cyclic:
            raise ValueError("topologies: layered graphs have no cycles; choose layered or cyclic")
        topology = draw(_layers(max_inputs, max_hidden, max_outputs))
        wanted = attributes or shared or fixed
        return topology.replace(**draw(_attributes(topology, attributes, wild_names, shared, fixed))) if wanted else topology
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
        senders=np.array(senders, int),
        receivers=np.array(receivers, int),
        inputs=np.array(inputs),
        outputs=np.array(outputs),
        **(draw(_ticks()) if cyclic else {}),
    )
    if not (attributes or shared or fixed):
        return topology
    return topology.replace(**draw(_attributes(topology, attributes, wild_names, shared, fixed)))


@st.composite
def _layers(draw: st.DrawFn, max_inputs: int, max_hidden: int, max_outputs: int) -> Topology:
    sizes, left = [draw(st.integers(1, max_inputs))], draw(st.integers(0, max_hidden))
    while left:
        sizes.append(draw(st.integers(1, left)))
        left -= sizes[-1]
    return mlp(*sizes, draw(st.integers(1, max_outputs)))


def _ticks() -> st.SearchStrategy[dict]:
    share = st.sampled_from([0.0, 0.0, 0.5, 1e-3])
    schedule = st.sampled_from(["synchronous", "mixed"])
    return st.fixed_dictionaries({"schedule": schedule, "ticks": st.integers(1, 6), "damping": share, "tolerance": share})


@st.composite
def _attributes(
    draw: st.DrawFn, topology: Topology, all_of_them: bool, wild_names: bool, shared: bool, fixed_only: bool
) -> dict[str, Any]:
    n, e = topology.num_neurons, topology.num_synapses
    if fixed_only and not all_of_them:
        held = np.array(draw(st.lists(st.booleans(), min_size=e, max_size=e)), bool)
        weight = np.where(held, draw(st.lists(st.floats(-1, 1), min_size=e, max_size=e)), np.nan)
        if not shared:
            return {"fixed": held, "weight": weight}
    group = np.array(draw(st.lists(st.integers(-1, 2), min_size=e, max_size=e)), int)
    bias = topology.bias.copy()
    if all_of_them:
        bias &= np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    bias_group = np.where(bias, draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n)), -1)
    found = {"group": group, "bias": bias, "bias_group": bias_group}
    if not all_of_them:
        return found if not fixed_only else found | {"fixed": held, "weight": weight, "group": np.where(held, -1, group)}
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


@st.composite
def batches(draw: st.DrawFn, topology: Topology, *, max_size: int = 5, one_hot: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Batches for a graph: inputs [B, inputs] of a normal distribution, and labels of -1 and 1 [B, outputs], both float64.

    Args:
      topology: says how many inputs and outputs.
      max_size: most rows; at least two, which batch normalization needs.
      one_hot: one output of each row is 1.

    Examples:
      >>> from hypothesis import given, settings
      >>> import neurograph as ng
      >>> from neurograph.testing import batches
      >>> @settings(max_examples=5)
      ... @given(batch=batches(ng.mlp(3, 4, 2), one_hot=True))
      ... def test_one_label_a_row(batch):
      ...     assert (batch[1].sum(axis=1) == 0).all()
      >>> test_one_label_a_row()
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, outputs = draw(st.integers(2, max_size)), len(topology.outputs)
    labels = 2.0 * np.eye(outputs)[rng.integers(outputs, size=size)] - 1 if one_hot else rng.choice([-1.0, 1.0], (size, outputs))
    return rng.normal(size=(size, len(topology.inputs))), labels
