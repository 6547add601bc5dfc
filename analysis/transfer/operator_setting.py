"""An operator's own setting, varied at several growths: the shrink factor of szp, a noise.

A setting is a number among a growth method's parameters, or the noise of a start. It was *varied*
at a growth, from a source's shape to a target's, where runs differ in nothing but it and the seed:
parametrization, learning rate, source, data and the operator's other parameters are equal. Growths
of one comparison differ in the shapes alone, along width or along depth.

Nothing is averaged over and nothing interpolated: a setting may be linear, as a shrink factor, or
logarithmic, as a noise, and only its user knows. What cannot be compared is refused with the
reason, as ladders are.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mugrow.analysis.transfer.label import PARAMS
from mugrow.analysis.transfer.ladder import SCRATCH, WIDTH, grows_along
from mugrow.analysis.transfer.optimum import Array
from mugrow.analysis.transfer.sweep import Seed, Setting, Sweep, number
from mugrow.bench.spec import Scalar

START_NOISE = "start.noise"
FEWEST_VALUES = 3
FEWEST_GROWTHS = 2

Shape = tuple[int, int]  # width, depth


@dataclass(frozen=True)
class ValueRuns:
    """The runs of all seeds with one value of a setting, ``key``: a sweep at one of its learning
    rates, that at ``place``. Shapes are (width, depth)."""

    sweep: Sweep
    place: int
    key: str

    @property
    def value(self) -> float:
        return float(number(self.sweep.setting, self.key))

    @property
    def log2_lr(self) -> float:
        return float(self.sweep.log2_lr[self.place])

    @property
    def status(self) -> str:
        return self.sweep.status[self.place]

    @property
    def target(self) -> Shape:
        return self.sweep.width, self.sweep.depth

    @property
    def source(self) -> Shape | None:
        source = self.sweep.source
        return None if source is None else (source.width, source.depth)

    @property
    def factor(self) -> float:
        """Of the width, or of the depth where the width stays."""
        source = self.sweep.source
        assert source is not None
        if grows_along(self.sweep) is WIDTH:
            return self.sweep.width / source.width
        return self.sweep.depth / source.depth


@dataclass(frozen=True)
class Growth:
    """A setting's values at one growth, ascending, with the runs of each."""

    runs: tuple[ValueRuns, ...]

    @property
    def values(self) -> Array:
        return np.array([run.value for run in self.runs])

    @property
    def loss(self) -> Array:
        """Shape (seeds, values); inf for diverged, nan for pruned or failed."""
        return np.stack([run.sweep.loss[:, run.place] for run in self.runs], axis=1)


def shapes(growth: Growth) -> str:
    """``w32-d2 to w64-d2``."""
    source, target = growth.runs[0].source, growth.runs[0].target
    assert source is not None
    return f"w{source[0]}-d{source[1]} to w{target[0]}-d{target[1]}"


@dataclass(frozen=True)
class SettingComparison:
    """``growths`` by ascending factor, then size; ``parameter`` is ``shrink``, say."""

    parameter: str
    growths: tuple[Growth, ...]

    @property
    def first(self) -> ValueRuns:
        return self.growths[0].runs[0]

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return self.first.sweep.seeds

    @property
    def axis(self) -> str | None:
        """``width`` or ``depth``; None where the source is unknown."""
        sweep = self.first.sweep
        return None if sweep.source is None else grows_along(sweep).name

    @property
    def names(self) -> list[str]:
        """``×2`` of each growth, with the shapes where another has the same factor."""
        factors = [f"×{growth.runs[0].factor:.3g}" for growth in self.growths]
        return [
            factor if factors.count(factor) == 1 else f"{factor} ({shapes(growth)})"
            for factor, growth in zip(factors, self.growths, strict=True)
        ]

    @property
    def common(self) -> Setting:
        """What all runs share."""
        return rest(self.first)


@dataclass(frozen=True)
class RefusedComparison:
    """Values that cannot be compared, for one reason at all these log2 rates."""

    comparison: SettingComparison
    values: tuple[float, ...]
    log2_lrs: tuple[float, ...]
    reason: str


