"""G_stack end to end on tiny models, and its measures on arms whose answers are known."""

import math

import numpy as np
import pandas as pd
import pytest
from planned_papers import own_figures, planned, setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store
from mugrow.bench.flops import per_token
from mugrow.sweeps.recipes.papers import paper
from mugrow.sweeps.recipes.papers.gstack import paper as gstack
from mugrow.sweeps.recipes.papers.gstack.paper import (
    BUDGETS,
    OPERATORS,
    PAPER,
    SCRATCH,
    SOURCES,
    STACK,
    WIDTH,
    speedup_percent,
)

FROM_RANDOM = ("scratch", "continue")
VOCABULARY = {"cpu": 256, "gpu": 256, "paper": 32_000}


def cost(spec):
    return per_token(spec.model) * spec.tokens


@pytest.mark.parametrize(("scale", "runs"), [("cpu", 133), ("gpu", 133), ("paper", 28)])
def test_every_scale_can_be_planned_sources_first(scale, runs):
    plan = planned(PAPER, scale, VOCABULARY[scale])
    assert len(plan.runs) == runs
    assert {run.role for run in plan.runs} == {"source", "target", "branch"}


@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_all_grown_arms_cost_what_scratch_does_with_their_source(scale):
    runs = planned(PAPER, scale, VOCABULARY[scale]).runs
    specs = {run.spec.run_id: run.spec for run in runs}
    arms = {run.arm: run.spec for run in runs if run.spec.seed == 0}
    budget, step = cost(arms[SCRATCH]), cost(arms[SCRATCH]) / arms[SCRATCH].steps
    grown = {arm: spec for arm, spec in arms.items() if spec.start.method not in FROM_RANDOM}
    assert len(grown) == 8 + len(SOURCES[scale]) + 2
    for spec in grown.values():
        source = specs[spec.start.source_run_id]
        learned = dict(spec.start.params)["steps"] if spec.start.method == "ligo" else 0
        total_flops = cost(spec) + cost(source) + learned * step
        assert budget - step < total_flops <= budget
        assert (spec.seed, spec.data_seed, source.data_seed) == (0, 0, 1_000_000)
        assert spec.model == arms[SCRATCH].model


def test_the_paper_scale_is_the_papers():
    runs = planned(PAPER, "paper", VOCABULARY["paper"]).runs
    arms = {run.arm: run.spec for run in runs}
    assert cost(arms[SCRATCH]) == pytest.approx(8e20, rel=1e-3)
    source_id = arms[STACK].start.source_run_id
    source = next(run.spec for run in runs if run.spec.run_id == source_id)
    assert source.tokens == pytest.approx(10e9, rel=0.01)
    assert (source.model.width, source.model.depth) == (2048, 6)


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    for name in ("SEEDS", "FEWER_SEEDS"):
        monkeypatch.setitem(getattr(gstack, name), "cpu", range(1))
    ran = reproduced(paper("gstack"), steps=20, log_every=20)
    rows = ledger(PAPER.claims(PAPER.figures), ran)
    assert all(math.isfinite(row.value) or row.why for row in rows)
    assert len(rows) == 3 + 8 + 2 + 3 + 7
    targets = ran.runs[(ran.runs["role"] == "target") & ~ran.runs["arm"].str.contains("times")]
    totals = targets["flops"] + targets["flops_source"].fillna(0.0)
    one_step = 6 * per_token(setting(PAPER).run.model) * 32
    assert np.ptp(totals) < 16 * one_step  # LiGO's learning is in its runs' bill


# --- arms whose answers are known --------------------------------------------------------------


def planted(speedups, noise=0.0):
    """Scratch's final loss falls by 0.2 nats for each doubling of compute. Every arm pays 1 EFLOP
    and ends where scratch would with ``speedups`` of it; others of the recipe where scratch does.
    """
    names = [*OPERATORS, *(f"{STACK}, d = {d:g}" for d in SOURCES["cpu"])]
    names += [f"{STACK}, g = {g}" for g in gstack.FACTORS]
    total_flops = dict.fromkeys(names, 1.0) | {SCRATCH: 1.0}
    total_flops |= {f"{SCRATCH} at {b:g} times the compute": b for b in BUDGETS}
    draw, rows = np.random.default_rng(0), []
    for name, flops in total_flops.items():
        for seed in range(5):
            loss = 2.0 - 0.2 * math.log2(flops * speedups.get(name, 1.0)) + 0.03 * seed
            source = 0.25 if name in names else 0.0
            rows.append({
                "run_id": f"{name}{seed}", "arm": name, "seed": seed, "status": "finished",
                "flops": 1e18 * (flops - source), "flops_source": 1e18 * source,
                "final_val_loss": loss + draw.normal(0, noise),
            })  # fmt: skip
    return Store(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {"scale": "cpu"})


@pytest.mark.parametrize("times", [0.7, 0.9, 1.0, 1.3, 1.6])
def test_a_speedup_is_read_off_scratchs_own_losses(times):
    found = speedup_percent(STACK)(planted({STACK: times}))
    assert found.value == pytest.approx(100 * (times - 1), abs=1e-6)
    assert found.hi - found.lo < 1e-6  # all seeds shift alike


def test_a_speedup_beyond_the_budgets_is_not_claimed():
    store = planted({STACK: 4.0, "width zero": 0.1})
    assert speedup_percent(STACK)(store).value == pytest.approx(60)
    assert speedup_percent(OPERATORS["width zero"])(store).value == pytest.approx(-40)


def test_the_papers_own_speedups_reproduce_every_claim():
    speedups = {
        STACK: 1.49, "depth learn": 1.46, "depth zero": 1.4, "depth random": 0.75,
        "width direct": 0.99, "width learn": 0.85, "width random": 0.86, "width zero": 0.82,
        f"{STACK}, g = 2": 1.3,
    }  # fmt: skip
    rows = ledger(PAPER.claims(own_figures(PAPER)), planted(speedups, noise=0.001))
    assert {row.verdict for row in rows if not row.why} == {"reproduced"}


def test_the_opposite_contradicts_every_claim():
    speedups = dict.fromkeys(OPERATORS, 0.8) | dict.fromkeys(WIDTH, 1.4) | {"depth random": 1.2}
    speedups |= {f"{STACK}, g = 8": 1.2, f"{STACK}, g = 2": 0.8}
    speedups |= {f"{STACK}, d = {d:g}": 0.9 for d in (0.125, 0.5)}
    rows = ledger(PAPER.claims(own_figures(PAPER)), planted(speedups, noise=0.001))
    assert {row.verdict for row in rows if not row.why} == {"contradicted"}


def test_noise_as_large_as_the_effect_is_inconclusive():
    rows = ledger(PAPER.claims(own_figures(PAPER)), planted({STACK: 1.02}, noise=0.1))
    verdicts = {row.claim: row.verdict for row in rows}
    assert verdicts["stack-beats-scratch"] == "inconclusive at this scale"
