"""Running a study: submit every stack whose sources have ended, until there is none.

The loop is: read what has ended, plan, submit what can start, wait. All memory is in the folder of
the runs, so a killed study is resumed by running it again. That folder is the study's own, or a
*pool* that several share: a run that two of them ask for is then trained once. Several programs may
run at once, of one study or of several: each leaves alone what another's worker holds a lease on
(``mugrow.sweeps.lease``), and goes on when that has ended. Stacks go through a
``concurrent.futures.Executor``; here one of local processes, each with its own threads. A worker
whose parent dies ends itself within a second, so a killed study leaves nobody writing.
"""

import fcntl
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mugrow.bench.checksums import Damaged, check_sum, read_sums, sha256
from mugrow.bench.files import remove
from mugrow.bench.flops import per_token
from mugrow.bench.method_file import files_of
from mugrow.bench.record import CURVE, set_aside, write_atomically, write_json
from mugrow.bench.run import TRACEBACK, Job, ended, load_state, stack_files, verify
from mugrow.bench.spec import DataSpec, UserError
from mugrow.bench.stack import PruningStep
from mugrow.sweeps.collect import collect
from mugrow.sweeps.display import Display, display, duration, title
from mugrow.sweeps.estimate import Estimate
from mugrow.sweeps.lease import Lease, Leases, Process
from mugrow.sweeps.plan import Plan, PlannedStack, depends, plan
from mugrow.sweeps.search import Finished
from mugrow.sweeps.study import Study
from mugrow.sweeps.worker import train

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP)
COLLECT_EVERY_S = 60.0
RUN_ID = re.compile("[0-9a-f]{16}")
LOOK_EVERY_S = 0.5
TABLES = "tables"  # the lease of who writes a study's tables
METHODS = "methods"  # of a study's folder: copies of the methods that come from a file

ADDED_SETTINGS: dict[str, Any] = {  # what a study had that was written without them
    "optimizer": "adamw",
    "budgets": [],
    "front": [],
    "final_val_tokens": 0,
    "looks": [],
    "against": "scratch",
    "error_rate": 0.05,
}


@dataclass(frozen=True)
class Where:
    """Where runs execute. Never part of a run's identity. ``corpus_paths`` says where the corpus
    of a sha256 lies, if it is a file."""

    workers: int
    threads: int
    device: str = "cpu"
    corpus_paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """What is executed: ``plan`` says which runs there are, given the rows of those that have
    ended, and ``configuration`` what ``study.json`` holds; ``defaults`` is what one means that was
    written before a setting existed. ``most`` plans all runs that it may come to, where that
    depends on losses; None where it does not."""

    name: str
    configuration: Mapping[str, Any]
    plan: Callable[[Finished], Plan]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    most: Callable[[Finished], Plan] | None = None


def of_study(study: Study, data: DataSpec) -> Experiment:
    """The experiment of a study on a corpus that is pinned by ``data``. Without a ladder nothing is
    compared, so it has neither budgets nor final evaluations."""
    if not study.ladder:
        study = replace(study, budgets=(), front=(), final_val_tokens=0)
    return Experiment(
        name=study.name,
        configuration=asdict(study) | {"corpus_sha256": data.corpus_sha256},
        plan=partial(plan, study, data),
        defaults=_defaults(study),
        most=partial(plan, study, data, most=True),
    )


def _defaults(config: "DataclassInstance") -> dict[str, Any]:
    """The settings that have a default, at it; of what is nested likewise."""
    found = {}
    for setting in fields(config):
        value = getattr(config, setting.name)
        if is_dataclass(value) and not isinstance(value, type):
            found[setting.name] = _defaults(value)
        elif setting.default is not MISSING:
            found[setting.name] = setting.default
    return found


