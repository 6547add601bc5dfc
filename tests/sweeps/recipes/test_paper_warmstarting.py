"""Warmstarting on tiny models, and its measures where the answers are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planned_papers import own_figures, planned, setting

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.measure.maps import (
    Compared,
    Plane,
    batch_shift,
    given_up,
    map_of,
    rate_shift,
    read,
)
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import ModelSpec, canonical_json
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm
from mugrow.sweeps.recipes.papers.warmstarting import paper as warmstarting
from mugrow.sweeps.recipes.papers.warmstarting.claims import (
    ABLATED,
    PAIRS,
    SHRINKS,
    from_scratch,
    gradients,
    peak_ratio,
    scratch,
    shrunk,
    warm,
    watched,
)
from mugrow.sweeps.recipes.papers.warmstarting.paper import PAPER


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    for seeds in ("SEEDS", "FEWER_SEEDS"):
        monkeypatch.setitem(getattr(warmstarting, seeds), "cpu", range(1))
    monkeypatch.setitem(warmstarting.LOG2_LR, "cpu", (0, 1))
    monkeypatch.setitem(warmstarting.BATCHES, "cpu", (0.5, 1))
    model = ModelSpec(width=32, depth=2, head_size=16, context=16, positions="rope")
    store = reproduced(PAPER, model=model, base=model)
    widths = store.runs[store.runs["arm"].str.endswith(", map")].groupby("arm")["width"].first()
    assert dict(widths) == {
        map_of(scratch(0.5)): 16,
        map_of(scratch(1)): 32,
        map_of(scratch(2)): 64,
        map_of(warm((0.5, 1))): 32,
        map_of(warm((1, 2))): 64,
    }
    for name in (scratch(1), warm(ABLATED)):
        assert list(watched(store, name, "spectral")["step"]) == [1, 2, 5, 10]
        assert list(gradients(store, name)["step"]) == [5, 10]
        assert (gradients(store, name)["value"] > 0).all()
    # one step of warm-up after the start, scratch's largest singular value is the smaller
    names = (scratch(1), warm(ABLATED))
    first = {name: watched(store, name, "spectral")["value"].iloc[0] for name in names}
    assert first[scratch(1)] < first[warm(ABLATED)] < 3 * first[scratch(1)]


@pytest.mark.parametrize(("scale", "runs"), [("cpu", 415), ("gpu", 415), ("paper", 1534)])
def test_every_scale_can_be_planned_sources_first(scale, runs):
    assert len(planned(PAPER, scale).runs) == runs


def test_cells_of_a_map_have_equal_tokens_and_a_source_of_the_same_budget():
    nodes = list(PAPER.figures["W1"].runs(setting(PAPER)))
    assert {node.role for node in nodes} == {"proxy"}
    assert {node.spec.tokens for node in nodes} == {64 * 512}
    sources = {node.source.spec for node in nodes if node.source}
    assert {spec.steps * spec.batch_tokens for spec in sources} == {64 * 512}
    assert {(spec.model.width, spec.stop_step) for spec in sources} == {(16, 51), (32, 51)}
    assert all(spec.data_seed == spec.seed + 1_000_000 for spec in sources)


def test_baselines_are_runs_of_nanolm_and_what_is_watched_begins_like_the_whole_run():
    given = setting(PAPER)
    ours = {n.spec.run_id for n in PAPER.figures["W2"].runs(given) if n.source is None}
    assert ours <= {node.spec.run_id for node in nanolm.law_runs(given)}
    whole = {node.spec for node in warmstarting.watched_runs(given)}
    seen = [node.spec for one in warmstarting.observed(given) for node in one.nodes]
    assert {replace(spec, stop_step=None) for spec in seen} == whole
    assert {spec.last_step for spec in seen} == {1, 20, 80, 200, 400}


# --- planes whose answers are known ------------------------------------------------------------

RATES = np.arange(-10.0, -3.0)
BATCHES = (256, 512, 1024)


def plane(rate, batch=512):
    """Lowest at a log2 rate and a batch, with 0.1 nats for a doubling of both."""
    rows = np.array([0.1 * np.log2(one / batch) ** 2 for one in BATCHES])
    return Plane(BATCHES, RATES, 3 + rows[:, None] + 0.1 * (RATES - rate) ** 2)


def test_shifts_of_the_lowest():
    assert rate_shift(plane(-7.4), plane(-6.8)) == pytest.approx(0.6)
    assert batch_shift(plane(-7), plane(-7)) == pytest.approx(0)
    assert batch_shift(plane(-7), plane(-7, 600)) == pytest.approx(np.log2(600 / 512))
    few = plane(-7.4)  # four rates are too few for a bowl: the lowest and its neighbours tell
    few = replace(few, log2_lr=few.log2_lr[1:5], loss=few.loss[:, 1:5])
    assert rate_shift(plane(-7.0), few) == pytest.approx(-0.4)
    assert given_up(plane(-7.0), plane(-7.0)) == 0
    assert given_up(plane(-7.0), plane(-6.0)) == pytest.approx(100 * 0.1 / 3)


def test_at_an_edge_a_shift_is_unknown():
    assert np.isnan(rate_shift(plane(-7), plane(-3)))
    assert np.isnan(batch_shift(plane(-7), plane(-7, 1024)))
    assert np.isnan(batch_shift(plane(-7, 256), plane(-7)))


# --- stores whose answers are known ------------------------------------------------------------

STEPS = np.arange(0, 401, 20)


def planted(*, ahead=2.0, shift=0.0, restless=1.0, unshrunk=0.1):
    """Scratch follows one curve, the warmstarted are ``ahead`` times as far along it. Best rates
    move by ``shift``, what is watched is ``restless`` times scratch's, and λ = 1 ends
    ``unshrunk`` above λ = 0.4, the others 0.02.
    """
    rows, curves, seen = [], [], []
    given = setting(PAPER)

    spec = canonical_json(given.run)

    def row(name, seed, loss, **fields):
        rows.append({
            "run_id": f"{name}{seed}", "arm": name, "seed": seed, "status": "finished", "lr": 0.01,
            "batch_tokens": 512, "tokens": 400 * 512, "flops_tuning": 0.0,
            "flops_source": 0.0 if name.startswith("scratch") else 1e10,
            "final_val_loss": loss, "spec": spec,
        } | fields)  # fmt: skip

    def add(name, seed, values, gradient):
        run_id = f"{name}{seed}"
        row(name, seed, values[-1])
        curves.append(pd.DataFrame({
            "run_id": run_id, "step": STEPS, "flops": STEPS * 1e9, "tokens": STEPS * 512,
            "val_loss": values, "grad_norm": gradient,
        }))  # fmt: skip
        for quantity in ("activation/a", "activation/b", "logit_max/x", "spectral/x"):
            seen.append({"arm": name, "run_ids": [run_id], "quantity": quantity,
                         "value": gradient[-1], "how": "observe"})  # fmt: skip

    for seed in range(3):

        def curve(times, seed=seed):
            return 2 + 3 * (STEPS * times + 10.0) ** -0.4 + 0.03 * seed

        rough = np.where(STEPS > 20, 1.0 + 0.1 * seed, 50.0)
        for times in (1, 2):
            add(scratch(times), seed, curve(1.0), rough)
        for pair in PAIRS:
            add(warm(pair), seed, curve(ahead), restless * rough)
        for shrink in set(SHRINKS) - {0.4}:
            add(shrunk(shrink), seed, curve(ahead) + (unshrunk if shrink == 1 else 0.02), rough)
        centres = {scratch(0.5): -7.0, scratch(1): -7.0 + shift, scratch(2): -7.0 + 2 * shift}
        centres |= {warm(pair): centres[scratch(pair[0])] + shift for pair in ((0.5, 1), (1, 2))}
        for name, centre in centres.items():
            surface = plane(centre, 512 if shift == 0 or name == scratch(0.5) else 256).loss
            for losses, batch in zip(surface, BATCHES, strict=True):
                for loss, rate in zip(losses, RATES, strict=True):
                    row(map_of(name), seed, loss + 0.03 * seed, lr=2.0**rate, batch_tokens=batch)
    return Store(
        pd.DataFrame(rows), pd.concat(curves), pd.DataFrame(), {"scale": "cpu"}, pd.DataFrame(seen)
    )


def test_maps_are_read_by_batch_and_rate():
    found = read(planted(shift=1.0), scratch(1))
    assert found.loss.shape == (3, 3, 7)
    np.testing.assert_allclose(found.loss[0], plane(-6.0, 256).loss)
    shifts = [
        Compared(scratch(small), scratch(large), rate_shift)(planted(shift=0.5))
        for small, large in ((0.5, 1), (1, 2))
    ]
    assert [one.value for one in shifts] == pytest.approx([0.5, 0.5])
    assert [one.n for one in shifts] == [3, 3]


def test_gradients_count_from_the_end_of_the_warm_up():
    store = planted(restless=1.1)
    assert peak_ratio("gradient")(store).value == pytest.approx(1.1)
    assert peak_ratio("spectral")(store).value == pytest.approx(1.1)
    assert len(gradients(store, from_scratch(ABLATED))) == 3 * 19


def test_the_unshrunk_is_compared_with_the_worst_of_the_others():
    claims = [one for one in PAPER.figures["W3"].claims if one.name == "unshrunk-worst"]
    (row,) = ledger(claims, planted(unshrunk=0.1))
    assert row.value == pytest.approx(0.1 - 0.02)


GOOD = planted()
BAD = planted(ahead=0.5, shift=1.0, restless=2.0, unshrunk=-0.1)
UNKNOWN = {"batch-warmstarted"}  # the best is at the edge


@pytest.mark.parametrize(("store", "verdict"), [(GOOD, "reproduced"), (BAD, "contradicted")])
def test_verdicts_come_out_both_ways(store, verdict):
    rows = {row.claim: row for row in ledger(PAPER.claims(own_figures(PAPER)), store)}
    assert json.dumps(to_json(rows), allow_nan=False)
    found = {name: row.verdict for name, row in rows.items() if row.verdict != "not testable here"}
    if store is BAD:
        assert {found.pop(name) for name in UNKNOWN} == {"inconclusive at this scale"}
        assert all("beyond what was tried" in rows[name].why for name in UNKNOWN)
    assert set(found.values()) == {verdict}, found
