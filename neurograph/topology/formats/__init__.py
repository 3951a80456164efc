"""Readers and writers of graph files; `neurograph.topology.files` is the door to them."""
