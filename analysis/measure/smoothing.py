"""A running median of a loss curve: for noisy logs, and without effect on clean ones.

The window is centred and shrinks on both sides towards an end, so that it is as wide to the left as
to the right: of a curve that falls the median is then the point itself, at the ends too. It never
makes a point, and never reaches over a loss that is not finite, nor over a gap: a step in x more
than ``GAP`` times as wide as is usual around it, in x and in its logarithm.
"""

from itertools import pairwise

import numpy as np

from mugrow.analysis.stats import Array

GAP = 4.0
AROUND = 4  # steps on either side


def smoothed(x: Array, loss: Array, points: int, broken: Array | None = None) -> Array:
    """The loss (rows,) at ascending x (rows,), each the median of at most ``points`` around it, an
    odd number; ``broken`` are the x of losses that are not finite."""
    if points <= 1 or len(x) < 3:
        return loss
    half = points // 2
    found = loss.copy()
    for start, end in _stretches(x, half, np.empty(0) if broken is None else broken):
        for row in range(start + 1, end - 1):
            reach = min(half, row - start, end - 1 - row)
            found[row] = np.median(loss[row - reach : row + reach + 1])
    return found


def _stretches(x: Array, half: int, broken: Array) -> list[tuple[int, int]]:
    """Where to smooth: from a row to before a row, between gaps."""
    cuts = _gaps(x, max(AROUND, half)) | set(np.searchsorted(x, broken).tolist())
    edges = sorted({0, len(x)} | {cut for cut in cuts if 0 < cut < len(x)})
    return list(pairwise(edges))


def _gaps(x: Array, around: int) -> set[int]:
    """The rows before which there is a gap. Logs at x, 2x, 4x … have none, nor do even ones."""
    with np.errstate(divide="ignore"):
        scales = np.diff(x), np.diff(np.log(np.maximum(x, 0)))
    wide = np.ones(len(x) - 1, dtype=bool)
    for steps in scales:
        usual = [
            np.median(np.delete(steps[max(0, row - around) : row + around + 1], min(row, around)))
            if len(steps) > 1
            else steps[row]
            for row in range(len(steps))
        ]
        wide &= steps > GAP * np.array(usual)
    return set((np.flatnonzero(wide) + 1).tolist())
