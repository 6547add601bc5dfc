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
method is named among the claims that cannot be tested. Five seeds.
"""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.figures.arms import LOSS
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval, student_interval
from mugrow.bench.spec import UserError
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.rewarm import paper as rewarm
from mugrow.sweeps.recipes.papers.rewarm.claims import DIRECTIONS, Direction, named

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(11))
SEEDS = range(5)
LITTLE = 0.01  # of the loss at home, which a mixture may cost
MOST = 0.5  # of what was forgotten
HOME, SHIFT = "at home", "under shift"
LOOKS = style.dealt((HOME, SHIFT))


def evaluations(setting: Setting) -> Iterator[Judged]:
    for way in DIRECTIONS:
        for seed in SEEDS:
            ends = rewarm.pretrained(setting, way[0], seed), rewarm.adapted(setting, way, seed)[-1]
            for text, where in zip(way, (SHIFT, HOME), strict=True):
                for share in SHARES:
                    given = (("share", share),)
                    yield Judged(named(way, where), ends, setting.data[text], "interpolate", given)


def runs(setting: Setting) -> Iterator[Node]:
    for judged in evaluations(setting):
        yield from judged.nodes


def along(store: Store, way: Direction, where: str) -> Array:
    """Losses on the line, of shape (shares, seeds), seeds ascending. Raises ``UserError``."""
    rows = store.evaluations[store.evaluations["arm"] == named(way, where)]
    if rows.empty:
        raise UserError(f"no evaluation of {named(way, where)!r}")
    rows = rows.assign(share=[json.loads(params)["share"] for params in rows["params"]])
    table = rows.pivot_table(index="share", columns="seed", values="value")
    assert tuple(table.index) == SHARES
    return table.to_numpy(dtype=np.float64)


def both(store: Store, way: Direction) -> tuple[Array, Array]:
    """At home, and under shift."""
    return along(store, way, HOME), along(store, way, SHIFT)


def above_chord(losses: Array) -> Array:
    """Losses between the ends minus those of the ends mixed in the same shares."""
    share = np.array(SHARES)[:, None]
    above: Array = losses - (1 - share) * losses[0] - share * losses[-1]
    return above[1:-1]


def forgotten(store: Store, way: Direction) -> Interval:
    """The loss under shift of the adapted model minus that of the pre-trained one, in nats."""
    losses = along(store, way, SHIFT)
    return student_interval(losses[-1] - losses[0])


def regained(store: Store, way: Direction) -> Interval:
    """The largest share of what was forgotten that a mixture has back which costs little at home;
    0 where none but the adapted model costs so little."""
    home, shift = both(store, way)

    def statistic(drawn: Sequence[int]) -> float:
        at_home, shifted = home[:, drawn].mean(axis=1), shift[:, drawn].mean(axis=1)
        cheap = at_home <= (1 + LITTLE) * at_home[-1]
        return float((shifted[-1] - shifted[cheap].min()) / (shifted[-1] - shifted[0]))

    return over_seeds(range(home.shape[1]), statistic)


def gained_at_home(store: Store, way: Direction) -> Interval:
    """The lowest loss at home between the ends minus that of the adapted model, in nats."""
    home = along(store, way, HOME)

    def statistic(drawn: Sequence[int]) -> float:
        means = home[:, drawn].mean(axis=1)
        return float(means[1:-1].min() - means[-1])

    return over_seeds(range(home.shape[1]), statistic)


def sag(store: Store, way: Direction) -> Interval:
    """How far losses lie above their chords, the mean of both texts and all mixtures, in nats."""
    home, shift = both(store, way)
    return student_interval((above_chord(home) + above_chord(shift)).mean(axis=0) / 2)


def barrier(store: Store, way: Direction) -> Interval:
    """The highest rise above the chord at home, in nats; below 0 where all lies beneath it."""
    above = above_chord(along(store, way, HOME))
    return over_seeds(
        range(above.shape[1]), lambda drawn: float(above[:, drawn].mean(axis=1).max())
    )


def claims_of(way: Direction) -> Iterator[Claim[Store]]:
    up, down = way
    yield Claim(
        f"forgets-{up}",
        "fine-tuning the complete model can lead it to forget",
        "abstract",
        f"loss on {up} after adaptation to {down} minus before, nats",
        lambda store: forgotten(store, way),
        low=0.0,
    )
    yield Claim(
        f"regains-{up}",
        "mixing weights improves much under shift while preserving what was gained at home",
        "abstract of WiSE-FT; 1 % of the loss and half of the forgotten are our rule",
        f"largest share of what was forgotten of {up} regained for at most 1 % more loss on {down}",
        lambda store: regained(store, way),
        low=MOST,
    )
    yield Claim(
        f"gains-{down}",
        "some mixture is better than the adapted model at home too (by 1.6 points on ImageNet)",
        "abstract of WiSE-FT",
        f"lowest loss on {down} between the ends minus that of the adapted model, nats",
        lambda store: gained_at_home(store, way),
        high=0.0,
    )
    yield Claim(
        f"bends-{up}-to-{down}",
        "a model of mixed weights is better than its two ends are, mixed",
        "what makes WiSE-FT worth its while; our rule",
        f"loss above the chord, mean of {up} and {down} and of nine mixtures, nats",
        lambda store: sag(store, way),
        high=0.0,
    )
    yield Claim(
        f"no-barrier-{up}-to-{down}",
        "a fine-tuned model stays connected to its start without a barrier",
        "what WiSE-FT rests on; our rule",
        f"highest rise of the loss on {down} above the chord, nats",
        lambda store: barrier(store, way),
        high=0.0,
    )


def draw_line(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, len(DIRECTIONS))
    for axis, way in zip(axes, DIRECTIONS, strict=True):
        for where, text in zip((HOME, SHIFT), reversed(way), strict=True):
            losses, look = along(store, way, where), LOOKS[where]
            means, edges = losses.mean(axis=1), (losses.min(axis=1), losses.max(axis=1))
            axis.fill_between(SHARES, *edges, color=look.colour, alpha=0.2, lw=0)
            axis.plot(SHARES, means, look.line, marker=look.marker, color=look.colour,
                      label=f"{where}: {text}")  # fmt: skip
            axis.plot([0, 1], means[[0, -1]], color=look.colour, ls="--", lw=1)
        axis.set(xlabel="share of the adapted model", title=f"{way[0]} to {way[1]}")
        axis.legend()
    axes[0].set_ylabel(LOSS)
    return figure


def draw_trade(store: Store) -> Figure:
    figure, (axes,) = style.panels(1, len(DIRECTIONS))
    for axis, way in zip(axes, DIRECTIONS, strict=True):
        home, shift = (losses.mean(axis=1) for losses in both(store, way))
        trade(axis, home, shift)
        axis.set(xlabel=f"loss under shift, {way[0]}", ylabel=f"loss at home, {way[1]}",
                 title=f"{way[0]} to {way[1]}")  # fmt: skip
    return figure


def trade(axis: Axes, home: Array, shift: Array) -> None:
    """One direction's mixtures, with the best mean of both texts."""
    colour = style.OKABE_ITO[0]
    axis.plot(shift, home, "-o", color=colour, ms=3.5)
    axis.plot(shift[[0, -1]], home[[0, -1]], color=style.GREY, ls="--", lw=1)
    best = int(np.argmin(home + shift))
    style.mark_minimum(axis, shift[best], home[best], colour)
    texts = {best: f"share {SHARES[best]:g}", 0: "pre-trained", len(SHARES) - 1: "adapted"}
    for at, text in texts.items():
        below = at == best  # the line bends that way, so there is room
        axis.annotate(text, (shift[at], home[at]), xytext=(-7, -7) if below else (6, 5),
                      ha="right" if below else "left", va="top" if below else "baseline",
                      textcoords="offset points", fontsize=8)  # fmt: skip
    axis.margins(x=0.2, y=0.12)


