from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.schedule import cooldown_start, factor
from mugrow.bench.spec import COOLDOWN_SHAPES, SCHEDULES, ScheduleSpec

STEADY = settings(deadline=None, derandomize=True)
SPECS = st.builds(
    ScheduleSpec,
    kind=st.sampled_from(SCHEDULES),
    warmup=st.floats(0, 0.5),
    cooldown=st.floats(0, 0.5),
    final=st.floats(0, 1),
    cooldown_shape=st.sampled_from(COOLDOWN_SHAPES),
)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ScheduleSpec(kind="constant", warmup=0.4), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]),
        (ScheduleSpec(kind="linear", warmup=0, cooldown=0), [1 - i / 10 for i in range(10)]),
        (
            ScheduleSpec(kind="linear", warmup=0.2, final=0.5),
            [0.5, 1, 1, 0.9375, 0.875, 0.8125, 0.75, 0.6875, 0.625, 0.5625],
        ),
        (
            ScheduleSpec(kind="wsd", warmup=0.2, cooldown=0.4),
            [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25],
        ),
        (
            ScheduleSpec(kind="wsd", warmup=0, cooldown=0.4, final=0.2),
            [1, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4],
        ),
        (
            ScheduleSpec(kind="wsd", warmup=0, cooldown=0.4, final=0.2, cooldown_shape="sqrt"),
            [1, 1, 1, 1, 1, 1, 1, 0.6, 0.2 + 0.8 * (1 - 0.5**0.5), 0.2 + 0.8 * (1 - 0.75**0.5)],
        ),
        (ScheduleSpec(kind="wsd", warmup=1, cooldown=0), [(i + 1) / 10 for i in range(10)]),
    ],
)
def test_factors_by_hand(schedule, expected):
    assert [factor(schedule, 10, step) for step in range(10)] == pytest.approx(expected)


def test_cosine_by_hand():
    schedule = ScheduleSpec(kind="cosine", warmup=0.2, cooldown=0, final=0.1)
    factors = [factor(schedule, 8, step) for step in range(8)]
    # 2 warm-up steps, then a half cosine over 6: cos 60° = 1/2, cos 90° = 0, cos 120° = -1/2
    assert factors[:2] == [0.5, 1]
    assert factors[2] == pytest.approx(1)
    assert factors[4] == pytest.approx(0.1 + 0.9 * 0.75)
    assert factors[5] == pytest.approx(0.1 + 0.9 * 0.5)
    assert factors[6] == pytest.approx(0.1 + 0.9 * 0.25)


def test_wsd_has_not_decayed_where_its_cooldown_starts():
    schedule = ScheduleSpec(kind="wsd", warmup=0.1, cooldown=0.2)
    start = cooldown_start(schedule, 50)
    assert start == 40
    assert factor(schedule, 50, start - 1) == factor(schedule, 50, start) == 1
    assert factor(schedule, 50, start + 1) < 1


@STEADY
@given(SPECS, st.integers(1, 300))
def test_factors_rise_during_warmup_and_then_fall_within_bounds(schedule, steps):
    factors = [factor(schedule, steps, step) for step in range(steps)]
    warmup = round(schedule.warmup * steps)
    rising, falling = factors[:warmup], factors[warmup:]
    assert rising == sorted(rising)
    assert all(0 < value <= 1 for value in rising)
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))
    assert all(schedule.final - 1e-12 <= value <= 1 + 1e-12 for value in falling)
    if rising:
        assert rising[-1] == 1


@STEADY
@given(SPECS, st.integers(1, 300))
def test_final_is_approached_from_above_and_only_reached_after_the_last_step(schedule, steps):
    last = factor(schedule, steps, steps - 1)
    assert last >= schedule.final
    assert last > 0  # no step is wasted
