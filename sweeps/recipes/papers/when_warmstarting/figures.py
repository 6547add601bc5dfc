"""The figures of "When is Warmstarting Effective"."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mugrow.analysis.figures import arms, growing, style
from mugrow.analysis.figures.laws import loss_axis, size_ticks
from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.growing import GRID, contours
from mugrow.analysis.laws.growing import growth_factors as parabolas
from mugrow.analysis.laws.law import GrowthPanel, LawDifference
from mugrow.analysis.laws.scaling import law as chosen_law
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.analysis.words import si
from mugrow.sweeps.recipes.papers.warmstarting import maps
from mugrow.sweeps.recipes.papers.when_warmstarting.claims import (
    BASE,
    CORRELATIONS,
    GROWN,
    TARGET,
    correlation,
    partial_losses,
    transferred,
)
from mugrow.sweeps.recipes.papers.when_warmstarting.horizons import (
    CLONE,
    LEVELS,
    NET2NET,
    SCRATCH,
    SZP,
    USUAL,
    at_levels,
    by_shrink,
    factors,
    finals,
    fitted,
    front,
    held_out,
    ladder,
    law,
    line,
    means,
    r_squared,
    targets,
)

RESAMPLES = 300
COMPUTE = "compute C = 6 N D (FLOPs)"
LABELS = {SCRATCH: "scratch", SZP: "SZP", NET2NET: "Net2Net", CLONE: "clone"}
SHARES = np.linspace(0.1, 1.0, 10)
TITLES = {"A": "log₁₀ A", "B": "log₁₀ B", "alpha": "α", "beta": "β"}
QUANTITIES = {"n": "parameters N*", "d": "tokens D*", "m": "tokens per parameter D* / N*"}


def frontier(store: Store) -> Figure:
    figure, ((axis,),) = style.panels(1, 1)
    for method in (SCRATCH, SZP):
        rows, look = ladder(store, method), style.look(method)
        mean, end = means(fitted(rows)), means(held_out(rows))
        best, power = front(mean), line(mean, "loss")
        axis.plot(mean["c"], mean["loss"], look.marker, color=look.colour, mfc="white", ms=4)
        axis.plot(best["c"], best["loss"], look.marker, color=look.colour, ms=4)
        reach = np.geomspace(mean["c"].min(), 10 * end["c"].max(), 50)
        label = f"{LABELS[method]}, exponent {power.exponent:.3f}".replace("-", "−")
        axis.plot(reach, [power(c) for c in reach], color=look.colour, lw=1, label=label)
        axis.plot(end["c"], end["loss"], "*", color=look.colour, ms=13, mec="white")
    axis.set(xscale="log", xlabel=COMPUTE, ylabel="final validation loss (nats per token)")
    loss_axis(axis)
    style.flops_axis(axis.xaxis, (1,))
    star = Line2D([], [], color=style.GREY, marker="*", ls="none", ms=11, label="held out")
    axis.legend(handles=[*axis.get_legend_handles_labels()[0], star])
    return figure


def growth_factors(store: Store) -> Figure:
    sizes, rows = targets(store), finals(store)
    own = rows[rows["n"].isin(sizes) & (rows["method"] == NET2NET)]
    horizons = sorted(own["horizon"].unique())
    cells = [(method, n) for n in sizes for method in (SZP, NET2NET)]
    figure, axes = style.panels(len(cells), len(horizons))
    figure.set_figheight(2.3 * len(cells) + 0.6)
    for panels, (method, n) in zip(axes, cells, strict=True):
        for axis, horizon in zip(panels, horizons, strict=True):
            found = level_panel(at_levels(store, method, n, horizon), method, n)
            if found is None:
                axis.remove()
                continue
            growing.draw_levels(axis, found)
            axis.get_legend().remove()
            axis.set_title(f"{LABELS[method]}, N = {si(n, '')}, D = {horizon} N", loc="left")
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


def level_panel(rows: pd.DataFrame, method: str, n: int) -> GrowthPanel | None:
    """None where the method has no runs to this horizon, or too few factors."""
    if rows.empty:
        return None
    scratch = rows["g"] == 1
    named = rows.assign(variant=method, parametrization="", n=n, cluster=rows["seed"])
    panels = parabolas(named.assign(scratch=scratch), resamples=0).panels
    return panels[0] if panels else None


def contour(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    rows = pd.concat([law_rows(ladder(store, method), method) for method in (SCRATCH, SZP)])
    forms = [get_form("chinchilla")]
    laws = [chosen_law(own, forms, RESAMPLES) for _, own in rows.groupby("law", sort=False)]
    (panel,) = contours(rows, laws)
    drawn = panel.drawn or without_intervals(store)
    difference = measured_difference(store)
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


def without_intervals(store: Store) -> LawDifference | None:
    """The difference of laws at a bound: with a floor of 0 they hold on these sizes and no further,
    and nothing is said of how sure they are. None where there is no law."""
    both = [means(ladder(store, method)) for method in (SCRATCH, SZP)]
    params = [law(rows).params for rows in both]
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


def law_rows(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    named = rows.assign(law=method, variant=method, parametrization="", cluster=rows["run_id"])
    return named.assign(scratch=method == SCRATCH)


def measured_difference(store: Store) -> pd.DataFrame:
    """SZP minus scratch, nats: a row for each horizon, a column for each size."""
    tables = [
        means(ladder(store, method)).pivot_table(index="horizon", columns="n", values="loss")
        for method in (SZP, SCRATCH)
    ]
    return tables[0] - tables[1]


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
    found = by_shrink(store)
    figure, (axes,) = style.panels(1, len(found), sharey=True)
    rows = finals(store)
    for axis, (g, by_factor) in zip(axes, sorted(found.items()), strict=True):
        beside = rows[(rows["n"] == next(iter(by_factor.values()))["n"].iloc[0])
                      & (rows["horizon"] == USUAL)]  # fmt: skip
        colours = style.shades((place, 0) for place in range(len(by_factor)))
        lines = [
            (own, f"λ = {shrink:g}", style.Look(colours[place, 0], style.MARKERS[place]))
            for place, (shrink, own) in enumerate(by_factor.items())
        ]
        for method in (SCRATCH, CLONE):
            own = beside[(beside["method"] == method) & beside["g"].isin([1.0, g])]
            if len(own):
                lines.append((own, LABELS[method], style.look(method)))
        draw_curves(axis, store, lines)
        axis.set_title(f"g = {g:.3g}")
        axis.legend()
    axes[0].set_ylabel(arms.LOSS)
    return figure


def draw_curves(
    axis: Axes, store: Store, lines: Sequence[tuple[pd.DataFrame, str, style.Look]]
) -> None:
    """Mean curves over seeds against compute, of the later five sixths of training."""
    for own, label, look in lines:
        points = own[["run_id", "n", "d"]].merge(store.curves, on="run_id")
        points = points[points["tokens"] > points["d"] / 6].dropna(subset="val_loss")
        mean = points.assign(c=6 * points["n"] * points["tokens"]).groupby("c")["val_loss"].mean()
        axis.plot(mean.index, mean, marker=look.marker, ms=3.5, markevery=0.15, lw=1.2,
                  color=look.colour, label=label)  # fmt: skip
    axis.set(xscale="log", xlabel=COMPUTE)
    style.flops_axis(axis.xaxis)


def allocation(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, 3)
    for method in (SCRATCH, SZP):
        rows, look = fitted(ladder(store, method)), style.look(method)
        mean = means(rows)
        best = front(mean)
        ends = np.geomspace(best["c"].min(), best["c"].max(), 20)
        lowest = pd.DataFrame(law(rows, optimal=ends.tolist()).optimal, columns=["c", "n", "d"])
        best, lowest = (own.assign(m=own["d"] / own["n"]) for own in (best, lowest))
        for axis, (quantity, words) in zip(axes, QUANTITIES.items(), strict=True):
            label = LABELS[method]
            if quantity != "m":
                power = line(mean, quantity)
                label += f", exponent {power.exponent:.2f}"
                axis.plot(ends, [power(c) for c in ends], color=look.colour, lw=1)
            axis.plot(best["c"], best[quantity], look.marker, color=look.colour, label=label)
            axis.plot(lowest["c"], lowest[quantity], "--", color=look.colour, lw=1)
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
        rows = fitted(ladder(store, method))
        found = law(rows, groups=rows["run_id"].tolist(), bootstrap=RESAMPLES)
        laws[method] = found, {**found.params, "R²": r_squared(found, rows)}
    for axis, name in zip(axes.flat, ("A", "alpha", "R²", "B", "beta", "E"), strict=True):
        labels = []
        for row, (method, (found, values)) in enumerate(laws.items()):
            numbers = np.array([values.get(name, math.nan), *found.intervals.get(name, ())])
            labels.append(f"{LABELS[method]}\n{in_words(numbers)}")
            draw_coefficient(axis, row, method, in_logs(numbers) if name in "AB" else numbers)
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


def in_words(numbers: Array) -> str:
    """A value and, if they are known, the ends of its interval."""
    value, *ends = numbers
    if not math.isfinite(value):
        return "no fit"
    if value == 0:
        return "0, its bound"
    interval = f"\n[{ends[0]:.3g}, {ends[1]:.3g}]" if ends and np.isfinite(ends).all() else ""
    return f"{value:.4g}{interval}".replace("-", "−")


def in_logs(numbers: Array) -> Array:
    """Of base 10, since what nothing ties down spans hundreds of decades."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(numbers), dtype=np.float64)


