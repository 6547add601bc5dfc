"""Runs: the losses of a table's rows as curves against what was paid, and what was done for them.

A row without a loss is no point: a log of training rows has a validation loss in one of a hundred.
A loss that is not finite is none either, but it is remembered, since nothing may be interpolated or
smoothed over it, and it is named. So is the end of a run behind which its rows go on without a
loss: programs write NaN as nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.read.cells import FEW, Truths, by_value, has_few
from mugrow.analysis.read.expression import column, column_name, names_in, numbers
from mugrow.analysis.read.order import Disorder, Order, Rows, in_order
from mugrow.analysis.read.table import Table, run_names
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

Number = TypeVar("Number", bound=np.generic)

SEEDS = ("seed", "seeds", "random_seed", "rng_seed", "run_id", "id", "replicate", "repeat", "trial",
         "version", "file", "run")  # fmt: skip


@dataclass(frozen=True)
class Note:
    """Something that was done to the rows of a run, or noticed, in words; ``dropped`` rows of it
    are no points. ``run`` is None where it is of the whole table."""

    run: str | None
    text: str
    dropped: int = 0

    def __str__(self) -> str:
        return self.text if self.run is None else f"run {self.run!r}: {self.text}"


@dataclass(frozen=True, eq=False)
class Run:
    """One run: ``x`` strictly ascending and ``loss`` finite, both (points,), from the ``rows`` of
    the table. ``seed`` and ``length`` are its values there, if asked for. ``broken`` are the x
    (gaps,) at which it logged a loss that is not finite."""

    name: str
    seed: str | None
    length: str | None
    x: Array
    loss: Array
    rows: Rows
    broken: Array
    rows_in_file: int

    @property
    def label(self) -> str:
        """The run, with its seed and length where it has them."""
        parts = [part for part in (self.seed, self.length) if part is not None]
        return f"{self.name} ({', '.join(parts)})" if parts else self.name


@dataclass(frozen=True, eq=False)
class Log:
    """The runs of a table, in its order, against the expressions ``x`` and ``loss``; the column
    ``run`` names them, or the file. ``seeds`` and ``length`` are columns too."""

    table: Table
    runs: tuple[Run, ...]
    notes: tuple[Note, ...]
    x: str
    loss: str
    run: str | None = None
    seeds: str | None = None
    length: str | None = None

    def names(self) -> list[str]:
        """The names of the runs, each once."""
        return list(dict.fromkeys(run.name for run in self.runs))

    def to_frame(self) -> pd.DataFrame:
        """A row a point: columns run, seed and length where there are such, then x and loss under
        their own names where those are columns."""
        x, loss = self._names()
        parts = [
            pd.DataFrame({
                "run": run.name,
                **({} if self.seeds is None else {"seed": run.seed}),
                **({} if self.length is None else {"length": run.length}),
                x: run.x,
                loss: run.loss,
            })
            for run in self.runs
        ]  # fmt: skip
        frame = pd.concat(parts, ignore_index=True)
        return frame.infer_objects()

    def _names(self) -> tuple[str, str]:
        """Of the columns of x and loss: their own, or these words."""
        taken = {"run", "seed", "length"}
        found = []
        for expression, word in ((self.x, "x"), (self.loss, "loss")):
            names = names_in(self.table.frame, expression)
            whole = len(names) == 1 and expression.strip("`").strip().isidentifier()
            whole = whole or expression in self.table.frame.columns
            name = names[0] if whole and names[0] not in taken else word
            taken.add(name)
            found.append(name)
        return found[0], found[1]


def read_runs(
    table: Table,
    *,
    x: str,
    loss: str,
    run: str | None = None,
    seeds: str | None = None,
    length: str | None = None,
    by_x: bool = False,
    only: Sequence[str] = (),
    labels: "pd.Categorical[str] | None" = None,
) -> Log:
    """The runs of a table. ``x`` and ``loss`` are columns or expressions on them; ``run``,
    ``seeds`` and ``length`` columns that tell runs apart, by default no column does. ``by_x`` takes
    x for the order of a run's rows, whatever the file's is. Runs of other names than ``only``, if
    any are given, are left out. ``labels`` are its ``run_labels``, where they are known.

    Raises ``UserError`` for a column or expression that does not fit, and for rows that are no run
    (see ``mugrow.analysis.read.order``). Runs without a point are left out, with a note.
    """
    frame = table.frame
    run = run if run is None else column_name(frame, run)
    keys = {name: column_name(frame, name) for name in (seeds, length) if name is not None}
    names = run_labels(table, run) if labels is None else labels
    xs, losses = numbers(frame, x), numbers(frame, loss)
    said = table.said_nan(loss) | np.isinf(losses)
    columns = [names, *(_labels(frame[name]) for name in keys.values())]
    used = {run, *keys.values(), *names_in(frame, x), *names_in(frame, loss)}
    reader = _Reader(table, x, loss, xs, losses, said, by_x, used)
    runs: list[Run] = []
    notes: list[Note] = []
    for (name, *others), rows in _alike(columns):
        if only and name not in only:
            continue
        given = dict(zip(keys, others, strict=True))
        found = reader.run(name, given.get(seeds or ""), given.get(length or ""), rows)
        notes += found.notes
        if found.run is not None:
            runs.append(found.run)
    return Log(table, tuple(runs), tuple(notes), x, loss, run, seeds, length)


def _alike(columns: Sequence["pd.Categorical[str]"]) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Each combination of labels that there is, in the order of its first row, and its rows."""
    most = math.prod(len(labels.categories) for labels in columns)
    few = most <= np.iinfo(np.int16).max  # then they are sorted in one pass
    kinds: npt.NDArray[np.integer] = np.zeros(len(columns[0]), np.int16 if few else np.int64)
    known = 1
    for labels in columns:
        if (known := known * len(labels.categories)) > LARGEST:
            kinds, present = pd.factorize(kinds)
            known = len(present) * len(labels.categories)
        np.multiply(kinds, len(labels.categories), out=kinds)
        np.add(kinds, labels.codes, out=kinds)
    starts = np.append(0, np.flatnonzero(kinds[1:] != kinds[:-1]) + 1)
    if len(np.unique(kinds[starts])) == len(starts):  # the rows of each stand together
        number = np.int32 if len(kinds) <= np.iinfo(np.int32).max else np.int64
        ends = np.append(starts[1:], len(kinds))
        parts = [np.arange(*ends, dtype=number) for ends in zip(starts, ends, strict=True)]
    else:
        order = np.argsort(kinds, kind="stable")
        cuts = np.flatnonzero(np.diff(kinds[order])) + 1
        parts = sorted(np.split(order, cuts), key=lambda rows: int(rows[0]))
    del kinds
    for rows in parts:
        yield tuple(str(labels[rows[0]]) for labels in columns), rows


