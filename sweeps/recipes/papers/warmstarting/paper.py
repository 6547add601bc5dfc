"""Warmstarting: shrink a small model, pad it with zeros, perturb it with muP's own initial weights.

    mugrow reproduce warmstarting

What a muP model is tuned to when it is small it should keep when it is large (arXiv 2411.07340),
also if the large one is not drawn at random but begun from the small one. Maps of loss over
learning rate and batch size are laid beside each other, from scratch and warmstarted; pairs of
widths are trained to the end; the shrink factor is varied; and what goes on inside is watched.

Cost: at ``cpu`` about 5 minutes on two cores; at ``gpu`` 3e15 FLOPs, an estimated 3 minutes on one
large GPU; at the paper's scale, three layers of widths 32 to 640, 2e19 FLOPs.
Expected: the best rate stays from scratch and warmstarted; a clear speed-up with the source for
free, most of it at the nearest pair; the least shrunk lead at first and not at the end.

Choices. The cells of a map see equal tokens, one pass over fresh text, and so prefer small batches:
the best may be the smallest tried, and then its shift is unknown. Maps are short, a sixth of the
other runs' tokens, and their sources too, so that source and target have seen alike there as well.
A source stops before its cool-down, as the authors' ``save_wsd`` keeps it, and its target sees none
of its batches. Steps are the same at every width. What is watched of a model in training is read
off runs stopped at that step, which are bit for bit the beginning of the whole run. Maps, pairs and
seeds at ``paper`` are ours, as are context, head size and tokens; widths, batches, rates and
schedule are those of the authors' repository.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.warmstarting import claims, figures
from mugrow.sweeps.recipes.papers.warmstarting.claims import (
    ABLATED,
    PAIRS,
    SERIES,
    SHRINK,
    SHRINKS,
    Pair,
    scratch,
    shrunk,
    warm,
)
from mugrow.sweeps.recipes.papers.warmstarting.maps import map_of

SEEDS, MAP_SEEDS, WATCHED_SEEDS = range(5), range(3), range(3)
MAP_STEPS = {"cpu": 0.16, "gpu": 0.16, "paper": 1.0}  # of the run's, at its batch
BATCHES = {  # over the run's
    "cpu": (0.5, 1, 2),
    "gpu": (0.5, 1, 2),
    "paper": (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8),
}
PAPER_LR = 3e-3
LOG2_LR = {  # around the run's
    "cpu": (-2, -1, 0, 1, 2, 3),
    "gpu": (-2, -1, 0, 1, 2, 3),
    "paper": tuple(np.log2([1e-4 / PAPER_LR, 3e-4 / PAPER_LR, 1 / 3, 1, 10 / 3, 10])),
}
WATCHED_AT = (0.0, 0.05, 0.2, 0.5)  # of the steps, beside the end; the first step at least
SLIMPAJAMA = Text(
    "hf:cerebras/SlimPajama-627B", "hf:gpt2", val_tokens=2**20, vocab_size=50_257
)  # fmt: skip


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """The second of the authors' smallest ladder, three layers of width 64, at 20 tokens a
    parameter; the batch is the middle one of theirs."""
    model = ModelSpec(
        width=64, depth=3, head_size=16, context=1024, positions="rope", vocab_size=vocabulary
    )
    return RunSpec(
        model=model,
        base=model,
        parametrization="mup",
        hyper=HyperSpec(lr=PAPER_LR, init_std=0.02),
        schedule=ScheduleSpec(warmup=0.01, cooldown=0.2),
        data=data,
        batch_sequences=128,
        steps=1024,
        seed=0,
        data_seed=0,
        log_every=32,
    )


def sized(run: RunSpec, times: float, seed: int) -> RunSpec:
    model = replace(run.model, width=round(run.model.width * times))
    return replace(run, model=model, seed=seed, data_seed=seed)


def source(run: RunSpec, times: float, seed: int, arm: str = "source") -> Node:
    """A small model before its cool-down."""
    spec = sized(run, times, seed)
    stop = cooldown_start(spec.schedule, spec.steps)
    return Node(replace(spec, data_seed=seed + SOURCE_DATA_SEEDS, stop_step=stop), arm)


def begun(run: RunSpec, pair: Pair, seed: int, shrink: float = SHRINK) -> Node:
    """A model warmstarted."""
    arm = shrunk(shrink) if pair == ABLATED else warm(pair)
    target = sized(run, pair[1], seed)
    return grown(source(run, pair[0], seed), target, arm, "szp", shrink=shrink)


def drawn(run: RunSpec, times: float, seed: int) -> Node:
    """A model from scratch."""
    return Node(sized(run, times, seed), scratch(times))


def map_cells(setting: Setting, run: RunSpec) -> Iterator[RunSpec]:
    """A run at every batch and rate, all on as many tokens."""
    for size in BATCHES[setting.scale]:
        steps = round(run.steps / size)
        for away in LOG2_LR[setting.scale]:
            yield replace(
                run,
                hyper=replace(run.hyper, lr=run.hyper.lr * 2.0**away),
                batch_sequences=round(run.batch_sequences * size),
                steps=steps,
                log_every=steps,
            )


def map_runs(setting: Setting) -> Iterator[Node]:
    run = replace(setting.run, steps=round(setting.run.steps * MAP_STEPS[setting.scale]))
    series = SERIES[setting.scale]
    for seed in MAP_SEEDS:
        for times in series:
            for spec in map_cells(setting, sized(run, times, seed)):
                yield Node(spec, map_of(scratch(times)), role="proxy")
        for pair in pairwise(series):
            small = source(run, pair[0], seed, "source of a map")
            for spec in map_cells(setting, sized(run, pair[1], seed)):
                node = grown(small, spec, map_of(warm(pair)), "szp", shrink=SHRINK)
                yield replace(node, role="proxy")


def pair_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        for times in sorted({pair[1] for pair in PAIRS}):
            yield drawn(setting.run, times, seed)
        for pair in PAIRS:
            yield begun(setting.run, pair, seed)


def shrink_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS:
        yield drawn(setting.run, ABLATED[1], seed)
        for shrink in SHRINKS:
            yield begun(setting.run, ABLATED, seed, shrink)


def watched_runs(setting: Setting) -> Iterator[Node]:
    for seed in WATCHED_SEEDS:
        yield drawn(setting.run, ABLATED[1], seed)
        yield begun(setting.run, ABLATED, seed)


def observed(setting: Setting) -> Iterator[Judged]:
    for node in watched_runs(setting):
        steps = node.spec.steps
        for step in sorted({max(1, round(share * steps)) for share in WATCHED_AT}):
            yield judged(stopped(node, step), node.arm)
        yield judged(node, node.arm)


def stopped(node: Node, step: int) -> Node:
    """The beginning of a run."""
    spec = replace(node.spec, stop_step=step)
    return replace(node, spec=spec, arm=f"{node.arm}, stopped", role="branch")


def judged(node: Node, arm: str) -> Judged:
    return Judged(arm, (node,), node.spec.data, "observe")


PAPER = Paper(
    name="warmstarting",
    arxiv="2411.07340",
    title="Warmstarting for Scaling Language Models",
    summary="rate and batch retained, speed-up and stability of shrink, zero-pad and perturb",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": SLIMPAJAMA}},
    figures={
        "W1": PaperFigure(
            "Loss over learning rate and batch, from scratch and warmstarted",
            "Mean final validation loss above the lowest of the same map, all cells on equal "
            "tokens. A star marks the lowest; a circle, the small model’s, which the larger should "
            "keep. Above from scratch, below warmstarted from the width before; darker is worse.",
            map_runs,
            figures.draw_maps,
            claims.W1,
        ),
        "W2": PaperFigure(
            "Loss of warmstarted models and of scratch",
            "Mean validation loss with a band from the lowest to the highest seed, against tokens "
            "(left; with the source for free, FLOPs would look the same) and FLOPs with the "
            "source’s added (right). A row for each target.",
            pair_runs,
            figures.draw_pairs,
            claims.W2,
        ),
        "W3": PaperFigure(
            "The shrink factor",
            f"Warmstarted {warm(ABLATED)}. Left, validation loss against tokens; right, what the "
            "end differs from scratch’s by, whiskers are intervals over seeds, the lowest starred.",
            shrink_runs,
            figures.draw_shrinks,
            claims.W3,
        ),
        "W4": PaperFigure(
            "Stability of training",
            "Gradient norms after warm-up, before clipping, at every logged step; of models as "
            "they were at some steps, the mean absolute activation (geometric mean over modules), "
            "the largest attention logit and the largest singular value of a hidden matrix, times "
            "sqrt(in / out). Bands span the seeds.",
            watched_runs,
            figures.draw_watched,
            claims.W4,
            observed,
        ),
    },
    untestable=claims.UNTESTABLE,
)
