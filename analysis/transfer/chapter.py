"""What a store says on transfer: its sweeps, its ladders with a verdict each, and what it cannot.

Every number of the tables, figures and sentences on transfer is in the dict made here.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from mugrow.analysis.transfer.asymptote import Asymptote, asymptotes
from mugrow.analysis.transfer.cost import cost
from mugrow.analysis.transfer.label import variants
from mugrow.analysis.transfer.ladder import SCRATCH, Ladder, Skipped, ladders
from mugrow.analysis.transfer.metrics import (
    Measured,
    Pair,
    drift,
    measured,
    pairs,
    rung,
    same_argmin,
)
from mugrow.analysis.transfer.operator_regret import rungs as operator_rungs
from mugrow.analysis.transfer.operator_setting import Comparison, Refused, comparisons
from mugrow.analysis.transfer.sweep import Setting, Sweep
from mugrow.analysis.transfer.verdict import RULE, SETTING_RULE, setting_verdict, verdict

INTERVALS = (
    "95 %, Student's t over jackknife pseudo-values of the paired seeds; "
    "it covers the truth about as often as it says from two seeds on"
)


def chapter(every: Sequence[Sweep]) -> dict[str, Any]:
    """Of the runs of every setting (``sweep.by_setting``): ``sweeps``, ``ladders``, ``skipped``,
    ``operator_settings``, ``rule`` and ``intervals``; JSON but for intervals, arrays and infinite
    numbers. A ladder's rungs name their sweep by its place in ``sweeps``."""
    found = [one for one in every if one.searched]
    whole, skipped = ladders(found)
    labelled = sweep_labels(found)
    of_ladders = ladder_labels(whole)
    all_measured = [measured(ladder) for ladder in whole]
    return {
        "sweeps": [_sweep(sweep, label) for sweep, label in zip(found, labelled, strict=True)],
        "ladders": [
            _ladder(one, label, limit, found)
            for one, label, limit in zip(
                all_measured, of_ladders, asymptotes(all_measured), strict=True
            )
        ],
        "skipped": [_skipped(one, found, labelled) for one in skipped],
        "operator_settings": operator_settings(every),
        "rule": RULE,
        "intervals": INTERVALS,
    }


def sweep_labels(found: Sequence[Sweep]) -> list[str]:
    """What tells a sweep from others but for parametrization, shape and initial scale."""
    said = SAID | {"model.width", "model.depth", "hyper.init_std"}
    return _by_start(found, [sweep.setting for sweep in found], said)


SAID = {"parametrization", "start.method"}


def ladder_labels(found: Sequence[Ladder]) -> list[str]:
    """What tells a ladder from others along its axis, but for the parametrization."""
    labels = [""] * len(found)
    for axis in {ladder.axis for ladder in found}:
        places = [place for place, ladder in enumerate(found) if ladder.axis is axis]
        mine = [found[place] for place in places]
        own = _by_start([one.rungs[0] for one in mine], [one.common for one in mine], SAID)
        for place, ladder, label in zip(places, mine, own, strict=True):
            beside = "scratch at the targets of growth" if _is_companion(ladder) else ""
            labels[place] = ", ".join(filter(None, (label, ladder.axis.note, beside)))
    return labels


def _is_companion(ladder: Ladder) -> bool:
    return ladder.reference is not None and not ladder.grown


def _by_start(first: Sequence[Sweep], settings: Sequence[Setting], said: set[str]) -> list[str]:
    """Labels among those from scratch and among the grown; a grown one begins with its method."""
    labels = [""] * len(first)
    for grown in (False, True):
        places = [place for place, sweep in enumerate(first) if (sweep.method != SCRATCH) == grown]
        own = variants([settings[place] for place in places], said)
        for place, label in zip(places, own, strict=True):
            parts = (first[place].method if grown else "", label)
            labels[place] = ", ".join(filter(None, parts))
    return labels


def _sweep(sweep: Sweep, label: str) -> dict[str, Any]:
    columns = zip(sweep.log2_lr, sweep.mean_loss, sweep.loss.T, sweep.status, strict=True)
    return {
        **_names(sweep),
        "variant": label,
        "init_std": sweep.setting["hyper.init_std"],
        "n_seeds": len(sweep.seeds),
        "run_flops": sweep.run_flops,
        "search_flops": sweep.search_flops,
        "points": [
            {"log2_lr": log2_lr, "loss": loss, "per_seed": per_seed, "status": status}
            for log2_lr, loss, per_seed, status in columns
        ],
        **(dataclasses.asdict(sweep.optimum) if sweep.finished else NO_OPTIMUM),
    }


