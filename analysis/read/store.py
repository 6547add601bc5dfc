"""A study's collected tables, read and checked.

A study directory holds ``runs.parquet``, ``curves.parquet`` and ``trials.parquet``, whose columns
``mugrow.bench.record`` declares, and ``study.json``, the configuration they came from. Analysis
reads these four files and nothing else. A run's spec travels with it as JSON, so lineage and growth
parameters are looked up in rows, never parsed out of names.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mugrow.bench.checksums import SUMS, Damaged, check_sum, read_sums, sha256
from mugrow.bench.record import (
    CURVE_SCHEMA,
    EVALUATION_SCHEMA,
    LATER,
    RUN_SCHEMA,
    TRIAL_SCHEMA,
    completed,
    wrong_value,
)
from mugrow.bench.spec import UserError

FILES = ("runs.parquet", "curves.parquet", "trials.parquet", "study.json", "evaluations.parquet")
READINGS, PAUSE_S = 100, 0.02
CURVE_COLUMNS = [
    "run_id", "step", "tokens", "flops", "val_loss", "grad_norm", "asymmetry", "val_loss_averaged",
]  # fmt: skip


class WrongFile(UserError):
    """A file of a study that is missing, or not what it should be: ``reason``, of ``path``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type["WrongFile"], tuple[Path, str]]:
        """So that it comes back from a worker process."""
        return WrongFile, (self.path, self.reason)


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
        """What it would hold if only the lowest ``seeds`` of its seeds had been run."""
        first = sorted(self.runs["seed"].unique())[:seeds]
        runs = self.runs[self.runs["seed"].isin(first)]
        of_these = self.curves["run_id"].isin(runs["run_id"])
        evaluations = self.evaluations
        if "seed" in evaluations:
            evaluations = evaluations[evaluations["seed"].isin(first)]
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
    contents = _contents(directory)
    runs = _table(directory / "runs.parquet", contents, RUN_SCHEMA, RUN_SCHEMA.names)
    for values in runs.itertuples(index=False, name=None):
        row = dict(zip(RUN_SCHEMA.names, values, strict=True))
        if reason := wrong_value(row):
            raise WrongFile(
                directory / "runs.parquet", f"is wrong: of run {row['run_id']}, {reason}"
            )
    curves = _table(directory / "curves.parquet", contents, CURVE_SCHEMA, CURVE_COLUMNS)
    evaluations = directory / "evaluations.parquet"
    return Store(
        runs=runs,
        curves=_of_runs(curves, runs, directory),
        trials=_table(directory / "trials.parquet", contents, TRIAL_SCHEMA, TRIAL_SCHEMA.names),
        study=_study(directory / "study.json", contents),
        evaluations=_table(evaluations, contents, EVALUATION_SCHEMA, EVALUATION_SCHEMA.names)
        if evaluations.name in contents
        else pd.DataFrame(columns=EVALUATION_SCHEMA.names),
    )


def _contents(directory: Path) -> Mapping[str, bytes]:
    """The files of a study by name, all of one moment, runs first. A program that writes them
    meanwhile replaces their checksums last, so they are read again until those stay."""
    for attempt in range(READINGS):
        if attempt:
            time.sleep(PAUSE_S)
        sums = read_sums(directory)
        contents: dict[str, bytes] = {}
        for name in FILES:
            try:
                contents[name] = (directory / name).read_bytes()
            except FileNotFoundError:
                continue
        if read_sums(directory) == sums:
            break
    for name in contents:
        try:
            check_sum(directory / name, sha256(contents[name]), sums)
        except Damaged as error:
            raise WrongFile(
                directory / name,
                f"is damaged: {error.reason}; `mugrow run` on its folder writes it again, or "
                f"remove {SUMS} if the change was meant",
            ) from error
    return contents


def _of_runs(curves: pd.DataFrame, runs: pd.DataFrame, directory: Path) -> pd.DataFrame:
    """The curves of these runs: those of a table that is younger than ``runs`` may be of more."""
    ids = set(runs["run_id"])
    found = set(curves["run_id"])
    trained = runs.loc[runs["tokens"] > 0, "run_id"]
    if absent := set(trained) - found:
        raise WrongFile(
            directory / "curves.parquet",
            f"has no curve of run {min(absent)}; `mugrow run` on its folder writes it again",
        )
    return curves if found <= ids else curves[curves["run_id"].isin(ids)].reset_index(drop=True)


def opened(store: Store | str | Path) -> Store:
    """The store itself, or that of a study's directory. Raises what ``load`` raises."""
    return store if isinstance(store, Store) else load(store)


def _content(path: Path, contents: Mapping[str, bytes]) -> bytes:
    if path.name not in contents:
        raise UserError(f"{path.parent} has no {path.name}; is it a directory of `mugrow run`?")
    return contents[path.name]


def _table(
    path: Path, contents: Mapping[str, bytes], schema: pa.Schema, columns: list[str]
) -> pd.DataFrame:
    content = _content(path, contents)
    try:
        found = pq.read_schema(pa.BufferReader(content)).names
        missing = [name for name in columns if name not in found and name not in LATER]
        if missing:
            raise WrongFile(path, f"has no column {missing[0]!r}; it has: {', '.join(found)}")
        reader = pa.BufferReader(content)
        table = pq.read_table(reader, columns=[name for name in columns if name in found])
    except MemoryError:  # of Arrow, too, whose is one of its own
        raise
    except (pa.ArrowException, OSError) as error:  # of the content: it is in memory
        raise WrongFile(path, f"is not a whole Parquet file: {_one_line(error)}") from error
    wanted = pa.schema([schema.field(name) for name in columns])
    try:
        table = completed(table, schema).select(columns).cast(wanted)
    except (pa.ArrowException, ValueError) as error:
        raise WrongFile(path, f"has a column of another type: {_one_line(error)}") from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _study(path: Path, contents: Mapping[str, bytes]) -> dict[str, Any]:
    content = _content(path, contents)
    try:
        study = json.loads(content)
    except ValueError as error:
        raise WrongFile(path, f"is not JSON: {_one_line(error)}") from error
    if not isinstance(study, dict) or not isinstance(study.get("name"), str):
        raise WrongFile(path, "has no 'name'; it should hold a study's configuration")
    return study


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
