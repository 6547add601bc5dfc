"""Figures of one trunk with cool-downs against a cosine for each horizon."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.arms import band, whiskers
from mugrow.analysis.measure.dynamics import trace
from mugrow.analysis.measure.measured import arm, factor_table
from mugrow.analysis.measure.quantity import final, logged, percent
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import claims
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import (
    COOLED,
    COSINE,
    COSINE_0,
    EMA,
    HORIZONS,
    LENGTH,
    LENGTHS,
    MARGIN,
    SWA,
    TRUNK,
    to,
)  # fmt: skip

BRANCH = "cool-down"
LINE_STYLES = style.distinct((TRUNK, COSINE, BRANCH, SWA, EMA, COSINE_0))
LINE_STYLES[COOLED] = LINE_STYLES[BRANCH]
SHAPES = {"linear": "linear", "sqrt": "1 − sqrt"}


def line(store: Store, name: ArmName, since: float = 0.0) -> pd.DataFrame:
    """An arm's losses, its trunk's before them, against the tokens of both from ``since`` on, a
    share of all: min, mean and max over seeds."""
    whole = trace(store, name).band("step")
    table: pd.DataFrame = whole[whole.index >= since * whole.index[-1]]
    table.index = table.index * arm(store.runs, name)["batch_tokens"].iloc[0]
    return table


def end(axis: Axes, table: pd.DataFrame, name: str) -> None:
    line_style, last = LINE_STYLES[name], table["mean"].iloc[-1:]
    axis.plot(last.index, last, line_style.marker, color=line_style.colour, zorder=4, label="_end")


def frame(axis: Axes, first: pd.DataFrame, last: pd.DataFrame, *names: str) -> None:
    """Losses against tokens from a little before the first horizon on, which ``first`` ends at."""
    highest, lowest = first["mean"].iloc[-1], last["mean"].iloc[-1]
    reach = highest - lowest
    axis.set(
        ylim=(lowest - 0.25 * reach, highest + 0.5 * reach), xlim=(0.6 * first.index[-1], None)
    )
    axis.set(xlabel="tokens trained on", ylabel=arms.LOSS)
    style.flops_axis(axis.xaxis)
    axis.legend(handles=[style.handle(name, mine=LINE_STYLES[name]) for name in names])


def runs_panel(axis: Axes, store: Store) -> None:
    factors = factor_table(store.runs)
    segments = factors[(factors["schedule"] == "constant") & (factors["lr"] == 1)]
    band(axis, line(store, to(segments["steps"].max(), TRUNK)), LINE_STYLES[TRUNK])
    cosines = [line(store, to(steps, COSINE)) for steps in HORIZONS]
    branches = [line(store, to(steps, COOLED), 1 - LENGTH) for steps in HORIZONS]
    for name, tables in ((COSINE, cosines), (COOLED, branches)):
        for table in tables:
            band(axis, table, LINE_STYLES[name])
            end(axis, table, name)
    frame(axis, cosines[0], cosines[-1], TRUNK, COSINE, BRANCH)


def steps_of(store: Store, name: ArmName) -> float:
    return logged(name, "step", "last")(store).value


def gaps_panel(axis: Axes, store: Store) -> None:
    steps = [steps_of(store, to(horizon, COSINE)) for horizon in HORIZONS]
    for cosine in (COSINE, COSINE_0):
        found = [claims.gap(horizon, cosine)(store) for horizon in HORIZONS]
        whiskers(axis, steps, found, LINE_STYLES[cosine], f"against {cosine}")
    axis.axhspan(-MARGIN, MARGIN, color=style.FAINT, alpha=0.4, lw=0)
    axis.set(xlabel="horizon (steps)", ylabel="cool-down’s loss minus cosine’s (%)")
    axis.legend()


def lengths_panel(horizon: float, axis: Axes, store: Store) -> None:
    best = claims.best(horizon, COSINE)
    share = [100 * length for length in LENGTHS]
    for shape, line_style in style.distinct(tuple(SHAPES)).items():
        ends = (final(to(horizon, claims.cooled(length, shape))) for length in LENGTHS)
        found = [percent(loss, best)(store) for loss in ends]
        whiskers(axis, share, found, line_style, SHAPES[shape])
        lowest, at = min((one.value, x) for one, x in zip(found, share, strict=True))
        style.mark_minimum(axis, at, lowest, line_style.colour)
    axis.axhline(0, color=style.GREY, lw=1, ls="--")
    axis.set(xlabel="cool-down (% of the horizon)", ylabel=f"loss minus that of a {COSINE} (%)")
    axis.set_title(f"{steps_of(store, to(horizon, COSINE)):g} steps")
    if horizon == claims.AT_LENGTHS[0]:
        axis.legend()


def averages_panel(axis: Axes, store: Store) -> None:
    for name in (SWA, EMA):
        rows = arms.points(store, name).groupby("tokens")
        for column, line_style, marker in (
            ("val_loss", LINE_STYLES[TRUNK], ""),
            ("val_loss_averaged", LINE_STYLES[name], LINE_STYLES[name].marker),
        ):  # fmt: skip
            table = rows[column].agg(["min", "mean", "max"]).dropna()
            band(axis, table, line_style, marker)
    down = [line(store, to(horizon, COOLED)) for horizon in HORIZONS]
    for table in down:
        end(axis, table, BRANCH)
    frame(axis, down[0], down[-1], TRUNK, SWA, EMA, BRANCH)


def closed_panel(axis: Axes, store: Store) -> None:
    steps = [steps_of(store, SWA) * horizon / HORIZONS[-1] for horizon in HORIZONS]
    for name in (SWA, EMA):
        found = [(100 * claims.closed(name, horizon))(store) for horizon in HORIZONS]
        whiskers(axis, steps, found, LINE_STYLES[name], name)
    axis.axhline(100, color=LINE_STYLES[BRANCH].colour, lw=1, ls="--")
    axis.set(xlabel="horizon (steps)", ylabel="of the cool-down’s gain (%)")
    axis.legend()


UP_TO = {count: HORIZONS[:count] for count in range(1, len(HORIZONS) + 1)}
COSTS = {
    "a cosine for each": (claims.cosines_cost, LINE_STYLES[COSINE]),
    "trunk and branches": (claims.branches_cost, LINE_STYLES[BRANCH]),
}


def costs_panel(axis: Axes, store: Store) -> None:
    for label, (cost, line_style) in COSTS.items():
        flops = [cost(horizons)(store).value for horizons in UP_TO.values()]
        axis.plot(
            list(UP_TO),
            flops,
            line_style.line,
            marker=line_style.marker,
            color=line_style.colour,
            label=label,
        )
    style.flops_axis(axis.yaxis)
    axis.set(xlabel="horizons", ylabel="compute of all of them (FLOPs)", xticks=list(UP_TO))
    axis.set_ylim(0, None)
    axis.legend()


def ratio_panel(axis: Axes, store: Store) -> None:
    ratios = [claims.cost_ratio(horizons)(store).value for horizons in UP_TO.values()]
    axis.plot(
        list(UP_TO), ratios, marker=LINE_STYLES[BRANCH].marker, color=LINE_STYLES[BRANCH].colour
    )
    axis.axhline(claims.COST, color=style.GREY, ls="--", lw=1)
    axis.set(xlabel="horizons", ylabel="trunk and branches over cosines", ylim=(0, 1.05))
    axis.set_xticks(list(UP_TO))


draw_ladder = arms.row(arms.AnyPanel(runs_panel), arms.AnyPanel(gaps_panel))
draw_lengths = arms.row(
    *(arms.AnyPanel(partial(lengths_panel, steps)) for steps in claims.AT_LENGTHS), share_y=True
)
draw_averages = arms.row(arms.AnyPanel(averages_panel), arms.AnyPanel(closed_panel))
draw_costs = arms.row(arms.AnyPanel(costs_panel), arms.AnyPanel(ratio_panel))
