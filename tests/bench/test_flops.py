"""Training FLOPs against a count by hand and against the products PyTorch itself counts."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mugrow.bench.flops import per_token, per_token_6n
from mugrow.bench.model import Decoder, count, cross_entropy
from mugrow.bench.spec import ModelSpec, llama

GPT2 = ModelSpec(width=32, depth=2, head_size=16, context=64, vocab_size=100)
LLAMA = llama(width=32, depth=2, head_size=16, context=64, vocab_size=100)
GROUPED = replace(LLAMA, head_size=4, kv_heads=2)


def test_gpt2_by_hand():
    # A block: q, k, v, o of 32 x 32 are 4096 weights, up and down of 32 x 128 are 8192.
    # Two blocks: 24576. The head, 100 x 32: 3200. Together 27776 weights multiply activations.
    # Each is one multiplication and one addition: 55552 FLOPs forward.
    # Attention: a token sees (64 + 1) / 2 = 32.5 positions on average; scores and mixing are a
    # product of 32 numbers for each: 2 * 2 * 32 * 32.5 = 4160 a block, 8320 in two.
    # Forward 63872, backward twice that.
    assert per_token(GPT2) == 191_616
    # Over all 64 positions: 2 * 2 * 32 * 64 = 8192 a block; 3 * (55552 + 16384).
    assert per_token(GPT2, causal=False) == 215_808


def test_llama_by_hand():
    # A block: 4096 for attention; gate, up and down of 32 x 128 are 12288. Two blocks: 32768; with
    # the head of 3200 it is 35968 weights; 3 * (2 * 35968 + 8320).
    assert per_token(LLAMA) == 240_768


def test_grouped_keys_and_values_by_hand():
    # Of eight heads of 4, two have keys and values: k and v are 8 x 32, so a block's attention is
    # 2 * 1024 + 2 * 256 = 2560 weights in place of 4096. Two blocks save 3072, times 6.
    assert per_token(GROUPED) == 240_768 - 18_432
    assert count(GROUPED) == (39_328 - 3072, 32_928 - 3072)


def test_heads_units_and_padding_of_their_own_by_hand():
    # Four heads of 16 for a width of 32: q and o are 64 x 32, k and v of two heads 32 x 32. An MLP
    # of 40 units is 3 * 32 * 40 = 3840. Two blocks: 2 * (2 * 2048 + 2 * 1024 + 3840) = 19968; the
    # head has 128 rows: 4096. Attention is over twice the width: 2 * 2 * 64 * 32.5 * 2 = 16640.
    # The gains of queries and keys, and the biases, multiply nothing.
    spec = replace(
        LLAMA,
        query_heads=4,
        kv_heads=2,
        mlp_units=40,
        padded_vocab=128,
        qk_norm=True,
        qkv_bias=True,
    )
    assert per_token(spec) == 3 * (2 * (19_968 + 4096) + 16_640)
    # Embedding and head of 128 rows, and in a block two gains of 32, two of 16, 128 biases.
    assert count(spec) == (2 * 4096 + 19_968 + 2 * (64 + 32 + 128) + 32, 19_968 + 480)


def test_a_window_hides_positions():
    # Of 64 positions the first 16 see 1 to 16, the others 16: (136 + 48 * 16) / 64 = 14.125.
    spec = replace(GPT2, window=16)
    assert per_token(GPT2) - per_token(spec) == 3 * 2 * 2 * 2 * 32 * (32.5 - 14.125)
    assert per_token(replace(GPT2, window=64)) == per_token(GPT2)
    assert per_token(replace(GPT2, window=999)) == per_token(GPT2)


def test_a_tied_head_costs_what_an_untied_one_does():
    assert per_token(replace(GPT2, tied=True)) == per_token(GPT2)


def test_parameters_by_hand():
    # Embedding 3200, positions 64 * 32 = 2048, head 3200: together 8448. A block: 12288 weights in
    # matrices, 4 * 32 + 128 + 32 = 288 biases, two norms of 64: 12704, twice: 25408; last norm 64.
    assert count(GPT2) == (33_920, 25_472)
    assert per_token_6n(GPT2) == 203_520
    # A block: 16384 in matrices, two gains of 32: 16448, twice: 32896; last gain 32.
    assert count(LLAMA) == (39_328, 32_928)
    # Tied, the head's 3200 are gone, and what is not embedding stays the same.
    assert count(replace(GPT2, tied=True)) == (30_720, 25_472)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    "spec",
    [
        GPT2,
        LLAMA,
        replace(GPT2, tied=True),
        replace(LLAMA, norm="layernorm", bias=True),
        GROUPED,
        replace(GROUPED, query_heads=12, kv_heads=3, mlp_units=24, qk_norm=True, padded_vocab=128),
    ],
)
def test_pytorch_counts_the_same_products(spec, members):
    sequences = 8
    tokens = torch.randint(100, (members, sequences, 64), generator=torch.manual_seed(0))
    weights_KP = torch.randn(members, count(spec)[0]).mul_(0.1).requires_grad_()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss_K = cross_entropy(Decoder(spec).logits(weights_KP, tokens), tokens)
        loss_K.sum().backward()
    counted = counter.get_total_flops() / tokens.numel()
    assert counted == pytest.approx(per_token(spec, causal=False), rel=0.01)
