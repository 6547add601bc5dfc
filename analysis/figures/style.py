"""One look for every figure: colours and markers by name, text sizes, and stable bytes.

A growth method has the same colour and marker in every figure of every study: a reader learns it
once. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which the colour-blind tell
apart; markers do in grey. Widths take even steps of a map that darkens monotonically.

Figures are ``matplotlib.figure.Figure`` objects, drawn by Agg or the SVG writer: nothing touches
pyplot, so drawing one figure cannot change another. SVG text is drawn as paths, which look the same
where the font is missing.
"""

import io
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from PIL import Image

from mugrow.analysis.figures.data import csv_of
from mugrow.analysis.words import si
from mugrow.bench.files import write_bytes

RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titley": 1.0,  # nothing of ours stands above panels, so it need not be looked for
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
DPI = 200  # of a PNG
WIDE = 7.2  # inches: a page of text
PANEL = 2.9  # inches: the height of a panel
GREY = "#666666"
FAINT = "#c4c4c4"  # methods that a crowded panel does not tell apart
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("P", "<", "X", ">", "h", "p", "d", "8")
DASHES = ("--", ":", "-.")
LONGEST = 60  # letters of a word in a label


Shape = tuple[int, int]  # width, depth


@dataclass(frozen=True)
class LineStyle:
    colour: str
    marker: str
    line: str = "-"

    @property
    def keywords(self) -> dict[str, Any]:
        """As ``Axes.plot`` takes it."""
        return {"color": self.colour, "marker": self.marker, "ls": self.line}


METHODS = {  # no two share both colour and marker
    "scratch": LineStyle("#000000", "o"),
    "szp": LineStyle("#0072B2", "s"),
    "hypercloning": LineStyle("#D55E00", "^"),
    "zero_pad": LineStyle("#009E73", "D"),
    "stack": LineStyle("#CC79A7", "v"),
    "mup_upscale": LineStyle("#E69F00", "P"),
    "net2net": LineStyle("#56B4E9", "X"),
    "bert2bert": LineStyle("#0072B2", "<"),
    "lemon": LineStyle("#D55E00", ">"),
    "staged": LineStyle("#009E73", "p"),
    "sparkling": LineStyle("#CC79A7", "h"),
    "composable": LineStyle("#E69F00", "d"),
    "interleave": LineStyle("#56B4E9", "v"),
    "gradual_stack": LineStyle("#0072B2", "d"),
    "llama_pro": LineStyle("#D55E00", "s"),
    "ligo": LineStyle("#009E73", "^"),
    "msg": LineStyle("#CC79A7", "D"),
    "majority_kernels": LineStyle("#E69F00", "8"),
    "inheritune": LineStyle("#56B4E9", "h"),
    "prune": LineStyle("#0072B2", "X"),
    "continue": LineStyle("#009E73", ">"),
}


def line_style(label: str) -> LineStyle:
    """The look of a method by its label; a variant, ``szp(shrink=0.2)``, keeps its method's colour.

    A name not in the table hashes to a look, so which other methods a study has cannot change it.
    """
    method, _, variant = label.partition("(")
    known = METHODS.get(method)
    if known is None:
        name = zlib.crc32(method.encode())
        known = LineStyle(OKABE_ITO[name % len(OKABE_ITO)], MARKERS[name % len(MARKERS)], "--")
    if not variant:
        return known
    seed = zlib.crc32(variant.encode())
    return LineStyle(known.colour, MARKERS[seed % len(MARKERS)], DASHES[seed % len(DASHES)])


def distinct(labels: Sequence[str]) -> dict[str, LineStyle]:
    """A look for each label, in their order: all differ up to 24 labels."""
    return {
        label: LineStyle(OKABE_ITO[index % len(OKABE_ITO)], MARKERS[index % len(MARKERS)])
        for index, label in enumerate(labels)
    }


def shaded(labels: Sequence[str]) -> dict[str, LineStyle]:
    """A look for each label, of values of one quantity: the later, the darker."""
    colours = shades((place, 0) for place in range(len(labels)))
    return {
        label: LineStyle(colours[place, 0], MARKERS[place]) for place, label in enumerate(labels)
    }


