"""Whether a run learns anything: its accuracies on validation data beside guessing, and what to try where they are no better."""

from __future__ import annotations

import math

import numpy as np

from neurograph.experiments.experiment import Experiment

__all__ = ["PART", "advice", "at_chance", "chance_level"]

PART = 1 / 3
"""The part of its meta-steps after which a run that is still at chance says so."""

ERRORS = 3.0  # standard errors above chance from which on an accuracy is taken for better


def chance_level(experiment: Experiment) -> float | None:
    """Returns the accuracy of guessing, mean over the experiment's problems; None where one has no classes (regression)."""
    classes = [problem.task.num_classes for problem in experiment.objective.problems]
    return float(np.mean([1 / count for count in classes])) if all(classes) else None


def at_chance(experiment: Experiment, accuracy: float) -> bool:
    """Returns whether an accuracy on validation data, mean over the problems, is not above guessing by three standard errors."""
    chance = chance_level(experiment)
    if chance is None:
        return False
    unroll, count = experiment.spec.unroll, len(experiment.spec.problems)
    rows = experiment.spec.training.validation_episodes * unroll.query_size * unroll.query_batches * count
    return not accuracy > chance + ERRORS * math.sqrt(chance * (1 - chance) / rows)


def advice(experiment: Experiment) -> str:
    """Returns what to try with an experiment that learns nothing, as one sentence."""
    start, rule, training = experiment.spec.start, experiment.rule, experiment.spec.training
    tries = []
    if not start.genome and "synapse_update" not in start.arrays:
        tries.append("start.arrays={synapse_update: 0.3} (synapses that stay where they are learn nothing)")
    if rule.normalization == "none":
        tries.append("rule.normalization=batch")
    if rule.initial_deviation == "genome":
        tries.append("rule.initial_deviation=fan_in")
    if rule.batch_reduction == "sum":
        tries.append("rule.batch_reduction=mean")
    tries.append(f"unroll.steps above {experiment.spec.unroll.steps}")
    if rate := getattr(training, "learning_rate", None):
        tries.append(f"another training.learning_rate than {rate:g}")
    return f"to try: {', '.join(tries)}; `neurograph new experiment NAME` writes an experiment that learns"
