"""Folders as tables: a study of ours, or TensorBoard's event files below one.

Of a study the rows are the logged points of all runs, with what a run is beside each: its arm,
seed, size. ``run`` is the arm, ``runs.parquet`` alone is the table with a row a run.
"""

from pathlib import Path

import pandas as pd

from mugrow.analysis.read.events import NAME, read_events
from mugrow.analysis.read.formats import Raw
from mugrow.analysis.read.store import load
from mugrow.bench.spec import UserError

OF_RUN = ["run_id", "arm", "role", "method", "parametrization", "width", "depth", "params", "seed",
          "lr", "status", "final_val_loss"]  # fmt: skip
STUDY = ("runs.parquet", "curves.parquet")


def read_folder(path: Path) -> Raw:
    """The table of a folder. ``UserError`` where it holds neither a study nor event files."""
    if all((path / name).is_file() for name in STUDY):
        return _study(path)
    events = sorted(path.rglob(f"*{NAME}*"))
    if not events:
        raise UserError(
            f"{path} is a folder, and neither one of `mugrow run` nor of TensorBoard's event files"
        )
    frames = []
    for file in events:
        frame = read_events(file).frame
        folder = file.parent.relative_to(path)
        frame.insert(0, "run", path.name if folder == Path() else folder.as_posix())
        frames.append(frame)
    return Raw(pd.concat(frames, ignore_index=True), "TensorBoard events")


def _study(path: Path) -> Raw:
    store = load(path)
    runs = store.runs[OF_RUN].rename(columns={"lr": "lr_peak"})
    rows = store.curves.merge(runs, on="run_id", how="left")
    rows.insert(0, "run", rows["arm"].fillna(rows["method"]))
    return Raw(rows, "study of mugrow")
