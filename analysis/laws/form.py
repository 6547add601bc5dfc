"""What a law is: a formula for the loss with named parameters, and the facts needed to fit it.

A ``Pointwise`` law predicts the loss of one row from that row alone,

    ln L_i = f(x_i, theta),

and is fitted by ``mugrow.analysis.laws.fit``. It is written in *internal* parameters theta: the
logarithm of each parameter named in ``positive`` (coefficients such as E, A, B), the others
(exponents) as they are. While fitting, every variable is measured in units of its geometric mean
over the rows; ``rescale`` converts parameters to other units of the variables, so nothing a user
sees depends on that choice. A law that is no function of single rows (isoFLOP parabolas, an
envelope, a whole curve) is a ``Procedure``: it gets the points and returns a ``FitResult`` of its
own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.stats import Array

Points = Mapping[str, Array]
"""Columns by name, each of shape (rows,): a form's variables, and ``loss``. The names are data: a
form says which it reads."""
Units = Mapping[str, float]
"""The unit of each variable."""


@dataclass(frozen=True)
class Options:
    """How to fit; ``mugrow.analysis.laws.fit.fit`` documents each."""

    delta: float | None = None
    groups: Sequence[object] | None = None
    bootstrap: int = 0
    seed: int = 0
    predict: Sequence[Sequence[float]] = ()
    optimal: Sequence[float] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pointwise:
    """A law of single rows. B is a batch of parameter vectors, n the rows, p the parameters.

    ``log_loss(theta (B, p), x) -> (f (B, n), df/dtheta (B, p, n))``, exact; the columns of ``x``
    are (n,), or (B, 1) for a point of its own for each member.
    ``starts(x, loss (n,), given (p,)) -> (S, p)``: internal starts; entries of ``given`` that are
    not nan are kept by the user, and overwrite whatever a start has there.
    ``rescale(params (B, p), units) -> (B, p)``: from natural parameters that hold for ``x / unit``
    to those that hold for ``x``.
    ``ranges``: the minimum of a natural parameter outside is reported as ``bound_hit``.
    ``delta``: of the Huber loss on log loss; None is plain least squares on the loss itself.
    ``fixed``: natural parameters that are not fitted unless the user says so.
    ``may_be_zero``: variables that may, all others are above 0.
    ``optimal(params (B, p), flops) -> columns (B,)``: where the loss is lowest under
    ``flops = 6 n d``, with ``d`` among them.
    """

    log_loss: Callable[[Array, Points], tuple[Array, Array]]
    starts: Callable[[Points, Array, Array], Array]
    rescale: Callable[[Array, Units], Array]
    positive: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    delta: float | None = 1e-3
    fixed: Mapping[str, float] = field(default_factory=dict)
    may_be_zero: tuple[str, ...] = ()
    optimal: Callable[[Array, float], Points] | None = None


Procedure = Callable[[Points, Options], FitResult]


@dataclass(frozen=True)
class Form:
    """One entry of the registry. ``variables`` are the columns it reads besides ``loss``.

    A law of whole ``curves`` reads every row of each run, where others read its last.
    """

    name: str
    summary: str
    paper: str
    variables: tuple[str, ...]
    params: tuple[str, ...]
    law: Pointwise | Procedure
    curves: bool = False


def natural(form: Form, law: Pointwise, theta: Array) -> Array:
    """Natural parameters (B, p) of internal ones, in the same units."""
    with np.errstate(over="ignore"):
        return np.where(positive(form, law), np.exp(theta), theta)


def internal(form: Form, law: Pointwise, params: Array) -> Array:
    """Internal parameters (B, p) of natural ones, in the same units."""
    mask = positive(form, law)
    return np.where(mask, np.log(np.where(mask, params, 1.0)), params)


def positive(form: Form, law: Pointwise) -> npt.NDArray[np.bool_]:
    """Which parameters are fitted as their logarithm, (p,)."""
    return np.array([name in law.positive for name in form.params])
