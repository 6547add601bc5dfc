"""Does a grown arm beat what else its compute would have bought? The table that a study is for.

For every arm at every target its final loss is compared, at the compute that it is charged, with

    scratch       the target's shape, on a whole schedule
    own source    its last source trained on, on a whole schedule
    front         the best size at that compute, of the study's shapes or between them

each by the difference of losses and its interval. Where runs have a final evaluation its blocks of
text are a second thing that was drawn, beside seeds, and the interval holds both
(``stats.crossed_interval``); where they have none it holds seeds alone, which all share their text.

A study compares many arms with one baseline, and the best of thirty level arms looks good. So an
arm is *better* or *worse* only if its paired test, corrected over the arms of its target (Holm
1979), rejects at 5 %, and the interval agrees.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.baselines import Comparisons, comparisons
from mugrow.analysis.measure.equal_compute import (
    NO_DIFFERENCE,
    BudgetLine,
    ChargedArm,
    Difference,
    EqualComputeSpeedup,
    Front,
    FrontSize,
    SizeKind,
    State,
    at_size,
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
    per token, below 0 where the arm is better. ``p_holm`` is nan where there is no test. Of the
    front, ``shape`` is the lowest that was trained, ``size`` says whether that is it or a vertex
    beside it, and ``params`` are the parameters there."""

    baseline: Baseline
    state: State
    difference: Interval
    shape: str
    p_holm: float
    verdict: Verdict
    size: SizeKind | None = None
    params: float = math.nan


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
class _View:
    """A study's runs by the whole of their final evaluation, or by one block of it, and the lines
    that are the same for all arms: scratch's by target, and their front."""

    runs: Comparisons
    scratch: Mapping[str, BudgetLine]
    front: Front | None

    def difference(
        self, baseline: Baseline, target: str, run_ids: Sequence[str], size: FrontSize | None = None
    ) -> Difference:
        """Of an arm, the runs of one label; on the front at this ``size``, if it is known."""
        arm = self.runs.arm(run_ids)
        if arm and size and self.front:
            return at_size(arm, self.front, size)
        line = self._line(baseline, target, run_ids)
        return difference(arm, line) if arm and line else NO_DIFFERENCE

    def _line(
        self, baseline: Baseline, target: str, run_ids: Sequence[str]
    ) -> BudgetLine | Front | None:
        if baseline == "scratch":
            return self.scratch.get(target)
        return self.runs.sources(run_ids) if baseline == "own source" else self.front


def _view(runs: Comparisons, scratch_ids: Mapping[str, Sequence[str]]) -> _View:
    lines = {target: runs.scratch(run_ids) for target, run_ids in scratch_ids.items()}
    known = {target: line for target, line in lines.items() if line is not None}
    return _View(runs, known, runs.front(known))


def has_budgets(runs: pd.DataFrame) -> bool:
    """Whether a store's table ``runs`` has anything to compare with at equal charged compute."""
    return bool((runs["role"] == "branch").any())


def compared(
    runs: pd.DataFrame, targets: pd.DataFrame, error_rate: float = ERROR_RATE
) -> list[EqualCompute]:
    """A row for each grown label at each target, the lowest final loss first; labels of equal runs
    are one. ``targets`` are as ``arms.label_targets`` has them. ``error_rate`` is a verdict's,
    smaller where it is looked at more than once. Empty where the study has no budgets."""
    if not has_budgets(runs):
        return []
    ended = comparisons(runs)
    of_scratch = targets["method"] == BASELINE
    scratch_ids = {
        str(target): list(rows["run_id"])
        for target, rows in targets[of_scratch].groupby("target", sort=False)
    }
    whole = _view(ended, scratch_ids)
    blocks = [
        _view(replace(ended, block=block), scratch_ids)
        for block in range(_blocks(ended, targets["run_id"]))
    ]
    found: list[EqualCompute] = []
    for target, arms in targets[~of_scratch].groupby("target", sort=False):
        scratch = ended.arm(scratch_ids.get(str(target), []))
        rows = _of_target(whole, blocks, str(target), scratch, arms, error_rate)
        found += sorted(rows, key=lambda row: row.loss.value)
    return found


