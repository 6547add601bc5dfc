"""Continual pre-training: how to (re)warm your model? (arXiv 2308.04014)

    mugrow reproduce rewarm --corpus novels=PATH

A model is trained on one text, *upstream*, while its learning rate falls to a tenth; then it goes
on with another, *downstream*. Its rate can stay where it is, or be *re-warmed*: rise to its highest
again and fall again. Re-warming costs at first, and unlearns more of the upstream text; in the long
run it learns more of the downstream one. Here the texts are English novels and Python sources, in
both directions.

PATH is a file or folder of novels as plain text; the ELTeC collection has a hundred,
https://github.com/COST-ELTeC/ELTeC-eng. Python's sources are built in.

Cost: at ``cpu`` 180 runs of 20M tokens in all, 5 minutes on two cores; at ``gpu`` 2e15 FLOPs, about
3 minutes on one large GPU; at ``paper``, 410M parameters and 300B tokens up- and downstream,
7e22 FLOPs.
Expected: re-warmed below scratch and below the constant rate downstream; warm-up length within half
a percent. Novels are so far from code that the downstream loss falls from the first step: what
re-warming itself raises shows on the same text.

Choices. The paper's corpora are both web text, ours share little but letters. Its warm-ups are 0 to
2 % of the steps; at a few hundred they are 0 to 10 %, the same multiples of the pre-training's. The
optimizer's moments are carried. Rates fall to a tenth of their own highest. Downstream has as many
tokens as upstream. The paper's earlier checkpoints are left out. At ``paper``, ``novels`` is the
Pile and ``code`` SlimPajama. Five seeds.

Of arms that share a seed the batches are the same. A run is kept at several steps, where what is
left of the upstream text is evaluated.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.measured import arm, factor_table
from mugrow.analysis.measure.quantity import Quantity, chosen, each, evaluated, final, percent
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Evaluations, FigureOf, Paper, Runs, Setting, Text, each_seed
from mugrow.sweeps.recipes.papers import bases, shift
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, LOW, SEEDS, STOPS, Direction, rewarmed

PILE = Text("hf:monology/pile-uncopyrighted", "hf:EleutherAI/pythia-410m", 2**20, 50_277)
SLIMPAJAMA = replace(PILE, corpus="hf:cerebras/SlimPajama-627B")

# Pythia 410M: 24 layers of width 1024, and 143,000 steps of 1024 x 2048 tokens
paper_scale = bases.published(
    ModelSpec(width=1024, depth=24, head_size=64, context=2048, positions="rope"),
    lr=3e-4, schedule=ScheduleSpec(warmup=0.01), batch_sequences=1024, steps=143_000,
    log_every=1430,
)  # fmt: skip

LENGTHS = (0, 0.5, 1, 2)  # of the warm-up, over the base run's
RATES = (0.5, 1, 2)  # the highest, over the base run's
EARLY = 0.25  # of the steps
MARGIN = 0.5  # percent of the loss, within which the length hardly matters
SAME, SCRATCH, CONSTANT = "re-warmed on the same text", "from scratch", "constant low rate"


def again(text: str) -> ArmName:
    """The arm re-warmed on the text that it was pre-trained on."""
    return ArmName(f"{text}: {SAME}", **rewarmed((text, text)).factors)


def scratch(text: str) -> ArmName:
    return ArmName(f"{text}: {SCRATCH}", downstream=text, until=1)


def constant(way: Direction) -> ArmName:
    return shift.named(way, CONSTANT, schedule="constant", until=1)


def downstream(store: Store, name: ArmName) -> dict[float, Quantity]:
    """Losses on the text that an arm trains on, by step, of all segments; where one begins as
    another ends, their mean."""
    runs = arm(store.runs, str(name))
    steps, until = runs["tokens"] / runs["batch_tokens"], factor_table(runs)["until"]
    runs = runs.assign(until=until, steps=steps).sort_values("until")
    begin = runs.groupby("seed")["steps"].cumsum() - runs["steps"]
    points = runs[["run_id", "seed"]].assign(begin=begin).merge(store.curves, on="run_id")
    points["at"] = points["begin"] + points["step"]
    return quantity.rows(points.pivot_table(index="at", columns="seed", values="val_loss"))


def upstream(name: ArmName) -> dict[float, Quantity]:
    """Losses on the upstream text by the share of the steps; at 0 the one before."""
    kept = {until: evaluated(shift.segment(name, until)) for until in shift.STOPS}
    return {0: final(shift.trained(str(name.factors["upstream"])))} | kept


def rise(losses: Mapping[float, Quantity]) -> Quantity:
    """The highest loss in the first quarter of the steps minus the one before them, in nats."""
    early = [loss for at, loss in losses.items() if 0 < at <= EARLY * max(losses)]
    return quantity.highest(*early) - losses[0]


def raised(name: ArmName) -> Quantity:
    """What the loss rises by on the text that an arm trains on."""
    return chosen(lambda store: rise(downstream(store, name)))


def ends(name: ArmName) -> tuple[Quantity, Quantity]:
    """Final losses of an arm: downstream, upstream."""
    return final(name), evaluated(name)


def over_none(way: Direction, length: float, side: int) -> Quantity:
    """The final loss after a warm-up over that after none, %; ``side`` as in ``ends``."""
    some, none = (ends(rewarmed(way, one))[side] for one in (length, LENGTHS[0]))
    return each(percent(some, none))


def varied(
    setting: Setting, seed: int, way: Direction, length: float = 1, rate: float = 1
) -> list[Node]:
    """Re-warmed over another length or to another rate, then in one piece."""
    usual = shift.run_on(setting, way[1], seed).schedule
    schedule = replace(usual, warmup=length * usual.warmup)
    stops = STOPS if length == rate == 1 else (1,)
    arm = rewarmed(way, length, rate)
    return shift.adapted(setting, seed, way, arm, rate, schedule, stops)


def unwarmed(setting: Setting, seed: int, way: Direction) -> list[Node]:
    """Constant where the pre-training's rate ended."""
    flat = ScheduleSpec(kind="constant", warmup=0)
    return shift.adapted(setting, seed, way, constant(way), LOW, flat)


