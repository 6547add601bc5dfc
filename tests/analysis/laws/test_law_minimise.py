import numpy as np
import pytest
from law_points import TRUTH, internal_truth, pointwise, rows_of
from scipy.optimize import minimize

from mugrow.analysis.laws.form import Options
from mugrow.analysis.laws.minimise import BATCH, minimise
from mugrow.analysis.laws.objective import Objective
from mugrow.analysis.laws.problem import state_problem
from mugrow.analysis.laws.separable import coefficients, grid
from mugrow.analysis.stats import Array


def objective(delta: float = 1e-3, rows: int = 50, noise: float = 0.005) -> Objective:
    _, law = pointwise("chinchilla")
    points = rows_of("chinchilla", TRUTH["chinchilla"], rows=rows, noise=noise)
    x = {"n": points["n"] / 1e8, "d": points["d"] / 1e10}
    return Objective(law, x, points["loss"], np.zeros(5), np.arange(5), delta)


NEAR = np.array([[np.log(1.8), -0.3, -0.9, 0.35, 0.37]])


@pytest.mark.parametrize("delta", [1e-4, 1e-3, 0.1, np.inf])
def test_no_member_ends_above_scipy_from_the_same_start(delta: float) -> None:
    goal = objective(delta)
    begin = NEAR + np.random.default_rng(0).normal(0, 0.1, (12, 5))
    ours = minimise(goal, begin)
    assert ours.converged.all()
    scale = min(delta, 0.1) ** 2  # so that scipy's fixed tolerance does not stop it early

    def plain(theta: Array) -> tuple[float, Array]:
        value, gradient = goal.value_and_gradient(theta[None], None)
        return value[0] / scale, gradient[0] / scale

    for start, value in zip(begin, ours.value, strict=True):
        theirs = minimize(plain, start, jac=True, method="BFGS", options={"gtol": 1e-9})
        assert value <= theirs.fun * scale * (1 + 1e-7)


def test_converged_means_a_balanced_gradient() -> None:
    goal = objective()
    found = minimise(goal, NEAR)
    assert goal.imbalance(found.theta, None) < 1e-6
    beside = found.theta + np.array([[0.0, 1e-4, 0.0, 0.0, 0.0]])
    assert goal.imbalance(beside, None) > 1e-4
    # the same verdict whatever the objective is multiplied by
    weights = np.full((1, 50), 1e-6)
    assert goal.imbalance(beside, weights) == pytest.approx(goal.imbalance(beside, None))


@pytest.mark.parametrize("tolerance", [0.5, 1e-2, 1e-4, 1e-6])
def test_a_search_that_is_cut_short_is_not_called_converged(tolerance: float) -> None:
    goal = objective()
    short = minimise(goal, NEAR + 0.3, tolerance=tolerance)
    assert goal.imbalance(short.theta, None) > 1e-6
    assert not short.converged.any()


def test_weights_count_rows() -> None:
    goal = objective(rows=40)
    counts = np.random.default_rng(1).integers(0, 3, (1, 40)).astype(float)
    weighted = minimise(goal, NEAR, counts, np.arange(40))
    times = counts[0].astype(int)
    x = {name: np.repeat(column, times) for name, column in goal.x.items()}
    repeated = Objective(goal.law, x, np.repeat(goal.loss, times), goal.base, goal.free, goal.delta)
    again = minimise(repeated, NEAR)
    assert weighted.value == pytest.approx(again.value, rel=1e-10)
    assert weighted.theta == pytest.approx(again.theta, rel=1e-5)


def test_members_do_not_influence_each_other() -> None:
    goal = objective(rows=20)
    begin = NEAR + np.random.default_rng(2).normal(0, 0.05, (BATCH + 5, 5))
    whole = minimise(goal, begin)
    alone = minimise(goal, begin[-1:])
    assert whole.theta[-1] == pytest.approx(alone.theta[0], rel=1e-6)
    assert len(whole.value) == BATCH + 5


def test_a_start_without_a_finite_loss_stays_behind() -> None:
    begin = np.concatenate([NEAR, NEAR * np.nan, NEAR + 2000])
    found = minimise(objective(), begin)
    assert found.converged.tolist() == [True, False, False]


def test_plain_least_squares_is_on_the_loss() -> None:
    goal = objective(noise=0.05)
    on_loss = Objective(goal.law, goal.x, goal.loss, goal.base, goal.free, np.inf, on_log=False)
    found = minimise(on_loss, NEAR)
    assert found.converged.all()
    predicted = np.exp(goal.law.log_loss(found.theta, goal.x)[0][0])
    assert found.value[0] == pytest.approx(((predicted - goal.loss) ** 2).sum() / 2, rel=1e-10)
    _, gradient = on_loss.value_and_gradient(NEAR, None)
    step = np.array([[1e-6, 0, 0, 0, 0]])
    up, down = (on_loss.value_and_gradient(NEAR + s, None)[0] for s in (step, -step))
    assert gradient[0, 0] == pytest.approx((up - down)[0] / 2e-6, rel=1e-6)


def test_coefficients_are_non_negative_least_squares() -> None:
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    terms = rng.uniform(0.5, 2, (3, 6, 30))
    truth = np.array([[1, 2, 3], [0, 1, 2], [-2, 3, 1], [1, -1, -1], [5, 0, 1], [1, 1, 1]])
    target = np.maximum(np.einsum("gk,kgn->gn", truth, terms), 0.1)
    found, error = coefficients(target, list(terms))
    for row in range(6):
        basis = (terms[:, row] / target[row]).T
        theirs, norm = nnls(basis, np.ones(30))
        assert error[row] == pytest.approx(norm**2 / 30, abs=1e-9)
        used = theirs > 0.01
        assert found[row][used] == pytest.approx(theirs[used], rel=1e-6)
        assert (found[row] > 0).all()


def test_a_grid_keeps_what_is_given() -> None:
    assert grid([1, 2], [3, 4], given=[np.nan, 9]).tolist() == [[1, 9], [2, 9]]


def test_the_truth_is_a_start_that_stays() -> None:
    _, law = pointwise("chinchilla")
    points = rows_of("chinchilla", TRUTH["chinchilla"])
    x = {"n": points["n"], "d": points["d"]}
    goal = Objective(law, x, points["loss"], np.zeros(5), np.arange(5), 1e-3)
    truth = internal_truth("chinchilla", TRUTH["chinchilla"])
    found = minimise(goal, truth)
    assert found.converged.all()
    assert found.theta == pytest.approx(truth, rel=1e-9)


def test_a_member_that_stalls_in_a_narrow_valley_goes_on() -> None:
    # the Jacobian's condition is 2e5 here; one descent ends at residuals of 1e-6
    truth = (1.687, 3562.0, 17580.0, 0.2858, 0.7477, 0.7877)
    form, law = pointwise("skaling")
    problem = state_problem(form, law, rows_of("skaling", truth), Options())
    found = minimise(problem.objective, problem.form_starts())
    assert found.converged.any()
    assert found.value.min() < 1e-24
