"""Checksums: a bit that flipped on disk, or a file of another run, is seen before it is used.

A folder's ``SHA256SUMS``, as ``sha256sum -c`` reads it, has the sha256 of the files beside it that
numbers depend on. It is outside of them, for no format used here sees all damage: safetensors has
no checksum, and Parquet's cover its pages and not its footer. It is there only while it is true:
written last, and removed before one of its files is replaced, so a program that is killed in
between leaves files that are read unchecked, as those of stores from before there were checksums.

What is damaged is a ``Damaged`` error that names the file; the caller decides whether to set it
aside. A passing error is none: ``OSError`` and ``MemoryError`` say nothing about what is on disk.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from mugrow.bench.files import remove, write_bytes

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  ([^/\n]+)\n")


class Damaged(Exception):
    """A file of the store that cannot be read as what it should be."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path} is damaged: {(str(reason) or repr(reason)).splitlines()[0]}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type["Damaged"], tuple[Path, object]]:
        """So that it comes back from a worker process."""
        return Damaged, (self.path, str(self.reason))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Read piece by piece. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the folder's checksums: sha256 by file name."""
    lines = (f"{value}  {name}\n" for name, value in sorted(sums.items()))
    write_bytes(folder / SUMS, "".join(lines).encode())


def read_sums(folder: Path) -> dict[str, str] | None:
    """The folder's checksums by file name; ``None`` in a folder that has none. Of a file of
    checksums that is itself damaged, the lines that are not."""
    try:
        text = (folder / SUMS).read_bytes().decode("ascii", errors="replace")
    except FileNotFoundError:
        return None
    return {name: value for value, name in LINE.findall(text)}


def forget_sums(folder: Path) -> None:
    """Remove the folder's checksums, before one of its files is replaced."""
    remove(folder / SUMS)


def check_sum(path: Path, found: str, sums: Mapping[str, str] | None) -> None:
    """Raise ``Damaged`` for a file whose sha256 ``found`` is not the one of its folder's checksums
    ``sums``; without any there is nothing to compare with."""
    if sums is not None and sums.get(path.name) != found:
        of = "does not match" if path.name in sums else "is not in"
        raise Damaged(path, f"its content {of} {SUMS}")
