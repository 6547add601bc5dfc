"""Looks that a study has taken, on rows whose answer is known."""

import math

import numpy as np
import pytest
from compared_rows import study

from mugrow.analysis.measure.comparison import compared
from mugrow.analysis.measure.looks import looks_taken
from mugrow.analysis.measure.sequential import Looks, seeds_needed

SETTINGS = {"looks": [2, 4, 6], "error_rate": 0.05, "against": "scratch"}
SCRATCH_A_SEED = 1.0 + 1.6 + 1.6 + 0.4 + 0.8  # target, trunk in two parts, branches


def taken(rows, **changes):
    runs, targets = rows.frames()
    return looks_taken(runs, targets, SETTINGS | changes)


def four_seeds(gap):
    """szp is 0.1 better than scratch for certain; of hypercloning the seeds say gap[seed]."""
    rows = study(szp=0.1, seeds=(0, 1, 2, 3))
    scratch = {
        row["seed"]: row["final_val_loss"] for row in rows.rows if row["run_id"][:4] == "szp-"
    }
    for row in rows.rows:
        if row["method"] == "hypercloning":
            row["final_val_loss"] = scratch[row["seed"]] + 0.1 + gap[row["seed"]]
    return rows


def test_a_decided_arm_lacks_nothing_and_an_undecided_one_what_a_test_needs():
    gap = (0.03, -0.01, 0.02, 0.01)
    found = taken(four_seeds(gap))
    level = Looks((2, 4, 6), 0.05).level
    assert (found.seeds, found.against, found.error_rate, found.level) == (
        (2, 4, 6), "scratch", 0.05, level
    )  # fmt: skip
    szp, copy = found.arms
    assert (szp.label, szp.state, szp.more_seeds, szp.more_flops) == ("szp", "decided", 0.0, 0.0)
    assert (copy.state, copy.seeds, copy.next_look) == ("go on", 4, 6)
    mean, sd = copy.interval.value, float(np.std(gap, ddof=1))
    assert mean == pytest.approx(np.mean(gap), abs=1e-3)
    assert copy.more_seeds == pytest.approx(seeds_needed(mean, sd, alpha=level) - 4, abs=1)
    # a seed more: the arm with its source, and scratch at all of its budgets
    assert copy.more_flops == pytest.approx(copy.more_seeds * (1.25 + SCRATCH_A_SEED))


def test_against_the_source_a_seed_takes_what_trains_it_on():
    """Its source stands in the arm's own charge already."""
    found = taken(four_seeds((0.03, -0.02, 0.02, 0.01)), against="own source").arms[1]
    assert found.state == "go on"
    assert found.more_flops / found.more_seeds == pytest.approx(1.25 + 0.5 + 0.05 + 0.5)


def test_the_cost_of_a_look_is_that_of_its_seeds():
    rows = four_seeds((0.0, 0.0, 0.0, 0.0))
    found = taken(rows)
    a_seed = sum(row["flops"] for row in rows.rows) / 4
    assert found.flops == pytest.approx((2 * a_seed, 2 * a_seed, 0.0))


def test_too_few_seeds_say_nothing_and_a_level_arm_takes_infinitely_many():
    one = taken(study(seeds=(0,))).arms[0]
    assert (one.state, one.seeds, one.next_look) == ("go on", 0, 2)
    assert math.isnan(one.more_seeds)
    level = taken(four_seeds((0.5, -0.5, 0.25, -0.25))).arms[1]
    assert level.more_seeds > 1000


def test_without_looks_there_is_nothing():
    runs, targets = study().frames()
    assert looks_taken(runs, targets, {}) is None
    assert looks_taken(runs, targets, SETTINGS | {"looks": []}) is None


def test_the_decision_is_that_of_the_comparison():
    """The interval is of the same differences as the table's, at the look's level."""
    rows = four_seeds((0.03, -0.01, 0.02, 0.01))
    by_label = {row.label: row.against("scratch").difference for row in compared(*rows.frames())}
    for arm in taken(rows).arms:
        if arm.seeds == 4:
            assert arm.interval.value == pytest.approx(by_label[arm.label].value)
