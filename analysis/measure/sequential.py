"""Seeds until decided: looks at a claim while seeds arrive, with the error of all of them together.

Whoever adds seeds until an interval excludes 0 will be wrong more often than its level says. So
looks are planned, after so many seeds each, and each look k gets a level a_k of its own such that
under the null hypothesis

    P(|t_1| > c_1 or |t_2| > c_2 or ...) <= alpha,      c_k = t quantile at 1 - a_k / 2.

The t statistics of one sequence of paired differences do not depend on its scale, so that this
probability is a number, found once by simulating ``NULL_STUDIES`` sequences with a fixed generator.
All looks have the same level (Pocock 1977). The union bound, a_k = alpha / looks, is simpler and
wastes little more: 0.0167 in place of 0.0197 at 3, 5 and 8 seeds. Spending less early (O'Brien &
Fleming 1979) decides a speed-up of 1.10 later, see the table of ``simulate``: few seeds make early
looks so weak that there is little to save for later ones.

At the look where it stops, the interval at level 1 - a_k is valid: the intervals of all looks hold
the truth together with probability 1 - alpha (repeated confidence intervals, Jennison & Turnbull
1989).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy.special import nctdtr, stdtr, stdtrit

from mugrow.analysis.stats import Array, Interval, p_value, student_interval

State = Literal["decided", "go on", "not decided at the cap"]

NULL_STUDIES = 400_000
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Looks:
    """After how many seeds there is a look, ascending, at least 2 each; the last is the cap.
    ``alpha`` is the error of all looks together."""

    seeds: tuple[int, ...] = (3, 5, 8)
    alpha: float = 0.05

    def __post_init__(self) -> None:
        assert self.seeds, "a plan has at least one look"
        assert self.seeds[0] >= 2, f"no interval from {self.seeds[0]} seed"
        assert list(self.seeds) == sorted(set(self.seeds)), f"looks ascend, unlike {self.seeds}"
        assert 0 < self.alpha < 1

    @property
    def level(self) -> float:
        """The error a_k of each look alone."""
        return self.alpha if len(self.seeds) == 1 else calibrated(self.seeds, self.alpha)


@dataclass(frozen=True)
class Decision:
    """What the looks so far say of a mean difference.

    ``decided``: its interval leaves out 0, and holds at the look after ``seeds`` seeds. ``go on``:
    the next look is after ``next_look`` seeds. ``not decided at the cap``: no look is left. Without
    a look yet the interval is nan.
    """

    state: State
    interval: Interval
    seeds: int
    next_look: int | None


@cache
def calibrated(seeds: tuple[int, ...], alpha: float) -> float:
    """The common error of each look for which that of all together is ``alpha``, three standard
    errors of the simulation below it."""
    lowest = null_p_values(seeds).min(axis=1)
    margin = 3 * math.sqrt(alpha * (1 - alpha) / NULL_STUDIES)
    return float(np.quantile(lowest, alpha - margin))


@cache
def null_p_values(seeds: tuple[int, ...]) -> Array:
    """Two-sided p-values (studies, looks) of Student's test where there is no difference."""
    random = np.random.default_rng(0)
    sums, squares = np.zeros(NULL_STUDIES), np.zeros(NULL_STUDIES)
    found, drawn = [], 0
    for n in seeds:
        for _ in range(n - drawn):
            difference = random.standard_normal(NULL_STUDIES)
            sums += difference
            squares += difference**2
        drawn = n
        variance = (squares - sums**2 / n) / (n - 1)
        found.append(2 * stdtr(n - 1, -np.abs(sums) / np.sqrt(n * variance)))
    return np.stack(found, axis=1)


def decide(differences: Mapping[int, float], looks: Looks) -> Decision:
    """Whether the mean of paired differences by seed lies above or below 0, or needs more seeds.

    Seeds count in the order of their numbers, and each look has the first so many of them, as it
    would have had when they were run: a look that decided is not taken back by later seeds. For a
    border other than 0 take it off the differences.
    """
    values = [float(differences[seed]) for seed in sorted(differences)]
    interval, seen = Interval(math.nan, math.nan, math.nan, 0), 0
    for seeds in looks.seeds:
        if len(values) < seeds:
            return Decision("go on", interval, seen, seeds)
        interval, seen = student_interval(values[:seeds], 1 - looks.level), seeds
        if p_value(values[:seeds]) < looks.level:
            return Decision("decided", interval, seen, None)
    return Decision("not decided at the cap", interval, seen, None)


def seeds_needed(mean: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """How many seeds a two-sided paired t test needs to tell such a mean difference from 0.

    ``sd`` is between the differences of seeds. With the noncentral t distribution (Cohen 1988) the
    fewest n at which the test rejects with probability ``power``, if mean and sd are what they seem
    to be: of an undecided claim an estimate as uncertain as they are. Infinite beyond
    ``MOST_SEEDS``; nan where mean or sd is.

    >>> seeds_needed(mean=0.02, sd=0.012)
    6
    """
    if math.isnan(mean) or math.isnan(sd):
        return math.nan
    if mean == 0:
        return math.inf
    if sd == 0:
        return 2
    few, many = 1, 2  # too few seeds, and enough
    while power_of(mean, sd, many, alpha) < power:
        few, many = many, 2 * many
        if few >= MOST_SEEDS:
            return math.inf
    while many - few > 1:
        middle = (few + many) // 2
        if power_of(mean, sd, middle, alpha) < power:
            few = middle
        else:
            many = middle
    return many


def power_of(mean: float, sd: float, seeds: int, alpha: float = 0.05) -> float:
    """The probability that a two-sided paired t test tells such a difference from 0, on its side.

    >>> round(power_of(mean=0.02, sd=0.012, seeds=5), 2)
    0.79
    """
    if seeds < 2:
        return 0.0
    reach = float(stdtrit(seeds - 1, 1 - alpha / 2))
    shift = math.sqrt(seeds) * abs(mean) / sd
    below = float(nctdtr(seeds - 1, shift, reach))
    return 1.0 if math.isnan(below) else 1 - below  # a shift too large for the series
