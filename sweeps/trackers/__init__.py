"""Experiment trackers: where curves are shown live, as users know them from other tools.

Workers know nothing of them: they append rows to a file (``mugrow.bench.live``), and the program
that runs the study reads those and hands them on (``mugrow.sweeps.trackers.follow``). So no machine
that trains needs the tracker or a network.

Trackers are entries: ours are files of this package, others an entry point of the group
``mugrow.trackers``, which names a ``TrackerKind``. Every run is a run there, in a project of the
study's name, with its specification as its configuration and its columns of ``curves.parquet`` as
metrics by step.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from mugrow.bench.entries import Registry
from mugrow.bench.spec import UserError, canonical_json
from mugrow.sweeps.plan import PlannedRun

Row = Mapping[str, float | None]  # of a curve; nothing where there is no finite number


class Tracker(Protocol):
    """Takes the rows of runs; all calls come from one thread."""

    def rows(self, run: PlannedRun, rows: Sequence[Row]) -> None:
        """More of a run's curve, by ascending step."""

    def ended(self, run: PlannedRun, row: Mapping[str, Any]) -> None:
        """A run has ended, with this row of ``runs.parquet``; all of its curve has been given."""


@dataclass(frozen=True)
class TrackerKind:
    """A tracker that can be asked for: ``start(study, folder)`` opens it for a study, and closes it
    at the end of the context. ``package`` is what it imports; ``see`` is how people look at it,
    with ``FOLDER`` for the study's."""

    name: str
    summary: str
    start: Callable[[str, Path], AbstractContextManager[Tracker]]
    package: str
    see: str

    @property
    def is_installed(self) -> bool:
        """Whether its package can be imported here."""
        return find_spec(self.package) is not None


REGISTRY: Registry[TrackerKind] = Registry(
    noun="tracker",
    type=TrackerKind,
    package="mugrow.sweeps.trackers",
    constant="TRACKER",
    builtin=("tensorboard", "trackio", "wandb"),
    group="mugrow.trackers",
)


def tracker(name: str) -> TrackerKind:
    """The tracker of ``--log``. Raises ``UserError`` for one that is unknown or not installed."""
    kind = REGISTRY.get(name)
    try:
        import_module(kind.package)
    except ImportError as error:
        raise UserError(
            f"--log {name} needs {error.name or kind.package}, which is not installed: "
            f"pip install 'mugrow[{name}]'"
        ) from None
    return kind


def title_of(run: PlannedRun) -> str:
    """What a run is called: its name, and as much of its id as tells it apart."""
    return f"{run.spec.name}-{run.spec.run_id[:8]}"


def configuration(run: PlannedRun) -> dict[str, Any]:
    """A run's specification, its role and the factors of its arm, flat: ``model.width``, ..."""
    flat: dict[str, Any] = {"run_id": run.spec.run_id, "role": run.role, **run.factors}
    _flatten(json.loads(canonical_json(run.spec)), "", flat)
    return flat


def _flatten(value: Mapping[str, Any], prefix: str, flat: dict[str, Any]) -> None:
    for name, inner in value.items():
        if isinstance(inner, dict):
            _flatten(inner, f"{prefix}{name}.", flat)
        else:
            flat[f"{prefix}{name}"] = inner


def metrics(row: Row) -> dict[str, float]:
    """The numbers of a row but its step."""
    return {name: value for name, value in row.items() if name != "step" and value is not None}


def summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of an ended run beside its curve."""
    names = ("status", "final_val_loss", "final_bpb", "params", "flops", "tokens_per_s")
    return {name: row[name] for name in names if row.get(name) is not None}
