"""How activity flows along synapses: the fast kernel, run from a `Plan`.

A kernel offers two primitives, and everything that a genome does is written in terms of them:

- `aggregate`: z_j = sum over the synapses that arrive at j of w * signal (Eqs. 5 and 6: the same function, ends swapped);
- `correlate`: sum over the batch of one number at a synapse's sender times one at its receiver (Eq. 7);

and `sweep_levels`, the first of them over a whole run of levels. Inside, arrays are [states, neurons of a stage, batch]: batch
innermost was measured fastest (docs/performance.md).
"""

from neurograph.network.kernels.base import ALL, BACKWARD, EXTERNAL, FINAL, FORWARD, INTERNAL, Kernel, Signals
from neurograph.network.kernels.blocks import BlockKernel

__all__ = ["ALL", "BACKWARD", "EXTERNAL", "FINAL", "FORWARD", "INTERNAL", "BlockKernel", "Kernel", "Signals"]
