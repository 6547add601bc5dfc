"""Weighted lines in logarithms, against the 15 published exponents of Porian et al."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.laws.power_line import lines, power_line

LAWS = Path("../shared/data/laws")
EXPERIMENT = ["dataset", "hparams", "warmup", "decay", "param_count", "val", "source_file"]


@given(st.floats(-2, 2), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_planted_law(exponent: float, coefficient: float, x_unit: float, y_unit: float) -> None:
    x = np.geomspace(1, 100, 6)
    weights = np.array([1.0, 4, 2, 9, 1, 3])
    line = power_line(x * x_unit, y_unit * coefficient * x**exponent, weights)
    assert line.exponent == pytest.approx(exponent, abs=1e-9)
    assert line.coefficient * x_unit**exponent / y_unit == pytest.approx(coefficient, rel=1e-9)
    assert line(x_unit) == pytest.approx(y_unit * coefficient, rel=1e-9)
    assert line.exponent_se < 1e-6


def test_weights_are_counts() -> None:
    x, y = np.array([1.0, 2.0, 5.0]), np.array([1.0, 3.0, 4.0])
    counted = power_line(x, y, np.array([1.0, 2.0, 3.0]))
    repeated = power_line(np.repeat(x, [1, 2, 3]), np.repeat(y, [1, 2, 3]))
    assert counted.exponent == pytest.approx(repeated.exponent, rel=1e-12)
    assert counted.exponent != pytest.approx(power_line(x, y).exponent, rel=1e-3)


def test_a_point_without_weight_may_be_missing() -> None:
    slope, _ = lines(np.arange(3.0)[None], np.array([[0, 1, np.nan]]), np.array([[1.0, 1, 0]]))
    assert slope[0] == pytest.approx(1)
    assert np.isnan(lines(np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 2)))[0][0])


def test_published_exponents() -> None:
    """Acceptance ``porian_15_experiments``."""
    if not LAWS.exists():
        pytest.skip(f"{LAWS} is absent")
    optima = pd.read_csv(LAWS / "porian/optimal_pairs.csv").groupby(EXPERIMENT)
    published = pd.read_csv(LAWS / "porian/published_fits.csv").query("kind == 'weighted'")
    expected = published.set_index(EXPERIMENT)["n_exponent"]
    found = {}
    for key, every in optima:
        rows = every.dropna(subset="n_star_std")
        c, n, std = (rows[name].to_numpy() for name in ("flops", "n", "n_star_std"))
        found[key] = power_line(c, n, 1 / std**2).exponent
    assert len(found) == 15
    for key, exponent in found.items():
        assert exponent == pytest.approx(expected[key], abs=1e-5), key
    checks = json.loads((LAWS / "acceptance_checks.json").read_text())
    (check,) = [one for one in checks if one["id"] == "porian_15_experiments"]
    named = [value for name, value in check["expect"].items() if name != "owt2"]
    for value in named + check["expect"]["owt2"]:
        assert min(abs(exponent - value) for exponent in found.values()) < 1e-5, value
