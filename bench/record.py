"""What a run leaves behind: Parquet files that are either whole or not there.

A run writes its own record; nobody parses logs. ``runs/<run_id>/curve.parquet`` holds its loss
curve, and its schema metadata holds its row of ``runs.parquet`` as JSON, so one rename commits
both: the file's presence is the proof that the run ended. Collected over a study the rows become
``runs.parquet``, ``curves.parquet`` and ``trials.parquet``, whose columns are declared here and
nowhere else.

``final_val_loss`` is the last point of a run's curve or, where the run asks for one, the mean of
``final_block_losses``: a final evaluation on ``final_val_tokens`` tokens, block by block.

Units: losses in nats per token, ``final_bpb`` in bits per byte, ``flops`` in floating-point
operations from the run's own first step, ``wall_s`` in seconds.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
    *("final_val_tokens", "final_block_losses"),
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


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary path)``, then rename: a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as one Parquet file; a key the schema lacks is an error, a missing one is null."""
    rows = list(rows)
    for row in rows:
        assert row.keys() <= set(schema.names), row.keys() - set(schema.names)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def write_run(folder: Path, row: Mapping[str, Any], curve: list[dict[str, Any]]) -> None:
    """Commit an ended run: its curve, with its row of ``runs.parquet`` in the metadata."""
    schema = CURVE_SCHEMA.with_metadata({ROW_KEY: json.dumps(dict(row))})
    write_table(folder / "curve.parquet", curve, schema)


def read_run(folder: Path) -> tuple[dict[str, Any], pa.Table] | None:
    """The row and curve of an ended run, or ``None`` when it has not ended.

    Raises ``pyarrow.ArrowInvalid`` or ``OSError`` when the file is truncated or not Parquet, and
    ``KeyError`` when it carries no row.
    """
    path = folder / "curve.parquet"
    if not path.exists():
        return None
    table = pq.read_table(path)
    row = json.loads((table.schema.metadata or {})[ROW_KEY])
    return row, completed(table, CURVE_SCHEMA)


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
    os.replace(path, aside)
    return aside
