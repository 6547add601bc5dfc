"""The envelope of curves whose law is known, and curves that have none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.envelope import curves
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.resample import group_rows
from mugrow.analysis.laws.result import FitResult
from mugrow.bench.spec import UserError


def planted(
    alpha: float = 0.35, beta: float = 0.37, sizes: int = 10, points: int = 100
) -> tuple[dict[str, Any], list[int]]:
    """Curves of E + A / N^alpha + B / D^beta, from 2 to 400 tokens per parameter."""
    n = np.repeat(np.geomspace(1e7, 1e9, sizes), points)
    d = n * np.tile(np.geomspace(2, 400, points), sizes)
    loss = 1.8 + 480 * (n / 1e7) ** -alpha / 281 + 2100 * (d / 1e8) ** -beta / 911
    runs = np.repeat(np.arange(sizes), points).tolist()
    return {"n": n, "d": d, "c": 6 * n * d, "loss": loss}, runs


def envelope(table: dict[str, Any], runs: Any, **options: Any) -> FitResult:
    return fit(get_form("envelope"), table, groups=runs, **options)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.25, 0.5), st.floats(0.25, 0.5))
def test_planted_exponents(alpha: float, beta: float) -> None:
    result = envelope(*planted(alpha, beta))
    assert result.status == "converged"
    assert result.params["N_exponent"] == pytest.approx(beta / (alpha + beta), abs=1e-6)
    assert result.params["D_exponent"] == pytest.approx(alpha / (alpha + beta), abs=1e-6)


def test_the_optimum_is_between_the_sizes_that_change_places() -> None:
    table, runs = planted()
    changes = envelope(table, runs).extras.changes
    sizes = np.geomspace(1e7, 1e9, 10)
    assert [one.n for one in changes] == pytest.approx(np.sqrt(sizes[1:] * sizes[:-1]))
    for one in changes:
        assert one.c == pytest.approx(6 * one.n * one.d, rel=1e-4)


def test_regressing_the_winners_is_biased() -> None:
    """What the module says of the published procedure, on curves of a known law."""
    table, runs = planted()
    measured = curves(table, group_rows(runs, len(runs)))
    winners = measured.size[measured.loss.argmin(axis=0)]
    slope = np.polyfit(measured.log_c, winners, 1)[0]
    assert slope < 0.85 * 0.37 / 0.72


def test_units_order_and_intervals() -> None:
    table, runs = planted()
    table["loss"] = table["loss"] * np.exp(0.001 * np.random.default_rng(0).normal(size=1000))
    result = envelope(table, runs, bootstrap=100, optimal=[1e20])
    low, high = result.intervals["N_exponent"]
    assert low < 0.37 / 0.72 < high
    assert result.optimal[0].interval["n"][0] < result.optimal[0].n
    order = np.random.default_rng(1).permutation(1000)
    mixed = {name: column[order] for name, column in table.items()}
    mixed |= {"n": mixed["n"] / 1e6, "d": mixed["d"] / 1e9, "c": mixed["c"] / 1e18}
    again = envelope(mixed, [runs[i] for i in order])
    assert again.params["N_exponent"] == pytest.approx(result.params["N_exponent"], abs=1e-9)
    assert again.params["D_exponent"] == pytest.approx(result.params["D_exponent"], abs=1e-9)


def test_the_end_of_a_run_is_no_change() -> None:
    """Runs that never cross, each better from where the last one ended, tell nothing."""
    table, runs = planted()
    start = 3e15 * 4 ** np.repeat(np.arange(10), 100)
    table["c"] = start * np.tile(np.geomspace(1, 4.1, 100), 10)
    table["loss"] = 5 - 0.1 * np.repeat(np.arange(10), 100) - 1e-3 * np.tile(np.arange(100), 10)
    table["d"] = table["c"] / 6 / table["n"]
    assert envelope(table, runs).extras.changes == []


def test_tables_that_tell_nothing() -> None:
    for count in (1, 2, 3):
        table, runs = planted()
        part = {name: column[: 100 * count] for name, column in table.items()}
        result = envelope(part, runs[: 100 * count], optimal=[1e20])
        assert result.status == "unidentified"
        assert not result.params
        assert not result.optimal
    equal, runs = planted()
    equal["loss"] = np.full(1000, 3.0)
    assert envelope(equal, runs).status == "unidentified"
    table, runs = planted()
    with pytest.raises(UserError, match="name the run"):
        envelope(table, None)
    with pytest.raises(UserError, match="whole curves"):
        envelope(table, list(range(1000)))
    with pytest.raises(UserError, match="whole curves"):
        envelope(table, [0] * 1000)
