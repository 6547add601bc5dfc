"""``L(x) = a x^b + c``: loss against one measure of size at a fixed number of tokens.

nanoLM / muScaling (Yao et al. 2023, arXiv 2304.06875): with hyperparameters transferred by muP,
small widths predict large ones. Plain least squares on the loss, as there, unless a delta is given.
"""

import numpy as np

from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

EXPONENTS = np.array([0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0])


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    ln_x = np.log(x["x"])
    a, b, c = theta.T[:, :, None]
    power, constant = np.exp(a + b * ln_x), np.exp(c)
    loss = power + constant
    share = power / loss
    return np.log(loss), np.stack([share, share * ln_x, constant / loss], axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    b = grid(np.concatenate([-EXPONENTS, EXPONENTS]), given=given[[1]])
    found, error = coefficients(loss, [x["x"] ** b, np.ones_like(b)])
    return lowest(np.hstack([np.log(found[:, :1]), b, np.log(found[:, 1:])]), error)


def rescale(params: Array, units: Units) -> Array:
    a, b, c = params.T
    return np.stack([a * units["x"] ** -b, b, c], axis=1)


FORM = Form(
    name="power",
    summary="a*x^b + c",
    paper="Yao et al. 2023, arXiv 2304.06875",
    variables=("x",),
    params=("a", "b", "c"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("a", "c"),
        ranges={"b": (-5.0, 5.0)},
        delta=None,
    ),
)
