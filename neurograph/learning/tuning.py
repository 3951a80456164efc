"""Baselines chosen fairly: a learning rate per setting and step count from validation data, then one test on test data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from neurograph.learning.baselines import LEARNING_RATES, SETTINGS, Curves, Setting, baseline_curves
from neurograph.learning.inner_loop import Problem
from neurograph.learning.lost import lost_score
from neurograph.learning.trial import Trial

__all__ = ["Choice", "Chosen", "Tuned", "choose_learning_rates", "tuned_baselines"]

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Chosen:
    """The learning rate of one setting and one step count, with the scores that decided it.

    Attributes:
      accuracy: mean over the seeds on validation data; a failed run counts as 0. Of a regression R^2, where it counts as
        `WORST_R2`.
      loss: mean over the runs that did not fail.
      failures: runs, of `seeds`, that failed at this rate.
      at_edge: whether the best rate is still the lowest or highest tried.
      best: whether the setting is the best of this step count on validation data.
    """

    setting: Setting
    step: int
    learning_rate: float
    accuracy: float
    loss: float
    failures: int
    seeds: int
    at_edge: bool
    best: bool = False


@dataclass(frozen=True)
class Choice:
    """The learning rates of all settings.

    Attributes:
      chosen: one per setting and step count.
      configurations: pairs of setting and learning rate that were tried.
      runs: configurations times seeds.
      failures: runs whose loss was not finite at a step count that they were run to.
    """

    chosen: tuple[Chosen, ...]
    configurations: int
    runs: int
    failures: int


def choose_learning_rates(
    problem: Problem,
    trial: Trial,
    settings: Sequence[Setting] = SETTINGS,
    rates: Sequence[float] = LEARNING_RATES,
    *,
    key: jax.Array,
    extensions: int = 2,
    progress: Progress | None = None,
) -> Choice:
    """Chooses the learning rate of every setting and step count, by mean accuracy on validation data (ties: by loss).

    Where the best rate is the lowest or highest tried, the grid of that setting grows by two decades on that side, at most
    `extensions` times; a rate that is at the edge even then is marked. A single rate is taken as it is. Where the trial's search
    is "halving", the better half of the rates at one step count, at least `FEWEST`, goes on to the next.

    Args:
      problem: an `ordinary_network` and the task.
      trial: step counts, sizes, `validation_seeds` and the search.
      key: PRNG key of the validation runs.
    """
    rates = sorted({float(rate) for rate in rates})
    ratio = (rates[-1] / rates[0]) ** (1 / (len(rates) - 1)) if len(rates) > 1 else 10**0.5
    more = max(1, round(2 / math.log10(ratio)))
    seeds = trial.validation_seeds
    every = partial(baseline_curves, problem, keys=jax.random.split(key, seeds), **trial.sizes)
    run = partial(_halved, every, trial.at) if trial.search == "halving" else every
    chosen: list[Chosen] = []
    configurations = failures = 0
    for setting in settings:
        if progress:
            progress(f"choosing a learning rate: {setting}")
        curves = run(setting, rates)
        for round_ in range(extensions + 1):
            best = [_best_rate(curves, index) for index in range(len(curves.at))]
            low, high = 0 in best, len(curves.rates) - 1 in best
            if round_ == extensions or len(rates) == 1 or not (low or high):
                break
            if low:
                curves = _joined(run(setting, [curves.rates[0] * ratio**-i for i in range(more, 0, -1)]), curves)
            if high:
                curves = _joined(curves, run(setting, [curves.rates[-1] * ratio**i for i in range(1, more + 1)]))
        configurations += len(curves.rates)
        failures += int(curves.failed.any(axis=2).sum())
        scores, losses = _scores(curves)
        chosen += [
            Chosen(
                setting,
                step,
                float(f"{curves.rates[b]:.6g}"),
                float(scores[b, index]),
                float(losses[b, index]),
                int(curves.failed[b, :, index].sum()),
                seeds,
                step > 0 and b in (0, len(curves.rates) - 1),
            )
            for index, (step, b) in enumerate(zip(curves.at, best, strict=True))
        ]
    ranked: dict[int, Chosen] = {}
    for one in chosen:
        if one.step not in ranked or (one.accuracy, -one.loss) > (ranked[one.step].accuracy, -ranked[one.step].loss):
            ranked[one.step] = one
    marked = tuple(replace(one, best=one is ranked[one.step]) for one in chosen)
    return Choice(marked, configurations, configurations * seeds, failures)


FEWEST = 3  # rates that go on


def _halved(run: Callable[..., Curves], at: Sequence[int], setting: Setting, rates: Sequence[float]) -> Curves:
    """Returns the curves of a setting, each rate run as far as it was among the better half; the others end there.

    A rate that goes on starts anew: the steps before are a small part of those to come, and nothing has to be kept.
    """
    steps = [step for step in at if step > 0] or [*at]
    curves = run(setting, rates, until=[steps[0]] * len(rates))
    going = np.arange(len(rates))
    for last, step in itertools.pairwise(steps):
        hits, loss = (part[going, at.index(last)] for part in _scores(curves))
        best = np.lexsort((loss, -hits))[: max(-(-len(going) // 2), FEWEST)]
        going = np.sort(going[best])
        further = run(setting, [rates[number] for number in going], until=[step] * len(going))
        until = np.array(curves.until)
        until[going] = step
        curves.loss[going], curves.accuracy[going] = further.loss, further.accuracy
        curves = replace(curves, until=tuple(until.tolist()))
    return curves


def _scores(curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean accuracy, of failed runs `lost_score`, and mean loss of the others (else infinite), [rates, len(at)].

    Where a rate was not run to, its accuracy is minus and its loss plus infinity.
    """
    failed, reached = curves.failed, curves.reached[:, 0]
    hits = np.where(failed, lost_score(curves.regression), curves.accuracy).mean(axis=1)
    count = (~failed).sum(axis=1)
    loss = np.where(failed, 0.0, curves.loss).sum(axis=1) / np.maximum(count, 1)
    return np.where(reached, hits, -np.inf), np.where(reached & (count > 0), loss, np.inf)


