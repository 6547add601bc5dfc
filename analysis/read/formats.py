"""Files as frames: text with separators, Parquet, JSON; each packed or not.

What a file is, its first bytes and lines say, not its name: a table is packed (gzip, Zstandard,
bzip2, xz) or not, and is Parquet, JSON in one of its shapes, or text whose separator is the one
that cuts every line into as many cells as its header. A name that is known to be no table is
refused.

The frames hold what the cells say. A number that is not finite is the text ``NaN`` or ``Infinity``,
so that it can be told from an empty cell; ``mugrow.analysis.read.table`` makes numbers of them.
"""

import bz2
import csv
import io
import json
import lzma
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mugrow.analysis.read import cells
from mugrow.bench.spec import UserError

Json = Mapping[str, object]

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson", ".json")
PACKED_SUFFIXES = (".gz", ".zst", ".zstd", ".bz2", ".xz")
NO_TABLES = (".xlsx", ".xls", ".ods", ".db", ".sqlite", ".pkl", ".pickle", ".npy", ".npz", ".pt",
             ".safetensors", ".py", ".ipynb", ".html", ".md", ".yaml", ".yml", ".toml", ".pdf",
             ".png", ".svg", ".zip", ".tar")  # fmt: skip
SEPARATORS = {",": "CSV", "\t": "TSV", ";": "CSV with semicolons", "|": "text with bars"}
OF_EXCEL = re.compile(r'"?sep=.?"?', re.IGNORECASE)  # a first line that names the separator
PARQUET = "Parquet"
LOOKED_AT = 200  # lines in which the separator is looked for
TRUNCATED = "the last line is cut off: it was left out"


@dataclass(frozen=True, eq=False)
class Raw:
    """The cells of one file, what it is, and what was noticed. ``document`` is the JSON object that
    is no table by itself: ``mugrow.analysis.read.dialects`` may know it."""

    frame: pd.DataFrame
    kind: str
    notes: tuple[str, ...] = ()
    document: Json | None = None


def stem(path: Path) -> str:
    """A file's name without the suffixes of tables: ``1.3B`` of ``1.3B.csv.gz``."""
    name = path.name
    for suffixes in (PACKED_SUFFIXES, SUFFIXES):
        found = next((one for one in suffixes if name.lower().endswith(one)), "")
        name = name[: len(name) - len(found)] or name
    return name


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked. Raises what its library raises."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        return _unpacked(content, "gzip")
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return _unpacked(content, "zstd")
    if content.startswith(b"BZh"):
        return bz2.decompress(content)
    if content.startswith(b"\xfd7zXZ"):
        return lzma.decompress(content)
    return content


def _unpacked(content: bytes, codec: str) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(content), codec) as stream:
        unpacked: bytes = stream.read()
    return unpacked


def read_file(path: Path) -> Raw:
    """The cells of a file. Raises ``UserError``, or what its library raises on what is broken."""
    name = path.name.lower()
    if name.endswith(NO_TABLES):
        raise UserError(f"cannot read {path}: a table is one of {', '.join(SUFFIXES)}")
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return _parquet(path)
    content = read_bytes(path)
    if content.startswith(b"PAR1"):
        return _parquet(pa.BufferReader(content))
    text = _decoded(content)
    start = text.lstrip()[:1]
    named_json = stem(Path(name)) + ".json" in name or ".jsonl" in name or ".ndjson" in name
    if named_json or (start in ("{", "[") and not name.endswith((".csv", ".tsv"))):
        return _json(text)
    if name.endswith(".parquet"):
        raise ValueError("it is not a Parquet file")
    return _separated(text, path)


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not UTF-8 text (byte 0x{content[error.start]:02x}); if it is Latin-1, "
            "iconv -f LATIN1 -t UTF-8 makes it so"
        ) from None


# --- Parquet -----------------------------------------------------------------------------------


def _parquet(source: Path | pa.BufferReader) -> Raw:
    table = pq.ParquetFile(source).read()
    names = [str(name) for name in table.column_names]
    _check_names(names)
    columns = {name: of_arrow(column) for name, column in zip(names, table.columns, strict=True)}
    return Raw(pd.DataFrame(columns, copy=False), PARQUET)


