"""The rule at work: a topology and a rule make a `Network`, which learns by a genome.

The mathematics are `step.py`, `passes.py`, `hebbian.py` and `norms.py`; the folders `plan/` and `kernels/` are its speed.
"""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "network": ("Network",),
        "batch.batch": ("NetworkBatch",),
        "batch.sizes": ("SizeClass",),
        "state": ("Synapses", "Trace", "Weights"),
        "memory": ("predicted_bytes",),
        "widen": ("extend_synapses",),
        "plan": ("Plan", "compile_plan"),
        "kernels": ("BlockKernel", "Kernel"),
        "kernels.choice": ("KERNELS",),
        "kernels.reference": ("from_graphs_tuple", "to_graphs_tuple"),
    },
)
