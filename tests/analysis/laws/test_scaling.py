"""The laws of a set of runs are those that a study was built with, and nothing where there is none.

See ``law_studies`` for what the study holds.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_studies import (
    BEST,
    BREAK_EVEN,
    SCRATCH,
    STEPS,
    SZP,
    WIDTHS,
    loss_of,
    params_of,
    run_rows,
    study_rows,
)

from mugrow.analysis.laws import scaling
from mugrow.analysis.laws.growing import difference
from mugrow.analysis.laws.law import DrawnLaw, Law, ScalingLaws
from mugrow.analysis.laws.scaling import scaling_laws
from mugrow.analysis.laws.table_rows import ALL, UNNAMED, Columns, table_rows
from mugrow.analysis.read.plain import to_json
from mugrow.bench.spec import UserError

RESAMPLES = 60


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return study_rows(run_rows())


@pytest.fixture(scope="module")
def found(rows: pd.DataFrame) -> ScalingLaws:
    return scaling_laws(rows, resamples=RESAMPLES)


def law(found: ScalingLaws, label: str) -> Law:
    (one,) = (one for one in found.laws if one.label == label)
    return one


def drawn(found: ScalingLaws, label: str) -> DrawnLaw:
    one = law(found, label).drawn
    assert one is not None
    return one


@pytest.mark.parametrize(("label", "truth"), [("scratch", SCRATCH), ("szp", SZP)])
def test_a_law_predicts_its_truth_whatever_form_was_chosen(
    found: ScalingLaws, label: str, truth: dict[str, float]
) -> None:
    one = law(found, label)
    assert one.status == "converged"
    bands = drawn(found, label).bands
    for band in bands:
        at = np.full(len(band.x), band.at)
        n, d = (band.x, at) if band.against == "n" else (at, band.x)
        expected = [loss_of(truth, *point) for point in zip(n, d, strict=True)]
        np.testing.assert_allclose(band.loss, expected, rtol=0.01)
        assert (band.lo <= band.hi).all()
    assert {band.against for band in bands} == {"n", "d"}
    assert one.fit is not None
    assert one.fit.bootstrap.resamples == RESAMPLES


def test_the_largest_runs_are_marked_with_the_error_of_a_fit_without_them(
    found: ScalingLaws,
) -> None:
    points = drawn(found, "scratch").points
    compute, held = points.n * points.d, points.held_out
    assert held.sum() == 3  # a tenth of 25, rounded up
    assert compute[held].min() > compute[~held].max()
    assert np.isnan(points.unseen[~held]).all()
    unseen = points.unseen[held]
    np.testing.assert_allclose(unseen, points.loss[held], rtol=0.02)
    assert (unseen != points.predicted[held]).all()


def test_the_chosen_form_has_the_lowest_error_and_the_baseline_is_there(found: ScalingLaws) -> None:
    one = law(found, "scratch")
    assert one.fit is not None
    assert one.selection is not None
    best = one.selection.scores[0]
    assert {score.form for score in one.selection.scores} == set(scaling.FORMS)
    assert one.fit.form == one.selection.winner == best.form
    assert best.are is not None
    assert best.are < one.selection.baseline_are


def test_allocations_are_minima_and_say_where_they_extrapolate(
    found: ScalingLaws, rows: Any
) -> None:
    scratch = rows[rows["law"] == "scratch"]
    largest = (6 * scratch["n"] * scratch["d"]).max()
    allocations = drawn(found, "scratch").optimal
    assert [one.c for one in allocations[-2:]] == pytest.approx([largest, 10 * largest])
    for one in allocations:
        assert 6 * one.n * one.d == pytest.approx(one.c)
        low, high = one.interval["n"] or (math.nan, math.nan)
        assert low <= one.n <= high
        around = [loss_of(SCRATCH, one.n * s, one.d / s) for s in (1 / 3, 1, 3)]
        assert min(around) == around[1]
    assert allocations[-1].outside == ["C", "N", "D"]
    assert allocations[0].outside == []


def test_laws_at_a_bound_differ_without_a_gap(rows: pd.DataFrame) -> None:
    kept = rows[rows["law"].isin(["scratch", "szp"])]
    factor = np.where(kept["law"] == "szp", 0.9, 1.0)
    kept = kept.assign(loss=factor * (20 * kept["n"] ** -0.3 + 30 * kept["d"] ** -0.3))
    forms = [scaling.get_form("chinchilla")]
    laws = [scaling.law(of, forms, resamples=0) for _, of in kept.groupby("law", sort=True)]
    assert [(one.label, one.status) for one in laws] == [
        ("scratch", "bound_hit"), ("szp", "bound_hit"),
    ]  # fmt: skip
    found = difference(kept, *laws)
    assert found is not None
    want = -0.1 * (20 * found.n[:, None] ** -0.3 + 30 * found.d**-0.3)
    np.testing.assert_allclose(found.difference, want, rtol=1e-2)
    assert np.isnan(found.gap).all()


def test_grown_minus_scratch_is_zero_at_the_break_even(found: ScalingLaws) -> None:
    (one,) = (one for one in found.contours if not one.reason)
    assert one.drawn is not None
    assert (one.label, one.drawn.baseline) == ("szp", "scratch")
    minus_scratch = one.drawn.difference
    for line in minus_scratch:
        crossing = np.exp(np.interp(0, line, np.log(one.drawn.d)))
        assert crossing == pytest.approx(BREAK_EVEN, rel=0.35)
    sure = one.drawn.gap > 0
    assert sure[:, 0].all()  # few tokens: far apart
    assert not sure[np.abs(minus_scratch) < 1e-3].any()
    reasons = {one.label: one.reason for one in found.contours}
    assert reasons["stack"] == "the law of stack is unidentified"


def test_growth_factors_of_every_level(found: ScalingLaws) -> None:
    (panel,) = found.growth_factors.panels
    assert (panel.variant, panel.n) == ("hypercloning", params_of(WIDTHS[-1]))
    assert panel.status == "converged"
    for steps, level in zip(STEPS, panel.levels, strict=True):
        assert level.optimum_g == pytest.approx(BEST[steps], rel=1e-6)
        assert level.break_even_g == pytest.approx(BEST[steps] ** 2, rel=1e-6)
        assert level.g[0] == 1
        assert level.parabola is not None
        at = np.interp(level.g, level.parabola.g, level.parabola.loss)
        np.testing.assert_allclose(at, level.loss_at_g, rtol=1e-3)


def test_a_growth_is_a_law_of_its_own_where_a_variant_has_several(rows: pd.DataFrame) -> None:
    names = set(rows["law"])
    assert {f"hypercloning w×{2**k}" for k in (1, 2, 3, 4)} <= names
    assert {"scratch", "szp", "stack"} <= names


def test_what_is_unidentified_has_no_number(found: ScalingLaws) -> None:
    for one in found.laws:
        if one.status == "unidentified":
            assert one.reason
            assert not one.params
            assert one.drawn is None
            assert not {"params", "points", "bands", "optimal", "frontier"} & one.to_json().keys()
    assert law(found, "stack").status == "unidentified"


def test_a_file_of_laws_is_flat(found: ScalingLaws) -> None:
    """The keys that committed summaries have: facts, the fit's and what is drawn side by side."""
    plain = to_json(found)
    one = next(one for one in plain["laws"] if one["label"] == "scratch")
    assert one["form"] == one["selection"]["winner"]
    assert one.keys() >= {"n_rows", "params", "residual_rms", "formula", "points", "frontier"}
    assert not {"fit", "drawn", "residuals", "extras", "predictions"} & one.keys()
    assert one["selection"].keys() == {"held_out", "kept", "baseline_are", "winner", "scores"}
    assert one["selection"]["scores"][0].keys() == {"form", "status", "reason", "are"}
    assert one["bands"][0].keys() == {"against", "at", "x", "loss", "lo", "hi"}
    assert one["optimal"][-1]["outside"] == ["C", "N", "D"]
    assert None in one["points"]["unseen"]
    contours = {one["label"]: one for one in plain["contours"]}
    assert contours["stack"].keys() == {"label", "parametrization", "reason"}
    assert contours["szp"].keys() > {"baseline", "n", "d", "difference", "gap", "runs"}
    (panel,) = plain["growth_factors"]["panels"]
    assert panel.keys() >= {"variant", "n", "form", "params", "bootstrap", "levels"}
    assert not {"fit", "extras"} & panel.keys()
    assert panel["levels"][0].keys() >= {"c", "optimum_g", "interval", "g", "parabola"}