def of_arrow(column: "pa.ChunkedArray[pa.Scalar]") -> pd.Series:
    """The cells of a column of Parquet."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    series = pd.Series(column.to_pandas())
    if pa.types.is_floating(column.type):
        said = pc.is_nan(column).fill_null(False).to_numpy(zero_copy_only=False)
        if said.any():
            series = series.astype(object)
            series[said] = "NaN"
    return series


# --- JSON --------------------------------------------------------------------------------------


def _json(text: str) -> Raw:
    """JSON lines; or one document: an array of records, an object of columns, or an object that
    holds its records under one name."""
    try:
        document = json.loads(text)
    except ValueError:
        return _json_lines(text)
    if isinstance(document, list):
        return Raw(records(_records(document)), "JSON records")
    if not isinstance(document, dict):
        raise ValueError("it holds no records")
    if columns := _columns(document):
        return Raw(records(columns), "JSON columns")
    if runs := _of_runs(document):
        return Raw(records(runs), "JSON with a key a run")
    lists = {key: value for key, value in document.items() if _is_records(value)}
    if len(lists) == 1:
        ((key, value),) = lists.items()
        frame = records(_records(value))
        return Raw(frame, f"JSON records under {key!r}", document=document)
    if document and all(isinstance(one, list) for one in document.values()):
        sizes = ", ".join(f"{key!r} {len(one)}" for key, one in document.items())
        raise ValueError(
            f"its arrays ({sizes}) are no columns: they hold others, or differ in length; "
            "an array of x as long as each, as step, makes columns of them"
        )
    return Raw(records([document]), "JSON lines", document=document)


def _json_lines(text: str) -> Raw:
    rows: list[Json] = []
    notes: list[str] = []
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            if rows and number == lines[-1][0]:
                notes.append(TRUNCATED)
                continue
            raise
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        rows.append(row)
    return Raw(records(rows), "JSON lines", tuple(notes))


def _records(values: Sequence[object]) -> list[Json]:
    """Objects; or TensorBoard's arrays of time, step and value."""
    triples = [one for one in values if isinstance(one, list) and len(one) == 3]
    if triples and len(triples) == len(values):
        return [dict(zip(("Wall time", "Step", "Value"), one, strict=True)) for one in triples]
    found: list[Json] = [one for one in values if isinstance(one, dict)]
    if len(found) < len(values):
        raise ValueError("it is an array of other things than records")
    return found


def _is_records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _columns(document: Json) -> list[Json]:
    """The rows of an object of columns: equally long arrays, or objects with the same keys; or of
    one with the names of columns beside the rows."""
    names, data = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(data, list) and data:
        return [
            dict(zip(map(str, names), row, strict=True)) for row in data if isinstance(row, list)
        ]
    values = list(document.values())
    if values and all(isinstance(one, dict) for one in values):
        keys = [list(one) for one in values if isinstance(one, dict)]
        if not keys[0] or any(one != keys[0] for one in keys) or not all(
            key.isdigit() for key in keys[0]
        ):  # fmt: skip
            return []
        values = [list(one.values()) for one in values if isinstance(one, dict)]
        index = [int(key) for key in keys[0]]
        if index != list(range(len(index))) and "index" not in document:  # of pandas, and steps
            document, values = {"index": None, **document}, [index, *values]
    lists = [one for one in values if isinstance(one, list)]
    if not lists or len(lists) < len(values) or len({len(one) for one in lists}) > 1:
        return []
    if any(isinstance(cell, dict | list) for one in lists for cell in one):
        return []
    rows = zip(*lists, strict=True)
    return [dict(zip(document, row, strict=True)) for row in rows]


def _of_runs(document: Json) -> list[Json]:
    """The rows of an object with a key a run: its records, its columns, or one record, with the
    run's name; or with a number a row."""
    rows: list[Json] = []
    if _is_records(list(document.values())):
        inner: list[Json] = [one for one in document.values() if isinstance(one, dict)]
        flat = not any(isinstance(cell, dict | list) for one in inner for cell in one.values())
        alike = len(inner) > 1 and all(one.keys() == inner[0].keys() for one in inner)
        if flat and alike and all(name.isdigit() for name in document):
            return inner
        if flat and alike and len(inner[0]) > 1 and "run" not in inner[0]:
            return [{"run": name, **one} for name, one in zip(document, inner, strict=True)]
    for name, value in document.items():
        own = _records(value) if _is_records(value) else []  # type: ignore[arg-type]
        own = own or (_columns(value) if isinstance(value, dict) else [])
        if not own or any("run" in row for row in own):
            return []
        rows += [{"run": name, **row} for row in own]
    return rows if len(document) > 1 else []


def records(rows: Iterable[Json]) -> pd.DataFrame:
    """Records as a frame; keys of objects within objects are paths, ``run.name``."""
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return pd.DataFrame({name: _series([row.get(name) for row in flat]) for name in names})


