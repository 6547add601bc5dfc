"""Does a grown arm beat what else its compute would have bought? The table that a study is for.

For every arm at every target its final loss is compared, at the compute that it is charged, with

    scratch       the target's shape, on a whole schedule
    own source    its last source trained on, on a whole schedule
    front         the best of the study's shapes at that compute

each by the difference of losses and its interval. Where runs have a final evaluation its blocks of
text are a second thing that was drawn, beside seeds, and the interval holds both
(``stats.crossed_interval``); where they have none it holds seeds alone, which all share their text.

A study compares many arms with one baseline, and the best of thirty level arms looks good. So an
arm is *better* or *worse* only if its paired test, corrected over the arms of its target (Holm
1979), rejects at 5 %, and the interval agrees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.baselines import Comparisons, comparisons
from mugrow.analysis.measure.equal_compute import (
    BudgetLine,
    Difference,
    EqualComputeSpeedup,
    Front,
    State,
    difference,
    speedup,
)
from mugrow.analysis.stats import (
    NOTHING,
    Interval,
    crossed_interval,
    holm,
    p_value,
    ranking,
    student_interval,
)

Baseline = Literal["scratch", "own source", "front"]
Verdict = Literal["better", "worse", "undecided", "not measured"]
BASELINES: tuple[Baseline, ...] = ("scratch", "own source", "front")
ERROR_RATE = 0.05


@dataclass(frozen=True)
class Versus:
    """An arm against one baseline at its charged compute: ``difference`` of final losses in nats
    per token, below 0 where the arm is better. ``shape`` is the front's there. ``p_holm`` is nan
    where there is no test."""

    baseline: Baseline
    state: State
    difference: Interval
    shape: str
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class EqualCompute:
    """One label at one target. ``charge`` are its FLOPs with its sources', ``times_scratch`` those
    over scratch's own; ``speedup`` over scratch as in ``equal_compute``. ``blocks`` of text are in
    the intervals of differences, 0 where text is not. ``also`` are labels whose runs are the same
    to the last bit, and ``best`` is the probability that it has the lowest mean of its target's
    arms (``stats.ranking``), nan where nothing tells."""

    target: str
    method: str
    label: str
    also: tuple[str, ...]
    best: float
    charge: float
    times_scratch: float
    loss: Interval
    blocks: int
    versus: tuple[Versus, ...]
    speedup: Interval
    speedup_state: State

    def against(self, baseline: Baseline) -> Versus:
        return next(one for one in self.versus if one.baseline == baseline)


@dataclass(frozen=True, eq=False)
class _Lines:
    """What the arms of a target are compared with; ``sources`` by an arm's label."""

    scratch: BudgetLine | None
    sources: dict[str, BudgetLine | None]
    front: Front | None

    def of(self, baseline: Baseline, label: str, shape: str = "") -> BudgetLine | Front | None:
        """``shape`` picks the front's line of that shape."""
        if baseline == "scratch":
            return self.scratch
        if baseline == "own source":
            return self.sources[label]
        return self.front.lines[shape] if self.front and shape else self.front


def compared(
    runs: pd.DataFrame, targets: pd.DataFrame, error_rate: float = ERROR_RATE
) -> list[EqualCompute]:
    """A row for each grown label at each target, the lowest final loss first; labels of equal runs
    are one. ``targets`` are as ``arms.label_targets`` has them. ``error_rate`` is a verdict's,
    smaller where it is looked at more than once. Empty where the study has no budgets: no
    ``branch`` runs."""
    if not (runs["role"] == "branch").any():
        return []
    whole = comparisons(runs)
    ids = {
        str(target): {str(label): list(rows["run_id"]) for label, rows in arms.groupby("label")}
        for target, arms in targets.groupby("target", sort=False)
    }
    methods = dict(
        zip(zip(targets["target"], targets["label"], strict=True), targets["method"], strict=True)
    )
    found: list[EqualCompute] = []
    for target in ids:
        grown = {
            label: run_ids
            for label, run_ids in ids[target].items()
            if methods[target, label] != BASELINE
        }
        rows = _of_target(whole, ids, target, grown, error_rate)
        found += sorted(
            (replace(row, method=str(methods[target, row.label])) for row in rows),
            key=lambda row: row.loss.value,
        )
    return found


