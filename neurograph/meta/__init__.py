"""Meta-optimizers: what searches for genomes. They see only `objective(genome, key, steps) -> (loss, metrics)`."""

from neurograph.meta.gradient import GradientOptimizer, GradientState
from neurograph.meta.objective import Objective
from neurograph.meta.population import best_member, screen, select, stack, start_genomes

__all__ = [
    "GradientOptimizer",
    "GradientState",
    "Objective",
    "best_member",
    "screen",
    "select",
    "stack",
    "start_genomes",
]
