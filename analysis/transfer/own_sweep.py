"""A sweep of one's own: any table of sizes, learning rates and losses, as ladders.

A row is a run. Rows of one size are a sweep, the sweeps of all sizes a ladder, and each value of
the columns ``by`` has a ladder of its own. From there on the rules are those of a study: optimum,
drift, regret and verdict are computed by the same functions.

A loss that says NaN or infinity is a run that diverged, so its rate was tested. A loss that is not
there says nothing: the run may have diverged or never been made. It is named, and its rate does not
count as tested, so a best rate beside it may be at the grid's edge.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from mugrow.analysis.read.cells import Truths, in_names, parse
from mugrow.analysis.read.expression import column, column_name, condition, names_in, numbers
from mugrow.analysis.read.guess import is_x
from mugrow.analysis.read.order import Rows
from mugrow.analysis.read.table import Table, Tables, table_in
from mugrow.analysis.transfer.ladder import SCRATCH, Axis, Ladder, refusal
from mugrow.analysis.transfer.optimum import Array
from mugrow.analysis.transfer.results import (
    SkippedLadder,
    TransferResults,
    compared,
    operator_settings,
    swept,
)
from mugrow.analysis.transfer.sweep import Sweep, number, worst
from mugrow.bench.spec import UserError

SAME_SIZE = 1e-4  # relative: counts of one model's parameters differ in later digits
SAME_RATE = 1e-4
SEED_NAMES = ("seed", "rng", "replicate", "repeat", "run", "trial", "id")
NOT_BLANK = "a number above 0"
SETTING_WORD = re.compile("[a-z]+")
SETTINGS = frozenset(
    ("batch", "batchsize", "bs", "step", "steps", "token", "tokens", "iteration", "iterations",
     "context", "seq", "seqlen", "epoch", "epochs", "warmup", "decay", "wd", "beta", "optimizer",
     "schedule", "dataset", "corpus", "data", "dropout", "parametrization", "precision", "dtype")
)  # fmt: skip
"""Words in the names of columns that a best rate depends on, besides size."""
SAID_MOST = 3


@dataclass(frozen=True)
class SweepColumns:
    """Which columns of a table are what: ``size``, ``lr`` and ``loss`` are columns or expressions
    on them, ``seeds`` and ``by`` columns; ``where`` is a condition on the rows to use."""

    size: str
    lr: str
    loss: str
    seeds: str | None = None
    by: tuple[str, ...] = ()
    where: str | None = None


@dataclass(frozen=True)
class OwnTransfer(TransferResults):
    """What is said of a table. ``notes`` name the losses that are not there, and what was done to
    read the file."""

    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One run: its ``place`` in the table, the group it belongs to, and what it was."""

    place: int
    group: tuple[str, ...]
    size: float
    log2_lr: float
    seed: str
    loss: float

    @property
    def point(self) -> tuple[tuple[str, ...], float, float, str]:
        return self.group, self.size, self.log2_lr, self.seed


def own_transfer(source: Tables, columns: SweepColumns) -> OwnTransfer:
    """Whether the best learning rate of a table's small sizes is that of its large ones. Raises
    ``UserError`` for a table or column that cannot be used, and rows that are one run twice."""
    table = table_in(source)
    rows = rows_of(table, columns)
    found = [sweep for group in groups_of(rows) for sweep in _sweeps(group, _name(table, group))]
    axis = Axis(columns.size.strip("`"), ("size",), lambda setting: number(setting, "size"))
    ladders: list[Ladder] = []
    skipped: list[SkippedLadder] = []
    for label, each in groupby(found, key=lambda sweep: sweep.parametrization):
        rungs = tuple(each)
        ladder = Ladder(axis, tuple(axis.size(one.setting) for one in rungs), rungs, rungs)
        reason = "it is the only size: a ladder takes two" if len(rungs) < 2 else refusal(ladder)
        if reason is None:
            ladders.append(ladder)
        else:
            sizes = tuple(f"{axis.name} {size:g}" for size in ladder.sizes)
            skipped.append(SkippedLadder(sizes, label, "", reason))
    labels = [""] * len(found)
    return OwnTransfer(
        sweeps=tuple(map(swept, found, labels)),
        ladders=compared(ladders, labels[: len(ladders)], found),
        skipped=tuple(skipped),
        operator_settings=operator_settings([]),
        notes=(
            *table.notes,
            *_of_names(table, columns),
            *missing(rows, axis.name),
            *confounded(table, columns, rows),
        ),
    )


