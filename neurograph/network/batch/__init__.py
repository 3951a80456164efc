"""Graphs as data: one compiled program for every graph of a size class, thousands of graphs in one call.

`sizes.py` says which class a topology falls in, `layout.py` turns it into index tables of that class, `dense.py` is the kernel
that runs on them, `programs.py` what is compiled, `batch.py` the door. The mathematics are those of `Network`: step.py,
passes.py, hebbian.py and norms.py.
"""
