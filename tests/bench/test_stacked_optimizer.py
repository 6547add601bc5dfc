"""Stacked AdamW against torch's own, tensor by tensor, in float64."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mugrow.bench.memory import allocated
from mugrow.bench.model import Multipliers, flatten, offsets, parameters, shapes, unflatten
from mugrow.bench.modules import by_tensor
from mugrow.bench.optim import Trainer, optimizer
from mugrow.bench.parametrization import Rule, Rules
from mugrow.bench.spec import HyperSpec, ModelSpec, UserError
from mugrow.bench.stacked_optimizer import (
    Segment,
    StackedOptimizer,
    _cut,
    fresh_state,
    stacked_optimizer,
)

MODEL = ModelSpec(width=8, depth=1, head_size=4, context=4, vocab_size=8)
HYPERS = [
    HyperSpec(lr=1e-2, init_std=1, weight_decay=0.1, clip=0),
    HyperSpec(lr=3e-3, init_std=1, weight_decay=0, beta1=0.8, beta2=0.99, eps=1e-3, clip=0),
    HyperSpec(lr=1e-1, init_std=1, weight_decay=0.5, beta1=0, eps=1e-6, clip=0),
]
CLIPS = (0, 0.5, 1e3)
STEPS = 10
FACTORS = [(step + 1) / STEPS for step in range(STEPS)]


def uneven_rules() -> Rules:
    """Another rule for every tensor, so that a mix-up of two of them shows."""
    return Rules(
        {
            name: Rule(lr=1 / (1 + i), weight_decay=float(i % 3), eps=1.0 + i)
            for i, name in enumerate(parameters(MODEL))
        },
        Multipliers(),
    )


def everywhere(hypers: list[HyperSpec], model: ModelSpec = MODEL) -> list[Mapping[str, HyperSpec]]:
    """Each member's, the same in every tensor."""
    return [by_tensor(model, hyper) for hyper in hypers]


def stacked_adamw(hypers: list[HyperSpec], like: Tensor) -> StackedOptimizer:
    trainers = dict.fromkeys(parameters(MODEL), Trainer(optimizer("adamw"), {}))
    return stacked_optimizer(shapes(MODEL), uneven_rules(), trainers, everywhere(hypers), like)


def normal_KP(seed: int, members: int = 3) -> Tensor:
    P = sum(where.stop - where.start for where in offsets(MODEL).values())
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(members, P, generator=rng, dtype=torch.float64)


def gradients(scale: float) -> list[Tensor]:
    """A gradient for each step, whose norms differ by up to a factor of ten."""
    return [scale * (1 + step % 4 * 3) * normal_KP(100 + step) for step in range(STEPS)]


