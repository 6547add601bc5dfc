"""Validation loss against compute: every method's targets beside those from scratch.

The left panel counts the target's own FLOPs; the right one charges the source too, which moves a
grown model's curve to the right by what its source had cost. The horizontal distance between a
curve and scratch is the compute saved at that loss. Of many methods those that end lowest are told
apart; the figure ``methods`` has a panel for each.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mugrow.analysis.figures import emphasis, style
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.recovery import labelled_targets
from mugrow.analysis.measure.savings import Accounting
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import ACCOUNTINGS
from mugrow.bench.spec import UserError

COMPUTE = "compute (FLOPs)"
CHARGED: tuple[Accounting, ...] = ("target", "source")
DRAWN = 200  # points of a curve: more are not seen, and the page would weigh tens of megabytes


def curves(summary: Summary, store: Store) -> Figure:
    """A row of panels for each target shape: target FLOPs, and target + source FLOPs."""
    rows, means = target_curves(store), means_of_targets(store)
    targets = list(rows["target"].unique())
    figure, axes = style.panels(len(targets), 2, sharex="row", sharey="row")
    figure.set_figheight(style.PANEL * len(targets) + 0.4)
    coloured: set[str] = set()
    for row, target in zip(axes, targets, strict=True):
        mine = rows[rows["target"] == target]
        shown = emphasis.told_apart(summary, target)
        coloured |= shown
        for axis, accounting in zip(row, CHARGED, strict=True):
            draw_panel(axis, mine, means[target], shown, charge_source=accounting == "source")
            axis.set_title(f"{target}: {ACCOUNTINGS[accounting]}")
            axis.set_xlabel(COMPUTE)
        row[0].set_ylabel("validation loss (nats per token)")
    labels = list(rows["label"].unique())
    handles = emphasis.handles(labels, coloured, {})
    if BASELINE in labels:
        handles = [*handles, final_line()]
    style.legend_below(figure, handles, columns=5)
    return figure


def final_line() -> Line2D:
    return Line2D([], [], color=style.GREY, ls="--", lw=1, label="scratch, final")


def target_curves(store: Store, figure: str = "curves") -> pd.DataFrame:
    """Logged points of the finished targets: target, label, seed, flops, flops_source, val_loss."""
    runs = labelled_targets(store)
    runs = runs[runs["status"] == "finished"]
    if runs.empty:
        raise UserError(f"figure {figure!r} needs a finished target, and the study has none")
    named = runs[["run_id", "target", "label", "seed", "flops_source"]]
    points = named.merge(store.curves, on="run_id")
    points = points[(points["step"] > 0) & points["val_loss"].notna()]
    if points.empty:
        raise UserError(f"figure {figure!r} needs logged losses of a target, and there are none")
    return points


@lru_cache(maxsize=1)
def means_of_targets(store: Store) -> dict[str, dict[str, pd.DataFrame]]:
    """``seed_means`` of each target's methods by label, in the order of labels; kept, as three
    figures draw them."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    means = _means(target_curves(store), ["target", "label", "step"])
    for (target, label), rows in means.groupby(level=["target", "label"]):
        mine = found.setdefault(str(target), {})
        mine[str(label)] = _thinned(rows.droplevel(["target", "label"]))
    return found


def draw_panel(
    axis: Axes,
    rows: pd.DataFrame,
    means: Mapping[str, pd.DataFrame],
    coloured: set[str],
    *,
    charge_source: bool,
) -> None:
    """Each method's curve, those ``coloured`` with their band over seeds, and scratch's end."""
    for label, mine in means.items():
        draw_method(axis, label, mine, label in coloured, charge_source)
    scratch = rows[rows["label"] == BASELINE]
    if not scratch.empty:
        axis.axhline(final_mean(scratch), color=style.GREY, ls="--", lw=1, label="_final")
    axis.set_xscale("log")
    low, high = shown_range(rows)
    shown = rows.loc[rows["val_loss"] <= high, "flops"]
    end = (rows["flops"] + rows["flops_source"]).max()
    axis.set(ylim=(low, high), xlim=(0.8 * shown.min(), 1.2 * end))
    style.flops_axis(axis.xaxis)


def draw_method(
    axis: Axes, label: str, means: pd.DataFrame, coloured: bool, charge_source: bool
) -> None:
    x = means["flops"] + (means["source"] if charge_source else 0.0)
    if not coloured:
        axis.plot(x, means["mean"], color=style.FAINT, lw=0.8, zorder=1, label=f"_{label}")
        return
    line_style = style.line_style(label)
    axis.fill_between(x, means["low"], means["high"], color=line_style.colour, alpha=0.2, lw=0)
    axis.plot(
        x, means["mean"], line_style.line, marker=line_style.marker, ms=3.5, markevery=0.12,
        color=line_style.colour, label=f"_{label}",
    )  # fmt: skip
    axis.plot(
        x.iloc[-1:], means["mean"].iloc[-1:], line_style.marker, color=line_style.colour, label="_"
    )


def seed_means(rows: pd.DataFrame) -> pd.DataFrame:
    """One method's points by step: FLOPs, its source's, and loss as mean, lowest and highest."""
    return _thinned(_means(rows, ["step"]))


def _means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return rows.groupby(keys).agg(
        flops=("flops", "mean"), source=("flops_source", "mean"), mean=("val_loss", "mean"),
        low=("val_loss", "min"), high=("val_loss", "max"),
    )  # fmt: skip


def _thinned(means: pd.DataFrame) -> pd.DataFrame:
    """The rows by step that are drawn."""
    return means.loc[drawn_steps(means.index)]


def drawn_steps(steps: "pd.Series[Any] | pd.Index[Any]") -> npt.NDArray[np.int64]:
    """The steps to draw: all, or of a longer curve ``DRAWN`` evenly spaced in their logarithm."""
    logged = np.unique(steps.to_numpy(dtype=np.int64))
    count = len(logged)
    places = np.geomspace(1, count, DRAWN).round() - 1 if count > DRAWN else np.arange(count)
    return logged[np.unique(places.astype(np.int64))]


def final_mean(rows: pd.DataFrame) -> float:
    return float(rows[rows["step"] == rows["step"].max()]["val_loss"].mean())


def shown_range(rows: pd.DataFrame) -> tuple[float, float]:
    """The losses from the lowest up to the median: the steep start would flatten what matters."""
    low = float(rows["val_loss"].min())
    high = low + 2.5 * (float(np.median(rows["val_loss"])) - low)
    high = min(high, float(rows["val_loss"].max()))
    return low - 0.06 * (high - low), high
