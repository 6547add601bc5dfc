"""Weights between two models on tiny ones, and its measures on lines that are known."""

import json

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.measure.measured import finals
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import factors_json
from mugrow.bench.spec import DataSpec, UserError
from mugrow.sweeps.paper import Setting
from mugrow.sweeps.recipes.papers.rewarm import paper as rewarm
from mugrow.sweeps.recipes.papers.robustify import paper as robustify
from mugrow.sweeps.recipes.papers.robustify.paper import (
    HOME,
    PAPER,
    SHARES,
    SHIFT,
    above_chord,
    along,
    judged,
    regained,
)
from mugrow.sweeps.recipes.papers.shift import DIRECTIONS, rewarmed, trained

DATA = {name: DataSpec(corpus=name, corpus_sha256=name) for name in PAPER.corpora}
WAY = DIRECTIONS[0]


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(robustify.SEEDS, "cpu", range(2))
    store = reproduced(PAPER, steps=20)
    assert len(store.evaluations) == 2 * 2 * 2 * len(SHARES)
    for way in DIRECTIONS:
        for share, where, arm in ((0.0, SHIFT, trained(way[0])), (1.0, HOME, rewarmed(way))):
            found = along(way, where)[share].by_seed(store)
            assert found == pytest.approx(finals(store.runs, arm), rel=1e-5)
        adapted = store.runs[store.runs["factors"] == factors_json(rewarmed(way))]
        assert all('"stop_step":20' in spec for spec in adapted["spec"])


def test_all_runs_are_those_of_rewarm():
    given = Setting("cpu", PAPER.bases["cpu"](DATA["novels"], 256), DATA)
    theirs = {each.spec.run_id for node in rewarm.shift_runs(given) for each in node.line}
    ours = {node.spec.run_id for node in robustify.runs(given)}
    assert len(ours) == 2 * 5 * 2
    assert ours <= theirs


# --- lines that are known ----------------------------------------------------------------------


def planted(home, shift, noise=1e-4):
    """``home`` and ``shift`` are losses by the share of the adapted model, in both directions."""
    draw = np.random.default_rng(0)
    rows = [
        {
            "arm": judged(way, where), "seed": seed, "params": json.dumps({"share": share}),
            "value": loss(share) + 0.1 * seed + draw.normal(0, noise),
        }
        for way in DIRECTIONS
        for where, loss in ((HOME, home), (SHIFT, shift))
        for share in SHARES
        for seed in range(4)
    ]  # fmt: skip
    return Store(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {}, pd.DataFrame(rows))


def bowl(share):
    """Lowest at 0.8."""
    return 2 + (share - 0.8) ** 2 / 3


def forgetting(share):
    """From 1.5 to 2.5, slowly at first."""
    return 1.5 + share**3


def measured(name, store):
    return next(one for one in PAPER.figures["W1"].claims if one.name == name).measure(store).value


def test_mixtures_of_a_bowl():
    store = planted(bowl, forgetting, noise=0)
    assert measured("gains-code", store) == pytest.approx(-0.04 / 3)
    # adapted is at 2.163 in the mean: 2.180 at a share of 0.5 costs less than 1 %, 2.203 more
    assert 1 - 0.5**3 < regained(WAY)(store).value < 1 - 0.4**3
    ends = bowl(0), bowl(1)
    chords = [ends[0] + share * (ends[1] - ends[0]) + 1.5 + share for share in SHARES[1:-1]]
    lines = [bowl(share) + forgetting(share) for share in SHARES[1:-1]]
    expected = (np.mean(lines) - np.mean(chords)) / 2
    assert measured("bends-novels-to-code", store) == pytest.approx(expected)
    assert measured("no-barrier-novels-to-code", store) == pytest.approx(-0.1 * 0.9 / 3)


def test_a_straight_line_is_its_chord():
    store = planted(lambda share: 3 + share, lambda share: 3 + 2 * share, noise=0)
    for where in (HOME, SHIFT):
        for fold in (np.min, np.max):
            assert above_chord(WAY, where, fold)(store).value == pytest.approx(0, abs=1e-12)


def test_a_hill_is_a_barrier_and_nothing_is_regained():
    store = planted(lambda share: 2 + share * (1 - share), forgetting, noise=0)
    assert measured("no-barrier-novels-to-code", store) == pytest.approx(0.25)
    assert regained(WAY)(store).value == pytest.approx(1.0)  # the pre-trained one costs nothing
    steep = planted(lambda share: 3 - share + share * (1 - share), forgetting, noise=0)
    assert 0 < regained(WAY)(steep).value < 0.271  # less than at 0.9, which costs too much


@pytest.mark.integration
def test_both_verdicts():
    def verdicts(store):
        return {row.claim: row.verdict for row in ledger(PAPER.claims(PAPER.figures), store)}

    good = verdicts(planted(bowl, forgetting))
    assert [good.pop(name) for name in ("small-teachers", "benchmarks")] == [
        "not testable here"
    ] * 2
    assert len(good) == 2 * 5
    assert set(good.values()) == {"reproduced"}
    bad = verdicts(planted(
        lambda share: 3 - share + 2 * share * (1 - share),
        lambda share: 2.5 - share + 2 * share * (1 - share),
    ))  # fmt: skip
    others = {bad[name] for name in good if not name.startswith("regains")}
    assert others == {"contradicted"}
    noisy = verdicts(planted(bowl, forgetting, noise=1.0))
    assert noisy["forgets-novels"] == "inconclusive at this scale"


def test_what_is_not_there_is_named():
    empty = Store(*[pd.DataFrame()] * 3, {}, pd.DataFrame(columns=["arm", "params"]))
    with pytest.raises(UserError, match="'novels to code: at home' has no evaluation"):
        along(WAY, HOME)[0.0](empty)
