"""Interleaving: the order of the blocks, at whole ratios and between them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.growth import method
from mugrow.bench.growth.interleave import _order
from mugrow.bench.model import Decoder
from mugrow.bench.spec import ModelSpec

SMALL = ModelSpec(width=8, depth=3, head_size=4, context=6, vocab_size=11)


@pytest.mark.parametrize(
    ("depth", "blocks"), [(3, [0, 1, 2]), (6, [0, 0, 1, 1, 2, 2]), (4, [0, 0, 1, 2])]
)
def test_every_block_is_repeated_in_place(random_weights, depth, blocks):
    big = replace(SMALL, depth=depth)
    weights = random_weights(SMALL)
    grown = method("interleave").grow(weights, Decoder(SMALL), Decoder(big), {}, torch.Generator())
    for block, source in enumerate(blocks):
        ours, theirs = f"blocks.{block}.mlp.up.weight", f"blocks.{source}.mlp.up.weight"
        assert torch.equal(grown[ours], weights[theirs])
    assert torch.equal(grown["norm.bias"], weights["norm.bias"])


@settings(deadline=None, derandomize=True)
@given(small=st.integers(1, 12), added=st.integers(0, 12))
def test_at_any_ratio_all_blocks_are_there_in_order_and_as_often_as_each_other(small, added):
    pair = (replace(SMALL, depth=small), replace(SMALL, depth=small + added))
    blocks = _order(*(Decoder(spec) for spec in pair))
    assert blocks == sorted(blocks)
    counts = [blocks.count(block) for block in range(small)]
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1
