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

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.measured import arm
from mugrow.analysis.measure.quantity import final, rows
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.plan import STAGE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.inheritune import claims
from mugrow.sweeps.recipes.papers.inheritune.claims import FULL, INHERITED, NEW, OLD, PARTS, TWICE

DEEPER = 4  # the reference's depth over the run's
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
FEWER = {"cpu": range(3), "gpu": range(5), "paper": range(1)}  # where arms are many
METHOD = "inheritune"
LINE_STYLES: arms.LineStyles = {
    FULL: style.line_style("scratch"),
    OLD: style.LineStyle(style.GREY, "s"),
    TWICE: style.LineStyle(style.GREY, "D", "--"),
    NEW: style.line_style(METHOD),
    claims.STACKED: style.line_style("stack"),
    claims.HYBRID: style.LineStyle(style.OKABE_ITO[4], "v"),
    claims.NARROW: style.LineStyle(style.OKABE_ITO[0], "<"),
    **{one: style.LineStyle(style.OKABE_ITO[5], style.MARKERS[place])
       for place, one in enumerate(PARTS.values())},
}  # fmt: skip
OPENWEBTEXT = Text("hf:Skylion007/openwebtext", "hf:gpt2", 2**20, vocab_size=50257)

# A quarter of the blocks of GPT-2 large; 100,000 steps of 16k tokens
paper_scale = bases.published(
    ModelSpec(width=1280, depth=9, head_size=64, context=1024, bias=False, tied=True),
    lr=2e-4, batch_sequences=16, steps=100_000, log_every=1000,
    schedule=ScheduleSpec(kind="cosine", warmup=0.02, cooldown=0.0, final=0.05),
)  # fmt: skip


def from_scratch(setting: Setting, seed: int, arm: ArmName, **fields: Any) -> Node:
    """The arm's share of the reference's depth, for its multiple of the steps."""
    return Node(setting.spec(seed, depth=DEEPER * float(arm.factors["share"]), **fields), arm)


def reference(setting: Setting, seed: int) -> Node:
    return source_of(from_scratch(setting, seed, FULL).spec, claims.REFERENCE)


def heir(setting: Setting, seed: int, arm: ArmName = NEW) -> Node:
    target = from_scratch(setting, seed, arm).spec
    part = arm.factors.get("part", "all")
    return grown(reference(setting, seed), target, arm, METHOD, part=part)


def stacked(setting: Setting, seed: int, arm: ArmName) -> Node:
    """Twice a quarter of the depth, which is trained up to its cool-down before; for ``HYBRID`` it
    is inherited."""
    start = "inherited" if arm == claims.HYBRID else "random"
    name = ArmName("first round", start=start, share=claims.QUARTER, round=1)
    quarter = from_scratch(setting, seed, name, data_seed=seed + STAGE_DATA_SEEDS).spec
    first = source_of(quarter, name, uncooled=True)
    if arm == claims.HYBRID:
        first = grown(reference(setting, seed), first.spec, name, METHOD)
    return grown(first, from_scratch(setting, seed, arm).spec, arm, "stack")


def halves(setting: Setting, seed: int) -> list[Node]:
    return [from_scratch(setting, seed, OLD), heir(setting, seed)]


def main_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (from_scratch(setting, seed, FULL), *halves(setting, seed))
    yield from_scratch(setting, seed, TWICE, steps=2 * setting.run.steps)


def baseline_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (from_scratch(setting, seed, FULL), *halves(setting, seed))
    yield from (stacked(setting, seed, claims.STACKED), stacked(setting, seed, claims.HYBRID))
    yield Node(setting.spec(seed, 0.5, DEEPER), claims.NARROW)


def depth_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (from_scratch(setting, seed, one) for one in claims.FROM_SCRATCH.values())
    yield from (heir(setting, seed, one) for one in INHERITED.values())


def part_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (*halves(setting, seed), *(heir(setting, seed, one) for one in PARTS.values()))


def reference_runs(setting: Setting, seed: int) -> list[Node]:
    return [heir(setting, seed)]  # without one it is no source, and its weights go


def observed(setting: Setting) -> Iterator[Judged]:
    for seed in SEEDS[setting.scale]:
        node = reference(setting, seed)
        yield Judged(node.arm, (node,), node.spec.data, "observe")


