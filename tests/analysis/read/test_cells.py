"""Numbers as they are written in cells."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.read.cells import amount, number, parse
from mugrow.bench.spec import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.41", 3.41),
        ("1e-3", 1e-3),
        ("3E17", 3e17),
        (" 7 ", 7.0),
        ("+.5", 0.5),
        ("10,000,000", 1e7),
        ("10_000_000", 1e7),
        ("10 000 000", 1e7),
        ("10'000.5", 10000.5),
        ("1.3B", 1.3e9),
        ("4.6M", 4600000.0),
        ("4.6 m", 4600000.0),
        ("350k", 350e3),
        ("2T", 2e12),
        ("1.5e3k", 1.5e6),
        ("1e-3B", 1e6),
        ("−2.5", -2.5),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert number(text) == value
    assert amount(text) == value


@pytest.mark.parametrize(
    "text", ["", "d512", "1,00", "1,0000", "0,123", "1.2.3", "e5", "B", "1e999", "12:30", "1.3Q"]
)
def test_no_numbers(text: str) -> None:
    assert number(text) is None
    with pytest.raises(UserError, match="not a number"):
        amount(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_writes_is_read_to_the_last_bit(value: float) -> None:
    assert number(repr(value)) == value


def test_a_column() -> None:
    found = parse(["1", "NaN", "", None, 2.5, "-inf", "N/A"])
    assert [one for one in found.values if not math.isnan(one)] == [1, 2.5, -math.inf]
    assert found.nan.tolist() == [False, True, False, False, False, True, False]
    assert (found.wrong, found.suffixed) == (None, False)
    assert parse(["1", "abc", "d"]).wrong == 1
    assert parse([True]).wrong == 0
    assert parse(["1k", "2"]).suffixed


@given(st.lists(st.sampled_from(["1", "NaN", "", None, "-inf", "1k", "abc", "001", " 7 "])))
def test_a_column_of_texts_is_read_by_its_values(texts: list[str | None]) -> None:
    """As cell by cell, with each text looked at once."""
    each, once = parse(texts), parse(pd.Series(texts, dtype="str"))
    np.testing.assert_array_equal(once.values, each.values)
    np.testing.assert_array_equal(once.nan, each.nan)
    assert (once.wrong, once.suffixed) == (each.wrong, each.suffixed)
