"""Files that are either whole or not there, and errors that name them.

What is written goes to a temporary file beside, which is then renamed. Its name says who writes it,
``.curve.parquet.HOST.PID.HEX.tmp``, as programs of several hosts may share a folder. A process that
was killed leaves it behind.

Who may write can change while a process stands still: another takes over what it had leased. So
within ``fenced`` a check is made before each rename and each removal, and raises where this process
is no longer the one.
"""

import os
import re
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from mugrow.bench.spec import UserError

TEMPORARY = re.compile(r"\.(.+)\.([\w-]+)\.(\d+)\.[0-9a-f]{8}\.tmp")

_fence: ContextVar[Callable[[], None] | None] = ContextVar("fence", default=None)


def temporary_of(path: Path) -> Path:
    """Where this process writes what becomes ``path``."""
    return path.with_name(f".{path.name}.{_writer(os.getpid())}.tmp")


@cache
def _writer(process: int) -> str:
    """Of a process: the same at every call, and another in one that is forked from it."""
    return f"{_host()}.{process}.{uuid.uuid4().hex[:8]}"


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname(), flags=re.ASCII)[:32] or "host"


@contextmanager
def fenced(check: Callable[[], None]) -> Iterator[None]:
    """Within, in this thread, ``check`` is called before a file is renamed or removed. It raises
    where another may write by now."""
    token = _fence.set(check)
    try:
        yield
    finally:
        _fence.reset(token)


def check_fence() -> None:
    """Called right before a file of the store is renamed or removed."""
    if (check := _fence.get()) is not None:
        check()


def remove(path: Path) -> None:
    """Remove a file of the store, if it is there."""
    check_fence()
    path.unlink(missing_ok=True)


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
            check_fence()
            os.replace(temporary, path)
    except FileNotFoundError:
        check_fence()  # who took over has removed it
        raise
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


def temporaries(folder: Path, names: Iterable[str]) -> list[Path]:
    """The temporary files of these names in a folder, whoever writes or wrote them: for who alone
    may write those names now."""
    wanted = set(names)
    found = ((path, TEMPORARY.fullmatch(path.name)) for path in folder.glob(".*.tmp"))
    return [path for path, match in found if match and match[1] in wanted]


def left_behind(folder: Path, names: Iterable[str]) -> list[Path]:
    """Of these, those of processes of this host that are gone: for who has no lease."""
    found = ((path, TEMPORARY.fullmatch(path.name)) for path in temporaries(folder, names))
    return [
        path for path, match in found if match and match[2] == _host() and not _lives(int(match[3]))
    ]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
