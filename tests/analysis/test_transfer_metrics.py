"""Shift, drift, regret, what they are worth, verdicts; intervals that cover a planted truth."""

import math

import numpy as np
import pytest
from transfer_rows import LOG2_LRS, bowl

from mugrow.analysis.stats import Interval, jackknife_interval
from mugrow.analysis.transfer.asymptote import asymptotes, limits
from mugrow.analysis.transfer.cost import cost
from mugrow.analysis.transfer.ladder import AXES, Ladder
from mugrow.analysis.transfer.metrics import drift, measured, pairs, rung, same_argmin
from mugrow.analysis.transfer.sweep import Sweep, SweepSource
from mugrow.analysis.transfer.verdict import verdict

GRID = np.array(LOG2_LRS)
WIDTH = AXES[0]


def sweep(loss, width=32, flops=1.0, grid=GRID, source=None):
    """``loss`` has shape (seeds, points)."""
    return Sweep(
        setting={"model.width": width, "model.depth": 2},
        seeds=tuple((seed, seed) for seed in range(len(loss))),
        log2_lr=grid,
        loss=np.array(loss),
        status=("finished",) * len(grid),
        run_flops=flops,
        search_flops=30 * flops,
        source=source,
    )


def losses(best, floor=2.0, seeds=3, square=0.02):
    plain = np.array([bowl(best, floor, square)(lr) for lr in GRID])
    return np.array([plain + 0.01 * seed for seed in range(seeds)])


def ladder(*all_losses, reference=None, relation=None):
    rungs = tuple(sweep(loss, 32 * 2**place, 4.0**place) for place, loss in enumerate(all_losses))
    sizes = tuple(float(32 * 2**place) for place in range(len(rungs)))
    if reference is not None:
        sizes = tuple(2.0 ** (place + 1) for place in range(len(rungs)))
    return Ladder(WIDTH, sizes, rungs, rungs if relation is None else relation, reference)


def pair(found, proxy, target):
    (one,) = [one for one in pairs(found) if (one.proxy, one.target) == (proxy, target)]
    return one


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.array([1.0, 2.0, 6.0])
    left_out = np.array([(values.sum() - value) / 2 for value in values])
    found = jackknife_interval(3.0, left_out)
    reach = 4.302653 * values.std(ddof=1) / math.sqrt(3)
    assert (found.lo, found.hi, found.n) == (
        pytest.approx(3 - reach),
        pytest.approx(3 + reach),
        3,
    )


