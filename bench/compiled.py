"""The loss and gradient of a member as one compiled program, for every member of a stack.

Eager torch writes what each operation gives to memory and reads it for the next. TorchInductor
(Ansel et al., ASPLOS 2024) traces a member's forward and backward pass and makes one loop of
neighbours that work element by element; matrix products and attention stay the library's. The
program is of one member, so that a shape is compiled once whatever the number of members, and a
member's losses do not depend on who else is in its stack.

Compiling takes long, and training must win it back: ``break_even_tokens`` says after how much.
The system's compiler is asked for it (``g++``; Triton on a GPU), and what it made is kept in
torch's own cache, the folder ``TORCHINDUCTOR_CACHE_DIR`` (by default ``torchinductor_USER`` in the
temporary folder), where later processes and runs find it: what is in there takes a tenth of the
time.

On a GPU what costs is the start of each of a step's kernels, and a captured graph starts them all
at once: there the program is one of all members at once, as ``mode="reduce-overhead"`` has it, and
a new one when members leave.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from functools import lru_cache
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from mugrow.bench.device import is_gpu
from mugrow.bench.growth import During
from mugrow.bench.model import Decoder, count, fused
from mugrow.bench.spec import RunSpec, UserError
from mugrow.bench.split import Split, chunk_tokens

LossAndGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Of members' storage ``(K, P)`` and sequences with their last targets ``(K, B, T + 1)``: mean
losses ``(K,)`` in nats per token, and their gradient ``(K, P)``."""

MAKING = RLock()  # members of a stack may be trained by several threads
TRACE_S, LAYER_S = 18.0, 4.0
"""CPU seconds that compiling takes where the cache has nothing, and of each layer: 26, 36 and 50 at
depths 2, 4 and 8 on a Zen 5 core, most of them the compiler's."""
SAVED_S = 5e-7
"""CPU seconds saved by a token, of each layer. Measured on such a core at depth 2: 1.0e-6 to 1.2e-6
of one member or at width 128, 0.6e-6 of 14 at width 64 and 0.1e-6 at width 32."""


def compile_s(spec: RunSpec) -> float:
    """The CPU seconds that compiling a run's shape takes, about."""
    return TRACE_S + LAYER_S * spec.model.depth


def break_even_tokens(spec: RunSpec) -> float:
    """After how many tokens of all runs of this shape that is won back on a CPU, about."""
    return compile_s(spec) / (SAVED_S * spec.model.depth)


def check_compiler(device: str = "cpu") -> None:
    """Raise the ``UserError`` of a machine on which nothing can be compiled."""
    if is_gpu(device):
        if importlib.util.find_spec("triton") is None:
            raise UserError("--compile on a GPU needs triton, which is not installed")
        return
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"--compile needs the C++ compiler {compiler!r}, which is not installed here; set CXX "
            "to another, or leave --compile off"
        )


def why_not(during: During | None, split: Split | None) -> str | None:
    """Why a stack cannot be compiled; ``None`` if it can."""
    if during is not None and during.used is not None:
        return "its method makes the weights that the model runs on anew at every step"
    if during is not None and during.norm_mask is not None:
        return "its method weighs coordinates in the norms"
    if split is not None and split.recompute:
        return "activations are to be computed again"
    return None


def loss_and_gradient(
    decoder: Decoder,
    weights_KP: Tensor,
    tokens_KBT: Tensor,
    gradient_KP: Tensor,
    share: float = 1.0,
    *,
    first: bool = True,
) -> Tensor:
    """The mean losses ``(K,)`` of members on sequences with their last targets ``(K, B, T + 1)``,
    in nats per token, times their ``share`` of a batch. Their gradient is written to
    ``gradient_KP`` or, if this is not the ``first`` part of the batch, added to it."""
    shape, dtype, device = tuple(tokens_KBT.shape), weights_KP.dtype, str(weights_KP.device)
    with MAKING:
        program = _made(decoder, shape, dtype, device, torch.get_num_threads())
    with torch.no_grad():
        loss_K, found_KP = program(weights_KP, tokens_KBT)
        if first:
            torch.mul(found_KP, share, out=gradient_KP)
        else:
            gradient_KP.add_(found_KP, alpha=share)
        return loss_K * share


def how(device: str, threads: int) -> dict[str, Any]:
    """What ``torch.compile`` is told on a device: for so many threads of a CPU, or for a graph of
    all of a GPU's kernels, whose arguments and results lie where they lay in the step before."""
    if is_gpu(device):
        return {"mode": "reduce-overhead"}
    return {"options": {"cpp.threads": threads, "compile_threads": 1}}


@lru_cache(maxsize=32)
def _made(
    decoder: Decoder,
    tokens_shape: tuple[int, ...],
    dtype: torch.dtype,
    device: str,
    threads: int,
) -> LossAndGradient:
    """The program for tensors of these shapes, types and device, and so many threads. A process
    makes each once."""
    from torch.fx.experimental.proxy_tensor import make_fx

    spec, members = decoder.spec, tokens_shape[0]
    chunk = chunk_tokens(spec, members)
    example = (
        torch.zeros(members, count(spec)[0], dtype=dtype, device=device),
        torch.zeros(tokens_shape, dtype=torch.int64, device=device),
    )

    def program(weights_KP: Tensor, tokens_KBT: Tensor) -> tuple[Tensor, Tensor]:
        weights_KP = weights_KP.detach().requires_grad_()
        with torch.enable_grad():
            loss_K = decoder.losses_of(fused(spec, weights_KP), tokens_KBT, chunk)
            (gradient_KP,) = torch.autograd.grad(loss_K.sum(), weights_KP)
        return loss_K.detach(), gradient_KP

    program(*example)  # what is remembered between calls is not part of what is traced
    traced = make_fx(program)(*example)
    ready = torch.compile(traced, fullgraph=True, dynamic=False, **how(device, threads))
    with torch.no_grad():
        ready(*example)
    return ready
