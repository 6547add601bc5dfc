"""The law of effective tokens on rows with a known truth, and on rows that hold none."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.advice import fitted
from mugrow.analysis.advice.experiment import settle
from mugrow.analysis.advice.fitted import cost_ratio, finals, law_evidence
from mugrow.analysis.advice.measured import target_runs
from mugrow.analysis.advice.plan import GrowthPlan
from mugrow.analysis.read.store import load

KAPPA, RHO, D0 = 0.6, 0.8, 4e9


def plan(params=4e9, ratio=20.0, factor=2.0, source_ratio=20.0):
    return GrowthPlan(
        target_params=params,
        target_tokens=params * ratio,
        source_params=params / factor,
        source_tokens=params / factor * source_ratio,
    )


SIZES, RATIOS = (1e8, 2e8, 4e8), (5, 10, 20, 40)


def ladder(noise=0.0, factors=(2.0, 4.0), seeds=1, kappa=KAPPA, sizes=SIZES, ratios=RATIOS):
    """Sizes by token budgets, from scratch and grown from sources of 20 tokens a parameter."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for n in sizes:
            for ratio in ratios:
                for g in (1.0, *factors):
                    d, d1 = n * ratio, 0.0 if g == 1 else 20 * n / g
                    credit = kappa * d1 * g**-RHO * math.exp(-n * ratio / D0)
                    loss = 1.8 + 480 / n**0.35 + 2100 / (d + credit) ** 0.37
                    name = f"{n:g}-{g:g}-{seed}"
                    rows.append(
                        {
                            "n": n,
                            "d": d,
                            "d1": d1,
                            "g": g,
                            "loss": loss * math.exp(noise * rng.standard_normal()),
                            "label": "scratch" if g == 1 else "szp",
                            "parametrization": "mup",
                            "cluster": f"{name}-{ratio}" if g == 1 else name,
                            "scratch": g == 1,
                        }
                    )
    return pd.DataFrame(rows)


@given(st.floats(0.01, 5), st.floats(0, 2), st.floats(1e6, 1e13), st.floats(1.1, 10))
def test_cost_ratio_closes_the_gap_in_tokens(kappa, rho, d0, factor):
    asked = plan(factor=factor)
    ratio = cost_ratio(asked, kappa, rho, d0)
    x = ratio * asked.target_tokens
    credit = kappa * asked.source_tokens * factor**-rho * math.exp(-x / d0)
    assert 0 <= ratio <= 1
    if ratio:
        assert x + credit == pytest.approx(asked.target_tokens, rel=1e-9)
    else:
        assert credit >= asked.target_tokens * (1 - 1e-9)


def test_no_credit_no_saving():
    assert cost_ratio(plan(), 1e-12, 0, 1e9) == pytest.approx(1)


@pytest.mark.parametrize("factors", [(2.0, 4.0), (2.0,)])
def test_the_truth_of_a_ladder_is_found(factors, monkeypatch):
    """With one growth factor rho cannot be told from kappa, and need not be."""
    monkeypatch.setattr(fitted, "RESAMPLES", 20)
    asked = plan(params=1.2e9, ratio=10)
    (evidence,) = law_evidence(asked, ladder(factors=factors), "synthetic")
    assert evidence.decides, evidence.limit
    truth = cost_ratio(asked, KAPPA, RHO, D0)
    assert evidence.cost_ratio.value == pytest.approx(truth, rel=1e-5)
    assert evidence.reach.params == pytest.approx(3)
    assert evidence.reach.tokens == pytest.approx(0.75)


def test_noise_gives_an_interval_around_the_truth(monkeypatch):
    monkeypatch.setattr(fitted, "RESAMPLES", 80)
    asked = plan(params=8e8, ratio=10)
    (evidence,) = law_evidence(asked, ladder(noise=0.002, seeds=2), "synthetic")
    ratio = evidence.cost_ratio
    assert evidence.decides, evidence.limit
    assert ratio.lo < cost_ratio(asked, KAPPA, RHO, D0) < ratio.hi
    assert ratio.hi - ratio.lo > 0.01
    assert "bootstrap" in evidence.basis


