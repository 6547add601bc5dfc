"""Figures of the scaling chapter show its numbers: lines, stars, traces, zero contour, ticks."""

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from law_studies import BREAK_EVEN
from matplotlib.figure import Figure
from mugrow.analysis.laws.chapter import chapter
from test_chapter import RESAMPLES, run_rows, study_rows

from mugrow.analysis.figures import FIGURES, LAWS, draw, laws, style
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.report.table_report import NO_STORE
from mugrow.bench.spec import UserError

Row = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Row:
    plain: Row = to_json(chapter(study_rows(run_rows()), resamples=RESAMPLES))
    return plain


@pytest.fixture
def found(made: Row) -> Row:
    return copy.deepcopy(made)


def drawn(name: str, found: Row) -> Figure:
    with style.applied():
        return FIGURES[name].function({"laws": found}, NO_STORE)


def lines(axis: Any, label: str) -> list[Any]:
    return [line for line in axis.get_lines() if line.get_label().startswith(label)]


def scatter(axis: Any) -> list[Any]:
    return [one for one in axis.collections if one.get_label() in ("_runs", "_residuals")]


def hatched(axis: Any) -> Any:
    """The corners of the hatched area, ``(n, 2)``."""
    (area,) = (one for one in axis.collections if list(getattr(one, "hatches", [])) == ["///"])
    return np.concatenate([path.vertices for path in area.get_paths()])


def test_laws_have_their_runs_lines_and_bands(found: Row) -> None:
    figure = drawn("laws", found)
    assert len(figure.axes) == 2 * 3  # scratch and szp against N, D and C
    scratch = found["laws"][0]
    against_n, against_d, against_c = figure.axes[:3]
    assert against_n.get_title("left") == f"μP scratch: {scratch['form']} (converged)"
    dots, stars = scatter(against_n)
    assert (len(dots.get_offsets()), len(stars.get_offsets())) == (22, 3)
    shown = lines(against_n, "D = ")
    bands = [band for band in scratch["bands"] if band["against"] == "n"]
    for line, band in zip(shown, bands, strict=True):
        np.testing.assert_allclose(line.get_ydata(), band["loss"])
    assert len(against_n.collections) == 2 + len(bands)
    assert len(lines(against_d, "N = ")) == 3
    (lowest,) = lines(against_c, "lowest")
    np.testing.assert_allclose(lowest.get_ydata(), scratch["frontier"]["loss"])
    compute = scatter(against_c)[1].get_offsets()[:, 0].min()
    assert compute > scatter(against_c)[0].get_offsets()[:, 0].max()


def test_a_law_of_size_alone_has_no_lines_against_tokens(found: Row) -> None:
    law = found["laws"][0]
    law["bands"] = [band for band in law["bands"] if band["against"] == "n"]
    law["frontier"] = None
    axes = drawn("laws", found).axes
    assert [text.get_text() for text in axes[1].texts] == ["one token count"]
    assert not lines(axes[2], "lowest")


def test_residuals_of_the_largest_are_of_the_fit_that_had_not_seen_them(found: Row) -> None:
    points = found["laws"][0]["points"]
    dots, stars = scatter(drawn("residuals", found).axes[0])
    held = np.array(points["held_out"])
    loss, unseen = (np.array(points[key], float)[held] for key in ("loss", "unseen"))
    np.testing.assert_allclose(stars.get_offsets()[:, 1], 100 * (loss / unseen - 1))
    loss, predicted = (np.array(points[key])[~held] for key in ("loss", "predicted"))
    np.testing.assert_allclose(dots.get_offsets()[:, 1], 100 * (loss / predicted - 1))


def test_growth_factors_trace_best_and_break_even(found: Row) -> None:
    levels = found["growth_factors"]["panels"][0]["levels"]
    levels[0]["break_even_g"] = None  # beyond the factors sampled
    (axis,) = drawn("growth_factor", found).axes
    (best,), (even,) = lines(axis, "_best"), lines(axis, "_even")
    np.testing.assert_allclose(best.get_xdata(), [level["optimum_g"] for level in levels])
    np.testing.assert_allclose(even.get_xdata(), [level["break_even_g"] for level in levels[1:]])
    np.testing.assert_allclose(even.get_ydata(), [level["scratch_loss"] for level in levels[1:]])
    assert (best.get_color(), even.get_color()) == ("#0072B2", "#D55E00")


def test_contour_has_the_zero_line_and_twenty_tokens_a_parameter(found: Row) -> None:
    axis = drawn("contour", found).axes[0]
    (zero,) = (one for one in axis.collections if list(one.levels) == [0])
    at = np.concatenate([path.vertices for path in zero.get_paths()])
    np.testing.assert_allclose(at[:, 1], BREAK_EVEN, rtol=0.35)
    (twenty,) = lines(axis, "_twenty")
    np.testing.assert_allclose(twenty.get_ydata(), 20 * np.array(twenty.get_xdata()))
    at = hatched(axis)
    assert axis.get_ylim()[0] < at[:, 1].min() < BREAK_EVEN < at[:, 1].max()


def test_contour_without_intervals_is_hatched_all_over(found: Row) -> None:
    for one in found["contours"]:
        if not one["reason"]:
            one["gap"] = [[None] * len(row) for row in one["gap"]]
    axis = drawn("contour", found).axes[0]
    at = hatched(axis)
    n, d = axis.get_xlim(), axis.get_ylim()
    np.testing.assert_allclose(at.min(axis=0), [n[0], d[0]])
    np.testing.assert_allclose(at.max(axis=0), [n[1], d[1]])


def test_twenty_tokens_a_parameter_outside_the_runs_are_said_to_be(found: Row) -> None:
    for one in found["contours"]:
        if not one["reason"]:
            one["n"] = [1000 * n for n in one["n"]]
    (legend,) = drawn("contour", found).legends
    assert "D = 20 N (outside)" in [text.get_text() for text in legend.get_texts()]


def test_nothing_identified_gives_reasons(found: Row) -> None:
    nothing = {
        "laws": [one for one in found["laws"] if one["status"] == "unidentified"],
        "contours": [one for one in found["contours"] if one["reason"]],
        "growth_factors": {"panels": [], "most": 2, "needed": 4},
    }
    with pytest.raises(UserError, match="need an identified law, and these runs have none"):
        drawn("laws", nothing)
    with pytest.raises(UserError, match=r"needs 4 growth factors at one target.*at most 2"):
        drawn("growth_factor", nothing)
    with pytest.raises(UserError, match=r"needs two laws.*the law of hypercloning w×\d+ is unide"):
        drawn("contour", nothing)


def test_many_points_are_pixels(found: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not scatter(drawn("laws", found).axes[0])[0].get_rasterized()
    monkeypatch.setattr(laws, "MANY", 10)
    assert scatter(drawn("laws", found).axes[0])[0].get_rasterized()


@pytest.mark.parametrize("name", [name for name, one in FIGURES.items() if one.section == LAWS])
def test_ticks_do_not_run_into_each_other(found: Row, name: str) -> None:
    figure = draw(name, {"laws": found}, NO_STORE)
    for axis in figure.axes:
        low, high = axis.get_xlim()
        ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        boxes = [label.get_window_extent() for at, label in ticks if low <= at <= high]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