def rows_of(table: Table, columns: SweepColumns) -> list[Row]:
    """The rows in use. Raises ``UserError`` for the first that has no size or rate, and for two
    that are one run."""
    frame = table.frame
    used = np.arange(len(frame))
    if columns.where is not None:
        used = np.flatnonzero(condition(frame, columns.where))
        if not len(used):
            raise UserError(f"no row of {table.name} has {columns.where!r}")
    sizes = _in_names(table, columns.size, used)
    if sizes is None:
        sizes = _positive(table, "size", columns.size, used)
    sizes = alike(sizes, SAME_SIZE)
    rates = np.log2(alike(_positive(table, "lr", columns.lr, used), SAME_RATE))
    losses = _losses(table, columns.loss)[used]
    if len(low := np.flatnonzero(losses <= 0)):
        raise UserError(
            f"--loss {columns.loss} is {losses[low[0]]:g} in row {used[low[0]]} of {table.name}, "
            f"and no loss is 0 or less: leave the cell of a run that failed empty, or leave its "
            f"row out by --where '{columns.loss} > 0'"
        )
    seeds = _labels(frame, columns.seeds, used)
    groups = [_labels(frame, name, used, named=True) for name in columns.by]
    rows = [
        Row(int(place), tuple(group), float(size), float(rate), seed, float(loss))
        for place, size, rate, loss, seed, *group in zip(
            used, sizes, rates, losses, seeds, *groups, strict=True
        )
    ]
    seen: dict[tuple[tuple[str, ...], float, float, str], Row] = {}
    for row in rows:
        if (first := seen.setdefault(row.point, row)) is not row:
            raise UserError(_twice(table, columns, first, row))
    return rows


def _in_names(table: Table, expression: str, used: Rows) -> Array | None:
    """The sizes in a column of names, as those of files: what they differ by, and nothing else."""
    if (name := _named_size(table, expression)) is None:
        return None
    found = in_names([str(one) for one in table.frame[name].iloc[used]])
    return None if found is None else np.array(found)


def _named_size(table: Table, expression: str) -> str | None:
    """The column of names that ``expression`` is, if it is one."""
    names = names_in(table.frame, expression)
    if len(names) != 1 or expression.strip("`").strip() not in (names[0], "run"):
        return None
    column = table.frame[names[0]]
    texts = column.dtype.kind not in "biufmMc" and all(isinstance(one, str) for one in column)
    return names[0] if texts and parse(column).wrong is not None else None


def _positive(table: Table, what: str, expression: str, used: Rows) -> Array:
    found = numbers(table.frame, expression)[used]
    wrong = np.flatnonzero(~((found > 0) & np.isfinite(found)))
    if len(wrong):
        raise UserError(
            f"--{what} {expression} must be {NOT_BLANK} in every row, not {found[wrong[0]]:g} as "
            f"in row {used[wrong[0]]} of {table.name}"
        )
    return found


def _losses(table: Table, expression: str) -> Array:
    """Inf where a cell says that the loss is not finite, nan where it says nothing."""
    losses = numbers(table.frame, expression)
    said: Truths = table.said_nan(expression) | np.isinf(losses)
    return np.where(said, math.inf, losses)


def alike(values: Array, relative: float) -> Array:
    """The values with those that are nearly one made so: each is the smallest of its cluster, in
    which neighbours differ by no more than ``relative``."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    begins = np.concatenate([[True], ascending[1:] > ascending[:-1] * (1 + relative)])
    found = np.empty_like(values)
    found[order] = ascending[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return found


def _labels(frame: pd.DataFrame, name: str | None, used: Rows, named: bool = False) -> list[str]:
    """A column as words; a number under its column's name where that is wanted."""
    if name is None:
        return [""] * len(used)
    own, values = column_name(frame, name), column(frame, name)
    labels = []
    for place in used:
        value = values.iloc[place]
        if pd.isna(value):
            raise UserError(f"column {own!r} says nothing in row {place}")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        labels.append(f"{own} {value}" if named and not isinstance(value, str) else str(value))
    return labels


def _of_names(table: Table, columns: SweepColumns) -> list[str]:
    """That sizes were read from names, where they were."""
    if (name := _named_size(table, columns.size)) is None:
        return []
    return [f"the size is the number by which the names in column {name!r} differ"]


def _used(table: Table, columns: SweepColumns) -> set[str]:
    """The columns that say what a row is."""
    return {
        *(name for one in (columns.size, columns.lr, columns.loss)
          for name in names_in(table.frame, one)),
        *(column_name(table.frame, one) for one in (columns.seeds, *columns.by) if one),
    }  # fmt: skip


