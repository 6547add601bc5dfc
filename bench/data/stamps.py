"""Has a file changed since? What the system says of it without reading it.

A file that was written again has another size, another time of change, or is another inode. Times
are as fine as the clock of the file system, whose ticks are some milliseconds: a file that is read
in the very tick of its last change could be changed once more within it, unseen. So what is found
in a file and kept for later is read one tick after (Git calls such a file *racily clean*).
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICK_S = 0.02


class Stamp(NamedTuple):
    """What tells one content of a file from another."""

    path: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


def stamp(path: Path) -> Stamp:
    """Of a file as it is now. Raises ``OSError``."""
    found = path.stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return Stamp(str(path), found.st_size, *times, found.st_ino)


def settle(stamps: Iterable[Stamp]) -> None:
    """Wait until every further change of the files shows in their stamps."""
    age_s = (time.time_ns() - max(one.changed_ns for one in stamps)) / 1e9
    if 0 <= age_s < TICK_S:
        time.sleep(TICK_S - age_s)


def changed(stamps: Iterable[Stamp]) -> Path | None:
    """The first of the files that is not as it was, or not there."""
    for one in stamps:
        path = Path(one.path)
        try:
            if stamp(path) != one:
                return path
        except OSError:
            return path
    return None
