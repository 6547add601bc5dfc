"""The answer of a study that grows, in words: the best arm of each target against each baseline."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.comparison import BASELINES, Baseline, EqualCompute, Verdict, Versus
from mugrow.analysis.measure.equal_compute import SizeKind
from mugrow.analysis.measure.looks import ArmLooks, LooksTaken
from mugrow.analysis.measure.sequential import MOST_SEEDS
from mugrow.analysis.report.table import Table
from mugrow.analysis.summary import Final

NAMES: dict[Baseline, str] = {
    "scratch": "scratch",
    "own source": "its own source, trained on",
    "front": "the best size for this compute",
}
SAID: dict[Verdict, str] = {
    "better": "beats",
    "worse": "loses to",
    "undecided": "undecided against",
    "not measured": "not measured against",
}
BEYOND = {
    "above_budgets": "charged more than the largest budget",
    "below_budgets": "charged less than the smallest budget",
    "outside": "no runs to compare with",
    "reached": "",
}
EDGES: dict[SizeKind, str] = {
    "vertex": "",
    "best": "",
    "smallest": ", the smallest there",
    "largest": ", the largest there",
    "only": ", the only one there",
}
NO_BUDGETS = (
    "Equal charged compute is not measurable here: scratch has one budget a target, and no source "
    "was trained on. What follows compares at a fixed loss, which the schedule bounds."
)


@dataclass(frozen=True)
class AnswerRow:
    """A line of the answer: the best arm of a target against one baseline."""

    baseline: str
    verdict: Verdict
    said: str
    difference: str
    speedup: str


@dataclass(frozen=True)
class Answer:
    """The best grown arm of a target: ``arm`` and what it paid, and its lines."""

    title: str
    rows: tuple[AnswerRow, ...]


def answers(
    found: Sequence[EqualCompute], baselines: Sequence[Baseline] = BASELINES
) -> Iterator[Answer]:
    """For each target the arm with the lowest final loss, which comes first, against each of the
    ``baselines``; the last target, the largest, before the others."""
    for row in best_arms(found):
        of_target = sum(other.target == row.target for other in found)
        paid = fmt.flops(row.charge)
        if BASELINE in baselines:
            paid += f", {fmt.times(row.times_scratch)} scratch’s"
        arm = _named(row)
        which = f"{arm}, the best of {of_target} arms" if of_target > 1 else arm
        lines = tuple(_line(row, row.against(baseline)) for baseline in baselines)
        yield Answer(f"Growing to {row.target}: {which}, at {paid} with its source", lines)


def best_arms(found: Iterable[EqualCompute]) -> list[EqualCompute]:
    """The arm of each target with the lowest final loss, the last target first."""
    best: dict[str, EqualCompute] = {}
    for row in found:
        best.setdefault(row.target, row)
    return list(reversed(best.values()))


def sentence(row: EqualCompute, baselines: Sequence[Baseline] = BASELINES) -> str:
    """``Growing to w64-d2 for 310 GFLOP with its source, szp ends 0.0300 nats [0.0100, 0.0500]
    below scratch.``"""
    against = "; ".join(_against(row.against(baseline)) for baseline in baselines)
    paid = f"for {fmt.flops(row.charge)} with its source"
    return f"Growing to {row.target} {paid}, {_named(row)} {against}."


def _against(versus: Versus) -> str:
    """``ends 0.0300 nats [0.0100, 0.0500] below scratch``; signs are kept where it is undecided."""
    name = NAMES[versus.baseline] + size(versus)
    if versus.verdict == "not measured":
        return f"is {SAID[versus.verdict]} {name} ({BEYOND[versus.state]})"
    found = versus.difference
    if versus.verdict == "undecided":
        return f"is {SAID[versus.verdict]} {name} ({fmt.interval(found, fmt.loss)} nats)"
    side = "above"
    if versus.verdict == "better":
        side, found = "below", replace(found, value=-found.value, lo=-found.hi, hi=-found.lo)
    value, ends = fmt.loss(found.value), fmt.brackets(found.lo, found.hi, fmt.loss)
    return f"ends {value} nats{ends} {side} {name}"


def _line(row: EqualCompute, versus: Versus) -> AnswerRow:
    name = NAMES[versus.baseline] + size(versus)
    difference = fmt.interval(versus.difference, fmt.loss)
    if versus.verdict == "not measured":
        difference = BEYOND[versus.state]
    faster = speedup(row) if versus.baseline == "scratch" else ""
    return AnswerRow(name, versus.verdict, SAID[versus.verdict], difference, faster)


def speedup(row: EqualCompute) -> str:
    """The speed-up over scratch, or the bound that the budgets leave."""
    sign = {"above_budgets": "> ", "below_budgets": "< "}.get(row.speedup_state, "")
    open_below = replace(row.speedup, lo=row.speedup.lo or -math.inf)
    text = fmt.interval(open_below, fmt.times)
    return text if text == fmt.MISSING else sign + text


def table(found: Iterable[EqualCompute]) -> Table:
    """Every arm of every target."""
    return Table(
        "equal-compute",
        "Final loss at equal charged compute",
        "An arm's final loss minus the baseline's at the compute that the arm is charged, its "
        "source included, in nats per token: below 0 the arm is better. Better and worse are by a "
        "paired test, corrected over the arms of a target (Holm). Speed-up: the FLOPs that scratch "
        "needs for the arm's final loss, over those that the arm is charged. Best with: the "
        "probability that an arm has the lowest mean of its target. Labels joined by = are equal "
        "runs. The best size is the vertex of a parabola of loss against the logarithm of "
        "parameters, through the lowest of the sizes and its neighbours; where the lowest is the "
        "smallest or the largest there, a better one may lie beyond.",
        ("target", "method", "final loss", "best with", "charged", "over scratch's",
         *(f"minus {NAMES[baseline]}" for baseline in BASELINES), "speed-up over scratch"),
        tuple(
            (row.target, _named(row), fmt.interval(row.loss, fmt.loss),
             fmt.percent_of_one(row.best), fmt.flops(row.charge), fmt.times(row.times_scratch),
             *(_cell(row.against(name)) for name in BASELINES), speedup(row))
            for row in found
        ),
    )  # fmt: skip


def looks(found: LooksTaken | None) -> str:
    """Which looks a study has taken, at what error and cost, and how many arms they decided."""
    if found is None:
        return ""
    taken = [(n, spent) for n, spent in zip(found.seeds, found.flops, strict=True) if spent]
    many = ", ".join(f"{n} seeds ({fmt.flops(spent)})" for n, spent in taken)
    decided = sum(arm.state == "decided" for arm in found.arms)
    return (
        f"Seeds were added until an arm was decided against {found.against}, in looks after "
        f"{many} of {', '.join(map(str, found.seeds))} planned; each look has an error of "
        f"{fmt.percent_of_one(found.level)}, all together {fmt.percent_of_one(found.error_rate)}. "
        f"{decided} of {len(found.arms)} arms {'is' if decided == 1 else 'are'} decided."
    )


def looks_table(found: LooksTaken | None) -> Table:
    """Each arm at its last look, and what deciding it would take."""
    return Table(
        "looks",
        "Seeds until decided",
        "The difference from what an arm is compared with at its last look, in nats per token, "
        "with the interval at that look's level. To decide: the seeds beyond those it has that a "
        "paired test needs in 4 of 5 studies if mean and spread are what they seem, and their "
        "FLOPs with those of the runs it is compared with.",
        ("target", "method", "state", "after seeds", "difference", "seeds to decide",
         "FLOPs to decide"),
        tuple(
            (arm.target, arm.label, _state(arm), str(arm.seeds),
             fmt.interval(arm.interval, fmt.loss), *_to_decide(arm))
            for arm in (found.arms if found else ())
        ),
    )  # fmt: skip


def _state(arm: ArmLooks) -> str:
    return f"next look after {arm.next_look} seeds" if arm.state == "go on" else arm.state


def _to_decide(arm: ArmLooks) -> tuple[str, str]:
    if arm.state == "decided":
        return fmt.MISSING, fmt.MISSING
    if arm.more_seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS}", fmt.MISSING
    return fmt.number(arm.more_seeds, 0), fmt.flops(arm.more_flops)


def _named(row: EqualCompute) -> str:
    """An arm by its label, and those of equal runs."""
    return " = ".join((row.label, *row.also))


def _cell(versus: Versus) -> str:
    if versus.verdict == "not measured":
        return BEYOND[versus.state]
    return f"{fmt.interval(versus.difference, fmt.loss)}{size(versus)}: {versus.verdict}"


def size(versus: Versus) -> str:
    """Which size the front is of, in brackets: whether its minimum lies between sizes or perhaps
    beyond their edge. Nothing of the other baselines."""
    if versus.size == "vertex":
        return f" ({fmt.si(versus.params, '')} parameters, by a parabola around {versus.shape})"
    edge = "" if versus.size is None else EDGES[versus.size]
    return f" ({versus.shape}{edge})" if versus.shape else ""


def intervals(found: Iterable[EqualCompute]) -> str:
    """What the brackets of the comparisons hold."""
    blocks = {row.blocks for row in found}
    if not blocks:
        return ""
    seeds = "Brackets of comparisons are 95 % Student intervals over paired seeds"
    if blocks == {0}:
        return f"{seeds}; all seeds were validated on the same text, which they say nothing about."
    return f"{seeds} crossed with {max(blocks)} blocks of held-out text."


def tuning(found: Sequence[EqualCompute], finals: Iterable[Final]) -> str:
    """What tuning cost, and after how many targets what growing saves has paid for it. The same
    optimum serves scratch too, so it is no part of a target's comparison."""
    bills = [final.flops_tuning for final in finals if final.flops_tuning > 0]
    if not found or not bills:
        return ""
    target = found[-1].target
    row = next(row for row in found if row.target == target)
    spent = f"Tuning cost {fmt.flops(max(bills))}, once for all targets, scratch among them"
    if row.speedup_state == "reached" and row.speedup.lo > 1:
        saved = (row.speedup.value - 1) * row.charge
        targets = math.ceil(max(bills) / saved)
        many = f"{targets} target{'s' if targets != 1 else ''}"
        saves = f"what {_named(row)} saves over scratch at {target}"
        return f"{spent}: {saves} pays for it from {many} on."
    return f"{spent}: {_named(row)} saves nothing for certain at {target} that would pay for it."
