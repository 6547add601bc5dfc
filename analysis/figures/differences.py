"""Every arm minus what else its compute would have bought: a forest plot of the headline.

A row is an arm, a column a baseline at the arm's charge: scratch on a whole schedule, its own
source trained on, the best size. Left of the line growing was worth it. What the test decides,
corrected over the arms of a target, is filled: an interval that the line is not in may still be
undecided, for of thirty such intervals one or two are wrong.
"""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mugrow.analysis.figures import style
from mugrow.analysis.figures.forest import LINE, draw_whisker
from mugrow.analysis.measure.comparison import BASELINES, Baseline, EqualCompute, Verdict, Versus
from mugrow.analysis.read.store import Store
from mugrow.analysis.summary import Summary
from mugrow.bench.spec import UserError

NAMES: dict[Baseline, str] = {
    "scratch": "scratch",
    "own source": "its source,\ntrained on",
    "front": "the best size",
}
COLOURS: dict[Verdict, str] = {"better": "#0072B2", "worse": "#D55E00", "undecided": style.GREY}


def differences(summary: Summary, store: Store) -> Figure:
    """A row of panels for each target, a panel for each baseline that any arm has."""
    rows = summary.equal_compute
    measured = [name for name in BASELINES if [*_measured(rows, name)]]
    if not measured:
        raise UserError(
            "figure 'differences' needs final losses at several budgets, and the study has none"
        )
    targets = {row.target: [one for one in rows if one.target == row.target] for row in rows}
    heights = [len(arms) + 1.5 for arms in targets.values()]
    figure, axes = style.panels(len(targets), len(measured), height_ratios=heights, sharey="row")
    figure.set_figheight(LINE * sum(heights) + 1.1)
    for panels, (target, arms) in zip(axes, targets.items(), strict=True):
        for axis, baseline in zip(panels, measured, strict=True):
            _draw(axis, arms, baseline)
        panels[0].set_title(f"final loss (nats), growing to {target}", loc="left")
    for axis, baseline in zip(axes[-1], measured, strict=True):
        axis.set_xlabel(f"minus {NAMES[baseline]}")
    style.legend_below(figure, _legend(), columns=3)
    return figure


def _measured(arms: Sequence[EqualCompute], baseline: Baseline) -> Iterator[tuple[int, Versus]]:
    """Place and difference of the arms that have one."""
    for place, arm in enumerate(arms):
        found = arm.against(baseline)
        if math.isfinite(found.difference.value):
            yield place, found


def _draw(axis: Axes, arms: Sequence[EqualCompute], baseline: Baseline) -> None:
    names = [style.wrapped(" = ".join((arm.label, *arm.also)), 40) for arm in arms]
    axis.set_yticks(range(len(arms)), names, fontsize=7)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.axvline(0, color="black", lw=0.8, label="_zero")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    for place, found in _measured(arms, baseline):
        colour = COLOURS[found.verdict]
        inside = "white" if found.verdict == "undecided" else colour
        draw_whisker(axis, place, found.difference, colour)
        axis.plot(
            [found.difference.value], [place], "o", color=colour, mfc=inside, ms=4.2,
            label=f"_{arms[place].label}",
        )  # fmt: skip


def _legend() -> list[Line2D]:
    words = {"better": "better", "worse": "worse", "undecided": "undecided, corrected (Holm)"}
    return [
        Line2D(
            [], [], marker="o", color=colour, lw=1.1, label=words[name],
            mfc="white" if name == "undecided" else colour,
        )
        for name, colour in COLOURS.items()
    ]  # fmt: skip
