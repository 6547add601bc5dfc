"""A device by its name, ``cpu`` or ``cuda:1``: what it is, and how much of it a stack may take.

Of a GPU that is a share of all that it has, never of what is free now: what a stack takes at once
decides how its sums are rounded, and must be the same whenever the study is run again.
"""

import platform

SHARE = 0.9  # of a GPU's memory: the rest is the driver's and libraries'


def is_gpu(device: str) -> bool:
    """Whether that is a GPU."""
    return device.startswith("cuda")


def device_name(device: str) -> str:
    """What a device is, in words: the GPU's model, or the CPU's architecture."""
    if not is_gpu(device):
        return f"cpu ({platform.machine()})"
    import torch

    return str(torch.cuda.get_device_name(device))


def memory_budget(device: str) -> float | None:
    """The bytes that a stack may take of a device of this machine; ``None`` is no limit, as on a
    CPU."""
    return SHARE * total_bytes(device) if is_gpu(device) else None


def total_bytes(device: str) -> int:
    """All memory of a GPU of this machine."""
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory)
