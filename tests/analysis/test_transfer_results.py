"""The results on transfer: as JSON they are what the committed summaries hold, key for key."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transfer_rows import bowl, sweep_rows, table

from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import load
from mugrow.analysis.transfer.results import TransferResults, transfer_results
from mugrow.analysis.transfer.sweep import by_setting

COMMITTED = Path(__file__).parents[2] / "results" / "reference"
STUDIES = sorted(
    path.parent.name
    for path in COMMITTED.glob("*/summary.json")
    if not json.loads((path.parent / "study.json").read_text()).get("source")
)  # an imported source has sweeps of its arms, and nothing is transferred between sizes


def results(*rows: list[dict[str, Any]]) -> TransferResults:
    return transfer_results(by_setting(table(*rows)))


def same(found: Any, committed: Any, at: str = "") -> None:
    """Equal keys and words, and numbers to 1e-9."""
    if isinstance(committed, dict):
        assert found.keys() == committed.keys(), at
        for key, value in committed.items():
            same(found[key], value, f"{at}.{key}")
    elif isinstance(committed, list):
        assert len(found) == len(committed), at
        for place, value in enumerate(committed):
            same(found[place], value, f"{at}[{place}]")
    elif isinstance(committed, float):
        assert found == pytest.approx(committed, rel=1e-9, abs=1e-12), at
    else:
        assert found == committed, at


@pytest.mark.parametrize("study", STUDIES)
def test_json_has_the_keys_and_values_of_the_committed_summary(study: str) -> None:
    committed = json.loads((COMMITTED / study / "summary.json").read_text())
    found = to_json(transfer_results(by_setting(load(COMMITTED / study).runs)))
    same(found, {"sweeps": committed["sweeps"]} | committed["transfer"])


def test_the_committed_studies_are_there() -> None:
    assert {"transfer-width", "transfer-depth", "transfer-growth"} <= set(STUDIES)


def test_tokens_and_batches_have_verdicts_with_and_without_a_rule_for_them() -> None:
    """Rates at the base, so that a rule that holds is an optimum that stays."""

    def rows(name: str, drift: float, ratio: bool) -> list[dict[str, Any]]:
        found = sweep_rows(bowl(-7.0), parametrization=name, steps=120)
        for k in (2, 4):
            longer = {"steps": 120 * k} | ({"step_ratio": 1 / k} if ratio else {})
            larger = {"steps": 120 // k, "batch_sequences": 8 * k} | (
                {"step_ratio": float(k)} if ratio else {}
            )
            for fields, sign in ((longer, -1), (larger, 1)):
                best = -7.0 + sign * drift * np.log2(k)
                found += sweep_rows(bowl(best), parametrization=name, **fields)
        return found

    found = results(rows("mup", 0.5, ratio=False), rows("completedp", 0.0, ratio=True))
    verdicts = {(one.parametrization, one.axis): one.verdict.word for one in found.ladders}
    assert verdicts == {
        ("mup", "tokens"): "drifts",
        ("mup", "batch"): "drifts",
        ("completedp", "tokens"): "transfers",
        ("completedp", "batch"): "transfers",
    }
    assert found.skipped == ()


def test_a_rung_names_its_sweep() -> None:
    widths = [row for width in (32, 64) for row in sweep_rows(bowl(-7.0), model_width=width)]
    found = results(sweep_rows(bowl(-7.0), model_width=32, parametrization="sp"), widths)
    (ladder,) = found.ladders
    for rung in ladder.rungs:
        sweep = found.sweeps[rung.sweep]
        assert (sweep.parametrization, sweep.width, sweep.depth) == ("mup", rung.width, rung.depth)
        assert sweep.argmin_loss == rung.lowest_loss.value
    assert (ladder.widest.proxy, ladder.widest.target) == (32, 64)
    assert ladder.from_smallest == (ladder.widest,)
    (alone,) = found.skipped
    assert (alone.parametrization, alone.sweeps) == ("sp", ("w32-d2, init std 0.1",))


def test_what_has_no_number_is_nan_and_null_in_json() -> None:
    rows = sweep_rows(bowl(-7.0), log2_lrs=[-8.0, -7.0, -6.0])
    rows[0] |= {"status": "diverged", "final_val_loss": None}
    rows[-1] |= {"status": "pruned"}
    (sweep,) = results(rows).sweeps
    assert [point.known for point in sweep.points] == [False, True, False]
    assert (sweep.points[0].loss, sweep.finished, sweep.has_vertex) == (np.inf, True, False)
    plain = to_json(sweep)
    assert [point["loss"] is None for point in plain["points"]] == [True, False, True]
    assert (plain["argmin_log2_lr"], plain["vertex_log2_lr"]) == (-7.0, None)
    lost = [row | {"status": "failed", "final_val_loss": None} for row in rows]
    (nothing,) = results(lost).sweeps
    assert not nothing.finished
    assert (to_json(nothing)["argmin_loss"], nothing.edge) == (None, None)
