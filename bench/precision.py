"""Precision: which numbers the products of a training step are of.

``float32`` is exact to its last bit. ``tf32`` rounds the factors of a GPU's products to 10 bits of
mantissa and sums in float32; a CPU has no such products, so there it is float32. ``bf16`` has 7
bits and float32's range, so that no loss has to be scaled (Micikevicius et al., arXiv 1710.03740,
need that for float16; Kalamkar et al., arXiv 1905.12322, do not for bfloat16).

In bf16 the factors of linear maps and attention are rounded, after a norm's gain has been folded
into its map, and what a map gives is. All else stays in float32: master weights, moments and
gradients, the residual stream, the statistics of norms, the logits' log-sum-exp and the loss. So an
update far smaller than a weight's last bf16 bit still counts.

A rounding is a relative error of at most 2^-9 (2^-11 in tf32), of either sign. Rules for initial
scales and rates do not see it; whatever is exact in theory holds within it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mugrow.bench.device import is_gpu
from mugrow.bench.spec import Precision
from mugrow.bench.switches import tell_products, told_products

OF_ALL = {None: "highest", "tf32": "high", "bf16": "medium"}  # as torch names them


def rounded(x: Tensor, precision: Precision) -> Tensor:
    """A factor of a product."""
    return x.bfloat16() if precision == "bf16" else x


def widened(x: Tensor) -> Tensor:
    """What a product gave, for whatever is not computed in bf16."""
    return x.float() if x.dtype == torch.bfloat16 else x


@contextmanager
def float32_products(precision: Precision, device: str, *, onednn: bool = False) -> Iterator[None]:
    """Within, products of float32 are what ``precision`` says on a GPU, and on a CPU oneDNN's or
    not (``mugrow.bench.products``), whatever torch is set to elsewhere."""
    gpu = is_gpu(device)
    lower = ("tf32" if precision == "tf32" else None) if gpu else ("bf16" if onednn else None)
    of_all, _ = before = told_products()
    if of_all is None:  # they were told apart, so that torch cannot say what it could put back
        backend: Any = torch.backends.cuda if gpu else torch.backends.mkldnn
        backend.matmul.fp32_precision = lower or "ieee"
    else:
        torch.set_float32_matmul_precision(OF_ALL[lower])
    try:
        yield
    finally:
        tell_products(before)
