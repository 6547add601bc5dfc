"""Loss at equal charged compute and its reading as a speed-up, on lines whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from mugrow.analysis.measure.equal_compute import (
    BudgetLine,
    ChargedArm,
    Front,
    budget_line,
    difference,
    speedup,
)

SLOPE = 0.2  # nats for each factor e in FLOPs
BUDGETS = (1e12, 1.5e12, 2e12, 3e12)


def loss(flops: float, offset: float = 0.0) -> float:
    return 2.0 - SLOPE * math.log(flops / 1e12) + offset


def line(*offsets: float, budgets: tuple[float, ...] = BUDGETS) -> BudgetLine:
    """Straight in log FLOPs, a seed for each offset."""
    return budget_line({b: {s: loss(b, o) for s, o in enumerate(offsets)} for b in budgets})


def arm(at: float, *gains: float) -> ChargedArm:
    """Charged 1.6e12 FLOPs; each seed as good as a line that had ``at`` times as many."""
    return ChargedArm({s: loss(at * 1.6e12, gain) for s, gain in enumerate(gains)}, 1.6e12)


def test_an_arm_as_good_as_the_line_with_a_quarter_more() -> None:
    scratch, grown = line(0.0, 0.05, 0.02), arm(1.25, 0.0, 0.05, 0.02)
    apart = difference(grown, scratch)
    assert apart.state == "reached"
    assert apart.difference.value == pytest.approx(-SLOPE * math.log(1.25))
    assert apart.difference.hi - apart.difference.lo == pytest.approx(0, abs=1e-9)
    assert apart.by_seed.keys() == {0, 1, 2}
    found = speedup(grown, scratch)
    assert found.state == "reached"
    assert found.speedup.n == 3
    ends = (found.speedup.value, found.speedup.lo, found.speedup.hi)
    assert ends == pytest.approx((1.25, 1.25, 1.25))


def test_on_a_straight_line_the_interval_is_students_in_log_flops() -> None:
    gains = (0.0, 0.01, -0.02)
    found = speedup(arm(1.2, *gains), line(0.0, 0.0, 0.0)).speedup
    apart = difference(arm(1.2, *gains), line(0.0, 0.0, 0.0)).difference
    assert found.value == pytest.approx(math.exp(-apart.value / SLOPE))
    assert found.lo == pytest.approx(math.exp(-apart.hi / SLOPE))
    assert found.hi == pytest.approx(math.exp(-apart.lo / SLOPE))
    assert apart.hi - apart.lo == pytest.approx(2 * 4.302653 * np.std(gains, ddof=1) / 3**0.5)


def test_lines_are_linear_between_budgets_and_seeds_differ_in_slope() -> None:
    bent = budget_line({1e12: {0: 2.0, 1: 2.1}, 4e12: {0: 1.6, 1: 1.9}})
    grown = ChargedArm({0: 1.75, 1: 1.95}, 2e12)  # halfway in log FLOPs: 1.8 and 2.0
    assert difference(grown, bent).difference.value == pytest.approx(-0.05)
    # the mean falls by 0.3 over two doublings, and 0.05 below the middle is a third of one further
    assert speedup(grown, bent).speedup.value == pytest.approx(2 ** (1 / 3))


def test_beyond_the_budgets_the_value_is_a_bound_and_the_end_open() -> None:
    gains = (0.0, 0.01, -0.01)
    better = speedup(arm(2.5, *gains), line(0.0, 0.0, 0.0))  # would need 4e12
    assert better.state == "above_budgets"
    assert better.speedup.value == pytest.approx(3 / 1.6)
    assert better.speedup.lo == pytest.approx(3 / 1.6)  # for certain above all budgets
    assert better.speedup.hi == math.inf
    unsure = speedup(arm(1.95, *gains), line(0.0, 0.0, 0.0)).speedup
    assert unsure.lo < 3 / 1.6 == pytest.approx(unsure.value)
    worse = speedup(arm(0.3, *gains), line(0.0, 0.0, 0.0))
    assert worse.state == "below_budgets"
    assert worse.speedup.value == pytest.approx(1 / 1.6)
    assert (worse.speedup.lo, worse.speedup.hi) == (0.0, pytest.approx(1 / 1.6))
    near = speedup(arm(0.66, *gains), line(0.0, 0.0, 0.0)).speedup  # within, at its lower end
    assert near.lo == 0.0
    assert near.hi > 1 / 1.6


def test_a_seed_beyond_the_last_budget_stays_in_the_estimate() -> None:
    """One of three never gets there; the mean and the interval have all three."""
    found = speedup(arm(1.5, 0.0, 0.0, -0.1), line(0.0, 0.0, 0.0))
    assert found.state == "reached"
    assert found.speedup.n == 3
    assert found.speedup.value == pytest.approx(1.5 * math.exp(0.1 / 3 / SLOPE))
    assert found.speedup.hi == math.inf


def test_a_difference_ends_with_the_budgets_but_for_a_step() -> None:
    scratch = line(0.0, 0.0)
    for flops, state in ((1.005e12, "reached"), (0.995e12, "reached"), (3.02e12, "reached"),
                         (0.9e12, "below_budgets"), (3.1e12, "above_budgets")):  # fmt: skip
        found = difference(ChargedArm({0: loss(flops), 1: loss(flops)}, flops), scratch)
        assert found.state == state
        assert found.difference.n == (2 if state == "reached" else 0)
        if state == "reached":
            assert found.difference.value == pytest.approx(0, abs=1e-12)


def test_seeds_are_matched_by_number_and_only_common_ones_count() -> None:
    scratch = line(0.0, 0.5, 0.0, 0.0)
    grown = ChargedArm({0: loss(1.6e12), 7: 0.0, 3: loss(1.6e12) - 0.02}, 1.6e12)
    apart = difference(grown, scratch)
    assert apart.difference.n == 2
    assert apart.difference.value == pytest.approx(-0.01)
    assert speedup(grown, scratch).speedup.n == 2
    stranger = ChargedArm({9: 1.0, 10: math.nan}, 1.6e12)
    assert difference(stranger, scratch).state == speedup(stranger, scratch).state == "outside"


def test_a_seed_counts_where_it_has_run() -> None:
    partial = budget_line({b: {s: loss(b) for s in range(3) if s < 2 or b < 2e12} for b in BUDGETS})
    here = ChargedArm({s: loss(1.2e12) for s in range(3)}, 1.2e12)
    there = ChargedArm({s: loss(2.5e12) for s in range(3)}, 2.5e12)
    assert difference(here, partial).difference.n == 3
    assert difference(there, partial).difference.n == 2
    assert speedup(there, partial).speedup.n == 2


def test_one_seed_has_values_and_no_interval() -> None:
    found = speedup(arm(1.25, 0.0), line(0.0)).speedup
    assert found.value == pytest.approx(1.25)
    assert math.isnan(found.lo)
    assert math.isnan(difference(arm(1.25, 0.0), line(0.0)).difference.hi)


def test_one_budget_has_differences_at_that_compute() -> None:
    single = line(0.0, 0.0, budgets=(1.6e12,))
    assert difference(arm(1.25, 0.0, 0.0), single).difference.value == pytest.approx(
        -SLOPE * math.log(1.25)
    )
    assert speedup(arm(1.25, 0.0, 0.0), single).state == "above_budgets"
    assert difference(ChargedArm({0: 1.0}, 2e12), single).state == "above_budgets"


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 5]))
def test_ends_are_where_the_paired_test_turns(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    noisy = {b: {s: loss(b) + random.normal(0, 0.02) for s in range(n)} for b in BUDGETS}
    grown = ChargedArm({s: loss(2.1e12) + random.normal(0, 0.02) for s in range(n)}, 1.6e12)
    scratch = budget_line(noisy)
    found = speedup(grown, scratch).speedup
    assert found.lo <= found.value <= found.hi
    for end in (found.lo, found.hi):
        if not 1 / 1.6 < end < 3 / 1.6:
            continue
        place = np.log(end * grown.flops)
        at = [np.interp(place, np.log(scratch.flops), row) for row in scratch.losses]
        p = ttest_1samp(np.array(at) - list(grown.losses.values()), 0).pvalue
        assert p == pytest.approx(0.05, abs=1e-6)


def bowl(sizes: dict[str, float], apart: float, lowest: float = 1.0) -> Front:
    """Lines in a parabola over log parameters, lowest at ``lowest``; each size's seeds differ."""
    return Front(
        {
            shape: line(*(apart * math.log(size / lowest) ** 2 + off for off in (0.0, 0.03, -0.01)))
            for shape, size in sizes.items()
        },
        sizes,
    )


