"""G_stack: which operator to grow a language model by, and when and how much (arXiv 2405.15319).

    mugrow reproduce gstack

Eight operators, four in depth and four in width, grow a quarter of a model into the whole; stacking
in depth trains fastest, width gains nothing. All comparisons are at equal compute *with the source
charged*: a grown run has the steps that scratch's budget leaves after its source (and after what
LiGO learns on), and a whole schedule over them.

Cost: at ``cpu`` about 25 minutes on two cores, an estimate; at ``gpu`` 2e16 FLOPs, an estimated 10
minutes on one large GPU; the paper's comparison at 1.1B parameters and 8e20 FLOPs, one seed,
1.4e22 FLOPs.
Expected: depth first, stacking its best or level with it; width no better than scratch.

Choices. The operators are read from the paper's family as this suite has it: *direct* is ``stack``
in depth and, in width, copies with an uneven split, ``lemon``; *zero* is random new parameters
behind zero outputs, ``composable``, whose norms are exact where theirs are not; *random* is
``msg``, a mask that rises over a tenth of the training. Its new blocks, unlike theirs, begin as
copies, so in depth what is measured of it is a question of ours; *learn* is ``ligo``. It learns on
a twentieth of a run's steps, as 100 steps would be a quarter of a small run; at ``paper`` on the
paper's 100. A source stops before its cool-down, after a quarter of the target's steps (``paper``:
10B tokens). A growth factor g is of depth alone, in width a factor of two each way. TinyLlama has
22 blocks; ours has 24, which four and eight divide.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.quantity import final, total_flops
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.flops import per_token
from mugrow.bench.spec import DataSpec, RunSpec, Scalar, llama
from mugrow.sweeps.graph import FRESH, Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.gstack import claims
from mugrow.sweeps.recipes.papers.gstack.claims import BUDGETS, OPERATORS, SCRATCH, SOURCES, STACK

WIDER = 2
SOURCE = {"cpu": 0.25, "gpu": 0.25, "paper": 0.105}  # of the target's steps
DEEPER, FACTORS = 4, (2, 8)
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
LEARNED, MASKED = 0.05, 0.1
SLIMPAJAMA = Text("hf:cerebras/SlimPajama-627B", "hf:TinyLlama/TinyLlama_v1.1", 2**20, 32_000)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Half the width and a quarter of the depth of the 1.1B model (without TinyLlama's grouped
    queries 1.36B); 8e20 FLOPs of that model, in batches of 2M tokens."""
    model = llama(
        width=1024, depth=6, head_size=64, context=2048, mlp_ratio=2.75, vocab_size=vocabulary
    )
    whole = replace(model, width=WIDER * model.width, depth=DEEPER * model.depth)
    steps = round(8e20 / per_token(whole) / 2**21)
    cosine = replace(bases.COSINE, warmup=3000 / steps)
    whole_run = bases.published(
        model, lr=3e-4, schedule=cosine, batch_sequences=1024, steps=steps, log_every=500
    )
    return whole_run(data, vocabulary)


def scratch(setting: Setting, seed: int, budget: float = 1.0) -> Node:
    """A target from scratch, at a multiple of the compute."""
    steps = round(setting.run.steps * budget)
    return Node(setting.spec(seed, WIDER, DEEPER, steps=steps), BUDGETS.get(budget, SCRATCH))


