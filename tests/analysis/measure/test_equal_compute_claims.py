"""A grown arm against a baseline of the same charge: rows whose differences are known."""

import pandas as pd
import pytest

from mugrow.analysis.measure.equal_compute_claims import gained
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName, factors_json
from mugrow.bench.spec import UserError

GROWN = ArmName("grown", kind="grown")


def row(run_id, arm, loss, flops, source=None, paid=0.0, width=64, seed=0):
    return {
        "run_id": f"{run_id}{seed}", "arm": str(arm), "factors": factors_json(arm), "seed": seed,
        "status": "finished", "final_val_loss": loss, "flops": flops, "flops_source": paid,
        "tokens": 10 * flops, "batch_tokens": 10,
        "source_run_id": source and f"{source}{seed}", "width": width, "depth": 2,
    }  # fmt: skip


def line(baseline, horizon):
    return ArmName(f"{baseline} to {horizon}", baseline=baseline, horizon=horizon)


def tables(seeds=(0, 1)):
    rows = []
    for seed in seeds:
        rows += [
            row("s", ArmName("source", part="source"), 3.0, 50.0, width=32, seed=seed),
            row("g", GROWN, 2.0 + seed, 100.0, "s", 50.0, seed=seed),
            row("b", line("scratch", 15), 2.1 + seed, 30.0, "t", 120.4, seed=seed),
            row("c", line("scratch", 30), 1.0, 300.0, seed=seed),  # at another charge
            row("d", line("own source", 40), 1.9 + seed, 100.0, "s", 50.0, 32, seed),
            row("e", line("own source", 40), 0.0, 100.0, "s", 50.0, 16, seed),  # another shape
        ]
    runs = pd.DataFrame(rows)
    return Store(runs, pd.DataFrame(), pd.DataFrame(), {})


def test_an_arm_is_compared_at_its_own_charge_and_shape():
    assert gained(GROWN, "scratch")(tables()).value == pytest.approx(-0.1)
    assert gained(GROWN, "own source")(tables()).value == pytest.approx(0.1)
    assert gained(GROWN, "scratch")(tables()).n == 2


def test_what_is_not_there_is_named():
    without = tables()
    without.runs.loc[without.runs["run_id"].str.startswith("b"), "status"] = "diverged"
    with pytest.raises(UserError, match="'grown' has no scratch at its charged compute"):
        gained(GROWN, "scratch")(without)
