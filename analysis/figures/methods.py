"""Every method against scratch, a panel each: loss against compute, and what was saved at the end.

The solid line counts the target's own FLOPs, the dashed one its source's too; the black line is
scratch. The horizontal distance at scratch's final loss, where its line ends, is the saving, and
the speed-up there is written out for both.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mugrow.analysis.figures import curves, multiples, style
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import ACCOUNTINGS, speedup_short
from mugrow.bench.spec import UserError

LINES: dict[Accounting, str] = {"target": "-", "source": "--"}


def methods(summary: Summary, store: Store) -> Figure:
    """A panel for each method of each target, in the order of final losses."""
    points = curves.target_curves(store, "methods")
    labels = set(zip(points["target"], points["label"], strict=True))
    pairs = multiples.by_final_loss(
        summary, {(t, label) for t, label in labels if label != BASELINE}
    )
    if not pairs:
        raise UserError("figure 'methods' needs a finished grown target, and the study has none")
    figure, panels = multiples.grid(pairs, curves.COMPUTE, "validation loss (nats per token)")
    means = curves.means_of_targets(store)
    for panel in panels:
        if panel.first:
            set_range(panel.axis, points[points["target"] == panel.target])
            multiples.make_taller(panel.axis)
        draw_panel(panel.axis, panel.label, means[panel.target])
        multiples.note(panel.axis, speedups(summary, panel.target, panel.label))
    multiples.legend_above(figure, legend(scratch=BASELINE in {label for _, label in labels}))
    return figure


def draw_panel(axis: Axes, label: str, means: Mapping[str, pd.DataFrame]) -> None:
    if (scratch := means.get(BASELINE)) is not None:
        axis.plot(scratch["flops"], scratch["mean"], color="black", lw=1, label="_scratch")
        axis.axhline(scratch["mean"].iloc[-1], color=style.GREY, ls=":", lw=0.8, label="_final")
    mine, colour = means[label], style.line_style(label).colour
    for accounting, line in LINES.items():
        x = mine["flops"] + (mine["source"] if accounting == "source" else 0.0)
        axis.fill_between(x, mine["low"], mine["high"], color=colour, alpha=0.2, lw=0)
        axis.plot(x, mine["mean"], line, color=colour, lw=1.2, label=f"_{accounting}")


def speedups(summary: Summary, target: str, label: str) -> str:
    """The speed-ups at scratch's final loss with their intervals, a line for each kind of line."""
    found = summary.headlines(target)
    marks = {"target": "—", "source": "- -"}
    return "\n".join(
        f"{marks[name]} {speedup_short(found[label, name])}"
        for name in LINES
        if (label, name) in found
    )


def set_range(axis: Axes, points: pd.DataFrame) -> None:
    """The losses that ``curves`` shows."""
    low, high = curves.shown_range(points)
    shown = points.loc[points["val_loss"] <= high, "flops"]
    end = (points["flops"] + points["flops_source"]).max()
    axis.set_xscale("log")
    axis.set(ylim=(low, high), xlim=(0.8 * shown.min(), 1.2 * end))
    style.flops_axis(axis.xaxis, subs=(1, 3))


def legend(scratch: bool) -> list[Line2D]:
    of_scratch = [Line2D([], [], color="black", lw=1, label="scratch")] if scratch else []
    texts = {name: f"method: {ACCOUNTINGS[name]}" for name in LINES}
    of_method = [
        Line2D([], [], color=style.GREY, ls=line, lw=1.2, label=texts[name])
        for name, line in LINES.items()
    ]
    return [*of_scratch, *of_method]
