"""Rotary positions: pairs of a head's coordinates, turned by an angle that grows with the position.

Su et al., arXiv 2104.09864. Of a head's S coordinates the first R turn (all of them, unless
``rotary_fraction`` says less, as in GPT-NeoX). Coordinate i is paired with i + R/2, i < R/2:

    (a, b) at position t  ->  (a cos - b sin, a sin + b cos),   angle t f_i,  f_i = theta^(-2i/R)

A model that was trained on T positions and is to see more has its frequencies scaled, in one of two
ways, written as ``name:parameter=value:...``:

    linear:factor=c    f_i / c (Chen et al., arXiv 2306.15595)
    llama3:factor=c:low=l:high=h:context=T
                       f_i / c where a turn takes more than T/l positions, f_i where it takes fewer
                       than T/h, and between them in proportion (LLaMA 3.1, arXiv 2407.21783)

A frequency is one of a pair, not of a head: a head r times as large whose pair r i is the smaller
head's pair i turns it as before, under any scaling, since scaling looks at the frequency alone.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from mugrow.bench.model_spec import ModelSpec, rope_scaling


def frequencies(spec: ModelSpec) -> Tensor:
    """Radians a position of each pair, ``(R/2,)``, in float64."""
    R = spec.rotary_size
    f = spec.rope_theta ** (-torch.arange(0, R, 2, dtype=torch.float64) / R)
    name, params = rope_scaling(spec.rope_scaling)
    if name == "linear":
        return f / params["factor"]
    if name == "llama3":
        turns = params["context"] * f / (2 * math.pi)  # within the context of training
        kept = (turns - params["low"]) / (params["high"] - params["low"])
        kept = kept.clamp(0, 1)
        return kept * f + (1 - kept) * f / params["factor"]
    return f


def parts(spec: ModelSpec) -> tuple[int, int, int]:
    """The sizes of a head's three parts: the two halves that turn together, and the rest."""
    R = spec.rotary_size
    return R // 2, R // 2, spec.head_size - R


def rotate(x: Tensor, spec: ModelSpec) -> Tensor:
    """Queries or keys ``(..., T, S)`` with the first ``rotary_size`` coordinates turned."""
    cos, sin = _rotations(spec, x.shape[-2], x.dtype, x.device)
    a, b, rest = torch.split(x, list(parts(spec)), dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos, rest), dim=-1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def turns_of(spec: ModelSpec, T: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines ``(T, S)`` of a head's coordinates, 1 for the rest, and sines ``(T, R/2)``, on a
    CPU."""
    cos_TR, sin_TR = _rotations(spec, T, dtype, torch.device("cpu"))
    rest = torch.ones(T, parts(spec)[2], dtype=dtype, device="cpu")
    return torch.cat((cos_TR, cos_TR, rest), dim=1), sin_TR


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # who differentiates may have them later
def _rotations(
    spec: ModelSpec, T: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    angle_TR = torch.arange(T, dtype=torch.float64)[:, None] * frequencies(spec)
    return angle_TR.cos().to(device, dtype), angle_TR.sin().to(device, dtype)
