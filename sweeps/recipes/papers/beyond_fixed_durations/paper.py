"""Scaling laws beyond fixed training durations: cool-downs off one trunk (arXiv 2405.18392).

    mugrow reproduce beyond-fixed-durations

A cosine must know its horizon, so a model at n horizons is n runs. A constant learning rate need
not: one *trunk* serves all, and each horizon is a short *branch* off it whose rate falls to 0. If
branches end where cosines do, n horizons H_1 < ... < H_n cost

    H_n + c (H_1 + ... + H_{n-1})   instead of   H_1 + ... + H_n

with c the share of a horizon that is cool-down, 0.2. The mean of the trunk's weights over a window
of steps (SWA) or an exponential one (EMA) needs no branch at all.

Cost: at ``cpu`` 500 runs of 81M tokens in all, 23 minutes on two shared cores; at ``gpu`` 7e15
FLOPs, about 10 minutes on one large GPU; at ``paper``, 209M parameters on SlimPajama, 6.5e20 FLOPs.
Expected: branches end no higher than the cosine, 1 - sqrt lower than the line, and averages between
the trunk and its cool-downs. At a few hundred steps a cosine can end well above: it spends less of
them at a high rate, and such runs are far from learned out.

Choices. Four horizons; four rates for each schedule, which is judged at its best, since a constant
rate's best is not a cosine's. The paper's cosine ends at a tenth of its peak; another goes to 0,
as the cool-downs do. Warm-up is as many steps at every horizon. Lengths and averages are at the
base rate. Five seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.arms import band, whiskers
from mugrow.analysis.measure import measured
from mugrow.analysis.measure.dynamics import trace
from mugrow.analysis.measure.quantity import Quantity, final, logged, percent
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import AverageSpec, RunSpec, ScheduleSpec, llama
from mugrow.sweeps.graph import Node, continued, segments
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import claims
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import COOLED, COSINE, HORIZONS, to

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}
WINDOW = {"cpu": 1 / 4, "gpu": 1 / 4, "paper": 1 / 30}  # of swa, of the base run's steps
Shape = Literal["linear", "sqrt"]
SHAPES: dict[Shape, str] = {"linear": "linear", "sqrt": "1 − sqrt"}
SLIMPAJAMA = Text("hf:DKYoon/SlimPajama-6B", "hf:gpt2")

# The defaults of the paper's code: 24 layers of width 768, 200 x 512 tokens a step
paper_scale = bases.published(
    llama(width=768, depth=24, head_size=64, context=512, mlp_ratio=8 / 3, tied=True),
    lr=1e-3, schedule=ScheduleSpec(warmup=0.02), batch_sequences=200, steps=15_000, log_every=250,
)  # fmt: skip


def scheduled(
    setting: Setting, seed: int, steps: float, lr: float, schedule: ScheduleSpec
) -> RunSpec:
    """A run to a horizon, warmed up over as many steps as the base run."""
    run = setting.run
    horizon = round(steps * run.steps)
    schedule = replace(schedule, warmup=run.schedule.warmup * run.steps / horizon)
    return bases.at_rate(setting.spec(seed, steps=horizon, schedule=schedule), lr)


def whole_trunk(setting: Setting, seed: int, lr: float) -> RunSpec:
    return scheduled(setting, seed, HORIZONS[-1], lr, ScheduleSpec(kind="constant"))


def left_at(setting: Setting, steps: float, length: float) -> int:
    """The step at which the branch to a horizon leaves the trunk."""
    schedule = ScheduleSpec(warmup=0, cooldown=length)
    return cooldown_start(schedule, round(steps * setting.run.steps))


def trunk(setting: Setting, seed: int, lr: float = 1.0) -> dict[int, Node]:
    """By step, the segments that end where some branch begins; each continues the one before."""
    left = {(steps, claims.LENGTH) for steps in HORIZONS}
    left |= {(steps, length) for steps in claims.AT_LENGTHS for length in claims.LENGTHS}
    stops = {left_at(setting, *branch) for branch in left}
    names = {stop: to(stop / setting.run.steps, claims.TRUNK, lr) for stop in stops}
    return segments(whole_trunk(setting, seed, lr), names)


def branch(
    setting: Setting, trunks: dict[int, Node], steps: float, lr: float = 1.0,
    length: float = claims.LENGTH, shape: Shape = "linear",
) -> Node:  # fmt: skip
    """The cool-down to a horizon: 1 until its trunk is left, then down to 0."""
    source = trunks[left_at(setting, steps, length)]
    schedule = ScheduleSpec(warmup=0, cooldown=length, cooldown_shape=shape)
    horizon, arm = round(steps * setting.run.steps), to(steps, claims.cooled(length, shape), lr)
    return replace(continued(source, arm, schedule=schedule, steps=horizon), role="branch")


def ladder(setting: Setting, seed: int) -> Iterator[Node]:
    for lr in claims.RATES:
        trunks = trunk(setting, seed, lr)
        for steps in HORIZONS:
            yield branch(setting, trunks, steps, lr)
            for arm in (claims.COSINE, claims.COSINE_0):
                schedule = ScheduleSpec(kind="cosine", final=float(arm.factors["final"]))
                yield Node(scheduled(setting, seed, steps, lr, schedule), to(steps, arm, lr))


def lengths(setting: Setting, seed: int) -> Iterator[Node]:
    yield from ladder(setting, seed)
    trunks = trunk(setting, seed)
    for steps in HORIZONS:
        yield branch(setting, trunks, steps, shape="sqrt")
    for steps in claims.AT_LENGTHS:
        for length in claims.LENGTHS:
            for shape in SHAPES:
                yield branch(setting, trunks, steps, length=length, shape=shape)


def averages(setting: Setting, seed: int) -> Iterator[Node]:
    trunks = trunk(setting, seed)
    yield from (branch(setting, trunks, steps) for steps in HORIZONS)
    run, window = whole_trunk(setting, seed, 1.0), round(WINDOW[setting.scale] * setting.run.steps)
    yield Node(replace(run, average=AverageSpec(kind="swa", window=window)), claims.SWA)
    ema = AverageSpec(kind="ema", decay=1 - 2 / window)  # of the same mean age, window / 2
    yield Node(replace(run, average=ema), claims.EMA)


BRANCH = "cool-down"
ARMS = (claims.TRUNK, COSINE, BRANCH, claims.SWA, claims.EMA, claims.COSINE_0)
LINE_STYLES = style.distinct(ARMS)
LINE_STYLES[COOLED] = LINE_STYLES[BRANCH]


def line(store: Store, name: ArmName, since: float = 0.0) -> pd.DataFrame:
    """An arm's losses, its trunk's before them, against the tokens of both from ``since`` on, a
    share of all: min, mean and max over seeds."""
    whole = trace(store, name).band("step")
    table: pd.DataFrame = whole[whole.index >= since * whole.index[-1]]
    table.index = table.index * measured.arm(store.runs, name)["batch_tokens"].iloc[0]
    return table


def end(axis: Axes, table: pd.DataFrame, name: str) -> None:
    line_style, last = LINE_STYLES[name], table["mean"].iloc[-1:]
    axis.plot(last.index, last, line_style.marker, color=line_style.colour, zorder=4, label="_end")


def frame(axis: Axes, first: pd.DataFrame, last: pd.DataFrame, *names: str) -> None:
    """Losses against tokens from a little before the first horizon on, which ``first`` ends at."""
    highest, lowest = first["mean"].iloc[-1], last["mean"].iloc[-1]
    reach = highest - lowest
    axis.set_ylim(lowest - 0.25 * reach, highest + 0.5 * reach)
    axis.set_xlim(0.6 * first.index[-1], None)
    axis.set(xlabel="tokens trained on", ylabel=arms.LOSS)
    style.flops_axis(axis.xaxis)
    axis.legend(handles=style.handles({name: LINE_STYLES[name] for name in names}))


def runs_panel(axis: Axes, store: Store) -> None:
    factors = measured.factor_table(store.runs)
    segments = factors[(factors["schedule"] == "constant") & (factors["lr"] == 1)]
    band(axis, line(store, to(segments["steps"].max(), claims.TRUNK)), LINE_STYLES[claims.TRUNK])
    cosines = [line(store, to(steps, COSINE)) for steps in HORIZONS]
    branches = [line(store, to(steps, COOLED), 1 - claims.LENGTH) for steps in HORIZONS]
    for name, tables in ((COSINE, cosines), (COOLED, branches)):
        for table in tables:
            band(axis, table, LINE_STYLES[name])
            end(axis, table, name)
    frame(axis, cosines[0], cosines[-1], claims.TRUNK, COSINE, BRANCH)


def steps_of(store: Store, horizon: float) -> float:
    return logged(to(horizon, COSINE), "step", "last")(store).value


def by_horizon(
    axis: Axes, store: Store, of: Callable[[float], Quantity], name: ArmName, label: str
) -> None:
    """A quantity of each horizon."""
    places = {steps_of(store, horizon): of(horizon) for horizon in HORIZONS}
    whiskers(axis, store, places, LINE_STYLES[name], label)
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
    line_styles = style.distinct(tuple(SHAPES.values()))
    for shape, label in SHAPES.items():
        ends = {at: final(to(horizon, claims.cooled(at, shape))) for at in claims.LENGTHS}
        places = {100 * length: percent(loss, best) for length, loss in ends.items()}
        whiskers(axis, store, places, line_styles[label], label, star=np.argmin)
    axis.axhline(0, color=style.GREY, lw=1, ls="--")
    axis.set(xlabel="cool-down (% of the horizon)", ylabel=f"loss minus that of a {COSINE} (%)")
    axis.set_title(f"{steps_of(store, horizon):g} steps")
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


def closed_panel(axis: Axes, store: Store) -> None:
    for name in (claims.SWA, claims.EMA):
        by_horizon(axis, store, partial(claims.percent_closed, name), name, name)
    axis.axhline(100, color=LINE_STYLES[BRANCH].colour, lw=1, ls="--")
    axis.set_ylabel("of the cool-down’s gain (%)")


def draw_cost(
    axis: Axes, store: Store, cost: Callable[[Sequence[float]], Quantity], name: str, label: str
) -> None:
    """What the first one, two, ... horizons cost."""
    counts = range(1, len(HORIZONS) + 1)
    values = [cost(HORIZONS[:count])(store).value for count in counts]
    axis.plot(counts, values, **LINE_STYLES[name].keywords, label=label)
    axis.set(xlabel="horizons", xticks=counts)


def costs_panel(axis: Axes, store: Store) -> None:
    draw_cost(axis, store, claims.cosines_cost, COSINE, "a cosine for each")
    draw_cost(axis, store, claims.branches_cost, BRANCH, "trunk and branches")
    style.flops_axis(axis.yaxis)
    axis.set_ylabel("compute of all of them (FLOPs)")
    axis.set_ylim(0, None)
    axis.legend()


def ratio_panel(axis: Axes, store: Store) -> None:
    draw_cost(axis, store, claims.cost_ratio, BRANCH, "_ratio")
    axis.axhline(claims.COST, color=style.GREY, ls="--", lw=1)
    axis.set(ylabel="trunk and branches over cosines", ylim=(0, 1.05))


draw_averages = arms.row(averages_panel, closed_panel)
draw_lengths = arms.for_each(lengths_panel, claims.AT_LENGTHS, share_y=True)
ladder_runs = each_seed(SEEDS, ladder)
PAPER = Paper(
    name="beyond-fixed-durations",
    arxiv="2405.18392",
    title="Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
    summary="cool-down branches off one trunk against separate cosines; averages of weights",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(SLIMPAJAMA),
    figures={
        "D1": FigureOf(ladder_runs, arms.row(runs_panel, gaps_panel), claims.D1).shows(
            "One trunk with its cool-downs, and a cosine for each horizon",
            "Left at the base learning rate: means and ranges over seeds. Right each schedule at "
            "the best of four rates, in the grey band within half a percent.",
        ),
        "D2": FigureOf(each_seed(SEEDS, lengths), draw_lengths, claims.D2).shows(
            "How long a cool-down must be, and its shape",
            "Against the cosine at its best rate; the cool-downs are at the base one. The stars "
            "mark the lowest.",
        ),
        "D3": FigureOf(each_seed(SEEDS, averages), draw_averages, claims.D3).shows(
            "Weights averaged along the trunk, and its cool-downs",
            "Left the trunk at the base rate, its averages, and the ends of its 20 % cool-downs. "
            "Right how much of the way down to those the averages go.",
        ),
        "D4": FigureOf(ladder_runs, arms.row(costs_panel, ratio_panel), claims.D4).shows(
            "What a ladder of horizons costs",
            "FLOPs of the runs themselves, at one rate and one seed, for the first one, two, ... "
            "of the horizons. Dashed is 0.6.",
        ),
    },
    untestable=claims.UNTESTABLE,
)
