"""Transfer in words and tables: a verdict for every ladder, and what it rests on.

The same tables are on the terminal, on the page and in LaTeX. The table of verdicts is Lingle's
(2404.05728), a row a change, yes or no, with the numbers that his coarse grid could not give.
"""

from collections.abc import Iterator
from typing import Any

from mugrow.analysis.report import format as fmt
from mugrow.analysis.report.tables import Table

Found = dict[str, Any]
Ladder = dict[str, Any]

ANSWERS = {"transfers": "yes", "drifts": "no", "inconclusive": "?", "censored": "? (edge)"}
NO_LOSS = {
    "diverged": "diverges",
    "unknown": "was not finished",
    "untested": "was not tried",
}


def tables(found: Found) -> list[Table]:
    return [
        verdicts(found), optima(found), pairs(found), beyond(found), operator_settings(found),
        operator_losses(found), skipped(found),
    ]  # fmt: skip


def listed(found: Found) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Every table with rows, as a title and a dict a row."""
    for table in tables(found):
        if table.rows:
            yield table.title, [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def name(ladder: Ladder) -> str:
    """``μP, tied``; grown ladders begin their variant with the method."""
    parts = (fmt.parametrization(ladder["parametrization"]), ladder["variant"])
    return ", ".join(filter(None, parts))


def axis(ladder: Ladder) -> str:
    """``width``, or ``growth in width``, whose sizes are factors."""
    return ladder["axis"] if ladder["reference_log2_lr"] is None else f"growth in {ladder['axis']}"


def size(ladder: Ladder, value: float) -> str:
    """``w64``, ``×2`` of a growth factor, ``16.4 k`` tokens."""
    if ladder["reference_log2_lr"] is not None:
        return f"×{value:.3g}"
    if ladder["axis"] in ("width", "depth"):
        return f"{ladder['axis'][0]}{value:.0f}"
    return fmt.tokens(value)


def widest(ladder: Ladder) -> dict[str, Any]:
    """The pair from the smallest size to the largest."""
    pair: dict[str, Any] = max(ladder["pairs"], key=lambda pair: pair["target"] / pair["proxy"])
    return pair


def verdicts(found: Found) -> Table:
    return Table(
        "verdicts",
        "Does the learning rate transfer?",
        f"A row for each ladder of sweeps. {found['rule']}. Shift and regret are those of the "
        "smallest size’s best rate at the largest. “Same” is the coarse verdict: one best rate on "
        f"the grid for all sizes. Brackets: {found['intervals']}.",
        ("change", "along", "sizes", "transfers", "why", "drift (log2 per doubling)",
         "shift (log2)", "regret (%)", "same", "seeds"),
        tuple(
            (name(ladder), axis(ladder), " ".join(size(ladder, r["size"]) for r in ladder["rungs"]),
             ANSWERS[ladder["verdict"]["word"]], ladder["verdict"]["why"],
             fmt.interval(ladder["drift"]["slope"], fmt.log2),
             fmt.interval(shift(widest(ladder)), fmt.log2), decisive(widest(ladder)),
             "yes" if ladder["same_argmin"] else "no", str(ladder["n_seeds"]))
            for ladder in found["ladders"]
        ),
    )  # fmt: skip


def shift(pair: dict[str, Any]) -> dict[str, Any]:
    """Of the vertices; of the best rates tested where one has none."""
    found: dict[str, Any] = pair["shift_vertex_log2"] or pair["shift_argmin_log2"]
    return found


def decisive(pair: dict[str, Any]) -> str:
    """The regret that the verdict is given on."""
    if pair["regret_at"] == "diverged" or pair["regret_vertex_percent"] is None:
        return regret_percent(pair)
    return fmt.interval(pair["regret_vertex_percent"], fmt.percent)


def regret_percent(pair: dict[str, Any]) -> str:
    if pair["regret_percent"]["value"] is None:
        return NO_LOSS[pair["regret_at"]].removeprefix("was ")
    return fmt.interval(pair["regret_percent"], fmt.percent)


def optima(found: Found) -> Table:
    return Table(
        "best-rates",
        "The best learning rate at every size",
        "log2 of the base learning rate: the vertex of the parabola, or the best rate tested, "
        "whose bracket then has half a grid step more. Curvature: a shift of s log2 costs half of "
        "it times s², in nats.",
        ("change", "along", "size", "best log2 lr", "of", "loss (nats/token)", "curvature",
         "grid's edge"),
        tuple(
            (name(ladder), axis(ladder), size(ladder, rung["size"]),
             fmt.interval(rung["best_log2_lr"], fmt.log2), rung["of"],
             fmt.interval(rung["lowest_loss"], fmt.loss), fmt.interval(rung["curvature"], fmt.loss),
             rung["edge"] or "no")
            for ladder in found["ladders"] for rung in ladder["rungs"]
        ),
    )  # fmt: skip


def pairs(found: Found) -> Table:
    return Table(
        "transfer",
        "What it costs to use the smallest size’s best rate",
        "Regret: the loss given away at the larger size, between the best rates tested, and "
        "between the vertices of the parabolas; as compute, the share of FLOPs by which a "
        "from-scratch run would have to grow to make up for it, from the slope of loss against "
        "ln FLOPs along the ladder (– from fewer than three sizes). Search: FLOPs of the proxy’s "
        "sweep over those of one target run. Total: search, source and target over the target’s "
        "own sweep and the target; below 1 transferring was cheaper.",
        ("change", "along", "from", "to", "shift (lowest)", "shift (vertex)", "regret (nats)",
         "regret (%)", "of parabolas (%)", "as compute", "search / target",
         "total / tuning there", "grid's edge"),
        tuple(
            (name(ladder), axis(ladder), start(ladder, pair), size(ladder, pair["target"]),
             fmt.interval(pair["shift_argmin_log2"], fmt.log2),
             fmt.interval(pair["shift_vertex_log2"], fmt.log2),
             fmt.interval(pair["regret_nats"], fmt.loss), regret_percent(pair),
             fmt.interval(pair["regret_vertex_percent"], fmt.percent),
             fmt.interval(pair["compute"], fmt.percent_of_one),
             fmt.times(pair["search_over_target"]), fmt.times(pair["total_over_scratch"]),
             edges(pair))
            for ladder in found["ladders"] for pair in from_smallest(ladder)
        ),
    )  # fmt: skip


def from_smallest(ladder: Ladder) -> list[dict[str, Any]]:
    smallest = min(pair["proxy"] for pair in ladder["pairs"])
    return [pair for pair in ladder["pairs"] if pair["proxy"] == smallest]


def start(ladder: Ladder, pair: dict[str, Any]) -> str:
    if ladder["reference_log2_lr"] is not None:
        return f"source (log2 {fmt.log2(ladder['reference_log2_lr'])})"
    return size(ladder, pair["proxy"])


def edges(pair: dict[str, Any]) -> str:
    sides = {"proxy": pair["edge_proxy"], "target": pair["edge_target"]}
    return ", ".join(f"{which} ({side})" for which, side in sides.items() if side) or "no"


def beyond(found: Found) -> Table:
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
            (name(ladder), axis(ladder), fmt.interval(own["fit_error_log2"], fmt.log2),
             fmt.interval(own["robustness"], fmt.log2),
             fmt.interval(own["penalty_nats"], fmt.loss),
             *(fmt.interval(useful[key], fmt.log2) for key in ("suboptimality", "gap")),
             useful["word"] or fmt.MISSING)
            for ladder in found["ladders"] if len(ladder["rungs"]) > 2
            for own in [ladder["asymptote"]]
            for useful in [own["useful"] or dict.fromkeys(("suboptimality", "gap", "word"))]
        ),
    )  # fmt: skip


def operator_settings(found: Found) -> Table:
    """A row for each growth beyond the smallest of each comparison."""
    settings = found["operator_settings"]
    return Table(
        "operator-settings",
        "Does an operator’s own setting transfer?",
        f"A row for each larger growth; the verdict is on all of a comparison. {settings['rule']}. "
        "Kept: the best of the values tried at the smallest growth. Worst: what the worst value "
        "tried costs there, without which a small regret says nothing.",
        ("change", "setting", "growth", "kept", "best there", "regret (nats)", "regret (%)",
         "worst (%)", "transfers", "why", "seeds"),
        tuple(
            (name(one), setting(one), f"{one['rungs'][0]['name']} to {rung['name']}",
             value(rung["kept"]["value"]),
             value(rung["best"]) + (" (edge)" if rung["edge"] else ""),
             fmt.interval(rung["kept"]["regret_nats"], fmt.loss), regret_percent(rung["kept"]),
             worst(rung), ANSWERS[one["verdict"]["word"]], one["verdict"]["why"],
             str(one["n_seeds"]))
            for one in settings["compared"] for rung in one["rungs"][1:]
        ),
    )  # fmt: skip


def setting(one: dict[str, Any]) -> str:
    """``shrink at log2 lr −7.38``."""
    return f"{one['parameter']} at log2 lr {fmt.log2(one['log2_lr'])}"


def value(number: float) -> str:
    return fmt.signed(f"{number:g}")


def worst(rung: dict[str, Any]) -> str:
    """``5.26 % [2.20, 8.31] at 0.1``."""
    for one in rung["values"]:
        if one["status"] == "diverged":
            return f"diverges at {value(one['value'])}"
    finished = [one for one in rung["values"] if one["loss"]["value"] is not None]
    most = max(finished, key=lambda one: one["above_percent"]["value"])
    return f"{fmt.interval(most['above_percent'], fmt.percent)} at {value(most['value'])}"


def operator_losses(found: Found) -> Table:
    return Table(
        "operator-losses",
        "The loss at every value of an operator’s setting",
        "Mean over seeds, and how far it is above the lowest of its growth, paired by seed.",
        ("change", "setting", "growth", "shapes", "value", "loss (nats/token)",
         "above the lowest (%)"),
        tuple(
            (name(one), setting(one), rung["name"], rung["shapes"], value(point["value"]),
             point["status"] if point["loss"]["value"] is None
             else fmt.interval(point["loss"], fmt.loss),
             fmt.interval(point["above_percent"], fmt.percent))
            for one in found["operator_settings"]["compared"] for rung in one["rungs"]
            for point in rung["values"]
        ),
    )  # fmt: skip


def skipped(found: Found) -> Table:
    ladders = [(name(one), "; ".join(one["sweeps"]), one["reason"]) for one in found["skipped"]]
    settings = [(name(one), tried(one), one["reason"])
                for one in found["operator_settings"]["skipped"]]  # fmt: skip
    return Table(
        "not-compared",
        "Not compared",
        "Sweeps that are on no ladder, and ladders that would have averaged over a difference.",
        ("change", "sweeps", "why"),
        (*ladders, *settings),
    )


def tried(one: dict[str, Any]) -> str:
    """``shrink 0.2 0.4, growth in width, log2 lr −7.00``."""
    values = " ".join(map(value, one["values"]))
    along = f"growth in {one['axis']}" if one["axis"] else "growth"
    rates = " ".join(map(fmt.log2, one["log2_lrs"]))
    return f"{one['parameter']} {values}, {along}, log2 lr {rates}"


def nothing(found: Found) -> str:
    """Why a store has no ladder, from the first sweep that was skipped."""
    if not found["skipped"]:
        return "it has no sweep over the learning rate"
    first = found["skipped"][0]
    return f"of {first['parametrization']} {first['sweeps'][0]}, {first['reason']}"


def sentences(found: Found) -> Iterator[str]:
    """A sentence for each ladder: its verdict, and the numbers behind it."""
    for ladder in found["ladders"]:
        pair, sizes = widest(ladder), ladder["rungs"]
        begin = (
            "the source" if ladder["reference_log2_lr"] is not None else size(ladder, pair["proxy"])
        )
        yield (
            f"{name(ladder)}, {axis(ladder)} from {begin} to {size(ladder, sizes[-1]['size'])}: "
            f"{WORDS[ladder['verdict']['word']]} ({ladder['verdict']['why']}). The best learning "
            f"rate drifts by {fmt.interval(ladder['drift']['slope'], fmt.log2)} log2 per doubling; "
            f"keeping the smallest size’s {regret(pair)}."
        )


def briefly(ladder: Ladder) -> str:
    """``SP, width w32 w64 (drift −0.90 [−1.35, −0.44] log2 per doubling, regret 3.02 % …)``."""
    sizes = " ".join(size(ladder, rung["size"]) for rung in ladder["rungs"])
    slope = fmt.interval(ladder["drift"]["slope"], fmt.log2)
    cost = decisive(widest(ladder))
    return (
        f"{name(ladder)}, {axis(ladder)} {sizes} (drift {slope} log2 per doubling, regret {cost})"
    )


WORDS = {
    "transfers": "the learning rate transfers",
    "drifts": "the learning rate does not transfer",
    "censored": "no verdict, censored",
    "inconclusive": "undecided",
}


def regret(pair: dict[str, Any]) -> str:
    if pair["regret_nats"]["value"] is None:
        return f"{NO_LOSS[pair['regret_at']]} there"
    nats = fmt.interval(pair["regret_nats"], fmt.loss)
    return f"costs {nats} nats ({fmt.interval(pair['regret_percent'], fmt.percent)})"