@pytest.mark.parametrize("left_out", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_no_interval_from_one_seed_or_an_undefined_draw(left_out):
    found = jackknife_interval(1.0, np.array(left_out))
    assert math.isnan(found.lo)
    assert math.isnan(found.hi)


def test_shift_and_regret_by_hand():
    found = measured(ladder(losses(-7.0), losses(-8.0)))
    one = pair(found, 32, 64)
    assert one.shift_argmin_log2.value == -1
    assert one.shift_vertex_log2 is not None
    assert one.shift_vertex_log2.value == pytest.approx(-1)
    assert one.regret_nats.value == pytest.approx(0.04)  # a rate too high: twice as steep
    assert one.regret_percent.value == pytest.approx(100 * 0.04 / 2.01)
    assert one.regret_nats.hi == pytest.approx(0.04)  # the seeds differ by constants
    assert (one.regret_at, one.edge_proxy, one.edge_target) == ("tested", None, None)
    assert pair(found, 64, 32).regret_nats.value == pytest.approx(0.02)
    assert len(pairs(found)) == 2


def test_the_verdict_is_on_losses_tested_where_the_bowls_are_lowest():
    """Best rates a grid step apart on nearly flat bowls: a jump that no fitted place makes."""
    flat = losses(-7.0)
    flat[:, GRID == -7.5] = flat[:, GRID == -7] - 1e-3
    one = pair(measured(ladder(losses(-7.0), flat)), 32, 64)
    assert one.shift_argmin_log2.value == -0.5
    assert one.regret_percent.value == pytest.approx(100 * 1e-3 / flat[1].min())
    assert one.decisive_percent == one.regret_bowl_percent
    edge = pair(measured(ladder(losses(-7.0), losses(-12.0))), 32, 64)
    assert edge.regret_bowl_percent is None
    assert edge.decisive_percent == edge.regret_percent
    assert edge.decisive_nats == edge.regret_nats


def test_the_regret_of_an_uneven_bowl_is_not_its_parabolas():
    """One log2 too high on a bowl twice as steep there: 0.04 nats, where half the parabola's
    curvature is 0.03; one too low costs 0.02."""
    found = measured(ladder(losses(-7.0), losses(-8.0)))
    high, low = pair(found, 32, 64), pair(found, 64, 32)
    assert high.regret_bowl_nats is not None
    assert high.regret_bowl_nats.value == pytest.approx(0.04)
    assert high.decisive_percent.value == pytest.approx(100 * 0.04 / 2.01)
    assert low.decisive_nats.value == pytest.approx(0.02)
    assert high.regret_vertex_percent is not None
    assert high.regret_vertex_percent.value < 0.8 * high.decisive_percent.value


def test_a_rate_beyond_those_that_finished_costs_at_least_the_last_of_them():
    pruned = losses(-8.0)
    pruned[:, GRID > -7.3] = np.nan
    one = pair(measured(ladder(losses(-7.0), pruned)), 32, 64)
    assert one.regret_at == "unknown"
    assert one.regret_bowl_nats is not None
    assert one.regret_bowl_nats.value == pytest.approx(0.01, abs=2e-3)  # at -7.5, half a log2 off
    assert one.regret_bowl_nats.hi == math.inf


def test_regret_of_a_rate_between_those_tested_or_outside_or_diverged():
    proxy = losses(-7.0)
    for shifted, known in ((GRID + 0.25, "interpolated"), (GRID + 4, "unknown")):
        target = sweep(losses(-8.0), 64, grid=shifted)
        found = measured(Ladder(WIDTH, (32, 64), (sweep(proxy), target), ()))
        assert pair(found, 32, 64).regret_at == known
    diverging = losses(-8.5)
    diverging[:, GRID > -7.5] = np.inf
    one = pair(measured(ladder(proxy, diverging)), 32, 64)
    assert (one.regret_at, one.regret_nats.value) == ("diverged", math.inf)


def test_drift_is_the_slope_against_log2_size():
    found = drift(measured(ladder(*(losses(-6.0 - place) for place in range(3)))))
    assert (found.of, found.slope.value) == ("bowl", pytest.approx(-1, abs=1e-3))
    assert found.slope.lo == pytest.approx(-1, abs=1e-3)
    assert found.alike is not None
    assert found.alike.value == pytest.approx(-1, abs=1e-3)


def test_a_bowl_that_is_uneven_alone_does_not_drift():
    """Its vertex lies beside its optimum, where the others' do not."""
    tilts = (0.0, 0.0, 3.0)
    bowls = [2.0 + 0.04 * (GRID + 7) ** 2 * (1 + (GRID > -7) * tilt) for tilt in tilts]
    found = drift(measured(ladder(*([list(one)] * 3 for one in bowls))))
    assert found.slope.value == pytest.approx(0, abs=1e-6)
    assert found.alike is not None
    assert found.alike.value < -0.1


def test_drift_of_grown_models_goes_through_the_sources_rate():
    """The source's rate is its proxy's vertex, which an uneven bowl has beside its optimum."""
    vertex = rung(measured(ladder(losses(-7.0))), 0).best_log2_lr.value
    found = measured(ladder(losses(-7.5), losses(-8.0), reference=vertex))
    shifts = [one.shift_vertex_log2.value for one in pairs(found) if one.shift_vertex_log2]
    assert shifts == pytest.approx([-0.5, -1.0])
    assert (drift(found).of, drift(found).slope.value) == ("vertex", pytest.approx(-0.5))
    at_rate = np.interp(vertex, GRID, losses(-8.0)[1])
    assert pair(found, 1, 4).regret_nats.value == pytest.approx(at_rate - 2.01)


def test_the_grid_widens_a_drift_of_argmins():
    coarse = np.arange(-10.0, -3.0, 2)
    rungs = tuple(
        sweep([[bowl(-6.0)(lr) for lr in coarse]] * 3, 32 * 2**k, grid=coarse) for k in range(2)
    )
    found = drift(measured(Ladder(WIDTH, (32, 64), rungs, rungs)))
    assert (found.of, found.slope.value) == ("argmin", 0.0)
    assert (found.slope.lo, found.slope.hi) == (-2, 2)  # each argmin is known to ±1


def test_rungs_have_their_optimum_curvature_and_edge():
    found = measured(ladder(losses(-7.0), losses(-12.0)))
    first, second = rung(found, 0), rung(found, 1)
    assert (first.of, first.edge) == ("vertex", None)
    assert first.best_log2_lr.value == pytest.approx(-7.2, abs=0.2)
    assert first.curvature is not None
    assert first.curvature.value == pytest.approx(0.06, abs=0.02)  # 0.04 below, 0.08 above
    assert (second.of, second.edge, second.curvature) == ("argmin", "low", None)
    assert (second.best_log2_lr.lo, second.best_log2_lr.hi) == (-10.25, -9.75)


def test_compute_that_makes_up_for_regret():
    """The loss falls by 0.1 for each factor of 4, so 0.04 nats are worth 4**0.4 times the FLOPs."""
    found = measured(ladder(*(losses(-7.0 - place, 2.0 - 0.1 * place) for place in range(3))))
    one = pair(found, 32, 64)
    assert one.compute is not None
    assert one.compute.value == pytest.approx(4**0.4 - 1)
    assert pair(measured(ladder(losses(-7.0), losses(-8.0, 1.9))), 32, 64).compute is None
    rising = measured(ladder(*(losses(-7.0, 2.0 + 0.1 * place) for place in range(3))))
    assert pair(rising, 32, 64).compute is None


def test_costs_by_hand():
    found = ladder(losses(-7.0), losses(-7.0))
    scratch = cost(found, 1, 0)
    assert scratch.search == 30 / 4
    assert scratch.total == pytest.approx((30 + 4) / (120 + 4))
    source = SweepSource(width=32, depth=2, log2_lr=-7.0, flops=5.0, flops_tuning=20.0)
    twin = sweep(losses(-7.0), 64, 2.0)
    grown = sweep(losses(-7.0), 64, 2.0, source=source)
    with_twin = cost(Ladder(WIDTH, (2.0,), (grown,), (twin,), -7.0), 0, None)
    assert (with_twin.search, with_twin.total) == (10, pytest.approx((20 + 5 + 2) / (60 + 2)))
    assert cost(Ladder(WIDTH, (2.0,), (grown,), (), -7.0), 0, None).total is None


def judged(found):
    every = pairs(found)
    rungs = [rung(found, place) for place in range(len(found.ladder.rungs))]
    widest = max(every, key=lambda one: one.target / one.proxy)
    return verdict(rungs, drift(found), widest).word


@pytest.mark.parametrize(
    ("bests", "word"),
    [
        ((-7.0, -7.0, -7.0), "transfers"),
        ((-7.0, -8.0, -9.0), "drifts"),
        ((-7.0, -7.0, -12.0), "censored"),
    ],
)
def test_verdicts(bests, word):
    found = measured(ladder(*map(losses, bests)))
    assert judged(found) == word
    assert same_argmin(found) == (word == "transfers")


@pytest.mark.parametrize("step", [-0.4, 0.4])
def test_a_drift_is_one_also_where_it_costs_nothing(step):
    found = measured(ladder(*(losses(-7.0 + step * k, square=0.001) for k in range(3))))
    assert pair(found, 32, 128).decisive_percent.hi < 1
    assert judged(found) == "drifts"


def test_one_seed_has_no_interval():
    alone = measured(ladder(losses(-7.0, seeds=1), losses(-8.0, seeds=1)))
    regret = pair(alone, 32, 64).regret_nats
    assert (regret.value, regret.n) == (pytest.approx(0.04), 1)
    assert math.isnan(regret.lo)


def test_noise_one_seed_and_an_untested_rate_leave_it_undecided():
    random = np.random.default_rng(0)
    noisy = [losses(-7.0) + random.normal(0, 0.02, (3, len(GRID))) for _ in range(3)]
    assert judged(measured(ladder(*noisy))) == "inconclusive"
    assert judged(measured(ladder(*(losses(-7.0, seeds=1) for _ in range(3))))) == "inconclusive"
    pruned = losses(-7.1)
    pruned[:, GRID == -7] = np.nan
    found = measured(ladder(losses(-7.0), pruned))
    assert pair(found, 32, 64).regret_at == "unknown"
    assert judged(found) == "transfers"  # between the rates that finished beside it
    pruned[:, np.abs(GRID + 7) > 1.1] = np.nan
    few = measured(ladder(losses(-7.0), pruned))
    assert pair(few, 32, 64).regret_bowl_percent is None
    assert judged(few) == "inconclusive"


def test_a_steep_bowl_can_cost_more_than_the_drift_says():
    """0.17 log2 a doubling is within the tolerance; over three doublings at 8 times the curvature
    it is half a log2 and costs 4 % of the loss."""
    found = measured(ladder(*(losses(-7.0 - step, square=0.32) for step in (0, 0.17, 0.34, 0.5))))
    assert abs(drift(found).slope.value) < 0.2
    assert judged(found) == "drifts"


def test_a_rate_that_diverges_at_the_target_does_not_transfer():
    diverging = losses(-8.5)
    diverging[:, GRID > -7.5] = np.inf
    assert judged(measured(ladder(losses(-7.0), diverging))) == "drifts"


def planted(random, seeds, noise):
    """Three widths whose optimum drifts by -0.3 per doubling, and a seed moves all of them."""
    shifts, floors = random.normal(0, 0.05, (seeds, 1)), random.normal(0, 0.02, (seeds, 1))
    return ladder(
        *(
            floors
            + np.vectorize(bowl(-7.0 - 0.3 * place))(GRID - shifts)
            + random.normal(0, noise, (seeds, len(GRID)))
            for place in range(3)
        )
    )


@pytest.mark.integration
@pytest.mark.parametrize(("seeds", "draws"), [(2, 300), (3, 300), (8, 200)])
def test_intervals_of_drifts_cover_the_truth_as_often_as_they_say(seeds, draws):
    """Nominally 95 %; the bounds are three standard errors of so many draws around it."""
    exact = measured(ladder(*(losses(-7.0 - 0.3 * place, seeds=1) for place in range(3))))
    truth = drift(exact).slope.value
    random = np.random.default_rng(1)
    found = [drift(measured(planted(random, seeds, 0.003))).slope for _ in range(draws)]
    covered = np.mean([one.lo <= truth <= one.hi for one in found])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / draws)


