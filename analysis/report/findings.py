"""What each figure shows, in sentences: its alternative text, for who cannot see it.

They are made from the typed results that the figure and the tables are made from, and end in the
tables' verdicts, so that they can contradict neither. A figure of which nothing can be said in a
sentence has none, and keeps its title.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from mugrow.analysis import words as fmt
from mugrow.analysis.figures import asymmetry as drawn_asymmetry
from mugrow.analysis.figures import lr_sweeps
from mugrow.analysis.figures import transfer_words as named
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.claims import JudgedClaim
from mugrow.analysis.measure.comparison import Baseline
from mugrow.analysis.measure.recovery import TOLERANCE, Recovery
from mugrow.analysis.read.store import Store
from mugrow.analysis.report import claims, equal_compute, imported, laws, transfer, words
from mugrow.analysis.summary import Final, Summary
from mugrow.analysis.transfer.results import LadderResult, TransferResults
from mugrow.analysis.words import ACCOUNTINGS

Sentences = Iterator[str]
MOST = 5  # sentences of one kind: alternative text is heard at one go
VERDICTS = {
    "transfers": "transfers", "drifts": "does not transfer", "censored": "no verdict, censored",
    "inconclusive": "undecided",
}  # fmt: skip


def finding(name: str, summary: Summary, store: Store) -> str:
    """What the figure ``name`` shows; empty where there is nothing to say."""
    if name in OF_STUDY:
        return " ".join(OF_STUDY[name](summary, store))
    return of_transfer(name, summary.transfer)


def of_transfer(name: str, found: TransferResults) -> str:
    """What a figure on transfer shows; empty for a name that is none."""
    return " ".join(OF_TRANSFER[name](found)) if name in OF_TRANSFER else ""


def of_claims(rows: Sequence[JudgedClaim]) -> str:
    """What a paper's figure shows: the claims that it decides, each with our number and verdict."""
    return " ".join(_few(map(_decided, claims.groups(rows)), "claims"))


def _decided(group: claims.ClaimGroup) -> str:
    """``says (quantity): ours 1.2 [1.1, 1.3], claimed above 1: reproduced.``"""
    asked = f"{group.says} ({group.quantity})" if group.quantity else group.says
    ours = f"ours {group.ours}" if group.ours else ""
    claimed = f"claimed {group.claimed}" if group.claimed else ""
    numbers = ", ".join(filter(None, (ours, claimed)))
    verdicts = ", ".join(map(str, group.chips))
    return f"{asked}: {numbers}: {verdicts}." if numbers else f"{asked}: {verdicts}."


def _few(sentences: Iterable[str], what: str) -> Sentences:
    """The first of them, and how many there are beside."""
    every = list(sentences)
    yield from every[:MOST]
    if len(every) > MOST:
        yield f"And {len(every) - MOST} more {what}."


def _main(summary: Summary, store: Store) -> Sentences:
    yield from along("width")(summary.transfer)
    if summary.equal_compute:
        yield from islice(_equal_compute(summary, store), 1)
    else:
        yield from _speedups(summary, (ACCOUNTINGS["source"],))


def _equal_compute(summary: Summary, store: Store) -> Sentences:
    """The best arm of each target against each baseline, then how many arms have which verdict."""
    baselines = imported.compared_with(store)
    best = equal_compute.best_arms(summary.equal_compute)
    yield from _few((equal_compute.sentence(row, baselines) for row in best), "targets")
    for row in best:
        yield from _verdicts(summary, row.target, baselines[0])


def _differences(summary: Summary, store: Store) -> Sentences:
    """How many arms of each target have which verdict, against every baseline."""
    for target in dict.fromkeys(row.target for row in summary.equal_compute):
        for baseline in imported.compared_with(store):
            yield from _verdicts(summary, target, baseline)


def _verdicts(summary: Summary, target: str, baseline: Baseline) -> Sentences:
    found = [row.against(baseline).verdict for row in summary.equal_compute if row.target == target]
    if len(found) > 1:
        counts = ", ".join(f"{found.count(one)} {one}" for one in dict.fromkeys(found))
        against = equal_compute.NAMES[baseline]
        yield f"Of {len(found)} arms at {target}, against {against}: {counts}."


def _finals(summary: Summary, store: Store) -> Sentences:
    """Of each target the lowest final loss, and scratch's."""
    by_target: dict[str, list[Final]] = {}
    for row in summary.finals:
        if math.isfinite(row.loss.value):
            by_target.setdefault(row.target, []).append(row)
    yield from _few(
        (_ends(target, rows) for target, rows in reversed(by_target.items())), "targets"
    )


