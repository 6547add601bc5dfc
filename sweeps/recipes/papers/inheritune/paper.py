"""Inheritune: a half as deep model from the first blocks of a trained one (arXiv 2404.08634).

    mugrow reproduce inheritune

The late blocks of a trained decoder hardly attend to anything, so they are left out: a model of
half the depth begins as the first half of a reference's blocks, trains for as many steps, and is
said to end at the reference's own loss, where from random weights it would not.

Cost: at ``cpu`` about 5 minutes on two cores; at ``gpu`` 5e15 FLOPs, an estimated 4 minutes on one
large GPU; at ``paper``, GPT-2 large of 36 layers on OpenWebText, 1e20 FLOPs.
Expected: far below the half from scratch, much of it the head start of the reference's training;
with that paid for, no saving.

Choices. The paper's reference is its own full baseline; here it has batches of its own, so that no
half sees its reference's again. Where it adds layers until the loss is matched, all depths are run.
*Stacked* is a quarter of the depth trained and repeated twice, two rounds of as many steps;
*hybrid*, of which the set-up is not at hand, the same with that quarter inherited first. Depths
share one learning rate. Eight blocks collapse less than 48.

Losses are final validation losses in nats, compared seed by seed. All arms have as many steps but
``TWICE``. The paper does not charge the reference, and reviewers asked.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, final, recorded, rows, speedup
from mugrow.analysis.measure.selection import FirstBelow
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec, ScheduleSpec
from mugrow.sweeps import beside
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.plan import STAGE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases

DEEPER = 4  # the reference's depth over the run's
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
FEWER = {"cpu": range(3), "gpu": range(5), "paper": range(1)}  # where arms are many
METHOD = "inheritune"

SHARES = (0.25, 0.5, 0.75)  # of the reference's blocks
QUARTER, HALF = SHARES[:2]
FROM_SCRATCH, INHERITED = (
    {share: ArmName(f"{share:g} of the depth {text}", start=start, share=share) for share in SHARES}
    for text, start in (("from scratch", "random"), ("inherited", "inherited"))
)
FROM_SCRATCH[1.0] = FULL = ArmName("full", start="random", share=1.0)
FROM_SCRATCH[HALF] = OLD = ArmName("half from scratch", start="random", share=HALF)
INHERITED[HALF] = NEW = ArmName("half inherited", start="inherited", share=HALF)
TWICE = OLD.varied("twice the steps", times=2)
STACKED = ArmName("stacked to a half", start="stacked", share=HALF)
HYBRID = ArmName("inherited, then stacked to a half", start="inherited, stacked", share=HALF)
NARROW = ArmName("half the width", start="random", share=1.0, width=0.5)
PARTS = {
    part: NEW.varied(text, part=part)
    for part, text in (("attention", "attention alone"), ("mlp", "MLP alone"),
                       ("both", "attention and MLP"))
}  # fmt: skip
REFERENCE = ArmName("reference", start="random", share=1.0, data="its own")
LOGS = "the authors' training logs, validation loss after 100k steps"
ABLATION = "the paper's ablation, 16 of 24 layers"
MAIN_FIGURE = "the paper's main figure, read as compute"
REVIEWERS = "reviewers' question to the paper's main figure"
COLLAPSE = "the paper's motivation: attention collapses in the late layers of GPT-2"
RANK_ONE = "the paper's motivation: rank-one attention looks at one position"


def by_block(store: Store, observed: str) -> pd.DataFrame:
    """``rank`` or ``mass`` of the reference's attention: a row a seed, a column a block in
    order. Raises ``UserError`` where it was not observed."""
    rows = quantity.evaluations(store, REFERENCE, f"{observed}/")
    block = rows["quantity"].str.extract(r"\.(\d+)$", expand=False).astype(int)
    return rows.assign(block=block).pivot_table(index="seed", columns="block", values="value")


def late_minus_early(observed: str) -> Quantity:
    """The mean over the last quarter of the blocks minus that over the first."""

    def difference(store: Store) -> dict[int, float]:
        table = by_block(store, observed)
        count = max(1, round(QUARTER * table.shape[1]))
        found = table.iloc[:, -count:].mean(axis=1) - table.iloc[:, :count].mean(axis=1)
        return dict(zip(table.index.astype(int), found.astype(float), strict=True))

    return quantity.PerSeed(difference)


LINE_STYLES: arms.LineStyles = {
    FULL: style.line_style("scratch"),
    OLD: style.LineStyle(style.GREY, "s"),
    TWICE: style.LineStyle(style.GREY, "D", "--"),
    NEW: style.line_style(METHOD),
    STACKED: style.line_style("stack"),
    HYBRID: style.LineStyle(style.OKABE_ITO[4], "v"),
    NARROW: style.LineStyle(style.OKABE_ITO[0], "<"),
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
    return source_of(from_scratch(setting, seed, FULL).spec, REFERENCE)


def heir(setting: Setting, seed: int, arm: ArmName = NEW) -> Node:
    target = from_scratch(setting, seed, arm).spec
    part = arm.factors.get("part", "all")
    return grown(reference(setting, seed), target, arm, METHOD, part=part)


def stacked(setting: Setting, seed: int, arm: ArmName) -> Node:
    """Twice a quarter of the depth, which is trained up to its cool-down before; for ``HYBRID`` it
    is inherited."""
    start = "inherited" if arm == HYBRID else "random"
    name = ArmName("first round", start=start, share=QUARTER, round=1)
    quarter = from_scratch(setting, seed, name, data_seed=seed + STAGE_DATA_SEEDS).spec
    first = source_of(quarter, name, uncooled=True)
    if arm == HYBRID:
        first = grown(reference(setting, seed), first.spec, name, METHOD)
    return grown(first, from_scratch(setting, seed, arm).spec, arm, "stack")


def halves(setting: Setting, seed: int) -> list[Node]:
    return [from_scratch(setting, seed, OLD), heir(setting, seed)]


def main_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (from_scratch(setting, seed, FULL), *halves(setting, seed))
    yield from_scratch(setting, seed, TWICE, steps=2 * setting.run.steps)


def baseline_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (from_scratch(setting, seed, FULL), *halves(setting, seed))
    yield from (stacked(setting, seed, STACKED), stacked(setting, seed, HYBRID))
    yield Node(setting.spec(seed, 0.5, DEEPER), NARROW)


def quarters(setting: Setting, seed: int) -> list[Node]:
    """On the front, half as deep as the heir."""
    return [from_scratch(setting, seed, FROM_SCRATCH[QUARTER])]


def depth_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (from_scratch(setting, seed, one) for one in FROM_SCRATCH.values())
    yield from (heir(setting, seed, one) for one in INHERITED.values())


def part_runs(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (*halves(setting, seed), *(heir(setting, seed, one) for one in PARTS.values()))


def reference_runs(setting: Setting, seed: int) -> list[Node]:
    return [heir(setting, seed)]  # without one it is no source, and its weights go


def observed(setting: Setting) -> Iterator[Judged]:
    for seed in setting.of(SEEDS):
        node = reference(setting, seed)
        yield Judged(node.arm, (node,), node.spec.data, "observe")


def differences(baseline: str, names: Sequence[str]) -> Callable[[Store], Figure]:
    quantities: arms.Quantities = {name: final(name) - final(baseline) for name in names}
    xlabel = f"final loss − that of the arm “{baseline}” (nats)"
    return arms.row(arms.DotPanel(quantities, xlabel, LINE_STYLES, zero=True))


def draw_depths(axis: Axes, store: Store) -> None:
    for by_share, line_style, text in (
        (FROM_SCRATCH, LINE_STYLES[OLD], "from scratch"),
        (INHERITED, LINE_STYLES[NEW], "inherited"),
    ):
        losses = {recorded(one, "depth")(store).value: final(one) for one in by_share.values()}
        arms.line(axis, store, losses, line_style, text)
    full = final(FULL)(store).value
    axis.axhline(full, color=style.GREY, ls="--", lw=1, label="the full model")
    axis.set_xticks(sorted(set(store.runs["depth"])))
    axis.set(xlabel="blocks", ylabel=arms.FINAL)
    axis.legend()


ATTENTION = {"rank": "rank of attention (share of the context)",
             "mass": "largest share of one column"}  # fmt: skip


def attention(axis: Axes, store: Store, observed: str) -> None:
    blocks = rows(by_block(store, observed).T)
    places = {1.0 + place: one for place, one in enumerate(blocks.values())}
    arms.line(axis, store, places, LINE_STYLES[FULL])
    axis.set(xlabel="block", ylabel=ATTENTION[observed])


MAIN = (FULL, OLD, TWICE, NEW)
draw_main = arms.row(
    arms.CurvePanel(MAIN, LINE_STYLES, legend=False),
    arms.CurvePanel(MAIN, LINE_STYLES, "flops", charge_source=True, legend=False),
    share_y=True, below={name: LINE_STYLES[name] for name in MAIN},
)  # fmt: skip
draw_others = differences(FULL, (OLD, NEW, STACKED, HYBRID, NARROW))
draw_parts = differences(OLD, (NEW, *PARTS.values()))
draw_attention = arms.for_each(attention, ATTENTION)

MATCHING_SHARE = FirstBelow(
    {share: final(name) for share, name in INHERITED.items()}, final(FULL), otherwise=1.0
)
I1 = (
    rule("beats-half", LOGS, final(NEW) - final(OLD) < 0).decides(
        "the inherited half ends below the same half from scratch: 2.6420 against 2.6977 (24 of 48 "
        "layers), 2.8090 against 2.9737 (18 of 36)",
        "final loss of the inherited half minus that of the half from scratch, nats",
    ),
    rule("matches-full", LOGS, final(NEW) - final(FULL) < 0.01).decides(
        "it matches or beats the full model: 2.6420 against 2.6566, 2.8090 against 2.8531",
        "final loss of the inherited half minus that of the full model, nats",
    ),
    rule("twice-the-steps", LOGS, final(NEW) - final(TWICE) > 0).decides(
        "the half from scratch needs twice the steps to end below it: 2.6295 after 200k",
        "final loss of the inherited half minus that of the half trained twice as long, nats",
    ),
    rule("reference-charged", REVIEWERS, speedup(FULL, NEW, "source") > 1, whose="ours").decides(
        "it is also the cheaper way to the full model's loss with the reference paid for (the "
        "paper does not charge it)",
        "FLOPs of the full model over those of the inherited half and its reference, to the full "
        "model's final loss",
    ),
    rule("reference-free", MAIN_FIGURE, speedup(FULL, NEW, "target") > 1).decides(
        "with a reference at hand it is cheaper than a full model from scratch",
        "FLOPs of the full model over those of the inherited half, to the full model's final loss",
    ),
)

I2 = tuple(
    rule(f"beats-{name}", LOGS, final(NEW) - final(other) < 0).decides(
        f"the inherited half ends below {what}",
        f"final loss of the inherited half minus that of the arm {str(other)!r}, nats",
    )
    for name, other, what in (
        ("stacking", STACKED, "one stacked in two rounds: 2.6420 against 2.6534 (24 layers), "
                              "2.8090 against 2.8781 (18)"),
        ("hybrid", HYBRID, "hybrid stacking: 2.6420 against 2.6467, 2.8090 against 2.8910"),
        ("narrow", NARROW, "a model of half the width: 2.6420 against 2.7778, 2.8090 against "
                           "3.0689"),
    )
)  # fmt: skip

LEAST, *_, MOST = map(final, INHERITED.values())
I3 = (
    rule("deeper-inherits-better", LOGS, MOST - LEAST < 0).decides(
        "more inherited layers, lower loss: 2.8704 (12), 2.8496 (14), 2.8108 (16 of 24)",
        f"final loss of {SHARES[-1]:g} of the depth inherited minus that of {SHARES[0]:g}, nats",
    ),
    rule("matching-depth", LOGS, MATCHING_SHARE < 0.7).decides(
        "half to two thirds of the layers match the reference: 24 of 48, 18 of 36, 16 of 24",
        "smallest inherited share of the depth that ends at or below the full model's loss",
    ),
)

I4 = (
    rule("rank-falls", COLLAPSE, late_minus_early("rank") < 0).decides(
        "attention of deeper layers has a lower rank than that of early ones",
        "attention rank, share of the context, last quarter of the reference's blocks minus first",
    ),
    rule("mass-gathers", RANK_ONE, late_minus_early("mass") > 0).decides(
        "and its mass gathers in single columns",
        "largest share of attention's squares in one column, last quarter of blocks minus first",
    ),
)

I5 = (
    *(
        rule(f"{part}-helps", ABLATION, final(PARTS[part]) - final(OLD) < 0).decides(
            f"inheriting the {part} alone is already better than scratch: {loss} against 2.8693",
            f"final loss of the half with the {part} inherited minus from scratch, nats",
        )
        for part, loss in (("attention", 2.8418), ("mlp", 2.8528))
    ),
    rule("both-suffice", ABLATION, (final(PARTS["both"]) - final(NEW)).within(-0.01, 0.01)).decides(
        "attention and MLP without the norms are as good as whole blocks: 2.8085 against 2.8108",
        "final loss of the half with both inherited minus that with whole blocks, nats",
    ),
)

UNTESTABLE = (
    no_rule("distillation", LOGS).decides(
        "distilling the reference into the half ends higher: 3.0190, 3.0276 and 3.0597",
        "no loss on another model's outputs here",
    ),
    no_rule("downstream", "the paper's second corpus").decides(
        "on FineWeb-Edu the inherited 16 layers average 48.08 and 49.75 on downstream tasks, the "
        "references 47.74 and 49.44",
        "the tasks need models that answer questions",
    ),
    no_rule("low-data", "the paper's low-data experiment").decides(
        "13 layers of OpenLLaMA-3B, trained on 1B tokens, make a 1.5B model with MMLU 25.67",
        "3B parameters; no model of that size is at hand",
    ),
)

PAPER = Paper(
    name="inheritune",
    arxiv="2404.08634",
    title="When Attention Collapses: How Degenerate Layers in LLMs Enable Smaller, Stronger Models",
    summary="half the depth, begun as the first blocks of a trained reference",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(OPENWEBTEXT),
    figures={
        "I1": FigureOf(each_seed(SEEDS, main_runs), draw_main, I1).shows(
            "Loss of the full model, its half from scratch and its half inherited",
            "Mean validation loss with a band from the lowest to the highest seed. Left, against "
            "the model’s own tokens; right, against compute with the reference’s training added.",
        ),
        "I2": FigureOf(each_seed(FEWER, baseline_runs), draw_others, I2).shows(
            "Other ways to a model as small",
            "Final loss minus that of the full model, paired by seed; whiskers are intervals over "
            "seeds. Left of the line is better.",
        ),
        "I3": FigureOf(each_seed(FEWER, depth_runs), arms.row(draw_depths), I3).shows(
            "Final loss against the number of blocks",
            "Mean final loss with a band from the lowest to the highest seed. Blocks are inherited "
            "from a reference as deep as the full model, until its loss (dashed) is matched.",
        ),
        "I4": FigureOf(each_seed(SEEDS, reference_runs), draw_attention, I4, observed).shows(
            "Rank and mass of the reference’s attention by block",
            "Left, singular values that hold 90 % of the squares of a head’s attention matrix; "
            "right, the largest share of the squares that one column holds. Means over heads and "
            "windows, with a band from the lowest to the highest seed.",
        ),
        "I5": FigureOf(each_seed(FEWER, part_runs), draw_parts, I5).shows(
            "Which part of a block is worth inheriting",
            "Final loss minus that of the half from scratch, paired by seed; whiskers are "
            "intervals over seeds. Left of the line is better.",
        ),
        "I6": beside.figure(
            each_seed(FEWER, halves),
            arms=[NEW],
            front=each_seed(FEWER, quarters),
            note="The source is the reference, twice as deep: the charge is nearly three "
            "of the half’s own runs, two of them the reference’s. All have one rate.",
        ),
    },
    untestable=UNTESTABLE,
)