def comparisons(every: Iterable[Sweep]) -> tuple[list[SettingComparison], list[RefusedComparison]]:
    """Of the runs of every setting (``sweep.by_setting``): what is compared, and what is not."""
    groups: dict[str, list[ValueRuns]] = {}
    for run in _runs([sweep for sweep in every if sweep.method != SCRATCH]):
        kept = json.dumps([run.key, run.log2_lr, rest(run)], sort_keys=True)
        groups.setdefault(kept, []).append(run)
    found = [one for runs in groups.values() if (one := _comparison(runs)) is not None]
    refused = [_refused(one, reason) for one in found if (reason := refusal(one)) is not None]
    return [one for one in found if refusal(one) is None], _together(refused)


def _runs(grown: Sequence[Sweep]) -> Iterator[ValueRuns]:
    """Every run once for each number among its operator's settings that its method's runs vary."""
    values: dict[tuple[str, str], set[Scalar | None]] = {}
    for sweep in grown:
        for key in _numbers(sweep.setting):
            values.setdefault((sweep.method, key), set()).add(sweep.setting[key])
    for sweep in grown:
        for key in _numbers(sweep.setting):
            if len(values[sweep.method, key]) > 1:
                yield from (ValueRuns(sweep, place, key) for place in range(len(sweep.log2_lr)))


def _numbers(setting: Setting) -> list[str]:
    return [
        key
        for key, value in setting.items()
        if (key == START_NOISE or key.startswith(PARAMS))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ]


def rest(run: ValueRuns) -> Setting:
    """What is equal in a comparison, but for the learning rate."""
    if run.sweep.source is None:
        free = {run.key, "source.run_id", "model.width", "model.depth"}
    else:
        grown = grows_along(run.sweep).free
        free = {run.key, *grown, *(f"source.{key}" for key in grown)}
    return {key: value for key, value in run.sweep.setting.items() if key not in free}


def _comparison(runs: Iterable[ValueRuns]) -> SettingComparison | None:
    """The growths at which the setting was varied; None where there is none."""
    groups: dict[tuple[Shape | None, Shape], list[ValueRuns]] = {}
    for run in runs:
        groups.setdefault((run.source, run.target), []).append(run)
    varied = [
        Growth(tuple(sorted(group, key=lambda run: run.value)))
        for group in groups.values()
        if len({run.value for run in group}) > 1
    ]
    if not varied:
        return None
    first = varied[0].runs[0]
    if first.source is not None:
        varied.sort(key=lambda growth: (growth.runs[0].factor, growth.runs[0].target))
    return SettingComparison(first.key.removeprefix(PARAMS), tuple(varied))


def refusal(found: SettingComparison) -> str | None:
    """Why a setting's values cannot be compared, or None."""
    if found.first.source is None:
        return "the store does not have the runs that they were grown from"
    for name, growth in zip(found.names, found.growths, strict=True):
        if len(growth.runs) < FEWEST_VALUES:
            return f"{name} has {len(growth.runs)} values; a best one takes {FEWEST_VALUES}"
    if len(found.growths) < FEWEST_GROWTHS:
        return f"{found.names[0]} is the only growth; transfer takes {FEWEST_GROWTHS}"
    return _incomplete(found)


def _incomplete(found: SettingComparison) -> str | None:
    """A value that lacks a seed's run, or a growth without any loss, in words."""
    runs = [run for growth in found.growths for run in growth.runs]
    union = set().union(*(run.sweep.seeds for run in runs))
    for name, growth in zip(found.names, found.growths, strict=True):
        for run in growth.runs:
            lacking = sorted(union - set(run.sweep.seeds))
            if lacking or run.status == "incomplete":
                seeds = ", ".join(str(seed) for seed, _ in lacking)
                which = f"seed {seeds}" if lacking else "a seed"
                return f"{name} lacks {which} at {found.parameter} {run.value:g}"
        if not np.isfinite(growth.loss.mean(axis=0)).any():
            return f"{name} finished none of its {len(growth.runs)} values"
    return None


def _refused(found: SettingComparison, reason: str) -> RefusedComparison:
    values = sorted({run.value for growth in found.growths for run in growth.runs})
    return RefusedComparison(found, tuple(values), (found.first.log2_lr,), reason)


def _together(refused: Iterable[RefusedComparison]) -> list[RefusedComparison]:
    """Those that differ in the learning rate alone as one: a sweep's have one reason."""
    merged: dict[str, RefusedComparison] = {}
    for one in refused:
        of = one.comparison
        key = json.dumps([of.parameter, of.common, one.values, one.reason], sort_keys=True)
        if key in merged:
            one = replace(merged[key], log2_lrs=(*merged[key].log2_lrs, *one.log2_lrs))
        merged[key] = one
    return list(merged.values())
