"""The stacked decoder against a plain one, written a tensor at a time as textbooks do."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from small_runs import start_of, vary
from torch import Tensor

from mugrow.bench.model import (
    Decoder,
    Multipliers,
    Weights,
    count,
    cross_entropy,
    flatten,
    fused,
    offsets,
    parameters,
    unflatten,
)
from mugrow.bench.spec import ModelSpec, llama

GPT2 = ModelSpec(width=16, depth=2, head_size=8, mlp_ratio=3, context=12, vocab_size=20)
LLAMA = llama(width=16, depth=2, head_size=8, mlp_ratio=3, context=12, vocab_size=20)
FLAVOURS = [
    replace(GPT2, norm=norm, mlp=mlp, positions=positions, tied=tied, bias=bias)
    for norm, mlp, positions, tied, bias in product(
        ("layernorm", "rmsnorm"),
        ("gelu", "swiglu"),
        ("learned", "rope"),
        (False, True),
        (False, True),
    )
]
GROUPED = [
    replace(spec, head_size=4, kv_heads=kv_heads) for spec in (GPT2, LLAMA) for kv_heads in (1, 2)
]
PUBLISHED = {  # what published models have beside flavour and groups, alone and together
    "theta": replace(LLAMA, rope_theta=500.0),
    "linear": replace(LLAMA, rope_scaling="linear:factor=3"),
    "llama3": replace(LLAMA, rope_scaling="llama3:factor=8:low=1:high=4:context=16"),
    "partial": replace(LLAMA, rotary_fraction=0.5),
    "eps": replace(GPT2, norm_eps=0.1),
    "tanh": replace(GPT2, mlp="gelu_tanh"),
    "relu": replace(GPT2, mlp="relu", position_offset=2),
    "qkv bias": replace(LLAMA, qkv_bias=True),
    "no qkv bias": replace(GPT2, qkv_bias=False),
    "qk norm": replace(LLAMA, qk_norm=True, norm_eps=0.1),
    "parallel": replace(GPT2, parallel=True),
    "heads": replace(LLAMA, query_heads=6, kv_heads=3),
    "units": replace(LLAMA, mlp_units=10),
    "padded": replace(GPT2, padded_vocab=24, tied=True),
    "window": replace(LLAMA, window=5),
    "qwen3": replace(LLAMA, query_heads=4, kv_heads=2, qk_norm=True, rope_theta=1e6, mlp_units=20),
    "neox": replace(GPT2, positions="rope", rotary_fraction=0.25, parallel=True, padded_vocab=24),
}
MULTIPLIERS = Multipliers(output=0.25, attention=1.7, residual_attention=0.6, residual_mlp=1.3)


def flavour(spec: ModelSpec) -> str:
    ends, biases = "tied" if spec.tied else "untied", "bias" if spec.bias else "nobias"
    grouped = "" if spec.kv_heads is None else f"-{spec.kv_heads}of{spec.heads}"
    return f"{spec.norm}-{spec.mlp}-{spec.positions}-{ends}-{biases}{grouped}"


def random_rows(spec: ModelSpec, members: int = 1, seed: int = 0) -> Tensor:
    """Rows of the storage ``(K, P)`` in which no gain is one and no bias zero."""
    rng = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(members, count(spec)[0], generator=rng, dtype=torch.float64)


def random_tokens(spec: ModelSpec, *shape: int, seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(spec.vocab_size, shape, generator=rng)


def plain_logits(spec: ModelSpec, multipliers: Multipliers, w: Weights, tokens: Tensor) -> Tensor:
    """Logits ``(T, V)`` of one sequence ``(T,)``."""

    def linear(x: Tensor, name: str) -> Tensor:
        y = x @ w[f"{name}.weight"].T
        biased = spec.biased_qkv if name[-1] in "qkv" else spec.bias
        return y + w[f"{name}.bias"] if biased else y

    def norm(x: Tensor, name: str) -> Tensor:
        if spec.norm == "layernorm":
            x = x - x.mean(dim=-1, keepdim=True)
        n = x / (x.square().mean(dim=-1, keepdim=True) + spec.norm_eps).sqrt()
        return n * w[f"{name}.gain"] + (w[f"{name}.bias"] if spec.norm == "layernorm" else 0)

    def rotate(x: Tensor) -> Tensor:
        """Coordinates i and i + R/2 as a complex number, turned by position * theta^(-2i/R)."""
        T, R = len(x), int(spec.head_size * spec.rotary_fraction)
        turned = x.clone()
        for i in range(R // 2):
            angle = torch.arange(T, dtype=torch.float64) * scaled(spec.rope_theta ** (-2 * i / R))
            turned[:, i] = x[:, i] * angle.cos() - x[:, i + R // 2] * angle.sin()
            turned[:, i + R // 2] = x[:, i] * angle.sin() + x[:, i + R // 2] * angle.cos()
        return turned

    def scaled(frequency: float) -> float:
        """By a third, or as LLaMA 3 does with its context of 16, 1 and 4 turns and a factor 8."""
        if spec.rope_scaling.startswith("linear"):
            return frequency / 3
        if spec.rope_scaling == "none":
            return frequency
        positions_a_turn = 2 * math.pi / frequency
        if positions_a_turn < 16 / 4:
            return frequency
        if positions_a_turn > 16 / 1:
            return frequency / 8
        smooth = (16 / positions_a_turn - 1) / (4 - 1)
        return (1 - smooth) * frequency / 8 + smooth * frequency

    def attention(x: Tensor, block: str) -> Tensor:
        q, k, v = (linear(x, f"{block}.attention.{name}") for name in "qkv")
        outputs = []
        for head in range(spec.heads):
            first, first_kv = (h * spec.head_size for h in (head, head // spec.group_size))
            rows, kv_rows = (slice(at, at + spec.head_size) for at in (first, first_kv))
            qh, kh, vh = q[:, rows], k[:, kv_rows], v[:, kv_rows]
            if spec.qk_norm:
                qh, kh = (
                    x
                    / (x.square().mean(dim=1, keepdim=True) + spec.norm_eps).sqrt()
                    * w[f"{block}.attention.{name}_norm.gain"]
                    for x, name in ((qh, "q"), (kh, "k"))
                )
            if spec.positions == "rope":
                qh, kh = rotate(qh), rotate(kh)
            scores = multipliers.attention * qh @ kh.T / math.sqrt(spec.head_size)
            hidden = torch.ones_like(scores).triu(diagonal=1).bool()
            if spec.window is not None:
                hidden |= torch.ones_like(scores).tril(diagonal=-spec.window).bool()
            outputs.append(scores.masked_fill(hidden, -math.inf).softmax(dim=1) @ vh)
        return linear(torch.cat(outputs, dim=1), f"{block}.attention.o")

    def mlp(x: Tensor, block: str) -> Tensor:
        up = linear(x, f"{block}.mlp.up")
        if spec.mlp == "swiglu":
            gate = linear(x, f"{block}.mlp.gate")
            return linear(gate * torch.sigmoid(gate) * up, f"{block}.mlp.down")
        if spec.mlp == "relu":
            return linear(up.clamp(min=0), f"{block}.mlp.down")
        if spec.mlp == "gelu_tanh":
            inside = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
            return linear(up * (1 + inside.tanh()) / 2, f"{block}.mlp.down")
        return linear(up * (1 + torch.erf(up / math.sqrt(2))) / 2, f"{block}.mlp.down")

    x = w["embed.weight"][tokens]
    if spec.positions == "learned":
        x = x + w["positions.weight"][spec.position_offset :][: len(tokens)]
    for i in range(spec.depth):
        branch = attention(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}")
        before, x = x, x + multipliers.residual_attention * branch
        read = norm(before if spec.parallel else x, f"blocks.{i}.norm2")
        x = x + multipliers.residual_mlp * mlp(read, f"blocks.{i}")
    head = w["embed.weight"] if spec.tied else w["head.weight"]
    return multipliers.output * norm(x, "norm") @ head.T


EVERY = {flavour(spec): spec for spec in (*FLAVOURS, *GROUPED)} | PUBLISHED


@pytest.mark.parametrize("spec", EVERY.values(), ids=EVERY)
def test_logits_equal_the_plain_decoder(spec):
    weights = unflatten(spec, random_rows(spec)[0])
    tokens_BT = random_tokens(spec, 2, 12)
    logits = Decoder(spec, MULTIPLIERS)(weights, tokens_BT)
    expected = torch.stack([plain_logits(spec, MULTIPLIERS, weights, row) for row in tokens_BT])
    assert expected.std() > 0.1
    assert torch.allclose(logits, expected, rtol=0, atol=1e-12)


SOME = {flavour(spec): spec for spec in (GPT2, LLAMA, replace(GPT2, tied=True), *GROUPED)}


@pytest.mark.parametrize("spec", [*SOME.values(), *PUBLISHED.values()], ids=[*SOME, *PUBLISHED])
def test_gradients_equal_the_plain_decoders(spec):
    """The folded norms change how gains and biases are reached, and so their gradients' path."""
    flat_KP = random_rows(spec).requires_grad_()
    tokens = random_tokens(spec, 13)
    logits = Decoder(spec, MULTIPLIERS).logits(flat_KP, tokens[None, None, :-1])
    loss = cross_entropy(logits, tokens[None, None, 1:]).sum()
    plain = plain_logits(spec, MULTIPLIERS, unflatten(spec, flat_KP[0]), tokens[:-1])
    expected = -plain.log_softmax(dim=1)[torch.arange(12), tokens[1:]].mean()
    assert abs(loss - expected) < 1e-12
    (gradient,) = torch.autograd.grad(loss, flat_KP)
    (plain_gradient,) = torch.autograd.grad(expected, flat_KP)
    assert torch.allclose(gradient, plain_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", GROUPED, ids=flavour)
def test_grouped_keys_and_values_are_those_of_a_full_model_repeated(spec):
    full = replace(spec, kv_heads=None)
    weights, tokens = unflatten(spec, random_rows(spec)[0]), random_tokens(spec, 2, 12)

    def repeated(name: str, w: Tensor) -> Tensor:
        if name.split(".")[-2] not in ("k", "v"):
            return w
        by_head = w.unflatten(0, (spec.groups, spec.head_size))
        return by_head.repeat_interleave(spec.group_size, 0).flatten(0, 1)

    seen, seen_full = {}, {}
    grouped = Decoder(spec, MULTIPLIERS, observe=seen.__setitem__)(weights, tokens)
    ungrouped = Decoder(full, MULTIPLIERS, observe=seen_full.__setitem__)(
        {name: repeated(name, w) for name, w in weights.items()}, tokens
    )
    assert torch.allclose(grouped, ungrouped, rtol=0, atol=1e-12)
    scores, scores_full = (s["blocks.0.attention.logits"] for s in (seen, seen_full))
    assert torch.allclose(scores, scores_full, rtol=0, atol=1e-12)
    assert seen["blocks.0.attention.k"].shape == (2, spec.groups, 12, 4)
    other = {name: repeated(name, w).flip(0) for name, w in weights.items()}  # a test that can fail
    assert not torch.allclose(grouped, Decoder(full, MULTIPLIERS)(other, tokens))


def test_as_many_heads_of_keys_as_heads_are_no_groups():
    every = replace(LLAMA, kv_heads=LLAMA.heads)
    weights, tokens = unflatten(LLAMA, random_rows(LLAMA)[0]), random_tokens(LLAMA, 2, 12)
    assert parameters(every) == parameters(LLAMA)
    assert torch.equal(Decoder(every)(weights, tokens), Decoder(LLAMA)(weights, tokens))


def test_a_context_shorter_than_the_models_uses_the_first_positions():
    weights = unflatten(GPT2, random_rows(GPT2)[0])
    tokens = random_tokens(GPT2, 1, 12)
    decoder = Decoder(GPT2)
    assert torch.allclose(decoder(weights, tokens[:, :5]), decoder(weights, tokens)[:, :5])


@pytest.mark.parametrize("spec", [GPT2, LLAMA], ids=flavour)
def test_a_later_token_changes_no_earlier_logit(spec):
    weights = unflatten(spec, random_rows(spec)[0])
    tokens = random_tokens(spec, 1, 12)
    other = tokens.clone()
    other[0, 7] = (tokens[0, 7] + 1) % spec.vocab_size
    before, after = Decoder(spec)(weights, tokens), Decoder(spec)(weights, other)
    assert torch.equal(before[0, :7], after[0, :7])
    assert ((before - after)[0, 7:].abs().amax(dim=1) > 1e-6).all()


@pytest.mark.parametrize("spec", [GPT2, LLAMA, PUBLISHED["qwen3"]], ids=["gpt2", "llama", "qwen3"])
def test_members_are_independent(spec):
    flat_KP = random_rows(spec, members=3).requires_grad_()
    tokens_KBT = random_tokens(spec, 3, 2, 12)
    logits = Decoder(spec).logits(flat_KP, tokens_KBT)
    for member in range(3):
        alone = Decoder(spec)(unflatten(spec, flat_KP[member]), tokens_KBT[member])
        assert torch.allclose(logits[member], alone, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, tokens_KBT)[1], flat_KP)
    assert gradient[1].abs().max() > 0
    assert (gradient[[0, 2]] == 0).all()


