"""A grown arm against a baseline of the same charge: rows whose differences are known."""

from dataclasses import replace

import pandas as pd
import pytest

from mugrow.analysis.measure.equal_compute_claims import from_front, front_size, gained
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName, factors_json
from mugrow.bench.spec import UserError

GROWN = ArmName("grown", kind="grown")
TRUNK = ArmName("trunk", baseline="scratch", part="trunk")


def row(run_id, arm, loss, flops, source=None, paid=0.0, width=64, seed=0, method="continue"):
    return {
        "run_id": f"{run_id}{seed}", "arm": str(arm), "factors": factors_json(arm), "seed": seed,
        "status": "finished", "final_val_loss": loss, "flops": flops, "flops_source": paid,
        "tokens": 10 * flops, "batch_tokens": 10,
        "source_run_id": source and f"{source}{seed}", "width": width, "depth": 2,
        "params": float(width**2), "method": method,
    }  # fmt: skip


def line(baseline, horizon):
    return ArmName(f"{baseline} to {horizon}", baseline=baseline, horizon=horizon)


def tables(seeds=(0, 1)):
    rows = []
    for seed in seeds:
        rows += [
            row("s", ArmName("source", part="source"), 3.0, 50.0, None, 0.0, 32, seed, "scratch"),
            row("g", GROWN, 2.0 + seed, 100.0, "s", 50.0, 64, seed, "szp"),
            row("t", TRUNK, 0.0, 150.0, None, 0.0, 64, seed, "scratch"),  # no line's end
            row("b", line("scratch", 15), 2.1 + seed, 30.0, "t", 120.4, seed=seed),
            row("c", line("scratch", 30), 1.0, 300.0, seed=seed),  # at another charge
            row("d", line("own source", 40), 1.9 + seed, 100.0, "s", 50.0, 32, seed),
            row("e", line("own source", 40), 0.0, 100.0, "h", 50.0, 16, seed),  # of another source
            row("h", ArmName("heir"), 3.0, 50.0, None, 0.0, 16, seed, "inheritune"),
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


def test_the_front_is_the_best_shape_that_began_at_random():
    """Not that of another charge, nor of a source that was grown."""
    store = tables()
    assert gained(GROWN, "front")(store).value == pytest.approx(0.1)
    assert gained(GROWN, "front")(store).n == 2
    assert front_size(store, GROWN) == "w32-d2, smallest tried"
    store.runs.loc[store.runs["run_id"].str.startswith("d"), "final_val_loss"] += 1.0
    assert gained(GROWN, "front")(store).value == pytest.approx(-0.1)
    assert front_size(store, GROWN) == "w64-d2, largest tried"


def test_three_sizes_make_a_parabola():
    store = tables()
    rows = [
        row("f", line("front", 7), 2.0 + seed, 150.0, None, 0.0, 16, seed, "scratch")
        for seed in (0, 1)
    ]
    runs = pd.concat([store.runs, pd.DataFrame(rows)], ignore_index=True)
    found = from_front(replace(store, runs=runs), GROWN)
    # at 2^8, 2^10 and 2^12 parameters 2.0, 1.9 and 2.1 nats: the vertex at 2^9.67
    assert found.size.kind == "vertex"
    assert found.size.params == pytest.approx(2 ** (10 - 1 / 3))
    assert found.difference.value == pytest.approx(0.1 + 0.05**2 / (4 * 0.15))
    assert front_size(replace(store, runs=runs), GROWN) == "between sizes, near w32-d2"


def test_without_a_front_the_arm_is_named():
    store = tables()
    ends = store.runs["run_id"].str.startswith(("b", "d"))
    with pytest.raises(UserError, match="'grown' has no front at its charged compute"):
        gained(GROWN, "front")(replace(store, runs=store.runs[~ends]))
