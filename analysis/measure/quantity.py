"""What a claim measures, written as it is said: ``final(grown) - final(scratch) < 0``.

A quantity is a number of a study's tables for any set of seeds: the mean final loss of an arm, the
lowest of several, their difference, a slope over a factor. Its interval is found in one place. All
arms of a quantity are taken at the seeds that all of them have, and each seed is left out in turn
(the jackknife, ``mugrow.analysis.stats``); for a mean, and so for a difference of means, that is
Student's interval of the paired differences. A ratio of what is positive is jackknifed in its
logarithm, whose ends do not depend on which of the two stands below.

Compared with a number a quantity is a ``Condition``, which a claim holds under.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from mugrow.analysis.measure import measured
from mugrow.analysis.measure.claims import Condition
from mugrow.analysis.measure.savings import ACCOUNTINGS, Accounting
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import LEVEL, Interval, widened
from mugrow.bench.arm import factors_from_json
from mugrow.bench.record import CURVE_SCHEMA, RUN_SCHEMA
from mugrow.bench.spec import Scalar, UserError, unknown

BySeed = Mapping[int, float]
OfSeeds = Callable[[Sequence[int]], float]
Fold = Literal["first", "last", "highest", "lowest", "mean"]
WHOLE = (
    "speedup(...), function(...) and what is chosen from places tried have intervals of their own: "
    "compare them with numbers alone"
)


@dataclass(frozen=True)
class Sample:
    """A quantity of one study: the seeds it has, and its value for any of them. A constant has
    ``None``: no seed changes it. ``positive``: so is what was measured, for every seed."""

    seeds: frozenset[int] | None
    value: OfSeeds
    positive: bool = False


class Quantity(ABC):
    """A number of a study's tables, by seeds; called on them, the number with its interval.
    ``alone``: it is no part of another, in which its interval would be lost."""

    alone: ClassVar[bool] = False

    @abstractmethod
    def of(self, store: Store) -> Sample:
        """Its sample in a study. Raises ``UserError`` where an arm has no finished run."""

    def __call__(self, store: Store) -> Interval:
        return self.interval(store, LEVEL)

    def interval(self, store: Store, level: float) -> Interval:
        """The number with its interval at this level."""
        sample = self.of(store)
        if sample.seeds is None:
            value = sample.value(())
            return Interval(value, value, value, 0)
        return measured.over_seeds(sorted(sample.seeds), sample.value, level)

    def __add__(self, other: "Quantity | float") -> "Quantity":
        parts = self, quantity(other)
        return Combined(parts, lambda values: values[0] + values[1], keeps_positive=True)

    def __sub__(self, other: "Quantity | float") -> "Quantity":
        return Combined((self, quantity(other)), lambda values: values[0] - values[1])

    def __rsub__(self, other: float) -> "Quantity":
        return quantity(other) - self

    def __mul__(self, other: "Quantity | float") -> "Quantity":
        parts = self, quantity(other)
        return Combined(parts, lambda values: values[0] * values[1], keeps_positive=True)

    def __truediv__(self, other: "Quantity | float") -> "Quantity":
        return Ratio(self, quantity(other))

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other: float) -> "Quantity":
        return quantity(other) / self

    def __neg__(self) -> "Quantity":
        return Combined((self,), lambda values: -values[0])

    def __abs__(self) -> "Quantity":
        return Combined((self,), lambda values: abs(values[0]))

    def __lt__(self, high: float) -> Condition[Store]:
        return Condition(self, high=high)

    def __gt__(self, low: float) -> Condition[Store]:
        return Condition(self, low=low)

    def within(self, low: float, high: float) -> Condition[Store]:
        return Condition(self, low, high)

    def by_seed(self, store: Store) -> dict[int, float]:
        """Its value at each seed alone, as figures show it."""
        sample = self.of(store)
        return {seed: sample.value([seed]) for seed in sorted(sample.seeds or ())}


@dataclass(frozen=True)
class Combined(Quantity):
    """A function of the values of other quantities, all at the seeds that they have in common."""

    parts: tuple[Quantity, ...]
    function: Callable[[Sequence[float]], float]
    keeps_positive: bool = False  # of positive values, the function is positive

    def __post_init__(self) -> None:
        _check_parts(self.parts)

    def of(self, store: Store) -> Sample:
        samples = [part.of(store) for part in self.parts]
        known = [one.seeds for one in samples if one.seeds is not None]
        seeds = frozenset.intersection(*known) if known else None
        positive = self.keeps_positive and all(one.positive for one in samples)
        return Sample(
            seeds, lambda drawn: self.function([one.value(drawn) for one in samples]), positive
        )


@dataclass(frozen=True)
class Ratio(Quantity):
    """``offset`` + ``factor`` times one quantity over another: a ratio, or as many percent."""

    one: Quantity
    other: Quantity
    factor: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        _check_parts((self.one, self.other))

    def of(self, store: Store) -> Sample:
        ratio = Combined((self.one, self.other), _over, keeps_positive=True).of(store)
        return Sample(
            ratio.seeds,
            lambda drawn: self.offset + self.factor * ratio.value(drawn),
            ratio.positive and self.factor > 0 and self.offset >= 0,
        )

    def interval(self, store: Store, level: float) -> Interval:
        ratio = Combined((self.one, self.other), _over, keeps_positive=True).of(store)
        if ratio.seeds is None or not ratio.positive:
            return super().interval(store, level)
        found = measured.over_seeds(
            sorted(ratio.seeds), lambda drawn: math.log(ratio.value(drawn)), level
        )
        value, lo, hi = (
            self.offset + self.factor * math.exp(end) for end in (found.value, found.lo, found.hi)
        )
        return (
            Interval(value, lo, hi, found.n)
            if self.factor > 0
            else Interval(value, hi, lo, found.n)
        )

    def __add__(self, other: Quantity | float) -> Quantity:
        if isinstance(other, Quantity):
            return super().__add__(other)
        return replace(self, offset=self.offset + other)

    def __sub__(self, other: Quantity | float) -> Quantity:
        return super().__sub__(other) if isinstance(other, Quantity) else self + -other

    def __rsub__(self, other: float) -> Quantity:
        return -self + other

    def __mul__(self, other: Quantity | float) -> Quantity:
        if isinstance(other, Quantity):
            return super().__mul__(other)
        return replace(self, factor=self.factor * other, offset=self.offset * other)

    def __neg__(self) -> Quantity:
        return self * -1.0

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True)
class PerSeed(Quantity):
    """The mean of what ``read`` finds for each seed."""

    read: Callable[[Store], BySeed]

    def of(self, store: Store) -> Sample:
        table = self.read(store)
        return Sample(
            frozenset(table),
            lambda drawn: float(np.mean([table[seed] for seed in drawn])),
            all(value > 0 for value in table.values()),
        )


@dataclass(frozen=True)
class Each(Quantity):
    """The mean over seeds of what a quantity is for each alone."""

    inner: Quantity

    def __post_init__(self) -> None:
        _check_parts((self.inner,))

    def of(self, store: Store) -> Sample:
        inner = self.inner.of(store)
        return Sample(
            inner.seeds,
            lambda drawn: float(np.mean([inner.value([seed]) for seed in drawn])),
            inner.positive,
        )


@dataclass(frozen=True)
class Chosen(Quantity):
    """A quantity whose arms depend on the study."""

    choose: Callable[[Store], Quantity]

    def of(self, store: Store) -> Sample:
        return self.choose(store).of(store)

    def interval(self, store: Store, level: float) -> Interval:
        return self.choose(store).interval(store, level)


@dataclass(frozen=True)
class Function(Quantity):
    """What the language does not say: a function of the tables and a level that gives its own
    interval."""

    alone: ClassVar[bool] = True
    function: Callable[[Store, float], Interval]

    def of(self, store: Store) -> Sample:
        raise UserError(WHOLE)

    def interval(self, store: Store, level: float) -> Interval:
        return self.function(store, level)


def _check_parts(parts: Sequence[Quantity]) -> None:
    """Raise the ``UserError`` of a part whose interval would be lost."""
    if any(part.alone for part in parts):
        raise UserError(WHOLE)


@dataclass(frozen=True)
class Evaluated(Quantity):
    """The mean over the rows of ``evaluations.parquet`` of an arm, by seed."""

    arm: str
    quantity: str = ""  # all that begin so
    params: Mapping[str, Scalar | None] = field(default_factory=dict)

    def of(self, store: Store) -> Sample:
        rows = evaluations(store, self.arm, self.quantity, self.params)
        means = rows.groupby("seed")["value"].mean()
        return PerSeed(lambda _: dict(zip(means.index.astype(int), means, strict=True))).of(store)


def evaluations(
    store: Store, arm: str, quantity: str = "", params: Mapping[str, Scalar | None] | None = None
) -> pd.DataFrame:
    """The rows of an arm's evaluations whose quantity begins so, and whose parameters are among
    others these, ``None`` being a parameter not given; where several arms of runs have its name, of
    runs with its factors. Raises ``UserError`` where there is none."""
    rows = store.evaluations[store.evaluations["arm"] == arm]
    if of_arm := measured.run_ids(store.runs, arm):
        rows = rows[
            rows["run_ids"].map(lambda run_ids: not of_arm.isdisjoint(run_ids)).astype(bool)
        ]
    if quantity:
        rows = rows[rows["quantity"].str.startswith(quantity)]
    if params:
        said = map(factors_from_json, rows["params"])
        rows = rows[[all(one.get(n) == v for n, v in params.items()) for one in said]]
    if rows.empty:
        raise UserError(f"arm {arm!r} has no evaluation {quantity}".rstrip())
    return rows


def quantity(value: "Quantity | float") -> Quantity:
    """A number as a constant quantity."""
    if isinstance(value, Quantity):
        return value
    constant = float(value)
    return Combined((), lambda _: constant, keeps_positive=constant > 0)


def final(arm: str) -> Quantity:
    """The final validation loss of an arm, nats per token."""
    return PerSeed(lambda store: measured.finals(store.runs, arm))


def by_seed(values: BySeed) -> Quantity:
    """Numbers known for each seed."""
    return PerSeed(lambda _: values)


def recorded(arm: str, column: str) -> Quantity:
    """A column of ``runs.parquet``, as ``params``, of an arm's runs."""
    _check("column", column, RUN_SCHEMA.names)
    return PerSeed(
        lambda store: _with_seeds(measured.arm(store.runs, arm, ["seed", column]), column)
    )


