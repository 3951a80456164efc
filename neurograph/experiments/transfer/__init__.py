"""Transfer tests: genomes and tuned baselines on topologies and tasks, judged once on test data."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "curves": ("genome_curves", "transfer"),
        "matrix": ("transfer_matrix",),
        "matrix_results": ("TransferMatrix", "load_transfer_matrix"),
        "results": ("Transfer", "aggregate", "best_baselines", "load_transfer"),
    },
)