def few(rows: pd.DataFrame, keep: Any) -> Law:
    (one,) = scaling_laws(rows[(rows["law"] == "scratch") & keep], resamples=RESAMPLES).laws
    return one


@pytest.mark.parametrize("sizes", [1, 2, 3, 4])
def test_few_sizes_at_one_token_count_are_unidentified(rows: pd.DataFrame, sizes: int) -> None:
    """Three sizes besides the largest would be a law of three parameters with no error at all."""
    keep = (rows["d"] == rows["d"].max()) & (rows["n"] <= params_of(WIDTHS[sizes - 1]))
    one = few(rows, keep)
    assert one.status == "unidentified"
    assert one.reason.startswith(f"{sizes - 1} different (N, D) besides the largest")


def test_sizes_enough_at_one_token_count_are_a_power_law_of_size(rows: pd.DataFrame) -> None:
    d = rows["d"].max()
    one = few(rows, rows["d"] == d)
    assert one.fit is not None
    assert one.drawn is not None
    assert (one.fit.form, one.status) == ("power", "converged")
    (band,) = one.drawn.bands
    assert band.at == d
    expected = [loss_of(SCRATCH, n, d) for n in band.x]
    np.testing.assert_allclose(band.loss, expected, rtol=0.01)
    assert one.drawn.optimal == []


