"""A corpus by name or path: its documents, which of them are held out, and the hash of it all.

One rule splits every corpus: documents are taken in the order of their sha256 until they make up
5 % of the bytes, and those are the validation documents. The order is as good as random, so the
split is no alphabetical tail; it depends on nothing but the text, so it is the same for every
seed; and copies of a document share a hash, so none is trained on and validated on. Two corpora
come split already: ``synthetic``, and a nanoGPT ``train.bin`` that has its ``val.bin`` beside it.

The hash of a corpus covers the documents after the split. A hash per document comes first, so
that where documents end counts too.
"""

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mugrow.bench.data import synthetic
from mugrow.bench.data.readers import (
    parquet_documents,
    stdlib_documents,
    text_file_documents,
    text_folder_documents,
    token_documents,
    token_file,
)
from mugrow.bench.data.streamed import PREFIX, streamed_documents
from mugrow.bench.spec import UserError, unknown

HELD_OUT = 0.05
NAMES = {
    "stdlib": "sources of the running Python's standard library, tests left out; no network",
    "synthetic": f"Markov source over {synthetic.SYMBOLS} symbols whose entropy is known exactly",
}
FORMATS = {
    "FILE.txt": "UTF-8 text, cut into documents at blank lines, 16 kB or more each",
    "FOLDER": "every .txt below it, each a document",
    "FILE.parquet": "a column of strings, named text or the only one, each row a document",
    "FILE.bin": "nanoGPT's uint16 token ids; validation on val.bin beside train.bin",
    "hf:NAME[:CONFIG][@MB]": "a dataset of the Hugging Face hub, its first megabytes; an extra",
}
TEXT_READERS: dict[str, Callable[[Path], list[bytes]]] = {
    ".txt": text_file_documents,
    ".parquet": parquet_documents,
}


@dataclass(frozen=True)
class Corpus:
    """Documents to train on, in the corpus's order, and held out, in the order of their hash.

    ``name`` carries no folder, so an identity built from it is the same on every machine. A
    document is UTF-8 text where ``is_text``, else little-endian uint16 token ids.
    """

    name: str
    train: tuple[bytes, ...]
    val: tuple[bytes, ...]
    is_text: bool = True

    @property
    def sha256(self) -> str:
        """Of all documents, of where each ends, and of the split."""
        return hashlib.sha256((digest(self.train) + digest(self.val)).encode()).hexdigest()


def corpora() -> dict[str, str]:
    """What a corpus can be: a name or a kind of path, and one line on each."""
    return NAMES | FORMATS


def digest(documents: Sequence[bytes]) -> str:
    """The sha256 of a list of documents, in which their borders count."""
    return hashlib.sha256(b"".join(map(_sha256, documents))).hexdigest()


def hold_out(documents: Sequence[bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Split into (train, validation): the validation documents are at least 5 % of the bytes."""
    enough = HELD_OUT * sum(map(len, documents))
    val: list[bytes] = []
    size, last = 0, b""
    for key, document in sorted((_sha256(document), document) for document in documents):
        if size >= enough and key != last:
            break
        val.append(document)
        size, last = size + len(document), key
    return tuple(document for document in documents if _sha256(document) > last), tuple(val)


def below(folder: Path, corpus: str) -> str:
    """A corpus whose path is relative to a folder; one that has a name is what it was."""
    if corpus in NAMES:
        return corpus
    if corpus.startswith(PREFIX):
        local = folder / corpus.removeprefix(PREFIX)
        return f"{PREFIX}{local}" if local.is_dir() else corpus
    return str(folder / corpus)


def read_corpus(corpus: str) -> Corpus:
    """Read a corpus by name or path. Raises ``UserError`` where that gives no usable text."""
    if corpus == "synthetic":
        train, val = synthetic.TRAIN_TOKENS, synthetic.VAL_TOKENS
        chains = (synthetic.chain(train, stream=1), synthetic.chain(val, stream=2))
        return _presplit(corpus, *(chain.astype("<u2").tobytes() for chain in chains))
    if corpus == "stdlib":
        return _split(corpus, corpus, stdlib_documents())
    if corpus.startswith(PREFIX):
        return _split(corpus, corpus, streamed_documents(corpus))
    path = Path(corpus)
    name = path.resolve().name
    try:
        if path.is_dir():
            return _split(corpus, name, text_folder_documents(path))
        if not path.exists():
            raise _missing(corpus)
        if path.suffix in TEXT_READERS:
            return _split(corpus, name, TEXT_READERS[path.suffix](path))
        if path.suffix == ".bin":
            return _read_tokens(corpus, path)
    except OSError as error:
        raise UserError(f"cannot read corpus {corpus!r}: {error.strerror}") from None
    raise UserError(f"corpus {corpus!r} is none of .txt, .parquet, .bin or a folder of .txt")


def _read_tokens(corpus: str, path: Path) -> Corpus:
    ids, given = token_file(path), path.with_name("val.bin")
    if path.name == "train.bin" and given.exists():
        return _presplit(path.name, ids.tobytes(), token_file(given).tobytes())
    return _split(corpus, path.name, token_documents(ids), is_text=False)


def _presplit(name: str, train: bytes, val: bytes) -> Corpus:
    if not train or not val:
        raise UserError(f"corpus {name!r} is empty: {len(train)} and {len(val)} bytes of tokens")
    return Corpus(name, (train,), (val,), is_text=False)


def _split(corpus: str, name: str, documents: list[bytes], is_text: bool = True) -> Corpus:
    filled = [document for document in documents if (document.strip() if is_text else document)]
    if not filled:
        raise UserError(f"corpus {corpus!r} is empty")
    train, val = hold_out(filled)
    if not train:
        raise UserError(
            f"corpus {corpus!r} is too short: its one document of {len(filled[0])} bytes leaves "
            "none to hold out for validation"
        )
    return Corpus(name, train, val, is_text)


def _missing(corpus: str) -> UserError:
    folder = Path(corpus).parent
    siblings = [str(path) for path in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(corpus, siblings, n=1, cutoff=0.4)
    return unknown("corpus", corpus, [*NAMES, *near])


def _sha256(document: bytes) -> bytes:
    return hashlib.sha256(document).digest()
