"""Intervals over seeds, the unit that was drawn independently, and what families of arms allow.

A seed fixes the data order and the initial weights, and every method and learning rate is run with
the same seeds. So differences are taken within a seed, and the differences of n seeds are n
independent numbers; checkpoints of one run, which are anything but independent, are never counted
as such. Of their mean, Student's interval covers as it says at any n >= 2 where they are normal; of
what is no mean, the jackknife's pseudo-values take their place.

The surprising fact is how little few seeds can say: t(n - 1) is 12.7 at two seeds, 4.3 at three,
2.8 at five. Resampling seeds does not help. A percentile bootstrap never reaches beyond the
smallest and the largest of them, and covers 45-52 % where it says 95 at two seeds, 70-75 % at
three and 82-85 % at five.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Array = npt.NDArray[np.float64]
LEVEL = 0.95  # of an interval, unless it says otherwise
POSTERIOR = 20_000  # draws of a ranking: probabilities to about 0.004


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


def student_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of n independent values and Student's interval: mean ± t(n - 1) sd / sqrt(n). None
    from one value."""
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n == 0:
        return NOTHING
    value = float(sample.mean())
    left_out = (value * n - sample) / max(1, n - 1)
    return jackknife_interval(value, left_out if n > 1 else sample[:0], level)


def jackknife_interval(value: float, left_out: Array, level: float = LEVEL) -> Interval:
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


def widened(interval: Interval, level: float) -> Interval:
    """An interval at 95 % of what is symmetric in it, taken to another ``level`` by Student's
    quantiles; one without ends, or from one seed, stays as it is.

    >>> widened(Interval(0.0, -1.0, 1.0, 5), 0.95)
    Interval(value=0.0, lo=-1.0, hi=1.0, n=5)
    """
    if interval.n < 2 or level == LEVEL:
        return interval
    reach, usual = stdtrit(interval.n - 1, (1 + np.array([level, LEVEL])) / 2)
    below, above = ((interval.value - end) * reach / usual for end in (interval.lo, interval.hi))
    return Interval(
        interval.value, float(interval.value - below), float(interval.value - above), interval.n
    )


def widened_by(interval: Interval, by: float) -> Interval:
    """An interval with an error on either side that no seed shows, such as half a grid step."""
    return replace(interval, lo=interval.lo - by, hi=interval.hi + by)