def draw_coefficient(axis: Axes, row: int, method: str, numbers: Array) -> None:
    look = style.look(method)
    value, *ends = np.where(np.isfinite(numbers), numbers, math.nan)
    axis.plot([value], [row], look.marker, color=look.colour)
    axis.plot(ends, [row] * len(ends), color=look.colour, lw=1.3)


def ranks(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, 4, width_ratios=(4, 3, 3, 3))
    draw_transferred(axes[0], store)
    for axis, name in zip(axes[1:], (BASE, TARGET, GROWN), strict=True):
        flops = arm(store.runs, maps.map_of(name))["flops_6nd"].max()
        losses = partial_losses(store, name, SHARES)
        for kind, dashes in zip(CORRELATIONS, ("-", "--"), strict=True):
            each = [[correlation(rows[:, at], rows[:, -1], kind) for at in range(len(SHARES))]
                    for rows in losses.values()]  # fmt: skip
            axis.plot(SHARES * flops, np.mean(each, axis=0), dashes, marker="o", ms=3,
                      color=style.OKABE_ITO[0], label=kind)  # fmt: skip
        axis.set(xlabel="FLOPs of a run", ylim=(-0.1, 1.05), title=name)
        style.flops_axis(axis.xaxis)
        axis.tick_params(axis="x", labelrotation=45)
    axes[1].set_ylabel("correlation with the final loss")
    axes[1].legend()
    return figure


