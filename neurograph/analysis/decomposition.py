"""What a genome's matrices and its update are made of: backprop-like and other parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurograph.analysis.field import AnalysisError, UpdateField
from neurograph.genome import Genome

__all__ = ["MATRICES", "Decomposition", "decompose", "templates"]

MATRICES = ("forward_transform", "backward_transform", "pre_transform", "post_transform")


def templates(states: int) -> dict[str, np.ndarray]:
    """Section 4.5's backprop-like matrices: nu = mu = nu~ = 1, mu~ = 1 with its first two rows swapped (k >= 2).

    Raises:
      AnalysisError: one state only.
    """
    if states < 2:
        raise AnalysisError("decompose: a genome of one state has no backprop-like part; expected states >= 2")
    eye = np.eye(states)
    return dict.fromkeys(MATRICES, eye) | {"post_transform": eye[[1, 0, *range(2, states)]]}


@dataclass(frozen=True)
class Decomposition:
    """Result of `decompose`.

    Attributes:
      shares: for each of the four matrices four shares of its squared norm, summing to 1: of "backprop" (along the template's
        part
        in the first two states), "first two" (what else the first two states do among themselves), "self" (along the template's
        part in further states) and "other" (all else: mixing with and among further states).
      coefficients: of the template in the first two states.
      pairs: [k, k] share of the Hebbian update's squared norm from state e of the sender and d of the receiver, taken alone;
        they need not sum to 1, as parts may cancel.
      alignment: [k, k] projection of each part on the whole update, over the whole's squared norm: these sum to 1.
    """

    shares: dict[str, dict[str, float]]
    coefficients: dict[str, float]
    pairs: np.ndarray
    alignment: np.ndarray

    def summary(self) -> str:
        """In words."""
        text = ", ".join(f"{name.split('_')[0]} {100 * s['backprop']:.0f} %" for name, s in self.shares.items())
        e, d = np.unravel_index(np.argmax(self.alignment), self.alignment.shape)
        return (
            f"backprop-like share of the matrices (squared norm): {text}; of the update, sender's state {e} x "
            f"receiver's state {d} "
            f"makes {100 * self.alignment[e, d]:.0f} %, backprop's product (0 x 1) {100 * self.alignment[0, 1]:.0f} %"
        )


def _shares(matrix: np.ndarray, template: np.ndarray) -> tuple[dict[str, float], float]:
    head, tail = np.zeros_like(template), template.copy()
    head[:2, :2] = template[:2, :2]
    tail[:2, :2] = 0
    total = float((matrix**2).sum()) or 1.0
    first = np.zeros_like(matrix)
    first[:2, :2] = matrix[:2, :2]

    def along(t: np.ndarray) -> tuple[float, float]:
        norm = float((t**2).sum())
        return (float((matrix * t).sum()) / norm, norm) if norm else (0.0, 0.0)

    c, norm = along(head)
    s, size = along(tail)
    backprop, own = c * c * norm / total, s * s * size / total
    rest = float((first**2).sum()) / total - backprop
    found = {"backprop": backprop, "first two": rest, "self": own, "other": 1.0 - backprop - rest - own}
    return {name: max(value, 0.0) for name, value in found.items()}, c


def decompose(field: UpdateField, w: np.ndarray | None = None) -> Decomposition:
    """Split the matrices, and the Hebbian update at w, into parts.

    The update is linear in the products a_p^e a_q^d, so it is the sum of k^2 parts, one for each row e of nu~ and column d of
    mu~;
    Oja's term, saturation and decay are left out of it.

    Raises:
      AnalysisError: one state only.
    """
    genome = field.genome
    k = genome.states
    pattern = templates(k)
    found = {name: _shares(np.asarray(getattr(genome, name), np.float64), pattern[name]) for name in MATRICES}
    w = field.start if w is None else w
    rule = field.network.rule.replace(
        oja="none", oja_scale=1.0, saturation="none", saturation_eps=0.0, forward_synapse_update=False
    )
    if rule.synapse_normalization == "stored":
        rule = rule.replace(synapse_normalization="in_pass")  # the same pass, without the change of what is stored
    parts = np.zeros((k, k, field.size))
    plain = UpdateField.build(field.network.topology, rule, genome, field.x, field.y)
    plain = replace(plain, base=field.base, index=field.index, places=field.places)
    for e in range(k):
        for d in range(k):
            parts[e, d] = replace(plain, genome=_only(genome, e, d))(w)
    whole = parts.sum((0, 1))
    total = float(whole @ whole) or 1.0
    return Decomposition(
        {name: shares for name, (shares, _) in found.items()},
        {name: c for name, (_, c) in found.items()},
        (parts**2).sum(2) / total,
        parts @ whole / total,
    )


def _only(genome: Genome, e: int, d: int) -> Genome:
    """Hebbian matrices of which only row e of nu~ and column d of mu~ are left, and no decay."""
    k = genome.states
    row, column = np.arange(k) == e, np.arange(k) == d
    kept: dict[str, Any] = {
        "pre_transform": np.asarray(genome.pre_transform) * row[:, None],
        "post_transform": np.asarray(genome.post_transform) * column,
        "synapse_keep": np.ones(()),
    }
    return replace(genome, **kept)