def _ends(target: str, rows: Sequence[Final]) -> str:
    lowest = min(rows, key=lambda row: row.loss.value)
    ends = f"At {target} {lowest.label} ends lowest, at {fmt.interval(lowest.loss, fmt.loss)} nats"
    scratch = next((row for row in rows if row.method == BASELINE), None)
    if scratch is None:
        return f"{ends}."
    if lowest is scratch:
        return f"{ends}: no method is below it."
    ends += f"; scratch ends at {fmt.interval(scratch.loss, fmt.loss)}"
    paired = fmt.interval(lowest.minus_scratch, fmt.loss)
    return f"{ends}." if paired == fmt.MISSING else f"{ends}, the paired difference is {paired}."


def _speedups(summary: Summary, accountings: Sequence[str]) -> Sentences:
    """At the largest target, who reached scratch's final loss, as the report says it."""
    for target, rows in islice(words.growth(summary).items(), 1):
        said = [row for row in rows if row.accounting in accountings]
        if said:
            yield f"{target}:"
        for row in said:
            others = f" and {row.count - words.NAMED} more" if row.others else ""
            yield f"{row.accounting.capitalize()}, {row.verdict}: {row.first}{others}."


def _savings(summary: Summary, store: Store) -> Sentences:
    yield from _speedups(summary, tuple(ACCOUNTINGS.values()))


def _forest(summary: Summary, store: Store) -> Sentences:
    yield from _savings(summary, store)
    for target in reversed(dict.fromkeys(row.target for row in summary.finals)):
        paired = [row.minus_scratch for row in summary.finals
                  if row.target == target and row.minus_scratch is not None]  # fmt: skip
        if paired:
            below = sum(one.hi < 0 for one in paired)
            above = sum(one.lo > 0 for one in paired)
            yield (
                f"Final losses at {target} whose whole interval is below scratch’s: {below} of "
                f"{len(paired)}; above: {above}."
            )


def _methods(summary: Summary, store: Store) -> Sentences:
    yield from _finals(summary, store)
    yield from _speedups(summary, (ACCOUNTINGS["source"],))


def _recovery(summary: Summary, store: Store) -> Sentences:
    """Of each target the highest spike, and the soonest back at its source's loss."""
    by_target: dict[str, list[Recovery]] = {}
    for row in summary.recovery:
        by_target.setdefault(row.target, []).append(row)
    for target, rows in reversed(by_target.items()):
        highest = max(rows, key=lambda row: row.spike.value)
        kept = sum(row.peak.value <= TOLERANCE for row in rows)
        back = [(row.tokens.value, row) for row in rows if row.tokens is not None]
        yield (
            f"At {target} the highest spike is {highest.label}’s, "
            f"{fmt.interval(highest.spike, fmt.loss)} nats above its source; never above it: "
            f"{kept} of {len(rows)} methods."
        )
        late = [(tokens, row) for tokens, row in back if tokens > 0]
        many = f"Back at the source’s loss in every seed: {len(back)} of {len(rows)}"
        if late:
            tokens, soonest = min(late, key=lambda one: one[0])
            many += (
                f"; of those that rose, {soonest.label} first, after {fmt.tokens(tokens)} tokens"
            )
        yield f"{many}."


def _asymmetry(summary: Summary, store: Store) -> Sentences:
    for target, ends in reversed(drawn_asymmetry.last_values(store).items()):
        locked = [label for label, end in ends.items() if end < drawn_asymmetry.LOCKED]
        most = max(ends, key=lambda label: ends[label])
        named_locked = f" ({', '.join(_few(locked, 'methods'))})" if locked else ""
        yield (
            f"At {target} still locked at the end: {len(locked)} of {len(ends)} "
            f"methods{named_locked}; the largest asymmetry is {most}’s, "
            f"{drawn_asymmetry.ending(ends[most])}."
        )


def _costs(summary: Summary, store: Store) -> Sentences:
    for target in reversed(dict.fromkeys(row.target for row in summary.finals)):
        totals = {
            row.label: row.flops + row.flops_source + row.flops_tuning
            for row in summary.finals
            if row.target == target
        }
        ordered = sorted(totals, key=lambda label: totals[label])
        said = dict.fromkeys([label for label in totals if label == BASELINE] + ordered[:1])
        said |= dict.fromkeys(ordered[-1:])
        each = ", ".join(f"{label} {fmt.flops(totals[label])}" for label in said)
        yield f"A run at {target} with its source and tuning, the cheapest and the dearest: {each}."


