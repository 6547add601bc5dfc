import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.measure.savings import (
    Arm,
    Curve,
    Saving,
    baseline_final,
    compare,
    cost,
    curve,
    envelope,
    fixed,
    headline,
    mean_curve,
    savings_curve,
)
from mugrow.analysis.stats import Array, student_interval

FLOPS: Array = np.exp2(np.arange(11.0))  # 1 to 1024
FALL = 0.25  # nats per doubling


def line(flops: Array = FLOPS, speed: float = 1.0, offset: float = 0.0) -> Curve:
    """A loss linear in log FLOPs, reached ``speed`` times sooner; 5.0 for 1 FLOP."""
    return Curve(flops, 5.0 - FALL * np.log2(speed * flops) + offset)


def arm(*curves: Curve, source: float = 0.0, tuning: float = 0.0) -> Arm:
    return Arm(dict(enumerate(curves)), source, tuning)


def at(loss: float, baseline: Arm, method: Arm) -> dict[str, Saving]:
    return {one.accounting: one for one in compare(baseline, method, fixed(loss))}


def test_a_method_twice_as_fast_is_twice_as_fast() -> None:
    scratch = arm(line(), line(), tuning=50.0)
    method = arm(line(speed=2), line(speed=2), source=100.0, tuning=150.0)
    # loss 3.0 is 8 doublings down: 256 FLOPs from scratch, 128 grown
    for loss, base in ((3.0, 256.0), (3.1, 2**7.6)):
        found = at(loss, scratch, method)
        expected = {
            "target": 2.0,
            "source": base / (base / 2 + 100),
            "full": (base + 50) / (base / 2 + 100 + 150),
        }
        for accounting, speedup in expected.items():
            saving = found[accounting]
            assert saving.state == "reached"
            assert saving.bound is None
            assert saving.speedup is not None
            assert saving.saving is not None
            assert saving.speedup.value == pytest.approx(speedup)
            assert saving.speedup.lo == pytest.approx(speedup)
            assert saving.saving.value == pytest.approx(1 - 1 / speedup)
            assert (saving.seeds_reached, saving.seeds, saving.speedup.n) == (2, 2, 2)


def test_the_interval_is_students_in_log_flops() -> None:
    """Lines are parallel, and paired they are 2, 2 and 4 times as fast."""
    scratch = arm(line(), line(offset=0.1), line(offset=-0.2))
    method = arm(line(speed=2), line(speed=2, offset=0.1), line(speed=4, offset=-0.2))
    speedup = at(3.5, scratch, method)["target"].speedup
    assert speedup is not None
    doublings = student_interval([1, 1, 2], level=0.95)
    assert speedup.value == pytest.approx(2**doublings.value)
    assert speedup.lo == pytest.approx(2**doublings.lo)
    assert speedup.hi == pytest.approx(2**doublings.hi)


def test_the_source_is_paid_at_both_ends() -> None:
    scratch = arm(line(), line(), line())
    method = arm(line(speed=2), line(speed=2), line(speed=4), source=20.0)
    found = at(3.5, scratch, method)
    free, paid = found["target"].speedup, found["source"].speedup
    assert free is not None
    assert paid is not None
    for one, other in ((free.lo, paid.lo), (free.value, paid.value), (free.hi, paid.hi)):
        assert other == pytest.approx(64 / (64 / one + 20))


def test_never_reached() -> None:
    slow = Curve(FLOPS, np.linspace(5.0, 4.0, 11))
    found = at(3.0, arm(line(), tuning=44.0), arm(slow, source=100.0, tuning=76.0))
    for accounting, bound in (
        ("target", 256 / 1024),
        ("source", 256 / 1124),
        ("full", 300 / 1200),
    ):
        saving = found[accounting]
        assert saving.state == "never_reached"
        assert saving.speedup is None
        assert saving.saving is None
        assert saving.bound == pytest.approx(bound)
        assert saving.limit is None  # one seed
        assert (saving.seeds_reached, saving.seeds) == (0, 1)


