"""The communication of devices per meta-step: collectives of the compiled programs, counted, not timed.

Usage: python -m benchmarks.communication

Compiles one interval of every method for two forced CPU devices, finds the collective operations in what XLA made of it, and
adds up the bytes of their results: those inside the loop over meta-steps, and those at the end of the interval. Prints a Markdown
table.
"""

from __future__ import annotations

import os
import re
from typing import Any

MEMBERS = 8  # genomes, particles or individuals
INTERVAL = 3
SMALL = ("unroll.steps=2", "unroll.batch_size=8", "unroll.query_size=8", "devices=2")
METHODS = {
    "gradient": (f"training={{method: gradient, genomes: {MEMBERS}}}",),
    "pes": (f"training={{method: pes, population: {MEMBERS}}}", "unroll.truncation=1"),
    "cma": (f"training={{method: cma, population: {MEMBERS}}}",),
}
_WIDTH = {"pred": 1, "u8": 1, "s8": 1, "f16": 2, "bf16": 2, "f64": 8, "s64": 8, "u64": 8}
_COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")


def collectives(text: str) -> dict[str, list[int]]:
    """{"loop": bytes of every collective inside a loop, "end": of those outside} in the text of an HLO module."""
    found: dict[str, list[int]] = {"loop": [], "end": []}
    entry = False
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            entry = line.startswith("ENTRY")
        elif match := _COLLECTIVE.search(line):
            found["end" if entry else "loop"].append(_bytes(match[1]))
    return found


def _bytes(shape: str) -> int:
    total = 0
    for kind, sizes in re.findall(r"(\w+)\[([\d,]*)\]", shape):
        count = 1
        for size in filter(None, sizes.split(",")):
            count *= int(size)
        total += count * _WIDTH.get(kind, 4)
    return total


def programs() -> dict[str, str]:
    """The compiled program of an interval (of a generation, for cma), by method, as text."""
    import jax

    from neurograph.experiments import Experiment, load_experiment
    from neurograph.meta import gradient, pes, population

    found: dict[str, str] = {}
    for method, training in METHODS.items():
        made = Experiment(load_experiment("digits", (*SMALL, *training)))
        state: Any = made.initial_state()
        if method == "cma":
            members = jax.tree.map(lambda leaf: leaf.repeat(MEMBERS, axis=0), made.optimizer.genomes(state))
            lowered = population._evaluate.lower(made.objective, members, jax.random.split(state.key, 1), 2)
        else:
            module: Any = {"gradient": gradient, "pes": pes}[method]
            lowered = module._advance.lower(made.optimizer, made.objective, state, 2, INTERVAL)
        found[method] = lowered.compile().as_text()
    return found


def main() -> None:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    print(f"| method | members | per meta-step | | at the end of {INTERVAL} meta-steps | |\n|---|---|---|---|---|---|")
    print("| | | collectives | bytes | collectives | bytes |")
    for method, text in programs().items():
        loop, end = collectives(text).values()
        if method == "cma":  # a generation is a call of its own
            loop, end = end + loop, []
        print(f"| {method} | {MEMBERS} | {len(loop)} | {sum(loop):,} | {len(end)} | {sum(end):,} |")


if __name__ == "__main__":
    main()