def test_equal_losses_are_unidentified(rows: pd.DataFrame) -> None:
    (one,) = scaling_laws(rows[rows["law"] == "scratch"].assign(loss=3.0)).laws
    assert (one.status, one.reason) == ("unidentified", "every row has the same loss")


def test_a_law_that_predicts_no_better_than_the_best_small_model_is_not_shown(
    rows: pd.DataFrame,
) -> None:
    scratch = rows[rows["law"] == "scratch"]
    order = np.random.default_rng(3).permutation(len(scratch))
    shuffled = scratch.assign(loss=scratch["loss"].to_numpy()[order])
    (one,) = scaling_laws(shuffled, resamples=RESAMPLES).laws
    assert one.status == "unidentified"
    assert "better than the best small model" in one.reason


def test_a_form_asked_for_alone_is_fitted(rows: pd.DataFrame) -> None:
    scratch = rows[rows["law"] == "scratch"]
    (one,) = scaling_laws(scratch, ["gadre"], resamples=RESAMPLES).laws
    assert one.fit is not None
    assert one.selection is not None
    assert (one.fit.form, one.selection.scores[0].form) == ("gadre", "gadre")


@pytest.mark.parametrize("form", ["kaplan_steps", "isoflop", "power"])
def test_a_form_of_other_variables_is_refused(rows: pd.DataFrame, form: str) -> None:
    with pytest.raises(UserError, match=f"form '{form}' reads .*; the laws of a report read n"):
        scaling_laws(rows, [form])


def test_forms_are_compared_on_a_sample_of_many_rows(
    rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "COMPARED", 12)
    one = few(rows, rows["n"] > 0)
    assert one.selection is not None
    assert one.drawn is not None
    assert (one.selection.kept, one.selection.held_out) == (12, 3)
    assert one.n_rows == 25
    assert len(one.drawn.points.predicted) == 25


def test_resamples_by_rows() -> None:
    assert [scaling.resamples_of(k) for k in (10, 2000, 10_000, 10**6)] == [1000, 1000, 200, 100]


def test_no_rows_give_no_laws() -> None:
    nothing = to_json(scaling_laws(study_rows([])))
    assert (nothing["laws"], nothing["contours"], nothing["growth_factors"]["panels"]) == (
        [], [], [],
    )  # fmt: skip


# --- anyone's table ----------------------------------------------------------------------------


def users_table() -> pd.DataFrame:
    return pd.DataFrame(
        {"params": [10, 20, 40], "tokens": [5, 5, 5], "final_val_loss": [3.0, 2.5, 2.2],
         "arm": ["base", "grown", None], "cost": [1.0, 2.0, 3.0]}
    )  # fmt: skip


def test_columns_of_a_store_are_found_and_compute_is_counted() -> None:
    rows, selection = table_rows(users_table(), Columns())
    np.testing.assert_allclose(rows["c"], [300, 600, 1200])
    assert set(rows["law"]) == {ALL}
    assert rows["scratch"].all()
    assert selection.reasons() == {}
    given, _ = table_rows(users_table(), Columns(n="2 * params", c="cost"))
    assert given["n"].tolist() == [20, 40, 80]
    assert given["c"].tolist() == [1, 2, 3]


def test_methods_are_laws_and_one_of_them_is_the_baseline() -> None:
    rows, _ = table_rows(users_table(), Columns(method="arm", baseline="base"))
    assert rows["law"].tolist() == ["base", "grown", UNNAMED]
    assert rows["scratch"].tolist() == [True, False, False]


def test_a_table_without_a_column_or_baseline_is_refused() -> None:
    with pytest.raises(UserError, match=r"--loss is missing, and the table has no column 'final"):
        table_rows(users_table().drop(columns="final_val_loss"), Columns())
    with pytest.raises(UserError, match="unknown method 'basis'; did you mean 'base'"):
        table_rows(users_table(), Columns(method="arm", baseline="basis"))