def operator(
    setting: Setting, seed: int, arm: ArmName, share: float | None = None, factor: int = DEEPER
) -> Node:
    """A target grown from a source of the target's steps times ``share``, smaller by ``factor`` if
    in depth, at the compute of scratch."""
    target, method = scratch(setting, seed).spec, str(arm.factors["method"])
    small = replace(target.model, width=setting.run.model.width)
    if arm.factors["axis"] == "depth":
        small = replace(target.model, depth=target.model.depth // factor)
    stop = round(target.steps * (share or SOURCE[setting.scale]))
    source = source_of(target, model=small, stop_step=stop)
    given: dict[str, Scalar] = {}
    if method == "ligo":
        given["steps"] = 100 if setting.scale == "paper" else round(LEARNED * target.steps)
    if method == "msg":
        given["grow_steps"] = round(MASKED * target.steps)
    charged = per_token(small) * source.spec.tokens / per_token(target.model) / target.batch_tokens
    left = int(target.steps - charged) - int(given.get("steps", 0))
    if share is not None:
        arm = arm.varied(d=share)
    elif factor != DEEPER:
        arm = arm.varied(g=factor)
    return grown(source, replace(target, steps=left), arm, method, FRESH, **given)


def compared(setting: Setting, seed: int) -> list[Node]:
    return [scratch(setting, seed), *(operator(setting, seed, arm) for arm in OPERATORS.values())]


def priced(setting: Setting, seed: int) -> list[Node]:
    return [*compared(setting, seed), *(scratch(setting, seed, budget) for budget in BUDGETS)]


def swept(setting: Setting, seed: int) -> Iterator[Node]:
    yield from (scratch(setting, seed), operator(setting, seed, STACK))
    yield from (operator(setting, seed, STACK, share) for share in SOURCES[setting.scale])
    yield from (operator(setting, seed, STACK, factor=factor) for factor in FACTORS)


LINE_STYLES: arms.LineStyles = {
    arm: replace(style.line_style(str(arm.factors["method"])), line=line)
    for arm in OPERATORS.values()
    for line in ["--" if arm.factors["operator"] == "random" else "-"]
}
ALL: arms.LineStyles = {SCRATCH: style.line_style("scratch"), **LINE_STYLES}


def draw_costs(axis: Axes, store: Store) -> None:
    """Final losses against FLOPs paid: of scratch at three budgets, and of the operators."""
    rungs = sorted(
        (total_flops(arm)(store).value, final(arm)(store).value) for arm in claims.LADDER
    )
    axis.plot(*np.transpose(rungs), "o-", color=ALL[SCRATCH].colour, label=SCRATCH)
    for arm, line_style in LINE_STYLES.items():
        inside = "white" if arm in claims.WIDTH else line_style.colour
        at = [total_flops(arm)(store).value], [final(arm)(store).value]
        axis.plot(*at, line_style.marker, color=line_style.colour, mfc=inside)
    axis.set(xscale="log", xlabel="compute (FLOPs, source’s added)", ylabel=arms.FINAL)
    style.flops_axis(axis.xaxis)
    axis.set_xticks([flops for flops, _ in rungs])
    axis.legend()


def sources(store: Store) -> arms.Places:
    scale = store.study["scale"]
    return {SOURCE[scale]: STACK} | {d: STACK.varied(d=d) for d in claims.SOURCES[scale]}


def operators(title: str, names: Sequence[str]) -> arms.CurvePanel:
    return arms.CurvePanel(
        [SCRATCH, *names], LINE_STYLES, "flops", True, title, SCRATCH, legend=False
    )


draw_operators = arms.row(
    operators("grown in depth", claims.DEPTH), operators("grown in width", claims.WIDTH),
    share_x=True, share_y=True, below=ALL, columns=5,
)  # fmt: skip
draw_speedups = arms.row(
    arms.DotPanel({arm: claims.speedup_percent(arm) for arm in OPERATORS.values()},
                  "speed-up over scratch at equal loss (%)", LINE_STYLES, zero=True),
    draw_costs,
    widths=(3, 2),
)  # fmt: skip
STACKED = "stacked, at equal compute"
draw_sweeps = arms.row(
    arms.SweepPanel(sources, "source’s tokens d, of those of scratch", LINE_STYLES[STACK], STACKED,
                    SCRATCH, legend=True),
    arms.SweepPanel({DEEPER: STACK} | {g: STACK.varied(g=g) for g in FACTORS},
                    "growth factor g of the depth", LINE_STYLES[STACK], STACKED, SCRATCH),
    share_y=True,
)  # fmt: skip

PAPER = Paper(
    name="gstack",
    arxiv="2405.15319",
    title="Stacking Your Transformers: A Closer Look at Model Growth for Efficient LLM "
    "Pre-Training",
    summary="eight growth operators at equal compute, and when and how much to stack",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(SLIMPAJAMA),
    figures={
        "G1": FigureOf(each_seed(SEEDS, compared), draw_operators, claims.G1).shows(
            "Loss against compute of eight growth operators",
            "Mean validation loss with a band from the lowest to the highest seed; the source’s "
            "FLOPs are added. All end at the compute of scratch, whose final loss is dashed; on "
            "the way, a cooled-down curve is below one that has yet to cool down.",
        ),
        "G2": FigureOf(each_seed(SEEDS, priced), draw_speedups, claims.G2).shows(
            "Speed-up of eight growth operators",
            "Left, FLOPs that scratch needs for the operator’s final loss over the FLOPs paid, "
            "source included, minus 1; whiskers are intervals over seeds. Right, where that is "
            "read off: final losses of scratch at three budgets, and of the operators, those in "
            "width hollow.",
        ),
        "G3": FigureOf(each_seed(SEEDS, swept), draw_sweeps, claims.G3).shows(
            "When to stack, and how much, at equal compute",
            "Final validation loss of stacked models, with a band from the lowest to the highest "
            "seed, all at the compute of scratch with the source charged; a star marks the lowest "
            "mean. Left, against the length of the source’s training at g = 4; right, against the "
            "growth factor at the source’s usual length.",
        ),
    },
    untestable=claims.UNTESTABLE,
)
