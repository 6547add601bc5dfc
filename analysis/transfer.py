"""Where a sweep's optimum is, and what it costs to use one width's optimum at another.

A hyperparameter transfers if the base learning rate that is best for the proxy is best for the
wider model. Measured three ways (reference: Yang et al. 2203.03466; regret as in 2512.22768):

    shift    log2 lr*_target - log2 lr*_proxy          of the best tested point, and of the vertex
    drift    d log2 lr* / d log2 width                 -1 for SP with Adam, 0 for muP
    regret   L_target(lr*_proxy) - min_lr L_target     in nats and percent: what the shift costs

The three disagree on purpose. On a flat bowl the argmin moves a whole grid step by seed noise
while the regret stays zero; and a bowl is steeper above its optimum than below, so the same shift
costs about three times as much upwards.

Only numpy is imported: the sweeps use ``optimum`` too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from analysis.stats import Interval, bootstrap, paired_bootstrap, percentile_interval
from bench.spec import UserError

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Edge = Literal["low", "high"] | None

WINDOW_LOG2 = 2.0
MIN_POINTS = 5


@dataclass(frozen=True)
class Optimum:
    """The best tested learning rate, and the parabola through its neighbours where there is one.

    ``edge`` says that the best is the lowest or highest rate tested, so the optimum may lie
    outside. ``curvature`` is d2 loss / d(log2 lr)2, in nats per log2 squared.
    """

    argmin_log2_lr: float
    argmin_loss: float
    vertex_log2_lr: float | None = None
    vertex_loss: float | None = None
    curvature: float | None = None
    edge: Edge = None

    @property
    def best_log2_lr(self) -> float:
        return self.argmin_log2_lr if self.vertex_log2_lr is None else self.vertex_log2_lr


def optimum(log2_lr: npt.ArrayLike, loss: npt.ArrayLike) -> Optimum:
    """The optimum of one sweep, from every learning rate tested, in any order.

    A loss of inf (diverged) or nan (pruned) is no candidate, but it was tested: an optimum below
    rates that diverged is bracketed, not at an edge. A single rate is at the low edge.

    The parabola goes through the finite points within ``WINDOW_LOG2`` of the argmin: a loss is
    quadratic in log2 lr only near its optimum. There is a vertex where those are at least
    ``MIN_POINTS`` with points on both sides of the argmin, the curvature is positive, and the
    vertex lies among them. Raises ``UserError`` where no loss is finite.
    """
    x, y = np.asarray(log2_lr, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    finite = np.isfinite(y)
    if not finite.any():
        raise UserError(f"none of the {len(x)} learning rates of the sweep finished its training")
    order = np.lexsort((x, np.where(finite, y, np.inf)))  # ties: the lower rate, the safer side
    best_x, best_y = float(x[order[0]]), float(y[order[0]])
    edge: Edge = "low" if best_x == x.min() else "high" if best_x == x.max() else None
    near = finite & (np.abs(x - best_x) <= WINDOW_LOG2)
    place, height, curvature = _vertex(x[near], y[near], best_x) or (None, None, None)
    return Optimum(best_x, best_y, place, height, curvature, edge)


def _vertex(x: Array, y: Array, center: float) -> tuple[float, float, float] | None:
    """Place, height and curvature of the parabola's lowest point, or None where it has none."""
    if len(np.unique(x)) < MIN_POINTS or not x.min() < center < x.max():
        return None
    square, slope, height = np.polynomial.polynomial.polyfit(x - center, y, 2)[::-1]
    flat = 1e-12 * max(1.0, float(np.abs(y).max()))
    if square <= flat:
        return None
    offset = -slope / (2 * square)
    if not x.min() <= center + offset <= x.max():
        return None
    return float(center + offset), float(height + slope * offset / 2), float(2 * square)


@dataclass(frozen=True, eq=False)
class Sweep:
    """Losses of one proxy shape at one init scale.

    ``log2_lr`` has shape (points,), ascending; ``loss`` (seeds, points) with inf for diverged and
    nan for pruned, failed or not yet run. ``status`` is a point's worst over its seeds.
    """

    parametrization: str
    width: int
    depth: int
    init_std: float
    seeds: tuple[int, ...]
    log2_lr: Array
    loss: Array
    status: tuple[str, ...]

    @property
    def mean_loss(self) -> Array:
        """Mean over seeds, shape (points,). A point counts only if every seed finished it."""
        return np.asarray(self.loss.mean(axis=0))

    @property
    def finished(self) -> bool:
        return bool(np.isfinite(self.mean_loss).any())

    @property
    def optimum(self) -> Optimum:
        return optimum(self.log2_lr, self.mean_loss)

    def row(self, seed: int) -> Array:
        return np.asarray(self.loss[self.seeds.index(seed)])


