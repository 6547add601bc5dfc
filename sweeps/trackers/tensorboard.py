"""TensorBoard: a folder a run below ``FOLDER/tensorboard``, each with one event file.

An event file is a sequence of records, so it can be closed after each and appended to later: a
study of a thousand runs holds no file open and starts no thread for each, as ``SummaryWriter``
does. Tags are the columns of curves; those of ended runs have ``final/`` before them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mugrow.bench.files import named
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

EVENTS = "events.out.tfevents.0000000000.mugrow"


class TensorBoard:
    """Appends to event files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, run: PlannedRun, rows: Sequence[Row]) -> None:
        self._append(run, [(int(row["step"] or 0), metrics(row)) for row in rows])

    def ended(self, run: PlannedRun, row: Mapping[str, Any]) -> None:
        numbers = {
            f"final/{name}": float(value)
            for name, value in summary(row).items()
            if isinstance(value, int | float)
        }
        self._append(run, [(run.spec.last_step, numbers)])

    def _append(self, run: PlannedRun, scalars: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        path = self.folder / title_of(run) / EVENTS
        now = time.time()
        events = [
            Event(
                wall_time=now,
                step=step,
                summary=Summary(
                    value=[Summary.Value(tag=tag, simple_value=v) for tag, v in numbers.items()]
                ),
            )
            for step, numbers in scalars
        ]
        with named(path):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                events = [Event(wall_time=now, file_version="brain.Event:2"), _text(run), *events]
            with path.open("ab") as file:
                writer = RecordWriter(file)
                for event in events:
                    writer.write(event.SerializeToString())


def _text(run: PlannedRun) -> Any:
    """The run's configuration as TensorBoard's text plug-in shows it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    lines = "\n".join(f"    {name}: {value}" for name, value in configuration(run).items())
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    tensor = TensorProto(
        dtype="DT_STRING",
        string_val=[lines.encode()],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    value = Summary.Value(tag="configuration", metadata=plugin, tensor=tensor)
    return Event(wall_time=time.time(), summary=Summary(value=[value]))


@contextmanager
def start(study: str, folder: Path) -> Iterator[Tracker]:
    yield TensorBoard(folder / "tensorboard")


TRACKER = TrackerKind(
    "tensorboard",
    "event files below FOLDER/tensorboard",
    start,
    package="tensorboard",
    see="tensorboard --logdir FOLDER/tensorboard",
)
