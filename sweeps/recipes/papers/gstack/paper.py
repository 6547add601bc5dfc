"""G_stack: which operator to grow a language model by, and when and how much (arXiv 2405.15319).

    mugrow reproduce gstack

Eight operators, four in depth and four in width, grow a quarter of a model into the whole; stacking
in depth trains fastest, width gains nothing. All comparisons are at equal compute *with the source
charged*: a grown run has the steps that scratch's budget leaves after its source (and after what
LiGO learns on), and a whole schedule over them. The speed-up is the paper's,

    FLOPs of scratch / FLOPs paid - 1    at the loss that was paid for,

with scratch's FLOPs read off its own final losses at three budgets, linear in log FLOPs; a loss
beyond those counts as at the last of them, so no speed-up outside -40 to 60 % is ever claimed.

Cost: at ``cpu`` about 25 minutes on two cores, an estimate; at ``gpu`` 2e16 FLOPs, an estimated 10
minutes on one large GPU; the paper's comparison at 1.1B parameters and 8e20 FLOPs, one seed,
1.4e22 FLOPs.
Expected: depth first, stacking its best or level with it; width no better than scratch.

Choices. The operators are read from the paper's family as this suite has it: *direct* is ``stack``
in depth and, in width, copies with an uneven split, ``lemon``; *zero* is random new parameters
behind zero outputs, ``composable``, whose norms are exact where theirs are not; *random* is
``msg``, a mask that rises over a tenth of the training, whose new blocks, unlike theirs, begin as
copies; *learn* is ``ligo``. It learns on a twentieth of a run's steps, as 100 steps would be a
quarter of a small run; at ``paper`` on the paper's 100. A source stops before its cool-down, after
a quarter of the target's steps (``paper``: 10B tokens). A growth factor g is of depth alone, in
width a factor of two each way. TinyLlama has 22 blocks; ours has 24, which four and eight divide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.curves import shown_range
from mugrow.analysis.measure.measured import finals
from mugrow.analysis.read.store import Store
from mugrow.bench.flops import per_token
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, Scalar, ScheduleSpec, llama
from mugrow.sweeps.graph import FRESH, Node, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.gstack import claims
from mugrow.sweeps.recipes.papers.gstack.claims import (
    BUDGETS,
    DEPTH,
    FINAL,
    OPERATORS,
    SCRATCH,
    SOURCES,
    STACK,
    WIDTH,
    ladder,
    paid,
    speedup_percent,
)

WIDER, DEEPER = 2, 4
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
SOURCE = {"cpu": 0.25, "gpu": 0.25, "paper": 0.105}  # of the target's steps
FACTORS = (2, 8)
LEARNED, MASKED = 0.05, 0.1
LOOKS: Mapping[str, style.Look] = {
    name: replace(style.look(how), line="--" if how == "msg" else "-")
    for name, how in OPERATORS.items()
}
SLIMPAJAMA = Text(
    "hf:cerebras/SlimPajama-627B",
    "hf:TinyLlama/TinyLlama_v1.1",
    val_tokens=2**20,
    vocab_size=32_000,
)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Half the width and a quarter of the depth of the 1.1B model (without TinyLlama's grouped
    queries 1.36B); 8e20 FLOPs of that model, in batches of 2M tokens."""
    model = llama(
        width=1024, depth=6, head_size=64, context=2048, mlp_ratio=2.75, vocab_size=vocabulary
    )
    tokens = 8e20 / per_token(shape(model))
    steps = round(tokens / 2**21)
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=3e-4, init_std=0.02),
        schedule=ScheduleSpec(kind="cosine", warmup=3000 / steps, cooldown=0.0, final=0.1),
        data=data,
        batch_sequences=1024,
        steps=steps,
        seed=0,
        data_seed=0,
        log_every=500,
    )


def shape(base: ModelSpec, width: int = WIDER, depth: int = DEEPER) -> ModelSpec:
    """The target's, unless it is smaller along one axis."""
    return replace(base, width=base.width * width, depth=base.depth * depth)


