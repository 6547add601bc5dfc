import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes, ttest_1samp

from mugrow.analysis.stats import (
    NOTHING,
    crossed_interval,
    holm,
    p_value,
    ranking,
    student_interval,
)

losses = st.floats(-1e3, 1e3)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_mean_has_students_interval(level: float) -> None:
    values = [1.0, 1.5, 0.7, 1.1]
    found = student_interval(values, level)
    ends = ttest_1samp(values, 0).confidence_interval(level)
    assert (found.lo, found.hi) == pytest.approx(tuple(ends))
    assert (found.value, found.n) == (pytest.approx(np.mean(values)), 4)


def test_one_seed_and_none_have_no_interval() -> None:
    one = student_interval([4.0])
    assert (one.value, one.n) == (4.0, 1)
    assert math.isnan(one.lo)
    assert math.isnan(one.hi)
    assert student_interval([]) is NOTHING


@given(st.lists(losses, min_size=2, max_size=5), st.floats(0.1, 10), losses)
def test_interval_follows_a_change_of_units(
    values: list[float], scale: float, offset: float
) -> None:
    before = student_interval(values)
    after = student_interval([scale * v + offset for v in values])
    assert after.lo == pytest.approx(scale * before.lo + offset, abs=1e-6)
    assert after.hi == pytest.approx(scale * before.hi + offset, abs=1e-6)


def test_p_values_are_students() -> None:
    assert p_value([0.5, 0.6, 0.4]) == pytest.approx(ttest_1samp([0.5, 0.6, 0.4], 0).pvalue)
    assert math.isnan(p_value([1.0]))
    assert (p_value([1.0, 1.0]), p_value([0.0, 0.0])) == (0.0, 1.0)


def test_holm_by_hand() -> None:
    """0.01 times 4, 0.02 times 3, then at least that; 0.9 stays below 1."""
    found = holm([0.03, 0.01, 0.9, 0.02])
    assert found.tolist() == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.6]).tolist() == [1.0, 1.0]
    with_gap = holm([0.03, math.nan, 0.01]).tolist()
    assert math.isnan(with_gap[1])
    assert with_gap[::2] == pytest.approx([0.03, 0.02])
    assert holm([]).tolist() == []


def test_holm_keeps_the_error_of_a_family() -> None:
    """Twenty arms that share a baseline, none of them different, four seeds."""
    random = np.random.default_rng(0)
    wrong, alone, studies = 0, 0, 400
    for _ in range(studies):
        losses = random.normal(size=(20, 4)) - random.normal(size=4)
        p = [p_value(row) for row in losses]
        alone += min(p) <= 0.05
        wrong += min(holm(p)) <= 0.05
    assert wrong / studies <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)
    assert alone / studies > 0.2


def test_the_probability_of_being_best_is_that_of_students_t() -> None:
    """Of two arms, that of the paired difference: t with one degree of freedom for two seeds."""
    losses = {"a": {0: 1.0, 1: 1.3, 2: 1.1}, "b": {0: 1.1, 1: 1.35, 2: 1.22}}
    first, second = ranking(losses)
    apart = [losses["b"][seed] - losses["a"][seed] for seed in range(3)]
    assert (first.names, second.names) == (("a",), ("b",))
    assert first.best == pytest.approx(1 - p_value(apart) / 2, abs=0.01)
    assert first.best + second.best == pytest.approx(1)
    assert first.loss == pytest.approx(np.mean([1.0, 1.3, 1.1]))


def test_equal_arms_are_one_row_with_several_names() -> None:
    runs = {0: 1.0, 1: 1.2}
    rows = ranking({"stack": runs, "worse": {0: 1.1, 1: 1.35}, "bert2bert": dict(runs)})
    assert [row.names for row in rows] == [("stack", "bert2bert"), ("worse",)]
    (alone,) = ranking({"a": runs, "b": dict(runs)})
    assert (alone.names, alone.best) == (("a", "b"), 1.0)


def test_an_arm_that_lost_a_seed_is_compared_on_those_it_has() -> None:
    """Seed 1 is the hard one, and lacking it is no merit."""
    rows = ranking(
        {
            "a": {0: 1.00, 1: 2.00, 2: 1.10},
            "b": {0: 1.11, 1: 2.10, 2: 1.20},
            "c": {0: 1.21, 1: math.nan, 2: 1.29},
            "d": {5: 0.1},
        }
    )
    assert [row.names for row in rows] == [("a",), ("b",), ("c",)]
    assert rows[2].loss == pytest.approx(1.57, abs=0.02)
    assert rows[0].best > 0.95


def test_one_seed_ranks_without_probabilities() -> None:
    rows = ranking({"a": {0: 2.0}, "b": {0: 1.0}})
    assert [row.names for row in rows] == [("b",), ("a",)]
    assert all(math.isnan(row.best) for row in rows)
    assert ranking({}) == ranking({"a": {}}) == ()


def test_the_probability_of_being_best_is_calibrated() -> None:
    """Over studies whose arms come from a wide prior, the arm named best at p is best in p."""
    random = np.random.default_rng(1)
    said, was = [], []
    for _ in range(150):
        truth = random.normal(0, 1.5, size=4)
        runs = truth[:, None] + random.normal(size=3) * 3 + random.normal(size=(4, 3))
        first = ranking({str(a): dict(enumerate(row)) for a, row in enumerate(runs)})[0]
        said.append(first.best)
        was.append(float(first.names[0] == str(truth.argmin())))
    assert abs(np.mean(said) - np.mean(was)) < 3 * math.sqrt(0.2 / 150)


def test_crossed_factors_by_hand() -> None:
    """Without noise the mean squares of the rest are 0: both Student's reaches, in quadrature."""
    seeds, blocks = np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0])
    found = crossed_interval(seeds[:, None] + blocks)
    reach = math.hypot(4.302653 * 1 / math.sqrt(3), 12.706205 * math.sqrt(2) / math.sqrt(2))
    assert (found.value, found.n) == (2.0, 3)
    assert found.hi - found.value == pytest.approx(reach, rel=1e-6)


def test_blocks_that_do_not_matter_leave_students_interval() -> None:
    seeds = [1.0, 1.5, 0.7]
    found = crossed_interval(np.repeat(np.array(seeds)[:, None], 4, axis=1))
    assert (found.lo, found.hi) == pytest.approx(student_ends(seeds))
    for values in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, math.nan], [1.0, 2.0]]):
        assert math.isnan(crossed_interval(values).lo)


def student_ends(values: list[float]) -> tuple[float, float]:
    found = student_interval(values)
    return found.lo, found.hi


def test_a_slope_over_three_sizes_is_covered_as_it_says_and_a_robust_one_is_not() -> None:
    """Student over the slopes of three seeds, beside SciPy's robust slope of their means: that
    misses the truth whenever three means rise or fall, in two orders of six."""
    noise = np.random.default_rng(0).normal(size=(1000, 3, 3))  # draws, seeds, sizes
    student = [student_interval(list((of_seed[:, 2] - of_seed[:, 0]) / 2)) for of_seed in noise]
    assert 0.93 < np.mean([one.lo <= 0 <= one.hi for one in student]) < 0.97
    robust = [theilslopes(of_seed.mean(0)) for of_seed in noise]
    held = np.mean([one.low_slope <= 0 <= one.high_slope for one in robust])
    assert 0.62 < held < 0.71
