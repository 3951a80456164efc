"""Figures, each made from results: no figure knows a page."""
