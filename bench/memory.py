"""How much memory a stack takes: what it keeps between steps, and the most that a step has at once.

Bytes are counted where torch gives them out: on a CPU every allocation and release that its
profiler reports, on a GPU the allocator's own statistics. That is all that tensors take, those
inside torch's kernels too; what MKL or cuBLAS take for themselves is not in it, nor is Python.

Of a parameter in float32, AdamW keeps 16 bytes (a weight, two moments, a gradient), which the
largest models are made of; the activations of a batch come on top, and are most of a small one.
"""

import gc
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from mugrow.bench.endless import endless_stack
from mugrow.bench.model import count
from mugrow.bench.spec import ModelSpec
from mugrow.bench.switches import one_thread


class Allocated(NamedTuple):
    """Bytes of tensors: those that some work left more than it found, and the most at once, counted
    from where it began."""

    kept: int
    peak: int


def allocated(work: Callable[[], object], device: str = "cpu") -> Allocated:
    """What a call of ``work`` allocates."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        kept = torch.cuda.memory_allocated(device) - before
        return Allocated(kept, torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    assert found.profiler is not None
    results = found.profiler.kineto_results
    assert results is not None
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in results.events()
        if event.name() == "[memory]"
    )
    sums = list(accumulate((nbytes for _, nbytes in changes), initial=0))
    return Allocated(sums[-1], max(sums))


def memory(
    cases: Mapping[int, Iterable[int]],
    *,
    depth: int = 2,
    context: int = 64,
    sequences: int = 8,
    device: str = "cpu",
) -> dict[str, Any]:
    """Bytes of stacks of so many members, by width: what each keeps, and what it has at most in a
    step. Both also by parameter of a member."""
    rows = []
    for width, members in cases.items():
        model = ModelSpec(width=width, depth=depth, context=context)
        for k in members:
            kept, peak = measured_bytes(partial(endless_stack, model, sequences, k, device), device)
            parameters = k * count(model)[0]
            rows.append(
                {
                    "width": width,
                    "stack": k,
                    "parameters": parameters,
                    "kept_mb": kept / 1e6,
                    "step_mb": peak / 1e6,
                    "kept_per_parameter": kept / parameters,
                    "step_per_parameter": peak / parameters,
                }
            )
    return {
        "device": device,
        "depth": depth,
        "context": context,
        "sequences": sequences,
        "rows": rows,
    }


def measured_bytes(step: Callable[[], Callable[[], object]], device: str = "cpu") -> Allocated:
    """Of the steps that ``step()`` begins: what is kept from the first one on, and the most at once
    in the second."""
    steps: list[Callable[[], object]] = []

    def begin() -> None:
        steps.append(step())
        steps[0]()

    with one_thread():  # several would work on several groups of members at once, now and then
        kept = allocated(begin, device).kept
        return Allocated(kept, kept + allocated(steps[0], device).peak)
