"""Where the bowls of a ladder are lowest, if they are steeper on one side and alike.

    L_i(x) = l_i + k_i f(x - x_i)        x = log2 lr, rung i; one shape f for all rungs

A bowl is steeper above its optimum than below, by about 3 to 1 in public sweeps, where a parabola's
vertex lies beside the optimum, on the flat side: the rate kept from the proxy then seems too good
or too bad. Two families of one parameter each enclose what is known of f; a parabola is in both:

    kinked   d^2 above and d^2 / r below        the sides differ at once (step law, 2503.04715)
    smooth   2 (exp(g d) - 1 - g d) / g^2       they differ the more, the farther away: the loss
                                                "linex" of Varian (1975)

Of all shapes the one with the least squared error over all rungs is taken. That shape is *shared*
is what makes a few noisy losses enough: a rung alone cannot tell a steep side from an optimum that
lies farther off, so that its place is two to three times as uncertain, but that error is the same
for all rungs and leaves their distances alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from mugrow.analysis.transfer.optimum import MIN_POINTS, WINDOW_LOG2, Array, Mask

STEPS_PER_LOG2 = 64
RATIOS = tuple(float(4.0**power) for power in np.linspace(-1, 1, 9))
GROWTHS = tuple(0.25 * step for step in range(-6, 7) if step)


@dataclass(frozen=True)
class Shape:
    """``asymmetry`` is r of a kinked shape, and g of a smooth one in 1 / log2."""

    family: Literal["kinked", "smooth"]
    asymmetry: float

    def height(self, away: Array) -> Array:
        """f at distances in log2 from the optimum."""
        if self.family == "kinked":
            return np.where(away > 0, self.asymmetry, 1.0) * away**2
        tilt = self.asymmetry * away
        return np.asarray(2 * (np.expm1(tilt) - tilt) / self.asymmetry**2)


SHAPES = (
    *(Shape("kinked", ratio) for ratio in RATIOS),
    *(Shape("smooth", growth) for growth in GROWTHS),
)


def near(log2_lr: Array, loss: Array) -> Mask | None:
    """The points within ``WINDOW_LOG2`` of the lowest, ascending; None where those are fewer than
    ``MIN_POINTS`` or all on one side. Both arrays have shape (points,)."""
    finite = np.isfinite(loss)
    if not finite.any():
        return None
    best = log2_lr[np.argmin(np.where(finite, loss, np.inf))]
    inside = finite & (np.abs(log2_lr - best) <= WINDOW_LOG2)
    x = log2_lr[inside]
    return inside if len(x) >= MIN_POINTS and x[0] < best < x[-1] else None


def places(bowls: Sequence[tuple[Array, Array] | None]) -> list[float]:
    """log2 of the best rate of each rung, from the log2 rates and the losses of ``near``, each
    (points,); nan for a rung without them, or whose loss no shape fits the right way up."""
    fits = [None if bowl is None else _fits(*bowl) for bowl in bowls]
    errors = [
        error for fit in fits if fit is not None for error in [fit[0]] if error.min() < np.inf
    ]
    if not errors:
        return [float("nan")] * len(bowls)
    total = np.sum(errors, axis=0)
    best = int(total.argmin())
    return [
        float(fit[1][best]) if fit is not None and fit[0][best] < np.inf else float("nan")
        for fit in fits
    ]


def _fits(log2_lr: Array, loss: Array) -> tuple[Array, Array]:
    """Squared error and place of each shape, both (shapes,): for each place tried, the best height
    and steepness are linear. The error is infinite where every steepness is below 0."""
    start = float(log2_lr[0])
    candidates, heights, norms = _heights(tuple((log2_lr - start).tolist()))
    centred = loss - loss.mean()
    along = heights @ centred
    error = np.where(along > 0, centred @ centred - along**2 / norms, np.inf)
    best = error.argmin(axis=1)
    return np.take_along_axis(error, best[:, None], axis=1)[:, 0], start + candidates[best]


@cache
def _heights(offsets: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """Places between the second and the last but one of the rates, (places,), and every shape's
    heights there less their mean, (shapes, places, points), with their squared norms."""
    rates = np.array(offsets)
    steps = round((rates[-2] - rates[1]) * STEPS_PER_LOG2)
    candidates = np.linspace(rates[1], rates[-2], steps + 1)
    away = rates[None, :] - candidates[:, None]
    heights = np.array([shape.height(away) for shape in SHAPES])
    heights -= heights.mean(axis=-1, keepdims=True)
    return candidates, heights, (heights**2).sum(axis=-1)
