"""Emulated tuning on tiny models, and its measures where the answers are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store
from mugrow.bench.model import count
from mugrow.bench.spec import DataSpec, UserError
from mugrow.sweeps.paper import Setting, experiment
from mugrow.sweeps.recipes.papers.emulator import paper as emulator
from mugrow.sweeps.recipes.papers.emulator.paper import (
    PAPER,
    STRENGTHS,
    TEXTS,
    closed,
    emulated,
    loss,
    model,
    on,
    over_best,
)
from mugrow.sweeps.recipes.papers.rewarm import paper as rewarm
from mugrow.sweeps.recipes.papers.shift import STOPS

DATA = {name: DataSpec(corpus=name, corpus_sha256=name) for name in PAPER.corpora}


def given(scale="cpu", vocabulary=256):
    return Setting(scale, PAPER.bases[scale](DATA["novels"], vocabulary), DATA)


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(emulator.SEEDS, "cpu", range(2))
    store = reproduced(PAPER, steps=20)
    assert len(store.runs) == 2 * 3 * (1 + len(STOPS))
    ends = store.runs.assign(width=store.runs["width"] // 16).set_index(["arm", "seed"])
    for times in (2, 4):
        tuned = loss("tuned", times).by_seed(store)
        trained = ends.loc[model("tuned", times)]
        assert set(trained["width"]) == {times}
        assert tuned == pytest.approx(trained["final_val_loss"].to_dict(), rel=1e-5)
        assert emulated(times)[0.5].by_seed(store) != loss("base", times).by_seed(store)


def test_the_small_tuning_is_added_to_the_large_base():
    asked = [one for one in emulator.evaluations(given()) if one.kind == "emulate"]
    assert len(asked) == 5 * 2 * 2 * len(STRENGTHS)
    for one in asked:
        large, *small = [node.arm for node in one.nodes]
        assert small == [model("base", 1), model("tuned", 1)] == ["small base", "small tuned"]
        times = 2 if large == model("base", 2) else 4
        assert (large, one.arm) == (
            model("base", times),
            on(one.data.corpus, model("emulated", times)),
        )


def test_the_small_models_are_runs_of_rewarm():
    theirs = {node.spec.run_id for node in rewarm.shift_runs(given())}
    theirs |= {node.source.spec.run_id for node in rewarm.shift_runs(given()) if node.source}
    small = {node.spec.run_id for node in emulator.runs(given())
             if node.spec.model == given().run.model}  # fmt: skip
    assert len(small) == 2 * 5
    assert small <= theirs


def test_the_paper_scale_is_llamas():
    plan = experiment(PAPER, given("paper", 32_000), PAPER.figures).plan({})
    sizes = {count(run.spec.model)[0] for run in plan.runs}
    assert sorted(sizes) == pytest.approx([6.7e9, 65.2e9], rel=0.01)
    assert plan.runs[0].spec.tokens == pytest.approx(1e12, rel=0.05)


# --- models whose answers are known ------------------------------------------------------------

AT_1 = {"code": 2.2, "novels": 2.5}  # of the stand-in
PLAIN = {  # on code, on novels
    model("base", 1): (4.0, 2.6), model("tuned", 1): (2.4, 3.0),
    model("base", 4): (3.9, 2.3), model("tuned", 4): (2.0, 2.8),
}  # fmt: skip


def planted(at_1=AT_1, best=1.0, noise=1e-4, plain=PLAIN):
    """The stand-in's losses grow by the square of its distance from the ``best`` strength."""
    draw, rows = np.random.default_rng(0), []

    def add(arm, value, **params):
        for seed in range(4):
            shifted = value + 0.1 * seed + draw.normal(0, noise)
            rows.append({"arm": arm, "seed": seed, "value": shifted, "params": json.dumps(params)})

    for side, text in enumerate(TEXTS):
        for name, both in plain.items():
            add(on(text, name), both[side])
        for strength in STRENGTHS:
            away = (strength - best) ** 2 - (1 - best) ** 2
            add(on(text, model("emulated", 4)), at_1[text] + away, strength=strength)
    study = {"scale": "cpu"}
    return Store(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), study, pd.DataFrame(rows))


def test_the_share_of_the_gap_is_of_the_large_models():
    assert closed(4)(planted()).value == pytest.approx((3.9 - 2.2) / (3.9 - 2.0), abs=1e-3)
    assert closed(4)(planted({**AT_1, "code": 3.9})).value == pytest.approx(0, abs=1e-3)


def test_the_best_strength_is_that_of_the_means():
    assert over_best(4)(planted()).value == 0
    found = over_best(4)(planted(best=1.5))
    assert found.value == pytest.approx(100 * (2.35 / 2.1 - 1), abs=0.01)


def test_both_verdicts():
    def verdicts(store):
        return {row.claim: row.verdict for row in ledger(PAPER.claims(figures), store)}

    figures = dict(PAPER.figures)
    good = verdicts(planted())
    assert [good.pop(name) for name in ("helpfulness", "dial")] == ["not testable here"] * 2
    assert set(good.values()) == {"reproduced"}
    assert len(good) == 4
    bad = verdicts(planted({"code": 3.5, "novels": 3.1}, best=1.5))
    assert set(bad.values()) == {"contradicted", "not testable here"}
    noisy = verdicts(planted({"code": 2.39, "novels": 2.99}, noise=0.3))
    assert noisy["beats-small-tuned"] == "inconclusive at this scale"


def test_what_is_not_there_is_named():
    store = planted()
    empty = replace(store, evaluations=store.evaluations.iloc[:0])
    with pytest.raises(UserError, match="'small tuned, on code' has no evaluation"):
        loss("tuned", 1)(empty)
