"""What a fit is given, checked: columns of positive numbers, and options that the form knows.

A table that cannot be used ends here in one line that names the row; whether a usable table can
tell a law's parameters apart is a matter for the status of the fit.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.form import Form, Options, Points, Pointwise
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError, unknown


def check_points(form: Form, points: Mapping[str, npt.ArrayLike]) -> Points:
    """The form's variables and ``loss`` as float64 (rows,); ``UserError`` where they are not."""
    zeros = form.law.may_be_zero if isinstance(form.law, Pointwise) else form.variables
    columns = {}
    for name in (*form.variables, "loss"):
        if name not in points:
            raise UserError(f"form {form.name!r} needs a column {name!r}")
        columns[name] = _numbers(name, points[name], may_be_zero=name in zeros)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"columns differ in length: {lengths}")
    if not lengths["loss"]:
        raise UserError("there are no rows to fit")
    return columns


def _numbers(name: str, values: npt.ArrayLike, *, may_be_zero: bool) -> Array:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"column {name!r} holds something that is not a number") from None
    if column.ndim != 1:
        raise UserError(f"column {name!r} must have one value a row, not shape {column.shape}")
    good = np.isfinite(column) & ((column >= 0) if may_be_zero else (column > 0))
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        least = "at least 0" if may_be_zero else "above 0"
        raise UserError(f"{name} of row {row} must be a finite number {least}, not {column[row]}")
    return column


def check_options(form: Form, law: Pointwise, options: Options, rows: int) -> None:
    """Raise the ``UserError`` of an option that this form or table cannot follow."""
    if options.delta is not None and not options.delta > 0:
        raise UserError(f"delta must be above 0, not {options.delta}")
    _check_resampling(options, rows)
    for name, value in options.fixed.items():
        if name not in form.params:
            raise unknown(f"parameter of form {form.name!r}:", name, form.params)
        if not np.isfinite(value) or (name in law.positive and not value > 0):
            kind = "finite number above 0" if name in law.positive else "finite number"
            raise UserError(f"{name} must be fixed at a {kind}, not {value}")
    if set(form.params) <= set(options.fixed):
        raise UserError(f"all parameters of form {form.name!r} are fixed; nothing is left to fit")
    for point in options.predict:
        if len(point) != len(form.variables):
            raise UserError(
                f"form {form.name!r} predicts at {','.join(form.variables)}: "
                f"{len(form.variables)} numbers, not {len(point)}"
            )
        for name, value in zip(form.variables, point, strict=True):
            _numbers(name, [value], may_be_zero=name in law.may_be_zero)
    if options.optimal and law.optimal is None:
        raise UserError(f"form {form.name!r} has no optimal allocation of compute")
    _check_budgets(options)


NO_MEANING = {
    "fixed": "its parameters are not fitted apart",
    "predict": "it predicts no loss from single rows; use a form such as chinchilla",
    "optimal": "it gives no allocation; use a form such as isoflop or chinchilla",
}


def check_procedure(form: str, points: Points, options: Options, *without: str) -> None:
    """``UserError`` where columns are not above 0, or an option does not fit the form or table.

    For laws that are procedures: ``without`` names the options that have no meaning for this one.
    ``lr`` may be 0.
    """
    for name in without:
        if len(getattr(options, name)):
            raise UserError(f"form {form!r} has no --{name}: {NO_MEANING[name]}")
    for name, column in points.items():
        if name != "lr" and not column.min() > 0:
            row = int(column.argmin())
            raise UserError(f"{name} of row {row} must be above 0, not {column[row]:g}")
    _check_resampling(options, len(points["loss"]))
    _check_budgets(options)


def _check_resampling(options: Options, rows: int) -> None:
    if options.bootstrap < 0:
        raise UserError(f"bootstrap must be at least 0 resamples, not {options.bootstrap}")
    if options.groups is not None and len(options.groups) != rows:
        raise UserError(f"there are {len(options.groups)} groups for {rows} rows")


def _check_budgets(options: Options) -> None:
    for flops in options.optimal:
        if not (np.isfinite(flops) and flops > 0):
            raise UserError(f"a budget must be a finite number of FLOPs above 0, not {flops}")
