"""Figures of scaling laws show their numbers: lines, stars, traces, zero contour, ticks."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from law_studies import BREAK_EVEN, run_rows, study_rows
from matplotlib.figure import Figure

from mugrow.analysis.figures import FIGURES, LAWS, draw, laws, style
from mugrow.analysis.laws.law import DrawnLaw, GrowthFactors, LawDifference, ScalingLaws
from mugrow.analysis.laws.scaling import scaling_laws
from mugrow.analysis.report.table_report import NO_STORE
from mugrow.analysis.summary import of_laws
from mugrow.bench.spec import UserError


@pytest.fixture(scope="module")
def found() -> ScalingLaws:
    return scaling_laws(study_rows(run_rows()), resamples=60)


def drawn(name: str, found: ScalingLaws) -> Figure:
    with style.applied():
        return FIGURES[name].function(of_laws(found), NO_STORE)


def scratch_of(found: ScalingLaws) -> DrawnLaw:
    assert found.laws[0].drawn is not None
    return found.laws[0].drawn


def lines(axis: Any, label: str) -> list[Any]:
    return [line for line in axis.get_lines() if line.get_label().startswith(label)]


def scatter(axis: Any) -> list[Any]:
    return [one for one in axis.collections if one.get_label() in ("_runs", "_residuals")]


def hatched(axis: Any) -> Any:
    """The corners of the hatched area, ``(n, 2)``."""
    (area,) = (one for one in axis.collections if list(getattr(one, "hatches", [])) == ["///"])
    return np.concatenate([path.vertices for path in area.get_paths()])


def test_laws_have_their_runs_lines_and_bands(found: ScalingLaws) -> None:
    figure = drawn("laws", found)
    assert len(figure.axes) == 2 * 3  # scratch and szp against N, D and C
    scratch, form = scratch_of(found), found.laws[0].fit.form
    against_n, against_d, against_c = figure.axes[:3]
    assert against_n.get_title("left") == f"μP scratch: {form} (converged)"
    dots, stars = scatter(against_n)
    assert (len(dots.get_offsets()), len(stars.get_offsets())) == (22, 3)
    shown = lines(against_n, "D = ")
    bands = [band for band in scratch.bands if band.against == "n"]
    for line, band in zip(shown, bands, strict=True):
        np.testing.assert_allclose(line.get_ydata(), band.loss)
    assert len(against_n.collections) == 2 + len(bands)
    assert len(lines(against_d, "N = ")) == 3
    (lowest,) = lines(against_c, "lowest")
    np.testing.assert_allclose(lowest.get_ydata(), scratch.frontier.loss)
    compute = scatter(against_c)[1].get_offsets()[:, 0].min()
    assert compute > scatter(against_c)[0].get_offsets()[:, 0].max()


def test_a_law_of_size_alone_has_no_lines_against_tokens(found: ScalingLaws) -> None:
    scratch = scratch_of(found)
    of_size = replace(scratch, bands=[band for band in scratch.bands if band.against == "n"])
    laws_of_size = [replace(found.laws[0], drawn=of_size), *found.laws[1:]]
    axes = drawn("laws", replace(found, laws=laws_of_size)).axes
    assert [text.get_text() for text in axes[1].texts] == ["one token count"]


def test_residuals_of_the_largest_are_of_the_fit_that_had_not_seen_them(found: ScalingLaws) -> None:
    points = scratch_of(found).points
    dots, stars = scatter(drawn("residuals", found).axes[0])
    held = points.held_out
    unseen = 100 * (points.loss / points.unseen - 1)[held]
    np.testing.assert_allclose(stars.get_offsets()[:, 1], unseen)
    predicted = 100 * (points.loss / points.predicted - 1)[~held]
    np.testing.assert_allclose(dots.get_offsets()[:, 1], predicted)


def test_growth_factors_trace_best_and_break_even(found: ScalingLaws) -> None:
    panel = found.growth_factors.panels[0]
    beyond = replace(panel.levels[0], break_even_g=np.inf)  # beyond the factors sampled
    levels = [beyond, *panel.levels[1:]]
    factors = replace(found.growth_factors, panels=[replace(panel, levels=levels)])
    (axis,) = drawn("growth_factor", replace(found, growth_factors=factors)).axes
    (best,), (even,) = lines(axis, "_best"), lines(axis, "_even")
    np.testing.assert_allclose(best.get_xdata(), [level.optimum_g for level in levels])
    np.testing.assert_allclose(even.get_xdata(), [level.break_even_g for level in levels[1:]])
    np.testing.assert_allclose(even.get_ydata(), [level.scratch_loss for level in levels[1:]])
    assert (best.get_color(), even.get_color()) == ("#0072B2", "#D55E00")


def test_contour_has_the_zero_line_and_twenty_tokens_a_parameter(found: ScalingLaws) -> None:
    axis = drawn("contour", found).axes[0]
    (zero,) = (one for one in axis.collections if list(one.levels) == [0])
    at = np.concatenate([path.vertices for path in zero.get_paths()])
    np.testing.assert_allclose(at[:, 1], BREAK_EVEN, rtol=0.35)
    (twenty,) = lines(axis, "_twenty")
    np.testing.assert_allclose(twenty.get_ydata(), 20 * np.array(twenty.get_xdata()))
    at = hatched(axis)
    assert axis.get_ylim()[0] < at[:, 1].min() < BREAK_EVEN < at[:, 1].max()


def changed(found: ScalingLaws, change: Callable[[LawDifference], Any]) -> ScalingLaws:
    """With the one difference that is drawn changed."""
    contours = [
        replace(one, drawn=replace(one.drawn, **change(one.drawn))) if one.drawn else one
        for one in found.contours
    ]
    return replace(found, contours=contours)


def test_contour_without_intervals_is_hatched_all_over(found: ScalingLaws) -> None:
    axis = drawn(
        "contour", changed(found, lambda one: {"gap": np.full_like(one.gap, np.nan)})
    ).axes[0]
    at = hatched(axis)
    n, d = axis.get_xlim(), axis.get_ylim()
    np.testing.assert_allclose(at.min(axis=0), [n[0], d[0]])
    np.testing.assert_allclose(at.max(axis=0), [n[1], d[1]])


def test_twenty_tokens_a_parameter_outside_the_runs_are_said_to_be(found: ScalingLaws) -> None:
    (legend,) = drawn("contour", changed(found, lambda one: {"n": 1000 * one.n})).legends
    assert "D = 20 N (outside)" in [text.get_text() for text in legend.get_texts()]


def test_nothing_identified_gives_reasons(found: ScalingLaws) -> None:
    nothing = ScalingLaws(
        laws=[one for one in found.laws if one.status == "unidentified"],
        contours=[one for one in found.contours if one.reason],
        growth_factors=GrowthFactors(panels=[], most=2, needed=4),
    )
    with pytest.raises(UserError, match="need an identified law, and these runs have none"):
        drawn("laws", nothing)
    with pytest.raises(UserError, match=r"needs 4 growth factors at one target.*at most 2"):
        drawn("growth_factor", nothing)
    with pytest.raises(UserError, match=r"needs two laws.*the law of hypercloning w×\d+ is unide"):
        drawn("contour", nothing)


def test_many_points_are_pixels(found: ScalingLaws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not scatter(drawn("laws", found).axes[0])[0].get_rasterized()
    monkeypatch.setattr(laws, "MANY", 10)
    assert scatter(drawn("laws", found).axes[0])[0].get_rasterized()


@pytest.mark.parametrize("name", [name for name, one in FIGURES.items() if one.section == LAWS])
def test_ticks_do_not_run_into_each_other(found: ScalingLaws, name: str) -> None:
    figure = draw(name, of_laws(found), NO_STORE)
    for axis in figure.axes:
        low, high = axis.get_xlim()
        ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        boxes = [label.get_window_extent() for at, label in ticks if low <= at <= high]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
