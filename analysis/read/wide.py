"""Tables with a column a run, ``step, scratch, grown``: what spreadsheets and plots begin with.

Nothing in such a table says that its columns are runs, so it is read as one where nothing else can
be meant: no column has the name asked for as that of runs, and what else is asked for fits, a run
by its column or, of ``scratch/loss``, by what stands before the loss.
"""

import re
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from mugrow.analysis.read.cells import Truths, parse
from mugrow.analysis.read.expression import names_in
from mugrow.analysis.read.table import Table
from mugrow.bench.spec import UserError

OTHERS = ("lr", "learning_rate", "grad_norm", "gradient_norm", "accuracy", "acc", "f1", "mfu",
          "params", "n_params", "width", "depth", "seed", "time", "wall time", "wall_time",
          "walltime", "timestamp", "runtime", "date", "datetime", "created_at")  # fmt: skip
"""Columns that stand beside losses and are the losses of no run."""


def column_a_run(
    table: Table, *, run: str, x: str, loss: str, known: Collection[str], names: Sequence[str] = ()
) -> Table | None:
    """The table with a row a point, columns ``run``, ``loss`` and those of ``x``; None where it is
    no table with a column a run. ``known`` are folded names that no run has, ``names`` runs that
    there must be."""
    columns = list(table.frame.columns)
    if any(_is_named(one, run) for one in columns):
        return None
    try:
        beside = names_in(table.frame, x)
    except UserError:
        if len(names) < len(columns) and set(names) <= set(columns):
            raise UserError(_no_x(table, x)) from None
        return None
    runs = _runs(table, loss, beside, known)
    if len(runs) < 2 or not runs.keys() >= set(names):
        return None
    parts = []
    nan: dict[str, list[Truths]] = {name: [] for name in (loss, *beside)}
    for name, own in runs.items():
        there = _there(table, own)
        part = table.frame.loc[there, beside]
        losses = table.frame.loc[there, own]
        parts.append(pd.concat([part, losses.rename(loss)], axis=1))
        parts[-1].insert(0, run, name)
        for label, column in {loss: own, **{one: one for one in beside}}.items():
            nan[label].append(_said_nan(table, column)[there])
    frame = pd.concat(parts, ignore_index=True)[[run, *beside, loss]]
    note = f"columns {', '.join(map(repr, runs.values()))} are read as runs, of each the loss"
    return Table(
        frame,
        table.name,
        f"{table.kind}, a column a run",
        (*table.notes, note),
        {name: np.concatenate(each) for name, each in nan.items()},
    )


def _no_x(table: Table, x: str) -> str:
    columns = ", ".join(map(str, table.frame.columns))
    return (
        f"{table.name} has a column a run, and of {columns} none is --x {x}: put beside the runs "
        "what was paid, as step, scratch, grown"
    )


def _said_nan(table: Table, column: str) -> Truths:
    return table.nan.get(column, np.zeros(len(table.frame), dtype=bool))


def _there(table: Table, column: str) -> Truths:
    """The rows up to the last that says anything of a run: one may end before others."""
    said = table.frame[column].notna().to_numpy() | _said_nan(table, column)
    last = np.flatnonzero(said)[-1] + 1 if said.any() else 0
    return np.arange(len(said)) < last


def _runs(
    table: Table, loss: str, beside: Collection[str], known: Collection[str]
) -> dict[str, str]:
    """The column of each run: all that are no x and hold numbers; or, where several end in the
    name of the loss, those, by what stands before it."""
    names = [name for name in table.frame.columns if name not in beside]
    ending = {re.sub(r"[/.][^/.]*$", "", name): name for name in names if _ends_in(name, loss)}
    if len(ending) > 1:
        return ending
    if loss in table.frame.columns or ending:
        return {}
    runs = [name for name in names if _folded(name) not in known]
    numbers = all(_is_numbers(table.frame[name]) for name in runs)
    return {name: name for name in runs} if numbers else {}


def _is_named(column: str, name: str) -> bool:
    return _folded(column) == _folded(name.strip("`")) or _ends_in(column, name)


def _ends_in(column: str, name: str) -> bool:
    last = re.search(r"[/.]([^/.]*)$", column)
    return last is not None and _folded(last[1]) == _folded(name.strip("`"))


def _folded(name: str) -> str:
    return name.strip().casefold().removeprefix("_")


def _is_numbers(column: "pd.Series") -> bool:
    return column.dtype.kind in "iuf" or (column.dtype.kind == "O" and parse(column).wrong is None)
