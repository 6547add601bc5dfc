"""``L(N, D) = E + (A / N^alpha + B / D^beta)^gamma``: an exponent on the reducible part.

Skaling (arXiv 2608.07222) writes k for gamma; the optimal N and D are those of the sum inside.
E and gamma trade off strongly: a lower gamma bends the law more, so it reaches the same losses with
a lower E.
"""

import numpy as np

from mugrow.analysis.laws.chinchilla import RANGES, allocation
from mugrow.analysis.laws.form import Form, Points, Pointwise, Units
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

EXPONENTS = (0.1, 0.2, 0.35, 0.5, 0.8, 1.2)
GAMMAS = (0.3, 0.5, 0.7, 1.0, 1.5)
FLOORS = (0.2, 0.5, 0.7, 0.85, 0.95)  # E as a part of the lowest loss


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    ln_n, ln_d = np.log(x["n"]), np.log(x["d"])
    e, a, b, alpha, beta, gamma = theta.T[:, :, None]
    from_n, from_d = np.exp(a - alpha * ln_n), np.exp(b - beta * ln_d)
    inside = from_n + from_d
    ln_inside = np.log(inside)
    reducible, constant = np.exp(gamma * ln_inside), np.exp(e)
    loss = reducible + constant
    share = reducible / loss
    of_a, of_b = gamma * share * from_n / inside, gamma * share * from_d / inside
    slopes = [constant / loss, of_a, of_b, -ln_n * of_a, -ln_d * of_b, share * ln_inside]
    return np.log(loss), np.stack(slopes, axis=1)


def starts(x: Points, loss: Array, given: Array) -> Array:
    e = np.log(FLOORS) + np.log(loss.min())
    point = grid(e, EXPONENTS, EXPONENTS, GAMMAS, given=[np.nan, *given[3:]])
    constant, alpha, beta, gamma = point.T[:, :, None]
    target = (loss - np.exp(constant)) ** (1 / gamma)
    found, error = coefficients(target, [x["n"] ** -alpha, x["d"] ** -beta])
    # an error of the reducible part to the power 1/gamma, as one of the loss
    error *= (gamma[:, 0] * (1 - np.exp(point[:, 0]) / loss.mean())) ** 2
    return lowest(np.hstack([point[:, :1], np.log(found), point[:, 1:]]), error)


def rescale(params: Array, units: Units) -> Array:
    E, A, B, alpha, beta, gamma = params.T
    A, B = A * units["n"] ** alpha, B * units["d"] ** beta
    return np.stack([E, A, B, alpha, beta, gamma], axis=1)


def optimal(params: Array, flops: float) -> Points:
    _, A, B, alpha, beta, _ = params.T
    return allocation(A, B, alpha, beta, flops)


FORM = Form(
    name="skaling",
    summary="E + (A/N^alpha + B/D^beta)^gamma",
    paper="arXiv 2608.07222",
    variables=("n", "d"),
    params=("E", "A", "B", "alpha", "beta", "gamma"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("E", "A", "B"),
        ranges=RANGES | {"gamma": (0.0, 10.0)},
        optimal=optimal,
    ),
)
