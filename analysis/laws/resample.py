"""Resamples of runs, and the intervals they give.

What was drawn independently is a run (or a model size), not a row: of the checkpoints of one run
an interval by rows comes out 2.1 to 2.5 times too narrow. So whole groups are resampled, in one of
two ways. Where only the set of runs matters, groups are drawn with replacement (Efron & Tibshirani
1993, ch. 8), and a resample is a count for each group. Where the rows are a design that was chosen
and is just large enough, as the sizes of an isoFLOP parabola are, the design stays, and the
residuals of each group get a random factor: the wild cluster bootstrap (Cameron, Gelbach & Miller
2008, doi 10.1162/rest.90.3.414).

No resample is left out, for that would make the interval too narrow. Laws of single rows are
fitted to convergence in each. A procedure may have no answer in some, and there could have given
any value: such a resample counts as beyond both ends, and an end that it reaches is open.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.result import Bootstrap, Ends
from mugrow.analysis.stats import Array

Index = npt.NDArray[np.intp]

LEVEL = 0.95
TAIL = 0.025


def group_rows(groups: Sequence[object] | None, rows: int) -> npt.NDArray[np.int64]:
    """The group of each row (rows,), numbered from 0 in order of appearance; by default each row is
    a group."""
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


def multinomial_counts(groups: int, resamples: int, seed: int) -> Array:
    """The same drawn in another order, as the laws of envelopes do, (resamples, groups)."""
    generator = np.random.default_rng(seed)
    times = generator.multinomial(groups, np.full(groups, 1 / groups), resamples)
    return times.astype(np.float64)


def residual_factors(codes: Index, resamples: int, seed: int) -> Array:
    """A random factor for the residual of each row, the same within a group, (resamples, rows).

    Six values of mean 0 and variance 1 (Webb 2023, doi 10.1111/caje.12661), so that few groups
    still have many different resamples. ``codes`` (rows,) number the groups.
    """
    six = np.sqrt([0.5, 1.0, 1.5])
    drawn = np.random.default_rng(seed).choice(
        np.concatenate([-six, six]), size=(resamples, int(codes.max()) + 1)
    )
    return np.asarray(drawn[:, codes])


def ends(draws: Array) -> list[Ends]:
    """The central 95 % of draws (resamples, columns), by column; nan where a draw is not finite."""
    tail = (1 - LEVEL) / 2
    finite = np.isfinite(draws).all(axis=0)
    low, high = np.quantile(np.where(finite, draws, 0.0), [tail, 1 - tail], axis=0)
    pairs = np.where(finite, [low, high], np.nan).T
    return [(float(lo), float(hi)) for lo, hi in pairs]


def open_ends(draws: Array) -> Ends:
    """The central 95 % of draws (resamples,), of which nan are failures: infinite ends are open."""
    low = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    high = np.sort(np.where(np.isnan(draws), np.inf, draws))
    tail = int(TAIL * (len(draws) - 1))
    return float(low[tail]), float(high[-1 - tail])


def spread(draws: Array) -> float:
    """The standard error: the standard deviation of the draws that are not failures."""
    usable = draws[np.isfinite(draws)]
    return float(usable.std(ddof=1)) if len(usable) > 1 else float("nan")


def summary(draws: Mapping[str, Array]) -> tuple[dict[str, Ends], dict[str, float], Bootstrap]:
    """Intervals, standard errors and the count of resamples, from draws (resamples,) by name."""
    some = next(iter(draws.values()), np.empty(0))
    if not len(some):
        return {}, {}, Bootstrap()
    return (
        {name: open_ends(values) for name, values in draws.items()},
        {name: spread(values) for name, values in draws.items()},
        Bootstrap(len(some), int(np.isfinite(some).sum())),
    )
