"""A study's figures, saved under ``report/figures`` and as its page shows them.

Each is three files, ``NAME.svg``, ``NAME.png`` and the numbers drawn, ``NAME.csv``; on the page the
SVG is inline and the numbers a link. A figure that a study has no rows for is a reason instead.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
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


Draw = Callable[[str], DrawnFigure]
Shared = Callable[[Sequence[str], Draw], list[DrawnFigure]]  # figures by name, of two processes


def draw_figures(
    entries: Mapping[str, figures.Entry],
    summary: Summary,
    store: Store,
    folder: Path,
    shared: Shared | None = None,
) -> list[DrawnFigure]:
    """Save every figure that the study has the rows for; the others give the reason instead."""

    def draw(name: str) -> DrawnFigure:
        return draw_figure(name, entries[name], summary, store, folder)

    return shared(list(entries), draw) if shared else [draw(name) for name in entries]


def draw_figure(
    name: str, entry: figures.Entry, summary: Summary, store: Store, folder: Path
) -> DrawnFigure:
    """Save a figure, or say why there is none, and leave none of an earlier report."""
    title, caption = entry.words(not imported.is_imported(store))
    how = f'mugrow.draw("{name}", "results/{summary.study}")' if store.study else ""
    shown = DrawnFigure(name, title, caption, entry.section, how=how)
    try:
        svg = style.save(figures.draw(name, summary, store), folder, name)
        says = findings.finding(name, summary, store) or title
        return replace(shown, svg=inline(svg, name, says), says=says, data=data_of(folder, name))
    except UserError as reason:
        for kind in ("svg", "png", "csv"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
        return replace(shown, reason=str(reason))


def told(answer: Any) -> DrawnFigure:
    """A figure that another process has drawn, of its fields."""
    svg = answer["svg"]
    return DrawnFigure(**{**answer, "svg": None if svg is None else Markup(svg)})


def data_of(folder: Path, name: str) -> str:
    """The numbers of a saved figure as a link's address; nothing where it has none, as a map or
    bars, or more than a page should weigh."""
    content = (folder / f"{name}.csv").read_bytes()
    if content.count(b"\n") < 2 or len(content) > CSV_MOST:
        return ""
    return f"data:text/csv;base64,{base64.b64encode(content).decode()}"
