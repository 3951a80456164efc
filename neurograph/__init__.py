"""neurograph: networks that are arbitrary directed graphs of multi-state neurons, learning by a small, shared genome.

Names are resolved when they are first used, so that `import neurograph` is instant and the topology floor needs no JAX.
"""

from __future__ import annotations

from neurograph._lazy import attach

__version__ = "0.1.0"

_NAMES: dict[str, tuple[str, ...]] = {
    "errors": (
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
    "topology": ("Topology", "build_topology", "from_networkx", "load_topology", "mlp", "register_builder", "save_topology"),
    "tasks": (
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
    "genome": (
        "ACTIVATIONS",
        "CLASSICS",
        "Genome",
        "GenomeFile",
        "GenomeVector",
        "LayeredGenome",
        "Rule",
        "average_genomes",
        "backprop_genome",
        "classic",
        "compare_genomes",
        "extend_genome",
        "format_genome",
        "load_genome",
        "load_genome_file",
        "save_genome",
        "with_derivative",
        "zoo_names",
    ),
    "network": (
        "Network",
        "NetworkBatch",
        "Plan",
        "SizeClass",
        "Synapses",
        "Trace",
        "Weights",
        "compile_plan",
        "extend_synapses",
        "from_graphs_tuple",
        "predicted_bytes",
        "to_graphs_tuple",
    ),
    "learning": (
        "GenomeLearner",
        "NeurographClassifier",
        "NeurographRegressor",
        "Phase",
        "Problem",
        "accuracy",
        "best_descent",
        "descent_learner",
        "learn_sequence",
        "learning_curve",
        "meta_loss",
        "permuted",
        "query_loss",
        "r2",
    ),
    "meta": ("population_map",),
    "report": ("write_comparison", "write_report"),
    "workflows": ("MetaTraining", "analyze", "evolve", "meta_train", "transfer"),
}

__getattr__, __dir__, __all__ = attach(__name__, _NAMES)
