"""completed-hp: its runs are what they say, its numbers the study's, its measures right."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from planned_papers import planned, setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store, load
from mugrow.bench.parametrization import hyper_of
from mugrow.sweeps.recipes.papers import paper
from mugrow.sweeps.recipes.papers.completed_hp import paper as recipe
from mugrow.sweeps.recipes.papers.completed_hp.paper import PAPER, best_rate, gain, speedup
from mugrow.sweeps.recipes.papers.completed_hp.runs import (
    AWAY,
    FEW,
    GROWTHS,
    LINES,
    LONG,
    MULTIPLIERS,
    PROXY,
    SCALED,
    TARGETS,
    WIDE,
    WIDEST,
    at,
    longer,
    tuned,
    without,
)
from mugrow.sweeps.recipes.papers.completed_hp.tuned import FOUND, TUNINGS, UNSEEN

STUDY = Path(__file__).parents[3] / "results" / "reference" / "modules"
PLAN = planned(PAPER)


def specs(arm: str) -> dict[int, object]:
    return {run.spec.seed: run.spec for run in PLAN.runs if run.arm == arm}


# --- what is given -------------------------------------------------------------------------------


@pytest.mark.parametrize("tuning", TUNINGS)
def test_hyperparameters_are_the_best_trials_of_the_committed_study(tuning):
    trials = load(STUDY).trials
    sweep = "completedp-w32-d2" + ("" if tuning == "modules" else f"-{tuning}")
    mine = trials[trials["sweep"] == sweep]
    best = mine.loc[mine["value"].idxmin()]
    found = FOUND[tuning]
    assert math.log2(best["lr"]) == found.log2_lr
    assert best["init_std"] == found.init_std
    assert found.flops == mine["flops"].sum()
    runs = load(STUDY).runs.set_index("run_id")
    assert set(runs.loc[best["run_ids"], "seed"]) == set(range(UNSEEN))
    (run_id, *_) = best["run_ids"]
    kept = planned_hyper(runs.loc[run_id, "spec"])
    assert {name: pytest.approx(times) for name, times in found.hyper().modules} == kept


def planned_hyper(spec: str) -> dict[str, float]:
    from mugrow.bench.spec import run_spec_from_json

    return dict(run_spec_from_json(spec).hyper.modules)


def test_no_run_has_a_seed_that_was_searched():
    assert min(run.spec.seed for run in PLAN.runs) == UNSEEN


# --- what is trained -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["cpu", "gpu", "paper"])
def test_every_scale_can_be_planned(scale):
    runs = planned(PAPER, scale).runs
    assert {run.role for run in runs} <= {"source", "target", "proxy", "branch"}
    assert all(run.spec.parametrization.startswith("completedp") for run in runs)


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_all_tunings_are_at_a_target_that_differs_where_it_says(target):
    base = setting(PAPER).run
    by_tuning = [specs(tuned(tuning, target)) for tuning in TUNINGS]
    seeds = FEW if target is WIDEST else len(recipe.SEEDS["cpu"])
    for tuning, runs in zip(TUNINGS, by_tuning, strict=True):
        assert sorted(runs) == [UNSEEN + seed for seed in range(seeds)]
        run = runs[UNSEEN]
        assert (run.model.width, run.model.depth) == (
            target.width * base.model.width,
            target.depth * base.model.depth,
        )
        assert run.tokens == target.tokens * base.tokens
        assert run.batch_sequences == target.batch * base.batch_sequences
        assert run.step_ratio == base.steps / run.steps
        assert run.base == base.model
        assert run.hyper == FOUND[tuning].hyper()
        assert 0 < hyper_of(run).beta1 < 1


def test_a_rule_less_bowl_has_the_rates_of_the_proxy():
    ruled, unruled = specs(at(LONG, 0.75, SCALED)), specs(at(LONG, 0.75, recipe.UNSCALED))
    one, other = ruled[UNSEEN], unruled[UNSEEN]
    assert replace(one, step_ratio=1.0) == other
    assert hyper_of(one).lr == pytest.approx(hyper_of(other).lr / 2)


def test_grown_arms_differ_in_their_tuning_alone():
    sources = {run.spec.run_id: run.spec for run in PLAN.runs if run.role == "source"}
    for growth in GROWTHS:
        one, other = (specs(growth.arm(tuning))[UNSEEN] for tuning in ("shared", "modules"))
        assert replace(one, hyper=other.hyper, start=other.start) == other
        for run in (one, other):
            source = sources[run.start.source_run_id]
            assert source.hyper == run.hyper
            assert (source.model.width, source.model.depth) == (32, 2)
            assert source.last_step < source.steps  # before its cool-down


def test_one_multiplier_at_a_time_is_left_out():
    whole = dict(FOUND["modules"].hyper().modules)
    for name in MULTIPLIERS:
        run = specs(without(name, PROXY))[UNSEEN]
        assert dict(run.hyper.modules) == {k: v for k, v in whole.items() if k != name}


# --- what is measured ----------------------------------------------------------------------------


def store(losses: dict[str, list[float]]) -> Store:
    """Arms with a final loss a seed."""
    from mugrow.bench.arm import factors_json

    rows = [
        {"arm": str(arm), "factors": factors_json(arm), "seed": seed, "status": "finished",
         "final_val_loss": loss, "flops": 1.0, "flops_source": 0.0, "run_id": f"{arm}{seed}"}
        for arm, each in losses.items()
        for seed, loss in enumerate(each)
    ]  # fmt: skip
    return Store(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {"scale": "cpu"})


def test_a_gain_is_paired_and_a_speedup_read_off_between_lengths():
    """Shared loses 0.2 with each doubling: 0.3 below it is 1.5 doublings."""
    line = {tuned("shared", one): [3 - 0.2 * math.log2(one.tokens) + s for s in (0, 0.1, 0.2)]
            for one in [PROXY, *longer(PROXY)]}  # fmt: skip
    tables = store(line | {tuned("modules", PROXY): [2.7, 2.8, 2.9]})
    assert gain(PROXY)(tables).value == pytest.approx(-0.3)
    assert speedup(PROXY)(tables).value == pytest.approx(2**1.5)
    further = store(line | {tuned("modules", PROXY): [1.0, 1.1, 1.2]})
    assert speedup(PROXY)(further).value == pytest.approx(max(LINES[1]))  # never beyond the line
    slower = store(line | {tuned("modules", PROXY): [3.1, 3.2, 3.3]})
    assert speedup(PROXY)(slower).value == pytest.approx(2**-0.5)


def test_a_bowls_lowest_point_is_between_the_rates():
    losses = {at(WIDE, away, SCALED): [2 + 0.1 * (away - 0.3) ** 2] * 2 for away in AWAY}
    assert best_rate(WIDE, SCALED)(store(losses)).value == pytest.approx(0.3)


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(recipe.SEEDS, "cpu", range(2))
    monkeypatch.setitem(recipe.BOWL_SEEDS, "cpu", range(2))
    ran = reproduced(paper("completed-hp"), steps=40, log_every=20)
    rows = ledger(PAPER.claims(PAPER.figures), ran)
    assert all(math.isfinite(row.value) or row.why for row in rows)