SIZES = {"small": 0.25, "middle": 1.5, "large": 5.0, "huge": 30.0}


@pytest.mark.parametrize("lowest", [0.4, 1.0, 3.0, 9.0])
def test_a_front_between_sizes_is_the_vertex_of_their_parabola(lowest: float) -> None:
    """Wherever the minimum lies between sizes, the front is its loss and no size's own."""
    found = difference(arm(1.25, 0.0, 0.03, -0.01), bowl(SIZES, 0.05, lowest))
    assert found.size is not None
    assert found.size.kind == "vertex"
    assert found.size.params == pytest.approx(lowest)
    assert len(found.size.weights) == 3
    assert found.difference.value == pytest.approx(-SLOPE * math.log(1.25))
    assert found.difference.hi - found.difference.lo == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("lowest", "kind", "shape"), [(0.2, "smallest", "small"),
                                                       (40.0, "largest", "huge")])  # fmt: skip
def test_a_minimum_beyond_the_sizes_is_said_to_be(lowest: float, kind: str, shape: str) -> None:
    grown = arm(1.0, 0.0, 0.03, -0.01)
    found = difference(grown, bowl(SIZES, 0.05, lowest))
    assert found.size is not None
    assert (found.size.kind, found.size.shape, found.size.weights) == (kind, shape, {shape: 1.0})
    assert found.size.params == SIZES[shape]
    own = -0.05 * math.log(SIZES[shape] / lowest) ** 2
    assert found.difference.value == pytest.approx(own)


