"""A whole loss curve under a learning-rate schedule: the multi-power law.

    L(t) = L0 + A S1(t)^-alpha - B sum_k (eta_(k-1) - eta_k) G(C eta_k^-gamma S_k(t)),
    G(u) = 1 - (1 + u)^-beta,    S_k(t) = S1(t) - S1(k)

(Luo et al. 2025, arXiv 2503.12811): every fall of the learning rate earns its own drop of the loss,
which saturates as a power of the area trained since. Where the momentum law forgets at a fixed
rate, this one forgets the slower the lower the rate.

It fits well and says little about itself. The published parameters are no minimum: on the three
curves that its authors fit at 100M, all starts end in one with a twelfth of their objective (the
authors' optimiser stopped after 200 steps), at C = 0.001, beta = 0.25, gamma = 1.4 for 2.13, 0.60,
0.66; yet it predicts the six other curves a little *worse* (mean R^2 0.9970, published 0.9983). At
25M, C held at the published 2.07, eight times that of the minimum, costs 1 % of the objective. Read
its predictions, not its C.

With the learning rate of every step the published parameters score what was published, R^2 and mean
absolute error to a unit of the last digit. From a log they score within 4 % of that error: the log
starts 16 steps after the warm-up ended, and cannot say so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.fit import fit as fit_rows
from mugrow.analysis.laws.form import Form, Options, Points, Pointwise, Units
from mugrow.analysis.laws.points import check_procedure
from mugrow.analysis.laws.resample import Index
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.schedules import LoggedRun, by_row, no_fall, runs
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

PARAMS = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
POSITIVE = ("L0", "A", "B", "C", "beta")
STARTS = 12
MOST_CHANGES = 300  # of the rate, inside the ramps of one run
BLOCK = 8192  # pairs evaluated at a time: several such arrays fit into a core's cache
GRID = ((0.3, 0.5, 0.7), (1.0, 10.0, 100.0, 1000.0), (0.3, 0.6, 1.2), (0.0, 0.5, 1.0))


@dataclass(frozen=True, eq=False)
class PairBlock:
    """Pairs of a row and an earlier change of the learning rate, those of a row together.

    ``rows`` are the rows that have any, ``first`` is the first pair of each; ``change`` and
    ``since``, S_k(t), are (pairs,).
    """

    rows: Index
    first: Index
    change: Index
    since: Array


@dataclass(frozen=True, eq=False)
class Falls:
    """All pairs, and the changes: ``fall`` and ``log_lr`` are (changes,), ``s1`` is (rows,).

    Rates are in units of ``lr_unit``, areas of ``area_unit``.
    """

    s1: Array
    fall: Array
    log_lr: Array
    blocks: Sequence[PairBlock]
    lr_unit: float
    area_unit: float


def falls(found: list[LoggedRun], *, keep_units: bool = False) -> Falls:
    """The pairs of runs; a rate that falls to 0 counts as the mean of its last piece."""
    s1 = by_row(found, [run.s1 for run in found])
    area_unit = 1.0 if keep_units else _geometric_mean(s1)
    lr_unit = 1.0 if keep_units else float(max(run.schedule.lr.max() for run in found))
    fall, rate, blocks = [], [], []
    known = 0
    for run in found:
        kept = _nodes(run.schedule.lr)
        lr, area = run.schedule.lr[kept], run.schedule.area[kept]
        here = np.flatnonzero(np.diff(lr))
        mean, new = (lr[here] + lr[here + 1]) / 2, lr[here + 1]
        fall.append(lr[here] - new)
        rate.append(np.where(new > 0, new, mean))
        at = (area[here] + area[here + 1]) / 2
        size = max(1, BLOCK // max(1, len(here)))
        for rows in (run.rows[i : i + size] for i in range(0, len(run.rows), size)):
            since = s1[rows][:, None] - at
            row, change = np.nonzero(since > 0)
            first = np.flatnonzero(np.diff(row, prepend=-1))
            if len(row):
                gone = since[row, change] / area_unit
                blocks.append(PairBlock(rows[row[first]], first, change + known, gone))
        known += len(here)
    return Falls(
        s1=s1 / area_unit,
        fall=np.concatenate(fall) / lr_unit,
        log_lr=np.log(np.concatenate(rate) / lr_unit),
        blocks=blocks,
        lr_unit=lr_unit,
        area_unit=area_unit,
    )


def _geometric_mean(s1: Array) -> float:
    return float(np.exp(np.log(s1).mean()))


def _nodes(lr: Array) -> npt.NDArray[np.bool_]:
    """Which nodes of a schedule to keep, (nodes,): ends of ramps, and few enough inside them."""
    changing = np.diff(lr) != 0
    inside = np.concatenate([[False], changing[1:] & changing[:-1], [False]])
    every = int(np.ceil(inside.sum() / MOST_CHANGES)) or 1
    return np.asarray(~inside | (np.arange(len(lr)) % every == 0))


def drop(at: Falls, c: float, beta: float, gamma: float) -> tuple[Array, Array]:
    """The drop D = sum (eta_(k-1) - eta_k) G per row (rows,), and dD/d(ln C, ln beta, gamma)."""
    rate, sums = c * np.exp(-gamma * at.log_lr), np.zeros((4, len(at.s1)))
    for block in at.blocks:
        fall = at.fall[block.change]
        u = rate[block.change] * block.since
        log = np.log1p(u)
        rest = fall * np.exp(-beta * log)
        columns = np.empty((4, len(u)))
        np.subtract(fall, rest, out=columns[0])
        rest *= beta
        np.multiply(rest, u / (1 + u), out=columns[1])
        np.multiply(rest, log, out=columns[2])
        np.multiply(columns[1], -at.log_lr[block.change], out=columns[3])
        sums[:, block.rows] = np.add.reduceat(columns, block.first, axis=1)
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
        c_given, beta_given = np.exp(given[4:6])
        nonlinear = grid(*GRID, given=[given[2], c_given, beta_given, given[6]])
        if np.isnan(c_given):  # the grid is for rates in units of the peak, areas of their mean
            nonlinear[:, 1] *= np.exp(nonlinear[:, 3] * at.log_lr.max()) / _geometric_mean(at.s1)
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
    check_procedure(FORM.name, points, options, "predict", "optimal")
    # a coefficient has the units of rates and areas to a power that is yet to be fitted
    keep_units = any(name in POSITIVE for name in options.fixed)
    at = falls(runs(points, options, FORM.name), keep_units=keep_units)
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
    curves=True,
)
