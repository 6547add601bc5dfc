"""The figures of ``rewarm``."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.rewarm import claims
from mugrow.sweeps.recipes.papers.rewarm.claims import CONSTANT, SCRATCH, constant
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, LOW, Direction, rewarmed

REWARMED = "re-warmed"
LOOKS = style.dealt((REWARMED, CONSTANT, SCRATCH))
SIDES = style.dealt(("downstream", "upstream"))


def draw(axis: Axes, losses: pd.DataFrame, look: style.Look, marker: str = "") -> None:
    arms.band(axis, losses.agg(["min", "mean", "max"], axis=1), look, marker)


def level(axis: Axes, loss: float) -> None:
    axis.axhline(loss, color=style.GREY, ls="--", lw=1)
    axis.annotate("before", (0.99, loss), xycoords=("axes fraction", "data"), ha="right",
                  va="bottom", fontsize=7.5, color=style.GREY)  # fmt: skip


def draw_shift(store: Store) -> Figure:
    figure, axes = style.panels(len(DIRECTIONS), 2, sharex=True)
    for way, (left, right) in zip(DIRECTIONS, axes, strict=True):
        names = {REWARMED: rewarmed(way), CONSTANT: constant(way), SCRATCH: claims.scratch(way[1])}
        losses = {label: claims.downstream(store, name) for label, name in names.items()}
        for label, table in losses.items():
            draw(left, table, LOOKS[label])
        low = min(table.min().min() for table in losses.values())
        high = max(losses[label].iloc[0].max() for label in (REWARMED, CONSTANT))
        margin = 0.05 * (high - low)
        left.set(
            title=f"downstream: {way[1]}", ylabel=arms.LOSS, ylim=(low - margin, high + margin)
        )
        for label in (REWARMED, CONSTANT):
            kept = arms.table(store, claims.upstream(names[label]))
            kept.index *= losses[label].index[-1]  # in steps
            draw(right, kept, LOOKS[label], LOOKS[label].marker)
        level(right, kept.iloc[0].mean())
        right.set(title=f"upstream: {way[0]}")
    for axis in axes[-1]:
        axis.set_xlabel("steps on the downstream text")
    style.legend_below(figure, [style.handle(name, mine=look) for name, look in LOOKS.items()])
    return figure


def length_panel(way: Direction) -> arms.AnyPanel:
    def draw(axis: Axes, store: Store) -> None:
        for side, (name, look) in enumerate(SIDES.items()):
            found = [claims.over_none(way, length, side)(store) for length in claims.LENGTHS]
            arms.whiskers(axis, claims.LENGTHS, found, look, f"{name}: {way[1 - side]}")
        axis.axhspan(-claims.MARGIN, claims.MARGIN, color=style.FAINT, alpha=0.4, lw=0)
        axis.set(xlabel="warm-up (times that of pre-training)", title=f"{way[0]} to {way[1]}",
                 ylabel="final loss against no warm-up (%)")  # fmt: skip
        axis.set_xticks(claims.LENGTHS)
        axis.legend()

    return arms.AnyPanel(draw)


def rate_panel(way: Direction) -> arms.AnyPanel:
    names = {f"{LOW:g}×, constant": constant(way)}
    names |= {f"{rate:g}×": rewarmed(way, rate=rate) for rate in claims.RATES}

    def draw(axis: Axes, store: Store) -> None:
        means = []
        for label, name in names.items():
            points = [list(loss.by_seed(store).values()) for loss in claims.ends(name)]
            axis.plot(*points, ".", color=style.FAINT, ms=4)
            means.append([float(np.mean(losses)) for losses in points])
            axis.annotate(label, tuple(means[-1]), xytext=(5, 4), textcoords="offset points")
        axis.plot(*zip(*means, strict=True), "-o", color=style.OKABE_ITO[0])
        axis.margins(x=0.25, y=0.12)
        axis.set(xlabel=f"final loss downstream, {way[1]}", ylabel=f"upstream, {way[0]}",
                 title=f"{way[0]} to {way[1]}")  # fmt: skip

    return arms.AnyPanel(draw)


def same_panel(text: str) -> arms.AnyPanel:
    def draw_same(axis: Axes, store: Store) -> None:
        losses = claims.downstream(store, claims.again(text))
        draw(axis, losses, LOOKS[REWARMED])
        level(axis, losses.iloc[0].mean())
        axis.set(title=text, xlabel="more steps on the same text", ylabel=arms.LOSS)

    return arms.AnyPanel(draw_same)


draw_lengths = arms.row(*map(length_panel, DIRECTIONS), share_y=True)
draw_rates = arms.row(*map(rate_panel, DIRECTIONS))
draw_same = arms.row(*(same_panel(text) for text, _ in DIRECTIONS))
