"""TensorBoard's event files, read through the library that writes them."""

import builtins
from pathlib import Path
from typing import Any

import pytest

from mugrow.analysis.read.guess import read
from mugrow.analysis.read.table import read_table
from mugrow.bench.spec import UserError


def write(folder: Path, speed: float) -> Path:
    """Losses at steps 10 to 100, resumed once from 50, with a rate beside them."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    event = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    summary = pytest.importorskip("tensorboard.compat.proto.summary_pb2")
    file = writer.EventFileWriter(str(folder))
    for step in [*range(10, 80, 10), *range(50, 110, 10)]:
        values = [
            summary.Summary.Value(tag="train/loss", simple_value=2 + 1 / (speed * step)),
            summary.Summary.Value(tag="lr", simple_value=0.5),
        ]
        file.add_event(event.Event(step=step, summary=summary.Summary(value=values)))
    file.close()
    (path,) = folder.iterdir()
    return path


def test_a_column_a_tag_and_a_row_a_step(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "run", 1.0))
    assert table.kind == "TensorBoard events"
    assert table.frame.columns.tolist() == ["step", "wall_time", "train/loss", "lr"]
    assert table.frame["step"].tolist() == [*range(10, 80, 10), *range(50, 110, 10)]
    assert table.frame["train/loss"].iloc[0] == pytest.approx(2.1)


def test_a_folder_of_runs(tmp_path: Path) -> None:
    for name, speed in (("scratch", 1.0), ("grown", 2.0)):
        write(tmp_path / name, speed)
    found = read(tmp_path)
    assert [(one.label, one.points, one.x_last) for one in found.runs] == [
        ("grown", 10, 100.0),
        ("scratch", 10, 100.0),
    ]
    assert all("resumed at step 50: 3 rows up to 70 replaced" in note for note in found.notes)


def test_without_the_library_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return imported(name, *rest)

    imported = builtins.__import__
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(b"")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"pip install 'mugrow\[tb\]'"):
        read_table(path)
