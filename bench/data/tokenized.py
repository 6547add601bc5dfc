"""Texts to a file of token ids, as long as they may be.

    documents -> ids of each, ended by the separator -> NAME.bin, NAME.bin.json

The texts are gone through twice, a document at a time, so memory holds one document and not the
corpus. The first time they are counted and hashed: whatever is wrong with them is known before
anything is encoded, and how long the rest takes can be said. The second time they are encoded.

What is encoded goes to ``.NAME.bin.part``, and every few seconds it is noted how many documents are
safely there. A program that was killed goes on behind the last of them: ids depend on their
document alone, so the file is the same byte for byte. It gets its name when it is whole.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np

from mugrow.bench.checksums import sha256_of_file
from mugrow.bench.data.corpora import Documents
from mugrow.bench.data.held_out import digest, sha256
from mugrow.bench.data.sidecar import read_sidecar, sidecar_of
from mugrow.bench.data.tokenizers import Vocabulary, given, spelled_one_by_one
from mugrow.bench.files import flush, left_behind, write_bytes
from mugrow.bench.spec import UserError, unknown

SAVE_EVERY_S = 5.0
BYTES = "bytes"


@dataclass(frozen=True)
class Texts:
    """What the texts are: their documents, bytes and hash, in which where documents end counts; and
    what of a corpus is not read, by its name."""

    documents: int
    text_bytes: int
    sha256: str
    left_out: dict[str, str]


@dataclass(frozen=True)
class Progress:
    """How far it is: ``doing`` is "reading" or "encoding", of so many bytes of text, if known."""

    doing: str
    done_bytes: int
    all_bytes: int | None = None
    left_s: float | None = None


@dataclass(frozen=True)
class Tokenized:
    """A file of token ids, as its sidecar has it, but for ``token_bytes``; ``left_out`` is what of
    each corpus was not read."""

    path: Path
    dtype: str
    tokens: int
    vocab_size: int
    separator: int
    sha256: str
    tokenizer: str
    tokenizer_sha256: str
    source: tuple[str, ...]
    source_sha256: str
    documents: int
    text_bytes: int
    left_out: dict[str, str]


@dataclass(frozen=True)
class _Encoder:
    """A tokenizer, by its name and hash; without ``vocabulary`` an id is a byte."""

    name: str
    sha256: str
    vocabulary: Vocabulary | None

    @property
    def token_bytes(self) -> list[int] | None:
        if self.vocabulary is None:
            return [1] * 256
        known = self.vocabulary.token_bytes
        return known.tolist() if known.any() else None

    @property
    def vocab_size(self) -> int:
        return 256 if self.vocabulary is None else len(self.vocabulary.token_bytes)

    @property
    def separator(self) -> int:
        return 0 if self.vocabulary is None else self.vocabulary.end

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype("<u2" if self.vocab_size <= 2**16 else "<u4")

    def ids(self, documents: Iterator[bytes]) -> Iterator[bytes]:
        """Of each document, ended, as they stand in the file."""
        if self.vocabulary is None:
            for document in documents:
                yield np.frombuffer(document + b"\0", np.uint8).astype(self.dtype).tobytes()
            return
        for ids in spelled_one_by_one(self.vocabulary, documents):
            yield np.array(ids, self.dtype).tobytes()


def tokenize(
    corpora: Sequence[str],
    tokenizer: str,
    out: Path,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Tokenized:
    """Encode the documents of corpora of texts, one corpus behind the other, to the file ``out``,
    and write what it is beside it. Goes on where it was stopped; a file that is there already, of
    the same texts and tokenizer, is left as it is. Raises ``UserError``, and ``OSError``.

    ``tokenizer`` is ``bytes`` or ``hf:NAME``, of the hub, a folder or a file. ``show`` is called
    again and again.
    """
    if out.suffix != ".bin":
        raise UserError(f"-o writes token ids to a file NAME.bin, not to '{out}'")
    encoder = _encoder(tokenizer)
    texts = _read(corpora, show)
    if out.exists():
        return _already(out, corpora, encoder, texts)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    with _alone(part, out) as file:
        _encode(corpora, encoder, texts, part, file, show)
        flush(part)
        tokens = file.tell() // encoder.dtype.itemsize
        found = _described(out, corpora, encoder, texts, tokens, sha256_of_file(part))
        about = {k: v for k, v in asdict(found).items() if k not in ("path", "left_out")}
        about["token_bytes"] = encoder.token_bytes
        lines = (f'"{key}": {json.dumps(value)}' for key, value in about.items())
        write_bytes(sidecar_of(out), ("{\n" + ",\n".join(lines) + "\n}\n").encode())
        os.replace(part, out)  # last: a file with its name has its sidecar
        _note_of(part).unlink(missing_ok=True)
    return found


def _described(
    out: Path, corpora: Sequence[str], encoder: _Encoder, texts: Texts, tokens: int, sha256: str
) -> Tokenized:
    return Tokenized(
        path=out,
        dtype=encoder.dtype.name,
        tokens=tokens,
        vocab_size=encoder.vocab_size,
        separator=encoder.separator,
        sha256=sha256,
        tokenizer=encoder.name,
        tokenizer_sha256=encoder.sha256,
        source=tuple(corpora),
        source_sha256=texts.sha256,
        documents=texts.documents,
        text_bytes=texts.text_bytes,
        left_out=texts.left_out,
    )


def _encoder(tokenizer: str) -> _Encoder:
    kind, _, name = tokenizer.partition(":")
    if tokenizer == BYTES:
        return _Encoder(BYTES, hashlib.sha256(BYTES.encode()).hexdigest(), None)
    if kind == "bpe":
        raise UserError(
            f"tokenizer {tokenizer!r} is trained on a study's own training documents: "
            f"run --set tokenizer={tokenizer}; tokenize takes 'bytes' or 'hf:NAME'"
        )
    if kind != "hf" or not name:
        raise unknown("tokenizer", tokenizer, (BYTES, "hf:gpt2"))
    vocabulary = given(name)
    return _Encoder(tokenizer, vocabulary.sha256, vocabulary)


def _read(corpora: Sequence[str], show: Callable[[Progress], None]) -> Texts:
    """Count and hash the texts. Raises ``UserError`` where one cannot be read."""
    documents = text_bytes = 0
    left_out = {}

    def counted() -> Iterator[bytes]:
        nonlocal documents, text_bytes
        for corpus in corpora:
            texts, before = Documents(corpus), documents
            for text in texts:
                documents, text_bytes = documents + 1, text_bytes + len(text)
                show(Progress("reading", text_bytes))
                yield text
            if documents == before:
                raise UserError(f"corpus {corpus!r} is empty")
            left_out[corpus] = texts.left_out()

    found = digest(counted())
    return Texts(documents, text_bytes, found, {k: v for k, v in left_out.items() if v})


def _texts(corpora: Sequence[str]) -> Iterator[bytes]:
    return chain.from_iterable(map(Documents, corpora))


def _encode(
    corpora: Sequence[str],
    encoder: _Encoder,
    texts: Texts,
    part: Path,
    file: IO[bytes],
    show: Callable[[Progress], None],
) -> None:
    """Write the ids of all documents to the file, those behind what is safely there."""
    about = {"source_sha256": texts.sha256, "tokenizer_sha256": encoder.sha256}
    documents, written = _safe(part, file, about)
    file.truncate(written)
    file.seek(written)
    found = hashlib.sha256()
    done_bytes = 0
    every = _texts(corpora)
    for text in islice(every, documents):
        found.update(sha256(text))
        done_bytes += len(text)
    began_s = saved_s = time.monotonic()
    began_bytes = done_bytes
    sizes: list[int] = []

    def seen() -> Iterator[bytes]:  # the library is given some documents at a time
        for text in every:
            found.update(sha256(text))
            sizes.append(len(text))
            yield text

    for ids in encoder.ids(seen()):
        file.write(ids)
        documents, done_bytes = documents + 1, done_bytes + sizes.pop(0)
        now_s = time.monotonic()
        if now_s - saved_s > SAVE_EVERY_S:
            file.flush()
            os.fsync(file.fileno())
            note = about | {"documents": documents, "bytes": file.tell()}
            write_bytes(_note_of(part), json.dumps(note).encode())
            saved_s = now_s
        rate = (done_bytes - began_bytes) / max(now_s - began_s, 1e-9)
        left_s = (texts.text_bytes - done_bytes) / rate if now_s - began_s > 1 else None
        show(Progress("encoding", done_bytes, texts.text_bytes, left_s))
    file.flush()
    if found.hexdigest() != texts.sha256:
        raise UserError(f"corpus {corpora[0]!r} was changed while it was read: begin again")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _safe(part: Path, file: IO[bytes], about: dict[str, str]) -> tuple[int, int]:
    """How many documents, and bytes of their ids, are safely in the file: of these texts and this
    tokenizer, else none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_of(part).read_bytes())
        size = os.fstat(file.fileno()).st_size
        documents, written = int(note["documents"]), int(note["bytes"])
        if about == {key: note[key] for key in about} and 0 <= written <= size:
            return documents, written
    return 0, 0


