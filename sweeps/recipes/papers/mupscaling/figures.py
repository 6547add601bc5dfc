"""Pictures of bowls of rate and noise, and of upscaled training beside its base."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, operator_settings, style, sweeps
from mugrow.analysis.read.store import Store
from mugrow.analysis.transfer.ladder import SCRATCH
from mugrow.analysis.transfer.results import transfer_results
from mugrow.sweeps.recipes.papers.mupscaling import claims
from mugrow.sweeps.recipes.papers.mupscaling.claims import BARS, METHOD, cheaper

LINE_STYLES: arms.LineStyles = {
    claims.BASE: style.LineStyle(style.GREY, "s"),
    claims.WIDE: style.line_style(SCRATCH),
    claims.TUNED: style.line_style(METHOD),
}
COLOUR = style.line_style(METHOD).colour


def draw_bowls(store: Store, method: str) -> Figure:
    found = claims.bowls(store, method)
    rungs = tuple(
        (float(one.width), f"width {one.width}", one) for one in transfer_results(found).sweeps
    )
    source = found[-1].source
    panel = sweeps.BowlPanel("", rungs, source.log2_lr if source else None)
    figure, ((axis,),) = style.panels(1, 1)
    figure.set_figheight(style.PANEL + 0.7)
    sweeps.draw_panels([axis], [panel])
    style.legend_below(figure, sweeps.bowl_legend([panel]))
    return figure


def draw_noises(store: Store) -> Figure:
    return operator_settings.operator_settings(transfer_results(claims.settings(store)))


def draw_gaps(axis: Axes, store: Store) -> None:
    for clip, line in ((0, "-"), (1, "--")):
        apart = claims.gaps(store, clip).clip(lower=1e-17)
        lines = axis.plot(apart.index, apart, line, color=COLOUR)
        lines[0].set_label(claims.CLIPPED if clip else "no clipping")
    axis.set(yscale="log", xlabel="steps", ylabel="|wide without noise − base| (nats)")
    axis.legend()


def draw_bars(axis: Axes, store: Store) -> None:
    places = np.arange(len(BARS))
    heights: dict[str, list[float]] = {
        "printed": [float(bar) for bar in BARS.values()],
        "attention to all": [cheaper(ratio, causal=False) for ratio in BARS],
        "causal attention": [cheaper(ratio, causal=True) for ratio in BARS],
    }
    colours = (style.FAINT, *style.OKABE_ITO)
    for place, (label, bars) in enumerate(heights.items()):
        axis.bar(places + 0.28 * (place - 1), bars, 0.28, color=colours[place], label=label)
    axis.set(yscale="log", ylabel="times cheaper", xlabel="GPT-2 small’s width over n")
    axis.set_xticks(places, [str(ratio) for ratio in BARS])
    axis.legend(title="FLOPs of a token")


def draw_ours(axis: Axes, store: Store) -> None:
    flops = store.runs[store.runs["arm"] == claims.UPSCALED].groupby("width")["flops"].mean()
    means = np.array(flops, dtype=np.float64)
    labels = [str(width) for width in flops.index]
    bars = axis.bar(labels, means[-1] / means, 0.6, color=COLOUR)
    axis.bar_label(bars, fmt="%.3g")
    axis.set(xlabel="width after upscaling", ylabel="times cheaper than the widest, a run")


draw_curves = arms.row(arms.CurvePanel(claims.at_tuned, LINE_STYLES), arms.AnyPanel(draw_gaps))
draw_costs = arms.row(arms.AnyPanel(draw_bars), arms.AnyPanel(draw_ours), widths=(3, 2))
