"""Efficiently Robustify Pre-Trained Models: by interpolating weights (arXiv 2309.07499, ICCV 2023).

    mugrow reproduce robustify --corpus novels=PATH

Adapting all of a model to new data can make it forget what it could. Its paper compares ways around
that; the one tried here is weight interpolation (WiSE-FT, arXiv 2109.01903), a model on the line

    w = (1 - share) w_pretrained + share w_adapted,

judged *at home*, on the text adapted to, and *under shift*, on the text pre-trained on. What mixing
is worth shows against the *chord*, the losses of the two ends mixed in the same shares: a line that
sags below it bends to our favour, one that rises above it has met a barrier.

The models are those of ``rewarm``, in both directions; PATH is as there.

Cost: at ``cpu`` seconds after ``rewarm``, alone about a minute and a half on two cores; at ``gpu``
4e14 FLOPs, about a minute on one large GPU; at ``paper``, whose images are out of reach, the
models of ``rewarm`` at that scale, 1.5e22 FLOPs.
Expected: open. The two models share a start and little else: adaptation is as long as pre-training,
and a barrier may lie between them.

Choices. Another corpus in place of corrupted images, losses in place of accuracies. The paper's own
method is named among the claims that cannot be tested; what WiSE-FT's paper says is counted apart
from what this one says. Five seeds.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.measure.claims import Claim, no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, combined, evaluated, lowest
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.bench.arm import ArmName
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.paper import FigureOf, Paper, Setting
from mugrow.sweeps.recipes.papers import shift
from mugrow.sweeps.recipes.papers.rewarm.paper import PAPER as REWARM
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, SEEDS, Direction, named

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(11))  # of the adapted model
LITTLE = 0.01  # of the loss at home, which a mixture may cost
MOST = 0.5  # of what was forgotten
ABSTRACT = "abstract of WiSE-FT, arXiv 2109.01903"
HALF_IS_MUCH = f"{ABSTRACT}; 1 % of the loss and half of the forgotten are our rule"
WORTH = "what makes WiSE-FT, arXiv 2109.01903, worth its while; our rule"
BASIS = "what WiSE-FT, arXiv 2109.01903, rests on; our rule"
HOME, SHIFT = "at home", "under shift"
LINE_STYLES = style.distinct((HOME, SHIFT))


def judged(way: Direction, where: str) -> ArmName:
    return named(way, where, judged=where)


def evaluations(setting: Setting) -> Iterator[Judged]:
    for way in DIRECTIONS:
        for seed in setting.of(SEEDS):
            ends = shift.pretrained(setting, way[0], seed), shift.adapted(setting, seed, way)[-1]
            for text, where in zip(way, (SHIFT, HOME), strict=True):
                for share in SHARES:
                    name, given = judged(way, where), (("share", share),)
                    yield Judged(name, ends, setting.data[text], "interpolate", given)


runs = shift.runs_of(evaluations)


def along(way: Direction, where: str) -> dict[float, Quantity]:
    """Losses on the line by share."""
    name = judged(way, where)
    return {share: evaluated(name, share=share) for share in SHARES}


def above_chord(way: Direction, where: str, fold: Callable[[Array], float]) -> Quantity:
    """Losses between the ends minus those of the ends mixed in the same shares, folded into one."""
    share = np.array(SHARES)

    def above(values: Sequence[float]) -> float:
        losses = np.array(values)
        return float(fold((losses - (1 - share) * losses[0] - share * losses[-1])[1:-1]))

    return combined(above, *along(way, where).values())


def regained(way: Direction) -> Quantity:
    """The largest share of what was forgotten that a mixture has back which costs little at home:
    losses between the shares tried are drawn straight, so that the last mixture that costs so
    little is not one of ten."""
    fine = np.linspace(0, 1, 1001)

    def most(values: Sequence[float]) -> float:
        home, shift = (np.interp(fine, SHARES, losses) for losses in np.split(np.array(values), 2))
        cheap = home <= (1 + LITTLE) * home[-1]
        return float((shift[-1] - shift[cheap].min()) / (shift[-1] - shift[0]))

    return combined(most, *along(way, HOME).values(), *along(way, SHIFT).values())


def claims_of(way: Direction) -> Iterator[Claim[Store]]:
    up, down = way
    home, shift = along(way, HOME), along(way, SHIFT)
    *inside, adapted = list(home.values())[1:]
    both = (above_chord(way, HOME, np.mean) + above_chord(way, SHIFT, np.mean)) / 2
    yield rule(f"forgets-{up}", "abstract", shift[1.0] - shift[0.0] > 0).decides(
        "fine-tuning the complete model can lead it to forget",
        f"loss on {up} after adaptation to {down} minus before, nats",
    )
    much = regained(way) > MOST
    yield rule(f"regains-{up}", HALF_IS_MUCH, much, whose="ours").decides(
        "mixing weights improves much under shift while preserving what was gained at home",
        f"largest share of what was forgotten of {up} regained for at most 1 % more loss on {down}",
    )
    gains = lowest(*inside) - adapted < 0
    yield rule(f"gains-{down}", ABSTRACT, gains, whose="ours").decides(
        "some mixture is better than the adapted model at home too (by 1.6 points on ImageNet)",
        f"lowest loss on {down} between the ends minus that of the adapted model, nats",
    )
    yield rule(f"bends-{up}-to-{down}", WORTH, both < 0, whose="ours").decides(
        "a model of mixed weights is better than its two ends are, mixed",
        f"loss above the chord, mean of {up} and {down} and of nine mixtures, nats",
    )
    level = above_chord(way, HOME, np.max) < 0
    yield rule(f"no-barrier-{up}-to-{down}", BASIS, level, whose="ours").decides(
        "a fine-tuned model stays connected to its start without a barrier",
        f"highest rise of the loss on {down} above the chord, nats",
    )


def line_panel(axis: Axes, store: Store, way: Direction) -> None:
    for (where, line_style), text in zip(LINE_STYLES.items(), reversed(way), strict=True):
        means = arms.line(axis, store, along(way, where), line_style, f"{where}: {text}")
        axis.plot([0, 1], means.iloc[[0, -1]], color=line_style.colour, ls="--", lw=1)
    axis.set(xlabel="share of the adapted model", title=f"{way[0]} to {way[1]}", ylabel=arms.LOSS)
    axis.legend()


def trade_panel(axis: Axes, store: Store, way: Direction) -> None:
    """One direction's mixtures, with the best mean of both texts."""
    home, shift = (arms.table(store, along(way, where)).mean(axis=1) for where in LINE_STYLES)
    colour, best = style.OKABE_ITO[0], SHARES[int((home + shift).argmin())]
    axis.plot(shift, home, "-o", color=colour, ms=3.5)
    axis.plot(shift.iloc[[0, -1]], home.iloc[[0, -1]], color=style.GREY, ls="--", lw=1)
    style.mark_minimum(axis, shift[best], home[best], colour)
    texts = {best: f"share {best:g}", SHARES[0]: "pre-trained", SHARES[-1]: "adapted"}
    for at, text in texts.items():
        below = at == best  # the line bends that way, so there is room
        axis.annotate(text, (shift[at], home[at]), xytext=(-7, -7) if below else (6, 5),
                      ha="right" if below else "left", va="top" if below else "baseline",
                      textcoords="offset points", fontsize=8)  # fmt: skip
    axis.margins(x=0.2, y=0.12)
    axis.set(xlabel=f"loss under shift, {way[0]}", ylabel=f"loss at home, {way[1]}",
             title=f"{way[0]} to {way[1]}")  # fmt: skip


