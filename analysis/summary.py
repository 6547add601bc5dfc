"""The claims of a study with their intervals, as one JSON-able dict.

Every number in the report, in its tables and in its LaTeX macros is one of these. Infinite and
undefined numbers are ``None``: JSON has neither.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mugrow.analysis.advice.fitted import finals
from mugrow.analysis.advice.measured import with_origins
from mugrow.analysis.laws.law import ScalingLaws
from mugrow.analysis.laws.scaling import scaling_laws
from mugrow.analysis.measure.arms import BASELINE, arm, curves_by_run
from mugrow.analysis.measure.recovery import labelled_targets, recoveries
from mugrow.analysis.measure.savings import ACCOUNTINGS, Curve, Saving, headline_and_curve
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import NOTHING, Interval, mean_interval, nominal_coverage
from mugrow.analysis.transfer import optimum
from mugrow.analysis.transfer.chapter import chapter as transfer_chapter
from mugrow.analysis.transfer.sweep import Sweep, by_setting
from mugrow.bench.record import STATUSES

LEVEL = 0.95


class Summary(dict[str, Any]):
    """The summary in JSON's types, and its ``laws`` as they were found."""

    def __init__(self, plain: Mapping[str, Any] | None = None, *, laws: ScalingLaws) -> None:
        super().__init__(plain or {})
        self.laws = laws


def summarize(store: Store) -> Summary:
    """The summary of a study, whole or partial: what has not been run yet is an empty list."""
    runs = store.runs
    every = by_setting(runs)
    transfer = transfer_chapter(every)
    swept = transfer.pop("sweeps")
    found = [one for one in every if one.searched]
    targets = labelled_targets(store)
    curves = curves_by_run(store.curves, set(targets["run_id"]))
    n_seeds = int((targets if len(targets) else runs)["seed"].nunique())
    comparisons, savings_curves = _savings(targets, curves)
    laws = scaling_laws(finals(runs, with_origins(runs, targets)))
    summary = {
        "study": store.study["name"],
        "n_seeds": n_seeds,
        "interval": {
            "level": LEVEL,
            "method": "paired bootstrap over seeds",
            "coverage_at_most": nominal_coverage(n_seeds),
        },
        "sweeps": swept,
        "optima": _optima(found, [one["variant"] for one in swept], runs, store.trials),
        "transfer": transfer,
        "finals": _finals(targets),
        "savings": comparisons,
        "savings_curves": savings_curves,
        "recovery": [dataclasses.asdict(one) for one in recoveries(store)],
        "laws": laws,
        "costs": _costs(runs),
    }
    return Summary(to_json(summary), laws=laws)


