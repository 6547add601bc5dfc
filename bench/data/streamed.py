"""Datasets of the Hugging Face hub: the first documents of one, streamed and kept.

    hf:NAME[:CONFIG][@MEGABYTES]      hf:allenai/c4:en@2000

reads the documents of the training split in their own order until they hold so many megabytes of
text (1000 by default), from the hub or, where NAME is a folder, from the data files in it. They are
kept as one Parquet file in the cache, so a corpus is streamed once. What a run's identity holds is
the hash of these documents: a dataset that changes on the hub is another corpus, not a silent one.

The library for it is an extra, ``mugrow[datasets]``. A dataset's own code is never run.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.data.cache import cache_folder
from mugrow.bench.data.readers import parquet_documents
from mugrow.bench.entries import in_one_line
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError

PREFIX = "hf:"
MEGABYTES = 1000
WORD = re.compile(r"hf:(?P<name>[^:@]+)(:(?P<config>[^:@]+))?(@(?P<megabytes>\d+))?")
COLUMNS = ("text", "content")


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


def streamed_documents(word: str) -> list[bytes]:
    """The documents of a word: of a folder as they lie there, of the hub from the cache where they
    have been read before. Raises ``UserError``."""
    if Path(parse(word).name).is_dir():
        return [text.encode() for text in _read(word)]
    path = cache_folder() / f"hf-{hashlib.sha256(word.encode()).hexdigest()}.parquet"
    if not path.exists():
        table = pa.table({"text": list(_read(word))})
        write_atomically(path, lambda temporary: pq.write_table(table, temporary))
    return parquet_documents(path)


def _read(word: str) -> Iterator[str]:
    """Texts until there are enough megabytes of them, or no more."""
    wanted = parse(word)
    left = wanted.megabytes * 1_000_000
    for text in _texts(_rows(wanted), word):
        yield text
        left -= len(text.encode())
        if left <= 0:
            return


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


def _texts(rows: Iterable[dict[str, Any]], word: str) -> Iterator[str]:
    for row in rows:
        column = next((name for name in COLUMNS if isinstance(row.get(name), str)), None)
        if column is None:
            raise UserError(f"corpus {word!r} has no column of text, but {', '.join(row)}")
        if row[column].strip():
            yield row[column]
