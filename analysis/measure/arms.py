"""Target runs sorted into the arms of comparisons: which target, which label, one run a seed.

Runs of one target shape are compared with each other. A label is the growth method, followed by
what else differs between that method's runs at that target and nothing more: ``szp`` alone, but
``szp(shrink=0.2)`` beside ``szp(shrink=0.4)``, and ``stack(source=w64-d2)`` where two sources grew
into one target. The parametrization is part of the target's name where targets have several, so
that a method is never compared with a baseline of another parametrization, and so is the horizon
in steps: a run is compared with those of its own horizon.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mugrow.analysis.measure.savings import Arm, Curve, curve
from mugrow.analysis.read.plain import JsonValue
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
    if twice := _told_twice(targets):
        raise UserError(_apart(*twice, runs) + ", which names no arm")
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


def label_arms(targets: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """A label for each of the ``targets``, which have columns ``target`` and those of ``runs``.

    They are those of ``label_targets`` where these do, and of runs of one seed that they do not
    tell apart have the fewest further settings that do: ``scratch(hyper.lr=0.0055)``. The settings
    of a run's source count too, as ``source.steps``. Raises ``UserError`` where none does.
    """
    targets = targets.assign(label=_labels(targets, _shapes(runs)))
    specs = _specs(runs)
    labels = targets["label"].copy()
    for _, arms in targets.groupby(["target", "label"]):
        if not arms["seed"].duplicated().any():
            continue
        settings = [_settings(run_id, specs) for run_id in arms["run_id"]]
        names = _telling(settings, list(arms["seed"]))
        for place, own in zip(arms.index, settings, strict=True):
            told = ", ".join(f"{name}={own.get(name, 'none')}" for name in names)
            labels[place] = _with(labels[place], told)
    targets["label"] = labels
    if twice := _told_twice(targets):
        raise UserError(_apart(*twice, runs))
    return list(labels)


def _with(label: str, told: str) -> str:
    if not told:
        return label
    return f"{label[:-1]}, {told})" if label.endswith(")") else f"{label}({told})"


def _telling(settings: Sequence[Mapping[str, str]], seeds: Sequence[int]) -> list[str]:
    """The settings, each of which tells runs of one seed apart that those before it do not: a run's
    own before its source's, what something is before how much of it, and last what some lack."""
    names: list[str] = []
    parts: list[tuple[object, ...]] = [(seed,) for seed in seeds]

    def later(name: str) -> tuple[object, ...]:
        lacking = any(name not in own for own in settings)
        return lacking, name.count("source."), not name.endswith((".kind", ".method")), name

    for name in sorted(set().union(*settings), key=later):
        finer = [(*part, own.get(name)) for part, own in zip(parts, settings, strict=True)]
        if len(set(finer)) > len(set(parts)):
            names.append(name)
            parts = finer
    return names


def _told_twice(targets: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    """The first two runs of one seed that have one target and label."""
    first: dict[tuple[object, ...], int] = {}
    keys = zip(targets["target"], targets["label"], targets["seed"], strict=True)
    for place, key in enumerate(keys):
        if key in first:
            return targets.iloc[first[key]], targets.iloc[place]
        first[key] = place
    return None


def _apart(one: pd.Series, other: pd.Series, runs: pd.DataFrame) -> str:
    """What two runs differ in that have one label."""
    specs = _specs(runs)
    own, its = (_settings(run["run_id"], specs) for run in (one, other))
    differing = [name for name in sorted(own.keys() | its.keys()) if own.get(name) != its.get(name)]
    said = ", ".join(
        f"{name} ({own.get(name, 'none')} and {its.get(name, 'none')})" for name in differing[:3]
    )
    return (
        f"target {one['target']} of {one['study']} has two {one['label']!r} runs of seed "
        f"{one['seed']}, {one['run_id']} and {other['run_id']}: they differ in "
        f"{said or 'no setting but their sources'}"
    )


def _specs(runs: pd.DataFrame) -> dict[str, str]:
    return dict(zip(runs["run_id"], runs["spec"], strict=True))


def _settings(run_id: str, specs: Mapping[str, str]) -> dict[str, str]:
    """All settings of a run as text, by their dotted names, and those of its source behind
    ``source.``: of a run that is not in ``specs`` none."""
    if run_id not in specs:
        return {}
    found = dict(_flat("", json.loads(specs[run_id])))
    source = found.pop("start.source_run_id", "")
    return found | {f"source.{name}": text for name, text in _settings(source, specs).items()}


def _flat(name: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    if isinstance(value, list) and all(isinstance(one, list) and len(one) == 2 for one in value):
        value = {str(key): one for key, one in value}  # the parameters of a growth method
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(f"{name}.{key}" if name else key, one)
    else:
        yield name, f"{value:.4g}" if isinstance(value, float) else str(value)


def _labels(targets: pd.DataFrame, shapes: dict[str, str] | None) -> list[str]:
    """Labels within each target; without ``shapes`` of the runs, sources are not part of them."""
    details = [_details(run, shapes) for run in targets.to_dict("records")]
    groups = list(zip(targets["target"], targets["method"], strict=True))
    rivals: dict[tuple[object, ...], list[dict[str, Scalar]]] = {}
    for group, own in zip(groups, details, strict=True):
        rivals.setdefault(group, []).append(own)
    varying = {
        group: {
            name
            for name in set().union(*found)
            if any(own.get(name) != found[0].get(name) for own in found)
        }
        for group, found in rivals.items()
    }
    labels = []
    for own, group in zip(details, groups, strict=True):
        shown = [f"{name}={own[name]}" for name in sorted(own.keys() & varying[group])]
        labels.append(f"{group[1]}({', '.join(shown)})" if shown else group[1])
    return labels


def _details(run: dict[Any, Any], shapes: dict[str, str] | None) -> dict[str, Scalar]:
    """What may tell two runs of one method apart: the start's parameters, its source's shape, and
    what became of optimizer and schedule."""
    spec = json.loads(run["spec"])
    start = spec["start"]
    kept = (name for name in ("optimizer", "noise", "reset", "new_rate") if name in start)
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
