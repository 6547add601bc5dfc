"""The envelope of whole training curves, Chinchilla's approach 1: which size is best at each FLOPs.

The curve of every run (loss against FLOPs, made non-increasing) is interpolated on 1500 values of
ln C; at each, the run with the lowest loss wins. Where two runs that both cover C change places
they are equally good, so the optimum lies between their sizes, and a line in logarithms through
those points gives

    N* = N_coefficient C^N_exponent,    D* = D_coefficient C^D_exponent.

Hoffmann et al. (2022, arXiv 2203.15556) regress the winner's size at all 1500 values. That is a
staircase, which with k steps of equal length understates the exponent by the share 1 / k^2, and by
much more where the smallest or the largest size wins for long only because there is none beyond
it. The points of change have no such ends. Under a law E + A / N^alpha + B / D^beta with sizes in a
constant ratio they lie on a line of exactly the slope beta / (alpha + beta); only the coefficient
is off, by the square of the ratio's logarithm.

What no regression repairs: in the middle of a cosine the learning rate is high, so such a run loses
to one that *ended* there, and the exponents are biased. Use curves at constant learning rate. The
points of a run are not independent either; resamples are of runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from mugrow.analysis.laws.alike import SAME, alike
from mugrow.analysis.laws.allocation import PARAMS, named, optimum
from mugrow.analysis.laws.form import Form, Options, Points
from mugrow.analysis.laws.points import check_procedure
from mugrow.analysis.laws.power_line import lines
from mugrow.analysis.laws.resample import Index, group_rows, multinomial_counts, summary
from mugrow.analysis.laws.result import Extras, FitResult
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

GRID = 1500
FEWEST = 3


@dataclass(frozen=True, eq=False)
class Curves:
    """Runs on a common grid of FLOPs: ``log_c`` (grid,), ``size`` ln N (runs,).

    ``loss`` and ``log_d`` are (runs, grid); a run's loss is infinite outside the FLOPs it covers.
    """

    log_c: Array
    size: Array
    loss: Array
    log_d: Array


@dataclass(frozen=True, eq=False)
class Changes:
    """Where the best run changes: ln C, and the mean ln N and ln D of the two runs, each (m,)."""

    log_c: Array
    log_n: Array
    log_d: Array


@dataclass(frozen=True)
class Change:
    """The FLOPs at which the best run changes, and the size and tokens between the two runs'."""

    c: float
    n: float
    d: float


@dataclass(frozen=True)
class EnvelopeExtras(Extras):
    """Where the best run changes, by FLOPs ascending."""

    changes: Sequence[Change] = ()


def curves(points: Points, runs: Index) -> Curves:
    """Interpolate each run's rows (``n``, ``d``, ``c``, ``loss``) on a grid of ln C.

    ``UserError`` where a run has fewer than two different FLOPs, or rows of different sizes.
    """
    log_c = np.linspace(np.log(points["c"].min()), np.log(points["c"].max()), GRID)
    size, loss, log_d = [], [], []
    for run in range(int(runs.max()) + 1):
        rows = np.flatnonzero(runs == run)
        n = points["n"][rows]
        flops, first = np.unique(points["c"][rows], return_index=True)
        rows = rows[first]
        if len(flops) < 2 or np.ptp(n) > SAME * n[0]:
            raise UserError(
                f"form 'envelope' needs whole curves: the run of size {n[0]:.6g} has "
                f"{len(flops)} values of FLOPs and sizes up to {n.max():.6g}; name runs with --run"
            )
        lowest = np.minimum.accumulate(points["loss"][rows])
        at = PchipInterpolator(np.log(flops), lowest, extrapolate=False)(log_c)
        size.append(np.log(n[0]))
        loss.append(np.where(np.isnan(at), np.inf, at))
        log_d.append(np.interp(log_c, np.log(flops), np.log(points["d"][rows])))
    return Curves(log_c, np.log(alike(np.exp(size))), np.array(loss), np.array(log_d))


