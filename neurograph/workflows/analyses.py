"""`analyze` in Python: whether a genome is gradient descent, from names, files or objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurograph.analysis.field import AnalysisError
from neurograph.analysis.tools import Analysis
from neurograph.analysis.tools import analyze as run
from neurograph.genome import Genome
from neurograph.workflows.objects import as_genome, as_task, as_topology

__all__ = ["analyze"]


def analyze(
    genome: Any,
    topology: Any,
    task: Any,
    folder: str | Path | None = None,
    *,
    only: Sequence[str] = (),
    title: str = "",
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Analysis:
    """Analyzes whether the rule of a genome is gradient descent, and what it does; what `neurograph analyze` does.

    Args:
      genome: a name of the zoo, a file, a `GenomeFile`, or a pair (genome, rule).
      topology: a shipped name, a file, layer widths ("2-20-2"), a `Topology`, or a networkx graph.
      task: a name with its options, a mapping of these, a `Task`, or a pair of arrays (x, labels).
      folder: where the page goes; None writes none.
      only: tools by name, of `neurograph.analysis.TOOLS`; default all.
      title: of the genome; default its name.
      say: called with a line before each tool.
      **options: of `neurograph.analysis.analyze`: batch_size, seed, select, bias, steps, states, memory.

    Returns:
      `Analysis`: `summaries()`, `results`, `refused`, `to_dict()`.

    Raises:
      AnalysisError: an unknown tool, or a refusal of one that was asked for. Others: as `transfer`.

    Examples:
      >>> import neurograph as ng
      >>> found = ng.analyze("functions", "2-3-2", "xor", only=["asymmetry"], batch_size=8)
      >>> list(found.results)
      ['asymmetry']
    """
    (found, rule), graph, data = as_genome(genome), as_topology(topology), as_task(task)
    if not isinstance(found, Genome):
        raise AnalysisError("genome: got one per layer; expected one that all neurons share")
    if len(graph.outputs) == 1 and data.num_classes == 2:
        data = data.with_outputs(1)
    name = title or (Path(genome).stem if isinstance(genome, (str, Path)) else "genome")
    result = run(found, rule, graph, data, only=only, title=name, say=say, **options)
    if folder is not None:
        from neurograph.report.analysis import write_page

        write_page(result, Path(folder))
    return result
