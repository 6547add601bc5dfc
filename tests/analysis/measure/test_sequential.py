"""Looks while seeds arrive: their levels, what is decided when, and how many seeds it takes."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from mugrow.analysis.measure.sequential import (
    Looks,
    calibrated,
    decide,
    null_p_values,
    power_of,
    seeds_needed,
)
from mugrow.analysis.stats import student_interval

LOOKS = Looks((3, 5, 8), 0.05)


def test_levels_are_above_the_union_bounds_and_below_one_looks() -> None:
    assert 0.05 / 3 < LOOKS.level < 0.025
    assert Looks((4,), 0.1).level == 0.1
    assert 0.05 / 2 < calibrated((5, 6), 0.05) < 0.05


def test_null_p_values_are_scipys_and_uniform() -> None:
    found = null_p_values((3, 5, 8))
    random = np.random.default_rng(0)
    first = np.array([random.standard_normal(len(found))[0] for _ in range(8)])
    for column, seeds in enumerate((3, 5, 8)):
        assert found[0, column] == pytest.approx(ttest_1samp(first[:seeds], 0).pvalue)
        assert np.mean(found[:, column] < 0.05) == pytest.approx(0.05, abs=0.0015)


def test_the_error_of_all_looks_together() -> None:
    """Of another generator than the levels were found with; at 0.05 each it would be 0.11."""
    random = np.random.default_rng(7)
    studies, wrong, careless = 1500, 0, 0
    for _ in range(studies):
        differences = dict(enumerate(random.standard_normal(8).tolist()))
        wrong += decide(differences, LOOKS).state == "decided"
        careless += any(ttest_of(differences, seeds) < 0.05 for seeds in LOOKS.seeds)
    assert wrong / studies < 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)
    assert careless / studies > 0.09


def ttest_of(differences: dict[int, float], seeds: int) -> float:
    values = np.array(list(differences.values())[:seeds])
    t = abs(values.mean()) / values.std(ddof=1) * math.sqrt(seeds)
    return 0.0 if t > {3: 4.302653, 5: 2.776445, 8: 2.364624}[seeds] else 1.0


def test_it_goes_on_until_a_look_decides() -> None:
    clear = {4: -1.0, 7: -1.01, 9: -0.99}
    assert decide(dict(list(clear.items())[:2]), LOOKS).state == "go on"
    found = decide(clear, LOOKS)
    assert (found.state, found.seeds, found.next_look) == ("decided", 3, None)
    expected = student_interval(list(clear.values()), 1 - LOOKS.level)
    assert found.interval == expected
    unclear = {0: -1.0, 1: 1.0, 2: 0.1, 3: 0.5}
    waiting = decide(unclear, LOOKS)
    assert (waiting.state, waiting.seeds, waiting.next_look) == ("go on", 3, 5)
    assert waiting.interval == student_interval([-1.0, 1.0, 0.1], 1 - LOOKS.level)
    at_cap = decide(unclear | {5: -0.5, 6: 0.2, 7: 0.0, 8: -0.3, 9: 99.0}, LOOKS)
    assert (at_cap.state, at_cap.seeds, at_cap.interval.n) == ("not decided at the cap", 8, 8)
    none = decide({}, LOOKS)
    assert (none.state, none.seeds, none.next_look) == ("go on", 0, 3)
    assert math.isnan(none.interval.lo)


def test_a_decision_is_not_taken_back_by_later_seeds() -> None:
    early = {0: -1.0, 1: -1.01, 2: -0.99}
    assert decide(early | {3: 9.0, 4: -9.0}, LOOKS) == decide(early, LOOKS)


def test_seeds_needed_give_the_power_asked_for() -> None:
    random = np.random.default_rng(3)
    n = int(seeds_needed(0.02, 0.012, power=0.8))
    assert power_of(0.02, 0.012, n - 1) < 0.8 <= power_of(0.02, 0.012, n)
    draws = random.normal(0.02, 0.012, size=(4000, n))
    t = draws.mean(axis=1) / draws.std(axis=1, ddof=1) * math.sqrt(n)
    critical = ttest_critical(n)
    assert np.mean(t > critical) == pytest.approx(power_of(0.02, 0.012, n), abs=0.025)
    assert seeds_needed(-0.02, 0.012) == seeds_needed(0.02, 0.012)


def ttest_critical(n: int) -> float:
    unit = student_interval([-1.0, 1.0] + [0.0] * (n - 2))
    return unit.hi / (math.sqrt(2 / (n - 1)) / math.sqrt(n))


def test_seeds_needed_at_the_limits() -> None:
    assert seeds_needed(0.0, 1.0) == seeds_needed(1e-9, 1.0) == math.inf
    assert seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(1.0, 1e-9) == 2
    assert math.isnan(seeds_needed(math.nan, 1.0))
    assert power_of(1.0, 1.0, 1) == 0.0


@pytest.mark.parametrize("seeds", [(), (1, 3), (5, 3), (3, 3)])
def test_looks_ascend_from_two_seeds(seeds: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        Looks(seeds)
