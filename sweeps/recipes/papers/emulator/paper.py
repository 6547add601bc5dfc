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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import student_interval
from mugrow.bench.spec import DataSpec, HyperSpec, RunSpec, ScheduleSpec, llama
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Scale, Setting, Text
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.emulator.claims import (
    BASE,
    LARGE,
    SCALING_CLAIMS,
    SMALL_BASE,
    SMALL_TUNED,
    STRENGTH_CLAIMS,
    STRENGTHS,
    TEXTS,
    TUNED,
    base_of,
    emulated,
    losses,
    multiples,
    on,
    tuned_of,
)
from mugrow.sweeps.recipes.papers.rewarm import paper as rewarm

SEEDS = range(5)
WEB = Text("hf:cerebras/SlimPajama-627B", "hf:huggyllama/llama-7b", 2**20, 32_000)
SOURCES = Text("hf:bigcode/starcoderdata", WEB.tokenizer, WEB.val_tokens, WEB.vocab_size)
CORPORA: Mapping[str, Mapping[Scale, Text]] = {
    BASE: {**rewarm.CORPORA[BASE], "paper": WEB},
    TUNED: {**rewarm.CORPORA[TUNED], "paper": SOURCES},
}


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Llama 7B: 1T tokens, 4M a step. Twice the width and 80 layers are its 65B."""
    model = llama(width=4096, depth=32, head_size=128, context=2048, mlp_ratio=2.6875,
                  vocab_size=vocabulary)  # fmt: skip
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=3e-4, init_std=0.02),
        schedule=ScheduleSpec(warmup=0.008),
        data=data,
        batch_sequences=2048,
        steps=250_000,
        seed=0,
        data_seed=0,
        log_every=2500,
    )


def sized(setting: Setting, width: float, depth: float) -> Setting:
    model = setting.run.model
    wider = replace(model, width=round(width * model.width), depth=round(depth * model.depth))
    return replace(setting, run=replace(setting.run, model=wider))


def pair(setting: Setting, seed: int, base: str, tuned: str) -> tuple[Node, Node]:
    """A model before and after tuning, in arms of these names."""
    first = rewarm.pretrained(setting, BASE, seed)
    last = rewarm.adapted(setting, (BASE, TUNED), seed)[-1]
    return replace(first, arm=base), replace(last, arm=tuned)


def evaluations(setting: Setting) -> Iterator[Judged]:
    """Every model, and the small one's tuning on every large base, on both texts."""
    for seed in SEEDS:
        small = pair(setting, seed, SMALL_BASE, SMALL_TUNED)
        yield from plainly(setting, small)
        for times, deeper in LARGE[setting.scale]:
            large = pair(sized(setting, times, deeper), seed, base_of(times), tuned_of(times))
            yield from plainly(setting, large)
            for text in TEXTS:
                name, models = on(text, emulated(times)), (large[0], *small)
                for strength in STRENGTHS:
                    given = (("strength", strength),)
                    yield Judged(name, models, setting.data[text], "emulate", given)


def plainly(setting: Setting, nodes: Sequence[Node]) -> Iterator[Judged]:
    for node in nodes:
        for text in TEXTS:
            yield Judged(on(text, node.arm), (node,), setting.data[text])


def runs(setting: Setting) -> Iterator[Node]:
    for judged in evaluations(setting):
        yield from judged.nodes


def draw_models(store: Store) -> Figure:
    plain = [SMALL_BASE, *map(base_of, multiples(store)), SMALL_TUNED]
    stand_ins = [emulated(times) for times in multiples(store)]
    names = [*plain, *stand_ins, *map(tuned_of, multiples(store))]
    looks = dict.fromkeys(names, style.Look(style.GREY, "o"))
    looks |= dict.fromkeys(stand_ins, style.Look(style.OKABE_ITO[1], "D"))
    figure, ((left, right),) = style.panels(1, 2, sharey=True)
    for axis, text in ((left, TUNED), (right, BASE)):
        found = [losses(store, name, text, 1.0 if name in stand_ins else None) for name in names]
        arms.dots(axis, names, [student_interval(list(one.values())) for one in found], looks)
        axis.set(xlabel=f"loss on {text} (nats per token)")
    return figure


def draw_strengths(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    looks = style.dealt([f"{times}× width" for times in multiples(store)])
    small = style.Look(style.GREY, "", ":")
    for axis, text in ((left, TUNED), (right, BASE)):
        for times, look in zip(multiples(store), looks.values(), strict=True):
            lines = [losses(store, base_of(times), text)]
            lines += [losses(store, emulated(times), text, strength) for strength in STRENGTHS]
            values = np.array([list(line.values()) for line in lines])
            at, means = np.array([0, *STRENGTHS]), values.mean(axis=1)
            axis.fill_between(at, values.min(axis=1), values.max(axis=1), color=look.colour,
                              alpha=0.2, lw=0)  # fmt: skip
            axis.plot(at, means, marker=look.marker, color=look.colour)
            best = int(means.argmin())
            style.mark_minimum(axis, at[best], means[best], look.colour)
            ceiling = np.mean(list(losses(store, tuned_of(times), text).values()))
            axis.axhline(ceiling, color=look.colour, ls="--", lw=1)
        axis.axhline(np.mean(list(losses(store, SMALL_TUNED, text).values())),
                     color=small.colour, ls=small.line)  # fmt: skip
        axis.set(xlabel="strength of the small model’s tuning", title=f"on {text}")
    left.set_ylabel(arms.LOSS)
    handles = [style.handle(f"large base of {name}", mine=look) for name, look in looks.items()]
    dashed = style.Look(style.GREY, "", "--")
    handles += [style.handle("large tuned", mine=dashed), style.handle(SMALL_TUNED, mine=small)]
    style.legend_below(figure, handles)
    return figure


PAPER = Paper(
    name="emulator",
    arxiv="2310.12962",
    title="An Emulator for Fine-Tuning Large Language Models using Small Language Models",
    summary="what tuning did to a small model’s logits, added to those of a large base",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora=CORPORA,
    stack_width=384,  # two stacks of the widest, one a core
    figures={
        "E1": PaperFigure(
            "A large base with a small model’s tuning, between the models it is made of",
            "Losses on the text that models are tuned on (left) and on that of their bases "
            "(right), with intervals over seeds. Diamonds are the small model’s tuning on a large "
            "base.",
            runs,
            draw_models,
            SCALING_CLAIMS,
            evaluations,
        ),
        "E2": PaperFigure(
            "How strongly the small model’s tuning is added",
            "Means and ranges over seeds; at 0 is the large base, stars mark the lowest. Dashed "
            "is the large model tuned, dotted the small one.",
            runs,
            draw_strengths,
            STRENGTH_CLAIMS,
            evaluations,
        ),
    },
    untestable=(
        Claim(
            "helpfulness",
            "scaling up fine-tuning tends to improve helpfulness; up-scaling improves helpfulness "
            "and factuality in the Llama, Llama-2 and Falcon families",
            "abstract",
            untestable="answers to people, which a far larger model judges; neither is at hand",
        ),
        Claim(
            "dial",
            "competing traits, helpful and harmless, are adjusted at test time without training",
            "abstract",
            untestable="no model here has either trait; E2 turns the same dial between two texts",
        ),
    ),
)
