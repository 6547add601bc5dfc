"""Files of token ids: what says how wide an id is, and what is refused where nothing does.

    NAME.npy           NumPy's own header: any kind of whole number, one axis
    NAME.bin + .idx    Megatron's pair: the index has the type, and where documents end
    NAME.bin           a header of 256 int32 (llm.c, modded-nanogpt): magic, version, count
    NAME.bin + .json   ids alone, with a sidecar NAME.bin.json, as `mugrow tokenize` writes them
    NAME.bin           ids alone: uint16, as nanoGPT writes them, or as ``token_dtype`` says

Ids alone say nothing of their width. Read as uint16, a file of uint32 has a zero for every other
id: a model soon knows those, and its loss is half of the true one. So a file whose ids are nothing
like uint16 is refused, and asked for its width.

A file is mapped, never read whole: what has to see all of it goes through it in pieces of a few
megabytes. Its ids count as the smallest of uint16 and uint32 that holds all of them, so a corpus is
the same whatever the width of its file.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from mugrow.bench.checksums import sha256_of_file
from mugrow.bench.data.sidecar import LARGEST_ID, TOKEN_DTYPES, Sidecar, read_sidecar, sidecar_of
from mugrow.bench.data.stamps import Stamp, stamp
from mugrow.bench.data.tokens import Ids
from mugrow.bench.entries import in_one_line
from mugrow.bench.spec import UserError, unknown

HEADER_INTS = 256
HEADERS = {20240520: (1, "uint16"), 20240801: (7, "uint32")}  # magic: version and type, as llm.c's
INDEX_MAGIC = b"MMIDIDX\x00\x00"
INDEX_HEAD = struct.Struct("<9sQBQQ")
INDEX_DTYPES = {1: "uint8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}  # Megatron's codes
BLOCK_TOKENS = 8_192
END_OF_TEXT = 50_256  # GPT-2's <|endoftext|>
FEWEST_TO_TELL = 32  # ids, of which the width shows
FEWEST_BYTES_TO_TELL = 8_192
AT_ONCE = 2**20  # ids that are looked at together


@dataclass(frozen=True, eq=False)
class TokenFile:
    """A file of ids (n,), mapped, in the type that the file has.

    ``is_told`` where something says that type; else it is nanoGPT's uint16, which is yet to be
    checked. ``index`` is Megatron's, ``sidecar`` ours, where the file has one. ``stamps`` are of
    all files that say what the ids are, from before they were mapped.
    """

    path: Path
    ids: Ids
    stamps: tuple[Stamp, ...]
    is_told: bool = True
    index: Path | None = None
    sidecar: Sidecar | None = None

    @property
    def vocab_size(self) -> int | None:
        """The vocabulary that the sidecar names."""
        return self.sidecar.vocab_size if self.sidecar else None

    def largest(self) -> int:
        """The largest id, all of them looked at. Refuses what can be no ids of a vocabulary, and a
        file that is not the one of its sidecar."""
        if not self.is_told and (reason := _unlike_uint16(self.ids)):
            raise UserError(f"corpus '{self.path}' is not uint16 token ids: {reason}")
        wanted = self.sidecar.sha256 if self.sidecar else None
        if wanted is not None and sha256_of_file(self.path) != wanted:
            raise UserError(
                f"corpus '{self.path}' is not the file of its sidecar, or damaged: its sha256 is "
                f"not {wanted[:12]}…"
            )
        limit, largest = self.vocab_size or LARGEST_ID + 1, 0
        for start, part in pieces(self.ids):
            smallest, here = int(part.min()), int(part.max())
            if smallest < 0 or here >= limit:
                raise self._no_id(start + int(np.argmax((part < 0) | (part >= limit))))
            largest = max(largest, here)
        return largest

    def _no_id(self, place: int) -> UserError:
        wrong, dtype = self.ids[place], self.ids.dtype
        if self.vocab_size is not None:
            return UserError(
                f"corpus '{self.path}' has {wrong} at {place}, and its sidecar says a vocabulary "
                f"of {self.vocab_size}"
            )
        read = f"corpus '{self.path}' read as {dtype.name}"
        line = f"{read} has {wrong} at {place}, which is no token id"
        if self.index is not None or self.sidecar is not None or is_npy(self.path):
            return UserError(line)
        swapped = int(self.ids[place : place + 1].byteswap()[0])
        if dtype.itemsize > 2 and 0 <= swapped <= LARGEST_ID:
            return UserError(f"{line}: it is big-endian, it seems, and little-endian is read")
        return UserError(f"{line}: say how wide its ids are, --token-dtype {_other(dtype)}")

    def ends(self, largest: int) -> npt.NDArray[np.int64]:
        """Where documents end, but for the last: where an index says, else after the separator that
        a sidecar names, else after GPT-2's end of text, where there is any and all ids fit 16
        bits, else every 8192."""
        if self.index is not None:
            return _ends_of_index(self.index, self.path, self.ids)
        separator = self.sidecar.separator if self.sidecar else None
        if separator is None and largest < 2**16:
            separator = END_OF_TEXT
        ends = np.array([], np.int64)
        if separator is not None:
            found = [np.flatnonzero(p == separator) + (i + 1) for i, p in pieces(self.ids)]
            ends = np.concatenate(found).astype(np.int64)
        if ends.size or (self.sidecar and self.sidecar.separator is not None):
            return ends
        return np.arange(BLOCK_TOKENS, len(self.ids), BLOCK_TOKENS)


def pieces(ids: Ids) -> Iterator[tuple[int, Ids]]:
    """The ids a few megabytes at a time, each with where it begins."""
    for start in range(0, len(ids), AT_ONCE):
        yield start, ids[start : start + AT_ONCE]


def is_npy(path: Path) -> bool:
    """Whether a file is NumPy's, by its name."""
    return path.suffix.lower() == ".npy"


