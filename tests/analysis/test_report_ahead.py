"""What is drawn ahead counts only where it would be drawn the same at the end."""

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mugrow.analysis.figures import FIGURES, TRANSFER
from mugrow.analysis.read.store import load
from mugrow.analysis.report.ahead import Ahead, draw_ahead, same
from mugrow.analysis.report.drawn import drawing
from mugrow.analysis.summary import summarize
from mugrow.bench.spec import UserError

QUICK = Path("results/reference/quick")


@pytest.fixture(scope="module")
def whole():
    store = load(QUICK)
    return summarize(store), store


def without(store, role):
    """The study before the last run of this role had ended."""
    last = store.runs.index[store.runs["role"] == role][-1:]
    assert len(last)
    return replace(store, runs=store.runs.drop(last))


@pytest.mark.parametrize("name", [name for name, one in FIGURES.items() if one.section == TRANSFER])
def test_figures_on_transfer_are_made_of_that_alone(whole, name):
    summary, store = whole
    alone = SimpleNamespace(transfer=summary.transfer)

    def title_or_reason(*given):
        try:
            return [axes.get_title() for axes in FIGURES[name].function(*given).axes]
        except UserError as reason:
            return str(reason)

    assert title_or_reason(alone, None) == title_or_reason(summary, store)


@pytest.mark.integration
def test_what_is_drawn_ahead_is_what_is_drawn_at_the_end(whole, tmp_path):
    summary, store = whole
    ahead = draw_ahead(QUICK, leave=lambda: False)
    assert {name for name in ahead.drawings if FIGURES[name].section != TRANSFER} == set()
    early = without(store, "target")
    assert ahead.still(summarize(early), early) == ahead.still(summary, store) == ahead.drawings
    for name, drawn in ahead.drawings.items():
        assert drawn == drawing(name, FIGURES[name], summary, store)
    assert ahead.drawings["transfer"].files.keys() == {"svg", "png", "csv"}
    assert ahead.drawings["transfer_batch"].shown.reason
    fewer = without(store, "proxy")
    assert not ahead.still(summarize(fewer), fewer)
    asked = replace(store, study=store.study | {"source": "a checkpoint"})
    assert not ahead.still(summary, asked)


def test_drawing_ahead_ends_when_the_report_is_asked_for(whole):
    assert not draw_ahead(QUICK, leave=lambda: True).drawings


def test_nothing_is_drawn_ahead_of_tables_that_cannot_be_read(whole, tmp_path):
    assert not draw_ahead(tmp_path, leave=lambda: False).still(*whole)
    shutil.copytree(QUICK, tmp_path / "quick")
    (tmp_path / "quick" / "runs.parquet").write_bytes(b"PAR1")
    ahead = draw_ahead(tmp_path / "quick", leave=lambda: False)
    assert not ahead.drawings
    assert not Ahead({"optima": None}, ahead.made_of).still(*whole)


@dataclass(frozen=True, eq=False)
class Part:
    values: np.ndarray
    loss: float = math.nan
    names: tuple[str, ...] = ("a",)


def test_results_are_compared_in_all_their_parts():
    values = np.array([1.0, math.nan, math.inf])
    one = {"part": Part(values)}
    assert same(one, {"part": Part(values.copy())})
    for other in (
        Part(values[:2]),
        Part(np.array([1.0, math.nan, math.nan])),
        Part(values, loss=1.0),
        Part(values, names=("a", "b")),
        Part(values, names=["a"]),
        {"values": values},
    ):
        assert not same(one, {"part": other})
    assert not same(one, one | {"more": 1})
    assert not same(1, 1.0)
    assert same(np.array(["a"]), np.array(["a"]))
