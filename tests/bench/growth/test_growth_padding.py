"""Zero-padding and SZP: where the padded block sits, and what the formula says."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from width_cases import FLAVOURS as WHOLE
from width_cases import case, check_moments_are_the_gradients, logit_error

from mugrow.bench.growth import check_growth, method
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.parametrization import initial_weights, parametrization
from mugrow.bench.spec import ModelSpec, Scalar, llama

SMALL = ModelSpec(width=8, depth=1, head_size=4, context=6, vocab_size=11)
WIDE = replace(SMALL, width=24)
LARGER_HEADS = replace(SMALL, width=24, head_size=6)
FLAVOURS = {
    "gpt2": SMALL,
    "tied": replace(SMALL, tied=True),
    "llama": llama(width=8, depth=1, head_size=4, context=6, vocab_size=11),
}


def grown(
    name: str, weights: Weights, small: ModelSpec, big: ModelSpec, init: Weights, **params: Scalar
) -> Weights:
    entry = method(name)
    check_growth(entry, small, big, params)
    return entry.grow(weights, Decoder(small), Decoder(big), init, torch.Generator(), **params)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_block_sits_top_left_and_the_rest_is_zero_or_gain_one(random_weights, flavour):
    """With a fixed head size the top-left corner of q, k and v holds whole heads."""
    small = FLAVOURS[flavour]
    weights = random_weights(small)
    big = grown("zero_pad", weights, small, replace(small, width=24), {})
    for name, source in weights.items():
        expected = torch.full_like(big[name], 1.0 if name.endswith("gain") else 0.0)
        if source.dim() == 2:
            expected[: source.shape[0], : source.shape[1]] = source
        else:
            expected[: source.shape[0]] = source
        assert torch.equal(big[name], expected), name


@pytest.mark.parametrize("projection", ["q", "k", "v"])
@pytest.mark.parametrize("tensor", ["weight", "bias"])
def test_rows_stay_in_their_head_when_heads_grow(random_weights, projection, tensor):
    weights = random_weights(SMALL)
    name = f"blocks.0.attention.{projection}.{tensor}"
    big = grown("zero_pad", weights, SMALL, LARGER_HEADS, {})[name]
    if tensor == "weight":
        assert not big[:, 8:].any()
        big = big[:, :8]
    assert torch.equal(big[0:4], weights[name][0:4])  # head 0 of size 4 into one of size 6
    assert torch.equal(big[6:10], weights[name][4:8])  # head 1
    assert not big[4:6].any()
    assert not big[10:].any()


def test_columns_of_o_follow_their_head(random_weights):
    weights = random_weights(SMALL)
    name = "blocks.0.attention.o.weight"
    big = grown("zero_pad", weights, SMALL, LARGER_HEADS, {})[name]
    assert torch.equal(big[:8, 0:4], weights[name][:, 0:4])
    assert torch.equal(big[:8, 6:10], weights[name][:, 4:8])
    assert big.count_nonzero() == weights[name].count_nonzero()


def test_rotary_pairs_stay_pairs_when_heads_grow(random_weights):
    """Rows i and i + 2 of a head of size 4 turn together; rows i and i + 3 of one of size 6 do."""
    small = replace(SMALL, positions="rope")
    weights = random_weights(small)
    name = "blocks.0.attention.q.weight"
    big = grown("zero_pad", weights, small, replace(small, width=24, head_size=6), {})[name]
    rows = [0, 1, 3, 4, 6, 7, 9, 10]
    assert torch.equal(big[rows, :8], weights[name])
    assert big.count_nonzero() == weights[name].count_nonzero()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_zero_padding_is_known_not_to_preserve_the_function(random_weights, flavour):
    """Norms average over the zeros: relative logit error about 0.4 at ratio 2."""
    small = replace(FLAVOURS[flavour], width=16, depth=2)
    big = replace(small, width=32)
    weights = random_weights(small)
    tokens = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(0))
    logits = Decoder(small)(weights, tokens)
    wide = Decoder(big)(grown("zero_pad", weights, small, big, {}), tokens)
    error = ((wide - logits).norm() / logits.norm()).item()
    assert 0.1 < error < 1.0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_padded_heads_and_mlp_units_get_no_gradient(random_weights, flavour):
    """They are zero on the way in and out; the old ones in the same tensors do learn."""
    small = FLAVOURS[flavour]
    big = replace(small, width=16)
    weights = grown("zero_pad", random_weights(small), small, big, {})
    dead = {
        f"blocks.0.{name}.weight": rows
        for name, rows in {"attention.v": 8, "mlp.up": small.mlp_width}.items()
    }
    leaves = {name: weights[name].requires_grad_() for name in dead}
    tokens = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(0))
    Decoder(big)(weights, tokens).square().mean().backward()
    for name, rows in dead.items():
        grad = leaves[name].grad
        assert grad is not None
        assert not grad[rows:].any()
        assert grad[:rows].any()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    flavour=st.sampled_from(sorted(FLAVOURS)),
    heads=st.integers(2, 5),
    head_size=st.sampled_from([4, 6]),
    mlp_ratio=st.sampled_from([4.0, 5.0]),
)
def test_szp_without_shrinking_and_perturbation_is_zero_pad(
    random_weights, flavour, heads, head_size, mlp_ratio
):
    small = FLAVOURS[flavour]
    big = replace(small, width=heads * head_size, head_size=head_size, mlp_ratio=mlp_ratio)
    weights = random_weights(small, 0, torch.float32)
    init = initial_weights(big, parametrization("sp").rules(big, small), 0.02, 1, torch.float32)
    padded = grown("zero_pad", weights, small, big, init)
    szp = grown("szp", weights, small, big, init, shrink=1.0, perturb=0.0)
    scratch = grown("szp", weights, small, big, init, shrink=0.0, perturb=1.0)
    for name in parameters(big):
        assert torch.equal(szp[name], padded[name]), name
        assert torch.equal(scratch[name], init[name]), name


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_szp_is_shrink_times_pad_plus_perturb_times_init(random_weights, flavour):
    small = FLAVOURS[flavour]
    big = replace(small, width=24)
    weights = random_weights(small)
    init = initial_weights(big, parametrization("sp").rules(big, small), 0.02, 1, torch.float64)
    default = grown("szp", weights, small, big, init)
    half = grown("szp", weights, small, big, init, shrink=0.7, perturb=0.5)
    for name, (shape, kind) in parameters(big).items():
        padded = torch.zeros(shape, dtype=torch.float64)
        padded[tuple(slice(n) for n in weights[name].shape)] = weights[name]
        assert torch.equal(default[name], 0.4 * padded + init[name]), name
        expected = 0.7 * padded + 0.5 * init[name]
        if kind == "gain":
            expected[8:] = 1.0  # new gains are one whatever the perturbation
        assert torch.equal(half[name], expected), name


@pytest.mark.parametrize("rules", ["sp", "mup"])
@pytest.mark.parametrize("flavour", WHOLE)
def test_what_each_repair_of_the_norms_leaves(flavour, rules):
    """Gains alone: RMSNorm up to its eps, LayerNorm not. The stream: all but a tied LayerNorm."""
    growth = case(flavour, rules, width=40, mlp_ratio=5.0)
    plain, gain, stream = (
        logit_error("zero_pad", growth, norms=norms) for norms in ("plain", "gain", "stream")
    )
    assert plain > 0.1
    if growth.small.norm == "layernorm":
        assert 0.05 < gain < plain
    else:
        assert 1e-6 < gain < 1e-3
    if flavour == "gpt2 tied":
        assert stream > 0.05
    else:
        assert stream <= 1e-12


@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_larger_heads_are_exact_without_rotary_positions(rules):
    changes = {"width": 36, "head_size": 12}
    assert logit_error("zero_pad", case("gpt2", rules, **changes), norms="stream") <= 1e-12
    assert logit_error("zero_pad", case("llama", rules, **changes), norms="stream") > 1e-3


@pytest.mark.parametrize("flavour", WHOLE)
def test_a_wider_mlp_is_exact(flavour):
    assert logit_error("zero_pad", case(flavour, "mup", mlp_ratio=6.0)) <= 1e-12
    szp = logit_error("szp", case(flavour, "mup", mlp_ratio=6.0), shrink=1, perturb=0)
    assert szp <= 1e-12


@pytest.mark.parametrize("flavour", ["llama", "llama tied"])
@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_moments_are_the_gradients_where_the_stream_is_scaled(flavour, rules):
    check_moments_are_the_gradients("zero_pad", case(flavour, rules, width=40), norms="stream")


def test_szp_stacks_blocks_before_it_pads(random_weights):
    small = replace(SMALL, depth=2)
    big = replace(small, width=16, depth=5)
    weights = random_weights(small)
    init = {name: torch.zeros(shape).double() for name, (shape, _) in parameters(big).items()}
    for blocks, order in {"stack": [0, 1, 0, 1, 0], "interleave": [0, 0, 0, 1, 1]}.items():
        wide = grown("szp", weights, small, big, init, blocks=blocks)
        for block, source in enumerate(order):
            old = weights[f"blocks.{source}.mlp.up.weight"]
            assert torch.equal(wide[f"blocks.{block}.mlp.up.weight"][:32, :8], 0.4 * old)