def _at(values: npt.NDArray[Number], rows: Rows) -> npt.NDArray[Number]:
    """The values at these rows; where each is behind the one before they are not copied."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return values[rows[0] : rows[-1] + 1]
    return values[rows]


def run_labels(table: Table, run: str | None) -> "pd.Categorical[str]":
    """The name of each row's run, the names in the order of the rows: of the column, or the table's
    where no column is given. Raises ``UserError`` for a row that names none."""
    if run is None:
        names = run_names([Path(table.name)])
        return pd.Categorical.from_codes(np.zeros(len(table.frame), dtype=np.int8), pd.Index(names))
    values = column(table.frame, run)
    missing = values.isna() | (values == "").fillna(False).astype(bool)
    if missing.any():
        raise UserError(f"column {run!r} names no run in row {np.argmax(missing.to_numpy())}")
    return _labels(values)


def _labels(column: pd.Series) -> "pd.Categorical[str]":
    """Each row's value as it was written."""
    apart = by_value(column)
    if apart is None:
        codes, labels = pd.factorize(pd.Series([label_of(one) for one in column], dtype=object))
        return pd.Categorical.from_codes(codes, pd.Index(labels))
    numbers, values = apart
    codes, labels = pd.factorize(pd.Series([label_of(one) for one in values], dtype=object))
    if len(labels) < len(values):  # as 1 and 1.0 in a column with gaps
        numbers = codes.astype(numbers.dtype)[numbers]
    return pd.Categorical.from_codes(numbers, pd.Index(labels))


