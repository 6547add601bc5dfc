"""Files that are either whole or not there, and errors that name them.

What is written goes to a temporary file beside, which is then renamed. Its name says which process
writes it: ``.curve.parquet.4711.tmp``. A process that was killed leaves it behind.
"""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from mugrow.bench.spec import UserError

TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp")


def temporary_of(path: Path) -> Path:
    """Where this process writes what becomes ``path``."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def check_new(out: Path) -> None:
    """Raise the ``UserError`` of a folder to be written that is there already, or has no name. A
    link that leads nowhere is there, too."""
    if out == Path():
        raise UserError("the folder to write is '' or '.', which is here: give it a name")
    if os.path.lexists(out):
        raise UserError(f"{out} exists already")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write(temporary path)``, then rename: a reader sees the whole file or none. Raises
    ``OSError`` with the name of the file that was to be written."""
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    try:
        with named(path):
            write(temporary)
            flush(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def flush(path: Path) -> None:
    """Have what was written on the disk before it is renamed."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


class named:
    """Whatever ``OSError`` is raised within names the file ``path``, unless it names another than
    its temporary one: a full disk names none by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.filename is None or str(error.filename) == str(temporary_of(self.path)):
            error.filename, error.filename2 = str(self.path), None


def left_behind(folder: Path, names: Iterable[str]) -> list[Path]:
    """The temporary files of these names in a folder, of processes that are gone. Those of living
    ones and of other programs are theirs."""
    wanted = set(names)
    found = []
    for path in folder.glob(".*.tmp"):
        match = TEMPORARY.fullmatch(path.name)
        if match and match[1] in wanted and not _lives(int(match[2])):
            found.append(path)
    return found


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
