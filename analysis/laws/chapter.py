"""The scaling laws of a set of runs: everything that a report's chapter shows, from rows alone.

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

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.form import Form, Points, Pointwise
from mugrow.analysis.laws.growing import contours, growth_factors
from mugrow.analysis.laws.selection import Comparison, Mask, compare, largest
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

Row = dict[str, Any]


def chapter(
    rows: pd.DataFrame, forms: Sequence[str] = FORMS, resamples: int | None = None
) -> dict[str, Any]:
    """The laws of ``rows``, what growing changes, and the growth factors, as plain values.

    ``rows`` has a final a row: ``n`` parameters, ``d`` tokens, ``c`` FLOPs, ``g`` growth factor,
    ``loss``, ``law`` (which one the row belongs to), ``variant`` (of a method, see
    ``mugrow.analysis.measure.arms``), ``parametrization``, ``cluster`` (what the bootstrap
    resamples), ``scratch`` (bool). ``resamples`` is 1000, less for many rows. ``UserError`` on a
    form that does not read N and D alone.
    """
    known = [_form(name) for name in forms]
    laws = [
        law(group, known, resamples)
        for _, group in rows.groupby(["parametrization", "law"], sort=False)
    ]
    return {
        "laws": laws,
        "contours": contours(rows, laws),
        "growth_factors": growth_factors(rows, RESAMPLES if resamples is None else resamples),
    }


def _form(name: str) -> Form:
    form = get_form(name)
    if not isinstance(form.law, Pointwise) or not set(form.variables) <= set(READS):
        raise UserError(
            f"form {name!r} reads {', '.join(form.variables)}; the laws of a report read n and d, "
            f"as {', '.join(FORMS)} do"
        )
    return form


def law(rows: pd.DataFrame, forms: Sequence[Form], resamples: int | None = None) -> Row:
    """One law of ``rows``: status, form, numbers with intervals, points, bands, allocations."""
    points = variables(rows["n"].to_numpy(float), rows["d"].to_numpy(float))
    points |= {"c": rows["c"].to_numpy(float), "loss": rows["loss"].to_numpy(float)}
    first = rows.iloc[0]
    facts: Row = {
        "label": first["law"],
        "parametrization": first["parametrization"],
        "scratch": bool(first["scratch"]),
        "n_rows": len(rows),
        "sizes": len(np.unique(points["n"])),
        "horizons": len(np.unique(points["d"])),
    }
    held_out = largest(points)
    only = forms[0] if len(forms) == 1 else None
    if facts["horizons"] == 1:
        forms = [get_form(name) for name in OF_SIZE]
    fitting = _few_enough_parameters(forms, points, held_out)
    if not fitting:
        fewest = min(len(form.params) for form in forms)
        count = _distinct(points, ~held_out)
        return facts | _nothing(
            f"{count} different (N, D) besides the largest, and the simplest law needs {fewest + 1}"
        )
    used = _sample(held_out)
    seen = {name: values[used] for name, values in points.items()}
    comparison = compare(fitting, seen, held_out[used])
    facts["selection"] = _selection(comparison)
    form = _chosen(fitting, comparison, only)
    if form is None:
        return facts | _no_winner(comparison)
    count = resamples_of(len(rows)) if resamples is None else resamples
    return facts | _fitted(form, points, held_out, used, rows["cluster"].tolist(), count)


def variables(n: Array, d: Array) -> dict[str, Array]:
    """What forms read, of N and D: also ``m`` tokens per parameter, and ``x``, the size alone."""
    return {"n": n, "d": d, "m": d / n, "x": n}


def asked(form: Form, n: Array, d: Array) -> list[list[float]]:
    """The points (n, d) in the order of the form's variables."""
    columns = variables(n, d)
    table: list[list[float]] = np.stack([columns[name] for name in form.variables], axis=1).tolist()
    return table


