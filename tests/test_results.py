"""The committed evidence: the README quotes it, and it follows from the committed rows."""

import json
from pathlib import Path

import pytest

from mugrow.analysis.read.store import load
from mugrow.analysis.report import format as fmt
from mugrow.analysis.summary import summarize

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "reference"
ACCOUNTINGS = ("target", "source", "full")
KINDS = {"study.json", "summary.json", "ledger.json"}
PICTURES = ROOT / "docs" / "pictures"
MEGABYTES = 8
STUDIES = (
    "quick",
    "small",
    "zoo",
    "transfer-width",
    "transfer-depth",
    "transfer-growth",
    "breakers",
)


def readme_rows(study: str) -> list[str]:
    """The lines of the README's table of results, made from the study's summary."""
    summary = json.loads((RESULTS / study / "summary.json").read_text())
    savings = {
        (row["target"], row["label"], row["accounting"]): fmt.speedup_short(row)
        for row in summary["savings"]
        if row["at"] == "scratch final"
    }
    lines = []
    for final in summary["finals"]:
        arm = final["target"], final["label"]
        cells = [savings.get((*arm, accounting), "–") for accounting in ACCOUNTINGS]
        loss = fmt.interval(final["loss"], fmt.loss)
        lines.append("| " + " | ".join((study, *arm, loss, *cells)) + " |")
    return lines


@pytest.mark.parametrize("study", ["quick", "small", "zoo"])
def test_the_readme_quotes_the_committed_numbers(study: str) -> None:
    readme = (ROOT / "README.md").read_text().splitlines()
    quoted = [line for line in readme if line.startswith(f"| {study} |")]
    assert quoted == readme_rows(study)


@pytest.mark.parametrize("study", ["transfer-width", "transfer-depth"])
def test_the_readme_quotes_the_drift_of_every_ladder(study: str) -> None:
    readme = (ROOT / "README.md").read_text()
    summary = json.loads((RESULTS / study / "summary.json").read_text())
    for ladder in summary["transfer"]["ladders"]:
        assert fmt.interval(ladder["drift"]["slope"], fmt.log2) in readme, ladder["parametrization"]


@pytest.mark.parametrize("study", STUDIES)
def test_the_committed_claims_follow_from_the_committed_rows(study: str) -> None:
    committed = json.loads((RESULTS / study / "summary.json").read_text())
    _assert_close(json.loads(json.dumps(summarize(load(RESULTS / study)))), committed)


def _assert_close(left: object, right: object) -> None:
    """Equal, numbers to nine digits: another version of a library may round a last bit."""
    if isinstance(left, dict):
        assert isinstance(right, dict)
        assert left.keys() == right.keys()
        for key in left:
            _assert_close(left[key], right[key])
    elif isinstance(left, list):
        assert isinstance(right, list)
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            _assert_close(one, other)
    else:
        assert left == (pytest.approx(right, rel=1e-9) if isinstance(left, float) else right)


def test_the_evidence_is_rows_and_claims_and_small() -> None:
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert path.suffix == ".parquet" or path.name in KINDS, path.relative_to(ROOT)
    shown = [path for path in PICTURES.iterdir() if path.is_file()]
    assert {path.suffix for path in shown} <= {".png", ".svg"}
    assert sum(path.stat().st_size for path in files + shown) < MEGABYTES * 1e6


def test_every_picture_is_shown() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    for path in PICTURES.iterdir():
        assert f"pictures/{path.name}" in text
