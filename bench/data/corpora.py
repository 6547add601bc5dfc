"""A corpus by name or path: its documents, which of them are held out, and the hash of it all.

One rule splits every corpus: documents are taken in the order of their sha256 until they make up
5 % of the bytes, and those are the validation documents. The order is as good as random, so the
split is no alphabetical tail; it depends on nothing but the text, so it is the same for every
seed; and copies of a document share a hash, so none is trained on and validated on. Two corpora
come split already: ``synthetic``, and a nanoGPT ``train.bin`` that has its ``val.bin`` beside it.

The hash of a corpus covers the documents after the split. A hash per document comes first, so
that where documents end counts too.

A path may have options behind it, as a method has parameters: ``notes.jsonl:text_field=body``,
``manual:glob=*.md``, ``ids.bin:token_dtype=uint32``. They say how a file is read; what a run's
identity holds is what was read.
"""

import difflib
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mugrow.bench.data import synthetic
from mugrow.bench.data.readers import stdlib_documents, text_file_documents, text_folder_documents
from mugrow.bench.data.records import json_documents, parquet_documents, suffix
from mugrow.bench.data.streamed import PREFIX, left_out, parse, streamed_documents
from mugrow.bench.data.token_files import Ids, token_documents
from mugrow.bench.entries import assigned
from mugrow.bench.spec import UserError, unknown

HELD_OUT = 0.05
NAMES = {
    "stdlib": "sources of the running Python's standard library, tests left out; no network",
    "synthetic": f"Markov source over {synthetic.SYMBOLS} symbols whose entropy is known exactly",
}
FORMATS = {
    "FILE.txt[.gz|.zst]": "UTF-8 text, cut into documents at blank lines, 16 kB or more each",
    "FOLDER[:glob=*.md]": "every .txt below it, or what the pattern matches, each a document",
    "FILE.jsonl[.gz|.zst]": "JSON objects, a line each; the field text, or :text_field=NAME",
    "FILE.parquet": "a column of strings, named text or the only one, or :text_field=NAME",
    "FILE.bin": "token ids: a header's or an index's type, else uint16, or :token_dtype=uint32",
    "FILE.npy": "token ids, one axis of whole numbers",
    "FILE.idx": "Megatron's index, with the ids in the .bin beside it",
    "hf:FOLDER": "a dataset on this machine: its Parquet, Arrow or JSON files",
    "hf:NAME[:CONFIG][@MB]": "a dataset of the Hugging Face hub, its first megabytes; an extra",
}
RECORD_READERS: dict[str, Callable[[Path, str | None], list[bytes]]] = {
    ".parquet": parquet_documents,
    ".jsonl": json_documents,
    ".json": json_documents,
}
TOKEN_FILES = (".bin", ".npy", ".idx")
OPTIONS = {
    "text_field": "files of records: .jsonl, .json, .parquet and hf:",
    "glob": "folders",
    "token_dtype": "files of token ids: .bin, .npy and .idx",
}


@dataclass(frozen=True)
class Corpus:
    """Documents to train on, in the corpus's order, and held out, in the order of their hash.

    ``name`` carries no folder, so an identity built from it is the same on every machine. A
    document is UTF-8 text where ``is_text``, else little-endian token ids of ``token_dtype``.
    ``left_out`` says what was there and not read.
    """

    name: str
    train: tuple[bytes, ...]
    val: tuple[bytes, ...]
    is_text: bool = True
    token_dtype: str = "<u2"
    left_out: str = ""

    @property
    def sha256(self) -> str:
        """Of all documents, of where each ends, and of the split."""
        width = "" if self.token_dtype == "<u2" else self.token_dtype
        return hashlib.sha256((digest(self.train) + digest(self.val) + width).encode()).hexdigest()


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
    if corpus in NAMES or not corpus:
        return corpus
    if corpus.startswith(PREFIX):
        local = folder / parse(split_options(corpus)[0]).name
        return f"{PREFIX}{folder / corpus.removeprefix(PREFIX)}" if local.is_dir() else corpus
    return str(folder / corpus)


def split_options(corpus: str) -> tuple[str, dict[str, str]]:
    """A corpus's name or path, and the options behind it. Raises ``UserError``."""
    found = re.fullmatch(r"(.+?)((?::\w+=[^:]*)+)", corpus)
    if found is None or Path(corpus).exists():
        return corpus, {}
    options = assigned(found[2][1:].split(":"), "behind a corpus go options as OPTION=VALUE")
    for name, value in options.items():
        if name not in OPTIONS:
            raise unknown("option of a corpus", name, OPTIONS)
        if not value:
            raise UserError(f"{name} of corpus {found[1]!r} is empty")
    return found[1], options


