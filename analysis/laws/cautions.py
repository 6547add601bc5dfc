"""What to beware of in a fit that has numbers: a line for each reason to doubt them.

- A law holds where its rows are. Asked a hundred times or more beyond, it answers all the same, and
  a budget many orders away is more often one in other units than one that is meant.
- Resampling few groups makes intervals too narrow: with three a standard error came out as 0.014
  where 0.076 is true. Cluster bootstraps want dozens (Cameron, Gelbach & Miller 2008).
- Counts with nothing for orders of magnitude between them are more often of two units than of two
  sizes.
- A row that lies far from the law that all others agree on is more often a run that did not end,
  and residuals that a column explains are those of several laws in one table.
- Parabolas through wide isoFLOP grids are biased, as the true curve is no parabola
  (arXiv 2603.22339): where the parametric law through the same rows has its optimum elsewhere, both
  are given.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from mugrow.analysis.laws.chinchilla import FORM as CHINCHILLA
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.form import Form, Options, Points
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.rows import Selection
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

FAR = 2.0  # orders of magnitude beyond the rows
OTHER_UNITS = 4.0
FEWEST_GROUPS = 10
DISAGREE = 0.02  # of N*
GAP = 2.5  # orders of magnitude between neighbours
ASTRAY = (10.0, 0.02)  # times the median residual, and at least this, in log loss
KINDS_MOST = 6  # values of a column that tells laws apart
EXPLAINED = 0.5  # of the residuals' variance
COUNTS = ("n", "d", "c")
SMALL = 1e-3  # rms of log residuals in which nothing is looked for
UNITS = {
    "k": 1e3, "thousand": 1e3, "thousands": 1e3, "m": 1e6, "mil": 1e6, "million": 1e6,
    "millions": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9, "g": 1e9,
    "t": 1e12, "trillion": 1e12, "trillions": 1e12,
}  # fmt: skip
IN_BRACKETS = re.compile(r"[(\[]\s*(?:in\s+)?([A-Za-z]+)\s*[)\]]")
AT_THE_END = re.compile(r"_(?:in_)?(M|B|T|millions?|billions?|trillions?)$")


def cautions(
    form: Form, found: FitResult, points: Points, options: Options, columns: Mapping[str, str]
) -> tuple[str, ...]:
    """Of a fit of ``form`` to ``points``; ``columns`` are the expressions of the variables."""
    if not found.params and not found.optimal:
        return ()
    return (
        *_units(columns),
        *_gaps(points),
        *_far(form, points, options),
        *_few_groups(found),
        *_parametric(form, found, points, options),
    )


def _units(columns: Mapping[str, str]) -> Iterator[str]:
    """Columns whose names say that they count in millions or billions, and are used as they are."""
    said = {
        name: (expression.strip("`"), unit)
        for name, expression in columns.items()
        if name in COUNTS and (unit := _unit(expression.strip("`"))) is not None
    }
    if not said or not any(name in columns for name in COUNTS):
        return
    listed = ", ".join(f"{column!r} is in units of {unit:g}" for column, unit in said.values())
    example = next(iter(said.values()))
    yield (
        f"by its name {listed}: N, D and C = 6 N D are in those units, and no FLOPs; "
        f'write "`{example[0]}` * {example[1]:g}"'
    )


def _gaps(points: Points) -> Iterator[str]:
    """Counts whose rows have nothing for orders of magnitude between them."""
    for name in (name for name in COUNTS if name in points):
        there = np.unique(points[name][points[name] > 0])
        gaps = np.diff(np.log10(there))
        if len(gaps) and gaps.max() >= GAP:
            low, high = there[gaps.argmax()], there[gaps.argmax() + 1]
            yield (
                f"{name} has no row between {low:.4g} and {high:.4g}: are all in the same units?"
            )


def of_residuals(
    found: FitResult, rows: Selection, frame: pd.DataFrame, used: Collection[str]
) -> tuple[str, ...]:
    """Of a fit to the ``rows`` of ``frame``: those far from the law, and columns, but for those
    ``used``, that tell laws apart."""
    residuals = np.array(found.residuals)
    if len(residuals) != len(rows.rows) or len(residuals) < 8:
        return ()
    return (*_astray(residuals, rows), *_several(residuals, rows, frame, used))


def _astray(residuals: Array, rows: Selection) -> Iterator[str]:
    times, least = ASTRAY
    off = np.abs(residuals - np.median(residuals))
    far = off > max(times * float(np.median(off)), least)
    if far.any() and far.sum() <= len(far) // 8:
        worst = int(np.argmax(off))
        loss = float(rows.points["loss"][worst])
        law = loss * math.exp(-residuals[worst])
        more = f", as {far.sum() - 1} more" if far.sum() > 1 else ""
        yield (
            f"row {rows.rows[worst]} is far from the law, which has {law:.4g} where its loss is "
            f"{loss:.4g}{more}: did its run end?"
        )


def _several(
    residuals: Array, rows: Selection, frame: pd.DataFrame, used: Collection[str]
) -> Iterator[str]:
    whole = float(((residuals - residuals.mean()) ** 2).sum())
    if whole <= len(residuals) * SMALL**2:
        return
    for name in frame.columns.difference([*used], sort=False):
        cells = frame[name].iloc[rows.rows]
        codes, values = pd.factorize(cells.astype(str))
        if not 1 < len(values) <= KINDS_MOST or 4 * len(values) > len(codes):
            continue
        parts = [residuals[codes == code] for code in range(len(values))]
        within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
        if within < (1 - EXPLAINED) * whole and min(map(len, parts)) > 1:
            said = ", ".join(
                f"{value} {math.expm1(part.mean()):+.1%}"
                for value, part in zip(values, parts, strict=True)
            )
            yield (
                f"losses lie off the law by {name} ({said}): one law may not be all of theirs; "
                "--where keeps one kind"
            )


def _unit(name: str) -> float | None:
    found = IN_BRACKETS.search(name) or AT_THE_END.search(name)
    return UNITS.get(found[1].lower()) if found else None


def _far(form: Form, points: Points, options: Options) -> Iterator[str]:
    """What is asked beyond the rows; the farthest of each variable."""
    asked: dict[str, list[float]] = {
        name: [float(point[place]) for point in options.predict]
        for place, name in enumerate(form.variables)
    }
    have = {name: points[name] for name in asked}
    if options.optimal and "c" not in have and {"n", "d"} <= set(points):
        have["c"] = 6 * points["n"] * points["d"]
    asked["c"] = [*asked.get("c", []), *options.optimal]
    for name, values in asked.items():
        usable = [value for value in values if 0 < value < math.inf]
        if name not in have or not usable:
            continue
        there = have[name][have[name] > 0]
        if not len(there):
            continue
        value, orders = max(((one, _orders(one, there)) for one in usable), key=lambda one: one[1])
        if orders < FAR:
            continue
        side = "above" if value > there.max() else "below"
        edge = there.max() if value > there.max() else there.min()
        units = "; are both in the same units?" if orders >= OTHER_UNITS else ""
        yield (
            f"{name} = {value:.4g} is {orders:.1f} orders of magnitude {side} all rows "
            f"({name} {'up to' if side == 'above' else 'from'} {edge:.4g}){units}"
        )


def _orders(value: float, there: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    return max(math.log10(value / there.max()), math.log10(there.min() / value), 0.0)


def _few_groups(found: FitResult) -> Iterator[str]:
    if found.bootstrap.resamples and found.n_groups < FEWEST_GROUPS:
        yield (
            f"{found.n_groups} groups are too few to resample: the standard errors and intervals "
            f"are too small; {FEWEST_GROUPS} at least, and better dozens"
        )


def _parametric(form: Form, found: FitResult, points: Points, options: Options) -> Iterator[str]:
    """Where the law L = E + A/N^alpha + B/D^beta through the rows of isoFLOPs has its optimum."""
    if form.name != "isoflop" or not found.params:
        return
    budgets: Sequence[float] = options.optimal or [float(points["c"].max())]
    try:
        law = fit(CHINCHILLA, {name: points[name] for name in ("n", "d", "loss")}, optimal=budgets)
    except UserError:
        return
    if law.status != "converged":
        return
    exponent, log_coefficient = found.params["N_exponent"], math.log(found.params["N_coefficient"])
    for one in law.optimal:
        parabolas = math.exp(log_coefficient + exponent * math.log(one.c))
        if abs(math.log(parabolas / one.n)) > DISAGREE:
            yield (
                f"at {one.c:.4g} FLOPs the parabolas have N* = {parabolas:.4g}, the parametric law "
                f"through the same rows {one.n:.4g} ({parabolas / one.n - 1:+.1%}): parabolas are "
                "biased on wide grids"
            )
