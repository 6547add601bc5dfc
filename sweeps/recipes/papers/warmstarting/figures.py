"""Figures of warmstarted models beside those from scratch; all draw from a study's tables."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.measured import minus
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.warmstarting import maps
from mugrow.sweeps.recipes.papers.warmstarting.claims import (
    ABLATED,
    PAIRS,
    SERIES,
    SHRINKS,
    WATCHED,
    doublings,
    from_scratch,
    scratch,
    shrunk,
    warm,
)

LOOKS = {
    **{scratch(times): style.look("scratch") for _, times in PAIRS},
    **{warm(pair): style.look("szp") for pair in PAIRS},
    warm((0.5, 2)): style.Look(style.OKABE_ITO[1], "D"),
}


def draw_maps(store: Store) -> Figure:
    """Scratch above, warmstarted below at the width of its target."""
    series, pairs = SERIES[store.study["scale"]], doublings(store)
    plane = {
        name: (own := maps.read(store, name)).mean(own.seeds)
        for name in (*map(scratch, series), *map(warm, pairs))
    }
    small = {pair[1]: plane[scratch(pair[0])].best for pair in pairs}
    above = {scratch(times): (plane[scratch(times)], small.get(times)) for times in series}
    below = {warm(pair): (plane[warm(pair)], small[pair[1]]) for pair in pairs}
    return maps.draw([above, below])


def draw_pairs(store: Store) -> Figure:
    targets = sorted({pair[1] for pair in PAIRS})
    figure, axes = style.panels(len(targets), 2, sharey="row")
    for row, times in zip(axes, targets, strict=True):
        names = [scratch(times), *(warm(pair) for pair in PAIRS if pair[1] == times)]
        arms.curves(row[0], store, names, "tokens", looks=LOOKS)
        arms.curves(row[1], store, names, "flops", charge_source=True, looks=LOOKS)
        row[1].set_ylabel("")
        row[0].legend()
    return figure


def draw_shrinks(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    shades = style.shades([(place, 0) for place in range(len(SHRINKS))])
    looks = {
        shrunk(shrink): style.Look(shades[place, 0], style.MARKERS[place])
        for place, shrink in enumerate(SHRINKS)
    }
    base = scratch(ABLATED[1])
    arms.curves(left, store, [base, *looks], "tokens", looks=looks | {base: LOOKS[base]})
    handles = [
        style.handle(shrunk(shrink), f"λ = {shrink:g}", looks[shrunk(shrink)]) for shrink in SHRINKS
    ]
    left.legend(handles=[style.handle(base, mine=LOOKS[base]), *handles])
    found = [minus(store, name, base) for name in looks]
    right.plot(SHRINKS, [one.value for one in found], "-", color=style.GREY)
    for shrink, name, one in zip(SHRINKS, looks, found, strict=True):
        right.plot([shrink] * 2, [one.lo, one.hi], color=looks[name].colour, label="_whisker")
        right.plot([shrink], [one.value], looks[name].marker, color=looks[name].colour)
    best = int(np.argmin([one.value for one in found]))
    style.mark_minimum(right, SHRINKS[best], found[best].value, looks[shrunk(SHRINKS[best])].colour)
    right.axhline(0, color="black", lw=0.8)
    right.set(xlabel="shrink factor λ", ylabel="final loss − that of scratch (nats)")
    right.set_xticks(SHRINKS)
    return figure


def draw_watched(store: Store) -> Figure:
    figure, axes = style.panels(2, 2, sharex=True)
    for axis, (words, table) in zip(axes.flat, WATCHED.values(), strict=True):
        for name in (from_scratch(ABLATED), warm(ABLATED)):
            draw_steps(axis, table, store, name)
        axis.set_title(words.partition(" (")[0].partition(",")[0])
    for axis in axes[1]:
        axis.set_xlabel("step")
    axes[0][0].legend()
    return figure


def draw_steps(
    axis: Axes, table: Callable[[Store, str], pd.DataFrame], store: Store, name: str
) -> None:
    """The mean over seeds, with a band from the lowest to the highest."""
    look = LOOKS[name]
    at = table(store, name).groupby("step")["value"].agg(["min", "mean", "max"])
    axis.fill_between(at.index, at["min"], at["max"], color=look.colour, alpha=0.2, lw=0)
    axis.plot(at.index, at["mean"], look.line, marker=look.marker, ms=3.5, color=look.colour,
              label=name)  # fmt: skip
