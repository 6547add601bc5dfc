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
from mugrow.analysis.stats import Array, resamples

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
            assert (saving.resamples_reached, saving.resamples, saving.speedup.n) == (4, 4, 2)


def test_the_interval_is_that_of_the_seeds() -> None:
    scratch = arm(line(), line(offset=0.1))
    method = arm(line(speed=2), line(speed=4, offset=0.1))  # paired: 2x and 4x
    speedup = at(3.5, scratch, method)["target"].speedup
    assert speedup is not None
    assert speedup.lo == pytest.approx(2.0)
    assert speedup.hi == pytest.approx(4.0)
    assert speedup.value == pytest.approx(2**1.5)


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
        assert saving.resamples_reached == 0


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
    assert (saving.speedup, saving.bound, saving.resamples_reached) == (None, None, 0)


def test_a_loss_had_for_nothing_has_no_ratio_until_something_is_paid() -> None:
    """A growth that preserves the function starts at its source's loss."""
    grown = Curve(np.array([0.0, 1024.0]), np.array([4.0, 3.0]))
    found = at(4.5, arm(line()), arm(grown, source=8.0))
    assert found["target"].state == "outside_range"
    assert found["source"].speedup is not None
    assert found["source"].speedup.value == pytest.approx(4 / 8)


def test_a_censored_resample_opens_that_end() -> None:
    late = Curve(FLOPS, np.maximum(line().loss, 3.2))
    method = arm(line(speed=2), late)
    saving = at(2.9, arm(line(), line()), method)["target"]
    assert saving.state == "reached"
    assert saving.speedup is not None
    assert saving.speedup.lo == -math.inf
    assert saving.speedup.hi == pytest.approx(2.0)
    assert saving.saving is not None
    assert saving.saving.lo == -math.inf
    assert (saving.resamples_reached, saving.resamples) == (3, 4)


def test_a_resample_whose_baseline_is_censored_opens_the_upper_end() -> None:
    early = Curve(FLOPS, np.maximum(line().loss, 3.2))
    saving = at(2.9, arm(line(), early), arm(line(speed=2), line(speed=2)))["target"]
    assert saving.speedup is not None
    assert saving.saving is not None
    assert saving.speedup.lo == pytest.approx(2.0)
    assert saving.speedup.hi == saving.saving.hi == math.inf
    assert saving.resamples_reached == 3


def test_headline_loss_is_that_of_the_seeds_drawn() -> None:
    scratch = arm(line(), line(offset=0.5))
    grown = arm(line(speed=2), line(speed=2, offset=0.5))
    named = headline(scratch, grown)
    assert [name for name, _ in named] == ["scratch final"] * 3
    saving = named[0][1]
    assert saving.at_loss == pytest.approx(2.75)
    assert saving.resamples_reached == 4  # a fixed loss of 2.75 would be censored in one resample
    assert saving.speedup is not None
    assert saving.speedup.lo == saving.speedup.hi == pytest.approx(2.0)


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


@given(curves, st.floats(0.4, 11))
def test_an_arm_against_itself_is_neither_faster_nor_slower(measured: Curve, loss: float) -> None:
    for saving in at(loss, arm(measured, measured), arm(measured, measured)).values():
        assert saving.state in ("reached", "outside_range")
        if saving.speedup:
            assert (saving.speedup.lo, saving.speedup.value, saving.speedup.hi) == (1, 1, 1)


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


def test_arms_resampled_apart_give_a_wider_interval() -> None:
    """Both arms differ by 0.1 between their seeds: paired that cancels, apart it does not."""
    scratch = arm(line(), line(offset=0.1))
    method = arm(line(speed=2), line(speed=2, offset=0.1))
    for paired, factor in ((True, 1.0), (False, 2**0.4)):  # 0.1 of 0.25 nats a doubling
        found = compare(scratch, method, fixed(3.5), paired=paired)[0]
        assert found.speedup is not None
        assert found.speedup.value == pytest.approx(2.0)
        assert found.speedup.lo == pytest.approx(2.0 / factor)
        assert found.speedup.hi == pytest.approx(2.0 * factor)
    apart = Arm({7: line()})
    assert compare(scratch, apart, fixed(3.5)) == []
    assert compare(scratch, apart, fixed(3.5), paired=False)[0].resamples == 4


def test_many_resamples_are_computed_in_blocks() -> None:
    """Six seeds: what the blocks give is what each resample gives alone."""
    offsets = [0.0, 0.02, 0.05, 0.1, 0.15, 0.3]
    scratch = arm(*(line(offset=offset) for offset in offsets))
    method = arm(*(line(speed=2, offset=-offset) for offset in offsets))
    speedup = compare(scratch, method, fixed(3.5))[0].speedup
    means = np.array(offsets)[resamples(6)].mean(axis=1)
    expected = 2 * 2 ** (2 * np.sort(means) / FALL)
    assert speedup is not None
    assert speedup.value == pytest.approx(2 * 2 ** (2 * np.mean(offsets) / FALL))
    tail = int(0.025 * (len(means) - 1))
    assert speedup.lo == pytest.approx(expected[tail])
    assert speedup.hi == pytest.approx(expected[-1 - tail])