def resamples_of(rows: int) -> int:
    return max(FEWEST_RESAMPLES, min(RESAMPLES, ROW_RESAMPLES // rows))


def _nothing(reason: str) -> Row:
    return {"status": "unidentified", "reason": reason, "form": None, "selection": None}


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


def _selection(comparison: Comparison) -> Row:
    scores = [
        {"form": one.form, "status": one.status, "reason": one.reason, "are": one.are}
        for one in comparison.scores
    ]
    return {
        "held_out": comparison.held_out,
        "kept": comparison.kept,
        "baseline_are": comparison.baseline_are,
        "winner": comparison.winner,
        "scores": scores,
    }


def _chosen(forms: Sequence[Form], comparison: Comparison, only: Form | None) -> Form | None:
    """The winner; a form that is the ``only`` one asked for need not beat the best small model."""
    if only in forms and comparison.scores[0].are is not None:
        return only
    return next((form for form in forms if form.name == comparison.winner), None)


def _no_winner(comparison: Comparison) -> Row:
    """Status and reason; forms that all fail for one reason fail for that of their rows."""
    first = comparison.scores[0]
    if len({(one.status, one.reason, one.are) for one in comparison.scores}) == 1 and not first.are:
        return {"status": first.status, "reason": first.reason, "form": None}
    reason = (
        f"no form both converges without the largest {comparison.held_out} rows and predicts them "
        "better than the best small model"
    )
    return {"status": "unidentified", "reason": reason, "form": None}


def _fitted(
    form: Form,
    points: Points,
    held_out: Mask,
    used: npt.NDArray[np.int64],
    clusters: list[object],
    resamples: int,
) -> Row:
    """The form fitted to all rows, and to those that were not held out."""
    assert isinstance(form.law, Pointwise)
    lines = _lines(points) if "d" in form.variables or "m" in form.variables else _line(points)
    budgets, frontier = _budgets(points) if form.law.optimal else ([], [])
    result = fit(
        form,
        points,
        groups=clusters,
        bootstrap=resamples,
        predict=[point for line in lines for point in asked(form, line["n"], line["d"])],
        optimal=[*budgets, *frontier],
    )
    row = result.to_json() | {"formula": form.summary, "paper": form.paper}
    del row["predictions"], row["optimal"], row["extras"]
    if not result.params:
        return row
    kept = {name: values[used][~held_out[used]] for name, values in points.items()}
    unseen = np.full(len(held_out), np.nan)
    largest_rows = asked(form, points["n"][held_out], points["d"][held_out])
    predicted = fit(form, kept, predict=largest_rows).predictions
    unseen[held_out] = [one["loss"] for one in predicted] if predicted else np.nan
    shown = {name: points[name].tolist() for name in ("n", "d", "loss")}
    return row | {
        "points": shown
        | {
            "predicted": (points["loss"] * np.exp(-np.array(result.residuals))).tolist(),
            "held_out": held_out.tolist(),
            "unseen": unseen.tolist(),
        },
        "bands": _bands(lines, result.predictions),
        "optimal": [_beyond(one, points) for one in result.optimal[: len(budgets)]],
        "frontier": _frontier(result.optimal[len(budgets) :]),
    }


def _lines(points: Points) -> list[Row]:
    """The law against N at a few D, and against D at a few N."""
    lines = []
    for against, held in (("n", "d"), ("d", "n")):
        x = np.geomspace(points[against].min(), points[against].max(), STEPS)
        for value in _few(points[held]):
            lines.append({"against": against, "at": value, against: x, held: np.full(STEPS, value)})
    return lines


def _line(points: Points) -> list[Row]:
    """The law against N at the one D there is."""
    n, at = np.geomspace(points["n"].min(), points["n"].max(), STEPS), float(points["d"][0])
    return [{"against": "n", "at": at, "n": n, "d": np.full(STEPS, at)}]


def _few(values: Array) -> list[float]:
    """At most ``LINES`` values to draw lines at: those there are, or quantiles."""
    distinct = np.unique(values)
    if len(distinct) > LINES:
        distinct = np.quantile(values, np.linspace(0.1, 0.9, LINES), method="nearest")
    return [float(value) for value in np.unique(distinct)]


def _bands(lines: Sequence[Row], predictions: Sequence[Mapping[str, Any]]) -> list[Row]:
    bands = []
    for index, line in enumerate(lines):
        own = predictions[STEPS * index : STEPS * (index + 1)]
        x = line[line["against"]].tolist()
        bands.append({"against": line["against"], "at": line["at"], "x": x} | _columns(own))
    return bands


def _columns(predictions: Sequence[Mapping[str, Any]]) -> Row:
    ends = [one["interval"] or (None, None) for one in predictions]
    return {
        "loss": [one["loss"] for one in predictions],
        "lo": [lo for lo, _ in ends],
        "hi": [hi for _, hi in ends],
    }


def _frontier(optimal: Sequence[Mapping[str, Any]]) -> Row:
    """The lowest loss of each budget, with its band."""
    found = [{"loss": one["loss"], "interval": one["interval"]["loss"]} for one in optimal]
    return {"x": [one["c"] for one in optimal]} | _columns(found)


def _budgets(points: Points) -> tuple[list[float], list[float]]:
    """Budgets for a table (decades within the runs', the largest, ten times it), and for a line."""
    flops = 6 * points["n"] * points["d"]
    low, high = np.log10(flops.min()), np.log10(flops.max())
    decades = np.arange(np.ceil(low), np.floor(high) + 1)
    decades = decades[:: max(1, -(-len(decades) // 5))]
    table = [*(10.0 ** decades[decades < high - 0.02]), flops.max(), 10 * flops.max()]
    return [float(c) for c in table], np.geomspace(flops.min(), flops.max(), STEPS).tolist()


def _beyond(allocation: Mapping[str, Any], points: Points) -> Row:
    """An allocation with which of C, N and D are above all runs, or below them."""
    ranges = {"c": 6 * points["n"] * points["d"], "n": points["n"], "d": points["d"]}
    rounding = 1 + 1e-9
    outside = [
        name.upper()
        for name, values in ranges.items()
        if not values.min() / rounding <= allocation[name] <= values.max() * rounding
    ]
    return dict(allocation) | {"outside": outside}
