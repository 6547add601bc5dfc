"""The claims of a ledger as a page shows them: verdict first, then whose number lies where.

Claims that say the same of several cases are one group, so that what they share, the sentence and
the place where the paper says it, stands once.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mugrow.analysis.measure.claims import INCONCLUSIVE, JudgedClaim, range_of
from mugrow.analysis.report.chip import Chip
from mugrow.analysis.report.interval_plot import interval_plot
from mugrow.analysis.words import MISSING, signed

HERE = "; here "  # in ``where``: behind it stands which case of several this is
FIRST: tuple[str, ...] = ("contradicted", "reproduced", INCONCLUSIVE, "not testable here")
CHIPS: dict[str, str] = {
    "reproduced": "good", "contradicted": "bad", INCONCLUSIVE: "open", "not testable here": "none"
}  # fmt: skip
MOST_LINES = 7  # of an answer


@dataclass(frozen=True)
class ClaimLine:
    """One claim: its ``case`` and ``quantity`` where others of its group have another, ours as a
    plot and in words, what is claimed, and what would decide it."""

    anchor: str
    chip: Chip
    case: str
    quantity: str
    plot: Markup
    ours: str
    claimed: str
    note: str


@dataclass(frozen=True)
class ClaimGroup:
    """Claims that say the same: ``where``, and ``quantity`` if it is one, stand once."""

    says: str
    where: str
    quantity: str
    chips: tuple[Chip, ...]
    ours: str
    claimed: str
    lines: tuple[ClaimLine, ...]


def groups(rows: Iterable[JudgedClaim]) -> tuple[ClaimGroup, ...]:
    """Claims by what they say, in the order of the ledger."""
    by_words: dict[str, list[JudgedClaim]] = {}
    for row in rows:
        by_words.setdefault(row.says, []).append(row)
    return tuple(_group(says, of_words) for says, of_words in by_words.items())


def answer(found: Sequence[ClaimGroup]) -> tuple[list[ClaimGroup], list[ClaimGroup]]:
    """The groups that a first screen shows, by their first verdict, and those left to unfold."""
    ordered = sorted(found, key=lambda group: FIRST.index(group.chips[0].word))
    return ordered[:MOST_LINES], ordered[MOST_LINES:]


def chips(verdicts: Sequence[str]) -> tuple[Chip, ...]:
    """A chip for each verdict that occurs, with its count."""
    return tuple(
        Chip(verdict, CHIPS[verdict], verdicts.count(verdict))
        for verdict in FIRST
        if verdict in verdicts
    )


def _group(says: str, rows: Sequence[JudgedClaim]) -> ClaimGroup:
    places = [row.where.partition(HERE) for row in rows]
    same_place = len({place for place, _, _ in places}) == 1
    quantities = {row.quantity for row in rows}
    lines = tuple(
        _line(
            row,
            case if same_place else row.where,
            "" if len(quantities) == 1 else row.quantity,
        )
        for row, (_, _, case) in zip(rows, places, strict=True)
    )
    claimed = {row.holds_if for row in rows}
    return ClaimGroup(
        says=says,
        where=places[0][0] if same_place else "",
        quantity=rows[0].quantity if len(quantities) == 1 else "",
        chips=chips([row.verdict for row in rows]),
        ours=_together(rows) if len(quantities) == 1 else "",
        claimed=claimed_in_words(rows[0]) if len(claimed) == 1 else "",
        lines=lines,
    )


def _line(row: JudgedClaim, case: str, quantity: str) -> ClaimLine:
    ours, claimed = in_words(row), claimed_in_words(row)
    return ClaimLine(
        anchor=f"claim-{row.claim}",
        chip=Chip(row.verdict, CHIPS[row.verdict]),
        case="" if quantity.startswith(case) else case,
        quantity=quantity,
        plot=interval_plot(row.value, row.low, row.high, range_of(row.holds_if), told(row)),
        ours=ours,
        claimed=claimed,
        note=" ".join(_notes(row)),
    )


def _notes(row: JudgedClaim) -> Iterator[str]:
    if row.why:
        yield row.why
    if not math.isnan(row.seeds_needed):
        flops = f", {row.flops_needed:.1e} FLOPs" if math.isfinite(row.flops_needed) else ""
        yield f"{row.seeds} seeds; about {row.seeds_needed:.0f} would do{flops}"


def in_words(row: JudgedClaim) -> str:
    """Our number with its interval."""
    if not math.isfinite(row.value):
        return MISSING
    if not (math.isfinite(row.low) or math.isfinite(row.high)):
        return signed(f"{row.value:.3g} [no interval]")
    ends = (f"{end:.3g}" if math.isfinite(end) else "open" for end in (row.low, row.high))
    return signed(f"{row.value:.3g} [{', '.join(ends)}]")


def claimed_in_words(row: JudgedClaim) -> str:
    """The range that is claimed."""
    return signed(row.holds_if) if row.holds_if else MISSING


def told(row: JudgedClaim) -> str:
    """What the plot of a claim shows, for who cannot see it."""
    return f"ours {in_words(row)}, claimed {claimed_in_words(row)}: {row.verdict}"


def _together(rows: Sequence[JudgedClaim]) -> str:
    """Our number, or of several cases the lowest and the highest."""
    values = [row.value for row in rows if math.isfinite(row.value)]
    if len(rows) == 1 or not values:
        return in_words(rows[0])
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return signed(low if low == high else f"{low} to {high}")
