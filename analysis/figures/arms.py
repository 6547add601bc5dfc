"""Arms of a study that is written out run by run: their curves, and what was measured of each.

A panel has a line for each arm, the mean over its finished seeds, with a band from the lowest to
the highest. Against FLOPs the sources can be charged, which moves a grown arm to the right by what
its source had cost: then lines that are level at one place paid the same for the same loss.

A paper's figure is ``row(CurvePanel(...), draw, ...)``: a panel is what draws into an axis from the
store alone, a function or one of the three kinds here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.figures.curves import COMPUTE, seed_means, shown_range
from mugrow.analysis.measure.measured import arm, finals
from mugrow.analysis.measure.quantity import Quantity
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval

LineStyles = Mapping[str, style.LineStyle]
Quantities = Mapping[str, Callable[[Store], Interval]]
Names = Sequence[str] | Mapping[str, str]  # of arms, or arms by their labels
Places = Mapping[float, str] | Mapping[int, str]
Panel = Callable[[Axes, Store], None]
LOSS = "validation loss (nats per token)"
FINAL = f"final {LOSS}"


def points(store: Store, name: str) -> pd.DataFrame:
    """Logged points after step 0 of an arm's finished runs: arm, seed, flops_source, and the
    columns of curves. Raises ``UserError`` where the arm has none."""
    runs = arm(store.runs, name, ["run_id", "arm", "seed", "flops_source"])
    logged = runs.merge(store.curves, on="run_id")
    logged = logged[(logged["step"] > 0) & logged["val_loss"].notna()]
    return logged.fillna({"flops_source": 0.0})


def curves(
    axis: Axes,
    store: Store,
    arms: Names,
    x: Literal["flops", "tokens"] = "flops",
    charge_source: bool = False,
    line_styles: LineStyles | None = None,
) -> None:
    """Validation loss against FLOPs or tokens. ``line_styles`` are by label, by default those of
    methods of these names; the legend is left to the caller."""
    assert x == "flops" or not charge_source, "a source's tokens are not those of its target"
    by_label = arms if isinstance(arms, Mapping) else {name: name for name in arms}
    logged = {label: points(store, name) for label, name in by_label.items()}
    low, high = shown_range(pd.concat(logged.values()))
    shown = []
    for name, rows in logged.items():
        means = seed_means(rows)
        at = rows.groupby("step")[x].mean()[means.index]
        at = at + (means["source"] if charge_source else 0.0)
        shown += list(at[means["mean"] <= high])
        line_style = (line_styles or {}).get(name) or style.line_style(name)
        axis.fill_between(at, means["low"], means["high"], color=line_style.colour, alpha=0.2, lw=0)
        axis.plot(
            at, means["mean"], **line_style.keywords, ms=3.5, markevery=0.12,
            label=style.plain(name),
        )  # fmt: skip
        axis.plot(at.iloc[-1:], means["mean"].iloc[-1:], **line_style.keywords, label="_")
    axis.set(xscale="log", xlim=(0.8 * min(shown), 1.2 * max(shown)), ylabel=LOSS)
    axis.set_ylim(low, high)
    axis.set_xlabel(tokens_or_compute(x, charge_source))
    style.flops_axis(axis.xaxis)


def tokens_or_compute(x: str, charge_source: bool) -> str:
    if x == "tokens":
        return "tokens trained on"
    return COMPUTE[:-1] + ", source’s added)" if charge_source else COMPUTE


def dots(
    axis: Axes,
    labels: Sequence[str],
    intervals: Sequence[Interval],
    line_styles: LineStyles | None = None,
) -> None:
    """A row for each label, the first on top: its value, and its interval as a whisker. An open
    end is drawn as far as the value goes; a row without a value is left empty."""
    axis.set_yticks(range(len(labels)), [style.wrapped(style.plain(one), 34) for one in labels])
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    for row, (label, found) in enumerate(zip(labels, intervals, strict=True)):
        line_style = (line_styles or {}).get(label) or style.line_style(label)
        ends = [end if np.isfinite(end) else found.value for end in (found.lo, found.hi)]
        axis.plot(ends, [row, row], color=line_style.colour, lw=1.3, label="_whisker")
        axis.plot([found.value], [row], line_style.marker, color=line_style.colour, label="_value")


@dataclass(frozen=True)
class CurvePanel:
    """``curves`` of arms. ``level`` is an arm whose mean final loss is a dashed line; ``legend`` is
    the panel's own. ``names`` may depend on the store."""

    names: Names | Callable[[Store], Names]
    line_styles: LineStyles | None = None
    x: Literal["flops", "tokens"] = "tokens"
    charge_source: bool = False
    title: str = ""
    level: str | None = None
    legend: bool = True

    def __call__(self, axis: Axes, store: Store) -> None:
        names = self.names(store) if callable(self.names) else self.names
        curves(axis, store, names, self.x, self.charge_source, self.line_styles)
        axis.set_title(self.title)
        if self.level is not None:
            loss = float(np.mean(list(finals(store.runs, self.level).values())))
            axis.axhline(loss, color=style.GREY, ls="--", lw=1, label="_level")
        if self.legend:
            axis.legend()


@dataclass(frozen=True)
class DotPanel:
    """``dots`` of quantities by label, which may depend on the store; ``zero`` marks where one is
    0."""

    quantities: Quantities | Callable[[Store], Quantities]
    xlabel: str
    line_styles: LineStyles | None = None
    zero: bool = False

    def __call__(self, axis: Axes, store: Store) -> None:
        quantities = self.quantities(store) if callable(self.quantities) else self.quantities
        found = [quantity(store) for quantity in quantities.values()]
        dots(axis, list(quantities), found, self.line_styles)
        axis.set_xlabel(self.xlabel)
        if self.zero:
            axis.axvline(0, color="black", lw=0.8)


