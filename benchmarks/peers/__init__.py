"""The same learning step by other means.

Every peer is `make(case) -> Run`, or None where it cannot run the graph: one step (forward, backward, synapse update) of the
additive rule with tanh everywhere, without biases, on the numbers of the case. A peer keeps its own layout between steps, so that
no conversion is timed. Peers other than JAX are the `benchmark` extra; a missing one raises ImportError here, when it is made.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers import jax_peers, numpy_peers, torch_peers
from benchmarks.peers.case import ETA, Case, Run, make_case

__all__ = ["ETA", "GRADIENTS", "PEERS", "Case", "Run", "make_case"]

PEERS: dict[str, Callable[[Case], Run | None]] = {
    "ours": jax_peers.ours,
    "segment sums": jax_peers.segments,
    "jraph [B,E,k]": jax_peers.batch_first_segments,
    "einsum": jax_peers.einsum,
    "torch": torch_peers.dense,
    "torch csr": torch_peers.sparse,
    "PyG": torch_peers.message_passing,
    "scipy": numpy_peers.scipy_csr,
    "numba": numpy_peers.numba_loops,
}

# The gradient of a loss after ten steps with respect to the genome's matrices, each step recomputed on the way back.
GRADIENTS: dict[str, Callable[[Case], Run | None]] = {
    "ours": jax_peers.our_gradient,
    "segment sums": jax_peers.segments_gradient,
    "einsum": jax_peers.einsum_gradient,
}
