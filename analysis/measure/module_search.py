"""A search over multipliers of modules beside those without: what either found, at what cost.

Losses are those of the best trials, on the seeds that chose them. The best of many trials is in
part the luckiest, the more so the more there were, so a difference here says where to look, and a
comparison on other seeds whether it is there.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mugrow.analysis.measure.importance import Importance, importance
from mugrow.bench.spec import UserError


@dataclass(frozen=True)
class Searched:
    """One sweep: its best trial's ``loss`` in nats per token, with the learning rate and initial
    scale there; ``points`` are the trials that are none again, ``flops`` those of all."""

    sweep: str
    trials: int
    points: int
    loss: float
    log2_lr: float
    init_std: float
    flops: float


@dataclass(frozen=True)
class ModuleSearch:
    """``by_module`` is the sweep that has multipliers, its best ``log2_times`` by name; ``beside``
    are the other sweeps of its shape. ``at_the_end`` names the multipliers that matter
    and are best where none was tried further, in the best trial or by the fit. ``worths`` are
    empty where there are too few trials, and ``why_not`` says so."""

    by_module: Searched
    log2_times: Mapping[str, float]
    beside: tuple[Searched, ...]
    at_the_end: tuple[str, ...]
    worths: tuple[Importance, ...]
    why_not: str | None


def module_search(trials: pd.DataFrame) -> ModuleSearch | None:
    """Of rows of ``trials.parquet``; None where no trial has multipliers, or none is complete."""
    if "modules" not in trials:
        return None
    complete = trials[trials["value"].notna()]
    of_modules = complete[complete["modules"].notna()]
    if of_modules.empty:
        return None
    best = of_modules.iloc[int(of_modules["value"].argmin())]
    alike = (complete["width"] == best["width"]) & (complete["depth"] == best["depth"])
    others = complete[alike & (complete["sweep"] != best["sweep"])]
    worths: tuple[Importance, ...] = ()
    why_not = None
    try:
        worths = importance(trials[trials["sweep"] == best["sweep"]])
    except UserError as error:
        why_not = str(error)
    log2_times = _log2_times(best["modules"])
    tried = [_log2_times(text) for text in of_modules[of_modules["sweep"] == best["sweep"]].modules]
    return ModuleSearch(
        by_module=_searched(trials[trials["sweep"] == best["sweep"]]),
        log2_times=log2_times,
        beside=tuple(
            _searched(trials[trials["sweep"] == name]) for name in dict.fromkeys(others["sweep"])
        ),
        at_the_end=tuple(_at_the_end(log2_times, worths, tried)),
        worths=worths,
        why_not=why_not,
    )


def _log2_times(text: str) -> dict[str, float]:
    return {name: math.log2(factor) for name, factor in sorted(json.loads(text).items())}


def _at_the_end(
    best: Mapping[str, float], worths: Sequence[Importance], tried: Sequence[Mapping[str, float]]
) -> Iterator[str]:
    fitted = {one.name: one.best_log2 for one in worths}
    flat = {one.name for one in worths if one.flat}
    for name in sorted((best.keys() | fitted.keys()) - flat):
        places = [one.get(name, 0.0) for one in tried]
        for place in {best.get(name, 0.0), fitted.get(name, 0.0)} - {0.0}:
            if place <= min(places) or place >= max(places):
                yield name
                break


def _searched(trials: pd.DataFrame) -> Searched:
    best = trials.iloc[int(trials["value"].argmin())]
    return Searched(
        sweep=str(best["sweep"]),
        trials=len(trials),
        points=len({tuple(run_ids) for run_ids in trials["run_ids"]}),
        loss=float(best["value"]),
        log2_lr=math.log2(best["lr"]),
        init_std=float(best["init_std"]),
        flops=float(trials["flops"].sum()),
    )
