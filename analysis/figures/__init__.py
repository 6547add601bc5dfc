"""The figures by name: each is one function from the summary and the store to a ``Figure``.

A figure raises ``UserError`` with the reason when the study lacks the rows it draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from analysis.figures import costs, curves, main, savings, style, sweeps
from analysis.store import Store
from bench.spec import unknown


@dataclass(frozen=True)
class Entry:
    """``title`` is the one line of a listing, ``caption`` how to read the figure."""

    function: Callable[[dict[str, Any], Store], Figure]
    title: str
    caption: str


FIGURES = {
    "main": Entry(
        main.main,
        "Transfer of the learning rate, and what growing saves, in one picture",
        "Left: final loss of the proxies against learning rate at each width; a star marks the "
        "lowest mean, and stars above one another mean that the learning rate transfers. Right: "
        "validation loss of the widest target against compute with the source charged; the number "
        "is the speed-up at scratch’s own final loss. Bands span the seeds.",
    ),
    "transfer": Entry(
        sweeps.transfer,
        "Loss against learning rate at each width",
        "Mean final loss of the proxies, with a band from the lowest to the highest seed. A star "
        "marks the lowest mean; the dotted parabola is fitted around it, where there are points "
        "enough. Arrows at the top are losses above the axis, crosses diverged runs.",
    ),
    "init": Entry(
        sweeps.init,
        "Loss over learning rate and initial scale at the smallest width",
        "Each square is a trial, dark where its mean loss is near the best, which is starred; "
        "crosses are trials without a loss (diverged or pruned). The colour stops at three times "
        "the median.",
    ),
    "curves": Entry(
        curves.curves,
        "Loss against compute of grown and from-scratch targets",
        "Mean validation loss with a band from the lowest to the highest seed. Left, the target’s "
        "own FLOPs; right, its source’s added. The dashed line is scratch’s final loss. Only ends "
        "of schedules compare: on the way, a decayed curve is below one that has yet to decay.",
    ),
    "savings": Entry(
        savings.savings,
        "Speed-up over scratch at every loss, in three accountings",
        "FLOPs from scratch divided by FLOPs of the method to reach the same loss; above 1 growing "
        "saves. The band is the interval over seeds. Dotted lines with arrows are bounds, where "
        "one of the two never reached the loss.",
    ),
    "costs": Entry(
        costs.costs,
        "Where the compute went",
        "The FLOPs of one target run and of what it rests on: its source up to the checkpoint "
        "used, and all trials of the sweep behind its hyperparameters.",
    ),
}


def draw(name: str, summary: dict[str, Any], store: Store) -> Figure:
    """Draw the figure ``name`` in the house style, laid out once and for all.

    Constrained layout refines the layout at every rendering, so a second file of the same figure
    would differ from the first.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    with style.applied():
        figure = FIGURES[name].function(summary, store)
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
