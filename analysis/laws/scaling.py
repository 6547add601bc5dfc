"""The scaling laws of a set of runs: everything that a report says of them, from rows alone.

One law is fitted for each growth method of each parametrization, and one for scratch. A law is
chosen before it is shown: each form is fitted without the largest tenth of the runs and predicts
them, and the one that is nearest, has converged, and beats "the same as the best small model" is
fitted again to all runs. Those runs stay marked, with the error of the fit that had not seen them:
residuals of a fit to all rows look good for any form with parameters enough.

With one token count no law of N and D can be told; sizes enough then identify a power law of N.
A form must have fewer parameters than there are different (N, D) without the largest runs: with as
many it passes through them all, whatever they are. Where that leaves nothing there are no numbers,
only a status and its reason; most studies of two or three targets end there.

Budgets are ``C = 6 N D``, also where the rows count their FLOPs otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.form import Form, Points, Pointwise
from mugrow.analysis.laws.growing import contours, growth_factors
from mugrow.analysis.laws.law import (
    DrawnLaw,
    FittedRuns,
    Law,
    LawBand,
    LossBand,
    ReportedAllocation,
    ScalingLaws,
)
from mugrow.analysis.laws.result import Allocation, Ends, FitResult, Prediction, Status
from mugrow.analysis.laws.selection import FormComparison, Mask, compare, largest
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

FORMS = ("chinchilla", "chinchilla_tied", "skaling", "kaplan")
OF_SIZE = ("power",)
READS = ("n", "d", "m")
RESAMPLES = 1000
FEWEST_RESAMPLES = 100
ROW_RESAMPLES = 2_000_000  # more rows get fewer resamples: their intervals are narrow anyway
COMPARED = 3000  # rows that forms are compared on; more only take longer
STEPS = 40  # points of a drawn law
LINES = 3
NO_ENDS = (np.nan, np.nan)


def scaling_laws(
    rows: pd.DataFrame, forms: Sequence[str] = FORMS, resamples: int | None = None
) -> ScalingLaws:
    """The laws of ``rows``, what growing changes, and the growth factors.

    ``rows`` has a final a row: ``n`` parameters, ``d`` tokens, ``c`` FLOPs, ``g`` growth factor,
    ``loss`` in nats per token, ``law`` (which one the row belongs to), ``variant`` (of a method,
    see ``mugrow.analysis.measure.arms``), ``parametrization``, ``cluster`` (what the bootstrap
    resamples), ``scratch`` (bool). ``resamples`` is 1000, less for many rows. ``UserError`` on a
    form that does not read N and D alone.
    """
    known = [_form(name) for name in forms]
    laws = [
        law(group, known, resamples)
        for _, group in rows.groupby(["parametrization", "law"], sort=False)
    ]
    return ScalingLaws(
        laws=laws,
        contours=contours(rows, laws),
        growth_factors=growth_factors(rows, RESAMPLES if resamples is None else resamples),
    )


def _form(name: str) -> Form:
    form = get_form(name)
    if not isinstance(form.law, Pointwise) or not set(form.variables) <= set(READS):
        raise UserError(
            f"form {name!r} reads {', '.join(form.variables)}; the laws of a report read n and d, "
            f"as {', '.join(FORMS)} do"
        )
    return form


def law(rows: pd.DataFrame, forms: Sequence[Form], resamples: int | None = None) -> Law:
    """One law of ``rows`` (see ``scaling_laws``): the best of ``forms``, or why there is none."""
    points = variables(rows["n"].to_numpy(float), rows["d"].to_numpy(float))
    points |= {"c": rows["c"].to_numpy(float), "loss": rows["loss"].to_numpy(float)}
    first = rows.iloc[0]
    facts = Law(
        label=first["law"],
        parametrization=first["parametrization"],
        scratch=bool(first["scratch"]),
        n_rows=len(rows),
        sizes=len(np.unique(points["n"])),
        horizons=len(np.unique(points["d"])),
        status="unidentified",
        reason="",
    )
    held_out = largest(points)
    only = forms[0] if len(forms) == 1 else None
    if facts.horizons == 1:
        forms = [get_form(name) for name in OF_SIZE]
    fitting = _few_enough_parameters(forms, points, held_out)
    if not fitting:
        fewest = min(len(form.params) for form in forms)
        count = _distinct(points, ~held_out)
        reason = (
            f"{count} different (N, D) besides the largest, and the simplest law needs {fewest + 1}"
        )
        return replace(facts, reason=reason)
    used = _sample(held_out)
    seen = {name: values[used] for name, values in points.items()}
    comparison = compare(fitting, seen, held_out[used])
    facts = replace(facts, selection=comparison)
    form = _chosen(fitting, comparison, only)
    if form is None:
        status, reason = _no_winner(comparison)
        return replace(facts, status=status, reason=reason)
    count = resamples_of(len(rows)) if resamples is None else resamples
    result, drawn = _fitted(form, points, held_out, used, rows["cluster"].tolist(), count)
    return replace(
        facts,
        status=result.status,
        reason=result.reason,
        fit=result,
        formula=form.summary,
        paper=form.paper,
        drawn=drawn,
    )


def variables(n: Array, d: Array) -> dict[str, Array]:
    """What forms read, of N and D (rows,): also ``m`` tokens per parameter, and ``x``, the size
    alone."""
    return {"n": n, "d": d, "m": d / n, "x": n}


def asked(form: Form, n: Array, d: Array) -> list[list[float]]:
    """The points (n, d), each (points,), in the order of the form's variables."""
    columns = variables(n, d)
    table: list[list[float]] = np.stack([columns[name] for name in form.variables], axis=1).tolist()
    return table