def narrowest(largest: int) -> np.dtype[np.unsignedinteger]:
    """The type that ids count as, by the largest of them."""
    return np.dtype("<u2" if largest < 2**16 else "<u4")


def open_token_file(path: Path, token_dtype: str | None = None) -> TokenFile:
    """Map a file of ids. Raises ``UserError`` for what shows without looking at all of them: sizes,
    headers, indices and sidecars that contradict each other."""
    if token_dtype is not None and token_dtype not in TOKEN_DTYPES:
        raise unknown("token dtype", token_dtype, TOKEN_DTYPES)
    index = path if path.suffix == ".idx" else path.with_suffix(".idx")
    is_indexed = not is_npy(path) and index.exists()
    path = index.with_suffix(".bin") if is_indexed else path
    if is_indexed and not path.exists():
        raise UserError(f"'{index}' has no {path.name} beside it")
    if not path.is_file():
        raise UserError(f"corpus '{path}' is no regular file")
    files = (path, *([index] if is_indexed else []), sidecar_of(path))
    stamps = tuple(stamp(one) for one in files if one.exists())
    if not stamps[0].size_bytes:
        raise UserError(f"corpus '{path}' is empty")
    sidecar, is_told = read_sidecar(path), True
    if is_indexed:
        found = _bare(path, _dtype_of_index(index))
    elif is_npy(path):
        found = _npy(path)
    elif sidecar is not None:
        found = _bare(path, sidecar.dtype)
    elif token_dtype is None and (headed := _with_header(path)) is not None:
        found = headed
    else:
        found, is_told = _bare(path, token_dtype or "uint16"), token_dtype is not None
    if token_dtype not in (None, found.dtype.name):
        where = index if is_indexed else path
        raise UserError(f"'{where}' says itself that its ids are {found.dtype}, not {token_dtype}")
    _check_sidecar(path, found, sidecar)
    return TokenFile(path, found, stamps, is_told, index if is_indexed else None, sidecar)


def _check_sidecar(path: Path, ids: Ids, sidecar: Sidecar | None) -> None:
    if sidecar is None:
        return
    if sidecar.dtype != ids.dtype.name:
        raise UserError(f"'{path}' is {ids.dtype.name}, and its sidecar says {sidecar.dtype}")
    if sidecar.tokens is not None and sidecar.tokens != len(ids):
        raise UserError(
            f"'{path}' has {len(ids)} ids, and its sidecar says {sidecar.tokens}: is it whole?"
        )


def _other(dtype: np.dtype[np.integer]) -> str:
    return "uint16" if dtype.itemsize > 2 else "uint32"


def _mapped(path: Path, dtype: str, offset: int = 0) -> Ids:
    """The ids of a file from ``offset`` bytes on."""
    try:
        kind = np.dtype(dtype).newbyteorder("<")
        return np.asarray(np.memmap(path, kind, mode="r", offset=offset))
    except ValueError as error:  # it was cut just now
        raise UserError(f"corpus '{path}' cannot be mapped: {in_one_line(error)}") from None


def _bare(path: Path, dtype: str) -> Ids:
    size, width = path.stat().st_size, np.dtype(dtype).itemsize
    if size % width:
        wanted = {2: "an even size", 4: "a multiple of 4", 8: "a multiple of 8"}[width]
        raise UserError(f"corpus '{path}' has {size} bytes: {dtype} token ids need {wanted}")
    return _mapped(path, dtype)


def _with_header(path: Path) -> Ids | None:
    """The ids behind a header of 256 int32, if there is one."""
    size, total = 4 * HEADER_INTS, path.stat().st_size
    with path.open("rb") as file:
        raw, behind = file.read(size), file.read(size)
    if len(raw) < size:
        return None
    magic, version, count, *rest = struct.unpack(f"<{HEADER_INTS}i", raw)
    if magic not in HEADERS:
        if struct.unpack_from(">i", raw)[0] in HEADERS:
            raise UserError(
                f"corpus '{path}' has a header that is big-endian: ids are read as little-endian"
            )
        if magic and not any(rest) and len(behind) == size and any(behind):
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
    if total - size != count * np.dtype(dtype).itemsize:
        raise UserError(
            f"corpus '{path}' has {total - size} bytes behind its header, not "
            f"{count * np.dtype(dtype).itemsize}: {count} ids of {dtype}; is it whole?"
        )
    if not count:
        raise UserError(f"corpus '{path}' is empty")
    return _mapped(path, dtype, size)


