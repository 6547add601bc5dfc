"""Where the optimum goes as models grow, and what a shift of it costs.

A shift and its regret are measured at one pair of sizes; drawn together over all pairs they show
the tolerance of a learning rate, beside that of public sweeps at larger scale.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mugrow.analysis import words as fmt
from mugrow.analysis.figures import lr_sweeps, operator_settings, style
from mugrow.analysis.figures import transfer_words as words
from mugrow.analysis.transfer.results import LadderResult, TransferResults
from mugrow.bench.spec import UserError

BEST = "log₂ best learning rate"

# Mean regret in percent against how far the learning rate is off in log2, over 17 (N, D) cells of
# the public step-law sweeps (Li et al. 2503.04715, github.com/step-law/steplaw), each at its best
# batch; the losses are 2.1 to 2.6 nats. At +2 it is the median: some of those runs diverged.
STEP_LAW = {
    -2.0: 0.96, -1.5: 0.64, -1.0: 0.35, -0.5: 0.14, 0.0: 0.0, 0.5: 0.36, 1.0: 1.06, 1.5: 2.0,
    2.0: 3.9,
}  # fmt: skip


def optima(found: TransferResults) -> Figure:
    """log2 of the best learning rate against log2 size, a panel for each axis."""
    groups = by_axis(found.ladders)
    if not groups:
        raise UserError("figure 'optima' needs a ladder of sweeps, and the study has none")
    figure, axes = style.panels(len(groups), 1)
    for axis, (name, group) in zip(axes[:, 0], groups.items(), strict=True):
        line_styles = style.distinct([words.name(ladder) for ladder in group])
        for place, ladder in enumerate(group):
            draw_optima(axis, ladder, line_styles[words.name(ladder)], nudge(place, len(group)))
        size_axis(axis, group)
        axis.set(xlabel=name, ylabel=BEST)
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7)
    return figure


def by_axis(ladders: Iterable[LadderResult]) -> dict[str, list[LadderResult]]:
    groups: dict[str, list[LadderResult]] = {}
    for ladder in ladders:
        groups.setdefault(axis_label(ladder), []).append(ladder)
    return groups


def axis_label(ladder: LadderResult) -> str:
    if ladder.by_growth:
        return f"growth factor in {ladder.axis}"
    return {"tokens": "training tokens", "batch": "tokens a batch"}.get(ladder.axis, ladder.axis)


def nudge(place: int, count: int) -> float:
    """Sideways in log2, so that whiskers of several ladders do not cover each other."""
    return 0.05 * (place - (count - 1) / 2)


def draw_optima(axis: Axes, ladder: LadderResult, mine: style.LineStyle, aside: float) -> None:
    """Whiskers are intervals; an arrow says towards which side an optimum at the edge may lie."""
    x = np.log2([rung.size for rung in ladder.rungs]) + aside
    y = np.array([rung.best_log2_lr.value for rung in ladder.rungs])
    start = [] if ladder.reference_log2_lr is None else [ladder.reference_log2_lr]
    slope = fmt.interval(ladder.drift.slope, fmt.log2)
    label = style.wrapped(style.plain(f"{words.name(ladder)}: {slope}"), 34)
    axis.plot([*[aside for _ in start], *x], [*start, *y], mine.line, marker=mine.marker,
              color=mine.colour, label=label)  # fmt: skip
    for at, rung in zip(x, ladder.rungs, strict=True):
        best = rung.best_log2_lr
        if math.isfinite(best.lo):
            axis.plot([at] * 2, [best.lo, best.hi], color=mine.colour, lw=1, label="_interval")
    for at, value, rung in zip(x, y, ladder.rungs, strict=True):
        if rung.edge:
            down = -22 if rung.edge == "low" else 22
            axis.annotate(
                "", (at, value), (0, down), textcoords="offset points",
                arrowprops={"arrowstyle": "<|-", "color": mine.colour, "lw": 1.5},
            )  # fmt: skip


def size_axis(axis: Axes, group: Sequence[LadderResult]) -> None:
    """Ticks at the sizes, as numbers."""
    sizes = sorted({rung.size for ladder in group for rung in ladder.rungs})
    if group[0].by_growth:
        sizes = [1.0, *sizes]
    axis.xaxis.set_major_locator(FixedLocator([math.log2(size) for size in sizes]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: fmt.si(2.0**value, "")))


def tolerance(found: TransferResults) -> Figure:
    """Regret in percent against the shift, for every pair of sizes of every ladder; both of the
    best rates tested, so that no shift is no regret."""
    measured = [
        (words.name(ladder), -shift, regret)
        for ladder in found.ladders
        for pair in ladder.pairs
        for shift, regret in [(pair.shift_argmin_log2.value, pair.regret_percent.value)]
        if math.isfinite(shift) and math.isfinite(regret)
    ]
    if not measured:
        raise UserError("figure 'tolerance' needs two sizes with a regret, and the study has none")
    line_styles = style.distinct(list(dict.fromkeys(name for name, _, _ in measured)))
    figure, axes = style.panels(1, 1)
    axis = axes[0][0]
    axis.plot(*zip(*STEP_LAW.items(), strict=True), color=style.GREY, lw=5, alpha=0.35,
              label="_step law")  # fmt: skip
    for name, mine in line_styles.items():
        x, y = zip(*[(s, r) for label, s, r in measured if label == name], strict=True)
        axis.plot(x, y, mine.marker, color=mine.colour, label="_pairs", alpha=0.8, clip_on=False)
    axis.set_yscale("symlog", linthresh=0.1)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_ylim(bottom=0)
    axis.set(
        xlabel="log₂ of the learning rate used over the best one tested",
        ylabel="regret (% of the loss)",
    )
    band = Line2D([], [], color=style.GREY, lw=5, alpha=0.35, label="public sweeps (step law)")
    handles = [
        Line2D([], [], color=mine.colour, marker=mine.marker, ls="none", label=style.plain(name))
        for name, mine in line_styles.items()
    ]
    style.legend_below(figure, [band, *handles])
    return figure


def heatmap(found: TransferResults) -> Figure:
    """Regret of every proxy's best rate at every target: rows are proxies, columns targets."""
    ladders = [one for one in found.ladders if not one.by_growth]
    if not ladders:
        raise UserError("figure 'regret' needs a ladder from scratch, and the study has none")
    across = 3 if max(len(one.rungs) for one in ladders) <= 3 else 2
    columns = min(across, len(ladders))
    figure, axes = style.panels(-(-len(ladders) // columns), columns)
    for empty in axes.flat[len(ladders) :]:
        empty.set_axis_off()
    top = max(1.0, *(regret for ladder in ladders for regret in regrets(ladder)))
    for axis, ladder in zip(axes.flat, ladders, strict=False):
        image = draw_regrets(axis, ladder, top)
    bar = figure.colorbar(image, ax=list(axes.flat), label="regret (% of the loss)", pad=0.02)
    bar.formatter = FuncFormatter(lambda root, _: f"{root**2:.2g}")
    return figure


def regrets(ladder: LadderResult) -> list[float]:
    values = [pair.decisive_percent.value for pair in ladder.pairs]
    return [value for value in values if math.isfinite(value)]


def draw_regrets(axis: Axes, ladder: LadderResult, top: float) -> AxesImage:
    """The colour is the square root's, so that a tolerable regret can be told from none."""
    sizes = [rung.size for rung in ladder.rungs]
    cells = np.full((len(sizes), len(sizes)), np.nan)
    np.fill_diagonal(cells, 0.0)
    for pair in ladder.pairs:
        place = sizes.index(pair.proxy), sizes.index(pair.target)
        value = pair.decisive_percent.value
        known = math.isfinite(value)
        cells[place] = value if known else np.nan
        text = f"{value:.2f}" if known else words.no_loss(pair.regret_at).replace(" ", "\n")
        shift = fmt.log2(pair.shift_log2.value)
        light = not known or value > 0.45 * top
        axis.text(place[1], place[0], f"{text}\nΔ {shift}", ha="center", va="center", fontsize=6,
                  color="black" if light else "white", label="_cell")  # fmt: skip
    image = axis.imshow(np.sqrt(cells), cmap="cividis", vmin=0, vmax=np.sqrt(top), aspect="auto")
    axis.grid(False)
    labels = [words.size(ladder, size) for size in sizes]
    axis.set_xticks(range(len(sizes)), labels)
    axis.set_yticks(range(len(sizes)), labels)
    title = style.wrapped(style.plain(f"{words.name(ladder)}, {ladder.axis}"), 22)
    axis.set(title=title, xlabel="target", ylabel="proxy")
    return image


# Title and caption of each are in ``figures.FIGURES``.
BY_NAME: dict[str, Callable[[TransferResults], Figure]] = {
    "transfer": lr_sweeps.along("width"),
    "transfer_depth": lr_sweeps.along("depth"),
    "transfer_tokens": lr_sweeps.along("tokens"),
    "transfer_batch": lr_sweeps.along("batch"),
    "transfer_growth": lr_sweeps.along("growth"),
    "optima": optima,
    "regret": heatmap,
    "tolerance": tolerance,
    "operator_settings": operator_settings.operator_settings,
    "init": lr_sweeps.init,
}
