"""Errors of laws through small models, by what is fitted: a dot a family, their mean, its interval.

The laws of Choshen et al. (arXiv 2410.11840) err by 4 % at best, which is dashed.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.laws.families import ExtrapolationError

BEST_PERCENT = 4


def draw(errors: Sequence[ExtrapolationError]) -> Figure:
    """A row for what is fitted; errors are in percent."""
    figure, ((axis,),) = style.panels(1, 1)
    labels = [one.fitted for one in errors]
    line_styles = dict.fromkeys(labels, style.LineStyle(style.OKABE_ITO[0], "o"))
    arms.dots(axis, labels, [one.mean for one in errors], line_styles)
    for place, one in enumerate(errors):
        found = list(one.by_family.values())
        axis.plot(found, [place] * len(found), ".", color=style.GREY, ms=4, label="_family")
    axis.axvline(BEST_PERCENT, color=style.GREY, ls="--", lw=0.9)
    axis.set_xlabel("ARE of the largest model’s loss (%)")
    return figure
