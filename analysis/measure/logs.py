"""Savings on anyone's training logs: a table with a row a logged point.

``x`` is what was paid (FLOPs, tokens, hours); it and ``loss`` may be expressions on columns, as in
``6 * params * tokens``. Runs of one method are told apart by their seed. Arms that share seeds are
compared in pairs, on those seeds; arms that share none were drawn apart, and are tested apart.

Where a column tells runs of several lengths apart, each a whole schedule, they compare at equal
compute (``lengths``), and savings at a fixed loss are those of the longest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mugrow.analysis.measure.savings import (
    ACCOUNTINGS,
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
    curve,
    fixed,
    savings_curve,
)
from mugrow.analysis.read.expression import column, numbers
from mugrow.analysis.read.table import read_table
from mugrow.analysis.stats import NOTHING
from mugrow.bench.spec import UserError, unknown

Cost = float | Mapping[str, float]
"""A cost of every arm that bears it, or of the runs named, in units of ``x``."""
Ends = Mapping[int, Mapping[int, tuple[float, float]]]
"""By seed, and by length, its place among the values of that column, the last x and the loss."""
MOST_ROWS = 12  # of a seed, each another length: more are points of one run


@dataclass(frozen=True, eq=False)
class Arms:
    """A baseline, what is compared with it, and the accountings in which anything is charged. The
    curves are of each seed's longest run, ``ends`` and ``baseline_ends`` of all."""

    baseline: Arm
    methods: Mapping[str, Arm]
    accountings: tuple[Accounting, ...]
    baseline_ends: Ends
    ends: Mapping[str, Ends]


@dataclass(frozen=True)
class MethodSaving:
    """A method's saving at one loss in one accounting, as `mugrow savings` prints it: ends and
    values are nan where there is no number. ``paired`` says whether seeds were."""

    method: str
    loss: float
    accounting: Accounting
    state: State
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
    path: Path,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    methods: Sequence[str] = (),
    source_cost: Cost = 0.0,
    tuning_cost: Cost = 0.0,
    seeds: str | None = None,
    smooth: int = 1,
    length: str | None = None,
) -> Arms:
    """The arms of a table: ``run`` and ``seeds`` are columns, ``baseline`` and ``methods``
    (default: all others) values of ``run``.

    ``source_cost`` is charged to the methods and ``tuning_cost`` to both arms, unless they name
    runs. ``smooth`` is the window in points of a centred running median, for noisy logs. ``length``
    is a column that tells runs of one seed apart, each a whole schedule.

    Raises ``UserError``, in one line, on any table, column, expression or run that does not fit.
    """
    if smooth < 1 or smooth % 2 == 0:
        near = max(1, smooth + 1)
        raise UserError(f"smooth must be an odd number of points, not {smooth}; nearest: {near}")
    points = _points(read_table(path), run, x, loss, seeds, length)
    names = list(dict.fromkeys(points["run"]))
    costs = {"source cost": source_cost, "tuning cost": tuning_cost}
    for name in (baseline, *methods, *_named(costs)):
        if name not in names:
            raise unknown("run", name, names)
    chosen = [name for name in methods or names if name != baseline]
    if not chosen:
        raise UserError(f"{path} has no run but the baseline {baseline!r} to compare with it")
    source = {name: _cost("source cost", source_cost, name) for name in chosen}
    source[baseline] = 0.0 if isinstance(source_cost, float) else source_cost.get(baseline, 0.0)
    tuning = {name: _cost("tuning cost", tuning_cost, name) for name in source}
    if length is not None:
        _check_lengths(points, length)
    runs = {name: _runs(points, name, smooth) for name in source}
    arms = {name: Arm(_longest(name, runs[name]), source[name], tuning[name]) for name in source}
    ends = {name: _ends(name, of_seeds) for name, of_seeds in runs.items()}
    charged = {"target": True, "source": any(source.values()), "full": any(tuning.values())}
    return Arms(
        baseline=arms.pop(baseline),
        methods=arms,
        accountings=tuple(name for name in ACCOUNTINGS if charged[name]),
        baseline_ends=ends.pop(baseline),
        ends=ends,
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
        _row(name, arms.baseline, method, saving)
        for name, method in arms.methods.items()
        for saving in compare(arms.baseline, method, rule, paired=_paired(arms.baseline, method))
        if saving.accounting in arms.accountings
    ]


