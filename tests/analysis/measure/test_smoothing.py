"""A running median that leaves clean curves alone, and reaches over no gap."""

import numpy as np
import pytest

from mugrow.analysis.measure.smoothing import smoothed

X = np.arange(1.0, 41.0)
FALLING = 2 + 5 * X**-0.5


@pytest.mark.parametrize("points", [1, 3, 9, 39, 101])
@pytest.mark.parametrize("x", [X, 2.0 ** X[:20], 10 * X])
def test_a_curve_that_falls_is_itself(x: np.ndarray, points: int) -> None:
    assert smoothed(x, FALLING[: len(x)], points).tolist() == FALLING[: len(x)].tolist()


def test_a_lucky_point_is_taken_out_and_ends_stay() -> None:
    noisy = FALLING.copy()
    noisy[20] = 0.0
    found = smoothed(X, noisy, 3)
    assert found[20] == FALLING[21]
    assert (found[0], found[-1]) == (FALLING[0], FALLING[-1])


def test_it_stops_at_a_loss_that_is_not_finite_and_at_a_gap() -> None:
    stairs = np.where(X < 20, 5.0, 1.0) + 0.1 * (X % 2)
    left, right = X < 20, X > 20
    apart = np.concatenate([smoothed(X[one], stairs[one], 9) for one in (left, right)])
    there = left | right
    together = smoothed(X[there], stairs[there], 9, broken=np.array([20.0]))
    assert together.tolist() == apart.tolist()
    assert smoothed(X[there], stairs[there], 9).tolist() != apart.tolist()
    wide = np.where(left, X, X + 100)[there]
    assert smoothed(wide, stairs[there], 9).tolist() == apart.tolist()


def test_two_cadences_are_smoothed_each() -> None:
    x = np.concatenate([np.arange(1.0, 20), np.arange(20.0, 200, 10)])
    noise = np.random.default_rng(0).normal(0, 0.1, len(x))
    assert smoothed(x, noise, 5)[3:-3].std() < 0.8 * noise[3:-3].std()