def draw_transferred(axis: Axes, store: Store) -> None:
    labels, found, looks = [], [], {}
    for name, method in ((TARGET, SCRATCH), (GROWN, SZP)):
        for kind in CORRELATIONS:
            label = f"{LABELS[method]}, {kind}"
            labels.append(label)
            found.append(transferred(store, name, kind))
            looks[label] = style.look(method)
    arms.dots(axis, labels, found, looks)
    axis.set(xlabel="correlation, small with large", xlim=(-0.1, 1.1))


def heat_maps(store: Store) -> Figure:
    planes: Mapping[str, maps.Plane] = {
        name: (own := maps.read(store, name)).mean(own.seeds) for name in (BASE, TARGET, GROWN)
    }
    best = planes[BASE].best
    return maps.draw([{name: (plane, None if name == BASE else best)
                       for name, plane in planes.items()}])  # fmt: skip


def curves(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    rows = finals(store)
    cells = rows[["n", "horizon", "c", "d"]].drop_duplicates()
    colours = style.shades((int(horizon), 0) for horizon in cells["horizon"])
    for (horizon, _), colour in colours.items():
        own = cells[cells["horizon"] == horizon].sort_values("c")
        left.plot(own["c"], own["d"], "o-", ms=3.5, lw=1, color=colour, label=f"D = {horizon} N")
    left.set(xscale="log", yscale="log", xlabel=COMPUTE, ylabel="training tokens D")
    left.legend()
    style.flops_axis(left.xaxis, (1,))
    style.flops_axis(left.yaxis, (1, 3))
    n = targets(store)[-1]
    lines = [
        (own, LABELS[SCRATCH] if g == 1 else f"SZP, g = {g:.3g}",
         style.look(SCRATCH) if g == 1 else style.Look(style.OKABE_ITO[place % 6], "s"))
        for place, (g, own) in enumerate(factors(store, SZP, n, USUAL).groupby("g"))
    ]  # fmt: skip
    draw_curves(right, store, lines)
    right.set(ylabel=arms.LOSS, title=f"N = {si(n, '')}")
    right.legend()
    return figure
