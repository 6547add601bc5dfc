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
a decoder of BERT-base's shape is ours. Nothing is grown from a source that was paid for: what the
compute would else have bought is scratch at equal steps and the wider models.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.lr_sweeps import mark_edge
from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.measured import arm as runs_of
from mugrow.analysis.measure.quantity import Quantity, combined, final, lowest
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.arm import ArmName
from mugrow.bench.flops import per_token
from mugrow.bench.growth import check_start, method
from mugrow.bench.model import parameters
from mugrow.bench.spec import ModelSpec, RunSpec, Start, run_spec_from_json
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed
from mugrow.sweeps.plan import all_params
from mugrow.sweeps.recipes.papers import bases

LOG2_RATES = (-1, 0, 1, 2)  # around the run's
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
SCRATCH = ArmName("scratch", method="scratch")
MIXED = {kernels: ArmName(f"K = {kernels}", method="majority_kernels", kernels=kernels)
         for kernels in (2, 3)}  # fmt: skip
WIDE = {times: ArmName(f"{times:g}× width at equal compute", method="scratch", width=times)
        for times in (1.5, 2)}  # fmt: skip
STEPS_ARMS = (SCRATCH, *MIXED.values())
COST_ARMS = (*STEPS_ARMS, *WIDE.values())
LINE_STYLES: arms.LineStyles = {
    SCRATCH: style.line_style(SCRATCH),
    MIXED[2]: style.LineStyle(style.OKABE_ITO[4], "8"),
    MIXED[3]: style.LineStyle(style.OKABE_ITO[1], "^"),
    WIDE[1.5]: style.LineStyle(style.OKABE_ITO[0], "s"),
    WIDE[2]: style.LineStyle(style.OKABE_ITO[2], "D"),
}
C4 = Text("hf:allenai/c4:en", "hf:gpt2", val_tokens=2**20, vocab_size=50_257)

# 2.6B tokens
paper_scale = bases.transferred(
    ModelSpec(width=768, depth=12, head_size=64, context=512), base_width=256,
    batch_sequences=256, steps=20_000, log_every=500,
)  # fmt: skip


def at(arm: ArmName, away: float) -> ArmName:
    """The arm at a learning rate ``away`` from the run's, in log2."""
    return arm if away == 0 else arm.varied(f"log₂ rate {away:+g}", log2_rate=away)


def spec_of(run: RunSpec, arm: ArmName) -> RunSpec:
    """``run`` with kernels mixed, or a wider model for as many FLOPs."""
    if "kernels" in arm.factors:
        entry = method("majority_kernels")
        given = {"kernels": arm.factors["kernels"]}
        start = Start(method=entry.name, params=all_params(entry.name, given))
        check_start(entry, start)
        return replace(run, start=start)
    model = replace(run.model, width=round(run.model.width * float(arm.factors.get("width", 1))))
    steps = round(run.steps * per_token(run.model) / per_token(model))
    return replace(run, model=model, steps=steps)


def nodes(setting: Setting, seed: int, compared: Sequence[ArmName]) -> Iterator[Node]:
    for arm in compared:
        spec = spec_of(setting.spec(seed), arm)
        for away in LOG2_RATES:
            yield Node(bases.at_rate(spec, 2.0**away), at(arm, away))


def gain(one: ArmName, other: ArmName) -> Quantity:
    """The final loss of ``one`` minus that of ``other``, each at its best rate, nats. There is no
    interval where either's is at the edge of those tried: the best may lie beyond."""
    ours, theirs = ([final(at(arm, away)) for away in LOG2_RATES] for arm in (one, other))

    def inside(values: Sequence[float]) -> float:
        best = np.argmin(np.reshape(values, (2, -1)), axis=1)
        return float(((best > 0) & (best < len(LOG2_RATES) - 1)).all())

    def at_best(store: Store) -> Interval:
        found = (lowest(*ours) - lowest(*theirs))(store)
        known = combined(inside, *ours, *theirs)(store).value
        return found if known else replace(found, lo=math.nan, hi=math.nan)

    return quantity.function(at_best)


