"""Staged Training for Transformer Language Models (arXiv 2203.06211).

    mugrow reproduce staged-training

A model is grown when its loss has flattened, by an operator that keeps both the loss and the slope
of the curve: identity layers in depth, two copies side by side in width, Adam's moments with them,
and the schedule taken up at the step where a large model from scratch has that loss. The large
model is twice as wide and twice as deep as the smallest, and is grown in width, in depth, or both.

Cost: at ``cpu`` about 15 minutes on two cores; at ``gpu`` about 15 minutes on one large GPU; the
paper's GPT-2 LARGE from BASE, all arms and seeds, about 1e21 FLOPs.
Expected: losses preserved to rounding in depth; savings of 10 to 25 % with the source counted.

Choices. As there, curves are compared where the rate is constant: before the WSD cool-down, or on
the first steps of a linear schedule over 250,000. Savings are at the loss that scratch has after
AIMED_AT of those steps. The ratios rho are the authors' measured ones. They train with dropout,
which alone parts the copies of a widened model; there is none here, so BREAKER does that, and the
exact operator is one of the ablations. Under WSD the position in the schedule decides when the
cool-down comes and nothing before it, so that ablation is judged by its final loss. The earlier
operators are given fresh moments, as in their papers, and the same place in the schedule.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from matplotlib.figure import Figure

from mugrow.analysis.advice.staged import learning_rate
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.dynamics import constant_part, constant_steps
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec, Start
from mugrow.sweeps.graph import Node, continued, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.staged_training import figures
from mugrow.sweeps.recipes.papers.staged_training.claims import (
    ABSTRACT,
    BOTH,
    DEPTH,
    GROW_AT,
    MAIN,
    NOTEBOOKS,
    WAYS,
    WIDTH,
    claim_against,
    claim_of_slope,
    claim_of_steps,
    claims_of_ablations,
    claims_of_growth,
    claims_of_timing,
    grown_arm,
    saved,
    source_arm,
)
from mugrow.sweeps.recipes.papers.staged_training.figures import Way

SEEDS, FEW_SEEDS = range(5), range(3)
BREAKER = 0.1  # times the target's initial weights, added to what is grown
POLICY = Start(optimizer="carry", noise=BREAKER)
FRESH = replace(POLICY, optimizer="fresh")
C4 = Text("hf:allenai/c4:en", "hf:gpt2")


SMALLER_BY = {"width": (2, 1), "depth": (1, 2), "both": (2, 2)}  # the source's width, depth


def cpu(data: DataSpec, vocabulary: int) -> RunSpec:
    return replace(bases.cpu(data, vocabulary), steps=1000, log_every=40)


def gpu(data: DataSpec, vocabulary: int) -> RunSpec:
    return replace(bases.gpu(data, vocabulary), steps=2000, log_every=50)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """GPT-2 BASE, of which LARGE is grown: 8000 of 250,000 steps of 512 x 1024 tokens."""
    model = ModelSpec(
        width=768, depth=12, head_size=96, context=1024, tied=True, vocab_size=vocabulary
    )
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=learning_rate(12, 768), init_std=0.02, weight_decay=0.01,
                        beta2=0.98, eps=1e-6),
        schedule=ScheduleSpec(kind="linear", warmup=3000 / 250_000),
        data=data,
        batch_sequences=512,
        steps=250_000,
        stop_step=8000,
        seed=0,
        data_seed=0,
        log_every=200,
    )  # fmt: skip


def shaped(setting: Setting, width: int, depth: int, seed: int) -> RunSpec:
    """The run of a model so many times as wide and deep; at ``paper`` with the rate of its size."""
    run = setting.run
    model = replace(run.model, width=run.model.width * width, depth=run.model.depth * depth)
    if setting.scale == "paper":
        run = replace(run, hyper=replace(run.hyper, lr=learning_rate(model.depth, model.width)))
    return replace(run, model=model, seed=seed, data_seed=seed)


def large(setting: Setting, seed: int) -> RunSpec:
    return shaped(setting, 2, 2, seed)


def sources(setting: Setting, way: Way, seed: int) -> dict[float, Node]:
    """One small run, stopped at every point to grow at; each goes on from the one before."""
    by_width, by_depth = SMALLER_BY[way.name]
    run = shaped(setting, 2 // by_width, 2 // by_depth, seed)
    run = replace(run, data_seed=seed + SOURCE_DATA_SEEDS)
    found: dict[float, Node] = {}
    for part in GROW_AT:
        stop, arm = round(part * constant_steps(run)), source_arm(way.name, part)
        found[part] = (
            continued(found[max(found)], arm, stop_step=stop)
            if found
            else Node(replace(run, stop_step=stop), arm)
        )
    return found


def staged(
    setting: Setting, way: Way, seed: int, part: float, arm: str = "", policy: Start = POLICY,
    how: str = "staged", schedule: str = "re-positioned",
) -> Node:  # fmt: skip
    """The large model, grown when a part of the steps has been trained."""
    source = sources(setting, way, seed)[part]
    stopped = source.spec.last_step
    first = {
        "re-positioned": round(stopped / way.rho), "restarted": 0, "not re-positioned": stopped
    }  # fmt: skip
    target = replace(large(setting, seed), first_step=first[schedule])
    return grown(source, target, arm or grown_arm(way.name, part), how, policy)


def scratch_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        yield Node(large(setting, seed), "scratch")


def main_runs(setting: Setting) -> Iterator[Node]:
    yield from scratch_runs(setting)
    for way in WAYS:
        for seed in SEEDS:
            yield sources(setting, way, seed)[GROW_AT[-1]]  # the small model's own curve
            yield staged(setting, way, seed, MAIN)


def timing_runs(setting: Setting) -> Iterator[Node]:
    yield from main_runs(setting)
    for way in WAYS:
        for part in GROW_AT:
            for seed in FEW_SEEDS:
                yield staged(setting, way, seed, part)


def ablation_runs(setting: Setting) -> Iterator[Node]:
    yield from main_runs(setting)
    exact = replace(POLICY, noise=0.0)
    for seed in FEW_SEEDS:
        yield staged(setting, WIDTH, seed, MAIN, "width, no noise", exact)
        for way in (WIDTH, DEPTH):
            yield staged(setting, way, seed, MAIN, f"{way.name}, no moments", FRESH)
            for schedule in ("restarted", "not re-positioned"):
                arm = f"{way.name}, {schedule}"
                yield staged(setting, way, seed, MAIN, arm, schedule=schedule)


def gong(setting: Setting, seed: int) -> Node:
    """Progressive stacking (Gong et al. 2019): 50,000 steps at a quarter of the depth, 70,000 at
    half of it, 280,000 at all of it, with one schedule throughout."""
    target = large(setting, seed)
    quarter, half = (replace(target.model, depth=max(1, target.model.depth // by)) for by in (4, 2))
    first, second = (round(share * target.last_step) for share in (50 / 400, 120 / 400))
    source = replace(target, data_seed=seed + SOURCE_DATA_SEEDS)
    small = Node(replace(source, model=quarter, stop_step=first), "gong, quarter")
    middle = replace(source, model=half, first_step=first, first_batch=first, stop_step=second)
    stacked = grown(small, middle, "gong, half", "stack")
    return grown(stacked, replace(target, first_step=second), "gong", "stack")


def earlier_runs(setting: Setting) -> Iterator[Node]:
    yield from main_runs(setting)
    fresh = Start()
    for seed in FEW_SEEDS:
        yield staged(setting, WIDTH, seed, MAIN, "bert2bert", fresh, "bert2bert")
        yield staged(setting, DEPTH, seed, MAIN, "stack", fresh, "stack")
        yield gong(setting, seed)


def savings_of(*names: str) -> Callable[[Store], Figure]:
    looks = {name: way.look for way in WAYS for name in names if name.startswith(way.name)}
    return lambda store: figures.savings({name: saved(store, name) for name in names}, looks)


def draw_jump(store: Store) -> Figure:
    last = constant_part(store, "scratch")
    return figures.jump(store, WAYS, MAIN * last, last)


def draw_timing(store: Store) -> Figure:
    def saving(way: Way, part: float) -> Interval:
        return saved(store, grown_arm(way.name, part))

    return figures.timing(store, WAYS, GROW_AT, constant_part(store, "scratch"), saving)


PAPER = Paper(
    name="staged-training",
    arxiv="2203.06211",
    title="Staged Training for Transformer Language Models",
    summary="grown when the loss flattens, keeping loss and slope; compute saved, stages counted",
    bases={"cpu": cpu, "gpu": gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": C4}},
    figures={
        "S1": PaperFigure(
            "Loss against compute: small, large from scratch, and grown",
            "Means over seeds with a band from the lowest to the highest. A grown model's curve "
            "begins where its small one's was left, whose compute it has paid for.",
            main_runs,
            lambda store: figures.compute(store, WAYS),
            tuple(claim for way in WAYS for claim in claims_of_growth(way)),
        ),
        "S2": PaperFigure(
            "The jump: from the small model's curve to the large one's, at equal loss",
            "The arrow goes from where the small model is grown to the step of the schedule at "
            "which the grown one begins.",
            main_runs,
            draw_jump,
            tuple(claim_of_steps(way) for way in WAYS),
        ),
        "S3": PaperFigure(
            "The slope of the loss curve, and whether growth keeps it",
            "Slopes of the mean curves by the paper's procedure: spikes left out, running means "
            "of five. The grown run is moved to where scratch has its loss.",
            main_runs,
            lambda store: figures.kept(store, WAYS, constant_part(store, "scratch")),
            tuple(claim_of_slope(way) for way in WAYS),
        ),
        "S4": PaperFigure(
            "Compute saved against the time of growth",
            "Left against the small model's steps, right against its slope then; stars are the "
            "best. Dotted: the most that Kaplan's law allows at a fixed batch; dashed: the "
            "paper's thresholds.",
            timing_runs,
            draw_timing,
            (
                *claims_of_timing(WIDTH, "22 to 25 %", NOTEBOOKS, 11.0),
                *claims_of_timing(DEPTH, "13 to 15 %", NOTEBOOKS, 6.5),
                *claims_of_timing(BOTH, "up to 22 %", ABSTRACT, 0.0),
            ),
        ),
        "S5": PaperFigure(
            "Ablations: moments, place in the schedule, symmetry",
            "Compute saved at the same loss. What never reached it is where its whole run, paid "
            "for, leaves it.",
            ablation_runs,
            savings_of(
                *(WIDTH.grown, "width, no moments", "width, restarted", "width, no noise"),
                *(DEPTH.grown, "depth, no moments", "depth, restarted"),
            ),
            (
                *claims_of_ablations(WIDTH),
                *claims_of_ablations(DEPTH),
                claim_of_slope(WIDTH, "symmetry-width", "width, no noise"),
            ),
        ),
        "S6": PaperFigure(
            "Against earlier operators and schedules",
            "Compute saved at the same loss. Gong: stacked twice, after 50,000 and 70,000 of "
            "400,000 steps, scaled to this horizon.",
            earlier_runs,
            savings_of(*(way.grown for way in WAYS), "bert2bert", "stack", "gong"),
            (
                claim_against("bert2bert", WIDTH, "bert2BERT's operator"),
                claim_against("stack", DEPTH, "stacked copies"),
                claim_against("gong", DEPTH, "Gong et al.'s progressive stacking"),
            ),
        ),
    },
    untestable=(
        Claim(
            "zero-shot",
            "the perplexities of Wikitext-103 and LAMBADA are preserved too",
            "the paper's evaluation",
            untestable="needs corpora and a tokenizer that are not at hand; the loss on held-out "
            "text stands in",
        ),
        Claim(
            "gpt2-large",
            "22 % of the compute of GPT-2 LARGE, 768M parameters, is saved",
            "abstract",
            untestable="its size: the recipe is there at --scale paper",
        ),
    ),
)
