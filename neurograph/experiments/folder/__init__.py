"""Files of a run: one room writes and reads their names."""
