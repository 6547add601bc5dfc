"""From the pool to an experiment tracker, while a study runs: each row of each run once.

    in flight   the lines that have been appended to ``stacks/KEY.jsonl``
    ended       what of the run's curve has not been given yet, and its row

How far each run has been given is kept in ``tracked.json`` in the study's folder, by tracker. So
when a study goes on, rows that are trained again are not given again: they are the same, to the
last bit. (A program killed between giving and noting gives the rows of its last seconds twice.)

A thread of its own does this: a tracker may be slow, and nothing waits for it. Whatever it raises
ends the tracking with a line, and not the study. Of several programs that run a study, one tracks.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mugrow.bench.checksums import Damaged
from mugrow.bench.entries import in_one_line
from mugrow.bench.record import read_run, write_json
from mugrow.sweeps.lease import Lease, Leases
from mugrow.sweeps.plan import Plan, PlannedRun
from mugrow.sweeps.trackers import Tracker, TrackerKind, tracker

TRACKED = "tracked.json"
LOOK_EVERY_S = 2.0
NOTE_EVERY = 15  # looks
ENDED = "ended"

Rows = Mapping[str, Mapping[str, Any]]
Hand = Callable[[Plan, Rows], None]


@contextmanager
def following(
    name: str | None, study: str, pool: Path, folder: Path, say: Callable[[str], None]
) -> Iterator[Hand]:
    """Within, what is handed over, the last plan and the rows of all ended runs, is tracked; at the
    end all of it has been. Without a name nothing is."""
    if name is None:
        yield lambda plan, rows: None
        return
    follower = Follower(tracker(name), study, pool, folder, say)
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    try:
        yield follower.hand
        follower.completes = True
    finally:
        follower.stopping.set()
        thread.join()


class Follower:
    """Gives a tracker what is new. ``completes`` is set where the study has come to its end."""

    def __init__(
        self, kind: TrackerKind, study: str, pool: Path, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.kind, self.study, self.pool, self.folder, self.say = kind, study, pool, folder, say
        self.stopping = threading.Event()
        self.completes = False
        self.handed: tuple[Plan | None, Rows] = None, {}
        self.planned: Plan | None = None
        self.runs: dict[str, PlannedRun] = {}
        self.given: dict[str, int | str] = {}  # by run: the last step, or that it has ended
        self.places: dict[Path, tuple[int, int]] = {}  # of a file: which it is, and how far read

    def hand(self, plan: Plan, rows: Rows) -> None:
        """Say what is known now."""
        self.handed = plan, dict(rows)

    def run(self) -> None:
        """Until it is to stop: what the thread does."""
        lease = Leases(self.folder).take(f"log-{self.kind.name}", ())
        if not isinstance(lease, Lease):
            return self.say(f"{lease} logs to {self.kind.name}")
        try:
            with lease.held(), self.kind.start(self.study, self.folder) as opened:
                self._follow(opened)
        except Exception as error:
            self.say(f"--log {self.kind.name} has ended: {in_one_line(error)}; the study goes on")

    def _follow(self, opened: Tracker) -> None:
        self.given = self._noted().get(self.kind.name, {})
        looks, last = 0, False
        while not last:
            last = self.stopping.wait(LOOK_EVERY_S)
            before = dict(self.given)
            self._look(opened, all_ended=not last or self.completes)
            looks += 1
            if self.given != before and (last or looks % NOTE_EVERY == 0):
                self._note()
        self._note()

    def _look(self, opened: Tracker, *, all_ended: bool) -> None:
        plan, rows = self.handed
        if plan is not None and plan is not self.planned:
            self.planned, self.runs = plan, {run.spec.run_id: run for run in plan.runs}
        for run_id, new in self._new_lines().items():
            if run_id in self.runs:
                self._give(opened, self.runs[run_id], new)
        for run_id in rows.keys() & self.runs.keys() if all_ended else ():
            if self.given.get(run_id) != ENDED:
                self._end(opened, self.runs[run_id], rows[run_id])

    def _new_lines(self) -> dict[str, list[dict[str, Any]]]:
        """The rows that were appended since the last look, by run."""
        found: dict[str, list[dict[str, Any]]] = {}
        paths = sorted((self.pool / "stacks").glob("*.jsonl"))
        self.places = {path: self.places[path] for path in paths if path in self.places}
        for path in paths:
            with suppress(FileNotFoundError):  # its stack has just ended
                for row in self._appended(path):
                    found.setdefault(row.pop("run_id"), []).append(row)
        return found

    def _appended(self, path: Path) -> list[dict[str, Any]]:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            known, place = self.places.get(path, (inode, 0))
            file.seek(place if known == inode else 0)  # who goes on writes another file
            begin = file.tell()
            whole, newline, _ = file.read().rpartition(b"\n")
        self.places[path] = inode, begin + len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]

    def _give(self, opened: Tracker, run: PlannedRun, rows: Sequence[dict[str, Any]]) -> None:
        last = self.given.get(run.spec.run_id, -1)
        if isinstance(last, int) and (new := [row for row in rows if row["step"] > last]):
            opened.rows(run, new)
            self.given[run.spec.run_id] = new[-1]["step"]

    def _end(self, opened: Tracker, run: PlannedRun, row: Mapping[str, Any]) -> None:
        with suppress(Damaged):  # it will be done again
            if (record := read_run(self.pool / "runs" / run.spec.run_id)) is not None:
                self._give(opened, run, record[1].drop_columns("run_id").to_pylist())
                opened.ended(run, row)
                self.given[run.spec.run_id] = ENDED

    def _noted(self) -> dict[str, dict[str, int | str]]:
        """How far each run has been given to each tracker. What cannot be read is nothing."""
        try:
            noted = json.loads((self.folder / TRACKED).read_bytes())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def _note(self) -> None:
        _, rows = self.handed
        again = {run_id for run_id, row in rows.items() if row["status"] == "failed"}
        given = {run_id: step for run_id, step in self.given.items() if run_id not in again}
        write_json(self.folder / TRACKED, self._noted() | {self.kind.name: given})