NO_OPTIMUM: dict[str, Any] = dict.fromkeys(
    ("argmin_log2_lr", "argmin_loss", "vertex_log2_lr", "vertex_loss", "curvature", "edge")
)


def _names(sweep: Sweep) -> dict[str, Any]:
    return {
        "parametrization": sweep.parametrization,
        "method": sweep.method,
        "width": sweep.width,
        "depth": sweep.depth,
    }


def _ladder(
    found: Measured, label: str, limit: Asymptote, all_sweeps: Sequence[Sweep]
) -> dict[str, Any]:
    ladder = found.ladder
    rungs = [rung(found, place) for place in range(len(ladder.rungs))]
    every = pairs(found)
    slope = drift(found)
    first = ladder.rungs[0]
    return {
        "axis": ladder.axis.name,
        "method": first.method,
        "parametrization": first.parametrization,
        "variant": label,
        "reference_log2_lr": ladder.reference,
        "n_seeds": len(first.seeds),
        "rungs": [
            dataclasses.asdict(one) | {"sweep": all_sweeps.index(sweep)} | _shape(sweep)
            for one, sweep in zip(rungs, ladder.rungs, strict=True)
        ],
        "pairs": [dataclasses.asdict(pair) | _cost(ladder, pair) for pair in every],
        "drift": dataclasses.asdict(slope),
        "same_argmin": same_argmin(found),
        "asymptote": dataclasses.asdict(limit),
        "verdict": dataclasses.asdict(verdict(rungs, slope, widest(every))),
    }


def _shape(sweep: Sweep) -> dict[str, int]:
    return {"width": sweep.width, "depth": sweep.depth}


def widest(every: Iterable[Pair]) -> Pair:
    """The smallest size's best rate at the largest."""
    return max(every, key=lambda pair: pair.target / pair.proxy)


def _cost(ladder: Ladder, pair: Pair) -> dict[str, Any]:
    proxy = None if ladder.reference is not None else ladder.sizes.index(pair.proxy)
    ratios = cost(ladder, ladder.sizes.index(pair.target), proxy)
    return {"search_over_target": ratios.search, "total_over_scratch": ratios.total}


def _skipped(one: Skipped, found: Sequence[Sweep], labels: Sequence[str]) -> dict[str, Any]:
    first = one.sweeps[0]
    variant = labels[list(found).index(first)]
    return {
        "sweeps": [
            f"w{sweep.width}-d{sweep.depth}, init std {sweep.setting['hyper.init_std']:g}"
            for sweep in one.sweeps
        ],
        "parametrization": first.parametrization,
        "variant": variant,
        "reason": one.reason,
    }


def operator_settings(every: Iterable[Sweep]) -> dict[str, Any]:
    """``compared``, ``skipped`` and ``rule`` of the operators' own settings."""
    found, refused = comparisons(every)
    labels = _by_start([one.first.sweep for one in found], [one.common for one in found], SAID)
    return {
        "compared": [_compared(one, label) for one, label in zip(found, labels, strict=True)],
        "skipped": [_refused(one) for one in refused],
        "rule": SETTING_RULE,
    }


def _compared(one: Comparison, label: str) -> dict[str, Any]:
    rungs = operator_rungs(one)
    return {
        "parametrization": one.first.sweep.parametrization,
        "method": one.first.sweep.method,
        "variant": label,
        "parameter": one.parameter,
        "axis": one.axis,
        "log2_lr": one.first.log2_lr,
        "n_seeds": len(one.seeds),
        "rungs": [dataclasses.asdict(rung) for rung in rungs],
        "verdict": dataclasses.asdict(setting_verdict(rungs)),
    }


def _refused(one: Refused) -> dict[str, Any]:
    return {
        "parametrization": one.comparison.first.sweep.parametrization,
        "variant": one.comparison.first.sweep.method,
        "parameter": one.comparison.parameter,
        "axis": one.comparison.axis,
        "values": one.values,
        "log2_lrs": one.log2_lrs,
        "reason": one.reason,
    }