def _with_seeds(rows: pd.DataFrame, column: str) -> BySeed:
    """A column by the seeds of its rows."""
    return dict(zip(rows["seed"].astype(int), rows[column].astype(float), strict=True))


def total_flops(arm: str) -> Quantity:
    """The FLOPs of an arm's runs, those of their sources added."""
    columns = ["seed", "flops", "flops_source"]
    return PerSeed(lambda store: _total_flops(measured.arm(store.runs, arm, columns)))


def _total_flops(runs: pd.DataFrame) -> BySeed:
    return _with_seeds(runs.assign(total=runs["flops"] + runs["flops_source"].fillna(0.0)), "total")


def combined(function: Callable[[Sequence[float]], float], *parts: Quantity) -> Quantity:
    """Any function of the values of several quantities, in their order."""
    return Combined(parts, function)


def evaluated(arm: str, quantity: str = "", **params: Scalar | None) -> Quantity:
    """What was evaluated of an arm: the mean of all numbers whose name begins with ``quantity``,
    where the evaluation had these parameters; ``None`` is one that it was not given."""
    return Evaluated(arm, quantity, params)


def logged(arm: str, column: str, fold: Fold) -> Quantity:
    """Of a column of an arm's curves, seed by seed: its first point (step 0), the last, or the
    highest, lowest or mean of the points after step 0."""
    _check("column", column, CURVE_SCHEMA.names)
    _check("fold", fold, get_args(Fold))
    return PerSeed(lambda store: _folded(store, arm, column, fold))


