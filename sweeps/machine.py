"""The machine that runs are trained on: how many processes, how many threads, which device.

Never part of a run's identity: the same study gives the same numbers wherever it is trained.
"""

import os

from mugrow.bench.spec import UserError


def check_positive(name: str, *values: int) -> None:
    """Raise the ``UserError`` of what must be at least 1."""
    for value in values:
        if value < 1:
            raise UserError(f"{name} must be at least 1, not {value}")


def worker_count(workers: int | None, device: str) -> int:
    """How many processes train at the same time: one a CPU core, or one on a GPU, by default.
    Raises ``UserError`` for less than one."""
    if workers is None:
        return 1 if device.startswith("cuda") else (os.cpu_count() or 1)
    check_positive("workers", workers)
    return workers


def check_device(device: str) -> None:
    """Raise the ``UserError`` of a device, named as torch names it, that cannot be used here."""
    import torch

    if device == "cpu":
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); 'cpu' can"
        ) from None