def _of_target(
    whole: _View,
    blocks: Sequence[_View],
    target: str,
    scratch: ChargedArm | None,
    rows: pd.DataFrame,
    error_rate: float,
) -> Iterator[EqualCompute]:
    """One for each grown arm of ``rows``."""
    ids = {str(label): list(one["run_id"]) for label, one in rows.groupby("label")}
    methods = dict(zip(rows["label"], rows["method"], strict=True))
    every = {label: arm for label, run_ids in ids.items() if (arm := whole.runs.arm(run_ids))}
    names: dict[tuple[object, ...], list[str]] = {}
    for label, arm in every.items():
        names.setdefault((arm.flops, *sorted(arm.losses.items())), []).append(label)
    arms = {labels[0]: every[labels[0]] for labels in names.values()}
    ranked = ranking({label: arm.losses for label, arm in arms.items()})
    best = {label: one.best for one in ranked for label in one.names}
    versus: dict[str, list[Versus]] = {label: [] for label in arms}
    for baseline in BASELINES:
        differences = {label: whole.difference(baseline, target, ids[label]) for label in arms}
        adjusted = _holm(differences)
        for label, one in differences.items():
            crossed = _crossed(
                [view.difference(baseline, target, ids[label], one.size) for view in blocks]
            )
            versus[label].append(_versus(baseline, one, adjusted[label], crossed, error_rate))
    line = whole.scratch.get(target)
    for labels in names.values():
        label, arm = labels[0], arms[labels[0]]
        by_block = [
            (of_block, view.scratch[target])
            for view in blocks
            if (of_block := view.runs.arm(ids[label])) and target in view.scratch
        ]
        faster = EqualComputeSpeedup("outside", NOTHING)
        if line:
            faster = speedup(arm, line, blocks=by_block if len(by_block) > 1 else ())
        yield EqualCompute(
            target=target,
            method=str(methods[label]),
            label=label,
            also=tuple(labels[1:]),
            best=best.get(label, math.nan),
            charge=arm.flops,
            times_scratch=arm.flops / scratch.flops if scratch else math.nan,
            loss=student_interval(list(arm.losses.values())),
            blocks=len(blocks),
            versus=tuple(versus[label]),
            speedup=faster.speedup,
            speedup_state=faster.state,
        )


def _holm(differences: Mapping[str, Difference]) -> dict[str, float]:
    """Adjusted p-values of the arms that can be tested; nan for the others."""
    found = {label: p_value(list(one.by_seed.values())) for label, one in differences.items()}
    tested = {label: p for label, p in found.items() if not math.isnan(p)}
    return found | dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))


def _versus(
    baseline: Baseline,
    found: Difference,
    p_holm: float,
    crossed: Interval | None,
    error_rate: float,
) -> Versus:
    if found.state != "reached":
        return Versus(baseline, found.state, NOTHING, "", math.nan, "not measured")
    interval = crossed or found.difference
    verdict: Verdict = "undecided"
    if p_holm <= error_rate and not interval.lo <= 0 <= interval.hi:
        verdict = "better" if interval.value < 0 else "worse"
    if found.size is None:
        return Versus(baseline, found.state, interval, "", p_holm, verdict)
    size = found.size
    return Versus(
        baseline, found.state, interval, size.shape, p_holm, verdict, size.kind, size.params
    )


def _blocks(runs: Comparisons, run_ids: Iterable[str]) -> int:
    """How many blocks the final evaluations of targets and branches have; 0 where some have none,
    or they differ."""
    counts = {len(run.blocks) for run in runs.runs.values() if run.role == "branch"}
    counts |= {len(runs.runs[run_id].blocks) for run_id in run_ids if run_id in runs.runs}
    return counts.pop() if len(counts) == 1 else 0


def _crossed(by_block: Sequence[Difference]) -> Interval | None:
    """The interval over seeds and blocks of text; None without blocks, and from one seed."""
    seeds = sorted(by_block[0].by_seed) if by_block else []
    if len(seeds) < 2:
        return None
    return crossed_interval([[one.by_seed[seed] for one in by_block] for seed in seeds])
