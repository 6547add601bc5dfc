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

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.dynamics import step_ratio, trace
from mugrow.analysis.measure.measured import common_seeds, over_seeds, speedup
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import DataSpec, ModelSpec, RunSpec, UserError
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.recipes.papers import bases

WIDTHS = (1, 2, 4, 8)  # over the base's
DEPTHS = (1, 2, 4)
DEEP_WIDTH = 2
BITS = (8, 6, 5, 4, 3, 2)
SPARSITY = (0.25, 0.5, 0.625, 0.75, 0.875)
SEEDS = range(5)
WEB = Text("hf:Skylion007/openwebtext@8000", "hf:roberta-base", 2**20, vocab_size=50265)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Width 256 and 3 layers, the smallest of the paper's; 512 tokens a sequence."""
    run = bases.gpu(data, vocabulary)
    model = ModelSpec(width=256, depth=3, head_size=64, context=512, vocab_size=vocabulary)
    return replace(
        run, model=model, base=model, batch_sequences=8192, steps=100_000, log_every=1000
    )


def sized(run: RunSpec, seed: int, width: float = 1, depth: int = 1) -> RunSpec:
    """Under muP where only the width differs, so that the runs are those of other papers."""
    model = replace(run.model, width=round(width * run.model.width), depth=depth * run.model.depth)
    rules = run.parametrization if depth == 1 else "completep"
    return replace(run, model=model, parametrization=rules, seed=seed, data_seed=seed)


