"""Savings on anyone's training logs: a table with a row a logged point.

``x`` is what was paid (FLOPs, tokens, hours); it and ``loss`` may be expressions on columns, as in
``6 * params * tokens``. Runs of one method are told apart by their seed (``mugrow.analysis.read``).
Arms that share seeds are compared in pairs, on those seeds; arms that share none were drawn apart,
and are tested apart.

A log that begins below a loss does not say when its run had it, only that it was no later: the
speed-up is then a bound. Where the baseline's begins late it is at most ``bound``
(``baseline_logged_late``), where the method's does at least (``logged_late``).

Where a column tells runs of several lengths apart, each a whole schedule, they compare at equal
compute (``lengths``), and savings at a fixed loss are those of the longest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Literal

from mugrow.analysis.measure.savings import (
    ACCOUNTINGS,
    ROUNDING,
    Accounting,
    Arm,
    Curve,
    Saving,
    SavingsCurve,
    State,
    as_columns,
    baseline_final,
    common_seeds,
    compare,
    fixed,
    mean_curve,
    savings_curve,
)
from mugrow.analysis.measure.smoothing import smoothed
from mugrow.analysis.read.columns import Reading
from mugrow.analysis.read.expression import names_in
from mugrow.analysis.read.guess import NO_RUNS
from mugrow.analysis.read.runs import Log, Note, Run, read_runs, run_labels
from mugrow.analysis.read.table import Table, Tables, table_in
from mugrow.analysis.read.wide import column_a_run
from mugrow.analysis.stats import NOTHING
from mugrow.bench.spec import UserError, unknown

Cost = float | Mapping[str, float]
"""A cost of every arm that bears it, or of the runs named, in units of ``x``."""
LogState = State | Literal["logged_late", "baseline_logged_late"]
Ends = Mapping[int, Mapping[str, tuple[float, float]]]
"""By seed, and by length as its column has it, the last x of that run and the loss there."""
MOST_ROWS = 12  # of a seed, each another length: more are points of one run


@dataclass(frozen=True, eq=False)
class Arms:
    """A baseline, what is compared with it, and the accountings in which anything is charged. The
    curves are of each seed's longest run, ``ends`` and ``baseline_ends`` of all. ``notes`` are what
    was done to the rows, or noticed."""

    baseline: Arm
    methods: Mapping[str, Arm]
    accountings: tuple[Accounting, ...]
    baseline_ends: Ends
    ends: Mapping[str, Ends]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class MethodSaving:
    """A method's saving at one loss in one accounting, as `mugrow savings` prints it: ends and
    values are nan where there is no number. ``paired`` says whether seeds were."""

    method: str
    loss: float
    accounting: Accounting
    state: LogState
    speedup: float
    speedup_lo: float
    speedup_hi: float
    saving: float
    saving_lo: float
    saving_hi: float
    bound: float | None
    n_seeds: int
    paired: bool


def read_arms(
    tables: Tables,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    methods: str | Sequence[str] = (),
    source_cost: Cost = 0.0,
    tuning_cost: Cost = 0.0,
    seeds: str | None = None,
    smooth: int = 1,
    length: str | None = None,
    by_x: bool = False,
) -> Arms:
    """The arms of a table: ``run`` and ``seeds`` are columns, ``baseline`` and ``methods``
    (default: all others) values of ``run``.

    ``source_cost`` is charged to the methods and ``tuning_cost`` to both arms, unless they name
    runs. ``smooth`` is the window in points of a centred running median, for noisy logs. ``length``
    is a column that tells runs of one seed apart, each a whole schedule. ``by_x`` takes x for the
    order of a run's rows, whatever the file's is.

    Raises ``UserError``, in one line, on any table, column, expression or run that does not fit.
    """
    if smooth < 1 or smooth % 2 == 0:
        near = max(1, smooth + 1)
        raise UserError(f"smooth must be an odd number of points, not {smooth}; nearest: {near}")
    methods = (methods,) if isinstance(methods, str) else methods
    arms_in = partial(
        _arms_in, run=run, x=x, loss=loss, baseline=baseline, methods=methods,
        source_cost=source_cost, tuning_cost=tuning_cost, seeds=seeds, smooth=smooth,
        length=length, by_x=by_x,
    )  # fmt: skip
    keys = [one for one in (run, seeds, length) if one is not None]
    table = table_in(tables, Reading(keys, (x, loss)))
    try:
        return arms_in(table)
    except UserError:
        if not table.is_part:
            raise
    del table
    return arms_in(table_in(tables))  # what is wrong is said with all columns in view


def _arms_in(
    table: Table,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    methods: Sequence[str],
    source_cost: Cost,
    tuning_cost: Cost,
    seeds: str | None,
    smooth: int,
    length: str | None,
    by_x: bool,
) -> Arms:
    """``read_arms`` of a table, or of the part of it that is needed."""
    if seeds is None and length is None:
        asked = (baseline, *methods)
        table = column_a_run(table, run=run, x=x, loss=loss, known=NO_RUNS, names=asked) or table
    labels = run_labels(table, run)
    names = list(labels.categories)
    costs = {"source cost": source_cost, "tuning cost": tuning_cost}
    for name in (baseline, *methods, *_named(costs)):
        if name not in names:
            raise unknown("run", name, names)
    chosen = [name for name in methods or names if name != baseline]
    if not chosen:
        raise UserError(f"{table.name} has no run but the baseline {baseline!r} to compare with it")
    source = {name: _cost("source cost", source_cost, name) for name in chosen}
    named = isinstance(source_cost, Mapping)
    source[baseline] = _cost("source cost", source_cost, baseline) if named else 0.0
    tuning = {name: _cost("tuning cost", tuning_cost, name) for name in source}
    log = read_runs(
        table, run=run, x=x, loss=loss, seeds=seeds, length=length, by_x=by_x,
        only=list(source), labels=labels,
    )  # fmt: skip
    if length is None:
        _check_curves(log)
    else:
        _check_lengths(log)
    runs = {name: _curves(log, name, smooth) for name in source}
    arms = {name: Arm(_longest(name, runs[name]), source[name], tuning[name]) for name in source}
    ends = {name: _ends(name, of_seeds) for name, of_seeds in runs.items()}
    charged = {"target": True, "source": any(source.values()), "full": any(tuning.values())}
    return Arms(
        baseline=arms.pop(baseline),
        methods=arms,
        accountings=tuple(name for name in ACCOUNTINGS if charged[name]),
        baseline_ends=ends.pop(baseline),
        ends=ends,
        notes=(*(Note(None, text) for text in table.notes), *log.notes),
    )


def savings_of(arms: Arms, at: Sequence[float] = ()) -> list[MethodSaving]:
    """One for each (method, loss, accounting), at the losses ``at`` or the baseline's last.

    Without several seeds there is no interval. Raises ``UserError`` for a loss that is not finite.
    """
    for loss in at:
        if not math.isfinite(loss):
            raise UserError(f"a loss to compare at must be a finite number, not {loss}")
    rule = fixed(at) if at else baseline_final
    return [
        _bounded(_row(name, arms.baseline, method, saving), arms.baseline, method)
        for name, method in arms.methods.items()
        for saving in compare(arms.baseline, method, rule, paired=_paired(arms.baseline, method))
        if saving.accounting in arms.accountings
    ]


def savings(
    table: Tables,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    methods: str | Sequence[str] = (),
    at: Sequence[float] = (),
    source_cost: Cost = 0.0,
    tuning_cost: Cost = 0.0,
    seeds: str | None = None,
    smooth: int = 1,
    length: str | None = None,
    by_x: bool = False,
) -> list[MethodSaving]:
    """Compute saved, on a table of loss curves with a row a logged point, a data frame, a file or
    several (see ``mugrow.read_table``): what `mugrow savings` prints, one for each method, loss and
    accounting. Arguments are those of ``read_arms``, and the losses ``at`` which to compare, by
    default the baseline's last.

    A fixed loss has a ceiling: a baseline that has decayed is compared with arms that have yet to
    decay. ``equal_compute`` has none.

    >>> import mugrow, tempfile
    >>> logs = "arm,tokens,loss\\n" + "".join(
    ...     f"scratch,{t},{8 / t**0.5}\\ngrown,{t},{6 / t**0.5}\\n" for t in range(1, 101)
    ... )
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as table:
    ...     _ = table.write(logs), table.flush()
    ...     (found,) = mugrow.savings(
    ...         table.name, run="arm", x="tokens", loss="loss", baseline="scratch"
    ...     )
    >>> found.method, found.accounting, round(found.speedup, 2)  # (8 / 6)**2
    ('grown', 'target', 1.78)
    """
    arms = read_arms(
        table, run=run, x=x, loss=loss, baseline=baseline, methods=methods, source_cost=source_cost,
        tuning_cost=tuning_cost, seeds=seeds, smooth=smooth, length=length,
        by_x=by_x,
    )  # fmt: skip
    return savings_of(arms, at)


def late(found: Sequence[MethodSaving], baseline: str) -> list[Note]:
    """What to say of savings that are bounds because a log begins late, once a run and loss."""
    said = {
        (row.state, row.method, row.loss): Note(
            baseline if row.state == "baseline_logged_late" else row.method,
            f"its log begins below a loss of {row.loss:g}, so when it was there is not known: the "
            f"speed-up of {row.method!r} is at {'most' if row.state != 'logged_late' else 'least'} "
            "the bound",
        )
        for row in found
        if row.state in ("logged_late", "baseline_logged_late")
    }
    return list(said.values())


def savings_curves(arms: Arms) -> list[SavingsCurve]:
    """s(loss) of each method in each accounting, as ``figures.savings`` draws them."""
    found = {
        name: savings_curve(arms.baseline, method, paired=_paired(arms.baseline, method))
        for name, method in arms.methods.items()
    }
    curves = [
        as_columns(name, accounting, rows)
        for name, rows in found.items()
        for accounting in arms.accountings
        if rows
    ]
    if not curves:
        raise UserError("no method has a loss below its first in common with the baseline")
    return curves


def _named(costs: Mapping[str, Cost]) -> list[str]:
    return [name for cost in costs.values() if isinstance(cost, Mapping) for name in cost]


def _cost(what: str, cost: Cost, name: str) -> float:
    value: object = cost.get(name, 0.0) if isinstance(cost, Mapping) else cost
    number = float(value) if isinstance(value, Real) else math.nan
    if not 0 <= number < math.inf:
        raise UserError(f"{what} must be a finite number, at least 0, not {value!r}")
    return number


def _check_curves(log: Log) -> None:
    """Raise the ``UserError`` of a table with a row a run: it holds no curves to compare."""
    if log.runs and all(len(run.x) == 1 for run in log.runs):
        raise UserError(
            f"{log.table.name} has one row a run, and a speed-up needs the losses before it: "
            f"fit a law to such a table, {_fit_command(log.table, log.x, log.loss)}"
        )


def _check_lengths(log: Log) -> None:
    """Raise the ``UserError`` of a column with another value in every row of a run: it is measured
    along it, and no length."""
    rows: dict[tuple[str, str | None], int] = {}
    for run in log.runs:
        rows[run.name, run.seed] = rows.get((run.name, run.seed), 0) + 1
    (name, _), most = max(rows.items(), key=lambda item: item[1], default=(("", None), 0))
    if most > MOST_ROWS and all(len(run.x) == 1 for run in log.runs if run.name == name):
        raise UserError(
            f"column {log.length!r} has another value in each of the {most} rows of a seed of "
            f"{name!r}; --length tells whole runs apart, as planned steps or an id do"
        )


def _fit_command(table: Table, x: str, loss: str) -> str:
    """The command that fits a law to a table with a row a run."""
    sizes = [name for name in table.frame.columns if _says_size(name)]
    if sizes and sizes[0] in names_in(table.frame, x):
        sizes = []  # x is compute, or the size itself, and no count of tokens beside it
    law = f"--form chinchilla --n {_quoted(sizes[0])} --d" if sizes else "--form power --var x="
    space = " " if sizes else ""
    name = "TABLE" if table.kind == "data frame" else table.name.split(" ")[0]
    return f"mugrow fit {name} {law}{space}{_quoted(x)} --loss {_quoted(loss)}"


def _says_size(name: str) -> bool:
    return name.lower().removeprefix("n_").removeprefix("num_").startswith(("param", "model_size"))


def _quoted(expression: str) -> str:
    return expression if expression.replace("_", "").isalnum() else f"'{expression}'"


def _curves(log: Log, name: str, smooth: int) -> dict[int, dict[str, Curve]]:
    """By seed, numbered in the table's order, the curves of a method's runs, by length."""
    seeds = list(dict.fromkeys(run.seed for run in log.runs))
    curves: dict[int, dict[str, Curve]] = {}
    for run in log.runs:
        if run.name == name and run.x[-1] > 0:
            of_seed = curves.setdefault(seeds.index(run.seed), {})
            of_seed[run.length or ""] = _curve(run, smooth)
    if not curves:
        raise UserError(f"run {name!r} has no point with a finite loss and x above 0")
    return curves


def _curve(run: Run, smooth: int) -> Curve:
    return Curve(run.x, smoothed(run.x, run.loss, smooth, run.broken))


def _longest(name: str, runs: Mapping[int, Mapping[str, Curve]]) -> dict[int, Curve]:
    """The curve of each seed's longest run; all have a range of x in common."""
    curves = {
        seed: max(each.values(), key=lambda one: float(one.flops[-1]))
        for seed, each in runs.items()
    }
    if max(one.flops[0] for one in curves.values()) > min(one.flops[-1] for one in curves.values()):
        raise UserError(f"the seeds of run {name!r} share no range of x")
    return curves


