"""Savings on anyone's training logs: a CSV, Parquet or JSON-lines table, a row a logged point.

``x`` is what was paid (FLOPs, tokens, hours) and ``x`` and ``loss`` may be arithmetic on columns,
as in ``6 * params * tokens``. Such an expression is parsed first, and anything that is not a
column, a number, ``+ - * /`` or a bracket is refused, so no table or command line runs code.
"""

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.savings import Arm, Curve, Saving, baseline_final, compare, curve, fixed
from analysis.stats import NOTHING
from bench.spec import UserError, unknown

READERS: Mapping[str, Callable[..., Any]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": partial(pd.read_json, lines=True),
    ".json": partial(pd.read_json, lines=True),
}
ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Constant),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UAdd, ast.USub),
)


def table_savings(
    path: Path,
    *,
    run: str,
    x: str,
    loss: str,
    baseline: str,
    methods: Sequence[str] = (),
    at: Sequence[float] = (),
    source_cost: float = 0.0,
    tuning_cost: float = 0.0,
    seeds: str | None = None,
    smooth: int = 1,
) -> list[dict[str, Any]]:
    """Savings of methods against a baseline, a row for each (method, loss, accounting).

    ``run`` and ``seeds`` are columns, ``baseline`` and ``methods`` (default: all others) values of
    ``run``, ``at`` losses (default: the baseline's final one). ``source_cost`` is charged to the
    methods and ``tuning_cost`` to both arms, in units of ``x``; an accounting is listed once
    something is charged in it. ``smooth`` is the window in points of a centred running median, for
    noisy logs. Without ``seeds`` there is no interval. What does not exist is None.

    Raises ``UserError``, in one line, on any table, column, expression or run that does not fit.
    """
    _check_numbers(at, source_cost, tuning_cost, smooth)
    points = _points(read_table(path), run, x, loss, seeds)
    names = list(dict.fromkeys(points["run"]))
    for name in (baseline, *methods):
        if name not in names:
            raise unknown("run", name, names)
    arms = {name: _curves(points, name, smooth) for name in (baseline, *(methods or names))}
    base = Arm(arms.pop(baseline), tuning_flops=tuning_cost)
    rule = fixed(at) if at else baseline_final
    charged = {"target": True, "source": source_cost > 0, "full": tuning_cost > 0}
    rows = []
    for name, curves in arms.items():
        n_seeds = len(set(base.curves) & set(curves))
        if not n_seeds:
            raise UserError(f"runs {baseline!r} and {name!r} have no seed in common")
        savings = compare(base, Arm(curves, source_cost, tuning_cost), rule)
        rows += [_row(name, n_seeds, saving) for saving in savings if charged[saving.accounting]]
    return rows


def _check_numbers(
    at: Sequence[float], source_cost: float, tuning_cost: float, smooth: int
) -> None:
    for name, value in (("source cost", source_cost), ("tuning cost", tuning_cost)):
        if not 0 <= value < math.inf:
            raise UserError(f"{name} must be a finite number, at least 0, not {value}")
    for value in at:
        if not math.isfinite(value):
            raise UserError(f"a loss to compare at must be a finite number, not {value}")
    if smooth < 1 or smooth % 2 == 0:
        near = max(1, smooth + 1)
        raise UserError(f"smooth must be an odd number of points, not {smooth}; nearest: {near}")


def _points(table: pd.DataFrame, run: str, x: str, loss: str, seeds: str | None) -> pd.DataFrame:
    """The table's logged points as columns run, seed, x, loss."""
    return pd.DataFrame(
        {
            "run": _column(table, run).astype(str),
            "seed": 0 if seeds is None else pd.factorize(_column(table, seeds), sort=True)[0],
            "x": evaluate(table, x),
            "loss": evaluate(table, loss),
        }
    )


def read_table(path: Path) -> pd.DataFrame:
    """The table at a path, by its suffix. ``UserError`` where there is none or it is unreadable."""
    if path.suffix not in READERS:
        raise UserError(f"cannot read {path}: a table is one of {', '.join(READERS)}")
    if not path.is_file():
        raise UserError(f"there is no table {path}")
    try:
        table: pd.DataFrame = READERS[path.suffix](path)
    except (ValueError, OSError) as error:  # pandas and pyarrow parse errors are ValueErrors
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if table.empty:
        raise UserError(f"{path} has no rows")
    return table


def evaluate(table: pd.DataFrame, expression: str) -> pd.Series:
    """A column, or arithmetic on columns, as numbers; ``UserError`` on anything else."""
    if expression in table.columns:
        return _numbers(table, expression)
    names = _names(expression)
    if not names:
        raise UserError(f"{expression!r} names no column of the table")
    numbers = pd.DataFrame({name: _numbers(table, name) for name in names})
    try:
        return pd.Series(numbers.eval(expression), dtype=float)
    except (ArithmeticError, RecursionError) as error:
        raise UserError(f"{expression!r} cannot be computed: {error}") from error


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    column = _column(table, name)
    try:
        return pd.to_numeric(column).astype(float)
    except (TypeError, ValueError) as error:
        raise UserError(f"column {name!r} is not a number in every row") from error


def _names(expression: str) -> list[str]:
    """Columns an expression uses; ``UserError`` if it is more than arithmetic."""
    try:
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{expression!r} is neither a column nor arithmetic on columns") from error
    for node in nodes:
        number = not isinstance(node, ast.Constant) or type(node.value) in (int, float)
        if not isinstance(node, ARITHMETIC) or not number:
            raise UserError(
                f"{expression!r} is not plain arithmetic on columns: {type(node).__name__} "
                "is not one of + - * / ( ), numbers and columns"
            )
    return [node.id for node in nodes if isinstance(node, ast.Name)]


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table.columns:
        raise unknown("column", name, [str(column) for column in table.columns])
    return table[name]


def _curves(points: pd.DataFrame, name: str, smooth: int) -> dict[int, Curve]:
    """A run's curve for each seed, over the same range of x in all of them."""
    curves = {}
    for seed, rows in points[points["run"] == name].groupby("seed"):
        ordered = rows.sort_values("x", kind="stable")
        losses = ordered["loss"].rolling(smooth, center=True, min_periods=1).median()
        found = curve(ordered["x"], losses)
        if found is None:
            raise UserError(f"run {name!r} has no point with a finite loss and x above 0")
        curves[int(str(seed))] = found
    if max(one.flops[0] for one in curves.values()) > min(one.flops[-1] for one in curves.values()):
        raise UserError(f"the seeds of run {name!r} share no range of x")
    return curves


def _row(method: str, n_seeds: int, saving: Saving) -> dict[str, Any]:
    speedup, saved = saving.speedup or NOTHING, saving.saving or NOTHING
    numbers = {
        "speedup": speedup.value,
        "speedup_lo": speedup.lo,
        "speedup_hi": speedup.hi,
        "saving": saved.value,
        "saving_lo": saved.lo,
        "saving_hi": saved.hi,
    }
    return {
        "method": method,
        "loss": saving.at_loss,
        "accounting": saving.accounting,
        "state": saving.state,
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        "bound": saving.bound,
        "n_seeds": n_seeds,
    }
