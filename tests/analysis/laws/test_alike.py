"""Sizes and budgets are equal within a tolerance, at any magnitude."""

import numpy as np
import pytest

from mugrow.analysis.laws.alike import SAME, alike


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300, 1.7e308])
def test_what_differs_by_less_than_the_tolerance_is_the_first_of_them(scale):
    close, apart = scale * (1 + 0.9 * SAME), scale * (1 + 1.1 * SAME)
    assert list(alike(np.array([close, scale, apart]))) == [close, close, apart]


def test_what_is_no_finite_number_above_zero_stays():
    odd = np.array([np.inf, -1.0, 0.0, np.nan])
    assert np.array_equal(alike(odd), odd, equal_nan=True)
