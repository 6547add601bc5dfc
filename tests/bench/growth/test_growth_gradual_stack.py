"""Gradual stacking: which layers are doubled, and in which stages."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.growth import gradual_stack, method
from mugrow.bench.growth.gradual_stack import order, stages
from mugrow.bench.model import Decoder
from mugrow.bench.spec import ModelSpec, UserError

SMALL = ModelSpec(width=8, depth=2, head_size=4, context=6, vocab_size=11)


def of_depth(depth: int) -> ModelSpec:
    return replace(SMALL, depth=depth)


@pytest.mark.parametrize(
    ("depth", "block", "where", "layers"),
    [
        (6, 2, "middle", [0, 1, 2, 3, 2, 3, 4, 5]),  # of 3 blocks the second
        (8, 2, "middle", [0, 1, 2, 3, 2, 3, 4, 5, 6, 7]),  # of 4 blocks, again the second
        (2, 2, "middle", [0, 1, 0, 1]),
        (6, 2, "centre", [0, 1, 2, 3, 2, 3, 4, 5]),
        (8, 2, "centre", [0, 1, 2, 3, 4, 3, 4, 5, 6, 7]),
        (6, 2, "last", [0, 1, 2, 3, 4, 5, 4, 5]),
        (5, 2, "last", [0, 1, 2, 3, 4, 3, 4]),
    ],
)
def test_one_insertion(depth, block, where, layers):
    assert order(of_depth(depth), of_depth(depth + block), block, where) == layers


@settings(deadline=None, derandomize=True)
@given(
    blocks=st.integers(1, 4),
    block=st.integers(1, 3),
    insertions=st.integers(1, 4),
    where=st.sampled_from(gradual_stack.WHERE),
)
def test_stages_one_after_the_other_are_the_whole_growth(blocks, block, insertions, where):
    small, big = of_depth(blocks * block), of_depth((blocks + insertions) * block)
    shapes = stages(small, big, {"block": block, "where": where})
    assert shapes[-1] == big
    layers = list(range(small.depth))
    for before, after in zip((small, *shapes), shapes, strict=False):
        layers = [layers[layer] for layer in order(before, after, block, where)]
    assert layers == order(small, big, block, where)


def test_a_stage_has_one_block_more_than_the_one_before():
    depths = [shape.depth for shape in stages(of_depth(4), of_depth(10), {"block": 2})]
    assert depths == [6, 8, 10]
    assert stages(of_depth(4), of_depth(4), {}) == (of_depth(4),)


def test_layers_are_copied_in_that_order(random_weights):
    small, big = of_depth(3), of_depth(4)
    weights = random_weights(small)
    grown = method("gradual_stack").grow(
        weights, Decoder(small), Decoder(big), {}, torch.Generator()
    )
    for layer, source in enumerate([0, 1, 1, 2]):
        ours, theirs = f"blocks.{layer}.attention.k.bias", f"blocks.{source}.attention.k.bias"
        assert torch.equal(grown[ours], weights[theirs])


@pytest.mark.parametrize(
    ("small", "big", "params", "message"),
    [
        (4, 7, {"block": 2}, "depth 4 cannot grow to 7 in blocks of 2 layers; block=1"),
        (3, 5, {"block": 2}, "depth 3 cannot grow to 5 in blocks of 2"),
        (2, 4, {"block": 3}, "block must be between 1 and the source's depth 2, not 3"),
        (2, 4, {"block": 0}, "block must be .*not 0"),
    ],
)
def test_blocks_that_do_not_fit_are_refused_when_the_stages_are_planned(
    small, big, params, message
):
    with pytest.raises(UserError, match=message):
        stages(of_depth(small), of_depth(big), params)
