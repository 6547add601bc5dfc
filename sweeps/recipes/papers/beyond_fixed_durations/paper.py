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

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

from mugrow.analysis.measure.claims import Claim
from mugrow.bench.spec import AverageSpec, DataSpec, HyperSpec, RunSpec, ScheduleSpec, llama
from mugrow.sweeps.graph import Node, continued
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import figures
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import (
    AVERAGED,
    COSINE,
    COSINE_0,
    LENGTH,
    LENGTHS,
    LOG2_RATES,
    TRUNK,
    against,
    averaged_minus_trunk,
    closed,
    cooled,
    cost_ratio,
    left_at,
    not_enough,
    sqrt_over_linear,
    widening,
)

HORIZONS = (0.5, 1, 2, 3)  # of the base run's steps
AT_LENGTHS = (1, 3)  # the horizons at which cool-downs of several lengths are compared
SEEDS = range(5)
WINDOW = {"cpu": 1 / 4, "gpu": 1 / 4, "paper": 1 / 30}  # of swa, of the base run's steps
MARGIN = 0.5  # percent of the loss, within which two schedules match
COST = 0.6
Shape = Literal["linear", "sqrt"]
SHAPES: tuple[Shape, ...] = ("linear", "sqrt")
SLIMPAJAMA = Text("hf:DKYoon/SlimPajama-6B", "hf:gpt2")


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """The defaults of the paper's code: 24 layers of width 768, 200 x 512 tokens a step."""
    model = llama(
        width=768, depth=24, head_size=64, context=512, mlp_ratio=8 / 3, tied=True,
        vocab_size=vocabulary,
    )  # fmt: skip
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=1e-3, init_std=0.02),
        schedule=ScheduleSpec(warmup=0.02),
        data=data,
        batch_sequences=200,
        steps=15_000,
        seed=0,
        data_seed=0,
        log_every=250,
    )


def horizons(setting: Setting) -> list[int]:
    return [round(times * setting.run.steps) for times in HORIZONS]


def scheduled(
    setting: Setting, steps: int, kind: Literal["constant", "cosine"], log2_rate: int, seed: int
) -> RunSpec:
    """A run to a horizon, warmed up over as many steps as the base run."""
    run = setting.run
    warmup = run.schedule.warmup * run.steps / steps
    return replace(
        run,
        steps=steps,
        schedule=ScheduleSpec(kind=kind, warmup=warmup),
        hyper=replace(run.hyper, lr=run.hyper.lr * 2.0**log2_rate),
        seed=seed,
        data_seed=seed,
    )


def trunk(setting: Setting, log2_rate: int, seed: int) -> dict[int, Node]:
    """By step, the segments that end where some branch begins; each continues the one before."""
    steps = horizons(setting)
    lengths = [round(times * setting.run.steps) for times in AT_LENGTHS]
    stops = {left_at(each, LENGTH) for each in steps}
    stops |= {left_at(each, share) for each in lengths for share in LENGTHS}
    run = scheduled(setting, steps[-1], "constant", log2_rate, seed)
    segments: dict[int, Node] = {}
    last: Node | None = None
    for stop in sorted(stops):
        last = (
            continued(last, TRUNK, stop_step=stop)
            if last
            else Node(replace(run, stop_step=stop), TRUNK)
        )
        segments[stop] = last
    return segments


def branch(segments: Mapping[int, Node], steps: int, share: float, shape: Shape) -> Node:
    """The cool-down to a horizon: 1 until its trunk is left, then down to 0."""
    source = segments[left_at(steps, share)]
    schedule = ScheduleSpec(warmup=0, cooldown=share, cooldown_shape=shape)
    return replace(
        continued(source, cooled(share, shape), schedule=schedule, steps=steps), role="branch"
    )


def ladder_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        for rate in LOG2_RATES:
            segments = trunk(setting, rate, seed)
            for steps in horizons(setting):
                yield branch(segments, steps, LENGTH, "linear")
                for name, final in ((COSINE, 0.1), (COSINE_0, 0.0)):
                    run = scheduled(setting, steps, "cosine", rate, seed)
                    yield Node(replace(run, schedule=replace(run.schedule, final=final)), name)


def length_runs(setting: Setting) -> Iterator[Node]:
    yield from ladder_runs(setting)
    for seed in SEEDS:
        segments = trunk(setting, 0, seed)
        for steps in horizons(setting):
            yield branch(segments, steps, LENGTH, "sqrt")
        for times in AT_LENGTHS:
            for share in LENGTHS:
                for shape in SHAPES:
                    yield branch(segments, round(times * setting.run.steps), share, shape)