def savings(
    table: str | Path,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    methods: Sequence[str] = (),
    at: Sequence[float] = (),
    source_cost: Cost = 0.0,
    tuning_cost: Cost = 0.0,
    seeds: str | None = None,
    smooth: int = 1,
    length: str | None = None,
) -> list[MethodSaving]:
    """Compute saved, on a table of loss curves (CSV, Parquet or JSON lines) with a row a logged
    point: what `mugrow savings` prints, one for each method, loss and accounting. Arguments are
    those of ``read_arms``, and the losses ``at`` which to compare, by default the baseline's last.

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
    path = Path(table)
    arms = read_arms(
        path, run=run, x=x, loss=loss, baseline=baseline, methods=methods, source_cost=source_cost,
        tuning_cost=tuning_cost, seeds=seeds, smooth=smooth, length=length,
    )  # fmt: skip
    return savings_of(arms, at)


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
    return [name for cost in costs.values() if not isinstance(cost, float) for name in cost]


def _cost(what: str, cost: Cost, name: str) -> float:
    value = cost if isinstance(cost, float) else cost.get(name, 0.0)
    if not 0 <= value < math.inf:
        raise UserError(f"{what} must be a finite number, at least 0, not {value}")
    return value


def _points(
    table: pd.DataFrame, run: str, x: str, loss: str, seeds: str | None, length: str | None
) -> pd.DataFrame:
    """The table's logged points as columns run, seed, length, x, loss."""
    runs = column(table, run)
    if runs.isna().any():
        raise UserError(f"column {run!r} names no run in row {int(runs.isna().argmax())}")
    return pd.DataFrame(
        {
            "run": runs.astype(str),
            "seed": 0 if seeds is None else pd.factorize(column(table, seeds))[0],
            "length": 0 if length is None else pd.factorize(column(table, length))[0],
            "x": numbers(table, x),
            "loss": numbers(table, loss),
        }
    )


def _check_lengths(points: pd.DataFrame, length: str) -> None:
    """A column with another value in every row of a run is measured along it, and no length."""
    for name, rows in points.groupby("run", sort=False):
        sizes = rows.groupby("seed")["length"].agg(["size", "nunique"])
        if (sizes["size"] == sizes["nunique"]).all() and sizes["size"].max() > MOST_ROWS:
            raise UserError(
                f"column {length!r} has another value in each of the {sizes['size'].max()} rows of "
                f"a seed of {name!r}; --length tells whole runs apart, as planned steps or an id do"
            )


def _runs(points: pd.DataFrame, name: str, smooth: int) -> dict[int, dict[int, Curve]]:
    """By seed the curves of a method's runs, by length."""
    curves: dict[int, dict[int, Curve]] = {}
    for (seed, length), rows in points[points["run"] == name].groupby(["seed", "length"]):
        ordered = rows.sort_values("x", kind="stable")
        losses = ordered["loss"].rolling(smooth, center=True, min_periods=1).median()
        found = curve(ordered["x"], losses)
        if found is None:
            raise UserError(f"run {name!r} has no point with a finite loss and x above 0")
        curves.setdefault(int(str(seed)), {})[int(str(length))] = found
    return curves


def _longest(name: str, runs: Mapping[int, Mapping[int, Curve]]) -> dict[int, Curve]:
    """The curve of each seed's longest run; all have a range of x in common."""
    curves = {
        seed: max(each.values(), key=lambda one: float(one.flops[-1]))
        for seed, each in runs.items()
    }
    if max(one.flops[0] for one in curves.values()) > min(one.flops[-1] for one in curves.values()):
        raise UserError(f"the seeds of run {name!r} share no range of x")
    return curves


def _ends(name: str, runs: Mapping[int, Mapping[int, Curve]]) -> Ends:
    ends: dict[int, dict[int, tuple[float, float]]] = {}
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
