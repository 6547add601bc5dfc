"""Pictures of the line between two models."""

from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.robustify.claims import HOME, SHARES, SHIFT, along
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, Direction

LINE_STYLES = style.distinct((HOME, SHIFT))


def line_panel(axis: Axes, store: Store, way: Direction) -> None:
    for (where, line_style), text in zip(LINE_STYLES.items(), reversed(way), strict=True):
        means = arms.line(axis, store, along(way, where), line_style, f"{where}: {text}")
        axis.plot([0, 1], means.iloc[[0, -1]], color=line_style.colour, ls="--", lw=1)
    axis.set(xlabel="share of the adapted model", title=f"{way[0]} to {way[1]}", ylabel=arms.LOSS)
    axis.legend()


def trade_panel(axis: Axes, store: Store, way: Direction) -> None:
    """One direction's mixtures, with the best mean of both texts."""
    home, shift = (arms.table(store, along(way, where)).mean(axis=1) for where in LINE_STYLES)
    colour, best = style.OKABE_ITO[0], SHARES[int((home + shift).argmin())]
    axis.plot(shift, home, "-o", color=colour, ms=3.5)
    axis.plot(shift.iloc[[0, -1]], home.iloc[[0, -1]], color=style.GREY, ls="--", lw=1)
    style.mark_minimum(axis, shift[best], home[best], colour)
    texts = {best: f"share {best:g}", SHARES[0]: "pre-trained", SHARES[-1]: "adapted"}
    for at, text in texts.items():
        below = at == best  # the line bends that way, so there is room
        axis.annotate(text, (shift[at], home[at]), xytext=(-7, -7) if below else (6, 5),
                      ha="right" if below else "left", va="top" if below else "baseline",
                      textcoords="offset points", fontsize=8)  # fmt: skip
    axis.margins(x=0.2, y=0.12)
    axis.set(xlabel=f"loss under shift, {way[0]}", ylabel=f"loss at home, {way[1]}",
             title=f"{way[0]} to {way[1]}")  # fmt: skip


draw_line = arms.for_each(line_panel, DIRECTIONS)
draw_trade = arms.for_each(trade_panel, DIRECTIONS)