def plain(text: str) -> str:
    """Text from a file as matplotlib shows it as it is: no formula, and no label it would skip."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def wrapped(label: str, width: int = 30) -> str:
    """A label on as many lines as it needs, broken where its parameters are."""
    return textwrap.fill(short(label), width, break_long_words=False, break_on_hyphens=False)


def short(label: str) -> str:
    """A label with no word longer than a legend has room for: its middle is left out."""
    words = (
        f"{word[: LONGEST // 2]}…{word[-LONGEST // 3 :]}" if len(word) > LONGEST else word
        for word in label.split(" ")
    )
    return " ".join(words)


def shades(shapes: Iterable[Shape]) -> dict[Shape, Any]:
    """A colour for each shape, dark for the largest; not the pale end, which is lost on white."""
    ordered = sorted(set(shapes))
    colours = mpl.colormaps["viridis"](np.linspace(0.75, 0.0, max(len(ordered), 2)))
    return dict(zip(ordered, map(tuple, colours), strict=False))


@contextmanager
def applied() -> Iterator[None]:
    with mpl.rc_context(RC):
        yield


def drawn(make: Callable[[], Figure]) -> Figure:
    """The figure that ``make`` draws, in the house style, laid out once and for all: constrained
    layout refines the layout at every rendering, so a second file would differ from the first. With
    no engine left a file takes one rendering; with the placeholder ``"none"`` it would take two."""
    with applied():
        figure = make()
        if figure.axes and (engine := figure.get_layout_engine()):
            engine.execute(figure)
        figure.set_layout_engine(None)
    return figure


def panels(rows: int, columns: int, **keywords: Any) -> tuple[Figure, Any]:
    """A page-wide figure of ``rows x columns`` panels; axes as an array of that shape."""
    figure = Figure(figsize=(WIDE, PANEL * rows + 0.2), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def mark_minimum(axes: Axes, x: float, y: float, colour: Any) -> None:
    axes.plot(
        [x], [y], marker="*", ms=13, mfc=colour, mec="white", mew=0.8, ls="none", zorder=5,
        label="_minimum",
    )  # fmt: skip


def handle(label: str, text: str | None = None, mine: LineStyle | None = None) -> Line2D:
    """The legend's entry for a method, under its label unless ``text`` says more."""
    mine = mine or line_style(label)
    text = short(text or label)
    return Line2D([], [], color=mine.colour, marker=mine.marker, ls=mine.line, label=text)


def handles(line_styles: Mapping[str, LineStyle]) -> list[Line2D]:
    """The legend's entries for these looks, by label."""
    return [handle(label, mine=line_style) for label, line_style in line_styles.items()]


def flops_axis(axis: Axis, subs: Sequence[float] = (1, 2, 5)) -> None:
    """SI prefixes on the ticks, at ``subs`` of each decade where the axis is logarithmic."""
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: si(value, "")))


def legend_below(figure: Figure, handles: Sequence[Any], columns: int = 4) -> None:
    """A legend under the panels, for which a figure has room for two lines and grows for more. It
    has fewer ``columns`` where labels are long."""
    if handles:
        columns = _columns((handle.get_label() for handle in handles), columns)
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)
        more = -(-len(handles) // columns) - 2
        figure.set_figheight(figure.get_figheight() + 0.17 * max(0, more))


def _columns(labels: Iterable[str], most: int) -> int:
    """How many columns of a page-wide legend have room for the longest of the labels."""
    return max(1, min(most, int(WIDE / (0.5 + 0.07 * max(map(len, labels))))))


def svg_bytes(figure: Figure, name: str) -> bytes:
    """The figure as SVG; the same bytes each time. Ids are salted by ``name``."""
    buffer = io.BytesIO()
    none = {"Creator": None, "Date": None, "Format": None, "Type": None}
    with mpl.rc_context(RC | {"svg.hashsalt": f"mugrow-{name}"}):
        figure.savefig(buffer, format="svg", metadata=none)
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG; the same bytes each time. Its ground is white, so that it needs no fourth
    channel: without one it is smaller at less compression, in two thirds of the time."""
    pixels, buffer = io.BytesIO(), io.BytesIO()
    with mpl.rc_context(RC):
        figure.savefig(pixels, format="rgba", dpi=DPI)
    width = round(DPI * figure.get_figwidth())
    height, rest = divmod(pixels.tell(), 4 * width)
    assert not rest, (width, pixels.tell())
    image = Image.frombytes("RGBA", (width, height), pixels.getvalue()).convert("RGB")
    image.save(buffer, format="png", dpi=(DPI, DPI), compress_level=3)
    return buffer.getvalue()


def pdf_bytes(figure: Figure) -> bytes:
    """The figure as PDF, its text as text; the same bytes each time."""
    buffer = io.BytesIO()
    none = {"Creator": None, "Producer": None, "CreationDate": None}
    with mpl.rc_context(RC | {"pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", metadata=none)
    return buffer.getvalue()


def files(figure: Figure, name: str) -> dict[str, bytes]:
    """The files of a figure by suffix: ``svg``, ``png`` and the numbers drawn, ``csv``. An axis
    without a label has no place for one from then on: it is looked for at every rendering."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)
    svg, png, csv = svg_bytes(figure, name), png_bytes(figure), csv_of(figure).encode()
    return {"svg": svg, "png": png, "csv": csv}


def write(made: Mapping[str, bytes], folder: Path, name: str) -> None:
    """Write the files of a figure into ``folder``."""
    for suffix, content in made.items():
        write_bytes(folder / f"{name}.{suffix}", content)


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write ``name.svg``, ``name.png`` and the numbers drawn, ``name.csv``, into ``folder``;
    returns the SVG."""
    made = files(figure, name)
    write(made, folder, name)
    return made["svg"]
