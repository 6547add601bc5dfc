"""Transfer in words and tables: a verdict for every ladder, and what it rests on.

The same tables are on the terminal, on the page and in LaTeX. The table of verdicts is Lingle's
(2404.05728), a row a change, yes or no, with the numbers that his coarse grid could not give.
"""

import math
from collections.abc import Callable, Iterator

from mugrow.analysis import words as fmt
from mugrow.analysis.figures.transfer_words import (
    NO_LOSS,
    axis,
    name,
    no_loss,
    setting,
    size,
    value,
)
from mugrow.analysis.report.table import Table
from mugrow.analysis.stats import Interval
from mugrow.analysis.transfer.asymptote import Useful
from mugrow.analysis.transfer.metrics import Pair
from mugrow.analysis.transfer.operator_regret import GrowthOptimum, KeptValue
from mugrow.analysis.transfer.results import LadderResult, SkippedSetting, TransferResults

ANSWERS = {"transfers": "yes", "drifts": "no", "inconclusive": "?", "censored": "? (edge)"}


def tables(found: TransferResults) -> list[Table]:
    return [
        verdicts(found), optima(found), pairs(found), beyond(found), operator_settings(found),
        operator_losses(found), skipped(found),
    ]  # fmt: skip


def listed(found: TransferResults) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Every table with rows, as a title and a dict a row, its cells by column."""
    for table in tables(found):
        if table.rows:
            yield table.title, [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def verdicts(found: TransferResults) -> Table:
    return Table(
        "verdicts",
        "Does the learning rate transfer?",
        f"A row for each ladder of sweeps. {found.rule}. Shift and regret are those of the "
        "smallest size’s best rate at the largest. “Same” is the coarse verdict: one best rate on "
        "the grid for all sizes. The drift lets every bowl have a shape of its own; the next "
        f"column is narrower, for those whose bowls are alike. Brackets: {found.intervals}.",
        ("change", "along", "sizes", "transfers", "why", "drift (log2 per doubling)",
         "drift if bowls are alike", "shift (log2)", "regret (%)", "same", "seeds"),
        tuple(
            (name(ladder), axis(ladder), " ".join(size(ladder, r.size) for r in ladder.rungs),
             ANSWERS[ladder.verdict.word], ladder.verdict.why,
             fmt.interval(ladder.drift.slope, fmt.log2),
             fmt.interval(ladder.drift.alike, fmt.log2),
             fmt.interval(ladder.widest.shift_log2, fmt.log2), decisive(ladder.widest),
             "yes" if ladder.same_argmin else "no", str(ladder.n_seeds))
            for ladder in found.ladders
        ),
    )  # fmt: skip


def decisive(pair: Pair) -> str:
    """The regret that the verdict is given on."""
    if pair.regret_at == "diverged" or pair.regret_bowl_percent is None:
        return regret_percent(pair)
    return bounded(pair.regret_bowl_percent, fmt.percent)


def bounded(regret: Interval, text: Callable[[float | None], str]) -> str:
    """``at least 6.04 % [3.29, ?]`` where the rate was not finished at the target."""
    return "at least " * math.isinf(regret.hi) + fmt.interval(regret, text)


def regret_percent(one: Pair | KeptValue) -> str:
    """The regret of what was tested, or why there is none."""
    if math.isfinite(one.regret_percent.value):
        return fmt.interval(one.regret_percent, fmt.percent)
    return no_loss(one.regret_at)


def optima(found: TransferResults) -> Table:
    return Table(
        "best-rates",
        "The best learning rate at every size",
        "log2 of the base learning rate: the vertex of the parabola, or the best rate tested, "
        "whose bracket then has half a grid step more. Curvature: a shift of s log2 costs half of "
        "it times s², in nats.",
        ("change", "along", "size", "best log2 lr", "of", "loss (nats/token)", "curvature",
         "grid's edge"),
        tuple(
            (name(ladder), axis(ladder), size(ladder, rung.size),
             fmt.interval(rung.best_log2_lr, fmt.log2), rung.of,
             fmt.interval(rung.lowest_loss, fmt.loss), fmt.interval(rung.curvature, fmt.loss),
             rung.edge or "no")
            for ladder in found.ladders for rung in ladder.rungs
        ),
    )  # fmt: skip


def pairs(found: TransferResults) -> Table:
    return Table(
        "transfer",
        "What it costs to use the smallest size’s best rate",
        "Regret: the loss given away at the larger size, by the losses tested beside the places "
        "where the ladder’s bowls, of one shape, are lowest, a lower bound where the rate was not "
        "finished there; beside it that between the best rates tested, which noise makes too "
        "large; as compute, the share of FLOPs by which a "
        "from-scratch run would have to grow to make up for it, from the slope of loss against "
        "ln FLOPs along the ladder (– from fewer than three sizes). Search: FLOPs of the proxy’s "
        "sweep over those of one target run. Total: search, source and target over the target’s "
        "own sweep and the target; below 1 transferring was cheaper.",
        ("change", "along", "from", "to", "shift (lowest)", "shift (vertex)", "regret (nats)",
         "regret (%)", "of best tested (%)", "as compute", "search / target",
         "total / tuning there", "grid's edge"),
        tuple(
            (name(ladder), axis(ladder), start(ladder, pair), size(ladder, pair.target),
             fmt.interval(pair.shift_argmin_log2, fmt.log2),
             fmt.interval(pair.shift_vertex_log2, fmt.log2),
             bounded(pair.decisive_nats, fmt.loss), decisive(pair), regret_percent(pair),
             fmt.interval(pair.compute, fmt.percent_of_one),
             fmt.times(pair.search_over_target), fmt.times(pair.total_over_scratch),
             edges(pair))
            for ladder in found.ladders for pair in ladder.from_smallest
        ),
    )  # fmt: skip


def start(ladder: LadderResult, pair: Pair) -> str:
    if ladder.by_growth:
        return f"source (log2 {fmt.log2(ladder.reference_log2_lr)})"
    return size(ladder, pair.proxy)


def edges(pair: Pair) -> str:
    sides = {"proxy": pair.edge_proxy, "target": pair.edge_target}
    return ", ".join(f"{which} ({side})" for which, side in sides.items() if side) or "no"


def beyond(found: TransferResults) -> Table:
    """Ladders of three sizes or more: a line through two fits exactly."""
    return Table(
        "beyond",
        "Beyond the sizes swept",
        "Our reading of arXiv 2605.21486: E, what a line through the best rates leaves; κ, the "
        "growth of the curvature with size, below 0 where errors of extrapolation matter less; "
        "R(∞), the loss at infinite size above the best of the rows compared. Of 2512.22768: "
        "transfer is useful where the proxy’s suboptimality falls faster with its size than the "
        "gap to infinite size; slopes against log2 size.",
        ("change", "along", "E (log2)", "κ", "R(∞) (nats)", "suboptimality falls", "gap falls",
         "useful"),
        tuple(
            (name(ladder), axis(ladder), fmt.interval(limit.fit_error_log2, fmt.log2),
             fmt.interval(limit.robustness, fmt.log2), fmt.interval(limit.penalty_nats, fmt.loss),
             *usefulness(limit.useful))
            for ladder in found.ladders if len(ladder.rungs) > 2
            for limit in [ladder.asymptote]
        ),
    )  # fmt: skip


def usefulness(useful: Useful | None) -> tuple[str, str, str]:
    """How fast suboptimality and gap fall, and the word on it."""
    if useful is None:
        return (fmt.MISSING,) * 3
    falls = fmt.interval(useful.suboptimality, fmt.log2)
    return falls, fmt.interval(useful.gap, fmt.log2), useful.word


def operator_settings(found: TransferResults) -> Table:
    """A row for each growth beyond the smallest of each comparison."""
    settings = found.operator_settings
    return Table(
        "operator-settings",
        "Does an operator’s own setting transfer?",
        f"A row for each larger growth; the verdict is on all of a comparison. {settings.rule}. "
        "Kept: the best of the values tried at the smallest growth. Worst: what the worst value "
        "tried costs there, without which a small regret says nothing.",
        ("change", "setting", "growth", "kept", "best there", "regret (nats)", "regret (%)",
         "worst (%)", "transfers", "why", "seeds"),
        tuple(
            (name(one), setting(one), f"{one.rungs[0].name} to {rung.name}",
             value(rung.kept.value), value(rung.best) + (" (edge)" if rung.edge else ""),
             fmt.interval(rung.kept.regret_nats, fmt.loss), regret_percent(rung.kept),
             worst(rung), ANSWERS[one.verdict.word], one.verdict.why, str(one.n_seeds))
            for one in settings.compared for rung in one.rungs if rung.kept is not None
        ),
    )  # fmt: skip


def worst(rung: GrowthOptimum) -> str:
    """``5.26 % [2.20, 8.31] at 0.1``."""
    for tried in rung.values:
        if tried.status == "diverged":
            return f"diverges at {value(tried.value)}"
    finished = [tried for tried in rung.values if tried.known]
    most = max(finished, key=lambda tried: tried.above_percent.value)
    return f"{fmt.interval(most.above_percent, fmt.percent)} at {value(most.value)}"


def operator_losses(found: TransferResults) -> Table:
    return Table(
        "operator-losses",
        "The loss at every value of an operator’s setting",
        "Mean over seeds, and how far it is above the lowest of its growth, paired by seed.",
        ("change", "setting", "growth", "shapes", "value", "loss (nats/token)",
         "above the lowest (%)"),
        tuple(
            (name(one), setting(one), rung.name, rung.shapes, value(tried.value),
             fmt.interval(tried.loss, fmt.loss) if tried.known else tried.status,
             fmt.interval(tried.above_percent, fmt.percent))
            for one in found.operator_settings.compared for rung in one.rungs
            for tried in rung.values
        ),
    )  # fmt: skip


def skipped(found: TransferResults) -> Table:
    ladders = [(name(one), "; ".join(one.sweeps), one.reason) for one in found.skipped]
    settings = [(name(one), tried(one), one.reason) for one in found.operator_settings.skipped]
    return Table(
        "not-compared",
        "Not compared",
        "Sweeps that are on no ladder, and ladders that would have averaged over a difference.",
        ("change", "sweeps", "why"),
        (*ladders, *settings),
    )


def tried(one: SkippedSetting) -> str:
    """``shrink 0.2 0.4, growth in width, log2 lr −7.00``."""
    values = " ".join(map(value, one.values))
    along = f"growth in {one.axis}" if one.axis else "growth"
    rates = " ".join(map(fmt.log2, one.log2_lrs))
    return f"{one.parameter} {values}, {along}, log2 lr {rates}"


def nothing(found: TransferResults) -> str:
    """Why a store has no ladder, from the first sweep that was skipped."""
    if not found.skipped:
        return "it has no sweep over the learning rate"
    first = found.skipped[0]
    return f"of {first.parametrization} {first.sweeps[0]}, {first.reason}"


def sentences(found: TransferResults) -> Iterator[str]:
    """A sentence for each ladder: its verdict, and the numbers behind it."""
    for ladder in found.ladders:
        pair, largest = ladder.widest, ladder.rungs[-1].size
        begin = "the source" if ladder.by_growth else size(ladder, pair.proxy)
        yield (
            f"{name(ladder)}, {axis(ladder)} from {begin} to {size(ladder, largest)}: "
            f"{WORDS[ladder.verdict.word]} ({ladder.verdict.why}). The best learning "
            f"rate drifts by {fmt.interval(ladder.drift.slope, fmt.log2)} log2 per doubling; "
            f"keeping the smallest size’s {regret(pair)}."
        )


def briefly(ladder: LadderResult) -> str:
    """``SP, width w32 w64 (drift −0.90 [−1.35, −0.44] log2 per doubling, regret 3.02 % …)``."""
    sizes = " ".join(size(ladder, rung.size) for rung in ladder.rungs)
    slope = fmt.interval(ladder.drift.slope, fmt.log2)
    cost = decisive(ladder.widest)
    return (
        f"{name(ladder)}, {axis(ladder)} {sizes} (drift {slope} log2 per doubling, regret {cost})"
    )


WORDS = {
    "transfers": "the learning rate transfers",
    "drifts": "the learning rate does not transfer",
    "censored": "no verdict, censored",
    "inconclusive": "undecided",
}


def regret(pair: Pair) -> str:
    if not math.isfinite(pair.decisive_nats.value) or pair.regret_at == "diverged":
        return f"{NO_LOSS[pair.regret_at]} there"
    nats = bounded(pair.decisive_nats, fmt.loss)
    return f"costs {nats} nats ({fmt.interval(pair.decisive_percent, fmt.percent)})"