def test_a_limit_says_how_sure_a_bound_is() -> None:
    """Where one of three seeds gets there, the mean might with others."""
    late = [Curve(FLOPS, np.maximum(line().loss, end)) for end in (3.2, 3.19, 3.21)]
    sure = at(3.0, arm(line(), line(), line()), arm(*late))["target"]
    assert (sure.state, sure.limit) == ("never_reached", pytest.approx(sure.bound))
    unsure = arm(*late[:2], Curve(FLOPS, np.maximum(line().loss, 2.75)))
    saving = at(3.0, arm(line(), line(), line()), unsure)["target"]
    assert (saving.state, saving.seeds_reached) == ("never_reached", 1)
    assert saving.bound is not None
    assert saving.limit is not None
    assert saving.limit > saving.bound
    back = at(3.0, unsure, arm(line(), line(), line()))["target"]
    assert back.state == "baseline_never_reached"
    assert back.limit == pytest.approx(1 / saving.limit)


def test_baseline_never_reached() -> None:
    found = at(2.4, arm(line()), arm(line(speed=2), source=512.0))  # method at 2**9.4
    saving = found["target"]
    assert saving.state == "baseline_never_reached"
    assert saving.speedup is None
    assert saving.bound == pytest.approx(1024 / 2**9.4)
    assert found["source"].bound == pytest.approx(1024 / (2**9.4 + 512))


@pytest.mark.parametrize("loss", [1.0, 5.01, 9.0])
def test_outside_range(loss: float) -> None:
    """Neither arm gets to 1.0, and both have 5.01 before their first logged step is over."""
    saving = at(loss, arm(line()), arm(line(speed=2)))["target"]
    assert saving.state == "outside_range"
    assert (saving.speedup, saving.bound, saving.seeds_reached) == (None, None, 0)


def test_a_loss_had_for_nothing_has_no_ratio_until_something_is_paid() -> None:
    """A growth that preserves the function starts at its source's loss."""
    grown = Curve(np.array([0.0, 1024.0]), np.array([4.0, 3.0]))
    found = at(4.5, arm(line()), arm(grown, source=8.0))
    assert found["target"].state == "outside_range"
    assert found["source"].speedup is not None
    assert found["source"].speedup.value == pytest.approx(4 / 8)


def test_a_method_that_may_never_get_there_opens_the_lower_end() -> None:
    late = Curve(FLOPS, np.maximum(line().loss, 3.2))
    method = arm(line(speed=2), line(speed=2.1), late)
    saving = at(2.9, arm(line(), line(), line()), method)["target"]
    assert saving.state == "reached"
    assert saving.speedup is not None
    assert saving.speedup.lo == -math.inf
    assert 1 < saving.speedup.value < saving.speedup.hi < math.inf
    assert saving.saving is not None
    assert saving.saving.lo == -math.inf
    assert (saving.seeds_reached, saving.seeds) == (2, 3)


def test_a_baseline_that_may_never_get_there_opens_the_upper_end() -> None:
    early = Curve(FLOPS, np.maximum(line().loss, 3.2))
    scratch = arm(line(), line(), early)
    saving = at(2.9, scratch, arm(*3 * [line(speed=0.6)]))["target"]
    assert saving.speedup is not None
    assert saving.saving is not None
    assert saving.speedup.value == pytest.approx(512 / (2**8.4 / 0.6))  # later, so it is held
    assert saving.speedup.hi == saving.saving.hi == math.inf
    assert 0 < saving.speedup.lo < saving.speedup.value
    assert saving.seeds_reached == 2


def test_a_loss_that_may_be_had_at_the_start_opens_the_upper_end() -> None:
    """Grown at its source's loss, which is not for certain above the one asked for."""
    starts = [Curve(np.array([1.0, 512.0, 1024.0]), np.array([s, 2.6, 2.4])) for s in (3.5, 4, 3.1)]
    found = at(3.2, arm(line(), line(), line()), arm(*starts, source=32.0))
    free, paid = found["target"].speedup, found["source"].speedup
    assert free is not None
    assert paid is not None
    assert free.hi == math.inf
    assert paid.hi == pytest.approx(2**7.2 / 32)


def test_headline_is_paired_at_each_seeds_own_final_loss() -> None:
    scratch = arm(line(), line(offset=0.5))
    grown = arm(line(speed=2), line(speed=2, offset=0.5))
    named = headline(scratch, grown)
    assert [name for name, _ in named] == ["scratch final"] * 3
    saving = named[0][1]
    assert saving.at_loss == pytest.approx(2.75)
    assert saving.seeds_reached == 2  # the first seed of scratch alone would get to 2.75
    assert saving.speedup is not None
    assert saving.speedup.lo == pytest.approx(2.0)
    assert saving.speedup.hi == pytest.approx(2.0)


