"""When is warmstarting effective: the growth factor, and tokens per parameter (arXiv 2605.13405).

    mugrow reproduce when-warmstarting

A model is begun from one g times smaller: shrunk, padded with zeros and perturbed (SZP), or with
copies of its units (Net2Net). Of one size and one budget, the final loss is a parabola in ln g. Its
minimum is said to be near 2, its crossing of scratch, g = 1, at 4 to 5, and gains to be largest
below 20 tokens per parameter.

Cost: at ``cpu`` 20 minutes on two shared cores; at ``gpu`` 5e15 FLOPs, an estimated 10 to 20
minutes on one large GPU; at ``paper``, up to 1.2 billion parameters, 2e21 FLOPs.
Expected: gains that shrink with tokens per parameter, largest at a g below 2 and gone by about 5;
Net2Net ahead of SZP at g = 1.5 and far behind beyond 2.5. (A trial with two seeds, up to 15
thousand parameters, was so.)

Choices. N counts embeddings, as theirs does (their 14,562,560 is eight layers of width 128 with a
vocabulary padded to 50,688), and C is 6 N D of the target; the source is free, as by default
there, and one pair of claims charges it. A source has 20 tokens per parameter of its own and stops
before its cool-down; its target sees none of its batches. What each run is trained on is a whole
schedule of its own; levels of less compute are read off its curve, at a constant rate until the
cool-down. Heads are small so that widths are many. Targets at ``cpu`` have 6 to 42 thousand
parameters, more than a third of them embeddings of bytes, and a front is of few sizes and horizons:
exponents need not be theirs. The shrink factor is 0.4 unless it is varied; of SZP the paper takes
the best over it. A law of Net2Net, which only two sizes have, is left out. Rates and batches are
searched by a grid at 10 tokens per parameter, not by Hyperband. Four seeds; three of Net2Net, of
other shrink factors, and of the grid.
"""

from dataclasses import replace

from mugrow.bench.model import count
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.paper import Paper, PaperFigure, Text
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.when_warmstarting import claims, figures
from mugrow.sweeps.recipes.papers.when_warmstarting.horizons import USUAL
from mugrow.sweeps.recipes.papers.when_warmstarting.runs import (
    factor_runs,
    grid_runs,
    ladder_runs,
    shrink_runs,
)

SLIMPAJAMA = Text(
    "hf:cerebras/SlimPajama-627B", "hf:gpt2", val_tokens=25 * 2**14, vocab_size=50_257
)


def cpu(data: DataSpec, vocabulary: int) -> RunSpec:
    return at_usual(bases.cpu(data, vocabulary), head_size=4)


def gpu(data: DataSpec, vocabulary: int) -> RunSpec:
    return at_usual(bases.gpu(data, vocabulary), head_size=16, batch=8)


def at_usual(run: RunSpec, head_size: int, batch: int | None = None) -> RunSpec:
    """Its model with heads of this size and no weight decay, for 20 tokens per parameter."""
    model = replace(run.model, head_size=head_size)
    hyper = replace(run.hyper, weight_decay=0.0)
    run = replace(run, model=model, base=model, hyper=hyper)
    run = replace(run, batch_sequences=batch or run.batch_sequences)
    return replace(run, steps=round(USUAL * count(model)[0] / run.batch_tokens))


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Eight layers with heads of 64, tuned at width 128; the batch is among those searched."""
    model = ModelSpec(
        width=128, depth=8, head_size=64, context=1024, positions="rope", vocab_size=vocabulary
    )
    run = RunSpec(
        model=model,
        base=model,
        parametrization="mup",
        hyper=HyperSpec(lr=3e-3, init_std=0.02, weight_decay=0.0),
        schedule=ScheduleSpec(warmup=0.01, cooldown=0.2),
        data=data,
        batch_sequences=64,
        steps=1,
        seed=0,
        data_seed=0,
    )
    return at_usual(run, head_size=64)


FREE = "Compute is 6 N D of the target."
PAPER = Paper(
    name="when-warmstarting",
    arxiv="2605.13405",
    title="When is Warmstarting Effective for Scaling Language Models?",
    summary="the best growth factor, break-even with scratch, and laws of grown models",
    bases={"cpu": cpu, "gpu": gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": SLIMPAJAMA}},
    figures={
        "F1": PaperFigure(
            "Loss against compute, scratch and grown by about two",
            "Means over seeds of every size and horizon, those on the front filled, with the power "
            f"law through them drawn on. The largest size, starred, was held out. {FREE}",
            ladder_runs,
            figures.frontier,
            claims.F1,
        ),
        "F2": PaperFigure(
            "Loss against the growth factor at equal compute",
            "A row for each method and target, a column for each number of tokens per parameter. "
            "Parabolas in ln g through all seeds, at eight levels of compute; blue, the best "
            f"factor; red, where scratch is as good. {FREE}",
            factor_runs,
            figures.growth_factors,
            claims.F2,
        ),
        "F3": PaperFigure(
            "SZP minus scratch over parameters and tokens",
            "Left, the difference of the two laws: solid, break-even; dashed, D = 20 N; hatched "
            "where 95 % intervals of the laws overlap, or a law at a bound has none. Right, what "
            "was measured at each size and horizon, mean over seeds.",
            ladder_runs,
            figures.contour,
            claims.F3,
        ),
        "F4": PaperFigure(
            "The shrink factor",
            "A panel for each source. Mean validation loss at 20 tokens per parameter; the clone "
            f"preserves the source’s function, and is at twice the width alone. {FREE}",
            shrink_runs,
            figures.shrinks,
            claims.F4,
        ),
        "F5": PaperFigure(
            "Size and tokens of the best runs against compute",
            "Of the runs on the front of F1, with power laws; dashed, what the laws of F6 allot.",
            ladder_runs,
            figures.allocation,
            claims.F5,
        ),
        "F6": PaperFigure(
            "Coefficients of L = A / N^α + B / D^β + E",
            "Whiskers are 95 % intervals of 300 resamples of runs, without the size held out. Few "
            "sizes do not identify the coefficients, whatever the fit’s R².",
            ladder_runs,
            figures.coefficients,
            claims.F6,
        ),
        "F7": PaperFigure(
            "Rank correlation of losses over learning rates and batches",
            "Left, of the small model’s final losses with the larger one’s. Right, of losses along "
            "training with the final ones, means over seeds of one grid at each model.",
            grid_runs,
            figures.ranks,
            claims.F7,
        ),
        "F8": PaperFigure(
            "Loss over learning rate and batch",
            "Mean final validation loss above the lowest of the same map, all cells on equal "
            "tokens. A star marks the lowest, a circle the small model’s.",
            grid_runs,
            figures.heat_maps,
        ),
        "F9": PaperFigure(
            "Tokens against compute of all runs, and training curves",
            "Left, a point for each size and horizon. Right, mean validation loss of the largest "
            "target with several sources, at 20 tokens per parameter.",
            factor_runs,
            figures.curves,
        ),
    },
    untestable=claims.UNTESTABLE,
    stack_width=384,
)
