#!/usr/bin/env bash
# torch on a CPU: a lower precision of products rounds nothing and makes attention many times slower.
#
# Expected   torch.set_float32_matmul_precision("medium") trades accuracy for speed: products of
#            float32 "use the bfloat16 datatype for internal computations" where that is quicker,
#            and are computed as before where it is not.
# Happens    On a CPU with AVX-512 and without AMX nothing is rounded: a product of ones with
#            1 + 2^-12, which bfloat16 has not, is exact. But products are another library's now,
#            oneDNN's in place of MKL's. Large ones are as quick as before or, on AMD's CPUs from
#            Zen 5 on, twice as quick. And scaled_dot_product_attention, whose kernel multiplies
#            block by block, takes several times as long: ten times with 32 heads of 16 coordinates
#            over 64 positions.
# Matters    A script that sets it for a GPU, as torch's own warning advises, loses most of its
#            attention's speed wherever it runs on a CPU, with no accuracy given away for it.
# Versions   torch 2.13.0 (MKL 2024.0.2, oneDNN 3.12.0), Python 3.11, a CPU with AVX-512 and without
#            AMX; elsewhere it says so and checks nothing
# Sources    https://docs.pytorch.org/docs/stable/generated/torch.set_float32_matmul_precision.html
#            https://docs.pytorch.org/docs/stable/notes/mkldnn.html
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
cpuinfo = Path("/proc/cpuinfo")
amx = cpuinfo.exists() and "amx_tile" in cpuinfo.read_text()
if torch.backends.cpu.get_cpu_capability() != "AVX512" or amx:
    print("not a CPU with AVX-512 and without AMX: nothing is checked")
    sys.exit(0)

ones, nearly = torch.ones(64, 64), torch.full((64, 64), 1 + 2.0**-12)
q, k, v = torch.randn(3, 8, 4, 64, 16)
a, b = torch.randn(512, 256), torch.randn(256, 1024)


def seconds(work):
    for _ in range(3):
        work()
    best = float("inf")
    for _ in range(9):
        began = time.perf_counter()
        for _ in range(10):
            work()
        best = min(best, (time.perf_counter() - began) / 10)
    return best


took = {}
for precision in ("highest", "medium"):
    torch.set_float32_matmul_precision(precision)
    exact = bool((ones @ nearly == 64 + 2.0**-6).all())
    took[precision] = (
        seconds(lambda: a @ b),
        seconds(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    )
    product, attention = (1e6 * each for each in took[precision])
    print(f"{precision}: exact {exact}, product {product:.0f} us, attention {attention:.0f} us")
    assert exact
slower = took["medium"][1] / took["highest"][1]
print(f"attention takes {slower:.1f} times as long, the product {took['medium'][0] / took['highest'][0]:.2f} times")
assert slower > 2
PYTHON
