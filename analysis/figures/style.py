"""One look for every figure: colours and markers by name, text sizes, and stable bytes.

A growth method has the same colour and marker in every figure of every study: a reader learns it
once. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which the colour-blind tell
apart; markers do in grey. Widths take even steps of a map that darkens monotonically.

Figures are ``matplotlib.figure.Figure`` objects, drawn by Agg or the SVG writer: nothing touches
pyplot, so drawing one figure cannot change another. SVG text is drawn as paths, which look the same
where the font is missing.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis.report.format import si
from bench.record import write_atomically

RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "savefig.facecolor": "white",
}
WIDE = 7.2  # inches: a page of text
PANEL = 2.9  # inches: the height of a panel
GREY = "#666666"
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("P", "<", "X", ">", "h", "p", "d", "8")
DASHES = ("--", ":", "-.")


Shape = tuple[int, int]  # width, depth


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    line: str = "-"


METHODS = {
    "scratch": Look("#000000", "o"),
    "szp": Look("#0072B2", "s"),
    "hypercloning": Look("#D55E00", "^"),
    "zero_pad": Look("#009E73", "D"),
    "stack": Look("#CC79A7", "v"),
}


def look(label: str) -> Look:
    """The look of a method by its label; a variant, ``szp(shrink=0.2)``, keeps its method's colour.

    A name not in the table hashes to a look, so which other methods a study has cannot change it.
    """
    method, _, variant = label.partition("(")
    known = METHODS.get(method)
    if known is None:
        name = zlib.crc32(method.encode())
        known = Look(OKABE_ITO[name % len(OKABE_ITO)], MARKERS[name % len(MARKERS)], "--")
    if not variant:
        return known
    seed = zlib.crc32(variant.encode())
    return Look(known.colour, MARKERS[seed % len(MARKERS)], DASHES[seed % len(DASHES)])


def shades(shapes: Iterable[Shape]) -> dict[Shape, Any]:
    """A colour for each shape, dark for the largest; not the pale end, which is lost on white."""
    ordered = sorted(set(shapes))
    colours = mpl.colormaps["viridis"](np.linspace(0.75, 0.0, max(len(ordered), 2)))
    return dict(zip(ordered, map(tuple, colours), strict=False))


@contextmanager
def applied() -> Iterator[None]:
    with mpl.rc_context(RC):
        yield


def panels(rows: int, columns: int, **keywords: Any) -> tuple[Figure, Any]:
    """A page-wide figure of ``rows x columns`` panels; axes as an array of that shape."""
    figure = Figure(figsize=(WIDE, PANEL * rows + 0.2), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def mark_minimum(axes: Axes, x: float, y: float, colour: Any) -> None:
    axes.plot(
        [x], [y], marker="*", ms=13, mfc=colour, mec="white", mew=0.8, ls="none", zorder=5,
        label="_minimum",
    )  # fmt: skip


def handle(label: str, text: str | None = None) -> Line2D:
    """The legend's entry for a method, under its label unless ``text`` says more."""
    mine = look(label)
    return Line2D([], [], color=mine.colour, marker=mine.marker, ls=mine.line, label=text or label)


def flops_axis(axis: Axis) -> None:
    """SI prefixes on the ticks, at 1, 2 and 5 of each decade where the axis is logarithmic."""
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: si(value, "")))


def legend_below(figure: Figure, handles: Sequence[Any], columns: int = 4) -> None:
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def svg_bytes(figure: Figure, name: str) -> bytes:
    """The figure as SVG; the same bytes each time. Ids are salted by ``name``."""
    buffer = io.BytesIO()
    none = {"Creator": None, "Date": None, "Format": None, "Type": None}
    with mpl.rc_context(RC | {"svg.hashsalt": f"mugrow-{name}"}):
        figure.savefig(buffer, format="svg", metadata=none)
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context(RC):
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write ``name.svg`` and ``name.png`` into ``folder``; returns the SVG."""
    svg = svg_bytes(figure, name)
    write_atomically(folder / f"{name}.svg", lambda path: path.write_bytes(svg))
    write_atomically(folder / f"{name}.png", lambda path: path.write_bytes(png_bytes(figure)))
    return svg