def changes(measured: Curves, present: Array) -> Changes:
    """Where the best of the runs ``present`` (runs,) changes; a run's own end is no change."""
    loss = np.where(present[:, None] > 0, measured.loss, np.inf)
    best = loss.argmin(axis=0)
    k = np.flatnonzero(measured.size[best[:-1]] != measured.size[best[1:]])
    both = np.isfinite(loss[best[k + 1], k]) & np.isfinite(loss[best[k], k + 1])
    k = k[both & np.isfinite(loss[best[k], k])]
    i, j = best[k], best[k + 1]
    lead = loss[j, k] - loss[i, k]
    total = lead + loss[i, k + 1] - loss[j, k + 1]
    part = np.divide(lead, total, out=np.full(len(k), 0.5), where=total > 0)
    log_d = (measured.log_d[i, k] + measured.log_d[j, k]) / 2
    log_d_next = (measured.log_d[i, k + 1] + measured.log_d[j, k + 1]) / 2
    return Changes(
        log_c=measured.log_c[k] + part * (measured.log_c[k + 1] - measured.log_c[k]),
        log_n=(measured.size[i] + measured.size[j]) / 2,
        log_d=log_d + part * (log_d_next - log_d),
    )


def _law(found: Changes) -> Array:
    """Slope and intercept of ln N and of ln D, (4,); nan for fewer than three changes."""
    if len(found.log_c) < FEWEST:
        return np.full(4, np.nan)
    both = np.stack([found.log_n, found.log_d])
    slopes, intercepts = lines(found.log_c[None], both, np.ones_like(both))
    return np.array([slopes[0], intercepts[0], slopes[1], intercepts[1]])


def fit(points: Points, options: Options) -> FitResult:
    """The allocation law of rows ``n``, ``d``, ``c`` and ``loss``, each (rows,), grouped by run.

    ``extras`` are ``EnvelopeExtras``. ``UserError`` where rows are not named by run, or a run is no
    curve of one size.
    """
    check_procedure(FORM.name, points, options, "fixed", "predict")
    if options.groups is None:
        raise UserError("form 'envelope' reads whole curves: name the run of each row with --run")
    runs = group_rows(options.groups, len(points["loss"]))
    measured = curves(points, runs)
    everyone = np.ones(len(measured.size))
    found = changes(measured, everyone)
    extras = EnvelopeExtras(
        changes=[
            Change(float(c), float(n), float(d))
            for c, n, d in np.exp(np.stack([found.log_c, found.log_n, found.log_d], axis=1))
        ]
    )
    law = _law(found)
    if np.isnan(law).any():
        return FitResult(
            FORM.name,
            "unidentified",
            f"the best run changes {len(found.log_c)} times between sizes; a line needs {FEWEST}",
            n_rows=len(runs),
            n_groups=len(everyone),
            extras=extras,
        )
    times = multinomial_counts(len(everyone), options.bootstrap, options.seed)
    draws = np.array([_law(changes(measured, drawn)) for drawn in times]).reshape(-1, 4)
    intervals, errors, counts = summary(named(draws))
    return FitResult(
        FORM.name,
        "converged",
        params={name: float(value[0]) for name, value in named(law[None]).items()},
        n_rows=len(runs),
        n_groups=len(everyone),
        starts=1,
        starts_at_optimum=1.0,
        intervals=intervals,
        standard_errors=errors,
        bootstrap=counts,
        optimal=[optimum(law, draws, flops) for flops in options.optimal],
        extras=extras,
    )


FORM = Form(
    name="envelope",
    summary="Envelope of whole curves: optimal model size and tokens as power laws of the budget",
    paper="Hoffmann et al. 2022, arXiv 2203.15556, approach 1",
    variables=("n", "d", "c"),
    params=PARAMS,
    law=fit,
    curves=True,
)
