"""How fast fits are, beside a plain loop over ``scipy.optimize.minimize`` on the same work.

Two jobs on the Chinchilla points: the minimum from each of the 4500 starts of Hoffmann et al., and
4000 bootstrap resamples, each to convergence. The reference does a share of the same starts or
resamples and is scaled up: once with the exact gradient, and once by finite differences, as such a
loop is usually written. It minimises the same sum divided by delta^2, without which scipy's default
tolerance would stop it early. Each of our jobs is timed several times and the fastest counts, since
machines are shared.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from mugrow.analysis.laws.chinchilla import FORM
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.resample import draw_counts
from mugrow.analysis.stats import Array

POINTS = Path("../shared/data/laws/epoch_chinchilla/svg_extracted_data.csv")
DELTA = 1e-3
UNROUNDED = np.array([0.5267228, 6.0073404, 6.0179186, 0.33917084, 0.2849083])
"""Hoffmann's unrounded e, a, b, alpha, beta (Besiroglu et al. 2024), their bootstrap's start."""


def published_starts() -> Array:
    """The 4500 starts (4500, 5) of e, a, b, alpha, beta in Hoffmann et al. 2022, appendix D."""
    exponents, logs = (0, 0.5, 1, 1.5, 2), (0, 5, 10, 15, 20, 25)
    axes = product(exponents, exponents, (-1, -0.5, 0, 0.5, 1), logs, logs)
    return np.array([(e, a, b, alpha, beta) for alpha, beta, e, a, b in axes], dtype=np.float64)


def chinchilla_points(path: Path = POINTS) -> dict[str, Array]:
    """``n, d, loss`` of the 240 rows that are fitted, read off figure 4 of Hoffmann et al. 2022."""
    import pandas as pd

    table = pd.read_csv(path)
    n, loss = table["Model Size"].to_numpy(), table["loss"].to_numpy()
    d = table["Training FLOP"].to_numpy() / (6 * n)
    kept = loss < np.sort(loss)[-5]
    return {"n": n[kept], "d": d[kept], "loss": loss[kept]}


def synthetic_points(rows: int = 240, seed: int = 0) -> dict[str, Array]:
    """Rows of the law of Besiroglu et al. 2024 with 0.7 % noise."""
    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(np.log([[5e7], [1e9]]), np.log([[1.5e10], [5e11]]), (2, rows)))
    loss = 1.81686 + 482.006 / n**0.34781 + 2085.434 / d**0.36585
    return {"n": n, "d": d, "loss": loss * np.exp(rng.normal(0, 0.007, rows))}


@dataclass(frozen=True)
class FitTiming:
    """The time of one job by one ``program``: ``items`` starts or resamples, of which
    ``items_timed`` were done and scaled up to all, in ``seconds``. ``times_mugrow`` is the time
    over mugrow's."""

    what: str
    program: str
    items: int
    items_timed: int
    seconds: float
    per_second: float
    times_mugrow: float


@dataclass(frozen=True)
class FitSpeed:
    """The timings, and the name of the ``points`` that they are of."""

    points: str
    rows: Sequence[FitTiming]


def fit_speed(
    starts: int = 4500, resamples: int = 4000, share: int = 100, repeats: int = 3
) -> FitSpeed:
    """Time both jobs; the reference does every ``share``-th start or resample."""
    real = POINTS.exists()
    points = chinchilla_points() if real else synthetic_points()
    begin = published_starts()[:starts]
    natural = np.hstack([np.exp(begin[:, :3]), begin[:, 3:]])
    columns = dict(zip(FORM.params, natural.T, strict=True))
    once = _fastest(repeats, lambda: fit(FORM, points, starts=columns))
    plain = _fastest(repeats, lambda: fit(FORM, points))
    both = _fastest(repeats, lambda: fit(FORM, points, bootstrap=resamples))
    counts = draw_counts(len(points["loss"]), resamples, seed=0)[::share]
    every = [np.ones(len(points["loss"]))] * len(begin[::share])
    rows = [
        *_job("starts", len(begin), once, begin[::share], every, points),
        *_job("resamples", resamples, both - plain, [UNROUNDED] * len(counts), counts, points),
    ]
    name = "epoch_chinchilla" if real else f"synthetic, for there is no {POINTS}"
    return FitSpeed(name, rows)


def _job(
    what: str,
    items: int,
    seconds: float,
    begin: Sequence[Array] | Array,
    weights: Sequence[Array] | Array,
    points: dict[str, Array],
) -> list[FitTiming]:
    """A row for this fitter, and one for each reference."""
    rows = [_row(what, "mugrow", items, items, seconds, seconds)]
    for program, gradient in (("scipy, exact gradient", True), ("scipy, differences", False)):
        started = time.perf_counter()
        for start, weight in zip(begin, weights, strict=True):
            reference(points, start, weight, gradient=gradient)
        spent = time.perf_counter() - started
        rows.append(_row(what, program, items, len(begin), spent * items / len(begin), seconds))
    return rows


def _row(what: str, program: str, items: int, timed: int, seconds: float, ours: float) -> FitTiming:
    return FitTiming(what, program, items, timed, seconds, items / seconds, seconds / ours)


def _fastest(repeats: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def reference(
    points: dict[str, Array], start: Array, weights: Array, *, gradient: bool
) -> OptimizeResult:
    """scipy's BFGS on the published parametrisation, from one start (5,); ``weights`` (rows,)."""
    ln_n, ln_d, ln_loss = (np.log(points[name]) for name in ("n", "d", "loss"))

    def objective(theta: Array) -> tuple[float, Array] | float:
        e, a, b, alpha, beta = theta
        terms = np.stack([np.full_like(ln_n, e), a - alpha * ln_n, b - beta * ln_d])
        top = terms.max(axis=0)
        shares = np.exp(terms - top)
        total = shares.sum(axis=0)
        r = (np.log(total) + top - ln_loss) / DELTA
        pull = np.clip(r, -1, 1)
        value = float((weights * pull * (r - pull / 2)).sum())
        if not gradient:
            return value
        of_e, of_a, of_b = shares / total * (weights * pull) / DELTA
        slopes = [of_e.sum(), of_a.sum(), of_b.sum(), -(of_a @ ln_n), -(of_b @ ln_d)]
        return value, np.array(slopes)

    return minimize(objective, start, jac=gradient, method="BFGS")
