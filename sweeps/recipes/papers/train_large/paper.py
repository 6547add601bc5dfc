"""Train Large, Then Compress: larger models are cheaper to train, and to store (arXiv 2002.11794).

    mugrow reproduce train-large

The paper's two halves. Wider and deeper models reach a loss in fewer steps, and often in fewer
FLOPs, so the compute-efficient way is a large model stopped early. And a large model, pruned or
rounded to the bytes of a small one, is the better model: it loses less by compression.

Cost: at ``cpu`` about 8 minutes on two cores, of which half is shared with ``nanolm``; at ``gpu``
about 8 minutes on one large GPU; at the paper's scale (RoBERTa-like decoders of 3 to 24 layers and
widths 256 to 1536, 8192 sequences a step) about 1e22 FLOPs.
Expected: steps to the small model's loss fall with width and depth; at equal bytes the larger model
wins by rounding, up to the few bits at which everything breaks.

Choices. Decoders in place of the paper's masked language models: another loss, the same question.
Widths under muP, depths under CompleteP, so that one learning rate serves all sizes. Only
hidden matrices are compressed; with a vocabulary of bytes the rest is little.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.dynamics import of_curves, step_ratio
from mugrow.analysis.measure.quantity import Quantity, each, evaluated
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import FigureOf, Paper, Runs, Setting, Text, each_seed
from mugrow.sweeps.recipes.papers import bases

DEEP_WIDTH = 2  # over the base's
WIDE = tuple(ArmName(f"{width}× width", width=width, depth=1) for width in (1, 2, 4, 8))
DEEP = (WIDE[1], *(ArmName(f"{d}× depth", width=DEEP_WIDTH, depth=d) for d in (2, 4)))
SMALL, TWICE, LARGE, LARGEST = WIDE
COMPRESSED = {"bits": (8.0, 6.0, 5.0, 4.0, 3.0, 2.0),  # by one of the two
              "sparsity": (0.25, 0.5, 0.625, 0.75, 0.875)}  # fmt: skip
AS_IT_IS: dict[str, float | None] = dict.fromkeys(COMPRESSED)
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}
WEB = Text("hf:Skylion007/openwebtext@8000", "hf:roberta-base", 2**20, vocab_size=50265)

# The smallest of the paper's
paper_scale = bases.transferred(
    ModelSpec(width=256, depth=3, head_size=64, context=512),
    batch_sequences=8192, steps=100_000, log_every=1000,
)  # fmt: skip


def sized(setting: Setting, seed: int, arm: ArmName) -> Node:
    """Under muP where only the width differs, so that the runs are those of other papers."""
    width, depth = float(arm.factors["width"]), float(arm.factors["depth"])
    rules = setting.run.parametrization if depth == 1 else "completep"
    return Node(setting.spec(seed, width, depth, parametrization=rules), arm)


def sizes(arms: Sequence[ArmName]) -> Runs:
    return each_seed(SEEDS, lambda setting, seed: [sized(setting, seed, arm) for arm in arms])


wide, deep = sizes(WIDE), sizes(DEEP)


def compressed(setting: Setting) -> Iterator[Judged]:
    for node in wide(setting):
        judged = partial(Judged, node.arm, (node,), setting.run.data, "compress")
        yield judged()
        for name, values in COMPRESSED.items():
            yield from (judged(((name, value),)) for value in values)


def whole(arm: str, what: str = "loss") -> Quantity:
    """Loss or bytes of an arm's models as they are."""
    return evaluated(arm, what, **AS_IT_IS)


def steps_ratio(small: str, large: str) -> Quantity:
    """Steps of ``small`` over those of ``large`` to the final loss of ``small``."""
    return of_curves(lambda one, other: step_ratio(one, other, one.step[-1]), small, large)


def gain_at_equal_bytes(small: str, large: str) -> Quantity:
    """The lowest loss of ``large`` rounded into the bytes of ``small`` as it is, minus its loss;
    nan where no rounding fits."""

    def lowest_that_fits(values: Sequence[float]) -> float:
        room, losses, sizes = values[0], values[1::2], values[2::2]
        fitting = (loss for loss, size in zip(losses, sizes, strict=True) if size <= room)
        return min(fitting, default=math.nan)

    bits, read = COMPRESSED["bits"], ("loss", "bytes")
    rounded = (evaluated(large, what, bits=to) for to in bits for what in read)
    fitting = quantity.combined(lowest_that_fits, whole(small, "bytes"), *rounded)
    return each(fitting) - whole(small)


def given_up(arm: str, **compressed: float) -> Quantity:
    """Loss after compression over that before, in percent."""
    return 100 * each(evaluated(arm, "loss", **compressed) / whole(arm))


def draw_curves(names: Sequence[str]) -> Callable[[Store], Figure]:
    against = partial(arms.CurvePanel, names, style.distinct(names))
    return arms.row(against("tokens"), against("flops", legend=False), share_y=True)


