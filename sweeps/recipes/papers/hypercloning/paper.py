"""HyperCloning: a larger model begun as clones of a small one's units (arXiv 2409.12903).

    mugrow reproduce hypercloning

A trained model is cloned to twice its width and trained on, beside one from random weights on the
same batches. The clone computes what its source did, and is said to reach the random model's final
quality two to four times sooner.

Cost: at ``cpu`` 6 minutes on two cores; at ``gpu`` 7e15 FLOPs, an estimated 5 minutes on
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
"""

from collections.abc import Iterator
from dataclasses import replace

from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.asymmetry import FLOOR, LOCKED
from mugrow.analysis.measure.quantity import evaluated, final
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.hypercloning import claims
from mugrow.sweeps.recipes.papers.hypercloning.claims import (
    CLONE,
    FAMILIES,
    LARGE,
    MODES,
    RANDOM,
    named,
)

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
TRAINED = {"cpu": 1.0, "gpu": 1.0, "paper": 1.2}  # a source's steps over the target's
C4 = Text("hf:allenai/c4:en", "hf:EleutherAI/pythia-410m", 2**20, 50_304)

# Pythia 410M, and 250B tokens
paper_scale = bases.published(
    ModelSpec(width=1024, depth=24, head_size=64, context=2048, positions="rope"),
    lr=3e-4, batch_sequences=512, steps=round(250e9 / 2**20), log_every=1000,
)  # fmt: skip


def random(setting: Setting, seed: int, times: int = 2, family: str = "GPT") -> Node:
    """From random weights, at a multiple of the width."""
    if family == "LLaMA":
        block = replace(setting.run.model, norm="rmsnorm", mlp="swiglu", bias=False)
        setting = replace(setting, run=replace(setting.run, model=block, base=block))
    spec = setting.spec(seed, times)
    return Node(spec, named({2: RANDOM, 4: LARGE}[times], family))


def clone(
    setting: Setting, target: Node, arm: ArmName, growth: int = 2, trained: float | None = None
) -> Node:
    """``target`` grown by the arm's mode from a model of its width over ``growth``, ``trained`` for
    a multiple of its steps: the largest, unless said."""
    spec, trained = target.spec, trained or TRAINED[setting.scale]
    model = replace(spec.model, width=spec.model.width // growth)
    small = source_of(spec, model=model, steps=round(spec.steps * trained))
    return grown(small, spec, arm, "hypercloning", mode=arm.factors["mode"])


def of_families(setting: Setting, seed: int) -> Iterator[Node]:
    for family in claims.FAMILIES:
        target = random(setting, seed, family=family)
        yield from (target, clone(setting, target, named(CLONE, family)))


def clones(setting: Setting, seed: int) -> list[Node]:
    return [clone(setting, random(setting, seed), mode) for mode in MODES]


def expanded(setting: Setting, seed: int) -> list[Node]:
    return [random(setting, seed), *clones(setting, seed)]


def of_quality(setting: Setting, seed: int) -> Iterator[Node]:
    target = random(setting, seed)
    yield from (target, clone(setting, target, CLONE))
    for trained in claims.LESS_TRAINED[setting.scale]:
        yield clone(setting, target, claims.after(trained), trained=trained)


def of_factors(setting: Setting, seed: int) -> Iterator[Node]:
    target = random(setting, seed, times=4)
    yield target
    for arm in (claims.FROM_SMALL, claims.FROM_MIDDLE):
        yield clone(setting, target, arm, int(arm.factors["growth"]))


def observed(setting: Setting) -> Iterator[Judged]:
    """Models as they are when trained, from random weights and by each expansion."""
    for node in each_seed(SEEDS, expanded)(setting):
        yield Judged(node.arm, (node,), node.spec.data, "observe")


LINE_STYLES: arms.LineStyles = {
    RANDOM: style.line_style("scratch"),
    LARGE: style.line_style("scratch"),
    CLONE: style.line_style("hypercloning"),
    claims.NOISY: style.LineStyle(style.OKABE_ITO[0], "s"),
    claims.DIAGONAL: style.LineStyle(style.OKABE_ITO[2], "D"),
    claims.FROM_SMALL: style.LineStyle(style.OKABE_ITO[4], "v"),
    claims.FROM_MIDDLE: style.line_style("hypercloning"),
}


def family_panel(family: str) -> arms.Panel:
    names = {str(arm): named(arm, family) for arm in (RANDOM, CLONE)}
    title = f"{family}: twice the width"
    return arms.CurvePanel(names, LINE_STYLES, title=title, legend=family == "GPT")


def quality_panel(axis: Axes, store: Store) -> None:
    """The longer a clone's source was trained, the darker."""
    scale = store.study["scale"]
    clones = {t: claims.after(t) for t in claims.LESS_TRAINED[scale]} | {TRAINED[scale]: CLONE}
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


RANKS: arms.Quantities = {arm: evaluated(arm, claims.RANKS) for arm in (RANDOM, *MODES)}
GAINS: arms.Quantities = {mode: final(mode) - final(RANDOM) for mode in MODES}
draw_expansions = arms.row(
    arms.CurvePanel([RANDOM, *MODES], LINE_STYLES),
    arms.DotPanel(GAINS, "final loss − that of random (nats)", LINE_STYLES),
    widths=(3, 2),
)
factors_panel = arms.CurvePanel([LARGE, claims.FROM_SMALL, claims.FROM_MIDDLE], LINE_STYLES)
draw_symmetry = arms.row(
    asymmetry_panel,
    arms.DotPanel(RANKS, "rank of hidden matrices (share of full)", LINE_STYLES),
    widths=(3, 2),
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
        "H1": FigureOf(
            each_seed(SEEDS, of_families), arms.row(*map(family_panel, FAMILIES)), claims.H1
        ).shows(
            "Loss against tokens of cloned and of random models",
            "Mean validation loss with a band from the lowest to the highest seed; the clone’s "
            "source is not on the axis. Left GPT-2’s blocks, right LLaMA’s.",
        ),
        "H2": FigureOf(each_seed(SEEDS, expanded), draw_expansions, claims.H2).shows(
            "Ways to expand a matrix",
            "Left, mean validation loss with a band from the lowest to the highest seed; right, "
            "the final loss minus that of random weights, paired by seed.",
        ),
        "H3": FigureOf(each_seed(SEEDS, of_quality), arms.row(quality_panel), claims.H3).shows(
            "Clones of sources that were trained for longer",
            "Mean validation loss with a band from the lowest to the highest seed.",
        ),
        "H4": FigureOf(each_seed(SEEDS, of_factors), arms.row(factors_panel), claims.H4).shows(
            "Twice a middle model or four times a small one",
            "Mean validation loss of models of one shape with a band from the lowest to the "
            "highest seed. Both sources were trained on as many tokens.",
        ),
        "H5": FigureOf(each_seed(SEEDS, clones), draw_symmetry, claims.H5, observed).shows(
            "How far clones come apart",
            "Left, distance between the clones of a unit of the residual stream, relative to its "
            "norm, mean over seeds: 0 is a model still locked to its source’s width, about 1 "
            "independent units. Values below 1e-8 are drawn there. Right, at the end, the singular "
            "values that hold 90 % of a matrix’s squares, as a share of all, mean over matrices.",
        ),
    },
    untestable=claims.UNTESTABLE,
)
