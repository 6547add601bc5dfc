"""``L(N, D) = [(N_c / N)^(alpha_N / alpha_D) + D_c / D]^alpha_D``, Kaplan et al. 2020, eq. 1.5.

(arXiv 2001.08361; N without embeddings.) It has no irreducible loss: with all the parameters and
data in the world it predicts 0. N_c and D_c are where a term alone would give a loss of 1, so they
are extrapolations by many orders of magnitude, and only their exponents compare between fits.
"""

import numpy as np

from mugrow.analysis.laws.chinchilla import allocation
from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

ALPHA_D = (0.03, 0.06, 0.1, 0.15, 0.22, 0.32, 0.5, 0.8)
ALPHA_N = (0.02, 0.04, 0.07, 0.1, 0.15, 0.22, 0.32, 0.5, 0.8)


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    alpha_n, alpha_d, ln_nc, ln_dc = theta.T[:, :, None]
    below_n = ln_nc - np.log(x["n"])
    from_n = np.exp(alpha_n / alpha_d * below_n)
    from_d = np.exp(ln_dc - np.log(x["d"]))
    inside = from_n + from_d
    share_n, ln_inside = from_n / inside, np.log(inside)
    slopes = [
        share_n * below_n,
        ln_inside - share_n * alpha_n / alpha_d * below_n,
        alpha_n * share_n,
        alpha_d * (1 - share_n),
    ]
    return alpha_d * ln_inside, np.stack(slopes, axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    exponents = grid(ALPHA_N, ALPHA_D, given=given[:2])
    alpha_n, alpha_d = exponents.T[:, :, None]
    ratio = alpha_n / alpha_d
    found, error = coefficients(loss ** (1 / alpha_d), [x["n"] ** -ratio, 1 / x["d"] + 0 * ratio])
    ln_c = np.log(found) / np.hstack([ratio, np.ones_like(ratio)])
    return lowest(np.hstack([exponents, ln_c]), error * exponents[:, 1] ** 2)


def rescale(params: Array, units: Units) -> Array:
    alpha_n, alpha_d, n_c, d_c = params.T
    return np.stack([alpha_n, alpha_d, n_c * units["n"], d_c * units["d"]], axis=1)


def optimal(params: Array, flops: float) -> Points:
    alpha_n, alpha_d, n_c, d_c = params.T
    ratio = alpha_n / alpha_d
    return allocation(n_c**ratio, d_c, ratio, np.ones_like(ratio), flops)


FORM = Form(
    name="kaplan",
    summary="[(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D",
    paper="Kaplan et al. 2020, arXiv 2001.08361",
    variables=("n", "d"),
    params=("alpha_N", "alpha_D", "N_c", "D_c"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("N_c", "D_c"),
        ranges={"alpha_N": (0.0, 3.0), "alpha_D": (0.0, 3.0)},
        optimal=optimal,
    ),
)
