"""Staged training end to end on tiny models, and its measures on curves whose answers are known."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planned_papers import planned, setting

from mugrow.analysis.figures import style
from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.measure.dynamics import (
    constant_steps,
    kept_slope,
    of_curves,
    saved,
    slopes,
    step_ratio,
    trace,
)
from mugrow.analysis.measure.quantity import final, logged
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import factors_json
from mugrow.bench.flops import per_token
from mugrow.bench.model import count
from mugrow.bench.spec import Start, UserError, canonical_json
from mugrow.sweeps.recipes.papers import paper
from mugrow.sweeps.recipes.papers.staged_training import paper as staged_training
from mugrow.sweeps.recipes.papers.staged_training.claims import WAYS, spike
from mugrow.sweeps.recipes.papers.staged_training.paper import PAPER


@pytest.mark.parametrize(("scale", "runs"), [("cpu", 155), ("gpu", 155), ("paper", 149)])
def test_every_scale_can_be_planned_sources_first(scale, runs):
    plan = planned(PAPER, scale)
    assert len(plan.runs) == runs
    assert {run.role for run in plan.runs} == {"source", "target", "branch"}
    targets = [run.spec for run in plan.runs if run.arm == "width 0.75"]
    assert [run.seed for run in targets] == [*range(5)]


def test_a_grown_run_takes_up_the_schedule_where_scratch_has_the_sources_loss():
    given = setting(PAPER)
    arms = {run.arm: run.spec for run in planned(PAPER).runs if run.spec.seed == 0}
    trunk = constant_steps(given.run)
    source, grown = arms["width small 0.75"], arms["width 0.75"]
    assert source.last_step == 0.75 * trunk == grown.start.source_step
    assert grown.first_step == round(source.last_step / 1.776)
    assert (grown.steps, grown.data_seed) == (arms["scratch"].steps, arms["scratch"].data_seed)
    assert source.data_seed != grown.data_seed
    assert arms["width, restarted"].first_step == 0
    assert arms["width, not re-positioned"].first_step == source.last_step
    assert arms["width, no moments"].start.optimizer == "fresh"
    assert arms["gong"].first_step == round(0.3 * given.run.steps)
    shapes = {arm: (spec.model.width, spec.model.depth) for arm, spec in arms.items()}
    assert shapes["width small 1"] == (32, 4)
    assert shapes["depth small 1"] == (64, 2)
    assert shapes["both small 1"] == (32, 2)
    assert shapes["scratch"] == shapes["both 0.75"] == (64, 4)
    assert shapes["gong, quarter"] == (64, 1)


def test_at_paper_scale_each_size_has_the_authors_learning_rate():
    arms = {run.arm: run.spec for run in planned(PAPER, "paper").runs}
    rates = {arm: arms[arm].hyper.lr for arm in ("scratch", "width small 1", "depth small 1")}
    want = {"scratch": 0.0020069, "width small 1": 0.0020909, "depth small 1": 0.0020489}
    assert rates == pytest.approx(want, abs=5e-8)


@pytest.mark.integration
def test_it_runs_and_judges(monkeypatch, reproduced):
    for name in ("SEEDS", "FEW_SEEDS"):
        monkeypatch.setitem(getattr(staged_training, name), "cpu", range(1))
    figures = {name: PAPER.figures[name] for name in ("S1", "S6")}
    some = replace(paper("staged-training"), figures=figures)
    ran = reproduced(some, steps=5, log_every=1)
    rows = {row.claim: row for row in ledger(PAPER.claims(figures), ran)}
    assert len(rows) == 9
    assert rows["loss-preserved-depth"].value == pytest.approx(0, abs=0.05)  # noise alone
    assert all(math.isfinite(row.value) and math.isnan(row.low) for row in rows.values())
    path = trace(ran, "width small 1")
    assert path.step.tolist() == [*range(5)]  # four runs, one curve
    assert np.all(np.diff(path.flops) > 0)


# --- curves whose answers are known ------------------------------------------------------------

BIG_COST, SMALL_COST, STEPS = 4.0, 1.0, np.arange(0, 801, 20)


def loss(step):
    return 2 + 3 * (step + 10.0) ** -0.4


def planted(rho, kept=1.0, noise=0.0):
    """Scratch's loss is a power of its steps; the small model needs rho times as many. Grown at
    step 600 it goes on where scratch has its loss, ``kept`` times as fast."""
    run = staged_training.large(setting(PAPER), 0)
    grown = replace(
        run,
        first_step=round(600 / rho),
        start=Start(method="staged", source_run_id="small0", source_step=600),
    )
    curves, rows = [], []
    draw = np.random.default_rng(0)
    for seed in range(5):
        after = STEPS[STEPS + grown.first_step <= 800]
        at = grown.first_step + kept * after
        for name, spec, step, values, cost, source in (
            ("scratch", run, STEPS, loss(STEPS), BIG_COST, 0.0),
            ("small", run, STEPS, loss(STEPS / rho), SMALL_COST, 0.0),
            ("grown", grown, after, loss(at), BIG_COST, 600 * SMALL_COST),
        ):
            values = values + draw.normal(0, noise)
            curve = {"run_id": f"{name}{seed}", "step": step, "flops": step * cost}
            curves.append(pd.DataFrame({**curve, "val_loss": values}))
            row = {"run_id": f"{name}{seed}", "arm": name, "seed": seed, "status": "finished"}
            rows.append({
                **row, "flops_source": source, "method": spec.start.method,
                "source_run_id": f"small{seed}" if name == "grown" else None,
                "final_val_loss": loss(600 / rho) if name == "small" else values[-1],
                "spec": canonical_json(spec),
            })  # fmt: skip
    return Store(pd.DataFrame(rows), pd.concat(curves), pd.DataFrame(), {"scale": "cpu"})


def test_jump_and_step_ratio_of_planted_curves():
    store = planted(rho=2.0)
    jump = logged("grown", "val_loss", "first") - final("small")
    assert jump(store).value == pytest.approx(0, abs=1e-9)
    ratio = of_curves(lambda one, other: step_ratio(one, other, 600), "small", "scratch")
    assert ratio(store).value == pytest.approx(2, rel=0.02)
    assert trace(store, "scratch").constant == 800


def test_a_spike_is_above_the_loss_at_growth_and_below_0_where_there_is_none():
    store = planted(rho=2.0)
    assert spike("grown")(store).value == pytest.approx(loss(310) - loss(300), abs=0.01)
    assert spike("grown")(store).value < 0
    rise = 0.5 * (store.curves["step"] == 40)
    risen = replace(store, curves=store.curves.assign(val_loss=store.curves["val_loss"] + rise))
    assert spike("grown")(risen).value == pytest.approx(loss(340) + 0.5 - loss(300))


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_a_slope_that_is_kept_is_told_from_one_that_is_not(kept):
    quantity = of_curves(lambda one, other: kept_slope(one, other, 160), "grown", "scratch")
    ratio = quantity(planted(2.0, kept, noise=1e-4))
    at = 300 + 160 * np.array([kept, 1.0])
    want = (loss(300) - loss(at[0])) / (loss(300) - loss(at[1]))
    assert ratio.value == pytest.approx(want, rel=0.05)
    assert ratio.lo <= ratio.value <= ratio.hi
    assert (ratio.lo > 0.8) == (kept == 1.0)


@pytest.mark.parametrize("rho", [1.0, 2.0, 3.0])
def test_the_saving_is_what_was_skipped_less_what_the_small_model_cost(rho):
    aimed = 780
    store = planted(rho)
    share = saved(trace(store, "grown"), trace(store, "scratch"), aimed, 800)
    skipped = 600 / rho * BIG_COST - 600 * SMALL_COST
    assert share == pytest.approx(skipped / (aimed * BIG_COST), abs=0.01)


def test_what_is_never_reached_saves_at_most_what_its_whole_run_leaves():
    store = planted(2.0, kept=0.1)
    share = saved(trace(store, "grown"), trace(store, "scratch"), 780, 800)
    assert share == pytest.approx(1 - (600 * SMALL_COST + 500 * BIG_COST) / (780 * BIG_COST))


def test_slopes_of_a_power_law_and_spikes_are_left_out():
    store = planted(2.0)
    curve = trace(store, "scratch")
    pure = replace(curve, losses=np.where(curve.flops > 0, curve.flops, 1)[None] ** -0.05)
    _, _, tau = slopes(pure)
    assert tau == pytest.approx(-0.05, abs=1e-3)
    spiked = pure.losses.copy()
    spiked[:, 20] *= 1.5
    assert slopes(replace(pure, losses=spiked))[2] == pytest.approx(-0.05, abs=1e-3)


def test_verdicts_come_out_both_ways():
    def verdicts(store):
        renamed = {"small": "width small 1", "grown": "width 0.75"}
        runs = store.runs.replace({"arm": renamed})
        claims = [
            claim
            for claim in PAPER.claims(PAPER.figures)
            if claim.name in ("dynamics-width", "final-width", "rho-width", "saving-width")
        ]
        rows = ledger(claims, replace(store, runs=runs))
        plain = to_json(rows)
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        return {row.claim: row.verdict for row in rows}

    good = verdicts(planted(1.776, noise=1e-4))
    assert set(good.values()) == {"reproduced"}
    bad = verdicts(planted(4.0, kept=0.4, noise=1e-4))
    assert set(bad.values()) == {"contradicted"}


def everything(kept=1.0, noise=0.003):
    """All planned runs, with losses by formula: a source needs rho times the steps of the large
    model, and what is grown goes on where scratch has its loss."""
    plan = planned(PAPER)
    specs = {run.spec.run_id: run.spec for run in plan.runs}
    flops = {
        run_id: spec.train_steps * spec.batch_tokens * per_token(spec.model)
        for run_id, spec in specs.items()
    }
    draw = np.random.default_rng(0)

    def before(run_id):
        source = specs[run_id].start.source_run_id
        return 0.0 if source is None else flops[source] + before(source)

    curves, rows = [], []
    for run in plan.runs:
        spec = run.spec
        rho = next((one.rho for one in WAYS if f"{one.name} small" in run.arm), 1.0)
        step = np.unique([*range(0, spec.train_steps, spec.log_every), spec.train_steps])
        ablated = 0.3 if "," in run.arm else kept if spec.first_step and rho == 1.0 else 1.0
        values = loss((spec.first_step + ablated * step) / rho)
        values = values + 0.01 * spec.seed + draw.normal(0, noise)
        cost = flops[spec.run_id] / spec.train_steps
        table = {"run_id": spec.run_id, "step": step, "flops": step * cost, "val_loss": values}
        curves.append(pd.DataFrame(table))
        rows.append({
            "run_id": spec.run_id, "arm": run.arm, "seed": spec.seed, "status": "finished",
            "factors": factors_json(run.arm), "flops": flops[spec.run_id],
            "tokens": spec.train_steps * spec.batch_tokens, "batch_tokens": spec.batch_tokens,
            "width": spec.model.width, "depth": spec.model.depth,
            "params": count(spec.model)[0],
            "flops_source": before(spec.run_id), "method": spec.start.method,
            "source_run_id": spec.start.source_run_id, "final_val_loss": values[-1],
            "spec": canonical_json(spec),
        })  # fmt: skip
    return Store(pd.DataFrame(rows), pd.concat(curves), pd.DataFrame(), {"scale": "cpu"})


@pytest.mark.integration
def test_every_figure_is_drawn_and_every_claim_measured():
    store = everything()
    for figure in PAPER.figures.values():
        drawn = style.drawn(lambda figure=figure: figure.draw(store))
        assert style.svg_bytes(drawn, "x")
    rows = {row.claim: row for row in ledger(PAPER.claims(PAPER.figures), store)}
    measured = [row for row in rows.values() if row.verdict != "not testable here"]
    assert len(measured) == 33
    assert all(math.isfinite(row.low) or "at the edge" in row.why for row in measured)
    assert {row.claim for row in measured if row.why} <= {f"grow-when-{way.name}" for way in WAYS}
    for way in WAYS:
        assert rows[f"rho-{way.name}"].verdict == "reproduced"
    assert rows["no-moments-width"].verdict == "reproduced"
    assert rows["zero-shot"].verdict == "not testable here"
    few = replace(store, curves=store.curves[store.curves["step"] % 400 == 0])
    with pytest.raises(UserError, match="too few points"):
        PAPER.figures["S3"].draw(few)
