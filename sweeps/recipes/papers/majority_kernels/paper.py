"""Majority kernels: train K copies of every matrix, and use their mean (arXiv 2402.05033).

    mugrow reproduce majority-kernels

The paper trains a larger model and the smaller one that is deployed in a single run: every kernel
is K kernels, mixed at random at each step, and their mean is the small model. It is laid beside the
same model trained plainly, for as many steps and so at hardly more compute, and beside wider models
trained at the small one's compute, which cost more to use.

Cost: at ``cpu`` about 4 minutes on two cores; at ``gpu`` 2e15 FLOPs, an estimated 3 minutes on one
large GPU; at ``paper`` 4e19 FLOPs.
Expected: no gain, or a loss where training is short: the models see every text once, where there is
little to regularise, and a mixture at random is noise.

Choices. Only the abstract was read. What a kernel is, its mixture and its beginning are this
suite's reading (``bench/growth/majority_kernels.py``), and validation loss on unseen text stands
for performance across tasks. K is 2 and 3. A mean of kernels moves at less than the learning rate,
so every arm, also scratch, has four rates, factors of two apart; claims take the best of each, and
have no verdict where that is the lowest or highest. A wider model at equal compute has fewer steps,
under a whole schedule of its own. The paper's configurations are not in the abstract; at ``paper``
a decoder of BERT-base's shape is ours.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.sweeps import mark_edge
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, common_seeds, finals, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import NOTHING, Interval
from mugrow.bench.flops import per_token
from mugrow.bench.growth import check_start, method
from mugrow.bench.model import parameters
from mugrow.bench.spec import DataSpec, ModelSpec, RunSpec, Start, run_spec_from_json
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import all_params
from mugrow.sweeps.recipes.papers import bases

KERNELS = (2, 3)
WIDER = (1.5, 2)
LOG2_RATES = (-1, 0, 1, 2)  # around the run's
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
SCRATCH = "scratch"
MIXED = {kernels: f"K = {kernels}" for kernels in KERNELS}
WIDE = {times: f"{times:g}× width at equal compute" for times in WIDER}
STEPS_ARMS, COST_ARMS = (SCRATCH, *MIXED.values()), (SCRATCH, *MIXED.values(), *WIDE.values())
LOOKS = dict(zip(COST_ARMS, (style.look(SCRATCH), style.Look(style.OKABE_ITO[4], "8"),
                             style.Look(style.OKABE_ITO[1], "^"),
                             style.Look(style.OKABE_ITO[0], "s"),
                             style.Look(style.OKABE_ITO[2], "D")), strict=True))  # fmt: skip
C4 = Text("hf:allenai/c4:en", "hf:gpt2", val_tokens=2**20, vocab_size=50_257)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Twelve layers of width 768; 2.6B tokens."""
    model = ModelSpec(width=768, depth=12, head_size=64, context=512, vocab_size=vocabulary)
    run = bases.gpu(data, vocabulary)
    return replace(
        run, model=model, base=replace(model, width=256), batch_sequences=256, steps=20_000,
        log_every=500,
    )  # fmt: skip


def at(label: str, away: float) -> str:
    """The arm at a learning rate ``away`` from the run's, in log2."""
    return label if away == 0 else f"{label}, log₂ rate {away:+g}"


def mixed(run: RunSpec, kernels: int) -> RunSpec:
    entry = method("majority_kernels")
    start = Start(method=entry.name, params=all_params(entry.name, {"kernels": kernels}))
    check_start(entry, start)
    return replace(run, start=start)


def widened(run: RunSpec, times: float) -> RunSpec:
    """A wider model for as many FLOPs."""
    model = replace(run.model, width=round(run.model.width * times))
    steps = round(run.steps * per_token(run.model) / per_token(model))
    return replace(run, model=model, steps=steps)


def specs(run: RunSpec) -> dict[str, RunSpec]:
    return {
        SCRATCH: run,
        **{label: mixed(run, kernels) for kernels, label in MIXED.items()},
        **{label: widened(run, times) for times, label in WIDE.items()},
    }


def runs(setting: Setting, labels: Sequence[str]) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        seeded = replace(setting.run, seed=seed, data_seed=seed)
        for label in labels:
            spec = specs(seeded)[label]
            for away in LOG2_RATES:
                rate = replace(spec.hyper, lr=spec.hyper.lr * 2.0**away)
                yield Node(replace(spec, hyper=rate), at(label, away))


def by_rate(store: Store, label: str) -> list[dict[int, float]]:
    """Final losses by seed at each rate, in nats."""
    return [finals(store.runs, at(label, away)) for away in LOG2_RATES]


def gain(store: Store, one: str, other: str) -> Interval:
    """The final loss of ``one`` minus that of ``other``, each at its best rate, nats. There is no
    interval where either's is at the edge of those tried: the best may lie beyond."""
    losses = [by_rate(store, label) for label in (one, other)]
    seeds = common_seeds([at_rate for own in losses for at_rate in own])

    def difference(drawn: Sequence[int]) -> float:
        ours, theirs = (min(means(own, drawn)) for own in losses)
        return ours - theirs

    found = over_seeds(seeds, difference)
    inside = all(0 < int(np.argmin(means(own, seeds))) < len(own) - 1 for own in losses)
    return found if inside else replace(found, lo=math.nan, hi=math.nan)


