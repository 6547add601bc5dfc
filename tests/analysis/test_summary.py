import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mugrow.analysis.measure.arms import label_targets
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.summary import summarize
from mugrow.bench.spec import UserError


@pytest.fixture
def store(study_dir: Path) -> Store:
    return load(study_dir)


def summarized(store: Store) -> dict[str, Any]:
    """As ``summary.json`` has it."""
    plain: dict[str, Any] = to_json(summarize(store))
    return plain


def only(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


def test_the_summary_is_json_without_nan(store: Store) -> None:
    summary = summarized(store)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["study"], summary["n_seeds"]) == ("quick", 2)
    assert summary["interval"] == {
        "level": 0.95,
        "method": "paired t test over seeds",
        "coverage_at_most": 0.95,
    }


def test_sweeps_and_optima(store: Store) -> None:
    summary = summarized(store)
    sweep = only(summary["sweeps"], parametrization="sp", width=64)
    assert sweep["vertex_log2_lr"] == pytest.approx(-7.8)
    assert sweep["curvature"] == pytest.approx(0.06)
    assert [point["log2_lr"] for point in sweep["points"]] == list(range(-10, -3))
    diverged = sweep["points"][-1]
    assert (diverged["status"], diverged["loss"]) == ("diverged", None)
    assert diverged["per_seed"][0] == pytest.approx(2.5582)
    assert diverged["per_seed"][1] is None
    optimum = only(summary["optima"], parametrization="mup", width=32)
    assert (optimum["lr"], optimum["log2_lr"], optimum["init_std"]) == (2**-7, -7, 0.04)
    assert optimum["loss"] == pytest.approx(2.2512 + 0.005)
    assert optimum["edge"] is None
    assert optimum["trials"] == {"complete": 21, "pruned": 0, "diverged": 0}
    mup_trials = store.trials[
        (store.trials["parametrization"] == "mup") & (store.trials["width"] == 32)
    ]
    assert optimum["flops_tuning"] == mup_trials["flops"].sum()
    sp = {
        row["width"]: row["trials"] for row in summary["optima"] if row["parametrization"] == "sp"
    }
    assert sp[32] == {"complete": 20, "pruned": 1, "diverged": 0}
    assert sp[64] == {"complete": 6, "pruned": 0, "diverged": 1}


