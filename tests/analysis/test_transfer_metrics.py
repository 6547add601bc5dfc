import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.store import load
from analysis.transfer import Sweep, compare, drift, ladders, loss_at, optimum, sweeps, transfers
from bench.spec import UserError

GRID = np.arange(-10.0, -3.0)


def bowl(center: float, floor: float = 2.0, square: float = 0.05) -> np.ndarray:
    return floor + square * (GRID - center) ** 2


def sweep(losses: list[np.ndarray], width: int = 32, **fields: object) -> Sweep:
    defaults = {
        "parametrization": "mup",
        "width": width,
        "depth": 2,
        "init_std": 0.04,
        "seeds": tuple(range(len(losses))),
        "log2_lr": GRID,
        "loss": np.array(losses),
        "status": ("finished",) * len(GRID),
    }
    return Sweep(**(defaults | fields))  # type: ignore[arg-type]


def test_vertex_of_an_exact_parabola() -> None:
    found = optimum(GRID, bowl(-6.8))
    assert found.argmin_log2_lr == -7
    assert found.argmin_loss == pytest.approx(2.002)
    assert found.vertex_log2_lr == pytest.approx(-6.8)
    assert found.vertex_loss == pytest.approx(2.0)
    assert found.curvature == pytest.approx(0.1)
    assert found.edge is None
    assert found.best_log2_lr == found.vertex_log2_lr


def test_the_parabola_sees_only_its_window() -> None:
    blown_up = bowl(-6.8) + np.where(np.abs(GRID + 7) > 2, 50.0, 0.0)
    assert optimum(GRID, blown_up).vertex_log2_lr == pytest.approx(-6.8)


@pytest.mark.parametrize(("center", "edge"), [(-12.0, "low"), (0.0, "high"), (-7.0, None)])
def test_edges(center: float, edge: str | None) -> None:
    assert optimum(GRID, bowl(center)).edge == edge
    if edge:
        assert optimum(GRID, bowl(center)).vertex_log2_lr is None


@pytest.mark.parametrize("beyond", [math.inf, math.nan])
def test_rates_that_diverged_bracket_the_optimum(beyond: float) -> None:
    loss = bowl(-3.0)
    loss[-2:] = beyond
    found = optimum(GRID, loss)
    assert (found.argmin_log2_lr, found.edge) == (-6.0, None)
    assert found.vertex_log2_lr is None  # no finite point above the argmin
    assert found.best_log2_lr == -6.0
    assert optimum(-GRID, loss).edge is None  # the same at the low end


def test_no_vertex_from_four_points() -> None:
    near = np.abs(GRID + 7) < 2.5
    assert optimum(GRID[near][:4], bowl(-7.0)[near][:4]).vertex_log2_lr is None
    assert optimum(GRID[near], bowl(-7.0)[near]).vertex_log2_lr == pytest.approx(-7.0)


def test_no_vertex_from_a_flat_or_concave_bowl() -> None:
    assert optimum(GRID, np.full(7, 2.0)).vertex_log2_lr is None
    concave = [9.0, 2.0, 2.6, 1.9, 2.6, 2.0, 9.0]
    assert optimum(GRID, concave).argmin_log2_lr == -7
    assert optimum(GRID, concave).vertex_log2_lr is None


def test_no_vertex_without_points_on_both_sides() -> None:
    half_steps = np.arange(-7.0, -4.0, 0.5)
    loss = (half_steps + 6.6) ** 2
    assert optimum(half_steps, loss).vertex_log2_lr == pytest.approx(-6.6)
    loss[0] = -0.1
    assert optimum(half_steps, loss).vertex_log2_lr is None


def test_ties_go_to_the_lower_rate() -> None:
    assert optimum(GRID, np.full(7, 2.0)).argmin_log2_lr == -10


def test_a_single_rate_is_at_an_edge() -> None:
    assert optimum([-7.0], [2.0]).edge == "low"


def test_nothing_finished() -> None:
    with pytest.raises(UserError, match="none of the 7"):
        optimum(GRID, np.full(7, np.inf))