def sweeps(runs: "pd.DataFrame") -> list[Sweep]:
    """The sweeps among the runs: one for each (parametrization, depth, width, init scale)."""
    proxies = runs[runs["role"] == "proxy"]
    keys = ["parametrization", "depth", "width", "init_std"]
    return [_sweep(group) for _, group in proxies.groupby(keys, sort=True)]


def _sweep(group: "pd.DataFrame") -> Sweep:
    seeds, lrs = sorted(set(group["seed"])), sorted(set(group["lr"]))
    loss = np.full((len(seeds), len(lrs)), np.nan)
    status = [["incomplete"] * len(lrs) for _ in seeds]
    for run in group.itertuples():
        row, column = seeds.index(run.seed), lrs.index(run.lr)
        status[row][column] = str(run.status)
        outcome = {"finished": run.final_val_loss, "diverged": math.inf}
        loss[row, column] = outcome.get(str(run.status), math.nan)
    first = group.iloc[0]
    return Sweep(
        parametrization=str(first["parametrization"]),
        width=int(first["width"]),
        depth=int(first["depth"]),
        init_std=float(first["init_std"]),
        seeds=tuple(int(seed) for seed in seeds),
        log2_lr=np.log2(lrs),
        loss=loss,
        status=tuple(_worst(column) for column in zip(*status, strict=True)),
    )


def _worst(statuses: Iterable[str]) -> str:
    order = ("diverged", "failed", "pruned", "incomplete", "finished")
    return min(statuses, key=order.index)


def loss_at(log2_lr: Array, loss: Array, at: float) -> tuple[float, str]:
    """A sweep's loss at a learning rate, and how it is known.

    ``tested``; ``interpolated``, linear in log2 lr between the two rates tested beside it;
    ``diverged`` (inf) where the rate or one of those two diverged; ``unknown`` (nan) where one was
    pruned or the rate lies outside those tested: nothing is extrapolated.
    """
    tested = np.isclose(log2_lr, at, rtol=0, atol=1e-9)
    if tested.any():
        value = float(loss[tested][0])
    else:
        value = float(np.interp(at, log2_lr, loss, left=np.nan, right=np.nan))
    if math.isnan(value):
        return value, "unknown"
    if math.isinf(value):
        return value, "diverged"
    return value, "tested" if tested.any() else "interpolated"


@dataclass(frozen=True)
class Transfer:
    """A proxy's optimum used at a larger width. ``regret_at`` is ``loss_at``'s how-known."""

    parametrization: str
    proxy_width: int
    target_width: int
    depth: int
    shift_argmin_log2: Interval
    shift_vertex_log2: Interval | None
    regret_nats: Interval
    regret_percent: Interval
    regret_at: str
    edge_proxy: Edge
    edge_target: Edge


def compare(proxy: Sweep, target: Sweep) -> Transfer | None:
    """Shift and regret over the seeds both sweeps share; None where they share no finished one."""
    pairs = {
        seed: (proxy.row(seed), target.row(seed))
        for seed in sorted(set(proxy.seeds) & set(target.seeds))
    }
    if not pairs:
        return None
    loss_p, loss_t = (np.mean(rows, axis=0) for rows in zip(*pairs.values(), strict=True))
    if not (np.isfinite(loss_p).any() and np.isfinite(loss_t).any()):
        return None
    best_p, best_t = optimum(proxy.log2_lr, loss_p), optimum(target.log2_lr, loss_t)

    def measure(drawn: list[tuple[Array, Array]]) -> list[float]:
        mean_p, mean_t = (np.mean(rows, axis=0) for rows in zip(*drawn, strict=True))
        return _measure(proxy.log2_lr, mean_p, target.log2_lr, mean_t)

    values, draws = measure(list(pairs.values())), bootstrap(pairs, measure)
    argmin, vertex, nats, percent = (
        percentile_interval(value, draws[:, column], len(pairs))
        for column, value in enumerate(values)
    )
    return Transfer(
        parametrization=proxy.parametrization,
        proxy_width=proxy.width,
        target_width=target.width,
        depth=proxy.depth,
        shift_argmin_log2=argmin,
        shift_vertex_log2=None if math.isnan(vertex.value) else vertex,
        regret_nats=nats,
        regret_percent=percent,
        regret_at=loss_at(target.log2_lr, loss_t, best_p.argmin_log2_lr)[1],
        edge_proxy=best_p.edge,
        edge_target=best_t.edge,
    )


