"""Published laws: closed forms, the exchange rate of loss and compute, and the held-out error."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from mugrow.analysis.advice.published import BESIROGLU, SHRINK_AND_PERTURB, Chinchilla

# the optimum of the objective on the points of Besiroglu et al.
OPTIMUM = Chinchilla(e=1.817218, a=477.826, b=2143.42, alpha=0.347311, beta=0.367172)


def test_closed_form_at_the_optimum():
    assert OPTIMUM.g == pytest.approx(0.113208, abs=5e-7)
    assert OPTIMUM.k == pytest.approx(1981.48, abs=6e-3)
    assert OPTIMUM.gamma == pytest.approx(0.178483, abs=5e-7)


@pytest.mark.parametrize("law", [OPTIMUM, BESIROGLU, SHRINK_AND_PERTURB.grown])
@pytest.mark.parametrize("flops", [1e17, 1e21, 5.76e23])
def test_frontier_is_the_minimum(law, flops):
    found = minimize_scalar(
        lambda log_n: law.loss(math.exp(log_n), flops / 6 / math.exp(log_n)),
        bounds=(math.log(1e5), math.log(1e13)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert law.frontier(flops) == pytest.approx(found.fun, rel=1e-10)
    assert law.loss(*law.optimal(flops)) == pytest.approx(found.fun, rel=1e-10)
    assert math.prod(law.optimal(flops)) == pytest.approx(flops / 6)


def test_optimum_for_chinchillas_budget():
    params, tokens = OPTIMUM.optimal(5.76e23)
    assert params == pytest.approx(7.32e10, rel=1e-3)
    assert tokens == pytest.approx(1.312e12, rel=1e-3)


@pytest.mark.parametrize(
    ("flops", "loss", "ratios"),
    [
        (1e17, 4.339, (1.020, 1.10, 1.49)),
        (1e18, 3.489, (1.024, 1.12, 1.63)),
        (1e19, 2.926, (1.030, 1.16, 1.87)),
        (1e20, 2.552, (1.040, 1.22, 2.31)),
        (1e21, 2.304, (1.055, 1.31, 3.24)),
        (1e22, 2.140, (1.078, 1.47, 5.61)),
    ],
)
def test_exchange_rate_of_loss_and_compute(flops, loss, ratios):
    assert OPTIMUM.frontier(flops) == pytest.approx(loss, abs=6e-4)
    for change, ratio in zip((-0.002, -0.01, -0.04), ratios, strict=True):
        digit = 1e-3 if change == -0.002 else 1e-2  # the last shown, not always rounded to nearest
        assert OPTIMUM.compute_ratio(flops, change) == pytest.approx(ratio, abs=0.6 * digit)


def test_no_compute_reaches_the_irreducible_loss():
    assert OPTIMUM.compute_ratio(1e22, -0.5) == math.inf
    assert OPTIMUM.tokens(1e9, OPTIMUM.e) == math.inf


@given(st.floats(1e6, 1e12), st.floats(1e6, 1e14))
def test_tokens_invert_the_loss(params, tokens):
    assert OPTIMUM.tokens(params, OPTIMUM.loss(params, tokens)) == pytest.approx(tokens, rel=1e-6)


def test_the_warmstart_laws_miss_the_held_out_run_by_more_than_the_gap_there():
    """Its two predictions, 1.620 and 1.558 before rounding of the coefficients, and the gap."""
    law = SHRINK_AND_PERTURB
    params, tokens, scratch, grown = law.held_out
    assert law.scratch.loss(params, tokens) == pytest.approx(1.620, abs=0.006)
    assert law.grown.loss(params, tokens) == pytest.approx(1.558, abs=0.002)
    assert law.gap_error > 1 - grown / scratch > 0


def test_warmstart_cost_ratio_closes_the_gap():
    law = SHRINK_AND_PERTURB
    params, tokens = 3e8, 6e9
    ratio = law.cost_ratio(params, tokens)
    same = law.grown.loss(params, ratio.value * tokens)
    assert same == pytest.approx(law.scratch.loss(params, tokens), rel=1e-12)
    assert ratio.lo < ratio.value < ratio.hi


def test_growth_factors_of_the_ladder_are_adjacent():
    lo, hi = SHRINK_AND_PERTURB.measured.growth_factor
    assert 1.7 < lo < 2 < hi < 2.4