def stacked(hypers: list[HyperSpec], grads: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Weights ``(K, P)`` after all steps, and the norms ``(K,)`` that each step reported."""
    start_KP = normal_KP(0)
    adamw = stacked_adamw(hypers, like=start_KP)
    state = fresh_state(start_KP, "mv")
    norms = []
    for grad_KP, factor in zip(grads, FACTORS, strict=True):
        factor_K1 = torch.full((len(hypers), 1), factor, dtype=torch.float64)
        norms.append(adamw.update(state, grad_KP.clone(), factor_K1))
    return state.weights_KP, norms


def plain(hyper: HyperSpec, member: int, grads: list[Tensor]) -> Tensor:
    """The same member trained by ``torch.optim.AdamW`` with a group per tensor; ``(P,)``."""
    rules = uneven_rules().tensors
    weights = {
        name: nn.Parameter(w.clone()) for name, w in unflatten(MODEL, normal_KP(0)[member]).items()
    }
    groups = [
        {
            "params": [weight],
            "lr": hyper.lr * rules[name].lr,
            "weight_decay": hyper.weight_decay * rules[name].weight_decay,
            "eps": hyper.eps * rules[name].eps,
        }
        for name, weight in weights.items()
    ]
    optimizer = torch.optim.AdamW(groups, betas=(hyper.beta1, hyper.beta2))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / STEPS)
    for grad_KP in grads:
        for name, grad in unflatten(MODEL, grad_KP[member].clone()).items():
            weights[name].grad = grad
        if hyper.clip:
            nn.utils.clip_grad_norm_(weights.values(), hyper.clip)
        optimizer.step()
        schedule.step()
    return flatten(MODEL, {name: weight.detach() for name, weight in weights.items()})


def check_against_torch(hypers: list[HyperSpec], grads: list[Tensor]) -> None:
    weights_KP, _ = stacked(hypers, grads)
    for member, hyper in enumerate(hypers):
        expected_P = plain(hyper, member, grads)
        assert torch.allclose(weights_KP[member], expected_P, rtol=0, atol=1e-12)


def test_equals_torch_adamw_with_every_members_own_hyperparameters():
    check_against_torch(HYPERS, gradients(scale=0.01))


@pytest.mark.parametrize(("columns", "alone"), [(5, 1), (100, 20), (10**6, 10**6)])
def test_columns_may_be_part_of_a_segment_or_span_several(monkeypatch, columns, alone):
    """And a factor may be every coordinate's own."""
    monkeypatch.setattr("mugrow.bench.stacked_optimizer.CACHED", columns * len(HYPERS))
    monkeypatch.setattr("mugrow.bench.stacked_optimizer.ALONE", alone * len(HYPERS))
    check_against_torch(HYPERS, gradients(scale=0.01))
    start_KP, grad_KP = normal_KP(0), normal_KP(1)
    factor_KP = normal_KP(2).abs()
    adamw, state = stacked_adamw(HYPERS, like=start_KP), fresh_state(start_KP.clone(), "mv")
    adamw.update(state, grad_KP.clone(), torch.ones(3, 1, dtype=torch.float64))
    scaled = fresh_state(start_KP.clone(), "mv")
    adamw.update(scaled, grad_KP.clone(), factor_KP)
    moved_KP = (state.weights_KP - start_KP) * factor_KP
    torch.testing.assert_close(scaled.weights_KP, start_KP + moved_KP, rtol=0, atol=1e-12)


def test_pieces_are_of_every_coordinate_once_and_of_small_segments_together():
    run = (Segment(3, 10, 2), Segment(10, 110, 3), Segment(110, 112, 4), Segment(112, 115, 5))
    pieces = _cut(run, 40, 20)
    assert [(piece.where.start, piece.where.stop, piece.counts) for piece in pieces] == [
        (3, 10, (7,)),
        (10, 50, (40,)),
        (50, 90, (40,)),
        (90, 110, (20,)),
        (110, 115, (2, 3)),
    ]
    assert [piece.segments for piece in pieces] == [
        *(slice(column, column + 1) for column in (2, 3, 3, 3)),
        slice(4, 6),
    ]


def test_neighbours_of_one_rule_share_their_numbers():
    like = normal_KP(0)
    trainers = dict.fromkeys(parameters(MODEL), Trainer(optimizer("adamw"), {}))
    rule = Rule(lr=0.5, weight_decay=1.0, eps=2.0)
    alike = Rules(dict.fromkeys(parameters(MODEL), rule), Multipliers())
    one = stacked_optimizer(shapes(MODEL), alike, trainers, everywhere(HYPERS), like)
    assert one.lr_KS.shape == one.decay_KS.shape == one.eps_KS.shape == (3, 1)
    assert one.lr_KS[:, 0].tolist() == [hyper.lr * 0.5 for hyper in HYPERS]
    assert stacked_adamw(HYPERS, like).lr_KS.shape == (3, len(parameters(MODEL)))


def test_an_update_allocates_a_few_columns_and_nothing_of_full_size(monkeypatch):
    columns, members = 64, len(HYPERS)
    monkeypatch.setattr("mugrow.bench.stacked_optimizer.CACHED", columns * members)
    monkeypatch.setattr("mugrow.bench.stacked_optimizer.ALONE", columns * members)
    start_KP = normal_KP(0)
    adamw, state = stacked_adamw(HYPERS, like=start_KP), fresh_state(start_KP, "mv")
    grad_KP, factor_K1 = normal_KP(1), torch.ones(3, 1, dtype=torch.float64)
    found = allocated(lambda: adamw.update(state, grad_KP, factor_K1))
    assert columns * members * 8 < found.peak < 8 * columns * members * 8 < start_KP.nbytes


def test_equals_torch_adamw_with_clipping():
    """torch adds 1e-6 to the norm it divides by; gradients this large make that one in 1e13."""
    scale = 1e6
    typical = scale * normal_KP(0)[0].norm().item()
    clips = (typical * 0.1, typical * 3, 0.0)  # always, now and then, never
    hypers = [replace(hyper, clip=clip) for hyper, clip in zip(HYPERS, clips, strict=True)]
    grads = gradients(scale)
    check_against_torch(hypers, grads)
    clipped, _ = stacked(hypers, grads)
    unclipped, _ = stacked(HYPERS, grads)
    moved_K = (clipped - unclipped).abs().amax(dim=1)
    assert moved_K[1] > 1e-6  # a constant factor would have left Adam as it was
    assert moved_K[2] == 0


def test_reported_norms_are_from_before_clipping():
    grads = gradients(scale=0.01)
    _, norms = stacked([replace(hyper, clip=1e-4) for hyper in HYPERS], grads)
    for norm_K, grad_KP in zip(norms, grads, strict=True):
        assert torch.allclose(norm_K, grad_KP.square().sum(dim=1).sqrt())


def test_a_member_without_gradient_only_decays():
    grads = [torch.zeros_like(normal_KP(0)) for _ in range(STEPS)]
    weights_KP, _ = stacked([replace(hyper, clip=1.0) for hyper in HYPERS], grads)
    check_against_torch(HYPERS, grads)
    assert torch.equal(weights_KP[1], normal_KP(0)[1])  # its weight decay is 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_gradient_stays_in_its_member(bad):
    grads = gradients(scale=0.01)
    hypers = [replace(hyper, clip=0.1) for hyper in HYPERS]
    expected, _ = stacked(hypers, grads)
    grads[3][1, 5] = bad
    weights_KP, _ = stacked(hypers, grads)
    assert torch.equal(weights_KP[[0, 2]], expected[[0, 2]])
    assert not weights_KP[1].isfinite().all()


def test_members_that_stay_go_on_as_if_nobody_had_left():
    grads = gradients(scale=0.01)
    expected, _ = stacked(HYPERS, grads)
    start_KP = normal_KP(0)
    adamw, state = stacked_adamw(HYPERS, like=start_KP), fresh_state(start_KP, "mv")
    stay = torch.tensor([0, 2])
    for step, (grad_KP, factor) in enumerate(zip(grads, FACTORS, strict=True)):
        if step == 4:
            adamw, state = adamw.keep(stay), state.keep(stay)
        rows_KP = grad_KP if step < 4 else grad_KP[stay]
        factor_K1 = torch.full((len(rows_KP), 1), factor, dtype=torch.float64)
        adamw.update(state, rows_KP.clone(), factor_K1)
    assert torch.equal(state.weights_KP, expected[stay])


def test_independent_decay_is_the_schedules_factor_times_the_decay_alone():
    """Not the learning rate's, nor the rule's, but for what does not decay at all. The members
    differ in it, so both kinds are in one stack."""
    mixed = [replace(hyper, weight_decay=0.2, decay="independent") for hyper in HYPERS]
    mixed[1] = replace(mixed[1], decay="scaled")
    grads = gradients(scale=0.01)
    still_KP, _ = stacked([replace(hyper, lr=0.0) for hyper in mixed], grads)
    shrunk = math.prod(1 - 0.2 * factor for factor in FACTORS)
    for name, where in offsets(MODEL).items():
        share = shrunk if uneven_rules().tensors[name].weight_decay else 1.0
        expected = normal_KP(0)[[0, 2], where] * share
        torch.testing.assert_close(still_KP[[0, 2], where], expected, rtol=1e-12, atol=0)
    assert torch.equal(still_KP[1], normal_KP(0)[1])  # scaled by a learning rate of zero
    weights_KP, _ = stacked(mixed, grads)
    expected_P = plain(mixed[1], 1, grads)
    assert torch.allclose(weights_KP[1], expected_P, rtol=0, atol=1e-12)


def test_unknown_decay_names_the_nearest():
    with pytest.raises(UserError, match="unknown decay 'independant'; did you mean 'independent'"):
        replace(HYPERS[0], decay="independant")


@pytest.mark.parametrize("decay", ["scaled", "independent"])
def test_the_fused_kernel_updates_as_the_columns_do(decay):
    """Also a rate of 0, where the kernel would forget an independent decay, and with clipping; in
    float32, since it clips by a number of that type."""
    hypers = [
        replace(hyper, decay=decay, clip=clip) for hyper, clip in zip(HYPERS, CLIPS, strict=True)
    ]
    hypers.append(replace(HYPERS[2], decay=decay, lr=0))
    like = normal_KP(0, members=4).float()
    adamw = stacked_adamw(hypers, like)
    assert len(adamw.alike) == len(parameters(MODEL))
    plain, fused = (fresh_state(like.clone(), "mv") for _ in range(2))
    for step, factor in enumerate(FACTORS):
        grad_KP, factor_K1 = normal_KP(100 + step, members=4).float(), torch.full((4, 1), factor)
        norms = adamw.update(plain, grad_KP.clone(), factor_K1)
        assert torch.equal(adamw.kernel(fused, grad_KP).update(factor_K1), norms)
    torch.testing.assert_close(fused.weights_KP, plain.weights_KP, rtol=1e-5, atol=1e-6)
    for name, buffer in fused.buffers.items():
        torch.testing.assert_close(buffer, plain.buffers[name], rtol=1e-5, atol=1e-7)
    assert not torch.equal(fused.weights_KP, plain.weights_KP)  # it is another kernel
    assert torch.equal(fused.updates_K1, plain.updates_K1)
    moved = (fused.weights_KP - like).abs().amax(1)
    assert (moved[:3] > 1e-3).all()
    assert (moved[3] > 0) == (decay == "independent")


def test_a_kernel_made_once_updates_as_one_made_for_every_step():
    like = normal_KP(0, members=3).float()
    adamw = stacked_adamw(HYPERS, like)
    often, once = (fresh_state(like.clone(), "mv") for _ in range(2))
    grad_KP = torch.empty_like(like)
    kernel = adamw.kernel(once, grad_KP)
    for step, factor in enumerate(FACTORS):
        factor_K1 = torch.full((3, 1), factor)
        grad_KP.copy_(normal_KP(100 + step, members=3))
        norms = adamw.kernel(often, grad_KP.clone()).update(factor_K1)
        assert torch.equal(kernel.update(factor_K1), norms)
    assert torch.equal(once.weights_KP, often.weights_KP)
    assert torch.equal(once.updates_K1, often.updates_K1)
    assert all(torch.equal(once.buffers[name], often.buffers[name]) for name in "mv")


def test_segments_of_one_rule_are_updated_together():
    model = replace(MODEL, depth=3)
    rules = Rules(
        {
            name: Rule(lr=1 + len(shape), weight_decay=1, eps=1)
            for name, shape in shapes(model).items()
        },
        Multipliers(),
    )
    trainers = dict.fromkeys(parameters(model), Trainer(optimizer("adamw"), {}))
    adamw = stacked_optimizer(
        shapes(model), rules, trainers, everywhere(HYPERS, model), normal_KP(0)
    )
    assert len(adamw.alike) == 2
    assert sorted(place for places, _ in adamw.alike for place in places) == [
        *range(len(adamw.sizes))
    ]
    assert sum(adamw.sizes) == sum(math.prod(shape) for shape in shapes(model).values())


def test_other_optimizers_have_no_fused_kernel():
    trainers = {
        name: Trainer(optimizer("muon" if kind == "matrix" else "adamw"), {})
        for name, (_, kind) in parameters(MODEL).items()
    }
    like = normal_KP(0)
    hypers = everywhere(HYPERS)
    assert not stacked_optimizer(shapes(MODEL), uneven_rules(), trainers, hypers, like).alike
