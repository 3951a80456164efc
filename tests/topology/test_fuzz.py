"""Every reader against damaged files, random bytes and random data: read, or refused by an error of ours, and nothing else."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from building import dot_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurograph.errors import NeurographError
from neurograph.testing import topologies
from neurograph.topology import FORMATS, Limits, build_topology, from_networkx, load_topology, save_topology

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for path in (ROOT / "topologies").iterdir() if path.suffix in FORMATS)


def refusal(call, *arguments, **options) -> str | None:
    """The message of the error of ours that a call raises, None if it succeeds; any other error is let through."""
    try:
        call(*arguments, **options)
    except NeurographError as error:
        return str(error)
    return None


WORDS = {
    ".yaml": [
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "&a ",
        "*a",
        "\n",
        "  ",
        "'",
        '"',
        "|",
        ">",
        "? ",
        "!!x ",
        "1e999",
        "-1",
        "null",
        "#",
        "<<",
    ],
    ".graphml": [
        "<",
        ">",
        "/>",
        "&lt;",
        "&",
        '"',
        "<node",
        "<edge",
        "</graph>",
        "<data>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "<?x?>",
        'key="r"',
    ],
    ".gexf": [
        "<",
        ">",
        "/>",
        "&#0;",
        "&",
        '"',
        "<node",
        "<edge",
        "</nodes>",
        "<attvalue",
        "<![CDATA[",
        "]]>",
        "<!--",
        "<!DOCTYPE x>",
    ],
    ".gml": [
        "[",
        "]",
        '"',
        " node [",
        " edge [",
        " id 1",
        " source",
        " target 0",
        "#",
        "\n",
        "graph",
        "directed 1",
        "&#0;",
        "-",
        "1e9",
    ],
    ".json": [
        "{",
        "}",
        "[",
        "]",
        '"',
        ",",
        ":",
        "null",
        "NaN",
        "1e999",
        "-",
        '"id"',
        '"links"',
        '"source"',
        "\\u0000",
        "\\ud800",
        "true",
    ],
    ".dot": [
        "{",
        "}",
        "[",
        "]",
        '"',
        " -> ",
        " -- ",
        ";",
        "=",
        "subgraph a {",
        "node [role=input]",
        "<b>",
        ":n",
        "/*",
        "//",
        "1e9",
    ],
    ".csv": [",", ";", "\n", '"', "#", "source", "target", "weight", "nan", "1e999", "# neurograph {}", "\t", "\r", ",,", "a"],
}


def mutate(text: str, ending: str, rng: random.Random) -> bytes:
    """A few edits: words of the format put in, pieces cut, doubled, moved, bytes changed."""
    for _ in range(rng.randint(1, 4)):
        here, there = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        there = min(there, here + rng.choice([1, 5, 40]))
        choice = rng.randrange(6)
        if choice <= 1:
            text = text[:here] + rng.choice(WORDS[ending]) + text[here:]
        elif choice == 2:
            text = text[:here] + text[there:]
        elif choice == 3:
            text = text[:there] + text[here:there] + text[there:]
        elif choice == 4:
            text = text[:here] + rng.choice(WORDS[ending]) + text[there:]
        else:
            text = text[:here] if rng.random() < 0.3 else text[:here] + text[here:there].swapcase() + text[there:]
    data = bytearray(text.encode())
    if data and rng.random() < 0.15:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def fuzz(folder: Path, ending: str, rounds: int, seed: int) -> dict[str, int]:
    """Loads `rounds` mutated files. A file is either read, or refused by one of our errors; anything else escapes."""
    rng = random.Random(seed)
    seeds = []
    for name in ("tiny.yaml", "irregular_2d.yaml"):
        topology = load_topology(ROOT / "topologies" / name)
        if ending == ".dot":
            seeds.append(dot_text(topology))
            continue
        save_topology(topology, folder / f"seed{ending}")
        seeds.append((folder / f"seed{ending}").read_text(encoding="utf-8"))
    if ending == ".yaml":
        seeds += [path.read_text(encoding="utf-8") for path in FILES if path.suffix == ".yaml" and "mnist" not in path.name]
    found = {"read": 0, "refused": 0}
    path = folder / f"fuzzed{ending}"
    for number in range(rounds):
        data = mutate(rng.choice(seeds), ending, rng)
        path.write_bytes(data)
        try:
            told = refusal(load_topology, path, limits=Limits(20_000, 200_000))
        except BaseException as error:
            raise AssertionError(f"input {number} of seed {seed} escaped: {data!r}") from error
        found["read" if told is None else "refused"] += 1
        assert told is None or 0 < len(told) < 5000, data
    return found


@pytest.mark.parametrize("ending", sorted(WORDS))
def test_fuzzed_files_are_read_or_refused(tmp_path, ending):
    found = fuzz(tmp_path, ending, 250, seed=0)
    assert found["read"] > 2
    assert found["refused"] > 25


@pytest.mark.slow
@pytest.mark.parametrize("ending", sorted(WORDS))
def test_fuzzing_for_minutes(tmp_path, ending):
    fuzz(tmp_path, ending, int(os.environ.get("NEUROGRAPH_FUZZ", "5000")), seed=random.Random(ending).randrange(10**9))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), ending=st.sampled_from([*FORMATS, ".dot"]))
def test_any_bytes_are_refused_or_read(tmp_path, data, ending):
    path = tmp_path / f"graph{ending}"
    path.write_bytes(data)
    assert refusal(load_topology, path, inputs=["a"] if ending == ".csv" else None) != ""


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 10**30),
        st.floats(),
        st.sampled_from(["a", "b", "input", "dense", "ring", "same", "levels", "mixed", ""]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "from", "to", "within", "a", "size"]), inner)
    ),
    max_leaves=8,
)
KEYS = ["populations", "neurons", "inputs", "outputs", "connections", "synapses", "cells", "seed", "ticks", "schedule", "title"]


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JUNK), st.sampled_from(KEYS))
def test_any_description_is_refused_or_built(junk, key):
    base = {
        "populations": {"a": 2, "b": 2},
        "inputs": "a",
        "outputs": "b",
        "connections": [{"kind": "dense", "from": "a", "to": "b"}],
    }
    for spec in (junk, base | {key: junk.get(key)}, base | junk):
        assert refusal(build_topology, spec, limits=Limits(1000, 10_000)) != ""


@settings(max_examples=60, deadline=None)
@given(topology=topologies(), data=st.data())
def test_any_networkx_attributes_are_refused_or_read(topology, data):
    graph = topology.to_networkx()
    values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([1]), st.just(object()))
    for node in graph:
        if data.draw(st.integers(0, 3)) == 0:
            graph.nodes[node][data.draw(st.sampled_from(["role", "position", "bias", "bias_group", "population"]))] = data.draw(
                values
            )
    for pair in graph.edges:
        if data.draw(st.integers(0, 5)) == 0:
            graph.edges[pair][data.draw(st.sampled_from(["weight", "fixed", "group", "index"]))] = data.draw(values)
    if data.draw(st.booleans()):
        graph.graph[data.draw(st.sampled_from(["schedule", "ticks", "title", "populations", "outputs_may_project"]))] = data.draw(
            values
        )
    assert refusal(from_networkx, graph) != ""


if __name__ == "__main__":  # PYTHONPATH=tests python tests/topology/test_fuzz.py 20000 : fuzz every reader that often
    import tempfile

    for reader in sorted(WORDS):
        with tempfile.TemporaryDirectory() as scratch:
            print(reader, fuzz(Path(scratch), reader, int(sys.argv[1]), seed=1), flush=True)