def _of_target(
    whole: Comparisons,
    ids: dict[str, dict[str, list[str]]],
    target: str,
    grown: dict[str, list[str]],
    error_rate: float,
) -> list[EqualCompute]:
    every = {label: arm for label, run_ids in grown.items() if (arm := whole.arm(run_ids))}
    names: dict[tuple[object, ...], list[str]] = {}
    for label, arm in every.items():
        names.setdefault((arm.flops, *sorted(arm.losses.items())), []).append(label)
    arms = {labels[0]: every[labels[0]] for labels in names.values()}
    also = {labels[0]: tuple(labels[1:]) for labels in names.values()}
    ranked = ranking({label: arm.losses for label, arm in arms.items()})
    best = {label: one.best for one in ranked for label in one.names}
    lines = _lines(whole, ids, target, grown)
    scratch = whole.arm(ids[target].get(BASELINE, []))
    differences = {
        (label, baseline): difference(arm, line) if (line := lines.of(baseline, label)) else None
        for label, arm in arms.items()
        for baseline in BASELINES
    }
    adjusted = {
        (label, baseline): p
        for baseline in BASELINES
        for label, p in _holm({label: differences[label, baseline] for label in arms}).items()
    }
    blocks = _blocks(whole, [run_id for run_ids in ids[target].values() for run_id in run_ids])
    crossed = _crossed(whole, blocks, ids, target, grown)
    found = []
    for label, arm in arms.items():
        line = lines.scratch
        faster = speedup(arm, line) if line else EqualComputeSpeedup("outside", NOTHING, "")
        versus = []
        for baseline in BASELINES:
            one = differences[label, baseline]
            interval = crossed(label, baseline, one.shape if one else "")
            p_holm = adjusted[label, baseline]
            versus.append(_versus(baseline, one, p_holm, interval, error_rate))
        found.append(
            EqualCompute(
                target=target,
                method="",
                label=label,
                also=also[label],
                best=best.get(label, float("nan")),
                charge=arm.flops,
                times_scratch=arm.flops / scratch.flops if scratch else float("nan"),
                loss=student_interval(list(arm.losses.values())),
                blocks=blocks,
                versus=tuple(versus),
                speedup=faster.speedup,
                speedup_state=faster.state,
            )
        )
    return found


def _lines(
    runs: Comparisons,
    ids: dict[str, dict[str, list[str]]],
    target: str,
    grown: dict[str, list[str]],
) -> _Lines:
    by_shape: dict[str, BudgetLine] = {}
    for other, labels in ids.items():
        line = runs.scratch(labels.get(BASELINE, []))
        if line is not None:
            by_shape[other] = line
    return _Lines(
        scratch=by_shape.get(target),
        sources={label: runs.sources(run_ids) for label, run_ids in grown.items()},
        front=runs.front(by_shape),
    )


def _holm(differences: dict[str, Difference | None]) -> dict[str, float]:
    """Adjusted p-values of the arms that can be tested; nan for the others."""
    tested = {
        label: p
        for label, one in differences.items()
        if one is not None and not np.isnan(p := p_value(list(one.by_seed.values())))
    }
    adjusted = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    return {label: adjusted.get(label, float("nan")) for label in differences}


def _versus(
    baseline: Baseline,
    found: Difference | None,
    p_holm: float,
    crossed: Interval | None,
    error_rate: float,
) -> Versus:
    if found is None or found.state != "reached":
        state: State = "outside" if found is None else found.state
        return Versus(baseline, state, NOTHING, "", float("nan"), "not measured")
    interval = crossed or found.difference
    verdict: Verdict = "undecided"
    if p_holm <= error_rate and not interval.lo <= 0 <= interval.hi:
        verdict = "better" if interval.value < 0 else "worse"
    return Versus(baseline, found.state, interval, found.shape, p_holm, verdict)


def _blocks(runs: Comparisons, run_ids: Sequence[str]) -> int:
    """How many blocks the final evaluations of all these runs have; 0 where some have none."""
    counts = {len(run.blocks) for run in runs.runs.values() if run.role == "branch"}
    counts |= {len(runs.runs[run_id].blocks) for run_id in run_ids if run_id in runs.runs}
    return counts.pop() if len(counts) == 1 else 0


def _crossed(
    whole: Comparisons,
    blocks: int,
    ids: dict[str, dict[str, list[str]]],
    target: str,
    grown: dict[str, list[str]],
) -> Callable[[str, Baseline, str], Interval | None]:
    """The interval over seeds and blocks of text, by label, baseline and the front's shape there;
    None without blocks."""
    each = [replace(whole, block=block) for block in range(blocks)]
    lines = [_lines(runs, ids, target, grown) for runs in each]

    def interval(label: str, baseline: Baseline, shape: str) -> Interval | None:
        columns: list[Mapping[int, float]] = []
        for runs, its in zip(each, lines, strict=True):
            arm, line = runs.arm(grown[label]), its.of(baseline, label, shape)
            if arm is not None and line is not None:
                columns.append(difference(arm, line).by_seed)
        seeds = sorted(columns[0]) if columns else []
        if len(seeds) < 2:
            return None
        return crossed_interval([[column[seed] for column in columns] for seed in seeds])

    return interval
