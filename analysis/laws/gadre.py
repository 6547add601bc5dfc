"""``L(N, M) = E + p N^(-2 eta) + q 6^(-eta) (M N)^(-2 eta)``, M = D/N tokens per parameter.

Gadre et al. 2024 (arXiv 2403.08540) for over-training: one exponent for N and for D = M N, so that
runs of a few small models, one of them trained far beyond the optimum, extrapolate to large models
at any M. Plain least squares on the loss, as there, unless a delta is given.
"""

import numpy as np

from mugrow.analysis.laws.chinchilla import allocation
from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

ETAS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    ln_n, ln_d = np.log(x["n"]), np.log(x["n"] * x["m"]) + np.log(6) / 2
    e, p, q, eta = theta.T[:, :, None]
    from_n, from_d = np.exp(p - 2 * eta * ln_n), np.exp(q - 2 * eta * ln_d)
    loss = from_n + from_d + np.exp(e)
    of_n, of_d = from_n / loss, from_d / loss
    of_eta = -2 * (of_n * ln_n + of_d * ln_d)
    return np.log(loss), np.stack([np.exp(e) / loss, of_n, of_d, of_eta], axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    eta = grid(ETAS, given=given[3:])
    d = 6**0.5 * x["n"] * x["m"]
    found, error = coefficients(loss, [np.ones_like(eta), x["n"] ** (-2 * eta), d ** (-2 * eta)])
    return lowest(np.hstack([np.log(found), eta]), error)


def rescale(params: Array, units: Units) -> Array:
    E, p, q, eta = params.T
    p, q = p * units["n"] ** (2 * eta), q * (units["n"] * units["m"]) ** (2 * eta)
    return np.stack([E, p, q, eta], axis=1)


def optimal(params: Array, flops: float) -> Points:
    _, p, q, eta = params.T
    where = allocation(p, q * 6**-eta, 2 * eta, 2 * eta, flops)
    return {**where, "m": where["d"] / where["n"]}


FORM = Form(
    name="gadre",
    summary="E + p*N^(-2 eta) + q*6^(-eta)*(M*N)^(-2 eta)",
    paper="Gadre et al. 2024, arXiv 2403.08540",
    variables=("n", "m"),
    params=("E", "p", "q", "eta"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("E", "p", "q"),
        ranges={"eta": (0.0, 1.5)},
        delta=None,
        optimal=optimal,
    ),
)