def confounded(table: Table, columns: SweepColumns, rows: Sequence[Row]) -> list[str]:
    """That another setting differs, too: among the rates of one size, or from size to size."""
    found = []
    for name in table.frame.columns.difference([*_used(table, columns)], sort=False):
        words = SETTING_WORD.findall(str(name).lower())
        if not SETTINGS.intersection(words):
            continue
        by_size: dict[tuple[tuple[str, ...], float], dict[str, None]] = {}
        for row in rows:
            value = str(table.frame[name].iloc[row.place])
            by_size.setdefault((row.group, row.size), {})[value] = None
        several = {key: values for key, values in by_size.items() if len(values) > 1}
        if several:
            (group, size), values = next(iter(several.items()))
            of = ", ".join([*group, f"{columns.size} {size:g}"])
            said = ", ".join([*values][:SAID_MOST])
            found.append(
                f"{of}: its rows differ in {name}, too ({said}): --by {name}, or one of them by "
                "--where, compares like with like"
            )
        elif len({value for values in by_size.values() for value in values}) > 1:
            found.append(f"{name} differs with {columns.size}, too: a drift is that of both")
    return found


def _twice(table: Table, columns: SweepColumns, first: Row, second: Row) -> str:
    """Two rows of one run: where, and by what column they may be told apart."""
    used = _used(table, columns)
    differing = [
        name
        for name in table.frame.columns
        if name not in used
        and str(table.frame[name].iloc[first.place]) != str(table.frame[name].iloc[second.place])
    ]
    differing.sort(key=lambda name: table.frame[name].astype(str).nunique())
    of_seeds = [name for name in differing if any(word in name.lower() for word in SEED_NAMES)]
    paid = [name for name in differing if is_x(name)]
    if of_seeds and columns.seeds is None:
        hint = f"tell them apart by --seeds {of_seeds[0]}"
    elif paid:
        last = numbers(table.frame, f"`{paid[0]}`").max()
        hint = f"a row a run is needed, as those --where '`{paid[0]}` == {last:.15g}'"
    elif differing:
        hint = f"tell them apart by --by {differing[0]}, or choose one with --where"
    else:
        hint = "no other column tells them apart"
    return (
        f"rows {first.place} and {second.place} of {table.name} are both {columns.size} "
        f"{first.size:g} at {columns.lr} {2**first.log2_lr:g}: {hint}"
    )


def groups_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each group, in the order of the table."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.values())


def _name(table: Table, group: Sequence[Row]) -> str:
    return ", ".join(group[0].group) or Path(table.name).name


def _sweeps(rows: Sequence[Row], label: str) -> list[Sweep]:
    """A sweep for each size, ascending. A rate that has no loss of any seed was not tested."""
    by_size: dict[float, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.size):
        by_size.setdefault(row.size, []).append(row)
    return [_sweep(size, group, label) for size, group in by_size.items()]


def _sweep(size: float, rows: Sequence[Row], label: str) -> Sweep:
    tested = {row.log2_lr for row in rows if not math.isnan(row.loss)}
    seeds, rates = _in_order({row.seed for row in rows}), sorted(tested)
    loss = np.full((len(seeds), len(rates)), np.nan)
    status = np.full(loss.shape, "incomplete", dtype=object)
    for row in (row for row in rows if row.log2_lr in tested):
        at = seeds.index(row.seed), rates.index(row.log2_lr)
        loss[at] = row.loss
        status[at] = "diverged" if math.isinf(row.loss) else "finished"
        if math.isnan(row.loss):
            status[at] = "missing"
    return Sweep(
        setting={"parametrization": label, "start.method": SCRATCH, "size": size,
                 "model.width": 0, "model.depth": 0},
        seeds=tuple((_whole(seed, place), 0) for place, seed in enumerate(seeds)),
        log2_lr=np.array(rates),
        loss=loss,
        status=tuple(worst(column) for column in status.T),
    )  # fmt: skip


def _in_order(seeds: set[str]) -> list[str]:
    whole = all(seed.isdecimal() for seed in seeds)
    return sorted(seeds, key=int) if whole else sorted(seeds)


def _whole(seed: str, place: int) -> int:
    return int(seed) if seed.isdecimal() else place


def missing(rows: Sequence[Row], size: str) -> list[str]:
    """What is said of runs without a finite loss, a line for each size and kind."""
    kinds: Mapping[str, list[Row]] = {
        "diverged": [row for row in rows if math.isinf(row.loss)],
        "no loss, so diverged or missing": [row for row in rows if math.isnan(row.loss)],
    }
    found = []
    for why, each in kinds.items():
        by_size: dict[tuple[tuple[str, ...], float], set[float]] = {}
        for row in each:
            by_size.setdefault((row.group, row.size), set()).add(row.log2_lr)
        for (group, at), rates in by_size.items():
            of = ", ".join([*group, f"{size} {at:g}"])
            where = ", ".join(f"{rate:.4g}" for rate in sorted(rates))
            found.append(f"{of}: {why} at log2 rate {where}")
    return found
