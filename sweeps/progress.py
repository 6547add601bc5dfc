"""How far a study is, as the program that runs it says: ``progress.json`` in the study's folder.

It is there while a program runs the study, so that who watches (``mugrow.sweeps.watch``) need not
plan it. A program that was killed leaves its file behind, with the process that it was.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mugrow.bench.record import write_json
from mugrow.sweeps.display import Work
from mugrow.sweeps.lease import UNKNOWN, Process, this_process

PROGRESS = "progress.json"
WRITE_EVERY_S = 5.0


@dataclass(frozen=True)
class Progress:
    """Of the study's ``runs``, how many have ``ended`` by status; the seconds that are left as the
    program estimates them; and its process."""

    runs: int
    ended: Mapping[str, int]
    left_s: float
    process: Process = field(default_factory=this_process)


class ProgressFile:
    """Written every few seconds, as long as the program shows where it stands."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROGRESS
        self.written_s = float("-inf")

    def write(self, work: Work) -> None:
        if time.monotonic() - self.written_s < WRITE_EVERY_S:
            return
        write_json(self.path, asdict(Progress(work.all_runs, dict(work.ended), work.left_s)))
        self.written_s = time.monotonic()


@contextmanager
def progress_file(folder: Path) -> Iterator[ProgressFile]:
    """The file of this program; removed at the end."""
    file = ProgressFile(folder)
    try:
        yield file
    finally:
        with suppress(OSError):
            file.path.unlink(missing_ok=True)


def read_progress(folder: Path) -> Progress | None:
    """What a program says of the study in this folder; ``None`` where none does."""
    try:
        said = json.loads((folder / PROGRESS).read_bytes())
        process = Process(**said["process"])
        return Progress(said["runs"], said["ended"], said["left_s"], process)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):  # of another version perhaps
        return Progress(0, {}, 0.0, UNKNOWN)