def shifted(setting: Setting, seed: int) -> Iterator[Node]:
    for way in DIRECTIONS:
        yield from varied(setting, seed, way)
        yield from unwarmed(setting, seed, way)
        yield Node(shift.run_on(setting, way[1], seed), scratch(way[1]))


def of_lengths(setting: Setting, seed: int) -> Iterator[Node]:
    for way, length in product(DIRECTIONS, LENGTHS):
        yield from varied(setting, seed, way, length)


def of_rates(setting: Setting, seed: int) -> Iterator[Node]:
    yield from shifted(setting, seed)
    for way, rate in product(DIRECTIONS, RATES):
        yield from varied(setting, seed, way, rate=rate)


def on_the_same(setting: Setting, seed: int) -> Iterator[Node]:
    for text, _ in DIRECTIONS:
        yield from shift.adapted(setting, seed, (text, text), again(text), stops=(1,))


def on_upstream(runs: Runs) -> Evaluations:
    """What is left of the upstream text in those of the runs that had one."""
    return lambda setting: (
        Judged(node.arm, (node,), node.line[0].spec.data) for node in runs(setting) if node.source
    )


shift_runs, length_runs = each_seed(SEEDS, shifted), each_seed(SEEDS, of_lengths)
rate_runs = each_seed(SEEDS, of_rates)

REWARMED = "re-warmed"
LINE_STYLES = style.distinct((REWARMED, CONSTANT, SCRATCH))
SIDES = style.distinct(("downstream", "upstream"))


def draw_downstream(axis: Axes, store: Store, losses: Mapping[float, Quantity], label: str) -> None:
    arms.line(axis, store, losses, replace(LINE_STYLES[label], marker=""))


def level(axis: Axes, loss: float) -> None:
    axis.axhline(loss, color=style.GREY, ls="--", lw=1)
    axis.annotate("before", (0.99, loss), xycoords=("axes fraction", "data"), ha="right",
                  va="bottom", fontsize=7.5, color=style.GREY)  # fmt: skip