@dataclass(frozen=True)
class SweepPanel:
    """Final losses against a factor: a line through the means over seeds with the band of seeds,
    the lowest mean starred; the arm ``level`` with its band across. ``places`` are arms by the
    factor's value, and may depend on the store."""

    places: Places | Callable[[Store], Places]
    xlabel: str
    line_style: style.LineStyle
    label: str
    level: str | None = None
    log: bool = True
    legend: bool = False

    def __call__(self, axis: Axes, store: Store) -> None:
        places = self.places(store) if callable(self.places) else self.places
        arms: dict[float, str] = dict(sorted(places.items()))
        x, colour = list(arms), self.line_style.colour
        losses = [list(finals(store.runs, name).values()) for name in arms.values()]
        means = [float(np.mean(values)) for values in losses]
        low, high = ([end(values) for values in losses] for end in (min, max))
        axis.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        axis.plot(x, means, self.line_style.marker + "-", color=colour, label=self.label)
        best = int(np.argmin(means))
        style.mark_minimum(axis, x[best], means[best], colour)
        if self.level is not None:
            base = list(finals(store.runs, self.level).values())
            axis.axhspan(min(base), max(base), color=style.GREY, alpha=0.12, lw=0)
            axis.axhline(float(np.mean(base)), color=style.GREY, ls="--", label=self.level)
        axis.set(xlabel=self.xlabel, ylabel=FINAL, xscale="log" if self.log else "linear")
        axis.set_xticks(x, [f"{at:g}" for at in x], minor=False)
        axis.minorticks_off()
        if self.legend:
            axis.legend()


def row(
    *panels: Panel,
    widths: Sequence[float] | None = None,
    share_x: bool = False,
    share_y: bool = False,
    below: LineStyles | None = None,
    columns: int = 4,
) -> Callable[[Store], Figure]:
    """A figure of panels beside each other; a label that the loss axes have in common is given
    once. ``below`` puts one legend of these looks under all of them, in ``columns``."""

    def draw(store: Store) -> Figure:
        figure, axes = style.panels(
            1, len(panels), width_ratios=widths, sharex=share_x, sharey=share_y
        )
        ends: list[float] = []
        for axis, panel in zip(axes[0], panels, strict=True):
            panel(axis, store)
            ends += axis.get_ylim()
        if share_y and not axes[0, 0].yaxis_inverted():
            axes[0, 0].set_ylim(min(ends), max(ends))
        for axis in axes[0, 1:]:
            if axis.get_ylabel() == axes[0, 0].get_ylabel():
                axis.set_ylabel("")
        if below is not None:
            figure.set_figheight(style.PANEL + 0.7)
            style.legend_below(figure, style.handles(below), columns)
        return figure

    return draw


def band(
    axis: Axes,
    line: pd.DataFrame,
    line_style: style.LineStyle,
    marker: str = "",
    label: str = "_band",
) -> None:
    """A line through the column ``mean`` of a table, by its index, with a band from ``min`` to
    ``max``."""
    axis.fill_between(
        line.index, line["min"], line["max"], color=line_style.colour, alpha=0.2, lw=0
    )
    drawn = line_style.keywords | {"marker": marker}
    axis.plot(line.index, line["mean"], **drawn, ms=3, label=label)


def whiskers(
    axis: Axes,
    store: Store,
    places: Mapping[float, Callable[[Store], Interval]],
    line_style: style.LineStyle,
    label: str = "_",
    star: Callable[[Array], np.intp] | None = None,
) -> None:
    """Quantities by place with their intervals; that which ``star`` finds, an argmin, starred."""
    at, found = list(places), [quantity(store) for quantity in places.values()]
    values = [one.value for one in found]
    axis.plot(at, values, **line_style.keywords, label=label)
    for x, one in zip(at, found, strict=True):
        axis.plot([x, x], [one.lo, one.hi], color=line_style.colour, lw=1, label="_ends")
    if star is not None:
        best = int(star(np.array(values)))
        style.mark_minimum(axis, at[best], values[best], line_style.colour)


def table(store: Store, places: Mapping[float, Quantity]) -> pd.DataFrame:
    """Quantities by place, a row each, and by seed, a column each."""
    return pd.DataFrame.from_dict(
        {at: quantity.by_seed(store) for at, quantity in places.items()}, orient="index"
    )


def line(
    axis: Axes,
    store: Store,
    places: Mapping[float, Quantity],
    line_style: style.LineStyle,
    label: str = "_",
) -> "pd.Series[float]":
    """Quantities by place as a line through the means over seeds with their band; the means."""
    values = table(store, places)
    means, ends = values.mean(axis=1), (values.min(axis=1), values.max(axis=1))
    axis.fill_between(values.index, *ends, color=line_style.colour, alpha=0.2, lw=0)
    axis.plot(means.index, means, **line_style.keywords, label=label)
    return means


Value = TypeVar("Value")


def for_each(
    draw: Callable[[Axes, Store, Value], None], values: Iterable[Value], share_y: bool = False
) -> Callable[[Store], Figure]:
    """A ``row`` with a panel for each value, which ``draw`` draws."""

    def panel(value: Value) -> Panel:
        return lambda axis, store: draw(axis, store, value)

    return row(*map(panel, values), share_y=share_y)
