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

The interval inverts the paired t test (``inversion``). One arm is held at the compute C at which
its mean has the loss; what its seeds have there, they are asked to have of the other arm. All of
the other's computes at which the test does not reject are accepted, and their factors to C are the
interval. Held is the arm that is nearer to its end, so at scratch's final loss always scratch: the
other then has room to be later. Where the other's curve ends before the test can reject, that end
is open. Seeds that never got there take part with the losses they have.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mugrow.analysis.measure import inversion
from mugrow.analysis.stats import NOTHING, Array, Interval

Accounting = Literal["target", "source", "full"]
State = Literal["reached", "never_reached", "baseline_never_reached", "outside_range"]

ACCOUNTINGS: tuple[Accounting, ...] = ("target", "source", "full")
STATES: tuple[State, ...] = ("reached", "never_reached", "baseline_never_reached", "outside_range")
GRID_POINTS = 30
ROUNDING = 1e-9  # nats


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
    if all(np.array_equal(one.flops, curves[0].flops) for one in curves[1:]):
        return Curve(curves[0].flops, np.array([one.loss for one in curves]))
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
    return _mean(aligned(curves))


def _mean(seeds: Curve) -> Curve:
    return Curve(seeds.flops, seeds.loss.mean(axis=0))


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

    An end of ``speedup`` is infinite where it is open. ``limit`` is how sure a bound is: with the
    intervals' level the speed-up is below it, or above; it is the bound itself where no chance of
    the seeds explains that the arm never got there, and None from one seed. In ``seeds_reached`` of
    ``seeds`` the loss was reached by both arms.
    """

    at_loss: float
    accounting: Accounting
    state: State
    speedup: Interval | None
    bound: float | None
    limit: float | None
    seeds_reached: int
    seeds: int

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


def compare(
    baseline: Arm, method: Arm, at: LossRule, *, paired: bool = True, level: float = 0.95
) -> list[Saving]:
    """Savings at the losses of a rule, all accountings, over the seeds that both arms finished.

    The rule maps both mean curves to losses (losses,). Arms that are not ``paired`` have seeds of
    their own, all used, and are compared by Welch's test.
    """
    chosen = _chosen(baseline, method, paired)
    if not all(chosen):
        return []
    arms = aligned(chosen[0]), aligned(chosen[1])
    measured = _measure(*arms, at, paired, level)
    seeds = min(map(len, chosen))
    return [
        _counted(one, baseline, method, accounting, seeds)
        for accounting in ACCOUNTINGS
        for one in measured
    ]


def common_seeds(baseline: Arm, method: Arm) -> list[int]:
    return sorted(set(baseline.curves) & set(method.curves))


def _chosen(baseline: Arm, method: Arm, paired: bool) -> tuple[list[Curve], list[Curve]]:
    """The curves to compare: of the seeds in common, or all."""
    if not paired:
        return list(baseline.curves.values()), list(method.curves.values())
    seeds = common_seeds(baseline, method)
    return [baseline.curves[s] for s in seeds], [method.curves[s] for s in seeds]


@dataclass(frozen=True)
class _Measured:
    """A loss, and the FLOPs (estimate, lowest, highest) at which each arm has it; nan where it
    never has, and without an interval. ``ends`` are what the whole curves cost."""

    loss: float
    above: bool  # the first losses logged after step 0 of both arms
    baseline: tuple[float, float, float]
    method: tuple[float, float, float]
    ends: tuple[float, float]
    seeds_reached: int


def _measure(
    baseline: Curve, method: Curve, at: LossRule, paired: bool, level: float
) -> list[_Measured]:
    """At each loss of the rule, of curves whose losses are (seeds, points)."""
    means = _mean(baseline), _mean(method)
    losses = at(*means)
    above = np.all([losses > mean.loss[mean.first] for mean in means], axis=0)
    costs = np.array([cost(mean, losses) for mean in means])
    ends = float(baseline.flops[-1]), float(method.flops[-1])
    shares = costs / np.array(ends)[:, None]
    held = np.where(np.isnan(costs[0]) | (shares[1] > shares[0]), 1, 0)
    arms = (baseline, method), (method, baseline)
    later = {
        side: _accepted(*arms[side], losses, costs[side], paired, level)
        for side in set(held.tolist())
    }
    found = []
    for place, loss in enumerate(losses.tolist()):
        lo, hi, reached = (float(column[place]) for column in later[held[place]])
        own, other = (float(costs[arm, place]) for arm in (held[place], 1 - held[place]))
        both = [(own, own, own), (other, lo, hi)]
        baseline_cost, method_cost = both[:: -1 if held[place] else 1]
        found.append(
            _Measured(loss, bool(above[place]), baseline_cost, method_cost, ends, int(reached))
        )
    return found


def _accepted(
    held: Curve, other: Curve, losses: Array, costs: Array, pair: bool, level: float
) -> tuple[Array, Array, Array]:
    """By loss: the FLOPs, lowest and highest, at which the other arm may have what the one held at
    ``costs`` (losses,) has there, and how many seeds reached it; nan where there is no test."""
    first = held.flops[held.first]
    axis = _to_axis(held.flops, first)
    place = np.where(np.isnan(costs), axis[-1], _to_axis(np.nan_to_num(costs), first))
    # (losses, seeds); the mean is at the loss, if the first point logged lies below it too
    wanted = np.array([np.interp(place, axis, row) for row in held.loss]).T
    wanted += (losses - wanted.mean(axis=1))[:, None]
    to_seed = wanted[:, :, None] if pair else losses[:, None, None]
    reached = (other.loss <= to_seed + ROUNDING).any(axis=2).sum(axis=1)
    if min(len(held.loss), len(other.loss)) < 2:
        nowhere = np.full(losses.shape, np.nan)
        return nowhere, nowhere, reached
    mean = _mean(other)
    falling = other.loss - (mean.loss - envelope(mean).loss)
    falls = (
        inversion.paired(falling - wanted[:, :, None])
        if pair
        else inversion.unpaired(falling, wanted)
    )
    lo, hi = inversion.accepted(falls, level).hull()
    first = other.flops[other.first]
    points, axis = np.arange(len(other.flops)), _to_axis(other.flops, first)
    flops = [_from_axis(np.interp(end, points, axis), first) for end in (lo, hi)]
    return np.where(np.isinf(lo), 0.0, flops[0]), np.where(np.isinf(hi), np.inf, flops[1]), reached


def _counted(
    at: _Measured, baseline: Arm, method: Arm, accounting: Accounting, seeds: int
) -> Saving:
    """A censored arm's cost is above what its whole curve cost, so that takes its place."""
    overheads = baseline.overhead(accounting), method.overhead(accounting)
    no_baseline, no_method = (math.isnan(arm[0]) for arm in (at.baseline, at.method))
    charged = [
        (end if math.isnan(arm[0]) else arm[0]) + overhead
        for arm, end, overhead in zip((at.baseline, at.method), at.ends, overheads, strict=True)
    ]
    state: State = "reached"
    if at.above or (no_baseline and no_method) or 0 in charged:
        state = "outside_range"
    elif no_baseline or no_method:
        state = "never_reached" if no_method else "baseline_never_reached"
    ratio = charged[0] / charged[1] if charged[1] else math.nan
    low = _ratio(at.baseline[1] + overheads[0], at.method[2] + overheads[1])
    high = _ratio(at.baseline[2] + overheads[0], at.method[1] + overheads[1])
    limit = {"never_reached": high, "baseline_never_reached": low}.get(state, math.nan)
    return Saving(
        at_loss=at.loss,
        accounting=accounting,
        state=state,
        # numpy's minimum keeps nan: no interval
        speedup=Interval(
            ratio, float(np.minimum(low, ratio)), float(np.maximum(high, ratio)), seeds
        )
        if state == "reached"
        else None,
        bound=ratio if state.endswith("never_reached") else None,
        limit=None if math.isnan(limit) else limit,
        seeds_reached=0 if state == "outside_range" else at.seeds_reached,
        seeds=seeds,
    )


def _ratio(baseline: float, method: float) -> float:
    """Of the FLOPs of both arms; minus infinity where the method may never get there, or the
    baseline may have been there at no cost."""
    if math.isinf(method) or baseline == 0:
        return -math.inf
    return baseline / method if method else math.inf


def fixed(losses: npt.ArrayLike) -> LossRule:
    """The rule of given losses."""
    values = np.atleast_1d(np.asarray(losses, dtype=np.float64))
    return lambda baseline, method: values


def baseline_final(baseline: Curve, method: Curve) -> Array:
    return baseline.loss[-1:]


def headline_and_curve(
    baseline: Arm, method: Arm, *, paired: bool = True
) -> tuple[list[tuple[str, Saving]], list[Saving]]:
    """The savings that ``headline`` names and those of ``savings_curve``."""
    chosen = _chosen(baseline, method, paired)
    if not all(chosen):
        return [], []

    def rule(baseline: Curve, method: Curve) -> Array:
        ends = [baseline.loss[-1], method.loss[-1]]
        return np.concatenate([ends, _grid(baseline, method)])

    found = compare(baseline, method, rule, paired=paired)
    columns = len(found) // len(ACCOUNTINGS)
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
