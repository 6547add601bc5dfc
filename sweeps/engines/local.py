"""The processes of this machine, each with its own threads: what ``mugrow run`` uses by itself.

A worker whose parent dies ends itself within a second, so a killed study leaves nobody writing.
Where one is killed the study ends with a line, for there is no other machine to go on with.
"""

import atexit
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from mugrow.bench.spec import UserError
from mugrow.sweeps.engines import Asked, Engine, EngineKind, Order
from mugrow.sweeps.worker import obey

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP)


class LocalEngine:
    """Orders go to an executor, of processes here; one of threads serves tests."""

    def __init__(self, executor: Executor, workers: int, ranks: int = 1) -> None:
        self.executor, self.slots, self.ranks = executor, workers, ranks
        self.futures: dict[str, Future[str]] = {}
        self.count = 0

    def submit(self, orders: Sequence[Order]) -> Sequence[str]:
        ids = []
        for order in orders:
            self.count += 1
            ids.append(str(self.count))
            try:
                self.futures[ids[-1]] = self.executor.submit(obey, order.path)
            except BrokenProcessPool:  # a worker was killed since anyone looked
                raise _killed(self.ranks) from None
        return ids

    def done(self, process: str) -> bool:
        return self.futures[process].done()

    def result(self, process: str) -> str:
        try:
            return self.futures.pop(process).result()
        except BrokenProcessPool:
            raise _killed(self.ranks) from None

    def cancel(self, process: str) -> None:
        self.futures[process].cancel()


def _killed(ranks: int) -> UserError:
    which = "a worker process" if ranks == 1 else f"rank 0 of {ranks}, a worker process,"
    return UserError(
        f"{which} was killed, perhaps for lack of memory; the same command goes on from "
        "here, with fewer --workers if need be"
    )


@contextmanager
def start(asked: Asked) -> Iterator[Engine]:
    with processes(asked.workers) as executor:
        yield LocalEngine(executor, asked.workers, asked.ranks)


ENGINE = EngineKind("local", start, elsewhere=False, summary="processes of this machine")


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Local worker processes; on an error or Ctrl-C they are ended, not waited for."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_follow, initargs=(os.getpid(),)
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    executor.shutdown()


@contextmanager
def stops_deferred() -> Iterator[None]:
    """A worker that is started meanwhile is deaf to Ctrl-C and to a terminal that closes from its
    first moment on: both reach all processes of a terminal, and are for the parent. What stops the
    parent meanwhile does so afterwards, since a worker half started would be nobody's."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    caught: list[int] = []
    known = {number: signal.getsignal(number) for number in STOPS}
    handlers = {n: one for n, one in known.items() if one not in (signal.SIG_IGN, None)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        for number in handlers:
            signal.signal(number, lambda number, _: caught.append(number))
        # handed down to the worker; in the parent the handlers above still hear of them
        signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for one in caught:
        signal.raise_signal(one)


def _follow(parent: int) -> None:
    """In a worker: end when the parent is gone, and at once where it says so: a forked one has the
    program's handler, which never runs while it waits for another's lock."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    atexit.register(gc.freeze)  # its end is waited for, as the program's own

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
