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

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import AverageSpec, RunSpec, ScheduleSpec, llama
from mugrow.sweeps.graph import Node, continued, segments
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text, each_seed
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import claims, figures
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import HORIZONS, LENGTH, TRUNK, to

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}
WINDOW = {"cpu": 1 / 4, "gpu": 1 / 4, "paper": 1 / 30}  # of swa, of the base run's steps
Shape = Literal["linear", "sqrt"]
SHAPES: tuple[Shape, ...] = ("linear", "sqrt")
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
    stops = {left_at(setting, steps, LENGTH) for steps in HORIZONS}
    stops |= {
        left_at(setting, steps, length) for steps in claims.AT_LENGTHS for length in claims.LENGTHS
    }
    arms = {stop: to(stop / setting.run.steps, TRUNK, lr) for stop in stops}
    return segments(whole_trunk(setting, seed, lr), arms)


def branch(
    setting: Setting, trunks: dict[int, Node], steps: float, lr: float = 1.0,
    length: float = LENGTH, shape: Shape = "linear",
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


ladder_runs = each_seed(SEEDS, ladder)
PAPER = Paper(
    name="beyond-fixed-durations",
    arxiv="2405.18392",
    title="Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
    summary="cool-down branches off one trunk against separate cosines; averages of weights",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(SLIMPAJAMA),
    figures={
        "D1": PaperFigure(
            "One trunk with its cool-downs, and a cosine for each horizon",
            "Left at the base learning rate: means and ranges over seeds. Right each schedule at "
            "the best of four rates, in the grey band within half a percent.",
            ladder_runs,
            figures.draw_ladder,
            claims.D1,
        ),
        "D2": PaperFigure(
            "How long a cool-down must be, and its shape",
            "Against the cosine at its best rate; the cool-downs are at the base one. The stars "
            "mark the lowest.",
            each_seed(SEEDS, lengths),
            figures.draw_lengths,
            claims.D2,
        ),
        "D3": PaperFigure(
            "Weights averaged along the trunk, and its cool-downs",
            "Left the trunk at the base rate, its averages, and the ends of its 20 % cool-downs. "
            "Right how much of the way down to those the averages go.",
            each_seed(SEEDS, averages),
            figures.draw_averages,
            claims.D3,
        ),
        "D4": PaperFigure(
            "What a ladder of horizons costs",
            "FLOPs of the runs themselves, at one rate and one seed, for the first one, two, ... "
            "of the horizons. Dashed is 0.6.",
            ladder_runs,
            figures.draw_costs,
            claims.D4,
        ),
    },
    untestable=claims.UNTESTABLE,
)
