"""Hypercloning keeps the logits, over every flavour; and the obvious variants do not."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from bench.growth import check_growth, method
from bench.model import Decoder, Multipliers, Weights
from bench.parametrization import parametrization
from bench.spec import ModelSpec

SPEC = ModelSpec(width=8, depth=2, head_size=4, context=6, vocab_size=11)
CHOICES = {
    "mlp": ("gelu", "swiglu"),
    "positions": ("learned", "rope"),
    "bias": (False, True),
    "ratio": (2, 3),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
HYPERCLONING = method("hypercloning")


def tokens(spec: ModelSpec) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randint(spec.vocab_size, (2, spec.context), generator=rng)


def grown(weights: Weights, small: Decoder, big: Decoder) -> Weights:
    return HYPERCLONING.grow(weights, small, big, {}, torch.Generator())


def logit_error(weights: Weights, small: Decoder, big: Decoder, wide: Weights) -> float:
    """Largest difference of the two models' logits."""
    logits = small(weights, tokens(small.spec))
    assert logits.std() > 1e-2  # there is something to preserve
    return (big(wide, tokens(big.spec)) - logits).abs().max().item()


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rules_of", ["sp", "mup"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_are_preserved(random_weights, norm, tied, rules_of, dtype):
    """Every MLP, position and bias; two and three times a source that is twice its base."""
    rules = parametrization(rules_of).rules
    for mlp, positions, bias, ratio in product(*CHOICES.values()):
        flavour = {"norm": norm, "mlp": mlp, "positions": positions, "tied": tied, "bias": bias}
        base = replace(SPEC, **flavour)
        spec = replace(base, width=2 * base.width)
        wide = replace(spec, width=ratio * spec.width)
        small, big = (Decoder(s, rules(s, base).multipliers) for s in (spec, wide))
        weights = random_weights(spec, 0, dtype)
        error = logit_error(weights, small, big, grown(weights, small, big))
        assert error <= TOLERANCE[dtype], (flavour, ratio)


@pytest.mark.parametrize("tied", [False, True])
def test_source_and_target_may_have_different_forward_multipliers(random_weights, tied):
    spec = replace(SPEC, tied=tied)
    small = Decoder(spec, Multipliers(output=0.7, attention=0.8))
    big = Decoder(replace(spec, width=16), Multipliers(output=0.2, attention=1.3))
    weights = random_weights(spec)
    assert logit_error(weights, small, big, grown(weights, small, big)) <= 1e-12


def test_mlp_width_may_grow_by_another_factor(random_weights):
    small, big = Decoder(SPEC), Decoder(replace(SPEC, width=16, mlp_ratio=6.0))
    check_growth(HYPERCLONING, small.spec, big.spec, {})
    weights = random_weights(SPEC)
    assert logit_error(weights, small, big, grown(weights, small, big)) <= 1e-12


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_a_tied_head_without_the_factor_multiplies_the_logits_by_n(random_weights, norm):
    """The published failure: tile everything, and leave the tied embedding as it is."""
    spec = replace(SPEC, tied=True, norm=norm)
    small, big = Decoder(spec), Decoder(replace(spec, width=16))
    weights = random_weights(spec)
    naive = grown(weights, small, big)
    for name in {"norm.gain", "norm.bias"} & naive.keys():
        naive[name] = weights[name].repeat(2)
    logits = small(weights, tokens(spec))
    torch.testing.assert_close(big(naive, tokens(spec)), 2 * logits, rtol=0, atol=1e-12)
    assert logit_error(weights, small, big, naive) > 1e-2


def test_whole_heads_are_copied_and_columns_halved(random_weights):
    spec, wide = SPEC, replace(SPEC, width=16)
    weights = random_weights(spec)
    big = grown(weights, Decoder(spec), Decoder(wide))
    W = weights["blocks.1.attention.k.weight"].view(2, 4, 8)  # (heads, head size, width)
    tiled = big["blocks.1.attention.k.weight"].view(4, 4, 16)
    for head in range(4):
        assert torch.equal(tiled[head], torch.cat([W[head % 2], W[head % 2]], dim=1) / 2)
    assert torch.equal(big["embed.weight"], weights["embed.weight"].repeat(1, 2))
    assert torch.equal(big["head.weight"], weights["head.weight"].repeat(1, 2) / 2)


def test_copies_receive_equal_gradients(random_weights):
    """Why noise-free cloning never uses the extra width."""
    spec, wide = SPEC, replace(SPEC, width=16)
    big = grown(random_weights(spec), Decoder(spec), Decoder(wide))
    leaf = big["blocks.0.mlp.up.weight"].requires_grad_()
    Decoder(wide)(big, tokens(wide)).square().mean().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().max() > 1e-4
    torch.testing.assert_close(leaf.grad[:32], leaf.grad[32:], rtol=0, atol=1e-14)
