"""Expressions on a table's columns: ``6 * params * tokens``, ``loss < 3.4 and corpus == "c4"``.

They are written as in pandas: a name is a column, backticks hold a column's name that is no
identifier, ``&`` and ``|`` bind like ``and`` and ``or``. An expression is parsed to a syntax tree,
and whatever in it is not a column, a number, a text, arithmetic, a comparison, ``and or not`` or
one of ``FUNCTIONS`` is refused: no table and no command line runs code. Numbers are 64-bit floats,
so ``9**9**9**9`` is quickly infinite; where arithmetic has no answer it gives nan or inf.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.bench.spec import UserError, unknown

Value = Any  # a column (pd.Series), numbers or truths, one a row or one for all, or a text

ARITHMETIC: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
COMPARISONS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
# a text keeps what is in it; outside of texts, backticks quote and & | are logical
TOKENS = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`([^`]*)`|[&|]""")


def column(table: pd.DataFrame, name: str) -> pd.Series:
    """A column by its name, which may be in backticks as in an expression; ``UserError`` with the
    nearest name where there is none."""
    if name not in table.columns and name.startswith("`") and name.endswith("`"):
        name = name[1:-1]
    if name not in table.columns:
        raise unknown("column", name, table.columns)
    return table[name]


def numbers(table: pd.DataFrame, expression: str) -> npt.NDArray[np.float64]:
    """A column, or arithmetic on columns: a float a row; ``UserError`` on anything else.

    Null is nan. What is not finite stays: the caller knows whether such a row can be left out.
    """
    found = _Evaluator(table, expression).numbers()
    if found.ndim == 0:
        raise UserError(f"{expression!r} names no column of the table")
    return found


def condition(table: pd.DataFrame, expression: str) -> npt.NDArray[np.bool_]:
    """Which rows a condition holds for. Null equals nothing, so it differs from everything."""
    return np.broadcast_to(_Evaluator(table, expression).truths(), len(table))


@dataclass(frozen=True, eq=False)
class _Evaluator:
    """One expression over one table; a syntax node that is not listed here is refused."""

    table: pd.DataFrame
    expression: str

    def numbers(self) -> npt.NDArray[np.float64]:
        return np.asarray(self._number(self._whole()), dtype=np.float64)

    def truths(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self._truth(self._whole()), dtype=bool)

    def _whole(self) -> Value:
        if self.expression in self.table.columns:
            return self.table[self.expression]
        text, quoted = _unquote(self.expression)
        try:
            with np.errstate(all="ignore"):
                return self._value(_parse(text), quoted)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            if isinstance(error, UserError):
                raise
            message = f"{self.expression!r} is neither a column nor an expression on columns"
            raise UserError(message) from error

    def _value(self, node: ast.expr, quoted: Mapping[str, str]) -> Value:
        def value(inner: ast.expr) -> Value:
            return self._value(inner, quoted)

        match node:
            case ast.Name(id=name):
                return column(self.table, quoted.get(name, name))
            case ast.Constant(value=bool() | str() as constant):
                return constant
            case ast.Constant(value=int() | float() as constant):
                return np.float64(constant)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                return ARITHMETIC[type(op)](self._number(value(left)), self._number(value(right)))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(value(operand))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(value(operand))
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return np.logical_not(self._truth(value(operand)))
            case ast.BoolOp(op=op, values=inner):
                combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return _reduce(combine, [self._truth(value(one)) for one in inner])
            case ast.Compare(left=left, ops=ops, comparators=others) if all(
                type(op) in COMPARISONS for op in ops
            ):
                values = [value(one) for one in (left, *others)]
                pairs = zip(values, ops, values[1:], strict=False)
                return _reduce(np.logical_and, [self._compare(*pair) for pair in pairs])
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if (
                name in FUNCTIONS
            ):
                return FUNCTIONS[name](self._number(value(argument)))
        raise UserError(
            f"{self.expression!r} is not an expression on columns: {type(node).__name__} is not "
            f"one of + - * / ** ( ), comparisons, and, or, not, {', '.join(FUNCTIONS)}"
        )

    def _number(self, value: Value) -> Any:
        """Floats, one a row or one for all; ``UserError`` for texts and truths."""
        if isinstance(value, pd.Series):
            return _column_numbers(value)
        if isinstance(value, str) or _is_truth(value):
            raise UserError(f"{self.expression!r} takes a text or a condition for a number")
        return value

    def _truth(self, value: Value) -> Any:
        if not _is_truth(value):
            raise UserError(f"{self.expression!r} is not a condition, as loss < 3.4 is one")
        return value.to_numpy(bool, na_value=False) if isinstance(value, pd.Series) else value

    def _compare(self, one: Value, op: ast.cmpop, other: Value) -> Value:
        compare = COMPARISONS[type(op)]
        if not (_is_text(one) or _is_text(other)):
            sides = [self._truth(v) if _is_truth(v) else self._number(v) for v in (one, other)]
            return compare(*sides)
        if not isinstance(op, ast.Eq | ast.NotEq):
            raise UserError(f"{self.expression!r} orders text; text is compared by == and !=")
        return compare(self._texts(one), self._texts(other))

    def _texts(self, value: Value) -> Any:
        """A text, or one a row with None for what is not text."""
        if isinstance(value, str):
            return value
        if not isinstance(value, pd.Series) or value.dtype.kind in "biufcmM":
            name = f"column {value.name!r}" if isinstance(value, pd.Series) else "one side"
            raise UserError(f"{self.expression!r} compares text with a number: {name} is no text")
        return np.array([one if isinstance(one, str) else None for one in value], dtype=object)


def _unquote(expression: str) -> tuple[str, dict[str, str]]:
    """The expression as Python reads it, and the column each made-up name in it stands for."""
    prefix = "_"
    while prefix in expression:
        prefix += "_"
    quoted: dict[str, str] = {}

    def token(found: re.Match[str]) -> str:
        if found[0] in "&|":
            return " and " if found[0] == "&" else " or "
        if found[1] is None:
            return found[0]
        name = f"{prefix}{len(quoted)}"
        quoted[name] = found[1]
        return f" {name} "

    return TOKENS.sub(token, expression).strip(), quoted


def _parse(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an odd escape or number is a mistake like any other
        return ast.parse(text, mode="eval").body


def _reduce(combine: np.ufunc, values: list[Any]) -> Any:
    return combine.reduce(np.broadcast_arrays(*values))


def _is_truth(value: Value) -> bool:
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"


def _is_text(value: Value) -> bool:
    """A text, or a column that holds one; numbers written as text are text here."""
    if not isinstance(value, pd.Series):
        return isinstance(value, str)
    return value.dtype.kind not in "biuf" and any(isinstance(one, str) for one in value)


def _column_numbers(series: pd.Series) -> npt.NDArray[np.float64]:
    try:
        if series.dtype.kind in "mMc":
            raise TypeError(series.dtype)
        if isinstance(series.dtype, pd.CategoricalDtype):
            series = series.astype(object)
        found = pd.to_numeric(series)
        return found.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"column {series.name!r} is not a number in every row") from error
