"""``L(N, D) = E + A / N^alpha + B / D^alpha``: the Chinchilla law with one exponent.

With equal exponents the optimal tokens per parameter are the same at every budget. One parameter
less makes it the steadier law where runs are few: fitted below 1e21 FLOPs on the Chinchilla points
it predicts those above better than the untied law does.
"""

import numpy as np

from mugrow.analysis.laws import chinchilla
from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import grid
from mugrow.analysis.stats import Array


def untie(params: Array) -> Array:
    """Parameters (B, 5) of the Chinchilla law, internal or natural, of these (B, 4)."""
    return np.hstack([params, params[:, 3:]])


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    log, slopes = chinchilla.log_loss(untie(theta), x)
    slopes[:, 3] += slopes[:, 4]
    return log, slopes[:, :4]


def starts(x: Points, loss: Array, given: Array) -> Array:
    alpha = grid(chinchilla.EXPONENTS, given=given[3:])
    return chinchilla.from_exponents(x, loss, np.hstack([alpha, alpha]))[:, :4]


def rescale(params: Array, units: Units) -> Array:
    return chinchilla.rescale(untie(params), units)[:, :4]


def optimal(params: Array, flops: float) -> Points:
    return chinchilla.optimal(untie(params), flops)


FORM = Form(
    name="chinchilla_tied",
    summary="E + A/N^alpha + B/D^alpha",
    paper="Hoffmann et al. 2022, arXiv 2203.15556, with alpha = beta",
    variables=("n", "d"),
    params=("E", "A", "B", "alpha"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("E", "A", "B"),
        ranges={"alpha": chinchilla.RANGES["alpha"]},
        optimal=optimal,
    ),
)
