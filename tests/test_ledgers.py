"""Every committed ledger is what its paper's claims say of the tables beside it."""

import json
from pathlib import Path

import pytest

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import load
from mugrow.analysis.report.paper import summary_line
from mugrow.sweeps.recipes.papers import PAPERS, paper

PAPERS_FOLDER = Path(__file__).parents[1] / "results/reference/papers"
COMMITTED = sorted(path.name for path in PAPERS_FOLDER.glob("*") if path.is_dir())


@pytest.mark.parametrize("name", COMMITTED)
def test_verdicts_follow_from_the_tables(name):
    folder = PAPERS_FOLDER / name
    entry = paper(name)
    committed = json.loads((folder / "ledger.json").read_text())
    assert (committed["title"], committed["arxiv"]) == (entry.title, entry.arxiv)
    rows = ledger(entry.claims(entry.figures), load(folder))
    assert [row["verdict"] for row in rows] == [row["verdict"] for row in committed["claims"]]
    for row, theirs in zip(rows, committed["claims"], strict=True):
        for key in ("value", "low", "high", "seeds_needed"):
            ours, committed_one = row.pop(key), theirs.pop(key)
            close = ours is committed_one or ours == pytest.approx(committed_one, rel=1e-6)
            assert close, (row["claim"], key, ours, committed_one)
        assert row == theirs


@pytest.mark.parametrize("name", COMMITTED)
def test_the_readme_counts_the_verdicts(name):
    readme = (PAPERS_FOLDER.parents[2] / "README.md").read_text().splitlines()
    assert summary_line(PAPERS_FOLDER / name) in readme


def test_every_committed_paper_is_one_of_ours():
    assert set(COMMITTED) <= set(PAPERS)
