"""Places of the bowls of one shape: planted places are found, whatever the shape and rung."""

import math

import numpy as np
import pytest

from mugrow.analysis.transfer.shape import RATIOS, SHAPES, Shape, near, places

GRID = np.arange(-10.0, -3.9, 0.5)


def bowls(shape, *bests):
    """As steep as their place in ``bests`` says, on floors of their own."""
    for rung, best in enumerate(bests):
        loss = 2.0 - 0.1 * rung + 0.02 * (1 + rung) * shape.height(GRID - best)
        inside = near(GRID, loss)
        assert inside is not None
        yield GRID[inside], loss[inside]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda one: f"{one.family} {one.asymmetry:.2f}")
def test_planted_places_of_every_shape_are_found(shape):
    bests = [-7.0, -7.328125, -6.640625]  # 64ths, as the places tried
    assert places(list(bowls(shape, *bests))) == pytest.approx(bests, abs=1e-9)


def test_shapes_are_lowest_at_0_and_steeper_where_they_say():
    for shape in SHAPES:
        low, bottom, high = shape.height(np.array([-1.0, 0.0, 1.0]))
        assert bottom == 0
        assert min(low, high) > 0
        above = shape.asymmetry - 1 if shape.family == "kinked" else shape.asymmetry
        assert np.sign(high - low) == np.sign(above)
    assert Shape("kinked", 3.0).height(np.array([2.0]))[0] == 12
    assert Shape("kinked", 3.0).height(np.array([-2.0]))[0] == 4
    assert Shape("smooth", 1.0).height(np.array([1.0]))[0] == pytest.approx(2 * (math.e - 2))
    assert min(RATIOS) <= 1 / 3 < 3 <= max(RATIOS)


def test_the_shape_is_that_of_all_rungs():
    """A rung that alone would be fitted best by a parabola is not, beside two that are uneven."""
    uneven = list(bowls(Shape("kinked", 4.0), -7.0, -7.5))
    noisy = (uneven[0][0], uneven[0][1] + 0.05 * np.cos(3 * uneven[0][0]))
    alone, beside = places([noisy])[0], places([*uneven, noisy])[2]
    assert abs(beside - -7.0) < abs(alone - -7.0)


def test_what_has_no_place():
    assert near(GRID, np.full(len(GRID), np.inf)) is None
    assert near(GRID, GRID**2) is None  # at the edge
    assert near(GRID[::3], (GRID[::3] + 7) ** 2) is None  # too few
    concave = (GRID[:9], -((GRID[:9] + 8.0) ** 2))
    even = next(bowls(Shape("kinked", 1.0), -7.0))
    found = places([None, concave, even])
    assert math.isnan(found[0])
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(-7.0)
    assert all(math.isnan(place) for place in places([None, concave]))
