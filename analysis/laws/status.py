"""What a fit is worth: can these rows identify this law, and is this a minimum inside its range.

The condition number is that of the Jacobian of ln L with columns of equal norm. Rows of one size,
or of two, cannot tell an exponent from its coefficient; it is then infinite but for rounding.
"""

import numpy as np

from mugrow.analysis.laws.alike import MEASURED, alike
from mugrow.analysis.laws.minimise import Minima
from mugrow.analysis.laws.problem import Problem
from mugrow.analysis.laws.result import Status
from mugrow.analysis.stats import Array

VANISHED = 1e-6  # of the loss: a term this small is no part of the law
ILL_CONDITIONED = 1e8
EQUAL = 1e-9
AT_ONCE = 64  # starts looked at; the first that will do ends the search


def cannot(problem: Problem, begin: Array) -> str:
    """Why no fit of this law to these rows means anything, or an empty string.

    At the starts (S, k) every term is part of the loss; if none of them has a Jacobian of full
    rank, the design of the rows is at fault.
    """
    columns, count = problem.columns, len(problem.objective.free)
    same = {name: _same(name, columns[name]) for name in problem.form.variables}
    table = np.stack(list(same.values()), axis=1)
    distinct = len(np.unique(table, axis=0))
    if distinct < count:
        return f"{distinct} distinct rows for {count} parameters"
    if np.ptp(columns["loss"]) <= EQUAL * columns["loss"].max():
        return "every row has the same loss"
    for i in range(0, len(begin), AT_ONCE):
        full = problem.objective.full(begin[i : i + AT_ONCE])
        slopes = problem.law.log_loss(full, problem.objective.x)[1]
        if condition(slopes[:, problem.objective.free]).min() <= ILL_CONDITIONED:
            return ""
    for name in problem.form.variables:
        if np.ptp(same[name]) <= EQUAL * same[name].max():
            return f"every row has the same {name}"
    return "these rows cannot tell the parameters apart, whatever their losses"


def _same(name: str, column: Array) -> Array:
    """A variable with one number for the values that count as one."""
    return alike(column) if name in MEASURED else column


def condition(slopes: Array) -> Array:
    """Condition number (B,) of Jacobians (B, k, n) with columns of equal norm."""
    size = np.linalg.norm(slopes, axis=2, keepdims=True)
    used = np.isfinite(slopes).all(axis=(1, 2)) & (size > 0).all(axis=(1, 2))
    values = np.linalg.svd(slopes[used] / size[used], compute_uv=False)
    numbers = np.full(len(slopes), np.inf)
    numbers[used] = values[:, 0] / np.maximum(values[:, -1], 1e-300)
    return numbers


def judge(problem: Problem, best: Minima) -> tuple[Status, str, dict[str, float], float | None]:
    """Status, reason, parameters in the user's units (0 and nan for what vanished), condition."""
    objective, form, law = problem.objective, problem.form, problem.law
    slopes = law.log_loss(objective.full(best.theta), objective.x)[1][0]
    values = dict(zip(form.params, problem.params(best.theta)[0].tolist(), strict=True))
    if not best.converged[0]:
        return "not_converged", "no start reached a minimum", {}, None
    effect = np.abs(slopes).max(axis=1)
    faint = [i for i in objective.free if effect[i] < VANISHED]
    gone = [form.params[i] for i in faint if form.params[i] in law.positive]
    without = [form.params[i] for i in faint if form.params[i] not in law.positive]
    if without and not gone:
        return "unidentified", f"{without[0]} has no effect on any row", {}, None
    kept = [i for i in objective.free if effect[i] >= VANISHED]
    number = float(condition(slopes[None, kept])[0]) if kept else 1.0
    if number > ILL_CONDITIONED:
        reason = "the parameters cannot be told apart at the minimum"
        return "unidentified", reason, {}, number
    if gone:
        values |= dict.fromkeys(gone, 0.0) | dict.fromkeys(without, np.nan)
        return "bound_hit", f"{gone[0]} is 0 at the minimum", values, number
    for name, (low, high) in law.ranges.items():
        if not low < values[name] < high:
            reason = f"{name} = {values[name]:.4g} is outside ({low:g}, {high:g})"
            return "bound_hit", reason, values, number
    return "converged", "", values, number
