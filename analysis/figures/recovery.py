"""What growing does to the loss at first, and how long until it is made good; a panel a method.

See ``mugrow.analysis.measure.recovery`` for what *spike* and *back* mean.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mugrow.analysis.figures import multiples, style
from mugrow.analysis.measure.recovery import Recovery, grown_curves
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.analysis.words import number, si
from mugrow.bench.spec import UserError


def recovery(summary: Summary, store: Store) -> Figure:
    """Loss against tokens since growth, with the source's loss, for each grown method."""
    points = grown_curves(store)
    pairs = multiples.by_final_loss(
        summary, set(zip(points["target"], points["label"], strict=True))
    )
    if not pairs:
        raise UserError(
            "figure 'recovery' needs a finished target grown from a source, and the study has none"
        )
    figure, panels = multiples.grid(
        pairs, "tokens since growth", "validation loss (nats per token)"
    )
    rows = {(row.target, row.label): row for row in summary.recovery}
    steps = points.groupby(["target", "label", "step"]).agg(
        tokens=("tokens", "mean"), mean=("val_loss", "mean"),
        low=("val_loss", "min"), high=("val_loss", "max"),
    )  # fmt: skip
    sources = points.groupby(["target", "label"])["source_loss"].mean()
    by_arm = dict(iter(steps.groupby(level=["target", "label"])))
    for panel in panels:
        arm = panel.target, panel.label
        if panel.first:
            set_range(panel.axis, points[points["target"] == panel.target])
            multiples.make_taller(panel.axis)
        draw_panel(panel.axis, panel.label, by_arm[arm].droplevel([0, 1]), float(sources[arm]))
        multiples.note(panel.axis, in_words(rows[arm]))
    multiples.legend_above(figure, legend())
    return figure


def draw_panel(axis: Axes, label: str, steps: pd.DataFrame, source_loss: float) -> None:
    """Mean and band over seeds; the loss right after growth on the left edge, or above it."""
    line_style, top = style.line_style(label), axis.get_ylim()[1]
    after = steps[steps.index > 0]
    axis.fill_between(
        after["tokens"], after["low"], after["high"], color=line_style.colour, alpha=0.2, lw=0
    )
    axis.plot(after["tokens"], after["mean"], color=line_style.colour, lw=1.2, label="_mean")
    axis.axhline(source_loss, color=style.GREY, ls=":", lw=1, label="_source")
    if 0 in steps.index:
        tokens, loss = float(steps["tokens"][0]), float(steps["mean"][0])
        x = max(tokens, axis.get_xlim()[0])
        y, marker = (top, "^") if loss > top else (loss, "o")
        axis.plot([x], [y], marker, color=line_style.colour, ms=5, clip_on=False, label="_start")


def set_range(axis: Axes, points: pd.DataFrame) -> None:
    """As far above the highest source as the lowest loss is below it; tokens from the first row."""
    low, source = points["val_loss"].min(), points["source_loss"].max()
    high = source + max(source - low, 0.05)
    tokens = points.loc[points["step"] > 0, "tokens"]
    axis.set_xscale("log")
    axis.set(xlim=(0.7 * tokens.min(), 1.1 * tokens.max()), ylim=(low - 0.05 * (high - low), high))
    style.flops_axis(axis.xaxis, subs=(1, 3))


def in_words(row: Recovery) -> str:
    tokens = row.tokens
    if tokens is None:
        when = f"back: {row.back} of {row.seeds} seeds" if row.back else "never back"
    elif tokens.value == 0:
        when = "never above its source"
    else:
        when = f"back after {si(tokens.value, '')} tokens"
    return f"spike {number(row.spike.value, 3)} nats\n{when}"


def legend() -> list[Line2D]:
    texts = {
        "o": "right after growth",
        "^": "right after growth, above the axis",
    }
    source = Line2D([], [], color=style.GREY, ls=":", lw=1, label="the source’s loss")
    marks = [
        Line2D([], [], color=style.GREY, marker=marker, ls="none", label=text)
        for marker, text in texts.items()
    ]
    return [source, *marks]
