"""Errors of laws through small models, by what is fitted: a dot a family, their mean, its interval.

The laws of Choshen et al. (arXiv 2410.11840) err by 4 % at best, which is dashed.
"""

import pandas as pd
from matplotlib.figure import Figure

from mugrow.analysis.figures import arms, style
from mugrow.analysis.laws.families import over_families

BEST_PERCENT = 4


def draw(errors: pd.DataFrame) -> Figure:
    """``errors`` in percent: a row for what is fitted, a column a family."""
    figure, ((axis,),) = style.panels(1, 1)
    labels = [str(label) for label in errors.index]
    looks = dict.fromkeys(labels, style.Look(style.OKABE_ITO[0], "o"))
    arms.dots(axis, labels, [over_families(row) for _, row in errors.iterrows()], looks)
    for place, (_, row) in enumerate(errors.iterrows()):
        axis.plot(row, [place] * len(row), ".", color=style.GREY, ms=4, label="_family")
    axis.axvline(BEST_PERCENT, color=style.GREY, ls="--", lw=0.9)
    axis.set_xlabel("ARE of the largest model’s loss (%)")
    return figure
