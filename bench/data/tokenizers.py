"""Documents to token ids: bytes, or a byte-level BPE trained on the corpus's training documents.

- ``bytes``: an id is a byte, and the byte 0, which text has no use for, ends a document.
- ``bpe:VOCAB``: byte pairs merged by frequency (Sennrich et al., arXiv:1508.07909) over UTF-8
  bytes, split into words as GPT-2 does. The last id ends a document; it is no piece of text, so
  no text can spell it.

Losses per token of different tokenizers do not compare, losses per byte do: so an encoding knows
how many bytes each of its ids stands for (1 for the end of a document, as in ``bytes``).

Encoding takes far longer than training the BPE (a minute for 60 MB), so what is cached is the
encoded corpus, in ``$MUGROW_CACHE`` or the user's cache folder, under a hash of the documents, the
vocabulary and the library's version. An ``.npz`` carries checksums: a damaged one is built again.
"""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tokenizers as library
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from bench.data.corpora import digest
from bench.record import write_atomically
from bench.spec import UserError, unknown

SMALLEST_BPE, LARGEST_BPE = 257, 2**20
DOCUMENTS_AT_ONCE = 8  # the library needs about 50 bytes of memory per byte that it encodes


class Encoded(NamedTuple):
    """Ids of the training (n,) and held-out (m,) documents; ``token_bytes`` (vocab_size,)."""

    train: npt.NDArray[np.unsignedinteger]
    val: npt.NDArray[np.unsignedinteger]
    token_bytes: npt.NDArray[np.int64]


def encode(tokenizer: str, train: Sequence[bytes], val: Sequence[bytes]) -> Encoded:
    """Encode documents, each ended by the end-of-document id, into one stream per split.

    A BPE is trained on ``train`` alone. Raises ``UserError`` for a tokenizer that does not exist.
    """
    if tokenizer == "bytes":
        return Encoded(_bytes(train), _bytes(val), np.ones(256, np.int64))
    kind, _, size = tokenizer.partition(":")
    if kind != "bpe":
        raise unknown("tokenizer", tokenizer, ("bytes", "bpe:4096"))
    if not size.isdecimal() or not SMALLEST_BPE <= int(size) <= LARGEST_BPE:
        raise UserError(
            f"tokenizer {tokenizer!r}: the vocabulary of a BPE is a whole number from "
            f"{SMALLEST_BPE} (256 bytes and an end of document) to {LARGEST_BPE}, as in 'bpe:4096'"
        )
    return _cached_bpe(train, val, int(size))


def train_bpe(documents: Sequence[bytes], vocab_size: int) -> library.Tokenizer:
    """A BPE of at most ``vocab_size - 1`` pieces: fewer where the text holds too few pairs."""
    trained = library.Tokenizer(BPE())
    trained.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=2,
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator((document.decode() for document in documents), trainer)
    return trained


def encode_bpe(
    trained: library.Tokenizer, documents: Sequence[bytes], vocab_size: int
) -> npt.NDArray[np.unsignedinteger]:
    """Ids of the smallest unsigned type; after each document comes the id ``vocab_size - 1``."""
    dtype = np.min_scalar_type(vocab_size - 1)
    parts = []
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        texts = [document.decode() for document in documents[first : first + DOCUMENTS_AT_ONCE]]
        for encoding in trained.encode_batch_fast(texts):
            parts.append(np.array([*encoding.ids, vocab_size - 1], dtype))
    return np.concatenate(parts)


def cache_folder() -> Path:
    """``$MUGROW_CACHE``, else ``mugrow`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    if chosen := os.environ.get("MUGROW_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mugrow"


def _cached_bpe(train: Sequence[bytes], val: Sequence[bytes], vocab_size: int) -> Encoded:
    content = f"{digest(train)} {digest(val)} {library.__version__}"
    path = cache_folder() / f"bpe-{vocab_size}-{hashlib.sha256(content.encode()).hexdigest()}.npz"
    if (cached := _load(path)) is not None:
        return cached
    trained = train_bpe(train, vocab_size)
    token_bytes = np.ones(vocab_size, np.int64)
    for piece, token in trained.get_vocab().items():
        token_bytes[token] = len(piece)  # the byte-level alphabet spells a byte as one character
    encoded = Encoded(
        encode_bpe(trained, train, vocab_size), encode_bpe(trained, val, vocab_size), token_bytes
    )
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_atomically(path, lambda temporary: _save(temporary, encoded))
    return encoded


def _load(path: Path) -> Encoded | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Encoded(*(arrays[name] for name in Encoded._fields))
    except Exception:  # missing, or damaged in whatever way: it can always be built again
        return None


def _save(path: Path, encoded: Encoded) -> None:
    with path.open("wb") as file:  # given a name, NumPy would append .npz to it
        np.savez(file, **encoded._asdict())


def _bytes(documents: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    ended = (part for document in documents for part in (document, b"\0"))
    return np.frombuffer(b"".join(ended), np.uint8)
