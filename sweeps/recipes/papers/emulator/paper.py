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

Models are known by their width over the small one's, and evaluated on both texts. What stands in
for a tuned one is evaluated at several strengths.

Choices. Training on another corpus in place of instruction tuning, and the loss in place of judged
answers. Widths under muP. Bases are trained here, where the paper takes finished ones, and are
tuned on as many tokens as that. At ``paper`` the shift is from the web to code, and both sizes have
one learning rate. Five seeds.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, at_scale, evaluated
from mugrow.analysis.measure.selection import above_lowest
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ScheduleSpec, llama
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text
from mugrow.sweeps.recipes.papers import bases, shift
from mugrow.sweeps.recipes.papers.shift import SEEDS

BASE, TUNED = "novels", "code"  # what the models are trained on, and tuned on
TEXTS = (TUNED, BASE)
SMALL_LARGE = {2: 1.0, 4: 1.0}  # depths over the small model's, by width over the small model's
LARGE = {"cpu": SMALL_LARGE, "gpu": SMALL_LARGE, "paper": {2: 2.5}}
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
MOST = 0.5  # of a gap
MARGIN = 0.5  # percent of the loss, within which a strength is as good as the best
WEB = Text("hf:cerebras/SlimPajama-627B", "hf:huggyllama/llama-7b", 2**20, 32_000)
SOURCES = replace(WEB, corpus="hf:bigcode/starcoderdata")

# Llama 7B: 1T tokens, 4M a step. Twice the width and 80 layers are its 65B
paper_scale = bases.published(
    llama(width=4096, depth=32, head_size=128, context=2048, mlp_ratio=2.6875, vocab_size=32_000),
    lr=3e-4, schedule=ScheduleSpec(warmup=0.008), batch_sequences=2048, steps=250_000,
    log_every=2500,
)  # fmt: skip


def model(kind: str, width: int) -> ArmName:
    """A ``base``, a ``tuned`` model, or what is ``emulated``, of a width over the small one's."""
    size = "" if kind == "emulated" else "small " if width == 1 else "large "
    width_text = f", {width}× width" if width > 1 else ""
    return ArmName(f"{size}{kind}{width_text}", model=kind, width=width)


def on(text: str, name: ArmName) -> ArmName:
    """What an evaluation of a model on a text is called."""
    return name.varied(f"on {text}", corpus=text)


def pair(setting: Setting, seed: int, width: int, depth: float = 1) -> tuple[Node, Node]:
    """A model of multiples of the small one's width and depth, before and after tuning."""
    sized = replace(setting, run=replace(setting.run, model=setting.spec(0, width, depth).model))
    first = shift.pretrained(sized, BASE, seed)
    last = shift.adapted(sized, seed, (BASE, TUNED))[-1]
    return replace(first, arm=model("base", width)), replace(last, arm=model("tuned", width))


def evaluations(setting: Setting) -> Iterator[Judged]:
    """Every model, and the small one's tuning on every large base, on both texts."""
    for seed in setting.of(SEEDS):
        small = pair(setting, seed, 1)
        yield from plainly(setting, small)
        for width, depth in LARGE[setting.scale].items():
            large = pair(setting, seed, width, depth)
            yield from plainly(setting, large)
            models = (large[0], *small)
            for text, strength in product(TEXTS, STRENGTHS):
                name, given = on(text, model("emulated", width)), (("strength", strength),)
                yield Judged(name, models, setting.data[text], "emulate", given)


def plainly(setting: Setting, nodes: tuple[Node, Node]) -> Iterator[Judged]:
    for node, text in product(nodes, TEXTS):
        assert isinstance(node.arm, ArmName)
        yield Judged(on(text, node.arm), (node,), setting.data[text])


runs = shift.runs_of(evaluations)


def loss(kind: str, width: int, text: str = TUNED) -> Quantity:
    """Of a model on a text, nats per token; what is emulated at strength 1."""
    if kind == "emulated":
        return emulated(width, text)[1.0]
    return evaluated(on(text, model(kind, width)))


def emulated(width: int, text: str = TUNED) -> dict[float, Quantity]:
    """Losses of the stand-in by strength."""
    name = on(text, model("emulated", width))
    return {strength: evaluated(name, strength=strength) for strength in STRENGTHS}


def closed(width: int) -> Quantity:
    """The share of the gap between the large base and the large tuned model."""
    base, tuned = loss("base", width), loss("tuned", width)
    return (base - loss("emulated", width)) / (base - tuned)


def over_best(width: int) -> Quantity:
    """How far the loss at strength 1 lies above that at the best strength, in percent."""
    return above_lowest(loss("emulated", width), list(emulated(width).values()))


def of_largest(measure: Callable[[int], Quantity]) -> Quantity:
    """At the largest width of the scale."""
    return at_scale(lambda scale: measure(max(LARGE[scale])))


def against_small(text: str) -> Quantity:
    """The loss of the largest stand-in on a text minus that of the small tuned model."""
    return of_largest(lambda width: loss("emulated", width, text)) - loss("tuned", 1, text)


