"""What torch is told once for a whole process, which somebody else's code must leave as it was.

A plug-in that says ``torch.set_default_dtype(torch.float64)``, at its import or when it is called,
would change the numbers of every run that its process trains later, and threads how they round.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any


@contextmanager
def kept_switches() -> Iterator[None]:
    """Default type and device, gradients, threads, determinism and the precision of products are as
    they were before when this is left. Torch is not imported for it; one that is imported meanwhile
    is left with the defaults that it comes with, but for its threads."""
    before = _told(sys.modules.get("torch"))
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        for name, value in _told(torch).items():
            wanted = before.get(name, FRESH.get(name, value))
            if value != wanted:
                _tell(torch, name, wanted)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works with one thread on a CPU until this is left."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


FRESH = {"dtype": "float32", "device": "cpu", "grad": True, "deterministic": 0,
         "precision": ("highest", "none", "none")}  # fmt: skip


def _told(torch: ModuleType | None) -> dict[str, object]:
    """The switches by name; none without torch, or while it is being imported."""
    if torch is None or not hasattr(torch, "get_default_device"):
        return {}
    return {
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "device": str(torch.get_default_device()),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "precision": (_of_all_products(torch), *(each.fp32_precision for each in _products(torch))),
    }


def _tell(torch: ModuleType | None, name: str, value: object) -> None:
    assert torch is not None
    tell: dict[str, Callable[[], object]] = {
        "dtype": lambda: torch.set_default_dtype(getattr(torch, str(value))),
        "device": lambda: torch.set_default_device(None if value == "cpu" else value),
        "grad": lambda: torch.set_grad_enabled(value),
        "threads": lambda: torch.set_num_threads(value),
        "deterministic": lambda: torch.set_deterministic_debug_mode(value),
        "precision": lambda: _tell_products(torch, value),
    }
    tell[name]()


def _products(torch: ModuleType) -> list[Any]:
    """What holds the precision of products, on GPUs and on CPUs."""
    return [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]


def _of_all_products(torch: ModuleType) -> object:
    """The precision of both; torch refuses to say one where they were told apart."""
    with suppress(RuntimeError):
        return torch.get_float32_matmul_precision()
    return None


def _tell_products(torch: ModuleType, told: Any) -> None:
    of_all, *each = told
    torch.set_float32_matmul_precision(of_all or "highest")
    for matmul, precision in zip(_products(torch), each, strict=True):
        matmul.fp32_precision = precision
