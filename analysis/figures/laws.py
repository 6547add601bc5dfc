"""The laws over their runs, and what they leave: loss against N, D and C, and residuals.

The compute panel shows the lowest loss that the law allows a budget ``C = 6 N D``, which a run
reaches only if its N and D were chosen for it: the runs lie on or above the line. The largest runs
are stars in both figures, because the form was chosen by how well it predicts them; among the
residuals they are errors of the fit that had not seen them.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from mugrow.analysis.figures import style
from mugrow.analysis.laws.law import Contour, FittedRuns, GrowthPanel, Law, LossBand
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import parametrization, si
from mugrow.bench.spec import UserError

SEEN, UNSEEN = style.OKABE_ITO[:2]
BACKED = {"frameon": True, "framealpha": 0.8, "edgecolor": "none", "fontsize": 7}
DRAWN = 4  # laws: a row of panels each
TICKS = ((30, (1, 2, 5)), (1000, (1, 3)))  # of each decade, on an axis that spans less
MANY = 1000  # points: more are one picture, for the page would weigh megabytes
NAMES = {"n": "parameters N", "d": "training tokens D"}
OTHER = {"n": "d", "d": "n"}


def laws(summary: Summary, store: Store) -> Figure:
    """Loss against N, against D and against C: a row of panels for each law."""
    shown = identified(summary.laws.laws)
    figure, axes = style.panels(len(shown), 3, sharey="row")
    figure.set_figheight(style.PANEL * len(shown) + 0.5)
    for row, law in zip(axes, shown, strict=True):
        for axis, against in zip(row[:2], NAMES, strict=True):
            draw_against(axis, law, against)
        draw_frontier(row[2], law)
        row[0].set_ylabel("loss (nats per token)")
        row[0].set_title(title(law), loc="left")
        loss_axis(row[0])
    style.legend_below(figure, run_handles(shown[0]))
    return figure


def residuals(summary: Summary, store: Store) -> Figure:
    """How far the loss is above the law, in per cent, against N, D and D/N."""
    shown = identified(summary.laws.laws)
    figure, axes = style.panels(len(shown), 3, sharey="row")
    figure.set_figheight(style.PANEL * len(shown) + 0.5)
    for row, law in zip(axes, shown, strict=True):
        assert law.fit is not None
        assert law.drawn is not None
        n, d = law.drawn.points.n, law.drawn.points.d
        by_variable = law.fit.slopes
        slopes = {"d/n": by_variable.get("m"), **by_variable}
        for axis, x, key in zip(row, (n, d, d / n), ("n", "d", "d/n"), strict=True):
            draw_residuals(axis, law.drawn.points, x, slopes.get(key))
            axis.set_xlabel(NAMES.get(key, "tokens per parameter D/N"))
        row[0].set_ylabel("loss above the law (%)")
        row[0].set_title(title(law), loc="left")
    handles = [
        Line2D([], [], color=SEEN, marker="o", ls="none", ms=4, label="runs, by the law of all"),
        Line2D([], [], color=UNSEEN, marker="*", ls="none", ms=10,
               label="the largest, by a fit that had not seen them"),
    ]  # fmt: skip
    style.legend_below(figure, handles)
    return figure


def identified(laws: Sequence[Law]) -> list[Law]:
    """The laws that have numbers, those from scratch first; at most ``DRAWN``.

    ``UserError`` where none has.
    """
    found = [law for law in laws if law.drawn is not None]
    if not found:
        raise UserError("a law’s figures need an identified law, and these runs have none")
    return sorted(found, key=lambda law: not law.scratch)[:DRAWN]


def name(one: Law | Contour | GrowthPanel) -> str:
    """A law or panel by its parametrization and method, as text that matplotlib shows."""
    method = one.variant if isinstance(one, GrowthPanel) else one.label
    parts = parametrization(one.parametrization), method
    return style.plain(" ".join(part for part in parts if part))


def title(law: Law) -> str:
    assert law.fit is not None
    return f"{name(law)}: {law.fit.form} ({law.status.replace('_', ' ')})"


def run_handles(law: Law) -> list[Line2D]:
    grey = style.GREY
    stars = "the largest, held out to choose the form"
    handles = [
        Line2D([], [], color=grey, marker="o", ls="none", ms=4, label="runs"),
        Line2D([], [], color=grey, marker="*", ls="none", ms=10, label=stars),
    ]
    assert law.fit is not None
    resamples = law.fit.bootstrap.resamples
    if resamples:
        label = f"law of all runs, 95 % band of {resamples} resamples"
        handles.append(Line2D([], [], color=grey, label=label))
    return handles


def draw_against(axis: Axes, law: Law, against: str) -> None:
    """The runs, and the law against one variable at a few values of the other."""
    assert law.drawn is not None
    runs, other = law.drawn.points, OTHER[against]
    x, held_at = (runs.n, runs.d) if against == "n" else (runs.d, runs.n)
    scale, colours = norm(held_at), shades()
    draw_runs(axis, runs, x, held_at)
    for band in law.drawn.bands:
        if band.against == against:
            label = f"{other.upper()} = {si(band.at, '')}"
            draw_band(axis, band, colours(scale(band.at)), label)
    axis.set_xlabel(NAMES[against])
    size_axis(axis)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper right", **BACKED)
    else:
        axis.text(0.5, 0.9, "one token count", transform=axis.transAxes, ha="center", size=8)


def draw_frontier(axis: Axes, law: Law) -> None:
    assert law.drawn is not None
    runs = law.drawn.points
    draw_runs(axis, runs, 6 * runs.n * runs.d, runs.n)
    draw_band(axis, law.drawn.frontier, "black", "lowest loss at C")
    axis.legend(loc="upper right", **BACKED)
    axis.set_xlabel("compute C = 6 N D (FLOPs)")
    size_axis(axis)


def draw_runs(axis: Axes, runs: FittedRuns, x: Array, colour_by: Array) -> None:
    """Dots, and stars for the runs held out; more than ``MANY`` become pixels. ``x`` and
    ``colour_by`` are (runs,)."""
    y, held = runs.loss, runs.held_out
    for mask, marker, size in ((~held, "o", 9), (held, "*", 50)):
        axis.scatter(
            x[mask], y[mask], s=size, c=colour_by[mask], norm=norm(colour_by),
            cmap=shades(), marker=marker, lw=0.3, edgecolors="white", alpha=0.8,
            rasterized=bool(len(y) > MANY), label="_runs",
        )  # fmt: skip


def draw_band(axis: Axes, band: LossBand, colour: Any, label: str) -> None:
    axis.plot(band.x, band.loss, color=colour, label=label, zorder=3)
    if np.isfinite([band.lo, band.hi]).all():
        axis.fill_between(band.x, band.lo, band.hi, color=colour, alpha=0.25, lw=0)


def draw_residuals(axis: Axes, runs: FittedRuns, x: Array, slope: float | None) -> None:
    """The loss above the law against ``x`` (runs,), in per cent, with the slope of ln loss."""
    held = runs.held_out
    above = 100 * (runs.loss / np.where(held, runs.unseen, runs.predicted) - 1)
    many = bool(len(held) > MANY)
    for mask, marker, size, colour in (
        (~held, "o", 9, SEEN),
        (held, "*", 50, UNSEEN),
    ):
        axis.scatter(
            x[mask], above[mask], s=size, color=colour, marker=marker, lw=0.3,
            edgecolors="white", alpha=0.8, rasterized=many, label="_residuals",
        )  # fmt: skip
    axis.axhline(0, color=style.GREY, lw=1)
    size_axis(axis)
    if slope is not None:
        text = f"slope of ln L: {slope:+.2g}".replace("-", "−")
        axis.text(
            0.98, 0.97, text, transform=axis.transAxes, ha="right", va="top", size=7.5,
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
        )  # fmt: skip


def norm(values: Array) -> LogNorm:
    """The logarithmic colour scale of values (runs,)."""
    low, high = float(values.min()), float(values.max())
    return LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)


def shades() -> LinearSegmentedColormap:
    """Dark for the largest, without the pale end, which is lost on white."""
    colours = mpl.colormaps["viridis"](np.linspace(0.8, 0.0, 256))
    return LinearSegmentedColormap.from_list("shades", colours)


def size_axis(axis: Axes) -> None:
    axis.set_xscale("log")
    size_ticks(axis.xaxis)


def size_ticks(axis: Axis) -> None:
    """SI prefixes on a logarithmic axis of N, D or C, fewer ticks over more decades."""
    low, high = axis.get_view_interval()
    style.flops_axis(axis, next((subs for span, subs in TICKS if high < span * low), (1,)))


def loss_axis(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
