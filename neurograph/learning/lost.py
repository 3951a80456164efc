"""What counts for a run that was lost. No JAX: tables over folders need it too."""

from __future__ import annotations

__all__ = ["WORST_R2", "lost_score"]

WORST_R2 = -1e5
"""What every worse R^2 counts as, and that of a run that diverged: means and tables over runs stay finite."""


def lost_score(regression: bool = False) -> float:
    """Returns the score that a run or genome counts with that was lost, since nothing of it was finite: accuracy 0, of a
    regression `WORST_R2`, which no R^2 below 0 is beaten by.

    Examples:
      >>> from neurograph.learning.lost import lost_score
      >>> lost_score(), lost_score(regression=True)
      (0.0, -100000.0)
    """
    return WORST_R2 if regression else 0.0
