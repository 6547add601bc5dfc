"""Upscaling under muP: the logits, the moments, and sixty steps of training are the source's."""

from dataclasses import replace

import pytest
import torch
from width_cases import FLAVOURS, case, check_moments_are_the_gradients, grown, logit_error

from mugrow.bench.checks.cases import initial, random_weights
from mugrow.bench.checks.equivalence import curve_difference
from mugrow.bench.growth import Moments, check_growth, method
from mugrow.bench.growth.mup_upscale import repeated
from mugrow.bench.growth.net2net import copied
from mugrow.bench.spec import UserError

NAME = "mup_upscale"
ENTRY = method(NAME)
WIDER = {
    "gpt2": {"width": 32, "head_size": 16},
    "gpt2 tied": {"width": 96, "head_size": 16, "mlp_ratio": 2.0},
    "llama": {"width": 48},
    "llama tied": {"width": 32, "mlp_ratio": 6.0},
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_logits_are_preserved_and_moments_are_the_gradients(flavour, rules):
    growth = case(flavour, rules, **WIDER[flavour])
    assert logit_error(NAME, growth) <= 1e-12
    check_moments_are_the_gradients(NAME, growth)


def test_under_mup_only_hidden_matrices_are_rescaled_and_only_by_their_inputs():
    growth = case("gpt2 tied", "mup", **WIDER["gpt2 tied"])
    source, wide = random_weights(growth.small), grown(NAME, growth)
    for name, k_in in {"attention.q.weight": 6, "mlp.up.weight": 6, "mlp.down.weight": 3}.items():
        block = wide[f"blocks.0.{name}"]
        torch.testing.assert_close(block[0, 0] * k_in, source[f"blocks.0.{name}"][0, 0])
    assert torch.equal(wide["embed.weight"], source["embed.weight"].repeat_interleave(6, 1))
    torch.testing.assert_close(wide["norm.gain"], source["norm.gain"].repeat_interleave(6))


@pytest.mark.parametrize("flavour", ["gpt2", "llama tied"])
def test_training_goes_on_as_the_sources_own(flavour):
    assert curve_difference(ENTRY, case(flavour, "mup", **WIDER[flavour]), {}) <= 1e-9


def unscaled(moments, small, big, rng, *, noise=0.0):
    units = repeated(small.spec, big.spec)
    return Moments(*({n: copied(n, t, units) for n, t in part.items()} for part in moments))


def by_fan_in(moments, small, big, rng, *, noise=0.0):
    """As weights are, and not as gradients are."""
    m = ENTRY.grow(moments.m, small, big, {}, rng)
    root = {name: v.sqrt() for name, v in moments.v.items()}
    wide = ENTRY.grow(root, small, big, {}, rng)
    return Moments(m, {name: v.square() for name, v in wide.items()})


@pytest.mark.integration
@pytest.mark.parametrize("rule", [unscaled, by_fan_in])
def test_training_breaks_when_moments_are_scaled_otherwise(rule):
    entry = replace(ENTRY, grow_moments=rule)
    growth = case("gpt2", "mup", width=32, mlp_ratio=12.0)
    assert curve_difference(ENTRY, growth, {}) <= 1e-9
    assert curve_difference(entry, growth, {}) > 1e-3


def test_under_sp_training_is_another():
    assert curve_difference(ENTRY, case("llama", "sp", width=32), {}) > 1e-3


def test_noise_is_the_targets_init_divided_like_the_copy():
    growth = case("gpt2", "mup", width=32)
    init = initial(growth)
    without, with_noise = grown(NAME, growth), grown(NAME, growth, noise=0.5)
    for name, divided in {
        "embed.weight": 1,
        "head.weight": 1,
        "blocks.0.mlp.up.weight": 2,
        "blocks.0.attention.o.weight": 2,
    }.items():
        noise = with_noise[name] - without[name]
        torch.testing.assert_close(noise, 0.5 * init[name] / divided)
    for name in ("norm.gain", "blocks.1.norm2.bias", "blocks.0.attention.q.bias"):
        assert torch.equal(with_noise[name], without[name])


def test_larger_rotary_heads_are_refused():
    growth = case("llama", width=32, head_size=16)
    with pytest.raises(UserError, match=r"rotary frequencies .* must stay 8, not 16"):
        check_growth(ENTRY, growth.small, growth.big, {})
