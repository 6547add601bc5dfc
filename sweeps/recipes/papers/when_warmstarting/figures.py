"""The figures of "When is Warmstarting Effective"."""

import math
from functools import partial

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
from mugrow.analysis.laws.growing import difference
from mugrow.analysis.laws.growing import growth_factors as parabolas
from mugrow.analysis.laws.law import GrowthPanel
from mugrow.analysis.laws.result import FitResult
from mugrow.analysis.laws.scaling import law as chosen_law
from mugrow.analysis.measure import maps
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import NOTHING, Interval
from mugrow.analysis.words import si
from mugrow.bench.arm import ArmName
from mugrow.sweeps.recipes.papers.when_warmstarting import claims, tables
from mugrow.sweeps.recipes.papers.when_warmstarting.claims import GROWN, LARGE, SMALL
from mugrow.sweeps.recipes.papers.when_warmstarting.tables import NET2NET, SCRATCH, SZP, named

RESAMPLES = 300
LABELS = {SCRATCH: "scratch", SZP: "SZP", NET2NET: "Net2Net", tables.CLONE: "clone"}
BOTH = {method: style.line_style(method) for method in (SCRATCH, SZP)}
SHARES = np.linspace(0.1, 1.0, 10)
COEFFICIENTS = {"A": "log₁₀ A", "alpha": "α", "R²": "R²", "B": "log₁₀ B", "beta": "β", "E": "E"}


def frontier(axis: Axes, store: Store) -> None:
    for method, line_style in BOTH.items():
        mean, end = (tables.means(tables.ladder(store, method, out)) for out in (False, True))
        best, power = tables.front(mean), tables.line(mean, "loss")
        points = style.LineStyle(line_style.colour, line_style.marker, "").keywords
        axis.plot(mean["c"], mean["loss"], **points, ms=4, mfc="white")
        axis.plot(best["c"], best["loss"], **points, ms=4)
        reach = np.geomspace(mean["c"].min(), 10 * end["c"].max(), 50)
        label = f"{LABELS[method]}, exponent {power.exponent:.3f}".replace("-", "−")
        axis.plot(reach, [power(c) for c in reach], color=line_style.colour, lw=1, label=label)
        axis.plot(end["c"], end["loss"], "*", color=line_style.colour, ms=13, mec="white")
    axis.set_ylabel(arms.FINAL)
    compute_axis(axis)
    loss_axis(axis)
    star = Line2D([], [], color=style.GREY, marker="*", ls="none", ms=11, label="held out")
    axis.legend(handles=[*axis.get_legend_handles_labels()[0], star])


def compute_axis(axis: Axes) -> None:
    axis.set(xscale="log", xlabel="compute C = 6 N D (FLOPs)")
    style.flops_axis(axis.xaxis, (1,))


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
    ends = style.shades((end, 0) for end in range(2)).values()
    levels = zip(("a sixth of the compute", "all of it"), ends, strict=True)
    handles = [Line2D([], [], color=colour, label=label) for label, colour in levels]
    style.legend_below(figure, [*handles, *growing.trace_handles()])
    return figure


def level_panel(rows: pd.DataFrame, method: str) -> GrowthPanel | None:
    """None where the method has no runs to this horizon, or too few factors."""
    rows = rows.assign(variant=method, parametrization="", cluster=rows["seed"])
    panels = parabolas(rows.assign(scratch=rows["g"] == 1), resamples=0).panels
    return panels[0] if panels else None


def contour(store: Store) -> Figure:
    """Laws at a bound, as with a floor of 0, hold on these sizes and no further, and nothing is
    said of how sure they are."""
    figure, ((left, right),) = style.panels(1, 2)
    both = [
        of.assign(law=method, variant=method, parametrization="", cluster=of["run_id"],
                  scratch=method == SCRATCH)
        for method in BOTH for of in [tables.ladder(store, method)]
    ]  # fmt: skip
    laws = [chosen_law(rows, [get_form("chinchilla")], RESAMPLES) for rows in both]
    drawn = difference(pd.concat(both), *laws) if all(law.params for law in laws) else None
    scratch, szp = (rows.pivot_table(index="horizon", columns="n", values="loss") for rows in both)
    cells = szp - scratch
    limit = float(np.nanmax(np.abs(cells.to_numpy())))
    if drawn is None:
        reason = next((law.reason for law in laws if not law.params), "no sizes in common")
        left.text(0.5, 0.5, style.wrapped(reason), transform=left.transAxes, ha="center")
        left.set_axis_off()
    else:
        limit = max(limit, float(np.abs(drawn.difference).max()))
        levels = MaxNLocator(growing.COLOURS, symmetric=True).tick_values(-limit, limit)
        filled = growing.draw_difference(left, drawn, levels)
        left.set(title="difference of the laws", ylabel="training tokens D")
        left.set_title("", loc="left")
        style.legend_below(figure, growing.contour_handles([drawn]), columns=2)
        figure.colorbar(filled, ax=[left], label="SZP − scratch (nats)")
    cells.columns = cells.columns.map(lambda n: si(n, ""))
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    pictures.draw_table(right, cells, signed, origin="lower", **colours)
    right.set(xlabel="parameters N", ylabel="tokens per parameter", title="measured")
    return figure


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else ""


