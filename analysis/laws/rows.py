"""Which rows of a table enter a fit: one final a run, and every row left out has its reason.

What is fitted decides the law more than how it is fitted. Checkpoints of one run repeat each
other, and those from before the learning rate fell are worse models than their size and tokens
allow, so a run counts once, by its last row, unless checkpoints are asked for; then the first tenth
of each run is dropped (Choshen et al. 2024, arXiv 2410.11840, drop the first 10 billion tokens) and
rows whose learning rate is still above a tenth of the run's peak are counted as undecayed.

Runs that differ in more than the law's variables do not belong in one fit: with every learning
rate of a sweep in it, one published exponent comes out as 0.20, with the best of each cell as 0.14.
Mixed learning rates, learning-rate policies and FLOP conventions are therefore refused by default.
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

from mugrow.analysis.read.expression import column, condition, numbers
from mugrow.analysis.stats import Array
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError

Codes = npt.NDArray[np.int64]

DROPPED = 0.1
DECAYED = 0.1
ALIKE = {"flops_convention": "FLOP conventions", "lr_policy": "learning-rate policies"}
ONE_KIND = "keep one kind with --where, or give --allow-mixed"
NO_LOSS = "no finite loss: the run diverged or did not end"
CHECKPOINT = "a checkpoint, not the last row of its run"
EARLY = "in the first tenth of its run"


@dataclass(frozen=True)
class RowPolicy:
    """What to keep of a table. ``run`` and ``group`` are columns, the others expressions.

    ``run`` says which rows are one run, ``step`` their order (default: the variable ``d`` or
    ``s``), ``lr`` the learning rate (default: the column ``lr``, where there is one). ``group``
    names what was drawn independently (default: the run). ``curves`` keeps every row of a run, for
    laws of whole curves; ``checkpoints`` all but the first tenth.
    """

    where: str | None = None
    run: str | None = None
    step: str | None = None
    lr: str | None = None
    group: str | None = None
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
) -> Selection:
    """The rows that the policy keeps, with ``columns`` (variable: expression) evaluated on them.

    ``columns`` has ``loss``. ``UserError`` where no row is left, a variable is not above 0, or the
    rows are mixed. The table's rows are numbered from 0, as ``read_table`` does.
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
        run = pd.Series(_codes(matching, policy.run), index=matching.index)
        at = _progress(matching, points, policy)
        if policy.checkpoints:
            reason.loc[_early(run, at)] = EARLY
        elif not policy.curves:
            reason.loc[_not_last(run, at)] = CHECKPOINT
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
    if not policy.allow_mixed:
        _check_alike(table.loc[kept], points, None if rates is None else rates[kept])
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
    expression = policy.lr or ("lr" if "lr" in table.columns else None)
    if expression is None or "lr" in columns:
        return None
    return pd.Series(numbers(table, expression), index=table.index)


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


def _early(run: "pd.Series[int]", at: "pd.Series[float]") -> "pd.Index[int]":
    return at.index[at < DROPPED * at.groupby(run).transform("max")]


def _not_last(run: "pd.Series[int]", at: "pd.Series[float]") -> "pd.Index[int]":
    """Of two rows at a run's end the later counts, as a run resumed from a checkpoint leaves."""
    return at.index.difference(at.sort_values(kind="stable").groupby(run).tail(1).index)


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
    table: pd.DataFrame, points: pd.DataFrame, rates: "pd.Series[float] | None"
) -> None:
    for name, what in ALIKE.items():
        values = list(table[name].dropna().unique()) if name in table else []
        if len(values) > 1:
            raise UserError(f"the rows mix {what}, {values[0]} and {values[1]}; {ONE_KIND}")
    if rates is None:
        return
    names = [str(name) for name in points if name != "loss"]
    _, cell = np.unique(np.log(points[names].to_numpy()).round(9), axis=0, return_inverse=True)
    distinct = rates.groupby(cell.ravel()).nunique()
    if (distinct > 1).any():
        raise UserError(
            f"the rows mix learning rates, up to {distinct.max()} at the same "
            f"{', '.join(names)}; {ONE_KIND}"
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
