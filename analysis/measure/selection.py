"""What is chosen from a few places tried: the error that no number of seeds shows.

The best size of a budget, the growth point that saves most, the smallest share that does: each is
one of a grid that the plan laid out. Where every seed left out makes the same choice, the jackknife
sees no error at all, and an interval of no width decides any claim. In a simulated plan of four
sizes and four horizons, three seeds gave the exponent of the best size against compute an interval
of no width in 5 to 100 % of studies, and it covered the truth in none to half of them: the exponent
was 0.32 to 0.38 whatever the truth was, 0.43 to 0.67, for the plan's corners make it. So to the
jackknife's interval is added, for

    a number read at the best place   how far it moves over half a step beside the best
    a loss above the lowest tried     the largest interval of the differences with each one tried
    the first place that does         the places from the first that may to the first that must

and there is none where the best place is at the edge of those tried, since the best may lie beyond.
More seeds do not mend that; more places do.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mugrow.analysis.measure.quantity import Quantity, Sample, combined, lowest, percent
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval, widened_by


def between(at: Array, loss: Array) -> float:
    """Where the parabola through the lowest loss and its two neighbours is lowest, both (places,),
    ascending; nan where it has not both. The place tried itself would be the same for every seed
    left out; a parabola through more places is off where the bowl is lopsided."""
    best = int(np.nanargmin(loss))
    if not 0 < best < len(at) - 1:
        return math.nan
    near = slice(best - 1, best + 2)
    square, slope, _ = np.polyfit(at[near] - at[best], loss[near], 2)
    return float(at[best] - slope / (2 * square))


class Selected(Quantity):
    """A quantity with an error of its grid: it stands alone, compared with numbers, since in a
    difference or ratio that error would be lost."""

    alone: ClassVar[bool] = True

    @abstractmethod
    def grid(self, store: Store, level: float) -> float:
        """How far the number may be off on either side with any number of seeds, in its unit;
        infinite where nothing bounds it."""

    def interval(self, store: Store, level: float) -> Interval:
        by = self.grid(store, level)
        found = super().interval(store, level)
        return widened_by(found, by if math.isfinite(by) else math.nan)


@dataclass(frozen=True)
class OnGrid(Selected):
    """``inner``, and the ``reach`` of the places tried for a study and a level."""

    inner: Quantity
    reach: Callable[[Store, float], float]

    def of(self, store: Store) -> Sample:
        return self.inner.of(store)

    def grid(self, store: Store, level: float) -> float:
        return self.reach(store, level)


@dataclass(frozen=True)
class AtBest(Selected):
    """``values`` where ``losses`` are lowest, both by the places tried in their order."""

    losses: tuple[Quantity, ...]
    values: tuple[Quantity, ...]

    def of(self, store: Store) -> Sample:
        def at_best(values: Sequence[float]) -> float:
            losses, read = np.split(np.array(values), 2)
            return float(read[np.argmin(losses)])

        return combined(at_best, *self.losses, *self.values).of(store)

    def grid(self, store: Store, level: float) -> float:
        """Half of the change to the farther neighbour; of no use where a draw is at the edge."""
        samples = [[one.of(store) for one in part] for part in (self.losses, self.values)]
        seeds = sorted(self.of(store).seeds or ())
        draws = [seeds, *([one for one in seeds if one != out] for out in seeds if seeds[1:])]
        losses, values = (
            np.array([[one.value(draw) for one in part] for draw in draws]) for part in samples
        )
        best = losses.argmin(axis=1)
        if not ((best > 0) & (best < len(self.losses) - 1)).all():
            return math.inf
        beside = values[0, [best[0] - 1, best[0] + 1]] - values[0, best[0]]
        return float(np.abs(beside).max()) / 2


@dataclass(frozen=True)
class AboveLowest(Quantity):
    """``whole``, a regret: how far what was chosen lies above the lowest of those tried, or the
    mean of several such. ``over`` has for each of these the same number over each one tried."""

    alone: ClassVar[bool] = True
    whole: Quantity
    over: tuple[tuple[Quantity, ...], ...]

    def of(self, store: Store) -> Sample:
        return self.whole.of(store)

    def interval(self, store: Store, level: float) -> Interval:
        """The jackknife's and that of the largest ``over``: the one over the truly lowest is among
        them, so the largest upper end covers; the lower ends share the error (Bonferroni). Never
        below 0, the least that a regret can be."""
        found = self.whole.interval(store, level)
        if math.isnan(found.lo):
            return found
        highs = [max(one.interval(store, level).hi for one in group) for group in self.over]
        lows = [
            max(one.interval(store, 1 - (1 - level) / len(group)).lo for one in group)
            for group in self.over
        ]
        low = min(found.lo, float(np.mean(np.maximum(lows, 0.0))))
        return Interval(found.value, max(0.0, low), max(found.hi, float(np.mean(highs))), found.n)


def above_lowest(chosen: Quantity, tried: Sequence[Quantity]) -> AboveLowest:
    """``chosen`` over the lowest of ``tried``, in percent; itself is one of them."""
    over = tuple(percent(chosen, one) for one in tried)
    return AboveLowest(percent(chosen, lowest(*tried)), (over,))


@dataclass(frozen=True)
class FirstBelow(Quantity):
    """The smallest of ``places`` whose quantity is not above ``bound``; ``otherwise`` where none
    is."""

    alone: ClassVar[bool] = True
    places: Mapping[float, Quantity]
    bound: Quantity
    otherwise: float = math.inf
    least: float = 0.0  # nothing was tried from here to the first place

    def of(self, store: Store) -> Sample:
        def first(values: Sequence[float]) -> float:
            bound, *losses = values
            below = (at for at, loss in zip(self.places, losses, strict=True) if loss <= bound)
            return next(below, self.otherwise)

        return combined(first, self.bound, *self.places.values()).of(store)

    def interval(self, store: Store, level: float) -> Interval:
        """Up to the first place that is below by its interval, from the last before the first that
        may be: the intervals share the error (Bonferroni)."""
        sample = self.of(store)
        seeds = sorted(sample.seeds or ())
        shared = 1 - (1 - level) / len(self.places)
        gaps = {at: (one - self.bound).interval(store, shared) for at, one in self.places.items()}
        if len(seeds) < 2 or any(math.isnan(gap.lo) for gap in gaps.values()):
            return Interval(sample.value(seeds), math.nan, math.nan, len(seeds))
        sure = [at for at, gap in gaps.items() if gap.hi <= 0]
        maybe = [at for at, gap in gaps.items() if gap.lo <= 0]
        tried = [self.least, *self.places]
        below = [at for at in tried if at < (maybe[0] if maybe else math.inf)]
        high = sure[0] if sure else self.otherwise
        return Interval(sample.value(seeds), max(below), high, len(seeds))
