"""HyperCloning: a larger model begun as clones of a small one's units (arXiv 2409.12903).

    mugrow reproduce hypercloning

A trained model is cloned to twice its width and trained on, beside one from random weights on the
same batches. The clone computes what its source did, and is said to reach the random model's final
quality two to four times sooner.

Cost: at ``cpu`` 6 minutes on two cores; at ``gpu`` 8e15 FLOPs, an estimated 5 minutes on
one large GPU; at ``paper`` Pythia's 410M to 1.4B on 250B tokens, a second family, and four times
the width: 5e22 FLOPs.
Expected: a large speed-up with the source for free and a small one once it is charged; a better
source makes a better clone; and clones of symmetric expansion stay clones, since nothing parts
them. Diagonal expansion is the same function, and its clones part by rounding alone.

Choices. Validation loss takes the place of ten downstream tasks. Source and target see as many
tokens (Pythia's source had 300B, its target up to 250B): at a small scale a source that sees more
can be past the random model's final loss before it is cloned, and then there is no ratio. Two
families, as GPT-2 and LLaMA have their blocks, stand for its three. Neither has dropout, which is
what parts clones in OPT. Its noise is 10 dB below the weights. At ``paper``, text, batch and
learning rate are ours: C4 in batches of a million tokens at Pythia's peak rate.

"Sooner" is the ratio of what the random model and the clone paid to reach the random model's final
loss; of one shape, they pay alike for a token.
"""

from collections.abc import Iterator
from dataclasses import replace

from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.asymmetry import FLOOR, LOCKED
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.quantity import at_scale, each, evaluated, final, logged, speedup
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps import beside
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
FEWER_SEEDS = {"cpu": range(3), "gpu": range(3), "paper": range(1)}  # of what else compute buys
TRAINED = {"cpu": 1.0, "gpu": 1.0, "paper": 1.2}  # a source's steps over the target's
C4 = Text("hf:allenai/c4:en", "hf:EleutherAI/pythia-410m", 2**20, 50_304)

# Pythia 410M, and 250B tokens
paper_scale = bases.published(
    ModelSpec(width=1024, depth=24, head_size=64, context=2048, positions="rope"),
    lr=3e-4, batch_sequences=512, steps=round(250e9 / 2**20), log_every=1000,
)  # fmt: skip

LESS_TRAINED = {"cpu": (0.25, 0.5), "gpu": (0.25, 0.5), "paper": (0.064, 0.128, 0.256)}
FAMILIES = ("GPT", "LLaMA")
RANDOM = ArmName("random", start="random")
LARGE = ArmName("random, 4 times the width", start="random", width=4)
MODES = tuple(ArmName(m, start="clone", mode=m) for m in ("symmetric", "noisy", "diagonal"))
CLONE, NOISY, DIAGONAL = MODES
FROM_SMALL = ArmName("4 times the small one", **CLONE.factors, width=4, growth=4)
FROM_MIDDLE = ArmName("twice the middle one", **CLONE.factors, width=4, growth=2)
TASKS = "the average of ten tasks, the paper's main figure"
ABLATION = "the paper's ablation of expansions on Pythia-1.4B"
RANKS = "weight_rank/blocks."  # of hidden matrices, as shares of full


def named(arm: ArmName, family: str) -> ArmName:
    return arm if family == "GPT" else ArmName(f"{arm} ({family})", **arm.factors, family=family)


def after(trained: float) -> ArmName:
    return CLONE.varied(f"source of {trained:g} times the steps", trained=trained)


def random(setting: Setting, seed: int, times: int = 2, family: str = "GPT") -> Node:
    """From random weights, at a multiple of the width."""
    if family == "LLaMA":
        block = replace(setting.run.model, norm="rmsnorm", mlp="swiglu", bias=False)
        setting = replace(setting, run=replace(setting.run, model=block, base=block))
    spec = setting.spec(seed, times)
    return Node(spec, named({2: RANDOM, 4: LARGE}[times], family))


