"""What a worker does: read its order, train a stack if nobody else does, say how that ended.

Its results lie in the pool. Several programs may have handed the same stack to their workers, so
it takes the lease first, and looks what has ended meanwhile. An order is a file of its own,
``stacks/KEY.HEX.order``: whoever gave it removes it to call it off, and the worker, which looks now
and then, saves the stack and leaves it.
"""

import json
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch.distributed.distributed_c10d import Store

from mugrow.bench.checksums import Damaged
from mugrow.bench.data_parallel import Ranks, joined
from mugrow.bench.files import TEMPORARY, left_behind, remove, temporaries
from mugrow.bench.method_file import MethodFile
from mugrow.bench.record import write_json
from mugrow.bench.run import RUN_FILES, Job, StackLeft, is_committed, run_stack, stack_files
from mugrow.bench.spec import UserError, canonical_json, run_spec_from_json
from mugrow.bench.stack import PruningStep
from mugrow.sweeps.lease import LeaseLost, Leases, Process
from mugrow.sweeps.ranks import RankLost, assembled, device_of, follow_the_worker

LOOK_EVERY_S = 1.0
ENDED, LEFT = "ended", "left"


def train(
    job: Job, over: frozenset[str] = frozenset(), leave: Callable[[], bool] = lambda: False
) -> Process | str | None:
    """Train a stack to its end, unless its runs have ended. Returns the process that does so where
    another holds its lease, or what is to be told; leases of the names ``over`` count for nothing.
    Raises as ``run_stack`` does, and ``RankLost``."""
    folder = Path(job.folder)
    stacks = folder / "stacks"
    runs = [run.run_id for run in job.runs]
    lease = Leases(stacks, over).take(job.key, runs)
    if isinstance(lease, Process):
        return lease
    try:
        with lease.held():
            _tidy(folder, job.key, runs)
            if all(is_committed(folder, run_id) for run_id in runs):
                for path in stack_files(folder, job.key):
                    remove(path)
            else:
                return _train(job, leave)
    except LeaseLost:
        return Leases(stacks).holder(job.key, runs)
    return None


def _train(job: Job, leave: Callable[[], bool]) -> str | None:
    """As the only rank of a stack, or as the first one."""
    order = json.dumps(_plain(job)) if job.ranks > 1 else ""
    own = replace(job, device=device_of(job.device, 0)) if job.ranks > 1 else job
    with assembled(job.ranks, job.torchrun, own.device, order) as ranks:
        return run_stack(own, leave, ranks)


def train_as(order: str, ranks: Ranks, index: int, store: Store) -> None:
    """Train the stack of an order as another rank than the first, number ``index`` on its machine;
    all meet at the store."""
    job, _ = _read(order)
    job = replace(job, device=device_of(job.device, index))
    with joined(store, ranks, job.device):
        run_stack(job, ranks=ranks)


def follow_worker() -> None:
    """What a process does that a worker has started as another rank of its stack."""

    def work() -> str:
        follow_the_worker(train_as)
        return _said(ENDED)

    said = _ending(work)
    print(said, flush=True)
    sys.exit(json.loads(said)["kind"] not in (ENDED, LEFT))


def _tidy(folder: Path, key: str, runs: list[str]) -> None:
    """Remove the half-written files of who had the lease before: they are nobody's now."""
    names = [path.name for path in stack_files(folder, key)]
    found = temporaries(folder / "stacks", names)
    for run_id in runs:
        found += temporaries(folder / "runs" / run_id, RUN_FILES)
    for path in found:
        remove(path)


# --- orders --------------------------------------------------------------------------------------


def write_order(job: Job, over: Iterable[str] = ()) -> Path:
    """The file of a new order."""
    path = Path(job.folder).absolute() / "stacks" / f"{job.key}.{uuid.uuid4().hex[:12]}.order"
    write_json(path, _plain(replace(job, folder=str(path.parents[1])), over))
    return path


def _plain(job: Job, over: Iterable[str] = ()) -> dict[str, Any]:
    """An order as JSON has it."""
    plain = {**asdict(job), "runs": [canonical_json(run) for run in job.runs]}
    return {"version": version("mugrow"), "job": plain, "over": sorted(over)}