def to_json(value: Any) -> Any:
    """The value in JSON's types: a dataclass by its ``to_json`` or its fields, nan, inf as None."""
    if dataclasses.is_dataclass(value):
        value = value.to_json() if hasattr(value, "to_json") else vars(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _optima(
    found: list[Sweep], labels: list[str], runs: pd.DataFrame, trials: pd.DataFrame
) -> list[dict[str, Any]]:
    """The best tested point of each setting over all its init scales, and what finding it cost.

    The edge is judged on the lowest loss over init scales at each learning rate, which is also
    right where a sampler tried each rate at one scale only.
    """
    settings: dict[str, list[tuple[Sweep, str]]] = {}
    for sweep, label in zip(found, labels, strict=True):
        rest = {key: value for key, value in sweep.setting.items() if key != "hyper.init_std"}
        settings.setdefault(json.dumps(rest, sort_keys=True), []).append((sweep, label))
    status = dict(zip(runs["run_id"], runs["status"], strict=True))
    groups = [[sweep for sweep, _ in group] for group in settings.values()]
    first_labels = [group[0][1] for group in settings.values()]
    return [
        _optimum(group, label, trials, status)
        for group, label in zip(groups, first_labels, strict=True)
        if any(sweep.finished for sweep in group)
    ]


def _optimum(
    group: list[Sweep], label: str, trials: pd.DataFrame, status: dict[str, str]
) -> dict[str, Any]:
    best = min(
        (sweep for sweep in group if sweep.finished), key=lambda sweep: sweep.optimum.argmin_loss
    )
    lowest: dict[float, float] = {}
    for sweep in group:
        for log2_lr, loss in zip(sweep.log2_lr.tolist(), sweep.mean_loss.tolist(), strict=True):
            lowest[log2_lr] = float(np.fmin(lowest.get(log2_lr, math.nan), loss))
    profile = optimum(list(lowest), list(lowest.values()))
    own = {run_id for sweep in group for run_id in sweep.run_ids}
    return {
        "parametrization": best.parametrization,
        "variant": label,
        "width": best.width,
        "depth": best.depth,
        "lr": 2.0**profile.argmin_log2_lr,
        "log2_lr": profile.argmin_log2_lr,
        "init_std": best.setting["hyper.init_std"],
        "loss": profile.argmin_loss,
        "edge": profile.edge,
        "flops_tuning": sum(sweep.search_flops for sweep in group),
        "trials": _outcomes([ids for ids in trials["run_ids"] if own & set(ids)], status),
    }


def _outcomes(trials: list[Any], status: dict[str, str]) -> dict[str, int]:
    """Trials by outcome: diverged or pruned if any of a trial's runs was."""
    counts = dict.fromkeys(("complete", "pruned", "diverged"), 0)
    for run_ids in trials:
        outcomes = {status.get(run_id) for run_id in run_ids}
        if "diverged" in outcomes:
            counts["diverged"] += 1
        elif "pruned" in outcomes:
            counts["pruned"] += 1
        elif outcomes == {"finished"}:
            counts["complete"] += 1
    return counts


def _finals(targets: pd.DataFrame) -> list[dict[str, Any]]:
    """One row for each target and label: final loss over the seeds that finished."""
    finals = []
    for target, arms in targets.groupby("target", sort=False):
        baseline = _final_losses(arms[arms["method"] == BASELINE], "final_val_loss")
        for label, rows in arms.groupby("label", sort=False):
            loss = _final_losses(rows, "final_val_loss")
            pairs = {seed: loss[seed] - baseline[seed] for seed in loss if seed in baseline}
            first = rows.iloc[0]
            is_baseline = first["method"] == BASELINE
            finals.append(
                {
                    "target": target,
                    **{key: first[key] for key in ("width", "depth", "params", "method")},
                    "label": label,
                    "n_seeds": len(rows),
                    "loss": _mean(loss),
                    "bpb": _mean(_final_losses(rows, "final_bpb")),
                    "minus_scratch": None if is_baseline or not pairs else _mean(pairs),
                    **{key: rows[key].mean() for key in ("flops", "flops_source", "flops_tuning")},
                    "diverged": int((rows["status"] == "diverged").sum()),
                }
            )
    return finals


def _final_losses(rows: pd.DataFrame, column: str) -> dict[int, float]:
    finished = rows[rows["status"] == "finished"]
    return dict(zip(finished["seed"].tolist(), finished[column].tolist(), strict=True))


def _mean(by_seed: dict[int, float]) -> Interval:
    return mean_interval(by_seed, LEVEL)


def _savings(
    targets: pd.DataFrame, curves: dict[str, Curve]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Headline savings and savings curves of every arm against scratch at the same target."""
    headlines, grids = [], []
    for target, arms in targets.groupby("target", sort=False):
        baseline = arm(arms[arms["method"] == BASELINE], curves)
        for label, rows in arms[arms["method"] != BASELINE].groupby("label", sort=False):
            method = arm(rows, curves)
            names = {"target": target, "method": rows["method"].iloc[0], "label": label}
            ends, grid = headline_and_curve(baseline, method)
            headlines += [names | {"at": at} | _saving(saving) for at, saving in ends]
            grids += [names | savings_columns(name, grid) for name in ACCOUNTINGS if grid]
    return headlines, grids


def _saving(saving: Saving) -> dict[str, Any]:
    return dataclasses.asdict(saving) | {"speedup": saving.speedup, "saving": saving.saving}


def savings_columns(accounting: str, savings: list[Saving]) -> dict[str, Any]:
    """A savings curve in one accounting, as columns; nan where there is no number."""
    own = [saving for saving in savings if saving.accounting == accounting]
    speedups = [saving.speedup or NOTHING for saving in own]
    return {
        "accounting": accounting,
        "loss": [saving.at_loss for saving in own],
        "speedup": [speedup.value for speedup in speedups],
        "lo": [speedup.lo for speedup in speedups],
        "hi": [speedup.hi for speedup in speedups],
        "bound": [saving.bound for saving in own],
        "state": [saving.state for saving in own],
    }


def _costs(runs: pd.DataFrame) -> dict[str, Any]:
    flops = runs.groupby("role")["flops"].sum()
    counts = Counter(runs["status"])
    return {
        **{f"{role}_flops": float(flops.get(role, 0.0)) for role in ("proxy", "source", "target")},
        "wall_s": float(runs["wall_s"].sum()),
        "runs": {status: counts[status] for status in STATUSES},
    }