def shrinks(store: Store) -> Figure:
    width, sources = tables.sizes(store).shrunk
    shaded = style.shaded([f"λ = {shrink:g}" for shrink in tables.SHRINKS])
    beside = {LABELS[method]: style.line_style(method) for method in (SCRATCH, tables.CLONE)}
    panels = []
    for source in sorted(sources, reverse=True):
        szp = [named(SZP, width, source, shrink=shrink) for shrink in tables.SHRINKS]
        names = dict(zip(shaded, szp, strict=True)) | {LABELS[SCRATCH]: named(SCRATCH, width)}
        if source == sources[0]:
            names[LABELS[tables.CLONE]] = named(tables.CLONE, width, source)
        title = f"g = {tables.factor(store, szp[0]):.3g}"
        panels.append(arms.CurvePanel(names, shaded | beside, title=title))
    return arms.row(*panels, share_y=True)(store)


def isoflop(axis: Axes, store: Store, method: str) -> None:
    """Losses against size, a shade a budget."""
    rows = tables.isoflops(store, method)
    means = rows.groupby(["budget", "n"])["loss"].mean()
    flops = rows.groupby("budget")["c"].mean()
    for (budget, _), colour in style.shades((one, 0) for one in tables.BUDGETS).items():
        loss = means[budget]
        axis.plot(loss.index.to_numpy(float), loss, "o-", color=colour, lw=1, ms=4,
                  label=si(float(flops[budget]), "FLOP"))  # fmt: skip
    axis.set(xscale="log", xlabel="parameters N", ylabel=arms.FINAL, title=LABELS[method])
    size_ticks(axis.xaxis)
    axis.legend(fontsize=7)


def best_sizes(axis: Axes, store: Store) -> None:
    """The best size between those tried, and the power laws through them."""
    for method, line_style in BOTH.items():
        best = tables.best_sizes(tables.isoflops(store, method))
        power, colour = tables.best_line(best, "n"), line_style.colour
        label = f"{LABELS[method]}, exponent {power.exponent:.2f}"
        axis.plot(best["c"], best["n"], line_style.marker, color=colour, label=label)
        axis.plot(best["c"], [power(c) for c in best["c"]], color=colour, lw=1)
    axis.set(ylabel="best parameters N*", yscale="log")
    compute_axis(axis)
    size_ticks(axis.yaxis)
    axis.legend(fontsize=7)


ISOFLOPS = tuple(partial(isoflop, method=method) for method in BOTH)


def coefficients(store: Store) -> Figure:
    """A panel for each coefficient; no dots where a law has none."""
    figure, axes = style.panels(2, 3)
    figure.set_figheight(3.6)
    laws = {}
    for method in BOTH:
        rows = tables.ladder(store, method, held_out=False)
        found = tables.law(rows, groups=rows["run_id"].tolist(), bootstrap=RESAMPLES)
        values = {
            name: Interval(value, *found.intervals.get(name, (math.nan, math.nan)), n=0)
            for name, value in {**found.params, "R²": r_squared(found, rows)}.items()
        }
        laws[method] = found, values
    for axis, (name, title) in zip(axes.flat, COEFFICIENTS.items(), strict=True):
        numbers = [values.get(name, NOTHING) for _, values in laws.values()]
        arms.dots(axis, [*laws], [log10(one) if name in "AB" else one for one in numbers])
        words = [f"{LABELS[of]}\n{in_words(one)}" for of, one in zip(laws, numbers, strict=True)]
        axis.set_yticks(range(len(laws)), words)
        axis.set_title(title)
        axis.xaxis.set_major_locator(MaxNLocator(3))
    states = {of: found.status.replace("_", " ") for of, (found, _) in laws.items()}
    style.legend_below(figure, [style.handle(of, f"{LABELS[of]}: {states[of]}") for of in laws])
    return figure


