"""The mup package itself as the oracle of muP. The other oracle is ``test_widening``."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from mup import MuAdamW, MuReadout, MuSharedReadout, set_base_shapes
from torch import Tensor, nn
from torch.nn import functional as F

from mugrow.bench.data.batches import TokenData, train_batch
from mugrow.bench.model import Weights, parameters
from mugrow.bench.parametrization import initial_weights, rules_of
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.bench.stack import Stack, StackState
from mugrow.bench.train import train

STEPS = 50
VOCAB, CONTEXT, SEQUENCES = 32, 12, 4


@cache
def tokens() -> TokenData:
    rng = np.random.Generator(np.random.Philox(5))
    stream = np.cumsum(rng.integers(0, 4, size=4096)) % VOCAB  # learnable: small steps
    return TokenData("steps", "", stream.astype("<u2"), stream.astype("<u2"), VOCAB, None)


def run_spec(
    model: ModelSpec, base: ModelSpec, parametrization: str = "mup", **hyper: float
) -> RunSpec:
    return RunSpec(
        model=model,
        base=base,
        parametrization=parametrization,
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
@pytest.mark.parametrize(("name", "eps"), [("mup", 1e-40), ("mup_package", 1e-3)])
def test_a_run_equals_the_mup_package_for_fifty_steps(name: str, eps: float, tied: bool) -> None:
    spec = run_spec(gpt2(32, tied=tied), gpt2(8, tied=tied), name, eps=eps, weight_decay=0.1)
    rules = rules_of(name, spec.model, spec.base)
    weights = initial_weights(spec.model, rules, spec.hyper.init_std, spec.seed, torch.float64)
    state = train(Stack([spec]), [weights], tokens())
    losses = plain_losses(spec, weights)
    assert losses[0] - losses[-1] > 0.5  # it learned something, so the comparison has teeth
    np.testing.assert_allclose(train_losses(state), losses, rtol=0, atol=1e-9)


def plain_losses(spec: RunSpec, weights: Weights) -> list[float]:
    """Training losses of the package's twin, in float64, from these weights."""
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
    return losses


def test_in_bf16_a_run_is_the_packages_within_its_rounding() -> None:
    """A step rounds by 2^-9 of what it computes; the rates of SP are off by a factor of four."""
    spec = run_spec(gpt2(32), gpt2(8), eps=1e-40, weight_decay=0.1)
    rules = rules_of("mup", spec.model, spec.base)
    weights = initial_weights(spec.model, rules, spec.hyper.init_std, spec.seed, torch.float64)
    low = replace(spec, dtype="float32", precision="bf16")
    expected = plain_losses(spec, weights)

    def furthest(run: RunSpec) -> float:
        losses = train_losses(train(Stack([run]), [weights], tokens()))
        return max(abs(a - b) for a, b in zip(losses, expected, strict=True))

    assert 1e-6 < furthest(low) < 0.02
    assert furthest(replace(low, parametrization="sp")) > 0.2


def test_learning_rates_decays_and_init_scales_are_the_packages() -> None:
    spec = run_spec(gpt2(256), gpt2(16), weight_decay=0.1)
    rules = rules_of("mup", spec.model, spec.base)
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
