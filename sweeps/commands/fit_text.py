"""A fit as a person reads it: its status first, then what the rows say, then what they predict."""

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from mugrow.sweeps.commands.output import print_table

if TYPE_CHECKING:
    from mugrow.analysis.laws.isoflop import BudgetOptimum
    from mugrow.analysis.laws.result import Allocation, Ends, FitResult
    from mugrow.analysis.laws.selection import FormComparison
    from mugrow.analysis.laws.table_fit import TableFit

Cell = str | float | None
Line = dict[str, Cell]
"""A line of a table, by the heads of its columns."""


def show(found: "TableFit") -> None:
    """Print what ``mugrow fit --json`` prints, as text."""
    for line in lines(found):
        _print(line)
    for title, rows in tables(found).items():
        if rows:
            _print(f"\n{title}")
            print_table(rows)


def lines(found: "TableFit") -> list[str]:
    """The status, and in what way the fit is to be doubted."""
    fit, rows = found.fit, found.rows
    said = [f"{fit.form}: {fit.status}" + (f" ({fit.reason})" if fit.reason else "")]
    said += [f"left out {count} rows: {why}" for why, count in rows.reasons().items()]
    if rows.undecayed:
        said.append(f"{rows.undecayed} rows are undecayed: their learning rate was still high")
    counts = f"{fit.n_rows} rows in {fit.n_groups} groups"
    facts = {
        "objective": fit.objective,
        "delta": fit.delta,
        "starts": fit.starts,
        "starts at the optimum": fit.starts_at_optimum,
        "condition": fit.condition,
        "residual rms": fit.residual_rms,
    }
    shown = [f"{name} {value:.6g}" for name, value in facts.items() if finite(value) is not None]
    said.append("; ".join([counts, *shown]))
    if fit.bootstrap.resamples:
        of_all = f"{fit.bootstrap.converged} of {fit.bootstrap.resamples}"
        said.append(f"{of_all} resamples converged")
    said += [f"caution: {one}" for one in found.cautions]
    return said + [f"note: {one}" for one in found.notes]


def tables(found: "TableFit") -> dict[str, list[Line]]:
    """Tables by title; an empty one has nothing to show."""
    fit = found.fit
    slopes: Line = {f"against ln {name}": finite(slope) for name, slope in fit.slopes.items()}
    budgets = getattr(fit.extras, "budgets", ())
    return {
        "forms, fitted without the largest runs": _comparison(found.selection),
        "optimum of each budget": [_budget(one) for one in budgets],
        "parameters": [_parameter(fit, name) for name in fit.params],
        "slopes of the residuals": [slopes] if slopes else [],
        "predicted loss": [
            {**one.at, "loss": finite(one.loss), **_ends({"loss": one.interval})}
            for one in fit.predictions
        ],
        "lowest loss for the compute": [_allocation(one) for one in fit.optimal],
    }


def _comparison(comparison: "FormComparison | None") -> list[Line]:
    if comparison is None:
        return []
    small: Line = {
        "form": "the best small model",
        "status": "",
        "ARE": finite(comparison.baseline_are),
    }
    forms: list[Line] = [
        {
            "form": one.form + (" ← winner" if one.form == comparison.winner else ""),
            "status": one.status,
            "ARE": finite(one.are),
        }
        for one in comparison.scores
    ]
    return [*forms, small]


def _parameter(fit: "FitResult", name: str) -> Line:
    shown: Line = {"parameter": name, "value": f"{fit.params[name]:.6g}"}
    if name in fit.standard_errors:
        low, high = fit.intervals.get(name) or (None, None)
        error = finite(fit.standard_errors[name])
        shown |= {"standard error": error, "95 % from": finite(low), "to": finite(high)}
    return shown


def _budget(one: "BudgetOptimum") -> Line:
    return {
        "c": one.c,
        "n": finite(one.n),
        "d": finite(one.d),
        "standard error of ln n": finite(one.n_se),
        "loss": finite(one.loss),
        "rows": str(one.rows),
        "status": one.status,
    }


def _allocation(one: "Allocation") -> Line:
    shown: Line = {
        "c": one.c,
        "n": finite(one.n),
        "d": finite(one.d),
        "tokens_per_parameter": finite(one.tokens_per_parameter),
        "loss": finite(one.loss),
    }
    return shown | _ends(one.interval)


def _ends(intervals: "Mapping[str, Ends | None]") -> Line:
    """The ends of intervals, by the name of what they are of."""
    return {
        f"{name} {side}": finite(end)
        for name, pair in intervals.items()
        if pair
        for side, end in zip(("from", "to"), pair, strict=True)
    }


def finite(value: float | None) -> float | None:
    """None for a number that does not exist, or an end that is open: printed as ``–``."""
    return value if value is not None and math.isfinite(value) else None


def _print(text: str) -> None:
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(escape(text))
