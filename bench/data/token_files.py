"""Files of token ids: what says how wide an id is, and what is refused where nothing does.

    NAME.npy           NumPy's own header: any kind of whole number, one axis
    NAME.bin + .idx    Megatron's pair: the index has the type, and where documents end
    NAME.bin           a header of 256 int32 (llm.c, modded-nanogpt): magic, version, count
    NAME.bin           ids alone: uint16, as nanoGPT writes them, or as ``token_dtype`` says

Ids alone say nothing of their width. Read as uint16, a file of uint32 has a zero for every other
id: a model soon knows those, and its loss is half of the true one. So a file whose ids are nothing
like uint16 is refused, and asked for its width.

Ids are kept as the smallest of uint16 and uint32 that holds all of them, so a corpus is the same
whatever the width of its file.
"""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mugrow.bench.entries import in_one_line
from mugrow.bench.spec import UserError, unknown

Ids = npt.NDArray[np.unsignedinteger]

TOKEN_DTYPES = ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64")
LARGEST_ID = 2**20
HEADER_INTS = 256
HEADERS = {20240520: (1, "uint16"), 20240801: (7, "uint32")}  # magic: version and type, as llm.c's
INDEX_MAGIC = b"MMIDIDX\x00\x00"
INDEX_DTYPES = {1: "uint8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}  # Megatron's codes
BLOCK_TOKENS = 8_192
END_OF_TEXT = 50_256  # GPT-2's <|endoftext|>
FEWEST_TO_TELL = 32  # ids, of which the width shows
FEWEST_BYTES_TO_TELL = 8_192


def token_documents(path: Path, token_dtype: str | None = None) -> list[Ids]:
    """The ids of a file, an array a document, all of one type.

    Documents end where an index says; else after GPT-2's end of text, where there is any and all
    ids fit 16 bits; else they are blocks of 8192. Raises ``UserError``.
    """
    if token_dtype is not None and token_dtype not in TOKEN_DTYPES:
        raise unknown("token dtype", token_dtype, TOKEN_DTYPES)
    index = path if path.suffix == ".idx" else path.with_suffix(".idx")
    ends: npt.NDArray[np.integer]
    if path.suffix != ".npy" and index.exists():
        raw, ends = _indexed(index, token_dtype)
        ids = _narrow(index.with_suffix(".bin"), raw)
    else:
        ids = _narrow(path, _npy(path, token_dtype) if path.suffix == ".npy"
                      else _bin(path, token_dtype))  # fmt: skip
        ends = _ends(ids)
    return np.split(ids, ends)


def _ends(ids: Ids) -> npt.NDArray[np.integer]:
    ends = np.flatnonzero(ids == END_OF_TEXT) + 1 if ids.dtype == np.uint16 else np.array([], int)
    return ends if ends.size else np.arange(BLOCK_TOKENS, len(ids), BLOCK_TOKENS)


def _narrow(path: Path, ids: npt.NDArray[np.integer]) -> Ids:
    """The ids as uint16 or uint32. Refuses what can be no ids."""
    if not ids.size:
        raise UserError(f"corpus '{path}' is empty")
    smallest, largest = int(ids.min()), int(ids.max())
    if smallest < 0 or largest > LARGEST_ID:
        place = int(np.argmax((ids < 0) | (ids > LARGEST_ID)))
        wrong = ids[place]
        raise UserError(
            f"corpus '{path}' read as {ids.dtype} has {wrong} at {place}, which is no token id: "
            f"say how wide its ids are, --token-dtype {_other(ids.dtype)}"
        )
    return ids.astype("<u2" if largest < 2**16 else "<u4")


def _other(dtype: np.dtype[np.integer]) -> str:
    return "uint16" if dtype.itemsize > 2 else "uint32"


def _bin(path: Path, token_dtype: str | None) -> npt.NDArray[np.integer]:
    raw = path.read_bytes()
    if token_dtype is None and (found := _with_header(path, raw)) is not None:
        return found
    told = np.dtype(token_dtype or "uint16").newbyteorder("<")
    if len(raw) % told.itemsize:
        size = {2: "an even size", 4: "a multiple of 4", 8: "a multiple of 8"}[told.itemsize]
        raise UserError(f"corpus '{path}' has {len(raw)} bytes: {told} token ids need {size}")
    if token_dtype is None and (reason := _unlike_uint16(raw)):
        raise UserError(f"corpus '{path}' is not uint16 token ids: {reason}")
    return np.frombuffer(raw, told)


def _with_header(path: Path, raw: bytes) -> npt.NDArray[np.integer] | None:
    """The ids behind a header of 256 int32, if there is one."""
    size = 4 * HEADER_INTS
    if len(raw) < size:
        return None
    magic, version, count, *rest = struct.unpack(f"<{HEADER_INTS}i", raw[:size])
    if magic not in HEADERS:
        if magic and not any(rest) and len(raw) > 2 * size and any(raw[size : 2 * size]):
            known = " and ".join(map(str, HEADERS))
            raise UserError(
                f"corpus '{path}' begins like a header of {HEADER_INTS} int32 of magic {magic}; "
                f"known are {known}. If it has none, give --token-dtype"
            )
        return None
    wanted, dtype = HEADERS[magic]
    if version != wanted:
        raise UserError(
            f"corpus '{path}' has a header of magic {magic} and version {version}, not {wanted}"
        )
    width = np.dtype(dtype).itemsize
    if (len(raw) - size) != count * width:
        raise UserError(
            f"corpus '{path}' has {len(raw) - size} bytes behind its header, not {count * width}: "
            f"{count} ids of {dtype}; is it whole?"
        )
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"), offset=size)


def _unlike_uint16(raw: bytes) -> str | None:
    """Why ids are surely not uint16; ``None`` where they may be.

    Of 32-bit ids every other 16-bit word is the upper half, below 16 in any vocabulary. Of plain
    bytes, as of text, those at even and at odd places are alike; the lower and the upper half of
    an id are not.
    """
    ids = np.frombuffer(raw, "<u2")
    if len(ids) < FEWEST_TO_TELL:
        return None
    lower, upper = ids[::2], ids[1::2]
    small = bool(((upper < 16) | (upper == 2**16 - 1)).all())
    if small and (lower.max() >= 16 or not upper.any()) and lower.any():
        wide = len(ids) % 4 == 0 and not ids[2::4].any() and not ids[3::4].any()
        likely = "uint64" if wide else "uint32"
        return f"every other is an upper half; give --token-dtype, which looks like {likely}"
    if len(raw) < FEWEST_BYTES_TO_TELL:
        return None
    pairs = np.frombuffer(raw, np.uint8)
    even, odd = (np.bincount(part, minlength=256) / len(ids) for part in (pairs[::2], pairs[1::2]))
    if np.abs(even - odd).sum() / 2 < 0.1:
        return "its bytes at even and at odd places are alike, as a text's are; is it a text? "\
               "If it has ids, give --token-dtype"  # fmt: skip
    return None


def _npy(path: Path, token_dtype: str | None) -> npt.NDArray[np.integer]:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise UserError(f"corpus '{path}' is not a whole .npy file: {in_one_line(error)}") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.ndim != 1:
        what = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "more"
        raise UserError(f"corpus '{path}' is not one axis of whole numbers, but {what}")
    _agree(path, found.dtype.name, token_dtype)
    return found


def _indexed(
    index: Path, token_dtype: str | None
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.intp]]:
    """The ids of Megatron's pair, and where its documents end, but for the last.

    Magic, version, type's code, numbers of sequences and of documents' borders; then the sequences'
    lengths (int32), where they begin in bytes (int64), and the first sequence of each document.
    """
    raw, head = index.read_bytes(), struct.Struct("<9sQBQQ")
    if len(raw) < head.size or raw[:9] != INDEX_MAGIC:
        raise UserError(f"'{index}' is not an index of Megatron's: it has another beginning")
    _, version, code, sequences, borders = head.unpack_from(raw)
    if version != 1 or code not in INDEX_DTYPES:
        raise UserError(f"'{index}' is of version {version} and type {code}, which is not known")
    sizes = [4 * sequences, 8 * sequences, 8 * borders]
    if len(raw) < head.size + sum(sizes) or not borders:
        raise UserError(f"'{index}' is not whole: {len(raw)} bytes, {sequences} sequences")
    places = np.cumsum([head.size, *sizes])
    lengths = np.frombuffer(raw, "<i4", sequences, places[0]).astype(np.int64)
    begins = np.frombuffer(raw, "<i8", sequences, places[1])
    first = np.frombuffer(raw, "<i8", borders, places[2])
    dtype = np.dtype(INDEX_DTYPES[code]).newbyteorder("<")
    _agree(index, INDEX_DTYPES[code], token_dtype)
    path = index.with_suffix(".bin")
    if not path.exists():
        raise UserError(f"'{index}' has no {path.name} beside it")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    size = path.stat().st_size
    if (lengths < 0).any() or (begins != ends[:-1] * dtype.itemsize).any():
        raise UserError(f"'{index}' has sequences that do not lie one behind the other")
    if size != ends[-1] * dtype.itemsize:
        raise UserError(f"'{path}' has {size} bytes, and its index says {ends[-1]} ids of {dtype}")
    if (np.diff(first) < 0).any() or first[0] != 0 or first[-1] != sequences:
        raise UserError(f"'{index}' has documents that are not its sequences one after the other")
    return np.frombuffer(path.read_bytes(), dtype), ends[first[1:-1]]


def _agree(path: Path, found: str, token_dtype: str | None) -> None:
    if token_dtype not in (None, found):
        raise UserError(f"'{path}' says itself that its ids are {found}, not {token_dtype}")
