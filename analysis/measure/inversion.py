"""Where two paired lines meet, with an interval: the places that a paired t test does not reject.

Of seeds i = 1..n a difference d_i(x) is measured at points of a place x (log FLOPs, say) and taken
to be linear between them. The estimate is the x at which the mean difference is 0. Its interval is
the set of all x at which Student's test of "the mean difference at x is 0" does not reject,

    n mean(d(x))^2 <= t(n - 1)^2 var(d(x)),

which holds the true x with exactly the probability of the level wherever that lies within the
points, however flat or curved the lines are. (Fieller 1954 for one line; a confidence set is what
its tests accept, Lehmann & Romano 2005, ch. 3.5.) In a piece between two points both sides are
quadratic in x, so the set's borders are roots of a quadratic: no grid, no resamples.

Where values are of seeds crossed with blocks of text, the test is the one that
``stats.crossed_interval`` inverts, and x is accepted where any of its three parts accepts it:
seeds, blocks, or both less what is left.

The set need not be an interval: its hull is given. And it can leave the points: where the first
point is not rejected, x may lie before it, and that end is open. A seed that never crosses takes
part all the same, with the differences that it has; dropping it would bias what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from mugrow.analysis.stats import Array

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """A mean difference (..., points) that falls from one point to the last, and how sure it is.

    ``variance`` (..., points) is that of the mean, ``covariance`` (..., points - 1) that of the
    means at one point and the next, ``freedom`` (..., points) the degrees of freedom of both.
    """

    mean: Array
    variance: Array
    covariance: Array
    freedom: Array


@dataclass(frozen=True, eq=False)
class Accepted:
    """What the test accepts of the points: the ends (...,) of its hull, in points, 1.5 being
    halfway between the second and the third, and nan where it accepts none.

    Since lines only fall, the place sought may lie ``before`` the first point unless the difference
    is above 0 there for certain, and ``after`` the last unless it is below 0 there for certain.
    """

    lo: Array
    hi: Array
    before: npt.NDArray[np.bool_]
    after: npt.NDArray[np.bool_]
    points: int

    def hull(self) -> tuple[Array, Array]:
        """Both ends, infinite where they are open."""
        last = self.points - 1.0
        lo = np.where(self.after, np.fmin(self.lo, last), self.lo)
        hi = np.where(self.before, np.fmax(self.hi, 0.0), self.hi)
        return np.where(self.before, -np.inf, lo), np.where(self.after, np.inf, hi)


@np.errstate(over="ignore", invalid="ignore")  # losses near the largest float have no interval
def paired(differences: Array) -> MeanDifference:
    """The mean of paired differences (..., seeds, points), of at least two seeds."""
    n = differences.shape[-2]
    mean = differences.mean(axis=-2)
    rest = differences - mean[..., None, :]
    scale = 1 / ((n - 1) * n)
    return MeanDifference(
        mean=mean,
        variance=scale * (rest**2).sum(axis=-2),
        covariance=scale * (rest[..., :-1] * rest[..., 1:]).sum(axis=-2),
        freedom=np.full(mean.shape, n - 1.0),
    )


@np.errstate(over="ignore", invalid="ignore")
def unpaired(falling: Array, constant: Array) -> MeanDifference:
    """The mean of ``falling`` (..., n, points) minus that of ``constant`` (..., m): seeds of their
    own, at least two each, with the degrees of freedom of Welch (1947)."""
    line, level = paired(falling), paired(constant[..., None])
    variance = line.variance + level.variance
    parts = line.variance**2 / line.freedom + level.variance**2 / level.freedom
    fewest = min(falling.shape[-2], constant.shape[-1]) - 1.0
    return MeanDifference(
        mean=line.mean - level.mean,
        variance=variance,
        covariance=line.covariance + level.variance,
        freedom=np.divide(variance**2, parts, out=np.full(parts.shape, fewest), where=parts > 0),
    )


@np.errstate(over="ignore", invalid="ignore")
def crossed(differences: Array, level: float = LEVEL) -> tuple[MeanDifference, ...]:
    """The mean of differences (..., seeds, blocks, points), of two seeds and two blocks at least,
    once for each of the three tests: any of them may accept.

    A variance is a bilinear form in the two ends of a piece, so mean squares become mean products.
    That of both factors takes each mean square with the t quantile of its own, which is put into
    the variance, for the test multiplies it by that of seeds.
    """
    seeds, blocks = differences.shape[-3:-1]
    mean = differences.mean(axis=(-3, -2))
    of_seeds = differences.mean(axis=-2) - mean[..., None, :]
    of_blocks = differences.mean(axis=-3) - mean[..., None, :]
    rest = differences - mean[..., None, None, :]
    rest = rest - of_seeds[..., :, None, :] - of_blocks[..., None, :, :]
    freedoms = np.array([seeds - 1, blocks - 1, (seeds - 1) * (blocks - 1)], dtype=np.float64)
    t2 = stdtrit(freedoms, (1 + level) / 2) ** 2

    def parts(left: slice, right: slice) -> Array:
        """Of the mean's variance: what seeds, blocks and the rest say, (3, ..., points)."""

        def product(of: Array, axes: tuple[int, ...]) -> Array:
            found: Array = (of[..., left] * of[..., right]).sum(axis=axes)
            return found

        return np.stack([
            product(of_seeds, (-2,)) / freedoms[0] / seeds,
            product(of_blocks, (-2,)) / freedoms[1] / blocks,
            product(rest, (-3, -2)) / freedoms[2] / (seeds * blocks),
        ])  # fmt: skip

    own, next_ = parts(slice(None), slice(None)), parts(slice(None, -1), slice(1, None))
    weights = (t2 * [1, 1, -1] / t2[0]).reshape(3, *[1] * mean.ndim)
    both = (weights * own).sum(axis=0), (weights * next_).sum(axis=0)
    return tuple(
        MeanDifference(mean, variance, covariance, np.full(mean.shape, freedom))
        for (variance, covariance), freedom in zip(
            [(own[0], next_[0]), (own[1], next_[1]), both], freedoms[[0, 1, 0]], strict=True
        )
    )


