"""The rule tables against cases by hand; ``mup``'s are in ``test_parametrization``."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mugrow.bench.model import ACTIVATIONS, Decoder, Multipliers, parameters
from mugrow.bench.parametrization import Rule, initial_weights, rules_of, umup
from mugrow.bench.spec import ModelSpec, llama

BASE = ModelSpec(width=16, depth=2, head_size=8, context=8, vocab_size=32)
BIG = replace(BASE, width=64, depth=8, head_size=16)  # 4 times as wide, 4 times as deep
IN_BLOCK = {
    "matrix": "blocks.7.attention.q.weight",
    "bias": "blocks.0.mlp.down.bias",
    "gain": "blocks.3.norm2.gain",
    "norm bias": "blocks.3.norm1.bias",
}


def test_completep_by_hand():
    """m = 4, L = 4: the branch by 1/4, rates as in width alone, eps of a block by 1/4 more."""
    rules = rules_of("completep", BIG, BASE)
    tensors = rules.tensors
    assert tensors[IN_BLOCK["matrix"]] == Rule(1 / 2, 1 / 4, 4, 1 / 16)
    assert tensors[IN_BLOCK["bias"]] == Rule(1, 1, 0, 1 / 16)
    assert tensors[IN_BLOCK["gain"]] == tensors[IN_BLOCK["norm bias"]] == Rule(1, 1, 0, 1 / 16)
    assert tensors["embed.weight"] == tensors["positions.weight"] == Rule(1, 1, 1, 1 / 4)
    assert tensors["head.weight"] == Rule(1, 1, 1, 1 / 4)
    assert tensors["norm.gain"] == tensors["norm.bias"] == Rule(1, 1, 0, 1 / 4)
    assert rules.multipliers == Multipliers(1 / 4, 0.5**0.5, 1 / 4, 1 / 4)


def test_depth_mup_by_hand():
    """alpha = 1/2: the branch, and the rates in a block, by 1/2."""
    rules = rules_of("completep:alpha=0.5", BIG, BASE)
    assert rules.tensors[IN_BLOCK["matrix"]] == Rule(1 / 2, 1 / 8, 4, 1 / 8)
    assert rules.tensors[IN_BLOCK["gain"]] == Rule(1, 1 / 2, 0, 1 / 8)
    assert rules.tensors["norm.gain"] == Rule(1, 1, 0, 1 / 4)
    assert rules.tensors["head.weight"] == Rule(1, 1, 1, 1 / 4)
    assert rules.multipliers == Multipliers(1 / 4, 0.5**0.5, 1 / 2, 1 / 2)


@pytest.mark.parametrize("alpha", ["0", "0.5", "1"])
@pytest.mark.parametrize("tied", [False, True])
def test_at_the_base_depth_completep_is_mup(alpha, tied):
    big, base = replace(BIG, depth=2, tied=tied), replace(BASE, tied=tied)
    assert rules_of(f"completep:alpha={alpha}", big, base) == rules_of("mup", big, base)
    assert rules_of("completep", BIG, BASE) != rules_of("mup", BIG, BASE)


def test_a_shallower_model_than_the_base_has_heavier_branches():
    assert rules_of("completep", replace(BASE, depth=1), BASE).multipliers.residual_mlp == 2


def test_the_package_leaves_eps_alone():
    package, ours = rules_of("mup_package", BIG, BASE), rules_of("mup", BIG, BASE)
    assert package.multipliers == ours.multipliers
    assert package.tensors == {n: rule._replace(eps=1.0) for n, rule in ours.tensors.items()}
    assert all(rule.eps < 1 for rule in ours.tensors.values())


@pytest.mark.parametrize("tied", [False, True])
def test_sp_embedding_lifts_the_embeddings_rate_alone(tied):
    big, base = replace(BIG, tied=tied), replace(BASE, tied=tied)
    rules, standard = rules_of("sp_embedding", big, base), rules_of("sp", big, base)
    assert rules.multipliers == standard.multipliers == Multipliers()
    changed = {n for n, rule in rules.tensors.items() if rule != standard.tensors[n]}
    assert changed == {"embed.weight", "positions.weight"}
    assert rules.tensors["embed.weight"] == rules.tensors["positions.weight"] == Rule(1, 4, 1, 1)


def test_breakers_change_what_they_name_and_nothing_else():
    usual = rules_of("mup", BIG, BASE)
    frozen = rules_of("mup:gains=frozen", BIG, BASE)
    gains = {n for n, (_, kind) in parameters(BIG).items() if kind == "gain"}
    assert {n for n, rule in frozen.tensors.items() if rule != usual.tensors[n]} == gains
    assert all(frozen.tensors[n] == Rule(1, 0, 0, 1 / 4) for n in gains)
    assert frozen.multipliers == usual.multipliers

    unscaled = rules_of("mup:decay=unscaled", BIG, BASE)
    matrices = {n for n, (_, kind) in parameters(BIG).items() if kind == "matrix"}
    assert {n for n, rule in unscaled.tensors.items() if rule != usual.tensors[n]} == matrices
    assert all(unscaled.tensors[n] == Rule(1 / 2, 1 / 4, 1, 1 / 4) for n in matrices)

    root = rules_of("mup:attention=sqrt", BIG, BASE)
    assert root.tensors == usual.tensors
    assert root.multipliers == replace(usual.multipliers, attention=1.0)
    assert usual.multipliers.attention == 0.5**0.5


def test_spectral_by_hand():
    """Muon for the matrices, their rates alone; mup for the rest."""
    big, base = replace(BIG, mlp_ratio=8.0), BASE  # the MLP 8 times as wide, the width 4 times
    rules, adamw = rules_of("spectral", big, base), rules_of("mup", big, base)
    assert rules.multipliers == adamw.multipliers
    for name, (_, kind) in parameters(big).items():
        assert (rules.tensors[name].optimizer == "muon") == (kind == "matrix"), name
        if kind != "matrix":
            assert rules.tensors[name] == adamw.tensors[name]
    assert rules.tensors["blocks.0.attention.o.weight"] == Rule(1 / 2, optimizer="muon")
    # up: fan-in 64 of 16, no narrower out; down: sqrt(64 / 512) / sqrt(512), sqrt(16 / 64) / 8
    assert rules.tensors["blocks.1.mlp.up.weight"] == Rule(1 / 2, optimizer="muon")
    down = rules.tensors["blocks.1.mlp.down.weight"]
    assert down.init_std == pytest.approx(1 / 4)
    assert down[1:] == (1.0, 1.0, 1.0, "muon")


def test_keys_and_values_have_a_fan_out_of_their_own():
    """D is 4 times the base's. As many groups: k has 1 times the rows; 4 times as many: 4 times."""
    base = replace(BASE, head_size=4, kv_heads=1)
    shared = replace(base, width=64)
    for parametrization in ("mup", "completep"):
        tensors = rules_of(parametrization, shared, base).tensors
        for part in "kv":
            assert tensors[f"blocks.1.attention.{part}.weight"] == Rule(1 / 4, 1 / 4, 4, 1)
            assert tensors[f"blocks.1.attention.{part}.bias"] == Rule(1, 1, 0, 1)
        assert tensors["blocks.1.attention.q.weight"] == Rule(1 / 2, 1 / 4, 4, 1 / 4)
        assert tensors["blocks.1.attention.o.weight"] == Rule(1 / 2, 1 / 4, 4, 1 / 4)
    more = rules_of("mup", replace(shared, kv_heads=4), base).tensors
    assert more["blocks.1.attention.k.weight"] == more["blocks.1.attention.q.weight"]
    larger = rules_of("mup", replace(shared, head_size=16), base).tensors
    assert larger["blocks.1.attention.k.weight"] == Rule(1 / 2, 1 / 4, 4, 1 / 4)


