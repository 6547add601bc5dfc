"""Weights & Biases: a project of the study's name, online or offline as ``WANDB_MODE`` says.

A run is open from its first rows to its end, under mugrow's run id, so that a study that goes on
goes on with its runs. Files lie below ``FOLDER/wandb``; ``wandb sync`` sends those of offline runs.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


class WeightsAndBiases:
    """Runs that are open, by id."""

    def __init__(self, wandb: Any, project: str, folder: Path) -> None:
        self.wandb, self.project, self.folder = wandb, project, folder
        self.open: dict[str, Any] = {}

    def rows(self, run: PlannedRun, rows: Sequence[Row]) -> None:
        opened = self._opened(run)
        for row in rows:
            opened.log(metrics(row), step=int(row["step"] or 0))

    def ended(self, run: PlannedRun, row: Mapping[str, Any]) -> None:
        opened = self._opened(run)
        opened.summary.update(summary(row))
        opened.finish(exit_code=0 if row["status"] != "failed" else 1)
        del self.open[run.spec.run_id]

    def close(self) -> None:
        for opened in self.open.values():
            opened.finish()
        self.open.clear()

    def _opened(self, run: PlannedRun) -> Any:
        run_id = run.spec.run_id
        if run_id not in self.open:
            self.open[run_id] = self.wandb.init(
                project=self.project,
                id=run_id,
                name=title_of(run),
                group=run.role,
                config=configuration(run),
                dir=str(self.folder),
                reinit="create_new",
                settings=self.wandb.Settings(silent=True, x_disable_stats=True, console="off"),
                **({} if _is_offline() else {"resume": "allow"}),
            )
        return self.open[run_id]


def _is_offline() -> bool:
    return os.environ.get("WANDB_MODE") in ("offline", "dryrun")


@contextmanager
def start(study: str, folder: Path) -> Iterator[Tracker]:
    opened = WeightsAndBiases(import_module("wandb"), study, folder)
    try:
        yield opened
    finally:
        opened.close()


TRACKER = TrackerKind(
    "wandb",
    "a project of the study's name; WANDB_MODE=offline keeps it below FOLDER/wandb",
    start,
    package="wandb",
    see="its page, or wandb sync FOLDER/wandb/offline-run-* for offline runs",
)