def _unlike_uint16(ids: Ids) -> str | None:
    """Why ids are surely not uint16; ``None`` where they may be.

    Of 32-bit ids every other 16-bit word is the upper half, below 16 in any vocabulary. Of plain
    bytes, as of text, those at even and at odd places are alike; the lower and the upper half of
    an id are not: the upper has fewer values, and where it is the lower that has fewer, the two are
    swapped. Ids at even and at odd places are alike; the halves of wider numbers are not.
    """
    if len(ids) < FEWEST_TO_TELL:
        return None
    small = True
    lower_largest = upper_largest = third = 0
    counts, places = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64)
    for _, part in pieces(ids):  # begins at an even place, since so many are looked at together
        lower, upper = part[::2], part[1::2]
        small = small and bool(((upper < 16) | (upper == 2**16 - 1)).all())
        lower_largest = max(lower_largest, int(lower.max(initial=0)))
        upper_largest = max(upper_largest, int(upper.max(initial=0)))
        third = max(third, int(part[2::4].max(initial=0)), int(part[3::4].max(initial=0)))
        in_bytes = part.view(np.uint8)
        counts += [np.bincount(in_bytes[place::2], minlength=256) for place in (0, 1)]
        places += [np.bincount(in_bytes[place::4], minlength=256) for place in (1, 3)]
    if small and lower_largest and (lower_largest >= 16 or not upper_largest):
        likely = "uint64" if len(ids) % 4 == 0 and not third else "uint32"
        return f"every other is an upper half; give --token-dtype, which looks like {likely}"
    if 2 * len(ids) < FEWEST_BYTES_TO_TELL:
        return None
    even, odd = counts / len(ids)
    if np.abs(even - odd).sum() / 2 < 0.1:
        return "its bytes at even and at odd places are alike, as a text's are; is it a text? "\
               "If it has ids, give --token-dtype"  # fmt: skip
    values = (counts > 0).sum(1)
    if values[0] < 240 and values[1] == 256:
        return "it is big-endian, it seems, and ids are read as little-endian; if it is not, give "\
               "--token-dtype"  # fmt: skip
    here, there = places / places.sum(1, keepdims=True)
    if values[1] > 240 and np.abs(here - there).sum() / 2 > 0.4:
        return "those at even and at odd places are unlike, as the halves of wider numbers, or of "\
               "fractions, are; if it has ids, give --token-dtype"  # fmt: skip
    return None


def _npy(path: Path) -> Ids:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, TokenError) as error:
        raise UserError(f"corpus '{path}' is not a whole .npy file: {in_one_line(error)}") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.ndim != 1:
        what = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "more"
        raise UserError(f"corpus '{path}' is not one axis of whole numbers, but {what}")
    if not found.size:
        raise UserError(f"corpus '{path}' is empty")
    return np.asarray(found)


def _dtype_of_index(index: Path) -> str:
    with index.open("rb") as file:
        raw = file.read(INDEX_HEAD.size)
    if len(raw) < INDEX_HEAD.size or raw[:9] != INDEX_MAGIC:
        raise UserError(f"'{index}' is not an index of Megatron's: it has another beginning")
    _, version, code, *_ = INDEX_HEAD.unpack(raw)
    if version != 1 or code not in INDEX_DTYPES:
        raise UserError(f"'{index}' is of version {version} and type {code}, which is not known")
    return INDEX_DTYPES[code]


def _ends_of_index(index: Path, path: Path, ids: Ids) -> npt.NDArray[np.int64]:
    """Where the documents of Megatron's pair end, but for the last.

    Magic, version, type's code, numbers of sequences and of documents' borders; then the sequences'
    lengths (int32), where they begin in bytes (int64), and the first sequence of each document.
    """
    raw = index.read_bytes()
    _, _, _, sequences, borders = INDEX_HEAD.unpack_from(raw)
    sizes = [4 * sequences, 8 * sequences, 8 * borders]
    if len(raw) < INDEX_HEAD.size + sum(sizes) or not borders:
        raise UserError(f"'{index}' is not whole: {len(raw)} bytes, {sequences} sequences")
    places = np.cumsum([INDEX_HEAD.size, *sizes])
    lengths = np.frombuffer(raw, "<i4", sequences, places[0]).astype(np.int64)
    begins = np.frombuffer(raw, "<i8", sequences, places[1])
    first = np.frombuffer(raw, "<i8", borders, places[2])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if (lengths < 0).any() or (begins != ends[:-1] * ids.dtype.itemsize).any():
        raise UserError(f"'{index}' has sequences that do not lie one behind the other")
    if len(ids) != ends[-1]:
        raise UserError(
            f"'{path}' has {ids.nbytes} bytes, and its index says {ends[-1]} ids of {ids.dtype}"
        )
    if (np.diff(first) < 0).any() or first[0] != 0 or first[-1] != sequences:
        raise UserError(f"'{index}' has documents that are not its sequences one after the other")
    found: npt.NDArray[np.int64] = ends[first[1:-1]].astype(np.int64)
    return found