def differences(baseline: str, names: Sequence[str]) -> Callable[[Store], Figure]:
    quantities: arms.Quantities = {name: final(name) - final(baseline) for name in names}
    xlabel = f"final loss − that of the arm “{baseline}” (nats)"
    return arms.row(arms.DotPanel(quantities, xlabel, LINE_STYLES, zero=True))


def draw_depths(axis: Axes, store: Store) -> None:
    for by_share, line_style, text in (
        (claims.FROM_SCRATCH, LINE_STYLES[OLD], "from scratch"),
        (INHERITED, LINE_STYLES[NEW], "inherited"),
    ):
        depths = {int(arm(store.runs, one)["depth"].iloc[0]): one for one in by_share.values()}
        losses = {float(depth): final(depths[depth]) for depth in sorted(depths)}
        arms.line(axis, store, losses, line_style, text)
    full = final(FULL)(store).value
    axis.axhline(full, color=style.GREY, ls="--", lw=1, label="the full model")
    axis.set_xticks(sorted(set(store.runs["depth"])))
    axis.set(xlabel="blocks", ylabel=arms.FINAL)
    axis.legend()


def attention(axis: Axes, store: Store, observed: str) -> None:
    blocks = rows(claims.by_block(store, observed).T)
    places = {1.0 + place: one for place, one in enumerate(blocks.values())}
    arms.line(axis, store, places, LINE_STYLES[FULL])
    axis.set(xlabel="block", ylabel=ATTENTION[observed])


MAIN = (FULL, OLD, TWICE, NEW)
draw_main = arms.row(
    arms.CurvePanel(MAIN, LINE_STYLES, legend=False),
    arms.CurvePanel(MAIN, LINE_STYLES, "flops", charge_source=True, legend=False),
    share_y=True, below={name: LINE_STYLES[name] for name in MAIN},
)  # fmt: skip
ATTENTION = {"rank": "rank of attention (share of the context)",
             "mass": "largest share of one column"}  # fmt: skip


PAPER = Paper(
    name="inheritune",
    arxiv="2404.08634",
    title="When Attention Collapses: How Degenerate Layers in LLMs Enable Smaller, Stronger Models",
    summary="half the depth, begun as the first blocks of a trained reference",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(OPENWEBTEXT),
    figures={
        "I1": FigureOf(each_seed(SEEDS, main_runs), draw_main, claims.I1).shows(
            "Loss of the full model, its half from scratch and its half inherited",
            "Mean validation loss with a band from the lowest to the highest seed. Left, against "
            "the model’s own tokens; right, against compute with the reference’s training added.",
        ),
        "I2": FigureOf(
            each_seed(FEWER, baseline_runs),
            differences(FULL, (OLD, NEW, claims.STACKED, claims.HYBRID, claims.NARROW)),
            claims.I2,
        ).shows(
            "Other ways to a model as small",
            "Final loss minus that of the full model, paired by seed; whiskers are intervals over "
            "seeds. Left of the line is better.",
        ),
        "I3": FigureOf(each_seed(FEWER, depth_runs), arms.row(draw_depths), claims.I3).shows(
            "Final loss against the number of blocks",
            "Mean final loss with a band from the lowest to the highest seed. Blocks are inherited "
            "from a reference as deep as the full model, until its loss (dashed) is matched.",
        ),
        "I4": FigureOf(
            each_seed(SEEDS, reference_runs),
            arms.for_each(attention, ATTENTION),
            claims.I4,
            observed,
        ).shows(
            "Rank and mass of the reference’s attention by block",
            "Left, singular values that hold 90 % of the squares of a head’s attention matrix; "
            "right, the largest share of the squares that one column holds. Means over heads and "
            "windows, with a band from the lowest to the highest seed.",
        ),
        "I5": FigureOf(
            each_seed(FEWER, part_runs), differences(OLD, (NEW, *PARTS.values())), claims.I5
        ).shows(
            "Which part of a block is worth inheriting",
            "Final loss minus that of the half from scratch, paired by seed; whiskers are "
            "intervals over seeds. Left of the line is better.",
        ),
    },
    untestable=claims.UNTESTABLE,
)