def _folded(store: Store, arm: str, column: str, fold: Fold) -> BySeed:
    runs = measured.arm(store.runs, arm, ["run_id", "seed"])
    rows = runs.merge(store.curves, on="run_id").dropna(subset=column).sort_values("step")
    rows = rows[rows["step"] == 0] if fold == "first" else rows[rows["step"] > 0]
    aggregation = {"highest": "max", "lowest": "min"}.get(fold, fold)
    values = rows.groupby("seed")[column].agg(aggregation)
    return dict(zip(values.index.astype(int), values.astype(float), strict=True))


def lowest(*parts: Quantity | str) -> Quantity:
    """The lowest of quantities; of an arm, its final loss."""
    return Combined(_finals(parts), lambda values: float(np.min(values)), keeps_positive=True)


def highest(*parts: Quantity | str) -> Quantity:
    return Combined(_finals(parts), lambda values: float(np.max(values)), keeps_positive=True)


def mean(*parts: Quantity | str) -> Quantity:
    return Combined(_finals(parts), lambda values: float(np.mean(values)), keeps_positive=True)


def _check(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise unknown(kind, name, known)


def _finals(parts: Sequence[Quantity | str]) -> tuple[Quantity, ...]:
    if not parts:
        raise UserError("of no quantity there is no lowest, highest or mean: name at least one")
    return tuple(final(part) if isinstance(part, str) else part for part in parts)


def each(inner: Quantity) -> Quantity:
    """The mean over seeds of what ``inner`` is for each seed alone: of ratios, not a ratio of
    means."""
    return Each(inner)


def percent(one: Quantity, other: Quantity) -> Quantity:
    """How far ``one`` lies above ``other``, in percent of it."""
    return 100 * (one / other - 1)


def log2(inner: Quantity) -> Quantity:
    return Combined((inner,), lambda values: math.log2(values[0]) if values[0] > 0 else math.nan)


def best_at(places: Mapping[float, Quantity]) -> Quantity:
    """The place, a value of a factor, at which a quantity is lowest."""
    if not places:
        raise UserError("the best place is one of several: give at least one, with its quantity")
    at = list(places)
    return Combined(tuple(places.values()), lambda values: at[int(np.argmin(values))])


def slope(places: Mapping[float, Quantity]) -> Quantity:
    """Least-squares slope of quantities over a factor, at two places or more. Raises ``UserError``
    for fewer."""
    if len(places) < 2 or not all(map(math.isfinite, places)):
        shown = ", ".join(f"{place:g}" for place in places) or "none"
        raise UserError(f"a slope takes two places or more, finite numbers, not {shown}")
    at = np.array(list(places), dtype=np.float64)
    return Combined(tuple(places.values()), lambda values: float(np.polyfit(at, values, 1)[0]))


def rank_correlation(one: Sequence[Quantity], other: Sequence[Quantity]) -> Quantity:
    """Spearman's, of as many quantities as others in the same order; nan where one is constant."""
    if len(one) != len(other) or len(one) < 2:
        raise UserError(f"a rank correlation takes pairs, two or more, not {len(one)}:{len(other)}")

    def spearman(values: Sequence[float]) -> float:
        first, second = np.split(np.array(values), 2)
        if not (np.ptp(first) and np.ptp(second)):
            return math.nan
        return float(spearmanr(first, second).statistic)

    return Combined((*one, *other), spearman)


def at_scale(choose: Callable[[str], Quantity]) -> Quantity:
    """A quantity whose arms differ from scale to scale: cpu, gpu or paper."""
    return Chosen(lambda store: choose(store.study["scale"]))


def chosen(choose: Callable[[Store], Quantity]) -> Quantity:
    """A quantity whose arms the study's own results choose, all seeds together: no interval counts
    that they might have been others."""
    return Chosen(choose)


def function(selected: Callable[[Store], Interval]) -> Quantity:
    """A function that finds an interval at 95 % itself, as a quantity to be compared alone."""
    return Function(lambda store, level: widened(selected(store), level))


def speedup(baseline: str, method: str, accounting: Accounting) -> Quantity:
    """FLOPs of ``baseline`` over those of ``method`` to the baseline's final loss; see
    ``measured.speedup``, whose interval inverts the paired t test."""
    _check("accounting", accounting, ACCOUNTINGS)
    return Function(
        lambda store, level: measured.speedup(store, baseline, method, accounting, level)
    )


def _over(values: Sequence[float]) -> float:
    return values[0] / values[1] if values[1] else math.nan


@dataclass(frozen=True)
class OfRows(Quantity):
    """A statistic of a table that has a column ``seed``."""

    read: Callable[[Store], pd.DataFrame]
    statistic: Callable[[pd.DataFrame], float]

    def of(self, store: Store) -> Sample:
        rows = self.read(store)
        return Sample(
            frozenset(map(int, rows["seed"])),
            lambda drawn: float(self.statistic(rows[rows["seed"].isin(list(drawn))])),
        )


def of_rows(
    read: Callable[[Store], pd.DataFrame], statistic: Callable[[pd.DataFrame], float]
) -> Quantity:
    """A statistic, such as a fit's, of the rows of any seeds in a table with a column ``seed``."""
    return OfRows(read, statistic)


def logged_at(arm: str, column: str, share: float) -> Quantity:
    """A column of an arm's curves, where this share of its steps is trained."""
    _check("column", column, CURVE_SCHEMA.names)
    return PerSeed(lambda store: _at_share(store, arm, column, share))


def _at_share(store: Store, arm: str, column: str, share: float) -> BySeed:
    rows = measured.arm(store.runs, arm, ["run_id", "seed"]).merge(store.curves, on="run_id")
    rows = rows[rows["step"] == round(share * rows["step"].max())]
    return _with_seeds(rows, column)


def rows(table: pd.DataFrame) -> dict[float, Quantity]:
    """The rows of a table, a column each seed, as quantities by the table's index."""
    seeds, values = table.columns.astype(int), table.to_numpy(dtype=np.float64)
    losses = (dict(zip(seeds, row, strict=True)) for row in values)
    return {float(at): by_seed(one) for at, one in zip(table.index, losses, strict=True)}
