"""What programs write: their files as plain tables with a row a logged point, or a row a run.

- W&B, export of a panel: ``Step``, and of every run ``RUN - metric`` with ``__MIN`` and ``__MAX``.
- TensorBoard, scalars: ``Wall time, Step, Value``, a file a run and tag.
- Long tables (MLflow's metric history, tbparse, Comet): ``key, value, step``, a column a key.
- MLflow, a file of ``mlruns/…/metrics``: lines of time, value and step without a header.
- Hugging Face ``trainer_state.json``: the records of ``log_history``.
- Trackio: a column ``metrics`` of JSON objects.
- lm-eval: scores of one checkpoint, which are no table; said in one line.

What is none of these is taken as it stands.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mugrow.analysis.read.formats import Json, Raw, records, stem
from mugrow.bench.spec import UserError

OF_TENSORBOARD = re.compile(r"run-(?P<run>.+)-tag-(?P<tag>.+)")
SCALARS = {"wall time", "step", "value"}
PANEL = "W&B panel export"
RANGE = ("__MIN", "__MAX")
OF_PANELS = ("step", "runtime", "timestamp", "wall time", "relative time (process)",
             "relative time (wall)", "relative time", "global_step", "trainer/global_step",
             "epoch")  # fmt: skip
OBJECTS = ("metrics", "config", "summary")  # columns that hold JSON objects as text
METRIC = ("key", "metric", "metric_name", "metricname", "tag")
VALUE = ("value", "metric_value", "metricvalue")
LM_EVAL = ("config", "configs", "versions", "n-shot", "task_hashes", "model_name")


def has_dialect(names: Sequence[str]) -> bool:
    """Whether the names of a file's columns are those of a dialect, or may be."""
    lower = {name.lower() for name in names}
    long = not lower.isdisjoint(METRIC) and not lower.isdisjoint(VALUE)
    scalars = {name.strip().lower().replace("_", " ") for name in names} == SCALARS
    return long or scalars or any(" - " in name for name in names) or bool({*OBJECTS} & {*names})


def understood(raw: Raw, path: Path) -> Raw:
    """The table that a file stands for. Raises ``UserError`` for what is no table."""
    if raw.document is not None:
        _refuse_scores(raw.document, path)
    for dialect in DIALECTS:
        found = dialect(raw, path)
        if found is not None:
            return found
    return raw


def _refuse_scores(document: Json, path: Path) -> None:
    results = document.get("results")
    if isinstance(results, Mapping) and any(key in document for key in LM_EVAL):
        tasks = ", ".join(map(str, list(results)[:3]))
        raise UserError(
            f"{path} holds lm-eval results: scores of one checkpoint ({tasks}), not losses by "
            "step. Needed is a table with a row a logged point, or a row a run with its size, "
            "tokens and loss"
        )


def _trainer_state(raw: Raw, path: Path) -> Raw | None:
    document = raw.document
    history = None if document is None else document.get("log_history")
    if not isinstance(history, list) or not history:
        return None
    frame = records([one for one in history if isinstance(one, dict)])
    return replace(raw, frame=frame, kind="Hugging Face trainer state", document=None)


