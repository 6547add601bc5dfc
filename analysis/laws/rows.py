"""Which rows of a table enter a fit: one final a run, and every row left out has its reason.

What is fitted decides the law more than how it is fitted. Checkpoints of one run repeat each
other, and those from before the learning rate fell are worse models than their size and tokens
allow, so a run counts once, by its last row, unless checkpoints are asked for; then the first tenth
of each run is dropped (Choshen et al. 2024, arXiv 2410.11840, drop the first 10 billion tokens) and
rows whose learning rate is still above a tenth of the run's peak are counted as undecayed.

Runs that differ in more than the law's variables do not belong in one fit. Mixed learning rates,
learning-rate policies and FLOP conventions are therefore refused by default, and so are rows that
agree in the law's variables and not in their loss, unless a column numbers their seeds (``alike``).
The rows of a run are in the order of ``mugrow.analysis.read.order``: those that a resumed run
rewinds over are left out.

A row without a finite loss is a run that diverged or did not end: it is left out, and counted. Any
other variable that is not a finite number above 0 is a mistake in the table.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.laws.alike import (
    MEASURED,
    alike,
    cells,
    differing,
    learning_rate_column,
    replicate_columns,
    tells_apart,
)
from mugrow.analysis.read.expression import column, condition, names_in, numbers
from mugrow.analysis.read.order import Disorder, in_order
from mugrow.analysis.read.runs import label_of, likely_seeds
from mugrow.analysis.read.table import table_of
from mugrow.analysis.stats import Array
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError

Codes = npt.NDArray[np.int64]

DROPPED = 0.1
DECAYED = 0.1
ALIKE = {"flops_convention": "FLOP conventions", "lr_policy": "learning-rate policies"}
ONE_KIND = "keep one kind with --where, or give --allow-mixed"
OR_BEST = "keep the best of each with --best, one kind with --where, or give --allow-mixed"
NOT_BEST = "not the lowest loss of its point"
REPLACED = "of a branch that a later row of its run replaced"
NO_LOSS = "no finite loss: the run diverged or did not end"
CHECKPOINT = "a checkpoint, not the last row of its run"
EARLY = "in the first tenth of its run"


@dataclass(frozen=True)
class RowPolicy:
    """What to keep of a table. ``run`` and ``group`` are columns, the others expressions.

    ``run`` says which rows are one run, ``step`` their order (default: the variable ``d`` or
    ``s``), ``lr`` the learning rate (default: the column ``lr``, where there is one). ``group``
    names what was drawn independently (default: the run). ``seeds`` is a column that tells runs of
    one name apart. ``curves`` keeps every row of a run, for laws of whole curves; ``checkpoints``
    all but the first tenth. ``by_x`` orders rows by ``step`` alone, whatever the table's order is.
    ``best`` keeps, of rows that agree in the law's variables, the one of lowest loss.
    """

    where: str | None = None
    run: str | None = None
    step: str | None = None
    lr: str | None = None
    group: str | None = None
    seeds: str | None = None
    checkpoints: bool = False
    curves: bool = False
    allow_mixed: bool = False
    by_x: bool = False
    best: bool = False


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows of a fit: ``points`` by variable, each (rows,), and ``rows``, their numbers from 0.

    ``groups`` is None where each row is its own. ``excluded`` maps the number of a row left out to
    the reason. ``undecayed`` counts rows kept; None where no run has a curve of learning rates.
    """

    points: Mapping[str, Array]
    rows: Codes
    groups: Codes | None
    excluded: Mapping[int, str]
    undecayed: int | None

    def reasons(self) -> dict[str, int]:
        """How many rows were left out for each reason."""
        return dict(Counter(self.excluded.values()))


