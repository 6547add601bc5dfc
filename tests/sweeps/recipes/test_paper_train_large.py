"""Train Large, Then Compress on tiny models, and its measures where the answers are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planned_papers import setting

from mugrow.analysis.read.store import Store
from mugrow.bench.spec import canonical_json
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm
from mugrow.sweeps.recipes.papers.train_large import paper as train_large
from mugrow.sweeps.recipes.papers.train_large.paper import (
    PAPER,
    SMALL,
    gain_at_equal_bytes,
    given_up,
    steps_ratio,
    whole,
)


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(train_large.SEEDS, "cpu", range(2))
    store = reproduced(PAPER)
    assert len(store.runs) == 2 * (4 + 2)
    assert len(store.evaluations) == 2 * 4 * 12 * 2  # loss and bytes
    runs = store.runs[store.runs["arm"] == SMALL]
    assert whole(SMALL)(store).value == pytest.approx(runs["final_val_loss"].mean(), rel=1e-5)
    assert whole(SMALL, "bytes")(store).value == 4 * runs["params"].iloc[0]


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
    spec = canonical_json(setting(PAPER).run)
    for name, exponent in exponents.items():
        for seed in range(3):
            run_id = f"{name}{seed}"
            runs.append({"run_id": run_id, "arm": name, "seed": seed, "status": "finished",
                         "flops_source": 0.0, "method": "scratch", "spec": spec})  # fmt: skip
            for step in range(1, 1001):
                loss = 1 + (step / 100) ** -exponent + 0.01 * seed
                curves.append({"run_id": run_id, "step": step, "flops": step, "val_loss": loss})
    return Store(pd.DataFrame(runs), pd.DataFrame(curves), pd.DataFrame(), {})


def test_steps_are_counted_to_the_small_models_last_loss():
    store = curve_store({"small": 0.5, "large": 1.0})
    # 10 ** -0.5 is reached by the large one at 10 ** 0.5 * 100 steps of 1000
    found = steps_ratio("small", "large")(store)
    assert found.value == pytest.approx(10**0.5, rel=1e-3)
    assert found.hi - found.lo < 1e-6
    assert np.isnan(steps_ratio("large", "small")(store).value)


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


LOSSES = {
    "1": {32: 2.0, 8: 2.1, 6: 2.3, 5: 2.6, 4: 3.0, 3: 4.0, 2: 5.0},
    "4": {32: 1.5, 8: 1.6, 6: 1.65, 5: 1.7, 4: 1.8, 3: 2.5, 2: 4.0},
}


def test_only_what_fits_is_compared_at_equal_bytes():
    store = compressed_store(LOSSES)
    assert gain_at_equal_bytes("1", "4")(store).value == pytest.approx(1.6 - 2.0)
    narrow = compressed_store({"1": LOSSES["1"], "6": LOSSES["4"]})  # six times 5 bits fit
    assert gain_at_equal_bytes("1", "6")(narrow).value == pytest.approx(1.7 - 2.0)
    tight = compressed_store({"1": LOSSES["1"], "17": LOSSES["4"]})
    assert np.isnan(gain_at_equal_bytes("1", "17")(tight).value)


def test_robustness_is_in_points_of_each_ones_own_loss():
    found = (given_up("4", bits=4.0) - given_up("1", bits=4.0))(compressed_store(LOSSES))
    seeds = 0.1 * np.arange(3)
    expected = 100 * np.mean((1.8 + seeds) / (1.5 + seeds) - (3.0 + seeds) / (2.0 + seeds))
    assert found.value == pytest.approx(expected)
    assert found.hi < 0


def test_bits_and_sparsity_are_told_apart():
    store = compressed_store(LOSSES)
    pruned = store.evaluations.assign(
        params=json.dumps({"sparsity": 0.5}), value=store.evaluations["value"] + 1
    )
    pruned = pruned[(store.evaluations["params"] == "{}")]
    both = replace(store, evaluations=pd.concat([store.evaluations, pruned]))
    assert whole("1")(both).value == pytest.approx(2.1)
    assert given_up("1", sparsity=0.5)(both).value == pytest.approx(
        100 * np.mean(1 + 1 / np.array([2.0, 2.1, 2.2]))
    )
