"""Meta-optimizers: what searches for genomes. They see only `objective(genome, key, steps) -> (loss, metrics)`."""

from neurograph.genome.vector import GenomeVector
from neurograph.meta.devices import connect_hosts, device_mesh
from neurograph.meta.evolution import CMA, AntitheticES, Strategy
from neurograph.meta.gradient import GradientOptimizer, GradientState
from neurograph.meta.objective import Learning, Objective
from neurograph.meta.pes import PES, PESState
from neurograph.meta.population import best_member, screen, select, stack, start_genomes
from neurograph.meta.search import Evolution, EvolutionOptimizer, EvolutionState

__all__ = [
    "CMA",
    "PES",
    "AntitheticES",
    "Evolution",
    "EvolutionOptimizer",
    "EvolutionState",
    "GenomeVector",
    "GradientOptimizer",
    "GradientState",
    "Learning",
    "Objective",
    "PESState",
    "Strategy",
    "best_member",
    "connect_hosts",
    "device_mesh",
    "screen",
    "select",
    "stack",
    "start_genomes",
]
