"""Importance of multipliers against losses that are known quadratics."""

import json

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.importance import MARGIN, Importance, importance
from mugrow.bench.spec import UserError

NAMES = ("beta2.qk", "eps.head", "lr.head", "lr.qk")
BEST = np.array([0.0, 0.0, 1.5, -1.0])  # log2
BENDS = np.array([0.0, 0.0, 0.04, 0.01])
WORTH = BENDS * BEST**2


def trials(count: int, noise: float, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    log2 = rng.integers(-8, 9, (count, len(NAMES))) / 4
    lr = rng.integers(-9, -5, count)
    loss = 2.0 + ((log2 - BEST) ** 2 * BENDS).sum(1) + 0.02 * (lr + 7) ** 2
    rows = [
        {
            "sweep": "by-module",
            "modules": json.dumps({k: 2.0**x for k, x in zip(NAMES, row, strict=True) if x}),
            "lr": 2.0**rate,
            "init_std": 0.1,
            "value": value + noise * rng.standard_normal(),
        }
        for row, rate, value in zip(log2, lr, loss, strict=True)
    ]
    failed = {"sweep": "by-module", "modules": json.dumps({}), "value": None}
    other = {"sweep": "two", "modules": None, "value": 1.0}
    return pd.DataFrame([*rows, failed, other]).fillna({"lr": 1.0, "init_std": 0.1})


def test_without_noise_the_worth_is_exact_and_the_rest_is_flat():
    found = importance(trials(60, noise=0.0))
    assert [one.name for one in found[:2]] == ["lr.head", "lr.qk"]
    by_name = {one.name: one for one in found}
    for name, worth, best in zip(NAMES, WORTH, BEST, strict=True):
        one = by_name[name]
        assert one.worth == pytest.approx(worth, abs=1e-9), name
        assert one.flat == (worth < MARGIN), name
        if not one.flat:
            assert one.best_log2 == pytest.approx(best)


def test_intervals_hold_the_worth_as_often_as_they_say():
    """Of what is worth something: of the flat, whose worth is 0, no interval begins below."""
    hits = []
    for seed in range(60):
        found = {one.name: one for one in importance(trials(120, noise=0.03, seed=seed))}
        hits += [
            found[name].low <= worth <= found[name].high
            for name, worth in zip(NAMES, WORTH, strict=True)
            if worth
        ]
    assert 0.94 < np.mean(hits) <= 1


def test_a_point_asked_for_again_tells_nothing_more():
    table = trials(60, noise=0.03)
    assert importance(pd.concat([table, table], ignore_index=True)) == importance(table)


def test_of_several_searches_it_is_the_one_with_the_lowest_loss():
    table = trials(60, noise=0.03)
    worse = trials(60, noise=0.03, seed=1).assign(sweep="shared")
    worse["value"] += 0.5
    assert importance(pd.concat([worse, table], ignore_index=True)) == importance(table)


def test_noise_is_not_taken_for_worth_or_flatness():
    found = importance(trials(60, noise=0.3))
    assert not any(one.flat for one in found)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (trials(20, 0.0), "importance of 4 multipliers takes complete trials at 22 points, not 20"),
        (trials(20, 0.0).iloc[-1:], "no trial has multipliers of modules"),
    ],
)
def test_too_few_trials_are_refused(table, message):
    with pytest.raises(UserError, match=message):
        importance(table)


def test_a_cliff_far_from_the_best_trial_bends_nothing():
    table = trials(200, noise=0.0)[:200]
    times = [json.loads(text) for text in table["modules"]]
    x = np.array([[np.log2(one.get(name, 1.0)) for name in NAMES] for one in times])
    x = np.hstack([x, np.log2(table[["lr"]].to_numpy())])
    far = ((x - x[table["value"].argmin()]) ** 2).sum(1)
    table.loc[far > np.quantile(far, 0.6), "value"] += 5.0
    found = {one.name: one for one in importance(table)}
    for name, worth in zip(NAMES, WORTH, strict=True):
        assert found[name].worth == pytest.approx(worth, abs=1e-9)


def test_where_1_is_nearer_to_the_optimum_than_all_that_was_tried_nothing_is_lost_by_it():
    table = trials(400, noise=0.0)[:400]
    log2 = [np.log2(json.loads(text).get("lr.head", 1.0)) for text in table["modules"]]
    found = {one.name: one for one in importance(table[np.array(log2) < 0])}
    assert found["lr.head"].worth == pytest.approx(0.0, abs=1e-9)
    assert found["lr.head"].best_log2 == pytest.approx(0.0)


def test_flat_is_what_is_flat_up_to_the_end_of_its_interval():
    assert Importance("lr.qk", 0.001, 0.0, MARGIN * 0.9, 0.0).flat
    assert not Importance("lr.qk", 0.001, 0.0, MARGIN * 1.1, 0.0).flat
