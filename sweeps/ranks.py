"""The processes that train a stack together: a worker starts them, or torchrun has.

    mugrow run STUDY --ranks 2                          a worker starts one more for its stack
    torchrun --nproc-per-node 2 -m mugrow run STUDY     the second has been started already

A worker is the first rank of its stack. It hands the others its order, as text, and all meet at a
store of torch's, which the worker or torchrun has. Ranks that a worker has started end with it:
they read from a pipe that only it can write to, which closes when it is gone, however that came.

A rank that ends in the midst of training closes its connections, and whoever waits for it hears of
that at once. The first rank looks then which one it was, and that is what it says (``RankLost``).
One that stands still is waited for as long as ``mugrow.bench.data_parallel`` says.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from mugrow.bench.data_parallel import ALONE, BEHIND_S, Ranks, joined
from mugrow.bench.spec import UserError
from mugrow.sweeps.lease import Process, this_process
from mugrow.sweeps.torchrun import World, world

LOOK_EVERY_S = 0.1
NAMED_WITHIN_S = 5.0  # a rank that has closed its connections has ended soon after
OVER_WITHIN_S = 2.0
LEAVES_WITHIN_S = 60.0
HANDLED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
FOLLOW = "from mugrow.sweeps.worker import follow_worker; follow_worker()"
Train = Callable[[str, Ranks, int, Store], object]


class RankLost(Exception):
    """A rank has ended while others trained with it. The reason is one line that names it."""


def device_of(device: str, index: int) -> str:
    """Of the devices of a stack, ``cpu``, ``cuda`` or ``cuda:0,cuda:2``, that of a rank, which is
    number ``index`` on its machine."""
    if device == "cuda":
        return f"cuda:{index}"
    devices = device.split(",")
    return devices[index % len(devices)]


@contextmanager
def assembled(
    count: int, torchrun: bool, device: str, order: str, follow: str = FOLLOW
) -> Iterator[Ranks]:
    """The ranks that train a stack, of which this process is the first; the others are handed the
    ``order``. Those that are started here run the program ``follow``. Raises ``RankLost``."""
    if count == 1:
        yield ALONE
    elif torchrun:
        with _of_torchrun(count, device, order) as ranks:
            yield ranks
    else:
        with _started_here(count, device, order, follow) as ranks:
            yield ranks


# --- started by a worker -------------------------------------------------------------------------


class Handed(NamedTuple):
    """What a rank is handed by the worker that has started it."""

    order: str
    rank: int
    size: int
    port: int


@contextmanager
def _started_here(count: int, device: str, order: str, follow: str) -> Iterator[Ranks]:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    others: dict[int, subprocess.Popen[str]] = {}
    ranks = Ranks(0, count)

    def ended() -> str | None:
        for rank, process in others.items():
            if process.poll() is not None:
                return f"rank {rank} of {count} {_how(process)}"
        return None

    try:
        for rank in range(1, count):
            others[rank] = _started(Handed(order, rank, count, store.port), follow)
        with _all_here(store, ranks, ended), joined(store, ranks, device), _named(ended):
            yield ranks
        for process in others.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(LEAVES_WITHIN_S)
    finally:
        for process in others.values():
            process.kill()
            process.communicate()


def _started(handed: Handed, follow: str) -> subprocess.Popen[str]:
    """A rank in a process of its own. What this process has a handler for, it hears for all."""
    deaf = [number for number in HANDLED if callable(signal.getsignal(number))]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", follow],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended already, which is found out next
        process.stdin.write(json.dumps(handed) + "\n")
        process.stdin.flush()
    return process


def _how(process: subprocess.Popen[str]) -> str:
    """How a rank ended, in words."""
    assert process.stdout is not None
    if process.returncode < 0:
        return f"was killed by {signal.Signals(-process.returncode).name}"
    with suppress(ValueError, KeyError):
        return f"has ended: {json.loads(process.stdout.read())['reason']}"
    return f"has ended with exit code {process.returncode}"


def follow_the_worker(train: Train) -> None:
    """In a rank that a worker has started: train with it. The process ends at once when the worker
    is gone."""
    handed = Handed(*json.loads(sys.stdin.readline()))

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    store = TCPStore("127.0.0.1", handed.port, is_master=False)
    store.set(f"here/{handed.rank}", "")
    train(handed.order, Ranks(handed.rank, handed.size), handed.rank, store)


# --- started by torchrun -------------------------------------------------------------------------


def meeting(found: World, hosts: bool) -> Store:
    """The store where torchrun's processes meet, which one of them has to have unless torchrun has
    it. Raises ``UserError`` where it cannot be reached."""
    theirs = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store = TCPStore(
            found.host,
            found.port,
            is_master=hosts and not theirs,
            wait_for_workers=False,
            timeout=timedelta(seconds=LEAVES_WITHIN_S),
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"MASTER_ADDR {found.host!r}, MASTER_PORT {found.port}: nobody can be met there: "
            f"{str(error).splitlines()[0]}"
        ) from None
    return PrefixStore(f"mugrow/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


@contextmanager
def followed(store: Store, count: int) -> Iterator[None]:
    """In the program of the first rank: at the end the others hear that there is nothing more."""
    try:
        yield
    finally:
        store.set(f"order/{store.add('orders', 1)}", "")
        _soon(lambda: store.add("left", 0) == count - 1, LEAVES_WITHIN_S / 10)


@contextmanager
def _of_torchrun(count: int, device: str, order: str) -> Iterator[Ranks]:
    found = world()
    assert found is not None
    all_orders = meeting(found, hosts=False)
    number = all_orders.add("orders", 1)
    all_orders.set(f"order/{number}", order)
    store, ranks = PrefixStore(str(number), all_orders), Ranks(0, count)

    def ended() -> str | None:
        for rank in range(1, count):
            if all_orders.check([f"process/{rank}"]):
                process = Process(**json.loads(all_orders.get(f"process/{rank}")))
                if process.is_gone():
                    return f"rank {rank} of {count}, {process}, was killed or has failed"
        return None

    try:
        with _all_here(store, ranks, ended), joined(store, ranks, device), _named(ended):
            yield ranks
    finally:
        store.set("over", "")


def follow(store: Store, found: World, train: Train) -> None:
    """In another rank of torchrun's: train with the first one what it trains, one stack after the
    other. Raises ``UserError`` where that is gone."""
    for stop in HANDLED:  # torchrun ends this process, and says so
        signal.signal(stop, signal.SIG_DFL)
    store.set(f"process/{found.rank}", json.dumps(asdict(this_process())))
    number = 1
    while order := _order(store, number):
        here = PrefixStore(str(number), store)
        here.set(f"here/{found.rank}", "")
        try:
            train(order, Ranks(found.rank, found.size), found.local_rank, here)
        except Exception:
            if not _soon(lambda: here.check(["over"]), OVER_WITHIN_S):  # noqa: B023
                raise
        number += 1
    store.add("left", 1)


def _order(store: Store, number: int) -> str:
    """An order, when there is one; the empty one is the last."""
    try:
        while not store.check([f"order/{number}"]):
            time.sleep(LOOK_EVERY_S)
        return store.get(f"order/{number}").decode()
    except RuntimeError:
        raise UserError("the first rank has ended without a word") from None


# --- both ----------------------------------------------------------------------------------------


@contextmanager
def _all_here(store: Store, ranks: Ranks, ended: Callable[[], str | None]) -> Iterator[None]:
    """Wait until all others are at the store. Raises ``RankLost`` where one has ended before."""
    others = [f"here/{rank}" for rank in range(1, ranks.count)]
    began_s = time.monotonic()
    while not store.check(others):
        if why := ended():
            raise RankLost(why)
        if time.monotonic() - began_s > BEHIND_S:
            raise RankLost(f"not all of {ranks.count} ranks have begun within {BEHIND_S:g} s")
        time.sleep(LOOK_EVERY_S)
    yield


@contextmanager
def _named(ended: Callable[[], str | None]) -> Iterator[None]:
    """What a rank that has ended does to this one, as ``RankLost``."""
    try:
        yield
    except RuntimeError as error:  # so torch says of connections, and of much else
        if _soon(lambda: ended() is not None, NAMED_WITHIN_S):
            raise RankLost(ended()) from error
        if "imed out" in str(error):
            raise RankLost(f"another rank has not answered for {BEHIND_S:g} s") from error
        raise


def _soon(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether it does, within so many seconds."""
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > within_s:
            return False
        time.sleep(LOOK_EVERY_S)
    return True
