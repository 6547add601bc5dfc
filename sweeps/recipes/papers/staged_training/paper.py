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
which alone parts the copies of a widened model; there is none here, so noise does that, and the
exact operator is one of the ablations. Under WSD the position in the schedule decides when the
cool-down comes and nothing before it, so that ablation is judged by its final loss. The earlier
operators are given fresh moments, as in their papers, and the same place in the schedule.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from mugrow.analysis.advice.staged import learning_rate
from mugrow.analysis.measure.dynamics import constant_steps
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, ScheduleSpec, Start
from mugrow.sweeps.graph import FRESH, Node, grown, segments
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.staged_training import claims, figures
from mugrow.sweeps.recipes.papers.staged_training.claims import DEPTH, GROW_AT, WAYS, WIDTH, Way

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}
FEW_SEEDS = {"cpu": range(3), "gpu": range(3), "paper": range(3)}
POLICY = Start(optimizer="carry", noise=0.1)  # of the target's initial weights
C4 = Text("hf:allenai/c4:en", "hf:gpt2")

# GPT-2 BASE, of which LARGE is grown: 8000 of 250,000 steps of 512 x 1024 tokens
paper_scale = bases.published(
    ModelSpec(width=768, depth=12, head_size=96, context=1024, tied=True),
    lr=0.0, hyper=HyperSpec(lr=learning_rate(12, 768), init_std=0.02, weight_decay=0.01,
                            beta2=0.98, eps=1e-6),
    schedule=ScheduleSpec(kind="linear", warmup=3000 / 250_000), batch_sequences=512,
    steps=250_000, stop_step=8000, log_every=200,
)  # fmt: skip


def large(setting: Setting, seed: int, width: float = 2, depth: float = 2) -> RunSpec:
    """A model so many times as wide and deep as the base; at ``paper`` with its size's rate."""
    spec = setting.spec(seed, width, depth)
    if setting.scale != "paper":
        return spec
    rate = learning_rate(spec.model.depth, spec.model.width)
    return replace(spec, hyper=replace(spec.hyper, lr=rate))


def sources(setting: Setting, way: Way, seed: int) -> dict[float, Node]:
    """One small run, stopped at every point to grow at; each goes on from the one before."""
    run = source_of(large(setting, seed, 2 / way.width, 2 / way.depth)).spec
    stops = {at: round(at * constant_steps(run)) for at in GROW_AT}
    nodes = segments(run, {stop: way.source(at) for at, stop in stops.items()})
    return {at: nodes[stop] for at, stop in stops.items()}


def staged(
    setting: Setting, way: Way, seed: int, arm: ArmName | None = None, at: float = claims.MAIN,
    policy: Start = POLICY, method: str = "staged",
) -> Node:  # fmt: skip
    """The large model, grown when a part of the steps has been trained. It takes the schedule up
    where scratch has that loss, unless the change that the arm is of says otherwise."""
    source, arm = sources(setting, way, seed)[at], arm or way.grown(at)
    stopped = source.spec.last_step
    change = arm.factors.get("change")
    first = {claims.RESTARTED: 0, claims.MOVED: stopped}.get(str(change), round(stopped / way.rho))
    return grown(source, replace(large(setting, seed), first_step=first), arm, method, policy)


def main(setting: Setting, seed: int) -> Iterator[Node]:
    yield Node(large(setting, seed), claims.SCRATCH)
    for way in WAYS:
        yield sources(setting, way, seed)[GROW_AT[-1]]  # the small model's own curve
        yield staged(setting, way, seed)


def timing(setting: Setting, seed: int) -> Iterator[Node]:
    for way in WAYS:
        yield from (staged(setting, way, seed, at=at) for at in GROW_AT)


def ablations(setting: Setting, seed: int) -> Iterator[Node]:
    yield staged(setting, WIDTH, seed, claims.NO_NOISE, policy=replace(POLICY, noise=0.0))
    fresh = replace(POLICY, optimizer="fresh")
    for way in (WIDTH, DEPTH):
        yield staged(setting, way, seed, way.changed(claims.NO_MOMENTS), policy=fresh)
        yield from (
            staged(setting, way, seed, way.changed(one)) for one in (claims.RESTARTED, claims.MOVED)
        )


