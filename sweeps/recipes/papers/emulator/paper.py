"""An Emulator for Fine-Tuning Large Language Models using Small Language Models (arXiv 2310.12962).

    mugrow reproduce emulator --corpus novels=PATH

What fine-tuning did to a small model is a difference of logits. Added to those of a large model
that was never tuned,

    log p = log softmax(large base + strength (small tuned - small base)),

it is to stand in for the large model tuned: *up-scaling*. Here the tuning is the shift of
``rewarm``: bases are trained on novels, then on Python sources; PATH is as there.

Cost: at ``cpu`` 5 minutes on two cores, beside what ``rewarm`` trains; at ``gpu`` 3e15 FLOPs,
about 5 minutes on one large GPU; at the paper's scale, Llama's 7B and 65B on 1T tokens for each
stage, 5e24 FLOPs.
Expected: most of the gap between the large base and the large tuned model closes. Whether the
stand-in also beats the small tuned model is open: of so wide a shift more is to be learned than a
small model's difference holds.

Choices. Training on another corpus in place of instruction tuning, and the loss in place of judged
answers. Widths under muP. Bases are trained here, where the paper takes finished ones, and are
tuned on as many tokens as that. At ``paper`` the shift is from the web to code, and both sizes have
one learning rate. Five seeds.
"""

from collections.abc import Iterator
from dataclasses import replace

from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ScheduleSpec, llama
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.recipes.papers import bases, shift
from mugrow.sweeps.recipes.papers.emulator import claims, figures
from mugrow.sweeps.recipes.papers.emulator.claims import BASE, LARGE, TEXTS, TUNED, model, on

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}
WEB = Text("hf:cerebras/SlimPajama-627B", "hf:huggyllama/llama-7b", 2**20, 32_000)
SOURCES = replace(WEB, corpus="hf:bigcode/starcoderdata")

# Llama 7B: 1T tokens, 4M a step. Twice the width and 80 layers are its 65B
paper_scale = bases.published(
    llama(width=4096, depth=32, head_size=128, context=2048, mlp_ratio=2.6875, vocab_size=32_000),
    lr=3e-4, schedule=ScheduleSpec(warmup=0.008), batch_sequences=2048, steps=250_000,
    log_every=2500,
)  # fmt: skip


def pair(setting: Setting, seed: int, width: int, depth: float = 1) -> tuple[Node, Node]:
    """A model of multiples of the small one's width and depth, before and after tuning."""
    sized = replace(setting, run=replace(setting.run, model=setting.spec(0, width, depth).model))
    first = shift.pretrained(sized, BASE, seed)
    last = shift.adapted(sized, seed, (BASE, TUNED))[-1]
    return replace(first, arm=model("base", width)), replace(last, arm=model("tuned", width))


def evaluations(setting: Setting) -> Iterator[Judged]:
    """Every model, and the small one's tuning on every large base, on both texts."""
    for seed in SEEDS[setting.scale]:
        small = pair(setting, seed, 1)
        yield from plainly(setting, small)
        for width, depth in LARGE[setting.scale].items():
            large = pair(setting, seed, width, depth)
            yield from plainly(setting, large)
            for text in TEXTS:
                name, models = on(text, model("emulated", width)), (large[0], *small)
                for strength in claims.STRENGTHS:
                    given = (("strength", strength),)
                    yield Judged(name, models, setting.data[text], "emulate", given)


def plainly(setting: Setting, nodes: tuple[Node, Node]) -> Iterator[Judged]:
    for node in nodes:
        for text in TEXTS:
            assert isinstance(node.arm, ArmName)
            yield Judged(on(text, node.arm), (node,), setting.data[text])


def runs(setting: Setting) -> Iterator[Node]:
    return (node for judged in evaluations(setting) for node in judged.nodes)


PAPER = Paper(
    name="emulator",
    arxiv="2310.12962",
    title="An Emulator for Fine-Tuning Large Language Models using Small Language Models",
    summary="what tuning did to a small model’s logits, added to those of a large base",
    bases=bases.scales(paper_scale),
    corpora=shift.corpora(WEB, SOURCES),
    stack_width=384,  # two stacks of the widest, one a core
    figures={
        "E1": PaperFigure(
            "A large base with a small model’s tuning, between the models it is made of",
            "Losses on the text that models are tuned on (left) and on that of their bases "
            "(right), with intervals over seeds. Diamonds are the small model’s tuning on a large "
            "base.",
            runs,
            figures.draw_models,
            claims.E1,
            evaluations,
        ),
        "E2": PaperFigure(
            "How strongly the small model’s tuning is added",
            "Means and ranges over seeds; at 0 is the large base, stars mark the lowest. Dashed "
            "is the large model tuned, dotted the small one.",
            runs,
            figures.draw_strengths,
            claims.E2,
            evaluations,
        ),
    },
    untestable=claims.UNTESTABLE,
)
