"""``L(N, D) = E + A / N^alpha + B / D^beta``, approach 3 of Hoffmann et al. 2022.

(arXiv 2203.15556.) Under ``C = 6 N D`` the lowest loss is at
``N = G (C/6)^(beta/(alpha+beta))``,
``G = (alpha A / (beta B))^(1/(alpha+beta))``. The published coefficients are not the minimum of
their objective: it had been averaged over rows, and the optimiser stopped early (Besiroglu et al.
2024, arXiv 2404.10102).
"""

import numpy as np

from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

EXPONENTS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.6, 0.8, 1.1, 1.5, 2.0)
RANGES = {"alpha": (0.0, 3.0), "beta": (0.0, 3.0)}


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    ln_n, ln_d = np.log(x["n"]), np.log(x["d"])
    e, a, b, alpha, beta = theta.T[:, :, None]
    slopes = np.empty((5, len(theta), ln_n.shape[-1]))
    of_e, of_a, of_b, of_alpha, of_beta = slopes
    np.exp(a - alpha * ln_n, out=of_a)
    np.exp(b - beta * ln_d, out=of_b)
    constant = np.exp(e)
    loss = of_a + of_b
    loss += constant
    log = np.log(loss)
    share = np.divide(1, loss, out=loss)
    of_a *= share
    of_b *= share
    np.multiply(share, constant, out=of_e)
    np.multiply(of_a, -ln_n, out=of_alpha)
    np.multiply(of_b, -ln_d, out=of_beta)
    return log, slopes.transpose(1, 0, 2)


def starts(x: Points, loss: Array, given: Array) -> Array:
    return from_exponents(x, loss, grid(EXPONENTS, EXPONENTS, given=given[3:]))


def from_exponents(x: Points, loss: Array, exponents: Array) -> Array:
    """Starts (S, 5) with the best coefficients for rows (alpha, beta) of ``exponents``."""
    alpha, beta = exponents.T[:, :, None]
    found, error = coefficients(loss, [np.ones_like(alpha), x["n"] ** -alpha, x["d"] ** -beta])
    return lowest(np.hstack([np.log(found), exponents]), error)


def rescale(params: Array, units: Units) -> Array:
    E, A, B, alpha, beta = params.T
    return np.stack([E, A * units["n"] ** alpha, B * units["d"] ** beta, alpha, beta], axis=1)


def optimal(params: Array, flops: float) -> Points:
    _, A, B, alpha, beta = params.T
    return allocation(A, B, alpha, beta, flops)


def allocation(A: Array, B: Array, alpha: Array, beta: Array, flops: float) -> Points:
    """N and D of lowest ``A / N^alpha + B / D^beta`` under ``flops = 6 N D``, each (B,)."""
    with np.errstate(all="ignore"):
        total = alpha + beta
        log_g = (np.log(alpha * A) - np.log(beta * B)) / total
        n = np.exp(log_g + beta / total * np.log(flops / 6))
    return {"n": n, "d": flops / 6 / n}


FORM = Form(
    name="chinchilla",
    summary="E + A/N^alpha + B/D^beta",
    paper="Hoffmann et al. 2022, arXiv 2203.15556",
    variables=("n", "d"),
    params=("E", "A", "B", "alpha", "beta"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("E", "A", "B"),
        ranges=RANGES,
        optimal=optimal,
    ),
)
