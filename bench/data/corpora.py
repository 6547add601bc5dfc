"""A corpus by name or path: its documents, which of them are held out, and the hash of it all.

The rule of ``mugrow.bench.data.held_out`` splits every corpus but two, which come split already:
``synthetic``, and a nanoGPT ``train.bin`` that has its ``val.bin`` beside it. A corpus of texts is
read into memory, to be encoded; token ids stay in their file (``mugrow.bench.data.tokens``).

A path may have options behind it, as a method has parameters: ``notes.jsonl:text_field=body``,
``manual:glob=*.md``, ``ids.bin:token_dtype=uint32``. They say how a file is read; what a run's
identity holds is what was read.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mugrow.bench.data import synthetic
from mugrow.bench.data.held_out import NARROW, corpus_sha256, digest, hold_out
from mugrow.bench.data.readers import stdlib_documents, text_file_documents, text_folder_documents
from mugrow.bench.data.records import json_documents, parquet_documents, suffix
from mugrow.bench.data.splits import given_split, split, stream
from mugrow.bench.data.streamed import PREFIX, left_out, parse, streamed_documents
from mugrow.bench.data.token_files import TokenFile, open_token_file
from mugrow.bench.data.tokens import TokenData
from mugrow.bench.entries import assigned
from mugrow.bench.spec import UserError, unknown

NAMES = {
    "stdlib": "sources of the running Python's standard library, tests left out; no network",
    "synthetic": f"Markov source over {synthetic.SYMBOLS} symbols whose entropy is known exactly",
}
FORMATS = {
    "FILE.txt[.gz|.zst]": "UTF-8 text, cut into documents at blank lines, 16 kB or more each",
    "FOLDER[:glob=*.md]": "every .txt below it, or what the pattern matches, each a document",
    "FILE.jsonl[.gz|.zst]": "JSON objects, a line each; the field text, or :text_field=NAME",
    "FILE.parquet": "a column of strings, named text or the only one, or :text_field=NAME",
    "FILE.bin": "token ids: the type of a header, index or sidecar, else uint16, or :token_dtype=",
    "FILE.npy": "token ids, one axis of whole numbers",
    "FILE.idx": "Megatron's index, with the ids in the .bin beside it",
    "hf:FOLDER": "a dataset on this machine: its Parquet, Arrow or JSON files",
    "hf:NAME[:CONFIG][@MB]": "a dataset of the Hugging Face hub, its first megabytes; an extra",
}
RECORD_READERS: dict[str, Callable[[Path, str | None], Iterator[bytes]]] = {
    ".parquet": parquet_documents,
    ".jsonl": json_documents,
    ".ndjson": json_documents,
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
    document is UTF-8 text. ``left_out`` says what was there and not read.
    """

    name: str
    train: tuple[bytes, ...]
    val: tuple[bytes, ...]
    left_out: str = ""

    @cached_property
    def sha256(self) -> str:
        """Of all documents, of where each ends, and of the split."""
        return corpus_sha256(digest(self.train), digest(self.val))


def corpora() -> dict[str, str]:
    """What a corpus can be: a name or a kind of path, and one line on each."""
    return NAMES | FORMATS


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


def read_corpus(corpus: str) -> Corpus | TokenData:
    """Read a corpus by name or path: texts, or token ids. Raises ``UserError`` where that gives
    nothing usable."""
    with _named_errors(corpus):
        word, options = split_options(corpus)
        if word == "synthetic":
            _only(word, options)
            return _synthetic()
        path = Path(word)
        if _is_token_file(word):
            _only(corpus, options, "token_dtype")
            return _read_tokens(corpus, path, options.get("token_dtype"))
        texts = Documents(corpus)
        documents = [*texts]
        name = word if word in NAMES or word.startswith(PREFIX) else path.resolve().name
        return Corpus(name, *_split(corpus, documents), texts.left_out())


class Documents:
    """The documents of a corpus of texts one by one, in its order; blank ones are none. Raises
    ``UserError``, also while they are read."""

    def __init__(self, corpus: str) -> None:
        self.corpus, self.blank, self.read_bytes = corpus, 0, 0
        with _named_errors(corpus):
            self.word, options = split_options(corpus)
            if self.word == "synthetic" or _is_token_file(self.word):
                raise UserError(f"corpus {corpus!r} is token ids already")
            self.texts, self.others = _texts(corpus, self.word, options)

    def __iter__(self) -> Iterator[bytes]:
        with _named_errors(self.corpus):
            for text in self.texts:
                if text.strip():
                    self.read_bytes += len(text)
                    yield text
                else:
                    self.blank += 1

    def left_out(self) -> str:
        """What is left out, in words, once they have been read."""
        beyond = left_out(self.word, self.read_bytes) if self.word.startswith(PREFIX) else ""
        is_cut = self.word in NAMES or suffix(Path(self.word)) == ".txt"  # where ends are ours
        blank = "" if is_cut or not self.blank else f"{self.blank} blank or null"
        return ", ".join(filter(None, (self.others, blank, beyond)))


