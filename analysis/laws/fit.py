"""The one fitter: summed Huber on log loss, from many starts, with a status before any number.

    minimise  sum_i Huber_delta(ln L_i - ln L_predicted(x_i; theta))        over theta,

with exact gradients, variables in units of their geometric means, starts by variable projection
(``separable``) and a batched BFGS (``minimise``) that also takes the bootstrap's resamples, each
from the optimum of all rows. Published fits are often not the minimum of their own objective, and
their intervals are too narrow when rows of one run are resampled as if independent; so a result
says whether it is a minimum, how many starts found it, and whether the rows identify it at all.

delta = 1e-3 is close to least absolute deviations: residuals are several times larger. It belongs
to the result, for another delta has another optimum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.decisions import with_decisions
from mugrow.analysis.laws.form import Form, Options, Points, Pointwise
from mugrow.analysis.laws.minimise import Minima, minimise
from mugrow.analysis.laws.objective import EXACT, Objective
from mugrow.analysis.laws.points import check_options, check_points
from mugrow.analysis.laws.problem import Problem, state_problem
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.status import cannot, judge
from mugrow.analysis.stats import Array

__all__ = ["FitResult", "Options", "fit"]

ROUGH = 1e-3  # tolerance of the first stage, from starts that may be far from anything
CONTENDER = 1.5  # of those, only the ones within this factor of the lowest value go on
SAME_OPTIMUM = 1e-6


def fit(
    form: Form,
    points: Mapping[str, npt.ArrayLike],
    *,
    delta: float | None = None,
    groups: Sequence[object] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    predict: Sequence[Sequence[float]] = (),
    optimal: Sequence[float] = (),
    fixed: Mapping[str, float] | None = None,
    starts: Mapping[str, npt.ArrayLike] | None = None,
) -> FitResult:
    """Fit ``form`` to rows: ``points`` maps its variables and ``loss`` to columns of (rows,).

    ``delta`` is that of the Huber loss on log loss (None: the form's own; ``inf``: least squares on
    log loss). ``groups`` name the run, or other independent unit, of each row. ``bootstrap`` counts
    resamples of groups, drawn with ``seed``. ``predict`` are points in the order of
    ``form.variables``, ``optimal`` budgets in FLOPs under ``6 n d``, ``fixed`` parameters given by
    name, ``starts`` columns of start values for every parameter in place of the form's own starts.

    Raises ``UserError``, in one line, on columns or options that cannot be used.
    """
    options = Options(delta, groups, bootstrap, seed, predict, optimal, fixed or {})
    return fit_with(form, points, options, starts)


def fit_with(
    form: Form,
    points: Mapping[str, npt.ArrayLike],
    options: Options,
    starts: Mapping[str, npt.ArrayLike] | None = None,
) -> FitResult:
    """``fit`` with its options as one object."""
    columns = check_points(form, points)
    law = form.law
    if not isinstance(law, Pointwise):
        return law(columns, options)
    check_options(form, law, options, len(columns["loss"]))
    problem = state_problem(form, law, columns, options)
    begin = problem.form_starts() if starts is None else problem.given_starts(starts)
    if not len(begin):
        return replace(problem.empty, status="not_converged", reason="no start has a finite loss")
    if reason := cannot(problem, begin):
        return replace(problem.empty, status="unidentified", reason=reason)
    return _result(problem, begin, far=starts is not None)


def _search(objective: Objective, begin: Array, far: bool) -> tuple[Minima, float]:
    """The lowest minimum, a batch of one, and the share of starts that reach it.

    From starts that may be ``far`` from anything, most end where a term has vanished; those are
    left as soon as they are clearly worse than the best.
    """
    rounding, count = len(objective.loss) * EXACT**2, len(begin)
    if far:
        rough = minimise(objective, begin, tolerance=ROUGH, far=True)
        lowest = np.where(np.isfinite(rough.value), rough.value, np.inf).min()
        begin = rough.theta[rough.value <= CONTENDER * lowest + rounding]
    fine = minimise(objective, begin)
    value = np.where(np.isfinite(fine.value), fine.value, np.inf)
    final = minimise(objective, fine.theta[[int(np.argmin(value))]])
    at_optimum = value <= final.value[0] * (1 + SAME_OPTIMUM) + rounding
    return final, float(at_optimum.sum() / count)


def _result(problem: Problem, begin: Array, far: bool) -> FitResult:
    objective = problem.objective
    best, share = _search(objective, begin, far)
    status, reason, params, condition = judge(problem, best)
    result = replace(
        problem.empty,
        status=status,
        reason=reason,
        objective=float(best.value[0]),
        starts=len(begin),
        starts_at_optimum=share,
        condition=condition,
    )
    if status in ("unidentified", "not_converged"):
        return result
    log = problem.law.log_loss(objective.full(best.theta), objective.x)[0][0]
    residuals = np.log(objective.loss) - log
    result = replace(
        result,
        params=params,
        residuals=residuals.tolist(),
        slopes=_slopes(problem.columns, problem.form.variables, residuals),
    )
    return with_decisions(problem, best.theta, result)


def _slopes(columns: Points, variables: Sequence[str], residuals: Array) -> dict[str, float]:
    """Least-squares slopes of residuals against the logs of the variables, and of d/n."""
    axes = {name: columns[name] for name in variables if (columns[name] > 0).all()}
    if "n" in axes and "d" in axes:
        axes["d/n"] = axes["d"] / axes["n"]
    logs = {name: np.log(column) - np.log(column).mean() for name, column in axes.items()}
    return {
        name: float(log @ residuals / (log @ log)) for name, log in logs.items() if log @ log > 0
    }
