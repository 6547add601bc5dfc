"""What a study says, whole or partial: every number of its report, typed, with its interval.

Every number in the report, in its tables and in its LaTeX macros is one of a ``Summary``. Losses
are in nats per token, compute in FLOPs; a float is nan, and an interval's end nan or infinite,
where there is no number. The fields are the keys of ``summary.json``, in their order.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from mugrow.analysis.advice.fitted import finals
from mugrow.analysis.advice.measured import with_origins
from mugrow.analysis.laws.law import ScalingLaws
from mugrow.analysis.laws.scaling import scaling_laws
from mugrow.analysis.measure.arms import BASELINE, arm, curves_by_run
from mugrow.analysis.measure.comparison import ERROR_RATE, EqualCompute, compared
from mugrow.analysis.measure.looks import LooksTaken, looks_taken
from mugrow.analysis.measure.module_search import ModuleSearch, module_search
from mugrow.analysis.measure.origin_rates import OriginRate, origin_rates
from mugrow.analysis.measure.recovery import Recovery, labelled_targets, recoveries
from mugrow.analysis.measure.savings import (
    ACCOUNTINGS,
    Curve,
    Saving,
    SavingsCurve,
    as_columns,
    headline_and_curve,
)
from mugrow.analysis.read.store import Store, opened
from mugrow.analysis.stats import Interval, student_interval
from mugrow.analysis.transfer import optimum
from mugrow.analysis.transfer.optimum import Edge
from mugrow.analysis.transfer.results import SweepResult, TransferResults, transfer_results
from mugrow.analysis.transfer.sweep import Sweep, by_setting
from mugrow.bench.record import STATUSES

LEVEL = 0.95
METHOD = "paired t test over seeds"
AT_FINAL = "scratch final"  # the loss at which the headline is taken


@dataclass(frozen=True)
class IntervalRule:
    """How the intervals over seeds of final losses and savings were made, at ``level``, and the
    probability with which one of them can at most cover: the level, and 0 with one seed."""

    level: float
    method: str
    coverage_at_most: float


@dataclass(frozen=True)
class TrialCounts:
    """A search's trials by outcome: diverged or pruned if any of a trial's runs was."""

    complete: int
    pruned: int
    diverged: int


@dataclass(frozen=True)
class TunedOptimum:
    """The best tested point of a setting over its init scales, and what finding it cost.
    ``lr`` and ``init_std`` are at the base shape, ``flops_tuning`` those of all trials."""

    parametrization: str
    variant: str
    width: int
    depth: int
    lr: float
    log2_lr: float
    init_std: float
    loss: float
    edge: Edge
    flops_tuning: float
    trials: TrialCounts


@dataclass(frozen=True)
class Final:
    """The final loss of one label at one target, over the seeds that finished of ``n_seeds``.

    ``minus_scratch`` is paired by seed, None for scratch and where no seed has both. FLOPs are
    means over the runs.
    """

    target: str
    width: int
    depth: int
    params: int
    method: str
    label: str
    n_seeds: int
    loss: Interval
    bpb: Interval
    minus_scratch: Interval | None
    flops: float
    flops_source: float
    flops_tuning: float
    diverged: int


@dataclass(frozen=True)
class ArmSaving(Saving):
    """A saving of one label at one target; ``at`` says which loss it is at."""

    target: str
    method: str
    label: str
    at: str

    def to_json(self) -> dict[str, object]:
        names = {name: getattr(self, name) for name in ("target", "method", "label", "at")}
        of_saving = {field.name: getattr(self, field.name) for field in fields(Saving)}
        return names | of_saving | {"saving": self.saving}


@dataclass(frozen=True)
class ArmCurve(SavingsCurve):
    """s(loss) of one label at one target in one accounting."""

    target: str
    method: str

    def to_json(self) -> dict[str, object]:
        return {"target": self.target, "method": self.method} | vars(self)


@dataclass(frozen=True)
class Costs:
    """FLOPs by part and wall time in seconds, summed over all runs; ``runs`` counts statuses. What
    targets are compared with at other budgets, trunks and branches, is ``baseline_flops``."""

    proxy_flops: float
    source_flops: float
    target_flops: float
    baseline_flops: float
    wall_s: float
    runs: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Summary:
    """What a study says. What has not been run yet is empty. ``looks``, ``modules`` and
    ``origins`` are no keys of ``summary.json`` for a study that has none."""

    study: str
    n_seeds: int
    interval: IntervalRule
    optima: tuple[TunedOptimum, ...]
    transfer: TransferResults
    finals: tuple[Final, ...]
    equal_compute: tuple[EqualCompute, ...]
    savings: tuple[ArmSaving, ...]
    savings_curves: tuple[ArmCurve, ...]
    recovery: tuple[Recovery, ...]
    laws: ScalingLaws
    costs: Costs
    looks: LooksTaken | None = None
    modules: ModuleSearch | None = None
    origins: tuple[OriginRate, ...] = ()

    @property
    def sweeps(self) -> tuple[SweepResult, ...]:
        """The sweeps that the study searched over."""
        return self.transfer.sweeps

    def headlines(self, target: str) -> dict[tuple[str, str], ArmSaving]:
        """Savings at scratch's final loss of a target, by label and accounting."""
        return {
            (saving.label, saving.accounting): saving
            for saving in self.savings
            if (saving.target, saving.at) == (target, AT_FINAL)
        }

    def to_json(self) -> dict[str, object]:
        """The keys of ``summary.json``: sweeps stand before the rest of what is on transfer."""
        transfer = {key: value for key, value in vars(self.transfer).items() if key != "sweeps"}
        first = {"study": self.study, "n_seeds": self.n_seeds, "interval": self.interval}
        searched = {"sweeps": self.sweeps, "optima": self.optima, "transfer": transfer}
        absent = {name for name in ("looks", "modules", "origins") if not getattr(self, name)}
        rest = {k: v for k, v in vars(self).items() if k not in searched.keys() | absent}
        return first | searched | rest


