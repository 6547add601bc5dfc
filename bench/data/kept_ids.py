"""The ids of a text, kept so that they can be mapped.

Encoding takes time, and needs the text. So the ids are kept in the cache as an ``.npz``, under a
hash of what they depend on. It holds its arrays as they are, without compression, and one that lies
in a file as it is can be mapped. It carries checksums, too: who begins a study checks them, and
encodes again what is damaged; its workers only map.
"""

import contextlib
import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mugrow.bench.data.cache import cache_folder, write_npz

LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of a zip file: how long its name and extra are


class Encoded(NamedTuple):
    """Ids of the training (n,) and held-out (m,) documents; ``token_bytes`` (vocab_size,), all 0
    where they are not known."""

    train: npt.NDArray[np.unsignedinteger]
    val: npt.NDArray[np.unsignedinteger]
    token_bytes: npt.NDArray[np.int64]


def keep(key: str, encoded: Encoded) -> None:
    """Write the ids to the cache. Where it cannot be written that costs time, and nothing else."""
    with contextlib.suppress(OSError):
        write_npz(_path(key), encoded._asdict())


def load(key: str, *, check: bool = True) -> Encoded | None:
    """The kept ids, mapped, if they are there and not damaged; without ``check`` it is not looked
    at all of them."""
    path = _path(key)
    try:
        with zipfile.ZipFile(path) as archive:
            if check and archive.testzip() is not None:
                return None
            return Encoded(*(_mapped(path, archive, name) for name in Encoded._fields))
    except Exception:  # missing, or damaged in whatever way: it can always be built again
        return None


def _path(key: str) -> Path:
    return cache_folder() / f"ids-{hashlib.sha256(key.encode()).hexdigest()}.npz"


def _mapped(path: Path, archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """An array where it lies in the file: behind the zip member's header, and NumPy's."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        header_bytes = file.tell()
    with path.open("rb") as raw:
        raw.seek(member.header_offset)
        beside = LOCAL_HEADER.unpack(raw.read(LOCAL_HEADER.size))
    begin = member.header_offset + LOCAL_HEADER.size + sum(beside) + header_bytes
    return np.asarray(np.memmap(path, dtype, mode="r", offset=begin, shape=shape))
