"""Datasets of Hugging Face: the first documents of one, of the hub or of a folder.

    hf:NAME[:CONFIG][@MEGABYTES]      hf:allenai/c4:en@2000      hf:path/to/folder

reads the documents of the training split in their own order until they hold so many megabytes of
text (1000 by default). Of the hub they are kept as one Parquet file in the cache, so a corpus is
streamed once. What a run's identity holds is the hash of these documents: a dataset that changes on
the hub is another corpus, not a silent one.

A folder is what ``save_to_disk`` wrote, or one of Parquet, Arrow or JSON files, and needs neither
the network nor a library. The library for all else is an extra, ``mugrow[datasets]``. A dataset's
own code is never run.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.data.cache import cache_folder
from mugrow.bench.data.records import (
    FIELDS,
    at,
    column_documents,
    encoded,
    json_documents,
    parquet_documents,
    suffix,
    text_column,
)
from mugrow.bench.entries import in_one_line
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError

PREFIX = "hf:"
MEGABYTES = 1000
WORD = re.compile(r"hf:(?P<name>[^:@]+)(:(?P<config>[^:@]+))?(@(?P<megabytes>\d+))?")
LOCAL = (".parquet", ".arrow", ".json", ".jsonl")  # what is read without the library
SPLIT = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev|eval)(?=[^a-z]|$)")


class Streamed(NamedTuple):
    """A corpus of the hub, or of a folder, and how much of it to read."""

    name: str
    config: str | None
    megabytes: int


def parse(word: str) -> Streamed:
    """What ``hf:NAME[:CONFIG][@MEGABYTES]`` names. Raises ``UserError``."""
    found = WORD.fullmatch(word)
    if found is None or found["megabytes"] == "0":
        raise UserError(f"a hub's corpus is hf:NAME[:CONFIG][@MEGABYTES], not {word!r}")
    return Streamed(found["name"], found["config"], int(found["megabytes"] or MEGABYTES))


def streamed_documents(word: str, text_field: str | None = None) -> Iterator[bytes]:
    """The documents of a word: of a folder as they lie there, of the hub from the cache where they
    have been read before. Raises ``UserError``."""
    wanted = parse(word)
    folder = Path(wanted.name)
    if folder.is_dir() and wanted.config is None and (files := local_files(folder)):
        return _first(_local(files, text_field), wanted.megabytes)
    if folder.is_dir():
        return _streamed(word, text_field)
    key = f"{word}:{text_field}" if text_field else word
    path = cache_folder() / f"hf-{hashlib.sha256(key.encode()).hexdigest()}.parquet"
    if not path.exists():
        table = pa.table({"text": [text.decode() for text in _streamed(word, text_field)]})
        write_atomically(path, lambda temporary: pq.write_table(table, temporary))
    return parquet_documents(path)


def _streamed(word: str, text_field: str | None) -> Iterator[bytes]:
    """As the library gives them."""
    wanted = parse(word)
    texts = _texts(_rows(wanted), word, text_field)
    return _first((encoded(text, word) for text in texts), wanted.megabytes)


def left_out(word: str, read_bytes: int) -> str:
    """What was not read, in words: what may lie beyond the megabytes asked for."""
    megabytes = parse(word).megabytes
    full = read_bytes >= megabytes * 1_000_000
    return f"what is beyond the first {megabytes} MB, see @MB" if full else ""


def local_files(folder: Path) -> list[Path]:
    """The data files of a dataset's training split in a folder; none where there are none that are
    read here, or where its card says which they are."""
    if (folder / "dataset_dict.json").is_file():
        if not (folder / "train").is_dir():
            splits = ", ".join(sorted(one.name for one in folder.iterdir() if one.is_dir()))
            raise UserError(
                f"dataset '{folder}' has no split train, but {splits}; give the folder of one"
            )
        folder = folder / "train"
    if (folder / "state.json").is_file():
        return _saved(folder)
    card = folder / "README.md"
    if card.is_file() and "data_files" in card.read_text(encoding="utf-8", errors="replace"):
        return []
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*")
                   if file.is_file() and suffix(file) in LOCAL)  # fmt: skip
    of_split = {name: SPLIT.search(name) for name in names}
    train = [name for name, found in of_split.items() if found and found[1] == "train"]
    others = [name for name, found in of_split.items() if found and found[1] != "train"]
    if others and not train:
        raise UserError(f"dataset '{folder}' has no split train, but {others[0]}")
    return [folder / name for name in train or names]


def _saved(folder: Path) -> list[Path]:
    """The files of what ``save_to_disk`` wrote, in their order."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [folder / str(one["filename"]) for one in state["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{folder}/state.json' is no dataset's: {in_one_line(error)}") from None


def _local(files: Iterable[Path], text_field: str | None) -> Iterator[bytes]:
    for file in files:
        if suffix(file) == ".parquet":
            yield from parquet_documents(file, text_field)
        elif suffix(file) == ".arrow":
            yield from _arrow_documents(file, text_field)
        else:
            yield from json_documents(file, text_field)


def _arrow_documents(path: Path, text_field: str | None) -> Iterator[bytes]:
    """An Arrow file, as ``save_to_disk`` writes them (a stream) or as Feather's."""
    try:
        with pa.OSFile(str(path)) as file:
            try:
                schema, batches = _batches(pa.ipc.open_stream(file))
            except pa.ArrowInvalid:
                schema, batches = _batches(pa.ipc.open_file(file))
            name = text_column(path, schema, text_field)
            yield from column_documents(path, (_valid(batch).column(name) for batch in batches))
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"corpus '{path}' is not a whole Arrow file: {in_one_line(error)}"
        ) from None


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, once it is known that its offsets lie in it: Arrow reads where they point."""
    batch.validate(full=True)
    return batch


def _batches(
    reader: pa.ipc.RecordBatchReader | pa.ipc.RecordBatchFileReader,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        return reader.schema, map(reader.get_batch, range(reader.num_record_batches))
    return reader.schema, iter(reader)


def _first(texts: Iterable[bytes], megabytes: int) -> Iterator[bytes]:
    """Texts until there are enough megabytes of them, or no more; blank ones count for none."""
    left = megabytes * 1_000_000
    for text in texts:
        yield text
        left -= len(text) if text.strip() else 0
        if left <= 0:
            break


def _rows(wanted: Streamed) -> Iterator[dict[str, Any]]:
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError(
            "a corpus from the hub needs the library datasets: pip install 'mugrow[datasets]'"
        ) from None
    try:
        yield from load_dataset(wanted.name, wanted.config, split="train", streaming=True)
    except Exception as error:  # it has many, of the network and of data
        raise UserError(
            f"dataset {wanted.name!r} cannot be streamed: {in_one_line(error)}"
        ) from error


def _texts(rows: Iterable[dict[str, Any]], word: str, text_field: str | None) -> Iterator[str]:
    fields = FIELDS if text_field is None else (text_field,)
    for row in rows:
        text = next((at(row, name) for name in fields if isinstance(at(row, name), str)), None)
        if not isinstance(text, str):
            raise UserError(
                f"corpus {word!r} has no column of text, but {', '.join(row)}; give --text-field"
            )
        yield text
