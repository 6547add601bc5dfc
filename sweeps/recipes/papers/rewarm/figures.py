"""The figures of ``rewarm``."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.figures.arms import LOSS, band, whiskers
from mugrow.analysis.measure.measured import finals
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.rewarm.claims import (
    CONSTANT,
    DIRECTIONS,
    LENGTHS,
    LOW,
    MARGIN,
    RATES,
    SCRATCH,
    again,
    constant,
    ends,
    on_own,
    on_upstream,
    percent,
    rewarmed,
    scratch,
    trained,
)

REWARMED = "re-warmed"
LOOKS = style.dealt((REWARMED, CONSTANT, SCRATCH))
SIDES = ("downstream", "upstream")


def drawn(axis: Axes, losses: pd.DataFrame, look: style.Look, marker: str = "") -> None:
    band(axis, losses.agg(["min", "mean", "max"], axis=1), look, marker)


def level(axis: Axes, loss: float, text: str) -> None:
    axis.axhline(loss, color=style.GREY, ls="--", lw=1)
    axis.annotate(text, (0.99, loss), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                  fontsize=7.5, color=style.GREY)  # fmt: skip


def shift(store: Store) -> Figure:
    figure, axes = style.panels(len(DIRECTIONS), 2, sharex=True)
    for way, (left, right) in zip(DIRECTIONS, axes, strict=True):
        own = {name: on_own(store, arm) for name, arm in (
            (REWARMED, rewarmed(way)), (CONSTANT, constant(way)), (SCRATCH, scratch(way[1])),
        )}  # fmt: skip
        for name, losses in own.items():
            drawn(left, losses, LOOKS[name])
        low = min(losses.min().min() for losses in own.values())
        high = max(own[name].loc[0].max() for name in (REWARMED, CONSTANT))
        left.set(title=f"downstream: {way[1]}", ylabel=LOSS)
        left.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        for name, arm in ((REWARMED, rewarmed(way)), (CONSTANT, constant(way))):
            drawn(right, on_upstream(store, way, arm), LOOKS[name], LOOKS[name].marker)
        level(right, float(np.mean(list(finals(store.runs, trained(way[0])).values()))), "before")
        right.set(title=f"upstream: {way[0]}")
    for axis in axes[-1]:
        axis.set_xlabel("steps on the downstream text")
    style.legend_below(figure, [style.handle(name, mine=look) for name, look in LOOKS.items()])
    return figure


def lengths(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, len(DIRECTIONS), sharey=True)
    looks = style.dealt(SIDES)
    for axis, way in zip(axes, DIRECTIONS, strict=True):
        by_length = [ends(store, way, rewarmed(way, length=length)) for length in LENGTHS]
        for side, name in enumerate(SIDES):
            found = [percent(one[side], by_length[0][side]) for one in by_length]
            text = way[1 - side]
            whiskers(axis, LENGTHS, found, looks[name], f"{name}: {text}")
        axis.axhspan(-MARGIN, MARGIN, color=style.FAINT, alpha=0.4, lw=0)
        axis.set(xlabel="warm-up (times that of pre-training)", title=f"{way[0]} to {way[1]}")
        axis.set_xticks(LENGTHS)
        axis.legend()
    axes[0].set_ylabel("final loss against no warm-up (%)")
    return figure


def rates(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, len(DIRECTIONS))
    for axis, way in zip(axes, DIRECTIONS, strict=True):
        arms = {f"{LOW:g}×, constant": constant(way)}
        arms |= {f"{rate:g}×": rewarmed(way, rate=rate) for rate in RATES}
        means = []
        for label, arm in arms.items():
            points = [list(losses.values()) for losses in ends(store, way, arm)]
            axis.plot(*points, ".", color=style.FAINT, ms=4)
            means.append([float(np.mean(losses)) for losses in points])
            axis.annotate(label, tuple(means[-1]), xytext=(5, 4), textcoords="offset points")
        axis.plot(*zip(*means, strict=True), "-o", color=style.OKABE_ITO[0])
        axis.margins(x=0.25, y=0.12)
        axis.set(xlabel=f"final loss downstream, {way[1]}", ylabel=f"upstream, {way[0]}",
                 title=f"{way[0]} to {way[1]}")  # fmt: skip
    return figure


def same(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, len(DIRECTIONS))
    for axis, (text, _) in zip(axes, DIRECTIONS, strict=True):
        losses = on_own(store, again(text))
        drawn(axis, losses, LOOKS[REWARMED])
        level(axis, float(np.mean(losses.loc[0])), "before")
        axis.set(title=text, xlabel="more steps on the same text")
    axes[0].set_ylabel(LOSS)
    return figure
