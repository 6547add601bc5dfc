"""Files to documents: plain text, folders of it, Parquet, and nanoGPT's token files.

A document is ``bytes``: UTF-8 text, or little-endian uint16 token ids where the file is ``.bin``.
Every reader takes a path and gives the documents in a fixed order; a file that cannot be read as
what its name says is a ``UserError`` that says where it breaks.
"""

import re
import sysconfig
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.spec import UserError

SECTION_BYTES = 16_384
BLOCK_TOKENS = 8_192
END_OF_TEXT = 50_256  # GPT-2's <|endoftext|>
BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
NOT_STDLIB = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def stdlib_documents() -> list[bytes]:
    """The running interpreter's standard-library sources by relative path, tests left out.

    Files that are not UTF-8 are left out too, and so is ``_sysconfigdata*.py``: it holds paths of
    the machine that built Python, and would make the corpus differ where the sources do not.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    sources = (
        path.read_bytes()
        for name, path in sorted(paths.items())
        if not NOT_STDLIB.intersection(name.split("/")) and not name.startswith("_sysconfigdata")
    )
    return [source for source in sources if _bad_byte(source) is None]


def text_file_documents(path: Path) -> list[bytes]:
    """Sections of one text file: each ends at the first blank line after 16 kB.

    A single file marks no documents, but something must be held out that is not next to what is
    trained on, and larger than a context window.
    """
    text = _utf8(path.read_bytes(), str(path))
    cuts = [0]
    for blank in BLANK_LINE.finditer(text):
        if blank.end() - cuts[-1] >= SECTION_BYTES:
            cuts.append(blank.end())
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def text_folder_documents(path: Path) -> list[bytes]:
    """Every ``.txt`` below a folder, by relative path: each file is a document."""
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*.txt")}
    if not files:
        raise UserError(f"corpus folder '{path}' holds no .txt file")
    return [_utf8(files[name].read_bytes(), str(files[name])) for name in sorted(files)]


def parquet_documents(path: Path) -> list[bytes]:
    """The rows of the column ``text``, or of the only column of strings; nulls are left out."""
    try:
        with pq.ParquetFile(path) as file:
            name = _text_column(path, file.schema_arrow)
            column = file.read(columns=[name]).column(name).cast(pa.large_binary())
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"corpus '{path}' is not a whole Parquet file: {reason}") from None
    return [
        _utf8(row, f"{path}, row {number}")
        for number, row in enumerate(column.to_pylist())
        if row is not None
    ]


def token_file(path: Path) -> npt.NDArray[np.uint16]:
    """All ids of a nanoGPT ``.bin`` file: shape (tokens,), little-endian uint16, no header."""
    raw = path.read_bytes()
    if len(raw) % 2:
        raise UserError(f"corpus '{path}' has {len(raw)} bytes: uint16 token ids need an even size")
    return np.frombuffer(raw, "<u2")


def token_documents(ids: npt.NDArray[np.uint16]) -> list[bytes]:
    """Cut after every end-of-text id; ids without any are cut into blocks of 8192."""
    ends = np.flatnonzero(ids == END_OF_TEXT) + 1
    if not ends.size:
        ends = np.arange(BLOCK_TOKENS, len(ids), BLOCK_TOKENS)
    return [part.tobytes() for part in np.split(ids, ends)]


def _text_column(path: Path, schema: pa.Schema) -> str:
    strings = [
        field.name
        for field in schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    if "text" in strings:
        return "text"
    if len(strings) == 1:
        return str(strings[0])
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise UserError(f"corpus '{path}' has no text column named 'text'; its columns: {columns}")


def _utf8(text: bytes, where: str) -> bytes:
    """The text itself, once it is known to be UTF-8."""
    if (offset := _bad_byte(text)) is not None:
        raise UserError(f"corpus '{where}' is not UTF-8: byte {text[offset]:#04x} at {offset}")
    return text


def _bad_byte(text: bytes) -> int | None:
    """Offset of the first byte that is not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None
