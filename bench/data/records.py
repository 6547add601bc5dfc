"""Records with a text in one of their fields: JSON lines, plain or compressed, and Parquet.

Which field is the text is not guessed: it is the one named, else ``text``, else ``content``, else
the only one that holds texts. Where that leaves a choice, the error names the likely ones, the
longest first.
"""

import codecs
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.entries import in_one_line
from mugrow.bench.spec import UserError

FIELDS = ("text", "content")
PIECE_BYTES = 2**20
ROWS_AT_ONCE = 1024
LARGEST_LINE = 2**28  # bytes; more is no record
COMPRESSED = (".gz", ".zst")
Record = Mapping[str, object]


def suffix(path: Path) -> str:
    """A name's ending without a compression's, in small letters: ``.jsonl`` of ``A.JSONL.gz``."""
    is_compressed = path.suffix.lower() in COMPRESSED
    return (path.with_suffix("") if is_compressed else path).suffix.lower()


def read_pieces(path: Path) -> Iterator[bytes]:
    """A file's content piece by piece, decompressed where its name says that it is compressed."""
    with _opened(path) as file:
        try:
            while piece := file.read(PIECE_BYTES):
                yield piece
        except pa.ArrowException as error:
            raise _damaged(path, error) from None
        except OSError as error:
            if path.suffix.lower() in COMPRESSED:
                raise _damaged(path, error) from None
            raise


def json_documents(path: Path, text_field: str | None = None) -> Iterator[bytes]:
    """The texts of JSON objects, one a line, or of one array of them. A null is an empty one."""
    field = text_field
    for where, record in _json_records(path):
        if field is None:
            field = _field(path, record)
        text = at(record, field)
        if text is None and not _has(record, field):
            raise UserError(f"corpus '{path}', {where} has no field {field!r}; {_likely(record)}")
        if text is None:
            yield b""
        elif isinstance(text, str):
            yield encoded(text, f"{path}, {where}")
        else:
            raise UserError(
                f"corpus '{path}', {where}: {field!r} is no text, but {type(text).__name__}; "
                f"{_likely(record)}"
            )


def parquet_documents(path: Path, text_field: str | None = None) -> Iterator[bytes]:
    """The rows of a column of strings; a null is an empty one."""
    try:
        with pq.ParquetFile(path) as file:
            name = text_column(path, file.schema_arrow, text_field)
            columns = (batch.column(0) for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name]))
            yield from column_documents(path, columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"corpus '{path}' is not a whole Parquet file: {reason}") from None


def column_documents(path: Path, columns: Iterable[pa.Array]) -> Iterator[bytes]:
    """The texts of a column, which comes in parts, as bytes; a null is an empty one."""
    plain = (
        one.dictionary_decode() if isinstance(one, pa.DictionaryArray) else one for one in columns
    )
    rows = chain.from_iterable(one.cast(pa.large_binary()).to_pylist() for one in plain)
    for number, row in enumerate(rows):
        yield b"" if row is None else utf8(row, f"{path}, row {number}")


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def text_column(path: Path, schema: pa.Schema, text_field: str | None = None) -> str:
    """The column of strings that is meant. Raises ``UserError``."""
    strings = [field.name for field in schema if _is_text(field.type)]
    wanted = FIELDS if text_field is None else (text_field,)
    if (found := next((name for name in wanted if name in strings), None)) is not None:
        return found
    if len(strings) == 1 and text_field is None:
        return str(strings[0])
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    hint = f"; --text-field {strings[0]}?" if strings else ""
    raise UserError(
        f"corpus '{path}' has no text column named {wanted[0]!r}; its columns: {columns}{hint}"
    )


def _is_text(kind: pa.DataType) -> bool:
    """Strings, also those that are stored as numbers of a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def at(record: Record, field: str) -> object:
    """A record's value: of the key, or of the path of keys, ``meta.body``; None without it."""
    if field in record:
        return record[field]
    key, dot, rest = field.partition(".")
    inner = record.get(key)
    return at(inner, rest) if dot and isinstance(inner, Mapping) else None


def encoded(text: str, where: str) -> bytes:
    """A text as UTF-8. Raises ``UserError`` for half of a surrogate pair, which has none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"corpus '{where}' is not Unicode: {text[error.start]!r} at {error.start}"
        ) from None


def utf8(text: bytes, where: str, before: int = 0) -> bytes:
    """The text itself, once it is known to be UTF-8; ``before`` it lie so many bytes."""
    if (offset := bad_byte(text)) is not None:
        byte, place = text[offset], before + offset
        raise UserError(f"corpus '{where}' is not UTF-8: byte {byte:#04x} at {place}")
    return text


def bad_byte(text: bytes) -> int | None:
    """Offset of the first byte that is not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _json_records(path: Path) -> Iterator[tuple[str, Record]]:
    with _opened(path) as file:
        try:
            beginning = file.peek(1).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
            if suffix(path) == ".json" and beginning == b"[":
                for number, record in enumerate(json.load(file)):
                    yield f"record {number}", _object(path, f"record {number}", record)
                return
            for number, line in enumerate(iter(lambda: file.readline(LARGEST_LINE), b""), 1):
                if len(line) == LARGEST_LINE:
                    raise UserError(f"corpus '{path}', line {number} has {LARGEST_LINE:,} bytes")
                if line.strip():
                    where = f"line {number}"
                    yield where, _object(path, where, _parsed(path, where, line))
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            raise UserError(f"corpus '{path}' is not JSON: {in_one_line(error)}") from None
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from None


def _parsed(path: Path, where: str, line: bytes) -> object:
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"corpus '{path}', {where} is not JSON: {in_one_line(error)}") from None
    return found


def _object(path: Path, where: str, record: object) -> Record:
    if not isinstance(record, dict):
        raise UserError(f"corpus '{path}', {where} is no JSON object, but {type(record).__name__}")
    return record


def _opened(path: Path) -> io.BufferedReader:
    kind = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
    try:
        return io.BufferedReader(pa.input_stream(str(path), compression=kind))
    except pa.ArrowException as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"corpus '{path}' is not a whole {path.suffix} file: {in_one_line(error)}")


def _field(path: Path, record: Record) -> str:
    """The field of the first record that is the text."""
    for name in FIELDS:
        if name in record and isinstance(record[name], str | None):
            return name
    texts = [key for key, value in record.items() if isinstance(value, str)]
    if len(texts) == 1:
        return texts[0]
    if (there := next((name for name in FIELDS if name in record), None)) is not None:
        return there  # to be told what it is
    raise UserError(f"corpus '{path}' has no field 'text'; {_likely(record)}")


def _likely(record: Record) -> str:
    """The fields that hold texts, the longest first, as the words to give."""
    texts = dict(_texts(record))
    if not texts:
        return f"its fields: {', '.join(record) or 'none'}"
    longest: Sequence[str] = sorted(texts, key=lambda key: -len(texts[key]))
    return f"give --text-field, one of {', '.join(longest[:8])}"


def _texts(record: Record, within: str = "") -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, str):
            yield f"{within}{key}", value
        elif isinstance(value, dict) and within.count(".") < 3:
            yield from _texts(value, f"{within}{key}.")


def _has(record: Record, field: str) -> bool:
    if field in record:
        return True
    key, dot, rest = field.partition(".")
    inner = record.get(key)
    return bool(dot) and isinstance(inner, Mapping) and _has(inner, rest)
