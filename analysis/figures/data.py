"""The numbers of a figure as a table: what was drawn is what is given.

They are read from the figure itself, so that no figure can show other numbers than its table has. A
row is a point: the panel, the line it is of, x and y. A line is called what the legend calls a line
of its look, or of its colour where that is one line's alone; or by its own label.
"""

import csv
import io
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLUMNS = ("panel", "line", "x", "y")
HELPERS = ("_minimum", "_one", "_final")  # marks on a panel that are no data


def csv_of(figure: Figure) -> str:
    """All points of all lines, as CSV with a header; nothing but that where there is no line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_points(figure))
    return text.getvalue()


def _points(figure: Figure) -> Iterator[tuple[str, str, str, str]]:
    named = _legend(figure)
    for place, axes in enumerate(figure.axes, 1):
        panel = axes.get_title() or axes.get_ylabel() or f"panel {place}"
        for line in axes.get_lines():
            if _is_data(line, axes):
                name = _name(line, named)
                for x, y in zip(*map(np.atleast_1d, line.get_data(orig=True)), strict=True):
                    yield panel, name, _number(x), _number(y)


def _is_data(line: Line2D, axes: Axes) -> bool:
    return line.get_transform() == axes.transData and str(line.get_label()) not in HELPERS


def _legend(figure: Figure) -> dict[tuple[str, str, str], str]:
    """The legend's texts by the look of their lines: colour, marker, dash."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    legends += [one for part in figure.subfigs for one in part.legends]
    entries = [
        (_look(handle), str(text.get_text()))
        for legend in legends
        if legend is not None
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)
        if isinstance(handle, Line2D)
    ]
    colours = [colour for (colour, _, _), _ in entries]
    alone = {(look[0], "", ""): text for look, text in entries if colours.count(look[0]) == 1}
    return alone | dict(entries)


def _look(line: Line2D) -> tuple[str, str, str]:
    return to_hex(line.get_color()), str(line.get_marker()), str(line.get_linestyle())


def _name(line: Line2D, named: dict[tuple[str, str, str], str]) -> str:
    label = str(line.get_label())
    if not label.startswith("_"):
        return label
    own = "" if label.startswith("_child") else label[1:]
    look = _look(line)
    return named.get(look) or named.get((look[0], "", "")) or own


def _number(value: object) -> str:
    return f"{value:.8g}" if isinstance(value, int | float | np.number) else str(value)