PLAIN, EMULATED = style.LineStyle(style.GREY, "o"), style.LineStyle(style.OKABE_ITO[1], "D")
LINE_STYLES: arms.LineStyles = {
    model(kind, width): EMULATED if kind == "emulated" else PLAIN
    for kind in ("base", "tuned", "emulated")
    for width in (1, *SMALL_LARGE)
}
SMALL, LARGE_TUNED = style.LineStyle(style.GREY, "", ":"), style.LineStyle(style.GREY, "", "--")


def models_panel(axis: Axes, store: Store, text: str) -> None:
    large = list(LARGE[store.study["scale"]])
    shown = [("base", width) for width in (1, *large)] + [("tuned", 1)]
    shown += [(kind, width) for kind in ("emulated", "tuned") for width in large]
    losses: arms.Quantities = {model(*one): loss(*one, text) for one in shown}
    arms.DotPanel(losses, f"loss on {text} (nats per token)", LINE_STYLES)(axis, store)


def draw_strengths(store: Store) -> Figure:
    """The lowest strength is starred; at 0 is the base, dashed the model tuned."""
    figure, (axes,) = style.panels(1, 2)
    widths = LARGE[store.study["scale"]]
    by_name = style.distinct([f"{width}× width" for width in widths])
    for axis, text in zip(axes, TEXTS, strict=True):
        for width, line_style in zip(widths, by_name.values(), strict=True):
            places = {0.0: loss("base", width, text)} | emulated(width, text)
            means, colour = arms.line(axis, store, places, line_style), line_style.colour
            style.mark_minimum(axis, list(places)[int(means.argmin())], means.min(), colour)
            tuned = loss("tuned", width, text)(store).value
            axis.axhline(tuned, color=colour, ls=LARGE_TUNED.line, lw=1)
        small = loss("tuned", 1, text)(store).value
        axis.axhline(small, color=SMALL.colour, ls=SMALL.line)
        axis.set(xlabel="strength of the small model’s tuning", title=f"on {text}")
    axes[0].set_ylabel(arms.LOSS)
    shown = {f"large base of {name}": line_style for name, line_style in by_name.items()}
    shown |= {"large tuned": LARGE_TUNED, model("tuned", 1): SMALL}
    style.legend_below(figure, style.handles(shown))
    return figure


CLOSES = "abstract; most of the gap is our rule"
HELPS = "abstract, of helpfulness and factuality; here of the loss on code"
KNOWS = "abstract; the loss on the bases’ own text stands for what they know"
AS_GOOD = "abstract; as good as the best strength, within half a percent, is our rule"
E1 = (
    rule("closes-most", CLOSES, of_largest(closed) > MOST).decides(
        "up-scaling essentially emulates the result of fine-tuning the large pre-trained model",
        "share of the gap in loss on code from the largest base to the same model tuned",
    ),
    rule("beats-small-tuned", HELPS, against_small(TUNED) < 0).decides(
        "up-scaling consistently improves on the small fine-tuned model",
        "loss on code of the small tuning on the largest base minus that of the small tuned model, "
        "nats",
    ),
    rule("keeps-knowledge", KNOWS, against_small(BASE) < 0).decides(
        "scaling up pre-training tends to improve factuality",
        "loss on novels of the small tuning on the largest base minus that of the small tuned "
        "model, nats",
    ),
)
E2 = (
    rule("no-hyperparameter", AS_GOOD, of_largest(over_best) < MARGIN).decides(
        "up-scaling needs no additional hyperparameters",
        "loss on code at strength 1 over that at the best of six strengths, %",
    ),
)
PAPER = Paper(
    name="emulator",
    arxiv="2310.12962",
    title="An Emulator for Fine-Tuning Large Language Models using Small Language Models",
    summary="what tuning did to a small model’s logits, added to those of a large base",
    bases=bases.scales(paper_scale),
    corpora=shift.corpora(WEB, SOURCES),
    stack_width=384,  # two stacks of the widest, one a core
    figures={
        "E1": FigureOf(
            runs, arms.for_each(models_panel, TEXTS, share_y=True), E1, evaluations
        ).shows(
            "A large base with a small model’s tuning, between the models it is made of",
            "Losses on the text that models are tuned on (left) and on that of their bases "
            "(right), with intervals over seeds. Diamonds are the small model’s tuning on a large "
            "base.",
        ),
        "E2": FigureOf(runs, draw_strengths, E2, evaluations).shows(
            "How strongly the small model’s tuning is added",
            "Means and ranges over seeds; at 0 is the large base, stars mark the lowest. Dashed "
            "is the large model tuned, dotted the small one.",
        ),
    },
    untestable=(
        no_rule("helpfulness", "abstract").decides(
            "scaling up fine-tuning tends to improve helpfulness; up-scaling improves helpfulness "
            "and factuality in the Llama, Llama-2 and Falcon families",
            "answers to people, which a far larger model judges; neither is at hand",
        ),
        no_rule("dial", "abstract").decides(
            "competing traits, helpful and harmless, are adjusted at test time without training",
            "no model here has either trait; E2 turns the same dial between two texts",
        ),
    ),
)
