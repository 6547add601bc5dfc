"""Random copies: the map's rows and shares, what survives, and how moments follow."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from width_cases import case, check_moments_are_the_gradients, error_of, grown, logit_error

from mugrow.bench.checks.cases import random_weights
from mugrow.bench.growth.net2net import shares


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
@settings(deadline=None, derandomize=True)
def test_the_shares_of_a_unit_sum_to_one(units):
    index = torch.tensor(units)
    sums = torch.zeros(7, dtype=torch.float64).index_add(0, index, shares(index))
    present = index.bincount(minlength=7) > 0
    torch.testing.assert_close(sums, present.double())


def test_rows_are_copies_and_columns_are_shared_out():
    growth = case("gpt2", mlp_ratio=6.0)
    source = random_weights(growth.small)
    wide = grown("net2net", growth)
    up, old = wide["blocks.1.mlp.up.weight"], source["blocks.1.mlp.up.weight"]
    assert torch.equal(up[:64], old)
    which = torch.tensor([int((old == row).all(1).nonzero()) for row in up])
    counts = which.bincount(minlength=64)
    assert set(counts.tolist()) >= {1, 2, 3}  # drawn with replacement
    down = wide["blocks.1.mlp.down.weight"] * counts[which]
    torch.testing.assert_close(down, source["blocks.1.mlp.down.weight"][:, which])


@pytest.mark.parametrize("rules", ["sp", "mup"])
@pytest.mark.parametrize("flavour", ["gpt2 tied", "llama"])
def test_a_wider_mlp_and_new_layers_preserve_the_logits_and_a_wider_stream_does_not(flavour, rules):
    assert logit_error("net2net", case(flavour, rules, mlp_ratio=7.0, depth=5)) <= 1e-12
    assert logit_error("net2net", case(flavour, rules, width=32)) > 0.01


@pytest.mark.parametrize("flavour", ["gpt2", "llama tied"])
def test_moments_are_the_gradients(flavour):
    check_moments_are_the_gradients("net2net", case(flavour, "mup", mlp_ratio=7.0))


def test_with_even_counts_it_would_be_exact(monkeypatch):
    """What breaks is the norm's average over uneven copies, and nothing else."""
    growth = case("gpt2 tied", "mup", width=64, head_size=16)

    def twice(high, size, generator):
        return torch.arange(*size) % high

    with monkeypatch.context() as patched:
        patched.setattr(torch, "randint", twice)
        weights = grown("net2net", growth)
    assert error_of(growth, weights) <= 1e-12
