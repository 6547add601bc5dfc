"""Where a sweep's loss is lowest: the best rate tested, and the parabola through its neighbours.

A loss is quadratic in log2 of the learning rate only near its optimum, so the parabola sees the
points within ``WINDOW_LOG2`` of the best one. There is no vertex without enough of them on both
sides, and none of a concave bowl: four points give a vertex that means nothing.

The two disagree on purpose. On a flat bowl the best tested rate moves a whole
grid step by seed noise, where the vertex hardly moves.

Only numpy is imported: the sweeps use ``optimum`` too.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mugrow.bench.spec import UserError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Edge = Literal["low", "high"] | None
Known = Literal["tested", "interpolated", "diverged", "unknown", "untested"]  # how a loss is

WINDOW_LOG2 = 2.05  # two doublings on each side, of rates that people round: 0.002 and 0.0078
MIN_POINTS = 5


@dataclass(frozen=True)
class Optimum:
    """The best tested learning rate, and the parabola through its neighbours where there is one.

    ``edge`` says that the best is the lowest or highest rate tested, so the optimum may lie
    outside. ``curvature`` is d2 loss / d(log2 lr)2, in nats per log2 squared.
    """

    argmin_log2_lr: float
    argmin_loss: float
    vertex_log2_lr: float | None = None
    vertex_loss: float | None = None
    curvature: float | None = None
    edge: Edge = None

    @property
    def best_log2_lr(self) -> float:
        """The vertex; the best rate tested where there is none."""
        return self.argmin_log2_lr if self.vertex_log2_lr is None else self.vertex_log2_lr


def optimum(log2_lr: npt.ArrayLike, loss: npt.ArrayLike) -> Optimum:
    """The optimum of one sweep, from every learning rate tested, in any order.

    A loss of inf (diverged) or nan (pruned) is no candidate, but it was tested: an optimum below
    rates that diverged is bracketed, not at an edge. A single rate is at the low edge.

    The parabola goes through the finite points within ``WINDOW_LOG2`` of the argmin: a loss is
    quadratic in log2 lr only near its optimum. There is a vertex where those are at least
    ``MIN_POINTS`` with points on both sides of the argmin, the curvature is positive, and the
    vertex lies among them. Raises ``UserError`` where no loss is finite.
    """
    x, y = np.asarray(log2_lr, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    finite = np.isfinite(y)
    if not finite.any():
        raise UserError(f"none of the {len(x)} learning rates of the sweep finished its training")
    order = np.lexsort((x, np.where(finite, y, np.inf)))  # ties: the lower rate, the safer side
    best_x, best_y = float(x[order[0]]), float(y[order[0]])
    edge: Edge = "low" if best_x == x.min() else "high" if best_x == x.max() else None
    near = finite & (np.abs(x - best_x) <= WINDOW_LOG2)
    place, height, curvature = _vertex(x[near], y[near], best_x) or (None, None, None)
    return Optimum(best_x, best_y, place, height, curvature, edge)


def _vertex(x: Array, y: Array, center: float) -> tuple[float, float, float] | None:
    """Place, height and curvature of the parabola's lowest point, or None where it has none."""
    if len(np.unique(x)) < MIN_POINTS or not x.min() < center < x.max():
        return None
    square, slope, height = np.polynomial.polynomial.polyfit(x - center, y, 2)[::-1]
    flat = 1e-12 * max(1.0, float(np.abs(y).max()))
    if square <= flat:
        return None
    offset = -slope / (2 * square)
    if not x.min() <= center + offset <= x.max():
        return None
    return float(center + offset), float(height + slope * offset / 2), float(2 * square)


def loss_at(log2_lr: Array, loss: Array, at: float) -> tuple[float, Known]:
    """A sweep's loss at a log2 learning rate, and how it is known; arrays of shape (points,).

    ``tested``; ``interpolated``, linear in log2 lr between the two rates tested beside it;
    ``diverged`` (inf) where the rate or one of those two diverged; ``unknown`` (nan) where one was
    pruned or the rate lies outside those tested: nothing is extrapolated.
    """
    tested = np.isclose(log2_lr, at, rtol=0, atol=1e-9)
    if tested.any():
        value = float(loss[tested][0])
    else:
        value = float(np.interp(at, log2_lr, loss, left=np.nan, right=np.nan))
    if math.isnan(value):
        return value, "unknown"
    if math.isinf(value):
        return value, "diverged"
    return value, "tested" if tested.any() else "interpolated"