@contextmanager
def _named_errors(corpus: str) -> Iterator[None]:
    if not corpus:
        raise UserError("the corpus is '': give a name or a path")
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot read corpus {corpus!r}: {reason}") from None
    except MemoryError:
        raise UserError(f"corpus {corpus!r} does not fit into memory") from None


def _is_token_file(word: str) -> bool:
    path = Path(word)
    known = word in NAMES or word.startswith(PREFIX)
    return not known and path.suffix.lower() in TOKEN_FILES and path.exists() and not path.is_dir()


def _texts(corpus: str, word: str, options: Mapping[str, str]) -> tuple[Iterator[bytes], str]:
    """The documents of a corpus of texts, and what is left out of them, in words."""
    if word in NAMES:
        _only(word, options)
        return iter(stdlib_documents()), ""
    if word.startswith(PREFIX):
        _only(word, options, "text_field")
        return streamed_documents(word, options.get("text_field")), ""
    path = Path(word)
    if not path.exists():
        raise _missing(word)
    kind = suffix(path)
    if path.is_dir():
        _only(corpus, options, "glob")
        return text_folder_documents(path, options.get("glob"))
    if kind == ".txt":
        _only(corpus, options)
        return text_file_documents(path), ""
    if kind in RECORD_READERS and (kind == path.suffix.lower() or kind != ".parquet"):
        _only(corpus, options, "text_field")
        return RECORD_READERS[kind](path, options.get("text_field")), ""
    raise UserError(
        f"corpus {corpus!r} is none of .txt, .jsonl, .parquet, .bin, .npy or a folder of texts"
    )


def _only(corpus: str, options: Mapping[str, str], *taken: str) -> None:
    """Raise the ``UserError`` of an option that this kind of corpus does not take."""
    for name in options.keys() - set(taken):
        raise UserError(f"corpus {corpus!r} takes no {name}: that is for {OPTIONS[name]}")


def _read_tokens(corpus: str, path: Path, token_dtype: str | None) -> TokenData:
    """Ids as given. A vocabulary that nothing names is that of the largest id, padded to a multiple
    of 64 (GPT-2's 50257 → 50304)."""
    file, beside = open_token_file(path, token_dtype), path.with_name("val.bin")
    if path.name == "train.bin" and beside.exists():
        held_out = open_token_file(beside, token_dtype)
        _check_alike(file, held_out)
        found, stamps = given_split(file, held_out, token_dtype)
    else:
        held_out = file
        found, stamps = split(corpus, file, token_dtype)
    vocab_size = file.vocab_size or (found.largest // 64 + 1) * 64
    if found.largest >= vocab_size:
        raise UserError(
            f"corpus '{held_out.path}' has id {found.largest}, and the sidecar of {path.name} says "
            f"a vocabulary of {vocab_size}"
        )
    return TokenData(
        name=path.name,
        corpus_sha256=found.sha256,
        train=stream(file.ids, found.train),
        val=stream(held_out.ids, found.val),
        vocab_size=vocab_size,
        token_bytes=file.sidecar.token_bytes if file.sidecar else None,
        sidecar=file.sidecar,
        largest_id=found.largest,
        stamps=stamps,
    )


def _check_alike(train: TokenFile, val: TokenFile) -> None:
    """Refuse two files that say of themselves that their vocabularies differ."""
    sizes = (train.vocab_size, val.vocab_size)
    if val.vocab_size is not None and sizes[0] != sizes[1]:
        theirs = sizes[0] or "none"
        raise UserError(
            f"'{val.path}' says a vocabulary of {sizes[1]}, and '{train.path}' {theirs}"
        )


def _synthetic() -> TokenData:
    train, val = (
        synthetic.chain(length, stream).astype(NARROW)
        for stream, length in ((1, synthetic.TRAIN_TOKENS), (2, synthetic.VAL_TOKENS))
    )
    sha256 = corpus_sha256(digest([train.tobytes()]), digest([val.tobytes()]))
    vocab_size = (max(int(part.max()) for part in (train, val)) // 64 + 1) * 64
    return TokenData("synthetic", sha256, train, val, vocab_size, None)


def _split(corpus: str, documents: list[bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    if not documents:
        raise UserError(f"corpus {corpus!r} is empty")
    train, val = hold_out(documents)
    if not train:
        raise UserError(
            f"corpus {corpus!r} is too short: its one document of {len(documents[0])} bytes leaves "
            "none to hold out for validation"
        )
    return train, val


def _missing(corpus: str) -> UserError:
    """Of a name that is none, or of a path, which a slash or a suffix tells, where nothing is."""
    path = Path(corpus)
    if path.is_symlink():
        return UserError(f"corpus {corpus!r} is a link to what is not there")
    folder = path.parent
    siblings = [str(one) for one in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(corpus, siblings, n=1, cutoff=0.4)
    if len(path.parts) > 1 or path.suffix:
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return UserError(f"there is no file or folder {corpus!r} for a corpus{hint}")
    return unknown("corpus", corpus, [*NAMES, *near])
