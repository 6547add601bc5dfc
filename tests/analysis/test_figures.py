"""Figures show the summary's numbers: positions, bars, bands and labels; drawing is not enough."""

import copy
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mugrow.analysis.figures import FIGURES, arms, curves, draw, maps, style
from mugrow.analysis.measure.quantity import quantity as constant
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.summary import Summary, summarize
from mugrow.analysis.transfer.results import SweepResult
from mugrow.analysis.words import speedup_short
from mugrow.bench.spec import UserError

LOADED: list[tuple[Store, Summary]] = []  # the study is the same for every test: read it once


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    if not LOADED:
        directory: Path = request.getfixturevalue("study_dir")
        LOADED.append((load(directory), summarize(load(directory))))
    return LOADED[0][0]


@pytest.fixture
def summary(store: Store) -> Summary:
    return copy.deepcopy(LOADED[0][1])


def drawn(name: str, summary: Summary, store: Store) -> Figure:
    """The figure before it is laid out, which takes most of the time."""
    with style.applied():
        return FIGURES[name].function(summary, store)


def lines(axes: Axes, label: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_label() == label]


def legend_texts(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title() == title)


def test_transfer_stars_the_minimum_of_every_width(summary: Summary, store: Store) -> None:
    figure = drawn("transfer", summary, store)
    assert [axes.get_title() for axes in figure.axes] == ["μP", "SP"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for name, title in (("mup", "μP"), ("sp", "SP")):
        chosen = rungs(summary, name)
        stars = [line.get_xydata()[0] for line in lines(panel(figure, title), "_minimum")]
        expected = [(s.argmin_log2_lr, s.argmin_loss) for s in chosen]
        np.testing.assert_allclose(stars, expected)
        assert len(lines(panel(figure, title), "_mean")) == 2
    assert legend_texts(figure) == ["width 32", "width 64", "lowest mean", "diverged", "parabola"]


def test_transfer_parabola_has_its_vertex_and_curvature(summary: Summary, store: Store) -> None:
    axes = panel(drawn("transfer", summary, store), "μP")
    sweep = rungs(summary, "mup")[0]
    x, y = lines(axes, "_parabola")[0].get_data()
    fit = np.polynomial.Polynomial.fit(x, y, 2).convert().coef
    assert 2 * fit[2] == pytest.approx(sweep.curvature)
    assert -fit[1] / (2 * fit[2]) == pytest.approx(sweep.vertex_log2_lr)


def test_transfer_marks_the_diverged_point_and_breaks_the_curve(
    summary: Summary, store: Store
) -> None:
    axes = panel(drawn("transfer", summary, store), "SP")
    (cross,) = lines(axes, "_top")
    assert cross.get_xdata()[0] == -4
    assert cross.get_marker() == "x"
    assert -4 not in lines(axes, "_mean")[1].get_xdata()


def test_transfer_is_not_flattened_by_a_blown_up_loss(summary: Summary, store: Store) -> None:
    before = drawn("transfer", summary, store).axes[0].get_ylim()
    blown = next(s for s in summary.sweeps if s.width == 32 and s.init_std == 0.04)
    high = replace(blown.points[-1], loss=50.0, per_seed=np.full(2, 50.0))
    figure = drawn("transfer", with_sweep(summary, blown, points=(*blown.points[:-1], high)), store)
    assert figure.axes[0].get_ylim()[1] < before[1] + 0.5
    assert [mark.get_marker() for mark in lines(figure.axes[0], "_top")] == ["^"]
    assert "above the axis" in legend_texts(figure)


def test_transfer_names_an_optimum_on_the_edge(summary: Summary, store: Store) -> None:
    edged = with_sweep(summary, rungs(summary, "sp")[-1], edge="low")
    figure = drawn("transfer", edged, store)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["edge ←"]


def rungs(summary: Summary, parametrization: str) -> list[SweepResult]:
    """The sweeps of a parametrization's ladder along width."""
    (ladder,) = [one for one in summary.transfer.ladders if one.parametrization == parametrization]
    return [summary.sweeps[rung.sweep] for rung in ladder.rungs]


def with_sweep(summary: Summary, changed: SweepResult, **fields: Any) -> Summary:
    """The summary with other fields of one of its sweeps."""
    swept = tuple(replace(s, **fields) if s is changed else s for s in summary.sweeps)
    return replace(summary, transfer=replace(summary.transfer, sweeps=swept))


def test_main_shows_a_single_sweep_where_there_is_no_ladder(summary: Summary, store: Store) -> None:
    summary = replace(summary, transfer=replace(summary.transfer, ladders=()))
    figure = drawn("main", summary, store)
    panels = [axes for axes in figure.axes if axes.get_title() in ("μP", "SP")]
    assert [len(lines(axes, "_mean")) for axes in panels] == [1, 1]
    with pytest.raises(UserError, match="along width needs a ladder, and it has none"):
        drawn("transfer", summary, store)


def test_init_has_a_square_for_every_trial_and_a_star_at_the_best(
    summary: Summary, store: Store
) -> None:
    figure = drawn("init", summary, store)
    for name, title in (("mup", "μP, width 32"), ("sp", "SP, width 32")):
        axes = panel(figure, title)
        best = min(
            (s for s in summary.sweeps if s.parametrization == name and s.width == 32),
            key=lambda s: s.argmin_loss,
        )
        star = lines(axes, "_minimum")[0].get_xydata()[0]
        assert star == pytest.approx((best.argmin_log2_lr, np.log2(best.init_std)))
        squares, *_ = axes.collections
        missing = lines(axes, "_lost")[0].get_xydata()
        assert np.isfinite(squares.get_array()).sum() == (21 if name == "mup" else 20)
        assert len(missing) == (0 if name == "mup" else 1)


def test_curves_charge_the_source_to_grown_runs_alone(summary: Summary, store: Store) -> None:
    figure = drawn("curves", summary, store)
    plain, charged = figure.axes
    for final in summary.finals:
        without_source = lines(plain, f"_{final.label}")[0].get_xdata()
        shifted = lines(charged, f"_{final.label}")[0].get_xdata()
        np.testing.assert_allclose(np.subtract(shifted, without_source), final.flops_source)
        mean = lines(plain, f"_{final.label}")[0].get_ydata()
        assert mean[-1] == pytest.approx(final.loss.value)
        assert plain.get_xlim()[1] > max(shifted)
    scratch = next(final for final in summary.finals if final.label == "scratch")
    assert lines(plain, "_final")[0].get_ydata()[0] == pytest.approx(scratch.loss.value)
    assert legend_texts(figure) == ["scratch", "hypercloning", "szp", "scratch, final"]


def test_curves_band_spans_the_seeds(summary: Summary, store: Store) -> None:
    band = drawn("curves", summary, store).axes[0].collections[0]
    heights = band.get_paths()[0].vertices[:, 1]
    (label, *_) = sorted({final.label for final in summary.finals})
    finals = store.runs[(store.runs["role"] == "target") & (store.runs["method"] == label)]
    assert heights.min() == pytest.approx(finals["final_val_loss"].min())


def test_savings_draws_the_summary_and_its_censored_parts(summary: Summary, store: Store) -> None:
    figure = drawn("savings", summary, store)
    titles = ["target only", "target + source", "target + source + tuning"]
    assert [axes.get_title() for axes in figure.axes] == titles
    axes = figure.axes[0]
    assert axes.xaxis_inverted()
    assert lines(axes, "_one")[0].get_ydata()[0] == 1
    speedups = [line.get_ydata() for line in lines(axes, "_speedup")]
    curves = [c for c in summary.savings_curves if c.accounting == "target"]
    for ydata, curve in zip(speedups, curves, strict=True):
        np.testing.assert_allclose(ydata, [s for s in curve.speedup if math.isfinite(s)])
    never = [c for curve in curves for c in curve.state if c == "never_reached"]
    assert sum(len(line.get_xdata()) for line in lines(axes, "_never_reached")) == len(never) > 0
    assert "at most: never reached" in legend_texts(figure)


def test_savings_without_intervals_has_no_band(summary: Summary, store: Store) -> None:
    assert any(axes.collections for axes in drawn("savings", summary, store).axes)
    unknown = (math.nan,) * len(summary.savings_curves[0].loss)
    bare = tuple(replace(curve, lo=unknown, hi=unknown) for curve in summary.savings_curves)
    axes_of_bare = drawn("savings", replace(summary, savings_curves=bare), store).axes
    assert not any(axes.collections for axes in axes_of_bare)


def test_costs_bars_are_the_flops(summary: Summary, store: Store) -> None:
    axes = drawn("costs", summary, store).axes[0]
    for index, final in enumerate(summary.finals):
        bars = [container[index] for container in axes.containers]
        parts = [getattr(final, key) for key in ("flops", "flops_source", "flops_tuning")]
        np.testing.assert_allclose([bar.get_width() for bar in bars], parts)
        np.testing.assert_allclose([bar.get_x() for bar in bars[1:]], np.cumsum(parts)[:-1])


def test_main_prints_every_saving_with_its_interval(summary: Summary, store: Store) -> None:
    figure = drawn("main", summary, store)
    texts = [text for part in figure.subfigs for text in legend_texts(part)]
    for row in summary.savings:
        if (row.accounting, row.at) == ("source", "scratch final"):
            assert f"{row.label}: {speedup_short(row)}" in texts
    assert any("never reached" in text for text in texts)


def test_targets_of_a_ladder_have_their_own_panels(summary: Summary, store: Store) -> None:
    curves, finals = summary.savings_curves, summary.finals
    wider = replace(
        summary,
        finals=finals + tuple(replace(final, target="w256-d2") for final in finals),
        savings_curves=curves + tuple(replace(curve, target="w256-d2") for curve in curves),
    )
    assert len(drawn("costs", wider, store).axes) == 2
    assert len(drawn("savings", wider, store).axes) == 6


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_without_rows_gives_a_reason(name: str, summary: Summary, store: Store) -> None:
    empty = Store(store.runs.iloc[:0], store.curves, store.trials.iloc[:0], store.study)
    nothing = summarize(empty)
    with pytest.raises(UserError, match=r"ha(s|ve) none"):
        drawn(name, nothing, empty)


def test_unknown_figure_names_the_nearest(summary: Summary, store: Store) -> None:
    with pytest.raises(UserError, match="did you mean 'savings'"):
        draw("saving", summary, store)


def test_the_same_figure_gives_the_same_bytes(summary: Summary, store: Store) -> None:
    first, second = (draw("costs", summary, store) for _ in range(2))
    svg = style.svg_bytes(first, "costs")
    assert svg == style.svg_bytes(second, "costs")
    assert svg != style.svg_bytes(second, "savings")  # ids are salted by the name
    assert b"<dc:date>" not in svg
    assert style.png_bytes(first) == style.png_bytes(second)
    pdf = style.pdf_bytes(first)
    assert pdf == style.pdf_bytes(second)
    assert pdf.startswith(b"%PDF-")
    assert b"/Type3" not in pdf  # journals refuse such fonts


@pytest.mark.parametrize("height", [2.0, np.nextafter(3.6, 0), 3.333])
def test_a_png_has_the_pixels_of_matplotlibs_own(height: float) -> None:
    figure = Figure(figsize=(style.WIDE, height))
    figure.subplots().plot([1, 3, 2])
    theirs = io.BytesIO()
    with style.applied():
        figure.savefig(theirs, format="png", dpi=style.DPI)
    ours = Image.open(io.BytesIO(style.png_bytes(figure)))
    assert ours.mode == "RGB"
    assert ours.info["dpi"] == pytest.approx((style.DPI, style.DPI), abs=0.1)
    assert (np.asarray(ours) == np.asarray(Image.open(theirs).convert("RGB"))).all()


def test_files_are_those_of_the_figure_as_it_was(summary: Summary, store: Store) -> None:
    """An axis without a label is not laid out anew, and that is not seen."""
    figure = draw("methods", summary, store)
    assert not all(axes.get_xlabel() for axes in figure.axes)
    svg, png = style.svg_bytes(figure, "methods"), style.png_bytes(figure)
    files = style.files(figure, "methods")
    assert (files["svg"], files["png"]) == (svg, png)
    assert files["csv"].startswith(b"panel,line,x,y\n")


def test_the_layout_keeps_the_legend_clear_of_the_panel(summary: Summary, store: Store) -> None:
    figure = draw("costs", summary, store)
    panel_box = figure.axes[0].get_tightbbox()
    assert panel_box is not None
    assert figure.legends[0].get_window_extent().y1 <= panel_box.y0


def test_drawing_leaves_the_global_settings_alone(summary: Summary, store: Store) -> None:
    before = dict(mpl.rcParams)
    style.svg_bytes(draw("costs", summary, store), "costs")
    assert dict(mpl.rcParams) == before


@given(st.text(min_size=1, max_size=20))
def test_a_method_keeps_its_style_and_never_borrows_a_known_one(name: str) -> None:
    assert style.line_style(name) == style.line_style(name)
    if name.partition("(")[0] not in style.METHODS:
        assert style.line_style(name) not in style.METHODS.values()


def test_a_variant_keeps_the_colour_of_its_method() -> None:
    plain, variant = style.line_style("szp"), style.line_style("szp(shrink=0.2)")
    assert variant.colour == plain.colour
    assert variant != plain


def test_shades_darken_with_width() -> None:
    brightness = [sum(colour[:3]) for colour in style.shades([(64, 2), (32, 2), (128, 2)]).values()]
    assert brightness == sorted(brightness, reverse=True)


def test_captions_are_data() -> None:
    assert json.loads(json.dumps({name: entry.caption for name, entry in FIGURES.items()}))
    assert all(entry.title and entry.caption.endswith(".") for entry in FIGURES.values())


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    steps = pd.Series(np.repeat(np.arange(10, 10_010, 10), 2))
    drawn = curves.drawn_steps(steps)
    assert (drawn[0], drawn[-1]) == (10, 10_000)
    assert 100 < len(drawn) <= curves.DRAWN
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) <= set(steps)
    assert curves.drawn_steps(steps[:100]).tolist() == list(range(10, 510, 10))


