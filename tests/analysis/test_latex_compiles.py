"""What a report writes for LaTeX goes through a real TeX: every table, and every macro by its name.

pdflatex is Debian's (texlive-latex-recommended); without it these tests skip and say so.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mugrow.analysis.read.store import load
from mugrow.analysis.report import latex, tables
from mugrow.analysis.report.paper import claims_tables
from mugrow.analysis.report.table import Table
from mugrow.analysis.report.verdicts import judged
from mugrow.analysis.summary import summarize

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine"),
]
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def compiled(folder: Path, body: str, first: str = "") -> str:
    """What is on the pages of a document with this body; fails where TeX complains."""
    parts = [
        r"\documentclass{article}", r"\usepackage{booktabs,graphicx}",
        r"\usepackage[landscape,margin=1cm]{geometry}", first, r"\begin{document}", body,
        r"\end{document}",
    ]  # fmt: skip
    (folder / "document.tex").write_text("\n".join(parts), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=folder, capture_output=True, timeout=120,
    )  # fmt: skip
    said = done.stdout.decode(errors="replace")
    wrong = [line for line in said.splitlines() if re.match(r"!|Missing character", line)]
    assert (done.returncode, wrong) == (0, [])
    return said


def shown(item: Table) -> str:
    return rf"\noindent\resizebox{{\linewidth}}{{!}}{{{latex.table(item)}}}" + "\n\n"


def test_every_table_and_macro_of_a_study_compiles(tmp_path):
    summary = summarize(load(REFERENCE / "quick"))
    macros = latex.macros(summary)
    (tmp_path / "macros.tex").write_text(macros, encoding="utf-8")
    names = re.findall(r"\\newcommand\{(\\\w+)\}", macros)
    assert len(names) > 50
    body = "\n\n".join(names) + "".join(map(shown, tables.of_summary(summary, True)))
    compiled(tmp_path, body, r"\input{macros.tex}")


def test_the_ledger_of_every_paper_compiles(tmp_path):
    ledgers = [path for path in sorted((REFERENCE / "papers").iterdir()) if path.is_dir()]
    assert len(ledgers) >= 16
    found = [table for path in ledgers for table in claims_tables(judged(path)).values()]
    compiled(tmp_path, "".join(map(shown, found)))


def test_a_table_that_would_be_code_is_text(tmp_path):
    evil = r"\input{/etc/passwd} & % $x_1^2$ #1 {~} \\ \end{tabular} < >"
    rows = ((evil, "newline\nin it", "1"), ("", "–", "−1 ×"))
    item = Table("evil", evil + "\nsecond line", evil, ("a & b", "c_d", "100 %"), rows)
    said = compiled(tmp_path, shown(item))
    assert "(/etc/passwd" not in said  # as TeX says of a file that it opens
