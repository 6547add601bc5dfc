"""Validation loss against compute: every method's targets beside those from scratch.

The left panel counts the target's own FLOPs; the right one charges the source too, which moves a
grown model's curve to the right by what its source had cost. The horizontal distance between a
curve and scratch is the compute saved at that loss.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.arms import label_targets
from analysis.figures import style
from analysis.report.format import ACCOUNTINGS
from analysis.store import Store
from bench.spec import UserError

COMPUTE = "compute (FLOPs)"


def curves(summary: dict[str, Any], store: Store) -> Figure:
    """A row of panels for each target shape: target FLOPs, and target + source FLOPs."""
    rows = target_curves(store)
    targets = list(rows["target"].unique())
    figure, axes = style.panels(len(targets), 2, sharex="row", sharey="row")
    figure.set_figheight(style.PANEL * len(targets) + 0.4)
    for row, target in zip(axes, targets, strict=True):
        mine = rows[rows["target"] == target]
        for axis, accounting in zip(row, ("target", "source"), strict=True):
            draw_panel(axis, mine, charge_source=accounting == "source")
            axis.set_title(f"{target}: {ACCOUNTINGS[accounting]}")
            axis.set_xlabel(COMPUTE)
        row[0].set_ylabel("validation loss (nats per token)")
    labels = list(rows["label"].unique())
    style.legend_below(figure, [*map(style.handle, labels), final_line()], columns=5)
    return figure


def final_line() -> Line2D:
    return Line2D([], [], color=style.GREY, ls="--", lw=1, label="scratch, final")


def target_curves(store: Store) -> pd.DataFrame:
    """Logged points of the finished targets: target, label, seed, flops, flops_source, val_loss."""
    runs = label_targets(store.runs)
    runs = runs[runs["status"] == "finished"]
    if runs.empty:
        raise UserError("figure 'curves' needs a finished target, and the study has none")
    named = runs[["run_id", "target", "label", "seed", "flops_source"]]
    points = named.merge(store.curves, on="run_id")
    return points[(points["step"] > 0) & points["val_loss"].notna()]


def draw_panel(axis: Axes, rows: pd.DataFrame, *, charge_source: bool) -> None:
    """Mean over seeds with a band from the lowest to the highest seed, for each method."""
    for label, mine in rows.groupby("label"):
        look = style.look(str(label))
        steps = mine.groupby("step").agg(
            flops=("flops", "mean"), source=("flops_source", "mean"), mean=("val_loss", "mean"),
            low=("val_loss", "min"), high=("val_loss", "max"),
        )  # fmt: skip
        x = steps["flops"] + (steps["source"] if charge_source else 0.0)
        axis.fill_between(x, steps["low"], steps["high"], color=look.colour, alpha=0.2, lw=0)
        axis.plot(
            x, steps["mean"], look.line, marker=look.marker, ms=3.5, markevery=0.12,
            color=look.colour, label=f"_{label}",
        )  # fmt: skip
        axis.plot(x.iloc[-1:], steps["mean"].iloc[-1:], look.marker, color=look.colour, label="_")
    scratch = rows[rows["label"] == "scratch"]
    if not scratch.empty:
        axis.axhline(final_mean(scratch), color=style.GREY, ls="--", lw=1, label="_final")
    axis.set_xscale("log")
    low, high = shown_range(rows)
    shown = rows.loc[rows["val_loss"] <= high, "flops"]
    end = (rows["flops"] + rows["flops_source"]).max()
    axis.set(ylim=(low, high), xlim=(0.8 * shown.min(), 1.2 * end))
    style.flops_axis(axis.xaxis)


def final_mean(rows: pd.DataFrame) -> float:
    return float(rows[rows["step"] == rows["step"].max()]["val_loss"].mean())


def shown_range(rows: pd.DataFrame) -> tuple[float, float]:
    """The losses from the lowest up to the median: the steep start would flatten what matters."""
    low = float(rows["val_loss"].min())
    high = low + 2.5 * (float(np.median(rows["val_loss"])) - low)
    high = min(high, float(rows["val_loss"].max()))
    return low - 0.06 * (high - low), high
