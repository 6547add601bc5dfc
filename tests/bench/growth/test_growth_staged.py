"""Staged training: two narrow models side by side, identity layers, moments on the diagonal."""

from dataclasses import replace

import pytest
import torch
from width_cases import (
    FLAVOURS,
    carried,
    case,
    check_moments_are_the_gradients,
    error_of,
    gradients,
    grown,
    logit_error,
)

from mugrow.bench.checks.cases import random_weights
from mugrow.bench.growth import method, staged
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.spec import ModelSpec

NAME = "staged"


@pytest.mark.parametrize("rules", ["sp", "mup"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_width_and_identity_layers_preserve_the_logits_and_copies_do_not(flavour, rules):
    assert logit_error(NAME, case(flavour, rules, width=48, depth=3)) <= 1e-12
    assert logit_error(NAME, case(flavour, rules, width=32), layers="copy") <= 1e-12
    assert logit_error(NAME, case(flavour, rules, depth=4), layers="copy") > 0.1


def test_blocks_lie_on_the_diagonal_and_the_tied_final_norm_is_halved():
    growth = case("gpt2 tied", width=32)
    source, wide = random_weights(growth.small), grown(NAME, growth)
    for name, (_, kind) in parameters(growth.small).items():
        if kind == "matrix":
            expected = torch.block_diag(source[name], source[name])
        else:
            expected = torch.cat([source[name]] * 2, dim=-1)
        if name in ("norm.gain", "norm.bias"):
            expected = expected / 2
        torch.testing.assert_close(wide[name], expected, rtol=0, atol=1e-15)


def test_moments_are_halved_and_quartered_on_the_diagonal_and_zero_outside():
    growth = case("gpt2 tied", width=32)
    check_moments_are_the_gradients(NAME, growth)
    moments = carried(method(NAME), growth, {})
    gradient = gradients(growth.decoder(growth.small), random_weights(growth.small))
    for name, g in gradient.items():
        final = name in ("norm.gain", "norm.bias")
        tiled = torch.block_diag(g, g) if parameters(growth.small)[name].kind == "matrix" else None
        tiled = torch.cat([g, g], dim=-1) if tiled is None else tiled
        torch.testing.assert_close(moments.m[name], tiled / (1 if final else 2))
        torch.testing.assert_close(moments.v[name], tiled.square() / (1 if final else 4))


def test_new_identity_layers_begin_with_empty_moments_and_copies_with_their_own():
    growth = case("gpt2", depth=3)  # 0 1 1': the new layer is the last
    name = "blocks.2.mlp.up.weight"
    assert not carried(method(NAME), growth, {}).m[name].any()
    moments = carried(method(NAME), growth, {"layers": "copy"})
    assert torch.equal(moments.m[name], moments.m["blocks.1.mlp.up.weight"])


@pytest.mark.parametrize("flavour", ["gpt2", "gpt2 tied"])
def test_linear_biases_must_be_zero_too(flavour):
    """The published identity layer, norms alone, adds a constant: wrong by a third."""
    growth = case(flavour, depth=4)
    weights, source = grown(NAME, growth), random_weights(growth.small)
    for old, new in ((0, 1), (1, 3)):
        for name, (_, kind) in parameters(growth.small).items():
            if name.startswith(f"blocks.{old}.") and kind == "bias" and "norm" not in name:
                weights[name.replace(f"blocks.{old}.", f"blocks.{new}.")] = source[name]
    assert error_of(growth, weights) > 0.1


def test_a_swiglu_layer_behind_a_zero_norm_is_dead():
    growth = case("llama", depth=4)
    entry, params = method(NAME), {"layers": "identity"}
    dead = entry.dead(growth.small, growth.big, params)
    assert "blocks.1.norm2.gain" in dead
    gradient = gradients(growth.decoder(growth.big), grown(NAME, growth))
    assert not any(gradient[name].any() for name in dead)
    assert gradient["blocks.1.norm1.gain"].any()
    gpt2 = case("gpt2", depth=4)
    assert not entry.dead(gpt2.small, gpt2.big, params)


def test_a_relu_layer_behind_a_zero_norm_is_dead_too_and_gains_of_heads_are_kept():
    small = ModelSpec(width=16, depth=1, head_size=8, mlp="relu", qk_norm=True)
    big = replace(small, depth=2)
    dead = staged.dead(small, big, {"layers": "identity"})
    assert "blocks.1.mlp.up.weight" in dead
    assert "blocks.1.mlp.down.bias" not in dead
    weights = random_weights(small)
    init = {name: torch.zeros(shape) for name, (shape, _) in parameters(big).items()}
    grown = staged.grow(weights, Decoder(small), Decoder(big), init, torch.Generator())
    for name in ("q_norm", "k_norm"):
        gain = weights[f"blocks.0.attention.{name}.gain"]
        assert torch.equal(grown[f"blocks.1.attention.{name}.gain"], gain)
    assert not grown["blocks.1.norm1.gain"].any()