def average_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        segments = trunk(setting, 0, seed)
        for steps in horizons(setting):
            yield branch(segments, steps, LENGTH, "linear")
        run = scheduled(setting, horizons(setting)[-1], "constant", 0, seed)
        window = round(WINDOW[setting.scale] * setting.run.steps)
        swa = AverageSpec(kind="swa", window=window)
        ema = AverageSpec(kind="ema", decay=1 - 2 / window)  # of the same mean age, window / 2
        for average in (swa, ema):
            yield Node(replace(run, average=average), AVERAGED[average.kind])


PAPER = Paper(
    name="beyond-fixed-durations",
    arxiv="2405.18392",
    title="Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
    summary="cool-down branches off one trunk against separate cosines; averages of weights",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": SLIMPAJAMA}},
    figures={
        "D1": PaperFigure(
            "One trunk with its cool-downs, and a cosine for each horizon",
            "Left at the base learning rate: means and ranges over seeds. Right each schedule at "
            "the best of four rates, in the grey band within half a percent.",
            ladder_runs,
            partial(figures.ladder, margin=MARGIN),
            (
                Claim(
                    "matches-cosine",
                    "a constant rate with a cool-down matches the cosine or beats it",
                    "abstract, and the README’s figure of cosine against cool-down",
                    "loss of the 20 % cool-down over that of the cosine to a tenth, mean of four "
                    "horizons, each at its best rate, %",
                    partial(against, cosine=COSINE),
                    high=MARGIN,
                ),
                Claim(
                    "matches-cosine-to-0",
                    "a constant rate with a cool-down matches the cosine",
                    "abstract; here the cosine falls to 0, as the cool-down does",
                    "loss of the 20 % cool-down over that of the cosine to 0, mean of four "
                    "horizons, each at its best rate, %",
                    partial(against, cosine=COSINE_0),
                    low=-MARGIN,
                    high=MARGIN,
                ),
                Claim(
                    "scales-alike",
                    "it scales predictably and reliably similar to cosine",
                    "abstract",
                    "the gap to the cosine to a tenth at the longest horizon minus that at the "
                    "shortest, points of percent",
                    widening,
                    low=-MARGIN,
                    high=MARGIN,
                ),
            ),
        ),
        "D2": PaperFigure(
            "How long a cool-down must be, and its shape",
            "Against the cosine at its best rate; the cool-downs are at the base one. The stars "
            "mark the lowest.",
            length_runs,
            figures.lengths,
            (
                Claim(
                    "20-percent-enough",
                    "a cool-down over 20 % of the steps is enough",
                    "the paper’s recipe, as its code’s README runs it",
                    "loss after a cool-down of 20 % over that after one of 40 %, mean of two "
                    "horizons, %",
                    not_enough,
                    high=MARGIN,
                ),
                Claim(
                    "sqrt-beats-linear",
                    "a cool-down of the form 1 - sqrt ends lower than a linear one",
                    "the comparison of cool-down forms; decay-type sqrt in its code",
                    "loss after 1 - sqrt over that after linear, both of 20 %, mean of four "
                    "horizons, %",
                    sqrt_over_linear,
                    high=0.0,
                ),
            ),
        ),
        "D3": PaperFigure(
            "Weights averaged along the trunk, and its cool-downs",
            "Left the trunk at the base rate, its averages, and the ends of its 20 % cool-downs. "
            "Right how much of the way down to those the averages go.",
            average_runs,
            figures.averages,
            (
                Claim(
                    "swa-improves",
                    "weight averaging improves the model along the trajectory at no cost",
                    "abstract",
                    "loss of the averaged weights over that of the trunk, mean of four horizons, %",
                    averaged_minus_trunk,
                    high=0.0,
                ),
                Claim(
                    "swa-most-not-all",
                    "averaging closes most of the gap to a cool-down, but not all of it",
                    "the paper’s section on weight averaging; its number is not in our notes",
                    "share of the cool-down’s gain over the trunk that SWA has too, four horizons",
                    partial(closed, kind="swa"),
                    low=0.5,
                    high=1.0,
                ),
            ),
        ),
        "D4": PaperFigure(
            "What a ladder of horizons costs",
            "FLOPs of the runs themselves, at one rate and one seed, for the first one, two, ... "
            "of the horizons. Dashed is 0.6.",
            ladder_runs,
            partial(figures.costs, claimed=COST),
            (
                Claim(
                    "ladder-cost",
                    "a ladder of horizons costs 0.6 of what separate runs cost, or less",
                    "its savings, as (the last run + 0.2 of the others) / all",
                    "FLOPs of trunk and branches over those of the cosines, four horizons",
                    cost_ratio,
                    high=COST,
                ),
            ),
        ),
    },
    untestable=(
        Claim(
            "gpu-hours",
            "scaling experiments take significantly fewer GPU hours",
            "abstract",
            untestable="hours on the paper’s GPUs; FLOPs are counted in their place",
        ),
    ),
)