def test_a_table_says_its_values_in_a_colour_that_is_read() -> None:
    axis = Figure().subplots()
    table = pd.DataFrame([[0.0, 1.0], [math.nan, 0.5]], ["a", "b"], ["x", "y"])
    maps.draw_table(axis, table, lambda value: f"{value:.1f}", cmap="gray", vmin=0, vmax=1)
    said = [(text.get_text(), text.get_color()) for text in axis.texts]
    assert said == [("0.0", "white"), ("1.0", "black"), ("nan", "black"), ("0.5", "black")]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["x", "y"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_looks_of_one_quantity_darken() -> None:
    shades = style.shaded(["low", "middle", "high"])
    light = [sum(mpl.colors.to_rgb(shade.colour)) for shade in shades.values()]
    assert list(shades) == ["low", "middle", "high"]
    assert light == sorted(light, reverse=True)
    assert len({shade.marker for shade in shades.values()}) == 3


def test_whiskers_star_the_place_asked_for() -> None:
    axis = Figure().subplots()
    store = Store(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})
    places = {10: constant(2.0), 20: constant(5.0), 30: constant(3.0)}
    arms.whiskers(axis, store, places, style.line_style("szp"), "szp", star=np.argmax)
    (star,) = (line for line in axis.lines if line.get_label() == "_minimum")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([20], [5.0])