PAPER = Paper(
    name="robustify",
    arxiv="2309.07499",
    title="Efficiently Robustify Pre-Trained Models",
    summary="weights between the pre-trained and the adapted model, at home and under shift",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": rewarm.paper_scale},
    corpora=rewarm.CORPORA,
    figures={
        "W1": PaperFigure(
            "Losses on the line between the pre-trained and the adapted model",
            "Means and ranges over seeds. Dashed are the chords: the losses of the two ends, "
            "mixed in the same shares.",
            runs,
            draw_line,
            tuple(claim for way in DIRECTIONS for claim in claims_of(way)),
            evaluations,
        ),
        "W2": PaperFigure(
            "What a mixture costs at home for what it keeps under shift",
            "Means over seeds, in steps of a tenth; dashed is the chord, and the star the lowest "
            "mean of the two losses. Lower left is better.",
            runs,
            draw_trade,
            evaluations=evaluations,
        ),
    },
    untestable=(
        Claim(
            "small-teachers",
            "a small model made robust first, as the teacher of a fraction of the large one, "
            "makes that robust at far lower cost, and keeps its transfer and zero-shot properties",
            "abstract",
            untestable="its method distils robust image classifiers into some layers; the suite "
            "trains language models, and has no distillation",
        ),
        Claim(
            "benchmarks",
            "large models degrade under the perturbations of ImageNet-C, -R, -S and -A",
            "abstract",
            untestable="images; no vision model is trained here",
        ),
    ),
)
