"""Running a study: submit every stack whose sources have ended, until there is none.

The loop is: read what has ended, plan, submit what can start, wait. All memory is in the folder of
the runs, so a killed study is resumed by running it again. That folder is the study's own, or a
*pool* that several share: a run that two of them ask for is then trained once. Several programs may
run at once, of one study or of several: each leaves alone what another's worker holds a lease on
(``mugrow.sweeps.lease``), and goes on when that has ended. An engine (``mugrow.sweeps.engines``)
starts the processes that train, here or on many machines. Where one is lost its stack is submitted
again, and goes on from its saved state; only one that is lost again and again without getting
further ends the study.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mugrow.bench.checkpoint import metadata
from mugrow.bench.checksums import Damaged
from mugrow.bench.data.corpora import NAMES, split_options
from mugrow.bench.device import is_gpu
from mugrow.bench.files import remove
from mugrow.bench.method_file import files_of
from mugrow.bench.run import TRACEBACK, Job, stack_files
from mugrow.bench.spec import UserError
from mugrow.bench.stack import PruningStep
from mugrow.sweeps.collect import collect
from mugrow.sweeps.compiling import Compile, Compiling, check_compile, compiling
from mugrow.sweeps.display import Display, display, duration, title
from mugrow.sweeps.ended import Ended
from mugrow.sweeps.engines import Asked, Engine, Order, WorkerLost, engine
from mugrow.sweeps.engines.local import stops_deferred
from mugrow.sweeps.estimate import Estimate
from mugrow.sweeps.experiment import Experiment as Experiment  # where it was before
from mugrow.sweeps.experiment import of_study as of_study
from mugrow.sweeps.journal import Journal
from mugrow.sweeps.lease import Lease, Leases
from mugrow.sweeps.machine import (
    check_device,
    check_positive,
    check_under_torchrun,
    device_list,
    devices_of_ranks,
    least_budget,
    of_this_machine,
    shared_out,
    worker_count,
)
from mugrow.sweeps.needs import check_fits, needs_of
from mugrow.sweeps.order import ready
from mugrow.sweeps.plan import Plan, PlannedStack
from mugrow.sweeps.preserved import claims_measured
from mugrow.sweeps.progress import ProgressFile, progress_file
from mugrow.sweeps.stack_size import Gpus
from mugrow.sweeps.study_folder import alone, claim, keep_methods, opened
from mugrow.sweeps.torchrun import world
from mugrow.sweeps.trackers import tracker
from mugrow.sweeps.trackers.follow import Hand, following
from mugrow.sweeps.worker import ENDED, LEFT, orders, orders_half_written, write_order

COLLECT_EVERY_S = 60.0
LONGEST_SHARE = 0.02  # of the time may go into writing tables
LOOK_EVERY_S = 0.5
ASK_EVERY_S = 0.05
LOST_MOST = 3  # times in a row that a stack is lost without having got further
LOST = ("lost", LEFT)  # ends of a worker after which its stack is submitted again
LOST_ELSEWHERE = (*LOST, "killed", "system", "memory", "error")  # perhaps that machine's fault


@dataclass(frozen=True)
class Where:
    """Where runs execute. Never part of a run's identity. ``corpus_paths`` says where the corpus
    of a sha256 lies, if it is a file, ``source_path`` the import that a study begins with; ``on``
    is an engine with its options, ``log`` an experiment tracker. Of several ``devices`` each stack
    trains on the one that has the least to do; without any all do on ``device``. ``memory_bytes``
    is what each stack may take, always known of a GPU here, ``recompute`` whether it computes
    activations again (``mugrow.bench.split``); ``compile`` says which are compiled
    (``mugrow.sweeps.compiling``). So many ``ranks`` train each stack together
    (``mugrow.bench.data_parallel``), with threads, a device and memory each; ``torchrun`` where
    that has started them."""

    workers: int
    threads: int
    device: str = "cpu"
    corpus_paths: Mapping[str, str] = field(default_factory=dict)
    source_path: str | None = None
    on: str = "local"
    devices: tuple[str, ...] = ()
    log: str | None = None
    memory_bytes: float | None = None
    recompute: bool = False
    compile: Compile = "off"
    ranks: int = 1
    torchrun: bool = False

    @property
    def gpus(self) -> Gpus | None:
        """The GPUs whose memory is known, if it trains on such."""
        if self.memory_bytes is None or not is_gpu((self.devices or (self.device,))[0]):
            return None
        return Gpus(self.memory_bytes, self.workers, self.recompute, self.ranks)


def where_of(
    workers: int | None,
    threads: int,
    device: str,
    devices: str | None,
    on: str,
    log: str | None = None,
    memory_bytes: float | None = None,
    recompute: bool = False,
    ranks: int | None = None,
    compile: Compile = "off",
) -> Where:
    """Where, as the command line and the API say it. Raises ``UserError`` for a device that is not
    there, of those that are this machine's business, and an engine or tracker that is none."""
    kind, _ = engine(on)
    if log is not None:
        tracker(log)
    check_positive("threads", threads)
    started = world()
    if started is not None:
        check_under_torchrun(started, ranks, workers, devices, kind)
    count = ranks or (started.size if started else 1)
    check_positive("ranks", count if ranks is None else ranks)
    check_compile(compile, None if kind.elsewhere else device, count)
    if not kind.elsewhere:
        for one in devices_of_ranks(device, started.local_size if started else count):
            check_device(one)
    elif devices is not None:
        raise of_this_machine(kind.name)
    listed = shared_out(device_list(devices), count)
    if memory_bytes is None and not kind.elsewhere:
        memory_bytes = least_budget(listed or devices_of_ranks(device, count))
    if workers is None:
        workers = len(listed) or (1 if started else worker_count(None, device, count))
    return Where(worker_count(workers, device), threads, device, on=on, devices=listed, log=log,
                 memory_bytes=memory_bytes, recompute=recompute, ranks=count, compile=compile,
                 torchrun=started is not None)  # fmt: skip


