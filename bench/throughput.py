"""How fast stacks train, beside the usual way of writing it, on the machine at hand.

Programs train one architecture on as many tokens each: a stack of K, a stack of one, either
compiled too if asked for (``mugrow.bench.compiled``), and the usual loop, a plain ``nn.Module``
under ``torch.optim.AdamW``, with the update as torch has it by default (``loop``) and in one kernel
(``fused loop``, ``fused=True``), which is the faster one. They take turns in many short rounds. A
ratio is the median of the rounds' own ratios, so that a machine whose speed drifts favours none of
them. Rates are given in tokens/s, in tokens per CPU second, which other programs on the machine and
waiting threads do not blur, in GFLOP/s by ``mugrow.bench.flops`` and as a share of the highest rate
of matrix products measured in the same process; a small model's share is low because its work is
not matrix products.
"""

import math
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mugrow.bench import flops
from mugrow.bench.device import is_gpu
from mugrow.bench.endless import endless_run as endless_run  # where they were before
from mugrow.bench.endless import endless_stack
from mugrow.bench.endless import endless_steps as endless_steps
from mugrow.bench.memory import measured_bytes
from mugrow.bench.model import count
from mugrow.bench.precision import float32_products
from mugrow.bench.products import quicker_by_onednn
from mugrow.bench.rotary import frequencies
from mugrow.bench.spec import ModelSpec

ROUNDS = 25
PROBE_S, MATMUL_S = 0.3, 0.2  # of a probe, and of each of the large products that are timed
LOOP, FUSED_LOOP, STACK, COMPILED = "loop", "fused loop", "stack", "compiled stack"

Step = Callable[[], object]


class Program(NamedTuple):
    """What is timed: a loop, or a stack of so many members."""

    kind: str
    members: int | None = None


class Took(NamedTuple):
    """Seconds a step, by the clock and of the CPU."""

    wall_s: float
    cpu_s: float


Clock = Literal["wall_s", "cpu_s"]


class Times(NamedTuple):
    """Of a program: the CPU seconds of its first step, and what one takes in each round."""

    first_cpu_s: float
    rounds: list[Took]

    def median(self, clock: Clock) -> float:
        """Seconds a step."""
        return float(statistics.median(getattr(took, clock) for took in self.rounds))

    def ratio(self, other: "Times", clock: Clock) -> float:
        """Of these seconds to another program's, round by round."""
        rounds = zip(self.rounds, other.rounds, strict=True)
        return float(statistics.median(getattr(a, clock) / getattr(b, clock) for a, b in rounds))


class PlainBlock(nn.Module):
    """Attention and MLP with a norm before each."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.heads, self.rotary = spec.heads, spec.positions == "rope"
        self.norm1, self.norm2 = nn.LayerNorm(spec.width), nn.LayerNorm(spec.width)
        self.qkv = nn.Linear(spec.width, 3 * spec.width)
        self.out = nn.Linear(spec.width, spec.width)
        self.up = nn.Linear(spec.width, spec.mlp_width)
        self.down = nn.Linear(spec.mlp_width, spec.width)
        angle_TR = torch.arange(spec.context)[:, None] * frequencies(spec)
        angle_TS = torch.cat((angle_TR, angle_TR), dim=1).float()
        self.cos = nn.Buffer(angle_TS.cos(), persistent=False)
        self.sin = nn.Buffer(angle_TS.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream ``(B, T, D)`` after the block."""
        B, T, D = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, dim=2)
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in parts)
        if self.rotary:
            q, k = (part * self.cos + _half_turned(part) * self.sin for part in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, D))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return x


