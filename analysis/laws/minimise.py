"""Many minimisations at once: BFGS with a bisecting line search, in step over a batch.

Every member of the batch (a start, or a resample of the rows) keeps its own inverse Hessian and its
own line search, and each tick evaluates all members at once. A step is accepted under the weak
Wolfe conditions, found by doubling and bisection, which also works where the second derivative
jumps, as it does for Huber's loss (Lewis & Overton 2013). A finished member leaves the batch. With
a few parameters the linear algebra is small, and the cost is that of the predictions: numpy, at a
few ns a row, and no Python loop over members.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.objective import Objective
from mugrow.analysis.stats import Array

BATCH = 512
SPARE = 4_000_000  # of 8 bytes; page faults of arrays made anew are a quarter of a fit's time
DECREASE, CURVATURE = 1e-4, 0.9  # weak Wolfe
ROUNDING = 1e-15  # of ln L, and so of each residual
ROUNDS, TICKS, HALVINGS = 6, 300, 40
TOLERANCE = 1e-14  # of the value: what the next Newton step still promises
BALANCED = 1e-6
NEAR, FAR = 1e-6, 1.0  # of the Gauss-Newton diagonal, added to the first metric


@dataclass(frozen=True, eq=False)
class Minima:
    """Where each member ended: parameters (B, k), values (B,), and is it a minimum (B,)."""

    theta: Array
    value: Array
    converged: npt.NDArray[np.bool_]


def minimise(
    objective: Objective,
    theta: Array,
    counts: Array | None = None,
    rows: npt.NDArray[np.int64] | None = None,
    *,
    tolerance: float = TOLERANCE,
    far: bool = False,
) -> Minima:
    """Minimise from each of ``theta`` (B, k); ``far`` from a minimum the first steps are shorter.

    ``counts`` (B, groups) is how often each member counts a group of rows, ``rows`` (n,) the group
    of each row; without them every row counts once. Members do not influence each other, and the
    result does not depend on the number of threads.
    """

    def one(part: slice) -> Minima:
        weights = None if counts is None or rows is None else counts[part][:, rows]
        return _batch(objective, theta[part], weights, tolerance, FAR if far else NEAR)

    np.empty(SPARE)  # freed at once, which tells glibc to keep what is freed after it
    parts = [slice(i, i + BATCH) for i in range(0, len(theta), BATCH)]
    if len(parts) == 1:
        return one(parts[0])
    with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
        done = list(pool.map(one, parts))
    return Minima(
        np.concatenate([d.theta for d in done]),
        np.concatenate([d.value for d in done]),
        np.concatenate([d.converged for d in done]),
    )


@dataclass
class _Search:
    """The state of the members still at work, each field (members, ...)."""

    member: npt.NDArray[np.int64]
    theta: Array
    value: Array
    gradient: Array
    inverse: Array
    step: Array
    descent: Array
    length: Array
    low: Array
    high: Array
    tries: npt.NDArray[np.int64]

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name)[mask])

    def aim(self, which: npt.NDArray[np.int64]) -> None:
        """Begin a line search along the quasi-Newton step."""
        step = -np.einsum("bij,bj->bi", self.inverse[which], self.gradient[which])
        self.step[which] = step
        self.descent[which] = np.einsum("bi,bi->b", self.gradient[which], step)
        self.length[which], self.low[which], self.high[which] = 1.0, 0.0, np.inf
        self.tries[which] = 0


def _batch(
    objective: Objective, theta: Array, weights: Array | None, tolerance: float, floor: float
) -> Minima:
    """Minimise a batch; members that stall short of a minimum go on with a new metric."""
    ends, values = theta.copy(), np.full(len(theta), np.inf)
    balanced = np.zeros(len(theta), dtype=np.bool_)
    with np.errstate(all="ignore"):  # a trial step may overflow; it is then rejected
        for _ in range(ROUNDS if tolerance <= TOLERANCE else 1):
            left = np.flatnonzero(~balanced)
            if not len(left):
                break
            counts = None if weights is None else weights[left]
            ends[left], values[left] = _descend(objective, ends[left], counts, tolerance, floor)
            balanced[left] = objective.imbalance(ends[left], counts) <= BALANCED
    return Minima(ends, values, balanced & np.isfinite(values))


def _descend(
    objective: Objective, theta: Array, weights: Array | None, tolerance: float, floor: float
) -> tuple[Array, Array]:
    """Where each member's descent ends, (B, k), and its value (B,)."""
    s = _begin(objective, theta, weights, floor)
    ends, values = theta.copy(), s.value.copy()
    for _ in range(TICKS):
        finished = _tick(objective, s, weights, tolerance)
        if finished.any():
            ends[s.member[finished]] = s.theta[finished]
            values[s.member[finished]] = s.value[finished]
            s.keep(~finished)
            weights = None if weights is None else weights[~finished]
        if not len(s.member):
            break
    ends[s.member], values[s.member] = s.theta, s.value
    return ends, values


