"""Who trains a stack, where several programs share a pool: the process that holds its lease.

A lease is a file, ``stacks/.KEY.HEX.lease``, that says which process of which host it is of and
which runs the stack has; HEX makes its name one of a kind. Its holder touches it every few seconds.
Two stacks that have a run in common, of two studies, exclude each other like one stack twice.

    take     write a lease, then read all others; if a live one has a run of ours, remove ours again
    hold     before every rename and removal, look whether our lease is still there
    lose     a lease whose process is gone, or that nobody touches for a minute, is removed by the
             next that takes one

Since both write before they read, no two hold the same run at once; two that begin in the same
moment may both step back, and try again after a random while. No clocks are compared: a lease is
silent when who looks has seen no change of its time for a minute of its own clock. A process that
was stopped for longer finds its lease gone when it goes on, and leaves the stack as it is. (Stopped
exactly between a look and the rename that follows, it renames one file more, of the same bits.)

Nothing here needs file locks, which network file systems may have or not.
"""

import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from mugrow.bench.files import fenced

BEAT_S = 5.0
SILENT_S = 60.0  # longer than a network file system may show an old time
STEP_BACK_S = 0.2


class LeaseLost(Exception):
    """Another process has taken over what this one was writing."""


@dataclass(frozen=True)
class Process:
    """A process, wherever it is: its host, since when that is up, its table of processes
    (containers have their own), its number there and when it began."""

    host: str
    boot: str
    table: int
    pid: int
    born: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_gone(self) -> bool:
        """Whether it is known to have ended: only of processes that can be seen from here."""
        if (self.host, self.boot, self.table) != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        born = _born(self.pid)
        return born is None or born != self.born


UNKNOWN = Process("an unknown host", "", 0, 0, "")


def this_process() -> Process:
    return Process(*_machine(), os.getpid(), _born(os.getpid()) or "")


@cache
def _machine() -> tuple[str, str, int]:
    boot, table = "", 0
    with suppress(OSError):  # not on Linux
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        table = os.stat("/proc/self/ns/pid").st_ino
    return socket.gethostname(), boot, table


def _born(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; ``None`` for one that only waits to be reaped,
    and nothing where that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *others = text.rpartition(")")[2].split()
    return None if state in "ZX" else others[18]


@dataclass(frozen=True)
class Lease:
    """A lease as it lies in ``path``: the stack ``key`` with its runs, and whose it is."""

    path: Path
    key: str
    runs: frozenset[str]
    process: Process

    def excludes(self, key: str, runs: Iterable[str]) -> bool:
        """Whether its holder alone may write what has this key or these runs."""
        return self.key == key or not self.runs.isdisjoint(runs)

    def check(self) -> None:
        """Raise ``LeaseLost`` where another has taken over."""
        if not self.path.exists():
            raise LeaseLost(f"{self.path.name} is gone: another program has taken over")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, it is touched regularly, and this thread writes only while it is there. At the
        end it is given back."""
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        beating.start()
        try:
            with fenced(self.check):
                yield
        finally:
            ended.set()
            self.give_back()

    def give_back(self) -> None:
        self.path.unlink(missing_ok=True)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT_S):
            try:
                os.utime(self.path)
            except FileNotFoundError:
                return
            except OSError:  # a passing one: it is silent for as long
                continue


@dataclass
class _Seen:
    """A lease, the time of its file when it was last looked at, and since when, by our clock, that
    has not changed."""

    lease: Lease
    time_ns: int
    since_s: float


@dataclass
class Leases:
    """The leases of a folder, as seen from here since this was made. ``over`` names those that
    another process knows to be over: it has looked for longer, or sees their holders."""

    folder: Path
    over: frozenset[str] = frozenset()
    _seen: dict[Path, _Seen] = field(default_factory=dict)

    def holder(self, key: str, runs: Iterable[str]) -> Process | None:
        """The process that holds a lease on this key or one of these runs, and is not known to be
        gone or silent."""
        found = self._excluding(key, frozenset(runs))
        return next((one.process for one in found if not self._is_over(one)), None)

    def over_now(self) -> frozenset[str]:
        """The names of leases that are over: their holders are gone, or have long been silent."""
        return frozenset(path.name for path, one in self._seen.items() if self._is_over(one.lease))

    def take(self, key: str, runs: Iterable[str]) -> Lease | Process:
        """A lease of this process, which then is to be ``held``; or the process that has one."""
        ours = frozenset(runs)
        while True:
            if other := self.holder(key, ours):
                return other
            lease = self._write(key, ours)
            found = [one for one in self._excluding(key, ours) if one.path != lease.path]
            if all(map(self._is_over, found)):
                for one in found:
                    one.give_back()
                return lease
            lease.give_back()
            time.sleep(random.uniform(0, STEP_BACK_S))

    def _write(self, key: str, runs: frozenset[str]) -> Lease:
        path = self.folder / f".{key}.{uuid.uuid4().hex[:12]}.lease"
        process = this_process()
        said = {"key": key, "runs": sorted(runs), "process": asdict(process)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:  # read too early it is empty: its writer looks after us, then
            json.dump(said, file)
        return Lease(path, key, runs, process)

    def _excluding(self, key: str, runs: frozenset[str]) -> list[Lease]:
        """Look at the folder: what is there now that excludes this key or these runs."""
        paths = set(self.folder.glob(".*.lease"))
        self._seen = {path: one for path, one in self._seen.items() if path in paths}
        found = [lease for path in sorted(paths) if (lease := self._look(path)) is not None]
        return [lease for lease in found if lease.excludes(key, runs)]

    def _look(self, path: Path) -> Lease | None:
        """``None`` for one that is gone meanwhile."""
        try:
            with path.open("rb") as file:  # opened, so that a network file system asks the server
                time_ns = os.fstat(file.fileno()).st_mtime_ns
                seen = self._seen.get(path)
                known = seen is not None and seen.lease.process != UNKNOWN
                lease = seen.lease if seen and known else _read(path, file.read())
        except FileNotFoundError:
            return None
        if seen is None or (lease, time_ns) != (seen.lease, seen.time_ns):
            self._seen[path] = _Seen(lease, time_ns, time.monotonic())
        return lease

    def _is_over(self, lease: Lease) -> bool:
        if lease.path.name in self.over or lease.process.is_gone():
            return True
        return time.monotonic() - self._seen[lease.path].since_s > SILENT_S


def _read(path: Path, content: bytes) -> Lease:
    """What a lease says. One that is no lease, of a newer version perhaps, is of its key alone."""
    key = path.name.removeprefix(".").partition(".")[0]
    try:
        said = json.loads(content)
        return Lease(path, key, frozenset(said["runs"]), Process(**said["process"]))
    except (ValueError, TypeError, KeyError):
        return Lease(path, key, frozenset(), UNKNOWN)