def overhead_percent(arm: ArmName) -> Quantity:
    """FLOPs of mixing the kernels and of handing their gradients back, over a step's. Counted, not
    timed: it has no spread."""

    def counted(store: Store) -> Quantity:
        rows = runs_of(store.runs, arm)
        run = run_spec_from_json(rows["spec"].iloc[0])
        entries = [shape for shape, kind in parameters(run.model).values() if kind == "matrix"]
        mixing = 3 * float(arm.factors["kernels"]) * float(sum(np.prod(shape) for shape in entries))
        share = 100 * mixing / (per_token(run.model) * run.batch_tokens)
        return quantity.by_seed(dict.fromkeys(rows["seed"].astype(int), share))

    return quantity.chosen(counted)


def draw_rates(axis: Axes, store: Store, compared: Sequence[ArmName]) -> None:
    """Ends at every rate; an arrow says where the best is at the edge."""
    for arm in compared:
        places = {bases.LOG2_LR + away: at(arm, away) for away in LOG2_RATES}
        arms.SweepPanel(places, "log₂ learning rate", LINE_STYLES[arm], arm, log=False)(axis, store)
        losses = {place: final(name) for place, name in places.items()}
        best, ends = quantity.best_at(losses)(store).value, (min(places), max(places))
        if best in ends:
            edge = "low" if best == ends[0] else "high"
            mark_edge(axis, (best, losses[best](store).value), edge)


def compare(
    compared: Sequence[ArmName], x: Literal["tokens", "flops"], *claims: Claim[Store]
) -> FigureOf:
    """Curves at the run's rate, and ends at every rate."""
    panel = arms.CurvePanel(compared, LINE_STYLES, x, legend=False)
    below: arms.LineStyles = {arm: LINE_STYLES[arm] for arm in compared}
    draw = arms.row(panel, partial(draw_rates, compared=compared), below=below, columns=3)
    return FigureOf(each_seed(SEEDS, partial(nodes, compared=compared)), draw, claims)


def gains(kernels: int, arm: ArmName) -> Claim[Store]:
    where = f"abstract; here {kernels} kernels"
    return rule(f"gains-{kernels}", where, gain(arm, SCRATCH) < 0).decides(
        "majority kernels bring performance gains at the same cost of inference",
        f"final loss with {kernels} kernels minus that of scratch at equal steps, {BEST}",
    )


def as_good(times: float, arm: ArmName) -> Claim[Store]:
    name, holds = f"as-good-as-{times:g}-width", gain(MIXED[3], arm) < 0
    return rule(name, "our question to the abstract", holds, whose="ours").decides(
        "a small model so trained is as good as a larger one (the paper compares with what is "
        "derived from larger ones, not with these)",
        f"final loss with 3 kernels minus that of {arm}, {BEST}",
    )


BEST = "each at its best rate, nats"
COST = "abstract, of wall-clock time; here of FLOPs, 5 % being minimal"
OVERHEAD = rule("overhead", COST, overhead_percent(MIXED[3]) < 5).decides(
    "they add minimal overhead to the cost of training",
    "FLOPs of mixing 3 kernels, forward and backward, over a step’s, %",
)
PAPER = Paper(
    name="majority-kernels",
    arxiv="2402.05033",
    title="Majority Kernels: An Approach to Leverage Big Model Dynamics for Efficient Small Model "
    "Training",
    summary="kernels mixed in training, beside scratch and wider models at equal cost",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(C4),
    figures={
        "K1": compare(
            STEPS_ARMS, "tokens", *(gains(*one) for one in MIXED.items()), OVERHEAD
        ).shows(
            "Majority kernels beside scratch, at equal steps",
            "Left, mean validation loss with a band from the lowest to the highest seed, at one "
            "learning rate; right, the loss at the end for several, the lowest starred. All are of "
            "one shape when used.",
        ),
        "K2": compare(COST_ARMS, "flops", *(as_good(*wide) for wide in WIDE.items())).shows(
            "Majority kernels beside wider models, at equal training compute",
            "As K1, against FLOPs. The wider models have fewer steps, and a whole schedule over "
            "them; when used they cost more than the others.",
        ),
    },
    untestable=(
        no_rule("baselines", "abstract").decides(
            "they outperform distilled ensembles and submodular optimization",
            "neither baseline is in the suite",
        ),
        no_rule("wall-clock", "abstract").decides(
            "they add minimal overhead in wall-clock time",
            "runs share cores with others, so their times measure the load; FLOPs are "
            "counted instead",
        ),
        no_rule("architectures", "abstract").decides(
            "the gains are there for perceptrons, ResNets and Transformers, on many tasks",
            "decoders on text alone",
        ),
    ),
)