def clone(setting: Setting, target: Node, arm: ArmName) -> Node:
    """``target`` grown by the arm's mode, from a model of its width over ``growth`` (2) that is
    ``trained`` for a multiple of its steps (the largest)."""
    spec, trained = target.spec, float(arm.factors.get("trained", TRAINED[setting.scale]))
    model = replace(spec.model, width=spec.model.width // int(arm.factors.get("growth", 2)))
    small = source_of(spec, model=model, steps=round(spec.steps * trained))
    return grown(small, spec, arm, "hypercloning", mode=arm.factors["mode"])


def of_families(setting: Setting, seed: int) -> Iterator[Node]:
    for family in FAMILIES:
        target = random(setting, seed, family=family)
        yield from (target, clone(setting, target, named(CLONE, family)))


def clones(setting: Setting, seed: int) -> list[Node]:
    return [clone(setting, random(setting, seed), mode) for mode in MODES]


def expanded(setting: Setting, seed: int) -> list[Node]:
    return [random(setting, seed), *clones(setting, seed)]


def of_quality(setting: Setting, seed: int) -> Iterator[Node]:
    target, sources = random(setting, seed), (CLONE, *map(after, LESS_TRAINED[setting.scale]))
    yield from (target, *(clone(setting, target, arm) for arm in sources))


def of_factors(setting: Setting, seed: int) -> Iterator[Node]:
    target = random(setting, seed, times=4)
    yield from (target, *(clone(setting, target, arm) for arm in (FROM_SMALL, FROM_MIDDLE)))


def observed(setting: Setting) -> Iterator[Judged]:
    """Models as they are when trained, from random weights and by each expansion."""
    for node in each_seed(SEEDS, expanded)(setting):
        yield Judged(node.arm, (node,), node.spec.data, "observe")


LINE_STYLES: arms.LineStyles = {
    RANDOM: style.line_style("scratch"),
    LARGE: style.line_style("scratch"),
    CLONE: style.line_style("hypercloning"),
    NOISY: style.LineStyle(style.OKABE_ITO[0], "s"),
    DIAGONAL: style.LineStyle(style.OKABE_ITO[2], "D"),
    FROM_SMALL: style.LineStyle(style.OKABE_ITO[4], "v"),
    FROM_MIDDLE: style.line_style("hypercloning"),
}


def family_panel(family: str) -> arms.Panel:
    names = {str(arm): named(arm, family) for arm in (RANDOM, CLONE)}
    title = f"{family}: twice the width"
    return arms.CurvePanel(names, LINE_STYLES, title=title, legend=family == "GPT")


def quality_panel(axis: Axes, store: Store) -> None:
    """The longer a clone's source was trained, the darker."""
    scale = store.study["scale"]
    clones = {t: after(t) for t in LESS_TRAINED[scale]} | {TRAINED[scale]: CLONE}
    names = {f"clone of a source trained for {t:g} times the steps": n for t, n in clones.items()}
    line_styles = {RANDOM: LINE_STYLES[RANDOM]} | style.shaded([*names])
    arms.CurvePanel({str(RANDOM): RANDOM} | names, line_styles)(axis, store)


def asymmetry_panel(axis: Axes, store: Store) -> None:
    for mode in MODES:
        means = arms.points(store, mode).groupby("tokens")["asymmetry"].mean().clip(lower=FLOOR)
        axis.plot(means.index, means, **LINE_STYLES[mode].keywords, label=mode)
    axis.axhline(LOCKED, color=style.GREY, ls=":", lw=1, label="_locked")
    axis.text(0.01, LOCKED, "locked below", transform=axis.get_yaxis_transform(), va="top")
    axis.set(xscale="log", yscale="log", xlabel="tokens trained on")
    axis.set_ylabel("relative distance of clones")
    style.flops_axis(axis.xaxis)
    axis.legend()


SHARES: arms.Quantities = {arm: evaluated(arm, RANKS) for arm in (RANDOM, *MODES)}
GAINS: arms.Quantities = {mode: final(mode) - final(RANDOM) for mode in MODES}
draw_families = arms.row(*map(family_panel, FAMILIES))
draw_expansions = arms.row(
    arms.CurvePanel([RANDOM, *MODES], LINE_STYLES),
    arms.DotPanel(GAINS, "final loss − that of random (nats)", LINE_STYLES),
    widths=(3, 2),
)
factors_panel = arms.CurvePanel([LARGE, FROM_SMALL, FROM_MIDDLE], LINE_STYLES)
draw_symmetry = arms.row(
    asymmetry_panel,
    arms.DotPanel(SHARES, "rank of hidden matrices (share of full)", LINE_STYLES),
    widths=(3, 2),
)

MAIN = "our question to its main figure"
FASTER = {
    family: speedup(named(RANDOM, family), named(CLONE, family), "target") for family in FAMILIES
}
DIPS = logged(CLONE, "val_loss", "highest") - logged(CLONE, "val_loss", "first")
H1 = (
    *(
        rule(f"sooner-{family}", f"{TASKS}; here the {family} family", faster > 2.2).decides(
            "the clone reaches the random model's final quality 2.2 to 4 times sooner",
            "tokens of random over those of the clone to random's final loss",
        )
        for family, faster in FASTER.items()
    ),
    rule("sooner-charged", MAIN, speedup(RANDOM, CLONE, "source") > 1, whose="ours").decides(
        "it does so too if the source has to be paid for (the paper does not say so)",
        "FLOPs of random over those of the clone and its source to random's final loss",
    ),
    rule("ends-better", TASKS, final(CLONE) - final(RANDOM) < 0).decides(
        "the clone also ends better",
        "final loss of the clone minus that of random, nats",
    ),
    rule("forgetting", "the early part of the paper's curves", DIPS > 0).decides(
        "at first the clone forgets: its quality dips before it rises",
        "highest loss after the first steps minus the loss as cloned, nats",
    ),
)

H2 = (
    rule("noise-level", ABLATION, (final(CLONE) - final(NOISY)).within(-0.02, 0.02)).decides(
        "symmetric and noisy expansion are level",
        "final loss of symmetric minus that of noisy, nats",
    ),
    rule("diagonal-worst", ABLATION, final(DIAGONAL) - final(CLONE) > 0.005).decides(
        "diagonal expansion is the worst of the clones",
        "final loss of diagonal minus that of symmetric, nats",
    ),
    rule("all-beat-random", ABLATION, final(DIAGONAL) - final(RANDOM) < 0).decides(
        "every expansion, also diagonal, is better than random weights",
        "final loss of diagonal minus that of random, nats",
    ),
)

SHORTEST = at_scale(lambda scale: final(after(LESS_TRAINED[scale][0])))
SOURCES = "the paper's ablation of base checkpoints"
H3 = (
    rule("better-source", SOURCES, final(CLONE) - SHORTEST < 0).decides(
        "a source trained for longer makes a better clone: 16, 32, 64B tokens",
        "final loss after the longest source minus that after the shortest, nats",
    ),
)

OPT = "the paper's OPT-5.3B"
H4 = (
    rule("twice-beats-four", OPT, final(FROM_MIDDLE) - final(FROM_SMALL) < 0).decides(
        "5.3B parameters are better begun as twice 1.3B than as four times 350M",
        "final loss from twice the middle minus from four times the small, nats",
    ),
)

SYMMETRY = "our reading of the paper's symmetry diagnostics"
HALVES = f"{SYMMETRY}: similarity of halves against steps"
SPECTRA = f"{SYMMETRY}: spectra against steps"
APART = {mode: logged(mode, "asymmetry", "last") for mode in MODES}
FULLER = {mode: each(evaluated(mode, RANKS) / evaluated(RANDOM, RANKS)) for mode in MODES}
H5 = (
    *(
        rule(f"{mode}-part", HALVES, apart > 0.01, whose="ours").decides(
            f"clones of {mode} expansion become different units in training",
            "distance of clones in the residual stream at the end, relative to its norm",
        )
        for mode, apart in APART.items()
    ),
    *(
        rule(f"{mode}-spectrum", SPECTRA, fuller > 0.9, whose="ours").decides(
            f"matrices of {mode} expansion come to have the singular values of a random start",
            "rank of hidden matrices at the end over that of random's (values that hold 90 %)",
        )
        for mode, fuller in FULLER.items()
    ),
)

UNTESTABLE = (
    no_rule("ten-tasks", TASKS).decides(
        "a higher mean accuracy on ten downstream tasks, after up to 250B tokens",
        "the tasks need models that answer questions; validation loss is measured",
    ),
)

PAPER = Paper(
    name="hypercloning",
    arxiv="2409.12903",
    title="Scaling Smart: Accelerating Large Language Model Pre-training with Small Model "
    "Initialization",
    summary="a model begun as clones of a small one's units, against random weights",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(C4),
    figures={
        "H1": FigureOf(each_seed(SEEDS, of_families), draw_families, H1).shows(
            "Loss against tokens of cloned and of random models",
            "Mean validation loss with a band from the lowest to the highest seed; the clone’s "
            "source is not on the axis. Left GPT-2’s blocks, right LLaMA’s.",
        ),
        "H2": FigureOf(each_seed(SEEDS, expanded), draw_expansions, H2).shows(
            "Ways to expand a matrix",
            "Left, mean validation loss with a band from the lowest to the highest seed; right, "
            "the final loss minus that of random weights, paired by seed.",
        ),
        "H3": FigureOf(each_seed(SEEDS, of_quality), arms.row(quality_panel), H3).shows(
            "Clones of sources that were trained for longer",
            "Mean validation loss with a band from the lowest to the highest seed.",
        ),
        "H4": FigureOf(each_seed(SEEDS, of_factors), arms.row(factors_panel), H4).shows(
            "Twice a middle model or four times a small one",
            "Mean validation loss of models of one shape with a band from the lowest to the "
            "highest seed. Both sources were trained on as many tokens.",
        ),
        "H5": FigureOf(each_seed(SEEDS, clones), draw_symmetry, H5, observed).shows(
            "How far clones come apart",
            "Left, distance between the clones of a unit of the residual stream, relative to its "
            "norm, mean over seeds: 0 is a model still locked to its source’s width, about 1 "
            "independent units. Values below 1e-8 are drawn there. Right, at the end, the singular "
            "values that hold 90 % of a matrix’s squares, as a share of all, mean over matrices.",
        ),
        "H6": beside.figure(
            each_seed(FEWER_SEEDS, expanded),
            arms=MODES,
            note="The source has as many tokens as its target, and all one rate.",
        ),
    },
    untestable=UNTESTABLE,
)
