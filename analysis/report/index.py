"""Several reports on one page: a line for each study and paper, its verdicts and the way to it.

A folder with a ledger is a paper, whose page `mugrow reproduce` writes: where it is missing there
is no link. Any other is a study, whose report is made again.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mugrow.analysis.read.store import Store, load
from mugrow.analysis.report import build, claims, equal_compute, imported, page, paper, words
from mugrow.analysis.report.chip import Chip
from mugrow.analysis.summary import Summary, summarize
from mugrow.analysis.words import ACCOUNTINGS


@dataclass(frozen=True)
class IndexLine:
    """A study or a paper: where its page is from the index, empty where it has none, and its
    verdicts."""

    kind: str
    name: str
    title: str
    page: str
    chips: tuple[Chip, ...]


def build_index(folders: Sequence[Path], out: Path) -> Path:
    """Write the reports of ``folders`` and, into ``out``, a page that leads to all of them; returns
    that page. Raises ``UserError`` for a folder that is neither."""
    lines = [_line(folder, out) for folder in folders]
    text = page.rendered("index.html.j2", title="Studies and papers", lines=lines)
    written = out / "index.html"
    build.write_text(written, text)
    return written


def _line(folder: Path, out: Path) -> IndexLine:
    if (folder / paper.LEDGER).is_file():
        written = folder / "report" / "index.html"
        return of_paper(folder, _way(written, out) if written.is_file() else "")
    store = load(folder)
    summary = summarize(store)
    written = build.write_report(folder, store, summary)
    return of_study(folder.name, store, summary, _way(written, out))


def of_paper(folder: Path, address: str) -> IndexLine:
    """By its ledger: how many of the paper's claims have which verdict."""
    ledger = paper.read_ledger(folder)
    chips = claims.chips([line["verdict"] for line in paper.lines_of("paper", ledger)])
    return IndexLine("paper", folder.name, ledger["title"], address, chips)


def of_study(name: str, store: Store, summary: Summary, address: str) -> IndexLine:
    """By its largest target's best arm against each baseline, and its verdicts on transfer."""
    found = equal_compute.answers(summary.equal_compute, imported.compared_with(store))
    chips = [
        Chip(row.said, row.verdict.replace(" ", "-"), of=row.baseline)
        for answer in list(found)[:1]
        for row in answer.rows
    ]
    if not chips:
        chips = [
            Chip(row.verdict, row.kind, row.count, "at a fixed loss")
            for rows in list(words.growth(summary).values())[:1]
            for row in rows
            if row.accounting == ACCOUNTINGS["source"]
        ]
    chips += [
        Chip(f"rate {row.verdict}", row.kind, of=f"({len(row.ladders)})")
        for row in words.transferred(summary)
    ]
    title = str(store.study.get("title", name))
    return IndexLine("study", name, title, address, tuple(chips))


def _way(written: Path, out: Path) -> str:
    return Path(os.path.relpath(written.resolve(), out.resolve())).as_posix()
