"""The figures of ``rewarm``."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.quantity import Quantity
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.rewarm import claims
from mugrow.sweeps.recipes.papers.rewarm.claims import CONSTANT, SCRATCH, constant
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, LOW, Direction, rewarmed

REWARMED = "re-warmed"
LINE_STYLES = style.distinct((REWARMED, CONSTANT, SCRATCH))
SIDES = style.distinct(("downstream", "upstream"))


def draw_downstream(axis: Axes, store: Store, losses: Mapping[float, Quantity], label: str) -> None:
    arms.line(axis, store, losses, replace(LINE_STYLES[label], marker=""))


def level(axis: Axes, loss: float) -> None:
    axis.axhline(loss, color=style.GREY, ls="--", lw=1)
    axis.annotate("before", (0.99, loss), xycoords=("axes fraction", "data"), ha="right",
                  va="bottom", fontsize=7.5, color=style.GREY)  # fmt: skip


def draw_shift(store: Store) -> Figure:
    figure, axes = style.panels(len(DIRECTIONS), 2, sharex=True)
    for way, (left, right) in zip(DIRECTIONS, axes, strict=True):
        names = {REWARMED: rewarmed(way), CONSTANT: constant(way), SCRATCH: claims.scratch(way[1])}
        losses = {label: claims.downstream(store, name) for label, name in names.items()}
        tables = {label: arms.table(store, places) for label, places in losses.items()}
        for label in names:
            draw_downstream(left, store, losses[label], label)
        low = min(table.min().min() for table in tables.values())
        high = max(tables[label].loc[0].max() for label in (REWARMED, CONSTANT))
        margin = 0.05 * (high - low)
        left.set(
            title=f"downstream: {way[1]}", ylabel=arms.LOSS, ylim=(low - margin, high + margin)
        )
        steps = max(losses[REWARMED])
        for label in (REWARMED, CONSTANT):
            kept = {steps * at: loss for at, loss in claims.upstream(names[label]).items()}
            means = arms.line(right, store, kept, LINE_STYLES[label])
        level(right, means.iloc[0])
        right.set(title=f"upstream: {way[0]}")
    for axis in axes[-1]:
        axis.set_xlabel("steps on the downstream text")
    style.legend_below(
        figure, [style.handle(name, mine=line_style) for name, line_style in LINE_STYLES.items()]
    )
    return figure


def length_panel(axis: Axes, store: Store, way: Direction) -> None:
    for side, (name, line_style) in enumerate(SIDES.items()):
        found = [claims.over_none(way, length, side)(store) for length in claims.LENGTHS]
        arms.whiskers(axis, claims.LENGTHS, found, line_style, f"{name}: {way[1 - side]}")
    axis.axhspan(-claims.MARGIN, claims.MARGIN, color=style.FAINT, alpha=0.4, lw=0)
    axis.set(xlabel="warm-up (times that of pre-training)", title=f"{way[0]} to {way[1]}",
             ylabel="final loss against no warm-up (%)", xticks=claims.LENGTHS)  # fmt: skip
    axis.legend()


def rate_panel(axis: Axes, store: Store, way: Direction) -> None:
    names = {f"{LOW:g}×, constant": constant(way)}
    names |= {f"{rate:g}×": rewarmed(way, rate=rate) for rate in claims.RATES}
    means = []
    for label, name in names.items():
        down, up = (list(loss.by_seed(store).values()) for loss in claims.ends(name))
        axis.plot(down, up, ".", color=style.FAINT, ms=4)
        means.append((float(np.mean(down)), float(np.mean(up))))
        axis.annotate(label, means[-1], xytext=(5, 4), textcoords="offset points")
    axis.plot(*zip(*means, strict=True), "-o", color=style.OKABE_ITO[0])
    axis.margins(x=0.25, y=0.12)
    axis.set(xlabel=f"final loss downstream, {way[1]}", ylabel=f"upstream, {way[0]}",
             title=f"{way[0]} to {way[1]}")  # fmt: skip


def same_panel(axis: Axes, store: Store, way: Direction) -> None:
    losses = claims.downstream(store, claims.again(way[0]))
    draw_downstream(axis, store, losses, REWARMED)
    level(axis, losses[0](store).value)
    axis.set(title=way[0], xlabel="more steps on the same text", ylabel=arms.LOSS)


draw_lengths = arms.for_each(length_panel, DIRECTIONS, share_y=True)
draw_rates = arms.for_each(rate_panel, DIRECTIONS)
draw_same = arms.for_each(same_panel, DIRECTIONS)
