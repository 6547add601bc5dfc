"""The figures of "When is Warmstarting Effective"."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mugrow.analysis.figures import arms, growing, style
from mugrow.analysis.figures import maps as pictures
from mugrow.analysis.figures.laws import loss_axis, size_ticks
from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.growing import GRID, contours
from mugrow.analysis.laws.growing import growth_factors as parabolas
from mugrow.analysis.laws.law import GrowthPanel, LawDifference
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.scaling import law as chosen_law
from mugrow.analysis.measure import maps
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.analysis.words import si
from mugrow.bench.arm import ArmName
from mugrow.sweeps.recipes.papers.when_warmstarting import claims, tables
from mugrow.sweeps.recipes.papers.when_warmstarting.claims import GROWN, LARGE, SMALL, transferred
from mugrow.sweeps.recipes.papers.when_warmstarting.tables import (
    CLONE,
    LEVELS,
    NET2NET,
    SCRATCH,
    SHRINKS,
    SZP,
    named,
)

RESAMPLES = 300
COMPUTE = "compute C = 6 N D (FLOPs)"
LABELS = {SCRATCH: "scratch", SZP: "SZP", NET2NET: "Net2Net", CLONE: "clone"}
SHARES = np.linspace(0.1, 1.0, 10)
TITLES = {"A": "log₁₀ A", "B": "log₁₀ B", "alpha": "α", "beta": "β"}
QUANTITIES = {"n": "parameters N*", "d": "tokens D*", "m": "tokens per parameter D* / N*"}


def frontier(axis: Axes, store: Store) -> None:
    for method in (SCRATCH, SZP):
        mean, end = (tables.means(tables.ladder(store, method, out)) for out in (False, True))
        best, power, line_style = (
            tables.front(mean),
            tables.line(mean, "loss"),
            style.line_style(method),
        )
        axis.plot(
            mean["c"], mean["loss"], line_style.marker, color=line_style.colour, mfc="white", ms=4
        )
        axis.plot(best["c"], best["loss"], line_style.marker, color=line_style.colour, ms=4)
        reach = np.geomspace(mean["c"].min(), 10 * end["c"].max(), 50)
        label = f"{LABELS[method]}, exponent {power.exponent:.3f}".replace("-", "−")
        axis.plot(reach, [power(c) for c in reach], color=line_style.colour, lw=1, label=label)
        axis.plot(end["c"], end["loss"], "*", color=line_style.colour, ms=13, mec="white")
    axis.set(xscale="log", xlabel=COMPUTE, ylabel=arms.FINAL)
    loss_axis(axis)
    style.flops_axis(axis.xaxis, (1,))
    star = Line2D([], [], color=style.GREY, marker="*", ls="none", ms=11, label="held out")
    axis.legend(handles=[*axis.get_legend_handles_labels()[0], star])


def growth_factors(store: Store) -> Figure:
    sizes = tables.sizes(store)
    cells = [(method, width) for width in sizes.factors for method in (SZP, NET2NET)]
    every = [(width, at) for width in sizes.factors for at in tables.HORIZONS]
    net2net = [arm for cell in every for arm in sizes.varied(NET2NET, *cell)[1:]]
    horizons = sorted(set(tables.of_arms(store, net2net)["horizon"].tolist()))
    figure, axes = style.panels(len(cells), len(horizons))
    figure.set_figheight(2.3 * len(cells) + 0.6)
    for panels, (method, width) in zip(axes, cells, strict=True):
        for axis, horizon in zip(panels, horizons, strict=True):
            found = level_panel(tables.at_levels(store, method, width, horizon), method)
            if found is None:
                axis.remove()
                continue
            growing.draw_levels(axis, found)
            axis.get_legend().remove()
            size = si(found.n, "")
            axis.set_title(f"{LABELS[method]}, N = {size}, D = {horizon} N", loc="left")
        panels[0].set_ylabel("loss (nats per token)")
    shades = style.shades((level, 0) for level in range(len(LEVELS)))
    handles = [
        Line2D([], [], color=shades[0, 0], label="a sixth of the compute"),
        Line2D([], [], color=shades[len(LEVELS) - 1, 0], label="all of it"),
        Line2D([], [], color=growing.BEST, marker="o", label="best growth factor"),
        Line2D([], [], color=growing.EVEN, marker="D", label="break-even with scratch"),
    ]
    style.legend_below(figure, handles)
    return figure


def level_panel(rows: pd.DataFrame, method: str) -> GrowthPanel | None:
    """None where the method has no runs to this horizon, or too few factors."""
    rows = rows.assign(variant=method, parametrization="", cluster=rows["seed"])
    panels = parabolas(rows.assign(scratch=rows["g"] == 1), resamples=0).panels
    return panels[0] if panels else None


def contour(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    both = {method: tables.ladder(store, method) for method in (SCRATCH, SZP)}
    rows = pd.concat([
        of.assign(law=method, variant=method, parametrization="", cluster=of["run_id"],
                  scratch=method == SCRATCH) for method, of in both.items()
    ])  # fmt: skip
    forms = [get_form("chinchilla")]
    laws = [chosen_law(of, forms, RESAMPLES) for _, of in rows.groupby("law", sort=False)]
    (panel,) = contours(rows, laws)
    ladders = [tables.means(of) for of in both.values()]
    drawn = panel.drawn or without_intervals(ladders)
    scratch, szp = (of.pivot_table(index="horizon", columns="n", values="loss") for of in ladders)
    difference = szp - scratch
    limit = float(np.nanmax(np.abs(difference.to_numpy())))
    if drawn is None:
        left.text(0.5, 0.5, style.wrapped(panel.reason), transform=left.transAxes, ha="center")
        left.set_axis_off()
    else:
        limit = max(limit, float(np.abs(drawn.difference).max()))
        levels = MaxNLocator(growing.COLOURS, symmetric=True).tick_values(-limit, limit)
        filled = growing.draw_difference(left, drawn, levels)
        left.set(title="difference of the laws", ylabel="training tokens D")
        left.set_title("", loc="left")
        style.legend_below(figure, growing.contour_handles([drawn]), columns=2)
        figure.colorbar(filled, ax=[left], label="SZP − scratch (nats)")
    draw_cells(right, difference, limit)
    return figure


def without_intervals(both: Sequence[pd.DataFrame]) -> LawDifference | None:
    """The difference of laws at a bound: with a floor of 0 they hold on these sizes and no further,
    and nothing is said of how sure they are. None where there is no law."""
    params = [tables.law(rows).params for rows in both]
    if not all(params):
        return None
    n, d = (
        np.geomspace(max(r[c].min() for r in both), min(r[c].max() for r in both), GRID)
        for c in ("n", "d")
    )
    scratch, szp = (
        p["E"] + p["A"] * n[:, None] ** -p["alpha"] + p["B"] * d ** -p["beta"] for p in params
    )
    difference = szp - scratch  # (n, d)
    runs = {name: both[1][name].to_numpy() for name in ("n", "d")}
    return LawDifference(SCRATCH, n, d, difference, np.full_like(difference, np.nan), runs)


def draw_cells(axis: Axes, table: pd.DataFrame, limit: float) -> None:
    """Values written in their cells, blue below 0 and red above."""
    axis.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        if math.isfinite(value):
            dark = abs(value) > 0.6 * limit
            axis.text(column, row, f"{value:+.3f}".replace("-", "−"), ha="center", va="center",
                      fontsize=8, color="white" if dark else "black")  # fmt: skip
    axis.set_xticks(range(len(table.columns)), [si(float(str(n)), "") for n in table.columns])
    axis.set_yticks(range(len(table)), [str(horizon) for horizon in table.index])
    axis.set(xlabel="parameters N", ylabel="tokens per parameter", title="measured")
    axis.grid(visible=False)


def shrinks(store: Store) -> Figure:
    width, sources = tables.sizes(store).shrunk
    figure, (axes,) = style.panels(1, len(sources), sharey=True)
    colours = style.shades((place, 0) for place in range(len(SHRINKS)))
    for axis, source in zip(axes, sorted(sources, reverse=True), strict=True):
        shown = [
            (named(SZP, width, source, shrink=shrink), f"λ = {shrink:g}",
             style.LineStyle(colours[place, 0], style.MARKERS[place]))
            for place, shrink in enumerate(SHRINKS)
        ]  # fmt: skip
        beside = {SCRATCH: named(SCRATCH, width), CLONE: named(CLONE, width, source)}
        shown += [
            (name, LABELS[method], style.line_style(method)) for method, name in beside.items()
        ]
        lines = [
            (tables.of_arms(store, [name]), label, line_style) for name, label, line_style in shown
        ]
        draw_curves(axis, store, lines)
        axis.set_title(f"g = {lines[0][0]['g'].iloc[0]:.3g}")
        axis.legend()
    axes[0].set_ylabel(arms.LOSS)
    return figure


def draw_curves(
    axis: Axes, store: Store, lines: Sequence[tuple[pd.DataFrame, str, style.LineStyle]]
) -> None:
    """Mean curves over seeds against compute, of the later five sixths of training; of runs that
    there are."""
    for rows, label, line_style in lines:
        if rows.empty:
            continue
        points = rows[["run_id", "n", "d"]].merge(store.curves, on="run_id")
        points = points[points["tokens"] > points["d"] / 6].dropna(subset="val_loss")
        mean = points.assign(c=6 * points["n"] * points["tokens"]).groupby("c")["val_loss"].mean()
        axis.plot(mean.index, mean, marker=line_style.marker, ms=3.5, markevery=0.15, lw=1.2,
                  color=line_style.colour, label=label)  # fmt: skip
    axis.set(xscale="log", xlabel=COMPUTE)
    style.flops_axis(axis.xaxis)


def allocation(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, 3)
    for method in (SCRATCH, SZP):
        rows, line_style = tables.ladder(store, method, held_out=False), style.line_style(method)
        mean = tables.means(rows)
        best = tables.front(mean)
        ends = np.geomspace(best["c"].min(), best["c"].max(), 20)
        allotted = tables.law(rows, optimal=ends.tolist()).optimal
        lowest = pd.DataFrame(allotted, columns=["c", "n", "d"])
        best, lowest = (of.assign(m=of["d"] / of["n"]) for of in (best, lowest))
        for axis, (quantity, words) in zip(axes, QUANTITIES.items(), strict=True):
            label = LABELS[method]
            if quantity != "m":
                power = tables.line(mean, quantity)
                label += f", exponent {power.exponent:.2f}"
                axis.plot(ends, [power(c) for c in ends], color=line_style.colour, lw=1)
            axis.plot(
                best["c"], best[quantity], line_style.marker, color=line_style.colour, label=label
            )
            axis.plot(lowest["c"], lowest[quantity], "--", color=line_style.colour, lw=1)
            axis.set(ylabel=words, yscale="log")
            axis.legend(fontsize=7)
    for axis in axes:
        axis.set(xscale="log", xlabel=COMPUTE)
        style.flops_axis(axis.xaxis, (1,))
        size_ticks(axis.yaxis)
    return figure


def coefficients(store: Store) -> Figure:
    """A panel for each coefficient; no dots where a law has none."""
    figure, axes = style.panels(2, 3)
    figure.set_figheight(3.6)
    laws = {}
    for method in (SCRATCH, SZP):
        rows = tables.ladder(store, method, held_out=False)
        found = tables.law(rows, groups=rows["run_id"].tolist(), bootstrap=RESAMPLES)
        laws[method] = found, {**found.params, "R²": r_squared(found, rows)}
    for axis, name in zip(axes.flat, ("A", "alpha", "R²", "B", "beta", "E"), strict=True):
        labels = []
        for row, (method, (found, values)) in enumerate(laws.items()):
            numbers = np.array([values.get(name, math.nan), *found.intervals.get(name, ())])
            labels.append(f"{LABELS[method]}\n{in_words(numbers)}")
            with np.errstate(divide="ignore"):  # logs: what nothing ties down spans decades
                drawn = np.log10(numbers) if name in "AB" else numbers
            draw_coefficient(axis, row, method, drawn)
        axis.set_yticks(range(len(laws)), labels)
        axis.set_ylim(len(laws) - 0.4, -0.6)
        axis.set_title(TITLES.get(name, name))
        axis.xaxis.set_major_locator(MaxNLocator(3))
    handles = [
        style.handle(method, f"{LABELS[method]}: {found.status.replace('_', ' ')}")
        for method, (found, _) in laws.items()
    ]
    style.legend_below(figure, handles)
    return figure


def r_squared(found: FitResult, rows: pd.DataFrame) -> float:
    """Of log loss; nan without a fit."""
    if not found.params:
        return math.nan
    log = np.log(rows["loss"].to_numpy(float))
    return float(1 - np.sum(np.square(found.residuals)) / np.sum((log - log.mean()) ** 2))


def in_words(numbers: Array) -> str:
    """A value and, if they are known, the ends of its interval."""
    value, *ends = numbers
    if not math.isfinite(value):
        return "no fit"
    if value == 0:
        return "0, its bound"
    interval = f"\n[{ends[0]:.3g}, {ends[1]:.3g}]" if ends and np.isfinite(ends).all() else ""
    return f"{value:.4g}{interval}".replace("-", "−")


def draw_coefficient(axis: Axes, row: int, method: str, numbers: Array) -> None:
    line_style = style.line_style(method)
    value, *ends = np.where(np.isfinite(numbers), numbers, math.nan)
    axis.plot([value], [row], line_style.marker, color=line_style.colour)
    axis.plot(ends, [row] * len(ends), color=line_style.colour, lw=1.3)


def early_ranks(name: ArmName) -> arms.AnyPanel:
    def draw(axis: Axes, store: Store) -> None:
        flops = SHARES * arm(store.runs, maps.map_of(name))["flops_6nd"].max()
        for kind, dashes in zip(claims.CORRELATIONS, ("-", "--"), strict=True):
            found = [claims.foretold(name, share, kind)(store).value for share in SHARES]
            axis.plot(flops, found, dashes, marker="o", ms=3,
                      color=style.OKABE_ITO[0], label=kind)  # fmt: skip
        axis.set(xlabel="FLOPs of a run", ylim=(-0.1, 1.05), title=name)
        style.flops_axis(axis.xaxis)
        axis.tick_params(axis="x", labelrotation=45)
        if name == SMALL:
            axis.set_ylabel("correlation with the final loss")
            axis.legend()

    return arms.AnyPanel(draw)


def draw_transferred(axis: Axes, store: Store) -> None:
    found, line_styles = {}, {}
    for name, method in ((LARGE, SCRATCH), (GROWN, SZP)):
        for kind in claims.CORRELATIONS:
            label = f"{LABELS[method]}, {kind}"
            found[label], line_styles[label] = transferred(name, kind), style.line_style(method)
    arms.DotPanel(found, "correlation, small with large", line_styles).draw(axis, store)
    axis.set_xlim(-0.1, 1.1)


def heat_maps(store: Store) -> Figure:
    planes = {name: maps.read(store, name).mean() for name in (SMALL, LARGE, GROWN)}
    best = planes[SMALL].best
    return pictures.draw([{name: (plane, None if name == SMALL else best)
                           for name, plane in planes.items()}])  # fmt: skip


def tokens(axis: Axes, store: Store) -> None:
    cells = tables.finals(store)[["n", "horizon", "c", "d"]].drop_duplicates()
    colours = style.shades((int(horizon), 0) for horizon in cells["horizon"])
    for (horizon, _), colour in colours.items():
        at = cells[cells["horizon"] == horizon].sort_values("c")
        axis.plot(at["c"], at["d"], "o-", ms=3.5, lw=1, color=colour, label=f"D = {horizon} N")
    axis.set(xscale="log", yscale="log", xlabel=COMPUTE, ylabel="training tokens D")
    axis.legend()
    style.flops_axis(axis.xaxis, (1,))
    style.flops_axis(axis.yaxis, (1, 3))


def training(axis: Axes, store: Store) -> None:
    rows = tables.varied(store, SZP, tables.sizes(store).larger)
    lines = [
        (of, LABELS[SCRATCH] if g == 1 else f"SZP, g = {g:.3g}",
         style.line_style(SCRATCH) if g == 1 else style.LineStyle(style.OKABE_ITO[place % 6], "s"))
        for place, (g, of) in enumerate(rows.groupby("g"))
    ]  # fmt: skip
    draw_curves(axis, store, lines)
    axis.set(ylabel=arms.LOSS, title=f"N = {si(rows['n'].iloc[0], '')}")
    axis.legend()


draw_frontier = arms.row(arms.AnyPanel(frontier))
draw_ranks = arms.row(
    arms.AnyPanel(draw_transferred), *map(early_ranks, (SMALL, LARGE, GROWN)), widths=(4, 3, 3, 3)
)
draw_tokens = arms.row(arms.AnyPanel(tokens), arms.AnyPanel(training))
