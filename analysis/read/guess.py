"""What a table is, as far as its columns' names say: which is the run, what was paid, the loss.

A guess is made here alone, to show what is there; commands that compute ask for their columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mugrow.analysis.read.dialects import PANEL
from mugrow.analysis.read.expression import names_in, numbers
from mugrow.analysis.read.runs import Log, read_runs
from mugrow.analysis.read.table import Table, read_table
from mugrow.analysis.read.wide import OTHERS, column_a_run
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError

RUNS = ("run", "run_name", "run.name", "run_id", "name", "arm", "method", "model", "experiment",
        "trial_id", "id")  # fmt: skip
SEEDS = ("seed", "seeds", "random_seed")
XS = ("step", "global_step", "steps", "iter", "iteration", "iterations", "trainer/global_step",
      "batch", "tokens", "tokens_seen", "total_tokens", "flops", "epoch")  # fmt: skip
LOSSES = ("loss", "val_loss", "eval_loss", "valid_loss", "validation_loss", "val loss", "test_loss",
          "train_loss", "cross_entropy", "crossentropyloss", "ce_loss", "nll", "bpb", "ppl",
          "perplexity", "value")  # fmt: skip
NO_RUNS = frozenset({*OTHERS, *SEEDS, *XS})


@dataclass(frozen=True)
class ReadRun:
    """A run as it was read: of ``rows`` in the file ``points`` are left, from the first to the last
    x, each with its loss."""

    label: str
    rows: int
    points: int
    x_first: float
    x_last: float
    loss_first: float
    loss_last: float


@dataclass(frozen=True, eq=False)
class Understood:
    """A table and what is read of it, as `mugrow read` prints it: ``run``, ``x``, ``loss`` and
    ``seeds`` as the other commands take them. Without ``runs`` it is a table with a row a run, or
    the notes say what is missing."""

    table: Table
    log: Log | None
    notes: tuple[str, ...]
    runs: tuple[ReadRun, ...] = ()
    run: str | None = None
    x: str | None = None
    loss: str | None = None
    seeds: str | None = None

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def kind(self) -> str:
        return self.table.kind

    @property
    def rows(self) -> int:
        return len(self.table.frame)

    @property
    def columns(self) -> list[str]:
        return list(self.table.frame.columns)

    def to_json(self) -> dict[str, object]:
        names = ("name", "kind", "rows", "columns", "run", "x", "loss", "seeds", "runs", "notes")
        return {name: getattr(self, name) for name in names}


def read(
    *files: str | Path,
    run: str | None = None,
    x: str | None = None,
    loss: str | None = None,
    seeds: str | None = None,
    by_x: bool = False,
) -> Understood:
    """What is understood of a table in a file or several, as `mugrow read` prints it: its runs, and
    the rows that were left out of them and why. ``run`` and ``seeds`` are columns, ``x`` and
    ``loss`` columns or expressions; what is not given is guessed by the columns' names. ``log`` of
    the answer has the curves, ``table`` the rows as they stand.

    Raises ``UserError`` for what cannot be read, and for rows that are no run.

    >>> import mugrow, tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("Step,a - loss,b - loss\\n10,3.5,3.25\\n20,3.0,\\n30,2.5,2.0\\n")
    ...     _ = file.flush()
    ...     found = mugrow.read(file.name)
    >>> found.kind, [(one.label, one.points, one.loss_last) for one in found.runs]
    ('W&B panel export', [('a', 3, 2.5), ('b', 2, 2.0)])
    """
    table = read_table(*files)
    if run is None and loss is None and (wide := _column_a_run(table, x)):
        table, run, loss = wide, "run", "loss"
    names = list(table.frame.columns)
    run = run or _first(names, RUNS)
    loss = loss or _loss(table)
    x = x or _x(table, run, loss)
    if x is None or loss is None:
        missing = " and ".join(
            f"--{what}" for what, found in (("x", x), ("loss", loss)) if found is None
        )
        note = f"no column is named as if it were one, so no runs were read: give {missing}"
        return Understood(table, None, (*table.notes, note))
    seeds = seeds or _seeds(table, run, x, loss)
    log = read_runs(table, run=run, x=x, loss=loss, seeds=seeds, by_x=by_x)
    notes = [*table.notes, *map(str, log.notes)]
    if log.runs and all(len(one.x) == 1 for one in log.runs):
        notes.append("one row a run: a table for mugrow fit, not one of loss curves")
    runs = tuple(
        ReadRun(
            label=one.label,
            rows=one.rows_in_file,
            points=len(one.x),
            x_first=float(one.x[0]),
            x_last=float(one.x[-1]),
            loss_first=float(one.loss[0]),
            loss_last=float(one.loss[-1]),
        )
        for one in log.runs
    )
    run = run or "(the file)"
    return Understood(table, log, tuple(notes), runs, run, x, loss, seeds)


def write(found: Understood, path: Path) -> None:
    """Write the runs as a tidy table, a row a point. ``UserError`` where none were read."""
    if found.log is None or not found.log.runs:
        raise UserError(f"{found.name} has no runs to write: name them with --x and --loss")
    frame = found.log.to_frame()

    def write_whole(temporary: Path) -> None:
        if path.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        elif path.suffix == ".jsonl":
            frame.to_json(temporary, orient="records", lines=True, double_precision=15)
        else:
            frame.to_csv(temporary, index=False, sep="\t" if path.suffix == ".tsv" else ",")

    write_atomically(path, write_whole)


def _first(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The column that is named as one of ``known``, the first of those; else by its last part."""
    for part in (_folded, _last):
        folded = [part(name) for name in names]
        for one in known:
            if folded.count(one) == 1:
                return names[folded.index(one)]
    return None


def is_x(name: str) -> bool:
    """Whether a column is named as what was paid along a run is."""
    return _folded(name) in XS or _last(name) in XS


def _folded(name: str) -> str:
    return name.strip().lower().removeprefix("_")


def _last(name: str) -> str:
    return _folded(name.replace(".", "/").split("/")[-1])


def _loss(table: Table) -> str | None:
    return _first([name for name in table.frame.columns if _is_number(table, name)], LOSSES)


def _x(table: Table, run: str | None, loss: str | None) -> str | None:
    left = [name for name in table.frame.columns if name not in (run, loss)]
    if table.kind == PANEL:
        return left[0]
    return _first([name for name in left if _is_number(table, name)], XS)


def _column_a_run(table: Table, x: str | None) -> Table | None:
    """The table of runs, if it has a column for each and nothing else has a name that we know."""
    x = x or _x(table, None, None)
    names = {_folded(name) for name in table.frame.columns}
    if x is None or _loss(table) or names & {*OTHERS} or _first([*names], (*RUNS, *SEEDS)):
        return None
    return column_a_run(table, run="run", x=x, loss="loss", known=NO_RUNS)


def _is_number(table: Table, name: str) -> bool:
    try:
        return bool(np.isfinite(numbers(table.frame, name)).any())
    except UserError:
        return False


def _seeds(table: Table, run: str | None, x: str, loss: str) -> str | None:
    found = _first(list(table.frame.columns), SEEDS)
    used = {run, *names_in(table.frame, x), *names_in(table.frame, loss)}
    return found if found not in used else None
