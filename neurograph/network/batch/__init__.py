"""Graphs as data: one compiled program for every graph of a size class, thousands of graphs in one call.

`sizes.py` says which class a topology falls in, `layout.py` turns it into index tables of that class, `dense.py` is the kernel
that runs on them, `batch.py` the door. The mathematics are those of `Network`: step.py, passes.py, hebbian.py and norms.py.
"""

from neurograph.network.batch.batch import NetworkBatch
from neurograph.network.batch.sizes import SizeClass

__all__ = ["NetworkBatch", "SizeClass"]