@pytest.mark.parametrize(
    "name", ["theta", "linear", "llama3", "partial", "eps", "tanh", "parallel", "window"]
)
def test_a_feature_without_weights_of_its_own_changes_the_logits(name):
    spec = PUBLISHED[name]
    plain = GPT2 if spec.norm == "layernorm" else LLAMA
    weights, tokens = unflatten(spec, random_rows(spec)[0]), random_tokens(spec, 2, 12)
    change = Decoder(spec)(weights, tokens) - Decoder(plain)(weights, tokens)
    assert change.abs().max() > 1e-4


@pytest.mark.parametrize("spec", EVERY.values(), ids=EVERY)
def test_storage_holds_every_parameter_once(spec):
    flat_P = random_rows(spec)[0]
    weights = unflatten(spec, flat_P)
    assert torch.equal(flatten(spec, weights), flat_P)
    assert {name: w.shape for name, w in weights.items()} == {
        name: parameter.shape for name, parameter in parameters(spec).items()
    }
    assert sum(w.numel() for w in weights.values()) == len(flat_P) == count(spec)[0]
    assert torch.equal(flat_P[offsets(spec)["embed.weight"]], weights["embed.weight"].view(-1))
    weights["norm.gain"].fill_(7.0)
    assert (flat_P[offsets(spec)["norm.gain"]] == 7).all()  # a view, not a copy


