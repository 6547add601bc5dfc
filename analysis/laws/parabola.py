"""Parabolas through one level of compute, and whether their minimum means anything.

At one budget the loss against a logarithm x (of the model size, the tokens, the growth factor) is
fitted by least squares,

    L = c2 x^2 + c1 x + c0,    minimum at  x* = -c1 / (2 c2),

and the variance of x* follows from that of (c1, c2) by the delta method. A formula for x* has a
value for any three points, also where there is no minimum, so every parabola gets a status:
``few`` (fewer than 4 different x), ``flat`` (losses equal, or c2 within two standard errors of 0:
even the sign of the curvature is a guess), ``concave`` (c2 <= 0, x* is a *maximum*), ``bound_hit``
(x* outside the sampled x: extrapolated), ``converged``. One published pipeline checks only
c2 == 0, so concave fits pass.

Resamples keep x and give every residual a random factor, the same to all rows of a group (the wild
cluster bootstrap). Drawing rows would leave many a resample of 6 or 8 sizes without a minimum, and
in simulated studies made intervals twice as wide as the scatter of the estimate.

The true curve is not symmetric where the exponents of N and D differ, so grids that are centred
off the optimum shift x*, and a shift that changes with the budget changes the exponent.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.alike import alike
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

STATUSES = ("converged", "bound_hit", "concave", "flat", "few")
REASONS = {
    "bound_hit": "its minimum is outside the range sampled",
    "concave": "it has a maximum, not a minimum",
    "flat": "its losses do not tell where the minimum is",
    "few": "fewer than 4 different sizes",
}
FEWEST = 4
ROUNDING = 1e-12
CERTAIN = 2.0  # standard errors
SMALLEST = 0.01  # of 1 - leverage
SAME_LEVEL = 0.02  # in ln C: counted FLOPs differ so much between models of one nominal budget
WIDEST_LEVEL = 0.1


@dataclass(frozen=True, eq=False)
class Parabolas:
    """That of all rows first, then those of resamples: a batch, all arrays (B,).

    ``status`` indexes ``STATUSES``. ``vertex``, its standard error and the ``lowest`` loss are nan
    where there is no minimum, and extrapolated where it is ``bound_hit``; ``optimum`` is the vertex
    where converged, else nan. ``coefficients`` (B, 3) are those c0, c1, c2 of
    (x - centre) / half_range, ``rss`` the sums of squared residuals, and ``noise`` (B, n) what a
    resample has in place of the residuals, 0 in the first.
    """

    status: npt.NDArray[np.intp]
    vertex: Array
    vertex_se: Array
    lowest: Array
    coefficients: Array
    rss: Array
    noise: Array
    centre: float
    half_range: float

    @property
    def optimum(self) -> Array:
        return np.where(self.status == 0, self.vertex, np.nan)

    def words(self) -> str:
        """The status of the first of the batch."""
        return STATUSES[self.status[0]]

    def __call__(self, x: Array) -> Array:
        """The loss at x (m,) of the first of the batch."""
        z = (x - self.centre) / self.half_range
        return np.asarray(np.polynomial.polynomial.polyval(z, self.coefficients[0]))


def parabolas(x: Array, loss: Array, factors: Array) -> Parabolas:
    """Through points x (n,), loss (n,), and through each resample of them; ``factors`` (R, n)."""
    centre, half_range = (x.max() + x.min()) / 2, (x.max() - x.min()) / 2
    few = len(np.unique(alike(np.exp(x)))) < FEWEST
    if few:
        half_range = half_range or 1.0
    z = (x - centre) / half_range
    design = np.stack([np.ones_like(z), z, z**2], axis=1)
    inverse = np.eye(3) if few else np.linalg.inv(design.T @ design)
    project = inverse @ design.T
    level = loss.mean()
    first = project @ (loss - level)
    residual = loss - level - design @ first
    # a residual is smaller than the error it stands for, the more so the more its row weighs
    error = residual / np.sqrt(np.maximum(1 - np.einsum("ni,in->n", design, project), SMALLEST))
    noise = np.concatenate([np.zeros((1, len(x))), factors * error])
    c = first + noise @ project.T
    c[:, 0] += level
    after = noise - noise @ project.T @ design.T
    after[0] = residual
    rss = (after**2).sum(axis=1)
    return _judge(c, inverse, rss, noise, few, float(centre), float(half_range), float(abs(level)))


def _judge(
    c: Array,
    inverse: Array,
    rss: Array,
    noise: Array,
    few: bool,
    centre: float,
    half_range: float,
    level: float,
) -> Parabolas:
    curved = c[:, 2] > ROUNDING * level
    steep = np.where(curved, c[:, 2], 1.0)
    vertex = -c[:, 1] / (2 * steep)
    gradient = np.stack([np.zeros_like(steep), -1 / (2 * steep), -vertex / steep], axis=1)
    variance = rss / max(noise.shape[1] - 3, 1)
    se = np.sqrt(np.einsum("bi,ij,bj->b", gradient, inverse, gradient) * variance)
    uncertain = c[:, 2] < CERTAIN * np.sqrt(inverse[2, 2] * variance)
    equal = abs(c[:, 1:]).max(axis=1) <= ROUNDING * level
    cases = [np.full(len(c), few), equal, ~curved, abs(vertex) >= 1, uncertain]
    status = np.select(cases, [4, 3, 2, 1, 3], 0).astype(np.intp)
    minimum = (status == 0) | (status == 1)
    return Parabolas(
        status=status,
        vertex=np.where(minimum, centre + half_range * vertex, np.nan),
        vertex_se=np.where(minimum, half_range * se, np.nan),
        lowest=np.where(minimum, c[:, 0] - c[:, 1] ** 2 / (4 * steep), np.nan),
        coefficients=c,
        rss=rss,
        noise=noise,
        centre=centre,
        half_range=half_range,
    )


def levels(values: Array) -> list[npt.NDArray[np.intp]]:
    """Rows of each level of compute, ascending; neighbours closer than ``SAME_LEVEL`` are one.

    ``UserError`` where compute runs on without gaps, so that there are no levels.
    """
    order = np.argsort(values, kind="stable")
    log = np.log(values[order])
    found = np.split(order, np.flatnonzero(np.diff(log) > SAME_LEVEL) + 1)
    for rows in found:
        low, high = values[rows].min(), values[rows].max()
        if np.log(high / low) > WIDEST_LEVEL:
            raise UserError(
                f"the budgets run from {low:.4g} to {high:.4g} without a gap of 2 %, so they are "
                "no levels; give each row its nominal budget"
            )
    return found