def wide(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        for width in WIDTHS:
            yield Node(sized(setting.run, seed, width), f"{width}× width")


def deep(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        for depth in DEPTHS:
            name = f"{DEEP_WIDTH}× width" if depth == 1 else f"{depth}× depth"
            yield Node(sized(setting.run, seed, DEEP_WIDTH, depth), name)


def compressed(setting: Setting) -> Iterator[Judged]:
    for node in wide(setting):
        data = setting.run.data
        for bits in BITS:
            yield Judged(node.arm, (node,), data, "compress", (("bits", float(bits)),))
        for sparsity in SPARSITY:
            yield Judged(node.arm, (node,), data, "compress", (("sparsity", sparsity),))
        yield Judged(node.arm, (node,), data, "compress")


def steps_ratio(store: Store, small: str, large: str) -> Interval:
    """Steps of ``small`` over those of ``large`` to the final loss of ``small``."""
    return step_ratio(store, small, large, float(trace(store, small).step[-1]))


def by_compression(store: Store, name: str, parameter: str) -> pd.DataFrame:
    """Loss and bytes of an arm by seed, and by what was done to it; 0 is nothing. Columns seed,
    the parameter, loss, bytes."""
    own = store.evaluations[store.evaluations["arm"] == name]
    if own.empty:
        raise UserError(f"no compressed model of arm {name!r}")
    table = own.pivot_table(index=["seed", "params"], columns="quantity", values="value")
    table = table.reset_index()
    said = pd.DataFrame(list(map(json.loads, table["params"])), columns=["bits", "sparsity"])
    table = table.join(said.fillna(0.0))
    other = "sparsity" if parameter == "bits" else "bits"
    return table[table[other] == 0].sort_values(["seed", parameter])


def gain_at_equal_bytes(store: Store, small: str, large: str) -> Interval:
    """The lowest loss of ``large`` rounded into the bytes of ``small`` as it is, minus its loss."""
    whole, rounded = (by_compression(store, name, "bits") for name in (small, large))
    whole = whole[whole["bits"] == 0].set_index("seed")
    budget = whole["bytes"].iloc[0]
    fitting = rounded[rounded["bytes"] <= budget].groupby("seed")["loss"].min()

    def gain(seeds: Sequence[int]) -> float:
        if fitting.empty:
            return float("nan")
        return float(np.mean([fitting[seed] - whole["loss"][seed] for seed in seeds]))

    return over_seeds(sorted(whole.index), gain)


def lost(store: Store, name: str, parameter: str, value: float) -> dict[int, float]:
    """By seed, the loss after compression minus before, relative."""
    table = by_compression(store, name, parameter)
    before = table[table[parameter] == 0].set_index("seed")["loss"]
    after = table[table[parameter] == value].set_index("seed")["loss"]
    return {int(seed): float(after[seed] / before[seed] - 1) for seed in after.index}


def robustness(store: Store, small: str, large: str, parameter: str, value: float) -> Interval:
    """What ``large`` loses by compression minus what ``small`` loses, in percent of the loss."""
    one, other = (lost(store, name, parameter, value) for name in (small, large))
    seeds = common_seeds([one, other])
    return over_seeds(seeds, lambda drawn: 100 * float(np.mean([other[s] - one[s] for s in drawn])))


def draw_curves(names: Sequence[str]) -> Callable[[Store], Figure]:
    def draw(store: Store) -> Figure:
        looks = style.dealt(names)
        figure, ((left, right),) = style.panels(1, 2, sharey=True)
        arms.curves(left, store, names, "tokens", looks=looks)
        arms.curves(right, store, names, "flops", looks=looks)
        right.set_ylabel("")
        left.legend()
        return figure

    return draw


def draw_compressed(store: Store) -> Figure:
    names = [f"{width}× width" for width in WIDTHS]
    looks = style.dealt(names)
    figure, ((left, right),) = style.panels(1, 2, sharey=True)
    for axis, parameter in ((left, "bits"), (right, "sparsity")):
        for name in names:
            table = by_compression(store, name, parameter).groupby("bytes")["loss"]
            means = table.mean()
            look = looks[name]
            axis.fill_between(
                means.index, table.min(), table.max(), color=look.colour, alpha=0.2, lw=0
            )
            axis.plot(means.index, means, look.line, marker=look.marker, color=look.colour,
                      label=name)  # fmt: skip
            axis.plot(means.index[-1:], means.iloc[-1:], "*", ms=12, mfc=look.colour, mec="white")
        axis.set(xscale="log", xlabel="bytes of the model")
        style.flops_axis(axis.xaxis)
    whole = [by_compression(store, name, "bits") for name in names]
    lowest = min(float(table["loss"].min()) for table in whole)
    left.set_ylim(lowest - 0.03, lowest + 0.8)
    left.set(ylabel="validation loss (nats per token)", title="rounded to fewer bits")
    right.set(title="pruned")
    left.legend()
    return figure


NAMES = [f"{width}× width" for width in WIDTHS]
SMALL, LARGE = NAMES[0], NAMES[2]
DEEP = [f"{DEEP_WIDTH}× width", *(f"{depth}× depth" for depth in DEPTHS[1:])]
PAPER = Paper(
    name="train-large",
    arxiv="2002.11794",
    title="Train Large, Then Compress",
    summary="steps and FLOPs to a loss against width and depth; compressed to equal bytes",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": WEB}},
    figures={
        "T1": PaperFigure(
            "Wider models reach a loss in fewer steps",
            "Mean validation loss with a band from the lowest to the highest seed, against tokens "
            "(left) and FLOPs (right). Only the ends of the curves have cooled down.",
            wide,
            draw_curves(NAMES),
            (
                Claim(
                    "wider-fewer-steps",
                    "wider models converge in significantly fewer steps",
                    "abstract",
                    "steps of the base over those of one 4 times as wide, to the base's final loss",
                    lambda store: steps_ratio(store, SMALL, LARGE),
                    low=1.0,
                ),
                Claim(
                    "wider-fewer-flops",
                    "the acceleration typically outpaces the overhead of the larger model",
                    "abstract, for width",
                    "FLOPs of the base over those of one 4 times as wide, to the base's final loss",
                    lambda store: speedup(store, SMALL, LARGE, "target"),
                    low=1.0,
                ),
            ),
        ),
        "T2": PaperFigure(
            "Deeper models reach a loss in fewer steps",
            "As T1, at twice the base's width.",
            deep,
            draw_curves(DEEP),
            (
                Claim(
                    "deeper-fewer-steps",
                    "deeper models converge in significantly fewer steps",
                    "abstract",
                    "steps of the shallow model over those of one twice as deep, to its final loss",
                    lambda store: steps_ratio(store, DEEP[0], DEEP[1]),
                    low=1.0,
                ),
                Claim(
                    "deeper-fewer-flops",
                    "the acceleration typically outpaces the overhead of the larger model",
                    "abstract, for depth",
                    "FLOPs of the shallow model over those of one twice as deep, to its final loss",
                    lambda store: speedup(store, DEEP[0], DEEP[1], "target"),
                    low=1.0,
                ),
            ),
        ),
        "T3": PaperFigure(
            "Large models compressed, beside small ones as they are",
            "Each line is one trained size, its star the model as it is; to the left, its hidden "
            "matrices rounded to 8, 6, 5, 4, 3 and 2 bits (left) or with the smallest quarter to "
            "seven eighths of their entries zero (right). Bands span the seeds; losses far above "
            "the best are cut off.",
            wide,
            draw_compressed,
            (
                Claim(
                    "equal-bytes",
                    "heavily compressed, large models beat lightly compressed, small ones",
                    "abstract",
                    "lowest loss of the model 4 times as wide, rounded into the bytes of the one "
                    "twice as wide, minus that one's, nats",
                    lambda store: gain_at_equal_bytes(store, NAMES[1], LARGE),
                    high=0.0,
                ),
                Claim(
                    "robust-to-rounding",
                    "large models are more robust to quantization than small models",
                    "abstract",
                    "loss given up by rounding to 4 bits, 8 times the base's width minus the base, "
                    "percentage points",
                    lambda store: robustness(store, SMALL, NAMES[3], "bits", 4.0),
                    high=0.0,
                ),
                Claim(
                    "robust-to-pruning",
                    "large models are more robust to pruning than small models",
                    "abstract",
                    "loss given up by pruning half, 8 times the base's width minus the base, "
                    "percentage points",
                    lambda store: robustness(store, SMALL, NAMES[3], "sparsity", 0.5),
                    high=0.0,
                ),
            ),
            compressed,
        ),
    },
    untestable=(
        Claim(
            "translation",
            "the same holds for machine translation",
            "abstract",
            untestable="no translation data, and decoders only",
        ),
        Claim(
            "downstream",
            "compressed large models are more accurate after fine-tuning on MNLI",
            "section on compression",
            untestable="downstream tasks are not at hand offline; the loss stands in for them",
        ),
    ),
)
