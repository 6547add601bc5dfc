"""A search by module beside one without: numbers that were put there come out."""

import json

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.importance import MARGIN
from mugrow.analysis.measure.module_search import module_search
from mugrow.analysis.report import modules


def trials(count: int = 80) -> pd.DataFrame:
    """A sweep with two multipliers of which one matters, and one without, at two points."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        x, y, lr = rng.integers(-8, 9) / 4, rng.integers(-8, 9) / 4, rng.integers(-9, -5)
        rows.append({
            "sweep": "p-w32-d2", "lr": 2.0**lr, "modules": json.dumps({"lr.qk": 2.0**x,
            "lr.v": 2.0**y}), "value": 2.0 + 0.05 * (x - 1) ** 2 + 0.01 * (lr + 7) ** 2,
            "run_ids": [f"m{number}"], "flops": 10.0,
        })  # fmt: skip
    for number in range(4):
        rows.append({
            "sweep": "p-w32-d2-two", "lr": 0.5, "modules": None, "value": 2.06 + number % 2,
            "run_ids": [f"s{number % 2}"], "flops": 10.0 if number < 2 else 0.0,
        })  # fmt: skip
    return pd.DataFrame(rows).assign(width=32, depth=2, init_std=0.1)


def test_both_searches_are_told_with_their_points_and_costs():
    found = module_search(trials())
    assert (found.by_module.trials, found.by_module.points, found.by_module.flops) == (80, 80, 800)
    assert found.by_module.loss == pytest.approx(trials()["value"].min())
    (other,) = found.beside
    assert (other.sweep, other.trials, other.points) == ("p-w32-d2-two", 4, 2)
    assert (other.loss, other.log2_lr, other.flops) == (2.06, -1.0, 20.0)
    assert found.log2_times["lr.qk"] == pytest.approx(1.0, abs=0.5)
    assert found.worths[0].name == "lr.qk"
    assert found.worths[0].worth == pytest.approx(0.05)


def test_a_sweep_of_another_shape_is_not_beside_it():
    wider = trials().query("sweep == 'p-w32-d2-two'").assign(width=64, sweep="p-w64-d2")
    found = module_search(pd.concat([trials(), wider], ignore_index=True))
    assert [one.sweep for one in found.beside] == ["p-w32-d2-two"]


def test_a_study_without_multipliers_has_no_such_search():
    rows = trials()
    assert module_search(rows[rows["modules"].isna()]) is None
    assert module_search(rows.drop(columns="modules")) is None
    assert module_search(rows.assign(value=np.nan)) is None
    assert list(modules.sentences(None)) == []
    assert modules.table(None).rows == ()


def test_the_report_names_what_matters_and_what_is_flat():
    found = module_search(trials())
    first, other, on_others, told = modules.sentences(found)
    assert "compare them on others" in on_others
    assert "best of 80 trials" in first
    assert "p-w32-d2-two ends at 2.06" in other
    assert "above it, after 4 trials at 2 points" in other
    assert f"lr.qk is worth more than {MARGIN:g} nats, and lr.v is flat" in told
    name, worth, *_, flat = modules.table(found).rows[0]
    assert (name, worth[:6], flat) == ("lr.qk", "0.0500", "no")


def test_what_is_best_at_the_end_of_what_was_tried_is_named():
    assert module_search(trials()).at_the_end == ()
    rows = trials()
    far = [isinstance(text, str) and json.loads(text)["lr.qk"] > 2 for text in rows["modules"]]
    rows = rows[~np.array(far)]  # it is best at 2
    found = module_search(rows)
    assert found.at_the_end == ("lr.qk",)
    assert "lr.qk is best at the end of what was tried" in "\n".join(modules.sentences(found))


def test_too_few_trials_for_worths_are_said():
    found = module_search(trials(6))
    assert not found.worths
    assert "takes" in found.why_not
    assert "is not told: importance of 2 multipliers takes" in list(modules.sentences(found))[-1]
