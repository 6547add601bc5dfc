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

from collections.abc import Iterator, Mapping
from dataclasses import replace

from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.figures.asymmetry import FLOOR, LOCKED
from mugrow.analysis.measure.measured import minus
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import student_interval
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.hypercloning import claims
from mugrow.sweeps.recipes.papers.hypercloning.claims import (
    CLONE,
    FAMILIES,
    FROM_MIDDLE,
    FROM_SMALL,
    LARGE,
    LESS_TRAINED,
    MODES,
    RANDOM,
    after,
    named,
)

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(1)}
TRAINED = {"cpu": 1.0, "gpu": 1.0, "paper": 1.2}  # a source's steps over the target's
LOOKS: Mapping[str, style.Look] = {
    RANDOM: style.look("scratch"),
    LARGE: style.look("scratch"),
    CLONE: style.look("hypercloning"),
    "noisy": style.Look(style.OKABE_ITO[0], "s"),
    "diagonal": style.Look(style.OKABE_ITO[2], "D"),
    FROM_SMALL: style.Look(style.OKABE_ITO[4], "v"),
    FROM_MIDDLE: style.look("hypercloning"),
}
C4 = Text("hf:allenai/c4:en", "hf:EleutherAI/pythia-410m", val_tokens=2**20, vocab_size=50_304)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Pythia 410M, and 250B tokens."""
    model = ModelSpec(
        width=1024, depth=24, head_size=64, context=2048, positions="rope", vocab_size=vocabulary
    )
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=3e-4, init_std=0.02),
        schedule=ScheduleSpec(kind="cosine", warmup=0.01, cooldown=0.0, final=0.1),
        data=data,
        batch_sequences=512,
        steps=round(250e9 / 2**20),
        seed=0,
        data_seed=0,
        log_every=1000,
    )


def of_family(run: RunSpec, family: str) -> RunSpec:
    if family == "GPT":
        return run
    model = replace(run.model, norm="rmsnorm", mlp="swiglu", bias=False)
    return replace(run, model=model, base=model)


def random(setting: Setting, seed: int, times: int = 2, family: str = "GPT") -> Node:
    """From random weights, at a multiple of the width."""
    run = of_family(setting.run, family)
    model = replace(run.model, width=run.model.width * times)
    label = {2: RANDOM, 4: LARGE}[times]
    return Node(replace(run, model=model, seed=seed, data_seed=seed), named(label, family))


def source(
    setting: Setting, seed: int, trained: float, times: int = 1, family: str = "GPT"
) -> Node:
    run = of_family(setting.run, family)
    spec = replace(
        run,
        model=replace(run.model, width=run.model.width * times),
        seed=seed,
        data_seed=seed + SOURCE_DATA_SEEDS,
        steps=round(run.steps * trained),
    )
    return Node(spec, "source")


def clone(setting: Setting, seed: int, mode: str, family: str = "GPT") -> Node:
    """Of twice the width, from the source trained longest."""
    small = source(setting, seed, TRAINED[setting.scale], family=family)
    target = random(setting, seed, family=family).spec
    return grown(small, target, named(mode, family), "hypercloning", mode=mode)


def family_runs(setting: Setting) -> Iterator[Node]:
    for family in FAMILIES:
        for seed in SEEDS[setting.scale]:
            yield random(setting, seed, family=family)
            yield clone(setting, seed, CLONE, family)


def expansion_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        yield random(setting, seed)
        for mode in MODES:
            yield clone(setting, seed, mode)


def quality_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        target = random(setting, seed)
        yield target
        yield clone(setting, seed, CLONE)
        for trained in LESS_TRAINED[setting.scale]:
            small = source(setting, seed, trained)
            yield grown(small, target.spec, after(trained), "hypercloning", mode=CLONE)


def factor_runs(setting: Setting) -> Iterator[Node]:
    trained = TRAINED[setting.scale]
    for seed in SEEDS[setting.scale]:
        target = random(setting, seed, times=4)
        yield target
        for times, name in ((1, FROM_SMALL), (2, FROM_MIDDLE)):
            small = source(setting, seed, trained, times)
            yield grown(small, target.spec, name, "hypercloning", mode=CLONE)


def symmetry_runs(setting: Setting) -> Iterator[Node]:
    for seed in SEEDS[setting.scale]:
        for mode in MODES:
            yield clone(setting, seed, mode)


def observed(setting: Setting) -> Iterator[Judged]:
    """Models as they are when trained, from random weights and by each expansion."""
    for seed in SEEDS[setting.scale]:
        nodes = [random(setting, seed), *(clone(setting, seed, mode) for mode in MODES)]
        for node in nodes:
            yield Judged(node.arm, (node,), node.spec.data, "observe")


def draw_families(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2)
    for axis, family in zip((left, right), FAMILIES, strict=True):
        names = {named(arm, family): LOOKS[arm] for arm in (RANDOM, CLONE)}
        arms.curves(axis, store, list(names), "tokens", looks=names)
        axis.set_title(f"{family}: twice the width")
    left.legend()
    right.set_ylabel("")
    return figure


def draw_expansions(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2, width_ratios=(3, 2))
    arms.curves(left, store, [RANDOM, *MODES], "tokens", looks=LOOKS)
    left.legend()
    arms.dots(right, MODES, [minus(store, mode, RANDOM) for mode in MODES], LOOKS)
    right.set_xlabel("final loss − that of random (nats)")
    return figure


def draw_quality(store: Store) -> Figure:
    scale = store.study["scale"]
    names = {trained: after(trained) for trained in LESS_TRAINED[scale]} | {TRAINED[scale]: CLONE}
    shades = style.shades([(1, place) for place in range(len(names))])
    looks = {
        name: style.Look(shades[1, place], style.MARKERS[place])
        for place, name in enumerate(names.values())
    }
    figure, ((axis,),) = style.panels(1, 1)
    arms.curves(
        axis, store, [RANDOM, *names.values()], "tokens", looks=looks | {RANDOM: LOOKS[RANDOM]}
    )
    handles = [
        style.handle(
            name, f"clone of a source trained for {trained:g} times the steps", looks[name]
        )
        for trained, name in names.items()
    ]
    axis.legend(handles=[style.handle(RANDOM, mine=LOOKS[RANDOM]), *handles])
    return figure


def draw_factors(store: Store) -> Figure:
    figure, ((axis,),) = style.panels(1, 1)
    arms.curves(axis, store, [LARGE, FROM_SMALL, FROM_MIDDLE], "tokens", looks=LOOKS)
    axis.legend()
    return figure


def draw_symmetry(store: Store) -> Figure:
    figure, ((axis, right),) = style.panels(1, 2, width_ratios=(3, 2))
    for mode in MODES:
        rows = arms.points(store, mode).groupby("tokens")["asymmetry"]
        mean, look = rows.mean().clip(lower=FLOOR), LOOKS[mode]
        axis.plot(mean.index, mean, marker=look.marker, color=look.colour, label=mode)
    axis.axhline(LOCKED, color=style.GREY, ls=":", lw=1, label="_locked")
    axis.text(0.01, LOCKED, "locked below", transform=axis.get_yaxis_transform(), va="top")
    axis.set(xscale="log", yscale="log", xlabel="tokens trained on")
    axis.set_ylabel("relative distance of clones")
    style.flops_axis(axis.xaxis)
    axis.legend()
    names = (RANDOM, *MODES)
    ranks = [
        student_interval(list(claims.weight_ranks(store, name).groupby("seed")["value"].mean()))
        for name in names
    ]
    arms.dots(right, names, ranks, LOOKS)
    right.set_xlabel("rank of hidden matrices (share of full)")
    return figure


PAPER = Paper(
    name="hypercloning",
    arxiv="2409.12903",
    title="Scaling Smart: Accelerating Large Language Model Pre-training with Small Model "
    "Initialization",
    summary="a model begun as clones of a small one's units, against random weights",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": C4}},
    figures={
        "H1": PaperFigure(
            "Loss against tokens of cloned and of random models",
            "Mean validation loss with a band from the lowest to the highest seed; the clone’s "
            "source is not on the axis. Left GPT-2’s blocks, right LLaMA’s.",
            family_runs,
            draw_families,
            claims.H1,
        ),
        "H2": PaperFigure(
            "Ways to expand a matrix",
            "Left, mean validation loss with a band from the lowest to the highest seed; right, "
            "the final loss minus that of random weights, paired by seed.",
            expansion_runs,
            draw_expansions,
            claims.H2,
        ),
        "H3": PaperFigure(
            "Clones of sources that were trained for longer",
            "Mean validation loss with a band from the lowest to the highest seed.",
            quality_runs,
            draw_quality,
            claims.H3,
        ),
        "H4": PaperFigure(
            "Twice a middle model or four times a small one",
            "Mean validation loss of models of one shape with a band from the lowest to the "
            "highest seed. Both sources were trained on as many tokens.",
            factor_runs,
            draw_factors,
            claims.H4,
        ),
        "H5": PaperFigure(
            "How far clones come apart",
            "Left, distance between the clones of a unit of the residual stream, relative to its "
            "norm, mean over seeds: 0 is a model still locked to its source’s width, about 1 "
            "independent units. Values below 1e-8 are drawn there. Right, at the end, the singular "
            "values that hold 90 % of a matrix’s squares, as a share of all, mean over matrices.",
            symmetry_runs,
            draw_symmetry,
            claims.H5,
            observed,
        ),
    },
    untestable=claims.UNTESTABLE,
)
