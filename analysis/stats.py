"""Intervals from resampling seeds, the unit that was drawn independently.

A seed fixes the data order and the initial weights, and every method and learning rate is run with
the same seeds. So a resample draws whole seeds with replacement, and every arm of a comparison is
recomputed on the seeds drawn: differences stay paired, and checkpoints of one run, which are
anything but independent, are never resampled. (Efron & Tibshirani 1993, ch. 8: resample clusters.)

The surprising fact is how little few seeds can say. No percentile interval reaches beyond the
smallest and the largest seed, and n draws all fall on one side of their distribution's median with
probability 2 * 2**-n. Whatever its nominal level, such an interval covers the median with
probability at most ``nominal_coverage(n) = 1 - 2**(1 - n)``: 50 % at two seeds, 75 % at three.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Array = npt.NDArray[np.float64]
Sample = TypeVar("Sample")

EXACT_LIMIT = 4096
DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A value with its interval and the number of seeds behind it.

    ``lo`` and ``hi`` are nan where there is no interval, and infinite where an end is open.
    """

    value: float
    lo: float
    hi: float
    n: int


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def nominal_coverage(n: int) -> float:
    """The largest probability with which an interval over n seeds can cover the median."""
    return 1 - 2.0 ** (1 - n) if n else 0.0


def resamples(n: int) -> npt.NDArray[np.int64]:
    """Indices of the seeds drawn, of shape (resamples, n).

    All n**n resamples where those are at most ``EXACT_LIMIT`` (n <= 5), otherwise ``DRAWS`` of a
    fixed generator: either way the same call gives the same interval.
    """
    if n**n <= EXACT_LIMIT:
        return np.indices((n,) * n).reshape(n, -1).T
    return np.random.default_rng(0).integers(0, n, size=(DRAWS, n))


def bootstrap(
    samples_by_seed: Mapping[int, Sample], statistic: Callable[[list[Sample]], Any]
) -> Array:
    """The statistic of every resample, of shape (resamples, *shape of the statistic).

    The order of draws does not matter to a statistic, so each distinct multiset is computed once:
    126 instead of 3125 at five seeds.
    """
    samples = [samples_by_seed[seed] for seed in sorted(samples_by_seed)]
    drawn = np.sort(resamples(len(samples)), axis=1)
    distinct, inverse = np.unique(drawn, axis=0, return_inverse=True)
    values = [statistic([samples[index] for index in row]) for row in distinct]
    return np.asarray(values, dtype=np.float64)[inverse.ravel()]


@cache
def resample_counts(*sizes: int) -> tuple[list[Array], npt.NDArray[np.int64]]:
    """How often each seed is drawn, for one sample of seeds or several resampled independently.

    Per sample an array (distinct resamples, n), and which of the distinct ones each resample is:
    all resamples where those are at most ``EXACT_LIMIT``, otherwise ``DRAWS``.
    """
    if math.prod(n**n for n in sizes) <= EXACT_LIMIT:
        each = [resamples(n) for n in sizes]
        place = np.indices([len(one) for one in each]).reshape(len(sizes), -1)
        drawn = [one[index] for one, index in zip(each, place, strict=True)]
    else:
        random = np.random.default_rng(0)
        drawn = [random.integers(0, n, (DRAWS, n)) for n in sizes]
    counts = [
        (one[:, :, None] == np.arange(n)).sum(axis=1) for one, n in zip(drawn, sizes, strict=True)
    ]
    distinct, inverse = np.unique(np.hstack(counts), axis=0, return_inverse=True)
    parts = np.split(distinct.astype(np.float64), np.cumsum(sizes)[:-1], axis=1)
    return parts, inverse.ravel()


def percentile_interval(value: float, draws: Array, n: int, level: float = 0.95) -> Interval:
    """The central ``level`` of the draws, each end rounded outwards to a draw.

    There is no interval from one seed, nor where the statistic does not exist (nan) in some
    resample: leaving those out would make the interval too narrow.
    """
    if n < 2 or np.isnan(draws).any():
        return Interval(value, math.nan, math.nan, n)
    ordered = np.sort(draws)
    # 1 - 0.9 is not quite 0.1, hence the 1e-9
    tail = math.floor((1 - level) / 2 * (len(ordered) - 1) + 1e-9)
    return Interval(value, float(ordered[tail]), float(ordered[-1 - tail]), n)


def paired_bootstrap(
    samples_by_seed: Mapping[int, Sample],
    statistic: Callable[[list[Sample]], float],
    level: float = 0.95,
) -> Interval:
    """The statistic of all seeds, with its percentile interval over resampled seeds.

    A sample is whatever one seed measured, for every arm of the comparison; the statistic takes
    the list of samples drawn.
    """
    if not samples_by_seed:
        return NOTHING
    value = float(statistic([samples_by_seed[seed] for seed in sorted(samples_by_seed)]))
    draws = bootstrap(samples_by_seed, statistic)
    return percentile_interval(value, draws, len(samples_by_seed), level)


def mean_interval(by_seed: Mapping[int, float], level: float = 0.95) -> Interval:
    """The mean over seeds, as ``paired_bootstrap`` gives it, by one matrix product."""
    if not by_seed:
        return NOTHING
    values = np.array([by_seed[seed] for seed in sorted(by_seed)], dtype=np.float64)
    (counts,), inverse = resample_counts(len(values))
    draws = (counts @ values / len(values))[inverse]
    return percentile_interval(float(values.mean()), draws, len(values), level)


def student_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of n independent values and Student's interval: mean ± t(n - 1) sd / sqrt(n). None
    from one value."""
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n == 0:
        return NOTHING
    value = float(sample.mean())
    left_out = (value * n - sample) / max(1, n - 1)
    return jackknife_interval(value, left_out if n > 1 else sample[:0], level)


def jackknife_interval(value: float, left_out: Array, level: float = 0.95) -> Interval:
    """A statistic's interval from its n values with each seed left out, shape (n,).

    With pseudo-values p_i = n value - (n - 1) left_out_i it is value ± t(n - 1) sd(p) / sqrt(n):
    for a mean, Student's interval (Tukey 1958; Efron & Tibshirani 1993, ch. 11). It is not bound to
    the range of the seeds, so few seeds give a wide interval instead of an overconfident one. None
    from one seed, nor where the statistic is undefined or infinite in some draw.
    """
    n = max(1, len(left_out))  # of one seed, nothing is left when it is out
    if n < 2 or not (math.isfinite(value) and np.isfinite(left_out).all()):
        return Interval(value, math.nan, math.nan, n)
    spread = (n - 1) * float(np.std(left_out, ddof=1)) / math.sqrt(n)
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * spread
    return Interval(value, value - reach, value + reach, n)