def test_the_asymptote_of_planted_losses():
    sizes = np.array([32.0, 64.0, 128.0, 256.0])
    exponent, limit = limits(sizes, np.array([1.5, 1.7])[:, None] + 20 / sizes) or (0, None)
    assert exponent == pytest.approx(1.0, rel=0.01)
    assert limit == pytest.approx([1.5, 1.7], abs=2e-3)
    assert limits(sizes[:2], np.array([[2.0, 1.9]])) is None
    assert limits(sizes[:3], np.array([[2.0, 1.9, 1.85]])) is None  # three numbers, three unknowns
    assert limits(sizes, np.array([[2.0, 2.1, 2.2, 2.3]])) is None
    assert limits(sizes, 2 - 0.1 * np.log2(sizes)[None]) is None  # falls without end


def test_three_metrics_and_useful_transfer_of_planted_ladders():
    """The first ladder's optimum nears its limit as 1 / w: its suboptimality falls as 1 / w**2
    while the gap falls as 1 / w."""
    sizes = [32.0 * 2**place for place in range(5)]
    wide = tuple(
        ladder(*(losses(best + a / size, floor + 20 / size) for size in sizes))
        for best, a, floor in ((-7.0, 64.0, 1.5), (-7.0, 0.0, 1.6))
    )
    moving, still = asymptotes([measured(one) for one in wide])
    assert moving.exponent == pytest.approx(1.0, rel=0.02)
    assert moving.penalty_nats == Interval(0.0, 0.0, 0.0, 3)
    assert still.penalty_nats is not None
    assert still.penalty_nats.value == pytest.approx(0.1, abs=5e-3)
    assert moving.fit_error_log2 is not None
    assert moving.fit_error_log2.value > 0.1
    assert still.fit_error_log2 is not None
    assert still.fit_error_log2.value == pytest.approx(0, abs=1e-9)
    assert still.robustness is not None
    assert still.robustness.value == pytest.approx(0, abs=1e-6)
    assert moving.useful is not None
    assert moving.useful.gap.value == pytest.approx(-1.0, abs=0.1)
    assert moving.useful.suboptimality.value < -1.5
    assert moving.useful.word == "useful"
    assert still.useful is None  # no suboptimality to fall


def test_curvature_that_grows_with_size_is_seen():
    found = measured(ladder(*(losses(-7.0, square=0.02 * 2**place) for place in range(3))))
    (limit,) = asymptotes([found])
    assert limit.robustness is not None
    assert limit.robustness.value == pytest.approx(1.0)
    assert limit.penalty_nats is None  # nothing to compare with
