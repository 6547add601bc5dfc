"""The figure of the README: does the learning rate transfer, and what does growing save?

Left, the bowls of the proxies under each parametrization; right, the widest target's loss against
compute, source included, with the saving at scratch's final loss and its interval.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.figures import curves, style, sweeps
from analysis.report.format import ACCOUNTINGS, speedup_short
from analysis.store import Store

ACCOUNTING = "source"


def main(summary: dict[str, Any], store: Store) -> Figure:
    """Two panels; the left one is divided by parametrization."""
    bowls = sweeps.at_chosen_init(summary)
    names = sweeps.parametrizations(bowls)
    rows = curves.target_curves(store)
    target = str(rows["target"].iloc[-1])
    rows = rows[rows["target"] == target]
    more = max(0, rows["label"].nunique() - 4)  # two methods share a line of the legend
    figure = Figure(figsize=(11.0, 4.0 + 0.09 * more), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1))
    draw_transfer(parts[0], bowls, names)
    draw_growth(parts[1], rows, target, summary)
    return figure


def draw_transfer(part: SubFigure, bowls: Sequence[sweeps.Sweep], names: Sequence[str]) -> None:
    axes = part.subplots(1, len(names), sharey=True, squeeze=False)
    sweeps.draw_panels(list(axes[0]), bowls, names)
    part.suptitle("Does the learning rate transfer?", fontsize=10.5)
    part.legend(handles=sweeps.bowl_legend(bowls), loc="outside lower center", ncols=3)


def draw_growth(part: SubFigure, rows: pd.DataFrame, target: str, summary: dict[str, Any]) -> None:
    labels = list(rows["label"].unique())
    axis = part.subplots()
    curves.draw_panel(axis, rows, charge_source=True)
    axis.set(
        xlabel=f"{curves.COMPUTE}: {ACCOUNTINGS[ACCOUNTING]}",
        ylabel="validation loss (nats per token)",
    )
    part.suptitle(f"What does growing to {target} save?", fontsize=10.5)
    part.legend(
        handles=[
            *map(style.handle, labels, with_speedups(labels, target, summary)),
            curves.final_line(),
        ],
        title=f"speed-up at scratch’s final loss ({ACCOUNTINGS[ACCOUNTING]})",
        title_fontsize=8,
        loc="outside lower center",
        ncols=2,
        columnspacing=1.0,
    )


def with_speedups(labels: Sequence[str], target: str, summary: dict[str, Any]) -> list[str]:
    """Each method's name with its speed-up and interval, or why it has none."""
    found = {
        row["label"]: f"{row['label']}: {speedup_short(row)}"
        for row in summary["savings"]
        if (row["target"], row["accounting"], row["at"]) == (target, ACCOUNTING, "scratch final")
    }
    return [found.get(label, label) for label in labels]
