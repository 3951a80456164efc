"""Rank correlation over runs, beside SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from neurograph.reproduce.correlation import LEAST, correlated, correlation_text


def test_it_is_spearmans_with_a_bootstrap_and_a_permutation():
    random = np.random.default_rng(1)
    x = random.normal(size=20)
    y = np.round(x + random.normal(size=20))  # ties
    row = correlated(x, y)
    wanted = stats.spearmanr(x, y)
    assert row["rho"] == pytest.approx(wanted.statistic)
    assert 0.5 * wanted.pvalue < row["p"] < 2 * wanted.pvalue + 1e-3
    assert -1 <= row["low"] < row["rho"] < row["high"] <= 1
    assert row["runs"] == 20
    assert correlated(x, y) == row


def test_no_relation_has_an_interval_about_zero():
    random = np.random.default_rng(2)
    row = correlated(random.normal(size=40), random.normal(size=40))
    assert row["low"] < 0 < row["high"]
    assert row["p"] > 0.05


@pytest.mark.parametrize(("x", "y"), [([], []), ([1, 2, 3], [1, 2, 3]), ([1] * 6, range(6))])
def test_too_few_runs_that_differ_have_none(x, y):
    row = correlated(x, y)
    assert math.isnan(row["rho"])
    assert math.isnan(row["p"])
    assert correlation_text(row) == f"none over {len(x)} runs that differ (at least {LEAST})"


def test_the_text_has_interval_and_p():
    text = correlation_text({"rho": 0.8, "low": 0.5, "high": 0.95, "p": 0.0002, "runs": 16})
    assert text == "+0.80 (95 % of bootstraps over 16 runs +0.50 to +0.95, p 0.0002)"
