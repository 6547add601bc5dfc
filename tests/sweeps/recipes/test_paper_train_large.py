"""Train Large, Then Compress on tiny models, and its measures where the answers are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from unread import setting

from mugrow.analysis.read.store import Store
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm
from mugrow.sweeps.recipes.papers.train_large import paper as train_large
from mugrow.sweeps.recipes.papers.train_large.paper import (
    PAPER,
    by_compression,
    gain_at_equal_bytes,
    robustness,
    steps_ratio,
)


def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setattr(train_large, "SEEDS", range(2))
    monkeypatch.setattr(train_large, "BITS", (4,))
    monkeypatch.setattr(train_large, "SPARSITY", (0.5,))
    store = reproduced(PAPER)
    assert len(store.runs) == 2 * (4 + 2)
    assert len(store.evaluations) == 2 * 4 * 3 * 2  # loss and bytes
    whole = by_compression(store, "1× width", "bits")
    runs = store.runs[store.runs["arm"] == "1× width"].set_index("seed")
    for row in whole[whole["bits"] == 0].itertuples():
        assert row.loss == pytest.approx(runs["final_val_loss"][row.seed], rel=1e-5)
        assert row.bytes == 4 * runs["params"][row.seed]


def test_the_widths_are_runs_of_nanolm_too():
    given = setting(PAPER)
    ours = {node.spec.run_id for node in train_large.wide(given)}
    theirs = {node.spec.run_id for node in nanolm.law_runs(given)}
    assert ours <= theirs


@pytest.mark.parametrize(("scale", "vocabulary"), [("gpu", 256), ("paper", 50265)])
def test_the_other_scales_can_be_planned(scale, vocabulary):
    given = setting(PAPER, scale, vocabulary)
    assert len(list(train_large.wide(given))) == 20
    assert len(list(train_large.compressed(given))) == 20 * 12


# --- arms whose answers are known --------------------------------------------------------------


def curve_store(exponents):
    """Losses (step / 100) ** -exponent by arm, with 3 seeds shifted alike."""
    runs, curves = [], []
    for name, exponent in exponents.items():
        for seed in range(3):
            run_id = f"{name}{seed}"
            runs.append({"run_id": run_id, "arm": name, "seed": seed, "status": "finished",
                         "flops_source": 0.0, "method": "scratch", "spec": "{}"})  # fmt: skip
            for step in range(1, 1001):
                loss = 1 + (step / 100) ** -exponent + 0.01 * seed
                curves.append({"run_id": run_id, "step": step, "flops": step, "val_loss": loss})
    return Store(pd.DataFrame(runs), pd.DataFrame(curves), pd.DataFrame(), {})


def test_steps_are_counted_to_the_small_models_last_loss():
    store = curve_store({"small": 0.5, "large": 1.0})
    # 10 ** -0.5 is reached by the large one at 10 ** 0.5 * 100 steps of 1000
    found = steps_ratio(store, "small", "large")
    assert found.value == pytest.approx(10**0.5, rel=1e-3)
    assert found.hi - found.lo < 1e-6
    assert np.isnan(steps_ratio(store, "large", "small").value)


def compressed_store(losses):
    """``losses[arm][bits]`` with bytes 100 times the arm's number and bits; 32 is uncompressed."""
    rows = [
        {
            "arm": arm, "seed": seed, "how": "compress", "quantity": quantity, "value": value,
            "params": json.dumps({} if bits == 32 else {"bits": float(bits)}),
        }
        for arm, by_bits in losses.items()
        for bits, loss in by_bits.items()
        for seed in range(3)
        for quantity, value in (("loss", loss + 0.1 * seed), ("bytes", 100.0 * int(arm) * bits))
    ]  # fmt: skip
    return Store(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {}, pd.DataFrame(rows))


LOSSES = {"1": {32: 2.0, 8: 2.1, 4: 3.0}, "4": {32: 1.5, 8: 1.6, 4: 1.8, 2: 4.0}}


def test_only_what_fits_is_compared_at_equal_bytes():
    store = compressed_store(LOSSES)
    assert gain_at_equal_bytes(store, "1", "4").value == pytest.approx(1.6 - 2.0)
    tight = compressed_store({**LOSSES, "4": {32: 1.5, 16: 1.6}})
    assert np.isnan(gain_at_equal_bytes(tight, "1", "4").value)


def test_robustness_is_in_points_of_each_ones_own_loss():
    found = robustness(compressed_store(LOSSES), "1", "4", "bits", 4.0)
    seeds = 0.1 * np.arange(3)
    expected = 100 * np.mean((1.8 + seeds) / (1.5 + seeds) - (3.0 + seeds) / (2.0 + seeds))
    assert found.value == pytest.approx(expected)
    assert found.hi < 0


def test_bits_and_sparsity_are_told_apart():
    store = compressed_store(LOSSES)
    pruned = store.evaluations.assign(params=json.dumps({"sparsity": 0.5}))
    both = replace(store, evaluations=pd.concat([store.evaluations, pruned[pruned["seed"] == 0]]))
    assert set(by_compression(both, "1", "bits")["bits"]) == {0, 4, 8}
