"""The cluster bootstrap: which runs a resample draws, and what the draws say.

Rows of one run are not independent, so whole groups are drawn, as many as there are, with
replacement. A resample is then a count for each group. Every resample is fitted to convergence and
none is dropped: leaving out those that are hard to fit makes an interval too narrow.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.result import Ends
from mugrow.analysis.stats import Array

LEVEL = 0.95


def group_rows(groups: Sequence[object] | None, rows: int) -> npt.NDArray[np.int64]:
    """The group of each row, numbered from 0 in order of appearance; a row its own by default."""
    if groups is None:
        return np.arange(rows)
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def draw_counts(groups: int, resamples: int, seed: int) -> Array:
    """How often each resample has each group, (resamples, groups)."""
    drawn = np.random.default_rng(seed).integers(0, groups, size=(resamples, groups))
    drawn += groups * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * groups)
    return counts.reshape(resamples, groups).astype(np.float64)


def ends(draws: Array) -> list[Ends]:
    """The central 95 % of draws (resamples, columns), by column; nan where a draw is not finite."""
    tail = (1 - LEVEL) / 2
    finite = np.isfinite(draws).all(axis=0)
    low, high = np.quantile(np.where(finite, draws, 0.0), [tail, 1 - tail], axis=0)
    pairs = np.where(finite, [low, high], np.nan).T
    return [(float(lo), float(hi)) for lo, hi in pairs]
