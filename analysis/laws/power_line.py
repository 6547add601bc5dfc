"""A power law y = k x^b as a straight line in logarithms, by weighted least squares.

    ln y = ln k + b ln x,    minimising  sum_i w_i (ln y_i - ln k - b ln x_i)^2

is the second step of every two-step scaling law: optima found budget by budget, then a line
through them. With w = 1/std^2 of the seed noise in ln y it is what Porian et al. (2024, arXiv
2406.19146) fit, in whose 15 experiments the exponent of the optimal model size falls from 0.835 to
0.497 as learning-rate schedule, batch size and the counting of FLOPs are put right one by one: the
line is easy, and what the points were measured with decides it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from mugrow.analysis.stats import Array


@dataclass(frozen=True)
class PowerLine:
    """y = coefficient * x^exponent, with the standard error of the exponent.

    The error is that of the residuals around the line of ``points``, nan for fewer than three.
    """

    exponent: float
    coefficient: float
    exponent_se: float
    points: int = 0

    def reach(self, level: float) -> float:
        """Half the width of Student's interval of the exponent by that error."""
        return float(stdtrit(max(1, self.points - 2), (1 + level) / 2)) * self.exponent_se

    def __call__(self, x: float) -> float:
        return float(np.exp(np.log(self.coefficient) + self.exponent * np.log(x)))


def lines(log_x: Array, log_y: Array, weights: Array) -> tuple[Array, Array]:
    """Slopes (B,) and intercepts (B,) of weighted lines; all arguments are (B, n) or broadcast.

    Weights of 0 leave a point out, whatever its ``log_y``. nan where fewer than two x are left.
    """
    weights = weights / weights.sum(axis=-1, keepdims=True)
    log_y = np.where(weights > 0, log_y, 0)
    mean_x = (weights * log_x).sum(axis=-1, keepdims=True)
    mean_y = (weights * log_y).sum(axis=-1, keepdims=True)
    from_mean = log_x - mean_x
    scatter = (weights * from_mean**2).sum(axis=-1)
    covariance = (weights * from_mean * (log_y - mean_y)).sum(axis=-1)
    slope = np.divide(covariance, scatter, out=np.full_like(scatter, np.nan), where=scatter > 0)
    return slope, mean_y[..., 0] - slope * mean_x[..., 0]


def power_line(x: Array, y: Array, weights: Array | None = None) -> PowerLine:
    """The line through points (n,) above 0; equal weights where none are given."""
    log_x, log_y = np.log(x), np.log(y)
    w = np.ones_like(log_x) if weights is None else weights
    slope, intercept = lines(log_x[None], log_y[None], w[None])
    residual = log_y - intercept[0] - slope[0] * log_x
    se = np.nan
    if len(x) > 2:
        variance = (w * residual**2).sum() / (len(x) - 2)
        se = np.sqrt(variance / (w * (log_x - np.average(log_x, weights=w)) ** 2).sum())
    return PowerLine(float(slope[0]), float(np.exp(intercept[0])), float(se), len(x))