def execute(
    experiment: Experiment,
    folder: Path,
    where: Where,
    pool: Path | None = None,
    at_last: Callable[[], object] | None = None,
) -> Plan:
    """Run an experiment to its end, or go on where it was stopped; collects its tables in
    ``folder``. Runs are kept in ``pool``, by default the same. Returns the last plan. It calls
    ``at_last`` once, when all that is left is in training and a core is free; the tables are then
    of all that has ended.

    Raises ``UserError`` for what no run can have, an engine that cannot be used, a folder that
    holds something else, and a worker that was killed; a run that fails is a row with its reason.
    """
    first = experiment.plan({})  # a mistake in the study ends here, with nothing written
    all_stacks = (*first.stacks, *first.provisional)
    check_fits(all_stacks, where.memory_bytes, where.recompute, where.ranks)
    pool = pool or folder
    kind, options = engine(where.on)
    kind.check_installed()
    with opened(pool), display(pool) as shown:
        with alone(folder):
            claim(experiment, folder, shown.say)
            keep_methods(first, folder)
        compiled = compiling(where.compile, first)
        for line in (*claims_measured(first), *compiled.lines):
            shown.say(line)
        began = time.monotonic()
        with (
            progress_file(folder) as progress,
            following(where.log, experiment.name, pool, folder, shown.say) as track,
            kind.start(Asked(options, pool, where.workers, where.threads, where.ranks)) as started,
        ):
            finished = Ended(pool, shown.say)
            again = LOST_ELSEWHERE if kind.elsewhere else LOST
            outcome = _Scheduler(
                experiment,
                folder,
                pool,
                where,
                compiled,
                finished,
                started,
                again,
                shown,
                progress,
                track,
                at_last,
            ).run()
        _tidy(pool, outcome, finished.rows)
        shown.say(f"all runs have ended, after {duration(time.monotonic() - began)}")
        if failed := [row for row in finished.rows.values() if row["status"] == "failed"]:
            reasons = "; ".join(dict.fromkeys(row["reason"] for row in failed))
            shown.say(f"failed: {len(failed)}, see {pool}/runs/*/{TRACEBACK}: {reasons}")
    return outcome


@dataclass(frozen=True)
class _Flight:
    """A stack that an engine has: its order, the device that this names, and the step that the
    stack had been saved at when it was submitted."""

    stack: PlannedStack
    order: Path
    device: str
    step: int