def test_two_sizes_have_no_parabola_and_one_is_the_only() -> None:
    two = bowl({"small": 0.5, "large": 2.0}, 0.05, 0.9)
    found = difference(arm(1.0, 0.0, 0.03, -0.01), two)
    assert found.size is not None
    assert (found.size.kind, found.size.shape) == ("smallest", "small")
    alone = Front({"large": two.lines["large"]}, two.params)
    only = difference(arm(1.0, 0.0, 0.03, -0.01), alone).size
    assert only is not None
    assert only.kind == "only"


def test_a_vertex_takes_sizes_with_the_seeds_of_the_best() -> None:
    full = bowl(SIZES, 0.05)
    lines = dict(full.lines)
    lines["large"] = line(0.05 * math.log(5.0) ** 2, 0.05 * math.log(5.0) ** 2 + 0.03)
    found = difference(arm(1.0, 0.0, 0.03, -0.01), Front(lines, full.params))
    assert found.size is not None
    assert (found.size.kind, found.size.shape) == ("best", "middle")
    assert found.difference.n == 3


def test_of_shapes_with_as_many_parameters_the_better_is_on_the_parabola() -> None:
    full = bowl(SIZES, 0.05)
    worse = {"deep": line(0.9, 0.9, 0.9)}
    twice = Front({**full.lines, **worse}, {**full.params, "deep": SIZES["large"]})
    grown = arm(1.25, 0.0, 0.03, -0.01)
    assert difference(grown, twice) == difference(grown, full)


def test_a_front_may_change_its_shape() -> None:
    """The small shape is best up to 2e12 FLOPs, the large one beyond."""
    small = budget_line({b: {s: 2 - 0.1 * math.log(b / 2e12) for s in (0, 1)} for b in BUDGETS})
    large = budget_line({b: {s: 2 - 0.3 * math.log(b / 2e12) for s in (0, 1)} for b in BUDGETS})
    both = Front({"small": small, "large": large}, {"small": 1.0, "large": 4.0})
    for flops, shape, slope in ((1.2e12, "small", 0.1), (2.6e12, "large", 0.3)):
        found = difference(ChargedArm({0: 2.0, 1: 2.0}, flops), both)
        assert found.size is not None
        assert (found.size.shape, found.state) == (shape, "reached")
        assert found.difference.value == pytest.approx(slope * math.log(flops / 2e12))


def test_a_front_is_known_where_some_shape_is() -> None:
    early = line(0.0, 0.0, budgets=(1e12, 1.5e12))
    late = line(-0.1, -0.1, budgets=(2e12, 3e12))
    both = Front({"early": early, "late": late}, {"early": 1.0, "late": 2.0})
    between = ChargedArm({0: loss(1.7e12), 1: loss(1.7e12)}, 1.7e12)
    assert difference(between, both).state == "outside"
    found = difference(ChargedArm(between.losses, 2.5e12), both).size
    assert found is not None
    assert (found.shape, found.kind) == ("late", "only")
    beyond = difference(ChargedArm(between.losses, 9e12), both)
    assert (beyond.state, beyond.size) == ("above_budgets", None)


def test_a_size_of_which_seeds_are_missing_is_not_the_front() -> None:
    """One lucky seed is below the mean of three."""
    whole, lucky = line(0.0, 0.1, 0.2), budget_line({b: {0: loss(b, -0.05)} for b in BUDGETS})
    found = difference(arm(1.0, 0.0, 0.0, 0.0), Front({"a": whole, "b": lucky}, {"a": 1, "b": 2}))
    assert found.size is not None
    assert found.size.shape == "a"
    assert found.by_seed.keys() == {0, 1, 2}
