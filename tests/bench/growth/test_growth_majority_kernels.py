"""Majority kernels: mixed at random while training, the mean otherwise."""

import pytest
import torch
from growth_runs import MODEL, RUN, start_of, train

from mugrow.bench.growth import method
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.parametrization import generator
from mugrow.bench.spec import UserError

ENTRY = method("majority_kernels")
MATRICES = {name for name, (_, kind) in parameters(MODEL).items() if kind == "matrix"}


def during(**params):
    return ENTRY.during(MODEL, MODEL, 20, **params)


def test_kernels_lie_around_the_start_with_its_own_spread():
    start = start_of(RUN)
    lifted = during(kernels=5).lift(start)
    assert list(lifted) == list(start)
    for name, tensor in start.items():
        if name not in MATRICES:
            assert torch.equal(lifted[name], tensor)
            continue
        assert lifted[name].shape == (5, *tensor.shape)
        torch.testing.assert_close(lifted[name].mean(0), tensor, rtol=0, atol=1e-7)
        around = (lifted[name] - tensor).std() / tensor.std()
        assert float(around) == pytest.approx((1 - 1 / 5) ** 0.5, rel=0.1)


def test_validation_runs_on_the_mean():
    hooks, start = during(), start_of(RUN)
    mean = hooks.used(hooks.lift(start), 3, None)
    for name, tensor in start.items():
        torch.testing.assert_close(mean[name], tensor, rtol=0, atol=1e-7)


def test_training_runs_on_mixtures_drawn_from_the_simplex():
    # kernel k is 1 in its entry k and 0 elsewhere, so a mixture shows its own probabilities
    eye = {name: torch.eye(16).view(16, 4, 4) for name in sorted(MATRICES)}
    hooks, draws = during(kernels=16), []
    for step in range(400):
        used = hooks.used(eye, step, generator("a step", step))
        draws += [tensor.view(-1) for tensor in used.values()]
    p = torch.stack(draws)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(len(p)))
    assert len(torch.unique(p, dim=0)) == len(p)  # one for every matrix and step
    torch.testing.assert_close(p.mean(0), torch.full((16,), 1 / 16), rtol=0.1, atol=0)
    torch.testing.assert_close(  # Dirichlet(1, ..., 1): E p^2 = 2 / K(K + 1)
        p.square().mean(0), torch.full((16,), 2 / (16 * 17)), rtol=0.2, atol=0
    )
    again = hooks.used(eye, 0, generator("a step", 0))
    assert torch.equal(torch.stack(draws[: len(again)]), torch.stack([*again.values()]).flatten(1))


def test_it_learns_and_ends_as_a_model_of_the_targets_shape():
    start = start_of(RUN)
    grown = ENTRY.grow({}, Decoder(MODEL), Decoder(MODEL), start, torch.Generator())
    end = train(RUN, grown, during())
    assert {name: t.shape for name, t in end.weights.items()} == {
        name: t.shape for name, t in start.items()
    }
    losses = [row["val_loss"] for row in end.curve]
    assert losses[-1] < losses[0] - 0.1
    assert end.carried is None
    plain = train(RUN, start)
    assert losses[0] == pytest.approx(plain.curve[0]["val_loss"], rel=1e-5)
    assert losses[-1] != pytest.approx(plain.curve[-1]["val_loss"], rel=1e-5)


def test_one_kernel_is_ordinary_training():
    start = start_of(RUN)
    one, plain = train(RUN, start, during(kernels=1)), train(RUN, start)
    for ours, theirs in zip(one.curve, plain.curve, strict=True):
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-6)


def test_there_is_at_least_one_kernel():
    with pytest.raises(UserError, match="kernels must be at least 1, not 0"):
        ENTRY.grow({}, Decoder(MODEL), Decoder(MODEL), {}, torch.Generator(), kernels=0)
