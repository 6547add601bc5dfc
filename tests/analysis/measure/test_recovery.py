"""Spikes, peaks and the tokens until a loss is back at its source's."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_methods import METHODS, SOURCE_LOSS, grown_loss, many_methods

from mugrow.analysis.measure.recovery import (
    TOLERANCE,
    Recovery,
    grown_curves,
    recoveries,
    tokens_until_back,
)
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.report import tables
from mugrow.analysis.summary import summarize

TOKENS = np.array([0.0, 100.0, 200.0, 300.0])


def of_study(directory: Path) -> dict[str, Recovery]:
    return {one.label: one for one in recoveries(many_methods(load(directory)))}


@pytest.mark.parametrize(
    ("above", "tokens"),
    [
        ([0.4, 0.2, -0.2, -0.3], 150.0),  # halfway between two points
        ([0.4, 0.0, -0.2, -0.3], 100.0),
        ([0.0, -0.1, -0.2, -0.3], 0.0),
        ([TOLERANCE / 2, -0.1, -0.2, -0.3], 0.0),  # rounding
        ([0.0, -0.1, 0.3, -0.1], 275.0),  # thrown back later: counted from the peak
        ([0.4, 0.3, 0.2, 0.1], None),
        ([-0.1, -0.1, -0.1, 0.1], None),
    ],
)
def test_tokens_until_back(above: list[float], tokens: float | None) -> None:
    found = tokens_until_back(TOKENS, np.array(above))
    assert found == (tokens if tokens is None else pytest.approx(tokens))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_a_loss_is_back_between_its_peak_and_the_first_point_below(heights: list[float]) -> None:
    above, tokens = np.array(heights), 10.0 * np.arange(len(heights))
    found = tokens_until_back(tokens, above)
    peak = int(above.argmax())
    if found is None:
        assert (above[peak:] > TOLERANCE).all()
    elif found:
        right = int(np.ceil(found / 10 - 1e-9))
        assert peak <= found / 10 <= right
        assert above[right] <= TOLERANCE
        assert (above[peak:right] > TOLERANCE).all()
    else:
        assert above[peak] <= TOLERANCE


def test_spikes_are_those_of_the_study(study_dir: Path) -> None:
    rows = of_study(study_dir)
    assert "scratch" not in rows
    assert "prune" not in rows  # no run finished
    assert len(rows) == len(METHODS) - 1
    assert rows["staged"].spike.value == pytest.approx(0.1)
    assert rows["lemon"].spike.value == pytest.approx(1.1)
    assert rows["lemon"].source_loss.value == SOURCE_LOSS
    assert (rows["lemon"].source, rows["stack"].source) == ("w64-d2", "w128-d1")
    assert rows["lemon"].back == rows["lemon"].seeds == 2


def test_tokens_until_back_are_where_the_formula_crosses(study_dir: Path) -> None:
    place = [method for method, _ in METHODS].index("lemon")
    row = of_study(study_dir)["lemon"]
    assert row.tokens is not None
    batch = 4 * 128
    seeds_apart = (row.tokens.hi - row.tokens.lo) / 12.706205  # Student's, of two seeds
    step = (row.tokens.value - seeds_apart / 2) / batch
    below, above = (grown_loss(place, round(step / 20 + side) * 20) for side in (0.5, -0.5))
    assert below < SOURCE_LOSS < above
    assert row.tokens.lo < row.tokens.value < row.tokens.hi  # the second seed is 0.01 higher


def test_a_source_is_read_at_its_checkpoint(study_dir: Path) -> None:
    """A checkpoint's number counts in the source's schedule, which it may have taken up late."""
    store = load(study_dir)
    sources = store.runs["role"] == "source"
    curves = store.curves
    of_sources = curves[curves["run_id"].isin(store.runs["run_id"][sources])]
    losses = of_sources.groupby(["run_id", "step"])["val_loss"].first()

    def read(runs: object) -> dict[str, float]:
        points = grown_curves(Store(runs, curves, store.trials, store.study))  # type: ignore[arg-type]
        return dict(zip(points["run_id"], points["source_loss"], strict=True))

    source_of = dict(zip(store.runs["run_id"], store.runs["source_run_id"], strict=True))
    assert all(loss == losses[source_of[run], 80] for run, loss in read(store.runs).items())
    late = store.runs.copy()
    late.loc[sources, "spec"] = [
        json.dumps(json.loads(text) | {"first_step": 30}) for text in late.loc[sources, "spec"]
    ]
    assert all(loss == losses[source_of[run], 50] for run, loss in read(late).items())


def test_a_target_whose_source_is_not_in_the_store_has_no_row(study_dir: Path) -> None:
    store = load(study_dir)
    runs = store.runs[store.runs["role"] != "source"]
    assert recoveries(Store(runs, store.curves, store.trials, store.study)) == []


def test_one_seed_that_never_comes_back_leaves_no_mean(study_dir: Path) -> None:
    store = load(study_dir)
    curves = store.curves.copy()
    runs = store.runs
    lost = runs[(runs["role"] == "target") & (runs["method"] == "szp") & (runs["seed"] == 1)]
    rows = curves["run_id"].isin(lost["run_id"])
    curves.loc[rows, "val_loss"] = 9.0
    row = next(
        one
        for one in recoveries(Store(runs, curves, store.trials, store.study))
        if one.label == "szp"
    )
    assert (row.tokens, row.back, row.seeds) == (None, 1, 2)


def test_the_summary_and_the_table_hold_every_row(study_dir: Path) -> None:
    summary = summarize(load(study_dir))
    assert [row.label for row in summary.recovery] == ["hypercloning", "szp"]
    assert all(isinstance(row, Recovery) for row in summary.recovery)
    table = tables.recovery(summary)
    assert [row[1] for row in table.rows] == ["hypercloning", "szp"]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_store_is_searched_once(study_dir: Path) -> None:
    store = load(study_dir)
    assert grown_curves(store) is grown_curves(store)
    other = dataclasses.replace(store, runs=store.runs.iloc[:0])
    assert grown_curves(other).empty
    assert not grown_curves(store).empty
