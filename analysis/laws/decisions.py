"""What a fit decides: predicted losses and allocations of compute, with bootstrap intervals.

Parameters are strongly correlated (ln B and beta at 1.000 on the Chinchilla points), so an interval
of a single one says little. That of a decision comes from deciding anew in every resample.
"""

import math
from dataclasses import replace

import numpy as np

from mugrow.analysis.laws.form import Points
from mugrow.analysis.laws.minimise import minimise
from mugrow.analysis.laws.problem import Problem
from mugrow.analysis.laws.resample import draw_counts, ends, group_rows
from mugrow.analysis.laws.result import Allocation, Bootstrap, FitResult, Prediction
from mugrow.analysis.stats import Array


def with_decisions(problem: Problem, best: Array, result: FitResult) -> FitResult:
    """The result with what it decides (predictions, allocations), all with intervals."""
    options, draws = problem.options, np.empty((0, best.shape[1]))
    if options.bootstrap and result.n_groups > 1:
        counts = draw_counts(result.n_groups, options.bootstrap, options.seed)
        # of few groups there are few different resamples: three make ten
        which = group_rows([count.tobytes() for count in counts], len(counts))
        counts = counts[np.unique(which, return_index=True)[1]]
        begin = np.repeat(best, len(counts), axis=0)
        minima = minimise(problem.objective, begin, counts, problem.groups)
        draws, converged = minima.theta[which], minima.converged[which]
        params = problem.params(draws)
        free = [problem.form.params[i] for i in problem.objective.free]
        spread = _spread(params)
        result = replace(
            result,
            bootstrap=Bootstrap(len(draws), int(converged.sum())),
            intervals={
                name: pair
                for name, pair in zip(problem.form.params, ends(params), strict=True)
                if name in free
            },
            standard_errors={
                name: float(error)
                for name, error in zip(problem.form.params, spread, strict=True)
                if name in free
            },
        )
    theta = np.concatenate([best, draws])
    return replace(
        result,
        predictions=_predictions(problem, theta),
        optimal=[_allocation(problem, theta, flops) for flops in options.optimal],
    )


def _spread(draws: Array) -> Array:
    finite = np.isfinite(draws).all(axis=0)
    if len(draws) < 2:
        return np.full(draws.shape[1], np.nan)
    with np.errstate(over="ignore"):  # a coefficient that nothing ties down: its spread is infinite
        spread = np.where(finite, draws, 0.0).std(axis=0, ddof=1)
    return np.where(finite, spread, np.nan)


def _predictions(problem: Problem, theta: Array) -> list[Prediction]:
    """Losses at the points asked for; the first row of ``theta`` is the fit, the rest resamples."""
    names, asked = problem.form.variables, problem.options.predict
    if not asked:
        return []
    x = {name: np.array([p[i] for p in asked]) for i, name in enumerate(names)}
    losses = _losses(problem, theta, x)
    pairs = ends(losses[1:]) if len(theta) > 1 else [None] * len(asked)
    return [
        Prediction(dict(zip(names, map(float, point), strict=True)), float(loss), pair)
        for point, loss, pair in zip(asked, losses[0], pairs, strict=True)
    ]


def _losses(problem: Problem, theta: Array, x: Points) -> Array:
    """Predicted losses (B, points) at ``x`` in the user's units."""
    relative = {name: x[name] / problem.units[name] for name in problem.form.variables}
    with np.errstate(all="ignore"):
        return np.exp(problem.law.log_loss(problem.objective.full(theta), relative)[0])


def _allocation(problem: Problem, theta: Array, flops: float) -> Allocation:
    assert problem.law.optimal is not None
    with np.errstate(all="ignore"):
        where = problem.law.optimal(problem.params(theta), flops)
    best = {name: where[name][:, None] for name in problem.form.variables}
    found = np.stack([where["n"], where["d"], _losses(problem, theta, best)[:, 0]], axis=1)
    n, d, loss = found[0].tolist()
    pairs = ends(found[1:]) if len(theta) > 1 else [None] * 3
    interval = dict(zip(("n", "d", "loss"), pairs, strict=True))
    ratio = d / n if n else math.inf  # an optimum may be too small for a float
    return Allocation(float(flops), n, d, ratio, loss, interval)
