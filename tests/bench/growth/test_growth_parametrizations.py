"""Growth under every parametrization: the forward multipliers differ, the function does not."""

from dataclasses import replace

import pytest
import torch
from width_cases import case, check_moments_are_the_gradients, logit_error

from mugrow.bench.checks.cases import cases, random_weights
from mugrow.bench.checks.equivalence import curve_difference
from mugrow.bench.growth import Moments, method
from mugrow.bench.growth.stack import from_blocks, moments_from_blocks
from mugrow.bench.model import Decoder, Multipliers

RULES = ("completep", "completep:alpha=0.5", "completedp", "umup", "spectral")
WIDER = {"width": 32}
DEEPER = {"depth": 4}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("flavour", ["gpt2", "llama tied"])
@pytest.mark.parametrize(
    ("name", "changes", "params"),
    [
        ("zero_pad", WIDER, {"norms": "stream"}),
        ("hypercloning", WIDER, {}),
        ("mup_upscale", WIDER, {}),
        ("net2net", {"mlp_ratio": 8.0}, {}),
        ("net2net", DEEPER, {}),
        ("llama_pro", DEEPER, {}),
        ("staged", WIDER | DEEPER, {}),
        ("lemon", {"width": 40} | DEEPER, {}),
        ("msg", WIDER | DEEPER, {}),
        ("composable", WIDER | DEEPER, {}),
    ],
)
def test_the_logits_are_the_sources(name, changes, params, flavour, rules):
    growth = case(flavour, rules, **changes)
    assert logit_error(name, growth, **params) < 1e-12


@pytest.mark.parametrize("rules", RULES)
def test_moments_grow_as_gradients_do(rules):
    for name, changes in (("hypercloning", WIDER), ("net2net", DEEPER), ("staged", DEEPER)):
        check_moments_are_the_gradients(name, case("gpt2", rules, **changes))


@pytest.mark.parametrize("rules", RULES)
def test_a_block_that_is_copied_from_a_shallower_model_adds_what_it_did(rules):
    """Only the first blocks are asked: what follows reads another stream."""
    growth = case("gpt2", rules, **DEEPER)
    small, big = growth.decoder(growth.small), growth.decoder(growth.big)
    weights = random_weights(growth.small)
    grown = from_blocks(weights, small, big, [0, 1, 0, 1])
    tokens = torch.arange(8)[None]
    for ours, theirs in zip(small.stream(weights, tokens), big.stream(grown, tokens), strict=False):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    factors = big.multipliers.residual_mlp / small.multipliers.residual_mlp
    moments = Moments(weights, weights)
    carried = moments_from_blocks(moments, small, big, [0, 1, 0, 1])
    name = "blocks.2.mlp.down.bias"
    torch.testing.assert_close(carried.m[name], weights["blocks.0.mlp.down.bias"] * factors)
    torch.testing.assert_close(carried.v[name], weights["blocks.0.mlp.down.bias"] * factors**2)


@pytest.mark.integration
@pytest.mark.parametrize("rules", ["completep", "spectral", "umup:embedding=constant"])
def test_a_grown_model_trains_as_its_source_where_rules_are_width_equivalent(rules):
    entry = method("mup_upscale")
    (growth,) = (
        c for c in cases(entry, {}, rules=(rules,)) if c.name.startswith("gpt2, heads 2 to 4")
    )
    assert curve_difference(entry, growth, {}) < 1e-9
    standard = replace(growth, parametrization="sp")
    assert curve_difference(entry, standard, {}) > 1e-2


@pytest.mark.parametrize("name", ["hypercloning", "sparkling"])
def test_a_source_may_be_of_another_parametrization(name):
    """The branches' multipliers differ too, though the depth does not."""
    model = case("gpt2").small
    wide, weights = replace(model, **WIDER), random_weights(model)
    small = Decoder(model, Multipliers(0.7, 0.8, 0.9, 0.6))
    big = Decoder(wide, Multipliers(0.2, 1.3, 0.5, 1.1))
    grown = method(name).grow(weights, small, big, {}, torch.Generator())
    tokens = torch.arange(8)[None]
    torch.testing.assert_close(big(grown, tokens), small(weights, tokens), rtol=0, atol=1e-12)
