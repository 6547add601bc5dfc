"""Starts by variable projection: given the exponents, the coefficients are a linear problem.

Most laws are ``t(L) = sum_k c_k phi_k(x)`` with c_k >= 0 once their few nonlinear parameters are
given. So the nonlinear ones go over a grid, and for each grid point the coefficients follow from
non-negative least squares on relative errors, solved exactly by trying every set of active terms
(Golub & Pereyra 1973, variable projection; Lawson & Hanson 1974, non-negative least squares).
A start is never zero in a coefficient: there a law's logarithm has no gradient to leave by.
"""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from mugrow.analysis.stats import Array

KEPT = 64
SMALLEST = 1e-3  # of the target's mean, for the share of a term that least squares set to 0


def grid(*axes: Sequence[float] | Array, given: Sequence[float] | Array) -> Array:
    """All combinations of the axes, (G, axes), with an axis replaced by what is given (not nan)."""
    kept = [[g] if np.isfinite(g) else list(a) for a, g in zip(axes, given, strict=True)]
    return np.array(list(product(*kept)))


def coefficients(target: Array, terms: Sequence[Array]) -> tuple[Array, Array]:
    """Non-negative least squares on relative errors for a batch: coefficients (G, K), error (G,).

    ``target`` broadcasts to (G, n) and is above 0; each of the K terms is (G, n).
    """
    basis = np.stack(np.broadcast_arrays(*terms), axis=1) / np.atleast_2d(target)[:, None, :]
    size = np.sqrt((basis**2).mean(axis=2, keepdims=True))
    unit = basis / size
    groups, count, _ = unit.shape
    best, error = np.zeros((groups, count)), np.full(groups, np.inf)
    for active in (c for k in range(1, count + 1) for c in combinations(range(count), k)):
        part = unit[:, active]
        gram = part @ part.transpose(0, 2, 1) + 1e-12 * part.shape[2] * np.eye(len(active))
        solved = np.linalg.solve(gram, part.sum(axis=2)[:, :, None])[:, :, 0]
        misfit = ((np.einsum("gk,gkn->gn", solved, part) - 1) ** 2).mean(axis=1)
        better = (solved >= 0).all(axis=1) & (misfit < error)
        best[better] = 0.0
        best[np.ix_(better, np.array(active))] = solved[better]
        error[better] = misfit[better]
    return np.maximum(best, SMALLEST) / size[:, :, 0], error


def lowest(starts: Array, error: Array) -> Array:
    """The starts (S, p) with the smallest errors, best first."""
    usable = np.isfinite(starts).all(axis=1) & np.isfinite(error)
    order = np.argsort(np.where(usable, error, np.inf), kind="stable")
    return starts[order[: min(KEPT, int(usable.sum()))]]
