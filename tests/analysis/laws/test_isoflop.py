"""IsoFLOP parabolas on planted optima, on tables without one, and on the Chinchilla points."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.parabola import parabolas
from mugrow.analysis.laws.resample import open_ends, residual_factors
from mugrow.analysis.laws.result import Bootstrap, FitResult
from mugrow.analysis.read.plain import to_json
from mugrow.bench.spec import UserError

LAWS = Path("../shared/data/laws")
BUDGETS = np.array([1e18, 3e18, 1e19, 3e19, 1e20])

Table = dict[str, np.ndarray]


def planted(
    exponent: float = 0.5, coefficient: float = 0.09, curvature: float = 0.1, sizes: int = 7
) -> Table:
    """Exact parabolas in ln N around N* = coefficient C^exponent, off centre by 0.2."""
    rows = []
    for c in BUDGETS:
        best = np.log(coefficient * c**exponent)
        for x in best + 0.2 + np.linspace(-1.5, 1.5, sizes):
            n = np.exp(x)
            rows.append(
                (n, c / (6 * n), c, 3 - 0.1 * np.log(c / 1e18) + curvature * (x - best) ** 2)
            )
    return dict(zip(("n", "d", "c", "loss"), np.array(rows).T, strict=True))


def isoflop(table: Mapping[str, Any], **options: Any) -> FitResult:
    return fit(get_form("isoflop"), table, **options)


@settings(max_examples=30)
@given(st.floats(0.2, 0.9), st.floats(1e-3, 10), st.floats(0.01, 1))
def test_planted_optima(exponent: float, coefficient: float, curvature: float) -> None:
    result = isoflop(planted(exponent, coefficient, curvature), optimal=[1e21])
    assert result.status == "converged"
    assert result.params["N_exponent"] == pytest.approx(exponent, abs=1e-6)
    assert result.params["D_exponent"] == pytest.approx(1 - exponent, abs=1e-6)
    assert result.params["N_coefficient"] == pytest.approx(coefficient, rel=1e-6)
    assert result.params["D_coefficient"] == pytest.approx(1 / (6 * coefficient), rel=1e-6)
    assert result.extras.exponent_sum == pytest.approx(1, abs=1e-6)
    assert result.extras.weighted["N_exponent"] == pytest.approx(exponent, abs=1e-6)
    (best,) = result.optimal
    assert best.n == pytest.approx(coefficient * 1e21**exponent, rel=1e-6)
    assert best.tokens_per_parameter == pytest.approx(best.d / best.n)
    for facts in result.extras.budgets:
        low = 3 - 0.1 * np.log(facts.c / 1e18)
        assert facts.loss == pytest.approx(low, abs=1e-9)


def noisy(seed: int = 0, sizes: int = 7) -> Table:
    table = planted(sizes=sizes)
    noise = np.random.default_rng(seed).normal(size=5 * sizes)
    return table | {"loss": table["loss"] + 0.003 * noise}


def test_units_and_order_do_not_matter() -> None:
    table = noisy()
    result = isoflop(table)
    scaled = isoflop({"n": table["n"] / 1e6, "d": table["d"] / 1e9, "c": table["c"] / 1e15}
                     | {"loss": table["loss"]})  # fmt: skip
    order = np.random.default_rng(1).permutation(35)
    mixed = isoflop({name: column[order] for name, column in table.items()})
    for other in (scaled, mixed):
        for name in ("N_exponent", "D_exponent"):
            assert other.params[name] == pytest.approx(result.params[name], abs=1e-9)
    factor = 1e15 ** result.params["N_exponent"] / 1e6
    assert scaled.params["N_coefficient"] == pytest.approx(
        result.params["N_coefficient"] * factor, rel=1e-6
    )


def test_budgets_are_values_not_roundings() -> None:
    """Counted FLOPs that differ by 1 % are one budget; 10 % apart they are two."""
    near, far = planted(), planted()
    near["c"] = near["c"] * np.tile(np.linspace(0.995, 1.005, 7), 5)
    assert len(isoflop(near).extras.budgets) == 5
    far["c"] = np.where(np.arange(35) < 7, 2.7e18, far["c"])
    assert len(isoflop(far).extras.budgets) == 5
    spread = planted()
    spread["c"] = np.geomspace(1e18, 1.5e18, 35)
    with pytest.raises(UserError, match="nominal budget"):
        isoflop(spread)


ALONE = np.empty((0, 9))


def test_delta_method_error_and_resamples() -> None:
    """The vertex scatters over noise as its standard error says, and as its resamples do."""
    x, rng = np.linspace(-1, 2, 9), np.random.default_rng(0)
    tables = [x**2 + 0.05 * rng.normal(size=9) for _ in range(2000)]
    fits = [parabolas(x, loss, residual_factors(np.arange(9), 40, 0)) for loss in tables]
    vertex = np.array([one.vertex[0] for one in fits])
    errors = np.array([one.vertex_se[0] for one in fits])
    assert vertex.std() == pytest.approx(np.sqrt((errors**2).mean()), rel=0.07)
    resampled = np.array([one.vertex[1:].var(ddof=1) for one in fits])
    assert vertex.std() == pytest.approx(np.sqrt(resampled.mean()), rel=0.07)
    assert parabolas(x, x**2, ALONE)(np.array([3.0]))[0] == pytest.approx(9)


def test_a_vertex_lost_in_noise_is_flat() -> None:
    """A dip in the middle, of which the scatter leaves nothing but its sign."""
    x = np.linspace(-1, 1, 9)
    scatter = np.tile([1.0, -1.0], 5)[:9] - 1 / 9
    for noise, status in ((0.01, "converged"), (3.0, "flat")):
        fit = parabolas(x, 3 + 0.1 * x**2 + noise * scatter, ALONE)
        assert fit.coefficients[0, 2] > 0
        assert fit.words() == status
        assert np.isnan(fit.optimum[0]) == (status == "flat")


def test_failed_resamples_count_as_beyond_both_ends() -> None:
    draws = np.arange(1000.0)
    assert open_ends(draws) == (24, 975)
    draws[500:520] = np.nan
    low, high = open_ends(draws)
    assert (low, high) == (4, 995)
    draws[500:530] = np.nan
    assert open_ends(draws) == (-np.inf, np.inf)


def test_a_resample_is_the_parabola_of_its_losses() -> None:
    x, rng = np.linspace(-1, 2, 9), np.random.default_rng(0)
    loss = x**2 + 0.05 * rng.normal(size=9)
    batch = parabolas(x, loss, rng.normal(size=(3, 9)))
    for index in (1, 2, 3):
        again = parabolas(x, batch(x) + batch.noise[index], ALONE)
        assert again.vertex[0] == pytest.approx(batch.vertex[index])
        assert again.vertex_se[0] == pytest.approx(batch.vertex_se[index])
        assert again.lowest[0] == pytest.approx(batch.lowest[index])


def refused(table: Table, status: str, word: str) -> FitResult:
    result = isoflop(table, bootstrap=20, optimal=[1e20])
    assert result.status == status
    assert not result.params
    assert not result.optimal
    assert not result.intervals
    assert word in result.reason
    return result


def test_no_number_without_an_optimum() -> None:
    concave, flat, edge, slope = planted(), planted(), planted(), planted()
    concave["loss"] = 6 - concave["loss"]
    refused(concave, "unidentified", "a maximum, not a minimum")
    flat["loss"] = np.full(35, 3.0)
    refused(flat, "unidentified", "do not tell")
    edge["loss"] = 3 + 0.1 * (np.log(edge["n"]) - 40) ** 2
    refused(edge, "bound_hit", "outside the range")
    noise = np.random.default_rng(3).normal(size=35)
    slope["loss"] = 3 + 1e-3 * noise
    assert not isoflop(slope).params
    for rows in (slice(0, 7), slice(0, 2), slice(0, 14)):
        refused({k: v[rows] for k, v in planted().items()}, "unidentified", "a line needs 3")
    three = planted(sizes=3)
    refused(three, "unidentified", "fewer than 4")
    same = planted()
    same["n"] = np.full(35, 1e9)
    refused(same, "unidentified", "fewer than 4")


def test_a_refused_budget_is_named_and_left_out() -> None:
    table = planted()
    first = table["c"] == BUDGETS[0]
    table["loss"] = np.where(first, 6 - table["loss"], table["loss"])
    result = isoflop(table)
    assert result.status == "converged"
    assert "budget 1e+18 left out: it has a maximum" in result.reason
    assert result.params["N_exponent"] == pytest.approx(0.5, abs=1e-6)
    assert [b.status for b in result.extras.budgets] == ["concave"] + ["converged"] * 4
    assert to_json(result)["extras"]["budgets"][0]["n"] is None
    assert "5 budgets have fewer than 5 rows" in isoflop(planted(sizes=4)).reason


def test_options_and_tables_that_cannot_be_used() -> None:
    for options in ({"fixed": {"N_exponent": 0.5}}, {"predict": [(1, 2, 3)]}, {"optimal": [-1.0]}):
        with pytest.raises(UserError):
            isoflop(planted(), **options)
    for name, value in (("loss", np.nan), ("n", 0.0), ("c", -1.0)):
        table = planted()
        table[name][3] = value
        with pytest.raises(UserError, match=f"{name} of row 3"):
            isoflop(table)


def test_rows_of_one_group_are_one_draw() -> None:
    """Every row four times over says nothing new: by row the interval halves, by group it stays."""
    table = noisy(sizes=12)
    copies = {name: np.tile(column, 4) for name, column in table.items()}
    groups = list(range(60)) * 4

    def width(result: FitResult) -> float:
        low, high = result.optimal[0].interval["n"]
        assert low < result.optimal[0].n < high
        return float(np.log(high / low))

    once = isoflop(table, bootstrap=2000, optimal=[1e21])
    by_row = isoflop(copies, bootstrap=2000, optimal=[1e21])
    by_group = isoflop(copies, bootstrap=2000, optimal=[1e21], groups=groups)
    assert once.bootstrap == Bootstrap(2000, 2000)
    assert (by_row.n_groups, by_group.n_groups) == (240, 60)
    assert width(by_group) == pytest.approx(width(once), rel=0.2)
    assert width(by_row) == pytest.approx(width(by_group) / 2, rel=0.1)


@pytest.mark.integration
def test_coverage() -> None:
    """95 % intervals of the exponent over 400 studies of 5 budgets with 8 sizes."""
    covered = 0
    for seed in range(400):
        low, high = isoflop(noisy(seed, sizes=8), bootstrap=300).intervals["N_exponent"]
        covered += low < 0.5 < high
    assert 0.88 < covered / 400 < 0.98, covered


def test_chinchilla_points() -> None:
    """Nine budgets read off the published figure give the published exponents, 0.49 and 0.51."""
    if not LAWS.exists():
        pytest.skip(f"{LAWS} is absent")
    table = pd.read_csv(LAWS / "epoch_chinchilla/svg_extracted_data.csv")
    budgets = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
    c, n = table["Training FLOP"].to_numpy(), table["Model Size"].to_numpy()
    nearest = budgets[np.abs(np.log(c[:, None] / budgets)).argmin(axis=1)]
    kept = np.abs(np.log(c / nearest)) < 0.1
    points = {"n": n[kept], "d": (c / 6 / n)[kept], "c": nearest[kept]}
    result = isoflop(points | {"loss": table["loss"].to_numpy()[kept]}, bootstrap=1000)
    assert result.params["N_exponent"] == pytest.approx(0.49, abs=0.01)
    assert result.params["D_exponent"] == pytest.approx(0.51, abs=0.01)
    low, high = result.intervals["N_exponent"]
    assert low < 0.49 < high
