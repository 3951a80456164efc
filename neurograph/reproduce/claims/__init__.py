"""One file for each claim of the paper."""
