"""Expressions on a table's columns: ``6 * params * tokens``, ``loss < 3.4 and corpus == "c4"``.

They are written as in pandas: a name is a column, backticks hold a column's name that is no
identifier, ``&`` and ``|`` bind like ``and`` and ``or``. A name need not be whole: ``step`` is
``Step``, ``_step`` or ``train/step`` where one column alone is meant. Texts that are numbers, as
1.3B, are numbers where those are asked for.

An expression is parsed to a syntax tree, and whatever in it is not a column, a number, a text,
arithmetic, a comparison, ``and or not`` or one of ``FUNCTIONS`` is refused: no table and no command
line runs code. Numbers are 64-bit floats, so ``9**9**9**9`` is quickly infinite; where arithmetic
has no answer it gives nan or inf.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.read.cells import parse
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
    return table[column_name(table, name)]


def column_name(table: pd.DataFrame, name: str) -> str:
    """The column that a name means. Raises ``UserError`` where there is none, or several."""
    if name in table.columns:
        return name
    if len(name) > 1 and name.startswith("`") and name.endswith("`"):
        return column_name(table, name[1:-1])
    for same in (_folded, _last):
        found = [str(one) for one in table.columns if same(str(one)) == _folded(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"column {name!r} may be {' or '.join(map(repr, found))}: name one")
    if _folded(name) == "loss" and (found := [one for one in table.columns if one == "Value"]):
        return str(found[0])  # TensorBoard's scalars
    raise unknown("column", name, table.columns)


def _folded(name: str) -> str:
    """A name without case, blanks round it and the underscore of W&B's own columns."""
    return name.strip().casefold().removeprefix("_")


def _last(name: str) -> str:
    """The last part of a name that is a path: ``loss`` of ``train/loss``."""
    return _folded(re.split(r"[/.]", name)[-1])


def names_in(table: pd.DataFrame, expression: str) -> list[str]:
    """The columns that an expression reads. Raises ``UserError`` where it cannot be read."""
    return _Evaluator(table, expression).names()


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

    def names(self) -> list[str]:
        if self.expression in self.table.columns:
            return [self.expression]
        text, quoted = _unquote(self.expression)
        with self._mistakes():
            tree = _parse(text)
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        paths = [
            _path(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner | functions
        ]
        found = [quoted.get(path, path) for path in paths if path is not None]
        return list(dict.fromkeys(column_name(self.table, name) for name in found))

    def _whole(self) -> Value:
        if self.expression in self.table.columns:
            return self.table[self.expression]
        text, quoted = _unquote(self.expression)
        with self._mistakes(), np.errstate(all="ignore"):
            return self._value(_parse(text), quoted)

    @contextmanager
    def _mistakes(self) -> Iterator[None]:
        """What Python says of a text that is no expression, as one line."""
        try:
            yield
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
            case ast.Attribute() if (path := _path(node)) in self.table.columns:
                return self.table[path]
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
        texts = _is_text(one), _is_text(other)
        # texts that are numbers, as 1.3B, beside a number
        as_numbers = all(
            not text or (isinstance(side, pd.Series) and not texts[1 - place] and _reads(side))
            for place, (side, text) in enumerate(zip((one, other), texts, strict=True))
        )
        if as_numbers:
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


def _path(node: ast.expr) -> str | None:
    """The dotted name that a node is, as ``run.name``; None where it is more."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            before = _path(value)
            return None if before is None else f"{before}.{attribute}"
    return None


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


def _reads(series: pd.Series) -> bool:
    """Whether a column of texts is one of numbers."""
    return parse(series).wrong is None


def _column_numbers(series: pd.Series) -> npt.NDArray[np.float64]:
    if series.dtype.kind in "biuf" and isinstance(series.dtype, np.dtype):
        return series.to_numpy(dtype=np.float64)
    found = None if series.dtype.kind in "mMc" else parse(series.astype(object))
    if found is None or found.wrong is not None:
        row = 0 if found is None or found.wrong is None else found.wrong
        raise UserError(
            f"column {series.name!r} is not a number in every row: row {series.index[row]} has "
            f"{str(series.iloc[row])[:40]!r}"
        )
    return found.values
