"""Anyone's table of runs or of logged points: CSV, Parquet or JSON lines, read as it is.

Nothing is guessed about what columns mean; ``mugrow.analysis.read.expression`` computes with them.
"""

import csv
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from mugrow.bench.spec import UserError

# what the readers raise on files that are not what their suffix says; pyarrow's are ValueErrors
UNREADABLE = (ValueError, OSError, RecursionError, csv.Error, pd.errors.ParserWarning)


def read_table(path: Path) -> pd.DataFrame:
    """The table at a path, by its suffix; columns are named by text, rows numbered from 0.

    ``UserError`` where there is none, or it is unreadable, empty, or names two columns alike.
    """
    if path.suffix not in READERS:
        raise UserError(f"cannot read {path}: a table is one of {', '.join(READERS)}")
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    try:
        table = READERS[path.suffix](path)
    except UNREADABLE as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    table.columns = table.columns.map(str)
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise UserError(f"{path} has two columns named {twice[0]!r}")
    if table.empty:
        raise UserError(f"{path} has no rows")
    return table.reset_index(drop=True)


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(newline="", encoding="utf-8-sig") as file:
        names = next(csv.reader(file), [])
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than its header
        table = pd.read_csv(path, encoding="utf-8-sig", low_memory=False, index_col=False)
    if len(table.columns) != len(names):
        raise ValueError(f"its rows do not fit its header of {len(names)} columns")
    table.columns = pd.Index(names)  # pandas renames the second of two equal names
    return table


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            rows.append(row)
    return pd.DataFrame(rows)


READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
}
