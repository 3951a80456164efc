"""`analyze`: every tool on one genome. A tool is a question, the run that answers it, and what the answer can and cannot show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from neurograph.analysis.decomposition import decompose
from neurograph.analysis.directions import alignment
from neurograph.analysis.field import MEMORY, AnalysisError, UpdateField
from neurograph.analysis.longrun import long_run
from neurograph.analysis.loops import circulation, closed_curves
from neurograph.analysis.metric import metric_search
from neurograph.analysis.oja import oja_limit
from neurograph.analysis.perturb import sensitivity
from neurograph.analysis.symmetry import CAN, asymmetry
from neurograph.errors import NeurographError
from neurograph.genome import Genome, backprop_genome
from neurograph.genome.model import MATRICES
from neurograph.genome.rule import Rule
from neurograph.learning.inner_loop import Problem, for_regression, is_regression
from neurograph.network.network import Network
from neurograph.tasks import Task
from neurograph.topology import Topology
from neurograph.topology.layered import mlp

__all__ = ["TOOLS", "Analysis", "Setting", "Tool", "analyze", "untrained"]

HIDDEN = 5
"""Hidden neurons of the metric search where the topology is too large for it: the paper's."""
METRIC_SIZE = 64
"""Largest number of stored numbers for which the metric search is made on the topology itself (seconds; 100 take minutes)."""


def untrained(genome: Genome, rule: Rule, key: jax.Array) -> Genome:
    """Returns the control: the genome's gates and moments, its matrices drawn with each matrix's own root mean square."""
    keys = jax.random.split(key, len(MATRICES))
    drawn = {}
    for name, one in zip(MATRICES, keys):
        matrix = np.asarray(getattr(genome, name))
        drawn[name] = np.sqrt((matrix**2).mean()) * np.asarray(jax.random.normal(one, matrix.shape))
    return genome.replace(**{name: value.astype(np.asarray(genome.forward_transform).dtype) for name, value in drawn.items()})


class Setting:
    """A genome on a topology and a batch, beside backprop and an untrained genome: what the tools work on.

    Attributes:
      rules: (genome, rule) by name; `title` is the name of the genome in question.
      facts: what was analysed, by name; a tool may add to it.
      asked: the tools that were asked for by name.
    """

    def __init__(
        self,
        genome: Genome,
        rule: Rule,
        topology: Topology,
        task: Task,
        *,
        title: str = "genome",
        batch_size: int = 64,
        seed: int = 0,
        select: Sequence[str] = ("all",),
        bias: bool = True,
        steps: int = 0,
        states: int = 100,
        memory: int = MEMORY,
        asked: Sequence[str] = (),
    ):
        rule = for_regression(rule) if is_regression(task) else rule
        self.genome, self.rule, self.topology, self.title = genome, rule, topology, title
        self.batch_size, self.steps, self.states, self.memory, self.asked = batch_size, steps, states, memory, tuple(asked)
        self.chosen: dict[str, Any] = {"select": select, "bias": bias}
        self.keys = jax.random.split(jax.random.key(seed), 6)
        task = task.instance(self.keys[5])
        self.problem = Problem(Network(topology, rule), task)
        self.x, self.y = (np.asarray(a) for a in task.sample(self.keys[0], batch_size))
        loss = "mse" if is_regression(task) or len(topology.outputs) == 1 else "softmax_cross_entropy"
        control = (untrained(genome, rule, self.keys[1]), rule)
        self.rules: dict[str, tuple[Genome, Rule]] = {title: (genome, rule), "untrained": control}
        if title not in ("backprop", "untrained"):
            self.rules = {"backprop": backprop_genome(0.5 / batch_size, loss=loss)} | self.rules
        self.facts = {
            "topology": f"{topology.title or 'given'}: {topology.num_neurons} neurons, {topology.num_synapses} synapses",
            "task": f"{task.name}, {batch_size} rows in full batch",
            "rule": f"{rule.states} states, {'single-state, ' if rule.single_state_synapses else ''}"
            f"{'symmetric' if rule.symmetric else 'asymmetric'} synapses, normalization {rule.normalization}",
            "seed": str(seed),
            "Jacobian at": f"synapses after {steps} full-batch steps" if steps else "fresh synapses",
        }

    def field(self, name: str = "", where: Topology | None = None, **options: Any) -> UpdateField:
        """Returns the field of one of `rules` (default: the genome in question) after `steps` steps.

        Args:
          where: another topology than that of the setting.
          options: of `UpdateField.build`: which synapses are taken.
        """
        genome, rule = self.rules[name or self.title]
        if name == "backprop":  # its rule says N(0, 0.1^2), from which nothing is learned
            rule = rule.replace(initial_deviation="fan_in")
        found = UpdateField.build(where or self.topology, rule, genome, self.x, self.y, key=self.keys[2], **options)
        w = found.start
        for _ in range(self.steps):
            w = w + found(w)
        return found.moved(w) if self.steps else found

    def each(self, tool: Callable[[UpdateField], Any], where: Topology | None = None) -> dict[str, Any]:
        """Returns what a tool finds for every rule, on the synapses that were chosen."""
        return {name: tool(self.field(name, where, **self.chosen)) for name in self.rules}


