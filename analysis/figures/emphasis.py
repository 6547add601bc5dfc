"""Which methods a panel shared by all of them tells apart.

Nobody can follow thirty curves through each other. With more than ``MOST`` methods at a target a
panel colours the baseline and the ``LOWEST`` methods with the lowest final losses; the others are
thin light grey lines, which still show where the field lies. The figures ``methods`` and ``forest``
show each of them.
"""

import math

from matplotlib.lines import Line2D

from mugrow.analysis.figures import style
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.summary import Summary

MOST = 8
LOWEST = 6
CAPTION = (
    f" Among more than {MOST} methods the {LOWEST} with the lowest final losses are coloured, "
    "the others light grey."
)


def told_apart(summary: Summary, target: str) -> set[str]:
    """The labels to colour at a target, the baseline among them."""
    losses = {final.label: final.loss.value for final in summary.finals if final.target == target}
    grown = sorted(losses.keys() - {BASELINE}, key=lambda label: _rank(label, losses[label]))
    return {BASELINE, *(grown if len(grown) <= MOST else grown[:LOWEST])}


def _rank(label: str, loss: float) -> tuple[float, str]:
    return math.inf if math.isnan(loss) else loss, label


def handles(labels: list[str], coloured: set[str], texts: dict[str, str]) -> list[Line2D]:
    """The legend: every coloured label, under its text if it has one, and the others together."""
    shown = [style.handle(label, texts.get(label)) for label in labels if label in coloured]
    others = len(set(labels) - coloured)
    if others:
        shown.append(Line2D([], [], color=style.FAINT, lw=0.8, label=f"{others} other methods"))
    return shown
