"""A study's collected tables, read and checked.

A study directory holds ``runs.parquet``, ``curves.parquet`` and ``trials.parquet``, whose columns
``mugrow.bench.record`` declares, and ``study.json``, the configuration they came from. Analysis
reads these four files and nothing else. A run's spec travels with it as JSON, so lineage and growth
parameters are looked up in rows, never parsed out of names.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.record import (
    CURVE_SCHEMA,
    EVALUATION_SCHEMA,
    LATER,
    RUN_SCHEMA,
    TRIAL_SCHEMA,
    completed,
)
from mugrow.bench.spec import UserError

CURVE_COLUMNS = [
    "run_id", "step", "tokens", "flops", "val_loss", "grad_norm", "asymmetry", "val_loss_averaged",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Store:
    """One study: a row a run, a row a logged step, a row a trial, and the configuration; a row a
    number of an evaluation, where it has any."""

    runs: pd.DataFrame
    curves: pd.DataFrame
    trials: pd.DataFrame
    study: dict[str, Any]
    evaluations: pd.DataFrame = field(default_factory=pd.DataFrame)

    def first_seeds(self, seeds: int) -> "Store":
        """What it would hold if only seeds below this one had been run."""
        runs = self.runs[self.runs["seed"] < seeds]
        of_these = self.curves["run_id"].isin(runs["run_id"])
        evaluations = self.evaluations
        if "seed" in evaluations:
            evaluations = evaluations[evaluations["seed"] < seeds]
        return replace(self, runs=runs, curves=self.curves[of_these], evaluations=evaluations)


def load(directory: str | Path) -> Store:
    """Read a study directory. ``UserError`` names the file that is missing or unreadable.

    ``curves`` holds ``CURVE_COLUMNS`` only: those are what analysis needs of the large table.

    >>> import mugrow
    >>> store = mugrow.load("results/reference/quick")
    >>> len(store.runs), store.study["name"]
    (120, 'quick')
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"{directory} is not a directory; expected one that `mugrow run` wrote")
    return Store(
        runs=_table(directory / "runs.parquet", RUN_SCHEMA, RUN_SCHEMA.names),
        curves=_table(directory / "curves.parquet", CURVE_SCHEMA, CURVE_COLUMNS),
        trials=_table(directory / "trials.parquet", TRIAL_SCHEMA, TRIAL_SCHEMA.names),
        study=_study(directory / "study.json"),
        evaluations=_evaluations(directory / "evaluations.parquet"),
    )


def opened(store: Store | str | Path) -> Store:
    """The store itself, or that of a study's directory. Raises what ``load`` raises."""
    return store if isinstance(store, Store) else load(store)


def _evaluations(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=EVALUATION_SCHEMA.names)
    return _table(path, EVALUATION_SCHEMA, EVALUATION_SCHEMA.names)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}; is it a directory of `mugrow run`?")
    return path


def _table(path: Path, schema: pa.Schema, columns: list[str]) -> pd.DataFrame:
    _existing(path)
    try:
        found = pq.read_schema(path).names
        missing = [name for name in columns if name not in found and name not in LATER]
        if missing:
            raise UserError(f"{path} has no column {missing[0]!r}; it has: {', '.join(found)}")
        table = pq.read_table(path, columns=[name for name in columns if name in found])
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a whole Parquet file: {_one_line(error)}") from error
    wanted = pa.schema([schema.field(name) for name in columns])
    try:
        table = completed(table, schema).select(columns).cast(wanted)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{path} has a column of another type: {_one_line(error)}") from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _study(path: Path) -> dict[str, Any]:
    try:
        study = json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {_one_line(error)}") from error
    if not isinstance(study, dict) or "name" not in study:
        raise UserError(f"{path} has no 'name'; it should hold a study's configuration")
    return study


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
