"""What notebooks show of graphs, genomes, networks and results: HTML whose names are escaped and whose size is bounded.

The classes themselves have `_repr_html_`, which asks for these functions when a notebook shows something.
"""