class _Scheduler:
    """The loop of one call of ``execute``; after which ends of a worker its stack is submitted
    ``again``, it is told."""

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        pool: Path,
        where: Where,
        compiled: Compiling,
        finished: Ended,
        started: Engine,
        again: Sequence[str],
        shown: Display,
        progress: ProgressFile,
        track: Hand,
        at_last: Callable[[], object] | None,
    ) -> None:
        self.experiment, self.folder, self.pool, self.where = experiment, folder, pool, where
        self.compiled = compiled
        self.finished, self.engine, self.again, self.shown = finished, started, again, shown
        self.progress, self.track, self.at_last = progress, track, at_last
        self.journal = Journal(folder, shown.say)
        self.collected_s, self.collect_every_s = time.monotonic(), COLLECT_EVERY_S
        self.estimate = Estimate(min(where.workers, started.slots), ranks=where.ranks)
        self.elsewhere = _Elsewhere(Leases(pool / "stacks"), finished, shown.say)
        self.in_flight: dict[str, _Flight] = {}
        self.lost: dict[str, int] = {}

    def run(self) -> Plan:
        """Until there is nothing left to train; returns the last plan. What is in flight when it
        is stopped is called off."""
        try:
            return self._run()
        except BaseException:
            for process, flight in self.in_flight.items():
                with suppress(Exception):  # an engine that is gone has nothing to cancel
                    self.engine.cancel(process)
                flight.order.unlink(missing_ok=True)
            raise

    def _run(self) -> Plan:
        current = self.experiment.plan(self.finished.rows)
        while True:
            if time.monotonic() - self.collected_s > self.collect_every_s:
                current = self._collect()  # so that `mugrow report` can be called meanwhile
            held, news = self._submit(current)
            if news:
                current = self.experiment.plan(self.finished.rows)
                continue
            if not self.in_flight and not held:
                current = self._collect(whole=True)
                if not ready(current, self.finished.rows, ()):
                    return current
                continue
            if self.at_last and self._all_in_training(current) and self._has_free_core():
                current = self._collect()
                self.at_last()
                self.at_last = None
            ended_now = self._wait(current, held)
            for process in ended_now:
                self._end(process)
            if ended_now:
                current = self.experiment.plan(self.finished.rows)

    def _collect(self, *, whole: bool = False) -> Plan:
        """Write the tables; ``whole`` are journal and index then, too. Returns the plan that they
        are of."""
        began_s = time.monotonic()
        found = _collected(self.experiment, self.folder, self.finished, self.journal, whole)
        self.track(found, self.finished.rows)
        self.collected_s = time.monotonic()
        self.collect_every_s = max(COLLECT_EVERY_S, (self.collected_s - began_s) / LONGEST_SHARE)
        return found

    def _all_in_training(self, current: Plan) -> bool:
        """Whether every run of the plan has ended or is in training here."""
        stacks = (flight.stack for flight in self.in_flight.values())
        training = {run.spec.run_id for stack in stacks for run in stack.runs}
        return {run.spec.run_id for run in current.runs} <= self.finished.rows.keys() | training

    def _has_free_core(self) -> bool:
        """Whether this machine has a core on which nothing is trained."""
        kind, _ = engine(self.where.on)
        busy = len(self.in_flight) * self.where.threads * self.where.ranks
        return kind.elsewhere or busy < (os.cpu_count() or 1)

    def _submit(self, current: Plan) -> tuple[bool, bool]:
        """Submit what can start. Whether another program trains something of it, and whether one
        has ended something."""
        held = news = False
        flights: list[tuple[_Flight, Order]] = []
        running = {flight.stack.key for flight in self.in_flight.values()}
        for stack in ready(current, self.finished.rows, running):
            if len(self.in_flight) + len(flights) >= self.engine.slots:
                break
            if self.elsewhere.has_ended(stack):
                news = True
            elif self.elsewhere.is_held(stack):
                held = True
            else:
                flights.append(self._order(stack, [flight.device for flight, _ in flights]))
        if flights:
            with stops_deferred():  # what has been submitted is known
                processes = self.engine.submit([order for _, order in flights])
                self.in_flight |= {
                    process: flight for process, (flight, _) in zip(processes, flights, strict=True)
                }
        return held, news

    def _order(self, stack: PlannedStack, taken: Sequence[str]) -> tuple[_Flight, Order]:
        busy = [*taken, *(flight.device for flight in self.in_flight.values())]
        device = min(self.where.devices or (self.where.device,), key=busy.count)
        job = _job(self.experiment.name, stack, self.pool, self.where, device)
        job = replace(job, compile=self.compiled.of(stack))
        path = write_order(job, self.elsewhere.over())
        takes_s = self.estimate.seconds(stack)
        needs = needs_of(
            stack, device, self.where.threads, takes_s, self.where.memory_bytes, self.where.ranks
        )
        step = saved_step(self.pool, stack.key)
        return _Flight(stack, path, device, step), Order(str(path), title(stack), needs)

    def _wait(self, current: Plan, held: bool) -> list[str]:
        """What has ended, as soon as something has; and in vain for a moment where what another
        program trains is to be looked at again."""
        running = [flight.stack for flight in self.in_flight.values()]
        while True:
            looked_s = time.monotonic()
            while time.monotonic() - looked_s < LOOK_EVERY_S:
                if ended_now := [one for one in self.in_flight if self.engine.done(one)]:
                    return ended_now
                time.sleep(ASK_EVERY_S)
            work = self.estimate.work(current, self.finished.rows, running, self.pool)
            self.shown.show(work)
            self.progress.write(work)
            self.track(current, self.finished.rows)
            if held:
                return []

    def _end(self, process: str) -> None:
        """Hear how a process ended, and read what its stack has left."""
        flight = self.in_flight.pop(process)
        stack = flight.stack
        try:
            said = json.loads(self.engine.result(process))
        except WorkerLost as lost:
            said = {"kind": "lost", "reason": str(lost)}
        finally:
            flight.order.unlink(missing_ok=True)
        if said["kind"] == "damaged":  # a source's file, found when it was to be grown
            self.finished.do_again(Damaged(_within(self.pool, said["path"]), said["reason"]))
            return
        if said["kind"] not in self.again:
            _raise_what_stopped(said)
        self.finished.read(run.spec.run_id for run in stack.runs)
        if said["kind"] in self.again:
            self._count_lost(flight, said)
        elif said["kind"] == ENDED and _has_ended(stack, self.finished.rows):
            self.shown.say(_ending(stack, self.finished.rows))
        if "told" in said:
            self.shown.say(f"{title(stack)}: {said['told']}")

    def _count_lost(self, flight: _Flight, said: Mapping[str, Any]) -> None:
        """Say that a stack is submitted again, unless that has been in vain too often."""
        stack, reason = flight.stack, said.get("reason") or "it was told to make room"
        if _has_ended(stack, self.finished.rows):
            return
        step = saved_step(self.pool, stack.key)
        self.lost[stack.key] = 0 if step > flight.step else self.lost.get(stack.key, 0) + 1
        if self.lost[stack.key] >= LOST_MOST:
            _raise_what_stopped(said)
            raise UserError(
                f"{title(stack)} was lost {LOST_MOST} times without getting further than step "
                f"{step}, at last so: {reason}; the same command goes on from here"
            )
        self.shown.say(f"{title(stack)}: lost at step {step}: {reason}; submitted again")


