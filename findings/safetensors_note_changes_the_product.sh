#!/usr/bin/env bash
# safetensors and torch: a longer note in a file's metadata changes what its weights compute.
#
# Expected   Tensors that are equal, of one shape and contiguous, on one machine and thread, give
#            the same matrix product, to the last bit. The documentation of torch on reproducibility and
#            that of safetensors name nothing that the metadata could change.
# Happens    load_file maps a tensor where it lies in the file: behind the header, which is padded
#            to 8 bytes, so its address depends on how long the metadata is. torch allocates at
#            multiples of 64. At an address that is no multiple of 16 the product with a vector is
#            added up in another order (MKL promises equal bits for equally aligned data alone), so
#            the same weights give two results, and a tensor is not worth its clone.
# Matters    A run resumed from a file is not the run that was never stopped, unless what is read is
#            copied first.
# Versions   safetensors 0.8.0, torch 2.13.0 (CPU), Python 3.11; seen on x86-64
# Sources    https://github.com/huggingface/safetensors#format
#            https://pytorch.org/docs/stable/notes/randomness.html
#            https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/current/
#            (Obtaining Numerically Reproducible Results: align data on 64 bytes)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q safetensors==0.8.0 torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import safetensors
import torch
from safetensors.torch import load_file, save_file

print("safetensors", safetensors.__version__, " torch", torch.__version__)
torch.set_num_threads(1)
rng = torch.Generator().manual_seed(0)
weight, vector = torch.randn(200, 70, generator=rng), torch.randn(70, generator=rng)
expected = weight @ vector
print("note  address mod 64  equal weights  equal product  equal product of its clone")
products, aligned = set(), {}
for letters in range(0, 64, 8):
    save_file({"weight": weight}, "model.safetensors", metadata={"note": "x" * letters})
    loaded = load_file("model.safetensors")["weight"]
    assert torch.equal(loaded, weight)
    assert loaded.is_contiguous()
    product = loaded @ vector
    products.add(tuple(product.tolist()))
    same = torch.equal(product, expected)
    same_cloned = torch.equal(loaded.clone() @ vector, expected)
    assert same_cloned
    aligned.setdefault(loaded.data_ptr() % 16 == 0, set()).add(same)
    print(f"{letters:4}{loaded.data_ptr() % 64:16}{'True':>15}{same!s:>15}{same_cloned!s:>28}")
print(f"one set of weights, {len(products)} products")
assert len(products) == 2
assert aligned == {True: {True}, False: {False}}
print("\nas described")
PYTHON