def test_headline_adds_the_end_of_a_method_that_stayed_above() -> None:
    slow = Curve(FLOPS, np.linspace(5.0, 4.0, 11))
    named = headline(arm(line()), arm(slow))
    assert [name for name, _ in named] == ["scratch final"] * 3 + ["method final"] * 3
    assert named[0][1].state == "never_reached"
    assert named[3][1].at_loss == 4.0
    assert named[3][1].speedup is not None
    assert named[3][1].speedup.value == pytest.approx(16 / 1024)


def test_arms_without_a_common_seed_give_nothing() -> None:
    scratch, other = Arm({0: line()}), Arm({1: line()})
    assert compare(scratch, other, baseline_final) == []
    assert headline(scratch, other) == []
    assert savings_curve(scratch, other) == []


def test_one_seed_gives_a_value_without_interval() -> None:
    speedup = at(3.0, arm(line()), arm(line(speed=2)))["target"].speedup
    assert speedup is not None
    assert speedup.value == pytest.approx(2.0)
    assert math.isnan(speedup.lo)


def test_savings_curve_spans_what_was_measured() -> None:
    everything = savings_curve(arm(line()), arm(line(speed=4)))
    grid = [one for one in everything if one.accounting == "target"]
    assert len(grid) == 30
    assert grid[0].at_loss == pytest.approx(4.5)  # the method's first logged loss
    assert grid[-1].at_loss == pytest.approx(2.0)  # its last
    for one in grid:
        if one.at_loss > 2.51:
            assert one.speedup is not None
            assert one.speedup.value == pytest.approx(4.0)
        elif one.at_loss < 2.49:
            assert one.state == "baseline_never_reached"


def test_cost_between_points_is_linear_in_log_flops_and_from_zero_in_flops() -> None:
    measured = Curve(np.array([0.0, 10.0, 1000.0]), np.array([5.0, 4.0, 2.0]))
    losses = np.array([6.0, 5.0, 4.25, 4.0, 3.0, 2.0, 1.9])
    expected = [0.0, 0.0, 7.5, 10.0, 100.0, 1000.0, math.nan]
    assert cost(measured, losses) == pytest.approx(expected, nan_ok=True)


def test_a_loss_just_below_a_plateau_is_not_extrapolated_to() -> None:
    plateau = Curve(np.array([1.0, 2.0]), np.array([0.5, np.nextafter(0.5, 0)]))
    assert np.isnan(cost(plateau, np.array([0.4])))


def test_a_spike_does_not_undo_what_was_reached() -> None:
    spiked = Curve(np.array([1.0, 2.0, 4.0]), np.array([3.0, 9.0, 2.0]))
    assert cost(spiked, np.array([3.0, 2.5])) == pytest.approx([1.0, 2**1.5])


def test_curve_sorts_drops_what_is_not_finite_and_keeps_the_later_of_two() -> None:
    found = curve([4.0, 1.0, 2.0, 2.0, 3.0], [1.0, 4.0, 9.0, 3.0, math.nan])
    assert found is not None
    assert found.flops.tolist() == [1.0, 2.0, 4.0]
    assert found.loss.tolist() == [4.0, 3.0, 1.0]
    assert curve([0.0], [5.0]) is None
    assert curve([1.0], [math.inf]) is None


def test_mean_curve_on_one_grid_and_on_two() -> None:
    one, two = line(), line(offset=1.0)
    assert mean_curve([one, two]).loss == pytest.approx(one.loss + 0.5)
    between = line(flops=np.array([0.5, 2.0, 6.0, 100.0]), offset=1.0)
    mixed = mean_curve([one, between])
    assert (mixed.flops[0], mixed.flops[-1]) == (1.0, 100.0)
    assert mixed.loss == pytest.approx(line(flops=mixed.flops).loss + 0.5)


curves = st.lists(st.floats(0.5, 10), min_size=2, max_size=11).map(
    lambda losses: Curve(FLOPS[: len(losses)], np.array(losses))
)

falling = st.lists(st.integers(5, 100), min_size=2, max_size=11, unique=True).map(
    lambda tenths: Curve(FLOPS[: len(tenths)], np.sort(tenths)[::-1] / 10)
)


@given(curves)
def test_the_envelope_falls_and_stays_below(measured: Curve) -> None:
    lowest = envelope(measured)
    assert (np.diff(lowest.loss) <= 0).all()
    assert (lowest.loss <= measured.loss).all()
    assert lowest.loss[-1] == measured.loss.min()