def along(axis: str) -> Callable[[TransferResults], Sentences]:
    """The verdicts of the ladders along ``axis``, or over the growth factor."""

    def sentences(found: TransferResults) -> Sentences:
        yield from _few(
            (_judged(one) for one in found.ladders if one.by_growth == (axis == "growth")
             and axis in ("growth", one.axis)),
            "ladders",
        )  # fmt: skip

    return sentences


def _judged(ladder: LadderResult) -> str:
    return f"{transfer.briefly(ladder)}: {transfer.WORDS[ladder.verdict.word]}."


def _every_ladder(found: TransferResults) -> Sentences:
    yield from _few(map(_judged, found.ladders), "ladders")


def _tolerance(found: TransferResults) -> Sentences:
    pairs = [
        (pair.regret_percent.value, -pair.shift_argmin_log2.value)
        for ladder in found.ladders
        for pair in ladder.pairs
        if math.isfinite(pair.regret_percent.value)
    ]
    if pairs:
        most, shift = max(pairs)
        yield (
            f"Of {len(pairs)} pairs of sizes the largest regret is {fmt.percent(most)} of the "
            f"loss, where the rate used is {fmt.log2(shift)} log2 off the best one tested."
        )


def _operator_settings(found: TransferResults) -> Sentences:
    yield from _few(
        (
            f"{named.name(one)}, {named.setting(one)}: {VERDICTS[one.verdict.word]} "
            f"({one.verdict.why})."
            for one in found.operator_settings.compared
        ),
        "settings",
    )


def _init(found: TransferResults) -> Sentences:
    for sweeps in lr_sweeps.smallest_sweeps(found):
        tried = [(sweep.argmin_loss, sweep) for sweep in sweeps if sweep.finished]
        if tried:
            loss, best = min(tried, key=lambda one: one[0])
            yield (
                f"{fmt.parametrization(best.parametrization)} at width {best.width}: the lowest "
                f"loss, {fmt.loss(loss)} nats, is at log2 lr {fmt.log2(best.argmin_log2_lr)} and "
                f"an initial standard deviation of {best.init_std:.3g}."
            )


def _laws(summary: Summary, store: Store) -> Sentences:
    yield from _few(laws.sentences(summary.laws), "laws")


def _growth_factor(summary: Summary, store: Store) -> Sentences:
    for panel in summary.laws.growth_factors.panels:
        at = f"{laws.name(panel)} at N = {fmt.si(panel.n, '')}"
        for level in panel.levels[-1:]:
            best, even = laws.factors(level).values()
            yield (
                f"{at}, at {fmt.flops(level.c)}: {laws.words(level.status)}, best growth factor "
                f"{laws.factor(*best)}, break-even {laws.factor(*even)}."
            )


def _contour(summary: Summary, store: Store) -> Sentences:
    for one in summary.laws.contours:
        if one.drawn is not None:
            below = float((one.drawn.difference < 0).mean())
            known = float((one.drawn.gap > 0).mean())
            yield (
                f"By the laws, {one.label} is below {one.drawn.baseline} in "
                f"{fmt.percent_of_one(below)} of the sizes and tokens drawn; in "
                f"{fmt.percent_of_one(known)} the two laws' intervals are apart."
            )


OF_STUDY: dict[str, Callable[[Summary, Store], Sentences]] = {
    "main": _main,
    "equal_compute": _equal_compute,
    "differences": _differences,
    "curves": _finals,
    "savings": _savings,
    "methods": _methods,
    "forest": _forest,
    "recovery": _recovery,
    "asymmetry": _asymmetry,
    "costs": _costs,
    "laws": _laws,
    "residuals": _laws,
    "growth_factor": _growth_factor,
    "contour": _contour,
}
OF_TRANSFER: dict[str, Callable[[TransferResults], Sentences]] = {
    "transfer": along("width"),
    "transfer_depth": along("depth"),
    "transfer_tokens": along("tokens"),
    "transfer_batch": along("batch"),
    "transfer_growth": along("growth"),
    "optima": _every_ladder,
    "regret": _every_ladder,
    "tolerance": _tolerance,
    "operator_settings": _operator_settings,
    "init": _init,
}
