"""Memory that a step frees is there for the next one."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from mugrow.bench.heap import keep_freed_memory

def pages_of_ten_steps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tensors = [torch.ones(1 << 18) for _ in range(8)]  # 1 MB each
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    assert keep_freed_memory()
pages_of_ten_steps()
print(pages_of_ten_steps())
"""


USUAL = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # as glibc begins; it adapts, when is hard to say


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap alone is told")
def test_pages_are_had_once():
    pages = {
        word: int(
            subprocess.check_output([sys.executable, "-c", PROGRAM, word], env=os.environ | USUAL)
        )
        for word in ("kept", "usual")
    }
    assert pages["kept"] < 100
    assert pages["usual"] > 1000
