"""Documents to token ids: bytes, a BPE trained on the training documents, or a given tokenizer.

- ``bytes``: an id is a byte, and the byte 0, which text has no use for, ends a document.
- ``bpe:VOCAB``: byte pairs merged by frequency (Sennrich et al., arXiv:1508.07909) over UTF-8
  bytes, split into words as GPT-2 does. The last id ends a document; it is no piece of text, so
  no text can spell it.
- ``hf:NAME``: a tokenizer of the Hugging Face hub (of its cache, when offline), or the file
  ``tokenizer.json`` that NAME is a path of, or the folder of, with the id that it ends documents
  with itself.

Losses per token of different tokenizers do not compare, losses per byte do: so an encoding knows
how many bytes each of its ids stands for (1 for the end of a document, as in ``bytes``). Of a
given tokenizer that is known where its pieces are spelled in bytes, as GPT-2's are.

An encoded corpus is kept (``mugrow.bench.data.kept_ids``): it takes longer than training the BPE
does (a minute for 60 MB), and a worker that maps it needs neither the text nor memory for the ids.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers as library
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from mugrow.bench.data import kept_ids
from mugrow.bench.data.held_out import corpus_sha256, digest
from mugrow.bench.data.kept_ids import Encoded
from mugrow.bench.entries import in_one_line
from mugrow.bench.spec import UserError, unknown

SMALLEST_BPE, LARGEST_BPE = 257, 2**20
ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>")
DOCUMENTS_AT_ONCE = 8  # the library needs about 50 bytes of memory per byte that it encodes


def encode(tokenizer: str, train: Sequence[bytes], val: Sequence[bytes]) -> Encoded:
    """Encode documents, each ended by the end-of-document id, into one stream per split; or map
    what was encoded before.

    A BPE is trained on ``train`` alone. Raises ``UserError`` for a tokenizer that does not exist.
    """
    make = _maker(tokenizer, train, val)
    key = key_of(tokenizer, corpus_sha256(digest(train), digest(val)))
    if (kept := kept_ids.load(key)) is not None:
        return kept
    kept_ids.keep(key, encoded := make())
    return kept_ids.load(key, check=False) or encoded


def key_of(tokenizer: str, corpus_sha256: str) -> str:
    """What the ids of a corpus depend on: its hash, its tokenizer and the library's version. A
    tokenizer of a file is known by its content, since another may come to lie at its path."""
    kind, _, name = tokenizer.partition(":")
    if kind == "hf" and (file := tokenizer_file(name)) is not None:
        tokenizer = f"hf {hashlib.sha256(file.read_bytes()).hexdigest()}"
    return f"{tokenizer} {corpus_sha256} {library.__version__}"


def _maker(tokenizer: str, train: Sequence[bytes], val: Sequence[bytes]) -> Callable[[], Encoded]:
    kind, _, size = tokenizer.partition(":")
    if tokenizer == "bytes":
        return lambda: Encoded(_bytes(train), _bytes(val), np.ones(256, np.int64))
    if kind == "hf":
        return lambda: _encoded(given(size), train, val)
    if kind != "bpe":
        raise unknown("tokenizer", tokenizer, ("bytes", "bpe:4096", "hf:gpt2"))
    if not size.isdecimal() or not SMALLEST_BPE <= int(size) <= LARGEST_BPE:
        raise UserError(
            f"tokenizer {tokenizer!r}: the vocabulary of a BPE is a whole number from "
            f"{SMALLEST_BPE} (256 bytes and an end of document) to {LARGEST_BPE}, as in 'bpe:4096'"
        )
    return lambda: _encoded(trained(train, int(size)), train, val)


def _encoded(vocabulary: "Vocabulary", train: Sequence[bytes], val: Sequence[bytes]) -> Encoded:
    return Encoded(spelled(vocabulary, train), spelled(vocabulary, val), vocabulary.token_bytes)


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, the id that ends a document, and the bytes of each id, (vocab_size,)."""

    tokenizer: library.Tokenizer
    end: int
    token_bytes: npt.NDArray[np.int64]

    @property
    def sha256(self) -> str:
        """Of all that the tokenizer is, whatever file it came from."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()


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


def tokenizer_file(name: str) -> Path | None:
    """The file of ``hf:NAME``, where NAME is one or a folder that has one."""
    path = Path(name)
    path = path / "tokenizer.json" if path.is_dir() else path
    return path if path.is_file() else None


def given(name: str) -> Vocabulary:
    """A tokenizer of the hub, of a folder or of a file. Raises ``UserError``."""
    file = tokenizer_file(name)
    if file is None and (Path(name).is_dir() or name.endswith(".json")):
        raise UserError(f"tokenizer 'hf:{name}' has no tokenizer.json there")
    try:
        if file is not None:
            found = library.Tokenizer.from_file(str(file))
        else:
            found = library.Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises bare exceptions
        raise UserError(f"tokenizer 'hf:{name}' cannot be read: {in_one_line(error)}") from error
    found.no_truncation()  # a file may ask for either, and documents are whole
    found.no_padding()
    ends = [found.token_to_id(text) for text in ENDS]
    end = next((token for token in ends if token is not None), None)
    if end is None:
        raise UserError(f"tokenizer 'hf:{name}' has none of {', '.join(ENDS)} to end a document")
    size = max(found.get_vocab(with_added_tokens=True).values()) + 1
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
    return np.concatenate(
        [np.array(ids, dtype) for ids in spelled_one_by_one(vocabulary, documents)]
    )


def spelled_one_by_one(vocabulary: Vocabulary, documents: Iterable[bytes]) -> Iterator[list[int]]:
    """The ids of each document, ended."""
    left = iter(documents)
    while texts := [document.decode() for document in islice(left, DOCUMENTS_AT_ONCE)]:
        for encoding in vocabulary.tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            yield [*encoding.ids, vocabulary.end]


def _bytes(documents: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    ended = (part for document in documents for part in (document, b"\0"))
    return np.frombuffer(b"".join(ended), np.uint8)
