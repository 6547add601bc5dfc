"""Saves that hardly cost: from a copy, by a thread, and the more seldom the more they take.

A step changes a stack's state in place. So what is saved is copied first, which is all that
training waits for; a thread computes its checksum, writes it to a temporary file and has that on
the disk before it is renamed, while training goes on. What a save costs is the time of the copy and
the thread's CPU time, which training could have had. The next begins when that is at most a share
of the time between the two, and the write has ended: a kill loses as much training as that, and
never what had been saved before.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from types import TracebackType

EXPECTED_BYTES_PER_S = 0.2e9  # copied, hashed and written, before a save has been timed


class Saver:
    """Saves at most ``share`` of the time, at least ``every_s`` seconds apart; with a share of 1 or
    more training waits for a write that takes longer. ``size_bytes`` is of what is saved, for a
    first guess at its cost. What a write raises is raised when the next is asked for, or at the end
    of the ``with`` that this is used in, which waits for the last write."""

    def __init__(self, every_s: float, share: float, size_bytes: int) -> None:
        self.every_s, self.share = every_s, share
        self.began_s = time.monotonic()
        self.cost_s = size_bytes / EXPECTED_BYTES_PER_S
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def interval_s(self) -> float:
        """From the beginning of a save to that of the next, if its write has ended by then."""
        return max(self.every_s, self.cost_s / self.share)

    def is_due(self) -> bool:
        """Whether it is time to save."""
        writes = self._thread is not None and self._thread.is_alive()
        if writes and self.share < 1:
            return False
        self.wait()
        return time.monotonic() - self.began_s > self.interval_s

    def begin(self, copy: Callable[[], Callable[[], object]]) -> None:
        """Save, as it is time: ``copy()`` copies, and returns what writes the copy."""
        self.began_s = time.monotonic()
        write = copy()
        copied_s = time.monotonic() - self.began_s
        # in the context of this thread: whether this process still may write
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._write, write, copied_s))
        self._thread.start()

    def _write(self, write: Callable[[], object], copied_s: float) -> None:
        began_s = time.thread_time()
        try:
            write()
        except BaseException as error:  # it is the training thread's, where a signal may end it
            self._error = error
        self.cost_s = copied_s + time.thread_time() - began_s

    def wait(self) -> None:
        """Wait for a write in progress. Raises what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return self.wait()
        if self._thread is not None:
            self._thread.join()
        return None