def execute(experiment: Experiment, folder: Path, where: Where, pool: Path | None = None) -> Plan:
    """Run an experiment to its end, or go on where it was stopped; collects its tables in
    ``folder``. Runs are kept in ``pool``, by default the same. Returns the last plan.

    Raises ``UserError`` for what no run can have, a folder that holds something else or is in use,
    and a worker that was killed; a run that fails is a row with its reason.
    """
    first = experiment.plan({})  # a mistake in the study ends here, with nothing written
    pool = pool or folder
    with _opened(pool), display(pool) as shown:
        with _alone(folder):
            _claim(experiment, folder, shown.say)
            _keep_methods(first, folder)
        finished = Ended(pool, shown.say)
        began = time.monotonic()
        with _processes(where) as executor:
            outcome = _run_all(experiment, folder, pool, where, finished, executor, shown)
        _tidy(pool, outcome, finished.rows)
        shown.say(f"all runs have ended, after {duration(time.monotonic() - began)}")
        if failed := [row for row in finished.rows.values() if row["status"] == "failed"]:
            reasons = "; ".join(dict.fromkeys(row["reason"] for row in failed))
            shown.say(f"failed: {len(failed)}, see {pool}/runs/*/{TRACEBACK}: {reasons}")
    return outcome


class Ended:
    """The rows of ended runs, read once each. A damaged record is named and set aside, so that its
    run counts as not ended; so is the damaged state of a stack. A failed run is tried again, once a
    call of the program."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self.rows: dict[str, dict[str, Any]] = {}
        self.done_again: set[Path] = set()
        self.failed_before: dict[str, int] = {}
        homes = [path for path in folder.glob("runs/*") if RUN_ID.fullmatch(path.name)]
        leases = Leases(folder / "stacks")
        for path in leases.folder.glob("*.safetensors"):
            if leases.holder(path.stem, ()) is not None:
                continue  # it is being written
            try:
                load_state(path)
            except FileNotFoundError:
                continue  # its stack has just ended
            except Damaged as error:
                self.set_aside(error, "its stack will begin again")
        self.read((home.name for home in homes), verify)
        failed = [run_id for run_id, row in self.rows.items() if row["status"] == "failed"]
        for run_id in failed:
            self.failed_before[run_id] = self._written(run_id)
            del self.rows[run_id]

    def _written(self, run_id: str) -> int:
        """When the record of an ended run was written; 0 where it is just being replaced."""
        try:
            return (self.folder / "runs" / run_id / CURVE).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def read(
        self,
        run_ids: Iterable[str],
        record: Callable[[Path, str], dict[str, Any] | None] = ended,
    ) -> None:
        """Read the records of these runs, where they have ended by now."""
        for run_id in run_ids:
            try:
                row = self._settled(run_id, record)
            except Damaged as error:
                self.do_again(error)
                continue
            if row is None:
                continue
            before = self.failed_before.get(run_id)
            if row["status"] == "failed" and before == self._written(run_id):
                continue  # not tried again yet
            self.rows[run_id] = row

    def _settled(
        self, run_id: str, record: Callable[[Path, str], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """A record; one that seems damaged is read once more, for another program may just have
        been replacing it."""
        try:
            return record(self.folder, run_id)
        except Damaged:
            return record(self.folder, run_id)

    def read_all(self, current: Plan) -> None:
        """Read what other programs have ended of a plan."""
        self.read(run.spec.run_id for run in current.runs if run.spec.run_id not in self.rows)

    def set_aside(self, error: Damaged, so: str) -> None:
        """Rename the damaged file, and say what follows from it. Raises ``UserError`` for one that
        was done again by this program and is damaged once more."""
        if error.path in self.done_again:
            raise UserError(f"{error}, and was when it had been done again; is the disk failing?")
        self.done_again.add(error.path)
        aside = ""
        with suppress(FileNotFoundError):  # it is gone, or another program has set it aside
            aside = f"set aside as {set_aside(error.path).name}, "
        self.say(f"{error}; {aside}{so}")

    def do_again(self, error: Damaged) -> None:
        """Set aside a run's damaged file; the run then counts as not ended."""
        self.set_aside(error, "its run will be done again")
        self.rows.pop(error.path.parent.name, None)


