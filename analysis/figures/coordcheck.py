"""The coordinate check: mean |x| of every module over the width (or depth), a curve a step.

A line of panels is a module, a pair of columns a parametrization: |x|, and how far x has moved from
step 0. What should be seen is horizontal. The panels of a line share their axis, and none spans
less than four doublings, so that noise does not look like a slope. Over a panel stands the steepest
slope of its steps, of those that failed if any did.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from mugrow.analysis.figures import style

if TYPE_CHECKING:
    from mugrow.bench.coordcheck import Row

KINDS = {"x": "$|x_t|$", "dx": "$|x_t - x_0|$"}
COLOURS = {
    "pass": "#00664b",
    "fail": "#a33c00",
    "cannot say": "#7a5c00",
    "exempt": style.GREY,
}
SPAN = 2.0**4  # of every panel at least
WIDTH, HEIGHT = 1.7, 0.85  # inches, of a panel


def of_rows(rows: Sequence["Row"]) -> Figure:
    """The grid of the rows of a coordinate check; of several blocks the last."""
    arms = list(dict.fromkeys((row.parametrization, row.kind) for row in rows))
    modules = shown(dict.fromkeys(row.module for row in rows))
    steps = sorted({row.step for row in rows})
    shades = mpl.colormaps["viridis"](np.linspace(0.85, 0, len(steps)))
    colours = dict(zip(steps, map(tuple, shades), strict=True))
    size = (max(style.WIDE, WIDTH * len(arms)), HEIGHT * len(modules) + 1)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(modules), len(arms), squeeze=False, sharex=True, sharey="row")
    for line, (module, label) in zip(axes, modules.items(), strict=True):
        for axis, arm in zip(line, arms, strict=True):
            shown_here = (*arm, module)
            draw_panel(axis, [row for row in rows if panel_of(row) == shown_here], colours)
        widen(line[0])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for axis, (parametrization, kind) in zip(axes[0], arms, strict=True):
        axis.annotate(
            f"{style.plain(parametrization)}\n{KINDS[kind]}", (0.5, 1), xytext=(0, 16),
            xycoords="axes fraction", textcoords="offset points", ha="center", fontsize=9,
        )  # fmt: skip
    for axis in axes[-1]:
        axis.set_xlabel(rows[0].axis)
    handles = [
        Line2D([], [], color=colours[step], marker="o", ms=3, label=f"step {step}")
        for step in steps
    ]
    style.legend_below(figure, handles, columns=6)
    return figure


def panel_of(row: "Row") -> tuple[str, str, str]:
    return row.parametrization, row.kind, row.module


def shown(modules: Collection[str]) -> dict[str, str]:
    """The modules that are drawn, by name, with their labels: of several blocks the last."""
    blocks = [name.split(".")[1] for name in modules if name.startswith("blocks.")]
    last = f"blocks.{blocks[-1]}"
    labels = {}
    for name in modules:
        if name == last:
            labels[name] = "stream after\nthe last block"
        elif not name.startswith("blocks.") or name.startswith((last + ".", "blocks.*.")):
            labels[name] = name.removeprefix(last + ".").removeprefix("blocks.*.")
    return labels


def draw_panel(axis: Axes, rows: Sequence["Row"], colours: Mapping[int, tuple[float, ...]]) -> None:
    """A curve a step and the steepest slope, the colour and a word for its verdict."""
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    for row in rows:
        means = [float("nan") if mean is None else mean for mean in row.means]
        axis.plot(
            row.sizes, means, "-o", color=colours[row.step], ms=2.5, lw=1,
            label=f"_step {row.step}",
        )  # fmt: skip
    axis.xaxis.set_major_locator(FixedLocator(sorted({x for row in rows for x in row.sizes})))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_major_locator(LogLocator(base=2, numticks=4))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=7)
    text, verdict = headline(rows)
    axis.set_title(text, color=COLOURS[verdict], fontsize=8, pad=2)


def headline(rows: Sequence["Row"]) -> tuple[str, str]:
    """The steepest slope of those that failed, or else are not known, passed or are exempt."""
    for verdict in ("fail", "cannot say", "pass", "exempt"):
        slopes = [row.slope for row in rows if row.verdict == verdict]
        if slopes:
            known = [slope for slope in slopes if slope is not None]
            value = f"{max(known, key=abs):+.2f}" if known else "no slope"
            return f"{value} {verdict}", verdict
    return "", "exempt"


def widen(axis: Axes) -> None:
    """A line of panels spans at least ``SPAN``."""
    low, high = axis.get_ylim()
    factor = max(1.0, SPAN / (high / low)) ** 0.5
    axis.set_ylim(low / factor, high * factor)
