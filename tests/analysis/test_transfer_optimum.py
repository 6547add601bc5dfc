"""The optimum of one sweep: the best rate, the parabola's vertex, and when there is none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.transfer.optimum import loss_at, optimum
from mugrow.bench.spec import UserError

GRID = np.arange(-10.0, -3.0)


def bowl(center: float, floor: float = 2.0, square: float = 0.05) -> np.ndarray:
    return floor + square * (GRID - center) ** 2


@pytest.mark.parametrize("center", [-8.3, -7.0, -6.1])
def test_vertex_of_a_parabola_with_noise(center: float) -> None:
    """With noise of sd s the vertex has one of s / (curvature sqrt(sum of x^2)): here 0.016."""
    grid = np.arange(-10.0, -3.75, 0.5)
    random = np.random.default_rng(0)
    found = [
        optimum(grid, 2 + 0.05 * (grid - center) ** 2 + random.normal(0, 0.005, len(grid)))
        for _ in range(100)
    ]
    vertices = np.array([one.vertex_log2_lr for one in found], dtype=float)
    assert np.abs(vertices.mean() - center) < 0.01
    assert vertices.std() < 0.03


def test_vertex_of_an_exact_parabola() -> None:
    found = optimum(GRID, bowl(-6.8))
    assert found.argmin_log2_lr == -7
    assert found.argmin_loss == pytest.approx(2.002)
    assert found.vertex_log2_lr == pytest.approx(-6.8)
    assert found.vertex_loss == pytest.approx(2.0)
    assert found.curvature == pytest.approx(0.1)
    assert found.edge is None
    assert found.best_log2_lr == found.vertex_log2_lr


def test_the_parabola_sees_only_its_window() -> None:
    blown_up = bowl(-6.8) + np.where(np.abs(GRID + 7) > 2, 50.0, 0.0)
    assert optimum(GRID, blown_up).vertex_log2_lr == pytest.approx(-6.8)


def test_rates_that_were_rounded_are_in_the_window() -> None:
    rounded = np.log2([0.00098, 0.002, 0.0039, 0.0078, 0.016, 0.031, 0.063])
    found = optimum(rounded, 2 + 0.05 * (rounded + 6.8) ** 2)
    assert found.vertex_log2_lr == pytest.approx(-6.8)


@pytest.mark.parametrize(("center", "edge"), [(-12.0, "low"), (0.0, "high"), (-7.0, None)])
def test_edges(center: float, edge: str | None) -> None:
    assert optimum(GRID, bowl(center)).edge == edge
    if edge:
        assert optimum(GRID, bowl(center)).vertex_log2_lr is None


@pytest.mark.parametrize("beyond", [math.inf, math.nan])
def test_rates_that_diverged_bracket_the_optimum(beyond: float) -> None:
    loss = bowl(-3.0)
    loss[-2:] = beyond
    found = optimum(GRID, loss)
    assert (found.argmin_log2_lr, found.edge) == (-6.0, None)
    assert found.vertex_log2_lr is None  # no finite point above the argmin
    assert found.best_log2_lr == -6.0
    assert optimum(-GRID, loss).edge is None  # the same at the low end


def test_no_vertex_from_four_points() -> None:
    near = np.abs(GRID + 7) < 2.5
    assert optimum(GRID[near][:4], bowl(-7.0)[near][:4]).vertex_log2_lr is None
    assert optimum(GRID[near], bowl(-7.0)[near]).vertex_log2_lr == pytest.approx(-7.0)


def test_no_vertex_from_a_flat_or_concave_bowl() -> None:
    assert optimum(GRID, np.full(7, 2.0)).vertex_log2_lr is None
    concave = [9.0, 2.0, 2.6, 1.9, 2.6, 2.0, 9.0]
    assert optimum(GRID, concave).argmin_log2_lr == -7
    assert optimum(GRID, concave).vertex_log2_lr is None


def test_no_vertex_without_points_on_both_sides() -> None:
    half_steps = np.arange(-7.0, -4.0, 0.5)
    loss = (half_steps + 6.6) ** 2
    assert optimum(half_steps, loss).vertex_log2_lr == pytest.approx(-6.6)
    loss[0] = -0.1
    assert optimum(half_steps, loss).vertex_log2_lr is None


def test_ties_go_to_the_lower_rate() -> None:
    assert optimum(GRID, np.full(7, 2.0)).argmin_log2_lr == -10


def test_a_single_rate_is_at_an_edge() -> None:
    assert optimum([-7.0], [2.0]).edge == "low"


def test_nothing_finished() -> None:
    with pytest.raises(UserError, match="none of the 7"):
        optimum(GRID, np.full(7, np.inf))


@given(st.permutations(range(7)), st.floats(-9.4, -4.6), st.floats(0.01, 1))
def test_the_order_of_points_does_not_matter(
    order: list[int], center: float, square: float
) -> None:
    loss = bowl(center, square=square)
    plain, shuffled = optimum(GRID, loss), optimum(GRID[order], loss[order])
    assert plain.argmin_log2_lr == shuffled.argmin_log2_lr
    assert plain.edge == shuffled.edge
    assert (plain.vertex_log2_lr is None) == (shuffled.vertex_log2_lr is None)
    if plain.vertex_log2_lr is not None:
        assert shuffled.vertex_log2_lr == pytest.approx(plain.vertex_log2_lr)
        assert plain.vertex_log2_lr == pytest.approx(center)


@given(st.lists(st.floats(1, 9), min_size=7, max_size=7), st.floats(-5, 5), st.floats(-3, 3))
def test_optimum_moves_with_its_axes(losses: list[float], up: float, right: float) -> None:
    loss = np.round(losses, 3)
    here, there = optimum(GRID, loss), optimum(GRID + right, loss + up)
    assert there.argmin_log2_lr == pytest.approx(here.argmin_log2_lr + right)
    assert there.argmin_loss == pytest.approx(here.argmin_loss + up)
    if here.vertex_log2_lr is not None and there.vertex_log2_lr is not None:
        lowest, highest = GRID[0], GRID[-1]
        assert lowest <= here.vertex_log2_lr <= highest
        assert there.vertex_log2_lr == pytest.approx(here.vertex_log2_lr + right, abs=1e-6)


def test_loss_at() -> None:
    loss = np.array([3.0, 2.0, np.nan, np.inf, 5.0])
    lrs = np.array([-8.0, -7.0, -6.0, -5.0, -4.0])
    assert loss_at(lrs, loss, -7.0) == (2.0, "tested")
    assert loss_at(lrs, loss, -7.25) == (2.25, "interpolated")
    assert loss_at(lrs, loss, -5.0) == (math.inf, "diverged")
    assert loss_at(lrs, loss, -4.5) == (math.inf, "diverged")
    for at in (-9.0, -6.0, -6.5, -3.0):
        value, known = loss_at(lrs, loss, at)
        assert math.isnan(value)
        assert known == "unknown"