def draw_compressed(axis: Axes, store: Store, parameter: str) -> None:
    """Losses against bytes of each size, compressed more and more; as it is, a star."""
    asked = [AS_IT_IS, *(AS_IT_IS | {parameter: value} for value in COMPRESSED[parameter])]
    lowest = math.inf
    for arm, line_style in style.distinct(WIDE).items():
        sizes = [evaluated(arm, "bytes", **params)(store).value for params in asked]
        rows = [quantity.evaluations(store, arm, "loss", params)["value"] for params in asked]
        losses = pd.DataFrame([one.agg(["min", "mean", "max"]) for one in rows], index=sizes)
        arms.band(axis, losses, line_style, line_style.marker, arm)
        axis.plot(sizes[0], losses["mean"].iloc[0], "*", ms=12, mfc=line_style.colour, mec="white")
        lowest = min(lowest, losses["min"].min())
    axis.set(xscale="log", xlabel="bytes of the model", ylabel=arms.LOSS)
    axis.set_ylim(lowest - 0.03, lowest + 0.8)
    axis.set_title("rounded to fewer bits" if parameter == "bits" else "pruned")
    style.flops_axis(axis.xaxis)
    if parameter == "bits":
        axis.legend()


def faster(
    larger: str, axis: str, small: str, large: str, one: str, other: str, loss: str
) -> Iterator[Claim[Store]]:
    """In steps and in FLOPs; ``one``, ``other`` and ``loss`` are words for the two and the aim."""
    cheaper = quantity.speedup(small, large, "target")
    yield rule(f"{larger}-fewer-steps", "abstract", steps_ratio(small, large) > 1).decides(
        f"{larger} models converge in significantly fewer steps",
        f"steps of {one} over those of {other}, to {loss}",
    )
    yield rule(f"{larger}-fewer-flops", f"abstract, for {axis}", cheaper > 1).decides(
        "the acceleration typically outpaces the overhead of the larger model",
        f"FLOPs of {one} over those of {other}, to {loss}",
    )


def robust(to: str, kind: str, compression: str, **compressed: float) -> Claim[Store]:
    more = given_up(LARGEST, **compressed) - given_up(SMALL, **compressed)
    return rule(f"robust-to-{to}", "abstract", more < 0).decides(
        f"large models are more robust to {kind} than small models",
        f"loss given up by {compression}, 8 times the base's width minus the base, percentage "
        "points",
    )


T1 = tuple(faster("wider", "width", SMALL, LARGE,
                  "the base", "one 4 times as wide", "the base's final loss"))  # fmt: skip
T2 = tuple(faster("deeper", "depth", DEEP[0], DEEP[1],
                  "the shallow model", "one twice as deep", "its final loss"))  # fmt: skip
T3 = (
    rule("equal-bytes", "abstract", gain_at_equal_bytes(TWICE, LARGE) < 0).decides(
        "heavily compressed, large models beat lightly compressed, small ones",
        "lowest loss of the model 4 times as wide, rounded into the bytes of the one twice as "
        "wide, minus that one's, nats",
    ),
    robust("rounding", "quantization", "rounding to 4 bits", bits=4.0),
    robust("pruning", "pruning", "pruning half", sparsity=0.5),
)
PAPER = Paper(
    name="train-large",
    arxiv="2002.11794",
    title="Train Large, Then Compress",
    summary="steps and FLOPs to a loss against width and depth; compressed to equal bytes",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(WEB),
    figures={
        "T1": FigureOf(wide, draw_curves(WIDE), T1).shows(
            "Wider models reach a loss in fewer steps",
            "Mean validation loss with a band from the lowest to the highest seed, against tokens "
            "(left) and FLOPs (right). Only the ends of the curves have cooled down.",
        ),
        "T2": FigureOf(deep, draw_curves(DEEP), T2).shows(
            "Deeper models reach a loss in fewer steps",
            "As T1, at twice the base's width.",
        ),
        "T3": FigureOf(
            wide, arms.for_each(draw_compressed, COMPRESSED, share_y=True), T3, compressed
        ).shows(
            "Large models compressed, beside small ones as they are",
            "Each line is one trained size, its star the model as it is; to the left, its hidden "
            "matrices rounded to 8, 6, 5, 4, 3 and 2 bits (left) or with the smallest quarter to "
            "seven eighths of their entries zero (right). Bands span the seeds; losses far above "
            "the best are cut off.",
        ),
    },
    untestable=(
        no_rule("translation", "abstract").decides(
            "the same holds for machine translation",
            "no translation data, and decoders only",
        ),
        no_rule("downstream", "section on compression").decides(
            "compressed large models are more accurate after fine-tuning on MNLI",
            "downstream tasks are not at hand offline; the loss stands in for them",
        ),
    ),
)
