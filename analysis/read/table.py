"""Anyone's table of runs or of logged points, from one file or several: the one way in.

Nothing is guessed about what columns mean; ``mugrow.analysis.read.expression`` computes with them,
and ``mugrow.analysis.read.runs`` takes runs and their order from them. What was done to a file to
make it a table is said in its notes.
"""

import csv
import lzma
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from mugrow.analysis.read import cells
from mugrow.analysis.read.cells import Truths
from mugrow.analysis.read.columns import Reading, read_columns
from mugrow.analysis.read.dialects import understood
from mugrow.analysis.read.events import is_event_file, read_events
from mugrow.analysis.read.expression import names_in
from mugrow.analysis.read.formats import Raw, read_file, stem
from mugrow.bench.spec import UserError

# what the readers raise on files that are not what they seem; pyarrow's are ValueErrors or OSErrors
UNREADABLE = (
    ValueError, OSError, EOFError, RecursionError, OverflowError, csv.Error, lzma.LZMAError,
    pd.errors.ParserWarning, pa.ArrowException,
)  # fmt: skip
SAY_NOTHING = ("trainer_state", "metrics", "history", "log", "logs", "events", "results", "train",
               "curve", "curves", "progress", "runs", "eval_metrics", "tracker_metrics",
               "wandb-history")  # fmt: skip