def orders(folder: Path, key: str = "*") -> list[Path]:
    """The files of all orders, of a stack or of all."""
    return [*(folder / "stacks").glob(f"{key}.*.order")]


def orders_half_written(folder: Path, key: str) -> list[Path]:
    """What programs of this host that were killed in the midst of writing an order left of it."""
    stacks = folder / "stacks"
    found = (TEMPORARY.fullmatch(path.name) for path in stacks.glob(f".{key}.*.order.*.tmp"))
    return left_behind(stacks, [match[1] for match in found if match])


def read_order(path: Path) -> tuple[Job, frozenset[str]]:
    """The stack to train, and the names of leases that count for nothing. Raises ``OSError``, and
    ``UserError`` for one that another version of mugrow has written."""
    return _read(path.read_bytes())


def _read(order: str | bytes) -> tuple[Job, frozenset[str]]:
    said = json.loads(order)
    theirs, ours = said.get("version", "older"), version("mugrow")
    if theirs != ours:
        raise UserError(
            f"{socket.gethostname()} has mugrow {ours}, where the program that runs the study is "
            f"mugrow {theirs}: install the same on both"
        )
    given = said["job"]
    lists: dict[str, Iterable[object]] = {
        "runs": map(run_spec_from_json, given["runs"]),
        "roles": given["roles"],
        "trials": given["trials"],
        "rungs": (PruningStep(**rung) for rung in given["rungs"]),
        "methods": (MethodFile(**file) for file in given["methods"]),
    }
    job = Job(**(given | {name: tuple(values) for name, values in lists.items()}))
    return job, frozenset(said["over"])


def obey(path: str, *, signals: Iterable[int] = ()) -> str:
    """Train the stack of an order; what an engine calls in a process of its own. Returns how it
    ended as a JSON object, which ``mugrow.sweeps.execute`` understands: nothing is raised. At one
    of these ``signals`` the stack is saved and left."""

    def work() -> str:
        with _called_off(Path(path), signals) as leave:
            try:
                job, over = read_order(Path(path))
            except FileNotFoundError:
                return _said(LEFT)  # called off while it waited
            try:
                _check_devices(job)
            except UserError as error:  # of this machine, and perhaps of no other
                return _said("lost", reason=f"{socket.gethostname()}: {error}")
            found = train(job, over, leave)
        if isinstance(found, Process):
            return _said("held", by=str(found))
        return _said(ENDED) if found is None else _said(ENDED, told=found)

    return _ending(work)


def _check_devices(job: Job) -> None:
    if job.device == "cpu":
        return
    from mugrow.sweeps.machine import check_device

    for index in range(1 if job.torchrun else job.ranks):
        check_device(device_of(job.device, index) if job.ranks > 1 else job.device)


def _ending(work: Callable[[], str]) -> str:
    """What some work says, or how it was stopped."""
    try:
        return work()
    except StackLeft:
        return _said(LEFT)
    except RankLost as error:
        return _said("killed", reason=str(error))
    except Damaged as error:
        return _said("damaged", path=str(error.path), reason=str(error.reason))
    except UserError as error:
        return _said("refused", reason=str(error))
    except OSError as error:
        named = str(error.filename) if error.filename else None
        return _said("system", errno=error.errno, reason=error.strerror or str(error), path=named)
    except MemoryError as error:
        return _said("memory", reason=str(error))
    except Exception as error:
        return _said("error", reason=str(error), trace="".join(traceback.format_exception(error)))


def _said(kind: str, **about: Any) -> str:
    return json.dumps({"kind": kind, **about})


@contextmanager
def _called_off(order: Path, signals: Iterable[int]) -> Iterator[Callable[[], bool]]:
    """Whether to leave: a signal has come, or the order is gone."""
    heard = threading.Event()
    looked_s = time.monotonic()

    def leave() -> bool:
        nonlocal looked_s
        if time.monotonic() - looked_s > LOOK_EVERY_S:
            looked_s = time.monotonic()
            if not order.exists():
                heard.set()
        return heard.is_set()

    before = {number: signal.signal(number, lambda *_: heard.set()) for number in signals}
    try:
        yield leave
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
