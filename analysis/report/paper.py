"""The page of a paper: its figures drawn from our runs, and the ledger of its claims.

What the cited paper says and what is asked beside it are two tables with counts of their own.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NotRequired, TypedDict, get_args

from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.measure.claims import VERDICTS, JudgedClaim, Verdict, Whose
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store
from mugrow.analysis.report import build as page_of
from mugrow.analysis.report import claims, findings, page
from mugrow.analysis.report.chip import Chip
from mugrow.analysis.report.drawn import DrawnFigure, data_of
from mugrow.analysis.report.inline_svg import inline
from mugrow.analysis.report.table import Table
from mugrow.analysis.words import MISSING
from mugrow.bench.record import write_json
from mugrow.bench.spec import UserError

LEDGER = "ledger.json"
TITLES: Mapping[Whose, str] = {"paper": "Claims of the paper", "ours": "Questions of ours"}
NAMES: Mapping[Whose, str] = {"paper": "claims", "ours": "questions"}
RULE = (
    "A claim is reproduced where the whole interval of our number lies in the range that it "
    "claims, contradicted where all of it lies outside, and otherwise inconclusive. Intervals are "
    "over seeds."
)
NOTES: Mapping[Whose, str] = {
    "paper": RULE,
    "ours": "What this suite or reviewers ask beside the paper, and what other papers say. These "
    "verdicts, by the same rule, are findings of ours and none about the paper.",
}


class LineJson(TypedDict):
    """What is read here and in the gallery of a claim in ``ledger.json``; one written before there
    was ``whose`` has none, and is the paper's."""

    says: str
    verdict: Verdict
    whose: NotRequired[Whose]


class LedgerJson(TypedDict):
    title: str
    arxiv: str
    claims: list[LineJson]


@dataclass(frozen=True)
class Drawn:
    """A figure that the page shows; ``draw`` raises ``UserError`` where its runs are missing.
    ``claims`` are the names of those that it decides."""

    name: str
    title: str
    caption: str
    draw: Callable[[Store], Figure]
    claims: tuple[str, ...] = ()


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
    name = store.study["name"]
    shown = [_show(name, figure, store, rows, report / "figures") for figure in figures]
    tables = claims_tables(rows)
    page_of.write_tables(list(tables.values()), report / "tables")
    text = page.rendered(
        "paper.html.j2",
        title=title,
        arxiv=arxiv,
        command=command,
        sections=[section(whose, rows) for whose in tables],
        figures=shown,
        circumstances=page_of.circumstances(store.runs),
        configuration=json.dumps(store.study, indent=2, sort_keys=True, ensure_ascii=False),
    )
    written = report / "index.html"
    page_of.write_text(written, text)
    return written


@dataclass(frozen=True)
class Section:
    """The claims of the paper, or the questions of ours: how many have which verdict, the lines of
    the answer, those left to unfold, and all of them in the ledger's order."""

    name: str
    title: str
    note: str
    chips: tuple[Chip, ...]
    first: list[claims.ClaimGroup]
    others: list[claims.ClaimGroup]
    groups: tuple[claims.ClaimGroup, ...]


def section(whose: Whose, rows: Sequence[JudgedClaim]) -> Section:
    """Of the claims that are the paper's, or ours."""
    selected = [row for row in rows if row.whose == whose]
    found = claims.groups(selected)
    first, others = claims.answer(found)
    return Section(
        NAMES[whose],
        TITLES[whose],
        NOTES[whose],
        claims.chips([row.verdict for row in selected]),
        first,
        others,
        found,
    )


def _show(
    paper: str, figure: Drawn, store: Store, rows: Sequence[JudgedClaim], folder: Path
) -> DrawnFigure:
    title = f"{figure.name}. {figure.title}"
    how = f'mugrow.draw("{paper}/{figure.name}", "{paper}")'
    shown = DrawnFigure(figure.name, title, figure.caption, section="paper", how=how)
    try:
        files = style.files(style.drawn(lambda: figure.draw(store)), figure.name)
    except UserError as reason:
        return replace(shown, reason=str(reason))
    style.write(files, folder, figure.name)
    data = data_of(files["csv"])
    says = findings.of_claims([row for row in rows if row.claim in figure.claims]) or title
    return replace(shown, svg=inline(files["svg"], figure.name, says), says=says, data=data)


def counts(verdicts: Sequence[str]) -> dict[str, int]:
    """How many claims have each verdict."""
    return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}


def claims_tables(rows: Sequence[JudgedClaim]) -> dict[Whose, Table]:
    """The paper's claims, also where there are none, and where there are any the questions of
    ours."""
    by_whose = {whose: [row for row in rows if row.whose == whose] for whose in get_args(Whose)}
    return {
        whose: _claims_table(whose, found)
        for whose, found in by_whose.items()
        if found or whose == "paper"
    }


def _claims_table(whose: Whose, rows: Sequence[JudgedClaim]) -> Table:
    return Table(
        NAMES[whose],
        TITLES[whose],
        NOTES[whose],
        ("verdict", "claim", "where", "our quantity", "ours", "holds if"),
        tuple(
            (_verdict(row), row.says, row.where, row.quantity or MISSING, claims.in_words(row),
             row.holds_if or MISSING)
            for row in rows
        ),
    )  # fmt: skip


def _verdict(row: JudgedClaim) -> str:
    if row.why:
        return f"{row.verdict}: {row.why}"
    if not math.isnan(row.seeds_needed):
        flops = f", {row.flops_needed:.1e} FLOPs" if math.isfinite(row.flops_needed) else ""
        return f"{row.verdict} ({row.seeds} seeds; about {row.seeds_needed:.0f} would do{flops})"
    return row.verdict


def read_ledger(folder: Path) -> LedgerJson:
    """A ledger as it was written, also before claims said whose they are."""
    found: LedgerJson = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    return found


def lines_of(whose: Whose, found: LedgerJson) -> list[LineJson]:
    """Those lines of a ledger that are the paper's, or ours."""
    return [line for line in found["claims"] if line.get("whose", "paper") == whose]


def summary_line(folder: Path) -> str:
    """A paper's row of a Markdown table: name, title, and how many of its claims have each
    verdict."""
    found = read_ledger(folder)
    link = f"[{found['arxiv']}](https://arxiv.org/abs/{found['arxiv']})"
    cells = _cells(lines_of("paper", found))
    return f"| `{folder.name}` | {found['title']} ({link}) | {cells} |"


def questions_line(folder: Path) -> str | None:
    """Likewise of the questions of ours, or ``None`` where there are none."""
    lines = lines_of("ours", read_ledger(folder))
    return f"| `{folder.name}` | {_cells(lines)} |" if lines else None


def _cells(lines: Sequence[LineJson]) -> str:
    by_verdict = counts([line["verdict"] for line in lines])
    return " | ".join(str(by_verdict.get(verdict, 0)) for verdict in VERDICTS)
