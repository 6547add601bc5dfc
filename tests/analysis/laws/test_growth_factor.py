"""Best and break-even growth factors: planted, absent, and beyond what was sampled."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.growth_factor import levels_of
from mugrow.analysis.laws.result import Bootstrap, FitResult
from mugrow.analysis.read.plain import to_json
from mugrow.bench.spec import UserError

FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0)


def planted(
    *optima: float, curvature: float = 0.02, factors: tuple[float, ...] = FACTORS
) -> dict[str, Any]:
    """One level of FLOPs for each best factor: 1e18, 2e18, …"""
    g = np.tile(factors, len(optima))
    c = np.repeat(1e18 * np.arange(1, len(optima) + 1), len(factors))
    best = np.log(np.repeat(optima, len(factors)))
    loss = 2 - 0.1 * np.log(c / 1e18) + curvature * ((np.log(g) - best) ** 2 - best**2)
    return {"g": g, "c": c, "loss": loss}


def growth(table: dict[str, Any], **options: Any) -> FitResult:
    return fit(get_form("growth_factor"), table, **options)


@settings(max_examples=30)
@given(st.floats(1.2, 3.9), st.floats(1.2, 3.9), st.floats(1e-3, 1))
def test_planted_factors(early: float, late: float, curvature: float) -> None:
    result = growth(planted(early, late, curvature=curvature))
    assert result.status == "converged"
    assert result.params["optimum_g"] == pytest.approx(late, rel=1e-6)
    assert result.params["break_even_g"] == pytest.approx(late**2, rel=1e-6)
    for facts, best in zip(levels_of(result), (early, late), strict=True):
        assert facts.status == "gain"
        assert facts.optimum_g == pytest.approx(best, rel=1e-6)
        assert facts.loss < facts.scratch_loss


def test_break_even_is_against_the_measured_scratch_loss() -> None:
    """Not against the parabola's value at g = 1, which the other factors pull away from it."""
    table = planted(2.0)
    table["loss"][0] += 0.004
    result = growth(table)
    (level,) = levels_of(result)
    x, y = np.log(table["g"]), table["loss"]
    c2, c1, c0 = np.polyfit(x, y, 2)
    upper = max(np.roots([c2, c1, c0 - y[0]]).real)
    assert level.scratch_loss == pytest.approx(y[0])
    assert result.params["break_even_g"] == pytest.approx(np.exp(upper), rel=1e-6)


def test_no_gain_is_a_result() -> None:
    result = growth(planted(2.0, 0.7), bootstrap=50)
    assert result.status == "bound_hit"
    assert "no growth factor beats scratch" in result.reason
    assert result.params == {"optimum_g": 1.0, "break_even_g": 1.0}
    better = planted(2.0)
    better["loss"][0] -= 0.015  # below the parabola's minimum: scratch wins, whatever its vertex
    assert levels_of(growth(better))[0].status == "no_gain"


def test_beyond_the_factors_sampled() -> None:
    result = growth(planted(5.0), bootstrap=50)
    assert result.status == "bound_hit"
    assert "break-even is above 16" in result.reason
    assert set(result.params) == {"optimum_g"}
    falling = growth(planted(40.0))
    assert falling.status == "bound_hit"
    assert not falling.params
    assert to_json(falling)["extras"]["levels"][0]["optimum_g"] is None


def test_no_number_without_a_minimum() -> None:
    concave = growth(planted(2.0, curvature=-0.02), bootstrap=20)
    assert (concave.status, dict(concave.params)) == ("unidentified", {})
    assert "a maximum" in concave.reason
    flat = planted(2.0)
    flat["loss"] = np.full(7, 2.0)
    assert (growth(flat).status, dict(growth(flat).params)) == ("unidentified", {})
    few = growth(planted(2.0, factors=(1.0, 2.0, 4.0)))
    assert few.status == "unidentified"
    assert "fewer than 4 different growth factors" in few.reason
    without = growth(planted(3.0, factors=FACTORS[1:]))
    assert without.status == "bound_hit"
    assert "no row has g = 1" in without.reason
    assert without.params == {"optimum_g": pytest.approx(3.0)}
    with pytest.raises(UserError, match="g of row 2"):
        growth(planted(2.0) | {"g": np.array([1, 2, 0, 3, 4, 5, 6.0])})
    with pytest.raises(UserError, match="no --optimal"):
        growth(planted(2.0), optimal=[1e18])


def test_intervals_resample_both_arms() -> None:
    """Three seeds of each factor; every resample has some scratch run, and the truth is covered."""
    rng = np.random.default_rng(0)
    one = planted(2.5)
    table = {name: np.tile(column, 3) for name, column in one.items()}
    table["loss"] = table["loss"] + 0.001 * rng.normal(size=21)
    result = growth(table, bootstrap=500)
    assert result.bootstrap == Bootstrap(500, 500)
    for name, truth in (("optimum_g", 2.5), ("break_even_g", 6.25)):
        low, high = result.intervals[name]
        assert low < truth < high < 2 * truth