@dataclass(frozen=True)
class Tool:
    """A question, the run that answers it, and what the answer can and cannot show."""

    question: str
    run: Callable[[Setting], Any]
    limits: str = ""


def _metric(at: Setting) -> dict[str, Any]:
    """Searches metrics on the topology, or on the paper's small one where that is too large.

    Raises:
      AnalysisError: too many numbers, and the search was not asked for by name.
    """
    where, size = at.topology, at.field(**at.chosen).size
    small = mlp(len(where.inputs), HIDDEN, len(where.outputs))
    if size > METRIC_SIZE and list(at.chosen["select"]) == ["all"] and at.field("", small, **at.chosen).size <= METRIC_SIZE:
        where = small
    elif size > METRIC_SIZE and "metric" not in at.asked:
        raise AnalysisError(
            f"the metric search of {size:,} numbers would take long; up to {METRIC_SIZE} are searched unasked: "
            "ask for it by name (only metric), or choose fewer numbers (select, bias)"
        )
    stored = at.field("", where, **at.chosen).size
    at.facts["metric search on"] = f"{where.title or 'the topology'} ({stored} stored numbers)"
    return at.each(lambda f: metric_search(f, states=at.states, key=at.keys[3], memory=at.memory), where)


TOOLS: dict[str, Tool] = {
    "asymmetry": Tool(
        "Is the update's Jacobian symmetric? (Eqs. 9, 10, figure 2)",
        lambda at: at.each(lambda f: asymmetry(f, memory=at.memory)),
        CAN,
    ),
    "metric": Tool(
        "Is it gradient descent in some constant metric? (Eqs. 11 to 13)",
        _metric,
        "A constant metric is one possibility among many: none found here does not rule out one that depends on the synapses, and"
        " one found holds at the states that were looked at. A basis vector of the null space survives only if it lies in the"
        " joint null space by itself, so the count of survivors depends on the basis; the joint space does not.",
    ),
    "circulation": Tool(
        "Is there work left over round closed loops? (appendix A)",
        lambda at: at.each(lambda f: circulation(f, key=at.keys[4])),
        "A gradient does no work round a closed loop, so one clear value shows that there is no loss, over the region of the"
        " circle. Zero on some random circles is evidence, no proof.",
    ),
    "closed": Tool(
        "Do its curves close? (appendix A)",
        lambda at: closed_curves(at.field(**at.chosen)),
        "A closed curve of the flow, or a spiral into rest, rules out every loss in every smooth metric. Not finding one shows"
        " nothing. Time 1 is one full learning step; the curves are those of small steps.",
    ),
    "decompose": Tool(
        "How much of the genome looks like backprop?",
        lambda at: decompose(at.field()),
        "The template is section 4.5's: identities, and the first two states swapped in the Hebbian product. Relabelling states"
        " beyond the first two changes nothing a network does, but moves shares; the parts of the update do not depend on such"
        " names.",
    ),
    "alignment": Tool(
        "Does it follow the loss's gradient? Is the loss a Lyapunov function?",
        lambda at: alignment(at.field(), regression=is_regression(at.problem.task)),
        "The gradient is that of the meta-loss on the batch, one loss among many: a low cosine does not mean that no loss falls."
        " That it falls on one trajectory is no proof of a Lyapunov function; that it rises at small steps disproves this one.",
    ),
    "longrun": Tool("What happens over long runs?", lambda at: long_run(at.problem, at.genome, batch_size=at.batch_size)),
    "sensitivity": Tool(
        "Which of its numbers matter?",
        lambda at: sensitivity(at.problem, at.genome, batch_size=at.batch_size),
        "One number at a time, on validation data; pairs that can stand in for each other both look idle.",
    ),
    "oja": Tool(
        "Is Eq. 8 the limit of the normalised update? (appendix B)",
        lambda at: oja_limit(at.topology, at.rule, at.genome, at.x, at.y, key=at.keys[2]),
    ),
}
"""The tools of `analyze` by name, in the order of its page."""


@dataclass
class Analysis:
    """Results of `analyze`.

    Attributes:
      facts: what was analysed.
      results: by tool a result, or a dict of them by rule.
      refused: by tool why it was not run.
    """

    title: str
    facts: dict[str, str]
    results: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def summaries(self) -> dict[str, dict[str, str]]:
        """Returns one sentence per tool and rule."""
        found = {}
        for tool, result in self.results.items():
            by_rule = result if isinstance(result, dict) else {"genome": result}
            found[tool] = {name: one.summary() for name, one in by_rule.items()}
        return found

    def to_dict(self, largest: int = 512) -> dict[str, Any]:
        """Returns JSON data: sentences, and every field of the results but arrays of more than `largest` numbers."""
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
    """Runs the tools on a genome, some of them also on backprop and on an untrained genome.

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
    at = Setting(
        genome,
        rule,
        topology,
        task,
        title=title,
        batch_size=batch_size,
        seed=seed,
        select=select,
        bias=bias,
        steps=steps,
        states=states,
        memory=memory,
        asked=only,
    )
    found = Analysis(title, at.facts)
    for name, tool in TOOLS.items():
        if name not in wanted:
            continue
        say(f"{name}: {tool.question}")
        try:
            found.results[name] = tool.run(at)
        except NeurographError as error:
            if only:
                raise
            found.refused[name] = str(error)
    return found
