"""Costs of growing, and savings in three accountings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.advice.plan import (
    GrowthPlan,
    decoder_flops_per_token,
    mlp_params,
    source_share,
)
from mugrow.analysis.measure.savings import ACCOUNTINGS
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

PLAN = GrowthPlan(target_params=2e8, target_tokens=4e9, source_params=1e8, source_tokens=2e9)


@pytest.mark.parametrize(
    ("factor", "share"), [(1.5, 0.44), (2, 0.25), (2.5, 0.16), (3, 0.11), (4, 0.063), (8, 0.016)]
)
def test_source_share_at_equal_tokens_a_parameter(factor, share):
    assert source_share(20, 20, factor) == pytest.approx(share, abs=5e-3)


@given(st.floats(1.01, 100), st.floats(1, 1e3), st.floats(1, 1e3))
def test_source_share_is_that_of_the_plan(factor, source_ratio, target_ratio):
    small = 1e8
    plan = GrowthPlan(
        target_params=small * factor,
        target_tokens=small * factor * target_ratio,
        source_params=small,
        source_tokens=small * source_ratio,
    )
    expected = source_share(source_ratio, target_ratio, plan.growth_factor)
    assert plan.source_share == pytest.approx(expected)


def test_three_accountings_by_hand():
    """Half the target's cost, a source of a quarter, tuning of half."""
    plan = GrowthPlan(
        target_params=2e8,
        target_tokens=4e9,
        source_params=1e8,
        source_tokens=2e9,
        tuning_flops=0.5 * PLAN.target_flops,
    )
    savings = [plan.saving(0.5, accounting) for accounting in ACCOUNTINGS]
    assert savings == pytest.approx([0.5, 0.25, 1 - 1.25 / 1.5])


@given(st.floats(0, 5), st.floats(0, 5), st.sampled_from(ACCOUNTINGS))
def test_an_interval_of_cost_is_one_of_saving(a, b, accounting):
    lo, hi = sorted((a, b))
    saving = PLAN.saving_interval(Interval((lo + hi) / 2, lo, hi, 3), accounting)
    assert saving.lo <= saving.value <= saving.hi
    assert saving.lo == pytest.approx(PLAN.saving(hi, accounting))


def test_an_arm_that_never_gets_there_saves_minus_infinity():
    saving = PLAN.saving_interval(Interval(math.inf, 1.1, math.inf, 3), "target")
    assert (saving.value, saving.lo) == (-math.inf, -math.inf)
    assert saving.hi == pytest.approx(-0.1)


def test_who_pays_for_the_source_decides_the_accounting():
    assert PLAN.accounting == "source"
    sunk = GrowthPlan(
        target_params=2e8, target_tokens=1, source_params=1e8, source_tokens=1, source_sunk=True
    )
    assert sunk.accounting == "target"


@pytest.mark.parametrize("name", ["target_params", "target_tokens", "source_params"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_sizes_are_positive_finite_numbers(name, value):
    sizes = {"target_params": 2e8, "target_tokens": 1e9, "source_params": 1e8, "source_tokens": 1e9}
    with pytest.raises(UserError, match=f"^{name} must be a number from 1 to 1e"):
        GrowthPlan(**(sizes | {name: value}))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_tuning_is_not_negative(value):
    with pytest.raises(UserError, match="tuning_budget"):
        GrowthPlan(
            target_params=2,
            target_tokens=1,
            source_params=1,
            source_tokens=1,
            tuning_flops=value,
        )


def test_a_source_is_smaller_than_its_target():
    with pytest.raises(UserError, match=r"source_params 2e\+08 is not below target params 2e\+08"):
        GrowthPlan(target_params=2e8, target_tokens=1e9, source_params=2e8, source_tokens=1e9)


def test_tuning_on_narrow_models_as_ma_et_al_count_it():
    """GPT-2 small, and the perceptron of ForestCoverType grown by 4 from 500 and from 100."""

    def small(ratio):
        return decoder_flops_per_token(768 // ratio, 12, 1024, 50257)

    ratios = [small(1) / small(ratio) for ratio in (1, 2, 4, 8, 16, 32, 64)]
    assert ratios == pytest.approx([1, 2.85, 7.24, 16.73, 36.29, 75.79, 155.0], abs=5e-3)
    assert [round(ratio) for ratio in ratios] == [1, 3, 7, 17, 36, 76, 155]
    perceptrons = [mlp_params((54, width, width, width, 7)) for width in (2000, 400)]
    assert perceptrons[0] / perceptrons[1] == pytest.approx(23.6, abs=0.05)
