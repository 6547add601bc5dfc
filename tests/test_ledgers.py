"""Every committed ledger is what its paper's claims say of the tables beside it."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest

from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import load
from mugrow.analysis.report.paper import questions_line, read_ledger, summary_line
from mugrow.bench.arm import factors_json
from mugrow.sweeps.factors import planned
from mugrow.sweeps.paper import ledger_of
from mugrow.sweeps.recipes.papers import PAPERS, paper

PAPERS_FOLDER = Path(__file__).parents[1] / "results/reference/papers"
COMMITTED = sorted(path.name for path in PAPERS_FOLDER.glob("*") if path.is_dir())


@pytest.mark.integration
@pytest.mark.parametrize("name", COMMITTED)
def test_verdicts_follow_from_the_tables(name):
    folder = PAPERS_FOLDER / name
    entry = paper(name)
    committed = json.loads((folder / "ledger.json").read_text())
    assert (committed["title"], committed["arxiv"]) == (entry.title, entry.arxiv)
    rows = to_json(ledger_of(entry, load(folder), entry.figures))
    assert [row["verdict"] for row in rows] == [row["verdict"] for row in committed["claims"]]
    for row, theirs in zip(rows, committed["claims"], strict=True):
        for key in ("value", "low", "high", "seeds_needed", "flops_needed"):
            ours, committed_one = row.pop(key), theirs.pop(key)
            close = ours is committed_one or ours == pytest.approx(
                committed_one,
                rel=1e-7,
                abs=1e-12,  # a fit ends within 1e-8
            )
            assert close, (row["claim"], key, ours, committed_one)
        assert row == theirs


@pytest.mark.parametrize("name", COMMITTED)
def test_the_recipe_says_what_the_tables_say_of_arms(name):
    """Every committed run is planned by its recipe, which gives it the arm and factors it has."""
    folder = PAPERS_FOLDER / name
    runs, plan = load(folder).runs, planned(paper(name), folder)
    ours = [plan[run_id] for run_id in runs["run_id"]]
    assert [run.arm for run in ours] == list(runs["arm"])
    kept = [text if isinstance(text, str) else None for text in runs["factors"]]
    assert [factors_json(run.arm) for run in ours] == kept


def test_an_inconclusive_claim_is_priced_by_the_runs_of_its_figure():
    """Of one paper all runs are its figure's, of another they are not."""
    for name, claim, whole in (
        ("emulator", "keeps-knowledge", True),
        ("hitchhiker", "seed-spread", True),
        ("when-warmstarting", "unshrunk-worst", False),
    ):
        (line,) = (x for x in read_ledger(PAPERS_FOLDER / name)["claims"] if x["claim"] == claim)
        runs = load(PAPERS_FOLDER / name).runs
        all_runs = line["seeds_needed"] * runs["flops"].sum() / runs["seed"].nunique()
        assert math.isclose(line["flops_needed"], all_runs, rel_tol=1e-9) is whole
        assert 0 < line["flops_needed"] <= all_runs * (1 + 1e-9)


@pytest.mark.parametrize("name", COMMITTED)
def test_what_is_inconclusive_has_a_price_or_a_reason(name):
    for line in read_ledger(PAPERS_FOLDER / name)["claims"]:
        if line["verdict"] == "inconclusive at this scale":
            priced = line["seeds_needed"] is not None and line["flops_needed"] is not None
            assert priced != bool(line["why"]), line["claim"]


def test_an_arm_of_the_same_factors_has_one_name():
    for name in COMMITTED:
        runs = load(PAPERS_FOLDER / name).runs.dropna(subset="factors")
        assert runs[["arm", "factors"]].drop_duplicates()["factors"].is_unique, name


@pytest.mark.parametrize("name", COMMITTED)
def test_the_readme_counts_the_verdicts(name):
    readme = (PAPERS_FOLDER.parents[2] / "README.md").read_text().splitlines()
    lines = (summary_line(PAPERS_FOLDER / name), questions_line(PAPERS_FOLDER / name))
    counted = [line for line in readme if re.match(rf"\| `{name}`.*( \| \d+){{4}} \|$", line)]
    assert counted == [line for line in lines if line]


WORTH = "our question: is growing worth its compute?"
QUESTION = re.compile("(our|reviewers') (question|reading)")


@pytest.mark.parametrize("name", COMMITTED)
def test_a_claim_is_ours_where_the_paper_does_not_make_it(name):
    """Either its place says that it is our question, or it names another paper by its id."""
    found = read_ledger(PAPERS_FOLDER / name)
    for line in found["claims"]:
        others = set(re.findall(r"\d{4}\.\d{5}", line["where"])) - {found["arxiv"]}
        ours = bool(QUESTION.match(line["where"]) or others)
        assert line["whose"] == ("ours" if ours else "paper"), line["claim"]


def test_what_is_ours_is_counted_apart():
    lines = [line for name in COMMITTED for line in read_ledger(PAPERS_FOLDER / name)["claims"]]
    counts = Counter((line["whose"], line["verdict"]) for line in lines)
    worth = [line for line in lines if line["where"].startswith(WORTH)]
    assert counts["paper", "contradicted"] == 24 + 2
    assert Counter(line["verdict"] for line in worth) == {
        "reproduced": 3,
        "contradicted": 16,
        "inconclusive at this scale": 5,
    }
    # no claim of the paper, mis-mapped, of completed-hp, and at equal charged compute
    assert counts["ours", "contradicted"] == 12 + 4 + 9 + 16


def test_no_ledger_has_a_name_twice():
    for name in COMMITTED:
        names = [line["claim"] for line in read_ledger(PAPERS_FOLDER / name)["claims"]]
        assert len(set(names)) == len(names), name


def test_every_committed_paper_is_one_of_ours():
    assert set(COMMITTED) <= set(PAPERS)