def summarize(store: Store | str | Path) -> Summary:
    """The summary of a study's tables, or of those in a study's directory.

    >>> import mugrow
    >>> summary = mugrow.summarize(mugrow.load("results/reference/quick"))
    >>> [final.label for final in summary.finals]
    ['scratch', 'hypercloning', 'szp']
    """
    store = opened(store)
    runs = store.runs
    every = by_setting(runs)
    searched = [sweep for sweep in every if sweep.searched]
    # of an imported source's arms each has a rate of its own: none is transferred
    transfer = transfer_results([] if store.study.get("source") else every)
    targets = labelled_targets(store)
    curves = curves_by_run(store.curves, set(targets["run_id"]))
    n_seeds = int((targets if len(targets) else runs)["seed"].nunique())
    savings, savings_curves = _savings(targets, curves)
    looks = looks_taken(runs, targets, store.study)
    error_rate = looks.level if looks else float(store.study.get("error_rate", ERROR_RATE))
    variants = [sweep.variant for sweep in transfer.sweeps] or _named(searched, store.trials)
    return Summary(
        study=store.study["name"],
        n_seeds=n_seeds,
        interval=IntervalRule(LEVEL, METHOD, LEVEL if n_seeds > 1 else 0.0),
        optima=tuple(_optima(searched, variants, runs, store.trials)),
        transfer=transfer,
        finals=tuple(_finals(targets)),
        equal_compute=tuple(compared(runs, targets, error_rate)),
        savings=tuple(savings),
        savings_curves=tuple(savings_curves),
        recovery=tuple(recoveries(store)),
        laws=scaling_laws(finals(runs, with_origins(runs, targets))),
        costs=_costs(runs),
        looks=looks,
        modules=module_search(store.trials),
        origins=origin_rates(every),
    )


def of_laws(laws: ScalingLaws) -> Summary:
    """The summary of a table that has scaling laws and no study."""
    return Summary(
        study="",
        n_seeds=0,
        interval=IntervalRule(LEVEL, "", 0.0),
        optima=(),
        transfer=transfer_results([]),
        finals=(),
        equal_compute=(),
        savings=(),
        savings_curves=(),
        recovery=(),
        laws=laws,
        costs=Costs(0.0, 0.0, 0.0, 0.0, 0.0, {}),
    )


