import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from mugrow.analysis.stats import (
    DRAWS,
    NOTHING,
    Interval,
    bootstrap,
    mean_interval,
    nominal_coverage,
    paired_bootstrap,
    percentile_interval,
    resample_counts,
    resamples,
    student_interval,
)

losses = st.floats(-1e3, 1e3)


def mean(drawn: list[float]) -> float:
    return float(np.mean(drawn))


def test_two_seeds_have_four_resamples() -> None:
    assert resamples(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    draws = bootstrap({7: 1.0, 3: 5.0}, mean)
    assert draws.tolist() == [5.0, 3.0, 3.0, 1.0]  # seed 3 comes first
    assert paired_bootstrap({7: 1.0, 3: 5.0}, mean) == Interval(3.0, 1.0, 5.0, 2)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_small_samples_are_enumerated(n: int) -> None:
    everything = set(itertools.product(range(n), repeat=n))
    assert {tuple(row) for row in resamples(n).tolist()} == everything
    assert len(resamples(n)) == len(everything)


def test_many_seeds_are_drawn_and_repeatable() -> None:
    assert resamples(6).shape == (DRAWS, 6)
    assert (resamples(6) == resamples(6)).all()
    samples = {seed: float(seed) for seed in range(20)}
    interval = paired_bootstrap(samples, mean)
    standard_error = np.std(range(20)) / math.sqrt(20)
    assert interval.value == 9.5
    assert interval.hi - interval.lo == pytest.approx(2 * 1.96 * standard_error, rel=0.05)


def test_each_multiset_is_computed_once() -> None:
    calls = []

    def statistic(drawn: list[float]) -> float:
        calls.append(drawn)
        return mean(drawn)

    draws = bootstrap({seed: float(seed) for seed in range(4)}, statistic)
    assert len(draws) == 4**4
    assert len(calls) == math.comb(7, 4)
    assert draws.tolist() == resamples(4).mean(axis=1).tolist()


def test_pairing_keeps_a_constant_difference_exact() -> None:
    pairs = {0: (1.0, 3.0), 1: (5.0, 7.0), 2: (9.0, 11.0)}
    interval = paired_bootstrap(pairs, lambda drawn: mean([b - a for a, b in drawn]))
    assert interval == Interval(2.0, 2.0, 2.0, 3)


def test_one_seed_and_none_have_no_interval() -> None:
    one = paired_bootstrap({0: 4.0}, mean)
    assert (one.value, one.n) == (4.0, 1)
    assert math.isnan(one.lo)
    assert math.isnan(one.hi)
    assert paired_bootstrap({}, mean) is NOTHING


def test_a_resample_without_the_statistic_leaves_no_interval() -> None:
    interval = percentile_interval(1.0, np.array([1.0, 2.0, np.nan]), 3)
    assert interval.value == 1.0
    assert math.isnan(interval.lo)
    assert math.isnan(interval.hi)


def test_open_ends_survive() -> None:
    interval = percentile_interval(1.0, np.array([-np.inf, 1.0, 2.0, 3.0]), 2)
    assert (interval.lo, interval.hi) == (-np.inf, 3.0)


def test_ends_are_the_central_level_of_many_draws() -> None:
    interval = percentile_interval(0.0, np.arange(1001.0), 9, level=0.9)
    assert (interval.lo, interval.hi) == (50.0, 950.0)


def test_nominal_coverage() -> None:
    assert [nominal_coverage(n) for n in (0, 1, 2, 3)] == [0.0, 0.0, 0.5, 0.75]


def test_a_slope_over_three_sizes_is_covered_as_it_says_and_a_robust_one_is_not() -> None:
    """Student over the slopes of three seeds, beside SciPy's robust slope of their means: that
    misses the truth whenever three means rise or fall, in two orders of six."""
    noise = np.random.default_rng(0).normal(size=(1000, 3, 3))  # draws, seeds, sizes
    student = [student_interval(list((of_seed[:, 2] - of_seed[:, 0]) / 2)) for of_seed in noise]
    assert 0.93 < np.mean([one.lo <= 0 <= one.hi for one in student]) < 0.97
    robust = [theilslopes(of_seed.mean(0)) for of_seed in noise]
    held = np.mean([one.low_slope <= 0 <= one.high_slope for one in robust])
    assert 0.62 < held < 0.71


@given(st.lists(losses, min_size=2, max_size=7))
def test_interval_holds_the_mean_and_stays_within_the_seeds(values: list[float]) -> None:
    interval = paired_bootstrap(dict(enumerate(values)), mean)
    slack = 1e-9 * max(map(abs, values), default=0.0)
    assert interval.lo - slack <= interval.value <= interval.hi + slack
    assert min(values) - slack <= interval.lo
    assert interval.hi <= max(values) + slack


@given(st.lists(losses, min_size=2, max_size=5), st.floats(0.1, 10), losses)
def test_interval_follows_a_change_of_units(
    values: list[float], scale: float, offset: float
) -> None:
    before = paired_bootstrap(dict(enumerate(values)), mean)
    after = paired_bootstrap({i: scale * v + offset for i, v in enumerate(values)}, mean)
    assert after.lo == pytest.approx(scale * before.lo + offset, abs=1e-6)
    assert after.hi == pytest.approx(scale * before.hi + offset, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_counts_are_the_resamples(n: int) -> None:
    (counts,), inverse = resample_counts(n)
    drawn = resamples(n)
    assert counts[inverse].tolist() == [np.bincount(row, minlength=n).tolist() for row in drawn]
    assert len(np.unique(counts, axis=0)) == len(counts)


def test_two_samples_are_resampled_apart() -> None:
    (first, second), inverse = resample_counts(2, 3)
    assert len(inverse) == 2**2 * 3**3
    pairs = {(tuple(a), tuple(b)) for a, b in zip(first, second, strict=True)}
    alone = [{tuple(row) for row in resample_counts(n)[0][0]} for n in (2, 3)]
    assert pairs == set(itertools.product(*alone))
    (first, second), inverse = resample_counts(4, 6)
    assert len(inverse) == DRAWS
    draws = np.hstack([first, second])[inverse]
    assert (draws[:, :4].sum(axis=1) == 4).all()
    assert (draws[:, 4:].sum(axis=1) == 6).all()
    assert abs(np.corrcoef(draws[:, 0], draws[:, 4])[0, 1]) < 0.05


@given(st.lists(losses, max_size=7))
def test_the_interval_of_a_mean(values: list[float]) -> None:
    by_seed = dict(enumerate(values))
    ours, theirs = mean_interval(by_seed), paired_bootstrap(by_seed, mean)
    assert (ours.lo, ours.value, ours.hi, ours.n) == pytest.approx(
        (theirs.lo, theirs.value, theirs.hi, theirs.n), abs=1e-9, nan_ok=True
    )