@given(curves)
def test_cost_never_falls_with_a_lower_loss_and_never_extrapolates(measured: Curve) -> None:
    losses = np.linspace(measured.loss.max(), measured.loss.min(), 50)
    costs = cost(measured, losses)
    assert (np.diff(costs) >= -1e-9 * costs[-1]).all()
    assert costs.min() >= measured.flops[0] * (1 - 1e-12)
    assert costs.max() <= measured.flops[-1]
    assert costs[-1] in measured.flops  # a measured point costs what it cost, to the last bit
    assert np.isnan(cost(measured, np.array([measured.loss.min() - 0.01]))).all()


@given(curves, curves, st.floats(0.4, 11), st.floats(1e-6, 1e18))
def test_target_speedups_do_not_depend_on_the_unit_of_flops(
    first: Curve, second: Curve, loss: float, unit: float
) -> None:
    plain = at(loss, arm(first), arm(second))["target"]
    scaled = at(
        loss,
        arm(Curve(first.flops * unit, first.loss)),
        arm(Curve(second.flops * unit, second.loss)),
    )["target"]
    assert plain.state == scaled.state
    assert plain.bound == pytest.approx(scaled.bound)
    assert (plain.speedup is None) == (scaled.speedup is None)
    if plain.speedup and scaled.speedup:
        assert plain.speedup.value == pytest.approx(scaled.speedup.value)


@given(falling, st.floats(0.4, 11))
def test_an_arm_against_itself_is_neither_faster_nor_slower(measured: Curve, loss: float) -> None:
    for saving in at(loss, arm(measured, measured), arm(measured, measured)).values():
        assert saving.state in ("reached", "outside_range")
        if saving.speedup:
            assert saving.speedup.value == 1
            assert (saving.speedup.lo, saving.speedup.hi) == pytest.approx((1, 1))


@given(curves, curves, st.floats(0.4, 11))
def test_exchanging_the_arms_inverts_the_ratio(first: Curve, second: Curve, loss: float) -> None:
    there = at(loss, arm(first), arm(second))["target"]
    back = at(loss, arm(second), arm(first))["target"]
    mirror = {"never_reached": "baseline_never_reached", "baseline_never_reached": "never_reached"}
    assert back.state == mirror.get(there.state, there.state)
    if there.speedup and back.speedup:
        assert there.speedup.value * back.speedup.value == pytest.approx(1)
    if there.bound and back.bound:
        assert there.bound * back.bound == pytest.approx(1)


def test_seeds_of_their_own_give_a_wider_interval() -> None:
    """Both arms differ by 0.1 between their seeds: paired that cancels, apart it does not."""
    scratch = arm(line(), line(offset=0.1), line(offset=0.05))
    method = arm(line(speed=2), line(speed=2, offset=0.1), line(speed=2, offset=0.05))
    # of two arms with the same spread Welch's test has the degrees of freedom of both
    reach = 2.776445 * math.hypot(0.05, 0.05) / math.sqrt(3)
    for paired, factor in ((True, 1.0), (False, 2 ** (reach / FALL))):
        found = compare(scratch, method, fixed(3.5), paired=paired)[0]
        assert found.speedup is not None
        assert found.speedup.value == pytest.approx(2.0)
        assert found.speedup.lo == pytest.approx(2.0 / factor)
        assert found.speedup.hi == pytest.approx(2.0 * factor)
    apart = Arm({7: line(), 8: line()})
    assert compare(scratch, apart, fixed(3.5)) == []
    welch = compare(scratch, apart, fixed(3.5), paired=False)[0]
    assert (welch.seeds, welch.speedup is not None) == (2, True)


def test_a_spike_after_growth_takes_nothing_back() -> None:
    """Two seeds that had the loss at once, lost it and came back: reached at the first point."""
    spiked = Curve(np.array([1.0, 2.0, 4.0, 1024.0]), np.array([3.0, 5.0, 4.0, 2.0]))
    other = Curve(spiked.flops, spiked.loss + np.array([0.001, 0.3, 0.2, 0.001]))
    found = at(3.0005, arm(line(), line()), arm(spiked, other))["target"].speedup
    assert found is not None
    assert found.value == pytest.approx(2**7.998 / 1)
    assert found.hi == math.inf
