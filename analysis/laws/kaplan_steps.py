"""``L(N, S) = (N_c / N)^alpha_N + (S_c / S)^alpha_S``, Kaplan et al. 2020, eq. 1.6.

(arXiv 2001.08361.) S is the number of optimiser steps at a batch far above the critical one,
``S_min``. Staged training (Shen et al. 2022, arXiv 2203.06211) takes from it when to grow a model.
"""

import numpy as np

from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

ALPHA_N = (0.02, 0.04, 0.07, 0.1, 0.15, 0.22, 0.35, 0.6, 1.0)
ALPHA_S = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.3, 2.0)


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    alpha_n, ln_nc, alpha_s, ln_sc = theta.T[:, :, None]
    below_n, below_s = ln_nc - np.log(x["n"]), ln_sc - np.log(x["s"])
    from_n, from_s = np.exp(alpha_n * below_n), np.exp(alpha_s * below_s)
    loss = from_n + from_s
    share_n, share_s = from_n / loss, from_s / loss
    slopes = [share_n * below_n, share_n * alpha_n, share_s * below_s, share_s * alpha_s]
    return np.log(loss), np.stack(slopes, axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    exponents = grid(ALPHA_N, ALPHA_S, given=given[[0, 2]])
    alpha_n, alpha_s = exponents.T[:, :, None]
    found, error = coefficients(loss, [x["n"] ** -alpha_n, x["s"] ** -alpha_s])
    ln_nc, ln_sc = (np.log(found) / exponents).T
    return lowest(np.stack([exponents[:, 0], ln_nc, exponents[:, 1], ln_sc], axis=1), error)


def rescale(params: Array, units: Units) -> Array:
    alpha_n, n_c, alpha_s, s_c = params.T
    return np.stack([alpha_n, n_c * units["n"], alpha_s, s_c * units["s"]], axis=1)


FORM = Form(
    name="kaplan_steps",
    summary="(N_c/N)^alpha_N + (S_c/S)^alpha_S",
    paper="Kaplan et al. 2020, arXiv 2001.08361",
    variables=("n", "s"),
    params=("alpha_N", "N_c", "alpha_S", "S_c"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("N_c", "S_c"),
        ranges={"alpha_N": (0.0, 3.0), "alpha_S": (0.0, 3.0)},
    ),
)
