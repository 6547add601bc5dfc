"""Ratios of rates of new and old units, each at its own best rate."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mugrow.analysis.measure.origin_rates import origin_rates
from mugrow.analysis.report import origins
from mugrow.analysis.transfer.sweep import Sweep

RATES = np.array([-8.0, -7.0, -6.0])
SEEDS = ((0, 0), (1, 1), (2, 2))
SEED_LOSSES = np.array([0.0, 0.3, 0.1])


def sweep(ratio: float | None, best: float, floor: float, method: str = "szp") -> Sweep:
    """A bowl of each seed; ``None`` is from before there was a ratio."""
    setting = {"start.method": method, "model.width": 64, "model.depth": 2}
    if ratio is not None:
        setting["start.new_rate"] = ratio
    loss = floor + 0.1 * (RATES - best) ** 2 + SEED_LOSSES[:, None]
    return Sweep(setting, SEEDS, RATES, loss, ("finished",) * 3)


FOUND = origin_rates([sweep(0.5, -7, 2.0), sweep(1.0, -6, 2.05), sweep(2.0, -8, 2.1)])


def test_a_ratio_is_compared_at_its_own_best_rate_within_seeds():
    half, one, twice = FOUND
    assert [each.new_rate for each in FOUND] == [0.5, 1.0, 2.0]
    assert half.minus_one.value == pytest.approx(-0.05)
    assert twice.minus_one.value == pytest.approx(0.05)
    assert half.minus_one.hi - half.minus_one.lo < 1e-9  # what seeds share is no noise
    assert half.loss.hi - half.loss.lo > 0.3
    assert (half.log2_lr, one.log2_lr, twice.log2_lr) == (-7, -6, -8)
    assert [each.on_edge for each in FOUND] == [False, True, True]
    assert one.minus_one.value == 0


def test_what_has_no_ratio_or_none_of_one_is_left_out():
    assert origin_rates([sweep(1.0, -7, 2.0)]) == ()
    assert origin_rates([sweep(0.5, -7, 2.0), sweep(2.0, -7, 2.0)]) == ()
    mixed = [sweep(None, -7, 2.0, "stack"), sweep(2.0, -7, 1.9), sweep(0.5, -7, 2.0, "stack")]
    assert [each.new_rate for each in origin_rates(mixed)] == [0.5, 1.0]
    nothing = replace(sweep(2.0, -7, 1.9), loss=np.full((3, 3), math.nan))
    assert origin_rates([sweep(1.0, -7, 2.0), nothing]) == ()


def test_the_report_says_which_ratio_is_best_and_whether_that_is_decided():
    (line,) = origins.sentences(FOUND)
    assert "New units of w64-d2 grown by szp, at 0.5, 1, 2 times" in line
    assert "0.5 has the lowest loss" in line
    assert line.endswith("better.")
    (line,) = origins.sentences(origin_rates([sweep(1.0, -7, 1.0), sweep(2.0, -7, 2.0)]))
    assert line.endswith("best at one rate for both.")
    assert [row[2] for row in origins.table(FOUND).rows] == ["0.5", "1", "2"]
