"""Inheritune: a half as deep model from the first blocks of a trained one (arXiv 2404.08634).

    mugrow reproduce inheritune

The late blocks of a trained decoder hardly attend to anything, so they are left out: a model of
half the depth begins as the first half of a reference's blocks, trains for as many steps, and is
said to end at the reference's own loss, where from random weights it would not.

Cost: at ``cpu`` about 5 minutes on two cores; at ``gpu`` 3e15 FLOPs, an estimated 3 minutes on one
large GPU; at ``paper``, GPT-2 large of 36 layers on OpenWebText, 8e19 FLOPs.
Expected: far below the half from scratch, much of it the head start of the reference's training;
with that paid for, no saving.

Choices. The paper's reference is its own full baseline; here it has batches of its own, so that no
half sees its reference's again. Where it adds layers until the loss is matched, all depths are run.
*Stacked* is a quarter of the depth trained and repeated twice, two rounds of as many steps;
*hybrid*, of which the set-up is not at hand, the same with that quarter inherited first. Depths
share one learning rate. Eight blocks collapse less than 48.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.measured import finals, minus
from mugrow.analysis.read.store import Store
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import FRESH, Node, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS, STAGE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.inheritune import claims
from mugrow.sweeps.recipes.papers.inheritune.claims import (
    FULL,
    HALF,
    HYBRID,
    NARROW,
    NEW,
    OLD,
    PARTS,
    QUARTER,
    REFERENCE,
    SHARES,
    STACKED,
    TWICE,
    by_block,
    inherited,
    of_part,
    scratch,
)

DEEPER = 4  # the reference's depth over the run's
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
FEWER = {"cpu": range(3), "gpu": range(5), "paper": range(1)}  # where arms are many
METHOD = "inheritune"
LOOKS = {
    FULL: style.look("scratch"),
    OLD: style.Look(style.GREY, "s"),
    TWICE: style.Look(style.GREY, "D", "--"),
    NEW: style.look(METHOD),
    STACKED: style.look("stack"),
    HYBRID: style.Look(style.OKABE_ITO[4], "v"),
    NARROW: style.Look(style.OKABE_ITO[0], "<"),
    **{of_part(part): style.Look(style.OKABE_ITO[5], style.MARKERS[place])
       for place, part in enumerate(PARTS)},
}  # fmt: skip
OPENWEBTEXT = Text("hf:Skylion007/openwebtext", "hf:gpt2", 2**20, vocab_size=50257)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """A quarter of the blocks of GPT-2 large; 100,000 steps of 16k tokens."""
    model = ModelSpec(
        width=1280, depth=9, head_size=64, context=1024, bias=False, tied=True,
        vocab_size=vocabulary,
    )  # fmt: skip
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=2e-4, init_std=0.02),
        schedule=ScheduleSpec(kind="cosine", warmup=0.02, cooldown=0.0, final=0.05),
        data=data,
        batch_sequences=16,
        steps=100_000,
        seed=0,
        data_seed=0,
        log_every=1000,
    )


def from_scratch(setting: Setting, seed: int, share: float, times: int = 1) -> Node:
    """A share of the reference's depth, for a multiple of the steps."""
    run = setting.run
    model = replace(run.model, depth=round(run.model.depth * DEEPER * share))
    spec = replace(run, model=model, seed=seed, data_seed=seed, steps=run.steps * times)
    return Node(spec, scratch(share) if times == 1 else TWICE)


def reference(setting: Setting, seed: int) -> Node:
    full = from_scratch(setting, seed, 1.0).spec
    return Node(replace(full, data_seed=seed + SOURCE_DATA_SEEDS), REFERENCE)


def heir(setting: Setting, seed: int, share: float, part: str = "all") -> Node:
    arm = inherited(share) if part == "all" else of_part(part)
    target = from_scratch(setting, seed, share).spec
    return grown(reference(setting, seed), target, arm, METHOD, FRESH, part=part)


def stacked(setting: Setting, seed: int, arm: str) -> Node:
    """Twice a quarter of the depth, which is trained up to its cool-down before; for ``HYBRID`` it
    is inherited."""
    small = from_scratch(setting, seed, QUARTER).spec
    small = replace(
        small,
        data_seed=seed + SOURCE_DATA_SEEDS + STAGE_DATA_SEEDS,
        stop_step=cooldown_start(small.schedule, small.steps),
    )
    first = Node(small, "first round")
    if arm == HYBRID:
        first = grown(reference(setting, seed), small, "first round", METHOD, FRESH)
    return grown(first, from_scratch(setting, seed, HALF).spec, arm, "stack", FRESH)


