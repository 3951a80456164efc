"""Data sets in the form of tensorflow-datasets: found, read once, kept as arrays."""