def r_squared(found: FitResult, rows: pd.DataFrame) -> float:
    """Of log loss; nan without a fit."""
    if not found.params:
        return math.nan
    log = np.log(rows["loss"].to_numpy(float))
    return float(1 - np.sum(np.square(found.residuals)) / np.sum((log - log.mean()) ** 2))


def log10(one: Interval) -> Interval:
    with np.errstate(divide="ignore"):  # what nothing ties down spans decades
        value, low, high = np.log10([one.value, one.lo, one.hi]).tolist()
    return Interval(value, low, high, one.n)


def in_words(one: Interval) -> str:
    """A value and, if they are known, the ends of its interval."""
    if not math.isfinite(one.value):
        return "no fit"
    if one.value == 0:
        return "0, its bound"
    known = math.isfinite(one.lo) and math.isfinite(one.hi)
    interval = f"\n[{one.lo:.3g}, {one.hi:.3g}]" if known else ""
    return f"{one.value:.4g}{interval}".replace("-", "−")


def early_ranks(name: ArmName, axis: Axes, store: Store) -> None:
    flops = SHARES * arm(store.runs, maps.map_of(name))["flops_6nd"].max()
    for kind, dashes in zip(claims.CORRELATIONS, ("-", "--"), strict=True):
        found = [claims.foretold(name, share, kind)(store).value for share in SHARES]
        axis.plot(flops, found, dashes, marker="o", ms=3, color=style.OKABE_ITO[0], label=kind)
    axis.set(xlabel="FLOPs of a run", ylim=(-0.1, 1.05), title=name)
    style.flops_axis(axis.xaxis)
    axis.tick_params(axis="x", labelrotation=45)
    if name == SMALL:
        axis.set_ylabel("correlation with the final loss")
        axis.legend()


def transferred(axis: Axes, store: Store) -> None:
    found, line_styles = {}, {}
    for name, method in ((LARGE, SCRATCH), (GROWN, SZP)):
        for kind in claims.CORRELATIONS:
            label = f"{LABELS[method]}, {kind}"
            found[label], line_styles[label] = claims.transferred(name, kind), BOTH[method]
    arms.DotPanel(found, "correlation, small with large", line_styles)(axis, store)
    axis.set_xlim(-0.1, 1.1)


def heat_maps(store: Store) -> Figure:
    planes = {name: maps.read(store, name).mean() for name in (SMALL, LARGE, GROWN)}
    circled = {SMALL: None, **dict.fromkeys((LARGE, GROWN), planes[SMALL].best)}
    return pictures.draw([{name: (plane, circled[name]) for name, plane in planes.items()}])


def tokens(axis: Axes, store: Store) -> None:
    cells = tables.finals(store)[["n", "horizon", "c", "d"]].drop_duplicates()
    colours = style.shades((int(horizon), 0) for horizon in cells["horizon"])
    for (horizon, _), colour in colours.items():
        at = cells[cells["horizon"] == horizon].sort_values("c")
        axis.plot(at["c"], at["d"], "o-", ms=3.5, lw=1, color=colour, label=f"D = {horizon} N")
    axis.set(yscale="log", ylabel="training tokens D")
    compute_axis(axis)
    axis.legend()
    style.flops_axis(axis.yaxis, (1, 3))


def training(axis: Axes, store: Store) -> None:
    sizes = tables.sizes(store)
    scratch, *grown = sizes.varied(SZP, sizes.larger)
    names = {f"SZP, g = {tables.factor(store, one):.3g}": one for one in reversed(grown)}
    line_styles = style.distinct([LABELS[SCRATCH], *names]) | {LABELS[SCRATCH]: BOTH[SCRATCH]}
    arms.CurvePanel({LABELS[SCRATCH]: scratch} | names, line_styles)(axis, store)
    size = tables.of_arms(store, [scratch])["n"].iloc[0]
    axis.set_title(f"N = {si(size, '')}")


draw_ranks = arms.row(
    transferred, *(partial(early_ranks, name) for name in (SMALL, LARGE, GROWN)),
    widths=(4, 3, 3, 3),
)  # fmt: skip
