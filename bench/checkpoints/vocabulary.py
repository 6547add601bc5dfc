"""How many tokens the tokenizer beside a checkpoint has, where its files say so plainly.

``tokenizer.json`` is read by the library that wrote it. Older files are read as far as they can be
without theirs: ``vocab.json`` maps tokens to ids, ``vocab.txt`` has a token a line, and
SentencePiece's ``tokenizer.model`` or ``spiece.model`` is a protocol buffer that holds its field 1
once a piece. To these, ``added_tokens.json`` and ``tokenizer_config.json`` may add. What does not
say are ``tekken.json`` and tiktoken's ``tokenizer.model``, whose special tokens are in code.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from mugrow.bench.spec import UserError

FILES = (
    "tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "vocab.txt", "tekken.json",
)  # fmt: skip
"""What a tokenizer may be in, in the order in which they are looked for."""


class Vocabulary(NamedTuple):
    """The ``file`` that a tokenizer is in, ``None`` without one, and how many ``tokens`` it has,
    one more than the largest id; ``None`` where it does not say."""

    file: str | None
    tokens: int | None


def vocabulary(beside: Mapping[str, bytes], where: str) -> Vocabulary:
    """Of the files beside a checkpoint, by name. Raises ``UserError`` for one that is damaged."""
    file = next((name for name in FILES if name in beside), None)
    if file is None:
        return Vocabulary(None, None)
    try:
        ids = _ids(file, beside)
    except Exception as error:  # the libraries raise bare Exceptions
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"{where}: {file} cannot be read: {reason}") from error
    if ids is not None and not ids:
        raise UserError(f"{where}: {file} has no tokens")
    return Vocabulary(file, None if ids is None else max(ids) + 1)


def _ids(file: str, beside: Mapping[str, bytes]) -> set[int] | None:
    """The largest id, and perhaps others; ``None`` where that cannot be told."""
    if file == "tokenizer.json":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(beside[file].decode())
        return set(tokenizer.get_vocab(with_added_tokens=True).values())
    own: set[int]
    if file == "vocab.json":
        own = set(_numbers(beside, file).values())
    elif file == "vocab.txt":
        own = set(range(len(beside[file].splitlines())))
    else:
        pieces = count_pieces(beside[file])
        if pieces is None:
            return None
        own = set(range(pieces))
    decoder = _json(beside, "tokenizer_config.json").get("added_tokens_decoder") or {}
    return own | set(_numbers(beside, "added_tokens.json").values()) | {int(key) for key in decoder}


def _numbers(beside: Mapping[str, bytes], name: str) -> dict[str, int]:
    """An object of whole numbers, empty where the file is not there."""
    found = _json(beside, name)
    return {token: int(number) for token, number in found.items()}


def _json(beside: Mapping[str, bytes], name: str) -> dict[str, Any]:
    value = json.loads(beside.get(name, b"{}"))
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def count_pieces(content: bytes) -> int | None:
    """How often a protocol buffer holds its field 1, which begins it; ``None`` of what is none.

    The wire format: a key, ``field << 3 | type``, and a value: a number (0), 8 bytes (1), a length
    and so many bytes (2), or 4 bytes (5). Numbers have 7 bits a byte, the lowest first.
    """
    place, found, end = 0, 0, len(content)
    if not content.startswith(b"\x0a"):
        return None
    try:
        while place < end:
            key, place = _varint(content, place)
            if key & 7 == 0:
                _, place = _varint(content, place)
            elif key & 7 == 2:
                length, place = _varint(content, place)
                place += length
            elif key & 7 in FIXED:
                place += FIXED[key & 7]
            else:
                return None
            found += key >> 3 == 1
    except IndexError:
        return None
    return found if place == end else None


FIXED = {1: 8, 5: 4}


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
