"""Alternative texts: what a figure shows, with the tables' own numbers and verdicts."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mugrow.analysis import figures, words
from mugrow.analysis.measure.claims import JudgedClaim
from mugrow.analysis.measure.comparison import EqualCompute, Versus
from mugrow.analysis.read.store import load
from mugrow.analysis.report import (
    charts,
    equal_compute,
    findings,
    glossary,
    tables,
    transfer,
)
from mugrow.analysis.report.drawn import draw_figures
from mugrow.analysis.stats import NOTHING, Interval
from mugrow.analysis.summary import summarize

QUICK = Path(__file__).parents[2] / "results" / "reference" / "quick"
INTERVAL = re.compile(r"−?[\d.]+[×%]? ?\[[^]]+\]")


@pytest.fixture(scope="module")
def quick():
    store = load(QUICK)
    return summarize(store), store


def against(name, verdict, value, lo, hi, state="reached"):
    found = Interval(value, lo, hi, 3) if state == "reached" else NOTHING
    return Versus(name, state, found, "", 0.01, verdict)


ROW = EqualCompute(
    "w64-d2", "szp", "szp", (), 0.9, 3.1e11, 1.2, Interval(3.0, 2.9, 3.1, 3), 0,
    (against("scratch", "better", -0.03, -0.05, -0.01),
     against("own source", "worse", 0.02, 0.01, 0.03),
     against("front", "undecided", -0.01, -0.02, 0.005)),
    NOTHING, "outside",
)  # fmt: skip


def test_below_and_above_are_the_verdicts():
    assert equal_compute.sentence(ROW) == (
        "Growing to w64-d2 for 310 GFLOP with its source, szp "
        "ends 0.0300 nats [0.0100, 0.0500] below scratch; "
        "ends 0.0200 nats [0.0100, 0.0300] above its own source, trained on; "
        "is undecided against the best size for this compute (−0.0100 [−0.0200, 0.0050] nats)."
    )


def test_what_was_not_measured_says_why():
    unknown = against("scratch", "not measured", 0, 0, 0, "above_budgets")
    said = equal_compute.sentence(replace(ROW, versus=(unknown,)), ("scratch",))
    assert said.endswith(
        "szp is not measured against scratch (charged more than the largest budget)."
    )


def test_a_lone_seed_has_no_brackets():
    alone = against("scratch", "undecided", -0.03, float("nan"), float("nan"))
    said = equal_compute.sentence(replace(ROW, versus=(alone,)), ("scratch",))
    assert said.endswith("szp is undecided against scratch (−0.0300 nats).")


@pytest.mark.parametrize("name", [*findings.OF_STUDY, *findings.OF_TRANSFER])
def test_every_number_with_an_interval_is_one_of_the_tables(quick, name):
    """A sentence that a verdict made positive stands in the table with its sign."""
    summary, store = quick
    listed = [*tables.of_summary(summary), *transfer.tables(summary.transfer)]
    cells = " ".join(cell for table in listed for row in table.rows for cell in row)
    said = findings.finding(name, summary, store)
    for found in INTERVAL.findall(said.replace(" nats [", " [")):
        assert found in cells or flipped(found) in cells, found


def flipped(found):
    value, low, high = re.findall(r"−?[\d.]+", found)
    minus = [one.removeprefix("−") if "−" in one else f"−{one}" for one in (value, high, low)]
    return f"{minus[0]} [{minus[1]}, {minus[2]}]"


def test_every_figure_of_a_study_has_a_finding_and_none_is_of_no_figure(quick):
    summary, store = quick
    assert set(figures.FIGURES) == findings.OF_STUDY.keys() | findings.OF_TRANSFER.keys()
    without = {name for name in figures.FIGURES if not findings.finding(name, summary, store)}
    assert without == {
        "transfer_depth", "transfer_tokens", "transfer_batch", "transfer_growth",
        "operator_settings", "growth_factor", "contour",
    }  # fmt: skip


def test_the_best_and_the_verdicts_are_counted(quick):
    summary, store = quick
    said = findings.finding("equal_compute", summary, store)
    rows = summary.equal_compute
    assert said.startswith(equal_compute.sentence(rows[0]))
    verdicts = [row.against("scratch").verdict for row in rows]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    assert said.endswith(f"Of {len(rows)} arms at w64-d2, against scratch: {counts}.")


def test_a_figure_and_its_chart_say_the_finding(quick, tmp_path):
    summary, store = quick
    one = {"curves": figures.FIGURES["curves"]}
    (drawn,) = draw_figures(one, summary, store, tmp_path)
    lowest = min(summary.finals, key=lambda row: row.loss.value)
    ends = (
        f"At w64-d2 {lowest.label} ends lowest, at {words.interval(lowest.loss, words.loss)} nats"
    )
    assert drawn.says.startswith(ends)
    assert f'role="img" aria-label="{drawn.says}"' in drawn.svg
    made = charts.of_study(summary, store, {"curves": drawn.says})
    assert made["curves"].says == drawn.says
    assert made["savings"].says == ""


def test_a_papers_figure_says_what_it_decides():
    row = JudgedClaim("a", "growing helps", "abstract", "grown minus scratch, nats", -0.1, -0.2,
                      -0.05, 5, "below 0", "reproduced", float("nan"), None)  # fmt: skip
    assert findings.of_claims([row]) == (
        "growing helps (grown minus scratch, nats): ours −0.1 [−0.2, −0.05], claimed below 0: "
        "reproduced."
    )
    worse = replace(row, claim="b", value=0.3, low=0.2, high=0.4, verdict="contradicted")
    assert findings.of_claims([row, worse]).endswith(
        "ours −0.1 to 0.3, claimed below 0: contradicted, reproduced."
    )
    assert findings.of_claims([]) == ""


def test_names_are_explained_where_they_stand():
    texts = ["szp 1.10× [1.07, ?]", "SP, width"]
    found = dict(glossary.explained(texts, ["scratch", "szp", "stack"], ["sp", "mup"]))
    assert found["szp"].startswith("SZP: shrink the source, zero-pad it")
    assert found["SP"].startswith("Standard parametrization")
    assert found["?"] == glossary.OPEN
    assert found.keys() == {"szp", "SP", "?"}


def test_a_method_that_is_not_ours_is_not_explained():
    assert glossary.first_line("growth", "../growth/szp") == ""
    assert glossary.first_line("growth", "m" * 300) == ""  # no name of a file
    assert glossary.explained(["mine@0123"], ["mine@0123"], []) == []
    # a name inside another is not that one
    assert glossary.explained(["gradual_stack"], ["stack"], []) == []
