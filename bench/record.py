"""What a run leaves behind: Parquet files that are either whole or not there.

A run writes its own record; nobody parses logs. ``runs/<run_id>/curve.parquet`` holds its loss
curve, and its schema metadata holds its row of ``runs.parquet`` as JSON, so one rename commits
both: the file's presence is the proof that the run ended. Collected over a study the rows become
``runs.parquet``, ``curves.parquet`` and ``trials.parquet``, whose columns are declared here and
nowhere else.

``final_val_loss`` is the last point of a run's curve or, where the run asks for one, the mean of
``final_block_losses``: a final evaluation on ``final_val_tokens`` tokens, block by block.

Units: losses in nats per token, ``final_bpb`` in bits per byte, ``flops`` in floating-point
operations from the run's own first step, ``wall_s`` in seconds by the clock: where ``ranks``
processes trained together, each took as long.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.checksums import (
    Damaged,
    check_sum,
    forget_sums,
    read_sums,
    sha256,
    sha256_of_file,
    write_sums,
)
from mugrow.bench.files import check_fence, flush, named, temporary_of, write_bytes
from mugrow.bench.files import write_atomically as write_atomically  # where it was before
from mugrow.bench.spec import IMPORT

STATUSES = ("finished", "diverged", "pruned", "failed")
ROLES = ("proxy", "source", "target", "trunk", "branch")

RUN_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("name", pa.string()),
        ("study", pa.string()),
        ("role", pa.string()),
        ("method", pa.string()),
        ("parametrization", pa.string()),
        ("source_run_id", pa.string()),
        ("width", pa.int64()),
        ("depth", pa.int64()),
        ("params", pa.int64()),
        ("params_non_embedding", pa.int64()),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        ("flops_6nd", pa.float64()),
        ("flops_source", pa.float64()),
        ("flops_tuning", pa.float64()),
        ("lr", pa.float64()),
        ("init_std", pa.float64()),
        ("weight_decay", pa.float64()),
        ("batch_tokens", pa.int64()),
        ("seed", pa.int64()),
        ("status", pa.string()),
        ("final_val_loss", pa.float64()),
        ("final_bpb", pa.float64()),
        ("wall_s", pa.float64()),
        ("tokens_per_s", pa.float64()),
        ("device", pa.string()),
        ("threads", pa.int64()),
        ("corpus", pa.string()),
        ("corpus_sha256", pa.string()),
        ("spec", pa.string()),
        ("versions", pa.string()),
        ("reason", pa.string()),
        ("arm", pa.string()),
        ("factors", pa.string()),  # JSON: by name, what an arm varies
        ("final_val_tokens", pa.int64()),  # null where the last point of the curve is all there is
        ("final_block_losses", pa.list_(pa.float64())),
        ("ranks", pa.int64()),  # processes that trained it together, at its end
        ("compile", pa.string()),  # on or off, and why it is off where it was asked for
    ]
)
CURVE_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        ("lr", pa.float64()),
        ("train_loss", pa.float64()),
        ("val_loss", pa.float64()),
        ("grad_norm", pa.float64()),
        ("asymmetry", pa.float64()),
        ("val_loss_averaged", pa.float64()),
    ]
)
# columns that an older table, or a smaller one, lacks: null there
LATER = {
    *("asymmetry", "arm", "factors", "grad_norm", "val_loss_averaged"),
    *("final_val_tokens", "final_block_losses", "compile", "ranks", "modules"),
}
TRIAL_SCHEMA = pa.schema(
    [
        ("study", pa.string()),
        ("sweep", pa.string()),
        ("parametrization", pa.string()),
        ("width", pa.int64()),
        ("depth", pa.int64()),
        ("sampler", pa.string()),
        ("number", pa.int64()),
        ("generation", pa.int64()),
        ("state", pa.string()),
        ("lr", pa.float64()),
        ("init_std", pa.float64()),
        ("modules", pa.string()),  # JSON: by name, multipliers, where they are searched
        ("value", pa.float64()),
        ("flops", pa.float64()),
        ("run_ids", pa.list_(pa.string())),
    ]
)
EVALUATION_SCHEMA = pa.schema(
    [
        ("evaluation_id", pa.string()),
        ("arm", pa.string()),
        ("how", pa.string()),
        ("params", pa.string()),
        ("run_ids", pa.list_(pa.string())),
        ("seed", pa.int64()),
        ("corpus", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
    ]
)
ROW_KEY = b"mugrow.run"
CURVE = "curve.parquet"
ABOVE_ZERO = ("width", "depth", "params", "lr", "init_std", "batch_tokens")
COUNTS = ("tokens", "flops", "flops_6nd")  # 0 where there was no step


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, whole or not at all."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """A value as indented JSON with sorted keys."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; a key the schema lacks is an error, a missing one is null."""
    rows = list(rows)
    for row in rows:
        assert row.keys() <= set(schema.names), row.keys() - set(schema.names)
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the content of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as one Parquet file."""
    write_bytes(path, parquet_bytes(table_of(rows, schema)))


def write_tables(folder: Path, tables: Mapping[str, pa.Table], others: Iterable[str] = ()) -> None:
    """Replace tables of a study's folder, by file name, in this order, and then its checksums,
    which are of ``others`` beside them too, where they are there.

    All are written before the first is renamed, so that a full disk leaves the old ones. Who reads
    meanwhile finds either the old checksums, or none, or the new ones.
    """
    contents = {name: parquet_bytes(table) for name, table in tables.items()}
    known = read_sums(folder) or {}
    kept = {name: known[name] for name in known if name not in contents}
    with ExitStack() as stack:
        for name, content in contents.items():
            path, temporary = folder / name, temporary_of(folder / name)
            stack.callback(temporary.unlink, missing_ok=True)
            with named(path):
                temporary.write_bytes(content)
                flush(temporary)
        forget_sums(folder)
        for name in contents:
            check_fence()
            os.replace(temporary_of(folder / name), folder / name)
    fresh = {name: sha256_of_file(folder / name) for name in others if (folder / name).is_file()}
    write_sums(folder, kept | fresh | {name: sha256(content) for name, content in contents.items()})


def write_run(
    folder: Path,
    row: Mapping[str, Any],
    curve: list[dict[str, Any]],
    sums: Mapping[str, str] | None = None,
) -> None:
    """Commit an ended run: its curve, with its row of ``runs.parquet`` in the metadata, after the
    checksums of it and of the files beside it, whose ``sums`` are given by name."""
    schema = CURVE_SCHEMA.with_metadata({ROW_KEY: json.dumps(dict(row))})
    content = parquet_bytes(table_of(curve, schema))
    write_sums(folder, {**(sums or {}), CURVE: sha256(content)})
    write_bytes(folder / CURVE, content)


def read_run(folder: Path) -> tuple[dict[str, Any], pa.Table] | None:
    """The row and curve of an ended run, or ``None`` when it has not ended; the folder has the
    run's id as its name.

    Raises ``Damaged`` for a file that is not the one its checksum is of, not whole, not of this
    run, or has a value that no run has; and ``OSError`` where it cannot be read.
    """
    path = folder / CURVE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    check_sum(path, sha256(content), read_sums(folder))
    try:
        table = pq.read_table(pa.BufferReader(content))
        row = json.loads((table.schema.metadata or {})[ROW_KEY])
        table = completed(table, CURVE_SCHEMA)
        reason = _wrong(row, table, folder.name)
    except MemoryError:
        raise
    except Exception as error:  # pyarrow has many errors for one truncated file
        raise Damaged(path, f"{type(error).__name__}: {error}") from error
    if reason:
        raise Damaged(path, reason)
    return row, table


def _wrong(row: Mapping[str, Any], table: pa.Table, run_id: str) -> str | None:
    """Why a record cannot be that of this run."""
    ids = {row["run_id"], *table["run_id"].to_pylist()}
    if ids != {run_id}:
        return f"it is of run {', '.join(sorted(map(str, ids - {run_id})))}"
    return wrong_value(row)


def wrong_value(row: Mapping[str, Any]) -> str | None:
    """What is wrong with the values of a run's row, or ``None``: readable and yet such as no run
    has. Columns that a row lacks are not looked at."""
    if row["status"] not in STATUSES:
        return f"status is {row['status']!r}, none of {', '.join(STATUSES)}"
    for name in ABOVE_ZERO:
        if name in row and not _is_number(row[name], above_zero=True):
            return f"{name} is {row[name]!r}, not a number above 0"
    trained = row["status"] == "finished" and row.get("method") != IMPORT
    for name in COUNTS:
        if name in row and not _is_number(row[name], above_zero=trained):
            return f"{name} is {row[name]!r}, of a run that {row['status']}"
    if row["status"] == "finished" and not _is_number(row["final_val_loss"], above_zero=False):
        return f"final_val_loss is {row['final_val_loss']!r}, of a run that finished"
    try:
        whole = isinstance(json.loads(row["spec"]), dict) if "spec" in row else True
    except (TypeError, ValueError):
        whole = False
    return None if whole else f"spec is not JSON: {str(row['spec'])[:40]!r}"


def _is_number(value: object, *, above_zero: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value > 0 if above_zero else value >= 0


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with those columns of the schema, as nulls at its end, that are younger than it."""
    for field in schema:
        if field.name in LATER and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def set_aside(path: Path) -> Path:
    """Rename a damaged file out of the way, keeping it for inspection; returns its new name."""
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    check_fence()
    os.replace(path, aside)
    return aside
