"""Documents to token ids: bytes, a BPE trained on the training documents, or a given tokenizer.

- ``bytes``: an id is a byte, and the byte 0, which text has no use for, ends a document.
- ``bpe:VOCAB``: byte pairs merged by frequency (Sennrich et al., arXiv:1508.07909) over UTF-8
  bytes, split into words as GPT-2 does. The last id ends a document; it is no piece of text, so
  no text can spell it.
- ``hf:NAME``: a tokenizer of the Hugging Face hub, or the file ``tokenizer.json`` that NAME is a
  path of, with the id that it ends documents with itself.

Losses per token of different tokenizers do not compare, losses per byte do: so an encoding knows
how many bytes each of its ids stands for (1 for the end of a document, as in ``bytes``). Of a
given tokenizer that is known where its pieces are spelled in bytes, as GPT-2's are.

Encoding takes far longer than training the BPE (a minute for 60 MB), so what is cached is the
encoded corpus, in ``$MUGROW_CACHE`` or the user's cache folder, under a hash of the documents, the
vocabulary and the library's version. An ``.npz`` carries checksums: a damaged one is built again.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tokenizers as library
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from mugrow.bench.data.cache import cache_folder
from mugrow.bench.data.corpora import digest
from mugrow.bench.entries import in_one_line
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError, unknown

SMALLEST_BPE, LARGEST_BPE = 257, 2**20
ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>")
DOCUMENTS_AT_ONCE = 8  # the library needs about 50 bytes of memory per byte that it encodes


class Encoded(NamedTuple):
    """Ids of the training (n,) and held-out (m,) documents; ``token_bytes`` (vocab_size,), all 0
    where they are not known."""

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
    if kind == "hf":
        return _given_encoded(size, train, val)
    if kind != "bpe":
        raise unknown("tokenizer", tokenizer, ("bytes", "bpe:4096", "hf:gpt2"))
    if not size.isdecimal() or not SMALLEST_BPE <= int(size) <= LARGEST_BPE:
        raise UserError(
            f"tokenizer {tokenizer!r}: the vocabulary of a BPE is a whole number from "
            f"{SMALLEST_BPE} (256 bytes and an end of document) to {LARGEST_BPE}, as in 'bpe:4096'"
        )
    return _cached(f"bpe {size}", train, val, lambda: trained(train, int(size)))


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, the id that ends a document, and the bytes of each id, (vocab_size,)."""

    tokenizer: library.Tokenizer
    end: int
    token_bytes: npt.NDArray[np.int64]


def trained(documents: Sequence[bytes], vocab_size: int) -> Vocabulary:
    """A BPE of at most ``vocab_size - 1`` pieces: fewer where the text holds too few pairs."""
    found = library.Tokenizer(BPE())
    found.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=2,
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    found.train_from_iterator((document.decode() for document in documents), trainer)
    return Vocabulary(found, vocab_size - 1, _piece_bytes(found, vocab_size))


def _given_encoded(name: str, train: Sequence[bytes], val: Sequence[bytes]) -> Encoded:
    """A file is known by its content, since another may come to lie at its path."""
    file = Path(name)
    content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else name
    return _cached(f"hf {content}", train, val, lambda: _given(name))


def _given(name: str) -> Vocabulary:
    """A tokenizer of the hub, or of a file. Raises ``UserError``."""
    try:
        if name.endswith(".json"):
            found = library.Tokenizer.from_file(name)
        else:
            found = library.Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises bare exceptions
        raise UserError(f"tokenizer 'hf:{name}' cannot be read: {in_one_line(error)}") from error
    ends = [found.token_to_id(text) for text in ENDS]
    end = next((token for token in ends if token is not None), None)
    if end is None:
        raise UserError(f"tokenizer 'hf:{name}' has none of {', '.join(ENDS)} to end a document")
    size = found.get_vocab_size()
    in_bytes = isinstance(found.decoder, decoders.ByteLevel)
    token_bytes = _piece_bytes(found, size) if in_bytes else np.zeros(size, np.int64)
    return Vocabulary(found, end, token_bytes)


def _piece_bytes(tokenizer: library.Tokenizer, size: int) -> npt.NDArray[np.int64]:
    """The byte-level alphabet spells a byte as one character; an end of document counts as one."""
    token_bytes = np.ones(size, np.int64)
    special = tokenizer.get_added_tokens_decoder()
    for piece, token in tokenizer.get_vocab().items():
        if token not in special:
            token_bytes[token] = len(piece)
    return token_bytes


def spelled(vocabulary: Vocabulary, documents: Sequence[bytes]) -> npt.NDArray[np.unsignedinteger]:
    """Ids of the smallest unsigned type, each document ended."""
    dtype = np.min_scalar_type(len(vocabulary.token_bytes) - 1)
    parts = []
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        texts = [document.decode() for document in documents[first : first + DOCUMENTS_AT_ONCE]]
        for encoding in vocabulary.tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            parts.append(np.array([*encoding.ids, vocabulary.end], dtype))
    return np.concatenate(parts)


def _cached(
    name: str, train: Sequence[bytes], val: Sequence[bytes], make: Callable[[], Vocabulary]
) -> Encoded:
    content = f"{name} {digest(train)} {digest(val)} {library.__version__}"
    path = cache_folder() / f"ids-{hashlib.sha256(content.encode()).hexdigest()}.npz"
    if (cached := _load(path)) is not None:
        return cached
    vocabulary = make()
    encoded = Encoded(spelled(vocabulary, train), spelled(vocabulary, val), vocabulary.token_bytes)
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
