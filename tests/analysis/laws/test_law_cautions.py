"""What a fit's own rows give reason to doubt: other units, lone rows, several laws in a table."""

import numpy as np
import pandas as pd
import pytest

import mugrow as api

NAMES = {"n": "n", "d": "d", "loss": "loss"}


@pytest.fixture(scope="module")
def table():
    rows = [(n, d) for n in (1e7, 3e7, 1e8, 3e8) for d in (2e8, 6e8, 2e9, 6e9)]
    frame = pd.DataFrame(rows, columns=["n", "d"])
    noise = np.random.default_rng(0).normal(0, 0.003, len(frame))
    frame["loss"] = (1.7 + 400 * frame["n"] ** -0.34 + 410 * frame["d"] ** -0.28) * np.exp(noise)
    return frame


def said(frame):
    return api.fit(frame, "chinchilla", **NAMES).cautions


def test_rows_of_one_law_are_not_doubted(table):
    kinds = np.arange(len(table)) % 2
    assert said(table.assign(corpus=kinds, width=table["n"] / 1e4, id=range(len(table)))) == ()


def test_rows_in_two_units_are_named(table):
    mixed = table.assign(n=table["n"].where(table["n"] > 3e7, table["n"] / 1e6))
    (one,) = said(mixed)
    assert one == "n has no row between 30 and 1e+08: are all in the same units?"


def test_a_row_far_from_the_law_is_named(table):
    (one,) = said(table.assign(loss=table["loss"].where(table.index != 3, 6.0)))
    assert one.startswith("row 3 is far from the law, which has 4.1")
    assert one.endswith("where its loss is 6: did its run end?")


def test_two_laws_in_a_table_are_named_by_the_column_that_tells_them_apart(table):
    other = table.assign(n=table["n"] * 1.7, loss=table["loss"] + 0.5, corpus="code", seed=1)
    both = pd.concat([table.assign(corpus="novels", seed=0), other], ignore_index=True)
    found = said(both.drop(columns="seed"))
    assert any("losses lie off the law by corpus (novels -" in one for one in found)