"""Names of files that programs give to all of them: the folder tells them apart."""
EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and columns, ``name`` for messages, the ``kind`` of file, and what was done to read it.

    Columns of ``frame`` are named by text, its rows numbered from 0. An empty cell is null in it;
    so is one that says NaN, but ``nan`` marks those, by column. Of a table that ``is_part`` not all
    columns were read.
    """

    frame: pd.DataFrame
    name: str
    kind: str = "data frame"
    notes: tuple[str, ...] = ()
    nan: Mapping[str, Truths] = field(default_factory=dict)
    is_part: bool = False

    def said_nan(self, expression: str) -> Truths:
        """The rows in which a cell that the expression reads says that it is not finite."""
        found = np.zeros(len(self.frame), dtype=bool)
        for name in names_in(self.frame, expression):
            column = self.frame[name]
            if name in self.nan:
                found |= self.nan[name]
            elif column.dtype.kind == "f":
                found |= np.isinf(column.to_numpy())
            elif column.dtype.kind not in "biu":
                found |= cells.parse(column).nan
        return found


def read_table(*paths: str | Path) -> Table:
    """The table in a file, or in several, one below the other; a folder of `mugrow run` is one too.

    CSV, TSV, Parquet, JSON lines or documents, compressed or not, as tools write them (see
    ``mugrow.analysis.read.dialects``). Rows of several files are told apart by ``run``, the file's
    name, or by ``file`` where the files name their runs. Raises ``UserError``, in one line, where
    there is no file, or one is unreadable, empty, or names two columns alike.

    >>> import mugrow, tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("tokens;loss\\n10,000,000;3.5\\n2.5B;NaN\\n"), file.flush()
    ...     table = mugrow.read_table(file.name)
    >>> table.kind, list(table.frame.columns), table.said_nan("loss").tolist()
    ('CSV with semicolons', ['tokens', 'loss'], [False, True])
    """
    files = [Path(path) for path in paths]
    if not files:
        raise UserError("name a table: one file, or several")
    for place, path in enumerate(files):
        if path in files[:place]:
            raise UserError(f"{path} is named twice")
    raws = [_read(path) for path in files]
    if len(files) == 1:
        raw, path = raws[0], files[0]
        return _typed(raw.frame, str(path), raw.kind, list(raw.notes))
    frames = [raw.frame for raw in raws]
    column = "file" if any("run" in frame for frame in frames) else "run"
    for path, name, frame in zip(files, run_names(files), frames, strict=True):
        if column in frame:
            raise UserError(f"{path} has a column {column!r} of its own: read it by itself")
        frame.insert(0, column, name)
        if column == "file" and "run" not in frame:
            frame.insert(1, "run", name)
    whole = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    kinds = list(dict.fromkeys(raw.kind for raw in raws))
    notes = [f"{path.name}: {note}" for path, raw in zip(files, raws, strict=True)
             for note in raw.notes]  # fmt: skip
    notes.append(f"{len(files)} files, told apart by the column {column}")
    name = f"{files[0]} and {len(files) - 1} more"
    return _typed(whole.infer_objects(), name, " and ".join(kinds), notes)


Tables = str | Path | Sequence[str | Path] | pd.DataFrame
"""A file or several, or a data frame."""


def table_in(tables: Tables, reading: Reading | None = None) -> Table:
    """The table in one file or several, as ``read_table`` reads them, or of a data frame. Where
    nothing else is asked of it than ``reading`` says, it may be a part of the table."""
    if isinstance(tables, pd.DataFrame):
        return table_of(tables)
    files = [tables] if isinstance(tables, str | Path) else list(tables)
    if reading is not None and len(files) == 1 and Path(files[0]).is_file():
        path = Path(files[0])
        with suppress(*UNREADABLE):  # what is wrong with it is said where it is read whole
            raw = read_columns(path, reading)
            if raw is not None and not raw.frame.empty:
                return replace(_typed(raw.frame, str(path), raw.kind, []), is_part=True)
    return read_table(*files)


def table_of(frame: pd.DataFrame, name: str = "the data frame") -> Table:
    """A data frame as a table; its rows are numbered from 0 anew."""
    return _typed(frame.reset_index(drop=True), name, "data frame", [])


def run_names(files: Sequence[Path]) -> list[str]:
    """A name for each file: its own, or that of its folder where files are named alike."""
    parents = [path.absolute().parent.name for path in files]
    both = [f"{parent}/{stem(path)}" for parent, path in zip(parents, files, strict=True)]
    own = [stem(path) for path in files]
    says_nothing = all(name.lower() in SAY_NOTHING or is_event_file(path)
                       for name, path in zip(own, files, strict=True))  # fmt: skip
    tried = [parents, both] if says_nothing else [own, parents, both]
    return next((one for one in tried if len(set(one)) == len(one)), [str(one) for one in files])


def _read(path: Path) -> Raw:
    if path.is_dir():
        from mugrow.analysis.read.folders import read_folder

        return read_folder(path)
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    try:
        if is_event_file(path):
            return read_events(path)
        raw = understood(read_file(path), path)
    except UNREADABLE as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if raw.frame.empty:
        raise UserError(f"{path} has no rows")
    return raw


def _typed(frame: pd.DataFrame, name: str, kind: str, notes: list[str]) -> Table:
    """With columns of numbers where every cell is one: texts that are numbers in a column of its
    own stay texts, as they may be names, and are read as numbers where those are asked for."""
    frame = frame.reset_index(drop=True)
    frame.columns = frame.columns.map(str)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise UserError(f"{name} has two columns named {twice[0]!r}")
    if frame.empty:
        raise UserError(f"{name} has no rows")
    nan: dict[str, Truths] = {}
    columns: dict[str, pd.Series] = {}
    for label in frame.columns:
        column = frame[label]
        if column.dtype.kind in "fiu" and column.dtype.kind != "O":
            columns[label] = _plain(column)
            continue
        columns[label] = column
        if column.dtype.kind not in "bmMc" and not _is_categorical(column):
            found = cells.parse(column)
            if found.wrong is None and not found.suffixed and not _are_names(column):
                columns[label] = pd.Series(found.values)
                if comma := _either_comma(column):
                    notes.append(f"column {label!r}: commas group thousands, {comma!r} is "
                                 f"{cells.number(comma):g}; decimals take a point")  # fmt: skip
                if found.nan.any():
                    nan[label] = found.nan
            elif found.wrong is None and found.suffixed:
                notes.append(f"column {label!r}: k, M, B and T multiply by 1e3, 1e6, 1e9 and 1e12")
    return Table(pd.DataFrame(columns, copy=False), name, kind, tuple(notes), nan)


def _plain(column: pd.Series) -> pd.Series:
    """Numbers of pandas' own types, where they may be of its nullable ones or Arrow's."""
    if isinstance(column.dtype, np.dtype):
        return column
    if column.dtype.kind in "iu" and not column.isna().any():
        return column.astype(np.int64)
    return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan))


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _either_comma(column: pd.Series) -> str | None:
    """The first text of a column whose commas may all be decimal as well: 3,037."""
    distinct = column.drop_duplicates()
    texts = [
        cell.strip() for cell in distinct if isinstance(cell, str) and not cells.is_blank(cell)
    ]
    return texts[0] if texts and all(EITHER.fullmatch(one) for one in texts) else None


def _are_names(column: pd.Series) -> bool:
    """Whether texts that look like numbers would not be the same texts again, as 001, or stand in a
    file that marks its numbers, as JSON does."""
    distinct = column.drop_duplicates()
    texts = [cell for cell in distinct if isinstance(cell, str) and not cells.is_blank(cell)]
    if not texts:
        return False
    zeros = any(len(one) > 1 and one[0] == "0" and one.isdigit() for one in texts)
    words = any(one.strip().lower() in cells.NOT_FINITE for one in texts)
    grouped = any("," in one for one in texts)
    return zeros or not (words or grouped or len(texts) < len(distinct))