def with_options(corpus: str, given: Mapping[str, str | None]) -> str:
    """The corpus with these options behind it, but for those that are ``None``."""
    return "".join([corpus, *(f":{key}={one}" for key, one in given.items() if one is not None)])


def read_corpus(corpus: str) -> Corpus:
    """Read a corpus by name or path. Raises ``UserError`` where that gives no usable text."""
    if not corpus:
        raise UserError("the corpus is '': give a name or a path")
    try:
        return _read(corpus, *split_options(corpus))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot read corpus {corpus!r}: {reason}") from None
    except MemoryError:
        raise UserError(f"corpus {corpus!r} does not fit into memory") from None


def _read(corpus: str, word: str, options: Mapping[str, str]) -> Corpus:
    if word in NAMES:
        _only(word, options)
        return _named(word)
    if word.startswith(PREFIX):
        _only(word, options, "text_field")
        documents = streamed_documents(word, options.get("text_field"))
        return _split(corpus, word, documents, left_out(word, documents))
    path = Path(word)
    if not path.exists():
        raise _missing(word)
    return _read_path(corpus, path, options)


def _named(name: str) -> Corpus:
    if name == "stdlib":
        return _split(name, name, stdlib_documents())
    train, val = synthetic.TRAIN_TOKENS, synthetic.VAL_TOKENS
    chains = (synthetic.chain(train, stream=1), synthetic.chain(val, stream=2))
    return _presplit(name, *(chain.astype("<u2") for chain in chains))


def _read_path(corpus: str, path: Path, options: Mapping[str, str]) -> Corpus:
    name, kind = path.resolve().name, suffix(path)
    if path.is_dir():
        _only(corpus, options, "glob")
        documents, others = text_folder_documents(path, options.get("glob"))
        return _split(corpus, name, documents, others)
    if kind == ".txt":
        _only(corpus, options)
        return _split(corpus, name, text_file_documents(path))
    if kind in RECORD_READERS and (kind == path.suffix or kind != ".parquet"):
        _only(corpus, options, "text_field")
        return _split(corpus, name, RECORD_READERS[kind](path, options.get("text_field")))
    if path.suffix in TOKEN_FILES:
        _only(corpus, options, "token_dtype")
        return _read_tokens(corpus, path, options.get("token_dtype"))
    raise UserError(
        f"corpus {corpus!r} is none of .txt, .jsonl, .parquet, .bin, .npy or a folder of texts"
    )


def _only(corpus: str, options: Mapping[str, str], *taken: str) -> None:
    """Raise the ``UserError`` of an option that this kind of corpus does not take."""
    for name in options.keys() - set(taken):
        raise UserError(f"corpus {corpus!r} takes no {name}: that is for {OPTIONS[name]}")


def _read_tokens(corpus: str, path: Path, token_dtype: str | None) -> Corpus:
    documents, given = token_documents(path, token_dtype), path.with_name("val.bin")
    if path.name == "train.bin" and given.exists():
        val = token_documents(given, token_dtype)
        return _presplit(path.name, np.concatenate(documents), np.concatenate(val))
    train, held_out = _held_out(corpus, [document.tobytes() for document in documents], len)
    return Corpus(path.name, train, held_out, False, documents[0].dtype.newbyteorder("<").str)


def _presplit(name: str, train: Ids, val: Ids) -> Corpus:
    kind = np.result_type(train, val).newbyteorder("<")
    parts = [(part.astype(kind).tobytes(),) for part in (train, val)]
    return Corpus(name, parts[0], parts[1], is_text=False, token_dtype=kind.str)


def _split(corpus: str, name: str, documents: list[bytes], others: str = "") -> Corpus:
    train, val = _held_out(corpus, documents, bytes.strip)
    return Corpus(name, train, val, left_out=others)


def _held_out(
    corpus: str, documents: list[bytes], content: Callable[[bytes], object]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The documents that have any ``content``, split."""
    filled = [document for document in documents if content(document)]
    if not filled:
        raise UserError(f"corpus {corpus!r} is empty")
    train, val = hold_out(filled)
    if not train:
        raise UserError(
            f"corpus {corpus!r} is too short: its one document of {len(filled[0])} bytes leaves "
            "none to hold out for validation"
        )
    return train, val


def _missing(corpus: str) -> UserError:
    """Of a name that is none, or of a path, which a slash or a suffix tells, where nothing is."""
    path = Path(corpus)
    folder = path.parent
    siblings = [str(one) for one in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(corpus, siblings, n=1, cutoff=0.4)
    if len(path.parts) > 1 or path.suffix:
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return UserError(f"there is no file or folder {corpus!r} for a corpus{hint}")
    return unknown("corpus", corpus, [*NAMES, *near])


def _sha256(document: bytes) -> bytes:
    return hashlib.sha256(document).digest()