def test_queries_and_units_that_do_not_follow_the_width_are_finite_too():
    """D is 4 times the base's, heads and MLP units are as many, biases and o's inputs likewise."""
    base = replace(BASE, head_size=4, query_heads=8, kv_heads=2, mlp_units=24)
    tensors = rules_of("mup", replace(base, width=64), base).tensors
    for name in ("attention.q", "attention.k", "attention.v", "mlp.up"):
        assert tensors[f"blocks.1.{name}.weight"] == Rule(1 / 4, 1 / 4, 4, 1)
        assert tensors[f"blocks.1.{name}.bias"] == Rule(1, 1, 0, 1)
    for name in ("attention.o", "mlp.down"):  # finite in, growing out: as an embedding
        assert tensors[f"blocks.1.{name}.weight"] == Rule(1, 1, 1, 1 / 4)
    grown = replace(base, width=64, query_heads=32, kv_heads=8, mlp_units=96)
    for name in ("attention.q", "attention.k", "attention.o", "mlp.up", "mlp.down"):
        rule = rules_of("mup", grown, base).tensors[f"blocks.1.{name}.weight"]
        assert rule == Rule(1 / 2, 1 / 4, 4, 1 / 4)


def test_a_gain_that_all_heads_share_has_a_gradient_that_does_not_shrink_with_their_number():
    base = replace(BASE, head_size=4, qk_norm=True)
    for part in ("q_norm", "k_norm"):
        name = f"blocks.1.attention.{part}.gain"
        assert rules_of("mup", replace(base, width=64), base).tensors[name] == Rule(1, 1, 0, 1)
        larger = replace(base, width=64, head_size=16)
        assert rules_of("mup", larger, base).tensors[name] == Rule(1, 1, 0, 1 / 4)
        deeper = replace(base, width=64, depth=4 * base.depth)
        rule = rules_of("completep", deeper, base).tensors[name]  # Complete(d)P, for alpha = 1
        assert rule == Rule(1, 1, 0, 1 / 4)


