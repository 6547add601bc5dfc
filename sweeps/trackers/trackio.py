"""Trackio: a project of the study's name on this machine, or wherever its own variables say.

It has one run at a time in a process: a second ``init`` ends the first. So a run is opened for the
rows that have come, by its name, and closed again. What it prints is not a result, and is dropped.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from mugrow.sweeps.plan import PlannedRun
from mugrow.sweeps.trackers import (
    Row,
    Tracker,
    TrackerKind,
    configuration,
    metrics,
    summary,
    title_of,
)


class Trackio:
    """Opens and closes runs by name."""

    def __init__(self, trackio: Any, project: str) -> None:
        self.trackio, self.project = trackio, project

    def rows(self, run: PlannedRun, rows: Sequence[Row]) -> None:
        self._log(run, [(int(row["step"] or 0), metrics(row)) for row in rows])

    def ended(self, run: PlannedRun, row: Mapping[str, Any]) -> None:
        final = {f"final/{name}": value for name, value in summary(row).items()}
        self._log(run, [(run.spec.last_step, final)])

    def _log(self, run: PlannedRun, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        with redirect_stdout(io.StringIO()):
            opened = self.trackio.init(
                project=self.project,
                name=title_of(run),
                group=run.role,
                config=configuration(run),
                resume="allow",
                embed=False,
                auto_log_gpu=False,  # of this machine, which need not be the one that trains
                auto_log_cpu=False,
            )
            try:
                for step, numbers in rows:
                    opened.log(dict(numbers), step=step)
            finally:
                opened.finish()


@contextmanager
def start(study: str, folder: Path) -> Iterator[Tracker]:
    yield Trackio(import_module("trackio"), study)


TRACKER = TrackerKind(
    "trackio",
    "a local project of the study's name",
    start,
    package="trackio",
    see="trackio show",
)