@given(st.permutations(range(7)), st.floats(-9.4, -4.6), st.floats(0.01, 1))
def test_the_order_of_points_does_not_matter(
    order: list[int], center: float, square: float
) -> None:
    loss = bowl(center, square=square)
    plain, shuffled = optimum(GRID, loss), optimum(GRID[order], loss[order])
    assert plain.argmin_log2_lr == shuffled.argmin_log2_lr
    assert plain.edge == shuffled.edge
    assert (plain.vertex_log2_lr is None) == (shuffled.vertex_log2_lr is None)
    if plain.vertex_log2_lr is not None:
        assert shuffled.vertex_log2_lr == pytest.approx(plain.vertex_log2_lr)
        assert plain.vertex_log2_lr == pytest.approx(center)


@given(st.lists(st.floats(1, 9), min_size=7, max_size=7), st.floats(-5, 5), st.floats(-3, 3))
def test_optimum_moves_with_its_axes(losses: list[float], up: float, right: float) -> None:
    loss = np.round(losses, 3)
    here, there = optimum(GRID, loss), optimum(GRID + right, loss + up)
    assert there.argmin_log2_lr == pytest.approx(here.argmin_log2_lr + right)
    assert there.argmin_loss == pytest.approx(here.argmin_loss + up)
    if here.vertex_log2_lr is not None and there.vertex_log2_lr is not None:
        lowest, highest = GRID[0], GRID[-1]
        assert lowest <= here.vertex_log2_lr <= highest
        assert there.vertex_log2_lr == pytest.approx(here.vertex_log2_lr + right, abs=1e-6)


def test_loss_at() -> None:
    loss = np.array([3.0, 2.0, np.nan, np.inf, 5.0])
    lrs = np.array([-8.0, -7.0, -6.0, -5.0, -4.0])
    assert loss_at(lrs, loss, -7.0) == (2.0, "tested")
    assert loss_at(lrs, loss, -7.25) == (2.25, "interpolated")
    assert loss_at(lrs, loss, -5.0) == (math.inf, "diverged")
    assert loss_at(lrs, loss, -4.5) == (math.inf, "diverged")
    for at in (-9.0, -6.0, -6.5, -3.0):
        value, known = loss_at(lrs, loss, at)
        assert math.isnan(value)
        assert known == "unknown"


def test_shift_and_regret_by_hand() -> None:
    proxy = sweep([bowl(-7.0), bowl(-7.0) + 0.1])
    target = sweep([bowl(-8.0), bowl(-8.0) + 0.1], width=64)
    found = compare(proxy, target)
    assert found is not None
    assert found.shift_argmin_log2.value == -1.0
    assert found.shift_vertex_log2 is not None
    assert found.shift_vertex_log2.value == pytest.approx(-1.0)
    assert found.regret_nats.value == pytest.approx(0.05)
    assert found.regret_percent.value == pytest.approx(100 * 0.05 / 2.05)
    assert found.regret_percent.lo == pytest.approx(100 * 0.05 / 2.1)
    assert found.regret_percent.hi == pytest.approx(100 * 0.05 / 2.0)
    assert (found.regret_at, found.edge_proxy, found.edge_target) == ("tested", None, None)


def test_pairing_is_by_seed_whatever_its_row() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, (3, 7))
    proxy = sweep([bowl(-7.0) + row for row in noise])
    target = sweep([bowl(-7.0) + row for row in noise], width=64)
    same = compare(proxy, target)
    turned = compare(
        proxy, sweep([bowl(-7.0) + row for row in noise[::-1]], width=64, seeds=(2, 1, 0))
    )
    assert same == turned
    assert same is not None
    assert same.regret_nats.hi == 0.0  # both widths see the same noise in every resample


def test_only_shared_seeds_are_compared() -> None:
    proxy = sweep([bowl(-7.0), bowl(-4.0)], seeds=(0, 1))
    target = sweep([bowl(-8.0), bowl(-8.0)], width=64, seeds=(0, 5))
    found = compare(proxy, target)
    assert found is not None
    assert (found.shift_argmin_log2.value, found.shift_argmin_log2.n) == (-1.0, 1)
    assert compare(proxy, sweep([bowl(-8.0)], width=64, seeds=(9,))) is None


