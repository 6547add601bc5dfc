"""Learning-rate sweeps: loss against learning rate on every ladder, and against the initial scale.

Hyperparameters transfer when the bowls of all sizes have their minimum at one learning rate. The
bowl near its minimum is close to a parabola in log2 of the learning rate, drawn where it could be
fitted; losses far above the bowl are cut off at the top and shown as arrows, diverged runs as
crosses, so that a blown-up run does not flatten what matters.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from matplotlib.typing import ColorType

from mugrow.analysis.figures import style
from mugrow.analysis.figures import transfer_words as words
from mugrow.analysis.transfer.ladder import SCRATCH
from mugrow.analysis.transfer.results import (
    LadderResult,
    SweepPoint,
    SweepResult,
    TransferResults,
)
from mugrow.analysis.words import parametrization as shown
from mugrow.bench.spec import UserError

Array = npt.NDArray[np.float64]
LOSS = "final validation loss (nats per token)"
LOG2_LR = "log₂ learning rate"
MOST_TICKS = 6
ACROSS = 4  # panels side by side
IN_MAIN = 3


@dataclass(frozen=True)
class BowlPanel:
    """The bowls of one ladder: size, its label and the sweep. ``reference`` is the log2 rate that
    was transferred to a source."""

    title: str
    rungs: tuple[tuple[float, str, SweepResult], ...]
    reference: float | None = None


def along(axis: str) -> Callable[[TransferResults], Figure]:
    """The figure of all ladders along ``axis``, or over the growth factor (``growth``)."""

    def figure(found: TransferResults) -> Figure:
        panels = ladder_panels(found, axis)
        if not panels:
            raise UserError(f"a figure of the loss along {axis} needs a ladder, and it has none")
        return bowls(panels)

    return figure


def bowls(panels: Sequence[BowlPanel]) -> Figure:
    """The figure of these panels, with a legend below."""
    columns = min(ACROSS, len(panels))
    rows = -(-len(panels) // columns)
    drawn, axes = style.panels(rows, columns, sharey=True)
    drawn.set_figheight(style.PANEL * rows + 0.7)
    for empty in axes.flat[len(panels) :]:
        empty.set_axis_off()
    draw_panels(list(axes.flat[: len(panels)]), panels)
    for row in axes[1:]:
        row[0].set_ylabel(LOSS)
    style.legend_below(drawn, bowl_legend(panels))
    return drawn


def ladder_panels(found: TransferResults, axis: str) -> list[BowlPanel]:
    """A panel for each ladder along an axis."""
    return [
        BowlPanel(
            style.wrapped(style.plain(words.name(ladder)), 26),
            tuple(
                (rung.size, size_label(ladder, rung.size), found.sweeps[rung.sweep])
                for rung in ladder.rungs
            ),
            ladder.reference_log2_lr,
        )
        for ladder in found.ladders
        if ("growth" if ladder.by_growth else ladder.axis) == axis
    ]


def size_label(ladder: LadderResult, size: float) -> str:
    """``width 64``, ``16.4 k tokens``, ``2× depth``."""
    if ladder.by_growth:
        return f"{size:.3g}× {ladder.axis}"
    if ladder.axis in ("tokens", "batch"):
        return f"{words.size(ladder, size)} tokens" + " a batch" * (ladder.axis == "batch")
    if ladder.axis in ("width", "depth"):
        return f"{ladder.axis} {size:.0f}"
    return f"{ladder.axis} {words.size(ladder, size)}"


def proxy_panels(found: TransferResults) -> list[BowlPanel]:
    """The first ladders along width, at most ``IN_MAIN``; without any, the best
    initial scale of the smallest shape of each parametrization."""
    if panels := ladder_panels(found, "width"):
        return panels[:IN_MAIN]
    smallest: dict[str, SweepResult] = {}
    finished = [sweep for sweep in found.sweeps if sweep.finished]
    for sweep in sorted(finished, key=lambda one: (*shape(one), one.argmin_loss)):
        smallest.setdefault(sweep.parametrization, sweep)
    if not smallest:
        raise UserError("figure 'main' needs a finished proxy, and the study has none")
    return [
        BowlPanel(shown(name), ((sweep.width, f"width {sweep.width}", sweep),))
        for name, sweep in list(smallest.items())[:IN_MAIN]
    ]


def draw_panels(axes: Sequence[Axes], panels: Sequence[BowlPanel]) -> None:
    """The bowls of each ladder on its axes; all share the range of the loss."""
    low, high = loss_range(all_sweeps(panels))
    colours = shades(panels)
    for axis, panel in zip(axes, panels, strict=True):
        for rank, (_, label, sweep) in enumerate(panel.rungs):
            draw_bowl(axis, sweep, colours[label], high, rank)
        if panel.reference is not None:
            axis.axvline(panel.reference, color=style.GREY, ls="--", lw=1, label="_reference")
        axis.set(title=panel.title, xlabel=LOG2_LR, ylim=(low, high))
    axes[0].set_ylabel(LOSS)


def all_sweeps(panels: Sequence[BowlPanel]) -> list[SweepResult]:
    return [sweep for panel in panels for _, _, sweep in panel.rungs]


def shades(panels: Sequence[BowlPanel]) -> dict[str, ColorType]:
    """A colour for the label of each size, dark for the largest."""
    sizes = sorted({(size, label) for panel in panels for size, label, _ in panel.rungs})
    colours = style.shades([(place, 0) for place in range(len(sizes))])
    return {label: colours[place, 0] for place, (_, label) in enumerate(sizes)}


def draw_bowl(axis: Axes, sweep: SweepResult, colour: ColorType, top: float, rank: int) -> None:
    """One sweep: seed band, mean, parabola, minimum; ``rank`` staggers the marks at the top."""
    known = [point for point in sweep.points if point.known]
    x = [point.log2_lr for point in known]
    low, high = ([float(end(point.per_seed)) for point in known] for end in (np.min, np.max))
    axis.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axis.plot(x, [point.loss for point in known], "-o", color=colour, label="_mean")
    height = 0.975 - 0.05 * rank
    for point in sweep.points:
        if point.status == "diverged":
            mark_at_top(axis, point.log2_lr, height, "x", colour)
        elif point.known and point.loss > top:
            mark_at_top(axis, point.log2_lr, height, "^", colour)
    draw_parabola(axis, sweep, colour)
    if sweep.finished:
        style.mark_minimum(axis, sweep.argmin_log2_lr, sweep.argmin_loss, colour)
        if sweep.edge:
            mark_edge(axis, (sweep.argmin_log2_lr, sweep.argmin_loss), sweep.edge)


def mark_edge(axis: Axes, at: tuple[float, float], edge: str) -> None:
    """Say below a minimum on which side nothing was tried beyond it."""
    text, side = ("edge ←", "left") if edge == "low" else ("→ edge", "right")
    axis.annotate(text, at, (0, -11), textcoords="offset points", ha=side, fontsize=7)


def mark_at_top(axis: Axes, x: float, height: float, marker: str, colour: ColorType) -> None:
    """What lies above the axis, at a height in parts of the panel's."""
    across = axis.get_xaxis_transform()
    axis.plot([x], [height], marker, color=colour, transform=across, label="_top", mew=1.5)