def test_the_spectral_condition_gives_keys_and_values_the_same_scale():
    base = replace(BASE, head_size=4, kv_heads=2)
    big = replace(base, width=64)
    adamw, muon = rules_of("mup", big, base).tensors, rules_of("spectral", big, base).tensors
    for part in "qkvo":
        name = f"blocks.0.attention.{part}.weight"
        assert muon[name].init_std == pytest.approx(adamw[name].init_std), name


def test_umup_by_hand():
    """D = 64, F = 256, L = 4, S = 16; the base does not matter."""
    model = replace(BIG, depth=4)
    rules = rules_of("umup", model, BASE)
    assert rules == rules_of("umup", model, model)
    tensors = rules.tensors
    assert tensors["embed.weight"] == tensors["positions.weight"] == Rule(1, 1 / 8, 8, 1 / 64)
    assert tensors["head.weight"] == Rule(1, 1, 1, 1 / 64)
    assert tensors["blocks.3.attention.q.weight"] == Rule(1 / 8, 1 / 128, 128, 1 / 128)
    assert tensors["blocks.3.mlp.up.weight"] == Rule(1 / 8, 1 / 128, 128, 1 / 512)
    assert tensors["blocks.3.mlp.down.weight"] == Rule(1 / 16, 1 / 512, 512, 1 / 128)
    assert tensors["blocks.3.mlp.up.bias"] == Rule(1, 1 / 2, 0, 1 / 512)
    assert tensors["blocks.0.norm1.gain"] == Rule(1, 0, 0, 1 / 128)
    assert tensors["norm.bias"] == Rule(1, 0, 0, 1 / 64)
    attention = 1 / 2 / sum(1 / t / 8 for t in range(1, 9)) ** 0.5  # a context of 8
    assert rules.multipliers.output == 1 / 64
    assert rules.multipliers.attention == 1 / 4
    assert rules.multipliers.residual_attention == pytest.approx(attention, rel=1e-12)
    assert rules.multipliers.residual_mlp == pytest.approx(1 / 2 / 0.6521, rel=1e-12)


