"""Figures of warmstarted models beside those from scratch; all draw from a study's tables."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures import maps as pictures
from mugrow.analysis.measure import maps
from mugrow.analysis.measure.quantity import final
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import Scalar
from mugrow.sweeps.recipes.papers.warmstarting import claims
from mugrow.sweeps.recipes.papers.warmstarting.claims import ABLATED, PAIRS, scratch, warm

LINE_STYLES: arms.LineStyles = {
    **{scratch(times): style.line_style("scratch") for _, times in PAIRS},
    **{warm(pair): style.line_style("szp") for pair in PAIRS},
    warm((0.5, 2)): style.LineStyle(style.OKABE_ITO[1], "D"),
}
BASE = scratch(ABLATED[1])
SHADES = style.shades([(place, 0) for place in range(len(claims.SHRINKS))])
SHRUNK = {
    claims.shrunk(shrink): (shrink, style.LineStyle(SHADES[place, 0], style.MARKERS[place]))
    for place, shrink in enumerate(claims.SHRINKS)
}


def draw_maps(store: Store) -> Figure:
    """Scratch above, warmstarted below at the width of its target."""
    series = claims.SERIES[store.study["scale"]]
    above = {scratch(times): maps.read(store, scratch(times)).mean() for times in series}
    below = {warm(pair): maps.read(store, warm(pair)).mean() for pair in pairwise(series)}
    best: dict[Scalar, maps.Cell] = {  # of the width before
        large: above[scratch(small)].best for small, large in pairwise(series)
    }
    return pictures.draw([
        {name: (plane, best.get(name.factors["width"])) for name, plane in row.items()}
        for row in (above, below)
    ])  # fmt: skip


def draw_pairs(store: Store) -> Figure:
    targets = sorted({pair[1] for pair in PAIRS})
    figure, axes = style.panels(len(targets), 2, sharey="row")
    for row, times in zip(axes, targets, strict=True):
        names = [scratch(times), *(warm(pair) for pair in PAIRS if pair[1] == times)]
        arms.CurvePanel(names, LINE_STYLES).draw(row[0], store)
        arms.CurvePanel(names, LINE_STYLES, "flops", True, legend=False).draw(row[1], store)
        row[1].set_ylabel("")
    return figure


def shrink_curves(axis: Axes, store: Store) -> None:
    line_styles: dict[str, style.LineStyle] = {
        name: line_style for name, (_, line_style) in SHRUNK.items()
    }
    arms.curves(
        axis,
        store,
        [BASE, *line_styles],
        "tokens",
        line_styles={BASE: LINE_STYLES[BASE], **line_styles},
    )
    handles = [
        style.handle(name, f"λ = {shrink:g}", line_style)
        for name, (shrink, line_style) in SHRUNK.items()
    ]
    axis.legend(handles=[style.handle(BASE, mine=LINE_STYLES[BASE]), *handles])


def shrink_ends(axis: Axes, store: Store) -> None:
    """Final losses minus that of scratch, with their intervals."""
    found = {name: (final(name) - final(BASE))(store) for name in SHRUNK}
    axis.plot(claims.SHRINKS, [one.value for one in found.values()], "-", color=style.GREY)
    for name, (shrink, line_style) in SHRUNK.items():
        one = found[name]
        axis.plot([shrink] * 2, [one.lo, one.hi], color=line_style.colour, label="_whisker")
        axis.plot([shrink], [one.value], line_style.marker, color=line_style.colour)
    best = min(found, key=lambda name: found[name].value)
    style.mark_minimum(axis, SHRUNK[best][0], found[best].value, SHRUNK[best][1].colour)
    axis.axhline(0, color="black", lw=0.8)
    axis.set(xlabel="shrink factor λ", ylabel="final loss − that of scratch (nats)")
    axis.set_xticks(claims.SHRINKS)


draw_shrinks = arms.row(arms.AnyPanel(shrink_curves), arms.AnyPanel(shrink_ends))


def draw_watched(store: Store) -> Figure:
    figure, axes = style.panels(2, 2, sharex=True)
    for axis, (quantity, (_, words)) in zip(axes.flat, claims.WATCHED.items(), strict=True):
        for name in (BASE, warm(ABLATED)):
            draw_steps(axis, store, name, quantity)
        axis.set_title(words.partition(" (")[0].partition(",")[0])
    for axis in axes[1]:
        axis.set_xlabel("step")
    axes[0][0].legend()
    return figure


def draw_steps(axis: Axes, store: Store, name: ArmName, quantity: str) -> None:
    """The mean over seeds, with a band from the lowest to the highest."""
    line_style, rows = LINE_STYLES[name], claims.steps_of(store, name, quantity)
    at = rows.groupby("step")["value"].agg(["min", "mean", "max"])
    axis.fill_between(at.index, at["min"], at["max"], color=line_style.colour, alpha=0.2, lw=0)
    axis.plot(
        at.index, at["mean"], line_style.line, marker=line_style.marker, ms=3.5,
        color=line_style.colour, label=name,
    )  # fmt: skip