def select(
    table: pd.DataFrame,
    columns: Mapping[str, str],
    policy: RowPolicy,
    may_be_zero: Collection[str] = (),
    apart: Collection[str] = (),
) -> Selection:
    """The rows that the policy keeps, with ``columns`` (variable: expression) evaluated on them.

    ``columns`` has ``loss``; columns of the table named in ``apart`` tell laws apart. ``UserError``
    where no row is left, a variable is not above 0, the rows of a run are in no order, or the rows
    are mixed. The table's rows are numbered from 0, as ``read_table`` does.
    """
    if policy.curves and policy.group not in (None, policy.run):
        raise UserError("a law of whole curves resamples runs: it has no --group besides --run")
    reason = pd.Series("", index=table.index, dtype=object)
    if policy.where is not None:
        reason.loc[~condition(table, policy.where)] = "not in --where"
    matching = table[reason == ""]
    if matching.empty:
        raise UserError(f"no row of the table matches {policy.where!r}")
    points = pd.DataFrame(
        {name: numbers(matching, expression) for name, expression in columns.items()},
        index=matching.index,
    )
    reason.loc[points.index[~np.isfinite(points["loss"])]] = NO_LOSS
    rates = _learning_rates(matching, columns, policy)
    undecayed = None
    if policy.run is not None:
        run = _runs(matching, policy)
        at = _progress(matching, points, policy)
        replaced = _replaced(matching, run, at, points["loss"], policy)
        reason.loc[replaced] = REPLACED
        left, its_run = at.drop(replaced), run.drop(replaced)
        if policy.checkpoints:
            reason.loc[_early(its_run, left)] = EARLY
        elif not policy.curves:
            left = left.drop(_silent_ends(its_run, left, points["loss"]))
            reason.loc[_not_last(its_run[left.index], left)] = CHECKPOINT
        if rates is not None:
            peaks = rates.groupby(run).transform("max")
            undecayed, rates = rates > DECAYED * peaks, peaks
    elif policy.checkpoints or policy.curves:
        what = "--checkpoints" if policy.checkpoints else "a law of whole curves"
        raise UserError(f"{what} needs --run, the column that says which rows are one run")
    kept = reason[reason == ""].index
    if kept.empty:
        raise UserError(f"no row is left to fit: {_first_words(reason)}")
    points = points.loc[kept]
    _check_positive(points, may_be_zero)
    if policy.best:
        reason.loc[_not_best(table.loc[kept], points, apart)] = NOT_BEST
        kept = reason[reason == ""].index
        points = points.loc[kept]
    elif not policy.allow_mixed:
        of_kept = None if rates is None else rates[kept]
        _check_alike(table.loc[kept], points, of_kept, columns, policy, apart)
    group = policy.group or policy.run
    return Selection(
        points={str(name): points[name].to_numpy() for name in points},
        rows=kept.to_numpy(),
        groups=None if group is None else _codes(table.loc[kept], group),
        excluded=dict(_left_out(reason)),
        undecayed=None if undecayed is None else int(undecayed[kept].sum()),
    )


def _left_out(reason: "pd.Series[str]") -> Iterator[tuple[int, str]]:
    return ((row, why) for row, why in zip(reason.index.tolist(), reason, strict=True) if why)


def _codes(table: pd.DataFrame, name: str) -> Codes:
    """A number for each value of a column; null is a value too."""
    codes: Codes = pd.factorize(column(table, name), use_na_sentinel=False)[0]
    return codes


def _learning_rates(
    table: pd.DataFrame, columns: Mapping[str, str], policy: RowPolicy
) -> "pd.Series[float] | None":
    """The learning rate of each row; None where there is none, or where the law itself reads it."""
    expression = policy.lr or learning_rate_column(table.columns)
    if expression is None or "lr" in columns:
        return None
    return pd.Series(numbers(table, expression), index=table.index)


def _runs(table: pd.DataFrame, policy: RowPolicy) -> "pd.Series[int]":
    """A number for each run: a value of the columns that tell them apart."""
    names = [name for name in (policy.run, policy.seeds) if name is not None]
    codes = cells([column(table, name).to_numpy() for name in names])
    return pd.Series(codes, index=table.index)


def _progress(table: pd.DataFrame, points: pd.DataFrame, policy: RowPolicy) -> "pd.Series[float]":
    given = [name for name in ("d", "s") if name in points]
    if policy.step is None and not given:
        raise UserError(
            "--run needs --step, the order of a run's rows, where neither --d nor --s is given"
        )
    at = points[given[0]] if policy.step is None else numbers(table, policy.step)
    if not np.isfinite(at).all():
        raise UserError(
            f"{policy.step or given[0]!r} orders a run's rows, but is not finite in all"
        )
    return pd.Series(at, index=table.index)


def _replaced(
    table: pd.DataFrame,
    run: "pd.Series[int]",
    at: "pd.Series[float]",
    loss: "pd.Series[float]",
    policy: RowPolicy,
) -> "pd.Index[int]":
    """The rows that a later row of their run replaces, and those with no loss that lie among them.
    ``UserError`` where rows of a run are in no order, or of several runs."""
    dropped: list[int] = []
    for _, rows in at.groupby(run):
        there = rows[np.isfinite(loss[rows.index])]
        if len(there) < 2:
            continue
        found = in_order(_floats(there), _floats(loss[there.index]), policy.by_x)
        if isinstance(found, Disorder):
            raise UserError(_refusal(table, policy, there, found))
        dropped += there.index[np.setdiff1d(np.arange(len(there)), found.rows)].tolist()
        empty = rows[~np.isfinite(loss[rows.index])]
        for resume in found.resumes:
            before = empty.index < there.index[resume.row]
            dropped += empty.index[before & (empty >= resume.x).to_numpy()].tolist()
    return pd.Index(sorted(set(dropped)), dtype=at.index.dtype)


def _floats(values: "pd.Series[float]") -> Array:
    return np.asarray(values, dtype=np.float64)


def _refusal(
    table: pd.DataFrame, policy: RowPolicy, at: "pd.Series[float]", found: Disorder
) -> str:
    row = at.index[found.row]
    name = label_of(column(table, policy.run or "")[row])
    what = policy.step or "d"
    where = f"{what} goes from {found.before:g} to {found.x:g} in row {row} ({found.reason})"
    if not found.several:
        return f"the rows of run {name!r} are in no order: {where}; --sorted sorts them"
    used = {policy.run, policy.seeds}
    whole = table_of(table.loc[at.index])
    likely = likely_seeds(whole, np.arange(len(at)), _floats(at), used) or "COLUMN"
    return (
        f"several runs go by the name {name!r}: {where}; tell them apart by --seeds {likely}, "
        "or --sorted takes them for one"
    )