def draw_shift(store: Store) -> Figure:
    figure, axes = style.panels(len(DIRECTIONS), 2, sharex=True)
    for way, (left, right) in zip(DIRECTIONS, axes, strict=True):
        names = {REWARMED: rewarmed(way), CONSTANT: constant(way), SCRATCH: scratch(way[1])}
        losses = {label: downstream(store, name) for label, name in names.items()}
        tables = {label: arms.table(store, places) for label, places in losses.items()}
        for label in names:
            draw_downstream(left, store, losses[label], label)
        low = min(table.min().min() for table in tables.values())
        high = max(tables[label].loc[0].max() for label in (REWARMED, CONSTANT))
        margin = 0.05 * (high - low)
        left.set_ylim(low - margin, high + margin)
        left.set(title=f"downstream: {way[1]}", ylabel=arms.LOSS)
        steps = max(losses[REWARMED])
        for label in (REWARMED, CONSTANT):
            kept = {steps * at: loss for at, loss in upstream(names[label]).items()}
            means = arms.line(right, store, kept, LINE_STYLES[label])
        level(right, means.iloc[0])
        right.set(title=f"upstream: {way[0]}")
    for axis in axes[-1]:
        axis.set_xlabel("steps on the downstream text")
    style.legend_below(figure, style.handles(LINE_STYLES))
    return figure


def length_panel(axis: Axes, store: Store, way: Direction) -> None:
    for side, (name, line_style) in enumerate(SIDES.items()):
        places = {length: over_none(way, length, side) for length in LENGTHS}
        arms.whiskers(axis, store, places, line_style, f"{name}: {way[1 - side]}")
    axis.axhspan(-MARGIN, MARGIN, color=style.FAINT, alpha=0.4, lw=0)
    axis.set(xlabel="warm-up (times that of pre-training)", title=f"{way[0]} to {way[1]}",
             ylabel="final loss against no warm-up (%)", xticks=LENGTHS)  # fmt: skip
    axis.legend()


def rate_panel(axis: Axes, store: Store, way: Direction) -> None:
    names = {f"{LOW:g}×, constant": constant(way)}
    names |= {f"{rate:g}×": rewarmed(way, rate=rate) for rate in RATES}
    means = []
    for label, name in names.items():
        down, up = (list(loss.by_seed(store).values()) for loss in ends(name))
        axis.plot(down, up, ".", color=style.FAINT, ms=4)
        means.append((float(np.mean(down)), float(np.mean(up))))
        axis.annotate(label, means[-1], xytext=(5, 4), textcoords="offset points")
    axis.plot(*zip(*means, strict=True), "-o", color=style.OKABE_ITO[0])
    axis.margins(x=0.25, y=0.12)
    axis.set(xlabel=f"final loss downstream, {way[1]}", ylabel=f"upstream, {way[0]}",
             title=f"{way[0]} to {way[1]}")  # fmt: skip


def same_panel(axis: Axes, store: Store, way: Direction) -> None:
    losses = downstream(store, again(way[0]))
    draw_downstream(axis, store, losses, REWARMED)
    level(axis, losses[0](store).value)
    axis.set(title=way[0], xlabel="more steps on the same text", ylabel=arms.LOSS)


draw_lengths = arms.for_each(length_panel, DIRECTIONS, share_y=True)
draw_rates, draw_same = (arms.for_each(panel, DIRECTIONS) for panel in (rate_panel, same_panel))


def of_shift(way: Direction) -> Iterator[Claim[Store]]:
    """Of re-warming as such."""
    up, down = way
    ours, low, new = rewarmed(way), final(constant(way)), final(scratch(down))
    yield rule(f"raises-upstream-{up}", "abstract", rise(upstream(ours)) > 0).decides(
        "re-warming first increases the loss on upstream data",
        f"highest loss on {up} in the first quarter of training on {down}, minus before, nats",
    )
    yield rule(f"raises-far-downstream-{down}", FAR, raised(ours) > 0, whose="ours").decides(
        "re-warming first increases the loss on downstream data also where they share little with "
        "the upstream",
        f"highest loss on {down} in the first quarter of training on it, minus before, nats",
    )
    yield rule(f"beats-constant-{down}", "abstract", final(ours) - low < 0).decides(
        "in the longer run re-warming improves the downstream performance",
        f"final loss on {down}, re-warmed minus at the constant low rate, nats",
    )
    yield rule(f"beats-scratch-{down}", "abstract", final(ours) - new < 0).decides(
        "re-warmed models outperform models trained from scratch, even for a large downstream "
        "dataset",
        f"final loss on {down} after as many tokens as upstream, re-warmed minus from scratch, "
        "nats",
    )