def draw_parabola(axis: Axes, sweep: SweepResult, colour: ColorType) -> None:
    """The fitted parabola, over what was tested of its window of 2 either side of the argmin."""
    if not sweep.has_vertex:
        return
    tested = [point.log2_lr for point in sweep.points]
    center = sweep.argmin_log2_lr
    x = np.linspace(max(center - 2, min(tested)), min(center + 2, max(tested)), 81)
    y = sweep.vertex_loss + sweep.curvature * (x - sweep.vertex_log2_lr) ** 2 / 2
    axis.plot(x, y, ":", color=colour, lw=1, label="_parabola")


def known_points(sweeps: Iterable[SweepResult]) -> list[SweepPoint]:
    return [point for sweep in sweeps for point in sweep.points if point.known]


def loss_range(sweeps: Sequence[SweepResult]) -> tuple[float, float]:
    """From below the best loss to three times the height of the median loss above the best."""
    points = known_points(sweeps)
    losses = np.array([point.loss for point in points])
    per_seed = np.concatenate([point.per_seed for point in points])
    low, top = float(per_seed.min()), float(per_seed.max())
    high = min(top, low + 3 * max(float(np.median(losses)) - low, 0.01))
    return low - 0.08 * (high - low), high + 0.16 * (high - low)


def shape(sweep: SweepResult) -> style.Shape:
    return sweep.width, sweep.depth


def bowl_legend(panels: Sequence[BowlPanel]) -> list[Line2D]:
    """A line for each size, and the marks that occur."""
    handles = [
        Line2D([], [], color=colour, marker="o", label=label)
        for label, colour in shades(panels).items()
    ]
    sweeps = all_sweeps(panels)
    points = [point for sweep in sweeps for point in sweep.points]
    _, top = loss_range(sweeps)
    marks = {
        "*": ("lowest mean", True),
        "^": ("above the axis", any(point.known and point.loss > top for point in points)),
        "x": ("diverged", any(point.status == "diverged" for point in points)),
    }
    handles += [
        Line2D([], [], color=style.GREY, marker=marker, ls="none", label=label)
        for marker, (label, present) in marks.items()
        if present
    ]
    if any(sweep.has_vertex for sweep in sweeps):
        handles.append(Line2D([], [], color=style.GREY, ls=":", lw=1, label="parabola"))
    if any(panel.reference is not None for panel in panels):
        handles.append(Line2D([], [], color=style.GREY, ls="--", lw=1, label="the source’s rate"))
    return handles


