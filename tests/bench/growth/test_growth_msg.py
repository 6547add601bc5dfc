"""Masked growth: the source exactly at first, the target in full at the end."""

from dataclasses import replace

import pytest
import torch
from growth_runs import MODEL, RUN, start_of, train

from mugrow.bench.growth import Moments, check_growth, method
from mugrow.bench.model import Decoder, cross_entropy, flatten, unflatten
from mugrow.bench.parametrization import parametrization
from mugrow.bench.spec import ModelSpec, UserError, llama

ENTRY = method("msg")
GROWTHS = {
    "residual stream and heads": {"width": 24, "mlp_ratio": 8 / 3},
    "MLP": {"mlp_ratio": 6.0},
    "depth": {"depth": 5},
    "all": {"width": 32, "mlp_ratio": 5.0, "depth": 3},
}


def shape(flavour=ModelSpec, **fields) -> ModelSpec:
    return flavour(width=16, depth=2, head_size=8, context=8, vocab_size=13, **fields)


def decoders(small: ModelSpec, big: ModelSpec, rules: str) -> tuple[Decoder, Decoder]:
    base = replace(small, width=8, head_size=4, mlp_ratio=4.0)
    table = parametrization(rules).rules
    return Decoder(small, table(small, base).multipliers), Decoder(
        big, table(big, base).multipliers
    )


def grown(small: ModelSpec, big: ModelSpec, rules: str, source: dict, init: dict):
    ours, theirs = decoders(small, big, rules)
    return ours, theirs, ENTRY.grow(source, ours, theirs, init, torch.Generator())


def at(decoder: Decoder, during, t: int) -> Decoder:
    return replace(decoder, norm_mask=during.norm_mask(t))


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).norm() / want.norm())


def some_tokens(extra: int = 0) -> torch.Tensor:
    return torch.randint(13, (4, 8 + extra), generator=torch.Generator().manual_seed(0))


def gradient(decoder: Decoder, weights: dict, used=lambda weights: weights) -> dict:
    tokens = some_tokens(1)[None]
    flat = flatten(decoder.spec, weights).requires_grad_()
    row = flatten(decoder.spec, used(unflatten(decoder.spec, flat)))[None]
    loss = cross_entropy(decoder.logits(row, tokens[..., :-1]), tokens[..., 1:]).sum()
    return unflatten(decoder.spec, torch.autograd.grad(loss, flat)[0])


@pytest.mark.parametrize("rules", ["sp", "mup"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("flavour", [ModelSpec, llama])
@pytest.mark.parametrize("growth", GROWTHS)
def test_at_step_0_the_logits_are_the_sources_and_later_they_are_not(
    random_weights, growth, flavour, tied, rules
):
    small = shape(flavour, tied=tied)
    big = replace(small, **GROWTHS[growth])
    check_growth(ENTRY, small, big, {})
    source, init = random_weights(small, 1), random_weights(big, 2)
    ours, theirs, start = grown(small, big, rules, source, init)
    during, tokens = ENTRY.during(small, big, 50, grow_steps=10), some_tokens()
    want = ours(source, tokens)
    assert error(at(theirs, during, 0)(during.used(start, 0, None), tokens), want) <= 1e-14
    for t in (1, 10):
        assert error(at(theirs, during, t)(during.used(start, t, None), tokens), want) > 1e-3


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
def test_with_ordinary_norms_it_would_not_preserve(random_weights, flavour):
    small = shape(flavour)
    big = replace(small, width=32)
    source = random_weights(small, 1)
    ours, theirs, start = grown(small, big, "sp", source, random_weights(big, 2))
    used = ENTRY.during(small, big, 50).used(start, 0, None)
    assert error(theirs(used, some_tokens()), ours(source, some_tokens())) > 0.05


@pytest.mark.parametrize(("steps", "grow_steps", "last"), [(50, 10, 10), (4, 10, 4)])
def test_at_the_end_of_growth_the_model_is_the_target_itself(
    random_weights, steps, grow_steps, last
):
    small, big = shape(), replace(shape(), width=32, depth=3)
    during = ENTRY.during(small, big, steps, grow_steps=grow_steps)
    trained = random_weights(big)
    used = during.used(trained, last, None)
    assert all(torch.equal(used[name], trained[name]) for name in trained)
    assert during.norm_mask(last) is None
    assert during.norm_mask(last - 1).min() == (last - 1) / last
    half = during.used(trained, last // 2, None)["blocks.0.mlp.down.weight"]
    assert torch.equal(half[:, :64], trained["blocks.0.mlp.down.weight"][:, :64])
    assert torch.equal(half[:, 64:], trained["blocks.0.mlp.down.weight"][:, 64:] / 2)


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
def test_a_full_mask_is_no_mask(random_weights, flavour):
    """What is left out at the end of growth changes nothing but the rounding."""
    decoder = Decoder(shape(flavour))
    weights, full = random_weights(decoder.spec), torch.ones(16, dtype=torch.float64)
    plain = gradient(decoder, weights)
    for name, tensor in gradient(replace(decoder, norm_mask=full), weights).items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_gradients_at_step_0_are_the_sources_and_zero_for_what_is_new(random_weights, rules):
    """So are the moments that are carried, which transform as gradients do."""
    small = shape(tied=True)
    big = replace(small, width=24, mlp_ratio=8 / 3, depth=3)
    source, init = random_weights(small, 1), random_weights(big, 2)
    ours, theirs, start = grown(small, big, rules, source, init)
    during = ENTRY.during(small, big, 50)
    first = gradient(at(theirs, during, 0), start, lambda weights: during.used(weights, 0, None))
    narrow = gradient(ours, source)
    squares = {name: tensor.square() for name, tensor in narrow.items()}
    moments = ENTRY.grow_moments(Moments(narrow, squares), ours, theirs, torch.Generator())
    for name, tensor in first.items():
        torch.testing.assert_close(moments.m[name], tensor, rtol=1e-8, atol=1e-13)
        torch.testing.assert_close(moments.v[name], tensor.square(), rtol=1e-8, atol=1e-20)


def test_a_target_trains_from_its_sources_loss():
    source = train(replace(RUN, stop_step=5), start_of(RUN))
    big = replace(MODEL, width=32, depth=2)
    run = replace(RUN, model=big, first_batch=5)
    _, _, start = grown(MODEL, big, "sp", source.weights, start_of(run))
    after = train(run, start, ENTRY.during(MODEL, big, 20, grow_steps=10))
    losses = [row["val_loss"] for row in after.curve]
    assert losses[0] == pytest.approx(source.curve[-1]["val_loss"], rel=1e-5)
    assert losses[-1] < losses[0]
    assert all(not torch.equal(after.weights[name], start[name]) for name in start)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 32, "head_size": 16}, "head_size must stay 8, not 16"),
        ({"mlp_ratio": 2.0}, "mlp_width would shrink from 64 to 32"),
    ],
)
def test_what_it_cannot_grow_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        check_growth(ENTRY, shape(), replace(shape(), **fields), {})


def test_growth_takes_at_least_a_step():
    with pytest.raises(UserError, match="grow_steps must be at least 1, not 0"):
        ENTRY.grow({}, Decoder(MODEL), Decoder(MODEL), {}, torch.Generator(), grow_steps=0)
