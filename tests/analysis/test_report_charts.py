"""Charts of a page: the data are the rows, and no text of a file ends the script they stand in."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.read.store import load
from mugrow.analysis.report import charts
from mugrow.analysis.report.charts import Chart, Scale, Series
from mugrow.analysis.summary import summarize

QUICK = Path(__file__).parents[2] / "results" / "reference" / "quick"


@pytest.fixture(scope="module")
def quick():
    store = load(QUICK)
    return summarize(store), store


@pytest.fixture(scope="module")
def made(quick):
    return charts.of_study(*quick)


def parsed(chart: Chart):
    text = str(chart.to_script())
    start, end = '<script type="application/json" class="chart-data">', "</script>"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def test_every_chart_stands_beside_a_figure_of_its_name(made):
    assert list(made) == ["curves", "transfer", "savings", "equal_compute"]


def test_a_curve_is_its_rows_whatever_x_counts(quick, made):
    _, store = quick
    plain = parsed(made["curves"])
    runs = store.runs.set_index("run_id")
    by_end = {}
    for run_id, rows in store.curves[store.curves["step"] > 0].groupby("run_id"):
        rows = rows[rows["val_loss"].notna()]
        by_end.setdefault(float(f"{rows['val_loss'].iloc[-1]:.5g}"), []).append((run_id, rows))
    checked = 0
    for one in plain["series"]:
        candidates = by_end[one["y"][-1]]
        if len(candidates) > 1:
            continue
        ((run_id, rows),) = candidates
        steps = np.array(plain["shared"][one["x"]])
        np.testing.assert_array_equal(steps, rows["step"])
        np.testing.assert_allclose(one["y"], rows["val_loss"], rtol=1e-4)
        source = runs.loc[run_id, "flops_source"]
        for key, expected in (
            ("tokens", rows["tokens"]),
            ("flops", rows["flops"]),
            ("charged", rows["flops"] + (0 if math.isnan(source) else source)),
        ):
            offset, slope = one["axes"][key]
            np.testing.assert_allclose(offset + slope * steps, expected, rtol=1e-5)
        seconds = one["axes"]["seconds"][1] * steps[-1]
        assert seconds == pytest.approx(runs.loc[run_id, "wall_s"], rel=1e-5)
        checked += 1
    assert checked > 20


def test_regret_is_above_the_lowest_of_the_size(quick, made):
    summary, _ = quick
    for sweep, one in zip(summary.sweeps, parsed(made["transfer"])["series"], strict=True):
        best = min(point.loss for point in sweep.points if point.known)
        assert one["lowest"] == pytest.approx(best, rel=1e-4)
        assert min(one["y"]) == one["lowest"]
        assert all(low <= y <= high for low, y, high in zip(one["low"], one["y"], one["high"],
                                                            strict=True))  # fmt: skip


def test_arms_are_at_what_they_were_charged(quick, made):
    summary, _ = quick
    points = {
        (one["panel"], one["group"]): one
        for one in parsed(made["equal_compute"])["series"]
        if len(one["y"]) == 1
    }
    assert points
    for row in summary.equal_compute:
        one = points[row.target, row.label]
        assert one["y"] == [pytest.approx(row.loss.value, rel=1e-4)]
        assert parsed(made["equal_compute"])["shared"][one["x"]] == [
            pytest.approx(row.charge, rel=1e-6)
        ]


def test_the_largest_target_is_shown_first_and_scratch_before_the_grown(made):
    series = made["curves"].series
    assert series[0].panel == "target w64-d2"
    assert series[0].group == BASELINE
    assert {one.panel.split()[0] for one in series} == {"target", "source", "trunk", "branch",
                                                         "proxy"}  # fmt: skip


def test_colours_are_those_of_the_figures(made):
    assert {one.colour for one in made["curves"].series if one.group == "szp"} == {"#0072B2"}


def test_no_text_of_a_file_ends_the_script():
    evil = "</script><script>alert(1)</script><!--&\u2028"
    one = Series(evil, evil, evil, "#000000", np.array([1.0]), np.array([2.0]))
    chart = Chart("a", evil, evil, (Scale("x", evil),), Scale("y", evil), (one,))
    assert str(chart.to_script()).count("<") == 2
    assert parsed(chart)["series"][0]["name"] == evil


def test_what_is_not_finite_is_nothing():
    one = Series("a", "a", "a", "#000000", np.array([1.0, 2.0]), np.array([math.inf, 2.0]))
    chart = Chart("a", "a", "a", (Scale("x", "x"),), Scale("y", "y"), (one,))
    assert parsed(chart)["series"][0]["y"] == [None, 2]


def test_a_study_of_nothing_has_no_charts(quick):
    _, store = quick
    nothing = replace(store, runs=store.runs.iloc[:0], curves=store.curves.iloc[:0])
    assert not charts.curves(nothing).series
