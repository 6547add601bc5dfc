"""Figures of warmstarted models beside those from scratch; all draw from a study's tables."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures import maps as pictures
from mugrow.analysis.measure import maps
from mugrow.analysis.measure.quantity import final
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import Scalar
from mugrow.sweeps.recipes.papers.warmstarting import claims
from mugrow.sweeps.recipes.papers.warmstarting.claims import ABLATED, PAIRS, scratch, warm

LINE_STYLES: arms.LineStyles = {
    **{scratch(times): style.line_style("scratch") for _, times in PAIRS},
    **{warm(pair): style.line_style("szp") for pair in PAIRS},
    warm((0.5, 2)): style.LineStyle(style.OKABE_ITO[1], "D"),
}
BASE = scratch(ABLATED[1])
SHRUNK = {f"λ = {shrink:g}": claims.shrunk(shrink) for shrink in claims.SHRINKS}
SHRUNK_STYLES = style.shaded([*SHRUNK])


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


def shrink_ends(axis: Axes, store: Store) -> None:
    """Final losses minus that of scratch, with their intervals."""
    found = [(final(name) - final(BASE))(store) for name in SHRUNK.values()]
    axis.plot(claims.SHRINKS, [one.value for one in found], "-", color=style.GREY)
    drawn = [*zip(claims.SHRINKS, found, SHRUNK_STYLES.values(), strict=True)]
    for shrink, one, line_style in drawn:
        arms.whiskers(axis, [shrink], [one], line_style, "_")
    best, lowest, line_style = min(drawn, key=lambda each: each[1].value)
    style.mark_minimum(axis, best, lowest.value, line_style.colour)
    axis.axhline(0, color="black", lw=0.8)
    axis.set(xlabel="shrink factor λ", ylabel="final loss − that of scratch (nats)")
    axis.set_xticks(claims.SHRINKS)


draw_shrinks = arms.row(
    arms.CurvePanel({str(BASE): BASE} | SHRUNK, {BASE: LINE_STYLES[BASE]} | SHRUNK_STYLES),
    arms.AnyPanel(shrink_ends),
)


def draw_watched(store: Store) -> Figure:
    """Means over seeds, with a band from the lowest to the highest."""
    figure, axes = style.panels(2, 2, sharex=True)
    for axis, (quantity, (_, words)) in zip(axes.flat, claims.WATCHED.items(), strict=True):
        for name in (BASE, warm(ABLATED)):
            at = claims.steps_of(store, name, quantity).groupby("step")["value"]
            line_style = LINE_STYLES[name]
            arms.band(axis, at.agg(["min", "mean", "max"]), line_style, line_style.marker, name)
        axis.set_title(words.partition(" (")[0].partition(",")[0])
    for axis in axes[1]:
        axis.set_xlabel("step")
    axes[0][0].legend()
    return figure
