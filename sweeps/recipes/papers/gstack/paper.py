"""G_stack: which operator to grow a language model by, and when and how much (arXiv 2405.15319).

    mugrow reproduce gstack

Eight operators, four in depth and four in width, grow a quarter of a model into the whole; stacking
in depth trains fastest, width gains nothing. All comparisons are at equal compute *with the source
charged*: a grown run has the steps that scratch's budget leaves after its source (and after what
LiGO learns on), and a whole schedule over them.

Cost: at ``cpu`` about 25 minutes on two cores, an estimate; at ``gpu`` 2e16 FLOPs, an estimated 10
minutes on one large GPU; the paper's comparison at 1.1B parameters and 8e20 FLOPs, one seed,
1.6e22 FLOPs.
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

Every grown arm ends at the compute of scratch with its source charged, so final losses compare. The
speed-up is the paper's,

    FLOPs of scratch / FLOPs paid - 1    at the loss that was paid for,

with scratch's FLOPs read off its own final losses at three budgets, linear in log FLOPs; a loss
beyond those counts as at the last of them, so no speed-up outside -40 to 60 % is ever claimed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure import quantity
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, combined, final, lowest, total_flops
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.flops import per_token
from mugrow.bench.spec import DataSpec, RunSpec, Scalar, llama
from mugrow.sweeps import beside
from mugrow.sweeps.graph import FRESH, Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases

WIDER = 2
SOURCE = {"cpu": 0.25, "gpu": 0.25, "paper": 0.105}  # of the target's steps
DEEPER, FACTORS = 4, (2, 8)
SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
FEWER_SEEDS = {"cpu": range(3), "gpu": range(3), "paper": range(1)}  # of what else compute buys
LEARNED, MASKED = 0.05, 0.1
SLIMPAJAMA = Text("hf:cerebras/SlimPajama-627B", "hf:TinyLlama/TinyLlama_v1.1", 2**20, 32_000)

METHODS = {"direct": ("stack", "lemon"), "learn": ("ligo", "ligo"),
           "zero": ("composable", "composable"), "random": ("msg", "msg")}  # fmt: skip
OPERATORS = {
    f"{axis} {kind}": ArmName(f"{axis} {kind}", axis=axis, operator=kind, method=methods[place])
    for place, axis in enumerate(("depth", "width"))
    for kind, methods in METHODS.items()
}
DEPTH, WIDTH = list(OPERATORS.values())[:4], list(OPERATORS.values())[4:]
STACK, SCRATCH = DEPTH[0], ArmName("scratch", method="scratch")
BUDGETS = {
    budget: ArmName(f"scratch at {budget:g} times the compute", method="scratch", budget=budget)
    for budget in (0.6, 1.6)
}
SMALL_SOURCES = (0.125, 0.5, 0.8)
SOURCES = {"cpu": SMALL_SOURCES, "gpu": SMALL_SOURCES, "paper": (0.0105, 0.0525, 0.21, 0.525)}
LADDER = (SCRATCH, *BUDGETS.values())
TABLE = "the paper's comparison of operators at 1.1B parameters and 8e20 FLOPs"
WITH_MSG = f"our question to {TABLE}, where random blocks are new and masked"


def inside_minus_ends(scale: str) -> Quantity:
    """Of the sweep of d; scratch is d = 0."""
    *others, longest = (STACK.varied(d=share) for share in SOURCES[scale])
    return lowest(STACK, *others) - lowest(SCRATCH, longest)


def speedup_percent(arm: ArmName) -> Quantity:
    """By the equation above."""

    def read_off(values: Sequence[float]) -> float:
        loss, cost, *ladder = values
        flops, losses = np.array(ladder).reshape(2, -1)[:, np.argsort(ladder[: len(LADDER)])]
        falling = np.minimum.accumulate(losses)[::-1]  # np.interp wants them ascending
        log_flops = np.interp(loss, falling, np.log(flops)[::-1])
        return 100 * float(np.exp(log_flops) / cost - 1)

    return combined(
        read_off, final(arm), total_flops(arm), *map(total_flops, LADDER), *map(final, LADDER)
    )


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


def operator(setting: Setting, seed: int, arm: ArmName) -> Node:
    """A target at the compute of scratch, grown from a source of ``d`` times its steps, in depth
    smaller by ``g``; the arm has these where they are not the usual."""
    target, method = scratch(setting, seed).spec, str(arm.factors["method"])
    small = replace(target.model, width=setting.run.model.width)
    if arm.factors["axis"] == "depth":
        small = replace(target.model, depth=target.model.depth // int(arm.factors.get("g", DEEPER)))
    stop = round(target.steps * float(arm.factors.get("d", SOURCE[setting.scale])))
    source = source_of(target, model=small, stop_step=stop)
    given: dict[str, Scalar] = {}
    if method == "ligo":
        given["steps"] = 100 if setting.scale == "paper" else round(LEARNED * target.steps)
    if method == "msg":
        given["grow_steps"] = round(MASKED * target.steps)
    charged = per_token(small) * source.spec.tokens / per_token(target.model) / target.batch_tokens
    left = int(target.steps - charged) - int(given.get("steps", 0))
    return grown(source, replace(target, steps=left), arm, method, FRESH, **given)


def compared(setting: Setting, seed: int) -> list[Node]:
    return [scratch(setting, seed), *(operator(setting, seed, arm) for arm in OPERATORS.values())]


def priced(setting: Setting, seed: int) -> list[Node]:
    return [*compared(setting, seed), *(scratch(setting, seed, budget) for budget in BUDGETS)]


def swept(setting: Setting, seed: int) -> Iterator[Node]:
    yield scratch(setting, seed)
    for arm in (*sources(setting.scale).values(), *(STACK.varied(g=g) for g in FACTORS)):
        yield operator(setting, seed, arm)


def stacked(setting: Setting, seed: int) -> list[Node]:
    return [scratch(setting, seed), operator(setting, seed, STACK)]


def half_deep(setting: Setting, seed: int) -> list[Node]:
    """On the front, between the source's depth and the target's."""
    return [Node(setting.spec(seed, WIDER, DEEPER / 2), SCRATCH)]


LINE_STYLES: arms.LineStyles = {
    arm: replace(style.line_style(str(arm.factors["method"])), line=line)
    for arm in OPERATORS.values()
    for line in ["--" if arm.factors["operator"] == "random" else "-"]
}
ALL: arms.LineStyles = {SCRATCH: style.line_style("scratch"), **LINE_STYLES}


def draw_costs(axis: Axes, store: Store) -> None:
    """Final losses against FLOPs paid: of scratch at three budgets, and of the operators."""
    shown = (*LADDER, *LINE_STYLES)
    paid = {arm: (total_flops(arm)(store).value, final(arm)(store).value) for arm in shown}
    rungs = sorted(paid[arm] for arm in LADDER)
    axis.plot(*np.transpose(rungs), "o-", color=ALL[SCRATCH].colour, label=SCRATCH)
    for arm, line_style in LINE_STYLES.items():
        inside = "white" if arm in WIDTH else line_style.colour
        axis.plot(*paid[arm], line_style.marker, color=line_style.colour, mfc=inside)
    axis.set(xscale="log", xlabel="compute (FLOPs, source’s added)", ylabel=arms.FINAL)
    style.flops_axis(axis.xaxis)
    axis.set_xticks([flops for flops, _ in rungs])
    axis.legend()


def sources(scale: str) -> dict[float, ArmName]:
    return {SOURCE[scale]: STACK} | {d: STACK.varied(d=d) for d in SOURCES[scale]}


against = partial(arms.CurvePanel, line_styles=LINE_STYLES, x="flops", charge_source=True,
                  level=SCRATCH, legend=False)  # fmt: skip
draw_operators = arms.row(
    against([SCRATCH, *DEPTH], title="grown in depth"),
    against([SCRATCH, *WIDTH], title="grown in width"),
    share_x=True, share_y=True, below=ALL, columns=5,
)  # fmt: skip
SPEEDUPS: arms.Quantities = {arm: speedup_percent(arm) for arm in OPERATORS.values()}
draw_speedups = arms.row(
    arms.DotPanel(SPEEDUPS, "speed-up over scratch at equal loss (%)", LINE_STYLES, zero=True),
    draw_costs, widths=(3, 2),
)  # fmt: skip
sweep = partial(arms.SweepPanel, line_style=LINE_STYLES[STACK], label="stacked, at equal compute",
                level=SCRATCH)  # fmt: skip
BY_FACTOR = {DEEPER: STACK} | {g: STACK.varied(g=g) for g in FACTORS}
draw_sweeps = arms.row(
    sweep(lambda store: sources(store.study["scale"]), "source’s tokens d, of those of scratch",
          legend=True),
    sweep(BY_FACTOR, "growth factor g of the depth"), share_y=True,
)  # fmt: skip

PERCENT = "FLOPs of scratch to the same loss over FLOPs paid, minus 1, %"


def by_speedup(name: str, percent: float, loss: float) -> Claim[Store]:
    """Faster than scratch, or slower; a speed-up that the paper has at about 0 is at most 5 %."""
    found, faster = speedup_percent(OPERATORS[name]), percent > 0
    holds = found > 0 if faster else found < (5 if name == "width direct" else 0)
    return rule(f"speedup-{name.replace(' ', '-')}", TABLE, holds).decides(
        f"{name}: loss {loss:.3f}, {abs(percent):g} % {'faster' if faster else 'slower'} than "
        "scratch to the same loss, the source charged",
        PERCENT,
    )


BEST = final(STACK) - lowest(*DEPTH[1:], *WIDTH)
G1 = (
    rule("stack-best-of-suite", WITH_MSG, BEST < 0, whose="ours").decides(
        "stacking in depth has the lowest loss of all eight operators also where msg, whose new "
        "blocks are copies, is one of them",
        "loss of depth direct minus the lowest of the other seven, nats",
    ),
    rule("stack-beats-scratch", TABLE, final(STACK) - final(SCRATCH) < 0).decides(
        "stacking in depth ends below scratch, the source charged: 2.151 against 2.204",
        "loss of depth direct minus that of scratch at equal compute, nats",
    ),
    rule("width-no-better", TABLE, lowest(*WIDTH) - final(SCRATCH) > -0.01).decides(
        "no operator in width is better than scratch: 2.209 to 2.249 against 2.204",
        "lowest loss in width minus that of scratch at equal compute, nats",
    ),
)

MSG = speedup_percent(OPERATORS["depth random"])
G2 = (
    by_speedup("depth direct", 49.1, 2.151),
    by_speedup("depth learn", 48.6, 2.156),
    by_speedup("depth zero", 46.6, 2.161),
    rule("speedup-depth-msg", WITH_MSG, MSG < 0, whose="ours").decides(
        "msg in depth, whose new blocks are copies, is slower than scratch to the same loss too, "
        "the source charged",
        PERCENT,
    ),
    by_speedup("width direct", -0.7, 2.209),
    by_speedup("width learn", -15.4, 2.233),
    by_speedup("width random", -13.8, 2.227),
    by_speedup("width zero", -17.9, 2.249),
)

GUIDELINE = "the paper's guideline g* from its sweep of 2, 4, 8 and 24"
SWEEP = "the paper's sweep of d over 0, 1, 5, 10, 20 and 50B tokens"
BEST_2_TO_4 = lowest(STACK, STACK.varied(g=2)) - final(STACK.varied(g=8)) < 0
G3 = (
    rule("best-factor", GUIDELINE, BEST_2_TO_4).decides(
        "the best growth factor lies between 2 and 4",
        "lower loss of g = 2 and 4 minus that of g = 8 at equal compute, nats",
    ),
    rule("best-source", SWEEP, quantity.at_scale(inside_minus_ends) < 0).decides(
        "there is a best d: neither no source (scratch) nor the longest",
        "lowest loss inside the sweep minus the lower of its two ends, nats",
    ),
)

UNTESTABLE = (
    no_rule("headline", "abstract").decides(
        "a 7B model has after 194B tokens the loss that scratch has after 300B: 54.6 % faster",
        "a model of that size is not trained here",
    ),
    no_rule("best-of-eight", TABLE).decides(
        "of all eight operators stacking in depth has the lowest loss: 2.151, the next 2.156",
        "random blocks behind a mask, one of the eight, are not in the suite",
    ),
    no_rule("random-blocks", TABLE).decides(
        "depth random: loss 2.258, 25.7 % slower than scratch to the same loss, the source charged",
        "random blocks behind a mask are not in the suite; those of msg are copies",
    ),
    no_rule("scales-up", "the paper's larger models").decides(
        "54.5 % faster at 3B parameters and 240B tokens, 55.3 % at 7B and 220B",
        "models of that size are not trained here",
    ),
    no_rule("longer", "the paper's longest training").decides(
        "at 410M the speed-up falls from 53.1 % at 400B tokens to 31 % at 700B",
        "one horizon is trained here, of under one token a parameter",
    ),
    no_rule("guideline", "the paper's fitted guideline for the source's tokens").decides(
        "log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74",
        "fitted to a compute 10^9 times larger; here it asks for 10^13 tokens, where a whole run "
        "has 10^5",
    ),
    no_rule("accuracy", "the paper's comparison with gradual stacking").decides(
        "gradual stacking is 2.4 points of accuracy behind stacking once",
        "the benchmarks need models that answer questions",
    ),
)

PAPER = Paper(
    name="gstack",
    arxiv="2405.15319",
    title="Stacking Your Transformers: A Closer Look at Model Growth for Efficient LLM "
    "Pre-Training",
    summary="eight growth operators at equal compute, and when and how much to stack",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(SLIMPAJAMA),
    figures={
        "G1": FigureOf(each_seed(SEEDS, compared), draw_operators, G1).shows(
            "Loss against compute of eight growth operators",
            "Mean validation loss with a band from the lowest to the highest seed; the source’s "
            "FLOPs are added. All end at the compute of scratch, whose final loss is dashed; on "
            "the way, a cooled-down curve is below one that has yet to cool down.",
        ),
        "G2": FigureOf(each_seed(SEEDS, priced), draw_speedups, G2).shows(
            "Speed-up of eight growth operators",
            "Left, FLOPs that scratch needs for the operator’s final loss over the FLOPs paid, "
            "source included, minus 1; whiskers are intervals over seeds. Right, where that is "
            "read off: final losses of scratch at three budgets, and of the operators, those in "
            "width hollow.",
        ),
        "G3": FigureOf(each_seed(SEEDS, swept), draw_sweeps, G3).shows(
            "When to stack, and how much, at equal compute",
            "Final validation loss of stacked models, with a band from the lowest to the highest "
            "seed, all at the compute of scratch with the source charged; a star marks the lowest "
            "mean. Left, against the length of the source’s training at g = 4; right, against the "
            "growth factor at the source’s usual length.",
        ),
        "G4": beside.figure(
            each_seed(FEWER_SEEDS, stacked),
            arms=[STACK],
            front=each_seed(FEWER_SEEDS, half_deep),
            note="The charge is scratch’s own; all have the one rate of this paper’s runs.",
        ),
    },
    untestable=UNTESTABLE,
)
