"""Majority kernels on tiny models, and its measures where the answers are known."""

import numpy as np
import pandas as pd
import pytest
from planned_papers import planned, setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store
from mugrow.bench.flops import per_token
from mugrow.bench.spec import ModelSpec, canonical_json
from mugrow.sweeps.recipes.papers.majority_kernels import paper as majority_kernels
from mugrow.sweeps.recipes.papers.majority_kernels.paper import (
    COST_ARMS,
    LOG2_RATES,
    MIXED,
    PAPER,
    SCRATCH,
    WIDE,
    at,
    gain,
    overhead_percent,
    spec_of,
)
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(majority_kernels.SEEDS, "cpu", range(1))
    model = ModelSpec(width=32, depth=1, head_size=16, context=16, positions="rope")
    store = reproduced(PAPER, model=model, base=model)
    assert len(store.runs) == 5 * 4
    by_arm = store.runs.set_index("arm")
    small = by_arm["params"][SCRATCH]
    assert {by_arm["params"][at(label, 0)] for label in MIXED.values()} == {small}
    for label in WIDE.values():
        assert by_arm["params"][label] > small
        assert by_arm["flops"][label] == pytest.approx(by_arm["flops"][SCRATCH], rel=0.1)
    assert by_arm["final_val_loss"][MIXED[2]] != by_arm["final_val_loss"][MIXED[3]]


@pytest.mark.parametrize(("scale", "runs"), [("cpu", 100), ("gpu", 100), ("paper", 20)])
def test_every_scale_can_be_planned(scale, runs):
    plan = planned(PAPER, scale)
    assert len(plan.runs) == runs
    assert {run.role for run in plan.runs} == {"target"}


def test_scratch_is_a_run_of_nanolm_and_wider_models_cost_as_much():
    given = setting(PAPER)
    theirs = {node.spec.run_id for node in nanolm.law_runs(given)}
    ours = {arm: spec_of(given.run, arm) for arm in COST_ARMS}
    assert ours[SCRATCH].run_id in theirs
    cost = {name: per_token(spec.model) * spec.tokens for name, spec in ours.items()}
    for label in WIDE.values():
        assert cost[label] == pytest.approx(cost[SCRATCH], rel=0.01)
    assert dict(ours[MIXED[3]].start.params)["kernels"] == 3
    assert ours[MIXED[3]].model == given.run.model


# --- stores whose answers are known ------------------------------------------------------------


def planted(best):
    """Losses by arm of ``best`` at their best rate, which differs from arm to arm, and 0.1 nats for
    a factor of two beside it; seeds are 0.02 apart and arms wander by a thousandth."""
    given = setting(PAPER)
    random = np.random.default_rng(0)
    rows = []
    for place, label in enumerate(COST_ARMS):
        spec = spec_of(given.run, label)
        for away in LOG2_RATES:
            for seed in range(5):
                off = abs(away - best.get(f"rate of {label}", place % 2))
                loss = best.get(label, 2.5) + 0.1 * off + 0.02 * seed + random.normal(0, 1e-3)
                rows.append({"arm": at(label, away), "seed": seed, "status": "finished",
                             "final_val_loss": loss, "spec": canonical_json(spec)})  # fmt: skip
    return Store(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {"scale": "cpu"})


def test_arms_are_compared_at_their_own_best_rates():
    found = gain(MIXED[2], SCRATCH)(planted({MIXED[2]: 2.4}))
    assert found.value == pytest.approx(-0.1, abs=0.003)
    assert found.lo < found.value < found.hi < -0.09
    assert found.n == 5


def test_a_best_rate_at_the_edge_leaves_the_verdict_open():
    found = gain(MIXED[2], SCRATCH)(planted({f"rate of {SCRATCH}": 2}))
    assert abs(found.value) < 0.003
    assert np.isnan([found.lo, found.hi]).all()


def test_the_overhead_is_that_of_three_operations_a_kernel_and_entry():
    store = planted({})
    width, context = 32, 64
    entries = 2 * 12 * width**2
    a_token = 6 * (entries + 256 * width + 2 * 2 * width * (context + 1) / 2)
    expected = 100 * 3 * 3 * entries / (a_token * 8 * context)
    assert overhead_percent(MIXED[3])(store).value == pytest.approx(expected)
    assert expected < 1


@pytest.mark.parametrize(("ours", "verdict"), [(2.4, "reproduced"), (2.6, "contradicted")])
def test_verdicts_come_out_both_ways(ours, verdict):
    store = planted(dict.fromkeys(MIXED.values(), ours))
    rows = {row.claim: row for row in ledger(PAPER.claims(PAPER.figures), store)}
    found = {name: row.verdict for name, row in rows.items() if not row.why}
    assert found.pop("overhead") == "reproduced"  # counted: no run could change it
    assert set(found.values()) == {verdict}, found