def test_transfer_and_drift(store: Store) -> None:
    transfer = summarized(store)["transfer"]
    mup, sp = (only(transfer["ladders"], parametrization=name) for name in ("mup", "sp"))
    assert (mup["axis"], mup["variant"], mup["n_seeds"]) == ("width", "", 2)
    assert [rung["size"] for rung in mup["rungs"]] == [32, 64]
    there, back = mup["pairs"]
    assert (there["proxy"], there["target"], back["proxy"]) == (32, 64, 64)
    assert there["shift_argmin_log2"] == {"value": 0.0, "lo": 0.0, "hi": 0.0, "n": 2}
    assert there["regret_nats"]["value"] == 0.0
    assert mup["drift"]["slope"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert (mup["verdict"]["word"], mup["same_argmin"]) == ("transfers", True)
    there = sp["pairs"][0]
    assert there["shift_argmin_log2"]["value"] == -1.0
    assert there["shift_vertex_log2"]["value"] == pytest.approx(-1.0)
    assert there["regret_nats"]["value"] == pytest.approx(0.03 * (0.8**2 - 0.2**2))
    assert sp["drift"]["slope"]["value"] == pytest.approx(-1.0)
    assert (sp["verdict"]["word"], sp["same_argmin"]) == ("drifts", False)
    others = [row["sweeps"] for row in transfer["skipped"]]
    assert sorted(others) == [[f"w32-d2, init std {init}"] for init in (0.02, 0.02, 0.08, 0.08)]


def test_a_rung_names_its_sweep(store: Store) -> None:
    summary = summarized(store)
    for ladder in summary["transfer"]["ladders"]:
        for rung in ladder["rungs"]:
            sweep = summary["sweeps"][rung["sweep"]]
            assert (sweep["width"], sweep["init_std"]) == (rung["size"], 0.04)
            assert sweep["parametrization"] == ladder["parametrization"]
            assert sweep["argmin_loss"] == rung["lowest_loss"]["value"]


def test_finals(store: Store) -> None:
    finals = summarized(store)["finals"]
    assert [row["label"] for row in finals] == ["scratch", "hypercloning", "szp"]
    scratch, szp = finals[0], finals[2]
    end = 3.5 - 0.25 * math.log2(10)
    assert scratch["loss"]["value"] == pytest.approx(end + 0.005)
    assert (scratch["loss"]["lo"], scratch["loss"]["hi"]) == (
        pytest.approx(end + 0.005 - 12.706205 * 0.005),
        pytest.approx(end + 0.005 + 12.706205 * 0.005),
    )
    assert scratch["minus_scratch"] is None
    assert szp["minus_scratch"] == {
        "value": pytest.approx(-0.25),
        "lo": pytest.approx(-0.25),
        "hi": pytest.approx(-0.25),
        "n": 2,
    }
    assert szp["bpb"]["value"] == pytest.approx(szp["loss"]["value"] / math.log(2))
    assert (szp["target"], szp["n_seeds"], szp["diverged"]) == ("w128-d2", 2, 0)
    assert (scratch["flops_source"], szp["flops_tuning"]) == (0.0, scratch["flops_tuning"])


def test_savings_by_hand(store: Store) -> None:
    summary = summarized(store)
    szp, scratch = summary["finals"][2], summary["finals"][0]
    expected = {
        "target": 2.0,
        "source": scratch["flops"] / (scratch["flops"] / 2 + szp["flops_source"]),
        "full": (scratch["flops"] + scratch["flops_tuning"])
        / (scratch["flops"] / 2 + szp["flops_source"] + szp["flops_tuning"]),
    }
    for accounting, speedup in expected.items():
        row = only(summary["savings"], label="szp", accounting=accounting)
        assert (row["state"], row["at"], row["bound"]) == ("reached", "scratch final", None)
        assert row["at_loss"] == pytest.approx(scratch["loss"]["value"])
        assert row["speedup"]["value"] == pytest.approx(speedup)
        assert row["saving"]["value"] == pytest.approx(1 - 1 / speedup)
        assert (row["seeds_reached"], row["seeds"]) == (2, 2)
    never = only(summary["savings"], label="hypercloning", accounting="target", at="scratch final")
    assert (never["state"], never["speedup"], never["saving"]) == ("never_reached", None, None)
    assert never["bound"] == pytest.approx(1.0)
    at_method_final = only(
        summary["savings"], label="hypercloning", accounting="target", at="method final"
    )
    assert at_method_final["state"] == "reached"
    assert at_method_final["speedup"]["value"] < 1


def test_savings_curves(store: Store) -> None:
    curves = summarized(store)["savings_curves"]
    assert [(row["label"], row["accounting"]) for row in curves] == [
        (label, accounting)
        for label in ("hypercloning", "szp")
        for accounting in ("target", "source", "full")
    ]
    for row in curves:
        lists = [row[key] for key in ("loss", "speedup", "lo", "hi", "bound", "state")]
        assert {len(values) for values in lists} == {30}
        assert row["loss"] == sorted(row["loss"], reverse=True)
        for speedup, bound, state in zip(row["speedup"], row["bound"], row["state"], strict=True):
            assert (speedup is not None) == (state == "reached")
            assert (bound is not None) == state.endswith("never_reached")


def test_costs(store: Store) -> None:
    costs = summarized(store)["costs"]
    runs = store.runs
    assert costs["proxy_flops"] == runs.loc[runs["role"] == "proxy", "flops"].sum()
    assert costs["wall_s"] == 2.5 * len(runs)
    assert costs["runs"] == {
        "finished": len(runs) - 2,
        "diverged": 1,
        "pruned": 1,
        "failed": 0,
    }


@pytest.mark.parametrize("roles", [[], ["proxy"], ["proxy", "source"], ["target"]])
def test_a_partial_study_has_empty_lists(store: Store, roles: list[str]) -> None:
    part = dataclasses.replace(
        store,
        runs=store.runs[store.runs["role"].isin(roles)],
        trials=store.trials if "proxy" in roles else store.trials.iloc[:0],
    )
    summary = summarized(part)
    json.dumps(summary, allow_nan=False)
    assert bool(summary["sweeps"]) == ("proxy" in roles)
    assert bool(summary["finals"]) == bool(summary["savings"]) == ("target" in roles)
    assert summary["n_seeds"] == (2 if roles else 0)


def test_a_target_without_its_baseline_has_finals_and_no_savings(store: Store) -> None:
    runs = store.runs
    grown = runs[~((runs["role"] == "target") & (runs["method"] == "scratch"))]
    summary = summarized(dataclasses.replace(store, runs=grown))
    assert [row["label"] for row in summary["finals"]] == ["hypercloning", "szp"]
    assert summary["finals"][0]["minus_scratch"] is None
    assert summary["savings"] == summary["savings_curves"] == []


def with_status(store: Store, status: str, **where: Any) -> Store:
    """The store with the chosen runs ended another way."""
    runs = store.runs.copy()
    chosen = pd.Series(True, index=runs.index)
    for column, value in where.items():
        chosen &= runs[column] == value
    assert chosen.any()
    runs.loc[chosen, "status"] = status
    runs.loc[chosen, ["final_val_loss", "final_bpb"]] = math.nan
    return dataclasses.replace(store, runs=runs)


def test_diverged_targets_are_counted_and_left_out(store: Store) -> None:
    summary = summarized(with_status(store, "diverged", role="target", method="szp", seed=1))
    szp = only(summary["finals"], label="szp")
    assert (szp["n_seeds"], szp["diverged"]) == (2, 1)
    assert (szp["loss"]["n"], szp["loss"]["lo"], szp["minus_scratch"]["n"]) == (1, None, 1)
    row = only(summary["savings"], label="szp", accounting="target")
    assert row["speedup"]["n"] == 1
    assert row["speedup"]["value"] == pytest.approx(2.0)
    everything = summarized(with_status(store, "diverged", role="target", method="szp"))
    szp = only(everything["finals"], label="szp")
    assert szp["loss"] == {"value": None, "lo": None, "hi": None, "n": 0}
    assert not [row for row in everything["savings"] if row["label"] == "szp"]


def test_sweeps_in_which_nothing_finished(store: Store) -> None:
    summary = summarized(with_status(store, "diverged", role="proxy", parametrization="sp"))
    assert {row["parametrization"] for row in summary["optima"]} == {"mup"}
    (ladder,) = summary["transfer"]["ladders"]
    assert ladder["parametrization"] == "mup"
    reasons = [row["reason"] for row in summary["transfer"]["skipped"]]
    assert "width 32 finished none of its 7 learning rates" in reasons
    sweep = only(summary["sweeps"], parametrization="sp", width=64)
    assert sweep["argmin_log2_lr"] is sweep["edge"] is None


def test_variants_of_a_method_are_told_apart_by_what_differs(store: Store) -> None:
    runs = store.runs
    szp = runs[(runs["role"] == "target") & (runs["method"] == "szp")]
    other = szp.assign(
        run_id=szp["run_id"] + "x",
        spec=[text.replace('["shrink",0.4]', '["shrink",0.2]') for text in szp["spec"]],
    )
    labelled = label_targets(pd.concat([runs, other]))
    assert list(dict.fromkeys(labelled["label"])) == [
        "scratch",
        "hypercloning",
        "szp(shrink=0.2)",
        "szp(shrink=0.4)",
    ]
    source = runs[(runs["role"] == "proxy") & (runs["width"] == 32)].iloc[0]
    elsewhere = szp.assign(run_id=szp["run_id"] + "y", source_run_id=source["run_id"])
    labelled = label_targets(pd.concat([runs, elsewhere]))
    assert {"szp(source=w32-d2)", "szp(source=w64-d2)"} < set(labelled["label"])


def test_parametrizations_are_different_targets(store: Store) -> None:
    runs = store.runs
    targets = runs[runs["role"] == "target"]
    sp = targets.assign(run_id=targets["run_id"] + "x", parametrization="sp")
    labelled = label_targets(pd.concat([runs, sp]))
    assert set(labelled["target"]) == {"w128-d2-mup", "w128-d2-sp"}


def test_two_runs_that_cannot_be_told_apart(store: Store) -> None:
    runs = store.runs
    again = runs[runs["role"] == "target"].assign(run_id="0" * 16)
    with pytest.raises(UserError, match=r"target w128-d2 of .* has two 'scratch' runs of seed 0"):
        label_targets(pd.concat([runs, again]))


def test_to_json() -> None:
    assert to_json({"a": (math.nan, math.inf, 1.5), 2: None}) == {"a": [None, None, 1.5], "2": None}
