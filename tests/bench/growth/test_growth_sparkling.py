"""SPARKLING: activations keep their size, new moments are reset, new coordinates re-warmed."""

from dataclasses import replace

import pytest
import torch
from width_cases import FLAVOURS, carried, case, gradients, logit_error

from mugrow.bench.checks.cases import random_weights
from mugrow.bench.growth import method
from mugrow.bench.growth.sparkling import rate, rms_ratio
from mugrow.bench.spec import ModelSpec

ENTRY = method("sparkling")


@pytest.mark.parametrize("rules", ["sp", "mup"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_logits_are_preserved_at_whole_ratios_only(flavour, rules):
    assert logit_error("sparkling", case(flavour, rules, width=32)) <= 1e-12
    assert logit_error("sparkling", case(flavour, rules, width=48, mlp_ratio=8.0)) <= 1e-12
    assert logit_error("sparkling", case(flavour, rules, width=24)) > 0.01


def test_larger_heads_are_preserved_without_rotary_positions_only():
    assert logit_error("sparkling", case("gpt2", width=32, head_size=16)) <= 1e-12
    assert logit_error("sparkling", case("llama", width=32, head_size=16)) > 1e-3


@pytest.mark.parametrize("new", [40, 48, 64, 96, 128])
def test_a_sum_of_copied_inputs_keeps_its_root_mean_square(new):
    """Up to twice the inputs, and at whole ratios; the known values at 2 and 3 times."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 32, generator=rng, dtype=torch.float64)
    w = torch.randn(32, 50, generator=rng, dtype=torch.float64)
    index = torch.arange(new) % 32
    wide = rms_ratio(32, new) * x[:, index] @ w[index]
    assert (wide.square().mean() / (x @ w).square().mean()).sqrt() == pytest.approx(1, abs=0.05)
    assert rms_ratio(32, 64) == pytest.approx(1 / 2)
    assert rms_ratio(32, 96) == pytest.approx(1 / 3)


def test_moments_stay_in_the_old_corner_as_they_were():
    growth = case("gpt2", width=32)
    name = "blocks.0.mlp.down.weight"
    gradient = gradients(growth.decoder(growth.small), random_weights(growth.small))[name]
    m, v = carried(ENTRY, growth, {})
    for wide, old in ((m[name], gradient), (v[name], gradient.square())):
        assert torch.equal(wide[:16, :64], old)
        assert wide.count_nonzero() == old.count_nonzero()


def test_new_coordinates_warm_up_past_the_schedule_and_join_it():
    assert [rate(t, 4, 1.3) for t in range(3)] == pytest.approx([0.325, 0.65, 0.975])
    assert rate(3, 4, 1.3) == pytest.approx(1.3)
    assert rate(5, 4, 1.3) == pytest.approx(1.15)
    assert rate(7, 4, 1.3) == pytest.approx(1)
    assert rate(100, 4, 1.3) == 1
    assert rate(0, 0, 1.3) == 1  # no warm-up
    small = ModelSpec(width=8, depth=1, head_size=4, context=4, vocab_size=5)
    during = ENTRY.during(small, replace(small, width=16), 100, rewarm=0.04)
    gain = torch.as_tensor(during.rates(0)["blocks.0.norm1.gain"])
    assert torch.equal(gain[:8], torch.ones(8))
    assert gain[8:].tolist() == pytest.approx([0.325] * 8)
    assert during.rates(50) == {}
