"""What has ended in a pool, in one file: rows and curves of runs whose files are as they were.

A run's own files are the record. Reading ten thousand of them takes a quarter of a minute, at every
start and for every table, so what was read and verified is kept in ``.index`` in the pool: a row of
it is a run's row and curve, with a *signature*, the name, size, times and inode of each file in the
run's folder. A run whose signature has changed is read again, and so is everything where the index
is of another version, or cannot be read: it can be removed at any time.

Several programs may write it; the last one wins, and what it lacks is only read again.
"""

import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.files import write_atomically
from mugrow.bench.record import CURVE_SCHEMA

INDEX = ".index"
COLUMNS = [field for field in CURVE_SCHEMA if field.name != "run_id"]
FORMAT = {b"mugrow.index": repr([*map(str, COLUMNS)]).encode()}
SCHEMA = pa.schema(
    [("run_id", pa.string()), ("signature", pa.string()), ("row", pa.string())]
    + [(field.name, pa.list_(field.type)) for field in COLUMNS],
    metadata=FORMAT,
)

Row = dict[str, Any]


def signature(home: Path) -> str:
    """Of a run's folder: changes whenever one of its files is written, moved or removed."""
    with os.scandir(home) as entries:
        files = sorted((entry.name, entry.stat()) for entry in entries)
    facts = [(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in files]
    return sha256(repr(facts).encode()).hexdigest()[:32]


class Curves:
    """The curves of many runs as one table; ``add`` is cheap, and ``of`` copies once."""

    def __init__(self) -> None:
        self.table = CURVE_SCHEMA.empty_table()
        self.places: dict[str, slice] = {}
        self.new: dict[str, pa.Table] = {}

    def add(self, run_id: str, curve: pa.Table) -> None:
        self.places.pop(run_id, None)
        self.new[run_id] = curve.cast(CURVE_SCHEMA)

    def drop(self, run_id: str) -> None:
        self.places.pop(run_id, None)
        self.new.pop(run_id, None)

    def of(self, run_ids: Iterable[str]) -> pa.Table:
        """The curves of these runs, one after the other. Raises ``KeyError`` for one that is not
        there."""
        self._merge()
        rows = [np.arange(self.places[one].start, self.places[one].stop) for one in run_ids]
        return self.table.take(np.concatenate([np.arange(0), *rows]))

    def _merge(self) -> None:
        if not self.new:
            return
        end = len(self.table)
        for run_id, curve in self.new.items():
            self.places[run_id] = slice(end, end := end + len(curve))
        self.table = pa.concat_tables([self.table, *self.new.values()]).combine_chunks()
        self.new = {}


def read_index(pool: Path) -> tuple[dict[str, tuple[str, Row]], Curves]:
    """The runs of the index, by id: signature and row; and their curves. Nothing where there is no
    index that can be read."""
    curves = Curves()
    try:
        table = pq.read_table(pool / INDEX, page_checksum_verification=True)
        if table.schema.metadata != FORMAT or table.schema.names != SCHEMA.names:
            return {}, curves
        ids, signatures, rows = (table[name].to_pylist() for name in SCHEMA.names[:3])
        known = {
            run_id: (known_as, json.loads(row))
            for run_id, known_as, row in zip(ids, signatures, rows, strict=True)
        }
        table = table.combine_chunks()
        lists = {field.name: _only_chunk(table[field.name], field.type) for field in COLUMNS}
        ends = lists[COLUMNS[0].name].offsets.to_numpy()
        repeated = np.repeat(np.arange(len(ids)), np.diff(ends))
        columns = [pa.array(ids, pa.string()).take(repeated)]
        columns += [lists[field.name].flatten() for field in COLUMNS]
        curves.table = pa.table(columns, schema=CURVE_SCHEMA)
        begins = ends - ends[0]
        curves.places = {
            run_id: slice(int(begin), int(end))
            for run_id, begin, end in zip(ids, begins, begins[1:], strict=False)
        }
    except FileNotFoundError:
        return {}, Curves()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}, Curves()
    return known, curves


def _only_chunk(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ListArray:
    return column.chunk(0) if column.num_chunks else pa.array([], pa.list_(kind))


def write_index(
    pool: Path, rows: Mapping[str, Row], signatures: Mapping[str, str], curves: Curves
) -> None:
    """Write the index of these runs, whole or not at all."""
    ids = [run_id for run_id in rows if run_id in signatures]
    table = curves.of(ids)
    lengths = [curves.places[run_id].stop - curves.places[run_id].start for run_id in ids]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns: list[Any] = [
        ids,
        [signatures[run_id] for run_id in ids],
        [json.dumps(rows[run_id]) for run_id in ids],
    ]
    for field in COLUMNS:
        values = table[field.name].combine_chunks()
        columns.append(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values))
    found = pa.table(columns, schema=SCHEMA)
    write_atomically(
        pool / INDEX,
        lambda path: pq.write_table(found, path, compression="zstd", write_page_checksum=True),
    )
