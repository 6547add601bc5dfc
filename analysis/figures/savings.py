"""The speed-up over training from scratch, at every loss and in the three accountings.

s(loss) = FLOPs scratch needs to reach the loss / FLOPs the method needs. One number at one loss
hides that growth often helps early and costs late, so the curve is shown; to the right is further
training. Where one arm never got there is only a bound, dotted: from above (arrow down) where the
method did not reach the loss, from below (arrow up) where scratch did not.
"""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from mugrow.analysis.figures import emphasis, style
from mugrow.analysis.measure.savings import SavingsCurve
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import ACCOUNTINGS
from mugrow.bench.spec import UserError

CENSORED = {
    "never_reached": (r"$\downarrow$", "at most: never reached"),
    "baseline_never_reached": (r"$\uparrow$", "at least: scratch never reached"),
}


def savings(summary: Summary, store: Store) -> Figure:
    """s(loss): a row of panels for each target shape, a panel for each accounting."""
    curves = summary.savings_curves
    targets = list(dict.fromkeys(curve.target for curve in curves))
    if not targets:
        raise UserError(
            "figure 'savings' needs a target and its scratch baseline, and the study has none"
        )
    columns = len(ACCOUNTINGS)
    figure, axes = style.panels(len(targets), columns, sharex="row", sharey="row")
    figure.set_figheight(style.PANEL * len(targets) + 0.4)
    coloured: set[str] = set()
    for row, target in zip(axes, targets, strict=True):
        shown = emphasis.told_apart(summary, target)
        coloured |= shown
        for axis, (accounting, title) in zip(row, ACCOUNTINGS.items(), strict=True):
            mine = [c for c in curves if (c.target, c.accounting) == (target, accounting)]
            draw_faint(axis, [curve for curve in mine if curve.label not in shown])
            draw_panel(axis, [curve for curve in mine if curve.label in shown])
            axis.set_title(title)
        row[0].set_ylabel(f"{target}\nspeed-up over scratch")
        row[0].invert_xaxis()
        row[1].set_xlabel("validation loss (nats per token), falling to the right")
    labels = list(dict.fromkeys(curve.label for curve in curves))
    handles = emphasis.handles(labels, coloured, {}) + censored_handles(curves)
    style.legend_below(figure, handles)
    return figure


def of_table(curves: Sequence[SavingsCurve], baseline: str) -> Figure:
    """s(loss) of the methods of anyone's table: a panel for each accounting that they have.

    Their names are unknown here, so looks are given in order: no two share one by chance.
    """
    accountings = list(dict.fromkeys(curve.accounting for curve in curves))
    labels = list(dict.fromkeys(curve.label for curve in curves))
    line_styles = style.distinct(labels)
    figure, axes = style.panels(1, len(accountings), sharex=True, sharey=True)
    for axis, accounting in zip(axes[0], accountings, strict=True):
        draw_panel(axis, [c for c in curves if c.accounting == accounting], line_styles)
        axis.set_title(ACCOUNTINGS[accounting])
        axis.set_xlabel("loss, falling to the right")
    axes[0, 0].set_ylabel("speed-up")
    figure.suptitle(f"baseline:{style.plain(' ' + baseline)}", fontsize=9)
    axes[0, 0].invert_xaxis()
    handles = [style.handle(label, style.plain(label), line_styles[label]) for label in labels]
    style.legend_below(figure, handles + censored_handles(curves), columns=2)
    return figure


def draw_panel(
    axis: Axes,
    curves: Sequence[SavingsCurve],
    line_styles: Mapping[str, style.LineStyle] | None = None,
) -> None:
    """Speed-ups over the loss with the line where nothing is saved; looks by label, if not ours."""
    axis.axhline(1, color=style.GREY, lw=1, label="_one")
    for curve in curves:
        label = curve.label
        draw_curve(
            axis, curve, style.line_style(label) if line_styles is None else line_styles[label]
        )
    axis.set_yscale("log", base=2)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.yaxis.set_minor_locator(NullLocator())


def draw_faint(axis: Axes, curves: Sequence[SavingsCurve]) -> None:
    """The speed-ups alone, without bands and bounds."""
    for curve in curves:
        axis.plot(curve.loss, curve.speedup, color=style.FAINT, lw=0.8, zorder=1, label="_faint")


def draw_curve(axis: Axes, curve: SavingsCurve, line_style: style.LineStyle) -> None:
    """The curve where both arms reached the loss, its band, and arrows at the bounds elsewhere."""
    columns = zip(curve.loss, curve.speedup, curve.lo, curve.hi, strict=True)
    reached = [column for column in columns if math.isfinite(column[1])]
    if reached:
        x, y, _, _ = zip(*reached, strict=True)
        axis.plot(x, y, line_style.line, color=line_style.colour, label="_speedup")
        axis.plot(x[-1:], y[-1:], line_style.marker, color=line_style.colour, label="_last")
    banded = [column for column in reached if all(map(math.isfinite, column))]
    if banded:
        x, _, low, high = zip(*banded, strict=True)
        axis.fill_between(x, low, high, color=line_style.colour, alpha=0.2, lw=0)
    for state, (arrow, _) in CENSORED.items():
        bounded = zip(curve.loss, curve.bound, curve.state, strict=True)
        bounds = [(x, bound) for x, bound, found in bounded if found == state]
        if bounds:
            at_loss, bound = zip(*bounds, strict=True)
            axis.plot(
                at_loss, bound, ":", marker=arrow, ms=7, color=line_style.colour, lw=1, mew=0.3,
                markevery=slice(len(bounds) - 1, None, -4), label=f"_{state}",
            )  # fmt: skip


def censored_handles(curves: Sequence[SavingsCurve]) -> list[Line2D]:
    states = {state for curve in curves for state in curve.state}
    return [
        Line2D([], [], marker=arrow, ms=7, mew=0.3, color=style.GREY, ls=":", lw=1, label=text)
        for state, (arrow, text) in CENSORED.items()
        if state in states
    ]
