"""SLURM, through submitit: a job a stack, as arrays where several can start at once.

A job trains one stack. It saves it and ends when SLURM says that its time is up, or that another
takes its place; what is left is submitted again. SLURM itself starts a job of a failed node again.
Whether a job is still there is asked of ``squeue``, for all jobs at once, every few seconds; this
needs no accounting. Scripts and logs lie in the pool's folder ``slurm``, those of jobs that went
well are removed.
"""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from mugrow.bench.spec import UserError, unknown
from mugrow.sweeps.engines import (
    AT_ONCE,
    Asked,
    Engine,
    EngineKind,
    Needs,
    Order,
    WorkerLost,
    whole_number,
)
from mugrow.sweeps.worker import obey

ASK_EVERY_S = 3.0
ANSWER_WITHIN_S = 30.0
RESULT_WITHIN_S = 10.0  # a network file system may show it late
NOTICE_S = 60  # before its time is up a job hears of it
LARGEST_ARRAY = 1000  # one less than SLURM's own default of the most
OPTIONS = {
    "partition": "where to submit",
    "account": "whose time is charged",
    "qos": "quality of service",
    "constraint": "features that a node must have",
    "time": "limit of a job, in minutes or as SLURM writes it; by default from the plan",
    "gpus": "GPUs of a job; by default 1 where --device is a GPU",
    "cpus": "CPU cores of a job; by default --threads",
    "mem": "memory of a job in GB; by default from the plan",
    "jobs": f"the most jobs at once, {AT_ONCE} by default",
}
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")
LEAST_MINUTES = 10
SLACK = 3.0  # on the time that the plan has estimated from this machine


class SlurmEngine:
    """Jobs by id, ``17`` or ``18_4`` of an array."""

    def __init__(self, executor: Any, options: Mapping[str, str]) -> None:  # submitit is untyped
        self.executor, self.options = executor, options
        self.slots = max(1, whole_number("slurm", options, "jobs", AT_ONCE))
        self.jobs: dict[str, Any] = {}
        self.queued: frozenset[str] = frozenset()
        self.asked_s = float("-inf")

    def submit(self, orders: Sequence[Order]) -> Sequence[str]:
        ids: list[str] = []
        for begin in range(0, len(orders), LARGEST_ARRAY):
            array = orders[begin : begin + LARGEST_ARRAY]
            self.executor.update_parameters(**parameters(self.options, array))
            train = partial(obey, signals=(signal.SIGTERM, signal.SIGUSR2))
            try:
                with self.executor.batch():
                    jobs = [self.executor.submit(train, order.path) for order in array]
            except Exception as error:  # submitit has several, of what sbatch said
                raise UserError(f"SLURM takes no job: {_last_line(str(error))}") from None
            self.jobs |= {job.job_id: job for job in jobs}
            ids += [job.job_id for job in jobs]
        self.asked_s = float("-inf")
        return ids

    def done(self, process: str) -> bool:
        if time.monotonic() - self.asked_s > ASK_EVERY_S:
            with suppress(UserError):  # the controller is busy or restarts: ask again later
                self.queued = frozenset(said("squeue", "--me", "--array", "--format=%i").split())
            self.asked_s = time.monotonic()
        return process not in self.queued

    def result(self, process: str) -> str:
        job = self.jobs.pop(process)
        ends_s = time.monotonic() + RESULT_WITHIN_S
        while not job.paths.result_pickle.exists():
            if time.monotonic() > ends_s:
                raise WorkerLost(f"SLURM job {process} ended {_state(process)}{_log(job)}")
            time.sleep(0.1)
        try:
            found = str(job.result())
        except Exception as error:
            raise WorkerLost(f"SLURM job {process}: {_last_line(str(error))}") from None
        folder = Path(self.executor.folder)
        for path in folder.glob(f"{process}_*"):
            path.unlink(missing_ok=True)
        for link in folder.glob(".submission_file_*"):  # to a script that is gone
            if not link.exists():
                link.unlink(missing_ok=True)
        return found

    def cancel(self, process: str) -> None:
        with suppress(UserError):
            said("scancel", process)