def resamples_of(rows: int) -> int:
    """How many resamples a law of so many rows gets."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, ROW_RESAMPLES // rows))


def _distinct(points: Points, mask: Mask) -> int:
    return len(np.unique(np.stack([points["n"][mask], points["d"][mask]], axis=1), axis=0))


def _few_enough_parameters(forms: Sequence[Form], points: Points, held_out: Mask) -> list[Form]:
    count = _distinct(points, ~held_out)
    return [form for form in forms if len(form.params) < count]


def _sample(held_out: Mask) -> npt.NDArray[np.int64]:
    """The rows that forms are compared on: those held out, and at most ``COMPARED`` others."""
    kept = np.flatnonzero(~held_out)
    if len(kept) > COMPARED:
        kept = np.random.default_rng(0).choice(kept, COMPARED, replace=False)
    return np.sort(np.concatenate([kept, np.flatnonzero(held_out)]))


def _chosen(forms: Sequence[Form], comparison: FormComparison, only: Form | None) -> Form | None:
    """The winner; a form that is the ``only`` one asked for need not beat the best small model."""
    if only in forms and comparison.scores[0].are is not None:
        return only
    return next((form for form in forms if form.name == comparison.winner), None)


def _no_winner(comparison: FormComparison) -> tuple[Status, str]:
    """Status and reason; forms that all fail for one reason fail for that of their rows."""
    first = comparison.scores[0]
    if len({(one.status, one.reason, one.are) for one in comparison.scores}) == 1 and not first.are:
        return first.status, first.reason
    reason = (
        f"no form both converges without the largest {comparison.held_out} rows and predicts them "
        "better than the best small model"
    )
    return "unidentified", reason


def _fitted(
    form: Form,
    points: Points,
    held_out: Mask,
    used: npt.NDArray[np.int64],
    clusters: list[object],
    resamples: int,
) -> tuple[FitResult, DrawnLaw | None]:
    """The form fitted to all rows, and what to draw of it where it has numbers; the largest runs
    with their losses by a fit to those that were not held out."""
    assert isinstance(form.law, Pointwise)
    lines = _lines(points) if "d" in form.variables or "m" in form.variables else _line(points)
    budgets, frontier = _budgets(points) if form.law.optimal else ([], [])
    result = fit(
        form,
        points,
        groups=clusters,
        bootstrap=resamples,
        predict=[point for line in lines for point in asked(form, line.n, line.d)],
        optimal=[*budgets, *frontier],
    )
    if not result.params:
        return result, None
    kept = {name: values[used][~held_out[used]] for name, values in points.items()}
    unseen = np.full(len(held_out), np.nan)
    largest_rows = asked(form, points["n"][held_out], points["d"][held_out])
    predicted = fit(form, kept, predict=largest_rows).predictions
    unseen[held_out] = [one.loss for one in predicted] if predicted else np.nan
    drawn = DrawnLaw(
        points=FittedRuns(
            n=points["n"],
            d=points["d"],
            loss=points["loss"],
            predicted=points["loss"] * np.exp(-np.array(result.residuals)),
            held_out=held_out,
            unseen=unseen,
        ),
        bands=_bands(lines, result.predictions),
        optimal=[_reported(one, points) for one in result.optimal[: len(budgets)]],
        frontier=_frontier(result.optimal[len(budgets) :]),
    )
    return result, drawn


@dataclass(frozen=True, eq=False)
class _Line:
    """Points ``n`` and ``d`` (points,) ``against`` one of them, the other ``at`` a value."""

    against: str
    at: float
    n: Array
    d: Array

    @property
    def x(self) -> Array:
        return self.n if self.against == "n" else self.d


def _lines(points: Points) -> list[_Line]:
    """The law against N at a few D, and against D at a few N."""
    n, d = (np.geomspace(points[name].min(), points[name].max(), STEPS) for name in ("n", "d"))
    at_tokens = [_Line("n", at, n, np.full(STEPS, at)) for at in _few(points["d"])]
    return [*at_tokens, *(_Line("d", at, np.full(STEPS, at), d) for at in _few(points["n"]))]


def _line(points: Points) -> list[_Line]:
    """The law against N at the one D there is."""
    n, at = np.geomspace(points["n"].min(), points["n"].max(), STEPS), float(points["d"][0])
    return [_Line("n", at, n, np.full(STEPS, at))]


def _few(values: Array) -> list[float]:
    """At most ``LINES`` values to draw lines at: those there are, or quantiles."""
    distinct = np.unique(values)
    if len(distinct) > LINES:
        distinct = np.quantile(values, np.linspace(0.1, 0.9, LINES), method="nearest")
    return [float(value) for value in np.unique(distinct)]


def _bands(lines: Sequence[_Line], predictions: Sequence[Prediction]) -> list[LawBand]:
    bands = []
    for index, line in enumerate(lines):
        along = predictions[STEPS * index : STEPS * (index + 1)]
        loss, lo, hi = _losses([(one.loss, one.interval) for one in along])
        bands.append(LawBand(line.x, loss, lo, hi, line.against, line.at))
    return bands


def _losses(found: Sequence[tuple[float | None, Ends | None]]) -> tuple[Array, Array, Array]:
    """Losses and the ends of their intervals, each (points,), nan where there is none."""
    rows = [(loss, *(interval or NO_ENDS)) for loss, interval in found]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    loss, lo, hi = np.where(np.isfinite(table), table, np.nan).T
    return loss, lo, hi


def _frontier(optimal: Sequence[Allocation]) -> LossBand:
    """The lowest loss of each budget, with its band."""
    losses = _losses([(one.loss, one.interval["loss"]) for one in optimal])
    return LossBand(np.array([one.c for one in optimal]), *losses)


def _budgets(points: Points) -> tuple[list[float], list[float]]:
    """Budgets for a table (decades within the runs', the largest, ten times it), and for a line."""
    flops = 6 * points["n"] * points["d"]
    low, high = np.log10(flops.min()), np.log10(flops.max())
    decades = np.arange(np.ceil(low), np.floor(high) + 1)
    decades = decades[:: max(1, -(-len(decades) // 5))]
    table = [*(10.0 ** decades[decades < high - 0.02]), flops.max(), 10 * flops.max()]
    return [float(c) for c in table], np.geomspace(flops.min(), flops.max(), STEPS).tolist()


def _reported(allocation: Allocation, points: Points) -> ReportedAllocation:
    """An allocation with which of C, N and D are above all runs, or below them."""
    n, d = points["n"], points["d"]
    values = {"C": (allocation.c, 6 * n * d), "N": (allocation.n, n), "D": (allocation.d, d)}
    rounding = 1 + 1e-9
    outside = [
        name
        for name, (value, runs) in values.items()
        if not runs.min() / rounding <= value <= runs.max() * rounding
    ]
    return ReportedAllocation(**vars(allocation), outside=outside)