@contextmanager
def _alone(part: Path, out: Path) -> Iterator[IO[bytes]]:
    """The unfinished file, locked: two programs that write one file would spoil it."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(file.fileno()), part.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise UserError(f"'{out}' is being written by another mugrow tokenize")
        for left in left_behind(out.parent, (_note_of(part).name, sidecar_of(out).name)):
            left.unlink(missing_ok=True)
        yield file


def _already(out: Path, corpora: Sequence[str], encoder: _Encoder, texts: Texts) -> Tokenized:
    """What is there, if it is what would be written."""
    sidecar = read_sidecar(out)
    if sidecar is None:
        raise UserError(f"'{out}' exists and has no sidecar; remove it, or choose another -o")
    about = json.loads(sidecar_of(out).read_bytes())
    wanted = {
        "source_sha256": texts.sha256,
        "tokenizer_sha256": encoder.sha256,
        "vocab_size": encoder.vocab_size,
        "separator": encoder.separator,
    }
    for key, value in wanted.items():
        if about.get(key) != value:
            what = "texts" if key == "source_sha256" else "tokenizer"
            raise UserError(f"'{out}' exists, of other {what}; remove it, or choose another -o")
    found = _described(out, corpora, encoder, texts, sidecar.tokens or 0, sidecar.sha256 or "")
    size = found.tokens * encoder.dtype.itemsize
    if out.stat().st_size != size or sha256_of_file(out) != found.sha256:
        raise UserError(f"'{out}' exists and is not what was written; remove it")
    return found
