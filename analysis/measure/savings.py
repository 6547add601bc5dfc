"""Compute saved: the ratio of what two training runs paid to reach the same loss.

With C(l) the FLOPs at which the monotone lower envelope of an arm's seed-mean curve first reaches
loss l,

    speedup(l) = (C_scratch(l) + overhead_scratch) / (C_method(l) + overhead_method)
    saving(l)  = 1 - 1 / speedup(l)

in three accountings of the overhead: ``target`` counts none, ``source`` the FLOPs of the source up
to the checkpoint used, ``full`` also every tuning trial, for the baseline too. A speed-up of 1.55
is a saving of 35 %; the field mixes the two, so both are always given.

There is no single number. The same growth run can be 14 times faster at an early loss and never
reach the final one, so a speed-up belongs to a loss, and a loss that an arm never reached is a
result with a bound, not a gap to extrapolate over. Compare at ends of like schedules: under a
cool-down most of the loss falls late, so the baseline's own final loss is the headline.

Between measured points costs are linear in log FLOPs, and linear in FLOPs from step 0 to the first
point after it. A loss that the first point has already reached costs that point's FLOPs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mugrow.analysis.stats import NOTHING, Array, Interval, percentile_interval, resample_counts

Accounting = Literal["target", "source", "full"]
State = Literal["reached", "never_reached", "baseline_never_reached", "outside_range"]

ACCOUNTINGS: tuple[Accounting, ...] = ("target", "source", "full")
STATES: tuple[State, ...] = ("reached", "never_reached", "baseline_never_reached", "outside_range")
GRID_POINTS = 30
BLOCK = 32  # resamples computed at once: their curves stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Curve:
    """Loss (..., points) against FLOPs (points,), strictly ascending, at least one above 0."""

    flops: Array
    loss: Array

    @property
    def first(self) -> int:
        """Index of the first point after training began."""
        return int(np.searchsorted(self.flops, 0.0, side="right"))


def curve(flops: npt.ArrayLike, loss: npt.ArrayLike) -> Curve | None:
    """A curve from logged points in any order, or None where no point is usable.

    Points without a finite loss are left out; of points logged twice the later one counts, which
    is what a run resumed from a checkpoint leaves.
    """
    x, y = np.asarray(flops, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    usable = np.isfinite(x) & np.isfinite(y) & (x >= 0)
    x, y = x[usable][::-1], y[usable][::-1]
    x, latest = np.unique(x, return_index=True)
    return Curve(x, y[latest]) if len(x) and x[-1] > 0 else None


def envelope(measured: Curve) -> Curve:
    """The lowest loss up to each point: never increasing."""
    return Curve(measured.flops, np.minimum.accumulate(measured.loss, axis=-1))


def _to_axis(flops: Array, first: float) -> Array:
    """Interpolation axis: log FLOPs above ``first``, continued linearly down to 0 FLOPs."""
    return np.where(flops < first, flops / first - 1, np.log(np.maximum(flops, first) / first))


def _from_axis(place: Array, first: float) -> Array:
    return np.where(place < 0, (place + 1) * first, first * np.exp(np.maximum(place, 0)))


def aligned(curves: Sequence[Curve]) -> Curve:
    """Losses (seeds, points) at every FLOPs that some seed logged and all seeds cover."""
    start = max(one.flops[0] for one in curves)
    end = min(one.flops[-1] for one in curves)
    flops = np.unique(np.concatenate([one.flops for one in curves]))
    flops = flops[(flops >= start) & (flops <= end)]
    losses = []
    for one in curves:
        first = one.flops[one.first]
        losses.append(np.interp(_to_axis(flops, first), _to_axis(one.flops, first), one.loss))
    return Curve(flops, np.array(losses))


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over seeds at every FLOPs that some seed logged and all seeds cover."""
    return _mean(aligned(curves), np.ones(len(curves)))


def _mean(seeds: Curve, counts: Array) -> Curve:
    """The mean with seeds drawn ``counts`` (..., seeds) times."""
    return Curve(seeds.flops, counts @ seeds.loss / len(seeds.loss))


def cost(measured: Curve, losses: Array) -> Array:
    """FLOPs (..., losses) at which the envelope first reaches each loss; nan where it never is."""
    lowest = envelope(measured).loss
    right = _first_reached(lowest, losses)
    reached = right < lowest.shape[-1]
    right = np.minimum(right, lowest.shape[-1] - 1)
    left = np.maximum(right - 1, 0)
    above, below = (np.take_along_axis(lowest, index, axis=-1) for index in (left, right))
    drop = above - below
    part = np.ones_like(losses)
    np.divide(above - losses, drop, out=part, where=reached & (drop > 0))
    first = measured.flops[measured.first]
    axis = _to_axis(measured.flops, first)
    between = _from_axis(axis[left] + part * (axis[right] - axis[left]), first)
    return np.where(reached, np.where(part < 1, between, measured.flops[right]), np.nan)


