"""``L(x) = a + b x^(-c0) (1 + (x / d1)^(1 / f1))^(-c1 f1)``: a power law with one smooth break.

Broken neural scaling laws (Caballero et al. 2022, arXiv 2210.14891). The exponent goes from c0 far
below x = d1 to c0 + c1 far above, over a range of ln x about f1 wide. Six parameters of one
variable: rows that do not reach both sides of the break cannot tell them apart.
"""

import numpy as np

from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

SLOPES = (0.0, 0.1, 0.3, 0.6, 1.0)
CHANGES = (-0.8, -0.3, -0.1, 0.1, 0.3, 0.8)
WIDTHS = (0.1, 0.4, 1.2)
BREAKS = (0.15, 0.3, 0.5, 0.7, 0.85)  # of the range of ln x


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    ln_x = np.log(x["x"])
    a, b, c0, c1, ln_d, ln_f = theta.T[:, :, None]
    f = np.exp(ln_f)
    beyond = (ln_x - ln_d) / f
    bend = np.logaddexp(0, beyond)
    power, constant = np.exp(b - c0 * ln_x - c1 * f * bend), np.exp(a)
    loss = power + constant
    share, above = power / loss, np.exp(beyond - bend)
    slopes = [
        constant / loss,
        share,
        -share * ln_x,
        -share * f * bend,
        share * c1 * above,
        -share * c1 * f * (bend - above * beyond),
    ]
    return np.log(loss), np.stack(slopes, axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    ln_x = np.log(x["x"])
    places = np.quantile(ln_x, BREAKS)
    point = grid(SLOPES, CHANGES, places, np.log(WIDTHS), given=given[2:])
    c0, c1, ln_d, ln_f = point.T[:, :, None]
    f = np.exp(ln_f)
    power = np.exp(-c0 * ln_x - c1 * f * np.logaddexp(0, (ln_x - ln_d) / f))
    found, error = coefficients(loss, [np.ones_like(power), power])
    return lowest(np.hstack([np.log(found), point]), error)


def rescale(params: Array, units: Units) -> Array:
    a, b, c0, c1, d1, f1 = params.T
    return np.stack([a, b * units["x"] ** c0, c0, c1, d1 * units["x"], f1], axis=1)


FORM = Form(
    name="bnsl",
    summary="a + b*x^(-c0)*(1 + (x/d1)^(1/f1))^(-c1*f1)",
    paper="Caballero et al. 2022, arXiv 2210.14891",
    variables=("x",),
    params=("a", "b", "c0", "c1", "d1", "f1"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("a", "b", "d1", "f1"),
        ranges={"c0": (-5.0, 5.0), "c1": (-10.0, 10.0), "f1": (1e-3, 100.0)},
    ),
)