def _ends(name: str, runs: Mapping[int, Mapping[str, Curve]]) -> Ends:
    ends: dict[int, dict[str, tuple[float, float]]] = {}
    for seed, each in runs.items():
        ends[seed] = {
            length: (float(one.flops[-1]), float(one.loss[-1])) for length, one in each.items()
        }
        if len({x for x, _ in ends[seed].values()}) < len(each):
            raise UserError(
                f"two runs of one seed of {name!r} end at the same x: lengths differ in x, seeds "
                "are told apart by a column of theirs (seeds)"
            )
    return ends


def _paired(baseline: Arm, method: Arm) -> bool:
    return bool(common_seeds(baseline, method))


def _bounded(row: MethodSaving, baseline: Arm, method: Arm) -> MethodSaving:
    """The saving, or the bound that is left where a log begins below the loss."""
    if row.state != "reached":
        return row
    seeds = common_seeds(baseline, method)
    late = [
        _begins_below([arm.curves[seed] for seed in seeds or arm.curves], row.loss)
        for arm in (baseline, method)
    ]
    if not any(late):
        return row
    return replace(
        row,
        state="baseline_logged_late" if late[0] else "logged_late",
        bound=row.speedup,
        speedup=math.nan,
        speedup_lo=math.nan,
        speedup_hi=math.nan,
        saving=math.nan,
        saving_lo=math.nan,
        saving_hi=math.nan,
    )


def _begins_below(curves: Sequence[Curve], loss: float) -> bool:
    """Whether the first row of the mean is below the loss; of a single row, whether it has it."""
    mean = mean_curve(curves)
    first = float(mean.loss[0])
    below = first < loss - ROUNDING or (len(mean.flops) == 1 and first <= loss)
    return below and float(mean.flops[0]) > 0


def _row(name: str, baseline: Arm, method: Arm, saving: Saving) -> MethodSaving:
    common = common_seeds(baseline, method)
    speedup, saved = saving.speedup or NOTHING, saving.saving or NOTHING
    return MethodSaving(
        method=name,
        loss=saving.at_loss,
        accounting=saving.accounting,
        state=saving.state,
        speedup=speedup.value,
        speedup_lo=speedup.lo,
        speedup_hi=speedup.hi,
        saving=saved.value,
        saving_lo=saved.lo,
        saving_hi=saved.hi,
        bound=saving.bound,
        n_seeds=len(common) or min(len(baseline.curves), len(method.curves)),
        paired=bool(common),
    )
