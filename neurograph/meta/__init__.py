"""Meta-optimizers: they search for genomes and see only `objective(genome, key, steps) -> (loss, metrics)`."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "devices": ("connect_hosts", "device_mesh"),
        "evolution": ("Evolution", "EvolutionOptimizer", "EvolutionState"),
        "gradient": ("GradientOptimizer", "GradientState"),
        "graphs": ("RandomNetworks", "RandomProblem"),
        "mapping": ("map_members", "population_map"),
        "objective": ("Learning", "Objective"),
        "pes": ("PES", "PESState"),
        "population": ("best_member", "evaluate", "member", "screen", "select", "stack", "start_genomes"),
        "strategies": ("CMA", "AntitheticES", "Strategy"),
    },
)