def p_value(values: Sequence[float]) -> float:
    """Two-sided, of Student's test that the mean of n independent values is 0. nan from one."""
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < 2:
        return math.nan
    mean, error = float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(n - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> Array:
    """Adjusted p-values of a family of tests, in their order (Holm 1979).

    Rejecting those at most alpha rejects any true hypothesis of the family with a probability of at
    most alpha, however the tests depend on each other. nan stays, and counts as no test.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = [place for place in np.argsort(p, kind="stable") if not np.isnan(p[place])]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


@dataclass(frozen=True)
class Ranked:
    """Arms of a family that are equal run by run, and how likely theirs is the lowest mean loss.

    ``loss`` is the mean over seeds as if every arm had run them all; ``best`` is nan where nothing
    tells how noisy a loss is.
    """

    names: tuple[str, ...]
    loss: float
    best: float


def ranking(losses: Mapping[str, Mapping[int, float]]) -> tuple[Ranked, ...]:
    """A family's arms from losses by seed, lowest mean first, each with its probability of being
    the best.

    The model is that of randomized blocks: a loss is arm + seed + normal noise, of one variance for
    all arms, which few seeds could not tell apart. With flat priors on arms and seeds, and on the
    logarithm of the variance, the arms' means have a multivariate t distribution around their
    least-squares estimates (Box & Tiao 1973, ch. 2.7), of which ``POSTERIOR`` draws by a fixed
    generator are ranked. An arm may lack seeds that others have; one that has none, or no seed in
    common with any other, is left out.

    >>> [row.names for row in ranking({"a": {0: 1.0, 1: 1.2}, "b": {0: 0.9, 1: 1.0}})]
    [('b',), ('a',)]
    """
    named: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for name, by_seed in losses.items():
        finite = {seed: loss for seed, loss in by_seed.items() if math.isfinite(loss)}
        named.setdefault(tuple(sorted(finite.items())), []).append(name)
    arms = [(tuple(names), dict(runs)) for runs, names in named.items()]
    arms = [
        (names, runs)
        for names, runs in arms
        if any(runs.keys() & other.keys() for _, other in arms if other is not runs)
        or (len(arms) == 1 and runs)
    ]
    if not arms:
        return ()
    seeds = sorted({seed for _, runs in arms for seed in runs})
    cells = [(a, seeds.index(seed)) for a, (_, runs) in enumerate(arms) for seed in runs]
    arm_of, seed_of = np.array(cells).T
    y = np.array([loss for _, runs in arms for loss in runs.values()])
    # seeds' effects sum to 0, so that an arm's coefficient is its mean over all seeds
    effects = np.vstack([np.eye(len(seeds) - 1), -np.ones(len(seeds) - 1)])
    design = np.hstack([np.eye(len(arms))[arm_of], effects[seed_of]])
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ y
    means = coefficients[: len(arms)]
    freedom = len(y) - int(np.linalg.matrix_rank(design))
    best = np.full(len(arms), 1.0 if len(arms) == 1 else np.nan)
    if freedom > 0 and len(arms) > 1:
        noise = float(((y - design @ coefficients) ** 2).sum()) / freedom
        random = np.random.default_rng(0)
        spread = np.linalg.cholesky(inverse[: len(arms), : len(arms)])
        scale = np.sqrt(noise * freedom / random.chisquare(freedom, POSTERIOR))
        draws = means + scale[:, None] * (random.standard_normal((POSTERIOR, len(arms))) @ spread.T)
        best = np.bincount(draws.argmin(axis=1), minlength=len(arms)) / POSTERIOR
    order = np.argsort(means, kind="stable")
    return tuple(Ranked(arms[a][0], float(means[a]), float(best[a])) for a in order)


def crossed_interval(values: npt.ArrayLike, level: float = LEVEL) -> Interval:
    """The mean of values (seeds, blocks) over two crossed random factors, such as training seeds
    and blocks of validation text: of other seeds *and* other text, what would the mean be?

    With a seeds, b blocks and the mean squares of the two-way table without replication, the mean's
    variance is estimated by (MS_seed + MS_block - MS_rest) / (a b) (Searle, Casella & McCulloch
    1992, ch. 4). Its t quantile with Satterthwaite's degrees of freedom covers 0.87 at two seeds
    and 0.92 at three where it should 0.95, so each mean square takes the quantile of its own:

        reach^2 = (t(a-1)^2 MS_seed + t(b-1)^2 MS_block - t((a-1)(b-1))^2 MS_rest) / (a b),

    at least that of either factor alone, since a difference of mean squares can be negative by
    chance. It covers 0.95 or a little more in all cells simulated (``simulate``), and is Student's
    interval over seeds where blocks do not matter. ``n`` is the number of seeds. One seed or one
    block gives no interval.
    """
    table = np.asarray(values, dtype=np.float64)
    a, b = table.shape
    value = float(table.mean()) if table.size else math.nan
    if a < 2 or b < 2 or not np.isfinite(table).all():
        return Interval(value, math.nan, math.nan, a)
    of_seeds, of_blocks = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_seeds[:, None] - of_blocks + value
    freedoms = np.array([a - 1, b - 1, (a - 1) * (b - 1)])
    squares = np.array(
        [
            b * of_seeds.var(ddof=1),
            a * of_blocks.var(ddof=1),
            (rest**2).sum() / freedoms[2],
        ]
    )
    seeds, blocks, remainder = stdtrit(freedoms, (1 + level) / 2) ** 2 * squares
    reach = math.sqrt(max(seeds + blocks - remainder, seeds, blocks) / (a * b))
    return Interval(value, value - reach, value + reach, a)
