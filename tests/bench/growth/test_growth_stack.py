"""Stacking: the order of the blocks, and what is copied."""

from dataclasses import replace

import pytest
import torch

from mugrow.bench.growth import method
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.spec import ModelSpec

SMALL = ModelSpec(width=8, depth=3, head_size=4, context=6, vocab_size=11)


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_the_list_of_blocks_is_repeated_in_order(random_weights, ratio):
    big = replace(SMALL, depth=3 * ratio)
    weights = random_weights(SMALL)
    grown = method("stack").grow(weights, Decoder(SMALL), Decoder(big), {}, torch.Generator())
    for block in range(big.depth):
        source = block - 3 * (block // 3)
        for name in parameters(replace(SMALL, depth=1)):
            if name.startswith("blocks.0."):
                ours = grown[name.replace("blocks.0.", f"blocks.{block}.")]
                assert torch.equal(ours, weights[name.replace("blocks.0.", f"blocks.{source}.")])
    for name in ("embed.weight", "positions.weight", "norm.gain", "norm.bias", "head.weight"):
        assert torch.equal(grown[name], weights[name])


def test_copies_of_a_block_share_no_storage(random_weights):
    big = replace(SMALL, depth=6)
    grown = method("stack").grow(
        random_weights(SMALL), Decoder(SMALL), Decoder(big), {}, torch.Generator()
    )
    pointers = {tensor.data_ptr() for tensor in grown.values()}
    assert len(pointers) == len(grown)
