"""LEMON: any width exactly, and shares that differ."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from width_cases import FLAVOURS, case, error_of, grown, logit_error

from mugrow.bench.checks.cases import random_weights
from mugrow.bench.growth import check_growth, method


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    flavour=st.sampled_from(sorted(FLAVOURS)),
    rules=st.sampled_from(["sp", "mup"]),
    heads=st.integers(2, 7),
    depth=st.integers(2, 5),
    mlp_ratio=st.sampled_from([4.0, 5.0, 8.5]),
    uneven=st.floats(0, 2),
)
def test_logits_are_preserved_at_every_width(flavour, rules, heads, depth, mlp_ratio, uneven):
    growth = case(flavour, rules, width=8 * heads, depth=depth, mlp_ratio=mlp_ratio)
    assert logit_error("lemon", growth, uneven=uneven) <= 1e-12


@pytest.mark.parametrize("flavour", ["gpt2", "gpt2 tied"])
def test_heads_may_grow_by_any_ratio_without_rotary_positions(flavour):
    growth = case(flavour, "mup", width=36, head_size=12)
    check_growth(method("lemon"), growth.small, growth.big, {})
    assert logit_error("lemon", growth) <= 1e-12


def test_the_rest_of_a_layernorm_stream_holds_the_mean():
    growth = case("gpt2", width=40)
    small, big = growth.decoder(growth.small), growth.decoder(growth.big)
    tokens = torch.arange(8)[None]
    narrow = small.stream(random_weights(growth.small), tokens)
    for x, wide in zip(narrow, big.stream(grown("lemon", growth), tokens), strict=True):
        mean = x.mean(-1, keepdim=True).expand(1, 8, 8)
        expected = torch.cat([x, x, mean], -1) * (40 / 32) ** 0.5
        torch.testing.assert_close(wide, expected, rtol=0, atol=1e-12)


def test_without_the_scaled_stream_eps_is_left():
    """The paper's rule, gains alone, is right up to the norm's eps."""
    growth = case("llama", width=24)
    weights = grown("lemon", growth)
    s = 1.5**0.5
    for name, tensor in weights.items():
        if name.split(".")[-2] in ("embed", "o", "down"):
            tensor /= s
    assert 1e-6 < error_of(growth, weights) < 1e-3


def test_shares_differ_between_copies_and_matrices_and_sum_to_one():
    growth = case("llama", width=32)
    source, wide = random_weights(growth.small), grown("lemon", growth)
    share = {}
    for name in ("blocks.0.attention.q.weight", "blocks.1.mlp.up.weight"):
        first, second = wide[name][0, :16], wide[name][0, 16:]
        torch.testing.assert_close(first + second, source[name][0])
        share[name] = first / source[name][0]
    q, up = share.values()
    assert (q - 0.5).abs().max() > 0.1
    assert (q - up).abs().max() > 0.1
    even = grown("lemon", growth, uneven=0.0)["blocks.1.mlp.up.weight"]
    torch.testing.assert_close(even[:, :16], even[:, 16:], rtol=1e-14, atol=0)
