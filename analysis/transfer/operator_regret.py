"""What it costs to keep an operator's setting that was best at the smallest growth.

    regret_g = L_g(v*) - min_v L_g(v),    v* = argmin_v L_s(v) at the smallest growth s

in nats and in percent of the lowest loss, from losses averaged over the seeds, which every value
has at every growth. Intervals are the jackknife's over seeds, as in ``metrics``, with v* and the
minimum found again in every draw. On planted parabolas of five values with noise, 18 kinds with
1500 draws each at two, three and five seeds, those meant to cover 95 % covered the regret in 89 to
100 %, and a regret above 1 % was called below it in at most 6 %.

The edge: a best value that is the lowest or highest tried may lie beyond. 0 is no edge, because
noises, shrink factors and counts end there.

A setting that hardly matters transfers perfectly. So the loss of every value stands beside the
regret, and the worst of them says how much there was to lose.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mugrow.analysis.stats import Interval, jackknife_interval
from mugrow.analysis.transfer.metrics import at_least_zero
from mugrow.analysis.transfer.operator_setting import Growth, SettingComparison, shapes
from mugrow.analysis.transfer.optimum import Array, Edge, Known

Losses = list[Array]  # the mean losses of each growth, shape (values,), over some of the seeds


@dataclass(frozen=True)
class TriedValue:
    """One value at one growth: its loss in nats per token, how far that is above the lowest in
    percent, and the losses of the seeds, shape (seeds,)."""

    value: float
    loss: Interval
    above_percent: Interval
    per_seed: Array
    status: str

    @property
    def known(self) -> bool:
        """Whether every seed finished."""
        return math.isfinite(self.loss.value)


@dataclass(frozen=True)
class KeptValue:
    """The smallest growth's best value, kept at a larger one. ``regret_at`` says how the loss is
    known: ``tested``, ``diverged``, ``unknown`` (not finished) or ``untested``."""

    value: float
    regret_nats: Interval
    regret_percent: Interval
    regret_at: Known


@dataclass(frozen=True)
class GrowthOptimum:
    """One growth, ``×2``, from ``w32-d2 to w64-d2``; ``kept`` is None at the smallest."""

    name: str
    factor: float
    shapes: str
    values: tuple[TriedValue, ...]
    best: float
    lowest_loss: Interval
    edge: Edge
    kept: KeptValue | None


@dataclass(frozen=True, eq=False)
class JackknifedComparison:
    """A comparison on all its seeds, and with each of them left out, in the order of the seeds."""

    comparison: SettingComparison
    whole: Losses
    left_out: list[Losses]

    def interval(self, statistic: Callable[[Losses], float]) -> Interval:
        rest = np.array([statistic(draw) for draw in self.left_out])
        return jackknife_interval(statistic(self.whole), rest)


def rungs(comparison: SettingComparison) -> list[GrowthOptimum]:
    """Of every growth, by ascending factor."""
    found = _measured(comparison)
    return [_rung(found, place) for place in range(len(comparison.growths))]


def _measured(comparison: SettingComparison) -> JackknifedComparison:
    losses = [growth.loss for growth in comparison.growths]
    seeds = range(len(comparison.seeds))
    rest = [[row for row in seeds if row != out] for out in seeds] if len(seeds) > 1 else []
    whole, *left_out = (
        [loss[rows].mean(axis=0) for loss in losses] for rows in (list(seeds), *rest)
    )
    return JackknifedComparison(comparison, whole, left_out)


def _rung(found: JackknifedComparison, place: int) -> GrowthOptimum:
    growth = found.comparison.growths[place]
    best = best_place(found.whole[place])
    return GrowthOptimum(
        name=found.comparison.names[place],
        factor=growth.runs[0].factor,
        shapes=shapes(growth),
        values=tuple(_value(found, place, column) for column in range(len(growth.values))),
        best=float(growth.values[best]),
        lowest_loss=found.interval(lambda draw: float(draw[place][best_place(draw[place])])),
        edge=edge(growth.values, best),
        kept=_kept(found, place) if place else None,
    )


def best_place(loss: Array) -> int:
    """Where a loss is lowest; nan and inf are no candidates, and of equals the first is taken."""
    return int(np.argmin(np.where(np.isfinite(loss), loss, np.inf)))


def edge(values: Array, best: int) -> Edge:
    """The side on which nothing was tried beyond the best of ascending values; 0 is no edge."""
    if best == len(values) - 1:
        return "high"
    return "low" if best == 0 and values[0] != 0 else None


def _value(found: JackknifedComparison, place: int, column: int) -> TriedValue:
    run = found.comparison.growths[place].runs[column]
    return TriedValue(
        value=run.value,
        loss=found.interval(lambda draw: float(draw[place][column])),
        above_percent=at_least_zero(found.interval(lambda draw: percent(draw[place], column))),
        per_seed=run.sweep.loss[:, run.place],
        status=run.status,
    )


def _kept(found: JackknifedComparison, place: int) -> KeptValue:
    smallest, growth = found.comparison.growths[0], found.comparison.growths[place]

    def column(draw: Losses) -> int | None:
        return column_of(growth, float(smallest.values[best_place(draw[0])]))

    here = column(found.whole)
    return KeptValue(
        value=float(smallest.values[best_place(found.whole[0])]),
        regret_nats=at_least_zero(found.interval(lambda draw: nats(draw[place], column(draw)))),
        regret_percent=at_least_zero(
            found.interval(lambda draw: percent(draw[place], column(draw)))
        ),
        regret_at="untested" if here is None else _known(float(found.whole[place][here])),
    )


def column_of(growth: Growth, value: float) -> int | None:
    """The place of a value among those tried at a growth."""
    found = np.flatnonzero(growth.values == value)
    return int(found[0]) if len(found) else None


def nats(loss: Array, column: int | None) -> float:
    """A value's loss above the lowest: nan where it was not tried or did not finish."""
    return math.nan if column is None else float(loss[column] - loss[best_place(loss)])


def percent(loss: Array, column: int | None) -> float:
    """``nats`` in percent of the lowest loss."""
    return 100 * nats(loss, column) / float(loss[best_place(loss)])


def _known(loss: float) -> Known:
    if math.isnan(loss):
        return "unknown"
    return "diverged" if math.isinf(loss) else "tested"
