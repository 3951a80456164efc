"""`analyze`: every tool on one genome, and one self-contained page about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from neurograph.analysis.decomposition import MATRICES, decompose
from neurograph.analysis.directions import alignment
from neurograph.analysis.field import MEMORY, AnalysisError, UpdateField
from neurograph.analysis.longrun import long_run
from neurograph.analysis.loops import circulation, closed_curves
from neurograph.analysis.metric import metric_search
from neurograph.analysis.oja import oja_limit
from neurograph.analysis.perturb import sensitivity
from neurograph.analysis.symmetry import asymmetry
from neurograph.errors import NeurographError
from neurograph.genome import Genome, backprop_genome
from neurograph.genome.rule import Rule
from neurograph.learning.inner_loop import Problem
from neurograph.network.network import Network
from neurograph.tasks import Task
from neurograph.topology import Topology
from neurograph.topology.layered import mlp

__all__ = [
    "TOOLS",
    "Analysis",
    "analyze",
    "untrained",
]

TOOLS = {
    "asymmetry": "Is the update's Jacobian symmetric? (Eqs. 9, 10, figure 2)",
    "metric": "Is it gradient descent in some constant metric? (Eqs. 11 to 13)",
    "circulation": "Is there work left over round closed loops? (appendix A)",
    "closed": "Do its curves close? (appendix A)",
    "decompose": "How much of the genome looks like backprop?",
    "alignment": "Does it follow the loss's gradient? Is the loss a Lyapunov function?",
    "longrun": "What happens over long runs?",
    "sensitivity": "Which of its numbers matter?",
    "oja": "Is Eq. 8 the limit of the normalised update? (appendix B)",
}
"""What `analyze` can do, in the order of its page."""

HIDDEN = 5
"""Hidden neurons of the metric search where the topology is too large for it: the paper's."""
METRIC_SIZE = 64
"""Largest number of stored numbers for which the metric search is made on the topology itself (seconds; 100 take minutes)."""

LIMITS = {
    "metric": (
        "A constant metric is one possibility among many: none found here does not rule out one that depends on the "
        "synapses, and one "
        "found holds at the states that were looked at. A basis vector of the null space survives only if it lies in "
        "the joint null "
        "space by itself, so the count of survivors depends on the basis; the joint space does not."
    ),
    "circulation": (
        "A gradient does no work round a closed loop, so one clear value shows that there is no loss, over the region "
        "of the circle. "
        "Zero on some random circles is evidence, no proof."
    ),
    "closed": (
        "A closed curve of the flow, or a spiral into rest, rules out every loss in every smooth metric. Not finding "
        "one shows nothing. "
        "Time 1 is one full learning step; the curves are those of small steps."
    ),
    "decompose": (
        "The template is section 4.5's: identities, and the first two states swapped in the Hebbian product. "
        "Relabelling states beyond the "
        "first two changes nothing a network does, but moves shares; the parts of the update do not depend on such names."
    ),
    "alignment": (
        "The gradient is that of the meta-loss on the batch, one loss among many: a low cosine does not mean that no "
        "loss falls. That it "
        "falls on one trajectory is no proof of a Lyapunov function; that it rises at small steps disproves this one."
    ),
    "sensitivity": "One number at a time, on validation data; pairs that can stand in for each other both look idle.",
}


@dataclass
class Analysis:
    """What `analyze` found: `results` by tool (a result, or a dict of them by rule), `refused` by tool why not, and what was
    analysed."""

    title: str
    facts: dict[str, str]
    results: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def summaries(self) -> dict[str, dict[str, str]]:
        """Per tool and rule, one sentence."""
        found = {}
        for tool, result in self.results.items():
            by_rule = result if isinstance(result, dict) else {"genome": result}
            found[tool] = {name: one.summary() for name, one in by_rule.items()}
        return found

    def to_dict(self, largest: int = 512) -> dict[str, Any]:
        """JSON data: sentences, and every field of the results but arrays of more than `largest` numbers."""
        data: dict[str, Any] = {"title": self.title, "facts": self.facts, "refused": self.refused, "tools": {}}
        for tool, result in self.results.items():
            by_rule = result if isinstance(result, dict) else {"genome": result}
            data["tools"][tool] = {name: {"summary": one.summary()} | _plain(one, largest) for name, one in by_rule.items()}
        return data


