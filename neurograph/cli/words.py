"""Words of commands: those of `neurograph transfer`, sorted into genomes, topologies and tasks; those of a task.

Names and files decide the kind of a word; where they leave a choice, the order GENOME... TOPOLOGY... TASK... decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurograph.documents import closest, parse_json
from neurograph.errors import ExperimentError, TaskError
from neurograph.genome.files import FORMAT, GENOME_SETS, zoo_names
from neurograph.tasks.registry import read_options, read_task, schemes, task_entry, task_names
from neurograph.topology.files import FORMATS
from neurograph.topology.shipped import layer_widths, shipped_names

__all__ = ["KINDS", "kinds_of", "names_in", "sort_words", "task_words"]

KINDS = ("genome", "topology", "task")


def names_in(text: str) -> list[str]:
    """Returns the names in a list with commas; a file may have commas in its name, a task in its options."""
    whole = os.path.exists(text) or "=" in text or " " in text.strip() or ":" in text
    return [part.strip() for part in ([text] if whole else text.split(","))]


def kinds_of(word: str) -> list[str]:
    """Returns the `KINDS` that a word can be, by known names and by the content of files; a word that could be layer widths is
    a topology.

    Raises:
      TopologyError: a word of no kind that begins as layer widths do, such as "2-x-2".
    """
    path, found = Path(word), []
    known = os.path.isfile(word) and path.suffix.lower() in FORMATS
    learned = known and _is_genome(path)
    if learned or word in (*zoo_names(), *GENOME_SETS):
        found.append("genome")
    if (known and not learned) or word in shipped_names():
        found.append("topology")
    scheme, colon, _ = word.partition(":")
    if (colon and f"{scheme}:..." in [entry.name for entry in schemes()]) or word.split(" ")[0] in task_names():
        found.append("task")
    return found or ["topology"] * bool(layer_widths(word))


def _is_genome(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def sort_words(words: Sequence[str], given: Mapping[str, bool]) -> dict[str, list[str]]:
    """Sorts words into genomes, topologies and tasks.

    Args:
      words: as typed.
      given: kinds that an option names already; no word becomes one of those.

    Returns:
      {"genome": names, "topology": names, "task": names}, at least one of every kind that is not given.

    Raises:
      ExperimentError: a word is of no kind, a kind is missing, or the words can be read in several ways.
    """
    names = [name for word in words for name in names_in(word)]
    wanted = [kind for kind in KINDS if not given.get(kind)]
    possible = [[kind for kind in kinds_of(name) if kind in wanted] for name in names]
    for name, kinds in zip(names, possible):
        if not kinds and (wanted != ["genome"] or kinds_of(name)):  # the reader of genomes has the better message
            raise ExperimentError(_unknown(name, wanted))
    if wanted == ["genome"]:
        return {"genome": names, "topology": [], "task": []}
    if all(len(kinds) == 1 for kinds in possible):
        ways = [[kinds[0] for kinds in possible]]
    else:
        ways = [list(way) for way in _in_order(possible, wanted)]
    ways = [way for way in ways if set(way) == set(wanted)]
    if len(ways) == 1:
        return {kind: [name for name, one in zip(names, ways[0]) if one == kind] for kind in KINDS}
    read = ", ".join(f"{name} ({' or '.join(kinds)})" for name, kinds in zip(names, possible))
    if ways:
        raise ExperimentError(f"got {read}; that can be read in {len(ways)} ways: name topologies by -t, tasks by -k")
    order = " ".join(f"{kind.upper()}..." for kind in wanted)
    raise ExperimentError(
        f"got {read}; expected {order}, at least one of each, or topologies by --topology (-t), tasks by --task (-k)"
    )


def _in_order(possible: Sequence[Sequence[str]], wanted: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns all ways to read the words in which the kinds follow each other in their order."""
    ways: list[tuple[str, ...]] = [()]
    for kinds in possible:
        ways = [(*way, k) for way in ways for k in kinds if not way or wanted.index(k) >= wanted.index(way[-1])]
    return ways


def _unknown(name: str, wanted: Sequence[str]) -> str:
    if kinds := kinds_of(name):
        kind = kinds[0]
        return f"{name}: a {kind}, but --{kind} names some already; give all so, or all as words"
    names = {"genome": lambda: [*zoo_names(), *GENOME_SETS], "topology": shipped_names, "task": task_names}
    close = closest(name.split(" ")[0], [known for kind in wanted for known in names[kind]()])
    hint = f"; did you mean {close!r}?" if close else f"; see {', '.join(f'neurograph {kind} list' for kind in wanted)}."
    return f"{name}: no such file, and no {' or '.join(wanted)} of that name{hint}"


def task_words(text: str, overrides: Sequence[str] = (), data_dir: str | None = None) -> tuple[str, dict[str, Any]]:
    """Returns name and options of a task, from its text, from words such as "size=10", and from the option --data-dir, which
    goes to tasks that read data sets.

    Raises:
      TaskError: there is no such task, a word is no option, or an option is given twice.
    """
    name, options = read_task(text)
    more = read_options(name, overrides)
    if twice := next((option for option in more if option in options), None):
        raise TaskError(f"task {name!r}: option {twice!r} is given twice: {options[twice]!r} and {more[twice]!r}.")
    options |= more
    if data_dir is not None and "data_dir" in task_entry(name).options():
        options.setdefault("data_dir", data_dir)
    return name, options
