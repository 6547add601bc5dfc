"""Kaplan's law of steps and the optimal schedule against numbers derived elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.advice.staged import (
    KAPLAN,
    KaplanSteps,
    growth_tokens,
    learning_rate,
    optimal_growth_point,
)

FIXED_BATCH = KaplanSteps(critical_batch=False)


@pytest.mark.parametrize(
    ("depth", "width", "published"),
    [
        (12, 768, 0.0021329),
        (6, 768, 0.0021749),
        (12, 384, 0.0022169),
        (24, 1536, 0.0020069),
        (24, 768, 0.0020909),
        (12, 1536, 0.0020489),
    ],
)
def test_learning_rate_reproduces_the_published_constants(depth, width, published):
    assert learning_rate(depth, width) == pytest.approx(published, abs=5.1e-8)


def test_compute_is_optimal_at_a_slope_of_minus_52_thousandths():
    assert KAPLAN.optimal_reducible == pytest.approx(1 / 11)
    assert KAPLAN.slope(KAPLAN.optimal_reducible) == pytest.approx(-0.0520, abs=5e-5)


@pytest.mark.parametrize(
    ("slope", "width", "depth", "both"),
    # 2.717 is a published 2.7179, cut off
    [(-0.0475, 2.7179, 1.8317, 3.6295), (-0.0575, 2.262, 1.618, 2.918)],
)
def test_step_ratio_at_the_published_thresholds(slope, width, depth, both):
    reducible = KAPLAN.reducible_at(slope)
    assert KAPLAN.slope(reducible) == pytest.approx(slope, rel=1e-12)
    ratios = [KAPLAN.step_ratio(reducible, factor) for factor in (4, 2, 8)]
    assert ratios == pytest.approx([width, depth, both], abs=6e-4)


@pytest.mark.parametrize(
    ("factor", "loss_ratio", "slope", "step_ratio", "saving", "saving_fixed_batch"),
    [
        (2, 1.1235, -0.0598, 1.58, 0.066, 0.098),
        (4, 1.0998, -0.0519, 2.49, 0.080, 0.137),
        (8, 1.0800, -0.0444, 3.92, 0.073, 0.147),
        (16, 1.0638, -0.0374, 6.16, 0.059, 0.142),
    ],
)
def test_optimal_growth_point(factor, loss_ratio, slope, step_ratio, saving, saving_fixed_batch):
    best = optimal_growth_point(factor)
    assert best.loss_ratio == pytest.approx(loss_ratio, abs=5e-5)
    assert best.slope == pytest.approx(slope, abs=5e-5)
    assert best.step_ratio == pytest.approx(step_ratio, abs=5e-3)
    assert best.saving == pytest.approx(saving, abs=5e-4)
    assert optimal_growth_point(factor, FIXED_BATCH).saving == pytest.approx(
        saving_fixed_batch, abs=5e-4
    )


@given(st.floats(1.05, 200))
def test_no_other_point_of_growth_saves_more(factor):
    """By the costs in FLOPs, at both batch policies, and never more than the chapter claims."""
    for law, limit in ((KAPLAN, 0.080), (FIXED_BATCH, 0.150)):
        best = optimal_growth_point(factor, law)
        small, large = 1e8, 1e8 * factor
        end = law.floor(large) / (1 - law.optimal_reducible)

        def saving(u, law=law, small=small, large=large, end=end):
            loss = u * law.floor(small)
            return (law.flops(large, loss) - law.flops(small, loss)) / law.flops(large, end)

        assert best.saving == pytest.approx(saving(best.loss_ratio), rel=1e-9)
        others = 1 + (best.loss_ratio - 1) * np.geomspace(0.2, 5, 41)
        assert max(map(saving, others)) <= best.saving * (1 + 1e-9)
        assert best.saving < limit


def test_growing_by_next_to_nothing_saves_next_to_nothing():
    """Where costs differ by less than rounding the point stays at its limit."""
    near = optimal_growth_point(1 + 1e-5)
    for factor in (1.0, math.nextafter(1, 2), 1 + 1e-15, 1 + 1e-9):
        best = optimal_growth_point(factor)
        assert best.loss_ratio == pytest.approx(near.loss_ratio, rel=1e-3)
        assert best.slope == pytest.approx(near.slope, rel=1e-2)
        assert best.step_ratio == pytest.approx(1, abs=1e-4)
        assert 0 <= best.saving < 1e-6
        assert growth_tokens(1e9, factor) == pytest.approx(growth_tokens(1e9, 1.001), rel=0.1)


@given(st.floats(1e6, 1e12), st.floats(1, 1e4))
def test_loss_and_cost_are_inverse(params, tokens_per_param):
    tokens = params * tokens_per_param
    loss = KAPLAN.loss(params, tokens)
    assert loss > KAPLAN.floor(params)
    if loss > KAPLAN.floor(params) * 1.001:  # nearer, the difference loses its digits
        assert KAPLAN.flops(params, loss) == pytest.approx(6 * params * tokens, rel=1e-6)


@given(st.floats(1e-4, 0.9))
def test_slope_is_that_of_the_curve(reducible):
    floor = KAPLAN.floor(1e9)
    losses = [floor / (1 - reducible * factor) for factor in (1 - 1e-5, 1 + 1e-5)]
    costs = [KAPLAN.flops(1e9, loss) for loss in losses]
    slope = math.log(losses[1] / losses[0]) / math.log(costs[1] / costs[0])
    assert KAPLAN.slope(reducible) == pytest.approx(slope, rel=1e-4)


def test_below_the_floor_is_never_reached():
    assert KAPLAN.flops(1e9, KAPLAN.floor(1e9)) == math.inf


def test_growth_tokens_bring_the_small_model_to_the_loss_of_growth():
    tokens = growth_tokens(4e9, 4)
    wanted = optimal_growth_point(4).loss_ratio * KAPLAN.floor(1e9)
    assert KAPLAN.loss(1e9, tokens) == pytest.approx(wanted, rel=1e-9)
