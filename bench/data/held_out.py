"""Which documents are held out, and the hash of a corpus: both from the hashes of its documents.

One rule splits every corpus: documents are taken in the order of their sha256 until they make up
5 % of the bytes, and those are the validation documents. The order is as good as random, so the
split is no alphabetical tail; it depends on nothing but the text, so it is the same for every
seed; and copies of a document share a hash, so none is trained on and validated on.

The hash of a corpus covers the documents after the split. A hash per document comes first, so
that where documents end counts too.
"""

import hashlib
from collections.abc import Iterable, Sequence

HELD_OUT = 0.05
NARROW = "<u2"  # the type of token ids that the hash does not name


def sha256(document: bytes) -> bytes:
    """Of one document, 32 bytes."""
    return hashlib.sha256(document).digest()


def digest(documents: Iterable[bytes]) -> str:
    """The sha256 of a list of documents, in which their borders count."""
    return digest_of_hashes(map(sha256, documents))


def digest_of_hashes(hashes: Iterable[bytes]) -> str:
    """``digest`` of the documents that have these hashes."""
    found = hashlib.sha256()
    for one in hashes:
        found.update(one)
    return found.hexdigest()


def corpus_sha256(train: str, val: str, token_dtype: str = NARROW) -> str:
    """Of a corpus, from the digests of its two parts and the type of its ids."""
    width = "" if token_dtype == NARROW else token_dtype
    return hashlib.sha256((train + val + width).encode()).hexdigest()


def hold_out_places(hashes: Sequence[bytes], sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Split documents by their hashes and sizes in bytes: the places of those to train on, in their
    order, and of the validation documents, at least 5 % of the bytes, in the order of the hash."""
    enough = HELD_OUT * sum(sizes)
    val: list[int] = []
    size, last = 0, b""
    for place in sorted(range(len(hashes)), key=hashes.__getitem__):
        if size >= enough and hashes[place] != last:
            break
        val.append(place)
        size, last = size + sizes[place], hashes[place]
    return [place for place, one in enumerate(hashes) if one > last], val


def hold_out(documents: Sequence[bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Split documents into (train, validation)."""
    train, val = hold_out_places([*map(sha256, documents)], [*map(len, documents)])
    return tuple(documents[place] for place in train), tuple(documents[place] for place in val)