W1 = tuple(one for way in DIRECTIONS for one in claims_of(way))
PAPER = Paper(
    name="robustify",
    arxiv="2309.07499",
    title="Efficiently Robustify Pre-Trained Models",
    summary="weights between the pre-trained and the adapted model, at home and under shift",
    bases=REWARM.bases,
    corpora=REWARM.corpora,
    figures={
        "W1": FigureOf(runs, arms.for_each(line_panel, DIRECTIONS), W1, evaluations).shows(
            "Losses on the line between the pre-trained and the adapted model",
            "Means and ranges over seeds. Dashed are the chords: the losses of the two ends, "
            "mixed in the same shares.",
        ),
        "W2": FigureOf(runs, arms.for_each(trade_panel, DIRECTIONS), evaluations=evaluations).shows(
            "What a mixture costs at home for what it keeps under shift",
            "Means over seeds, in steps of a tenth; dashed is the chord, and the star the lowest "
            "mean of the two losses. Lower left is better.",
        ),
    },
    untestable=(
        no_rule("small-teachers", "abstract").decides(
            "a small model made robust first, as the teacher of a fraction of the large one, "
            "makes that robust at far lower cost, and keeps its transfer and zero-shot properties",
            "its method distils robust image classifiers into some layers; the suite "
            "trains language models, and has no distillation",
        ),
        no_rule("benchmarks", "abstract").decides(
            "large models degrade under the perturbations of ImageNet-C, -R, -S and -A",
            "images; no vision model is trained here",
        ),
    ),
)
