"""Numbers as people and programs write them in the cells of a table.

``3.41``, ``1e-3``, ``10,000,000``, ``10_000_000``, ``1.3B``, ``4.6M``: thousands may be grouped by
a comma, an apostrophe, an underscore or a blank, and one letter may multiply (k, M, B or G, T, P).
``NaN`` and ``Infinity`` are values that are not finite; ``NA``, ``null``, ``-`` and nothing at all
are no value. The difference matters: a loss of NaN is a run that diverged, no loss is a row that
says nothing of it.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

Truths = npt.NDArray[np.bool_]

BLANK = frozenset({"", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "–"})
NOT_FINITE = {
    **dict.fromkeys(("nan", "+nan", "-nan"), math.nan),
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity"), math.inf),
    **dict.fromkeys(("-inf", "-infinity", "-1.#inf"), -math.inf),
    **dict.fromkeys(("1.#inf", "+1.#inf"), math.inf),  # as Windows writes them
    **dict.fromkeys(("1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind"), math.nan),
}
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15}
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:([,_' \u00a0\u2009\u202f’])\d{3})(?:\1\d{3})*(?:\.\d*)?")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+(?:e[+-]?\d+)?", re.IGNORECASE)


def number(text: str) -> float | None:
    """The finite number that a text is, or None.

    >>> number("1.3B"), number("10,000,000"), number("3e17"), number("d512")
    (1300000000.0, 10000000.0, 3e+17, None)
    """
    text = text.strip().replace("−", "-")
    factor = SUFFIXES.get(text[-1:].lower(), 1.0)
    digits = text[:-1].rstrip() if factor != 1 else text
    if GROUPED.fullmatch(digits):
        digits = re.sub(r"[^\d.+-]", "", digits)
    elif not NUMBER.fullmatch(digits):
        return None
    # through the exponent, so that 4.6M is 4600000 and not a neighbour of it
    shifted = f"{digits}e{round(math.log10(factor))}"
    value = float(shifted) if _plain(digits) else float(digits) * factor
    return value if math.isfinite(value) else None


def _plain(digits: str) -> bool:
    return "e" not in digits.lower()


def amount(text: str) -> float:
    """The number of a command line, which may have a suffix; ``UserError`` for anything else."""
    value = number(text)
    if value is None:
        value = NOT_FINITE.get(text.strip().lower())
    if value is None:
        raise UserError(f"not a number: {text!r}; numbers are written 1300000000, 1.3e9 or 1.3B")
    return value


IN_NAME = re.compile(
    r"(?<![\d.])((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[kmbgtp]?)(?![a-z\d.])", re.IGNORECASE
)


def in_names(names: Sequence[str]) -> list[float] | None:
    """The numbers above 0 by which names differ, and by nothing else: 64 and 128 of ``w64`` and
    ``w128``. None where they are not two such names at least.

    >>> in_names(["gpt2-124M", "gpt2-1.5B"]), in_names(["w64-s1", "w128-s2"]), in_names(["w64"])
    ([124000000.0, 1500000000.0], None, None)
    """
    apart = list(dict.fromkeys(names))
    if len({IN_NAME.sub("#", name) for name in apart}) > 1:
        return None
    by_place = list(zip(*(IN_NAME.findall(name) for name in apart), strict=True))
    varied = [place for place in by_place if len(set(place)) > 1]
    if len(varied) != 1:
        return None
    values = {name: number(text) for name, text in zip(apart, varied[0], strict=True)}
    found = [value for name in names if (value := values[name])]
    return found if len(found) == len(names) else None


def is_blank(cell: object) -> bool:
    """Whether a cell holds nothing: null, or a word for it. A NaN of a column of numbers is what
    an empty cell leaves there."""
    if isinstance(cell, str):
        return cell.strip().lower() in BLANK
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


@dataclass(frozen=True, eq=False)
class Cells:
    """The numbers of a column, nan where there is none; ``nan`` marks the rows whose cell says so
    in words (NaN, Infinity), ``wrong`` is the first row that holds anything else, or None."""

    values: Array
    nan: Truths
    wrong: int | None
    suffixed: bool


LOOKED_AT = 1000  # rows
FEW = 6  # values of a column that may say what a row's loss is of


def has_few(column: pd.Series) -> bool:
    """Whether a column has a few values, as far as its first rows say."""
    return column.iloc[:LOOKED_AT].astype(str).nunique() <= FEW


def by_value(column: pd.Series) -> tuple[npt.NDArray[np.integer], pd.Series] | None:
    """The number of each row's value, and the values; a long column has few texts, so what is done
    to a text is done once. None for a column of objects, where 1, 1.0 and True would be one."""
    if column.dtype == object:
        return None
    if isinstance(column.dtype, pd.CategoricalDtype) and not column.hasnans:
        own = column.cat.codes.to_numpy()
        present = pd.unique(own)  # in the order of the rows
        if (present == np.arange(len(present))).all():
            return own, pd.Series(column.cat.categories[: len(present)])
        place = np.zeros(len(column.cat.categories), dtype=own.dtype)
        place[present] = np.arange(len(present))
        return place[own], pd.Series(column.cat.categories[present])
    codes, values = pd.factorize(column, use_na_sentinel=False)
    return codes, pd.Series(values)


def parse(column: Iterable[object]) -> Cells:
    """The cells of a column: texts, numbers and nulls."""
    if isinstance(column, pd.Series) and (apart := by_value(column)) is not None:
        codes, distinct = apart
        found = _parsed(distinct)
        wrong = None if found.wrong is None else int(np.argmax(codes == found.wrong))
        return Cells(found.values[codes], found.nan[codes], wrong, found.suffixed)
    return _parsed(column)


def _parsed(column: Iterable[object]) -> Cells:
    known: dict[str, tuple[float, bool, bool]] = {}
    values, words, wrong, suffixed = [], [], None, False
    for row, cell in enumerate(column):
        value, word, right = math.nan, False, True
        if isinstance(cell, str):
            if cell not in known:
                known[cell] = _text(cell)
            value, word, right = known[cell]
        elif isinstance(cell, bool | np.bool_) or not isinstance(
            cell, int | float | np.integer | np.floating
        ):
            right = is_blank(cell)
        else:
            value = float(cell)
        if not right and wrong is None:
            wrong = row
        values.append(value)
        words.append(word)
    suffixed = any(one.strip()[-1:].lower() in SUFFIXES for one in known if not is_blank(one)
                   and number(one) is not None)  # fmt: skip
    return Cells(np.array(values, dtype=np.float64), np.array(words, dtype=bool), wrong, suffixed)


def _text(cell: str) -> tuple[float, bool, bool]:
    """The value, whether it is a word for what is not finite, and whether it is a value at all."""
    word = cell.strip().lower()
    if word in NOT_FINITE:
        return NOT_FINITE[word], True, True
    if word in BLANK:
        return math.nan, False, True
    value = number(cell)
    return (math.nan, False, False) if value is None else (value, False, True)
