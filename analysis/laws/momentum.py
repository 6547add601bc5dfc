"""A whole loss curve under a learning-rate schedule: Tissue's law with annealing momentum.

    L(t) = L0 + A S1^-alpha - C S2,    S1 = sum of the learning rate,    S2 = sum of m,
    m_i = lambda m_(i-1) + (eta_(i-1) - eta_i),    lambda = 0.999  a step

(Tissue, Wang & Wang 2024, arXiv 2408.11029). Loss falls with the area under the learning rate, and
once more with how far and how long ago the rate fell: S2. Given alpha the law is linear, and two
curves of different schedules fix it; it then predicts the others.

Only changes after the peak count as annealing. The warm-up ends long before the first row of most
logs, and its share of S2 is nearly a constant, which L0 takes up: counting it lowers L0 by 0.09 to
0.11 on the curves published with the multi-power law, and moves the mean R^2 of the curves not
fitted by 0.0011 at most, in either direction.
"""

import numpy as np

from mugrow.analysis.laws.fit import fit as fit_rows
from mugrow.analysis.laws.form import Form, Options, Points, Pointwise, Units
from mugrow.analysis.laws.points import check_procedure
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.schedules import LoggedRun, by_row, no_fall, runs
from mugrow.analysis.laws.separable import coefficients, grid, lowest
from mugrow.analysis.stats import Array

MEMORY = 0.999
ALPHAS = np.arange(0.1, 1.25, 0.1)


def annealing(run: LoggedRun) -> Array:
    """S2 at the rows of a run, (m,), in units of the learning rate times steps.

    It is never below 0: the rate is never above its peak, and earlier changes weigh more.
    """
    steps = np.arange(int(np.ceil(run.step[-1])) + 1)
    lr = np.interp(steps, run.schedule.step, run.schedule.lr)
    peak = int(lr.argmax())
    lr[:peak] = lr[peak]
    from scipy.signal import lfilter  # takes a second, and most who list laws fit others

    momentum = lfilter([1.0], [1.0, -MEMORY], -np.diff(lr, prepend=lr[0]))
    return np.asarray(np.interp(run.step, steps, np.maximum(np.cumsum(momentum), 0)))


def log_loss(theta: Array, x: Points) -> tuple[Array, Array]:
    """Internal parameters are ln L0, ln A, alpha, ln C."""
    level, scale, drop = (np.exp(theta[:, i, None]) for i in (0, 1, 3))
    power = scale * x["s1"] ** -theta[:, 2, None]
    gain = drop * x["s2"]
    loss = level + power - gain
    slopes = np.stack([level + 0 * loss, power, -power * np.log(x["s1"]), -gain], axis=1)
    return np.log(loss), slopes / loss[:, None, :]


def starts(x: Points, loss: Array, given: Array) -> Array:
    alpha = grid(ALPHAS, given=given[2:3])[:, 0]
    terms = [np.ones((1, 1)), x["s1"] ** -alpha[:, None], -x["s2"][None]]
    linear, error = coefficients(loss[None], terms)
    level, scale, drop = np.log(linear).T
    return lowest(np.stack([level, scale, alpha, drop], axis=1), error)


def rescale(params: Array, units: Units) -> Array:
    level, scale, alpha, drop = params.T
    return np.stack([level, scale * units["s1"] ** alpha, alpha, drop / units["s2"]], axis=1)


ROWS = Form(
    name="momentum",
    summary="Loss curves under any learning-rate schedule, with annealing momentum",
    paper="Tissue, Wang & Wang 2024, arXiv 2408.11029",
    variables=("s1", "s2"),
    params=("L0", "A", "alpha", "C"),
    law=Pointwise(
        log_loss=log_loss,
        starts=starts,
        rescale=rescale,
        positive=("L0", "A", "C"),
        ranges={"alpha": (0.0, 4.0)},
        may_be_zero=("s2",),
    ),
)


def features(points: Points, options: Options) -> dict[str, Array]:
    """The columns that the law reads: ``s1``, ``s2`` and ``loss``, each (rows,)."""
    found = runs(points, options, ROWS.name)
    return {
        "s1": by_row(found, [run.s1 for run in found]),
        "s2": by_row(found, [annealing(run) for run in found]),
        "loss": points["loss"],
    }


def fit(points: Points, options: Options) -> FitResult:
    """The law of rows ``s`` (optimiser steps), ``lr`` and ``loss``, (rows,), grouped by run."""
    check_procedure(ROWS.name, points, options, "predict", "optimal")
    columns = features(points, options)
    if not columns["s2"].any():
        return no_fall(ROWS.name, points, options)
    return fit_rows(
        ROWS,
        columns,
        delta=options.delta,
        groups=options.groups,
        bootstrap=options.bootstrap,
        seed=options.seed,
        fixed=options.fixed,
    )


FORM = Form(
    name=ROWS.name,
    summary=ROWS.summary,
    paper=ROWS.paper,
    variables=("s", "lr"),
    params=ROWS.params,
    law=fit,
    curves=True,
)
