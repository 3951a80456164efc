"""Parts of a genome's matrices and of its update: backprop-like and others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from neurograph.analysis.field import UpdateField
from neurograph.genome import Genome
from neurograph.genome.model import MATRICES
from neurograph.genome.rule import Rule

__all__ = ["Decomposition", "decompose"]


@dataclass(frozen=True)
class Decomposition:
    """Result of `decompose`.

    Attributes:
      shares: for each of the four matrices the shares of its squared norm, summing to 1: "backprop" (along section 4.5's
        template in the first two states), "first two" (the rest of the first two states among themselves), "self" (along the
        template in further states) and "other" (mixing with and among further states).
      coefficients: for each matrix the coefficient of the template in the first two states.
      pairs: share of the Hebbian update's squared norm from state e of the sender and d of the receiver, taken alone; the shares
        need not sum to 1, as parts may cancel.
      alignment: projection of each part on the whole update, over the whole's squared norm; these sum to 1.
    """

    shares: dict[str, dict[str, float]]
    coefficients: dict[str, float]
    pairs: Float[np.ndarray, "k k"]
    alignment: Float[np.ndarray, "k k"]

    def summary(self) -> str:
        """Returns the result in words."""
        text = ", ".join(f"{name.split('_')[0]} {100 * s['backprop']:.0f} %" for name, s in self.shares.items())
        e, d = np.unravel_index(np.argmax(self.alignment), self.alignment.shape)
        return (
            f"backprop-like share of the matrices (squared norm): {text}; of the update, sender's state {e} x receiver's"
            f" state {d} makes {100 * self.alignment[e, d]:.0f} %, backprop's product (0 x 1) {100 * self.alignment[0, 1]:.0f} %"
        )


def _shares(matrix: Float[np.ndarray, "k k"], template: Float[np.ndarray, "k k"]) -> tuple[dict[str, float], float]:
    """Returns the shares of one matrix, and the coefficient of the template in the first two states."""
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
    """Splits the matrices, and the Hebbian update at w (default: the field's start), into parts.

    The update is linear in the products a_p^e a_q^d, so it is the sum of k^2 parts, one for each row e of nu~ and column d of
    mu~. Oja's term, saturation, decay and the division by its length (update_normalization) are left out of it.
    """
    genome = field.genome
    k = genome.states
    template = Genome.near_backprop(jax.random.key(0), Rule(states=k), noise=0.0)
    found = {name: _shares(*(np.asarray(getattr(one, name), np.float64) for one in (genome, template))) for name in MATRICES}
    w = field.start if w is None else w
    rule = field.network.rule.replace(
        oja="none",
        oja_scale=1.0,
        saturation="none",
        saturation_eps=0.0,
        forward_synapse_update=False,
        update_normalization="none",
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
    """Returns the genome with only row e of nu~ and column d of mu~ left, and no decay."""
    k = genome.states
    row, column = np.arange(k) == e, np.arange(k) == d
    kept: dict[str, Any] = {
        "pre_transform": np.asarray(genome.pre_transform) * row[:, None],
        "post_transform": np.asarray(genome.post_transform) * column,
        "synapse_keep": np.ones(()),
    }
    return replace(genome, **kept)
