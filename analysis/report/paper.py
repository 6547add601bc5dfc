"""The page of a paper: its figures drawn from our runs, and the ledger of its claims."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.measure.claims import VERDICTS, JudgedClaim
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store
from mugrow.analysis.report import build as page_of
from mugrow.analysis.report.table import Table
from mugrow.analysis.words import MISSING
from mugrow.bench.record import write_json
from mugrow.bench.spec import UserError

LEDGER = "ledger.json"


@dataclass(frozen=True)
class Drawn:
    """A figure that the page shows; ``draw`` raises ``UserError`` where its runs are missing."""

    name: str
    title: str
    caption: str
    draw: Callable[[Store], Figure]


def build(
    title: str,
    arxiv: str,
    command: str,
    store: Store,
    figures: Sequence[Drawn],
    rows: Sequence[JudgedClaim],
    folder: Path,
) -> Path:
    """Write ``ledger.json`` and everything under ``report/``; returns the path of the page."""
    report = folder / "report"
    write_json(folder / LEDGER, {"title": title, "arxiv": arxiv, "claims": to_json(rows)})
    shown = [_show(figure, store, report / "figures") for figure in figures]
    table = claims_table(rows)
    page_of.write_tables([table], report / "tables")
    text = page_of.template("paper.html.j2").render(
        title=title,
        arxiv=arxiv,
        command=command,
        counts=counts([row.verdict for row in rows]),
        table=table,
        figures=shown,
        circumstances=page_of.circumstances(store.runs),
        configuration=json.dumps(store.study, indent=2, sort_keys=True, ensure_ascii=False),
    )
    page = report / "index.html"
    page_of.write_text(page, text)
    return page


def _show(figure: Drawn, store: Store, folder: Path) -> page_of.DrawnFigure:
    title = f"{figure.name}. {figure.title}"
    shown = page_of.DrawnFigure(figure.name, title, figure.caption, section="paper")
    try:
        svg = style.save(style.drawn(lambda: figure.draw(store)), folder, figure.name)
    except UserError as reason:
        return replace(shown, reason=str(reason))
    return replace(shown, svg=page_of.inline(svg, figure.name, figure.title))


def counts(verdicts: Sequence[str]) -> dict[str, int]:
    """How many claims have each verdict."""
    return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}


def claims_table(rows: Sequence[JudgedClaim]) -> Table:
    return Table(
        "claims",
        "Claims and verdicts",
        "A claim is reproduced where the whole interval of our number lies in the range that it "
        "claims, contradicted where all of it lies outside, and otherwise inconclusive. Intervals "
        "are over seeds.",
        ("claim", "where", "our quantity", "ours", "holds if", "verdict"),
        tuple(
            (row.says, row.where, row.quantity or MISSING, _ours(row), row.holds_if or MISSING,
             _verdict(row))
            for row in rows
        ),
    )  # fmt: skip


def _ours(row: JudgedClaim) -> str:
    if not math.isfinite(row.value):
        return MISSING
    if not (math.isfinite(row.low) or math.isfinite(row.high)):
        return f"{row.value:.3g} [no interval]"
    ends = (f"{end:.3g}" if math.isfinite(end) else "open" for end in (row.low, row.high))
    return f"{row.value:.3g} [{', '.join(ends)}]"


def _verdict(row: JudgedClaim) -> str:
    if row.why:
        return f"{row.verdict}: {row.why}"
    if not math.isnan(row.seeds_needed):
        return f"{row.verdict} ({row.seeds} seeds; about {row.seeds_needed:.0f} would do)"
    return row.verdict


def summary_line(folder: Path) -> str:
    """A paper's row of a Markdown table: name, title, and how many claims have each verdict."""
    found = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    by_verdict = counts([row["verdict"] for row in found["claims"]])
    cells = [str(by_verdict.get(verdict, 0)) for verdict in VERDICTS]
    link = f"[{found['arxiv']}](https://arxiv.org/abs/{found['arxiv']})"
    return f"| `{folder.name}` | {found['title']} ({link}) | {' | '.join(cells)} |"
