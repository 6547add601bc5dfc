"""What the sweeps found: loss against learning rate by width, and against the initial scale.

Hyperparameters transfer when the bowls of all widths have their minimum at one learning rate. The
bowl near its minimum is close to a parabola in log2 of the learning rate, drawn where it could be
fitted; losses far above the bowl are cut off at the top and shown as arrows, diverged runs as
crosses, so that a blown-up run does not flatten what matters.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.figures import style
from analysis.report.format import parametrization as shown
from analysis.store import Store
from bench.spec import UserError

Array = npt.NDArray[np.float64]
Sweep = dict[str, Any]
LOSS = "final validation loss (nats per token)"
LOG2_LR = "log₂ learning rate"
MOST_TICKS = 6


def transfer(summary: dict[str, Any], store: Store) -> Figure:
    """Loss against log2 learning rate, a panel for each parametrization, a curve for each width."""
    sweeps = at_chosen_init(summary)
    names = parametrizations(sweeps)
    figure, axes = style.panels(1, len(names), sharey=True)
    figure.set_figheight(style.PANEL + 0.7)
    draw_panels(list(axes[0]), sweeps, names)
    style.legend_below(figure, bowl_legend(sweeps))
    return figure


def draw_panels(axes: Sequence[Axes], sweeps: Sequence[Sweep], names: Sequence[str]) -> None:
    """The bowls of each parametrization on its axes; all share the range of the loss."""
    low, high = loss_range(sweeps)
    colours = style.shades(map(shape, sweeps))
    for axis, name in zip(axes, names, strict=True):
        mine = [sweep for sweep in sweeps if sweep["parametrization"] == name]
        for rank, sweep in enumerate(mine):
            draw_bowl(axis, sweep, colours[shape(sweep)], high, rank)
        axis.set(title=shown(name), xlabel=LOG2_LR, ylim=(low, high))
    axes[0].set_ylabel(LOSS)


def draw_bowl(axis: Axes, sweep: Sweep, colour: Any, top: float, rank: int) -> None:
    """One sweep: seed band, mean, parabola, minimum; ``rank`` staggers the marks at the top."""
    points = sorted(sweep["points"], key=lambda point: point["log2_lr"])
    finite = [point for point in points if point["loss"] is not None]
    x = [point["log2_lr"] for point in finite]
    seeds = [[loss for loss in point["per_seed"] if loss is not None] for point in finite]
    axis.fill_between(x, [*map(min, seeds)], [*map(max, seeds)], color=colour, alpha=0.2, lw=0)
    axis.plot(x, [point["loss"] for point in finite], "-o", color=colour, label="_mean")
    height = 0.975 - 0.05 * rank
    for point in points:
        if point["status"] == "diverged":
            mark_at_top(axis, point["log2_lr"], height, "x", colour)
        elif point["loss"] is not None and point["loss"] > top:
            mark_at_top(axis, point["log2_lr"], height, "^", colour)
    draw_parabola(axis, sweep, colour)
    if sweep["argmin_loss"] is not None:
        style.mark_minimum(axis, sweep["argmin_log2_lr"], sweep["argmin_loss"], colour)
        if sweep["edge"]:
            at = (sweep["argmin_log2_lr"], sweep["argmin_loss"])
            text = "edge ←" if sweep["edge"] == "low" else "→ edge"
            side = "left" if sweep["edge"] == "low" else "right"
            axis.annotate(text, at, (0, -11), textcoords="offset points", ha=side, fontsize=7)


def mark_at_top(axis: Axes, x: float, height: float, marker: str, colour: Any) -> None:
    across = axis.get_xaxis_transform()
    axis.plot([x], [height], marker, color=colour, transform=across, label="_top", mew=1.5)


def draw_parabola(axis: Axes, sweep: Sweep, colour: Any) -> None:
    """The fitted parabola, over what was tested of its window of 2 either side of the argmin."""
    if sweep["vertex_log2_lr"] is None:
        return
    tested = [point["log2_lr"] for point in sweep["points"]]
    center = sweep["argmin_log2_lr"]
    x = np.linspace(max(center - 2, min(tested)), min(center + 2, max(tested)), 81)
    y = sweep["vertex_loss"] + sweep["curvature"] * (x - sweep["vertex_log2_lr"]) ** 2 / 2
    axis.plot(x, y, ":", color=colour, lw=1, label="_parabola")


def at_chosen_init(summary: dict[str, Any]) -> list[Sweep]:
    """For each shape and parametrization, the sweep over learning rates to compare across widths.

    It is the one at the initial scale that was best at the smallest width; a shape not swept at
    that scale gives its own best.
    """
    chosen: dict[tuple[Any, ...], Sweep] = {}
    init: dict[str, float] = {}
    for sweep in sorted(finite_sweeps(summary), key=lambda s: (s["width"], s["argmin_loss"])):
        init.setdefault(sweep["parametrization"], sweep["init_std"])
        key = (sweep["parametrization"], sweep["width"], sweep["depth"])
        if key not in chosen or sweep["init_std"] == init[sweep["parametrization"]]:
            chosen[key] = sweep
    if not chosen:
        raise UserError("figure 'transfer' needs a finished proxy, and the study has none")
    return sorted(chosen.values(), key=lambda s: (s["parametrization"], s["width"], s["depth"]))


def finite_sweeps(summary: dict[str, Any]) -> list[Sweep]:
    return [sweep for sweep in summary["sweeps"] if sweep["argmin_loss"] is not None]


def parametrizations(sweeps: Sequence[Sweep]) -> list[str]:
    return sorted({sweep["parametrization"] for sweep in sweeps})


def loss_range(sweeps: Sequence[Sweep]) -> tuple[float, float]:
    """From below the best loss to three times the height of the median loss above the best."""
    points = [point for sweep in sweeps for point in sweep["points"] if point["loss"] is not None]
    losses = np.array([point["loss"] for point in points])
    seeds = [loss for point in points for loss in point["per_seed"] if loss is not None]
    low = min(seeds)
    high = min(max(seeds), low + 3 * max(float(np.median(losses)) - low, 0.01))
    return low - 0.08 * (high - low), high + 0.16 * (high - low)


def shape(sweep: Sweep) -> style.Shape:
    return sweep["width"], sweep["depth"]


def bowl_legend(sweeps: Sequence[Sweep]) -> list[Line2D]:
    colours = style.shades(map(shape, sweeps))
    same_depth = len({depth for _, depth in colours}) == 1
    handles = [
        Line2D([], [], color=colour, marker="o", label=label)
        for (width, depth), colour in colours.items()
        for label in [f"width {width}" + ("" if same_depth else f", depth {depth}")]
    ]
    points = [point for sweep in sweeps for point in sweep["points"]]
    _, top = loss_range(sweeps)
    marks = {
        "*": ("lowest mean", True),
        "^": ("above the axis", any((point["loss"] or 0) > top for point in points)),
        "x": ("diverged", any(point["status"] == "diverged" for point in points)),
    }
    handles += [
        Line2D([], [], color=style.GREY, marker=marker, ls="none", label=label)
        for marker, (label, present) in marks.items()
        if present
    ]
    if any(sweep["vertex_log2_lr"] is not None for sweep in sweeps):
        handles.append(Line2D([], [], color=style.GREY, ls=":", lw=1, label="parabola"))
    return handles


def init(summary: dict[str, Any], store: Store) -> Figure:
    """Loss over learning rate and initial scale at the smallest width; the best is starred."""
    sweeps = finite_sweeps(summary)
    names = parametrizations(sweeps)
    if not names:
        raise UserError("figure 'init' needs a finished proxy, and the study has none")
    planes = [plane([sweep for sweep in sweeps if sweep["parametrization"] == n]) for n in names]
    top = max(3 * float(np.nanmedian(above)) for _, _, above, _ in planes)
    figure, axes = style.panels(1, len(names), sharey=True)
    for axis, name, (log2_lr, log2_init, above, width) in zip(axes[0], names, planes, strict=True):
        colours = axis.scatter(
            log2_lr, log2_init, c=above, s=230, marker="s", cmap="cividis", vmin=0, vmax=top or 1
        )
        lost = np.isnan(above)
        axis.plot(log2_lr[lost], log2_init[lost], "x", color=style.GREY, label="_lost")
        best = int(np.nanargmin(above))
        style.mark_minimum(axis, log2_lr[best], log2_init[best], "#D55E00")
        axis.margins(0.12, 0.35)
        axis.grid(False)
        axis.set(title=f"{shown(name)}, width {width}", xlabel=LOG2_LR)
    tested = np.unique(np.concatenate([log2_init for _, log2_init, _, _ in planes]))
    if len(tested) <= MOST_TICKS:
        axes[0][0].set_yticks(tested)
    axes[0][0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{2**value:.3g}"))
    axes[0][0].set_ylabel("initial standard deviation")
    figure.colorbar(colours, ax=list(axes[0]), label="loss above the best (nats)", pad=0.02)
    return figure


def plane(sweeps: Sequence[Sweep]) -> tuple[Array, Array, Array, int]:
    """log2 lr, log2 init std and loss above the best (nan: none) of the smallest shape's trials."""
    smallest = min(map(shape, sweeps))
    log2_lr, log2_init, losses = np.array(
        [
            (point["log2_lr"], np.log2(sweep["init_std"]), point["loss"])
            for sweep in sweeps
            for point in sweep["points"]
            if shape(sweep) == smallest
        ],
        dtype=float,
    ).T
    return log2_lr, log2_init, losses - np.nanmin(losses), smallest[0]