def accepted_by_any(tests: Sequence[MeanDifference], level: float = LEVEL) -> Accepted:
    """The places at which some test accepts that the mean difference is 0."""
    each = [accepted(test, level) for test in tests]
    return Accepted(
        lo=np.fmin.reduce([one.lo for one in each]),
        hi=np.fmax.reduce([one.hi for one in each]),
        before=np.logical_or.reduce([one.before for one in each]),
        after=np.logical_or.reduce([one.after for one in each]),
        points=each[0].points,
    )


@np.errstate(all="ignore")
def accepted(difference: MeanDifference, level: float = LEVEL) -> Accepted:
    """The places at which the mean difference may be 0. A variance below 0, of
    ``crossed``, accepts nothing else."""
    mean, variance = difference.mean, difference.variance
    critical = _critical(difference.freedom, level)
    reach = critical * np.sqrt(np.maximum(variance, 0.0))
    places = np.arange(mean.shape[-1], dtype=np.float64)
    inside = [np.where(np.abs(mean) <= reach, places, np.nan)]
    if len(places) > 1:
        # of Welch's degrees of freedom the fewer ones of the two ends
        widest = np.maximum(critical[..., :-1], critical[..., 1:])
        inside += [root + places[:-1] for root in _borders(difference, widest)]
    found = np.concatenate(inside, axis=-1)
    return Accepted(
        lo=np.fmin.reduce(found, axis=-1),
        hi=np.fmax.reduce(found, axis=-1),
        before=mean[..., 0] < reach[..., 0],
        after=mean[..., -1] > -reach[..., -1],
        points=len(places),
    )


def _critical(freedom: Array, level: float) -> Array:
    """The t quantiles of an interval; of degrees of freedom that are all alike it is found once."""
    alike = freedom.size and (freedom == freedom.flat[0]).all()
    found: Array = stdtrit(freedom.flat[0] if alike else freedom, (1 + level) / 2)
    return np.broadcast_to(found, freedom.shape)


def _borders(difference: MeanDifference, critical: Array) -> list[Array]:
    """Where in each piece (..., points - 1) the test begins or ends to accept, from 0 to 1, and
    where the mean is 0, which no test rejects; nan where there is no such place.

    With the mean p + q w and its variance Vpp + 2 Vpq w + Vqq w^2 the borders are the roots of
    a w^2 + 2 b w + c = 0 below; written so that its discriminant is exactly 0 without variance.
    """
    mean, variance, t2 = difference.mean, difference.variance, critical**2
    p, q = mean[..., :-1], np.diff(mean, axis=-1)
    vpp, vpq = variance[..., :-1], difference.covariance - variance[..., :-1]
    vqq = variance[..., 1:] - vpp - 2 * vpq
    a, b, c = q**2 - t2 * vqq, p * q - t2 * vpq, p**2 - t2 * vpp
    determinant = vpp * vqq - vpq**2
    discriminant = t2 * (q**2 * vpp - 2 * p * q * vpq + p**2 * vqq - t2 * determinant)
    root = -(b + np.copysign(np.sqrt(discriminant), b))
    places = [root / a, c / root, -p / q]
    return [np.where((place >= 0) & (place <= 1), place, np.nan) for place in places]