def _measure(x_p: Array, loss_p: Array, x_t: Array, loss_t: Array) -> list[float]:
    """Shift of argmin and of vertex (log2), regret (nats, percent); nan where there is none."""
    if not (np.isfinite(loss_p).any() and np.isfinite(loss_t).any()):
        return [math.nan] * 4
    proxy, target = optimum(x_p, loss_p), optimum(x_t, loss_t)
    vertex = _vertex_or_nan(target) - _vertex_or_nan(proxy)
    regret = loss_at(x_t, loss_t, proxy.argmin_log2_lr)[0] - target.argmin_loss
    shift = target.argmin_log2_lr - proxy.argmin_log2_lr
    return [shift, vertex, regret, 100 * regret / target.argmin_loss]


def _vertex_or_nan(found: Optimum) -> float:
    return math.nan if found.vertex_log2_lr is None else found.vertex_log2_lr


def ladders(all_sweeps: Iterable[Sweep]) -> list[list[Sweep]]:
    """Sweeps to compare, smallest width first: a list for each (parametrization, depth).

    Each width is represented at the init scale of the smallest width's best point, or at its own
    best where that scale was not tested there. Sweeps in which nothing finished are left out.
    """
    groups: dict[tuple[str, int], dict[int, list[Sweep]]] = {}
    for sweep in all_sweeps:
        if sweep.finished:
            widths = groups.setdefault((sweep.parametrization, sweep.depth), {})
            widths.setdefault(sweep.width, []).append(sweep)
    return [_ladder(widths) for widths in groups.values()]


def _ladder(widths: dict[int, list[Sweep]]) -> list[Sweep]:
    best = {
        width: min(group, key=lambda sweep: sweep.optimum.argmin_loss)
        for width, group in sorted(widths.items())
    }
    init_std = best[min(best)].init_std
    return [
        next((sweep for sweep in widths[width] if sweep.init_std == init_std), own)
        for width, own in best.items()
    ]


def transfers(all_sweeps: Iterable[Sweep]) -> list[Transfer]:
    """The smallest width's optimum against every larger width's."""
    pairs = [compare(ladder[0], target) for ladder in ladders(all_sweeps) for target in ladder[1:]]
    return [pair for pair in pairs if pair is not None]


@dataclass(frozen=True)
class Drift:
    """d log2 lr* / d log2 width over ``widths``, of the vertex where every width has one."""

    parametrization: str
    depth: int
    widths: tuple[int, ...]
    of: Literal["vertex", "argmin"]
    slope: Interval


def drifts(all_sweeps: Iterable[Sweep]) -> list[Drift]:
    found = [drift(ladder) for ladder in ladders(all_sweeps) if len(ladder) > 1]
    return [one for one in found if one is not None]


def drift(ladder: list[Sweep]) -> Drift | None:
    """The least-squares slope over the seeds every width shares; None where they share none."""
    shared = sorted(set.intersection(*(set(sweep.seeds) for sweep in ladder)))
    samples = {seed: [sweep.row(seed) for sweep in ladder] for seed in shared}
    log2_width = np.log2([sweep.width for sweep in ladder])

    def optima(drawn: list[list[Array]]) -> list[Optimum] | None:
        means = [np.mean(rows, axis=0) for rows in zip(*drawn, strict=True)]
        if not all(np.isfinite(mean).any() for mean in means):
            return None
        return [optimum(s.log2_lr, mean) for s, mean in zip(ladder, means, strict=True)]

    found = optima(list(samples.values())) if samples else None
    if found is None:
        return None
    of: Literal["vertex", "argmin"] = "vertex"
    if any(one.vertex_log2_lr is None for one in found):
        of = "argmin"

    def slope(drawn: list[list[Array]]) -> float:
        found = optima(drawn)
        if found is None:
            return math.nan
        best = [_vertex_or_nan(one) if of == "vertex" else one.argmin_log2_lr for one in found]
        away = log2_width - log2_width.mean()
        return float(away @ np.array(best) / (away @ away))

    return Drift(
        parametrization=ladder[0].parametrization,
        depth=ladder[0].depth,
        widths=tuple(sweep.width for sweep in ladder),
        of=of,
        slope=paired_bootstrap(samples, slope),
    )
