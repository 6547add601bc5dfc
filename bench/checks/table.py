"""The table of methods in the README: what each entry says, and what was measured.

The last column is the relative error of the logits over the kit's cases (six flavours of the
decoder, every supported growth, SP and muP). Where the entry claims that nothing breaks it is the
largest, as a power of ten, since the last digits differ between machines; elsewhere the range.
"""

import math
from collections.abc import Iterable

from mugrow.bench.checks.preservation import EXACT, preservation
from mugrow.bench.checks.result import CheckResult
from mugrow.bench.growth import GrowthMethod

BEGIN = "<!-- methods: from `mugrow check --all --table` -->"
END = "<!-- end of methods -->"
COLUMNS = ("method", "paper", "axes", "preserves", "optimizer state", "measured logit error")


def table(entries: Iterable[GrowthMethod]) -> str:
    """Markdown, a row an entry."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *map(row, entries)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def row(entry: GrowthMethod) -> tuple[str, ...]:
    """The cells of one entry, in the order of ``COLUMNS``."""
    axes = " and ".join(entry.axes) or "none"
    return (
        f"`{entry.name}`",
        entry.paper,
        f"{axes}, smaller" if entry.shrinks else axes,
        entry.preserves.replace("|", "\\|"),
        "carried" if entry.grow_moments else "fresh",
        measured(preservation(entry, {}, False)),
    )


def measured(results: Iterable[CheckResult]) -> str:
    """The errors in a few words."""
    passed = [result for result in results if result.status != "skip"]
    if any(result.value is None for result in passed):
        return "an error"
    exact = [r.value for r in passed if r.tolerance == EXACT and r.value is not None]
    broken = sorted(r.value for r in passed if r.tolerance != EXACT and r.value is not None)
    words = []
    if exact:
        largest = max(exact)
        words.append(f"≤ 1e{math.ceil(math.log10(largest))}" if largest else "0")
    if broken:
        share = f" in {len(broken)} of {len(passed)}" if exact else ""
        ends = dict.fromkeys(f"{error:.1g}" for error in (broken[0], broken[-1]))
        words.append(f"{' to '.join(ends)}{share}")
    return "; ".join(words)
