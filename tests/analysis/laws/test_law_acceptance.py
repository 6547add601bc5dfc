"""Published fits: ``acceptance_checks.json`` beside the data, which says what each must return."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_points import LAWS, checks, epoch, needs_data, pointwise

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.benchmark import UNROUNDED, published_starts
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.form import Options, internal
from mugrow.analysis.laws.minimise import minimise
from mugrow.analysis.laws.objective import Objective
from mugrow.analysis.laws.problem import state_problem
from mugrow.analysis.laws.resample import draw_counts
from mugrow.analysis.laws.result import Bootstrap
from mugrow.analysis.stats import Array

pytestmark = needs_data


def objective_at(params: Array) -> float:
    form, law = pointwise("chinchilla")
    points = epoch()
    goal = Objective(law, points, points["loss"], np.zeros(5), np.arange(5), 1e-3)
    return float(goal.value_and_gradient(internal(form, law, params[None]), None)[0][0])


def test_the_optimum_of_the_chinchilla_points() -> None:
    check = checks()["chinchilla_epoch_true_optimum"]
    result = fit(get_form("chinchilla"), epoch())
    found = dict(result.params) | {"objective": result.objective}
    assert (result.status, result.n_rows, result.delta) == ("converged", 240, 1e-3)
    for name, value in check["expect"].items():
        assert found[name] == pytest.approx(value, rel=check["rtol"][name]), name


def test_the_published_fit_is_near_but_not_the_optimum() -> None:
    check = checks()["chinchilla_epoch_published"]
    result = fit(get_form("chinchilla"), epoch())
    assert result.objective is not None
    for name, (value, error) in check["expect_within_1SE"].items():
        assert abs(result.params[name] - value) < error
    published = [check["expect_within_1SE"][name][0] for name in ("E", "A", "B", "alpha", "beta")]
    assert objective_at(np.array(published)) == pytest.approx(
        check["published_objective"], rel=1e-4
    )
    assert result.objective < check["published_objective"] * (1 - 1e-4)


def test_standard_errors_of_the_bootstrap() -> None:
    check = checks()["chinchilla_epoch_pairs_bootstrap"]
    result = fit(get_form("chinchilla"), epoch(), bootstrap=4000, optimal=[5.76e23])
    best = result.optimal[0]
    assert result.bootstrap == Bootstrap(4000, 4000)
    for name in ("A", "B", "E", "alpha", "beta"):
        expected, (low, high) = check["expect_se"][name], check["ci95"][name]
        assert result.standard_errors[name] == pytest.approx(expected, rel=check["rtol"])
        # an end is as uncertain as the width that it belongs to
        assert result.intervals[name] == pytest.approx((low, high), abs=0.1 * (high - low))
    assert best.tokens_per_parameter == pytest.approx(17.9, abs=0.05)


def test_the_bootstrap_of_the_optimal_exponent() -> None:
    # a = beta / (alpha + beta), the power of compute in N*
    check = checks()["chinchilla_epoch_pairs_bootstrap"]
    form, law = pointwise("chinchilla")
    problem = state_problem(form, law, epoch(), Options())
    best = minimise(problem.objective, problem.form_starts()[:1]).theta
    counts = draw_counts(240, 4000, seed=0)
    draws = minimise(problem.objective, best.repeat(4000, axis=0), counts, problem.groups)
    alpha, beta = draws.theta[:, 3], draws.theta[:, 4]
    a = beta / (alpha + beta)
    assert a.std() == pytest.approx(check["expect_se"]["a"], rel=check["rtol"])
    assert np.quantile(a, [0.1, 0.9]) == pytest.approx(check["ci80_a"], abs=0.004)


def test_objective_values_of_hoffmann() -> None:
    (unrounded, at_unrounded), (_, at_rounded) = checks()["hoffmann_objective_values"][
        "evaluate_only"
    ].items()
    assert unrounded.startswith("unrounded e=.5267228,a=6.0073404")
    params = np.concatenate([np.exp(UNROUNDED[:3]), UNROUNDED[3:]])
    assert objective_at(params) == pytest.approx(at_unrounded, rel=1e-6)
    assert objective_at(np.array([1.69, 406.4, 410.7, 0.34, 0.28])) == pytest.approx(
        at_rounded, rel=1e-6
    )


def test_the_kaplan_form_fits_worse() -> None:
    expected = checks()["kaplan_form_on_epoch"]["expect"]
    result = fit(get_form("kaplan"), epoch())
    assert result.objective == pytest.approx(expected["objective"], rel=1e-4)
    assert result.params["alpha_N"] == pytest.approx(expected["alphaN"], abs=5e-5)
    assert result.params["alpha_D"] == pytest.approx(expected["alphaD"], abs=5e-5)


def test_the_skaling_form_fits_better() -> None:
    expected = checks()["skaling_form_on_epoch"]["expect"]
    result = fit(get_form("skaling"), epoch())
    assert result.objective == pytest.approx(expected["objective"], rel=1e-5)
    assert result.params["gamma"] == pytest.approx(expected["k"], abs=5e-4)
    assert result.params["E"] == pytest.approx(expected["E"], abs=5e-4)


def test_nested_forms_are_ordered() -> None:
    names = ("skaling", "chinchilla", "chinchilla_tied")
    values = [fit(get_form(name), epoch()).objective for name in names]
    assert values == sorted(values, key=lambda value: value or 0)


def test_the_published_starts_reach_the_same_optimum() -> None:
    begin = published_starts()[::10]
    natural = np.hstack([np.exp(begin[:, :3]), begin[:, 3:]])
    form = get_form("chinchilla")
    given = fit(form, epoch(), starts=dict(zip(form.params, natural.T, strict=True)))
    default = fit(form, epoch())
    assert given.starts == 450
    assert given.starts_at_optimum is not None
    assert default.starts_at_optimum is not None
    assert 0.05 < given.starts_at_optimum < 0.5 < default.starts_at_optimum
    assert given.params == pytest.approx(default.params, rel=1e-6)


def test_a_few_small_gadre_runs_extrapolate() -> None:
    expected = checks()["gadre_small_fit_extrapolates"]["expect"]
    table = pd.read_csv(LAWS / "gadre" / "testbed_losses.csv")
    runs = table[table["dataset"] == "rpj"]
    small = runs[runs["params"] < 1e9]
    tiny = small["params"] == small["params"].min()
    kept = small[(small["tok_mult"] == 20) | (tiny & (small["tok_mult"] == 320))]
    large = runs[runs["params"] > 1e9].set_index(["model", "tok_mult"])
    asked = [("open_lm_1b", 640.0), ("open_lm_7b", 20.0)]
    result = fit(
        get_form("gadre"),
        {"n": kept["params"], "m": kept["tok_mult"], "loss": kept["loss_c4_val"]},
        predict=[(large.loc[run, "params"], run[1]) for run in asked],
    )
    assert (result.n_rows, result.delta) == (5, None)
    errors = [
        100 * abs(prediction.loss / large.loc[run, "loss_c4_val"] - 1)
        for run, prediction in zip(asked, result.predictions, strict=True)
    ]
    named = [expected["rel_err_1.4B_M640_percent"], expected["rel_err_7B_M20_percent"]]
    assert errors == pytest.approx(named, abs=1e-3)
    assert result.params["E"] == pytest.approx(expected["E"], abs=1e-4)
    assert result.params["eta"] == pytest.approx(expected["eta"], abs=1e-4)


def test_loss_against_width_under_mup() -> None:
    expected = checks()["mu_scaling_width"]["expect"]
    table = pd.read_csv(LAWS / "mu_scaling" / "losses.csv")
    rows = table[table["series"] == "mu-scaling_gpt2_L6_train_20k"]
    kept = rows[rows["held_out"] == 0]
    points: dict[str, Any] = {"x": kept["params_m"], "loss": kept["loss"]}
    result = fit(get_form("power"), points, predict=[(1446.72,)])
    for name in ("a", "b", "c"):
        assert result.params[name] == pytest.approx(expected[name][0], abs=1e-4)
    assert result.predictions[0].loss == pytest.approx(expected["pred_1447M"], abs=1e-4)
    # 7 rows: the law is told apart, but other deltas move it by less than the published errors
    other = fit(get_form("power"), points, delta=1e-3)
    for name in ("a", "b", "c"):
        assert abs(other.params[name] - expected[name][0]) < expected[name][1]
