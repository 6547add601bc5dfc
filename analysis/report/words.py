"""The answer, the caveats and what is missing, in sentences made from the numbers.

A verdict needs its interval: growing *saved* compute when the whole interval of the speed-up is
above 1, *cost more* when it is below, and is *undecided* otherwise. A loss that was never reached
is said so; it never becomes a speed-up.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.read.store import Store
from mugrow.analysis.report import imported, transfer
from mugrow.analysis.summary import AT_FINAL, ArmSaving, Summary
from mugrow.bench.spec import IMPORT

FEW_SEEDS = 3  # fewer, and an interval is 12.7 standard errors on either side
NAMED = 3  # methods of a verdict that a line names; the others unfold
VERDICTS = {
    "saved": "saved compute",
    "cost": "cost more compute",
    "undecided": "undecided with these seeds",
    "one seed": "one seed, so no interval",
    "never_reached": "never reached it",
    "baseline_never_reached": "reached it, and scratch did not",
    "outside_range": "no ratio, the loss is outside the curves",
}
KINDS = {
    "saved": "good", "cost": "bad", "undecided": "open", "one seed": "open",
    "never_reached": "bad", "baseline_never_reached": "good", "outside_range": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The methods that ended alike in one accounting: the first few with their numbers, the highest
    speed-up first, and the ``others``."""

    accounting: str
    verdict: str
    kind: str
    count: int
    first: str
    others: str


def growth(summary: Summary) -> dict[str, list[Outcome]]:
    """For each target shape, widest first, who saved in each accounting and who did not.

    The key names the target and the loss compared at, scratch's own final loss.
    """
    groups: dict[str, list[ArmSaving]] = {}
    for row in summary.savings:
        if row.at == AT_FINAL:
            groups.setdefault(row.target, []).append(row)
    return {
        f"Growing to {target}, to reach scratch’s final loss of {usual_loss(rows)}": [
            outcome
            for name, shown in fmt.ACCOUNTINGS.items()
            for outcome in outcomes(shown, [row for row in rows if row.accounting == name], rows)
        ]
        for target, rows in reversed(groups.items())
    }


def ceilings(summary: Summary, runs: pd.DataFrame) -> str:
    """What the schedule allows a speed-up at a fixed loss. Scratch reaches its final loss at the
    end of its cool-down; an arm that does so before its own begins has trained 1 - c of a schedule
    at best, c being the share that is cool-down, and has paid for its source."""
    targets = runs[runs["role"] == "target"]
    shares = {_cooldown(json.loads(spec)) for spec in targets["spec"]}
    trained = [final for final in summary.finals if final.flops]
    sources = [final.flops_source / final.flops for final in trained if final.flops_source]
    if len(shares) != 1 or not sources:
        return ""
    (share,) = shares
    source = min(sources)
    return (
        f"Scratch is read after its cool-down, the last {fmt.number(100 * share, 0)} % of its "
        "steps, and a grown arm while its learning rate is still high. So an arm that is not ahead "
        "by more than a whole cool-down is worth has a ceiling: "
        f"{fmt.times(1 / (1 - share))} on the target alone, "
        f"{fmt.times(1 / (1 - share + source))} with the cheapest source. A speed-up near its "
        "ceiling says what the schedule allows, not what the method saves."
    )


def _cooldown(spec: Mapping[str, Any]) -> float:
    schedule = spec["schedule"]
    whole = spec["steps"] - spec.get("first_step", 0)
    if schedule["kind"] != "wsd":
        return 0.0
    return round(float(schedule["cooldown"]) * int(spec["steps"])) / int(whole)


def usual_loss(rows: list[ArmSaving]) -> str:
    """An arm that lost seeds is compared on those left, where scratch's final loss differs."""
    losses = [fmt.loss(row.at_loss) for row in rows]
    return max(losses, key=losses.count)


def outcomes(
    accounting: str, rows: list[ArmSaving], target_rows: list[ArmSaving]
) -> Iterator[Outcome]:
    """Of the arms of a target in one accounting, those of a verdict together: ``szp 2.00× [1.90,
    2.10]``, ``hypercloning (speed-up below 0.93×)``."""
    usual = usual_loss(target_rows)
    parts: dict[str, list[str]] = {}
    for row in sorted(rows, key=by_speedup):
        reached = fmt.loss(row.at_loss)
        at = "" if reached == usual else f" (at {reached}, on the seeds it finished)"
        parts.setdefault(verdict(row), []).append(f"{row.label} {measured(row)}".rstrip() + at)
    for key in VERDICTS:
        if found := parts.get(key):
            yield Outcome(
                accounting, VERDICTS[key], KINDS[key], len(found),
                "; ".join(found[:NAMED]), "; ".join(found[NAMED:]),
            )  # fmt: skip


def by_speedup(row: ArmSaving) -> float:
    """A key that sorts the highest speed-up or bound first."""
    value = row.bound if row.speedup is None else row.speedup.value
    return -(value or 0.0)


def measured(row: ArmSaving) -> str:
    if row.state == "reached":
        return fmt.speedup(row)
    side = {"never_reached": "below", "baseline_never_reached": "above"}.get(row.state)
    return f"(speed-up {side} {fmt.times(row.bound)})" if side else ""


def verdict(row: ArmSaving) -> str:
    if row.state != "reached" or row.speedup is None:
        return row.state
    if row.speedup.n < 2:
        return "one seed"
    if 1 < row.speedup.lo < math.inf:
        return "saved"
    return "cost" if -math.inf < row.speedup.hi < 1 else "undecided"


