"""Is the update gradient descent in some constant metric? The null space of g Q - (g Q)^T = 0 (Eqs. 11 to 13, appendix A)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import jax
import numpy as np
import scipy.linalg
import scipy.optimize

from neurograph.analysis.field import MEMORY, AnalysisError, UpdateField, require_memory
from neurograph.genome import AnyGenome, LayeredGenome

__all__ = ["PAPER", "MetricSearch", "metric_of_jacobians", "metric_search", "most_definite"]

PAPER = {"null_dimension": 265, "surviving": 4, "positive_definite": 0}
"""Appendix A: two states, a 2-input Boolean task, one hidden layer of 5; 4 of 265 basis vectors solve the 100 other systems, and
none of them is positive definite ("actually had 0 eigenvalues")."""


@dataclass(frozen=True)
class MetricSearch:
    """Result of `metric_search`. N numbers, S other states.

    Attributes:
      size: N.
      singular_values: of the system at the first state, Q scaled to norm 1, descending.
      null_dimension: basis vectors of its null space: singular values below the threshold.
      idle: numbers that no other number's update depends on at the first state, such as backward synapses into inputs; d of them
        make the null space N + d (d - 1) / 2 at least, if f~ is the same for all.
      conserved: independent combinations v of the numbers that never learn: their update is f~ - 1 times themselves, and a
        constant, so v Q = (f~ - 1) v at every state. m of them make the joint null space m (m + 1) / 2 at least, of all products
        u v^T + v u^T, whose combinations have N - m eigenvalues 0. None where f~ is not one number.
      surviving: of these basis vectors, those that solve the system at every other state (the paper's count).
      surviving_eigenvalues: [surviving, N] ascending eigenvalues of those.
      joint: [D, N, N] orthonormal basis of ALL symmetric g that solve the system at every state: unlike `surviving` this does not
        depend on the basis that the SVD happened to return.
      best: [N, N] the g of the joint space with the largest least eigenvalue, combination bounded by 1 in every coordinate.
      least_eigenvalue: of `best`; bound: no combination has a larger one.
      complex_states: at how many of the 1 + S states Q has eigenvalues that are not real: each rules out every constant metric.
      checked: S.
      threshold: below which a singular value counts as zero.
    """

    size: int
    singular_values: np.ndarray
    null_dimension: int
    idle: int
    conserved: int | None
    surviving: int
    surviving_eigenvalues: np.ndarray
    joint: np.ndarray
    best: np.ndarray
    least_eigenvalue: float
    bound: float
    complex_states: int
    checked: int
    threshold: float

    @property
    def positive_definite(self) -> str:
        """ "yes", "no" (proved by the bound, to 1e-6), or "undecided"."""
        if self.least_eigenvalue > 1e-6:
            return "yes"
        return "no" if self.bound <= 1e-6 else "undecided"

    @property
    def surviving_definite(self) -> int:
        """Returns how many of the surviving basis vectors are definite (positive, or negative: then minus g is a metric)."""
        e = self.surviving_eigenvalues
        return int(((e[:, :1] > 1e-6) | (e[:, -1:] < -1e-6)).sum()) if len(e) else 0

    def table(self) -> list[tuple[str, str, str]]:
        """Returns rows (what, here, in the paper)."""
        return [
            ("stored numbers N", str(self.size), "not stated"),
            ("of these, numbers that no other's update depends on", str(self.idle), "not stated"),
            ("basis vectors of the null space at one state", str(self.null_dimension), str(PAPER["null_dimension"])),
            (
                f"of these, solve the system at all {self.checked} other states",
                str(self.surviving),
                f"{PAPER['surviving']} (100 states)",
            ),
            ("positive definite among the survivors", str(self.surviving_definite), str(PAPER["positive_definite"])),
            ("dimension of the joint null space of all states", str(len(self.joint)), "not stated"),
            (
                "combinations of numbers that never learn, m; they make m (m + 1) / 2 of it",
                "f~ differs" if self.conserved is None else str(self.conserved),
                "not stated",
            ),
            ("a positive definite combination", self.positive_definite, "not stated"),
            ("states whose Q has complex eigenvalues", f"{self.complex_states} of {self.checked + 1}", "not stated"),
        ]

    def summary(self) -> str:
        """Returns the result in words."""
        verdict = {
            "yes": f"a positive definite metric exists (least eigenvalue {self.least_eigenvalue:.3g}): "
            "generalized gradient descent at these states",
            "no": "no combination is positive definite: no constant metric makes this a gradient",
            "undecided": f"undecided: least eigenvalue {self.least_eigenvalue:.1e}, bound {self.bound:.1e}",
        }[self.positive_definite]
        return (
            f"{self.size} stored numbers: {self.null_dimension} basis vectors at one state, {self.surviving} of them"
            f" survive {self.checked} other states; joint null space of dimension {len(self.joint)}; {verdict}; "
            f"complex eigenvalues at {self.complex_states} of {self.checked + 1} states"
        )


def metric_search(
    field: UpdateField,
    *,
    states: int = 100,
    threshold: float = 1e-8,
    key: jax.Array | None = None,
    memory: int = MEMORY,
) -> MetricSearch:
    """Searches for a constant metric g with g Q(w) symmetric at the field's start and at `states` other random states.

    Args:
      field: the update in full batch; N numbers. The system has N (N + 1) / 2 unknowns: up to about a hundred numbers.
      states: how many other states check the candidates.
      threshold: on singular values, with every Q scaled to Frobenius norm 1.
      key: draws the other states.

    Raises:
      AnalysisError: the system would not fit into `memory` (names the size that would); a bad `states` or `threshold`.

    Source: Sandler et al. 2021, Eqs. 11 to 13 and appendix A.
    """
    if states < 1:
        raise AnalysisError(f"states: got {states}; expected an integer >= 1")
    _check_size(field.size, memory, field)
    keys = jax.random.split(jax.random.key(1) if key is None else key, states)
    keep = np.unique([np.asarray(leaf) for leaf in _keeps(field.genome)])
    return metric_of_jacobians(
        field.jacobian(),
        (field.jacobian(field.fresh(one)) for one in keys),
        threshold=threshold,
        memory=memory,
        decay=float(keep[0]) - 1 if len(keep) == 1 else None,
    )


def _keeps(genome: AnyGenome) -> list[jax.Array]:
    return [one.synapse_keep for one in (genome.layers.values() if isinstance(genome, LayeredGenome) else [genome])]


def _check_size(size: int, memory: int, field: UpdateField | None = None) -> None:
    def cost(n: int) -> int:
        return 6 * n**4 + 40 * n * n

    require_memory("the system for a metric", size, cost, memory, () if field is None else field.places)


def metric_of_jacobians(
    first: np.ndarray,
    others: Iterable[np.ndarray],
    *,
    threshold: float = 1e-8,
    memory: int = MEMORY,
    decay: float | None = 0.0,
) -> MetricSearch:
    """`metric_search` for given Jacobians [N, N]: of any field, wherever they come from.

    Args:
      first, others: Q at the state that the null space is taken at, and at those that check it.
      decay: f~ - 1, what the update of a number that does not learn is of the number; None: it is not the same for all.

    Raises:
      AnalysisError: as `metric_search`; a Jacobian that is not finite, or zero.
    """
    if not 0 < threshold < 1:
        raise AnalysisError(f"threshold: got {threshold}; expected a number between 0 and 1")
    still = None if decay is None else _still(np.eye(len(first)), first, decay, threshold)
    first = _scaled(first)
    n = len(first)
    _check_size(n, memory)
    values, basis = _null_space(first, threshold)
    idle = int((~np.any(first - np.diag(np.diag(first)), axis=0)).sum())
    joint, alive = basis, np.ones(len(basis), bool)
    complex_states, checked = int(_is_complex(first)), 0
    for other in others:
        if still is not None and decay is not None:
            still = _still(still, other, decay, threshold)
        q = _scaled(other)
        checked += 1
        complex_states += int(_is_complex(q))
        if alive.any():
            alive[alive] = np.linalg.norm(_residuals(basis[alive], q), axis=1) < threshold
        if len(joint):
            system = _residuals(joint, q).T
            _, s, vh = scipy.linalg.svd(system, full_matrices=system.shape[0] < system.shape[1])  # what is wanted is all of vh
            rank = int((s >= threshold).sum())
            joint = np.tensordot(vh[rank:], joint, axes=1)
    survivors = np.linalg.eigvalsh(basis[alive]) if alive.any() else np.zeros((0, n))
    best, least, bound = most_definite(joint)
    conserved = None if still is None else len(still)
    counts = len(basis), idle, conserved, int(alive.sum())
    return MetricSearch(n, values, *counts, survivors, joint, best, least, bound, complex_states, checked, threshold)


def _still(vectors: np.ndarray, q: np.ndarray, decay: float, threshold: float) -> np.ndarray:
    """Returns [fewer, N], an orthonormal basis of what `vectors` [many, N] span of q's left eigenvectors of this eigenvalue."""
    learns = q - decay * np.eye(len(q))
    scale = np.linalg.norm(learns)
    if not len(vectors) or not np.isfinite(scale) or scale == 0:  # what is not finite is refused by `_scaled`
        return vectors
    _, s, vh = scipy.linalg.svd((vectors @ learns).T / scale, full_matrices=True)
    return vh[int((s >= threshold).sum()) :] @ vectors


def _scaled(q: np.ndarray) -> np.ndarray:
    q = np.asarray(q, np.float64)
    norm = np.linalg.norm(q)
    if not np.isfinite(norm) or norm == 0:
        raise AnalysisError(
            f"the Jacobian at one state is {'zero' if norm == 0 else 'not finite'}: it says nothing about a metric"
        )
    return q / norm


def _is_complex(q: np.ndarray) -> bool:
    """Returns whether eigenvalues lie off the real axis by more than 1e-4 of the largest.

    A nearly defective matrix splits real ones by about 1e-8.
    """
    values = np.linalg.eigvals(q)
    return bool(np.abs(values.imag).max() > 1e-4 * np.abs(values).max())


def _residuals(basis: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Returns [D, N (N - 1) / 2], the upper triangle of g Q - (g Q)^T, scaled so that norms are Frobenius norms."""
    product = basis @ q
    rows, columns = np.triu_indices(len(q), 1)
    return 2**0.5 * (product[:, rows, columns] - product[:, columns, rows])


def _null_space(q: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the singular values of g -> g Q - (g Q)^T on symmetric g, and an orthonormal basis [D, N, N] of its null space."""
    n = len(q)
    rows, columns = np.triu_indices(n)
    weight = np.where(rows == columns, 1.0, 0.5**0.5)
    position = np.full((n, n), -1)
    upper = np.triu_indices(n, 1)
    position[upper] = np.arange(len(upper[0]))
    system = np.zeros((len(upper[0]), len(rows)))
    others = np.arange(n)
    for unknown, (i, j, scale) in enumerate(zip(rows.tolist(), columns.tolist(), weight.tolist())):
        # g = e_ij + e_ji: row i of g Q is row j of Q, and row j is row i.
        for row, values in {(i, j), (j, i)}:
            below, above = others < row, others > row
            system[position[row, others[above]], unknown] += 2**0.5 * scale * q[values, above]
            system[position[others[below], row], unknown] -= 2**0.5 * scale * q[values, below]
    if not len(system):  # a single number: every g solves it
        return np.zeros(1), np.ones((1, 1, 1))
    _, s, vh = scipy.linalg.svd(system, full_matrices=True, overwrite_a=True)
    null = vh[int((s >= threshold).sum()) :]
    basis = np.zeros((len(null), n, n))
    basis[:, rows, columns] = null * weight
    basis[:, columns, rows] = null * weight
    full = np.concatenate([s, np.zeros(len(rows) - len(s))])
    return full, basis


def most_definite(basis: np.ndarray, *, rounds: int = 200, tolerance: float = 1e-9) -> tuple[np.ndarray, float, float]:
    """Finds the combination of symmetric matrices with the largest least eigenvalue, coefficients in [-1, 1].

    A cutting-plane method: the least eigenvalue is the minimum of v^T g v over unit v, so every v gives a linear program that
    bounds it from above, and its eigenvectors give the next v. Both ends are certificates.

    Args:
      basis: [D, N, N].

    Returns:
      `(g, least, bound)`: the best found, its least eigenvalue (0 for g = 0 where nothing better exists) and an upper bound of
      every combination's. It stops when the two meet, or when the best is at least half of the bound.
    """
    n = basis.shape[-1]
    best, least = np.zeros((n, n)), 0.0
    if not len(basis):
        return best, 0.0, 0.0
    d = len(basis)
    # Start: every axis, and the eigenvectors of each basis matrix and of the projection of the identity.
    start = np.tensordot(np.trace(basis, axis1=1, axis2=2), basis, axes=1)
    vectors = [np.eye(n), np.linalg.eigh(start)[1]]
    top = np.abs(np.trace(basis, axis1=1, axis2=2)).max()
    if top > 0:
        g = start / top
        low = float(np.linalg.eigvalsh(g)[0])
        if low > least:
            best, least = g, low
    rows = np.concatenate([_quadratic(basis, v) for v in vectors])
    bound = np.inf
    for _ in range(rounds):
        program = scipy.optimize.linprog(
            np.append(np.zeros(d), -1.0),
            A_ub=np.column_stack([-rows, np.ones(len(rows))]),
            b_ub=np.zeros(len(rows)),
            bounds=[(-1, 1)] * d + [(None, None)],
            method="highs",
        )
        if program.x is None:
            break
        bound = min(bound, float(program.x[-1]))
        g = np.tensordot(program.x[:-1], basis, axes=1)
        values, v = np.linalg.eigh(g)
        if values[0] > least:
            best, least = g, float(values[0])
        if bound - least <= tolerance or least >= 0.5 * bound:  # decided, either way
            break
        rows = np.concatenate([rows, _quadratic(basis, v[:, values < max(bound, 0)][:, :8])])
    return best, least, max(float(bound), least)


def _quadratic(basis: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns [V, D], v^T g v for every vector (a column) and basis matrix."""
    return np.einsum("iv,dij,jv->vd", vectors, basis, vectors, optimize=True)
