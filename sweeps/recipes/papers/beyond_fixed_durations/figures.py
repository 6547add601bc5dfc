"""Figures of one trunk with cool-downs against a cosine for each horizon."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.arms import band, whiskers
from mugrow.analysis.measure.dynamics import trace
from mugrow.analysis.measure.measured import arm, factor_table
from mugrow.analysis.measure.quantity import Quantity, final, logged, percent
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import claims
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import COOLED, COSINE, HORIZONS, to

BRANCH = "cool-down"
LINE_STYLES = style.distinct(
    (claims.TRUNK, COSINE, BRANCH, claims.SWA, claims.EMA, claims.COSINE_0)
)
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
    band(axis, line(store, to(segments["steps"].max(), claims.TRUNK)), LINE_STYLES[claims.TRUNK])
    cosines = [line(store, to(steps, COSINE)) for steps in HORIZONS]
    branches = [line(store, to(steps, COOLED), 1 - claims.LENGTH) for steps in HORIZONS]
    for name, tables in ((COSINE, cosines), (COOLED, branches)):
        for table in tables:
            band(axis, table, LINE_STYLES[name])
            end(axis, table, name)
    frame(axis, cosines[0], cosines[-1], claims.TRUNK, COSINE, BRANCH)


def steps_of(store: Store, name: ArmName) -> float:
    return logged(name, "step", "last")(store).value


def by_horizon(
    axis: Axes, store: Store, of: Callable[[float], Quantity], name: ArmName, label: str
) -> None:
    """A quantity of each horizon."""
    steps = [steps_of(store, to(horizon, COSINE)) for horizon in HORIZONS]
    whiskers(axis, steps, [of(horizon)(store) for horizon in HORIZONS], LINE_STYLES[name], label)
    axis.set_xlabel("horizon (steps)")
    axis.legend()


def gaps_panel(axis: Axes, store: Store) -> None:
    for cosine in (COSINE, claims.COSINE_0):
        gap = partial(claims.gap, cosine=cosine)
        by_horizon(axis, store, gap, cosine, f"against {cosine}")
    axis.axhspan(-claims.MARGIN, claims.MARGIN, color=style.FAINT, alpha=0.4, lw=0)
    axis.set_ylabel("cool-down’s loss minus cosine’s (%)")


def lengths_panel(axis: Axes, store: Store, horizon: float) -> None:
    best = claims.best(horizon, COSINE)
    share = [100 * length for length in claims.LENGTHS]
    for shape, line_style in style.distinct(tuple(SHAPES)).items():
        ends = (final(to(horizon, claims.cooled(length, shape))) for length in claims.LENGTHS)
        found = [percent(loss, best)(store) for loss in ends]
        whiskers(axis, share, found, line_style, SHAPES[shape], star=np.argmin)
    axis.axhline(0, color=style.GREY, lw=1, ls="--")
    axis.set(xlabel="cool-down (% of the horizon)", ylabel=f"loss minus that of a {COSINE} (%)")
    axis.set_title(f"{steps_of(store, to(horizon, COSINE)):g} steps")
    if horizon == claims.AT_LENGTHS[0]:
        axis.legend()


def averages_panel(axis: Axes, store: Store) -> None:
    for name in (claims.SWA, claims.EMA):
        rows = arms.points(store, name).groupby("tokens")
        last, average = (
            rows[column].agg(["min", "mean", "max"]).dropna()
            for column in ("val_loss", "val_loss_averaged")
        )
        band(axis, last, LINE_STYLES[claims.TRUNK])
        band(axis, average, LINE_STYLES[name], LINE_STYLES[name].marker)
    down = [line(store, to(horizon, COOLED)) for horizon in HORIZONS]
    for table in down:
        end(axis, table, BRANCH)
    frame(axis, down[0], down[-1], claims.TRUNK, claims.SWA, claims.EMA, BRANCH)


def percent_closed(arm: ArmName, steps: float) -> Quantity:
    return 100 * claims.closed(arm, steps)


def closed_panel(axis: Axes, store: Store) -> None:
    for name in (claims.SWA, claims.EMA):
        by_horizon(axis, store, partial(percent_closed, name), name, name)
    axis.axhline(100, color=LINE_STYLES[BRANCH].colour, lw=1, ls="--")
    axis.set_ylabel("of the cool-down’s gain (%)")


UP_TO = {count: HORIZONS[:count] for count in range(1, len(HORIZONS) + 1)}
COSTS = {"a cosine for each": (claims.cosines_cost, COSINE),
         "trunk and branches": (claims.branches_cost, BRANCH)}  # fmt: skip


def draw_cost(
    axis: Axes, store: Store, cost: Callable[[Sequence[float]], Quantity], name: str, label: str
) -> None:
    """What the first one, two, ... horizons cost."""
    values = [cost(horizons)(store).value for horizons in UP_TO.values()]
    axis.plot(list(UP_TO), values, **LINE_STYLES[name].keywords, label=label)
    axis.set(xlabel="horizons", xticks=list(UP_TO))


def costs_panel(axis: Axes, store: Store) -> None:
    for label, (cost, name) in COSTS.items():
        draw_cost(axis, store, cost, name, label)
    style.flops_axis(axis.yaxis)
    axis.set_ylabel("compute of all of them (FLOPs)")
    axis.set_ylim(0, None)
    axis.legend()


def ratio_panel(axis: Axes, store: Store) -> None:
    draw_cost(axis, store, claims.cost_ratio, BRANCH, "_ratio")
    axis.axhline(claims.COST, color=style.GREY, ls="--", lw=1)
    axis.set(ylabel="trunk and branches over cosines", ylim=(0, 1.05))


draw_ladder = arms.row(arms.AnyPanel(runs_panel), arms.AnyPanel(gaps_panel))
draw_lengths = arms.for_each(lengths_panel, claims.AT_LENGTHS, share_y=True)
draw_averages = arms.row(arms.AnyPanel(averages_panel), arms.AnyPanel(closed_panel))
draw_costs = arms.row(arms.AnyPanel(costs_panel), arms.AnyPanel(ratio_panel))