def _first_reached(lowest: Array, losses: Array) -> npt.NDArray[np.int64]:
    """Index of the first point at or below each loss; the number of points where none is."""
    rising = -lowest.reshape(-1, lowest.shape[-1])
    wanted = -losses.reshape(len(rising), -1)
    found = [row.searchsorted(want) for row, want in zip(rising, wanted, strict=True)]
    return np.array(found, dtype=np.int64).reshape(losses.shape)


@dataclass(frozen=True, eq=False)
class Arm:
    """One method at one target shape: a curve per seed, and the FLOPs spent before its step 0."""

    curves: Mapping[int, Curve]
    source_flops: float = 0.0
    tuning_flops: float = 0.0

    def overhead(self, accounting: Accounting) -> float:
        source = 0.0 if accounting == "target" else self.source_flops
        return source + (self.tuning_flops if accounting == "full" else 0.0)


@dataclass(frozen=True)
class Saving:
    """A comparison at one loss in one accounting.

    ``reached``: ``speedup`` holds. ``never_reached``: the method did not get there, and its
    speed-up is below ``bound``. ``baseline_never_reached``: only the method did, and its speed-up
    is above ``bound``. ``outside_range``: neither arm reached the loss, both had it before their
    first step was logged, or one had it for nothing; no ratio exists.

    An end of ``speedup`` is infinite where resamples are censored so far that it is open;
    ``resamples_reached`` of ``resamples`` were not censored.
    """

    at_loss: float
    accounting: Accounting
    state: State
    speedup: Interval | None
    bound: float | None
    resamples_reached: int
    resamples: int

    @property
    def saving(self) -> Interval | None:
        """1 - 1/speedup, which is increasing, so the ends map to the ends."""
        s = self.speedup
        return s and Interval(_saving(s.value), _saving(s.lo), _saving(s.hi), s.n)


def _saving(speedup: float) -> float:
    """An open end stays open: below, a saving has no limit; above, it is less than 1."""
    return 1 - 1 / speedup if math.isfinite(speedup) else speedup


@dataclass(frozen=True)
class SavingsCurve:
    """s(loss) of one method in one accounting, as columns of equal length.

    ``loss`` in the curves' unit; ``speedup``, ``lo`` and ``hi`` are nan where ``state`` is not
    ``reached``, and ``bound`` is None where there is none (see ``Saving``).
    """

    label: str
    accounting: Accounting
    loss: tuple[float, ...]
    speedup: tuple[float, ...]
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    bound: tuple[float | None, ...]
    state: tuple[State, ...]


def as_columns(label: str, accounting: Accounting, savings: Sequence[Saving]) -> SavingsCurve:
    """Those of ``savings`` in one accounting, as a curve."""
    chosen = [saving for saving in savings if saving.accounting == accounting]
    speedups = [saving.speedup or NOTHING for saving in chosen]
    return SavingsCurve(
        label=label,
        accounting=accounting,
        loss=tuple(saving.at_loss for saving in chosen),
        speedup=tuple(speedup.value for speedup in speedups),
        lo=tuple(speedup.lo for speedup in speedups),
        hi=tuple(speedup.hi for speedup in speedups),
        bound=tuple(saving.bound for saving in chosen),
        state=tuple(saving.state for saving in chosen),
    )


LossRule = Callable[[Curve, Curve], Array]


def compare(baseline: Arm, method: Arm, at: LossRule, *, paired: bool = True) -> list[Saving]:
    """Savings at the losses of a rule, all accountings, over the seeds that both arms finished.

    The rule maps mean curves to losses (..., losses) and is applied anew in each resample: "the
    baseline's final loss" is then that of the seeds drawn, which always reach it. Arms that are
    not ``paired`` have seeds of their own, all used and resampled apart.
    """
    chosen = _chosen(baseline, method, paired)
    if not all(chosen):
        return []
    arms = [aligned(curves) for curves in chosen]
    sizes = [len(curves) for curves in chosen]
    counts, inverse = resample_counts(sizes[0]) if paired else resample_counts(*sizes)
    ones = [np.ones(size) for size in sizes]
    whole = _measure(_mean(arms[0], ones[0]), _mean(arms[1], ones[1]), at)
    blocks = [
        _measure(_mean(arms[0], counts[0][rows]), _mean(arms[1], counts[-1][rows]), at)
        for start in range(0, len(counts[0]), BLOCK)
        for rows in [slice(start, start + BLOCK)]
    ]
    draws = np.concatenate(blocks, axis=1)[:, inverse]
    return [
        saving
        for accounting in ACCOUNTINGS
        for saving in _account(whole, draws, baseline, method, accounting, min(sizes))
    ]


def common_seeds(baseline: Arm, method: Arm) -> list[int]:
    return sorted(set(baseline.curves) & set(method.curves))


def _chosen(baseline: Arm, method: Arm, paired: bool) -> tuple[list[Curve], list[Curve]]:
    """The curves to compare: of the seeds in common, or all."""
    if not paired:
        return list(baseline.curves.values()), list(method.curves.values())
    seeds = common_seeds(baseline, method)
    return [baseline.curves[s] for s in seeds], [method.curves[s] for s in seeds]


