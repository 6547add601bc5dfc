import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_points import TRUTH, pointwise, rows_of

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.decisions import _spread
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.resample import ends
from mugrow.analysis.laws.result import Bootstrap
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

CHINCHILLA = get_form("chinchilla")
NOISY = rows_of("chinchilla", TRUTH["chinchilla"], rows=80, noise=0.005)


def near_truth(name: str) -> st.SearchStrategy[tuple[float, ...]]:
    form, law = pointwise(name)
    factor = st.floats(0.8, 1.25)
    return st.tuples(*(st.just(1.0) if p in law.fixed else factor for p in form.params)).map(
        lambda factors: tuple(f * t for f, t in zip(factors, TRUTH[name], strict=True))
    )


@pytest.mark.parametrize("name", TRUTH)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(data=st.data())
def test_without_noise_the_truth_comes_back(name: str, data: st.DataObject) -> None:
    truth, seed = data.draw(near_truth(name)), data.draw(st.integers(0, 99))
    result = fit(get_form(name), rows_of(name, truth, seed=seed))
    assert (result.status, result.reason) == ("converged", "")
    assert list(result.params.values()) == pytest.approx(truth, rel=1e-6)


@pytest.mark.integration
@pytest.mark.parametrize("name", TRUTH)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(decimals=st.integers(4, 13), seed=st.integers(0, 99))
def test_losses_rounded_to_any_digit_have_a_minimum(name: str, decimals: int, seed: int) -> None:
    """Residuals are then so small that the rounding of ln L, 1e-16, is much beside them."""
    points = rows_of(name, TRUTH[name], rows=40, seed=seed)
    rounded = points | {"loss": points["loss"].round(decimals)}
    result = fit(get_form(name), rounded)
    assert (result.status, result.reason) == ("converged", "")
    largest = 10.0**-decimals / min(1.0, points["loss"].min())
    assert np.abs(result.residuals).max() < 2 * largest + 1e-13


def test_the_result_is_a_minimum_of_the_sum() -> None:
    from scipy.optimize import minimize

    result = fit(CHINCHILLA, NOISY)
    ln_n, ln_d, ln_loss = (np.log(NOISY[name]) for name in ("n", "d", "loss"))

    def summed(theta: Array) -> float:
        e, a, b, alpha, beta = theta
        log = np.log(np.exp(e) + np.exp(a - alpha * ln_n) + np.exp(b - beta * ln_d))
        r = np.abs(log - ln_loss)
        return float(np.where(r < 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum())

    p = result.params
    ours = [math.log(p["E"]), math.log(p["A"]), math.log(p["B"]), p["alpha"], p["beta"]]
    assert result.objective == pytest.approx(summed(np.array(ours)), rel=1e-9)
    theirs = minimize(
        lambda t: 1e6 * summed(t), ours, method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-9, "maxfev": 4000},
    )  # fmt: skip
    assert result.objective <= theirs.fun / 1e6 * (1 + 1e-9)
    assert result.starts_at_optimum is not None
    assert 0 < result.starts_at_optimum <= 1


@pytest.mark.parametrize("delta", [1e-4, 1e-3, math.inf])
def test_counting_every_row_twice_changes_nothing_but_the_sum(delta: float) -> None:
    # an objective that is averaged, or a tolerance with a scale of its own, fails here
    once = fit(CHINCHILLA, NOISY, delta=delta)
    many = fit(CHINCHILLA, {k: np.tile(column, 50) for k, column in NOISY.items()}, delta=delta)
    assert once.objective is not None
    assert many.objective == pytest.approx(50 * once.objective, rel=1e-9)
    assert many.params == pytest.approx(once.params, rel=1e-5)
    assert once.status == many.status == "converged"


@pytest.mark.parametrize("name", ["chinchilla", "kaplan", "power", "transfer_tokens"])
def test_units_and_the_order_of_rows_do_not_matter(name: str) -> None:
    points = rows_of(name, TRUTH[name], noise=0.002)
    unit = {"n": 1e9, "d": 1e6, "d1": 1e6, "x": 1e7, "g": 1.0, "loss": 1.0}
    order = np.random.default_rng(3).permutation(len(points["loss"]))
    form = get_form(name)
    asked = [tuple(points[v][0] for v in form.variables)]
    scaled = [tuple(points[v][0] / unit[v] for v in form.variables)]
    one = fit(form, points, predict=asked)
    other = fit(form, {k: (c / unit[k])[order] for k, c in points.items()}, predict=scaled)
    assert one.objective == pytest.approx(other.objective, rel=1e-9)
    assert one.predictions[0].loss == pytest.approx(other.predictions[0].loss, rel=1e-7)
    for exponent in ("E", "alpha", "beta", "alpha_N", "alpha_D", "b", "c", "rho"):
        if exponent in one.params:
            assert one.params[exponent] == pytest.approx(other.params[exponent], rel=1e-5)


