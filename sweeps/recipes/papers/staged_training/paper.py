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
cool-down comes and nothing before it, so that ablation is judged by its final loss. What
else the compute would have bought is asked of growth in width alone. The earlier operators are
given fresh moments, as in their papers, and the same place in the schedule.

Each way to grow has a panel, with the small model, the large one from scratch, and the large one
grown. Against compute a grown curve begins where its small one's was left; against steps, where in
the large model's schedule it is taken up; for slopes it is laid over scratch at equal loss.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.advice.staged import KaplanSteps, learning_rate, optimal_growth_point
from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.dynamics import Trace, constant_steps, slopes, trace
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, ScheduleSpec, Start, UserError
from mugrow.sweeps import beside
from mugrow.sweeps.graph import FRESH, Node, grown, segments
from mugrow.sweeps.paper import FigureOf, Paper, Runs, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.staged_training import claims
from mugrow.sweeps.recipes.papers.staged_training.claims import GROW_AT, SCRATCH, WAYS, Way

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
    yield Node(large(setting, seed), SCRATCH)
    for way in WAYS:
        yield sources(setting, way, seed)[GROW_AT[-1]]  # the small model's own curve
        yield staged(setting, way, seed)


def in_width(setting: Setting, seed: int) -> Iterator[Node]:
    """What is compared at equal charged compute."""
    yield Node(large(setting, seed), SCRATCH)
    yield staged(setting, claims.WIDTH, seed)


def timing(setting: Setting, seed: int) -> Iterator[Node]:
    for way in WAYS:
        yield from (staged(setting, way, seed, at=at) for at in GROW_AT)


def ablations(setting: Setting, seed: int) -> Iterator[Node]:
    exact, fresh = replace(POLICY, noise=0.0), replace(POLICY, optimizer="fresh")
    yield staged(setting, claims.WIDTH, seed, claims.NO_NOISE, policy=exact)
    for way in (claims.WIDTH, claims.DEPTH):
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
    small = source_of(target, arm.varied("quarter", depth=0.25), model=quarter, stop_step=first)
    middle = source_of(target, model=half, first_step=first, first_batch=first, stop_step=second)
    stacked = grown(small, middle.spec, arm.varied("half", depth=0.5), "stack")
    return grown(stacked, replace(target, first_step=second), arm, "stack")


def earlier(setting: Setting, seed: int) -> Iterator[Node]:
    for way, name in ((claims.WIDTH, "bert2bert"), (claims.DEPTH, "stack")):
        yield staged(setting, way, seed, claims.EARLIER[name], policy=FRESH, method=name)
    yield gong(setting, seed)


SAVED = "compute saved (%), all stages counted"
SLOPES_FROM = 0.1  # of the steps; before, warm-up is what a slope would show
LINE_STYLES = {"width": style.line_style("staged"), "depth": style.LineStyle("#0072B2", "s"),
         "both": style.LineStyle("#D55E00", "^")}  # fmt: skip


def draw_losses(axis: Axes, way: Way, x: Literal["step", "flops"], *curves: Trace) -> None:
    """Of the small model, the large one from scratch and the grown one."""
    labels = ("small", "large, from scratch", "grown")
    for curve, label, dash in zip(curves, labels, (":", "-", "-"), strict=True):
        line_style = style.line_style(SCRATCH) if curve is curves[1] else LINE_STYLES[way.name]
        arms.band(axis, curve.band(x), replace(line_style, line=dash), label=label)
    scratch = curves[1]
    low, high = scratch.loss.min(), scratch.loss_at(scratch.step[-1] / 10)
    axis.set(ylabel=arms.LOSS, title=way.title, ylim=(low - 0.05 * (high - low), high))
    axis.legend()


def compute_panel(axis: Axes, store: Store, way: Way) -> None:
    names = (way.source(), SCRATCH, way.grown())
    axis.set(xscale="log", xlabel="compute (FLOPs, all stages)")
    draw_losses(axis, way, "flops", *(trace(store, name) for name in names))
    style.flops_axis(axis.xaxis, (1, 3))


def jump_panel(axis: Axes, store: Store, way: Way) -> None:
    """Steps at a constant rate alone."""
    small, scratch = trace(store, way.source()), trace(store, SCRATCH)
    last, at = scratch.constant, claims.MAIN * scratch.constant
    scratch, grown = scratch.until(last), trace(store, way.grown()).until(last)
    draw_losses(axis, way, "step", small, scratch, grown)
    loss = small.loss_at(at)
    axis.annotate("", (grown.step[0], loss), (at, loss), arrowprops={"arrowstyle": "->"})
    rho = f"ρ {at / scratch.step_at(loss):.2f} measured, {way.rho:.2f} used"
    axis.set(title=f"{way.title}\n{rho}", xlabel="step of the schedule")