def _begin(objective: Objective, theta: Array, weights: Array | None, floor: float) -> _Search:
    count, size = theta.shape
    value, gradient = objective.value_and_gradient(theta, weights)
    zero = np.zeros(count)
    s = _Search(
        np.arange(count), theta.copy(), value, gradient, _metric(objective, theta, weights, floor),
        np.zeros((count, size)), zero, zero.copy(), zero.copy(), zero.copy(),
        np.zeros(count, dtype=np.int64),
    )  # fmt: skip
    s.aim(s.member)
    return s


def _metric(objective: Objective, theta: Array, weights: Array | None, floor: float) -> Array:
    """The first inverse Hessian (B, k, k): Gauss-Newton, with a floor for flat directions."""
    matrix = objective.curvature(theta, weights)
    diagonal = np.einsum("bii->bi", matrix)
    extra = floor * (diagonal + 1e-3 * diagonal.max(axis=1, keepdims=True))
    usable = np.isfinite(matrix).all(axis=(1, 2)) & (diagonal.max(axis=1) > 0)
    unit = np.eye(theta.shape[1])
    matrix = matrix + extra[:, :, None] * unit
    return np.asarray(np.linalg.inv(np.where(usable[:, None, None], matrix, unit)))


def _tick(
    objective: Objective, s: _Search, weights: Array | None, tolerance: float
) -> npt.NDArray[np.bool_]:
    """One evaluation of every member; which of them are done, (members,)."""
    trial = s.theta + s.length[:, None] * s.step
    value, gradient = objective.value_and_gradient(trial, weights)
    slope = np.einsum("bi,bi->b", gradient, s.step)
    # residuals r are off by ROUNDING, their sum by that times sum |r| <= sqrt(2 n value)
    rows = len(objective.loss)
    rounding = ROUNDING * np.sqrt(2 * rows * s.value)
    lower = value <= s.value + DECREASE * s.length * s.descent + rounding
    flatter = slope >= CURVATURE * s.descent
    accepted = lower & flatter
    s.high = np.where(lower, s.high, s.length)
    s.low = np.where(lower & ~flatter, s.length, s.low)
    s.length = np.where(np.isfinite(s.high), (s.low + s.high) / 2, 2 * s.length)
    s.tries += 1
    moved = np.flatnonzero(accepted)
    _update(s, moved, trial[moved] - s.theta[moved], gradient[moved] - s.gradient[moved])
    s.theta[moved], s.value[moved], s.gradient[moved] = trial[moved], value[moved], gradient[moved]
    s.aim(moved)
    promised = -s.descent
    done: npt.NDArray[np.bool_] = (
        (accepted & (promised <= tolerance * s.value + rows * ROUNDING**2))
        | (s.tries > HALVINGS)
        | ~(promised > 0)
        | ~np.isfinite(s.value)
    )
    return done


def _update(s: _Search, which: npt.NDArray[np.int64], dx: Array, dg: Array) -> None:
    """The BFGS update of the inverse Hessians."""
    curvature = np.einsum("bi,bi->b", dx, dg)
    usable = curvature > 0
    rho = np.where(usable, 1 / np.where(usable, curvature, 1.0), 0.0)
    inverse = s.inverse[which]
    along = np.einsum("bij,bj->bi", inverse, dg)
    size = (1 + rho * np.einsum("bi,bi->b", dg, along)) * rho
    mixed = rho[:, None, None] * along[:, :, None] * dx[:, None, :]
    inverse += size[:, None, None] * dx[:, :, None] * dx[:, None, :]
    inverse -= mixed + mixed.transpose(0, 2, 1)
    s.inverse[which] = inverse
