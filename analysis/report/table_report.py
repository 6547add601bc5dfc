"""The scaling laws of anyone's table of runs, as a page.

The same laws, figures, tables and macros as in a study's report, made from rows alone. What needs
loss curves, such as savings, is not in it.
"""

from pathlib import Path

import pandas as pd

from mugrow.analysis import figures
from mugrow.analysis.laws.rows import Selection
from mugrow.analysis.laws.scaling import FORMS, scaling_laws
from mugrow.analysis.laws.table_rows import Columns, table_rows
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store
from mugrow.analysis.read.table import read_table
from mugrow.analysis.report import build, latex, laws, page
from mugrow.analysis.report.claims import MOST_LINES
from mugrow.analysis.report.drawn import draw_figures
from mugrow.analysis.summary import of_laws
from mugrow.bench.record import write_json

QUESTION = "Which scaling law do these runs follow, what does it decide, and how far to trust it?"
NO_STORE = Store(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})


def build_table(
    table: Path,
    folder: Path,
    columns: Columns,
    *,
    forms: tuple[str, ...] = FORMS,
    resamples: int | None = None,
) -> Path:
    """Write the report of ``table`` into ``folder``; returns the path of its HTML page.

    ``laws.json`` beside it has every number. ``resamples`` are those of ``scaling_laws``. Raises
    ``UserError`` before anything is written where the table or its columns cannot be used.
    """
    read = read_table(table)
    rows, selection = table_rows(read.frame, columns)
    found = scaling_laws(rows, forms, resamples)
    write_json(folder / "laws.json", to_json(found))
    entries = {key: one for key, one in figures.FIGURES.items() if one.section == figures.LAWS}
    drawn = draw_figures(entries, of_laws(found), NO_STORE, folder / "figures")
    listed = laws.tables(found)
    build.write_tables(listed, folder / "tables")
    macros = latex.commands(table.stem, list(laws.numbers(table.stem, found)))
    build.write_text(folder / "macros.tex", macros)
    text = page.rendered(
        "table.html.j2",
        title=f"Scaling laws of {table.name}",
        question=QUESTION,
        answers=laws.answers(found),
        most=MOST_LINES,
        notes=[*(f"{note}." for note in read.notes), *notes(selection, columns)],
        laws=build.scaling(found, drawn, listed),
        circumstances=circumstances(table, columns, forms),
    )
    written = folder / "index.html"
    build.write_text(written, text)
    return written


def notes(selection: Selection, columns: Columns) -> list[str]:
    """Rows left out, with the reason, and what makes those kept worse models than they could be."""
    said = [f"Left out {count} rows: {why}." for why, count in selection.reasons().items()]
    if selection.undecayed:
        said.append(
            f"{selection.undecayed} rows are undecayed: their learning rate was still high."
        )
    if columns.policy.run is None and columns.policy.group is None:
        said.append(
            "Every row counts as a run of its own; where rows are not independent, as checkpoints "
            "of a run are not, the intervals are too narrow."
        )
    return said


def circumstances(table: Path, columns: Columns, forms: tuple[str, ...]) -> dict[str, str]:
    asked = {"N": columns.n, "D": columns.d, "loss": columns.loss, "compute": columns.c,
             "growth factor": columns.g, "method": columns.method,
             "rows": columns.policy.where, "run": columns.policy.run,
             "group": columns.policy.group}  # fmt: skip
    given = {name: value for name, value in asked.items() if value is not None}
    return {"table": table.name} | given | {"forms compared": ", ".join(forms)}
