"""The two oracles of a right parametrization: the mup package itself, and exact widening."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from mup import MuAdamW, MuReadout, MuSharedReadout, set_base_shapes
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.batches import TokenData, train_batch
from bench.model import flatten, parameters, unflatten
from bench.optim import AdamState
from bench.parametrization import initial_weights, parametrization
from bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from bench.stack import Stack, StackState, begin
from bench.train import advance, train

STEPS = 50
VOCAB, CONTEXT, SEQUENCES = 32, 12, 4


@cache
def tokens() -> TokenData:
    rng = np.random.Generator(np.random.Philox(5))
    stream = np.cumsum(rng.integers(0, 4, size=4096)) % VOCAB  # learnable: small steps
    return TokenData("steps", "", stream.astype("<u2"), stream.astype("<u2"), VOCAB, None)


def run_spec(model: ModelSpec, base: ModelSpec, **hyper: float) -> RunSpec:
    return RunSpec(
        model=model,
        base=base,
        parametrization="mup",
        hyper=HyperSpec(**({"lr": 0.01, "init_std": 0.2, "clip": 0.0} | hyper)),
        schedule=ScheduleSpec(kind="constant", warmup=0.0),
        data=DataSpec(corpus="steps", corpus_sha256="", val_tokens=10 * CONTEXT),
        batch_sequences=SEQUENCES,
        steps=STEPS,
        seed=3,
        data_seed=4,
        log_every=1,
        dtype="float64",
    )


def gpt2(width: int, **fields: object) -> ModelSpec:
    return ModelSpec(
        **({"depth": 2, "head_size": 8, "context": CONTEXT, "vocab_size": VOCAB} | fields),  # type: ignore[arg-type]
        width=width,
    )


def train_losses(state: StackState) -> list[float]:
    return [float(row["train_loss"]) for row in state.curves[0][1:]]  # type: ignore[arg-type]


class PlainBlock(nn.Module):
    def __init__(self, spec: ModelSpec, base: ModelSpec) -> None:
        super().__init__()
        width = spec.width
        self.heads = spec.heads
        self.scale = math.sqrt(base.head_size) / spec.head_size
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        y = self.norm1(x)
        q, k, v = (
            m(y).view(B, T, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v)
        )
        scores = q @ k.transpose(2, 3) * self.scale
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf)
        x = x + self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainGPT(nn.Module):
    """The usual module, parametrized by the mup package."""

    def __init__(self, spec: ModelSpec, base: ModelSpec) -> None:
        super().__init__()
        self.embed = nn.Embedding(spec.vocab_size, spec.width)
        self.positions = nn.Embedding(spec.context, spec.width)
        self.blocks = nn.ModuleList(PlainBlock(spec, base) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width)
        if spec.tied:
            self.head = MuSharedReadout(self.embed.weight, bias=False)
        else:
            self.head = MuReadout(spec.width, spec.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x = self.embed(tokens_BT) + self.positions.weight[: tokens_BT.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def ours_by_plain_name(name: str) -> str:
    """The bench name of a parameter of ``PlainGPT``."""
    for norm in ("norm1", "norm2", "norm"):
        if name.endswith(f"{norm}.weight"):
            return name.removesuffix("weight") + "gain"
    for layer in ("q", "k", "v", "o"):
        name = name.replace(f".{layer}.", f".attention.{layer}.")
    return name.replace(".up.", ".mlp.up.").replace(".down.", ".mlp.down.")


def plain_twin(spec: RunSpec) -> tuple[PlainGPT, MuAdamW]:
    """The module and optimizer of a run, as a user of the mup package writes them."""
    module = PlainGPT(spec.model, spec.base).double()
    delta = replace(spec.base, width=2 * spec.base.width)
    set_base_shapes(
        module,
        PlainGPT(spec.base, spec.base),
        delta=PlainGPT(delta, spec.base),
        rescale_params=False,
    )
    decayed = [p for n, p in module.named_parameters() if "norm" not in n and "bias" not in n]
    others = [p for n, p in module.named_parameters() if "norm" in n or "bias" in n]
    hyper = spec.hyper
    optimizer = MuAdamW(
        [
            {"params": decayed, "weight_decay": hyper.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=hyper.lr,
        betas=(hyper.beta1, hyper.beta2),
        eps=hyper.eps,
    )
    return module, optimizer


@pytest.mark.parametrize("tied", [False, True])
def test_a_run_equals_the_mup_package_for_fifty_steps(tied: bool) -> None:
    spec = run_spec(gpt2(32, tied=tied), gpt2(8, tied=tied), eps=1e-40, weight_decay=0.1)
    rules = parametrization("mup").rules(spec.model, spec.base)
    weights = initial_weights(spec.model, rules, spec.hyper.init_std, spec.seed, torch.float64)
    state = train(Stack([spec]), [weights], tokens())

    module, optimizer = plain_twin(spec)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weights[ours_by_plain_name(name)])
    losses = []
    for step in range(STEPS):
        batch = torch.from_numpy(
            train_batch(tokens().train, spec.data_seed, step, SEQUENCES, CONTEXT)
        )
        loss = F.cross_entropy(module(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] - losses[-1] > 0.5  # it learned something, so the comparison has teeth
    np.testing.assert_allclose(train_losses(state), losses, rtol=0, atol=1e-9)


def test_learning_rates_decays_and_init_scales_are_the_packages() -> None:
    spec = run_spec(gpt2(256), gpt2(16), weight_decay=0.1)
    rules = parametrization("mup").rules(spec.model, spec.base)
    weights = initial_weights(spec.model, rules, spec.hyper.init_std, spec.seed, torch.float64)
    module, optimizer = plain_twin(spec)
    groups = {
        id(parameter): group for group in optimizer.param_groups for parameter in group["params"]
    }
    from mup import init

    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        ours = ours_by_plain_name(name)
        rule, kind = rules.tensors[ours], parameters(spec.model)[ours].kind
        assert spec.hyper.lr * rule.lr == pytest.approx(groups[id(parameter)]["lr"], rel=1e-12)
        decay = spec.hyper.weight_decay * rule.weight_decay
        assert decay == pytest.approx(groups[id(parameter)]["weight_decay"], rel=1e-12)
        if kind not in ("gain", "bias"):
            init.normal_(parameter, std=spec.hyper.init_std)
            sampling = 5 / math.sqrt(2 * parameter.numel())
            assert weights[ours].std() == pytest.approx(parameter.std().item(), rel=2 * sampling)


def widened(spec: ModelSpec, weights: dict[str, Tensor], k: int, how: str) -> dict[str, Tensor]:
    """Every unit k times; what sums over inputs is divided by k, but for the readout, whose
    forward multiplier does it. ``how``: whole heads are repeated, or the units in each head."""

    def heads(w: Tensor, dim: int) -> Tensor:
        if how == "head size":
            return w.repeat_interleave(k, dim)
        grouped = w.unflatten(dim, (-1, spec.head_size)).repeat_interleave(k, dim)
        return grouped.flatten(dim, dim + 1)

    wide = {}
    for name, w in weights.items():
        kind, layer = parameters(spec)[name].kind, name.split(".")[-2]
        if kind in ("embedding", "readout"):
            wide[name] = w.repeat_interleave(k, 1)
        elif kind in ("gain", "bias"):
            wide[name] = heads(w, 0) if layer in "qkv" else w.repeat_interleave(k, 0)
        else:
            rows = heads(w, 0) if layer in "qkv" else w.repeat_interleave(k, 0)
            wide[name] = (heads(rows, 1) if layer == "o" else rows.repeat_interleave(k, 1)) / k
    return wide


def continued(spec: RunSpec, adam: AdamState) -> list[float]:
    """The losses of a run that goes on from a state, its batches those of its first steps."""
    names = initial_weights(
        spec.model, parametrization("mup").rules(spec.model, spec.base), 1.0, 0, torch.float64
    )
    state = begin(Stack([spec]), [names])
    state.adam = adam
    for _ in advance(Stack([spec]), state, tokens()):
        pass
    return train_losses(state)


@pytest.mark.parametrize("how", ["head count", "head size"])
@pytest.mark.parametrize("flavour", [{}, {"norm": "rmsnorm", "mlp": "swiglu", "tied": True}])
def test_a_widened_model_trains_as_its_source_does(how: str, flavour: dict[str, object]) -> None:
    k = 3
    base = gpt2(16, **flavour)
    head_size = base.head_size * (k if how == "head size" else 1)
    narrow = run_spec(base, base, weight_decay=0.1, eps=1e-6)
    wide = run_spec(
        gpt2(16 * k, **(flavour | {"head_size": head_size})), base, weight_decay=0.1, eps=1e-6
    )
    rules = parametrization("mup").rules(narrow.model, base)
    weights = initial_weights(base, rules, narrow.hyper.init_std, 3, torch.float64)
    source = train(Stack([narrow]), [weights], tokens()).adam

    def grown(flat_KP: Tensor, divided_by: float, is_weight: bool) -> Tensor:
        named = widened(base, unflatten(base, flat_KP[0]), k, how)
        if not is_weight:  # gradients of all copies are alike, whatever the tensor's role
            named = {
                name: tensor * (k if parameters(base)[name].kind == "matrix" else 1)
                for name, tensor in named.items()
            }
        return flatten(wide.model, named)[None] / divided_by

    def grown_state(m: float, v: float) -> AdamState:
        return AdamState(
            grown(source.weights_KP, 1, True),
            grown(source.m_KP, m, False),
            grown(source.v_KP, v, False),
            source.updates_K1.clone(),
        )

    right, wrong = grown_state(k, k**2), grown_state(1, 1)
    expected = continued(narrow, source)
    np.testing.assert_allclose(continued(wide, right), expected, rtol=0, atol=1e-9)
    assert np.abs(np.subtract(continued(wide, wrong), expected)).max() > 1e-4
