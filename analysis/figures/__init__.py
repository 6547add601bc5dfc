"""The figures by name: each is one function from the summary and the store to a ``Figure``.

A figure raises ``UserError`` with the reason when the study lacks the rows it draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from mugrow.analysis.figures import (
    asymmetry,
    costs,
    curves,
    differences,
    emphasis,
    equal_compute,
    forest,
    growing,
    laws,
    main,
    methods,
    multiples,
    recovery,
    savings,
    style,
    transfer,
)
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.bench.spec import unknown


@dataclass(frozen=True)
class Entry:
    """``title`` is the one line of a listing, ``caption`` how to read the figure.

    ``section`` is the part of a report that shows it. ``alone`` are title and caption where there
    is no scratch to speak of, if these are others.
    """

    function: Callable[[Summary, Store], Figure]
    title: str
    caption: str
    section: str = "study"
    alone: tuple[str, str] | None = None

    def words(self, scratch: bool) -> tuple[str, str]:
        """Title and caption in a study with runs from scratch, or without."""
        return (self.title, self.caption) if scratch or self.alone is None else self.alone


def of_transfer(name: str) -> Callable[[Summary, Store], Figure]:
    """A figure that is made of what is said on transfer alone."""
    return lambda summary, store: transfer.BY_NAME[name](summary.transfer)


LAWS = "laws"
TRANSFER = "transfer"
BOWLS = (
    "Mean final loss, with a band from the lowest to the highest seed. A star marks the lowest "
    "mean; the dotted parabola is fitted around it, where there are points enough. Arrows at the "
    "top are losses above the axis, crosses diverged runs."
)


FIGURES = {
    "main": Entry(
        main.main,
        "Transfer of the learning rate, and what growing saves, in one picture",
        "Left: final loss of the proxies against learning rate at each width; a star marks the "
        "lowest mean, and stars above one another mean that the learning rate transfers. Right: "
        "validation loss of the widest target against compute with the source charged; the number "
        "is the final loss minus scratch’s at equal charged compute or, in a study without "
        "budgets, the speed-up at scratch’s own final loss. Bands span the seeds."
        + emphasis.CAPTION,
    ),
    "equal_compute": Entry(
        equal_compute.equal_compute,
        "Final loss against charged compute: each arm beside what else it would have bought",
        "A point is an arm on a whole schedule, at its FLOPs with its source’s, with its interval "
        "over seeds. Lines join final losses of whole schedules of what it is compared with; bands "
        "span the seeds. An arm below a line beats it at equal compute, and how far it lies to the "
        "left of scratch’s is its speed-up." + emphasis.CAPTION,
        alone=(
            "Final loss against charged compute: each arm beside what else it would have bought",
            "A point is an arm on a whole schedule, at its FLOPs with its source’s, with its "
            "interval over seeds. The line joins final losses of whole schedules of the source "
            "trained on; the band spans the seeds. An arm below it beats that at equal compute."
            + emphasis.CAPTION,
        ),
    ),
    "differences": Entry(
        differences.differences,
        "Final loss of every arm minus what else its compute would have bought",
        "A row is an arm, the lowest final loss on top, a column what the same compute buys "
        "otherwise; left of the line growing was worth it. Whiskers are 95 % intervals of each "
        "alone. Filled is what a test decides that is corrected over the arms of a target.",
    ),
    "transfer": Entry(
        of_transfer("transfer"),
        "Loss against learning rate along width",
        BOWLS,
        TRANSFER,
    ),
    "transfer_depth": Entry(
        of_transfer("transfer_depth"),
        "Loss against learning rate along depth",
        BOWLS,
        TRANSFER,
    ),
    "transfer_tokens": Entry(
        of_transfer("transfer_tokens"),
        "Loss against learning rate along training tokens",
        BOWLS,
        TRANSFER,
    ),
    "transfer_batch": Entry(
        of_transfer("transfer_batch"),
        "Loss against learning rate along batch size",
        BOWLS,
        TRANSFER,
    ),
    "transfer_growth": Entry(
        of_transfer("transfer_growth"),
        "Loss against learning rate of grown models, by growth factor",
        BOWLS + " The dashed line is the rate that was transferred to the source.",
        TRANSFER,
    ),
    "optima": Entry(
        of_transfer("optima"),
        "The best learning rate against size",
        "The vertex of each bowl’s parabola, or the best rate tested; whiskers are intervals over "
        "seeds. An arrow marks an optimum at the edge of its grid, which may lie further that way. "
        "The numbers are the drift in log2 per doubling, with its interval: flat lines transfer.",
        TRANSFER,
    ),
    "regret": Entry(
        of_transfer("regret"),
        "What every size’s best rate costs at every other",
        "Rows are the size that was tuned, columns the size that it is used at: percent of the "
        "loss given away, and Δ, the target’s best rate over the proxy’s in log2. Transfer leaves "
        "zeros.",
        TRANSFER,
    ),
    "tolerance": Entry(
        of_transfer("tolerance"),
        "Regret against how far the learning rate is off",
        "A point for each two sizes. Grey: the mean of 17 public sweeps of models with losses of "
        "2.1 to 2.6 nats (step law, arXiv 2503.04715), where a rate twice too high costs three "
        "times what one twice too low does.",
        TRANSFER,
    ),
    "operator_settings": Entry(
        of_transfer("operator_settings"),
        "Loss against an operator’s own setting, by growth factor",
        "Mean final loss, with a band from the lowest to the highest seed; everything but the "
        "setting is equal along a line. A star marks the lowest mean: stars above one another mean "
        "that the setting transfers. Crosses at the top are values that diverged.",
        TRANSFER,
    ),
    "init": Entry(
        of_transfer("init"),
        "Loss over learning rate and initial scale at the smallest width",
        "Each square is a trial, dark where its mean loss is near the best, which is starred; "
        "crosses are trials without a loss (diverged or pruned). The colour stops at three times "
        "the median. Lines join equal losses above the best, where the trials are a grid.",
        TRANSFER,
    ),
    "curves": Entry(
        curves.curves,
        "Loss against compute of grown and from-scratch targets",
        "Mean validation loss with a band from the lowest to the highest seed. Left, the target’s "
        "own FLOPs; right, its source’s added. The dashed line is scratch’s final loss. Only ends "
        "of schedules compare: on the way, a decayed curve is below one that has yet to decay."
        + emphasis.CAPTION,
        alone=(
            "Loss against compute of grown targets",
            "Mean validation loss with a band from the lowest to the highest seed. Left, the "
            "target’s own FLOPs; right, its source’s added. Only ends of schedules compare: on the "
            "way, a decayed curve is below one that has yet to decay." + emphasis.CAPTION,
        ),
    ),
    "savings": Entry(
        savings.savings,
        "Speed-up over scratch at every loss, in three accountings",
        "FLOPs from scratch divided by FLOPs of the method to reach the same loss; above 1 growing "
        "saves. The band is the interval over seeds. Dotted lines with arrows are bounds, where "
        "one of the two never reached the loss." + emphasis.CAPTION,
    ),
    "methods": Entry(
        methods.methods,
        "Each method against scratch, by final loss",
        "Mean validation loss with a band from the lowest to the highest seed, methods in the "
        f"order of their final losses, the lowest {multiples.MOST} of a target. Solid, the "
        "target’s own FLOPs; dashed, its source’s added; "
        "black, scratch, and dotted its final loss. The numbers are the speed-up there with its "
        "interval over seeds.",
        alone=(
            "Each method, by final loss",
            "Mean validation loss with a band from the lowest to the highest seed, methods in the "
            "order of their final losses. Solid, the target’s own FLOPs; dashed, its source’s "
            "added.",
        ),
    ),
    "forest": Entry(
        forest.forest,
        "Speed-up and final loss of every method",
        "Left, FLOPs from scratch divided by FLOPs of the method to reach scratch’s final loss, in "
        "three accountings; right of the line growing saves. An arrow is a bound or an open end, "
        "and where there is no number the row says why. Right, the final loss minus scratch’s, "
        "paired by seed: left of the line is better. Whiskers are intervals over seeds.",
    ),
    "recovery": Entry(
        recovery.recovery,
        "The loss after growth, and how long until it is back",
        "Mean validation loss of the grown model with a band from the lowest to the highest seed; "
        "dotted, what its source had. The mark on the left is the loss right after growth, and the "
        "spike (in nats) is its height over the source’s. Back means at the source’s loss again, "
        "after the highest one. Methods are in the order of their final losses, the lowest "
        f"{multiples.MOST} of a target.",
    ),
    "asymmetry": Entry(
        asymmetry.asymmetry,
        "How far the copies of a unit come apart",
        "The distance between copies of the residual stream’s units, relative to its norm, mean "
        "over seeds: 0 is a model still locked to its source’s width, about 1 independent units. "
        "Names are in the order in which the lines end. Values below 1e-8 are drawn there.",
    ),
    "costs": Entry(
        costs.costs,
        "Where the compute went",
        "The FLOPs of one target run and of what it rests on: its source up to the checkpoint "
        "used, and all trials of the sweep behind its hyperparameters.",
    ),
    "laws": Entry(
        laws.laws,
        "Scaling laws: loss against model size, tokens and compute",
        "A row for each law, at most four. Lines are the law at the N or D named, with 95 % bands; "
        "colour is the other variable, dark for more. Right, the lowest loss that the law allows a "
        "budget, and runs coloured by N. Stars are the runs with the most compute, which the form "
        "was chosen to predict; the law drawn is fitted to all.",
        LAWS,
    ),
    "residuals": Entry(
        laws.residuals,
        "What the laws leave: residuals against model size, tokens and their ratio",
        "A law that fits has no slope and no bend here. Stars are the runs with the most compute, "
        "each against the fit that had not seen them: that is the law’s error outside its runs.",
        LAWS,
    ),
    "growth_factor": Entry(
        growing.growth_factor,
        "Loss against the growth factor at equal target compute",
        "A parabola in ln g for each level of target compute, dark for more; the source is not "
        "charged. Blue: the factor with the lowest loss. Red: the one above which training from "
        "scratch is better; it is not drawn beyond the largest factor sampled.",
        LAWS,
    ),
    "contour": Entry(
        growing.contour,
        "Where growing beats scratch, over model size and tokens",
        "The difference of two laws within the sizes and tokens that both have runs of: blue where "
        "grown models are better. Hatched where the 95 % intervals of the two laws overlap: there "
        "the difference is not established. The source is not charged.",
        LAWS,
    ),
}


def draw(name: str, summary: Summary, store: Store) -> Figure:
    """Draw the figure ``name``. Raises ``UserError`` where there is none, or no rows for it."""
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    return style.drawn(lambda: FIGURES[name].function(summary, store))