def test_fixed_parameters_are_kept_and_said() -> None:
    free = fit(CHINCHILLA, NOISY)
    pinned = fit(CHINCHILLA, NOISY, fixed={"alpha": 0.3, "A": 300.0})
    assert (pinned.params["alpha"], pinned.params["A"]) == pytest.approx((0.3, 300.0), rel=1e-12)
    assert pinned.extras.fixed == {"alpha": 0.3, "A": 300.0}
    assert pinned.objective is not None
    assert free.objective is not None
    assert pinned.objective > free.objective
    same = fit(CHINCHILLA, NOISY, fixed={name: free.params[name] for name in ("A", "alpha")})
    assert same.objective == pytest.approx(free.objective, rel=1e-9)
    given_ = fit(get_form("chinchilla_pinned"), NOISY, fixed={"alpha": 0.3})
    assert given_.extras.fixed == {"alpha": 0.3, "beta": 0.36585}


def test_a_coefficient_that_least_squares_would_make_negative_is_0() -> None:
    # losses that rise with tokens: no positive B describes them
    points = dict(NOISY) | {"loss": 2 + 400 / NOISY["n"] ** 0.34781 + 1e-13 * NOISY["d"]}
    result = fit(get_form("chinchilla_pinned"), points)
    assert result.status == "bound_hit"
    assert result.params["B"] == 0
    assert "B is 0" in result.reason