def test_a_proxy_optimum_that_diverges_on_the_target() -> None:
    diverged = bowl(-9.0)
    diverged[3:] = np.inf
    found = compare(sweep([bowl(-7.0)]), sweep([diverged], width=64))
    assert found is not None
    assert found.regret_at == "diverged"
    assert math.isinf(found.regret_nats.value)


def test_an_edge_shows() -> None:
    found = compare(sweep([bowl(-7.0)]), sweep([bowl(-12.0)], width=64))
    assert found is not None
    assert (found.edge_proxy, found.edge_target) == (None, "low")
    assert found.shift_vertex_log2 is None


def test_a_vertex_missing_in_one_resample_leaves_no_interval() -> None:
    proxy = sweep([bowl(-7.0), bowl(-7.0)])
    target = sweep([bowl(-7.0), bowl(-12.0, square=0.01)], width=64)
    found = compare(proxy, target)
    assert found is not None
    assert found.shift_vertex_log2 is not None
    assert math.isnan(found.shift_vertex_log2.lo)
    assert found.shift_argmin_log2.lo == -3.0


def test_drift_is_the_slope_against_log2_width() -> None:
    ladder = [sweep([bowl(-6.0 - i)] * 2, width=32 * 2**i) for i in range(3)]
    found = drift(ladder)
    assert found is not None
    assert found.widths == (32, 64, 128)
    assert found.of == "vertex"
    assert found.slope.value == pytest.approx(-1.0)
    assert found.slope.lo == pytest.approx(-1.0)


def test_drift_of_argmins_where_a_width_has_no_vertex() -> None:
    found = drift([sweep([bowl(-6.0)]), sweep([bowl(-12.0)], width=128)])
    assert found is not None
    assert found.of == "argmin"
    assert found.slope.value == pytest.approx(-2.0)


def test_ladders_follow_the_init_scale_of_the_proxys_best() -> None:
    all_sweeps = [
        sweep([bowl(-7.0, floor=2.1)], init_std=0.02),
        sweep([bowl(-7.0, floor=2.0)], init_std=0.08),
        sweep([bowl(-7.0, floor=1.0)], width=64, init_std=0.02),
        sweep([bowl(-7.0, floor=1.5)], width=64, init_std=0.08),
        sweep([bowl(-7.0)], width=128, init_std=0.01),
        sweep([np.full(7, np.inf)], width=256, init_std=0.08),
    ]
    (ladder,) = ladders(all_sweeps)
    assert [(one.width, one.init_std) for one in ladder] == [(32, 0.08), (64, 0.08), (128, 0.01)]
    assert [(one.proxy_width, one.target_width) for one in transfers(all_sweeps)] == [
        (32, 64),
        (32, 128),
    ]


def test_sweeps_from_rows(study_dir: Path) -> None:
    found = sweeps(load(study_dir).runs)
    assert len(found) == 2 * (3 + 1)
    by_key = {(one.parametrization, one.width, one.init_std): one for one in found}
    diverged = by_key["sp", 64, 0.04]
    assert diverged.status == ("finished",) * 6 + ("diverged",)
    assert diverged.loss[1, -1] == math.inf
    assert np.isfinite(diverged.loss[0, -1])
    assert diverged.mean_loss[-1] == math.inf
    pruned = by_key["sp", 32, 0.02]
    assert pruned.status[0] == "pruned"
    assert math.isnan(pruned.loss[0, 0])
    assert math.isnan(pruned.mean_loss[0])


def test_a_point_not_yet_run_by_every_seed_does_not_count(study_dir: Path) -> None:
    runs = load(study_dir).runs
    of_point = (runs["lr"] == 2.0**-7) & (runs["seed"] == 1) & (runs["role"] == "proxy")
    first = sweeps(runs[~of_point])[0]
    assert first.status[3] == "incomplete"
    assert math.isnan(first.mean_loss[3])
    assert first.optimum.argmin_log2_lr == -6
