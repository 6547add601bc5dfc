"""Pictures of a stand-in between the models that it is made of."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.emulator import claims
from mugrow.sweeps.recipes.papers.emulator.claims import BASE, LARGE, TEXTS, TUNED, loss, model

WIDTHS = sorted({width for widths in LARGE.values() for width in widths})
PLAIN, EMULATED = style.LineStyle(style.GREY, "o"), style.LineStyle(style.OKABE_ITO[1], "D")
LINE_STYLES: arms.LineStyles = {
    model(kind, width): EMULATED if kind == "emulated" else PLAIN
    for kind in ("base", "tuned", "emulated")
    for width in (1, *WIDTHS)
}
SMALL, LARGE_TUNED = style.LineStyle(style.GREY, "", ":"), style.LineStyle(style.GREY, "", "--")


def of_models(text: str) -> arms.DotPanel:
    def quantities(store: Store) -> arms.Quantities:
        large = list(LARGE[store.study["scale"]])
        shown = [("base", width) for width in (1, *large)] + [("tuned", 1)]
        shown += [(kind, width) for kind in ("emulated", "tuned") for width in large]
        return {model(*one): loss(*one, text) for one in shown}

    return arms.DotPanel(quantities, f"loss on {text} (nats per token)", LINE_STYLES)


draw_models = arms.row(of_models(TUNED), of_models(BASE), share_y=True)


def draw_strengths(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, 2)
    widths = LARGE[store.study["scale"]]
    line_styles = style.distinct([f"{width}× width" for width in widths])
    for axis, text in zip(axes, TEXTS, strict=True):
        for width, line_style in zip(widths, line_styles.values(), strict=True):
            draw_width(axis, store, width, text, line_style)
        small = loss("tuned", 1, text)(store).value
        axis.axhline(small, color=SMALL.colour, ls=SMALL.line)
        axis.set(xlabel="strength of the small model’s tuning", title=f"on {text}")
    axes[0].set_ylabel(arms.LOSS)
    handles = [
        style.handle(f"large base of {name}", mine=line_style)
        for name, line_style in line_styles.items()
    ]
    handles.append(style.handle("large tuned", mine=LARGE_TUNED))
    handles.append(style.handle(model("tuned", 1), mine=SMALL))
    style.legend_below(figure, handles)
    return figure


def draw_width(
    axis: Axes, store: Store, width: int, text: str, line_style: style.LineStyle
) -> None:
    """The lowest strength is starred; at 0 is the base, dashed the model tuned."""
    places = {0.0: loss("base", width, text)} | claims.emulated(width, text)
    means = arms.line(axis, store, places, line_style)
    style.mark_minimum(axis, list(places)[int(means.argmin())], means.min(), line_style.colour)
    tuned = loss("tuned", width, text)(store).value
    axis.axhline(tuned, color=line_style.colour, ls=LARGE_TUNED.line, lw=1)