def test_a_floor_alone_that_vanishes_is_0() -> None:
    known = {"A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
    points = dict(NOISY) | {"loss": 0.5 * (400 / NOISY["n"] ** 0.34 + 410 / NOISY["d"] ** 0.28)}
    result = fit(CHINCHILLA, points, fixed=known)
    assert (result.status, result.params["E"]) == ("bound_hit", 0)


def table(**columns: Any) -> dict[str, Any]:
    rows = {"n": [1e7, 1e8, 1e9] * 4, "d": np.geomspace(1e9, 1e12, 12), "loss": NOISY["loss"][:12]}
    return rows | columns


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ({"n": [1e8, 1e9], "d": [1e9, 1e10], "loss": [3.0, 2.5]}, "2 distinct rows"),
        (table(n=[1e8] * 12), "the same n"),
        (table(loss=[3.0] * 12), "the same loss"),
        (table(n=[1e8, 1e9] * 6), "cannot tell the parameters apart"),
        (table(d=20 * np.array([1e7, 1e8, 1e9] * 4)), "3 distinct rows"),
        ({k: np.tile(column[:4], 9) for k, column in NOISY.items()}, "4 distinct rows"),
    ],
)
def test_rows_that_cannot_identify_the_law_give_no_number(points: dict[str, Any], why: str) -> None:
    result = fit(CHINCHILLA, points, bootstrap=5, predict=[(1e9, 1e10)], optimal=[1e20])
    assert result.status == "unidentified"
    assert why in result.reason
    assert not result.params
    assert not result.predictions
    assert not result.optimal
    assert not result.intervals


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (table(loss=[3.0] * 11 + [0.0]), "loss of row 11 must be a finite number above 0, not 0.0"),
        (table(n=[1e8] * 11 + [-1]), "n of row 11"),
        (table(d=[np.nan] + [1e9] * 11), "d of row 0"),
        (table(d=[np.inf] + [1e9] * 11), "d of row 0"),
        (table(loss=["low"] * 12), "column 'loss' holds something that is not a number"),
        (table(loss=[3.0] * 11), "columns differ in length"),
        (table(n=[[1e8]] * 12), "one value a row"),
        ({"n": [1.0], "loss": [1.0]}, "needs a column 'd'"),
        ({"n": [], "d": [], "loss": []}, "no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(points: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        fit(CHINCHILLA, points)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delta": 0.0}, "delta must be above 0"),
        ({"delta": math.nan}, "delta must be above 0"),
        ({"bootstrap": -1}, "bootstrap must be at least 0"),
        ({"groups": [1, 2]}, "2 groups for 80 rows"),
        ({"fixed": {"alhpa": 1.0}}, "did you mean 'alpha'"),
        ({"fixed": {"E": -1.0}}, "E must be fixed at a finite number above 0"),
        ({"fixed": {"alpha": math.inf}}, "alpha must be fixed at a finite number, not inf"),
        ({"fixed": dict(zip(CHINCHILLA.params, TRUTH["chinchilla"], strict=True))}, "nothing"),
        ({"predict": [(1e9,)]}, "predicts at n,d: 2 numbers, not 1"),
        ({"predict": [(1e9, 0.0)]}, "d of row 0"),
        ({"optimal": [0.0]}, "a budget must be"),
    ],
)
def test_options_that_cannot_be_followed_are_one_line(options: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fit(CHINCHILLA, NOISY, **options)


def test_a_form_without_an_allocation_says_so() -> None:
    with pytest.raises(UserError, match="form 'power' has no optimal allocation"):
        fit(get_form("power"), rows_of("power", TRUTH["power"]), optimal=[1e20])


def test_an_exponent_of_the_wrong_sign_is_outside_the_law() -> None:
    points = rows_of("chinchilla", (1.8, 480.0, 2e-3, 0.35, -0.2), noise=0.001)
    result = fit(CHINCHILLA, points)
    assert result.status == "bound_hit"
    assert "beta" in result.reason


def test_the_bootstrap_resamples_groups_and_reports_convergence() -> None:
    twins = {name: np.repeat(column, 4) for name, column in NOISY.items()}
    runs = np.repeat(np.arange(80), 4).tolist()
    asked: dict[str, Any] = {"bootstrap": 300, "predict": [(1e10, 1e12)], "optimal": [1e22]}
    single = fit(CHINCHILLA, NOISY, **asked)
    rows, grouped = fit(CHINCHILLA, twins, **asked), fit(CHINCHILLA, twins, groups=runs, **asked)
    assert single.bootstrap == grouped.bootstrap == Bootstrap(300, 300)
    assert (grouped.n_groups, rows.n_groups) == (80, 320)
    # four copies of a run say no more than one
    assert grouped.standard_errors == pytest.approx(single.standard_errors, rel=1e-3)
    assert rows.standard_errors["E"] < 0.7 * grouped.standard_errors["E"]
    low, high = grouped.predictions[0].interval
    assert low < grouped.predictions[0].loss < high
    best = grouped.optimal[0]
    assert 6 * best.n * best.d == pytest.approx(1e22, rel=1e-9)
    for name in ("n", "d", "loss"):
        assert best.interval[name][0] < getattr(best, name) < best.interval[name][1]
    assert best.loss < grouped.intervals["E"][1] + 1


def test_the_seed_decides_the_resamples() -> None:
    first, again, other = (fit(CHINCHILLA, NOISY, bootstrap=50, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.intervals != other.intervals


def test_one_group_has_no_interval() -> None:
    result = fit(CHINCHILLA, NOISY, groups=["a"] * 80, bootstrap=50, predict=[(1e9, 1e10)])
    assert result.bootstrap.resamples == 0
    assert not result.intervals
    assert result.predictions[0].interval is None


def test_ends_are_open_where_a_draw_is_not_finite() -> None:
    draws = np.stack([np.arange(1001.0), np.r_[np.arange(1000.0), np.nan]], axis=1)
    (low, high), missing = ends(draws)
    assert (low, high) == pytest.approx((25, 975))
    assert all(math.isnan(end) for end in missing)


def test_the_spread_of_a_coefficient_that_nothing_ties_down_is_infinite() -> None:
    spread = _spread(np.array([[1e300, 1.0, np.inf], [-1e300, 3.0, 0.0]]))
    assert spread.tolist() == pytest.approx([math.inf, math.sqrt(2), math.nan], nan_ok=True)


def test_json_is_strict_and_has_the_residuals_summed_up() -> None:
    points = dict(NOISY) | {"loss": NOISY["loss"] * np.exp(0.003 * np.log(NOISY["d"]))}
    result = fit(CHINCHILLA, points, bootstrap=20, predict=[(1e9, 1e10)], optimal=[1e20])
    shown = json.loads(json.dumps(to_json(result), allow_nan=False))
    assert shown["form"] == "chinchilla"
    assert set(shown["params"]) == set(CHINCHILLA.params)
    assert set(shown["slopes"]) == {"n", "d", "d/n"}
    assert shown["residual_rms"] == pytest.approx(np.std(result.residuals), rel=0.2)
    assert set(shown["optimal"][0]["interval"]) == {"n", "d", "loss"}


def test_residual_slopes_show_the_wrong_law() -> None:
    # losses of the Kaplan law: a power law of N alone leaves a slope in D
    points = rows_of("kaplan", TRUTH["kaplan"], noise=0.001)
    right = fit(get_form("kaplan"), points)
    assert all(abs(slope) < 1e-3 for slope in right.slopes.values())
    n_only = fit(get_form("power"), {"x": points["n"], "loss": points["loss"]})
    assert np.polyfit(np.log(points["d"]), n_only.residuals, 1)[0] < -0.005
