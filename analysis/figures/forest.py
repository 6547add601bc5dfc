"""A forest plot: every method's speed-up over scratch and its final loss, a row each.

Left, the speed-up at scratch's final loss in the three accountings, with intervals; a bound is an
arrow, and why there is no number is said in words. Right, the final loss minus scratch's, paired by
seed. The two can disagree: a method that ends lower was ahead at the end of its own schedule, yet
its source may have cost more than that is worth.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from mugrow.analysis.figures import style
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.savings import Accounting, State
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import NOTHING, Interval
from mugrow.analysis.summary import AT_FINAL, ArmSaving, Final, Summary
from mugrow.analysis.words import ACCOUNTINGS
from mugrow.bench.spec import UserError

MARKS: dict[Accounting, tuple[str, str]] = {
    "target": ("o", "#0072B2"),
    "source": ("s", "#D55E00"),
    "full": ("D", style.GREY),
}
OFFSETS = dict(zip(MARKS, (-0.26, 0.0, 0.26), strict=True))
WORDS: dict[State | None, str] = {
    "never_reached": "never reached",
    "baseline_never_reached": "scratch never reached",
    "outside_range": "no ratio",
    None: "no seed finished",
}
LINE = 0.27  # inches


def forest(summary: Summary, store: Store) -> Figure:
    """A pair of panels for each target; rows sorted by final loss, the lowest on top."""
    finals = [final for final in summary.finals if final.label != BASELINE]
    targets = list(dict.fromkeys(saving.target for saving in summary.savings))
    if not targets:
        raise UserError(
            "figure 'forest' needs a target and its scratch baseline, and the study has none"
        )
    rows = {target: sorted_rows(finals, target) for target in targets}
    heights = [len(finals_of) + 2 for finals_of in rows.values()]
    figure, axes = style.panels(
        len(targets), 2, height_ratios=heights, width_ratios=(3, 2), sharey="row"
    )
    figure.set_figheight(LINE * sum(heights) + 0.8)
    for (left, right), target in zip(axes, targets, strict=True):
        draw_rows(left, rows[target])
        draw_speedups(left, rows[target], summary.savings)
        draw_differences(right, rows[target])
        left.set_title(f"target {target}")
    axes[-1, 0].set_xlabel("speed-up at scratch’s final loss")
    axes[-1, 1].set_xlabel("final loss − scratch’s (nats)")
    style.legend_below(figure, legend(), columns=4)
    return figure


def sorted_rows(finals: Sequence[Final], target: str) -> list[Final]:
    there = [final for final in finals if final.target == target]
    return sorted(there, key=lambda final: (math.isnan(final.loss.value), final.loss.value))


def draw_rows(axis: Axes, rows: Sequence[Final]) -> None:
    """The methods' names, in their colours' markers, and the line at which nothing is saved."""
    axis.set_yticks(range(len(rows)), [style.wrapped(row.label, 40) for row in rows], fontsize=7)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.axvline(1, color="black", lw=0.8, label="_one")


def draw_speedups(axis: Axes, rows: Sequence[Final], savings: Sequence[ArmSaving]) -> None:
    axis.set_xscale("log", base=2)
    for place, row in enumerate(rows):
        of_row = [
            saving
            for saving in savings
            if (saving.target, saving.label, saving.at) == (row.target, row.label, AT_FINAL)
        ]
        for saving in of_row:
            draw_saving(axis, place + OFFSETS[saving.accounting], saving)
        states: set[State | None] = {saving.state for saving in of_row} or {None}
        if states != {"reached"}:
            words = ", ".join(
                WORDS[state] for state in sorted(states, key=str) if state != "reached"
            )
            across = axis.get_yaxis_transform()
            axis.text(
                0.99, place, words, transform=across, ha="right", va="center", fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
    low, high = axis.get_xlim()
    if high < 4 * low:  # too few powers of two to read a value from
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axis.xaxis.set_minor_locator(NullLocator())


def draw_saving(axis: Axes, y: float, saving: ArmSaving) -> None:
    """A point with its whisker, an open end as an arrow; or a bound as an arrow."""
    marker, colour = MARKS[saving.accounting]
    if saving.state == "reached":
        speedup = saving.speedup or NOTHING
        axis.plot([speedup.value], [y], marker, color=colour, ms=3.8, label="_speedup")
        draw_whisker(axis, y, speedup, colour)
    elif saving.bound is not None:
        way = "$\\leftarrow$" if saving.state == "never_reached" else "$\\rightarrow$"
        axis.plot([saving.bound], [y], marker=way, color=colour, ms=8, mew=0.3, label="_bound")


def draw_whisker(axis: Axes, y: float, item: Interval, colour: str) -> None:
    low, high, value = item.lo, item.hi, item.value
    if not (math.isfinite(low) or math.isfinite(high)):
        return
    ends = [end if math.isfinite(end) else value for end in (low, high)]
    axis.plot(ends, [y, y], color=colour, lw=1.1, label="_whisker")
    for end, outwards in ((low, -16), (high, 16)):
        if not math.isfinite(end):
            axis.annotate(
                "", (value, y), (outwards, 0), textcoords="offset points",
                arrowprops={"arrowstyle": "<-", "color": colour, "shrinkB": 0},
            )  # fmt: skip


def draw_differences(axis: Axes, rows: Sequence[Final]) -> None:
    axis.axvline(0, color="black", lw=0.8, label="_zero")
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(4))  # small losses have long numbers
    for place, row in enumerate(rows):
        difference = row.minus_scratch
        if difference is not None:
            line_style = style.line_style(row.label)
            axis.plot(
                [difference.value],
                [place],
                line_style.marker,
                color=line_style.colour,
                label="_loss",
            )
            draw_whisker(axis, place, difference, line_style.colour)


def legend() -> list[Line2D]:
    handles = [
        Line2D([], [], marker=marker, color=colour, lw=1.1, label=ACCOUNTINGS[name])
        for name, (marker, colour) in MARKS.items()
    ]
    bound = Line2D([], [], color=style.GREY, marker="$\\leftarrow$", ls="none", ms=8, mew=0.3)
    bound.set_label("a bound")
    return [*handles, bound]
