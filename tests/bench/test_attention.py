"""Attention written out against torch's own, and against a rotation of one tensor at a time."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mugrow.bench.attention import few, short_attention
from mugrow.bench.rotary import rotate, turns_of
from mugrow.bench.spec import ModelSpec

B, T, H, S, SCALE = 3, 12, 2, 8, 0.7
MODELS = {
    "whole": ModelSpec(width=H * S, depth=1, head_size=S, context=T, positions="rope"),
    "half": ModelSpec(
        width=H * S, depth=1, head_size=S, context=T, positions="rope", rotary_fraction=0.5
    ),
    "none": None,
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def torchs(qkv_BT3HS: Tensor, model: ModelSpec | None) -> Tensor:
    q, k, v = (part.transpose(1, 2) for part in qkv_BT3HS.unbind(2))
    if model is not None:
        q, k = rotate(q, model), rotate(k, model)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=SCALE)
    return y.transpose(1, 2).flatten(2)


def ours(qkv_BT3HS: Tensor, model: ModelSpec | None) -> Tensor:
    turns = None if model is None else turns_of(model, T, qkv_BT3HS.dtype)
    return short_attention(qkv_BT3HS, turns, SCALE)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_torchs_attention_and_has_its_gradient(name):
    qkv, by_y = random(B, T, 3, H, S), random(B, T, H * S, seed=1)
    found = []
    for attention in (ours, torchs):
        leaf = qkv.clone().requires_grad_()
        y = attention(leaf, MODELS[name])
        y.backward(by_y)
        found.append((y.detach(), leaf.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
    assert found[0][1].abs().amax((0, 1, 3, 4)).min() > 0.1  # of queries, keys and values


def test_its_gradient_is_that_of_differences():
    qkv = random(1, 4, 3, 1, 4).requires_grad_()
    model = ModelSpec(width=4, depth=1, head_size=4, context=4, positions="rope")
    turns = turns_of(model, 4, torch.float64)
    assert torch.autograd.gradcheck(lambda x: short_attention(x, turns, SCALE), qkv)


def test_no_position_reads_a_later_one():
    qkv = random(B, T, 3, H, S).float()
    changed = qkv.clone()
    changed[:, 7:] = 100 * random(B, T - 7, 3, H, S, seed=2)
    before, after = (ours(each, MODELS["whole"])[:, :7] for each in (qkv, changed))
    assert torch.equal(before, after)


def test_what_was_evaluated_without_gradients_can_be_trained():
    qkv = random(B, T + 1, 3, H, S)
    model = ModelSpec(width=H * S, depth=1, head_size=S, context=T + 1, positions="rope")
    with torch.inference_mode():
        short_attention(qkv, turns_of(model, T + 1, qkv.dtype), SCALE)
    leaf = qkv.clone().requires_grad_()
    short_attention(leaf, turns_of(model, T + 1, qkv.dtype), SCALE).sum().backward()
    assert leaf.grad.isfinite().all()


def test_how_many_positions_are_few():
    assert few(64, 16)
    assert few(128, 16)
    assert not few(129, 16)
    assert few(256, 64)
    assert not few(257, 64)