def _plain(result: Any, largest: int) -> dict[str, Any]:
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result) if f.name != "places"}
    for name, attribute in vars(type(result)).items():
        if isinstance(attribute, property) and name != "log_map":
            fields[name] = getattr(result, name)
    return {name: _json(value) for name, value in fields.items() if np.size(value) <= largest}


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if isinstance(value, np.ndarray):
        return _json(value.tolist())
    if isinstance(value, np.generic):
        return _json(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def untrained(genome: Genome, rule: Rule, key: jax.Array) -> Genome:
    """The control: the genome's gates and moments, its matrices drawn anew with each matrix's own root mean square."""
    keys = jax.random.split(key, len(MATRICES))
    drawn = {}
    for name, one in zip(MATRICES, keys):
        matrix = np.asarray(getattr(genome, name))
        drawn[name] = np.sqrt((matrix**2).mean()) * np.asarray(jax.random.normal(one, matrix.shape))
    return genome.replace(**{name: value.astype(np.asarray(genome.forward_transform).dtype) for name, value in drawn.items()})


def analyze(
    genome: Genome,
    rule: Rule,
    topology: Topology,
    task: Task,
    *,
    only: Sequence[str] = (),
    title: str = "genome",
    batch_size: int = 64,
    seed: int = 0,
    select: Sequence[str] = ("all",),
    bias: bool = True,
    steps: int = 0,
    states: int = 100,
    memory: int = MEMORY,
    say: Callable[[str], None] = lambda _: None,
) -> Analysis:
    """Run the tools on a genome, beside backprop and an untrained genome where a comparison is meant.

    Args:
      only: names of `TOOLS`; default all.
      batch_size: rows of the whole batch, of the task's training split.
      seed: of batch, synapses and controls.
      select, bias: which synapses the asymmetry test, the metric search and the loops take, see `UpdateField.build`.
      steps: look at the Jacobian after this many full-batch steps of each rule instead of at fresh synapses.
      states: other states in the metric search.
      memory: bytes for the largest arrays of a tool.
      say: called with a line before each tool.

    Returns:
      `Analysis`. A tool that refuses (too large, shared synapses, ...) is listed in `refused`, unless it was asked for by `only`.

    Raises:
      AnalysisError: an unknown tool, or a refusal of one that was asked for. ShapeError: task and topology do not fit.
    """
    wanted = list(only) or list(TOOLS)
    if unknown := [name for name in wanted if name not in TOOLS]:
        raise AnalysisError(f"only: got {', '.join(unknown)}; allowed: {', '.join(TOOLS)}")
    keys = jax.random.split(jax.random.key(seed), 6)
    task = task.instance(keys[5])
    problem = Problem(Network(topology, rule), task)
    x, y = (np.asarray(a) for a in task.sample(keys[0], batch_size))
    loss = "mse" if len(topology.outputs) == 1 else "softmax_cross_entropy"
    rules: dict[str, tuple[Genome, Rule]] = {"backprop": backprop_genome(0.5 / batch_size, loss=loss), title: (genome, rule)}
    rules["untrained"] = (untrained(genome, rule, keys[1]), rule)
    if title in ("backprop", "untrained"):
        rules = {title: (genome, rule), "untrained": rules["untrained"]}

    def at(name: str, where: Topology, **options: Any) -> UpdateField:
        own, its = rules[name]
        if name == "backprop":  # its rule says N(0, 0.1^2), from which nothing is learned
            its = its.replace(initial_deviation="fan_in")
        found = UpdateField.build(where, its, own, x, y, key=keys[2], **options)
        w = found.start
        for _ in range(steps):
            w = w + found(w)
        return found.moved(w) if steps else found

    def each(tool: Callable[[UpdateField], Any], where: Topology = topology) -> dict[str, Any]:
        return {name: tool(at(name, where, select=select, bias=bias)) for name in rules}

    def metric() -> dict[str, Any]:
        size = at(title, topology, select=select, bias=bias).size
        small = mlp(len(topology.inputs), HIDDEN, len(topology.outputs))
        where = topology
        if size > METRIC_SIZE and list(select) == ["all"] and at(title, small, bias=bias).size <= METRIC_SIZE:
            where = small
        elif size > METRIC_SIZE and "metric" not in only:
            raise AnalysisError(
                f"the metric search of {size:,} numbers would take long; up to {METRIC_SIZE} are searched unasked: "
                f"ask for it by name "
                f"(only metric), or choose fewer numbers (select, bias)"
            )
        facts["metric search on"] = (
            f"{where.title or 'the topology'} ({at(title, where, select=select, bias=bias).size} stored numbers)"
        )
        return each(lambda f: metric_search(f, states=states, key=keys[3], memory=memory), where)

    facts = {
        "topology": f"{topology.title or 'given'}: {topology.num_neurons} neurons, {topology.num_synapses} synapses",
        "task": f"{task.name}, {batch_size} rows in full batch",
        "rule": f"{rule.states} states, {'single-state, ' if rule.single_state_synapses else ''}"
        f"{'symmetric' if rule.symmetric else 'asymmetric'} synapses, normalization {rule.normalization}",
        "seed": str(seed),
        "Jacobian at": f"synapses after {steps} full-batch steps" if steps else "fresh synapses",
    }
    tools: dict[str, Callable[[], Any]] = {
        "asymmetry": lambda: each(lambda f: asymmetry(f, memory=memory)),
        "metric": metric,
        "circulation": lambda: each(lambda f: circulation(f, key=keys[4])),
        "closed": lambda: closed_curves(at(title, topology, select=select, bias=bias)),
        "decompose": lambda: decompose(at(title, topology)),
        "alignment": lambda: alignment(at(title, topology)),
        "longrun": lambda: long_run(problem, genome, batch_size=batch_size),
        "sensitivity": lambda: sensitivity(problem, genome, batch_size=batch_size),
        "oja": lambda: oja_limit(topology, rule, genome, x, y, key=keys[2]),
    }
    found = Analysis(title, facts)
    for name in (n for n in TOOLS if n in wanted):
        say(f"{name}: {TOOLS[name]}")
        try:
            found.results[name] = tools[name]()
        except NeurographError as error:
            if only:
                raise
            found.refused[name] = str(error)
    return found