def init(found: TransferResults) -> Figure:
    """Loss over learning rate and initial scale at the smallest width; the best is starred."""
    planes = [plane for plane in map(InitPlane.of, smallest_sweeps(found)) if plane is not None]
    if not planes:
        raise UserError("figure 'init' needs a finished proxy, and the study has none")
    top = max(3 * float(np.nanmedian(plane.above)) for plane in planes)
    columns = min(ACROSS, len(planes))
    figure, axes = style.panels(-(-len(planes) // columns), columns, sharey=True)
    for empty in axes.flat[len(planes) :]:
        empty.set_axis_off()
    for axis, plane in zip(axes.flat, planes, strict=False):
        colours = axis.scatter(
            plane.log2_lr, plane.log2_init, c=plane.above, s=230, marker="s", cmap="cividis",
            vmin=0, vmax=top or 1,
        )  # fmt: skip
        draw_contours(axis, plane)
        lost = np.isnan(plane.above)
        axis.plot(plane.log2_lr[lost], plane.log2_init[lost], "x", color=style.GREY, label="_lost")
        best = int(np.nanargmin(plane.above))
        style.mark_minimum(axis, plane.log2_lr[best], plane.log2_init[best], "#D55E00")
        axis.margins(0.12, 0.35)
        axis.grid(False)
        axis.set(title=plane.title, xlabel=LOG2_LR)
    tested = np.unique(np.concatenate([plane.log2_init for plane in planes]))
    if len(tested) <= MOST_TICKS:
        axes[0][0].set_yticks(tested)
    axes[0][0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{2**value:.3g}"))
    for row in axes:
        row[0].set_ylabel("initial standard deviation")
    figure.colorbar(colours, ax=list(axes.flat), label="loss above the best (nats)", pad=0.02)
    return figure


@dataclass(frozen=True, eq=False)
class InitPlane:
    """Trials of one shape over both axes: arrays of shape (trials,); ``above`` is the loss above
    the best, nan where there is none."""

    title: str
    log2_lr: Array
    log2_init: Array
    above: Array

    @classmethod
    def of(cls, sweeps: Sequence[SweepResult]) -> "InitPlane | None":
        log2_lr, log2_init, losses = np.array(
            [
                (point.log2_lr, np.log2(sweep.init_std), point.loss if point.known else math.nan)
                for sweep in sweeps
                for point in sweep.points
            ]
        ).T
        if np.isnan(losses).all():
            return None
        first = sweeps[0]
        title = f"{shown(first.parametrization)}, width {first.width}"
        return cls(title, log2_lr, log2_init, losses - np.nanmin(losses))

    @property
    def grid(self) -> tuple[Array, Array, Array] | None:
        """Both axes and ``above`` of shape (scales, rates); None where the trials are no grid."""
        x, y = np.unique(self.log2_lr), np.unique(self.log2_init)
        if len(x) < 3 or len(y) < 3 or len(x) * len(y) != len(self.above):
            return None
        order = np.lexsort((self.log2_lr, self.log2_init))
        return x, y, self.above[order].reshape(len(y), len(x))


def smallest_sweeps(found: TransferResults) -> list[list[SweepResult]]:
    """Of each parametrization, the sweeps at all scales of its smallest shape, without variants;
    of those that searched the scale, where any did."""
    groups: dict[str, list[SweepResult]] = {}
    for sweep in found.sweeps:
        if sweep.method == SCRATCH and not sweep.variant:
            groups.setdefault(sweep.parametrization, []).append(sweep)
    smallest = [
        [sweep for sweep in group if shape(sweep) == min(map(shape, group))]
        for group in groups.values()
    ]
    searched = [group for group in smallest if len(group) > 1]
    return searched or smallest


def draw_contours(axis: Axes, plane: InitPlane) -> None:
    """Lines of equal loss, doubling from 0.01 nats, where the trials are a grid."""
    if plane.grid is None:
        return
    x, y, above = plane.grid
    axis.use_sticky_edges = False  # contours would end the panel at the outermost trials
    levels = [level for level in 0.01 * 2.0 ** np.arange(8) if level < np.nanmax(above)]
    lines = axis.contour(x, y, np.ma.masked_invalid(above), levels, colors="white", linewidths=1.2)
    lines = axis.contour(x, y, np.ma.masked_invalid(above), levels, colors="black", linewidths=0.7)
    axis.clabel(lines, fontsize=6, fmt="%.2g")