def _wandb_panel(raw: Raw, path: Path) -> Raw | None:
    frame = raw.frame
    names = [str(name) for name in frame.columns]
    series = [name for name in names if not name.endswith(RANGE)]
    ranged = any(f"{name}{end}" in names for name in series for end in RANGE)
    x, *curves = series or [""]
    if not curves or not all(" - " in name for name in curves):
        return None
    one_metric = len({name.rsplit(" - ", 1)[1] for name in curves}) == 1
    if " - " in x or not (ranged or one_metric or x.lower().removeprefix("_") in OF_PANELS):
        return None
    parts = []
    for run in dict.fromkeys(name.rsplit(" - ", 1)[0] for name in curves):
        own = {name.rsplit(" - ", 1)[1]: name for name in curves if name.rsplit(" - ", 1)[0] == run}
        part = frame[[x, *own.values()]].set_axis([x, *own], axis=1)
        part.insert(0, "run", run)
        parts.append(part[part[list(own)].notna().any(axis=1)].astype(object))
    return replace(raw, frame=_joined(parts), kind=PANEL)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames one below the other; columns of numbers are columns of numbers again."""
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    whole = pd.DataFrame(
        {
            name: pd.concat(
                [part[name] if name in part else pd.Series(None, part.index, dtype=object)
                 for part in parts], ignore_index=True)
            for name in names
        }
    )  # fmt: skip
    return whole.infer_objects()


def _tensorboard(raw: Raw, path: Path) -> Raw | None:
    names = {str(name).strip().lower().replace("_", " "): str(name) for name in raw.frame.columns}
    if set(names) != SCALARS:
        return None
    found = OF_TENSORBOARD.fullmatch(stem(path))
    frame = raw.frame
    if found is not None:
        frame = frame.rename(columns={names["value"]: found["tag"].replace("_", "/")})
        frame.insert(0, "run", found["run"])
    return replace(raw, frame=frame, kind="TensorBoard scalars")


def _long(raw: Raw, path: Path) -> Raw | None:
    names = {str(name).lower(): str(name) for name in raw.frame.columns}
    metric = next((names[name] for name in METRIC if name in names), None)
    value = next((names[name] for name in VALUE if name in names), None)
    if metric is None or value is None or "step" not in names:
        return None
    step = names["step"]
    left_out = (metric, value, "timestamp", "wall_time", "wall time")
    kept = [str(name) for name in raw.frame.columns if str(name).lower() not in left_out]
    kept = [name for name in kept if name not in (metric, value)]
    frame = raw.frame.dropna(subset=[metric, step])
    again = frame.groupby([*kept, metric], dropna=False).cumcount()
    keyed = frame.assign(**{"": again})
    # rows in the order in which a step of a run is first named, a column a metric
    order = keyed.groupby([*kept, ""], sort=False, dropna=False).ngroup()
    rows = keyed.loc[~order.duplicated(), kept].reset_index(drop=True)
    for name in dict.fromkeys(frame[metric].astype(str)):
        of_metric = frame[metric].astype(str) == name
        cells = pd.Series(frame.loc[of_metric, value].to_numpy(), index=order[of_metric])
        rows[name] = cells.reindex(rows.index).to_numpy()
    return replace(raw, frame=rows.infer_objects(), kind="a row a value, by metric")


def _json_columns(raw: Raw, path: Path) -> Raw | None:
    """Columns of objects, as of JSON in Trackio's metrics, as a column for each key."""
    columns = {
        str(name): inner
        for name in raw.frame.columns
        if (inner := _objects(raw.frame[name], in_text=name in OBJECTS)) is not None
    }
    if not columns:
        return None
    rest = raw.frame.drop(columns=list(columns))
    parts = [records([{name: one} for one in inner]) for name, inner in columns.items()]
    frame = pd.concat([rest, *(part.set_axis(rest.index) for part in parts)], axis=1)
    if frame.columns.duplicated().any():
        raise ValueError(f"two columns are named {frame.columns[frame.columns.duplicated()][0]!r}")
    kind = "Trackio metrics" if {"run_name", "step"} <= set(rest.columns) else raw.kind
    return replace(raw, frame=frame, kind=kind)


def _objects(column: "pd.Series[str]", in_text: bool) -> list[Json] | None:
    if column.dtype.kind != "O":
        return None
    found: list[Json] = []
    for cell in column:
        inner: object = cell
        if in_text and isinstance(cell, str | bytes) and cell[:1] in ("{", b"{"):
            try:
                inner = json.loads(cell)
            except ValueError:
                return None
        if not isinstance(inner, dict):
            return None
        found.append(inner)
    return found or None


DIALECTS: tuple[Callable[[Raw, Path], Raw | None], ...] = (
    _trainer_state,
    _wandb_panel,
    _tensorboard,
    _long,
    _json_columns,
)