def parameters(options: Mapping[str, str], orders: Sequence[Order]) -> dict[str, Any]:
    """What submitit is told of jobs: what is given, else the most that one of them needs."""
    needs = [order.needs for order in orders]
    minutes = max(LEAST_MINUTES, round(SLACK * max(one.time_s for one in needs) / 60))
    memory_gb = -(-max(one.memory_mb for one in needs) // 1024)
    gpus = whole_number("slurm", options, "gpus", max(one.gpus for one in needs))
    given = {name: options[name] for name in OPTIONS if name in options}
    asked: dict[str, Any] = {"gpus_per_node": gpus} if gpus else {}
    for name in ("partition", "account", "qos", "constraint"):
        if name in given:
            asked[name] = given[name]
    return asked | {
        "job_name": "mugrow",
        "comment": orders[0].title if len(orders) == 1 else f"{len(orders)} stacks",
        "time": limit_minutes(given["time"]) if "time" in given else minutes,
        "cpus_per_task": whole_number("slurm", options, "cpus", max(one.cpus for one in needs)),
        "mem": f"{whole_number('slurm', options, 'mem', memory_gb)}GB",
        "signal_delay_s": NOTICE_S,
        "array_parallelism": LARGEST_ARRAY,
        "stderr_to_stdout": True,
    }


def limit_minutes(text: str) -> int:
    """A limit as SLURM writes it, ``90``, ``1:30:00`` or ``2-12``, in minutes, rounded up."""
    found = TIME.fullmatch(text)
    if found is None:
        raise UserError(
            f"time of engine 'slurm' must be minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS, "
            f"not {text!r}"
        )
    parts = [int(one) for one in found["parts"].split(":")]
    if found["days"] is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        hours += 24 * int(found["days"])
    else:
        hours, minutes, seconds = {1: [0, *parts, 0], 2: [0, *parts], 3: parts}[len(parts)]
    return max(1, 60 * hours + minutes + -(-seconds // 60))


@contextmanager
def start(asked: Asked) -> Iterator[Engine]:
    import submitit

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError("engine 'slurm': there is no sbatch here; log in to a machine of a cluster")
    check_partition(asked.options.get("partition"), said("sinfo", "--format=%R|%G"))
    parameters(asked.options, [Order("", "", Needs(1, 0, 1, 1.0))])  # a wrong value ends here
    folder = asked.pool.absolute() / "slurm"
    yield SlurmEngine(submitit.SlurmExecutor(folder), asked.options)
    with suppress(OSError):  # logs of jobs that went wrong are kept
        folder.rmdir()


def check_partition(wanted: str | None, listed: str) -> None:
    """Raise the ``UserError`` of a partition that there is not; ``listed`` has a line a partition:
    its name and the GPUs of its nodes."""
    names = [line.partition("|")[0] for line in listed.splitlines()]
    if wanted is not None and wanted not in names:
        raise unknown("partition", wanted, dict.fromkeys(names))


def said(*words: str) -> str:
    """What a command of SLURM prints, without headings. Raises ``UserError`` where it fails."""
    quiet = ("--noheader",) if words[0] in ("squeue", "sinfo") else ()
    try:
        done = subprocess.run(
            [words[0], *quiet, *words[1:]],
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"engine 'slurm' cannot be reached: {words[0]} does not answer") from None
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise UserError(f"engine 'slurm' cannot be reached: {_last_line(why)}") from None
    return done.stdout


def _state(job: str) -> str:
    """How SLURM says that a job ended, in its words."""
    with suppress(UserError):
        if found := re.search(r"JobState=(\w+)", said("scontrol", "show", "job", job)):
            return f"as {found[1]}"
    return "without a result"


def _log(job: Any) -> str:
    log = Path(job.paths.stdout)
    return f", see {log}" if log.exists() else ""


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason was given"


ENGINE = EngineKind(
    "slurm",
    start,
    OPTIONS,
    summary="jobs of a SLURM cluster, arrays of them where several can start",
    package="submitit",
)