def label_of(value: object) -> str:
    """A name as it was written: a whole number in a column with gaps is a float there."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


@dataclass(frozen=True, eq=False)
class _Found:
    run: Run | None
    notes: list[Note]


@dataclass(frozen=True, eq=False)
class _Reader:
    """What the rows of every run are read with."""

    table: Table
    x: str
    loss: str
    xs: Array
    losses: Array
    said: Truths
    by_x: bool
    used: set[str | None]

    def run(self, name: str, seed: str | None, length: str | None, rows: Rows) -> _Found:
        xs, losses, said = _at(self.xs, rows), _at(self.losses, rows), _at(self.said, rows)
        label = Run(name, seed, length, xs, losses, rows, xs, len(rows)).label
        notes: list[Note] = []

        def note(text: str, dropped: int = 0) -> None:
            notes.append(Note(label, text, dropped))

        logged = np.isfinite(losses) | said
        nowhere = logged & ~np.isfinite(xs)
        if nowhere.any():
            note(f"{_rows(int(nowhere.sum()))} with a loss but no {self.x}", int(nowhere.sum()))
        logged &= ~nowhere
        negative = logged & (xs < 0)
        if negative.any():
            note(f"{_rows(int(negative.sum()))} with {self.x} below 0", int(negative.sum()))
        logged &= ~negative
        places = np.flatnonzero(logged)
        places_x, places_loss = _at(xs, places), _at(losses, places)
        if said.any():
            places_loss = np.where(said[places], np.nan, places_loss)
        order = in_order(places_x, places_loss, self.by_x)
        if isinstance(order, Disorder):
            raise UserError(self._refusal(label, order, rows[places]))
        for text, dropped in _said(order, self.x):
            note(text, dropped)
        kept = _at(places, order.rows)
        finite = np.isfinite(losses[kept])
        broken = xs[kept[~finite]]
        points = kept[finite]
        if not len(points):
            note(f"no point with a finite loss and {self.x}", len(rows))
            return _Found(None, notes)
        if len(broken):
            note(self._broken(broken, float(xs[points[-1]])), len(broken))
        silent = self._silent(xs, losses, said, places, points, order)
        if silent is not None:
            note(*silent)
        run_xs, run_losses, run_rows = _at(xs, points), _at(losses, points), _at(rows, points)
        for text in self._doubtful(run_xs, run_losses, run_rows):
            note(text)
        run = Run(name, seed, length, run_xs, run_losses, run_rows, broken, len(rows))
        return _Found(run, notes)

    def _doubtful(self, xs: Array, losses: Array, rows: Rows) -> Iterator[str]:
        """Losses that are read as they stand, and may be something else than this run's."""
        low = losses <= 0
        if low.any() and 2 * low.sum() < len(low):
            count = int(low.sum())
            yield (
                f"{'a loss' if count == 1 else f'{count} losses'} of 0 or less, from {self.x} "
                f"{xs[low][0]:g}: no cross-entropy is"
            )
        lone = np.flatnonzero(_far_below(losses) & ~low)
        if len(lone):
            more = f", as {len(lone) - 1} more" if len(lone) > 1 else ""
            yield (
                f"a loss of {losses[lone[0]]:g} at {self.x} {xs[lone[0]]:g} is far below those on "
                f"both sides{more}"
            )
        for name, (codes, values) in self.kinds.items():
            if _alternate(codes[rows], losses):
                several = " and ".join(repr(values[code]) for code in dict.fromkeys(codes[rows]))
                yield (
                    f"its rows alternate between {name} {several}, whose losses differ: is it one "
                    "curve? keep the rows of one"
                )

    @cached_property
    def kinds(self) -> dict[str, tuple[Rows, list[str]]]:
        """The columns that may say what a row's loss is of: of each its values, numbered by row."""
        found = {}
        for name in self.table.frame.columns.difference([*self.used], sort=False):
            cells = self.table.frame[name]
            if not has_few(cells):
                continue
            labels = _labels(cells)
            if 1 < len(labels.categories) <= FEW:
                found[str(name)] = labels.codes, list(labels.categories)
        return found

    def _refusal(self, label: str, found: Disorder, rows: Rows) -> str:
        """Why rows are no run, and what would make them one."""
        where = f"{self.x} goes from {found.before:g} to {found.x:g} in row {rows[found.row]}"
        if not found.several:
            return (
                f"the rows of run {label!r} are in no order: {where} ({found.reason}); --sorted "
                f"takes {self.x} for their order, --seeds COLUMN tells several runs apart"
            )
        likely = likely_seeds(self.table, rows, self.xs[rows], self.used)
        hint = f"--seeds {likely}" if likely else "--seeds COLUMN, or a column of run ids for --run"
        return (
            f"several runs go by the name {label!r}, or a counter starts again: {where} "
            f"({found.reason}); tell them apart by {hint}, or continue the counter"
        )

    def _broken(self, broken: Array, last: float) -> str:
        """Of losses that are not finite: where, and whether the run ever recovered."""
        word = f"no finite loss at {self.x} {broken[0]:g}"
        if len(broken) > 1:
            word = f"{len(broken)} losses are not finite, from {self.x} {broken[0]:g}"
        ends = broken[-1] > last
        return f"{word}: it diverged after {self.x} {last:g}" if ends else word

    def _silent(
        self, xs: Array, losses: Array, said: Truths, places: Rows, points: Rows, order: Order
    ) -> tuple[str, int] | None:
        """That a run's rows go on for longer without a loss than they ever did between two."""
        empty = np.flatnonzero(~np.isfinite(losses) & ~said & np.isfinite(xs))
        last = float(xs[points[-1]])
        after = empty[xs[empty] > last]
        for resume in order.resumes:  # rows of an abandoned branch are no end
            row = places[resume.row]
            before = after > row if order.newest_first else after < row
            after = after[~(before & (xs[after] >= resume.x))]
        between = np.histogram(xs[empty], bins=np.append(xs[points], np.inf))[0][:-1]
        if len(after) < 2 or len(after) <= (between.max() if len(between) else 0):
            return None
        return (
            f"{_rows(len(after))} without a loss behind {self.x} {last:g}, up to "
            f"{xs[after].max():g}: it diverged there, or was logged no more",
            len(after),
        )


