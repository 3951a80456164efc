"""The language of topology files: keys, connections, and how a description becomes a graph."""
