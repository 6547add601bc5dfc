"""Small multiples: a panel for each method, in one order and one scale, so that panels compare.

Each target has rows of its own, and its panels share both axes. Methods are in the order of their
final losses, the lowest first; those of which no run finished have no panel, and of more than
``MOST`` those behind it. A study's figures of this kind have the same method at the same place.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mugrow.analysis.figures import style
from mugrow.analysis.summary import Summary

COLUMNS = 4
MOST = 40  # methods of a target that have a panel
TALLER = 1.3  # by what a panel grows below its curves to hold two lines of text
ROW = 1.3  # inches


@dataclass(frozen=True, eq=False)
class Panel:
    axis: Axes
    target: str
    label: str
    first: bool


def by_final_loss(summary: Summary, labels: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the (target, label) wanted that have a final loss, sorted by it in each target; the
    lowest ``MOST`` of each."""
    finals = [final for final in summary.finals if not math.isnan(final.loss.value)]
    targets = list(dict.fromkeys(final.target for final in finals))
    ordered = sorted(finals, key=lambda final: (targets.index(final.target), final.loss.value))
    pairs = [(final.target, final.label) for final in ordered]
    found = [pair for pair in pairs if pair in labels]
    return [pair for target in targets for pair in [p for p in found if p[0] == target][:MOST]]


def grid(pairs: list[tuple[str, str]], x: str, y: str) -> tuple[Figure, list[Panel]]:
    """A page-wide figure with a panel for each (target, label), and what its axes are called. The
    panels of a target come together, and a range set for its ``first`` is that of all."""
    targets = list(dict.fromkeys(target for target, _ in pairs))
    labels = {target: [label for of, label in pairs if of == target] for target in targets}
    columns = min(COLUMNS, max(map(len, labels.values())))
    rows = sum(-(-len(there) // columns) for there in labels.values())
    figure, axes = style.panels(rows, columns)
    figure.set_figheight(ROW * rows + 1.0)
    panels: list[Panel] = []
    first_row = 0
    for target in targets:
        prefix = f"{target}: " if len(targets) > 1 else ""
        panels += _rows_of(target, labels[target], axes[first_row:], prefix)
        first_row += -(-len(labels[target]) // columns)
    for axis in set(axes.flat) - {panel.axis for panel in panels}:
        axis.remove()
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    return figure, panels


def _rows_of(target: str, labels: list[str], axes: Any, prefix: str) -> Iterator[Panel]:
    """The panels of one target from its first row on, tick labels at the outer ones alone."""
    columns = axes.shape[1]
    for place, label in enumerate(labels):
        axis = axes.flat[place]
        if place:
            axis.sharex(axes.flat[0])
            axis.sharey(axes.flat[0])
        axis.tick_params(
            labelleft=place % columns == 0, labelbottom=place + columns >= len(labels), labelsize=7
        )
        axis.set_title(style.wrapped(prefix + label), fontsize=7)
        yield Panel(axis, target, label, first=place == 0)


def make_taller(axis: Axes) -> None:
    """Have room for notes below the curves."""
    low, high = axis.get_ylim()
    axis.set_ylim(high - (high - low) * TALLER, high)


def note(axis: Axes, text: str) -> None:
    """The panel's numbers, in the corner below falling curves."""
    axis.text(
        0.03, 0.04, text, transform=axis.transAxes, ha="left", va="bottom", fontsize=6.5,
        linespacing=1.25, bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 1},
    )  # fmt: skip


def legend_above(figure: Figure, handles: Sequence[Line2D]) -> None:
    figure.legend(handles=list(handles), loc="outside upper center", ncols=4)