def _measure(baseline: Curve, method: Curve, at: LossRule) -> Array:
    """Per loss: the loss, is it above both starts, the costs of both arms, the ends of both.

    Shape (6, ..., losses). A start is the first loss logged after step 0.
    """
    losses = at(baseline, method)
    starts = [one.loss[..., one.first, None] for one in (baseline, method)]
    above = (losses > starts[0]) & (losses > starts[1])
    ends = [np.full_like(losses, one.flops[-1]) for one in (baseline, method)]
    return np.stack([losses, above, cost(baseline, losses), cost(method, losses), *ends])


def _account(
    whole: Array, draws: Array, baseline: Arm, method: Arm, accounting: Accounting, n: int
) -> list[Saving]:
    overheads = baseline.overhead(accounting), method.overhead(accounting)
    state, ratio = _ratio(whole, *overheads)
    states, ratios = _ratio(draws, *overheads)
    # a censored resample is somewhere beyond its bound, so it may be anywhere on that side
    open_ends = np.select(
        [states == 0, states == 1, states == 2], [ratios, -np.inf, np.inf], np.nan
    )
    return [
        Saving(
            at_loss=float(whole[0, column]),
            accounting=accounting,
            state=(name := STATES[state[column]]),
            speedup=percentile_interval(float(ratio[column]), open_ends[:, column], n)
            if name == "reached"
            else None,
            bound=float(ratio[column]) if name.endswith("never_reached") else None,
            resamples_reached=int((states[:, column] == 0).sum()),
            resamples=draws.shape[1],
        )
        for column in range(whole.shape[1])
    ]


def _ratio(
    measured: Array, overhead_baseline: float, overhead_method: float
) -> tuple[npt.NDArray[np.int64], Array]:
    """Index into ``STATES``, and the ratio: the speed-up, or its bound where one arm is censored.

    A censored arm's cost is above what its whole curve cost, so that takes its place.
    """
    _, above, baseline, method, end_baseline, end_method = measured
    no_baseline, no_method = np.isnan(baseline), np.isnan(method)
    charged_baseline = np.where(no_baseline, end_baseline, baseline) + overhead_baseline
    charged_method = np.where(no_method, end_method, method) + overhead_method
    outside = (
        (above > 0) | (no_baseline & no_method) | (charged_baseline == 0) | (charged_method == 0)
    )
    state = np.select([outside, no_method, no_baseline], [3, 1, 2], 0)
    ratio = np.divide(
        charged_baseline, charged_method, out=np.full_like(charged_method, np.nan), where=~outside
    )
    return state, ratio


def fixed(losses: npt.ArrayLike) -> LossRule:
    """The rule of given losses, the same in every resample."""
    values = np.atleast_1d(np.asarray(losses, dtype=np.float64))
    return lambda baseline, method: np.broadcast_to(
        values, (*baseline.loss.shape[:-1], len(values))
    )


def baseline_final(baseline: Curve, method: Curve) -> Array:
    return baseline.loss[..., -1:]


def _finals(baseline: Curve, method: Curve) -> Array:
    return np.concatenate([baseline.loss[..., -1:], method.loss[..., -1:]], axis=-1)


def headline_and_curve(
    baseline: Arm, method: Arm, *, paired: bool = True
) -> tuple[list[tuple[str, Saving]], list[Saving]]:
    """The savings that ``headline`` names and those of ``savings_curve``, of the same resamples."""
    chosen = _chosen(baseline, method, paired)
    if not all(chosen):
        return [], []
    grid = _grid(*(mean_curve(curves) for curves in chosen))

    def rule(baseline: Curve, method: Curve) -> Array:
        at_grid = np.broadcast_to(grid, (*baseline.loss.shape[:-1], len(grid)))
        return np.concatenate([_finals(baseline, method), at_grid], axis=-1)

    found = compare(baseline, method, rule, paired=paired)
    columns = 2 + len(grid)
    at_scratch, at_method = found[0::columns], found[1::columns]
    named = [("scratch final", saving) for saving in at_scratch]
    if at_method[0].at_loss > at_scratch[0].at_loss:
        named += [("method final", saving) for saving in at_method]
    return named, [saving for index, saving in enumerate(found) if index % columns > 1]


def _grid(baseline: Curve, method: Curve) -> Array:
    """Losses from the lower of the two first ones down to the lowest; empty if that is no range."""
    top = min(one.loss[one.first] for one in (baseline, method))
    bottom = min(one.loss.min() for one in (baseline, method))
    return np.linspace(top, bottom, GRID_POINTS) if bottom < top else np.empty(0)


def headline(baseline: Arm, method: Arm) -> list[tuple[str, Saving]]:
    """Savings at the end of a schedule, each named by whose end: ``scratch final`` always.

    ``method final`` is added where the method ends above scratch: it never reached the first.
    """
    return headline_and_curve(baseline, method)[0]


def savings_curve(baseline: Arm, method: Arm, *, paired: bool = True) -> list[Saving]:
    """Savings over a grid of losses, from the highest down, all accountings.

    The grid runs from the lower of the two first logged losses, above which the log is too coarse
    for a ratio, to the lowest loss that either arm reached. Empty where that is no range.
    """
    return headline_and_curve(baseline, method, paired=paired)[1]