def _optima(
    found: list[Sweep], labels: list[str], runs: pd.DataFrame, trials: pd.DataFrame
) -> list[TunedOptimum]:
    """Of each setting. The edge is judged on the lowest loss over init scales at each learning
    rate, which is also right where a sampler tried each rate at one scale only.
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
) -> TunedOptimum:
    best = min(
        (sweep for sweep in group if sweep.finished), key=lambda sweep: sweep.optimum.argmin_loss
    )
    lowest: dict[float, float] = {}
    for sweep in group:
        for log2_lr, loss in zip(sweep.log2_lr.tolist(), sweep.mean_loss.tolist(), strict=True):
            lowest[log2_lr] = float(np.fmin(lowest.get(log2_lr, math.nan), loss))
    profile = optimum(list(lowest), list(lowest.values()))
    searched = {run_id for sweep in group for run_id in sweep.run_ids}
    return TunedOptimum(
        parametrization=best.parametrization,
        variant=label,
        width=best.width,
        depth=best.depth,
        lr=2.0**profile.argmin_log2_lr,
        log2_lr=profile.argmin_log2_lr,
        init_std=float(best.setting["hyper.init_std"] or 0),
        loss=profile.argmin_loss,
        edge=profile.edge,
        flops_tuning=sum(sweep.search_flops for sweep in group),
        trials=_outcomes([ids for ids in trials["run_ids"] if searched & set(ids)], status),
    )


def _named(found: list[Sweep], trials: pd.DataFrame) -> list[str]:
    """Sweeps by what the study calls them."""
    names = {
        run_id: str(name)
        for name, run_ids in zip(trials["sweep"], trials["run_ids"], strict=True)
        for run_id in run_ids
    }
    return [next((names[i] for i in sweep.run_ids if i in names), "") for sweep in found]


def _outcomes(trials: Iterable[Sequence[str]], status: Mapping[str, str]) -> TrialCounts:
    found = [{status.get(run_id) for run_id in run_ids} for run_ids in trials]
    diverged = sum("diverged" in outcomes for outcomes in found)
    pruned = sum("pruned" in outcomes and "diverged" not in outcomes for outcomes in found)
    complete = sum(outcomes == {"finished"} for outcomes in found)
    return TrialCounts(complete, pruned, diverged)


def _finals(targets: pd.DataFrame) -> list[Final]:
    """One for each target and label."""
    finals = []
    for target, arms in targets.groupby("target", sort=False):
        baseline = _final_losses(arms[arms["method"] == BASELINE], "final_val_loss")
        for label, rows in arms.groupby("label", sort=False):
            loss = _final_losses(rows, "final_val_loss")
            pairs = {seed: loss[seed] - baseline[seed] for seed in loss if seed in baseline}
            first = rows.iloc[0]
            is_baseline = first["method"] == BASELINE
            finals.append(
                Final(
                    target=str(target),
                    width=int(first["width"]),
                    depth=int(first["depth"]),
                    params=int(first["params"]),
                    method=str(first["method"]),
                    label=str(label),
                    n_seeds=len(rows),
                    loss=_mean(loss),
                    bpb=_mean(_final_losses(rows, "final_bpb")),
                    minus_scratch=None if is_baseline or not pairs else _mean(pairs),
                    flops=float(rows["flops"].mean()),
                    flops_source=float(rows["flops_source"].mean()),
                    flops_tuning=float(rows["flops_tuning"].mean()),
                    diverged=int((rows["status"] == "diverged").sum()),
                )
            )
    return finals


def _final_losses(rows: pd.DataFrame, column: str) -> dict[int, float]:
    finished = rows[rows["status"] == "finished"]
    return dict(zip(finished["seed"].tolist(), finished[column].tolist(), strict=True))


def _mean(by_seed: dict[int, float]) -> Interval:
    return student_interval(list(by_seed.values()), LEVEL)


def _savings(
    targets: pd.DataFrame, curves: dict[str, Curve]
) -> tuple[list[ArmSaving], list[ArmCurve]]:
    """Headline savings and savings curves of every arm against scratch at the same target."""
    headlines: list[ArmSaving] = []
    grids: list[ArmCurve] = []
    for target, arms in targets.groupby("target", sort=False):
        baseline = arm(arms[arms["method"] == BASELINE], curves)
        for label, rows in arms[arms["method"] != BASELINE].groupby("label", sort=False):
            method = arm(rows, curves)
            name, shape = str(rows["method"].iloc[0]), str(target)
            ends, grid = headline_and_curve(baseline, method)
            headlines += [
                ArmSaving(**vars(saving), target=shape, method=name, label=str(label), at=at)
                for at, saving in ends
            ]
            if grid:
                columns = [as_columns(str(label), counted, grid) for counted in ACCOUNTINGS]
                grids += [ArmCurve(**vars(one), target=shape, method=name) for one in columns]
    return headlines, grids


def _costs(runs: pd.DataFrame) -> Costs:
    flops = runs.groupby("role")["flops"].sum()
    counts = Counter(runs["status"])
    return Costs(
        proxy_flops=float(flops.get("proxy", 0.0)),
        source_flops=float(flops.get("source", 0.0)),
        target_flops=float(flops.get("target", 0.0)),
        baseline_flops=float(flops.get("trunk", 0.0) + flops.get("branch", 0.0)),
        wall_s=float(runs["wall_s"].sum()),
        runs={status: counts[status] for status in STATUSES},
    )