def narrow(setting: Setting, seed: int) -> Node:
    full = from_scratch(setting, seed, 1.0).spec
    return Node(replace(full, model=replace(full.model, width=full.model.width // 2)), NARROW)


def main_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        yield from_scratch(setting, seed, 1.0)
        yield from_scratch(setting, seed, HALF)
        yield from_scratch(setting, seed, HALF, times=2)
        yield heir(setting, seed, HALF)


def baseline_runs(setting: Setting) -> Iterator[Node]:
    for seed in FEWER[setting.scale]:
        yield from_scratch(setting, seed, 1.0)
        yield from_scratch(setting, seed, HALF)
        yield heir(setting, seed, HALF)
        yield stacked(setting, seed, STACKED)
        yield stacked(setting, seed, HYBRID)
        yield narrow(setting, seed)


def depth_runs(setting: Setting) -> Iterator[Node]:
    for seed in FEWER[setting.scale]:
        yield from_scratch(setting, seed, 1.0)
        for share in SHARES:
            yield from_scratch(setting, seed, share)
            yield heir(setting, seed, share)


def part_runs(setting: Setting) -> Iterator[Node]:
    for seed in FEWER[setting.scale]:
        yield from_scratch(setting, seed, HALF)
        yield heir(setting, seed, HALF)
        for part in PARTS:
            yield heir(setting, seed, HALF, part)


def reference_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        yield heir(setting, seed, HALF)  # without one it is no source, and its weights go


def observed(setting: Setting) -> Iterator[Judged]:
    for seed in SEEDS[setting.scale]:
        node = reference(setting, seed)
        yield Judged(REFERENCE, (node,), setting.run.data, "observe")


def draw_main(store: Store) -> Figure:
    names = (FULL, OLD, TWICE, NEW)
    figure, ((left, right),) = style.panels(1, 2, sharey=True)
    figure.set_figheight(style.PANEL + 0.5)
    arms.curves(left, store, names, "tokens", looks=LOOKS)
    arms.curves(right, store, names, charge_source=True, looks=LOOKS)
    right.set_ylabel("")
    style.legend_below(figure, [style.handle(name, mine=LOOKS[name]) for name in names])
    return figure


def draw_differences(store: Store, names: tuple[str, ...], baseline: str) -> Figure:
    figure, ((axis,),) = style.panels(1, 1)
    arms.dots(axis, names, [minus(store, name, baseline) for name in names], LOOKS)
    axis.axvline(0, color="black", lw=0.8)
    axis.set_xlabel(f"final loss − that of the arm “{baseline}” (nats)")
    return figure


def draw_depths(store: Store) -> Figure:
    figure, ((axis,),) = style.panels(1, 1)
    full = list(finals(store.runs, FULL).values())
    for names, look, text in (
        ((scratch(share) for share in (*SHARES, 1.0)), LOOKS[OLD], "from scratch"),
        ((inherited(share) for share in SHARES), LOOKS[NEW], "inherited"),
    ):
        rows = pd.concat([store.runs[store.runs["arm"] == name] for name in names])
        band(axis, rows["depth"], rows["final_val_loss"], look, text)
    axis.axhline(sum(full) / len(full), color=style.GREY, ls="--", lw=1, label="the full model")
    axis.set_xticks(sorted(set(store.runs["depth"])))
    axis.set(xlabel="blocks", ylabel="final validation loss (nats per token)")
    axis.legend()
    return figure


def band(axis: Axes, x: pd.Series, y: pd.Series, look: style.Look, text: str | None) -> None:
    """Means at each x, and the band of seeds."""
    rows = y.groupby(x).agg(["min", "mean", "max"])
    axis.fill_between(rows.index, rows["min"], rows["max"], color=look.colour, alpha=0.2, lw=0)
    axis.plot(rows.index, rows["mean"], look.line, marker=look.marker, color=look.colour,
              label=text)  # fmt: skip


def draw_attention(store: Store) -> Figure:
    figure, axes = style.panels(1, 2)
    titles = {"rank": "rank of attention (share of the context)",
              "mass": "largest share of one column"}  # fmt: skip
    for axis, (quantity, title) in zip(axes[0], titles.items(), strict=True):
        rows = by_block(store, quantity).melt()
        band(axis, rows["block"] + 1, rows["value"], LOOKS[FULL], None)
        axis.set(xlabel="block", ylabel=title)
    return figure


PAPER = Paper(
    name="inheritune",
    arxiv="2404.08634",
    title="When Attention Collapses: How Degenerate Layers in LLMs Enable Smaller, Stronger Models",
    summary="half the depth, begun as the first blocks of a trained reference",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": OPENWEBTEXT}},
    figures={
        "I1": PaperFigure(
            "Loss of the full model, its half from scratch and its half inherited",
            "Mean validation loss with a band from the lowest to the highest seed. Left, against "
            "the model’s own tokens; right, against compute with the reference’s training added.",
            main_runs,
            draw_main,
            claims.I1,
        ),
        "I2": PaperFigure(
            "Other ways to a model as small",
            "Final loss minus that of the full model, paired by seed; whiskers are intervals over "
            "seeds. Left of the line is better.",
            baseline_runs,
            partial(draw_differences, names=(OLD, NEW, STACKED, HYBRID, NARROW), baseline=FULL),
            claims.I2,
        ),
        "I3": PaperFigure(
            "Final loss against the number of blocks",
            "Mean final loss with a band from the lowest to the highest seed. Blocks are inherited "
            "from a reference as deep as the full model, until its loss (dashed) is matched.",
            depth_runs,
            draw_depths,
            claims.I3,
        ),
        "I4": PaperFigure(
            "Rank and mass of the reference’s attention by block",
            "Left, singular values that hold 90 % of the squares of a head’s attention matrix; "
            "right, the largest share of the squares that one column holds. Means over heads and "
            "windows, with a band from the lowest to the highest seed.",
            reference_runs,
            draw_attention,
            claims.I4,
            observed,
        ),
        "I5": PaperFigure(
            "Which part of a block is worth inheriting",
            "Final loss minus that of the half from scratch, paired by seed; whiskers are "
            "intervals over seeds. Left of the line is better.",
            part_runs,
            partial(draw_differences, names=(NEW, *map(of_part, PARTS)), baseline=OLD),
            claims.I5,
        ),
    },
    untestable=claims.UNTESTABLE,
)
