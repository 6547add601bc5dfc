"""Which of torch's two libraries makes the products on a CPU.

On x86 torch asks MKL for products of float32. MKL has kernels of 512-bit registers for Intel's
CPUs, and for another maker's takes those of half the width, whatever the CPU has. oneDNN, which
torch has too, looks at the CPU alone. AMD's server CPUs from Zen 5 (family 26) on multiply 16
numbers at a time where Zen 4 takes them in two halves, so there the same products run at twice the
rate: for 7 members with 512 tokens, width 32 and 128 units 217 and 104 GFLOP/s a core (torch 2.13,
MKL 2024.0, oneDNN 3.12).

Torch asks oneDNN for products of float32 as soon as their factors may be rounded to bfloat16
(``torch.set_float32_matmul_precision("medium")``). It is the only way in, and an odd one: only CPUs
with tiles for it (AMX) round them, and on all others oneDNN multiplies in float32. Whether it does
is tried before it is relied on, on products that rounded factors get wrong. Sums are in another
order than MKL's, so last bits differ from those of other CPUs, as they do anyway; those of a
product do not depend on how many members are multiplied beside it.

Small products stay MKL's: each call has to be looked up. So what is decided is decided by the
smallest product of a member, for all of its products and however many members there are. And models
whose attention is torch's stay there too: of its many small products each is a call, and with heads
of size 16 it takes ten times as long.
"""

import re
from functools import lru_cache
from pathlib import Path

import torch

from mugrow.bench.precision import float32_products
from mugrow.bench.spec import ModelSpec

CPUINFO = Path("/proc/cpuinfo")
WIDE_FAMILY = 26  # of AMD's, from which on 512 bits are multiplied at once
SMALLEST = 1 << 16  # multiplications of a member's smallest product


def by_onednn(model: ModelSpec, tokens: int) -> bool:
    """Whether on this CPU products of a member with so many tokens at once are oneDNN's."""
    smallest = tokens * min(model.width**2, model.context * model.head_size)
    return smallest >= SMALLEST and quicker_by_onednn()


@lru_cache(maxsize=1)
def quicker_by_onednn() -> bool:
    """Whether oneDNN's products of float32 use more of this CPU's registers, and are of float32."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512" and CPUINFO.exists()
    return wide and wide_amd(CPUINFO.read_text()) and _in_float32()


def wide_amd(cpuinfo: str) -> bool:
    """Whether Linux describes a CPU of AMD's that multiplies 512 bits at once."""
    family = re.search(r"^cpu family\s*:\s*(\d+)", cpuinfo, re.MULTILINE)
    return "AuthenticAMD" in cpuinfo and family is not None and int(family[1]) >= WIDE_FAMILY


def _in_float32() -> bool:
    """Whether factors keep bits that bfloat16 has not: these products are exact in float32."""
    ones, nearly = (torch.full((2, 64, 64), x, device="cpu") for x in (1.0, 1 + 2.0**-12))
    with float32_products("float32", "cpu", onednn=True):
        found = torch.bmm(ones, nearly), torch.mm(ones[0], nearly[0])
    return all(bool((product == 64 + 2.0**-6).all()) for product in found)