def test_umup_takes_its_multipliers_and_choices():
    usual = rules_of("umup", BIG, BASE)
    rules = rules_of("umup:embedding=constant:norms=trained", BIG, BASE)
    changed = {n for n, rule in rules.tensors.items() if rule != usual.tensors[n]}
    assert changed == {
        n for n in usual.tensors if "norm" in n or n in ("embed.weight", "positions.weight")
    }
    assert rules.tensors["embed.weight"] == Rule(1, 1, 1, 1 / 64)
    assert rules.tensors["norm.gain"] == Rule(1, 1, 0, 1 / 64)
    scaled = rules_of("umup:residual=3:attention_ratio=0.5", BIG, BASE)
    assert scaled.tensors == usual.tensors
    ratio = scaled.multipliers.residual_mlp / usual.multipliers.residual_mlp
    assert ratio == pytest.approx(3 * (2 / 1.25) ** 0.5)
    ratio = scaled.multipliers.residual_attention / usual.multipliers.residual_attention
    assert ratio == pytest.approx(0.5 * 3 * (2 / 1.25) ** 0.5)


def test_umup_says_what_falls_by_its_own_rule():
    assert "embed" in rules_of("umup", BIG, BASE).falling
    for name in ("umup:embedding=constant", "mup", "completep", "spectral", "sp_embedding"):
        assert not rules_of(name, BIG, BASE).falling


def test_umups_multipliers_are_the_papers_running_rule():
    """b_l x + a_l f with its tau_l, the stream divided by the product of the b_l."""
    residual, ratio, blocks = 1.7, 0.6, 3
    mlp = residual * (2 / (1 + ratio**2)) ** 0.5
    attention = ratio * mlp
    kept, weights = 1.0, []
    for layer in range(2 * blocks):
        branch = mlp if layer % 2 else attention
        before = (layer + 1) // 2 * attention**2 + layer // 2 * mlp**2
        tau = branch / (blocks + before) ** 0.5
        kept /= (1 + tau**2) ** 0.5
        weights.append(tau / (1 + tau**2) ** 0.5 / kept)
    model = replace(BIG, depth=blocks, context=1)  # attention to one value only
    text = f"umup:residual={residual}:attention_ratio={ratio}"
    ours = rules_of(text, model, BASE).multipliers
    assert weights[::2] == pytest.approx([ours.residual_attention] * blocks)
    assert weights[1::2] == pytest.approx([ours.residual_mlp * 0.6521] * blocks)


def test_the_activations_scales_are_those_of_standard_normals():
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights /= weights.sum()
    x = torch.from_numpy(nodes)  # 80 of them: no kink is exact
    silu = torch.nn.functional.silu
    for name, activation in (ACTIVATIONS | {"swiglu": silu}).items():  # gate and up independent
        size = (weights @ activation(x).numpy() ** 2) ** 0.5
        assert umup.ACTIVATION_RMS[name] == pytest.approx(size, abs=1e-4), name


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
@pytest.mark.parametrize("changes", [{}, {"width": 128}, {"depth": 6}, {"context": 8}])
def test_under_umup_activations_begin_at_unit_scale(flavour, changes):
    shape = {"width": 32, "depth": 2, "head_size": 16, "context": 32, "vocab_size": 64} | changes
    model = flavour(**shape)
    rules = rules_of("umup", model, model)
    weights = initial_weights(model, rules, 1.0, 0, torch.float64)
    tokens = torch.randint(64, (4, model.context), generator=torch.Generator().manual_seed(0))
    rms = {}
    seen = lambda name, x: rms.update({name: float(x.square().mean().sqrt())})  # noqa: E731
    Decoder(model, rules.multipliers, observe=seen)(weights, tokens)
    begins = 1.0 if model.positions == "rope" else 2**0.5
    assert rms["embed"] == pytest.approx(begins, rel=0.1)
    for block in range(model.depth):
        for layer in ("q", "k", "v"):
            assert rms[f"blocks.{block}.attention.{layer}"] == pytest.approx(1, rel=0.15)
        assert rms[f"blocks.{block}.mlp.up"] == pytest.approx(1, rel=0.15)
        # each branch sums up to as much as the embedding
        mlp = rms[f"blocks.{block}.mlp.down"] * model.depth**0.5
        assert mlp == pytest.approx(1, rel=0.15)
        attention = rms[f"blocks.{block}.attention.o"] * model.depth**0.5
        if block == 0:
            assert attention == pytest.approx(1, rel=0.25)
        else:  # positions have something in common by now
            assert 1 < attention < 2.5
    assert 1 < rms[f"blocks.{model.depth - 1}"] < 3.2  # sqrt(3), if branches were independent