def means(by_rate: Sequence[Mapping[int, float]], seeds: Sequence[int]) -> list[float]:
    return [float(np.mean([losses[seed] for seed in seeds])) for losses in by_rate]


def overhead_percent(store: Store, label: str) -> Interval:
    """FLOPs of mixing the kernels and of handing their gradients back, over a step's. Counted, not
    timed: it has no spread."""
    own = arm(store.runs, label)
    run = run_spec_from_json(own["spec"].iloc[0])
    entries = [shape for shape, kind in parameters(run.model).values() if kind == "matrix"]
    kernels = dict(run.start.params)["kernels"]
    mixing = 3 * float(kernels) * float(sum(np.prod(shape) for shape in entries))
    share = 100 * mixing / (per_token(run.model) * run.batch_tokens)
    return replace(NOTHING, value=share, lo=share, hi=share, n=len(own))


def draw(store: Store, labels: Sequence[str], x: str) -> Figure:
    """Curves at the run's rate, and ends at every rate."""
    figure, ((left, right),) = style.panels(1, 2)
    figure.set_figheight(style.PANEL + 0.6)
    looks = {label: LOOKS[label] for label in labels}
    arms.curves(left, store, labels, "tokens" if x == "tokens" else "flops", looks=looks)
    for label in labels:
        draw_rates(right, store, label)
    right.set(xlabel="log₂ learning rate", ylabel="final validation loss (nats per token)")
    style.legend_below(figure, [style.handle(label, mine=LOOKS[label]) for label in labels], 3)
    return figure


def draw_rates(axis: Axes, store: Store, label: str) -> None:
    look, ends = LOOKS[label], [list(own.values()) for own in by_rate(store, label)]
    lr = [float(arm(store.runs, at(label, away))["lr"].iloc[0]) for away in LOG2_RATES]
    places, heights = np.log2(lr), [float(np.mean(own)) for own in ends]
    axis.fill_between(places, [min(own) for own in ends], [max(own) for own in ends],
                      color=look.colour, alpha=0.15, lw=0)  # fmt: skip
    axis.plot(places, heights, look.line, marker=look.marker, color=look.colour)
    best = int(np.argmin(heights))
    lowest = float(places[best]), heights[best]
    style.mark_minimum(axis, *lowest, look.colour)
    if best in (0, len(ends) - 1):
        mark_edge(axis, lowest, "high" if best else "low")
    axis.set_xticks(places, [f"{place:g}" for place in places])


def figure(
    title: str, caption: str, labels: Sequence[str], x: str, *own: Claim[Store]
) -> PaperFigure:
    given: Callable[[Setting], Iterator[Node]] = partial(runs, labels=labels)
    return PaperFigure(title, caption, given, partial(draw, labels=labels, x=x), own)


BEST = "each at its best rate, nats"
PAPER = Paper(
    name="majority-kernels",
    arxiv="2402.05033",
    title="Majority Kernels: An Approach to Leverage Big Model Dynamics for Efficient Small Model "
    "Training",
    summary="kernels mixed in training, beside scratch and wider models at equal cost",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": C4}},
    figures={
        "K1": figure(
            "Majority kernels beside scratch, at equal steps",
            "Left, mean validation loss with a band from the lowest to the highest seed, at one "
            "learning rate; right, the loss at the end for several, the lowest starred. All are of "
            "one shape when used.",
            STEPS_ARMS,
            "tokens",
            *(
                Claim(
                    f"gains-{kernels}",
                    "majority kernels bring performance gains at the same cost of inference",
                    f"abstract; here {kernels} kernels",
                    f"final loss with {kernels} kernels minus that of scratch at equal steps, "
                    f"{BEST}",
                    partial(gain, one=label, other=SCRATCH),
                    high=0.0,
                )
                for kernels, label in MIXED.items()
            ),
            Claim(
                "overhead",
                "they add minimal overhead to the cost of training",
                "abstract, of wall-clock time; here of FLOPs, 5 % being minimal",
                f"FLOPs of mixing {KERNELS[-1]} kernels, forward and backward, over a step’s, %",
                partial(overhead_percent, label=MIXED[KERNELS[-1]]),
                high=5.0,
            ),
        ),
        "K2": figure(
            "Majority kernels beside wider models, at equal training compute",
            "As K1, against FLOPs. The wider models have fewer steps, and a whole schedule over "
            "them; when used they cost more than the others.",
            COST_ARMS,
            "flops",
            *(
                Claim(
                    f"as-good-as-{times:g}-width",
                    "a small model so trained is as good as a larger one (the paper compares with "
                    "what is derived from larger ones, not with these)",
                    "our question to the abstract",
                    f"final loss with {KERNELS[-1]} kernels minus that of {label}, {BEST}",
                    partial(gain, one=MIXED[KERNELS[-1]], other=label),
                    high=0.0,
                )
                for times, label in WIDE.items()
            ),
        ),
    },
    untestable=(
        Claim(
            "baselines",
            "they outperform distilled ensembles and submodular optimization",
            "abstract",
            untestable="neither baseline is in the suite",
        ),
        Claim(
            "wall-clock",
            "they add minimal overhead in wall-clock time",
            "abstract",
            untestable="runs share cores with others, so their times measure the load; FLOPs are "
            "counted instead",
        ),
        Claim(
            "architectures",
            "the gains are there for perceptrons, ResNets and Transformers, on many tasks",
            "abstract",
            untestable="decoders on text alone",
        ),
    ),
)
