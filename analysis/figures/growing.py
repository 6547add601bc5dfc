"""What growing changes: loss against the growth factor, and the difference of two laws.

In the first figure each level of target compute has its parabola; blue traces the best growth
factor over the levels, red the one above which scratch is better. Where the red line ends, there
is none within the factors sampled. In the second the black line is where grown and scratch break
even, blue where the grown model is better; hatching covers what the two laws cannot tell.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mugrow.analysis.figures import laws, style
from mugrow.analysis.laws.law import GrowthPanel, LawDifference
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import flops, si
from mugrow.bench.spec import UserError

DRAWN = 6
COLOURS = 14
BEST, EVEN = "#0072B2", "#D55E00"  # blue and red that the colour-blind tell apart
TOKENS_PER_PARAMETER = 20


def growth_factor(summary: Summary, store: Store) -> Figure:
    """Loss against g at each level of compute: a panel for each target size and variant."""
    found = summary.laws.growth_factors
    panels = [panel for panel in found.panels if panel.levels]
    if not panels:
        raise UserError(
            f"loss against the growth factor needs {found.needed} growth factors at one target, "
            f"scratch’s 1 among them, and these runs have none (at most {found.most})"
        )
    panels = sorted(panels, key=lambda panel: -panel.n)[:DRAWN]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = style.panels(rows, columns)
    figure.set_figheight((style.PANEL + 0.2) * rows + 0.5)
    for axis, panel in zip(axes.flat, panels, strict=False):
        draw_levels(axis, panel)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for row in axes:
        row[0].set_ylabel("loss (nats per token)")
    style.legend_below(figure, trace_handles())
    return figure


def trace_handles() -> list[Line2D]:
    """The legend's entries for what ``draw_levels`` traces over the levels."""
    traces = {"best growth factor": ("o", BEST), "break-even with scratch": ("D", EVEN)}
    return [
        Line2D([], [], color=colour, marker=marker, label=label)
        for label, (marker, colour) in traces.items()
    ]


def draw_levels(axis: Axes, panel: GrowthPanel) -> None:
    levels = panel.levels
    colours = style.shades((index, 0) for index in range(len(levels)))
    for index, level in enumerate(levels):
        colour = colours[index, 0]
        named = index in (0, len(levels) // 2, len(levels) - 1)
        axis.plot(
            level.g, level.loss_at_g, "o", ms=3, color=colour, mew=0,
            label=flops(level.c) if named else "_level",
        )  # fmt: skip
        if level.parabola:
            axis.plot(level.parabola.g, level.parabola.loss, color=colour, lw=1)
    gained = [level for level in levels if level.status in ("gain", "no_scratch")]
    trace(axis, "o", BEST, [(level.optimum_g, level.loss) for level in gained], "_best")
    even = [(level.break_even_g, level.scratch_loss) for level in gained]
    trace(axis, "D", EVEN, [pair for pair in even if np.isfinite(pair).all()], "_even")
    axis.set_title(f"{laws.name(panel)}, N = {si(panel.n, '')}", loc="left")
    axis.set_xlabel("growth factor g (1: scratch)")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(2))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.legend(loc="upper left", fontsize=7, title="target compute", title_fontsize=7)
    axis.margins(y=0.15)


def trace(
    axis: Axes, marker: str, colour: str, pairs: list[tuple[float, float]], label: str
) -> None:
    if pairs:
        g, loss = zip(*pairs, strict=True)
        axis.plot(g, loss, marker=marker, color=colour, ms=4.5, mec="white", mew=0.5, zorder=4,
                  label=label)  # fmt: skip


def contour(summary: Summary, store: Store) -> Figure:
    """A method's loss minus scratch's over N and D: a panel for each grown law."""
    found = summary.laws.contours
    panels = [(one, one.drawn) for one in found if one.drawn is not None]
    if not panels:
        reasons = list(dict.fromkeys(one.reason for one in found))
        raise UserError(
            "grown minus scratch over N and D needs two laws, and these runs have none"
            + (f" ({reasons[0]})" if reasons else "")
        )
    panels = panels[:DRAWN]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = style.panels(rows, columns)
    figure.set_figheight((style.PANEL + 0.3) * rows + 0.5)
    limit = max(float(np.abs(drawn.difference).max()) for _, drawn in panels)
    levels = MaxNLocator(COLOURS, symmetric=True).tick_values(-limit, limit)
    for axis, (one, drawn) in zip(axes.flat, panels, strict=False):
        filled = draw_difference(axis, drawn, levels)
        axis.set_title(laws.name(one), loc="left")
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for row in axes:
        row[0].set_ylabel(laws.NAMES["d"])
    baseline = style.plain(panels[0][1].baseline)
    label = f"loss − loss of {baseline} (nats per token)"
    figure.colorbar(filled, ax=axes, label=label)
    style.legend_below(figure, contour_handles([drawn for _, drawn in panels]), columns=2)
    return figure


def contour_handles(panels: Sequence[LawDifference]) -> list[Any]:
    twenty = f"D = {TOKENS_PER_PARAMETER} N" + (
        "" if any(map(has_twenty, panels)) else " (outside)"
    )
    return [
        Line2D([], [], color="black", lw=2, label="break-even"),
        Line2D([], [], color="black", ls="--", lw=1, label=twenty),
        Patch(fc="none", ec=style.GREY, hatch="///", label="95 % intervals of the laws overlap"),
        Line2D([], [], color="black", marker=".", ls="none", ms=5, label="runs of the method"),
    ]


def has_twenty(panel: LawDifference) -> bool:
    """Whether twenty tokens a parameter are within the grid."""
    n, d = panel.n, panel.d
    return bool(TOKENS_PER_PARAMETER * n[0] < d[-1] and TOKENS_PER_PARAMETER * n[-1] > d[0])


def draw_difference(axis: Axes, panel: LawDifference, levels: Sequence[float]) -> ContourSet:
    """The difference filled between ``levels`` (ascending, in nats); returns what is filled."""
    n, d = panel.n, panel.d
    difference = panel.difference.T
    filled = axis.contourf(
        n, d, difference, levels=levels, cmap="RdBu_r",
        norm=TwoSlopeNorm(0, levels[0], levels[-1]),
    )  # fmt: skip
    gap = panel.gap.T  # nan without intervals: nothing is then established
    overlap = np.where(np.isnan(gap), 1.0, -gap)
    if overlap.max() > 0:
        ends = [0.0, float(overlap.max()) + 1]
        hatched = axis.contourf(n, d, overlap, levels=ends, colors="none", hatches=["///"])
        hatched.set_edgecolor(style.GREY)
        hatched.set_linewidth(0)
    if difference.min() < 0 < difference.max():
        axis.contour(n, d, difference, levels=[0], colors="black", linewidths=2)
    runs = panel.runs
    if len(runs["n"]) <= laws.MANY:
        axis.plot(
            runs["n"], runs["d"], ".", color="black", ms=3, clip_on=False, label="_runs",
        )  # fmt: skip
    axis.plot(n, TOKENS_PER_PARAMETER * n, "--", color="black", lw=1, label="_twenty")
    axis.set(xscale="log", yscale="log", xlim=(n[0], n[-1]), ylim=(d[0], d[-1]))
    axis.grid(visible=False)
    laws.size_ticks(axis.xaxis)
    laws.size_ticks(axis.yaxis)
    axis.set_xlabel(laws.NAMES["n"])
    return filled