def of_length(way: Direction) -> Iterator[Claim[Store]]:
    for side, text in enumerate(reversed(way)):
        holds = over_none(way, LENGTHS[-1], side).within(-MARGIN, MARGIN)
        yield rule(f"length-{way[0]}-to-{way[1]}-on-{text}", COMPARED_LENGTHS, holds).decides(
            "the length of the warm-up hardly matters",
            f"final loss on {text} after {way[0]} to {way[1]} with the longest warm-up over "
            "that with none, %",
        )


def of_rate(way: Direction) -> Iterator[Claim[Store]]:
    low, high = (ends(rewarmed(way, rate=rate)) for rate in (RATES[0], RATES[-1]))
    learns, forgets = (one - other for one, other in zip(high, low, strict=True))
    for text, does, holds in (
        (way[1], "learns more of the downstream data", learns < 0),
        (way[0], "forgets more of the upstream data", forgets > 0),
    ):
        yield rule(f"rate-{way[0]}-to-{way[1]}-on-{text}", COMPARED_RATES, holds).decides(
            f"a larger maximum rate {does}",
            f"final loss on {text} after {way[0]} to {way[1]}, {RATES[-1]:g} times the rate minus "
            f"{RATES[0]:g} times, nats",
        )


def of_same(way: Direction) -> Iterator[Claim[Store]]:
    yield rule(f"same-{way[0]}", ON_THE_SAME, raised(again(way[0])) > 0).decides(
        "re-warming raises the loss even where the data stays the same",
        f"highest loss on {way[0]} in the first quarter of more {way[0]}, minus before, nats",
    )


FAR = "our question to the abstract, on SlimPajama after the Pile; here novels and code"
COMPARED_LENGTHS = "its comparison of warm-ups over 0, 0.5, 1 and 2 % of the steps"
COMPARED_RATES = "its comparison of maximum learning rates"
ON_THE_SAME = "its experiment of re-warming on the upstream data"
R1, R2, R3, R4 = (
    tuple(one for way in DIRECTIONS for one in claims(way))
    for claims in (of_shift, of_length, of_rate, of_same)
)

UNTESTABLE = (
    no_rule("at-410M", "abstract").decides(
        "all of it at 410M parameters, after 300B tokens of the Pile, on 297B of SlimPajama",
        "neither the size nor the tokens are within reach; the paper’s scale plans them",
    ),
)

PAPER = Paper(
    name="rewarm",
    arxiv="2308.04014",
    title="Continual Pre-Training of Large Language Models: How to (re)warm your model?",
    summary="a second corpus after the first: warm the learning rate up again, how long, how high",
    bases=bases.scales(paper_scale),
    corpora=shift.corpora(PILE, SLIMPAJAMA),
    figures={
        "R1": FigureOf(shift_runs, draw_shift, R1, on_upstream(shift_runs)).shows(
            "Going on with another text, re-warmed or not",
            "Validation loss on the downstream text (left) and what is left of the upstream one "
            "(right), novels first above, code first below. Means with the range of the seeds. "
            "From scratch the curves come from above the panel.",
        ),
        "R2": FigureOf(length_runs, draw_lengths, R2, on_upstream(length_runs)).shows(
            "How long to warm up",
            "Final loss against that without warm-up, paired by seed, with intervals. Grey is half "
            "a percent.",
        ),
        "R3": FigureOf(rate_runs, draw_rates, R3, on_upstream(rate_runs)).shows(
            "How high to warm up: what is learned against what is forgotten",
            "Final losses for highest rates as multiples of the pre-training’s. Dots are seeds. "
            "Left is learned, up is forgotten.",
        ),
        "R4": FigureOf(each_seed(SEEDS, on_the_same), draw_same, R4).shows(
            "Re-warming on the same text",
            "Nothing shifts but the rate, on batches not seen before.",
        ),
    },
    untestable=UNTESTABLE,
)
