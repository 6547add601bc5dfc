"""One trunk with cool-downs against cosines: its runs end to end on tiny models, and its claims on
tables whose answers are known."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from planned_papers import planned, setting

from mugrow.analysis.figures import style
from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.measure.measured import factor_table
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import factors_json, factors_of
from mugrow.bench.flops import per_token
from mugrow.bench.schedule import run_factor
from mugrow.bench.spec import canonical_json
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import paper as recipe
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.claims import (
    COSINE,
    COSINE_0,
    EMA,
    HORIZONS,
    TRUNK,
    branches_cost,
    closed,
    cooled,
    cosines_cost,
)
from mugrow.sweeps.recipes.papers.beyond_fixed_durations.paper import PAPER


@cache
def runs_at_cpu_scale():
    return tuple(planned(PAPER).runs)


@cache
def text_of(spec):
    return canonical_json(spec)


@pytest.mark.parametrize("scale", ["cpu", "gpu", "paper"])
def test_every_scale_can_be_planned_sources_first(scale):
    plan = planned(PAPER, scale)
    arms = pd.Series([run.arm for run in plan.runs]).value_counts()
    seeds, rates, horizons = 5, 4, 4
    assert arms[COSINE] == arms[COSINE_0] == seeds * rates * horizons
    assert arms[cooled(0.2)] == seeds * rates * horizons
    assert arms[cooled(0.2, "sqrt")] == seeds * horizons
    assert arms[cooled(0.05)] == arms[cooled(0.4, "sqrt")] == seeds * 2
    assert arms["SWA"] == arms["EMA"] == seeds
    cosines = [factors_of(run.arm) for run in plan.runs if run.arm == COSINE]
    assert {run["steps"] for run in cosines} == {0.5, 1, 2, 3}
    assert {run["lr"] for run in cosines} == {0.5, 1, 2, 4}
    assert {run.role for run in plan.runs if run.arm == TRUNK} == {"source"}
    assert {run.role for run in plan.runs if run.arm.startswith("cool-down")} == {"branch"}


def factors(spec):
    """A run's rate factors, by the step of the schedule."""
    return {spec.first_step + t: run_factor(spec, t) for t in range(spec.train_steps)}


def test_the_trunk_and_a_branch_are_one_warm_up_a_constant_rate_and_a_cool_down():
    specs = [run.spec for run in runs_at_cpu_scale() if run.spec.seed == 0]
    by_id = {spec.run_id: spec for spec in specs}
    (whole,) = (spec for spec in specs if spec.average.kind == "swa")
    ends_at_1200 = [s for s in specs if s.schedule.cooldown == 0.4 and s.steps == 1200]
    for spec in ends_at_1200:
        line = [spec]
        while line[0].start.source_run_id:
            line.insert(0, by_id[line[0].start.source_run_id])
        assert [one.first_batch for one in line[1:]] == [one.last_step for one in line[:-1]]
        whole_line = {step: f for one in line for step, f in factors(one).items()}
        assert list(whole_line) == list(range(1200))
        constant = factors(whole)
        assert all(whole_line[step] == constant[step] for step in range(720))
        down = [whole_line[step] for step in range(720, 1200)]
        assert down == sorted(down, reverse=True)
        middle = 0.5 if spec.schedule.cooldown_shape == "linear" else 1 - 0.5**0.5
        assert whole_line[960] == pytest.approx(middle)
    assert len(ends_at_1200) == 2
    warmups = {round(s.schedule.warmup * s.steps) for s in specs if s.schedule.kind == "cosine"}
    assert warmups == {20}


@pytest.mark.integration
def test_the_recipe_runs_end_to_end(monkeypatch, reproduced):
    """One seed, on horizons of 10 to 60 steps."""
    monkeypatch.setitem(recipe.SEEDS, "cpu", range(1))
    ran = reproduced(PAPER, steps=20, log_every=1)
    rows = {row.claim: row for row in ledger(PAPER.claims(PAPER.figures), ran)}
    assert rows.pop("gpu-hours").verdict == "not testable here"
    assert all(np.isfinite(row.value) for row in rows.values())
    assert rows["ladder-cost"].value == pytest.approx((3 + 0.2 * 3.5) / 6.5)
    segments = ran.runs[(ran.runs["arm"] == TRUNK) & (factor_table(ran.runs)["lr"] == 1)]
    (whole,) = ran.runs.loc[ran.runs["arm"] == "SWA", "run_id"]
    expected = ran.curves[ran.curves["run_id"] == whole].set_index("step")["val_loss"]
    stops = [json.loads(text)["stop_step"] for text in segments["spec"]]
    found = dict(zip(stops, segments["final_val_loss"], strict=True))
    assert found == pytest.approx({step: expected[step] for step in found}, abs=1e-5)
    assert set(found) == {8, 12, 16, 18, 19, 32, 36, 48, 54, 57}


# --- tables whose answers are known -----------------------------------------------------------

GAP, SQRT, LONG, SHARE = -1.0, -0.3, 0.2, 0.8  # percent; percent; percent; share that SWA closes


def flops_of(spec):
    return spec.tokens * per_token(spec.model)


