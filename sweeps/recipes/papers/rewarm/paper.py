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
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from mugrow.bench.spec import ModelSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text, each_seed
from mugrow.sweeps.recipes.papers import bases, shift
from mugrow.sweeps.recipes.papers.rewarm import claims, figures
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, LOW, STOPS, Direction

SEEDS = dict.fromkeys(("cpu", "gpu", "paper"), range(5))
PILE = Text("hf:monology/pile-uncopyrighted", "hf:EleutherAI/pythia-410m", 2**20, 50_277)
SLIMPAJAMA = replace(PILE, corpus="hf:cerebras/SlimPajama-627B")

# Pythia 410M: 24 layers of width 1024, and 143,000 steps of 1024 x 2048 tokens
paper_scale = bases.published(
    ModelSpec(width=1024, depth=24, head_size=64, context=2048, positions="rope"),
    lr=3e-4, schedule=ScheduleSpec(warmup=0.01), batch_sequences=1024, steps=143_000,
    log_every=1430,
)  # fmt: skip


def varied(
    setting: Setting, seed: int, way: Direction, length: float = 1, rate: float = 1
) -> list[Node]:
    """Re-warmed over another length or to another rate, then in one piece."""
    usual = shift.run_on(setting, way[1], seed).schedule
    schedule = replace(usual, warmup=length * usual.warmup)
    stops = STOPS if length == rate == 1 else (1,)
    arm = shift.rewarmed(way, length, rate)
    return shift.adapted(setting, seed, way, arm, rate, schedule, stops)


def unwarmed(setting: Setting, seed: int, way: Direction) -> list[Node]:
    """Constant where the pre-training's rate ended."""
    constant = ScheduleSpec(kind="constant", warmup=0)
    return shift.adapted(setting, seed, way, claims.constant(way), LOW, constant)


def shifted(setting: Setting, seed: int) -> Iterator[Node]:
    for way in DIRECTIONS:
        yield from varied(setting, seed, way)
        yield from unwarmed(setting, seed, way)
        yield Node(shift.run_on(setting, way[1], seed), claims.scratch(way[1]))


def of_lengths(setting: Setting, seed: int) -> Iterator[Node]:
    for way in DIRECTIONS:
        for length in claims.LENGTHS:
            yield from varied(setting, seed, way, length)


def of_rates(setting: Setting, seed: int) -> Iterator[Node]:
    yield from shifted(setting, seed)
    for way in DIRECTIONS:
        for rate in claims.RATES:
            yield from varied(setting, seed, way, rate=rate)


def on_the_same(setting: Setting, seed: int) -> Iterator[Node]:
    for text, _ in DIRECTIONS:
        yield from shift.adapted(setting, seed, (text, text), claims.again(text), stops=(1,))


def on_upstream(runs: Callable[[Setting], Iterable[Node]]) -> Callable[[Setting], Iterator[Judged]]:
    """What is left of the upstream text in those of the runs that had one."""

    def evaluations(setting: Setting) -> Iterator[Judged]:
        for node in runs(setting):
            if node.source:
                yield Judged(node.arm, (node,), node.line[0].spec.data)

    return evaluations


shift_runs, length_runs, rate_runs, same_runs = (
    each_seed(SEEDS, nodes) for nodes in (shifted, of_lengths, of_rates, on_the_same)
)

PAPER = Paper(
    name="rewarm",
    arxiv="2308.04014",
    title="Continual Pre-Training of Large Language Models: How to (re)warm your model?",
    summary="a second corpus after the first: warm the learning rate up again, how long, how high",
    bases=bases.scales(paper_scale),
    corpora=shift.corpora(PILE, SLIMPAJAMA),
    figures={
        "R1": PaperFigure(
            "Going on with another text, re-warmed or not",
            "Validation loss on the downstream text (left) and what is left of the upstream one "
            "(right), novels first above, code first below. Means with the range of the seeds. "
            "From scratch the curves come from above the panel.",
            shift_runs,
            figures.draw_shift,
            claims.R1,
            on_upstream(shift_runs),
        ),
        "R2": PaperFigure(
            "How long to warm up",
            "Final loss against that without warm-up, paired by seed, with intervals. Grey is half "
            "a percent.",
            length_runs,
            figures.draw_lengths,
            claims.R2,
            on_upstream(length_runs),
        ),
        "R3": PaperFigure(
            "How high to warm up: what is learned against what is forgotten",
            "Final losses for highest rates as multiples of the pre-training’s. Dots are seeds. "
            "Left is learned, up is forgotten.",
            rate_runs,
            figures.draw_rates,
            claims.R3,
            on_upstream(rate_runs),
        ),
        "R4": PaperFigure(
            "Re-warming on the same text",
            "Nothing shifts but the rate, on batches not seen before.",
            same_runs,
            figures.draw_same,
            claims.R4,
        ),
    },
    untestable=claims.UNTESTABLE,
)
