"""The grid of the coordinate check shows its rows: curves, the steepest slope, its verdict."""

import itertools
from dataclasses import replace

import pytest

from mugrow.analysis.figures import style
from mugrow.analysis.figures.coordcheck import COLOURS, SPAN, headline, of_rows, shown
from mugrow.bench.coordcheck import Row

MODULES = ("embed", "blocks.0.mlp.up", "blocks.0", "blocks.1.mlp.up", "blocks.1", "head")


def row(parametrization="mup", kind="x", module="blocks.0", step=0, slope=0.0, verdict="pass"):
    sizes = [32, 64, 128]
    means = [0.5 * (step + 1) * size**slope for size in sizes]
    return Row(
        parametrization=parametrization, method="scratch", axis="width", module=module, kind=kind,
        step=step, slope=slope, interval=None, verdict=verdict, reason=None, sizes=sizes,
        means=means, seeds=2,
    )  # fmt: skip


ROWS = [
    row(p, kind, module, step, slope, verdict)
    for (p, slope, verdict), kind, module, step in itertools.product(
        (("sp", 1.0, "fail"), ("mup_$x", 0.0, "pass")), ("x", "dx"), MODULES, (0, 1)
    )
]


@pytest.fixture(scope="module")
def grid():
    with style.applied():
        return of_rows(ROWS)


def test_a_line_of_panels_is_a_module_and_a_column_a_kind(grid):
    assert len(grid.axes) == 4 * 4  # of the blocks, the last one's
    labels = [axis.get_ylabel() for axis in grid.axes[::4]]
    assert labels == ["embed", "mlp.up", "stream after\nthe last block", "head"]
    headings = [axis.texts[0].get_text() for axis in grid.axes[:4]]
    assert headings == [
        "sp\n$|x_t|$",
        "sp\n$|x_t - x_0|$",
        "mup_\\$x\n$|x_t|$",
        "mup_\\$x\n$|x_t - x_0|$",
    ]
    assert [axis.get_xlabel() for axis in grid.axes] == [""] * 12 + ["width"] * 4


def test_a_curve_a_step_is_the_rows_own_means(grid):
    panel = grid.axes[4]  # of SP's mlp.up
    first, second = panel.get_lines()
    assert list(first.get_xdata()) == [32, 64, 128]
    assert list(first.get_ydata()) == [16, 32, 64]
    assert list(second.get_ydata()) == [32, 64, 128]
    assert first.get_color() != second.get_color()
    (legend,) = grid.legends
    handles = [line.get_color() for line in legend.get_lines()]
    assert handles == [first.get_color(), second.get_color()]
    assert [text.get_text() for text in legend.get_texts()] == ["step 0", "step 1"]


def test_over_a_panel_stands_the_slope_in_the_colour_of_its_verdict(grid):
    assert grid.axes[4].get_title() == "+1.00 fail"
    assert grid.axes[4].title.get_color() == COLOURS["fail"]
    assert grid.axes[6].get_title() == "+0.00 pass"
    assert grid.axes[6].title.get_color() == COLOURS["pass"]


def test_a_flat_line_is_seen_flat():
    with style.applied():
        figure = of_rows([row(slope=0.01, step=step) for step in (0, 1)])
    low, high = figure.axes[0].get_ylim()
    assert high / low == pytest.approx(SPAN)


@pytest.mark.parametrize(
    ("rows", "text", "verdict"),
    [
        ([row(slope=-0.5, verdict="exempt"), row(slope=0.05)], "+0.05 pass", "pass"),
        ([row(slope=0.05), row(slope=-0.02)], "+0.05 pass", "pass"),
        ([row(slope=0.05), row(slope=-0.08)], "-0.08 pass", "pass"),
        ([row(slope=-0.09), row(slope=0.2, verdict="fail")], "+0.20 fail", "fail"),
        ([replace(row(verdict="fail"), slope=None)], "no slope fail", "fail"),
        ([], "", "exempt"),
    ],
)
def test_the_headline_is_the_steepest_of_what_decides(rows, text, verdict):
    assert headline(rows) == (text, verdict)


def test_in_depth_all_blocks_are_shown_together():
    modules = ("embed", "blocks.*.mlp.up", "blocks.last", "head")
    assert list(shown(modules)) == list(modules)
    assert list(shown(modules).values()) == [
        "embed",
        "mlp.up",
        "stream after\nthe last block",
        "head",
    ]


def test_a_size_that_is_zero_is_a_gap():
    gap = replace(row(verdict="fail"), means=[1.0, None, 4.0], slope=None)
    with style.applied():
        figure = of_rows([gap])
    (line,) = figure.axes[0].get_lines()
    assert line.get_ydata()[1] != line.get_ydata()[1]
