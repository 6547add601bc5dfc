"""The loss by hand, and where a probability is 0 in float32."""

import math

import pytest
import torch

from mugrow.bench.cross_entropy import cross_entropy


def test_cross_entropy_is_each_members_mean_in_nats():
    logits = torch.zeros(2, 1, 3, 4)
    logits[1, 0, :, 2] = math.log(5)  # probabilities 1/8, 1/8, 5/8, 1/8
    losses = cross_entropy(logits, torch.tensor([[[0, 1, 2]], [[2, 2, 0]]]))
    expected = [math.log(4), -(2 * math.log(5 / 8) + math.log(1 / 8)) / 3]
    assert losses.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("gap", [1.0, 60.0, 300.0])
def test_a_target_that_the_model_holds_impossible_costs_what_it_is_behind(gap):
    """Its probability is 0 in float32 from a gap of 104 on, and its loss is not."""
    logits = torch.tensor([[[[0.0, -gap, -gap]]]]).requires_grad_()
    loss_K = cross_entropy(logits, torch.tensor([[[1]]]))
    loss_K.sum().backward()
    others = 2 * math.exp(-gap)
    assert loss_K.item() == pytest.approx(gap + math.log1p(others), rel=1e-6)
    expected = [1 / (1 + others), others / 2 / (1 + others) - 1, others / 2 / (1 + others)]
    assert logits.grad.flatten().tolist() == pytest.approx(expected, abs=1e-7)