def gong(setting: Setting, seed: int) -> Node:
    """Progressive stacking (Gong et al. 2019): 50,000 steps at a quarter of the depth, 70,000 at
    half of it, 280,000 at all of it, with one schedule throughout."""
    target, arm = large(setting, seed), claims.EARLIER["gong"]
    quarter, half = (replace(target.model, depth=max(1, target.model.depth // by)) for by in (4, 2))
    first, second = (round(share * target.last_step) for share in (50 / 400, 120 / 400))
    small = source_of(target, model=quarter, stop_step=first)
    small = replace(small, arm=arm.varied("quarter", depth=0.25))
    middle = source_of(target, model=half, first_step=first, first_batch=first, stop_step=second)
    stacked = grown(small, middle.spec, arm.varied("half", depth=0.5), "stack")
    return grown(stacked, replace(target, first_step=second), arm, "stack")


def earlier(setting: Setting, seed: int) -> Iterator[Node]:
    for way, name in ((WIDTH, "bert2bert"), (DEPTH, "stack")):
        yield staged(setting, way, seed, claims.EARLIER[name], policy=FRESH, method=name)
    yield gong(setting, seed)


main_runs = each_seed(SEEDS, main)


def beside(
    nodes: Callable[[Setting, int], Iterable[Node]],
) -> Callable[[Setting], Iterable[Node]]:
    """The main runs and, for fewer seeds, others."""
    others = each_seed(FEW_SEEDS, nodes)
    return lambda setting: [*main_runs(setting), *others(setting)]


PAPER = Paper(
    name="staged-training",
    arxiv="2203.06211",
    title="Staged Training for Transformer Language Models",
    summary="grown when the loss flattens, keeping loss and slope; compute saved, stages counted",
    bases=bases.scales(
        paper_scale, cpu={"steps": 1000, "log_every": 40}, gpu={"steps": 2000, "log_every": 50}
    ),
    corpora=bases.one_text(C4),
    figures={
        "S1": PaperFigure(
            "Loss against compute: small, large from scratch, and grown",
            "Means over seeds with a band from the lowest to the highest. A grown model's curve "
            "begins where its small one's was left, whose compute it has paid for.",
            main_runs,
            figures.draw_compute,
            claims.S1,
        ),
        "S2": PaperFigure(
            "The jump: from the small model's curve to the large one's, at equal loss",
            "The arrow goes from where the small model is grown to the step of the schedule at "
            "which the grown one begins.",
            main_runs,
            figures.draw_jump,
            claims.S2,
        ),
        "S3": PaperFigure(
            "The slope of the loss curve, and whether growth keeps it",
            "Slopes of the mean curves by the paper's procedure: spikes left out, running means "
            "of five. The grown run is moved to where scratch has its loss.",
            main_runs,
            figures.draw_slopes,
            claims.S3,
        ),
        "S4": PaperFigure(
            "Compute saved against the time of growth",
            "Left against the small model's steps, right against its slope then; stars are the "
            "best. Dotted: the most that Kaplan's law allows at a fixed batch; dashed: the "
            "paper's thresholds.",
            beside(timing),
            figures.draw_timing,
            claims.S4,
        ),
        "S5": PaperFigure(
            "Ablations: moments, place in the schedule, symmetry",
            "Compute saved at the same loss. What never reached it is where its whole run, paid "
            "for, leaves it.",
            beside(ablations),
            figures.draw_ablations,
            claims.S5,
        ),
        "S6": PaperFigure(
            "Against earlier operators and schedules",
            "Compute saved at the same loss. Gong: stacked twice, after 50,000 and 70,000 of "
            "400,000 steps, scaled to this horizon.",
            beside(earlier),
            figures.draw_earlier,
            claims.S6,
        ),
    },
    untestable=claims.UNTESTABLE,
)