def _silent_ends(
    run: "pd.Series[int]", at: "pd.Series[float]", loss: "pd.Series[float]"
) -> "pd.Index[int]":
    """Rows without a loss at the end of a run that is evaluated in some of its rows only: they are
    no end. A run whose rows go on without a loss for longer than ever before has diverged."""
    found: list[int] = []
    for _, rows in at.sort_values(kind="stable").groupby(run):
        there = np.flatnonzero(np.isfinite(loss[rows.index].to_numpy()))
        if not len(there):
            continue
        after = len(rows) - 1 - there[-1]
        between = int(np.diff(there).max()) - 1 if len(there) > 1 else 0
        if 0 < after <= between:
            found += rows.index[there[-1] + 1 :].tolist()
    return pd.Index(found, dtype=at.index.dtype)


def _early(run: "pd.Series[int]", at: "pd.Series[float]") -> "pd.Index[int]":
    return at.index[at < DROPPED * at.groupby(run).transform("max")]


def _not_last(run: "pd.Series[int]", at: "pd.Series[float]") -> "pd.Index[int]":
    """Of two rows at a run's end the later counts, as a run resumed from a checkpoint leaves."""
    return at.index.difference(at.sort_values(kind="stable").groupby(run).tail(1).index)


def _not_best(table: pd.DataFrame, points: pd.DataFrame, apart: Collection[str]) -> "pd.Index[int]":
    """The rows that are not of lowest loss among those of their point, law and seed."""
    cell = _cells(table, points, [*apart, *replicate_columns(table.columns)])
    lowest = points["loss"].groupby(cell).idxmin()
    return points.index.difference(pd.Index(lowest))


def _cells(
    table: pd.DataFrame, points: pd.DataFrame, more: Collection[str] = ()
) -> npt.NDArray[np.int64]:
    """A number for each row: the same where the law's variables and ``more`` columns agree."""
    variables = [
        alike(_floats(points[name])) if name in MEASURED else points[name].to_numpy()
        for name in points
        if name != "loss"
    ]
    return cells([*variables, *(column(table, name).to_numpy() for name in more)])


def _check_positive(points: pd.DataFrame, may_be_zero: Collection[str]) -> None:
    for name, values in points.items():
        least = "at least 0" if name in may_be_zero else "above 0"
        large = values >= 0 if name in may_be_zero else values > 0
        wrong = values[~(np.isfinite(values) & large)]
        if len(wrong):
            raise UserError(
                f"{name} must be a finite number {least}, but is {wrong.iloc[0]:g} in row "
                f"{wrong.index[0]} ({len(wrong)} such rows); leave those out with --where"
            )


def _check_alike(
    table: pd.DataFrame,
    points: pd.DataFrame,
    rates: "pd.Series[float] | None",
    columns: Mapping[str, str],
    policy: RowPolicy,
    apart: Collection[str],
) -> None:
    """Raise the ``UserError`` of rows that differ in more than the law's variables."""
    for name, what in ALIKE.items():
        values = list(table[name].dropna().unique()) if name in table else []
        if len(values) > 1:
            raise UserError(f"the rows mix {what}, {values[0]} and {values[1]}; {ONE_KIND}")
    names = ", ".join(str(name) for name in points if name != "loss")
    if rates is not None:
        distinct = rates.groupby(_cells(table, points, apart)).nunique()
        if (distinct > 1).any():
            raise UserError(
                f"the rows mix learning rates, up to {distinct.max()} at the same {names}; "
                f"{OR_BEST}"
            )
    if policy.checkpoints or policy.curves:
        return
    known = [*apart, *replicate_columns(table.columns)]
    known += [name for name in (policy.seeds, policy.group) if name is not None]
    cell = _cells(table, points, dict.fromkeys(known))
    mixed = differing(cell, points["loss"].to_numpy())
    if not mixed.any():
        return
    used = {name for one in columns.values() for name in names_in(table, one)}
    rows = table[mixed]
    why = tells_apart(rows, cell[mixed], {*known, *used, policy.run or ""})
    count = int(pd.Series(cell[mixed]).value_counts().max())
    said = (
        f"column {why!r} tells them apart"
        if why
        else "no column says why: seeds need one of theirs"
    )
    raise UserError(
        f"rows agree in {names} and differ in loss, {count} of them at one point; {said}; {OR_BEST}"
    )


def _first_words(reason: "pd.Series[str]") -> str:
    return "; ".join(f"{count} × {why}" for why, count in Counter(reason).items())


def write_exclusions(path: Path, selection: Selection) -> None:
    """Write the rows left out, with the reason, as .csv or .parquet."""
    table = pd.DataFrame(
        {"row": list(selection.excluded), "reason": list(selection.excluded.values())}
    )
    parquet = path.suffix == ".parquet"

    def write(temporary: Path) -> None:
        if parquet:
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False)

    write_atomically(path, write)
