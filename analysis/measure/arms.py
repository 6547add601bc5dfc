"""Target runs sorted into the arms of comparisons: which target, which label, one run a seed.

Runs of one target shape are compared with each other. A label is the growth method, followed by
what else differs between that method's runs at that target and nothing more: ``szp`` alone, but
``szp(shrink=0.2)`` beside ``szp(shrink=0.4)``, and ``stack(source=w64-d2)`` where two sources grew
into one target. The parametrization is part of the target's name where targets have several, so
that a method is never compared with a baseline of another parametrization, and so is the horizon
in steps: a run is compared with those of its own horizon.
"""

import json
from typing import Any

import pandas as pd

from mugrow.analysis.measure.savings import Arm, Curve, curve
from mugrow.bench.spec import Scalar, UserError

BASELINE = "scratch"


def label_targets(runs: pd.DataFrame) -> pd.DataFrame:
    """The target runs with more columns, ``target`` and ``label``; one run for each seed.

    ``variant`` is the label but for the source: what runs from several sources have in common.
    Sorted by width, depth, horizon, and label with scratch first. Raises ``UserError`` where two
    runs of one seed cannot be told apart by target and label.
    """
    targets = runs[runs["role"] == "target"].copy()
    targets["target"] = [f"w{w}-d{d}" for w, d in zip(targets.width, targets.depth, strict=True)]
    if len(set(targets["parametrization"])) > 1:
        targets["target"] += "-" + targets["parametrization"]
    targets["horizon"] = [_horizon(json.loads(spec)) for spec in targets["spec"]]
    if len(targets[["target", "horizon"]].drop_duplicates()) > targets["target"].nunique():
        targets["target"] += [f"-s{steps}" for steps in targets["horizon"]]
    targets["label"] = _labels(targets, _shapes(runs))
    targets["variant"] = _labels(targets, None)
    twice = targets[targets.duplicated(["target", "label", "seed"])]
    for run in twice.itertuples():
        raise UserError(
            f"target {run.target} has two {run.label!r} runs of seed {run.seed}, "
            f"one of them {run.run_id}: they differ in nothing that names an arm"
        )
    targets["grown"] = targets["method"] != BASELINE
    return targets.sort_values(["width", "depth", "horizon", "target", "grown", "label", "seed"])


def _horizon(spec: dict[str, Any]) -> int:
    """Steps of its own until a run's horizon: one that continues a schedule begins inside it."""
    horizon: int = spec["steps"] - spec.get("first_step", 0)
    return horizon


def _shapes(runs: pd.DataFrame) -> dict[str, str]:
    return {
        run_id: f"w{width}-d{depth}"
        for run_id, width, depth in zip(runs["run_id"], runs["width"], runs["depth"], strict=True)
    }


def _labels(targets: pd.DataFrame, shapes: dict[str, str] | None) -> list[str]:
    """Labels within each target; without ``shapes`` of the runs, sources are not part of them."""
    details = [_details(run, shapes) for run in targets.to_dict("records")]
    groups = list(zip(targets["target"], targets["method"], strict=True))
    labels = []
    for selected, group in zip(details, groups, strict=True):
        rivals = [other for other, its in zip(details, groups, strict=True) if its == group]
        shown = [
            f"{name}={value}"
            for name, value in sorted(selected.items())
            if any(other.get(name) != value for other in rivals)
        ]
        labels.append(f"{group[1]}({', '.join(shown)})" if shown else group[1])
    return labels


def _details(run: dict[Any, Any], shapes: dict[str, str] | None) -> dict[str, Scalar]:
    """What may tell two runs of one method apart: the start's parameters, its source's shape, and
    what became of optimizer and schedule."""
    spec = json.loads(run["spec"])
    start = spec["start"]
    kept = (name for name in ("optimizer", "noise", "reset") if name in start)
    details: dict[str, Scalar] = {name: start[name] for name in kept}
    details |= dict(start["params"])  # which may have a noise of its own
    details["schedule"] = _schedule(spec)
    source = run["source_run_id"]
    if isinstance(source, str) and shapes is not None:
        details["source"] = shapes.get(source, source)
    return details


def _schedule(spec: dict[str, Any]) -> str:
    """The policy by which a target took up its schedule, by its name in a study."""
    first = spec.get("first_step", 0)
    if not first:
        return "restart"
    if first != spec["start"]["source_step"]:
        return "reposition"
    return "rewarm" if spec["rewarm_steps"] else "continue"


def curves_by_run(curves: pd.DataFrame, run_ids: set[str]) -> dict[str, Curve]:
    """Validation-loss curves of the runs named that have one."""
    wanted = curves[curves["run_id"].isin(run_ids)]
    found = {
        str(run_id): curve(rows["flops"], rows["val_loss"])
        for run_id, rows in wanted.groupby("run_id", sort=False)
    }
    return {run_id: one for run_id, one in found.items() if one is not None}


def arm(rows: pd.DataFrame, curves: dict[str, Curve]) -> Arm:
    """The arm of one label's rows. Only finished runs enter: an arm is a curve to the horizon."""
    finished = rows[rows["status"] == "finished"]
    by_seed = {
        int(seed): curves[run_id]
        for seed, run_id in zip(finished["seed"], finished["run_id"], strict=True)
        if run_id in curves
    }
    return Arm(
        curves=by_seed,
        source_flops=float(rows["flops_source"].fillna(0.0).mean()),
        tuning_flops=float(rows["flops_tuning"].fillna(0.0).mean()),
    )
