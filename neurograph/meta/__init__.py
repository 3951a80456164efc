"""Meta-optimizers: what searches for genomes. They see only `objective(genome, key, steps) -> (loss, metrics)`."""

from neurograph.meta.evolution import CMA, AntitheticES, Strategy
from neurograph.meta.gradient import GradientOptimizer, GradientState
from neurograph.meta.objective import Objective
from neurograph.meta.population import best_member, screen, select, stack, start_genomes
from neurograph.meta.search import Evolution, EvolutionOptimizer, EvolutionState
from neurograph.meta.vector import GenomeVector, searched_fields

__all__ = [
    "CMA",
    "AntitheticES",
    "Evolution",
    "EvolutionOptimizer",
    "EvolutionState",
    "GenomeVector",
    "GradientOptimizer",
    "GradientState",
    "Objective",
    "Strategy",
    "best_member",
    "screen",
    "searched_fields",
    "select",
    "stack",
    "start_genomes",
]
