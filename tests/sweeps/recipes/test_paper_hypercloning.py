"""HyperCloning end to end on tiny models, and its measures on arms whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from planned_papers import own_figures, planned, setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.measure.measured import speedup
from mugrow.analysis.measure.quantity import logged
from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers import paper
from mugrow.sweeps.recipes.papers.hypercloning import paper as hypercloning
from mugrow.sweeps.recipes.papers.hypercloning.paper import (
    CLONE,
    FROM_MIDDLE,
    FROM_SMALL,
    LARGE,
    LESS_TRAINED,
    MODES,
    NOISY,
    PAPER,
    RANDOM,
    after,
    named,
)
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm


@pytest.mark.parametrize(("scale", "runs"), [("cpu", 92), ("gpu", 92), ("paper", 20)])
def test_every_scale_can_be_planned_sources_first(scale, runs):
    plan = planned(PAPER, scale)
    assert len(plan.runs) == runs
    assert {run.role for run in plan.runs} == {"source", "target", "branch"}


def test_random_models_are_trained_once_for_all_papers():
    ids = {run.spec.run_id for run in planned(PAPER).runs if run.arm in (RANDOM, LARGE)}
    assert len(ids) == 10
    assert ids < {node.spec.run_id for node in nanolm.law_runs(setting(PAPER))}


def test_targets_are_clones_of_models_of_one_half_or_one_quarter():
    runs = {run.spec.run_id: run for run in planned(PAPER).runs}
    shapes = {}
    for run in runs.values():
        if run.role == "target" and run.spec.start.source_run_id:
            source = runs[run.spec.start.source_run_id].spec
            shapes[run.arm] = source.model.width, run.spec.model.width, source.steps
            assert source.data_seed == run.spec.data_seed + 1_000_000
    assert shapes[CLONE] == shapes[named(CLONE, "LLaMA")] == (32, 64, 400)
    assert shapes[after(0.25)] == (32, 64, 100)
    assert (shapes[FROM_SMALL], shapes[FROM_MIDDLE]) == ((32, 128, 400), (64, 128, 400))


def parted(store, mode):
    return logged(mode, "asymmetry", "last")(store).value


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    for name in ("SEEDS", "FEWER_SEEDS"):
        monkeypatch.setitem(getattr(hypercloning, name), "cpu", range(1))
    ran = reproduced(paper("hypercloning"))
    rows = ledger(PAPER.claims(PAPER.figures), ran)
    assert len(rows) == 5 + 3 + 1 + 1 + 6 + 3 + 1
    assert parted(ran, CLONE) < 1e-5  # nothing parts its copies
    assert parted(ran, NOISY) > 1e-3


# --- arms whose answers are known --------------------------------------------------------------

STEPS = np.arange(0, 401, 20)


def loss(step):
    return 2 + 3 * (step + 10.0) ** -0.4


def planted(ahead, source_flops=0.0, parting=0.1, cloned=2.5, rank=0.6):
    """Random models follow one curve; a clone is ``ahead`` of it, by its arm, by so many times the
    steps (three unless named), but for the loss at which it was cloned.
    """
    shortest = LESS_TRAINED["cpu"][0]
    arms = [CLONE, "noisy", "diagonal", named(CLONE, "LLaMA"), after(shortest)]
    arms += [FROM_SMALL, FROM_MIDDLE]
    rows, curves = [], []
    for name in [RANDOM, named(RANDOM, "LLaMA"), LARGE, *arms]:
        for seed in range(5):
            run_id = f"{name}{seed}"
            times = ahead.get(name, 3.0) if name in arms else 1.0
            values = loss(STEPS * times) + 0.03 * seed
            if name in arms:
                values[0] = cloned + 0.03 * seed
            curves.append(pd.DataFrame({
                "run_id": run_id, "step": STEPS, "flops": STEPS * 1e9, "val_loss": values,
                "asymmetry": parting * STEPS / 400,
            }))  # fmt: skip
            rows.append({
                "run_id": run_id, "arm": name, "seed": seed, "status": "finished",
                "flops_source": source_flops if name in arms else 0.0, "flops_tuning": 0.0,
                "final_val_loss": values[-1],
            })  # fmt: skip
    ranks = pd.DataFrame([
        {"arm": name, "seed": seed, "quantity": "weight_rank/blocks.0.mlp.up",
         "value": 0.6 if name == RANDOM else rank + 0.001 * seed}
        for name in (RANDOM, *MODES) for seed in range(5)
    ])  # fmt: skip
    return Store(pd.DataFrame(rows), pd.concat(curves), pd.DataFrame(), {"scale": "cpu"}, ranks)


@pytest.mark.parametrize("times", [2.0, 3.0])
def test_speedup_is_the_ratio_of_costs(times):
    store = planted({CLONE: times}, source_flops=1e11)
    free, charged = (
        speedup(store, RANDOM, CLONE, accounting) for accounting in ("target", "source")
    )
    assert free.value == pytest.approx(times, rel=0.02)
    assert charged.value == pytest.approx(400 / (400 / times + 100), rel=0.02)


def test_a_clone_that_never_gets_there_has_a_bound():
    found = speedup(planted({CLONE: 0.5}, source_flops=1e11), RANDOM, CLONE, "source")
    assert (found.value, found.lo, found.hi) == (pytest.approx(0.8), 0.0, pytest.approx(0.8))
    assert found.n == 5


REPRODUCED = {"noisy": 3.0, "diagonal": 2.5, after(0.25): 2.0, FROM_SMALL: 2.0}
OPPOSITE = {
    CLONE: 0.5, "noisy": 2.0, "diagonal": 0.6, named(CLONE, "LLaMA"): 0.5, FROM_MIDDLE: 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("store", "verdict"),
    [
        (planted(REPRODUCED, source_flops=1e11), "reproduced"),
        (planted(OPPOSITE, source_flops=1e11, parting=0.0, cloned=4.0, rank=0.3), "contradicted"),
    ],
)
def test_verdicts_come_out_both_ways(store, verdict):
    rows = {row.claim: row for row in ledger(PAPER.claims(own_figures(PAPER)), store)}
    found = {name: row.verdict for name, row in rows.items() if not row.why}
    assert set(found.values()) == {verdict}, found
