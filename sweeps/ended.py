"""What has ended in a pool, as far as this program has read it.

A run's files are read once, by this program or, as long as they are as they were, by one before it
(``mugrow.sweeps.index``). Its row and its curve are kept, so that tables are written from memory.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from mugrow.bench.checksums import Damaged
from mugrow.bench.record import CURVE, set_aside
from mugrow.bench.run import load_state, record_of, verified
from mugrow.bench.spec import UserError
from mugrow.sweeps.index import read_index, signature, write_index
from mugrow.sweeps.lease import Leases
from mugrow.sweeps.plan import Plan
from mugrow.sweeps.study_folder import RUN_ID

GROWTH = 0.25  # of the index, before it is written again
Record = Callable[[Path, str], tuple[dict[str, Any], pa.Table] | None]


class Ended:
    """The rows of ended runs, read once each. A damaged record is named and set aside, so that its
    run counts as not ended; so is the damaged state of a stack. A failed run is tried again, once a
    call of the program."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self.rows: dict[str, dict[str, Any]] = {}
        self.done_again: set[Path] = set()
        self.failed_before: dict[str, int] = {}
        self.signatures: dict[str, str] = {}
        self.indexed = 0
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
        known, self.curves = read_index(folder)
        for home in homes:
            as_indexed = known.get(home.name)
            if as_indexed is not None and as_indexed[0] == _signature(home):
                self._keep(home.name, as_indexed[1], as_indexed[0])
            else:
                self.curves.drop(home.name)
                self.read([home.name], verified)
        self.indexed = len(self.signatures) if known else 0
        failed = [run_id for run_id, row in self.rows.items() if row["status"] == "failed"]
        for run_id in failed:
            self.failed_before[run_id] = self._written(run_id)
            del self.rows[run_id]
            self.signatures.pop(run_id, None)

    def _written(self, run_id: str) -> int:
        """When the record of an ended run was written; 0 where it is just being replaced."""
        try:
            return (self.folder / "runs" / run_id / CURVE).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def read(
        self,
        run_ids: Iterable[str],
        record: Record = record_of,
    ) -> None:
        """Read the records of these runs, where they have ended by now."""
        for run_id in run_ids:
            if (signed := _signature(self.folder / "runs" / run_id)) is None:
                continue
            try:
                found = self._settled(run_id, record)
            except Damaged as error:
                self.do_again(error)
                continue
            if found is None:
                continue
            row, curve = found
            before = self.failed_before.get(run_id)
            if row["status"] == "failed" and before == self._written(run_id):
                continue  # not tried again yet
            self.curves.add(run_id, curve)
            # where a checkpoint was only looked at, the next program reads it whole
            whole = record is verified or row.get("role") == "proxy"
            self._keep(run_id, row, signed if whole else None)

    def _keep(self, run_id: str, row: dict[str, Any], signed: str | None) -> None:
        self.rows[run_id] = row
        if signed is None:
            self.signatures.pop(run_id, None)
        else:
            self.signatures[run_id] = signed

    def write_index(self, *, whole: bool) -> None:
        """Have the next program read less: now, or where much has come since, so that all writing
        takes no more than a few times what is written last."""
        if len(self.signatures) > self.indexed * (1 if whole else 1 + GROWTH):
            write_index(self.folder, self.rows, self.signatures, self.curves)
            self.indexed = len(self.signatures)

    def _settled(self, run_id: str, record: Record) -> tuple[dict[str, Any], pa.Table] | None:
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
        run_id = error.path.parent.name
        self.rows.pop(run_id, None)
        self.signatures.pop(run_id, None)
        self.curves.drop(run_id)


def rows_of(pool: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of the ended runs of a pool by id, those of damaged records left out; writes
    nothing."""
    known, _ = read_index(pool)
    for home in pool.glob("runs/*"):
        indexed = known.get(home.name)
        if indexed is not None and indexed[0] == _signature(home):
            yield home.name, indexed[1]
            continue
        with suppress(Damaged):
            if (record := record_of(pool, home.name)) is not None:
                yield home.name, record[0]


def _signature(home: Path) -> str | None:
    """``None`` for a run that has not begun to end."""
    try:
        return signature(home)
    except FileNotFoundError:
        return None
