"""The committed evidence: the README quotes it, and it follows from the committed rows."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.comparison import EqualCompute
from mugrow.analysis.measure.quantity import Quantity
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import load
from mugrow.analysis.report import equal_compute
from mugrow.analysis.summary import summarize
from mugrow.bench.spec import run_spec_from_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "reference"
KINDS = {"study.json", "summary.json", "ledger.json"}
PICTURES = ROOT / "docs" / "pictures"
MEGABYTES = 8
STUDIES = (
    "quick",
    "small",
    "zoo",
    "zoo-depth",
    "transfer-width",
    "transfer-depth",
    "transfer-growth",
    "breakers",
    "modules",
    "origins",
    "grow-smollm2",
)


SECTIONS = {  # where the README says a study's best arms in words
    "grow-smollm2": ("Did it pay for a published one?", "## What"),
    "zoo": ("### Every operator on one target", "<details><summary>All arms"),
    "zoo-depth": ("### Every operator on one target", "<details><summary>All arms"),
}


@pytest.mark.parametrize("study", ["quick", "small", "zoo", "zoo-depth", "grow-smollm2"])
def test_the_readme_quotes_what_arms_are_compared_with(study: str) -> None:
    """In its tables all of them; in words those of `quick`, the best of each target of `small` and
    `zoo`, and of an imported source what was measured."""
    readme = (ROOT / "README.md").read_text()
    summary = summarize(load(RESULTS / study))
    quoted = [line for line in readme.splitlines() if line.startswith(f"| {study} |")]
    rows = equal_compute.table(summary.equal_compute).rows
    assert quoted == ["| " + " | ".join((study, *row)) + " |" for row in rows]
    start, end = SECTIONS.get(study, ("start:answer", "end:answer"))
    answer = readme[readme.index(start) : readme.index(end)]
    best: dict[str, EqualCompute] = {}
    for row in summary.equal_compute:
        best.setdefault(row.target, row)
    for row in best.values() if study in ("small", "zoo") else summary.equal_compute:
        for baseline in ("scratch", "own source"):
            found = row.against(baseline).difference
            if not found.n:
                continue  # nothing to compare with
            sign = -1 if found.hi < 0 else 1
            low, high = (fmt.number(end, 3) for end in sorted((sign * found.lo, sign * found.hi)))
            assert f"{fmt.number(abs(found.value), 3)}" in answer
            assert f"[{low}, {high}]" in answer


@pytest.mark.parametrize("study", ["transfer-width", "transfer-depth"])
def test_the_readme_quotes_the_drift_of_every_ladder(study: str) -> None:
    readme = (ROOT / "README.md").read_text()
    for ladder in summarize(load(RESULTS / study)).transfer.ladders:
        assert fmt.interval(ladder.drift.slope, fmt.log2) in readme, ladder.parametrization


@pytest.mark.parametrize("study", STUDIES)
def test_the_committed_claims_follow_from_the_committed_rows(study: str) -> None:
    committed = json.loads((RESULTS / study / "summary.json").read_text())
    _assert_close(json.loads(json.dumps(to_json(summarize(load(RESULTS / study))))), committed)


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


BEFORE = ROOT / "tests" / "stores" / "before_budgets"  # a `zoo` of two seeds and one length


def run_specs(path: Path) -> dict[str, str]:
    """The JSON of each run's specification by its id."""
    rows = pq.read_table(path, columns=["run_id", "spec"]).to_pylist()
    return {row["run_id"]: row["spec"] for row in rows}


def test_every_committed_run_has_the_id_that_its_spec_gives_it() -> None:
    """A field that is added to a spec, with the old behaviour as its default, renames no run."""
    paths = sorted((ROOT / "results").rglob("runs.parquet"))
    assert len(paths) >= 23
    for path in paths:
        specs = run_specs(path)
        assert specs
        for run_id, text in specs.items():
            assert run_spec_from_json(text).run_id == run_id, path


def test_rows_from_before_ids_were_stable_are_read() -> None:
    """There the id is of the whole JSON of the time; comparisons are at fixed losses alone."""
    specs = run_specs(BEFORE / "runs.parquet")
    assert len(specs) == 92
    for run_id, text in specs.items():
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == run_id
        assert run_spec_from_json(text).optimizer == "adamw"
    summary = summarize(load(BEFORE))
    assert summary.equal_compute == ()
    stack = summary.headlines("w128-d4")["stack", "source"]
    assert stack.state == "reached"
    assert stack.speedup.value == pytest.approx(0.8047, abs=1e-4)


def test_the_evidence_is_rows_and_claims_and_small() -> None:
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert path.suffix == ".parquet" or path.name in KINDS, path.relative_to(ROOT)
    shown = [path for path in PICTURES.iterdir() if path.is_file()]
    assert {path.suffix for path in shown} <= {".png", ".svg"}
    assert sum(path.stat().st_size for path in files + shown) < MEGABYTES * 1e6


def test_git_keeps_nothing_large() -> None:
    """Neither packages that a command left in the root, nor anything else of more than 1 MB."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert not [path.name for path in files if path.name.endswith((".whl", ".tar.gz"))]
    large = [path for path in files if path.is_file() and path.stat().st_size > 1e6]
    assert not [path.relative_to(ROOT).as_posix() for path in large]


def test_every_picture_is_shown() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in pages)
    for path in PICTURES.iterdir():
        assert f"pictures/{path.name}" in text


def by_module_rows() -> list[str]:
    """The lines of the README's table of what tuning by module gains."""
    from mugrow.sweeps.recipes.papers.completed_hp.paper import GAINS, GROWN, USUAL

    store = load(RESULTS / "papers" / "completed-hp")

    def shown(quantities: Mapping[str, Quantity], name: str) -> str:
        return fmt.interval(quantities[name](store), fmt.loss) if name in quantities else ""

    grown = [name for name in GROWN if not name.startswith("scratch")]
    return [
        f"| {name} | {shown({**GAINS, **GROWN}, name)} | {shown(USUAL, name)} |"
        for name in (*GAINS, *grown)
    ]


def test_the_readme_quotes_what_tuning_by_module_gains() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    part = readme[readme.index("### Does tuning every kind") : readme.index("## Papers")]
    table = [line for line in part.splitlines() if line.startswith("| ")]
    assert table[1:] == by_module_rows()  # but its head


def test_the_readme_quotes_the_rates_of_new_units() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for one in summarize(load(RESULTS / "origins")).origins:
        if one.new_rate in (0.25, 4.0):
            found = fmt.interval(one.minus_one, fmt.loss)
            assert found in readme, (one.method, one.new_rate, found)
