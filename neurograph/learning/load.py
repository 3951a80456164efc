"""What comparisons ask of every graph, for the rule by which graphs run as data of shared programs (network/batch/route.py)."""

from __future__ import annotations

from collections.abc import Sequence

from neurograph.learning.baselines import Setting
from neurograph.learning.trial import Trial
from neurograph.network.batch.route import Load

__all__ = ["descent_load", "genome_load"]

# Seconds of one core that compiling takes: what learns by a genome and is judged; what trains by gradient descent, per activation
# and batch norm. Measured on small graphs; it grows slowly with them.
GENOME_PROGRAM, DESCENT_PROGRAM = 6.0, 8.0
# Passes of a step: forward, backward, and the products of the update; of gradient descent those and what it keeps.
PASSES = 3


def genome_load(states: int, trial: Trial) -> Load:
    """The learning curves of a genome with so many states."""
    rows = PASSES * trial.at[-1] * trial.batch_size + len(trial.at) * trial.query_size
    return Load(trial.seeds * rows * states, GENOME_PROGRAM, may_be_quick=True)


def descent_load(settings: Sequence[Setting], rates: int, trial: Trial) -> Load:
    """Gradient descent by some settings, whose learning rates are chosen of so many, then tested."""
    runs = len(settings) * (rates * trial.validation_seeds + len(trial.at) * trial.seeds)
    rows = PASSES * trial.at[-1] * trial.batch_size + len(trial.at) * trial.query_size
    programs = len({(setting.activation, setting.batch_norm) for setting in settings})
    return Load(runs * rows, programs * DESCENT_PROGRAM)
