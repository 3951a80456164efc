"""Asymmetry of the update's Jacobian (Eqs. 9 and 10, figure 2): a gradient's Jacobian is symmetric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurograph.analysis.field import MEMORY, Place, UpdateField, require_memory

__all__ = ["Asymmetry", "asymmetry"]

CAN = (
    "An update that is minus the gradient of a loss has a symmetric Jacobian (Eqs. 9, 10), so asymmetry above the numerical error"
    " shows that no loss has this update as its gradient in these numbers. It does not show that the rule learns, nor that it"
    " learned anything: untrained random genomes are asymmetric too. Nor does it rule out gradient descent in another metric: see"
    " the metric search."
)


@dataclass(frozen=True)
class Asymmetry:
    """Result of `asymmetry`.

    Attributes:
      jacobian: [N, N] float64, d g_i / d w_j.
      places: what the N numbers are.
      norm: |J|, Frobenius; difference: |J - J^T|.
      error: bound of the numerical error of |J - J^T|.
      entry_error: the same for single entries.
    """

    jacobian: np.ndarray
    places: tuple[Place, ...]
    norm: float
    difference: float
    error: float
    entry_error: float

    @property
    def relative(self) -> float:
        """|J - J^T| / |J|: 0 for symmetric, 2 for antisymmetric, about 1.41 for independent entries."""
        return self.difference / self.norm if self.norm else 0.0

    @property
    def share(self) -> float:
        """Returns the norm of the antisymmetric part (J - J^T) / 2 over |J|: 0 to 1."""
        return self.relative / 2

    @property
    def relative_error(self) -> float:
        """The bound of the numerical error of `relative`."""
        return self.error / self.norm if self.norm else 0.0

    @property
    def symmetric(self) -> bool:
        """No asymmetry above the numerical error."""
        return self.difference <= self.error

    @property
    def log_map(self) -> np.ndarray:
        """Returns ln |J - J^T|; -inf where it is zero."""
        with np.errstate(divide="ignore"):
            return np.log(np.abs(self.jacobian - self.jacobian.T))

    def between_levels(self) -> dict[tuple[int, int], float]:
        """Returns the share of |J - J^T|^2 in each pair of levels (low, high); they sum to 1 (all 0 if there is no asymmetry)."""
        levels = np.array([p.level for p in self.places])
        squares = (self.jacobian - self.jacobian.T) ** 2
        total = squares.sum() or 1.0
        found = {}
        for a in sorted(set(levels.tolist())):
            for b in sorted(set(levels.tolist())):
                if a <= b:
                    part = squares[np.ix_(levels == a, levels == b)].sum()
                    found[a, b] = float(part * (1 if a == b else 2) / total)
        return found

    def summary(self) -> str:
        """Returns the result in words."""
        times = self.difference / self.error if self.error else np.inf
        verdict = (
            "symmetric to rounding: a loss may exist"
            if self.symmetric
            else f"asymmetric, {times:.3g} times the numerical error: not a gradient of any loss"
        )
        return (
            f"{len(self.places)} stored numbers: |J - J^T| / |J| = {self.relative:.3g} (numerical error below"
            f" {self.relative_error:.1e}); {verdict}"
        )


def asymmetry(field: UpdateField, w: np.ndarray | None = None, *, repeats: int = 3, memory: int = MEMORY) -> Asymmetry:
    """Returns the Jacobian of the update and how far it is from symmetric.

    The numerical error is measured: the Jacobian is computed again `repeats` times with the rows of the batch in another order
    and every number changed in its last bits. Ten times the largest difference, plus sqrt(N) eps |J|, bounds the error; in
    exact arithmetic the orders agree, so the differences are rounding alone.

    Args:
      field: the update in full batch.
      w: [N] where; default the field's start.
      memory: bytes that its matrices may take.

    Raises:
      AnalysisError: the matrices would not fit; names the size that would.

    Source: Sandler et al. 2021, Eqs. 9 and 10.
    """
    require_memory("the Jacobian", field.size, lambda n: 40 * n * n, memory, field.places)
    w = field.start if w is None else np.asarray(w, np.float64)
    jacobian = field.jacobian(w)
    eps = float(np.finfo(np.float64).eps)
    spread = largest = 0.0
    for seed in range(repeats):
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(w))
        other = field.reordered(seed).jacobian(w * (1 + eps * signs)) - jacobian
        spread, largest = max(spread, float(np.linalg.norm(other))), max(largest, float(np.abs(other).max()))
    norm = float(np.linalg.norm(jacobian))
    floor = eps * norm
    return Asymmetry(
        jacobian,
        field.places,
        norm,
        float(np.linalg.norm(jacobian - jacobian.T)),
        10 * spread + len(w) ** 0.5 * floor,
        10 * largest + eps * float(np.abs(jacobian).max(initial=0)),
    )