@dataclass(frozen=True)
class Transferred:
    """The ladders of a verdict on transfer, in a few words each."""

    verdict: str
    kind: str
    ladders: tuple[str, ...]


def transferred(summary: Summary) -> Iterator[Transferred]:
    """Each verdict that some ladder has, with the ladders that have it."""
    ladders = summary.transfer.ladders
    for word, (shown, kind) in TRANSFERRED.items():
        rows = [ladder for ladder in ladders if ladder.verdict.word == word]
        if rows:
            yield Transferred(shown, kind, tuple(map(transfer.briefly, rows)))


TRANSFERRED = {
    "transfers": ("transfers", "good"),
    "drifts": ("does not transfer", "bad"),
    "censored": ("cannot be said: best at the edge of the grid", "open"),
    "inconclusive": ("undecided", "open"),
}


def intervals(summary: Summary) -> str:
    """How to read a bracket."""
    level, n = summary.interval.level, summary.n_seeds
    text = (
        f"Brackets hold the {fmt.number(100 * level, 0)} % interval of the "
        f"{summary.interval.method}, with {n} seed{'s' if n != 1 else ''}. "
    )
    if n < 2:
        return text + "One seed gives no interval: nothing here says how much chance decided."
    return text + (
        "A speed-up’s holds every factor that the test does not reject; an end is open where the "
        "curves stop before it can. Each covers on its own: of twenty one may be wrong."
    )


def missing(summary: Summary, store: Store) -> list[str]:
    """What an unfinished study does not have yet, and what cannot be said without it; of one that
    grows an imported source, why it has no scratch."""
    if store.runs.empty:
        return ["There are no runs: nothing has been trained yet, or nothing was kept."]
    absent = []
    if not (store.runs["status"] == "finished").any():
        counts = ", ".join(f"{n} {status}" for status, n in summary.costs.runs.items() if n)
        absent.append(f"No run has finished: {counts}.")
    roles = set(store.runs.loc[store.runs["status"] == "finished", "role"])
    if imported.is_imported(store):
        unfinished = [] if "target" in roles else ["No target has finished: no final losses."]
        return [imported.no_scratch(store), *absent, *unfinished]
    if "proxy" not in roles:
        absent.append("No proxy has finished: there is no optimum and nothing on transfer.")
    elif not summary.transfer.ladders:
        absent.append("No two sizes have sweeps to compare: nothing can be said on transfer.")
    if "target" not in roles:
        absent.append("No target has finished: there are no final losses and no savings.")
    elif not summary.savings:
        absent.append("No target has both a grown and a from-scratch run: there are no savings.")
    return absent


def warnings(summary: Summary, runs: pd.DataFrame) -> list[str]:
    return [*on_edges(summary), *on_runs(summary), *on_seeds(summary), *on_schedules(runs)]


def on_edges(summary: Summary) -> Iterator[str]:
    for best in summary.optima:
        if best.edge and not summary.sweeps:  # of arms that were tuned each by itself
            yield (
                f"The best learning rate of {best.variant} is on the {best.edge} edge of its grid, "
                "so a better one may lie beyond; widen the grid that way."
            )
        elif best.edge:
            yield (
                f"The best learning rate of {fmt.parametrization(best.parametrization)} at width "
                f"{best.width} is on the {best.edge} edge of its grid, so the optimum may lie "
                "beyond; widen the grid that way."
            )


def on_runs(summary: Summary) -> Iterator[str]:
    counts = summary.costs.runs
    found = [f"{counts[key]} {key}" for key in ("diverged", "failed", "pruned") if counts[key]]
    if found:
        total = sum(counts.values())
        yield f"Among {total} runs: {', '.join(found)}. The table of runs says which."
    for final in summary.finals:
        if final.loss.n < summary.n_seeds:
            yield (
                f"{final.label} at {final.target} finished {final.loss.n} of "
                f"{summary.n_seeds} seeds."
            )


def on_seeds(summary: Summary) -> Iterator[str]:
    if 1 < summary.n_seeds < FEW_SEEDS:
        yield (
            f"{summary.n_seeds} seeds are few: a 95 % interval is 12.7 standard errors on either "
            "side of the mean. With three seeds it is 4.3, with five 2.8."
        )


def on_schedules(runs: pd.DataFrame) -> Iterator[str]:
    """Losses of decayed and undecayed learning rates are not alike: a run cut before the end of its
    schedule ends too high, and a target is at its best only at the end of its own."""
    scratch = bool((runs["method"] == BASELINE).any())
    trained = runs[runs["role"].isin(["source", "target"]) & (runs["method"] != IMPORT)]
    for role, rows in trained.groupby("role"):
        specs = [json.loads(text) for text in rows["spec"]]
        cut = [s for s in specs if s["stop_step"] is not None and s["stop_step"] < s["steps"]]
        if cut:
            yield (
                f"{len(cut)} of {len(specs)} {role} runs stop before the end of their schedule, "
                f"at step {cut[0]['stop_step']} of {cut[0]['steps']}: their learning rate has not "
                "decayed, and their final loss is above what a decayed run reaches."
            )
    specs = [json.loads(text) for text in runs.loc[runs["role"] == "target", "spec"]]
    targets = [spec["schedule"]["kind"] for spec in specs]
    if scratch and any(kind != "constant" for kind in targets):
        yield (
            "Targets reach their lowest losses while their learning rate falls, at the end of a "
            "horizon that all of them share. A speed-up at scratch’s final loss therefore compares "
            "a decayed baseline with a method that has still to decay: it is what the method saves "
            "without being stopped earlier, and one that cooled down earlier could save more."
        )
