"""Loss against the growth factor at equal compute: the best factor, and where growing stops paying.

A target of one size is grown from sources g times smaller; g = 1 is training it from scratch. At a
level of target FLOPs the loss is a parabola in ln g, as isoFLOP curves are in ln N,

    L(g) = c2 (ln g)^2 + c1 ln g + c0,

with its minimum at the best growth factor; the *break-even* factor, above which scratch wins, is
where it comes back to the loss measured at g = 1. (Mallik, Janowski, Hog et al. 2026, arXiv
2605.13405, with eight levels from a sixth of the compute to all of it.)

The parabola that passes through the scratch loss is symmetric about ln g*, so break-even is near
the square of the best factor: a best factor of 2 already bounds the useful ones by 4. And both fall
as training goes on, since scratch catches up, so a factor without its FLOPs says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mugrow.analysis.laws.form import Form, Options, Points
from mugrow.analysis.laws.parabola import REASONS, levels, parabolas
from mugrow.analysis.laws.points import check_procedure
from mugrow.analysis.laws.resample import group_rows, open_ends, residual_factors, summary
from mugrow.analysis.laws.result import Ends, Extras, FitResult, Status
from mugrow.analysis.stats import Array

SCRATCH = 1e-9  # in ln g
WORDS = REASONS | {
    "few": "fewer than 4 different growth factors",
    "no_gain": "no growth factor beats scratch",
    "no_scratch": "no row has g = 1, so there is no break-even",
}


@dataclass(frozen=True)
class GrowthLevel:
    """One level of target FLOPs ``c`` with its count of ``rows``: a row of a table.

    ``status`` is ``gain``, ``no_gain``, ``no_scratch``, or that of a parabola without an optimum.
    ``optimum_g`` and ``break_even_g`` are as in ``LevelFit``; ``interval`` has their ends by name,
    where there were resamples. ``loss`` is that at the optimum, ``scratch_loss`` that at g = 1, nan
    where there is none; ``largest_g`` is the largest factor sampled.
    """

    c: float
    rows: int
    status: str
    optimum_g: float
    break_even_g: float
    interval: Mapping[str, Ends]
    loss: float
    scratch_loss: float
    largest_g: float


@dataclass(frozen=True)
class GrowthExtras(Extras):
    """Every level of compute, the one with the most FLOPs last."""

    levels: Sequence[GrowthLevel] = ()


def levels_of(result: FitResult) -> Sequence[GrowthLevel]:
    """The levels of a result of this form."""
    assert isinstance(result.extras, GrowthExtras)
    return result.extras.levels


@dataclass(frozen=True, eq=False)
class LevelFit:
    """One level of target FLOPs. Arrays are (B,): of all rows first, then of the resamples.

    ``status`` is ``gain``, ``no_gain``, ``no_scratch``, or that of a parabola without an optimum.
    Where nothing is gained the best and the break-even factor are both 1. A ``break_even`` beyond
    the factors sampled is infinite; both are nan where the parabola has no minimum.
    """

    flops: float
    rows: int
    status: str
    optimum: Array
    break_even: Array
    lowest: float
    scratch_loss: float
    largest: float


def growth_levels(points: Points, factors: Array) -> list[LevelFit]:
    """The parabolas of every level of ``points["c"]``; ``factors`` (R, rows) make resamples."""
    return [
        _level({name: values[rows] for name, values in points.items()}, factors[:, rows])
        for rows in levels(points["c"])
    ]


def _level(points: Points, factors: Array) -> LevelFit:
    log_g, loss = np.log(points["g"]), points["loss"]
    fit = parabolas(log_g, loss, factors)
    at_scratch = abs(log_g) < SCRATCH
    scratch = np.full(len(fit.noise), np.nan)
    if at_scratch.any():
        scratch = loss[at_scratch].mean() + fit.noise[:, at_scratch].mean(axis=1)
    curvature = fit.coefficients[:, 2] / fit.half_range**2
    minimum = np.isfinite(fit.vertex)
    # L(ln g* + w) = lowest + curvature w^2, so the dip below the scratch loss is 2 w wide
    dip = np.divide(
        scratch - fit.lowest, curvature, out=np.full_like(scratch, np.nan), where=minimum
    )
    no_gain = (fit.vertex <= 0) | (dip <= 0)
    upper = fit.vertex + np.sqrt(np.where(dip > 0, dip, np.nan))
    upper = np.where(upper > log_g.max(), np.inf, upper)
    no_gain &= np.isfinite(scratch)
    gain = (fit.status == 0) & ~no_gain
    status = fit.words()
    if no_gain[0]:
        status = "no_gain"
    elif gain[0]:
        status = "gain" if np.isfinite(scratch[0]) else "no_scratch"
    return LevelFit(
        flops=float(np.median(points["c"])),
        rows=len(loss),
        status=status,
        optimum=np.select([no_gain, gain], [1.0, np.exp(fit.vertex)], np.nan),
        break_even=np.select([no_gain, gain], [1.0, np.exp(upper)], np.nan),
        lowest=float(fit.lowest[0]),
        scratch_loss=float(scratch[0]),
        largest=float(points["g"].max()),
    )


def fit(points: Points, options: Options) -> FitResult:
    """The growth factors of rows ``g``, ``c`` (target FLOPs) and ``loss``, of one target size.

    The parameters are those of the level with the most FLOPs; ``levels_of`` the result are all.
    Nothing gained is ``bound_hit`` with a best factor of 1, as is a break-even beyond the factors
    sampled. ``UserError`` where ``c`` runs on without levels, or an option does not fit the form.
    """
    check_procedure(FORM.name, points, options, "fixed", "predict", "optimal")
    rows = len(points["loss"])
    codes = group_rows(options.groups, rows)
    found = growth_levels(points, residual_factors(codes, options.bootstrap, options.seed))
    top = found[-1]
    status, reason = _verdict(top)
    draws = {"optimum_g": top.optimum, "break_even_g": top.break_even}
    params = {name: float(values[0]) for name, values in draws.items() if np.isfinite(values[0])}
    intervals, errors, counts = summary({name: draws[name][1:] for name in params})
    return FitResult(
        FORM.name,
        status,
        reason,
        params=params,
        n_rows=rows,
        n_groups=int(codes.max()) + 1,
        starts=1,
        starts_at_optimum=1.0,
        intervals=intervals,
        standard_errors=errors,
        bootstrap=counts,
        extras=GrowthExtras(levels=[_facts(level) for level in found]),
    )


def _verdict(top: LevelFit) -> tuple[Status, str]:
    at = f"at {top.flops:.4g} FLOPs"
    if top.status not in ("gain", "no_gain", "no_scratch"):
        edge: Status = "bound_hit" if top.status == "bound_hit" else "unidentified"
        return edge, f"{at}: {WORDS[top.status]}"
    if top.status != "gain":
        return "bound_hit", f"{at}: {WORDS[top.status]}"
    if np.isinf(top.break_even[0]):
        return "bound_hit", f"{at}: break-even is above {top.largest:.4g}, the largest sampled"
    return "converged", ""


def _facts(level: LevelFit) -> GrowthLevel:
    draws = {"optimum_g": level.optimum, "break_even_g": level.break_even}
    return GrowthLevel(
        c=level.flops,
        rows=level.rows,
        status=level.status,
        optimum_g=float(level.optimum[0]),
        break_even_g=float(level.break_even[0]),
        interval={name: open_ends(values[1:]) for name, values in draws.items() if len(values) > 1},
        loss=level.lowest,
        scratch_loss=level.scratch_loss,
        largest_g=level.largest,
    )


FORM = Form(
    name="growth_factor",
    summary="IsoFLOP parabolas in the growth factor: the best one, and where scratch wins",
    paper="Mallik, Janowski, Hog et al. 2026, arXiv 2605.13405",
    variables=("g", "c"),
    params=("optimum_g", "break_even_g"),
    law=fit,
)
