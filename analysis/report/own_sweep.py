"""A sweep of one's own, as a page: verdicts, figures and tables of ``transfer.own_sweep``.

They are those of a study's section on transfer, made from rows alone.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from mugrow.analysis import figures
from mugrow.analysis.figures import lr_sweeps, style
from mugrow.analysis.figures import transfer as drawings
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.report import build, findings, page, transfer
from mugrow.analysis.report.drawn import DrawnFigure
from mugrow.analysis.report.inline_svg import inline
from mugrow.analysis.transfer.own_sweep import OwnTransfer, SweepColumns
from mugrow.analysis.transfer.results import TransferResults
from mugrow.bench.record import write_json
from mugrow.bench.spec import UserError

QUESTION = "Is the best learning rate of the small models that of the large ones?"
OF_STUDIES = ("width", "depth", "init_std", "run_flops", "search_flops", "operator_settings")


def drawn(found: TransferResults) -> dict[str, Callable[[TransferResults], Figure]]:
    """The figures of a table's ladders, which are all along one size."""
    axis = found.ladders[0].axis if found.ladders else "size"
    others = {name: drawings.BY_NAME[name] for name in ("optima", "regret", "tolerance")}
    return {"transfer": lr_sweeps.along(axis), **others}


def as_json(found: OwnTransfer) -> object:
    """Every number, without what only a study's runs have."""
    plain = to_json(found)
    for rows in (plain["sweeps"], *(ladder["rungs"] for ladder in plain["ladders"])):
        for row in rows:
            for name in OF_STUDIES:
                row.pop(name, None)
    plain.pop("operator_settings")
    return plain


def build_sweep(found: OwnTransfer, table: str, columns: SweepColumns, folder: Path) -> Path:
    """Write the report of a table's sweep into ``folder``; returns its HTML page. ``transfer.json``
    beside it has every number."""
    write_json(folder / "transfer.json", as_json(found))
    shown = [_figure(name, draw, found, folder / "figures") for name, draw in drawn(found).items()]
    listed = transfer.tables(found)
    build.write_tables(listed, folder / "tables")
    asked = {"table": table, **{name: value for name, value in vars(columns).items() if value}}
    text = page.rendered(
        "sweep.html.j2",
        title=f"Transfer of the learning rate in {table}",
        question=QUESTION,
        notes=found.notes,
        transfer=build.moving(found, shown, listed),
        circumstances=asked | {"by": ", ".join(columns.by)} if columns.by else asked,
    )
    written = folder / "index.html"
    build.write_text(written, text)
    return written


def _figure(
    name: str, draw: Callable[[TransferResults], Figure], found: OwnTransfer, folder: Path
) -> DrawnFigure:
    entry = figures.FIGURES[name]
    title = (
        f"Loss against learning rate along {found.ladders[0].axis}"
        if (name == "transfer" and found.ladders)
        else entry.title
    )
    shown = DrawnFigure(name, title, entry.caption, figures.TRANSFER)
    try:
        svg = style.save(style.drawn(lambda: draw(found)), folder, name)
    except UserError as reason:
        return replace(shown, reason=str(reason))
    says = findings.of_transfer(name, found) or title
    return replace(shown, svg=inline(svg, name, says), says=says)
