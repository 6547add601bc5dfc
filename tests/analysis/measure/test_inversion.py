"""The set of places that a paired t test does not reject, against the test itself on a grid."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from mugrow.analysis.measure.inversion import (
    accepted,
    accepted_by_any,
    crossed,
    paired,
    unpaired,
)
from mugrow.analysis.stats import Array, crossed_interval

GRID = 400


def along(points: Array, grid: Array) -> Array:
    """Differences (seeds, points) at places of a grid, in points."""
    places = np.arange(points.shape[1])
    return np.array([np.interp(grid, places, row) for row in points])


def test_one_line_is_students_interval_in_its_own_units() -> None:
    """Parallel lines: where they cross 0 is a mean plus noise."""
    offsets = np.array([0.9, 1.0, 1.2])
    lines = offsets[:, None] - np.linspace(0, 3, 4)
    lo, hi = accepted(paired(lines)).hull()
    reach = 4.302653 * offsets.std(ddof=1) / math.sqrt(3)
    assert float(lo) == pytest.approx(offsets.mean() - reach, rel=1e-6)
    assert float(hi) == pytest.approx(offsets.mean() + reach, rel=1e-6)


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 5]), st.sampled_from([0.8, 0.95]))
def test_the_set_is_what_the_test_accepts(seed: int, n: int, level: float) -> None:
    random = np.random.default_rng(seed)
    points = np.linspace(1.5, -1.5, 5) + random.normal(size=(n, 5)) * random.choice([0.1, 0.5, 2])
    grid = np.linspace(0, 4, GRID + 1)
    passed = grid[ttest_1samp(along(points, grid), 0).pvalue >= 1 - level]
    found = accepted(paired(points), level)
    if len(passed):
        assert float(found.lo) <= passed[0] + 1e-9
        assert float(found.hi) >= passed[-1] - 1e-9
    for end in (float(found.lo), float(found.hi)):
        if not math.isnan(end):
            at = along(points, np.array([end]))[:, 0]
            assert ttest_1samp(at, 0).pvalue >= 1 - level - 1e-6
    first = ttest_1samp(points[:, 0], 0)
    assert bool(found.before) == (first.pvalue > 1 - level or first.statistic < 0)
    last = ttest_1samp(points[:, -1], 0)
    assert bool(found.after) == (last.pvalue > 1 - level or last.statistic > 0)


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(2, 2), (2, 16), (3, 4), (5, 8)]),
    st.sampled_from([(1.0, 0.0, 0.0), (0.1, 1.0, 0.1), (0.1, 0.1, 1.0), (1.0, 1.0, 1.0)]),
)
def test_the_crossed_set_is_where_the_crossed_interval_holds_0(seed, shape, parts) -> None:
    random = np.random.default_rng(seed)
    (seeds, blocks), (of_seeds, of_blocks, rest) = shape, parts
    points = np.linspace(1.5, -1.5, 5) + 0.5 * (
        of_seeds * random.normal(size=(seeds, 1, 5))
        + of_blocks * random.normal(size=(blocks, 5))
        + rest * random.normal(size=(seeds, blocks, 5))
    )
    found = accepted_by_any(crossed(points))
    places = np.arange(5)

    def held(place: float) -> bool:
        at = np.array([[np.interp(place, places, one) for one in row] for row in points])
        interval = crossed_interval(at)
        return interval.lo <= 0 <= interval.hi

    grid = np.linspace(0, 4, 61)
    inside = [place for place in grid if held(place)]
    assert inside
    lo, hi = float(found.lo), float(found.hi)
    assert lo <= inside[0] + 1e-9
    assert hi >= inside[-1] - 1e-9
    for end, beyond in ((lo, lo - 1e-6), (hi, hi + 1e-6)):
        if 1e-6 < end < 4 - 1e-6:
            assert held(end) or held(end + 1e-9) or held(end - 1e-9)
            assert not held(beyond)
    assert bool(found.before) == (held(0.0) or points[..., 0].mean() < 0)
    assert bool(found.after) == (held(4.0) or points[..., 4].mean() > 0)


def test_open_ends_and_none_inside() -> None:
    """Certainly above everywhere: only beyond the last point, which therefore is the lower end."""
    noise = np.array([[0.0], [0.01], [0.02]])
    above = accepted(paired(1 + noise - 0.1 * np.arange(3)))
    assert math.isnan(float(above.lo))
    assert [float(end) for end in above.hull()] == [2.0, math.inf]
    below = accepted(paired(-1 + noise - 0.1 * np.arange(3)))
    assert [float(end) for end in below.hull()] == [-math.inf, 0.0]
    unsure = accepted(paired(100 * noise - 0.1 * np.arange(3)))
    assert [float(end) for end in unsure.hull()] == [-math.inf, math.inf]


def test_without_noise_it_is_the_crossing_itself() -> None:
    lo, hi = accepted(paired(np.tile([1.0, 0.3, -0.5, -0.6], (3, 1)))).hull()
    assert float(lo) == float(hi) == pytest.approx(1 + 0.3 / 0.8)


def test_a_batch_is_its_members() -> None:
    batch = np.random.default_rng(0).normal(size=(6, 3, 4)) + np.linspace(1, -1, 4)
    together = accepted(paired(batch)).hull()
    for at, one in enumerate(batch):
        alone = accepted(paired(one)).hull()
        assert [end[at] for end in together] == [float(end) for end in alone]


def test_seeds_of_their_own_take_welchs_test() -> None:
    random = np.random.default_rng(3)
    falling = np.linspace(1, -1, 5) + random.normal(size=(4, 5)) * 0.1
    constant = random.normal(size=3) * 0.2
    found = accepted(unpaired(falling, constant))
    p = [ttest_ind(row, constant, equal_var=False).pvalue for row in falling.T]
    lo, hi = float(found.lo), float(found.hi)
    for place, value in enumerate(p):
        assert (value >= 0.05) == (lo <= place <= hi)
    for end in (lo, hi):  # between points fewer degrees of freedom: on the wide side
        at = along(falling, np.array([end]))[:, 0]
        assert 0.03 < ttest_ind(at, constant, equal_var=False).pvalue <= 0.05 + 1e-6
