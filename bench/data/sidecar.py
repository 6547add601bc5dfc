"""What stands beside a bare file of token ids and says what they are: ``NAME.bin.json``.

    {"dtype": "uint16", "tokens": 412345, "vocab_size": 50257, "separator": 50256, ...}

``dtype`` must be there; all else may be missing. With ``tokens`` a file that was cut is seen, with
``vocab_size`` a model has as many rows as the tokenizer and no id is above it, with ``separator``
documents end where the texts did, with ``sha256`` a damaged file is seen, and with ``token_bytes``,
the bytes of text that each id stands for, a loss is known per byte. What else is in it is for
people, and where the ids come from: ``mugrow.bench.data.tokenized``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mugrow.bench.spec import UserError

TOKEN_DTYPES = ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64")
LARGEST_ID = 2**20


@dataclass(frozen=True, eq=False)
class Sidecar:
    """What is known of a file of ids; ``token_bytes`` has shape (vocab_size,)."""

    dtype: str
    tokens: int | None = None
    vocab_size: int | None = None
    separator: int | None = None
    sha256: str | None = None
    tokenizer: str | None = None
    tokenizer_sha256: str | None = None
    token_bytes: npt.NDArray[np.int64] | None = None


def sidecar_of(path: Path) -> Path:
    """Where the sidecar of a file lies."""
    return path.with_name(f"{path.name}.json")


def read_sidecar(path: Path) -> Sidecar | None:
    """The sidecar of a file of ids, if it has one. Raises ``UserError`` for one that says nothing
    that can be."""
    beside = sidecar_of(path)
    try:
        given = json.loads(beside.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise UserError(f"'{beside}', the sidecar of {path.name}, is not JSON") from None
    if not isinstance(given, dict) or "dtype" not in given:
        raise UserError(f"'{beside}' says no dtype, so it is no sidecar of {path.name}")
    if given["dtype"] not in TOKEN_DTYPES:
        raise _wrong(beside, "dtype", given["dtype"], f"one of {', '.join(TOKEN_DTYPES)}")
    vocab_size = _number(beside, given, "vocab_size", 1, LARGEST_ID + 1)
    return Sidecar(
        dtype=given["dtype"],
        tokens=_number(beside, given, "tokens", 0, 2**62),
        vocab_size=vocab_size,
        separator=_number(beside, given, "separator", 0, (vocab_size or LARGEST_ID + 1) - 1),
        sha256=_word(beside, given, "sha256"),
        tokenizer=_word(beside, given, "tokenizer"),
        tokenizer_sha256=_word(beside, given, "tokenizer_sha256"),
        token_bytes=_token_bytes(beside, given.get("token_bytes"), vocab_size),
    )


def _number(
    beside: Path, given: Mapping[str, object], name: str, least: int, most: int
) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(beside, name, value, f"a whole number from {least} to {most}")
    return value


def _word(beside: Path, given: Mapping[str, object], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(beside, name, value, "a text")
    return value


def _token_bytes(
    beside: Path, value: object, vocab_size: int | None
) -> npt.NDArray[np.int64] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != vocab_size
        or not all(type(one) is int and 0 < one < 2**31 for one in value)
    ):
        raise UserError(f"'{beside}': token_bytes is no list of vocab_size whole numbers above 0")
    return np.array(value, np.int64)


def _wrong(beside: Path, name: str, value: object, wanted: str) -> UserError:
    return UserError(f"'{beside}': {name} is {str(value)[:40]!r}, not {wanted}")