def _best_rate(curves: Curves, index: int) -> int:
    if curves.at[index] == 0:  # nothing is learned in 0 steps: any rate will do
        return len(curves.rates) // 2
    hits, loss = (part[:, index] for part in _scores(curves))
    return int(np.lexsort((loss, -hits))[0])


def _joined(first: Curves, second: Curves) -> Curves:
    loss, hits = (np.concatenate([getattr(c, name) for c in (first, second)], axis=0) for name in ("loss", "accuracy"))
    rates, until = (*first.rates, *second.rates), (*first.until, *second.until)
    return Curves(first.setting, rates, first.at, loss, hits, first.regression, until)


# -- testing once --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tuned:
    """Baselines at their chosen learning rates.

    Attributes:
      choice: from validation data.
      rows: one dict per setting, step count and seed, judged on test data at the chosen rate: {setting fields, "learning_rate",
        "step", "seed", "accuracy", "loss", "failed"}.
    """

    choice: Choice
    rows: tuple[dict[str, Any], ...]


def tuned_baselines(
    problem: Problem,
    trial: Trial,
    task: int = 0,
    *,
    settings: Sequence[Setting] = SETTINGS,
    rates: Sequence[float] = LEARNING_RATES,
    extensions: int = 2,
    judged_on: str = "test",
    progress: Progress | None = None,
) -> Tuned:
    """Chooses learning rates on validation data, then judges every setting on test data (or the split `judged_on`) once.

    Args:
      problem: an `ordinary_network` and the task.
      trial: its step counts get a learning rate each, chosen for exactly so many steps; its keys are those of the genome that
        the baselines are compared with.
      task: number of the task in the test, which decides the keys.
    """
    test_keys, choice_key = trial.keys(task)
    choice = choose_learning_rates(problem, trial, settings, rates, key=choice_key, extensions=extensions, progress=progress)
    rows = []
    for setting in settings:
        mine = [one for one in choice.chosen if one.setting == setting]
        if progress:
            progress(f"testing: {setting}")
        wanted = sorted({one.learning_rate for one in mine})
        until = [max(one.step for one in mine if one.learning_rate == rate) for rate in wanted]
        curves = baseline_curves(problem, setting, wanted, keys=test_keys, judged_on=judged_on, until=until, **trial.sizes)
        for one in mine:
            at_rate, index = wanted.index(one.learning_rate), curves.at.index(one.step)
            for number in range(len(test_keys)):
                loss = float(curves.loss[at_rate, number, index])
                rows.append(
                    {
                        "optimizer": setting.optimizer,
                        "activation": setting.activation,
                        "batch_norm": setting.batch_norm,
                        "learning_rate": one.learning_rate,
                        "step": one.step,
                        "seed": number,
                        "accuracy": float(curves.accuracy[at_rate, number, index]),
                        "loss": loss if math.isfinite(loss) else None,
                        "failed": not math.isfinite(loss),
                    }
                )
    return Tuned(choice, tuple(rows))
