"""What the methods that copy whole blocks have in common: stack, interleave, gradual_stack,
llama_pro, continue, inheritune and prune."""

from dataclasses import replace

import pytest
import torch

from mugrow.bench.growth import Moments, check_growth, method
from mugrow.bench.model import Decoder, Multipliers, cross_entropy, parameters, unflatten
from mugrow.bench.spec import ModelSpec, UserError, llama

SMALL = ModelSpec(width=8, depth=4, head_size=4, context=6, vocab_size=11)
SHAPES = {
    "stack": 8,
    "interleave": 6,
    "gradual_stack": 6,
    "llama_pro": 6,
    "continue": 4,
    "inheritune": 2,
    "prune": 2,
}
NEW = {"blocks.2.", "blocks.5."}  # of llama_pro
RNG = torch.Generator()


def loss(decoder: Decoder, weights: dict, tokens: torch.Tensor) -> torch.Tensor:
    logits = decoder(weights, tokens[:, :-1])
    return cross_entropy(logits[None], tokens[None, :, 1:])[0]


def gradients(decoder: Decoder, weights: dict, tokens: torch.Tensor) -> dict:
    flat = torch.cat([weights[name].reshape(-1) for name in parameters(decoder.spec)])
    flat.requires_grad_()
    value = loss(decoder, unflatten(decoder.spec, flat), tokens)
    return unflatten(decoder.spec, torch.autograd.grad(value, flat)[0])


def tokens(spec: ModelSpec) -> torch.Tensor:
    rng = torch.Generator().manual_seed(5)
    return torch.randint(spec.vocab_size, (3, spec.context + 1), generator=rng)


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
@pytest.mark.parametrize("name", SHAPES)
def test_names_shapes_and_storage_are_the_targets_own(random_weights, name, flavour):
    small = flavour(width=8, depth=4, head_size=4, context=6, vocab_size=11)
    big = replace(small, depth=SHAPES[name])
    entry = method(name)
    check_growth(entry, small, big, {})
    source, init = random_weights(small, 1), random_weights(big, 2)
    kept = {key: tensor.clone() for key, tensor in source.items()}
    grown = entry.grow(source, Decoder(small), Decoder(big), init, RNG)
    assert {key: t.shape for key, t in grown.items()} == {key: t.shape for key, t in init.items()}
    assert len({t.data_ptr() for t in grown.values()}) == len(grown)
    for tensor in grown.values():
        tensor.zero_()
    assert all(torch.equal(source[key], kept[key]) for key in source)


@pytest.mark.parametrize("name", ["stack", "interleave", "gradual_stack", "llama_pro", "continue"])
def test_moments_of_a_copied_block_are_copied_with_it(random_weights, name):
    entry, big = method(name), replace(SMALL, depth=SHAPES[name])
    weights = random_weights(SMALL)
    arguments = (Decoder(SMALL), Decoder(big))
    grown = entry.grow(weights, *arguments, {}, RNG)
    moments = entry.grow_moments(Moments(weights, weights), *arguments, RNG)
    unlike = {
        key for key in parameters(big) for part in moments if not torch.equal(part[key], grown[key])
    }
    assert {key[: len("blocks.2.")] for key in unlike} <= (NEW if name == "llama_pro" else set())
    assert all(not part[key].any() for part in moments for key in unlike)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ["continue", "llama_pro"])
def test_other_forward_multipliers_are_made_up_for_in_weights_and_moments(
    random_weights, name, tied
):
    small = replace(SMALL, tied=tied)
    big = replace(small, depth=SHAPES[name])
    entry, weights, batch = method(name), random_weights(small), tokens(small)
    ours, theirs = Decoder(small), Decoder(big, Multipliers(0.25, 0.5, 0.6, 0.8))
    grown = entry.grow(weights, ours, theirs, {}, RNG)
    torch.testing.assert_close(
        loss(theirs, grown, batch), loss(ours, weights, batch), rtol=1e-13, atol=0
    )
    first = gradients(ours, weights, batch)
    second = {key: gradient.square() for key, gradient in first.items()}
    moments = entry.grow_moments(Moments(first, second), ours, theirs, RNG)
    direct = gradients(theirs, grown, batch)
    for key in direct:
        if name == "llama_pro" and key.startswith(tuple(NEW)):
            continue
        torch.testing.assert_close(moments.m[key], direct[key], rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(moments.v[key], direct[key].square(), rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("name", ["inheritune", "prune"])
def test_methods_that_shrink_refuse_to_grow(name):
    with pytest.raises(UserError, match="shrinks its source: depth must be at most 4, not 8"):
        check_growth(method(name), SMALL, replace(SMALL, depth=8), {})


def test_continue_keeps_the_shape():
    with pytest.raises(UserError, match=r"'continue' keeps the shape: .*depth must be .*4, not 8"):
        check_growth(method("continue"), SMALL, replace(SMALL, depth=8), {})
