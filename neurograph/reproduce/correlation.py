"""Rank correlation of two numbers over runs, with its uncertainty. Plain data, no JAX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from neurograph.experiments.transfer.results import Row

__all__ = ["LEAST", "correlated", "correlation_text"]

LEAST = 5  # runs; of fewer, even a perfect order is likely enough by chance


def correlated(x: Sequence[float], y: Sequence[float], *, draws: int = 4000, seed: int = 0) -> Row:
    """Returns Spearman's correlation of two numbers over runs.

    Returns:
      {"rho"; "low", "high": 95% of `draws` bootstraps over runs lie between; "p": share of `draws` random exchanges (and the
      order itself) with |rho| as large; "runs"}. All but "runs" are NaN for fewer than `LEAST` runs, or where x or y does not
      differ.
    """
    one, other = np.asarray(x, float), np.asarray(y, float)
    runs = len(one)
    if runs < LEAST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return dict.fromkeys(("rho", "low", "high", "p"), float("nan")) | {"runs": runs}
    random = np.random.default_rng(seed)
    rho = float(_rho(one[None], other[None])[0])
    chosen = random.integers(0, runs, (draws, runs))
    again = _rho(one[chosen], other[chosen])
    low, high = np.nanquantile(again, (0.025, 0.975))
    chance = np.abs(_rho(one[None], other[random.permuted(np.tile(np.arange(runs), (draws, 1)), axis=1)]))
    p = (1 + np.sum(chance >= abs(rho) - 1e-12)) / (1 + draws)
    return {"rho": rho, "low": float(low), "high": float(high), "p": float(p), "runs": runs}


def correlation_text(row: Row) -> str:
    """Returns "+0.81 (95 % of bootstraps over 16 runs +0.51 to +0.95, p 0.0002)", or that there are too few runs."""
    if not np.isfinite(row["rho"]):
        return f"none over {row['runs']} runs that differ (at least {LEAST})"
    found = f"{row['low']:+.2f} to {row['high']:+.2f}, p {row['p']:.4f}"
    return f"{row['rho']:+.2f} (95 % of bootstraps over {row['runs']} runs {found})"


def _rho(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns [many], the correlation of the ranks of the rows of x and y [many or 1, runs]; NaN where a row does not differ."""
    mine, theirs = (stats.rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (x, y))
    length = np.sqrt((mine**2).sum(axis=1) * (theirs**2).sum(axis=1))
    return np.divide((mine * theirs).sum(axis=1), length, out=np.full(np.broadcast(length).shape, np.nan), where=length > 0)
