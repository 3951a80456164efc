"""neurograph: networks that are arbitrary directed graphs of multi-state neurons, learning by a small, shared genome.

Names are resolved when they are first used, so that `import neurograph` is instant and the topology floor needs no JAX.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES: dict[str, tuple[str, ...]] = {
    "neurograph.errors": (
        "ExperimentError",
        "GenomeError",
        "MissingExtraError",
        "NeurographError",
        "PlanError",
        "RuleError",
        "ShapeError",
        "SpecError",
        "TaskError",
        "TopologyError",
    ),
    "neurograph.topology": ("Topology", "build_topology", "from_networkx", "load_topology", "register_builder", "save_topology"),
    "neurograph.plan": ("Plan", "compile_plan"),
    "neurograph.activations": ("ACTIVATIONS", "with_derivative"),
    "neurograph.rule": ("Rule",),
    "neurograph.genome": (
        "Genome",
        "GenomeFile",
        "LayeredGenome",
        "average_genomes",
        "backprop_genome",
        "compare_genomes",
        "extend_genome",
        "extend_synapses",
        "format_genome",
        "load_genome",
        "load_genome_file",
        "save_genome",
        "zoo_names",
    ),
    "neurograph.types": ("Synapses", "Trace", "Weights"),
    "neurograph.network": ("Network",),
    "neurograph.memory": ("predicted_bytes",),
    "neurograph.population": ("population_map",),
    "neurograph.reference": ("from_graphs_tuple", "to_graphs_tuple"),
    "neurograph.learner": ("Problem", "accuracy", "learning_curve", "meta_loss", "query_loss"),
    "neurograph.continual": ("GenomeLearner", "Phase", "best_descent", "descent_learner", "learn_sequence", "permuted"),
    "neurograph.meta.vector": ("GenomeVector",),
    "neurograph.estimator": ("NeurographClassifier",),
    "neurograph.report": ("write_report",),
    "neurograph.report_compare": ("write_comparison",),
    "neurograph.tasks": (
        "Episode",
        "Task",
        "from_arrays",
        "from_csv",
        "from_frame",
        "from_image_folder",
        "get_task",
        "mix",
        "register_task",
        "task_names",
    ),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neurograph' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
