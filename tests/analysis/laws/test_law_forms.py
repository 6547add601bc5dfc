import numpy as np
import pytest
from law_points import TRUTH, design, internal_truth, pointwise

from mugrow.analysis.laws import get_form, names
from mugrow.analysis.laws.form import natural
from mugrow.bench.spec import UserError


@pytest.mark.parametrize("name", TRUTH)
def test_the_jacobian_is_the_derivative(name: str) -> None:
    form, law = pointwise(name)
    x, theta = design(form), internal_truth(name, TRUTH[name])
    slopes = law.log_loss(theta, x)[1][0]
    for row, unit in zip(slopes, np.eye(len(form.params)) * 1e-6, strict=True):
        up, down = law.log_loss(theta + unit, x)[0][0], law.log_loss(theta - unit, x)[0][0]
        assert row == pytest.approx((up - down) / 2e-6, rel=1e-6, abs=1e-8 * np.abs(slopes).max())


@pytest.mark.parametrize("name", TRUTH)
def test_a_batch_is_its_members_and_points_may_differ_between_them(name: str) -> None:
    form, law = pointwise(name)
    x, theta = design(form, rows=3), internal_truth(name, TRUTH[name])
    batch = np.concatenate([theta, theta * 1.01, theta * 0.99])
    log, slopes = law.log_loss(batch, x)
    assert log.shape == (3, 3)
    assert slopes.shape == (3, len(form.params), 3)
    apart = law.log_loss(batch, {key: column[:, None] for key, column in x.items()})[0]
    assert apart[:, 0] == pytest.approx(np.diagonal(log), rel=1e-12)


@pytest.mark.parametrize("name", TRUTH)
def test_rescaled_parameters_give_the_same_losses_in_other_units(name: str) -> None:
    form, law = pointwise(name)
    x, theta = design(form), internal_truth(name, TRUTH[name])
    units = {v: np.float64(u) for v, u in zip(form.variables, (1e8, 3e9, 7e8, 1.5), strict=False)}
    relative = {v: x[v] / units[v] for v in form.variables}
    there = law.rescale(natural(form, law, theta), {v: 1 / unit for v, unit in units.items()})
    back = law.rescale(there, units)
    assert back == pytest.approx(natural(form, law, theta), rel=1e-12)
    log = law.log_loss(internal_truth(name, tuple(there[0])), relative)[0]
    assert log == pytest.approx(law.log_loss(theta, x)[0], abs=1e-10)


@pytest.mark.parametrize("name", [n for n in TRUTH if pointwise(n)[1].optimal])
def test_the_allocation_is_the_lowest_loss_under_its_budget(name: str) -> None:
    form, law = pointwise(name)
    assert law.optimal is not None
    theta, flops = internal_truth(name, TRUTH[name]), 1e21
    where = law.optimal(natural(form, law, theta), flops)
    assert 6 * where["n"] * where["d"] == pytest.approx(flops, rel=1e-12)
    scale = np.exp(np.linspace(-0.02, 0.02, 41))
    n, d = where["n"] * scale, where["d"] / scale
    x = {"n": n, "d": d, "m": d / n, "d1": 0 * n, "g": 0 * n + 1}
    losses = law.log_loss(theta, {v: x[v] for v in form.variables})[0][0]
    assert np.argmin(losses) == 20
    # flat at the middle: both neighbours are equally much higher
    assert losses[21] - losses[20] == pytest.approx(losses[19] - losses[20], rel=0.05)


def test_the_registry_names_the_nearest_form() -> None:
    assert set(TRUTH) <= set(names())
    assert get_form("kaplan").name == "kaplan"
    with pytest.raises(UserError, match="unknown form 'chinchila'; did you mean 'chinchilla'"):
        get_form("chinchila")