def _half_turned(x: Tensor) -> Tensor:
    """Every pair of coordinates (a, b) of a head as (-b, a)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


class PlainDecoder(nn.Module):
    """The GPT-2 flavour as it is usually written, with learned or rotary positions."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embed = nn.Embedding(spec.vocab_size, spec.width)
        learned = spec.positions == "learned"
        self.positions = nn.Embedding(spec.context, spec.width) if learned else None
        self.blocks = nn.Sequential(*(PlainBlock(spec) for _ in range(spec.depth)))
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, spec.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)``."""
        x = self.embed(tokens_BT)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens_BT.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def throughput(
    cases: Mapping[int, Sequence[int]],
    *,
    depth: int = 2,
    context: int = 64,
    sequences: int = 8,
    positions: Literal["learned", "rope"] = "rope",
    compiled: bool = False,
    seconds: float = 0.4,
    rounds: int = ROUNDS,
    device: str = "cpu",
) -> dict[str, Any]:
    """Rates of the usual loops (``stack`` null) and of stacks of so many members, by width;
    ``seconds`` a round; with ``compiled`` the stacks compiled too. ``step_mb`` is the most that a
    step's tensors take, what is kept from step to step in it. ``compile_s`` is the CPU time of the
    first step more than of others, which is hardly any where the shape is in torch's cache, and
    ``break_even_steps`` after how many steps of the stack it is won back; null where it never is.
    ``onednn_gflops`` is the rate of products that stacks may have (``mugrow.bench.products``), null
    where it is the same.
    """
    usual = matmul_gflops(device)
    wider = not is_gpu(device) and quicker_by_onednn()
    onednn = matmul_gflops(device, onednn=True) if wider else None
    peak = max(usual, onednn or 0.0)
    rows = []
    for width, members in cases.items():
        model = ModelSpec(width=width, depth=depth, context=context, positions=positions)
        programs = _programs(model, sequences, members, device, compiled)
        times = _rounds(programs, seconds, rounds, device)
        rows += _rows(model, sequences, times, peak)
        for row, begin in zip(rows[-len(programs) :], programs.values(), strict=True):
            row["step_mb"] = measured_bytes(begin, device).peak / 1e6
    return {
        "matmul_gflops": usual,
        "onednn_gflops": onednn,
        "device": device,
        "threads": torch.get_num_threads(),
        "depth": depth,
        "context": context,
        "sequences": sequences,
        "positions": positions,
        "rounds": rounds,
        "rows": rows,
        "below": below_the_loop(rows),
    }


def _programs(
    model: ModelSpec, sequences: int, members: Sequence[int], device: str, compiled: bool
) -> dict[Program, Callable[[], Step]]:
    """What begins each of the programs, in the order of their rows."""

    def loop(fused: bool) -> Callable[[], Step]:
        return lambda: _loop(model, sequences, device, fused)

    def stack(k: int, compiled: bool) -> Callable[[], Step]:
        return lambda: endless_stack(model, sequences, k, device, compiled)

    return {
        Program(LOOP): loop(False),
        Program(FUSED_LOOP): loop(True),
        **{Program(STACK, k): stack(k, False) for k in members},
        **{Program(COMPILED, k): stack(k, True) for k in members if compiled},
    }


def _rows(
    model: ModelSpec,
    sequences: int,
    times: Mapping[Program, Times],
    peak_gflops: float,
) -> list[dict[str, Any]]:
    rows = []
    for program, took in times.items():
        k = program.members or 1

        def ratio(loop: str, clock: Clock, took: Times = took, k: int = k) -> float:
            return k / took.ratio(times[Program(loop)], clock)

        tokens = k * sequences * model.context
        rate = tokens / took.median("wall_s")
        gflops = rate * flops.per_token(model) / 1e9
        rows.append(
            {
                "width": model.width,
                "program": program.kind,
                "stack": program.members,
                "tokens_per_s": rate,
                "tokens_per_cpu_s": tokens / took.median("cpu_s"),
                "gflops": gflops,
                "share_of_matmul": gflops / peak_gflops,
                "ratio_to_loop": ratio(LOOP, "wall_s"),
                "ratio_to_fused": ratio(FUSED_LOOP, "wall_s"),
                "cpu_ratio_to_fused": ratio(FUSED_LOOP, "cpu_s"),
                **_compiling(program, times),
            }
        )
    return rows


def _compiling(program: Program, times: Mapping[Program, Times]) -> dict[str, float | int | None]:
    """What compiling took and when it is won back; nulls of what is not compiled."""
    if program.kind != COMPILED:
        return {"compile_s": None, "break_even_steps": None}
    took, eager = times[program], times[Program(STACK, program.members)]
    compile_s = max(  # by whichever was the first
        one.first_cpu_s - one.median("cpu_s")
        for other, one in times.items()
        if other.kind == COMPILED
    )
    won_s = eager.median("cpu_s") - took.median("cpu_s")
    return {
        "compile_s": compile_s,
        "break_even_steps": math.ceil(compile_s / won_s) if won_s > 0 else None,
    }


def below_the_loop(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each stack that is slower than the usual loop with the fused update."""
    return [
        f"below the fused loop: {row['program']} of {row['stack']}, width {row['width']}: "
        f"{row['ratio_to_fused']:.2f} a second, {row['cpu_ratio_to_fused']:.2f} a CPU second"
        for row in rows
        if row["stack"] is not None and min(row["ratio_to_fused"], row["cpu_ratio_to_fused"]) < 1
    ]


def probe(model: ModelSpec, sequences: int, members: int) -> float:
    """A quick estimate of a stack's tokens/s, all members counted, from a few steps."""
    step = endless_stack(model, sequences, members, "cpu")
    step()
    return members * sequences * model.context / _timed(step, PROBE_S, "cpu").wall_s


def matmul_gflops(device: str = "cpu", size: int = 1024, *, onednn: bool = False) -> float:
    """The rate of a large float32 matrix product, on a CPU torch's usual one or oneDNN's."""
    a = torch.randn(size, size, device=device)
    with float32_products("float32", device, onednn=onednn):
        times = [_timed(lambda: a @ a, MATMUL_S, device).wall_s for _ in range(5)]
    return 2 * size**3 / min(times) / 1e9


def _rounds(
    programs: Mapping[Program, Callable[[], Step]], seconds: float, rounds: int, device: str
) -> dict[Program, Times]:
    """What a step of each program takes, for every round."""
    steps = {program: begin() for program, begin in programs.items()}
    times: dict[Program, Times] = {}
    for program, step in steps.items():
        began_s = _cpu_s()
        step()
        times[program] = Times(_cpu_s() - began_s, [])
    for _ in range(rounds):
        for program, step in steps.items():
            times[program].rounds.append(_timed(step, seconds, device))
    return times


def _cpu_s() -> float:
    """CPU seconds of this process and of those that it waited for, as compilers are."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _timed(step: Step, seconds: float, device: str) -> Took:
    """A call, over as many calls as fit."""
    _wait(device)
    began, began_cpu = time.perf_counter(), time.process_time()
    calls = 0
    while calls == 0 or time.perf_counter() - began < seconds:
        step()
        calls += 1
        if calls % 8 == 0:
            _wait(device)
    _wait(device)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return Took(wall_s / calls, cpu_s / calls)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _loop(model: ModelSpec, sequences: int, device: str, fused: bool) -> Step:
    decoder = PlainDecoder(model).to(device)
    assert sum(p.numel() for p in decoder.parameters()) == count(model)[0]
    parameters = decoder.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1, fused=fused)
    tokens = torch.randint(model.vocab_size, (sequences, model.context + 1), device=device)

    def step() -> None:
        logits = decoder(tokens[:, :-1])
        loss = F.cross_entropy(logits.view(-1, model.vocab_size), tokens[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()

    return step
