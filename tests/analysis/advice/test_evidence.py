"""What each kind of evidence says of a plan, and where it stops saying anything."""

import math
from pathlib import Path

import pytest

from mugrow.analysis.advice.evidence import ideal_growth, published_warmstart
from mugrow.analysis.advice.measured import NEAR, measure, target_runs
from mugrow.analysis.advice.plan import GrowthPlan
from mugrow.analysis.advice.staged import KAPLAN, optimal_growth_point
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.summary import summarize
from mugrow.bench.spec import UserError

BEFORE = Path(__file__).parents[2] / "stores" / "before_budgets"


def plan(params=6e8, ratio=10.0, factor=2.0, source_ratio=20.0, **more):
    return GrowthPlan(
        target_params=params,
        target_tokens=params * ratio,
        source_params=params / factor,
        source_tokens=params / factor * source_ratio,
        **more,
    )


# --- published laws ----------------------------------------------------------------------------


def test_published_laws_decide_within_their_range():
    evidence = published_warmstart(plan())
    assert evidence.decides
    assert evidence.cost_ratio.lo < evidence.cost_ratio.value < evidence.cost_ratio.hi
    assert evidence.basis.startswith("unknown; ")
    largest = 1_217_722_368
    assert evidence.reach.params == pytest.approx(6e8 / largest)
    assert evidence.reach.tokens == pytest.approx(6e9 / (30 * largest))
    assert evidence.reach.flops == pytest.approx(6e8 * 6e9 / (30 * largest**2))


@pytest.mark.parametrize(
    ("far", "limit"),
    [
        ({"params": 7e9}, "params 7e+09 is outside"),
        ({"params": 1e7}, "params 1e+07 is outside"),
        ({"ratio": 100.0}, "tokens a parameter 100 is outside 10 to 30"),
        ({"factor": 4.0}, "growth factor 4 is outside"),
    ],
)
def test_published_laws_lose_their_ends_outside_it(far, limit):
    evidence = published_warmstart(plan(**far))
    assert not evidence.decides
    assert evidence.limit.startswith(limit)
    assert math.isnan(evidence.cost_ratio.lo)
    assert math.isnan(evidence.cost_ratio.hi)
    assert evidence.basis == "unknown"


@pytest.mark.parametrize("factor", [2.0, 4.0, 8.0])
def test_ideal_growth_at_the_best_point_saves_what_the_schedule_says(factor):
    """Two ways to the same number: token counts through the law, and the optimum in units of u."""
    best, params = optimal_growth_point(factor), 1e9
    small = params / factor
    start, end = best.loss_ratio * KAPLAN.floor(small), KAPLAN.floor(params) * 1.1
    evidence_plan = GrowthPlan(
        target_params=params,
        target_tokens=KAPLAN.flops(params, end) / (6 * params),
        source_params=small,
        source_tokens=KAPLAN.flops(small, start) / (6 * small),
    )
    evidence = ideal_growth(evidence_plan)
    saving = evidence_plan.saving(evidence.cost_ratio.value, "source")
    assert saving == pytest.approx(best.saving, rel=1e-9)
    assert not evidence.decides


def test_a_source_beyond_the_loss_aimed_for_needs_no_target():
    assert ideal_growth(plan(factor=1.1, source_ratio=1e4)).cost_ratio.value == 0


# --- a store -----------------------------------------------------------------------------------


def test_cost_ratios_of_a_store_known_to_the_digit(study_dir):
    """szp needs half of scratch's FLOPs for every loss; hypercloning never gets there."""
    store = load(study_dir)
    arms = {one.label: one for one in measure(store, target_runs(store))}
    assert arms.keys() == {"szp", "hypercloning"}
    szp, cloning = arms["szp"].cost_ratio, arms["hypercloning"].cost_ratio
    assert (szp.value, szp.lo, szp.hi, szp.n) == pytest.approx((0.5, 0.5, 0.5, 2))
    assert (cloning.value, cloning.hi, cloning.n) == (math.inf, math.inf, 2)
    assert cloning.lo == pytest.approx(1)


def test_the_source_counts_up_to_the_checkpoint_used(study_dir):
    store = load(study_dir)
    one = measure(store, target_runs(store))[0]
    source = store.runs[store.runs["role"] == "source"].iloc[0]
    assert one.source_params == source["params"]
    assert one.source_tokens == 80 * source["batch_tokens"]
    runs = store.runs.copy()
    runs["spec"] = [spec.replace('"source_step":80', '"source_step":40') for spec in runs["spec"]]
    earlier = Store(runs, store.curves, store.trials, store.study)
    assert measure(earlier, target_runs(earlier))[0].source_tokens == 40 * source["batch_tokens"]


def plan_like(one, **times):
    """The plan that was measured, each part multiplied."""
    target = one.params * times.get("params", 1)
    source = target / one.growth_factor / times.get("factor", 1)
    return GrowthPlan(
        target_params=target,
        target_tokens=one.tokens * times.get("tokens", 1),
        source_params=source,
        source_tokens=source * one.source_ratio * times.get("source_ratio", 1),
    )


@pytest.mark.parametrize("part", ["params", "tokens", "factor", "source_ratio"])
def test_measured_runs_decide_near_by_only(study_dir, part):
    store = load(study_dir)
    one = measure(store, target_runs(store))[0]
    for times in (0.6, 1.0, 1.9):
        evidence = one.evidence(plan_like(one, **{part: times}))
        assert evidence.decides
        assert "paired t test over 2 seeds" in evidence.basis
    for times in (0.9 / NEAR, 1.1 * NEAR):
        evidence = one.evidence(plan_like(one, **{part: times}))
        assert evidence.limit.startswith("beyond a factor 2 of what was measured: ")
        assert math.isnan(evidence.cost_ratio.lo)


def test_one_seed_decides_nothing(study_dir):
    store = load(study_dir)
    runs = store.runs[store.runs["seed"] == 0]
    alone = Store(runs, store.curves, store.trials, store.study)
    one = measure(alone, target_runs(alone))[0]
    evidence = one.evidence(plan_like(one))
    assert evidence.limit == "1 seed: no interval"


def test_at_fixed_losses_a_store_agrees_with_its_own_summary():
    store = load(BEFORE)
    summary = to_json(summarize(store))
    speedups = {
        (row["target"], row["label"]): row["speedup"]
        for row in summary["savings"]
        if row["at"] == "scratch final" and row["accounting"] == "target" and row["speedup"]
    }
    arms = {(one.target, one.label): one for one in measure(store, target_runs(store))}
    both = arms.keys() & speedups.keys()  # one of them has what never got there, or a large source
    assert len(both) > 25
    for name in both:
        one, speedup = arms[name], speedups[name]
        assert one.cost_ratio.value == pytest.approx(1 / speedup["value"])
        for end, of, where_open in (("lo", "hi", 0.0), ("hi", "lo", math.inf)):
            expected = where_open if speedup[of] is None else pytest.approx(1 / speedup[of])
            assert getattr(one.cost_ratio, end) == expected, (name, end)


@pytest.mark.parametrize("missing", ["scratch", "grown", "all"])
def test_a_store_without_both_arms_is_one_line(study_dir, missing):
    store = load(study_dir)
    scratch = store.runs["method"] == "scratch"
    target = store.runs["role"] == "target"
    drop = {"scratch": target & scratch, "grown": target & ~scratch, "all": target}[missing]
    without = Store(store.runs[~drop], store.curves, store.trials, store.study)
    with pytest.raises(UserError, match=r"^study 'quick' has no finished target grown"):
        target_runs(without)
