"""IsoFLOP parabolas, Chinchilla's approach 2: the optimal model size and tokens of a budget.

At each budget C a parabola in ln N through the losses gives N*(C) at its minimum, one in ln D
gives D*(C), and a line through the optima in logarithms gives the law,

    N* = N_coefficient C^N_exponent,    D* = D_coefficient C^D_exponent.

Hoffmann et al. (2022, arXiv 2203.15556) find exponents of 0.49 and 0.51 with nine budgets. N* and
D* are fitted apart, and where C = 6 N D the two exponents must add up to 1: their sum is given, for
it fails when the FLOPs were counted by another rule than the tokens.

The line is unweighted. The error of a vertex, from the scatter about its own
parabola, has n - 3 degrees of freedom, often two: weighting by it lets the parabola that fits
best by chance decide. And the scatter of the optima around the line is mostly not noise but the
asymmetry of the true curve. The published fits are unweighted too. The exponents weighted by
1 / error^2 are given beside: where they differ, no digit of either is safe.

Budgets whose parabola has no minimum inside the sizes sampled are left out, and named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mugrow.analysis.laws.allocation import PARAMS, named, optimum
from mugrow.analysis.laws.form import Form, Options, Points
from mugrow.analysis.laws.parabola import REASONS, Parabolas, levels, parabolas
from mugrow.analysis.laws.points import check_procedure
from mugrow.analysis.laws.power_line import lines
from mugrow.analysis.laws.resample import group_rows, residual_factors, summary
from mugrow.analysis.laws.result import Extras, FitResult, Status
from mugrow.analysis.stats import Array

FEWEST_BUDGETS = 3
SMALLEST_ERROR = 1e-9
SIDES = ("n", "d")


@dataclass(frozen=True, eq=False)
class Budget:
    """One level of compute: its FLOPs, its rows, and the parabolas in ln N and ln D by side.

    The first parabola of each batch is that of all rows, the others those of the resamples.
    """

    flops: float
    rows: int
    parabolas: dict[str, Parabolas]

    def status(self) -> str:
        """The first of the two that is not ``converged``."""
        words = [self.parabolas[side].words() for side in SIDES]
        return next((word for word in words if word != "converged"), "converged")


@dataclass(frozen=True)
class BudgetOptimum:
    """The optimum of a level of ``c`` FLOPs: parameters, tokens, and their standard errors in
    logarithms, nan where the parabola has none; the lowest ``loss`` is that of the one in ln N."""

    c: float
    n: float
    d: float
    n_se: float
    d_se: float
    loss: float
    rows: int
    status: str


@dataclass(frozen=True)
class IsoflopExtras(Extras):
    """Every budget, the sum of the two exponents, and the exponents weighted by 1 / error^2, by
    name; the last two are None where there is no line."""

    budgets: Sequence[BudgetOptimum] = ()
    exponent_sum: float | None = None
    weighted: Mapping[str, float] | None = None


def budgets(points: Points, factors: Array) -> list[Budget]:
    """The parabolas of every level of ``points["c"]``; ``factors`` (R, rows) make resamples."""
    return [
        Budget(
            flops=float(np.median(points["c"][rows])),
            rows=len(rows),
            parabolas={
                side: parabolas(np.log(points[side][rows]), points["loss"][rows], factors[:, rows])
                for side in SIDES
            },
        )
        for rows in levels(points["c"])
    ]


def fit(points: Points, options: Options) -> FitResult:
    """The allocation law of rows ``n``, ``d``, ``c`` and ``loss``, each (rows,).

    ``extras`` are ``IsoflopExtras``. Budgets of 4 rows are used and counted in ``reason``.
    ``UserError`` where ``c`` runs on without levels, or an option does not fit the form.
    """
    check_procedure(FORM.name, points, options, "fixed", "predict")
    rows = len(points["loss"])
    codes = group_rows(options.groups, rows)
    found = budgets(points, residual_factors(codes, options.bootstrap, options.seed))
    usable = [budget for budget in found if budget.status() == "converged"]
    extras = IsoflopExtras(budgets=[_optimum(budget) for budget in found])
    n_groups = int(codes.max()) + 1
    if len(usable) < FEWEST_BUDGETS:
        hits = sum(budget.status() == "bound_hit" for budget in found)
        status: Status = "bound_hit" if hits > (len(found) - len(usable)) / 2 else "unidentified"
        reason = f"{len(usable)} of {len(found)} budgets have an optimum; a line needs 3"
        reason = "; ".join([reason, *_left_out(found)])
        return FitResult(FORM.name, status, reason, n_rows=rows, n_groups=n_groups, extras=extras)
    log_c = np.log([budget.flops for budget in usable])
    laws = np.concatenate([_line(log_c, usable, side) for side in SIDES], axis=1)
    law, draws = laws[0], laws[1:]
    intervals, errors, counts = summary(named(draws))
    weighted = {f"{side.upper()}_exponent": _weighted(log_c, usable, side) for side in SIDES}
    return FitResult(
        FORM.name,
        "converged",
        "; ".join(_left_out(found) + _short(usable)),
        params={name: float(value[0]) for name, value in named(law[None]).items()},
        n_rows=rows,
        n_groups=n_groups,
        objective=float(sum(budget.parabolas["n"].rss[0] for budget in usable)),
        starts=1,
        starts_at_optimum=1.0,
        intervals=intervals,
        standard_errors=errors,
        bootstrap=counts,
        optimal=[optimum(law, draws, flops) for flops in options.optimal],
        extras=replace(extras, exponent_sum=float(law[0] + law[2]), weighted=weighted),
    )


def _line(log_c: Array, usable: list[Budget], side: str) -> Array:
    """Slopes and intercepts (B, 2); nan where a resample leaves fewer than three optima."""
    vertex = np.stack([budget.parabolas[side].optimum for budget in usable], axis=1)
    there = np.isfinite(vertex)
    enough = there.sum(axis=1) >= FEWEST_BUDGETS
    weights = np.where(enough[:, None], there, 1).astype(np.float64)
    slope, intercept = lines(log_c[None], vertex, weights)
    return np.where(enough, [slope, intercept], np.nan).T


def _weighted(log_c: Array, usable: list[Budget], side: str) -> float:
    fits = [budget.parabolas[side] for budget in usable]
    vertex = np.array([fit.vertex[0] for fit in fits])
    error = np.maximum([fit.vertex_se[0] for fit in fits], SMALLEST_ERROR)
    return float(lines(log_c[None], vertex[None], 1 / error[None] ** 2)[0][0])


def _optimum(budget: Budget) -> BudgetOptimum:
    n, d = (budget.parabolas[side] for side in SIDES)
    return BudgetOptimum(
        c=budget.flops,
        n=float(np.exp(n.optimum[0])),
        d=float(np.exp(d.optimum[0])),
        n_se=float(n.vertex_se[0]),
        d_se=float(d.vertex_se[0]),
        loss=float(n.lowest[0]),
        rows=budget.rows,
        status=budget.status(),
    )


def _left_out(found: list[Budget]) -> list[str]:
    return [
        f"budget {budget.flops:.4g} left out: {REASONS[status]}"
        for budget in found
        if (status := budget.status()) != "converged"
    ]


def _short(usable: list[Budget]) -> list[str]:
    few = sum(budget.rows < 5 for budget in usable)
    return [f"{few} budgets have fewer than 5 rows"] if few else []


FORM = Form(
    name="isoflop",
    summary="IsoFLOP parabolas: optimal model size and tokens as power laws of the budget",
    paper="Hoffmann et al. 2022, arXiv 2203.15556, approach 2",
    variables=("n", "d", "c"),
    params=PARAMS,
    law=fit,
)
