"""What a fit minimises: the sum over rows of the Huber loss of log residuals,

    F(theta) = sum_i w_i H(r_i),            r_i = ln L_predicted,i - ln L_i,
    H(r) = r^2 / 2 for |r| < delta,         delta (|r| - delta / 2) beyond,

or of ``(L_predicted - L)^2 / 2`` for laws that their papers fit by plain least squares. It is
always the sum, never the mean. The published Chinchilla coefficients are wrong because the mean
made the gradients so small that the optimiser took its start for a minimum (arXiv 2404.10102). So
nothing here compares a gradient with a fixed number: whether a point is a minimum is told by
``imbalance``, the gradient as a share of the terms it is summed from. That is the same when every
row is counted twice or the objective is averaged.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.form import Points, Pointwise
from mugrow.analysis.stats import Array

CHUNK = 32_768  # predictions evaluated at a time: several such arrays fit into a core's cache
FAINT = 1e-4  # of the largest parameter's terms; below, a parameter is judged beside the largest
EXACT = 1e-12  # residuals below are rounding
RESOLVED = 1e-9  # residuals this small still tell a gradient from rounding, to a millionth


@dataclass(frozen=True, eq=False)
class Objective:
    """``x`` columns (n,) in fitting units, ``loss`` (n,), ``base`` (p,) the internal parameters
    given, ``free`` (k,) the indices of those fitted; without ``on_log`` plain least squares."""

    law: Pointwise
    x: Points
    loss: Array
    base: Array
    free: npt.NDArray[np.int64]
    delta: float
    on_log: bool = True

    def full(self, theta: Array) -> Array:
        """All internal parameters (B, p), from the free ones (B, k)."""
        whole = np.repeat(self.base[None], len(theta), axis=0)
        whole[:, self.free] = theta
        return whole

    def residuals(self, theta: Array) -> tuple[Array, Array]:
        """Residuals (B, n) and their Jacobian (B, k, n)."""
        log, slopes = self.law.log_loss(self.full(theta), self.x)
        if len(self.free) < len(self.base):
            slopes = slopes[:, self.free]
        if self.on_log:
            log -= np.log(self.loss)
            return log, slopes
        predicted = np.exp(log)
        return predicted - self.loss, slopes * predicted[:, None, :]

    def value_and_gradient(self, theta: Array, weights: Array | None) -> tuple[Array, Array]:
        """Sum over rows (B,) and gradient (B, k); ``weights`` (B, n) count each row, or None."""
        values, gradients = np.empty(len(theta)), np.empty(theta.shape)
        for part in self._parts(len(theta)):
            r, slopes = self.residuals(theta[part])
            pull = np.clip(r, -self.delta, self.delta)
            r -= 0.5 * pull
            r *= pull
            if weights is not None:
                r *= weights[part]
                pull *= weights[part]
            values[part] = r.sum(axis=1)
            gradients[part] = (slopes @ pull[:, :, None])[:, :, 0]
        return values, gradients

    def curvature(self, theta: Array, weights: Array | None) -> Array:
        """Gauss-Newton matrix (B, k, k) of the quadratics that touch each Huber term from above."""
        curvature = np.empty((*theta.shape, theta.shape[1]))
        for part in self._parts(len(theta)):
            r, slopes = self.residuals(theta[part])
            weight = np.minimum(1, self.delta / np.maximum(np.abs(r), 1e-300))
            if weights is not None:
                weight *= weights[part]
            curvature[part] = (slopes * weight[:, None, :]) @ slopes.transpose(0, 2, 1)
        return curvature

    def imbalance(self, theta: Array, weights: Array | None) -> Array:
        """How far from a minimum (B,): |sum of the gradient's terms| / sum of |its terms|.

        The worst parameter counts, and 0 stands for residuals that are all rounding.
        """
        worst = np.empty(len(theta))
        for part in self._parts(len(theta)):
            r, slopes = self.residuals(theta[part])
            pull = np.clip(r, -self.delta, self.delta)
            if weights is not None:
                pull *= weights[part]
            terms = slopes * pull[:, None, :]
            floor = RESOLVED if weights is None else RESOLVED * weights[part]
            size = (np.abs(slopes) @ (np.abs(pull) + floor)[:, :, None])[:, :, 0]
            size = np.maximum(size, FAINT * size.max(axis=1, keepdims=True))
            share = np.abs(terms.sum(axis=2)) / np.maximum(size, 1e-300)
            exact = np.abs(r).max(axis=1) < EXACT
            worst[part] = np.where(exact, 0.0, share.max(axis=1))
        return np.where(np.isfinite(worst), worst, np.inf)

    def _parts(self, members: int) -> list[slice]:
        size = max(1, CHUNK // len(self.loss))
        return [slice(i, i + size) for i in range(0, members, size)]
