"""Hypercloning keeps the logits, over every flavour; and the obvious variants do not."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from width_cases import FLAVOURS, case, check_moments_are_the_gradients, error_of, logit_error
from width_cases import grown as grown_case

from mugrow.bench.checks.cases import random_weights as random_weights_of
from mugrow.bench.growth import check_growth, method
from mugrow.bench.model import Decoder, Multipliers, Weights
from mugrow.bench.parametrization import parametrization
from mugrow.bench.spec import ModelSpec, UserError

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


def largest_error(weights: Weights, small: Decoder, big: Decoder, wide: Weights) -> float:
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
        error = largest_error(weights, small, big, grown(weights, small, big))
        assert error <= TOLERANCE[dtype], (flavour, ratio)


@pytest.mark.parametrize("tied", [False, True])
def test_source_and_target_may_have_different_forward_multipliers(random_weights, tied):
    spec = replace(SPEC, tied=tied)
    small = Decoder(spec, Multipliers(output=0.7, attention=0.8))
    big = Decoder(replace(spec, width=16), Multipliers(output=0.2, attention=1.3))
    weights = random_weights(spec)
    assert largest_error(weights, small, big, grown(weights, small, big)) <= 1e-12


def test_mlp_width_may_grow_by_another_factor(random_weights):
    small, big = Decoder(SPEC), Decoder(replace(SPEC, width=16, mlp_ratio=6.0))
    check_growth(HYPERCLONING, small.spec, big.spec, {})
    weights = random_weights(SPEC)
    assert largest_error(weights, small, big, grown(weights, small, big)) <= 1e-12


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
    assert largest_error(weights, small, big, naive) > 1e-2


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


@pytest.mark.parametrize("mode", ["noisy", "diagonal"])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_every_mode_preserves_the_logits(flavour, rules, mode):
    head = {} if "llama" in flavour else {"head_size": 16}
    growth = case(flavour, rules, width=96, mlp_ratio=2.0, **head)
    assert logit_error("hypercloning", growth, mode=mode) <= 1e-12


@pytest.mark.parametrize(("flavour", "mode"), [("gpt2", "symmetric"), ("llama tied", "diagonal")])
@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_moments_are_the_gradients(flavour, rules, mode):
    growth = case(flavour, rules, width=32, mlp_ratio=6.0)
    check_moments_are_the_gradients("hypercloning", growth, mode=mode)


def test_diagonal_blocks():
    growth = case("llama", width=32, mlp_ratio=8.0)  # twice the stream, four times the MLP
    source = random_weights_of(growth.small)["blocks.0.mlp.up.weight"]
    wide = grown_case("hypercloning", growth, mode="diagonal")
    o, old = wide["blocks.1.attention.o.weight"], random_weights_of(growth.small)
    torch.testing.assert_close(o, torch.block_diag(*[old["blocks.1.attention.o.weight"]] * 2))
    up = wide["blocks.0.mlp.up.weight"].view(4, 64, 2, 16)
    for a, b in product(range(4), range(2)):
        expected = source if a % 2 == b else torch.zeros_like(source)
        torch.testing.assert_close(up[a, :, b], expected)


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_noise_has_the_power_asked_for_and_sums_to_zero(snr_db):
    growth = case("llama", width=48)
    quiet = grown_case("hypercloning", growth)
    noisy = grown_case("hypercloning", growth, mode="noisy", snr_db=snr_db)
    for name in ("blocks.0.attention.v.weight", "blocks.1.mlp.down.weight"):
        noise = noisy[name] - quiet[name]
        ratio = quiet[name].square().mean() / noise.square().mean()
        assert 10 * ratio.log10() == pytest.approx(snr_db, abs=1e-9)
        columns = noise.view(len(noise), 3, -1).sum(1)
        torch.testing.assert_close(columns, torch.zeros_like(columns), rtol=0, atol=1e-14)
    for name in ("embed.weight", "head.weight", "norm.gain"):
        assert torch.equal(noisy[name], quiet[name])


def test_larger_heads_need_the_root_on_q_under_sp_and_not_under_mup():
    """Scores of a head twice as large are twice as many products over sqrt(2) times the root."""
    for rules, factor in (("sp", 0.5**0.5), ("mup", 1.0)):
        growth = case("gpt2", rules, width=32, head_size=16)
        weights = grown_case("hypercloning", growth)
        assert error_of(growth, weights) <= 1e-12
        source = random_weights_of(growth.small)["blocks.0.attention.q.bias"]
        torch.testing.assert_close(weights["blocks.0.attention.q.bias"][:8], source[:8] * factor)
        for block, tensor in product(range(2), ("weight", "bias")):
            weights[f"blocks.{block}.attention.q.{tensor}"] *= 2**0.5
        assert error_of(growth, weights) > 1e-3


def test_heads_that_grow_must_be_copied_within_each_head():
    """Tiling all rows of q, k and v puts one head's rows into another's: some per cent wrong."""
    growth = case("gpt2", "mup", width=32, head_size=16)
    weights = grown_case("hypercloning", growth)
    source = random_weights_of(growth.small)
    for block, layer in product(range(2), "qkv"):
        name = f"blocks.{block}.attention.{layer}"
        weights[f"{name}.weight"] = source[f"{name}.weight"].repeat(2, 2) / 2
        weights[f"{name}.bias"] = source[f"{name}.bias"].repeat(2)
    assert 0.01 < error_of(growth, weights) < 1


def test_larger_rotary_heads_are_refused():
    growth = case("llama", width=32, head_size=16)
    with pytest.raises(UserError, match="rotary frequencies depend on the head size"):
        check_growth(HYPERCLONING, growth.small, growth.big, {})
