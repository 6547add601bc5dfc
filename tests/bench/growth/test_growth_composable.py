"""The six expansions: each exact with random new units, and none of them dead."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from width_cases import (
    FLAVOURS,
    case,
    check_moments_are_the_gradients,
    error_of,
    gradients,
    grown,
    logit_error,
)

from mugrow.bench.checks.cases import initial, random_weights

NAME = "composable"
EXACT = [name for name in FLAVOURS if name != "gpt2 tied"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    flavour=st.sampled_from(EXACT),
    rules=st.sampled_from(["sp", "mup"]),
    heads=st.integers(2, 4),
    ratio=st.integers(1, 3),
    depth=st.integers(2, 4),
    mlp_ratio=st.sampled_from([4.0, 5.0]),
)
def test_all_compose_exactly(flavour, rules, heads, ratio, depth, mlp_ratio):
    size = 8 * ratio
    growth = case(
        flavour, rules, width=heads * size, head_size=size, depth=depth, mlp_ratio=mlp_ratio
    )
    assert logit_error(NAME, growth) <= 1e-12


def test_a_tied_embedding_behind_layernorm_is_not_preserved():
    assert logit_error(NAME, case("gpt2 tied", width=32)) > 0.01
    assert logit_error(NAME, case("gpt2 tied", mlp_ratio=6.0, depth=3)) <= 1e-12


def test_rotary_pairs_go_where_their_frequency_is():
    """Not to the first rows of each half, where it is another."""
    growth = case("llama", width=32, head_size=16)
    source, wide = random_weights(growth.small), grown(NAME, growth)
    name = "blocks.0.attention.q.weight"
    rows = [0, 2, 4, 6, 8, 10, 12, 14]
    torch.testing.assert_close(wide[name][rows, :16], source[name][:8])
    for h, k in ((0, 0), (16, 8)):  # k's other rows in the old heads are zero
        block = wide["blocks.0.attention.k.weight"][h : h + 16]
        assert not block[1::2].any()
        torch.testing.assert_close(
            block[0::2, :16] / 2**0.5, source["blocks.0.attention.k.weight"][k : k + 8]
        )
    assert logit_error(NAME, case("llama", width=24, head_size=12)) > 1e-3


def test_what_is_free_keeps_the_targets_init():
    growth = case("gpt2", width=32, mlp_ratio=6.0, depth=3)
    init, wide = initial(growth), grown(NAME, growth)
    for name, rows, columns in (
        ("blocks.0.mlp.up.weight", slice(64, None), slice(None)),
        ("blocks.0.attention.v.weight", slice(16, None), slice(None)),
        ("blocks.1.attention.q.weight", slice(None), slice(16, None)),
        ("head.weight", slice(None), slice(16, None)),
        ("blocks.2.mlp.up.weight", slice(None), slice(None)),
    ):
        assert torch.equal(wide[name][rows, columns], init[name][rows, columns]), name
    assert not wide["blocks.0.attention.o.weight"][16:].any()
    assert not wide["blocks.0.mlp.down.weight"][:, 64:].any()
    assert not wide["embed.weight"][:, 16:].any()


@pytest.mark.parametrize("zeroed", ["attention.o.weight", "mlp.down.weight", "embed.weight"])
def test_every_zero_is_needed(zeroed):
    growth = case("llama", width=32)
    init, wide = initial(growth), grown(NAME, growth)
    name = zeroed if zeroed == "embed.weight" else f"blocks.0.{zeroed}"
    wide[name] = torch.where(wide[name] == 0, init[name], wide[name])
    assert error_of(growth, wide) > 1e-6


def test_new_rows_and_columns_on_either_side_of_a_zero_wake_up():
    growth = case("gpt2", width=32)
    gradient = gradients(growth.decoder(growth.big), grown(NAME, growth))
    assert gradient["blocks.0.mlp.down.weight"][:16, 64:].all()
    assert gradient["blocks.0.attention.o.weight"][:16, 16:].all()
    assert gradient["embed.weight"][:, 16:].any()


def test_moments_are_the_gradients_under_rmsnorm():
    check_moments_are_the_gradients(NAME, case("llama", "mup", width=32, depth=3))
    small = case("llama tied", "mup", width=48, mlp_ratio=6.0)
    check_moments_are_the_gradients(NAME, replace(small))
