"""Resamples of groups of rows, and the intervals they give, for laws that are procedures.

What was drawn independently is a run (or a model size), not a row: of the checkpoints of one run
an interval by rows comes out 2.1 to 2.5 times too narrow. So whole groups are resampled, in one of
two ways. Where only the set of runs matters, groups are drawn with replacement (Efron & Tibshirani
1993, ch. 8). Where the rows are a design that was chosen and is just large enough, as the sizes of
an isoFLOP parabola are, the design stays, and the residuals of each group get a random factor: the
wild cluster bootstrap (Cameron, Gelbach & Miller 2008, doi 10.1162/rest.90.3.414).

A resample on which the procedure fails could have given any value. Leaving it out would make the
interval too narrow, so it counts as beyond both ends, and an end that it reaches is open.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.form import Options, Points
from mugrow.analysis.laws.result import Ends
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

Index = npt.NDArray[np.intp]

TAIL = 0.025


def drawn_groups(groups: int, resamples: int, seed: int) -> Array:
    """How often each group is in each resample, (resamples, groups)."""
    generator = np.random.default_rng(seed)
    times = generator.multinomial(groups, np.full(groups, 1 / groups), resamples)
    return times.astype(np.float64)


def residual_factors(codes: Index, resamples: int, seed: int) -> Array:
    """A random factor for the residual of each row, the same within a group, (resamples, rows).

    Six values of mean 0 and variance 1 (Webb 2023, doi 10.1111/caje.12661), so that few groups
    still have many different resamples.
    """
    six = np.sqrt([0.5, 1.0, 1.5])
    drawn = np.random.default_rng(seed).choice(
        np.concatenate([-six, six]), size=(resamples, int(codes.max()) + 1)
    )
    return np.asarray(drawn[:, codes])


def ends(draws: Array) -> Ends:
    """The 95 % percentile interval of draws (resamples,), of which nan are failures."""
    low = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    high = np.sort(np.where(np.isnan(draws), np.inf, draws))
    tail = int(TAIL * (len(draws) - 1))
    return float(low[tail]), float(high[-1 - tail])


def spread(draws: Array) -> float:
    """The standard error: the standard deviation of the draws that are not failures."""
    usable = draws[np.isfinite(draws)]
    return float(usable.std(ddof=1)) if len(usable) > 1 else float("nan")


def summary(
    draws: Mapping[str, Array],
) -> tuple[dict[str, Ends], dict[str, float], dict[str, int]]:
    """Intervals, standard errors and the count of resamples, from draws (resamples,) by name."""
    some = next(iter(draws.values()), np.empty(0))
    if not len(some):
        return {}, {}, {"resamples": 0, "converged": 0}
    counts = {"resamples": len(some), "converged": int(np.isfinite(some).sum())}
    return (
        {name: ends(values) for name, values in draws.items()},
        {name: spread(values) for name, values in draws.items()},
        counts,
    )


NO_MEANING = {
    "fixed": "its parameters are not fitted apart",
    "predict": "it predicts no loss from single rows; use a form such as chinchilla",
    "optimal": "it gives no allocation; use a form such as isoflop or chinchilla",
}


def check(form: str, points: Points, options: Options, *without: str) -> None:
    """``UserError`` where columns are not above 0, or an option does not fit the form or table.

    ``without`` names the options that have no meaning for this form. ``lr`` may be 0.
    """
    for name in without:
        if len(getattr(options, name)):
            raise UserError(f"form {form!r} has no --{name}: {NO_MEANING[name]}")
    for name, column in points.items():
        if name != "lr" and not column.min() > 0:
            row = int(column.argmin())
            raise UserError(f"{name} of row {row} must be above 0, not {column[row]:g}")
    if options.bootstrap < 0:
        raise UserError(f"bootstrap must be at least 0 resamples, not {options.bootstrap}")
    rows = len(points["loss"])
    if options.groups is not None and len(options.groups) != rows:
        raise UserError(f"there are {len(options.groups)} groups for {rows} rows")
    for flops in options.optimal:
        if not 0 < flops < float("inf"):
            raise UserError(f"a budget must be a finite number of FLOPs above 0, not {flops}")
