"""A study as it runs, seen from outside: by whoever can read its folder, on any machine.

Nothing is asked of the programs that run it. What is in flight has an order in ``stacks/``; who
holds its lease trains it, and says how far it is; what has ended and what is left the scheduling
program writes into ``progress.json``, and the tables of the study hold when there is none.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.record import STATUSES
from mugrow.bench.run import Job
from mugrow.bench.spec import UserError
from mugrow.sweeps.display import reports, title
from mugrow.sweeps.lease import Leases
from mugrow.sweeps.plan import PlannedRun, PlannedStack, Role
from mugrow.sweeps.progress import Progress, read_progress
from mugrow.sweeps.worker import orders, read_order

CONFIGURATION = "study.json"


@dataclass(frozen=True)
class WatchedStack:
    """A stack in flight: what it is and of which study; whether a process ``trains`` it, who; or it
    ``waits`` for one, or was ``left`` where it is and no program is there to have it trained. Its
    runs, how far they are, the lowest validation loss so far in nats a token, the tokens that all
    of them train on a second, and the seconds that this leaves; None where nothing is known yet."""

    study: str
    title: str
    key: str
    state: Literal["trains", "waits", "left"]
    by: str | None
    runs: int
    step: int
    steps: int
    best_val_loss: float | None
    tokens_per_s: float | None
    left_s: float | None


@dataclass(frozen=True)
class WatchedStudy:
    """A study: its runs by state, which is a status, ``running`` or ``waiting``; the seconds until
    all have ended as the program that runs it estimates them, and that program. Without one it is
    not known how many runs wait."""

    name: str
    folder: Path
    runs: Mapping[str, int]
    left_s: float | None
    program: str | None


@dataclass(frozen=True)
class Watched:
    """The studies of a folder and their stacks in flight, at one moment."""

    studies: tuple[WatchedStudy, ...]
    stacks: tuple[WatchedStack, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on here."""
        trained = any(stack.state == "trains" for stack in self.stacks)
        return not trained and all(study.program is None for study in self.studies)


class Watch:
    """Looks at a folder of `mugrow run`, or of `mugrow reproduce` with the papers in it, again and
    again; orders are read once. Raises ``UserError`` for a folder that is none."""

    def __init__(self, directory: str | Path) -> None:
        folder = Path(directory)
        if not folder.is_dir():
            raise UserError(f"{folder} is not a directory; expected one that `mugrow run` writes")
        folders = [folder] if (folder / CONFIGURATION).exists() else [
            path.parent for path in sorted(folder.glob(f"*/{CONFIGURATION}"))
        ]  # fmt: skip
        if not folders:
            raise UserError(f"{folder} holds no study; nothing to watch")
        self.folders = {_name(one): one for one in folders}
        nested = folders == [folder] and not _is_pool(folder) and _is_pool(folder.parent)
        self.pool = folder.parent if nested else folder
        self.leases = Leases(self.pool / "stacks")
        self.orders: dict[Path, tuple[str, PlannedStack]] = {}

    def look(self) -> Watched:
        """What is there now."""
        programs = {name: _program(folder) for name, folder in self.folders.items()}
        ordered = {stack.key: (name, stack) for name, stack in self._ordered()}
        said = reports(self.pool, [stack for _, stack in ordered.values()])
        stacks = tuple(
            self._stack(name, stack, report, programs[name] is not None)
            for (name, stack), report in zip(ordered.values(), said, strict=True)
        )
        studies = tuple(
            _study(name, folder, programs[name], [one for one in stacks if one.study == name])
            for name, folder in self.folders.items()
        )
        return Watched(studies, stacks)

    def _ordered(self) -> list[tuple[str, PlannedStack]]:
        """The stacks that programs have ordered for these studies, each with the study's name."""
        paths = orders(self.pool)
        self.orders = {path: self.orders[path] for path in paths if path in self.orders}
        for path in paths:
            if path not in self.orders:
                with suppress(OSError, ValueError, KeyError, TypeError, UserError):
                    # it may just have been called off, or be of another version
                    job, _ = read_order(path)
                    self.orders[path] = job.study, _planned(job)
        return [one for one in self.orders.values() if one[0] in self.folders]

    def _stack(
        self, study: str, stack: PlannedStack, said: Mapping[str, Any], has_program: bool
    ) -> WatchedStack:
        holder = self.leases.holder(stack.key, [run.spec.run_id for run in stack.runs])
        rate = said["tokens_per_s"] if holder else 0.0
        tokens = (said["steps"] - said["step"]) * said["members"] * stack.runs[0].spec.batch_tokens
        return WatchedStack(
            study=study,
            title=title(stack),
            key=stack.key,
            state="trains" if holder else "waits" if has_program else "left",
            by=str(holder) if holder else None,
            runs=said["members"],
            step=said["step"],
            steps=said["steps"],
            best_val_loss=said["best_val_loss"],
            tokens_per_s=rate or None,
            left_s=tokens / rate if rate else None,
        )


def watch(directory: str | Path) -> Watched:
    """How far the studies of a folder are, of `mugrow run` or `mugrow reproduce`, at this moment;
    also while programs run them, on whatever machines. Raises ``UserError`` for a folder that holds
    none.

    >>> import mugrow
    >>> found = mugrow.watch("results/reference/quick")
    >>> found.studies[0].runs, found.is_over
    ({'finished': 120}, True)
    """
    return Watch(directory).look()


def _is_pool(folder: Path) -> bool:
    return (folder / "runs").is_dir() or (folder / "stacks").is_dir()


def _name(folder: Path) -> str:
    """The study's name, which need not be its folder's."""
    try:
        return str(json.loads((folder / CONFIGURATION).read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name


def _program(folder: Path) -> Progress | None:
    """What a program says that runs the study, unless that is known to be gone."""
    said = read_progress(folder)
    return None if said is None or said.process.is_gone() else said


def _planned(job: Job) -> PlannedStack:
    trials = job.trials or (None,) * len(job.runs)
    members = zip(job.runs, job.roles, trials, strict=True)
    runs = (PlannedRun(spec, cast(Role, role), "", trial) for spec, role, trial in members)
    return PlannedStack(tuple(runs), tuple((rung.step, rung.keep) for rung in job.rungs))


def _study(
    name: str, folder: Path, said: Progress | None, stacks: Sequence[WatchedStack]
) -> WatchedStudy:
    running = sum(one.runs for one in stacks if one.state == "trains")
    found = dict(said.ended) if said else _collected(folder)
    runs = {status: found[status] for status in STATUSES if found.get(status)}
    runs |= {"running": running} if running else {}
    if said is not None:
        runs |= {"waiting": max(0, said.runs - sum(runs.values()))}
    return WatchedStudy(
        name, folder, runs, said.left_s if said else None, str(said.process) if said else None
    )


def _collected(folder: Path) -> Mapping[str, int]:
    """The ended runs of a study by status, as its tables have them."""
    try:
        table = pq.read_table(folder / "runs.parquet", columns=["status"])
    except FileNotFoundError:
        return {}
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{folder / 'runs.parquet'} cannot be read: {error}") from None
    return Counter(table["status"].to_pylist())
