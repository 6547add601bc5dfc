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

from collections.abc import Iterator

from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting
from mugrow.sweeps.recipes.papers import shift
from mugrow.sweeps.recipes.papers.rewarm.paper import PAPER as REWARM
from mugrow.sweeps.recipes.papers.robustify import claims, figures
from mugrow.sweeps.recipes.papers.robustify.claims import HOME, SHARES, SHIFT

SEEDS = {"cpu": range(5), "gpu": range(5), "paper": range(5)}


def evaluations(setting: Setting) -> Iterator[Judged]:
    for way in shift.DIRECTIONS:
        for seed in SEEDS[setting.scale]:
            ends = shift.pretrained(setting, way[0], seed), shift.adapted(setting, seed, way)[-1]
            for text, where in zip(way, (SHIFT, HOME), strict=True):
                for share in SHARES:
                    name, given = claims.judged(way, where), (("share", share),)
                    yield Judged(name, ends, setting.data[text], "interpolate", given)


def runs(setting: Setting) -> Iterator[Node]:
    return (node for judged in evaluations(setting) for node in judged.nodes)


PAPER = Paper(
    name="robustify",
    arxiv="2309.07499",
    title="Efficiently Robustify Pre-Trained Models",
    summary="weights between the pre-trained and the adapted model, at home and under shift",
    bases=REWARM.bases,
    corpora=REWARM.corpora,
    figures={
        "W1": PaperFigure(
            "Losses on the line between the pre-trained and the adapted model",
            "Means and ranges over seeds. Dashed are the chords: the losses of the two ends, "
            "mixed in the same shares.",
            runs,
            figures.draw_line,
            claims.W1,
            evaluations,
        ),
        "W2": PaperFigure(
            "What a mixture costs at home for what it keeps under shift",
            "Means over seeds, in steps of a tenth; dashed is the chord, and the star the lowest "
            "mean of the two losses. Lower left is better.",
            runs,
            figures.draw_trade,
            evaluations=evaluations,
        ),
    },
    untestable=claims.UNTESTABLE,
)
