"""The rows of runs in flight, where anyone can read them: ``stacks/KEY.jsonl``, a line a row.

A line has the run's id and the columns of ``curves.parquet``, as JSON; a number that is not finite
is null. Lines are appended as they come, in the order of steps, and whole: who reads meanwhile
finds at most the end of the last one missing. When the runs have ended their curves are in Parquet,
and the file is removed.

A stack that goes on from a saved state writes its file anew, with the rows up to there: what was
written after the save is trained again. It is another file of the same name, so a process that lost
the stack and still appends writes to one that nobody can open.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mugrow.bench.files import check_fence, named, write_bytes
from mugrow.bench.stack import Curve, StackState


def published(
    states: Iterator[StackState], path: Path, run_ids: Sequence[str], curves: Sequence[Curve]
) -> Iterator[StackState]:
    """Hand on the states of a stack in training, having appended to ``path`` what is new of their
    curves; ``curves`` are those it begins with. Raises ``OSError`` with the path."""
    written = [len(curve) for curve in curves]
    write_bytes(path, _lines(run_ids, [0] * len(curves), curves))
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        for state in states:
            if lines := _lines(run_ids, written, state.curves):
                check_fence()
                with named(path):
                    _append(file, lines)
                written = [len(curve) for curve in state.curves]
            yield state
    finally:
        os.close(file)


def _append(file: int, lines: bytes) -> None:
    """All of it: a disk that is nearly full takes a part, and only then says so."""
    while lines:
        lines = lines[os.write(file, lines) :]


def _lines(run_ids: Sequence[str], written: Sequence[int], curves: Sequence[Curve]) -> bytes:
    """The rows of these runs that are not written yet, by step and then by member."""
    new = [
        {"run_id": run_id, **row}
        for run_id, count, curve in zip(run_ids, written, curves, strict=True)
        for row in curve[count:]
    ]
    new.sort(key=_step)
    return b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in new)


def _step(row: Mapping[str, object]) -> int:
    step = row["step"]
    assert isinstance(step, int)
    return step
