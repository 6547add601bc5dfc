"""The figure of the README: does the learning rate transfer, and what does growing save?

Left, the bowls of the proxies under each parametrization; right, the widest target's loss against
compute, source included, with the difference from scratch at equal charged compute; in a study
without budgets, the saving at scratch's final loss.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from mugrow.analysis.figures import curves, emphasis, lr_sweeps
from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import ACCOUNTINGS, interval, loss, speedup_short

ACCOUNTING: Accounting = "source"
LONG = 36  # letters: two columns of the legend hold no more each


def main(summary: Summary, store: Store) -> Figure:
    """Two panels; the left one is divided by parametrization."""
    panels = lr_sweeps.proxy_panels(summary.transfer)
    rows = curves.target_curves(store)
    target = str(rows["target"].iloc[-1])
    rows = rows[rows["target"] == target]
    handles = growth_legend(rows, target, summary)
    columns = 1 if any(len(str(handle.get_label())) > LONG for handle in handles) else 2
    lines = -(-len(handles) // columns)
    figure = Figure(figsize=(11.0, 4.0 + 0.18 * max(0, lines - 3)), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1))
    draw_transfer(parts[0], panels)
    means = curves.means_of_targets(store)[target]
    draw_growth(parts[1], rows, means, target, emphasis.told_apart(summary, target))
    add_legend(parts[1], handles, columns, equal_compute=bool(summary.equal_compute))
    return figure


def draw_transfer(part: SubFigure, panels: Sequence[lr_sweeps.BowlPanel]) -> None:
    axes = part.subplots(1, len(panels), sharey=True, squeeze=False)
    lr_sweeps.draw_panels(list(axes[0]), panels)
    part.suptitle("Does the learning rate transfer?", fontsize=10.5)
    part.legend(handles=lr_sweeps.bowl_legend(panels), loc="outside lower center", ncols=3)


def draw_growth(
    part: SubFigure,
    rows: pd.DataFrame,
    means: Mapping[str, pd.DataFrame],
    target: str,
    coloured: set[str],
) -> None:
    axis = part.subplots()
    curves.draw_panel(axis, rows, means, coloured, charge_source=True)
    axis.set(
        xlabel=f"{curves.COMPUTE}: {ACCOUNTINGS[ACCOUNTING]}",
        ylabel="validation loss (nats per token)",
    )
    part.suptitle(f"What does growing to {target} save?", fontsize=10.5)


def growth_legend(rows: pd.DataFrame, target: str, summary: Summary) -> list[Line2D]:
    labels = list(rows["label"].unique())
    texts = dict(zip(labels, with_speedups(labels, target, summary), strict=True))
    coloured = emphasis.told_apart(summary, target)
    return [*emphasis.handles(labels, coloured, texts), curves.final_line()]


def add_legend(
    part: SubFigure, handles: Sequence[Line2D], columns: int, *, equal_compute: bool
) -> None:
    at_loss = f"speed-up at scratch’s final loss ({ACCOUNTINGS[ACCOUNTING]})"
    part.legend(
        handles=list(handles),
        title="final loss minus scratch’s at equal compute, nats" if equal_compute else at_loss,
        title_fontsize=8,
        loc="outside lower center",
        ncols=columns,
        columnspacing=1.0,
    )


def with_speedups(labels: Sequence[str], target: str, summary: Summary) -> list[str]:
    """Each method's name with its difference from scratch at equal charged compute; in a study
    without budgets its speed-up at a fixed loss, or why it has none."""
    measured = [row for row in summary.equal_compute if row.target == target]
    if measured:
        differences = {
            label: f"{label}: {interval(row.against('scratch').difference, loss)}"
            for row in measured
            for label in (row.label, *row.also)
        }
        return [differences.get(label, label) for label in labels]
    found = {
        label: f"{label}: {speedup_short(saving)}"
        for (label, accounting), saving in summary.headlines(target).items()
        if accounting == ACCOUNTING
    }
    return [found.get(label, label) for label in labels]
