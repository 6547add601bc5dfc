"""Expressions compute what pandas would, and nothing but expressions is computed."""

import contextlib
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.read.expression import column, condition, numbers
from mugrow.bench.spec import UserError

TABLE = pd.DataFrame(
    {
        "step": [1.0, 2.0, 4.0],
        "n": [10, 20, 30],
        "Training FLOP": [6e3, 6e4, 6e5],
        "corpus": ["c4", 'a"b', None],
        "done": [True, False, True],
        "digits": ["1", "2", "3"],
        "<b>'π'</b>": [1, 2, 3],
        "day": pd.to_datetime(["2026-01-01"] * 3),
        "kind": pd.Categorical(["x", "y", "x"]),
        "size": pd.array([1, None, 3], dtype="Int64"),
    }
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("6 * n * step", [60, 240, 720]),
        ("`Training FLOP` / (6 * n)", [100, 500, 3333 + 1 / 3]),
        ("Training FLOP", [6e3, 6e4, 6e5]),
        ("-step ** 2 + +n", [9, 16, 14]),
        ("log(exp(n)) - sqrt(step * step)", [9, 18, 26]),
        ("`<b>'π'</b>` * 2", [2, 4, 6]),
        ("<b>'π'</b>", [1, 2, 3]),
        ("digits + 0", [1, 2, 3]),
        ("size * 2", [2, np.nan, 6]),
        ("step / 0", [np.inf] * 3),
        ("0 * 9**9**9**9**9 + log(-n)", [np.nan] * 3),
    ],
)
def test_arithmetic(expression: str, expected: list[float]) -> None:
    np.testing.assert_allclose(numbers(TABLE, expression), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("step < 3", [1, 1, 0]),
        ("1 < step <= 2", [0, 1, 0]),
        ("step < 3 & n > 10", [0, 1, 0]),  # as in pandas; in Python & binds before <
        ("step > 3 | n == 10 and not done", [0, 0, 1]),
        ("~done", [0, 1, 0]),
        ("done == True", [1, 0, 1]),
        ('corpus == "c4"', [1, 0, 0]),
        ("'c4' != corpus", [0, 1, 1]),
        ('corpus == "a\\"b"', [0, 1, 0]),
        ("corpus == '`step` & |'", [0, 0, 0]),
        ("kind == 'x' and `Training FLOP` < 1e5", [1, 0, 0]),
        ("corpus == kind", [0, 0, 0]),
        ("size == size", [1, 0, 1]),
        ("digits == '2'", [0, 1, 0]),
        ("1 < 2", [1, 1, 1]),
    ],
)
def test_conditions(expression: str, expected: list[int]) -> None:
    assert condition(TABLE, expression).tolist() == [bool(one) for one in expected]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("steps", "unknown column 'steps'; did you mean 'step'"),
        ("6 * `Training FLOPs`", "unknown column 'Training FLOPs'; did you mean 'Training FLOP'"),
        ("corpus", "column 'corpus' is not a number in every row"),
        ("6 * corpus", "column 'corpus' is not a number in every row"),
        ("day", "column 'day' is not a number"),
        ("6", "names no column"),
        ("'c4'", "takes a text"),
        ("step < 3", "takes a text or a condition"),
        ("step ^ 2", "BitXor|BinOp"),
        ("step.max()", "not an expression on columns: Call"),
        ("__import__('os').system('true')", "Call"),
        ("step.__class__", "Attribute"),
        ("eval('1')", "Call"),
        ("log(step, 2)", "Call"),
        ("log(*step)", "number|Starred|Call"),
        ("step if 1 else n", "IfExp"),
        ("[step][0]", "Subscript"),
        ("(step := n)", "NamedExpr"),
        ("[step for step in n]", "ListComp"),
        ("lambda: step", "Lambda"),
        ("f'{step}'", "JoinedStr"),
        ("1j * step", "Constant"),
        ("True * step", "condition for a number"),
        ("step = 5", "neither a column nor"),
        ("@pd", "neither a column nor"),
        ("(step", "neither a column nor"),
        ("step; n", "neither a column nor"),
        ("`step", "neither a column nor"),
        ("'\\d' + step", "neither a column nor"),
        ("", "neither a column nor"),
        ("-" * 5000 + "step", "neither a column nor"),
        ("1" * 5000 + "* step", "neither a column nor"),
    ],
)
def test_what_is_no_number(expression: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(")", r"\)")) as caught:
        numbers(TABLE, expression)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("step", "is not a condition"),
        ("corpus", "is not a condition"),
        ("step and done", "is not a condition"),
        ("not n", "is not a condition"),
        ('corpus < "c4"', "orders text"),
        ('step == "1"', "column 'step' is no text"),
        ("corpus == 4", "one side is no text"),
        ('corpus.str.contains("c")', "Call"),
        ("corpus in ('c4',)", "Compare"),
    ],
)
def test_what_is_no_condition(expression: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        condition(TABLE, expression)


def test_no_number_is_too_large_to_compute() -> None:
    begin = time.perf_counter()
    assert np.isinf(numbers(TABLE, "step * 9**9**9**9**9**9")).all()
    assert time.perf_counter() - begin < 1.0


WORDS = ["step", "n", "`Training FLOP`", "corpus", "done", "'c4'", "1", "2.5", "log", "not"]
SIGNS = ["and", "or", *"+-*/()<&|~`'.[],", "**", "=="]
TOKENS = st.sampled_from(WORDS + SIGNS)


@given(st.one_of(st.text(max_size=30), st.lists(TOKENS, max_size=9).map(" ".join)))
def test_no_expression_escapes(expression: str) -> None:
    with contextlib.suppress(UserError):
        assert numbers(TABLE, expression).shape == (3,)
    with contextlib.suppress(UserError):
        assert condition(TABLE, expression).dtype == bool


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        inner.map("sqrt({})".format),
    )


LEAVES = st.sampled_from(["step", "n", "`Training FLOP`", "2.5", "3"])


@given(st.recursive(LEAVES, combined, max_leaves=6).map("step + {}".format))
def test_pandas_agrees(expression: str) -> None:
    table = TABLE[["step", "n", "Training FLOP"]].astype(float)
    with np.errstate(all="ignore"):
        theirs = table.eval(expression, engine="python")
    np.testing.assert_allclose(numbers(table, expression), theirs, rtol=1e-12)


def test_a_columns_name_may_be_in_backticks():
    table = pd.DataFrame({"Model Size": [1.0], "`odd`": [2.0]})
    assert column(table, "`Model Size`").tolist() == [1.0]
    assert column(table, "`odd`").tolist() == [2.0]
    with pytest.raises(UserError, match="did you mean 'Model Size'"):
        column(table, "`Model Sise`")
