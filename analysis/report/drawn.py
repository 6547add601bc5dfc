"""A study's figures, saved under ``report/figures`` and as its page shows them.

Each is three files, ``NAME.svg``, ``NAME.png`` and the numbers drawn, ``NAME.csv``; on the page the
SVG is inline and the numbers a link. A figure that a study has no rows for is a reason instead.
"""

import base64
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mugrow.analysis import figures
from mugrow.analysis.figures import style
from mugrow.analysis.read.store import Store
from mugrow.analysis.report import findings, imported
from mugrow.analysis.report.inline_svg import inline
from mugrow.analysis.summary import Summary
from mugrow.bench.spec import UserError

CSV_MOST = 40_000  # bytes of a figure's numbers that a page brings along


@dataclass(frozen=True)
class DrawnFigure:
    """A figure as the page shows it: ``svg`` inline, or the ``reason`` why there is none; what it
    ``says`` to who cannot see it, ``how`` it is drawn in Python, and its ``data`` as the address of
    a file that the page holds."""

    name: str
    title: str
    caption: str
    section: str
    svg: Markup | None = None
    reason: str | None = None
    says: str = ""
    how: str = ""
    data: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure before it is saved: what the page shows of it, and its files by suffix; none where
    it has no rows."""

    shown: DrawnFigure
    files: Mapping[str, bytes]


Draw = Callable[[str], DrawnFigure]
Shared = Callable[[Draw], list[DrawnFigure]]  # all figures, drawn by two processes


def draw_figures(
    entries: Mapping[str, figures.Entry],
    summary: Summary,
    store: Store,
    folder: Path,
    shared: Shared | None = None,
) -> list[DrawnFigure]:
    """Save every figure that the study has the rows for; the others give the reason instead."""

    def draw(name: str) -> DrawnFigure:
        return save(drawing(name, entries[name], summary, store), folder)

    with uncollected():
        return shared(draw) if shared else [draw(name) for name in entries]


def drawing(name: str, entry: figures.Entry, summary: Summary, store: Store) -> Drawing:
    """Draw a figure, or say why there is none."""
    title, caption = entry.words(not imported.is_imported(store))
    how = f'mugrow.draw("{name}", "results/{summary.study}")' if store.study else ""
    shown = DrawnFigure(name, title, caption, entry.section, how=how)
    try:
        files = style.files(figures.draw(name, summary, store), name)
        says = findings.finding(name, summary, store) or title
        svg, data = inline(files["svg"], name, says), data_of(files["csv"])
        return Drawing(replace(shown, svg=svg, says=says, data=data), files)
    except UserError as reason:
        return Drawing(replace(shown, reason=str(reason)), {})


def save(drawn: Drawing, folder: Path) -> DrawnFigure:
    """Write a figure's files, and leave none of an earlier report where it has none."""
    name = drawn.shown.name
    style.write(drawn.files, folder, name)
    for suffix in {"svg", "png", "csv"} - drawn.files.keys():
        (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return drawn.shown


@contextmanager
def uncollected() -> Iterator[None]:
    """Garbage in cycles, of which a figure is full, is left until all are drawn: to look for it in
    between takes a tenth of the time, and finds tens of megabytes."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def told(answer: Any) -> DrawnFigure:
    """A figure that another process has drawn, of its fields."""
    svg = answer["svg"]
    return DrawnFigure(**{**answer, "svg": None if svg is None else Markup(svg)})


def data_of(csv: bytes) -> str:
    """The numbers of a figure as a link's address; nothing where it has none, as a map or bars, or
    more than a page should weigh."""
    if csv.count(b"\n") < 2 or len(csv) > CSV_MOST:
        return ""
    return f"data:text/csv;base64,{base64.b64encode(csv).decode()}"
