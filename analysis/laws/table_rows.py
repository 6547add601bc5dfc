"""Anyone's table as the rows of ``mugrow.analysis.laws.scaling``: which column is what.

Columns of a study's own ``runs.parquet`` are found by their names; others are named by expressions
(see ``mugrow.analysis.read.expression``). Without a column of methods all rows are one law. Compute
is ``6 n d`` where none is given; it only says which runs are the largest, and which are at one
level.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mugrow.analysis.laws.alike import MEASURED, alike
from mugrow.analysis.laws.rows import RowPolicy, Selection, select
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.read.expression import column
from mugrow.bench.spec import UserError, unknown

FOUND = {"n": "params", "d": "tokens", "loss": "final_val_loss"}
ALL = "all runs"
UNNAMED = "–"


@dataclass(frozen=True)
class Columns:
    """What to read: ``n, d, loss, c, g`` are expressions, ``method`` a column, ``policy`` rows.

    ``baseline`` is the method that others are compared with.
    """

    n: str | None = None
    d: str | None = None
    loss: str | None = None
    c: str | None = None
    g: str | None = None
    method: str | None = None
    baseline: str = BASELINE
    policy: RowPolicy = field(default_factory=RowPolicy)


def table_rows(table: pd.DataFrame, columns: Columns) -> tuple[pd.DataFrame, Selection]:
    """The rows that laws are fitted to (see ``scaling_laws``), and which of the table's they are.

    ``UserError`` where a column is missing, no row is left, or the rows do not belong in one law.
    """
    expressions = {name: _expression(table, columns, name) for name in FOUND}
    given = {name: getattr(columns, name) for name in ("c", "g")}
    expressions |= {name: value for name, value in given.items() if value is not None}
    tells_laws = (columns.method, "parametrization")
    apart = [name for name in tells_laws if name is not None and name in table.columns]
    selection = select(table, expressions, columns.policy, apart=apart)
    rows = pd.DataFrame(
        {
            name: alike(values) if name in MEASURED else values
            for name, values in selection.points.items()
        }
    )
    labels = _labels(table.loc[selection.rows], columns)
    groups = selection.groups
    return rows.assign(
        c=rows["c"] if "c" in rows else 6 * rows["n"] * rows["d"],
        g=rows.get("g", np.nan),
        law=labels,
        variant=labels,
        parametrization="",
        cluster=np.arange(len(rows)) if groups is None else groups,
        scratch=[columns.method is None or label == columns.baseline for label in labels],
    ), selection


def _expression(table: pd.DataFrame, columns: Columns, name: str) -> str:
    given: str | None = getattr(columns, name)
    if given is None and FOUND[name] not in table.columns:
        raise UserError(
            f"--{name} is missing, and the table has no column {FOUND[name]!r}; "
            f"it has: {', '.join(table.columns)}"
        )
    return FOUND[name] if given is None else given


def _labels(table: pd.DataFrame, columns: Columns) -> Sequence[str]:
    if columns.method is None:
        return [ALL] * len(table)
    values = column(table, columns.method)
    labels = [UNNAMED if pd.isna(value) else str(value) for value in values]
    if columns.baseline != BASELINE and columns.baseline not in labels:
        raise unknown("method", columns.baseline, set(labels))
    return labels
