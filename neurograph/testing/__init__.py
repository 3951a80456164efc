"""For tests of your own rules and graphs: asserts, hypothesis strategies, random graphs, and the learning step as NumPy loops.

Strategies need hypothesis: `pip install 'neurograph[testing]'`.
"""

from __future__ import annotations

from neurograph._lazy import attach

_NAMES: dict[str, tuple[str, ...]] = {
    "comparing": ("assert_equals_oracle", "assert_kernels_agree", "assert_permutation_invariant", "usable_kernels"),
    "descent": ("assert_fixed_point_gradient", "assert_gradient_descent"),
    "graphs": ("random_synapses", "random_topology"),
    "oracle": ("Oracle",),
    "rule_strategies": ("genomes", "rules"),
    "random_genomes": ("random_genome",),
    "strategies": ("batches", "topologies"),
}

__getattr__, __dir__, __all__ = attach(__name__, _NAMES)