def _rows(count: int) -> str:
    return f"{count} row" + "s" * (count != 1)


def _said(order: Order, x: str) -> Iterator[tuple[str, int]]:
    """What was done to bring rows in order, and how many it left out."""
    if order.newest_first:
        yield f"{x} falls throughout: newest row first, reversed", 0
    for one in order.resumes:
        text = f"resumed at {x} {one.x:g}: {_rows(one.dropped)} up to {one.end:g} replaced"
        if one.x < one.end / 2:  # so little is left that it may be another run's
            text += "; if these are two runs, --seeds COLUMN tells them apart"
        yield text, one.dropped
    if order.repeats:
        yield f"{_rows(order.repeats)} twice in the file", order.repeats
    if order.twice:
        more = f" and {len(order.twice) - 1} more" if len(order.twice) > 1 else ""
        yield f"two losses at {x} {order.twice[0]:g}{more}: the later counts", len(order.twice)


LARGEST = 2**62  # number of a kind of rows
FAR = 5.0  # times what losses beside change from one to the next
NEAR = 10  # points on each side


def _far_below(losses: Array) -> Truths:
    """The points that lie below both neighbours by far more than those beside change: than the
    fifth largest of up to twenty changes, so that neither noise nor two other such points decide;
    the median of fewer."""
    found = np.zeros(len(losses), dtype=bool)
    places = np.flatnonzero((losses[1:-1] < losses[:-2]) & (losses[1:-1] < losses[2:])) + 1
    steps = np.pad(np.abs(np.diff(losses)), NEAR, constant_values=np.nan)  # from p - 1 at p - 1
    before, after = losses[places - 1], losses[places + 1]
    dips = np.minimum(before, after) - losses[places]
    likely = dips > FAR * np.abs(after - before)
    places, dips = places[likely], dips[likely]
    away = np.concatenate([np.arange(NEAR), np.arange(NEAR + 2, 2 * NEAR + 2)])
    beside = -np.sort(-steps[places[:, None] - 1 + away], axis=1)  # nan last
    count = np.isfinite(beside).sum(axis=1)
    large = beside[np.arange(len(places)), np.clip((count - 1) // 2, 0, 4)]
    found[places] = (count >= 4) & (dips > FAR * large)
    return found


def _alternate(codes: Rows, losses: Array) -> bool:
    """Whether the values of a column take turns along a run, and losses are smoother from one to
    the next of a value than from row to row: those of two things in one column."""
    kinds = np.unique(codes)
    turns = np.diff(codes) != 0
    if len(kinds) < 2 or len(codes) < 4 * len(kinds) or turns.sum() < 2 * len(kinds):
        return False
    own = np.concatenate([np.abs(np.diff(losses[codes == kind])) for kind in kinds])
    return bool(np.median(np.abs(np.diff(losses))[turns]) > FAR * np.median(own))


def likely_seeds(table: Table, rows: Rows, xs: Array, used: set[str | None]) -> str | None:
    """The column that tells the runs among ``rows`` apart: each of its values is of one run."""
    found = []
    for name in table.frame.columns:
        if name in used:
            continue
        codes, values = pd.factorize(table.frame[name].iloc[rows].astype(str))
        if not 1 < len(values) <= len(rows) // 2:
            continue
        parts = [np.flatnonzero(codes == code) for code in range(len(values))]
        if any(isinstance(in_order(xs[part], part.astype(float)), Disorder) for part in parts):
            continue
        known = name.lower() in SEEDS or "seed" in name.lower()
        found.append((not known, len(values), name))
    return min(found)[2] if found else None