def _flat(row: Json, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in row.items():
        name = f"{prefix}{key}"
        inner = _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
        for path, cell in inner.items():
            if path in found:
                raise ValueError(f"it names {path!r} twice")
            found[path] = cell
    return found


def _series(values: list[object]) -> pd.Series:
    """A column: whole numbers, numbers, truths, or as it stands."""
    there = [one for one in values if one is not None]
    if there and all(type(one) is int for one in there) and len(there) == len(values):
        return pd.Series(values)
    if there and all(type(one) in (int, float) for one in there):
        if any(isinstance(one, float) and not math.isfinite(one) for one in there):
            return pd.Series([_word(one) for one in values], dtype=object)
        return pd.Series([math.nan if one is None else one for one in values], dtype=np.float64)
    if there and all(type(one) is bool for one in there) and len(there) == len(values):
        return pd.Series(values)
    return pd.Series([_word(one) for one in values], dtype=object)


def _word(value: object) -> object:
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


# --- text with separators ----------------------------------------------------------------------


def _separated(text: str, path: Path) -> Raw:
    lines = text.splitlines(keepends=True)
    while lines and (not lines[0].strip() or lines[0].lstrip().startswith("#")
                     or OF_EXCEL.fullmatch(lines[0].strip())):  # fmt: skip
        lines.pop(0)
    if not lines:
        raise ValueError("it is empty")
    again = [line.strip() == lines[0].strip() for line in lines]
    notes = (f"its header stands {sum(again)} times: files one behind the other",)[: sum(again) - 1]
    text = "".join([lines[0], *(line for line, one in zip(lines, again, strict=True) if not one)])
    separator = _separator(text)
    plain = separator if separator.strip(" ") else None
    header = text.split("\n", 1)[0].split() if plain is None else _first(text, separator)
    names = [name.strip() for name in header]
    if all(cells.number(name) is not None for name in names):
        if plain is None and len(names) == 3 and "metrics" in path.parent.parts:
            return _mlflow_metric(text, path)
        raise ValueError("its first line is no header: it holds numbers")
    frame = _read(text, plain, names, ".")
    kind = SEPARATORS.get(separator, "text with blanks")
    if _has_decimal_commas(frame, separator):
        notes = (*notes, "its decimals follow a comma")
        return Raw(_read(text, plain, names, ","), kind, notes)
    return Raw(frame, kind, notes)


def _mlflow_metric(text: str, path: Path) -> Raw:
    """A file of ``mlruns/EXPERIMENT/RUN/metrics``: lines of time, value and step."""
    place = len(path.parts) - 1 - path.parts[::-1].index("metrics")
    names = ["timestamp", "/".join(path.parts[place + 1 :]), "step"]
    frame = _read(f"{' '.join(names)}\n{text}", None, names, ".")
    frame.insert(0, "run", path.parts[place - 1] if place else path.absolute().parts[-3])
    return Raw(frame, "MLflow metric")


def _first(text: str, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True), [])


def _separator(text: str) -> str:
    """The one that cuts the most lines into as many cells as the header, two at least."""
    head = "".join(text.splitlines(keepends=True)[:LOOKED_AT])
    best, rank = ",", (0.0, 0)
    for separator in SEPARATORS:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=separator, skipinitialspace=True)
        try:
            widths = [len(row) for row in rows if row]
        except csv.Error:
            continue
        found = (float(np.mean([width == widths[0] for width in widths])), widths[0])
        if widths[0] > 1 and found > rank:
            best, rank = separator, found
    if rank[1] > 1:
        return best
    widths = [len(line.split()) for line in head.splitlines() if line.strip()]
    return " " if len(widths) > 1 and widths[0] > 1 and len(set(widths)) == 1 else ","


def _read(text: str, separator: str | None, names: list[str], decimal: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than its header
        frame = pd.read_csv(
            io.StringIO(text),
            sep=r"\s+" if separator is None else separator,
            decimal=decimal,
            keep_default_na=False,
            na_values=[""],
            skipinitialspace=True,
            low_memory=False,
            index_col=False,
        )
    if len(frame.columns) != len(names):
        raise ValueError(f"its rows do not fit its header of {len(names)} columns")
    frame.columns = pd.Index(names)  # pandas renames the second of two equal names
    nameless = [
        place
        for place, name in enumerate(names)
        if not name and (frame.iloc[:, place].isna().all() or _is_index(frame.iloc[:, place]))
    ]
    frame = frame.iloc[:, [place for place in range(len(names)) if place not in nameless]]
    _check_names(list(frame.columns))
    for name in frame.columns:
        if frame[name].dtype.kind not in "biuf":
            texts = frame[name].astype(object)
            frame[name] = texts.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    return frame


def _is_index(column: pd.Series) -> bool:
    return column.dtype.kind == "i" and bool((column == np.arange(len(column))).all())


def _check_names(names: list[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"two columns are named {name!r}")


def _has_decimal_commas(frame: pd.DataFrame, separator: str) -> bool:
    """Whether commas in its cells set off decimals: some can do nothing else, and none must be
    thousands. Where each could be either, they are decimals in files that separate by semicolons,
    as programs write them where the comma is the decimal sign."""
    written = {
        cell
        for name in frame.columns
        if frame[name].dtype.kind not in "biuf"
        for cell in frame[name].unique()
        if isinstance(cell, str)
    }
    texts = {cell for cell in written if "," in cell}
    could = {cell for cell in texts if cells.DECIMAL_COMMA.fullmatch(cell)}
    must = {cell for cell in could if not cells.GROUPED.fullmatch(cell)}
    thousands = {cell for cell in texts - could if cells.GROUPED.fullmatch(cell)}
    if thousands or not could:
        return False
    points = any(frame[name].dtype.kind == "f" for name in frame.columns) or any(
        "." in cell and cells.NUMBER.fullmatch(cell) for cell in written
    )
    return bool(must) or (separator == ";" and not points)
