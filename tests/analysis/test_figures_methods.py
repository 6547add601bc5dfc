"""Figures and tables of a study with many methods say what its rows do, method by method."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_methods import METHODS, SOURCE_LOSS, STEPS, asymmetry, many_methods, scratch_loss
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mugrow.analysis.figures import FIGURES, emphasis, forest, style
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.report import tables, words
from mugrow.analysis.stats import NOTHING
from mugrow.analysis.summary import Summary, summarize
from mugrow.analysis.words import speedup_short
from mugrow.bench.spec import UserError

FEW: list[tuple[Store, Summary]] = []
MANY: list[tuple[Store, Summary]] = []  # the study is the same for every test: make it once
LOWEST_SIX = {
    "mup_upscale(noise=0.1, optimizer=carry, schedule=continue)",
    "staged",
    "continue",
    "szp(shrink=0.2)",
    "szp(shrink=0.4)",
    "zero_pad(noise=0.0)",
}


@pytest.fixture
def few(request: pytest.FixtureRequest) -> tuple[Store, Summary]:
    if not FEW:
        directory: Path = request.getfixturevalue("study_dir")
        store = load(directory)
        FEW.append((store, summarize(store)))
    return FEW[0][0], copy.deepcopy(FEW[0][1])


@pytest.fixture
def many(few: tuple[Store, Summary]) -> tuple[Store, Summary]:
    if not MANY:
        store = many_methods(few[0])
        MANY.append((store, summarize(store)))
    return MANY[0][0], copy.deepcopy(MANY[0][1])


def drawn(name: str, study: tuple[Store, Summary]) -> Figure:
    with style.applied():
        return FIGURES[name].function(study[1], study[0])


PANELS: dict[str, Figure] = {}  # those with many panels take a second each: draw them once


def of_many(name: str, many: tuple[Store, Summary]) -> Figure:
    if name not in PANELS:
        PANELS[name] = drawn(name, many)
    return PANELS[name]


def lines(axes: Axes, label: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_label() == label]


def legend_texts(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def faint(axes: Axes) -> int:
    return sum(to_hex(line.get_color()) == style.FAINT for line in axes.get_lines())


def panel(figure: Figure, label: str) -> Axes:
    """The panel of a method: its title is the label, broken over lines."""
    return next(axes for axes in figure.axes if axes.get_title().replace("\n", " ") == label)


def labels_in_order(summary: Summary) -> list[str]:
    finals = [f for f in summary.finals if f.label != "scratch" and math.isfinite(f.loss.value)]
    return [f.label for f in sorted(finals, key=lambda f: f.loss.value)]


def test_a_crowd_tells_scratch_and_the_lowest_six_apart(many: tuple[Store, Summary]) -> None:
    assert emphasis.told_apart(many[1], "w128-d2") == {"scratch", *LOWEST_SIX}


def test_a_method_that_never_finished_is_not_among_the_lowest(many: tuple[Store, Summary]) -> None:
    summary = many[1]
    finals = (
        replace(one, loss=NOTHING) if one.label == "staged" else one for one in summary.finals
    )
    summary = replace(summary, finals=tuple(finals))
    assert "staged" not in emphasis.told_apart(summary, "w128-d2")


def test_few_methods_are_all_told_apart(few: tuple[Store, Summary]) -> None:
    assert emphasis.told_apart(few[1], "w128-d2") == {"scratch", "szp", "hypercloning"}
    assert faint(drawn("curves", few).axes[0]) == 0


@pytest.mark.parametrize("name", ["curves", "savings"])
def test_the_others_are_faint_and_counted(name: str, many: tuple[Store, Summary]) -> None:
    figure = drawn(name, many)
    texts = legend_texts(figure)
    grown = len(many[1].finals) - 1
    assert grown == len(METHODS)
    finished = [label for label in labels_in_order(many[1]) if label not in LOWEST_SIX]
    assert faint(figure.axes[0]) == len(finished) == grown - 6 - 1
    assert set(texts) >= LOWEST_SIX
    assert f"{len(finished)} other methods" in texts
    assert not set(texts) & set(finished)


def test_the_main_figure_names_the_lowest_with_their_speedups(many: tuple[Store, Summary]) -> None:
    parts: Any = drawn("main", many).subfigs
    texts = legend_texts(parts[1])
    for row in many[1].savings:
        if (row.accounting, row.at) == ("source", "scratch final"):
            assert (f"{row.label}: {speedup_short(row)}" in texts) == (row.label in LOWEST_SIX)


@pytest.mark.integration
def test_every_method_has_its_panel_in_the_order_of_final_losses(
    many: tuple[Store, Summary],
) -> None:
    for name in ("methods", "recovery"):
        titles = [axes.get_title().replace("\n", " ") for axes in of_many(name, many).axes]
        assert titles == labels_in_order(many[1])
        assert len(titles) == len(METHODS) - 1  # prune has not finished


def test_a_panel_holds_both_accountings_and_scratch(many: tuple[Store, Summary]) -> None:
    figure = of_many("methods", many)
    summary = many[1]
    for label in ("staged", "net2net"):
        axes = panel(figure, label)
        final = next(final for final in summary.finals if final.label == label)
        solid, dashed = lines(axes, "_target")[0], lines(axes, "_source")[0]
        assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
        assert to_hex(solid.get_color()) == style.line_style(label).colour.lower()
        shift = np.subtract(dashed.get_xdata(), solid.get_xdata())
        np.testing.assert_allclose(shift, final.flops_source)
        assert solid.get_ydata()[-1] == pytest.approx(final.loss.value)
        assert lines(axes, "_scratch")[0].get_ydata()[-1] == pytest.approx(
            scratch_loss(STEPS) + 0.005
        )
        (note,) = axes.texts
        expected = [
            speedup_short(row)
            for row in summary.savings
            if (row.label, row.at) == (label, "scratch final")
        ]
        assert [line.split(" ", 1)[1].lstrip("- ") for line in note.get_text().splitlines()] == (
            expected[:2]
        )


def test_panels_of_a_target_share_their_axes(many: tuple[Store, Summary]) -> None:
    for name in ("methods", "recovery"):
        axes = of_many(name, many).axes
        assert len({(a.get_xlim(), a.get_ylim()) for a in axes}) == 1


def test_targets_have_rows_of_their_own(few: tuple[Store, Summary]) -> None:
    store, _ = few
    runs = store.runs.copy()
    runs.loc[(runs["role"] == "target") & (runs["seed"] == 1), "depth"] = 4
    both = Store(runs, store.curves, store.trials, store.study)
    figure = drawn("methods", (both, summarize(both)))
    assert {axes.get_title() for axes in figure.axes} == {
        "w128-d2: szp", "w128-d2: hypercloning", "w128-d4: szp", "w128-d4: hypercloning",
    }  # fmt: skip


def test_the_forest_has_a_row_for_every_method(many: tuple[Store, Summary]) -> None:
    left, right = drawn("forest", many).axes
    names = [text.get_text().replace("\n", " ") for text in left.get_yticklabels()]
    assert names == [*labels_in_order(many[1]), "prune"]
    assert left.yaxis_inverted()
    points = {tuple(line.get_xydata()[0]) for line in lines(left, "_speedup")}
    reached = [
        row for row in many[1].savings
        if (row.at, row.state) == ("scratch final", "reached")
    ]  # fmt: skip
    assert points == {
        (row.speedup.value, names.index(row.label) + forest.OFFSETS[row.accounting])
        for row in reached
    }
    differences = {
        (final.minus_scratch.value, names.index(final.label))
        for final in many[1].finals
        if final.minus_scratch is not None
    }
    assert {tuple(line.get_xydata()[0]) for line in lines(right, "_loss")} == differences


def test_the_forest_says_why_there_is_no_number(many: tuple[Store, Summary]) -> None:
    left, _ = drawn("forest", many).axes
    names = [text.get_text().replace("\n", " ") for text in left.get_yticklabels()]
    said = {text.get_position()[1]: text.get_text() for text in left.texts}
    assert said == {
        names.index("net2net"): "never reached",
        names.index("prune"): "no seed finished",
    }
    bounds = {line.get_xdata()[0] for line in lines(left, "_bound")}
    assert bounds == {
        row.bound for row in many[1].savings
        if (row.label, row.at) == ("net2net", "scratch final")
    }  # fmt: skip


def test_forest_whiskers_are_the_intervals_and_an_open_end_is_an_arrow(
    few: tuple[Store, Summary],
) -> None:
    savings = (
        replace(row, speedup=replace(
            row.speedup, lo=-math.inf if row.accounting == "source" else 1.5, hi=4.0
        )) if row.speedup else row
        for row in few[1].savings
    )  # fmt: skip
    left = drawn("forest", (few[0], replace(few[1], savings=tuple(savings)))).axes[0]
    assert {line.get_xdata()[1] for line in lines(left, "_whisker")} == {4.0}
    starts = sorted(line.get_xdata()[0] for line in lines(left, "_whisker"))
    assert starts.count(1.5) == 2
    assert sum(text.get_text() == "" for text in left.texts) == 1  # the arrow of the open end


def test_recovery_shows_the_source_and_the_loss_right_after_growth(
    many: tuple[Store, Summary],
) -> None:
    figure = of_many("recovery", many)
    axes = panel(figure, "staged")
    assert lines(axes, "_source")[0].get_ydata()[0] == pytest.approx(SOURCE_LOSS)
    (start,) = lines(axes, "_start")
    assert start.get_ydata()[0] == pytest.approx(SOURCE_LOSS + 0.1)
    assert start.get_marker() == "o"
    assert "spike 0.100 nats\nback after" in axes.texts[0].get_text()
    assert "never above its source" in panel(figure, "continue").texts[0].get_text()
    (far,) = lines(panel(figure, "lemon"), "_start")
    assert far.get_marker() == "^"  # above the axis


def test_asymmetry_names_the_methods_still_locked(many: tuple[Store, Summary]) -> None:
    (axes,) = drawn("asymmetry", many).axes
    legend = axes.get_legend()
    assert legend is not None
    entries = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    locked = [entry for entry in entries if entry.endswith(": locked")]
    assert locked == entries[-2:]
    assert {entry.partition("(")[0] for entry in locked} == {"hypercloning"}
    assert not any(entry.startswith(("stack", "prune", "scratch")) for entry in entries)
    (line,) = lines(axes, "_lemon")
    assert line.get_ydata()[-1] == asymmetry("lemon", STEPS)
    (floor,) = lines(axes, "_hypercloning(noise=0.0)")
    assert set(floor.get_ydata()) == {1e-8}


def test_a_study_without_logged_asymmetry_gives_the_reason(few: tuple[Store, Summary]) -> None:
    store, summary = few
    older = Store(
        store.runs, store.curves.assign(asymmetry=float("nan")), store.trials, store.study
    )
    with pytest.raises(UserError, match="logged asymmetry, and the study has none"):
        drawn("asymmetry", (older, summary))


def test_the_table_of_methods_is_sorted_and_whole(many: tuple[Store, Summary]) -> None:
    table = tables.methods(many[1])
    assert [row[1] for row in table.rows] == [*labels_in_order(many[1]), "prune"]
    saved = {
        (row.label, row.accounting): speedup_short(row)
        for row in many[1].savings
        if row.at == "scratch final"
    }
    for row in table.rows[:-1]:
        assert row[3:] == tuple(saved[row[1], name] for name in ("target", "source", "full"))
    assert table.rows[-1][2:] == ("–",) * 4


def test_the_answer_counts_many_methods_and_sorts_them(many: tuple[Store, Summary]) -> None:
    (outcomes,) = words.growth(many[1]).values()
    of_target = {row.verdict: row for row in outcomes if row.accounting == "target only"}
    assert sum(row.count for row in of_target.values()) == len(METHODS) - 1
    saved = of_target["saved compute"]
    named = f"{saved.first}; {saved.others}"
    assert named.index("staged") < named.index("lemon") < named.index("inheritune")
    assert saved.count == named.count("×")
    assert of_target["never reached it"].first.startswith("net2net (speed-up below ")


def test_no_two_methods_share_their_style() -> None:
    line_styles = [(line_style.colour, line_style.marker) for line_style in style.METHODS.values()]
    assert len(set(line_styles)) == len(line_styles)