def saved_step(pool: Path, key: str) -> int:
    """The step at which a stack in flight was last saved; 0 where it has not been."""
    path, *_ = stack_files(pool, key)
    try:
        return int(json.loads(metadata(path)["state"])["step"])
    except (Damaged, OSError, KeyError, TypeError, ValueError):
        return 0


def _within(pool: Path, path: str) -> Path:
    """A path that a worker has named, which knows the pool by its whole path."""
    found, whole = Path(path), pool.absolute()
    return pool / found.relative_to(whole) if found.is_relative_to(whole) else found


def _raise_what_stopped(said: Mapping[str, Any]) -> None:
    """Raise here what stopped a worker and is not a run's fault."""
    kind, reason = said["kind"], said.get("reason")
    if kind == "refused":
        raise UserError(reason)
    if kind == "killed":
        raise UserError(f"{reason}; the same command goes on from here")
    if kind == "system":
        raise OSError(said["errno"], reason, said["path"])
    if kind == "memory":
        raise MemoryError(reason)
    if kind == "error":
        raise RuntimeError(f"{reason}\n\nin a worker:\n{said['trace']}")


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

    def over(self) -> frozenset[str]:
        """The leases that need not be heeded by a worker, which may see less from where it is."""
        return self.leases.over_now()

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
                    nobodys = orders(pool, stack.key) + orders_half_written(pool, stack.key)
                    for path in (*stack_files(pool, stack.key), *nobodys):
                        remove(path)


def _collected(
    experiment: Experiment, folder: Path, finished: Ended, journal: Journal, whole: bool
) -> Plan:
    """Write the tables of all that has ended, and what is new of the journal and the index, all of
    it if they are to be ``whole``; return the plan that the tables are of. One program at a time
    does, and has then read what the others have ended: no table lacks what an older one had."""
    with alone(folder):
        finished.read_all(experiment.plan(finished.rows))
        current = experiment.plan(finished.rows)
        collect(folder, current, finished.rows, experiment.name, finished.curves)
        journal.write(current.trials, *([None] if whole else []))
        finished.write_index(whole=whole)
    return current


def _job(study: str, stack: PlannedStack, pool: Path, where: Where, device: str) -> Job:
    return Job(
        folder=str(pool),
        study=study,
        key=stack.key,
        runs=tuple(run.spec for run in stack.runs),
        roles=tuple(run.role for run in stack.runs),
        trials=tuple(run.trial for run in stack.runs if run.trial is not None),
        rungs=tuple(PruningStep(step, keep) for step, keep in stack.rungs),
        corpus_path=_whole_path(where.corpus_paths.get(stack.runs[0].spec.data.corpus_sha256)),
        source_path=_whole_path(where.source_path),
        device=device,
        threads=where.threads,
        methods=files_of({run.spec.start.method for run in stack.runs}),
        memory_bytes=where.memory_bytes,
        recompute=where.recompute,
        ranks=where.ranks,
        torchrun=where.torchrun,
    )


def _whole_path(corpus: str | None) -> str | None:
    """A corpus, as a worker in another folder finds it."""
    if corpus is None:
        return None
    word, _ = split_options(corpus)
    known = word in NAMES or not Path(word).exists()
    return corpus if known else f"{Path(word).absolute()}{corpus.removeprefix(word)}"


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
