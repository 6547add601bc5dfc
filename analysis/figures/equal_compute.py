"""Final loss against charged compute: every arm beside what else its compute would have bought.

A point is an arm, at the FLOPs that it is charged with its source; hollow, since arms of one charge
lie over one another, and side by side where a panel has no other charge. The lines join final
losses of whole schedules: scratch, the arms' sources trained on, and other sizes. An arm below a
line beats it at equal compute; how far it is to the left of scratch's line is its speed-up.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mugrow.analysis.figures import emphasis, style
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.baselines import Comparisons, comparisons
from mugrow.analysis.measure.comparison import EqualCompute
from mugrow.analysis.measure.equal_compute import BudgetLine
from mugrow.analysis.measure.recovery import labelled_targets
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.bench.spec import UserError

SCRATCH, SOURCE, OTHER = "-", "--", ":"
LEAST_SPAN = 1.5  # of the largest over the smallest FLOPs of a panel; with less all are one charge


def equal_compute(summary: Summary, store: Store) -> Figure:
    """A panel for each target."""
    rows = summary.equal_compute
    if not rows:
        raise UserError(
            "figure 'equal_compute' needs final losses at several budgets, and the study has none"
        )
    targets = list(dict.fromkeys(row.target for row in rows))
    figure, axes = style.panels(1, len(targets), sharey=False)
    labels: list[str] = []
    coloured: set[str] = set()
    drawn: set[str] = set()
    runs, arms = comparisons(store.runs), labelled_targets(store)
    for axis, target in zip(axes[0], targets, strict=True):
        mine = [row for row in rows if row.target == target]
        shown = emphasis.told_apart(summary, target)
        lines = lines_of(runs, arms[arms["target"] == target])
        draw_lines(axis, lines)
        drawn |= {kind_of(name) for name in lines}
        charges = [row.charge for row in mine]
        apart = spans([*charges, *(flops for line in lines.values() for flops in line.flops)])
        places = charges if apart else side_by_side(charges)
        for row, flops in zip(mine, places, strict=True):
            draw_arm(axis, row, flops, row.label in shown)
        labels += [row.label for row in mine]
        coloured |= shown
        axis.set(title=f"growing to {target}", xlabel="charged FLOPs")
        axis.set_xscale("log")
        style.flops_axis(axis.xaxis)
        if not apart:
            axis.set_xticks([charges[0]])
    axes[0, 0].set_ylabel("final loss (nats per token)")
    handles = emphasis.handles(list(dict.fromkeys(labels)), coloured, {})
    style.legend_below(figure, [*line_handles(drawn), *handles])
    return figure


def lines_of(runs: Comparisons, here: pd.DataFrame) -> dict[str, BudgetLine]:
    """Of the arms of a target, by name: scratch, each source that they were grown from, and the
    other sizes."""
    scratch = runs.scratch(list(here.loc[here["method"] == BASELINE, "run_id"]))
    found = {} if scratch is None else {BASELINE: scratch}
    grown = here[here["method"] != BASELINE]
    for label, rows in grown.groupby("label", sort=False):
        source = runs.sources(list(rows["run_id"]))
        if source is not None and all(not _same(source, other) for other in found.values()):
            found[f"source of {label}"] = source
    front = runs.front({str(here["target"].iloc[0]): scratch}) if scratch is not None else None
    if front is not None:
        for shape, line in front.lines.items():
            if all(not _same(line, other) for other in found.values()):
                found[shape] = line
    return found


def _same(one: BudgetLine, other: BudgetLine) -> bool:
    return np.array_equal(one.flops, other.flops) and np.array_equal(one.losses, other.losses)


def draw_lines(axis: Axes, lines: Mapping[str, BudgetLine]) -> None:
    for name, line in lines.items():
        mean = line.losses.mean(axis=0)
        kind = kind_of(name)
        colour = "black" if name == BASELINE else style.GREY
        axis.plot(line.flops, mean, kind, marker=".", color=colour, lw=1.3, label=f"_{name}")
        if len(line.flops) == 1:
            axis.vlines(line.flops, line.losses.min(), line.losses.max(), colour, alpha=0.4, lw=3)
        axis.fill_between(
            line.flops, line.losses.min(axis=0), line.losses.max(axis=0), color=colour, alpha=0.12,
            lw=0,
        )  # fmt: skip


def spans(flops: Sequence[float]) -> bool:
    """Whether these are several charges."""
    return max(flops) > LEAST_SPAN * min(flops)


def side_by_side(charges: Sequence[float]) -> list[float]:
    """Where arms of one charge are drawn around it, so that none hides another."""
    count = len(charges)
    return [
        charge * LEAST_SPAN ** ((place + 0.5) / count - 0.5) for place, charge in enumerate(charges)
    ]


def draw_arm(axis: Axes, row: EqualCompute, flops: float, coloured: bool) -> None:
    look = style.line_style(row.label)
    colour = look.colour if coloured else style.FAINT
    loss = row.loss
    if math.isfinite(loss.lo):
        axis.plot([flops] * 2, [loss.lo, loss.hi], color=colour, lw=1, label="_interval")
    axis.plot(
        [flops], [loss.value], look.marker, color=colour, ms=7, mfc="none", mew=1.5, ls="",
        label=f"_{row.label}",
    )  # fmt: skip


def kind_of(line: str) -> str:
    """The dash of a line, by its name."""
    return SCRATCH if line == BASELINE else SOURCE if line.startswith("source") else OTHER


def line_handles(drawn: Collection[str]) -> list[Line2D]:
    """Of the kinds of lines that are drawn."""
    kinds = (
        (SCRATCH, "black", "scratch, whole schedules"),
        (SOURCE, style.GREY, "the source, trained on"),
        (OTHER, style.GREY, "another size"),
    )
    return [
        Line2D([], [], color=colour, ls=kind, marker=".", label=words)
        for kind, colour, words in kinds
        if kind in drawn
    ]
