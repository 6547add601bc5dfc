"""What has ended in a pool, as far as this program has read it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mugrow.bench.checksums import Damaged
from mugrow.bench.record import CURVE, set_aside
from mugrow.bench.run import ended, load_state, verify
from mugrow.bench.spec import UserError
from mugrow.sweeps.lease import Leases
from mugrow.sweeps.plan import Plan
from mugrow.sweeps.study_folder import RUN_ID


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
