"""TensorBoard's event files, through the library that writes them (``pip install 'mugrow[tb]'``).

A row a step, a column a tag; rows stand in the order of the file, so a resumed run shows.
"""

from pathlib import Path

import pandas as pd

from mugrow.analysis.read.formats import Raw, records
from mugrow.bench.spec import UserError

NAME = "tfevents"


def is_event_file(path: Path) -> bool:
    return NAME in path.name


def read_events(path: Path) -> Raw:
    """The scalars of one file. ``UserError`` where the library is missing, or there are none."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ImportError:
        raise UserError(
            f"{path} is an event file: reading it needs tensorboard, pip install 'mugrow[tb]'"
        ) from None
    rows: list[dict[str, float]] = []
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalar = float(value.simple_value)
            else:
                array = tensor_util.make_ndarray(value.tensor)
                if array.size != 1 or array.dtype.kind not in "iuf":
                    continue
                scalar = float(array.item())
            last = rows[-1] if rows else {}
            if last.get("step") != event.step or value.tag in last:
                rows.append({"step": int(event.step), "wall_time": float(event.wall_time)})
            rows[-1][value.tag] = scalar
    if not rows:
        raise UserError(f"{path} holds no scalars")
    return Raw(pd.DataFrame(records(rows)), "TensorBoard events")
