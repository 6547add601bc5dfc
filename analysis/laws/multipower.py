"""A whole loss curve under a learning-rate schedule: the multi-power law.

    L(t) = L0 + A S1(t)^-alpha - B sum_k (eta_(k-1) - eta_k) G(C eta_k^-gamma S_k(t)),
    G(u) = 1 - (1 + u)^-beta,    S_k(t) = S1(t) - S1(k)

(Luo et al. 2025, arXiv 2503.12811): every fall of the learning rate earns its own drop of the loss,
which saturates as a power of the area trained since. Where the momentum law forgets at a fixed
rate, this one forgets the slower the lower the rate.

It fits well and says little about itself. On the three curves that its authors fit at 100M, all
starts end in one minimum with a twelfth of the objective of the published parameters (the authors'
optimiser stopped after 200 steps), at C = 0.001, beta = 0.25, gamma = 1.4 for 2.13, 0.60, 0.66; yet
it predicts the six other curves a little *worse* (mean R^2 0.9970, published 0.9983), and C doubles
when the schedule between logged rows is resolved more finely. Read its predictions, not its C.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.laws.clusters import Index, check
from analysis.laws.fit import fit as fit_rows
from analysis.laws.form import Form, Options, Points, Pointwise, Units
from analysis.laws.result import FitResult
from analysis.laws.schedules import Run, by_row, no_fall, runs
from analysis.laws.separable import coefficients, grid, lowest
from analysis.stats import Array

PARAMS = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
POSITIVE = ("L0", "A", "B", "C", "beta")
STARTS = 12
MOST_CHANGES = 300  # of the rate, inside the ramps of one run
GRID = ((0.3, 0.5, 0.7), (1.0, 10.0, 100.0, 1000.0), (0.3, 0.6, 1.2), (0.0, 0.5, 1.0))


@dataclass(frozen=True, eq=False)
class Falls:
    """Every pair of a row and an earlier change of the learning rate, in one list (pairs,).

    Rates are in units of ``lr_unit``, areas of ``area_unit``. ``s1`` is (rows,); ``row`` and
    ``change`` say whose pair it is, ``since`` is S_k(t); ``fall`` and ``log_lr`` are (changes,).
    """

    s1: Array
    row: Index
    change: Index
    since: Array
    fall: Array
    log_lr: Array
    lr_unit: float
    area_unit: float


def falls(found: list[Run]) -> Falls:
    """The pairs of runs; a rate that falls to 0 counts as the mean of its last piece."""
    s1 = by_row(found, [run.s1 for run in found])
    area_unit = float(np.exp(np.log(s1[s1 > 0]).mean()))
    lr_unit = float(max(run.schedule.lr.max() for run in found))
    row, change, since, fall, rate = [], [], [], [], []
    known = 0
    for run in found:
        kept = _nodes(run.schedule.lr)
        lr, area = run.schedule.lr[kept], run.schedule.area[kept]
        here = np.flatnonzero(np.diff(lr))
        mean, new = (lr[here] + lr[here + 1]) / 2, lr[here + 1]
        fall.append(lr[here] - new)
        rate.append(np.where(new > 0, new, mean))
        gone = s1[run.rows][:, None] - (area[here] + area[here + 1])[None] / 2
        which, of = np.nonzero(gone > 0)
        row.append(run.rows[which])
        change.append(of + known)
        since.append(gone[which, of])
        known += len(here)
    return Falls(
        s1=s1 / area_unit,
        row=np.concatenate(row),
        change=np.concatenate(change),
        since=np.concatenate(since) / area_unit,
        fall=np.concatenate(fall) / lr_unit,
        log_lr=np.log(np.concatenate(rate) / lr_unit),
        lr_unit=lr_unit,
        area_unit=area_unit,
    )


def _nodes(lr: Array) -> npt.NDArray[np.bool_]:
    """Which nodes of a schedule to keep, (nodes,): ends of ramps, and few enough inside them."""
    changing = np.diff(lr) != 0
    inside = np.concatenate([[False], changing[1:] & changing[:-1], [False]])
    every = int(np.ceil(inside.sum() / MOST_CHANGES)) or 1
    return np.asarray(~inside | (np.arange(len(lr)) % every == 0))


def drop(at: Falls, c: float, beta: float, gamma: float) -> tuple[Array, Array]:
    """The drop D = sum (eta_(k-1) - eta_k) G per row (rows,), and dD/d(ln C, ln beta, gamma)."""
    u = (c * np.exp(-gamma * at.log_lr))[at.change] * at.since
    log = np.log1p(u)
    rest = np.exp(-beta * log)
    fall = at.fall[at.change]
    by_c = fall * (beta * rest * u / (1 + u))
    columns = (fall * (1 - rest), by_c, fall * (beta * rest * log), -by_c * at.log_lr[at.change])
    sums = np.array([np.bincount(at.row, column, len(at.s1)) for column in columns])
    return sums[0], sums[1:]


def log_loss(at: Falls) -> Callable[[Array, Points], tuple[Array, Array]]:
    """The law bound to its curves; internal parameters are ln of all but alpha and gamma."""

    def bound(theta: Array, x: Points) -> tuple[Array, Array]:
        members = [one(member) for member in theta]
        return np.stack([f for f, _ in members]), np.stack([slopes for _, slopes in members])

    def one(theta: Array) -> tuple[Array, Array]:
        level, scale, height, c, beta = np.exp(theta[[0, 1, 3, 4, 5]])
        power = scale * at.s1 ** -theta[2]
        gain, slopes = drop(at, c, beta, theta[6])
        loss = level + power - height * gain
        first = [np.full_like(loss, level), power, -power * np.log(at.s1), -height * gain]
        return np.log(loss), np.concatenate([first, -height * slopes]) / loss

    return bound


def starts(at: Falls) -> Callable[[Points, Array, Array], Array]:
    def bound(x: Points, loss: Array, given: Array) -> Array:
        nonlinear = grid(*GRID, given=given[[2, 4, 5, 6]])
        gains = np.stack([drop(at, *shape[1:])[0] for shape in nonlinear])
        terms = [np.ones((1, 1)), at.s1 ** -nonlinear[:, :1], -gains]
        linear, error = coefficients(loss[None], terms)
        level, scale, height = np.log(linear).T
        alpha, c, beta, gamma = nonlinear.T
        columns = [level, scale, alpha, height, np.log(c), np.log(beta), gamma]
        return lowest(np.stack(columns, axis=1), error)[:STARTS]

    return bound


def rescale(at: Falls) -> Callable[[Array, Units], Array]:
    def bound(params: Array, units: Units) -> Array:
        level, scale, alpha, height, c, beta, gamma = params.T
        scale = scale * at.area_unit**alpha
        c = c * at.lr_unit**gamma / at.area_unit
        return np.stack([level, scale, alpha, height / at.lr_unit, c, beta, gamma], axis=1)

    return bound


def predict(at: Falls, params: Array) -> Array:
    """The loss of every row, (rows,), for natural parameters (7,) in the order of ``PARAMS``."""
    level, scale, alpha, height, c, beta, gamma = params
    c = c * at.lr_unit**-gamma * at.area_unit
    gain = drop(at, c, beta, gamma)[0] * height * at.lr_unit
    return np.asarray(level + scale * (at.s1 * at.area_unit) ** -alpha - gain)


def fit(points: Points, options: Options) -> FitResult:
    """The law of rows ``s`` (optimiser steps), ``lr`` and ``loss``, (rows,), grouped by run."""
    check(FORM.name, points, options, "fixed", "predict", "optimal")
    at = falls(runs(points, options, FORM.name))
    if not (at.fall > 0).any():
        return no_fall(FORM.name, points, options)
    law = Pointwise(
        log_loss=log_loss(at),
        starts=starts(at),
        rescale=rescale(at),
        positive=POSITIVE,
        ranges={"alpha": (0.0, 4.0)},
    )
    return fit_rows(
        Form(FORM.name, FORM.summary, FORM.paper, ("s1",), PARAMS, law),
        {"s1": at.s1, "loss": points["loss"]},
        delta=options.delta,
        groups=options.groups,
        bootstrap=options.bootstrap,
        seed=options.seed,
        fixed=options.fixed,
    )


FORM = Form(
    name="multipower",
    summary="Loss curves under any learning-rate schedule, a drop for every fall of the rate",
    paper="Luo et al. 2025, arXiv 2503.12811",
    variables=("s", "lr"),
    params=PARAMS,
    law=fit,
)