def _run_all(
    experiment: Experiment,
    folder: Path,
    pool: Path,
    where: Where,
    finished: Ended,
    executor: Executor,
    shown: Display,
) -> Plan:
    estimate = Estimate(where.workers)
    in_flight: dict[Future[Process | None], PlannedStack] = {}
    elsewhere = _Elsewhere(Leases(pool / "stacks"), finished, shown.say)
    collected_s = time.monotonic()
    current = experiment.plan(finished.rows)
    while True:
        if time.monotonic() - collected_s > COLLECT_EVERY_S:
            # so that `mugrow report` can be called meanwhile
            collected = _collected(experiment, folder, pool, finished)
            current = collected or experiment.plan(finished.rows)
            if collected is None:
                continue
            collected_s = time.monotonic()
        held = news = False
        for stack in _ready(current, finished.rows, in_flight.values()):
            if len(in_flight) < where.workers:
                if elsewhere.has_ended(stack):
                    news = True
                elif elsewhere.is_held(stack):
                    held = True
                else:
                    job, silent = _job(experiment.name, stack, pool, where), elsewhere.silent()
                    with _stops_deferred():
                        in_flight[executor.submit(train, job, silent)] = stack
        if news:
            current = experiment.plan(finished.rows)
            continue
        if not in_flight and not held:
            collected = _collected(experiment, folder, pool, finished)
            current = collected or experiment.plan(finished.rows)
            if collected is not None and not _ready(current, finished.rows, ()):
                return current
            continue
        ended_now: set[Future[Process | None]] = set()
        while not ended_now:
            if in_flight:
                ended_now, _ = wait(in_flight, LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            else:
                time.sleep(LOOK_EVERY_S)
            running = [*in_flight.values()]
            shown.show(estimate.work(current, finished.rows, running, pool))
            if held:
                break
        for future in ended_now:
            stack = in_flight.pop(future)
            try:
                other = _result(future)
            except Damaged as error:  # a source's file, found when it was to be grown
                finished.do_again(error)
                continue
            finished.read(run.spec.run_id for run in stack.runs)
            if other is None and _has_ended(stack, finished.rows):
                shown.say(_ending(stack, finished.rows))
        if ended_now:
            current = experiment.plan(finished.rows)


class _Elsewhere:
    """What other programs train in the pool, as their leases say."""

    def __init__(self, leases: Leases, finished: Ended, say: Callable[[str], None]) -> None:
        self.leases, self.finished, self.say = leases, finished, say
        self.said: set[str] = set()

    def is_held(self, stack: PlannedStack) -> bool:
        """Whether another process trains it, or one of its runs in another stack."""
        other = self.leases.holder(stack.key, [run.spec.run_id for run in stack.runs])
        if other is None:
            return False
        if stack.key not in self.said:
            self.said.add(stack.key)
            self.say(f"{title(stack)}: {other} trains it")
        return True

    def silent(self) -> frozenset[str]:
        return self.leases.silent_now()

    def has_ended(self, stack: PlannedStack) -> bool:
        """Whether it has ended meanwhile."""
        rows = self.finished.rows
        self.finished.read(run.spec.run_id for run in stack.runs if run.spec.run_id not in rows)
        return _has_ended(stack, rows)


def _has_ended(stack: PlannedStack, rows: Mapping[str, object]) -> bool:
    return all(run.spec.run_id in rows for run in stack.runs)


def _tidy(pool: Path, outcome: Plan, rows: Mapping[str, object]) -> None:
    """Remove what a killed worker left of stacks whose runs have all ended, leases too."""
    leases = Leases(pool / "stacks")
    left = {path.name.removeprefix(".").partition(".")[0] for path in leases.folder.glob("*")}
    for stack in outcome.stacks:
        if stack.key in left and _has_ended(stack, rows):
            lease = leases.take(stack.key, [run.spec.run_id for run in stack.runs])
            if isinstance(lease, Lease):
                with lease.held():
                    for path in stack_files(pool, stack.key):
                        remove(path)


def _collected(experiment: Experiment, folder: Path, pool: Path, finished: Ended) -> Plan | None:
    """Write the tables of all that has ended, and return the plan that they are of. One program at
    a time does, and has then read what the others have ended: no table lacks what an older one had.
    ``None`` where a curve could not be read: it is set aside, so that its run is done again."""
    with _alone(folder):
        current = experiment.plan(finished.rows)
        finished.read_all(current)
        current = experiment.plan(finished.rows)
        try:
            collect(folder, current, finished.rows, experiment.name, pool)
        except Damaged as error:
            finished.do_again(error)
            return None
    return current


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within, no other program writes what belongs to the study as a whole."""
    leases = Leases(folder)
    while not isinstance(lease := leases.take(TABLES, ()), Lease):
        time.sleep(LOOK_EVERY_S)
    with lease.held():
        yield


def _result(future: Future[Process | None]) -> Process | None:
    try:
        return future.result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, perhaps for lack of memory; the same command goes on "
            "from here, with fewer --workers if need be"
        ) from None


def _ready(
    current: Plan, rows: dict[str, Any], in_flight: Iterable[PlannedStack]
) -> list[PlannedStack]:
    """The stacks that can start, the most urgent first: targets before sources before proxies, of
    which those of the sweep that is transferred from hold up all the rest. Among equals the longest
    go first, so that a study does not end with one worker on a long stack and the others idle."""
    busy = {stack.key for stack in in_flight}
    ready = [
        stack
        for stack in current.stacks
        if stack.key not in busy
        and any(run.spec.run_id not in rows for run in stack.runs)
        and depends(stack) <= rows.keys()
    ]
    main_sweep = current.stacks[0].runs[0].sweep
    order = ("target", "branch", "trunk", "source", "proxy")

    def urgency(stack: PlannedStack) -> tuple[int, bool, float]:
        first = stack.runs[0]
        work = len(stack.runs) * first.spec.tokens * per_token(first.spec.model)
        return order.index(first.role), first.sweep != main_sweep, -work

    return sorted(ready, key=urgency)


def _job(study: str, stack: PlannedStack, pool: Path, where: Where) -> Job:
    return Job(
        folder=str(pool),
        study=study,
        key=stack.key,
        runs=tuple(run.spec for run in stack.runs),
        roles=tuple(run.role for run in stack.runs),
        trials=tuple(run.trial for run in stack.runs if run.trial is not None),
        rungs=tuple(PruningStep(step, keep) for step, keep in stack.rungs),
        corpus_path=where.corpus_paths.get(stack.runs[0].spec.data.corpus_sha256),
        device=where.device,
        threads=where.threads,
        methods=files_of({run.spec.start.method for run in stack.runs}),
    )


def _ending(stack: PlannedStack, rows: dict[str, Any]) -> str:
    ends = [rows[run.spec.run_id] for run in stack.runs]
    states: dict[str, int] = {}
    for row in ends:
        states[row["status"]] = states.get(row["status"], 0) + 1
    losses = [row["final_val_loss"] for row in ends if row["status"] == "finished"]
    best = f", best loss {min(losses):.4f}" if losses else ""
    counts = ", ".join(f"{count} {status}" for status, count in states.items())
    reasons = "".join(f"; {row['name']}: {row['reason']}" for row in ends if row["reason"])
    return f"{title(stack)}: {counts}{best}{reasons}"


def _claim(experiment: Experiment, folder: Path, say: Callable[[str], None]) -> None:
    """Write ``study.json``, or refuse a folder that holds another study."""
    path = folder / "study.json"
    both = [experiment.configuration, experiment.defaults]
    ours, defaults = json.loads(json.dumps(both, default=asdict))
    if path.exists():
        try:
            written = _claimed(path)
        except Damaged as error:
            say(f"{error}; set aside as {set_aside(path).name}")
        else:
            older = {key: ADDED_SETTINGS[key] for key in ours.keys() & ADDED_SETTINGS}
            theirs = _completed(older | written, defaults)
            keys = sorted(ours.keys() | theirs.keys())
            differ = [key for key in keys if ours.get(key) != theirs.get(key)]
            if not differ:
                return
            other = [key for key in differ if key in written or key not in older]
            if not other:
                settings = " ".join(f"{key}={_as_set(older[key])}" for key in differ)
                raise UserError(
                    f"{folder} holds this study from before there was {' and '.join(differ)}; "
                    f"to go on with it add --set {settings}"
                )
            key = other[0]
            _check_method_files(folder, theirs.get(key), ours.get(key))
            raise UserError(
                f"{folder} holds another study: its {key} is {theirs.get(key)!r}, not "
                f"{ours.get(key)!r}; choose another --out"
            )
    write_json(path, ours)


def _claimed(path: Path) -> dict[str, Any]:
    """What ``study.json`` says. Raises ``Damaged`` where it is not what was written, or no study's
    configuration."""
    content = path.read_bytes()
    sums = read_sums(path.parent)
    if sums is not None and path.name in sums:  # it is written before there are any
        check_sum(path, sha256(content), sums)
    try:
        written = json.loads(content)
    except ValueError as error:
        raise Damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(written, dict) or not isinstance(written.get("name"), str):
        raise Damaged(path, "it is no study's configuration, which has a name")
    return written


def _check_method_files(folder: Path, theirs: object, ours: object) -> None:
    """Raise the ``UserError`` of a method's file that has changed since the study began."""
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return
    names = [[one["name"] for one in each if isinstance(one, dict) and "name" in one]
             for each in (theirs, ours)]  # fmt: skip
    of_files = [{name.partition("@")[0]: name for name in each if "@" in name} for each in names]
    for name in of_files[0].keys() & of_files[1].keys():
        before, now = (found[name] for found in of_files)
        if before != now:
            raise UserError(
                f"the file of method {name!r} has changed: {folder} was begun with {before}, kept "
                f"in {folder / METHODS}, and this is {now}; choose another --out"
            )


def _keep_methods(first: Plan, folder: Path) -> None:
    """Copies of the methods that come from a file, so that what was run can be read later."""
    stacks = (*first.stacks, *first.provisional)
    for file in files_of({run.spec.start.method for stack in stacks for run in stack.runs}):
        copy = partial(Path.write_text, data=file.text, encoding="utf-8")
        write_atomically(folder / METHODS / f"{file.name}.py", copy)


def _as_set(value: object) -> str:
    """A setting that was added later as ``--set`` takes it."""
    return "" if value == [] else str(value)


def _completed(found: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the settings that it lacks at their defaults."""
    completed = dict(defaults)
    for key, value in found.items():
        nested = defaults.get(key)
        if isinstance(value, dict) and isinstance(nested, dict):
            value = _completed(value, nested)
        completed[key] = value
    return completed


@contextmanager
def _opened(folder: Path) -> Iterator[None]:
    """A folder that holds studies, or is to. Versions before leases had it for themselves, by a
    lock: one of those and this one refuse each other's."""
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"--out {folder} is a link to what is not there: {folder.readlink()}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file, not a folder")
    foreign = folder.is_dir() and any(folder.iterdir()) and not (folder / ".lock").exists()
    if foreign and not (folder / "study.json").exists():
        raise UserError(f"--out {folder} is not empty and holds no study; choose another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder} is in use by an older version of mugrow") from None
        except OSError:
            pass  # a file system without locks
        yield


@contextmanager
def _processes(where: Where) -> Iterator[Executor]:
    """Local worker processes; on an error or Ctrl-C they are ended, not waited for."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        where.workers, mp_context=context, initializer=_follow, initargs=(os.getpid(),)
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
def _stops_deferred() -> Iterator[None]:
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

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
