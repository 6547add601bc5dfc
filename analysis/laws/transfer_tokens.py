"""``L = L_scratch(N, D + kappa D1 g^(-rho) exp(-D / D_0))``: a warm start as extra tokens.

L_scratch is the Chinchilla law. D1 are the tokens of the source (0 for a run from scratch) and
``g = N / N_source`` the growth factor, 1 from scratch. kappa is the part of the source's tokens
that counts at g = 1, rho how it falls with g, and D_0 the tokens over which the benefit is
forgotten; kappa = 0 is no benefit, kappa = 1 with rho = 0 and large D_0 full transfer. Runs from
scratch and warm starts are fitted together, so both share one law.

The form is this suite's own and has been tested by nobody else: compare it with separate fits.
"""

from collections.abc import Sequence

import numpy as np

from mugrow.analysis.laws import chinchilla
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

EXPONENTS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.8)
KAPPAS = (0.03, 0.1, 0.3, 1.0)  # in units of mean D over mean D1
RHOS = (0.0, 0.7, 1.5)
FORGETTING = (0.3, 1.0, 4.0, 20.0)  # D_0 in units of the mean D


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    kappa, rho, d_0 = theta.T[5:, :, None]
    forgotten = x["d"] / np.exp(d_0)
    extra = x["d1"] * np.exp(kappa - rho * np.log(x["g"]) - forgotten)
    effective = x["d"] + extra
    log, slopes = chinchilla.log_loss(theta[:, :5], {"n": x["n"], "d": effective})
    # d ln L / d ln D_effective is -beta times the slope in ln B
    of_extra = -theta[:, 4, None] * slopes[:, 2] * extra / effective
    more = [of_extra, -of_extra * np.log(x["g"]), of_extra * forgotten]
    return log, np.concatenate([slopes, np.stack(more, axis=1)], axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    alphas, betas = _exponents(x, loss)
    point = grid(alphas, betas, np.log(KAPPAS), RHOS, np.log(FORGETTING), given=given[3:])
    alpha, beta, kappa, rho, d_0 = point.T[:, :, None]
    extra = x["d1"] * np.exp(kappa - rho * np.log(x["g"]) - x["d"] / np.exp(d_0))
    terms = [np.ones_like(extra), x["n"] ** -alpha, (x["d"] + extra) ** -beta]
    found, error = coefficients(loss, terms)
    return lowest(np.hstack([np.log(found), point]), error)


def _exponents(x: Points, loss: Array) -> tuple[Sequence[float], Sequence[float]]:
    """Those of the runs from scratch alone where they identify the law, else a grid.

    Exponents that are a little off leave residuals as large as the effect of a warm start.
    """
    scratch = x["d1"] == 0
    if scratch.any():
        alone = {"n": x["n"][scratch], "d": x["d"][scratch], "loss": loss[scratch]}
        found = fit(chinchilla.FORM, alone)
        if found.status == "converged":
            return [found.params["alpha"]], [found.params["beta"]]
    return EXPONENTS, EXPONENTS


def rescale(params: Array, units: Units) -> Array:
    kappa, rho, d_0 = params.T[5:]
    kappa = kappa * units["d"] / units["d1"] * units["g"] ** rho
    more = np.stack([kappa, rho, d_0 * units["d"]], axis=1)
    return np.hstack([chinchilla.rescale(params[:, :5], units), more])


def optimal(params: Array, flops: float) -> Points:
    """The allocation from scratch."""
    where = chinchilla.optimal(params[:, :5], flops)
    return {**where, "d1": np.zeros_like(where["n"]), "g": np.ones_like(where["n"])}


FORM = Form(
    name="transfer_tokens",
    summary="E + A/N^alpha + B/(D + kappa*D1*g^(-rho)*exp(-D/D_0))^beta",
    paper="this suite; effective data transferred after Hernandez et al. 2021, arXiv 2102.01293",
    variables=("n", "d", "d1", "g"),
    params=("E", "A", "B", "alpha", "beta", "kappa", "rho", "D_0"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("E", "A", "B", "kappa", "D_0"),
        ranges=chinchilla.RANGES | {"rho": (-2.0, 10.0)},
        may_be_zero=("d1",),
        optimal=optimal,
    ),
)
