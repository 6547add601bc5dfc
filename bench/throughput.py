"""How fast stacks train, beside the usual way of writing it, on the machine at hand.

Three programs train the same architecture on the same tokens: a stack of K, a stack of one, and a
plain ``nn.Module`` under ``torch.optim.AdamW``. They take turns in many short rounds. A ratio is
the median of the rounds' own ratios, so that a machine whose speed drifts favours none of them.
Rates are given in tokens/s, in GFLOP/s by ``mugrow.bench.flops`` and as a share of the
matrix-product rate measured in the same process; a small model's share is low because its work is
not matrix products.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mugrow.bench import flops
from mugrow.bench.data.batches import TokenData
from mugrow.bench.model import count
from mugrow.bench.parametrization import initial_weights, rules_of
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.bench.split import Split
from mugrow.bench.stack import Stack, begin
from mugrow.bench.train import advance

ROUNDS = 25
PROBE_S, MATMUL_S = 0.3, 0.2  # of a probe, and of each of the large products that are timed


class PlainBlock(nn.Module):
    """Attention and MLP with a norm before each."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.norm1, self.norm2 = nn.LayerNorm(spec.width), nn.LayerNorm(spec.width)
        self.qkv = nn.Linear(spec.width, 3 * spec.width)
        self.out = nn.Linear(spec.width, spec.width)
        self.up = nn.Linear(spec.width, spec.mlp_width)
        self.down = nn.Linear(spec.mlp_width, spec.width)

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream ``(B, T, D)`` after the block."""
        B, T, D = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, dim=2)
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return x


class PlainDecoder(nn.Module):
    """The GPT-2 flavour as it is usually written."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embed = nn.Embedding(spec.vocab_size, spec.width)
        self.positions = nn.Embedding(spec.context, spec.width)
        self.blocks = nn.Sequential(*(PlainBlock(spec) for _ in range(spec.depth)))
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, spec.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)``."""
        x = self.embed(tokens_BT) + self.positions.weight[: tokens_BT.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def throughput(
    widths: Iterable[int],
    members: Iterable[int],
    *,
    depth: int = 4,
    context: int = 128,
    sequences: int = 16,
    seconds: float = 0.4,
    device: str = "cpu",
) -> dict[str, Any]:
    """Rates by width: the usual loop (``stack`` null) and stacks of K, ``seconds`` a round."""
    peak = matmul_gflops(device)
    rows = []
    for width in widths:
        model = ModelSpec(width=width, depth=depth, context=context)
        steps: dict[int | None, Callable[[], object]] = {None: _loop(model, sequences, device)}
        steps |= {k: endless_stack(model, sequences, k, device) for k in members}
        times = _rounds(steps, seconds, device)
        for k, taken in times.items():
            tokens = (k or 1) * sequences * context
            rate = tokens / statistics.median(taken)
            gflops = rate * flops.per_token(model) / 1e9
            loop = zip(times[None], taken, strict=True)
            rows.append(
                {
                    "width": width,
                    "stack": k,
                    "tokens_per_s": rate,
                    "gflops": gflops,
                    "share_of_matmul": gflops / peak,
                    "ratio_to_loop": (k or 1) * statistics.median(a / b for a, b in loop),
                }
            )
    return {
        "matmul_gflops": peak,
        "device": device,
        "threads": torch.get_num_threads(),
        "depth": depth,
        "context": context,
        "sequences": sequences,
        "rows": rows,
    }


def probe(model: ModelSpec, sequences: int, members: int) -> float:
    """A quick estimate of a stack's tokens/s, all members counted, from a few steps."""
    step = endless_stack(model, sequences, members, "cpu")
    step()
    return members * sequences * model.context / _timed(step, PROBE_S, "cpu")


def matmul_gflops(device: str = "cpu", size: int = 1024) -> float:
    """The rate of a large float32 matrix product."""
    a = torch.randn(size, size, device=device)
    times = [_timed(lambda: a @ a, MATMUL_S, device) for _ in range(5)]
    return 2 * size**3 / min(times) / 1e9


def _rounds(
    steps: dict[int | None, Callable[[], object]], seconds: float, device: str
) -> dict[int | None, list[float]]:
    """Seconds a step of each program, for every round."""
    times: dict[int | None, list[float]] = {k: [] for k in steps}
    for step in steps.values():
        step()
    for _ in range(ROUNDS):
        for k, step in steps.items():
            times[k].append(_timed(step, seconds, device))
    return times


def _timed(step: Callable[[], object], seconds: float, device: str) -> float:
    """Seconds a call, over as many calls as fit."""
    _wait(device)
    began = time.perf_counter()
    calls = 0
    while calls == 0 or time.perf_counter() - began < seconds:
        step()
        calls += 1
        if calls % 8 == 0:
            _wait(device)
    _wait(device)
    return (time.perf_counter() - began) / calls


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _loop(model: ModelSpec, sequences: int, device: str) -> Callable[[], object]:
    decoder = PlainDecoder(model).to(device)
    assert sum(p.numel() for p in decoder.parameters()) == count(model)[0]
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, weight_decay=0.1)
    tokens = torch.randint(model.vocab_size, (sequences, model.context + 1), device=device)

    def step() -> None:
        logits = decoder(tokens[:, :-1])
        loss = F.cross_entropy(logits.view(-1, model.vocab_size), tokens[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()

    return step


def endless_stack(
    model: ModelSpec, sequences: int, members: int, device: str
) -> Callable[[], object]:
    """Steps of the real trainer, on random tokens, without validation between them."""
    return endless_steps([endless_run(model, sequences, seed) for seed in range(members)], device)


def endless_run(model: ModelSpec, sequences: int, seed: int = 0) -> RunSpec:
    """A run that ends when nobody goes on with it."""
    endless = 10**9
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=1e-3, init_std=0.02),
        schedule=ScheduleSpec(kind="constant", warmup=0),
        data=DataSpec(corpus="random", corpus_sha256="", val_tokens=model.context),
        batch_sequences=sequences,
        steps=endless,
        seed=seed,
        data_seed=seed,
        log_every=endless,
    )


def endless_steps(
    specs: Sequence[RunSpec], device: str = "cpu", split: Split | None = None
) -> Callable[[], object]:
    """Steps of the real trainer with such runs, on random tokens."""
    model = specs[0].model
    rules = rules_of("sp", model, model)
    starts = [initial_weights(model, rules, 0.02, s.seed, torch.float32) for s in specs]
    stack = Stack(specs, device=device, split=split)
    states = advance(stack, begin(stack, starts), _random_tokens(model))
    return lambda: next(states)


def _random_tokens(model: ModelSpec) -> TokenData:
    tokens = np.random.Generator(np.random.Philox(0)).integers(
        model.vocab_size, size=1 << 16, dtype=np.uint32
    )
    return TokenData("random", "", tokens, tokens, model.vocab_size, None)
