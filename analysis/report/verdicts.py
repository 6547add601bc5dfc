"""Every claim of every paper on one page, to be filtered by paper, verdict, operator and words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from mugrow.analysis.measure.claims import JudgedClaim, range_of
from mugrow.analysis.report import build, claims, page, paper
from mugrow.analysis.report.chip import Chip
from mugrow.analysis.report.interval_plot import interval_plot

TITLE = "Every claim and its verdict"


@dataclass(frozen=True)
class VerdictLine:
    """A claim with its paper, the ``operators`` that the paper's runs grow by, and the address of
    the claim on the paper's page."""

    chip: Chip
    paper: str
    whose: str
    says: str
    where: str
    plot: Markup
    ours: str
    claimed: str
    operators: tuple[str, ...]
    page: str


def build_verdicts(folders: Sequence[Path], written: Path) -> Path:
    """Write the page of these papers' ledgers; each has its own page in ``report/`` beside it, and
    all lie below the page's folder. Returns its path."""
    lines = [line for folder in folders for line in lines_of(folder, written.parent)]
    text = page.rendered(
        "verdicts.html.j2",
        title=TITLE,
        lines=lines,
        chips=claims.chips([line.chip.word for line in lines]),
        papers=sorted({line.paper for line in lines}),
        operators=sorted({name for line in lines for name in line.operators}),
    )
    build.write_text(written, text)
    return written


def lines_of(folder: Path, base: Path) -> list[VerdictLine]:
    """The claims of one paper's ledger, in its order."""
    methods = pd.read_parquet(folder / "runs.parquet", columns=["method"])["method"]
    operators = tuple(sorted(set(methods)))
    address = (folder / "report" / "index.html").relative_to(base).as_posix()
    return [
        VerdictLine(
            Chip(row.verdict, claims.CHIPS[row.verdict]),
            folder.name,
            "the paper’s" if row.whose == "paper" else "ours",
            row.says,
            row.where,
            interval_plot(row.value, row.low, row.high, range_of(row.holds_if), claims.told(row)),
            claims.in_words(row),
            claims.claimed_in_words(row),
            operators,
            f"{address}#claim-{row.claim}",
        )
        for row in judged(folder)
    ]


def judged(folder: Path) -> list[JudgedClaim]:
    """The lines of a ledger as they were judged; null is nan."""
    found = []
    for line in paper.read_ledger(folder)["claims"]:
        given = {
            key: math.nan if value is None and key != "why" else value
            for key, value in line.items()
        }
        found.append(JudgedClaim(**given))  # type: ignore[arg-type]
    return found
