"""The sweeps of a store: runs equal in everything but learning rate and seed.

What a run was asked to be is in its row, as the JSON of its spec. Flattened, ``model.width`` and so
on, and without learning rate and seeds, that is the sweep's *setting*. The source of a grown run
is compared by its own spec, not by its id, which differs from seed to seed.

A target belongs to a sweep too, where its proxies are equal to it in all but the learning rate. It
is the sweep's run at the rate that was transferred. A setting of targets alone was not searched: it
is no sweep, and is kept for what compares settings at one rate.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mugrow.analysis.transfer.optimum import Array, Optimum, optimum
from mugrow.bench.spec import ModelSpec, Scalar

Setting = Mapping[str, Scalar | None]
Seed = tuple[int, int]  # of weights, of batches

SEEDS = {"seed", "data_seed"}
OTHER_NAMES = {"log_every", "data.corpus", "start.source_run_id"}  # decide no final loss
OF_MODEL: Setting = {
    field.name: field.default
    for field in dataclasses.fields(ModelSpec)
    if field.default is not dataclasses.MISSING
}
SINCE_ADDED: Setting = {  # what a spec says that was written without them
    "optimizer": "adamw",
    "step_ratio": 1.0,
    **{f"{model}.{name}": value for model in ("model", "base") for name, value in OF_MODEL.items()},
    "data.final_val_tokens": 0,
    "start.new_rate": 1.0,
}
MODULES = "hyper.modules."  # multipliers, by their names
WORST_FIRST = ("incomplete", "diverged", "failed", "missing", "pruned", "finished")


def number(setting: Setting, field: str, default: float = math.nan) -> float:
    """A setting's number by the field's name; ``default`` where a spec is older than the field."""
    value = setting.get(field, default)
    assert isinstance(value, int | float), f"{field} is a number, not {value!r}"
    return value


@dataclass(frozen=True)
class SweepSource:
    """What a sweep's models were grown from: the width and depth of a run at the transferred
    learning rate, its FLOPs and those of the search that found the rate. Means over the seeds."""

    width: int
    depth: int
    log2_lr: float
    flops: float
    flops_tuning: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """Losses of one setting. ``log2_lr`` has shape (points,), ascending; ``loss`` (seeds, points),
    in nats per token, with inf for diverged and nan for pruned, failed or not run. ``status`` is a
    point's worst over its seeds; ``run_flops`` those of one finished run, ``search_flops`` those of
    all runs. ``searched`` says that proxies were run, so that there is a search for a rate."""

    setting: Setting
    seeds: tuple[Seed, ...]
    log2_lr: Array
    loss: Array
    status: tuple[str, ...]
    run_flops: float = math.nan
    search_flops: float = math.nan
    source: SweepSource | None = None
    run_ids: tuple[str, ...] = ()
    searched: bool = True

    @property
    def width(self) -> int:
        return int(number(self.setting, "model.width"))

    @property
    def depth(self) -> int:
        return int(number(self.setting, "model.depth"))

    @property
    def init_std(self) -> float:
        return number(self.setting, "hyper.init_std")

    @property
    def parametrization(self) -> str:
        return str(self.setting["parametrization"])

    @property
    def method(self) -> str:
        return str(self.setting["start.method"])

    @property
    def mean_loss(self) -> Array:
        """Mean over seeds, shape (points,). A point counts only if every seed finished it."""
        return np.asarray(self.loss.mean(axis=0))

    @property
    def finished(self) -> bool:
        """Whether any point has a loss."""
        return bool(np.isfinite(self.mean_loss).any())

    @property
    def optimum(self) -> Optimum:
        """Of the mean loss. Raises ``UserError`` where nothing finished."""
        return optimum(self.log2_lr, self.mean_loss)


@dataclass(frozen=True, eq=False)
class SweptRun:
    """What a sweep needs of a row of ``runs.parquet``: fields are named as its columns."""

    run_id: str
    role: str
    status: str
    spec: str
    source_run_id: str | None
    width: int
    depth: int
    lr: float
    final_val_loss: float
    flops: float
    flops_tuning: float

    @cached_property
    def fields(self) -> Setting:
        """The whole spec, flattened."""
        return {**SINCE_ADDED, **dict(flat(json.loads(self.spec)))}

    @property
    def seeds(self) -> Seed:
        return int(number(self.fields, "seed")), int(number(self.fields, "data_seed"))

    @property
    def loss(self) -> float:
        """In nats per token; inf for diverged and nan for pruned or failed."""
        if self.status == "finished":
            return self.final_val_loss
        return math.inf if self.status == "diverged" else math.nan


Sources = Mapping[str, SweptRun]  # by run_id


def sweeps(runs: pd.DataFrame) -> list[Sweep]:
    """The sweeps among the runs, by parametrization, method, depth and width."""
    return [one for one in by_setting(runs) if one.searched]


def by_setting(runs: pd.DataFrame) -> list[Sweep]:
    """The proxies and targets of every setting, in the order of ``sweeps``; ``runs`` has the
    columns of ``runs.parquet`` that ``SweptRun`` names."""
    sources = {run.run_id: run for run in _swept(runs[runs["role"] == "source"])}
    groups: dict[str, list[SweptRun]] = {}
    settings: dict[str, Setting] = {}
    by_role = runs[runs["role"].isin(["proxy", "target"])].sort_values("role", kind="stable")
    for run in _swept(by_role):
        setting = common_setting(run, sources)
        key = json.dumps(setting, sort_keys=True)
        settings.setdefault(key, setting)
        groups.setdefault(key, []).append(run)
    points = _points_of_modules(settings, groups)
    found = [
        _sweep(settings[key], group, sources) for key, group in groups.items() if key not in points
    ]
    return sorted(
        found, key=lambda one: (one.parametrization, one.method, one.depth, one.width, one.init_std)
    )


def _points_of_modules(
    settings: Mapping[str, Setting], groups: Mapping[str, Sequence[SweptRun]]
) -> set[str]:
    """Those, by their keys, that are one point of a search over multipliers of modules, and so no
    sweep: proxies at one rate that differ from others in their multipliers alone."""
    alike: dict[str, list[str]] = {}
    for key, group in groups.items():
        if len({run.lr for run in group}) == 1 and group[0].role == "proxy":
            setting = settings[key].items()
            rest = {name: value for name, value in setting if not name.startswith(MODULES)}
            alike.setdefault(json.dumps(rest, sort_keys=True), []).append(key)
    return {key for keys in alike.values() if len(keys) > 1 for key in keys}


def _swept(runs: pd.DataFrame) -> list[SweptRun]:
    columns = [field.name for field in dataclasses.fields(SweptRun)]
    return [SweptRun(*values) for values in runs[columns].itertuples(index=False, name=None)]


def common_setting(run: SweptRun, sources: Sources) -> Setting:
    """A run's spec, flattened, without learning rate and seeds; with its source's, which has a
    rate."""
    without = SEEDS | OTHER_NAMES | {"hyper.lr"}
    setting = {key: value for key, value in run.fields.items() if key not in without}
    source = source_of(run, sources)
    if source is None:
        # a source that the store does not have leaves its id: nothing else is known of it
        missing = run.fields["start.source_run_id"]
        return setting if missing is None else setting | {"source.run_id": missing}
    return setting | {
        f"source.{key}": value
        for key, value in source.fields.items()
        if key not in SEEDS | OTHER_NAMES
    }


def source_of(run: SweptRun, sources: Sources) -> SweptRun | None:
    """The run that another was grown from, where the store has it."""
    return None if run.source_run_id is None else sources.get(run.source_run_id)


def flat(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar | None]]:
    """The JSON of a spec as ``model.width`` and so on; pairs, a start's parameters and multipliers
    of modules, by their names."""
    for key, value in spec.items():
        name = f"{prefix}{key}"
        if name.endswith(("start.params", "hyper.modules")):
            yield from ((f"{name}.{parameter}", given) for parameter, given in value)
        elif isinstance(value, dict):
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def _sweep(setting: Setting, runs: Sequence[SweptRun], sources: Sources) -> Sweep:
    seeds, lrs = sorted({run.seeds for run in runs}), sorted({run.lr for run in runs})
    loss = np.full((len(seeds), len(lrs)), np.nan)
    status = [["incomplete"] * len(lrs) for _ in seeds]
    for run in runs:
        row, column = seeds.index(run.seeds), lrs.index(run.lr)
        status[row][column] = run.status
        loss[row, column] = run.loss
    finished = [run.flops for run in runs if run.status == "finished"]
    return Sweep(
        setting=setting,
        seeds=tuple(seeds),
        log2_lr=np.log2(lrs),
        loss=loss,
        status=tuple(worst(column) for column in zip(*status, strict=True)),
        run_flops=float(np.mean(finished)) if finished else math.nan,
        search_flops=float(sum(run.flops for run in runs)),
        source=_source([one for run in runs if (one := source_of(run, sources)) is not None]),
        run_ids=tuple(run.run_id for run in runs),
        searched=any(run.role == "proxy" for run in runs),
    )


def _source(runs: Sequence[SweptRun]) -> SweepSource | None:
    """The sources of all seeds as one: they differ in nothing else."""
    if not runs:
        return None
    first = runs[0]
    return SweepSource(
        width=int(first.width),
        depth=int(first.depth),
        log2_lr=math.log2(first.lr),
        flops=float(np.mean([run.flops for run in runs])),
        flops_tuning=float(first.flops_tuning),
    )


def worst(statuses: Iterable[str]) -> str:
    """One word for a point: a diverged seed outweighs a pruned one, a missing one all."""
    return min(statuses, key=WORST_FIRST.index)