@cache
def planted(gap=GAP, sqrt=SQRT, longer=LONG, share=SHARE, slope=0.0):
    """A cosine is best at twice the base rate, a cool-down at the base rate."""
    given = setting(PAPER)
    horizons = [round(steps * given.run.steps) for steps in HORIZONS]
    flops = {run.spec.run_id: flops_of(run.spec) for run in runs_at_cpu_scale()}
    sources = {run.spec.run_id: run.spec.start.source_run_id for run in runs_at_cpu_scale()}

    def before(run_id):
        source = sources[run_id]
        return 0.0 if source is None else flops[source] + before(source)

    rows, curves = [], []

    def loss(name, spec):
        place = horizons.index(spec.steps) if spec.steps in horizons else 0
        away = np.log2(spec.hyper.lr / given.run.hyper.lr)
        cosine = 3 - 0.2 * place + 0.02 * spec.seed
        if name in (COSINE, COSINE_0):
            return cosine + 0.05 * (away - 1) ** 2
        extra = gap + slope * place
        extra += sqrt if spec.schedule.cooldown_shape == "sqrt" else 0
        extra -= longer if spec.schedule.cooldown == 0.4 else 0
        return cosine * (1 + extra / 100) + 0.05 * away**2

    for run in runs_at_cpu_scale():
        spec = run.spec
        end = loss(run.arm, spec)
        rows.append({
            "run_id": spec.run_id, "arm": run.arm, "seed": spec.seed, "lr": spec.hyper.lr,
            "status": "finished", "final_val_loss": end, "spec": text_of(spec),
            "flops": flops[spec.run_id], "batch_tokens": spec.batch_tokens,
            "factors": factors_json(run.arm), "method": spec.start.method,
            "source_run_id": spec.start.source_run_id, "flops_source": before(spec.run_id),
        })  # fmt: skip
        if spec.average.kind == "none":
            points = [(step, end + 1 / (1 + step), None) for step in range(0, spec.train_steps, 40)]
            points.append((spec.train_steps, end, None))
        else:
            points = [(0, 5.0, None)]
            for place, step in enumerate(horizons):
                down = (3 - 0.2 * place + 0.02 * spec.seed) * (1 + (gap + slope * place) / 100)
                gain = 0.4 + 0.1 * spec.seed
                points.append((step, down + gain, down + gain * (1 - share)))
        curves += [
            {
                "run_id": spec.run_id, "step": s, "val_loss": v, "val_loss_averaged": a,
                "tokens": s * spec.batch_tokens, "flops": s / spec.train_steps * flops[spec.run_id],
            }
            for s, v, a in points
        ]  # fmt: skip
    curves = pd.DataFrame(curves).astype({"val_loss_averaged": float})
    return Store(pd.DataFrame(rows), curves, pd.DataFrame(), {"name": "x", "scale": "cpu"})


def verdicts(store, *names):
    claims = [c for c in PAPER.claims(PAPER.figures) if not names or c.name in names]
    return {row.claim: row for row in ledger(claims, store)}


def test_measures_give_what_was_planted():
    store = planted()
    rows = verdicts(store)
    assert rows["matches-cosine"].value == pytest.approx(GAP)
    assert rows["matches-cosine-to-0"].value == pytest.approx(GAP)
    assert rows["scales-alike"].value == pytest.approx(0, abs=1e-9)
    assert rows["20-percent-enough"].value == pytest.approx(100 * (99 / 98.8 - 1))
    assert rows["sqrt-beats-linear"].value == pytest.approx(100 * (98.7 / 99 - 1))
    assert rows["swa-most-not-all"].value == pytest.approx(SHARE)
    assert closed(EMA, 3.0)(store).value == pytest.approx(SHARE)
    assert rows["swa-improves"].value == pytest.approx(-12, abs=3)
    assert rows["ladder-cost"].value == pytest.approx((3 + 0.2 * 3.5) / 6.5)
    assert {row.seeds for row in rows.values()} == {0, 5}
    one = [cost((0.5,))(store).value for cost in (branches_cost, cosines_cost)]
    assert one[0] == pytest.approx(one[1])  # one horizon alone is the same run
    slanted = verdicts(planted(slope=0.4), "scales-alike")
    assert slanted["scales-alike"].value == pytest.approx(1.2)


def test_verdicts_come_out_both_ways():
    decided = {"reproduced", "not testable here"}
    good = planted(gap=-0.1)
    assert {row.verdict for row in verdicts(good).values()} == decided
    bad = verdicts(planted(gap=2.0, sqrt=1.0, longer=3.0, share=-0.2, slope=0.5))
    found = {name: row.verdict for name, row in bad.items()}
    assert found.pop("gpu-hours") == "not testable here"
    assert found.pop("ladder-cost") == "reproduced"  # it hangs on nothing but the steps
    assert set(found.values()) == {"contradicted"}
    above = verdicts(planted(share=1.1), "swa-most-not-all")
    assert above["swa-most-not-all"].verdict == "contradicted"
    below = verdicts(planted(gap=-1.0), "matches-cosine", "matches-cosine-to-0")
    assert [row.verdict for row in below.values()] == ["reproduced", "contradicted"]


@pytest.mark.integration
@pytest.mark.parametrize("name", PAPER.figures)
def test_figures_draw_what_was_planted(name):
    figure = style.drawn(lambda: PAPER.figures[name].draw(planted()))
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels
    if name == "D4":
        ratio = figure.axes[1].get_lines()[0].get_ydata()
        assert ratio[0] == pytest.approx(1)
        assert ratio[-1] == pytest.approx(3.7 / 6.5)