def test_growing_that_hurts_is_beyond_the_law():
    (evidence,) = law_evidence(plan(params=8e8), ladder(kappa=-0.1), "synthetic")
    assert evidence.limit.startswith("bound_hit: kappa is 0")
    assert evidence.cost_ratio.value == 1


def test_resamples_without_a_law_open_the_interval(monkeypatch):
    """As many as a tail holds cost nothing; more leave the end open."""
    asked, rows = plan(params=8e8), ladder()
    good = {"kappa": KAPPA, "rho": RHO, "D_0": D0}
    ratio = cost_ratio(asked, KAPPA, RHO, D0)
    for lost, ends in ((5, (ratio, ratio)), (7, (0.0, math.inf))):
        draws = [{}] * lost + [good] * (201 - lost)
        monkeypatch.setattr(fitted, "_resamples", lambda *_, draws=draws: draws)
        (evidence,) = law_evidence(asked, rows, "synthetic")
        assert (evidence.cost_ratio.lo, evidence.cost_ratio.hi) == pytest.approx(ends)


@pytest.mark.parametrize(
    ("far", "limit"),
    [
        ({"params": 4.1e9, "ratio": 1.0}, "params is beyond a factor 10"),
        ({"params": 9e6, "ratio": 100.0}, "params is beyond a factor 10"),
        ({"params": 1e9, "ratio": 200.0}, "tokens is beyond a factor 10"),
        ({"params": 1e9, "factor": 5.0}, "growth factor 5 is outside 2 to 4"),
    ],
)
def test_beyond_its_reach_it_has_no_interval(far, limit):
    (evidence,) = law_evidence(plan(**far), ladder(), "synthetic")
    assert evidence.limit.startswith(limit)
    assert math.isnan(evidence.cost_ratio.lo)


def test_too_few_runs_identify_no_law():
    rows = ladder(sizes=SIZES[:2], ratios=(20,))
    (evidence,) = law_evidence(plan(params=3e8), rows, "synthetic")
    assert not evidence.decides
    assert evidence.limit.startswith("unidentified: 6 distinct rows for 8 parameters")
    assert math.isnan(evidence.cost_ratio.value)


def test_the_experiment_advised_identifies_the_law(monkeypatch):
    """One seed of the ladder that ``settle`` describes, and its question can be answered."""
    monkeypatch.setattr(fitted, "RESAMPLES", 20)
    asked = plan(params=1e9)
    asked_for = settle(asked)
    rows = ladder(
        factors=(asked_for.growth_factor,),
        sizes=asked_for.target_params,
        ratios=asked_for.tokens_per_param,
    )
    (evidence,) = law_evidence(asked, rows, "synthetic")
    assert evidence.decides, evidence.limit
    assert evidence.cost_ratio.value == pytest.approx(cost_ratio(asked, KAPPA, RHO, D0), rel=1e-5)


def test_rows_of_a_store(study_dir):
    """Sources stopped before their cool-down are no finals; grown runs belong to their source."""
    store = load(study_dir)
    rows = finals(store.runs, target_runs(store))
    assert sorted(rows["label"]) == sorted(["scratch", "szp", "hypercloning"] * 2)
    assert (rows["d1"] > 0).tolist() == (~rows["scratch"]).tolist()
    assert set(rows.loc[rows["scratch"], "g"]) == {1.0}
    assert rows.loc[~rows["scratch"], "cluster"].nunique() == 2
    assert rows.loc[rows["scratch"], "cluster"].nunique() == 2
    ended = store.runs.copy()
    ended["spec"] = [spec.replace('"stop_step":80', '"stop_step":null') for spec in ended["spec"]]
    assert (finals(ended, target_runs(load(study_dir)))["label"] == "scratch").sum() == 4
