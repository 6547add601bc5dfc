"""FPI is exact at whole ratios; AKI's new units are those of the layer above."""

from dataclasses import replace

import pytest
import torch
from width_cases import FLAVOURS, case, check_moments_are_the_gradients, grown, logit_error

from mugrow.bench.checks.cases import random_weights
from mugrow.bench.growth.bert2bert import draw

NAME = "bert2bert"


@pytest.mark.parametrize("rules", ["sp", "mup"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_fpi_preserves_the_logits_at_whole_ratios_only(flavour, rules):
    assert logit_error(NAME, case(flavour, rules, width=48, mlp_ratio=5.0)) <= 1e-12
    assert logit_error(NAME, case(flavour, rules, width=40)) > 1e-3
    assert logit_error(NAME, case(flavour, rules, width=32), mode="aki") > 0.1


def test_units_are_drawn_evenly_and_at_random():
    small = FLAVOURS["gpt2"]
    rng = torch.Generator().manual_seed(0)
    units = draw(small, replace(small, width=40, mlp_ratio=4.0), rng)
    for role, old in {"residual": 16, "heads": 16, "mlp": 64}.items():
        counts = units[role].bincount(minlength=old)
        assert counts.max() - counts.min() == 1, role
        assert torch.equal(units[role][:old], torch.arange(old))
    assert not torch.equal(units["residual"][16:32], torch.arange(16))
    heads = units["heads"].view(5, 8)
    assert torch.equal(heads % 8, torch.arange(8).expand(5, 8))  # whole heads


def test_new_units_of_aki_are_rows_of_the_layer_above():
    growth = case("gpt2", mlp_ratio=8.0)  # MLP units alone: what is new is easy to see
    source, wide = random_weights(growth.small), grown(NAME, growth, mode="aki")
    for block, above in ((0, 1), (1, 1)):  # the top layer has none above
        for tensor in ("up.weight", "up.bias"):
            rows = wide[f"blocks.{block}.mlp.{tensor}"]
            lower, upper = (source[f"blocks.{b}.mlp.{tensor}"] for b in (block, above))
            assert torch.equal(rows[:64], lower)
            torch.testing.assert_close(rows[64:].sort(0).values, upper.sort(0).values)


def test_aki_without_a_layer_above_is_fpi():
    growth = case("gpt2", width=32)
    growth = replace(growth, small=replace(growth.small, depth=1), big=replace(growth.big, depth=1))
    fpi, aki = (grown(NAME, growth, mode=mode) for mode in ("fpi", "aki"))
    assert all(torch.equal(fpi[name], aki[name]) for name in fpi)


def test_widened_blocks_are_stacked():
    growth = case("llama", width=32, depth=5)
    wide = grown(NAME, growth)
    for block, copied in ((2, 0), (3, 1), (4, 0)):
        ours = wide[f"blocks.{block}.attention.o.weight"]
        assert torch.equal(ours, wide[f"blocks.{copied}.attention.o.weight"])


@pytest.mark.parametrize("flavour", ["gpt2 tied", "llama"])
@pytest.mark.parametrize("rules", ["sp", "mup"])
def test_moments_of_fpi_are_the_gradients(flavour, rules):
    check_moments_are_the_gradients(NAME, case(flavour, rules, width=32))