def slope_panel(axis: Axes, store: Store, way: Way) -> None:
    scratch = trace(store, SCRATCH)
    last = scratch.constant
    scratch, grown = scratch.until(last), trace(store, way.grown()).until(last)
    if not len(slopes(scratch)[0]):
        raise UserError("the runs log too few points before the cool-down for a slope")
    skipped = scratch.flops_at(grown.loss[0]) - grown.flops[0]
    for curve, label, line_style, dash in (
        (trace(store, way.source()), "small", LINE_STYLES[way.name], ":"),
        (scratch, "large, from scratch", style.line_style(SCRATCH), "-"),
        (replace(grown, flops=grown.flops + skipped), "grown", LINE_STYLES[way.name], "-"),
    ):
        steps, flops, tau = slopes(curve)
        late = steps > SLOPES_FROM * last
        axis.plot(flops[late], tau[late], dash, color=line_style.colour, label=label)
    axis.axhline(way.threshold, color=style.GREY, ls="--", lw=0.9, label="grow here (paper)")
    axis.set(xscale="log", xlabel="compute (FLOPs, from equal loss)", title=way.title)
    axis.set_ylabel("slope τ of ln loss against ln FLOPs")
    style.flops_axis(axis.xaxis, (1, 3))
    axis.legend()


def timing_panel(axis: Axes, store: Store, against: str) -> None:
    """What is saved when growing after each of ``GROW_AT`` of the steps, against ``steps`` or
    the small model's ``slope`` then."""
    for way in WAYS:
        line_style = LINE_STYLES[way.name]
        places = {at: claims.saving(way.grown(at)) for at in GROW_AT}
        if against == "steps":
            growth_factor = way.width**2 * way.depth  # of parameters
            law = optimal_growth_point(growth_factor, KaplanSteps(critical_batch=False)).saving
            axis.axhline(100 * law, color=line_style.colour, ls=":", lw=0.9)
        else:
            places = {claims.slope(way, at)(store).value: one for at, one in places.items()}
            axis.axvline(way.threshold, color=line_style.colour, ls="--", lw=0.9)
        arms.whiskers(axis, store, places, line_style, way.title, star=np.argmax)
    axis.axhline(0, color=style.GREY, lw=0.8)
    axis.set(xlabel="small model’s slope τ when it is grown", ylabel=SAVED)
    if against == "steps":
        axis.set_xlabel("small model’s steps / steps at a constant rate")
        axis.legend()


def savings_of(*names: ArmName) -> Callable[[Store], Figure]:
    """A row for each arm."""
    line_styles: arms.LineStyles = {
        name: LINE_STYLES[str(name.factors["way"])] for name in names if "way" in name.factors
    }
    savings: arms.Quantities = {name: claims.saving(name) for name in names}
    return arms.row(arms.DotPanel(savings, SAVED, line_styles, zero=True))


draw_timing = arms.for_each(timing_panel, ("steps", "slope"), share_y=True)
of_width, of_depth = (
    (way.grown(), way.changed(claims.NO_MOMENTS), way.changed(claims.RESTARTED))
    for way in (claims.WIDTH, claims.DEPTH)
)
draw_ablations = savings_of(*of_width, claims.NO_NOISE, *of_depth)
draw_earlier = savings_of(*(way.grown() for way in WAYS), *claims.EARLIER.values())
main_runs = each_seed(SEEDS, main)


def with_main(nodes: Callable[[Setting, int], Iterable[Node]]) -> Runs:
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
        "S1": FigureOf(
            main_runs, arms.for_each(compute_panel, WAYS, share_y=True), claims.S1
        ).shows(
            "Loss against compute: small, large from scratch, and grown",
            "Means over seeds with a band from the lowest to the highest. A grown model's curve "
            "begins where its small one's was left, whose compute it has paid for.",
        ),
        "S2": FigureOf(main_runs, arms.for_each(jump_panel, WAYS, share_y=True), claims.S2).shows(
            "The jump: from the small model's curve to the large one's, at equal loss",
            "The arrow goes from where the small model is grown to the step of the schedule at "
            "which the grown one begins.",
        ),
        "S3": FigureOf(main_runs, arms.for_each(slope_panel, WAYS, share_y=True), claims.S3).shows(
            "The slope of the loss curve, and whether growth keeps it",
            "Slopes of the mean curves by the paper's procedure: spikes left out, running means "
            "of five. The grown run is moved to where scratch has its loss.",
        ),
        "S4": FigureOf(with_main(timing), draw_timing, claims.S4).shows(
            "Compute saved against the time of growth",
            "Left against the small model's steps, right against its slope then; stars are the "
            "best. Dotted: the most that Kaplan's law allows at a fixed batch; dashed: the "
            "paper's thresholds.",
        ),
        "S5": FigureOf(with_main(ablations), draw_ablations, claims.S5).shows(
            "Ablations: moments, place in the schedule, symmetry",
            "Compute saved at the same loss. What never reached it is where its whole run, paid "
            "for, leaves it.",
        ),
        "S6": FigureOf(with_main(earlier), draw_earlier, claims.S6).shows(
            "Against earlier operators and schedules",
            "Compute saved at the same loss. Gong: stacked twice, after 50,000 and 70,000 of "
            "400,000 steps, scaled to this horizon.",
        ),
        "S7": beside.figure(
            each_seed(FEW_SEEDS, in_width), arms=[claims.WIDTH.grown()], note="All have one rate."
        ),
    },
    untestable=claims.UNTESTABLE,
)