def scratch(setting: Setting, seed: int, budget: float = 1.0) -> Node:
    """A target from scratch, at a multiple of the compute."""
    run, steps = setting.run, round(setting.run.steps * budget)
    model = shape(run.model)
    arm = SCRATCH if budget == 1 else f"{SCRATCH} at {budget:g} times the compute"
    return Node(replace(run, model=model, steps=steps, seed=seed, data_seed=seed), arm)


def operator(
    setting: Setting, seed: int, name: str, share: float | None = None, factor: int = DEEPER
) -> Node:
    """A target grown from a source of the target's steps times ``share``, smaller by ``factor`` if
    in depth, at the compute of scratch."""
    target, how = scratch(setting, seed).spec, OPERATORS[name]
    small = shape(setting.run.model, width=1)
    if name in DEPTH:
        small = replace(target.model, depth=target.model.depth // factor)
    usual = SOURCE[setting.scale]
    source = Node(
        replace(
            target,
            model=small,
            data_seed=seed + SOURCE_DATA_SEEDS,
            stop_step=round(target.steps * (usual if share is None else share)),
        ),
        "source",
    )
    own: dict[str, Scalar] = {}
    if how == "ligo":
        own["steps"] = 100 if setting.scale == "paper" else round(LEARNED * target.steps)
    if how == "msg":
        own["grow_steps"] = round(MASKED * target.steps)
    charged = per_token(small) * source.spec.tokens / per_token(target.model) / target.batch_tokens
    left = int(target.steps - charged) - int(own.get("steps", 0))
    label = name
    if share is not None:
        label = f"{name}, d = {share:g}"
    elif factor != DEEPER:
        label = f"{name}, g = {factor}"
    return grown(source, replace(target, steps=left), label, how, FRESH, **own)


def operator_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        yield scratch(setting, seed)
        for name in OPERATORS:
            yield operator(setting, seed, name)


def speedup_runs(setting: Setting) -> Iterator[Node]:
    yield from operator_runs(setting)
    for seed in SEEDS[setting.scale]:
        for budget in BUDGETS:
            yield scratch(setting, seed, budget)


def sweep_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        yield scratch(setting, seed)
        yield operator(setting, seed, STACK)
        for share in SOURCES[setting.scale]:
            yield operator(setting, seed, STACK, share=share)
        for factor in FACTORS:
            yield operator(setting, seed, STACK, factor=factor)


def draw_operators(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2, sharex=True, sharey=True)
    figure.set_figheight(style.PANEL + 0.7)
    for axis, names, title in ((left, DEPTH, "grown in depth"), (right, WIDTH, "grown in width")):
        arms.curves(axis, store, [SCRATCH, *names], charge_source=True, looks=LOOKS)
        loss = float(np.mean(list(finals(store.runs, SCRATCH).values())))
        axis.axhline(loss, color=style.GREY, ls="--", lw=1, label="_final")
        axis.set_title(title)
    right.set_ylabel("")
    everything = [arms.points(store, name) for name in (SCRATCH, *OPERATORS)]
    right.set_ylim(shown_range(pd.concat(everything)))
    handles = [style.handle(name, mine=LOOKS[name]) for name in OPERATORS]
    style.legend_below(figure, [style.handle(SCRATCH), *handles], columns=5)
    return figure


def draw_speedups(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2, width_ratios=(3, 2))
    arms.dots(left, list(OPERATORS), [speedup_percent(store, name) for name in OPERATORS], LOOKS)
    left.axvline(0, color="black", lw=0.8)
    left.set_xlabel("speed-up over scratch at equal loss (%)")
    rungs = ladder(store)
    means = [float(np.mean(list(rung.values()))) for rung in rungs.values()]
    right.plot(list(rungs), means, "o-", color=style.look(SCRATCH).colour, label=SCRATCH)
    for name, look in LOOKS.items():
        loss = float(np.mean(list(finals(store.runs, name).values())))
        inside = "white" if name in WIDTH else look.colour
        right.plot([paid(store, name)], [loss], look.marker, color=look.colour, mfc=inside)
    right.set(xscale="log", xlabel="compute (FLOPs, source’s added)", ylabel=FINAL)
    style.flops_axis(right.xaxis)
    right.set_xticks(list(rungs))
    right.legend()
    return figure


def draw_sweeps(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2, sharey=True)
    scale = store.study["scale"]
    base = finals(store.runs, SCRATCH)
    places = {SOURCE[scale]: STACK} | {d: f"{STACK}, d = {d:g}" for d in SOURCES[scale]}
    draw_line(left, {d: finals(store.runs, places[d]) for d in sorted(places)}, base)
    left.set(xlabel="source’s tokens d, of those of scratch", ylabel=FINAL, xscale="log")
    left.set_xticks(sorted(places), [f"{d:g}" for d in sorted(places)], minor=False)
    left.minorticks_off()
    factors = {DEEPER: STACK} | {g: f"{STACK}, g = {g}" for g in FACTORS}
    draw_line(right, {g: finals(store.runs, factors[g]) for g in sorted(factors)}, base)
    right.set(xlabel="growth factor g of the depth", xscale="log")
    right.set_xticks(sorted(factors), [f"{g}" for g in sorted(factors)], minor=False)
    right.minorticks_off()
    left.legend()
    return figure


def draw_line(
    axis: Axes, table: Mapping[float, Mapping[int, float]], base: Mapping[int, float]
) -> None:
    """Mean losses with the band of seeds, the lowest starred, and those of scratch as a line."""
    look, x = LOOKS[STACK], list(table)
    losses = [list(own.values()) for own in table.values()]
    means = [float(np.mean(own)) for own in losses]
    axis.fill_between(x, [min(own) for own in losses], [max(own) for own in losses],
                      color=look.colour, alpha=0.2, lw=0)  # fmt: skip
    axis.plot(x, means, look.marker + "-", color=look.colour, label="stacked, at equal compute")
    best = int(np.argmin(means))
    style.mark_minimum(axis, x[best], means[best], look.colour)
    axis.axhspan(min(base.values()), max(base.values()), color=style.GREY, alpha=0.12, lw=0)
    axis.axhline(float(np.mean(list(base.values()))), color=style.GREY, ls="--", label=SCRATCH)


PAPER = Paper(
    name="gstack",
    arxiv="2405.15319",
    title="Stacking Your Transformers: A Closer Look at Model Growth for Efficient LLM "
    "Pre-Training",
    summary="eight growth operators at equal compute, and when and how much to stack",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": SLIMPAJAMA}},
    figures={
        "G1": PaperFigure(
            "Loss against compute of eight growth operators",
            "Mean validation loss with a band from the lowest to the highest seed; the source’s "
            "FLOPs are added. All end at the compute of scratch, whose final loss is dashed; on "
            "the way, a cooled-down curve is below one that has yet to cool down.",
            operator_runs,
            draw_operators,
            claims.G1,
        ),
        "G2": PaperFigure(
            "Speed-up of eight growth operators",
            "Left, FLOPs that scratch needs for the operator’s final loss over the FLOPs paid, "
            "source included, minus 1; whiskers are intervals over seeds. Right, where that is "
            "read off: final losses of scratch at three budgets, and of the operators, those in "
            "width hollow.",
            speedup_runs,
            draw_speedups,
            claims.G2,
        ),
        "G3": PaperFigure(
            "When to stack, and how much, at equal compute",
            "Final validation loss of stacked models, with a band from the lowest to the highest "
            "seed, all at the compute of scratch with the source charged; a star marks the lowest "
            "mean. Left, against the length of the source’s training at g = 4; right, against the "
            "growth factor at the source’s usual length.",
            sweep_runs,
            draw_sweeps,
            claims.G3,
        ),
    },
    untestable=claims.UNTESTABLE,
)
