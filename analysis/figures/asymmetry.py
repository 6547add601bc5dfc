"""How far the copies of a unit have come apart, over the training of grown models.

The asymmetry (``mugrow.bench.asymmetry``) of a model still locked is 0: its copies get equal
gradients, and it is no larger than its source. Independent units are at about 1. It is logged where
the target's width is a multiple of its source's.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mugrow.analysis.figures import curves, style
from mugrow.analysis.measure.recovery import grown_curves
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.bench.spec import UserError

LOCKED = 1e-6
FLOOR = 1e-8  # rounding is at about 1e-7; smaller values and 0 are drawn here
ENTRY = 0.2  # inches of an entry of the legend


def asymmetry(summary: Summary, store: Store) -> Figure:
    """Asymmetry against tokens since growth, log-log, a panel for each target."""
    points = logged(store)
    targets = list(points["target"].unique())
    if not targets:
        raise UserError(
            "figure 'asymmetry' needs a target grown in width with logged asymmetry, "
            "and the study has none"
        )
    most = max(points[points["target"] == target]["label"].nunique() for target in targets)
    figure, axes = style.panels(len(targets), 1)
    figure.set_figheight(len(targets) * max(style.PANEL, 0.9 + ENTRY * most))
    for axis, target in zip(axes[:, 0], targets, strict=True):
        draw_panel(axis, points[points["target"] == target])
        axis.set_title(f"target {target}")
        axis.set_ylabel("asymmetry of copied units")
    axes[-1, 0].set_xlabel("tokens since growth")
    return figure


def last_values(store: Store) -> dict[str, dict[str, float]]:
    """Where the lines end: mean asymmetry over seeds by target and label."""
    points = logged(store)
    return {
        str(target): {label: float(mean.iloc[-1]) for label, mean in mean_curves(rows).items()}
        for target, rows in points.groupby("target", sort=False)
    }


def logged(store: Store) -> pd.DataFrame:
    """The points of ``recovery.grown_curves`` after growth that have an asymmetry."""
    points = grown_curves(store)
    return points[points["asymmetry"].notna() & (points["step"] > 0)]


def draw_panel(axis: Axes, rows: pd.DataFrame) -> None:
    """A line for each method; beside them their names in the order in which the lines end."""
    means = mean_curves(rows)
    ends = {label: float(mean.iloc[-1]) for label, mean in means.items()}
    handles = []
    for label in sorted(means, key=lambda label: (-ends[label], label)):
        line_style, mean = style.line_style(label), means[label]
        axis.plot(
            mean.index, mean.clip(lower=FLOOR), line_style.line, color=line_style.colour,
            marker=line_style.marker, ms=3.5, markevery=0.15, lw=1.2, label=f"_{label}",
        )  # fmt: skip
        handles.append(style.handle(label, f"{style.wrapped(label, 36)}: {ending(ends[label])}"))
    axis.set(xscale="log", yscale="log")
    axis.yaxis.set_minor_locator(NullLocator())  # of a dozen decades nobody reads the ninths
    axis.axhline(LOCKED, color=style.GREY, ls=":", lw=1, label="_locked")
    axis.text(0.01, LOCKED, "locked below", transform=axis.get_yaxis_transform(), fontsize=7,
              va="top")  # fmt: skip
    style.flops_axis(axis.xaxis)
    axis.legend(
        handles=handles, title="at the end", title_fontsize=8, loc="center left",
        bbox_to_anchor=(1.0, 0.5), fontsize=7,
    )  # fmt: skip


def mean_curves(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """``mean_curve`` of each label of one target."""
    return {str(label): mean_curve(of_label) for label, of_label in rows.groupby("label")}


def mean_curve(rows: pd.DataFrame) -> pd.Series:
    """Mean asymmetry over seeds, by tokens; of a long curve the points that are drawn."""
    rows = rows[rows["step"].isin(curves.drawn_steps(rows["step"]))]
    mean: pd.Series = rows.groupby("tokens")["asymmetry"].mean()
    return mean


def ending(value: float) -> str:
    return "locked" if value < LOCKED else f"{value:.2g}"