def test_flatten_refuses_other_names():
    weights = unflatten(GPT2, random_rows(GPT2)[0])
    del weights["norm.bias"]
    with pytest.raises(AssertionError, match=r"norm\.bias"):
        flatten(GPT2, weights)


def test_flavours_have_the_parameters_they_should():
    assert "head.weight" not in parameters(replace(GPT2, tied=True))
    assert "positions.weight" not in parameters(LLAMA)
    assert not any(name.endswith("bias") for name in parameters(LLAMA))
    gate, up = (parameters(LLAMA)[f"blocks.1.mlp.{name}.weight"] for name in ("gate", "up"))
    assert gate.shape == up.shape == (48, 16)
    assert {name: kind for name, (_, kind) in parameters(GPT2).items() if "0" not in name} == {
        "embed.weight": "embedding",
        "positions.weight": "embedding",
        "norm.gain": "gain",
        "norm.bias": "bias",
        "head.weight": "readout",
    } | {n: kind for n, (_, kind) in parameters(GPT2).items() if n.startswith("blocks.1")}


@pytest.mark.parametrize("spec", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_attention_that_keeps_probabilities_is_torchs(spec):
    flat_KP, tokens = random_rows(spec, 3), random_tokens(spec, 3, 2, 13)
    found = []
    for keep in (True, False):
        decoder = Decoder(spec, MULTIPLIERS, keep_probabilities=keep)
        assert decoder.writes_attention_out(12) == keep
        leaf = flat_KP.clone().requires_grad_()
        loss_K = decoder.losses_of(fused(spec, leaf), tokens, None)
        loss_K.sum().backward()
        found.append((loss_K.detach(), leaf.grad))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", [None, 4])
def test_a_second_backward_pass_is_refused_in_words(chunk):
    weights = fused(GPT2, random_rows(GPT2).requires_grad_())
    loss_K = Decoder(GPT2).losses_of(weights, random_tokens(GPT2, 9)[None, None], chunk)
    loss_K.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="taken once"):
        loss_K.sum().backward()


def test_initial_loss_of_a_small_init_is_that_of_guessing():
    run = vary(init_std=1e-4)
    tokens = random_tokens(run.model, 4, 9)
    logits = Decoder(run.model)(start_of(run), tokens[:, :-1])
    loss = cross_entropy(logits[None], tokens[None, :, 1:])
    assert loss.item() == pytest.approx(math.log(run.model.vocab_size), abs=1e-3)
