"""Muon against the definition, a matrix at a time, and inside of the stack that trains."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import BASE, skewed_tokens, start_of, vary
from torch import Tensor

from mugrow.bench.model import offsets, parameters, shapes, unflatten
from mugrow.bench.modules import by_tensor
from mugrow.bench.optim import Trainer, muon, optimizer, trainers_of
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import HyperSpec
from mugrow.bench.stack import Stack, begin
from mugrow.bench.stacked_optimizer import fresh_state, stacked_optimizer
from mugrow.bench.train import advance, train

MODEL = replace(BASE, width=16, depth=2)
RULES = rules_of("spectral", MODEL, BASE)
MUON = trainers_of("adamw", "spectral", MODEL, BASE)
MATRICES = [name for name, (_, kind) in parameters(MODEL).items() if kind == "matrix"]
HYPERS = [
    HyperSpec(lr=1e-2, init_std=1, weight_decay=0.1, clip=0),
    HyperSpec(lr=3e-3, init_std=1, weight_decay=0.01, clip=0, decay="independent"),
    HyperSpec(lr=1e-1, init_std=1, weight_decay=0.5, clip=0),
]


def normal_KP(seed: int) -> Tensor:
    P = max(where.stop for where in offsets(MODEL).values())
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(len(HYPERS), P, generator=rng, dtype=torch.float64)


def polynomial(singular: Tensor) -> Tensor:
    """Five steps on the singular values alone, from those of norm one."""
    s = singular / singular.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


def by_definition(gradient: Tensor) -> Tensor:
    U, S, Vh = torch.linalg.svd(gradient, full_matrices=False)
    return U @ torch.diag(polynomial(S)) @ Vh


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**30), st.floats(-12, 12))
def test_orthogonal_acts_on_singular_values_whatever_the_shape_and_scale(rows, columns, seed, log):
    rng = torch.Generator().manual_seed(seed)
    stack = 10**log * torch.randn(3, rows, columns, generator=rng, dtype=torch.float64)
    expected = torch.stack([by_definition(matrix) for matrix in stack])
    torch.testing.assert_close(muon.orthogonal(stack), expected, rtol=0, atol=1e-9)


def test_singular_values_end_near_one_and_zeros_stay():
    rng = torch.Generator().manual_seed(0)
    stack = torch.randn(20, 32, 64, generator=rng, dtype=torch.float64)
    singular = torch.linalg.svdvals(muon.orthogonal(stack))
    assert 0.6 < singular.min() < singular.max() < 1.21
    assert torch.equal(muon.orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def stepped(
    gradients: list[Tensor], hypers: list[HyperSpec], trainers: Mapping[str, Trainer] = MUON
) -> Tensor:
    """Weights ``(K, P)`` after all steps, each at half the peak rate."""
    state = fresh_state(normal_KP(0)[: len(hypers)].clone(), "mv")
    everywhere = [by_tensor(MODEL, hyper) for hyper in hypers]
    stacked = stacked_optimizer(shapes(MODEL), RULES, trainers, everywhere, like=state.weights_KP)
    for gradient_KP in gradients:
        factor_K1 = torch.full((len(hypers), 1), 0.5, dtype=torch.float64)
        stacked.update(state, gradient_KP[: len(hypers)].clone(), factor_K1)
    return state.weights_KP


def test_steps_are_those_of_the_definition():
    gradients = [normal_KP(seed) for seed in (1, 2, 3)]
    weights_KP = stepped(gradients, HYPERS)
    for member, hyper in enumerate(HYPERS):
        got, starts = (unflatten(MODEL, w[member]) for w in (weights_KP, normal_KP(0)))
        for name in MATRICES:
            w, m = starts[name], torch.zeros_like(starts[name])
            for gradient_KP in gradients:
                g = unflatten(MODEL, gradient_KP[member])[name]
                m = 0.95 * m + 0.05 * g
                rows, columns = g.shape
                direction = by_definition(0.95 * m + 0.05 * g) * math.sqrt(rows / columns)
                shrink = hyper.weight_decay * (1 if hyper.decay == "independent" else hyper.lr)
                w = w - 0.5 * (hyper.lr * direction + shrink * w)
            torch.testing.assert_close(got[name], w, rtol=0, atol=1e-10)


def test_a_members_gradients_are_clipped_before_they_enter_its_momentum():
    """Where every gradient is clipped to one norm, their sizes do not matter, as they do else."""
    sizes = (1.0, 30.0, 5.0)
    gradients = [normal_KP(seed) for seed in (1, 2, 3)]
    unit = [g / g.norm(dim=1, keepdim=True) for g in gradients]
    uneven = [size * g for size, g in zip(sizes, gradients, strict=True)]
    clipped = stepped(uneven, [replace(hyper, clip=1.0) for hyper in HYPERS])
    torch.testing.assert_close(clipped, stepped(unit, HYPERS), rtol=0, atol=1e-9)
    assert (stepped(uneven, HYPERS) - clipped).abs().max() > 1e-3


def test_the_tensors_beside_them_take_adamws_steps_bit_for_bit():
    gradients = [normal_KP(seed) for seed in (1, 2, 3)]
    all_adamw = dict.fromkeys(RULES.tensors, Trainer(optimizer("adamw"), {}))
    ours = stepped(gradients, HYPERS)
    adamw = stepped(gradients, HYPERS, all_adamw)
    for name, where in offsets(MODEL).items():
        same = torch.equal(ours[:, where], adamw[:, where])
        assert same == (name not in MATRICES), name


def test_members_together_are_members_apart_and_a_broken_one_harms_no_other():
    gradients = [normal_KP(seed) for seed in (1, 2, 3)]
    together = stepped(gradients, HYPERS)
    torch.testing.assert_close(stepped(gradients, HYPERS[:1])[0], together[0], rtol=0, atol=1e-12)
    gradients[1][1, offsets(MODEL)[MATRICES[0]].start] = math.nan
    broken = stepped(gradients, HYPERS)
    assert torch.equal(broken[[0, 2]], together[[0, 2]])
    assert broken[1].isnan().any()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-4)])
def test_a_stack_of_runs_is_so_many_runs(dtype, tolerance):
    runs = [
        vary(parametrization="spectral", lr=lr, decay=decay, weight_decay=0.01, dtype=dtype)
        for lr, decay in ((2**-6, "scaled"), (2**-5, "independent"), (2**-4, "scaled"))
    ]
    starts = [start_of(run) for run in runs]
    together = train(Stack(runs), starts, skewed_tokens())
    assert together.curves[0][0]["val_loss"] > together.curves[0][-1]["val_loss"] + 0.05
    for member, run in enumerate(runs):
        alone = train(Stack([run]), [starts[member]], skewed_tokens())
        ours = unflatten(run.model, together.optimizer.weights_KP[member])
        theirs = unflatten(run.model, alone.optimizer.weights_KP[0])
        for name in ours:
            if not name.endswith("attention.k.bias"):  # its gradient is zero but for rounding
                torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=tolerance)


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been():
    run = vary(parametrization="spectral")
    whole = train(Stack([run]), [start_of(run)], skewed_tokens())
    state = begin(Stack([run]), [start_of(run)])
    for _ in range(7):
        next(advance(Stack([run]), state, skewed_tokens()))
    for _ in advance(Stack([run]), state, skewed_tokens()):
        pass
    assert torch.equal(state.optimizer.weights_KP, whole.optimizer.weights_KP)
    assert state.curves == whole.curves
    second = {
        name: state.optimizer.buffers["v"][:, where] for name, where in offsets(run.model).items()
    }
    assert all((v == 0).all() == (name in MATRICES) for name, v in second.items() if v.numel())
