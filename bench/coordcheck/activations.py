"""How large the activations of a stack's members are, step by step.

Modules are called as their parameters are: ``embed``, ``blocks.0.attention.q``, ``.k``, ``.v``,
``.logits`` (before the softmax, at the positions that attention sees), ``.o``, ``blocks.0.mlp.up``
(before the activation), ``.down``, ``blocks.0`` (the residual stream after the block), ``head``.
What ``.o`` and ``.down`` add to the stream is taken with its multiplier.

All is measured on one batch, each member's first; training itself goes on to others.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mugrow.bench.data.batches import TokenData, train_batch
from mugrow.bench.model import Decoder, flatten
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import UserError
from mugrow.bench.stack import Stack, StackState, model_weights
from mugrow.bench.train import advance

Kind = Literal["x", "dx"]
Array = npt.NDArray[np.float64]
Sizes = dict[tuple[Kind, str, int], Array]
"""By kind, module and step, the mean absolute value for each member, ``(K,)``."""


def measured(stack: Stack, state: StackState, data: TokenData) -> Sizes:
    """Train a stack to its end; mean |x_t| from step 0 and mean |x_t - x_0| from step 1."""
    tokens_KBT = _first_batches(stack, data)
    first = activations(*running(stack, state), tokens_KBT)
    found: Sizes = {("x", module, 0): _mean(x) for module, x in first.items()}
    for _ in advance(stack, state, data):
        if len(state.alive) < len(stack.specs):
            spec = stack.specs[0]
            raise UserError(
                f"a run of width {spec.model.width} and depth {spec.model.depth} diverged within "
                f"{state.step} steps: its learning rate {spec.hyper.lr:g} is too large"
            )
        for module, x in activations(*running(stack, state), tokens_KBT).items():
            found["x", module, state.step] = _mean(x)
            found["dx", module, state.step] = _mean(x - first[module])
    return found


def running(stack: Stack, state: StackState) -> tuple[Decoder, Tensor]:
    """The members as they run after their steps so far: decoder and weights ``(K, P)``."""
    spec = stack.specs[0]
    weights = [flatten(spec.model, model_weights(stack, state, i)) for i in state.alive]
    flat_KP = torch.stack(weights).detach()
    rules = rules_of(spec.parametrization, spec.model, spec.base)
    decoder = Decoder(spec.model, rules.multipliers, precision=spec.precision)
    if stack.during is not None:
        decoder = stack.during.decoder_at(decoder, state.step, flat_KP)
    return decoder, flat_KP


@torch.no_grad()
def activations(decoder: Decoder, flat_KP: Tensor, tokens_KBT: Tensor) -> dict[str, Tensor]:
    """Every activation of each member, ``(K, n)``, by module."""
    seen: dict[str, Tensor] = {}
    replace(decoder, observe=seen.__setitem__).logits(flat_KP, tokens_KBT)
    i, j = torch.tril_indices(tokens_KBT.shape[-1], tokens_KBT.shape[-1])
    return {
        module: (x[..., i, j] if module.endswith("attention.logits") else x).reshape(
            len(flat_KP), -1
        )
        for module, x in seen.items()
    }


def _first_batches(stack: Stack, data: TokenData) -> Tensor:
    """Tokens ``(K, B, T)``."""
    batches = [
        train_batch(
            data.train, spec.data_seed, spec.first_batch, spec.batch_sequences, spec.model.context
        )
        for spec in stack.specs
    ]
    return torch.from_numpy(np.stack(batches))[..., :-1]


def _mean(x_Kn: Tensor) -> Array:
    size_K: Array = x_Kn.abs().double().mean(1).numpy()
    return size_K
