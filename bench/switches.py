"""What torch is told once for a whole process, which somebody else's code must leave as it was.

A plug-in that says ``torch.set_default_dtype(torch.float64)``, at its import or when it is called,
would change the numbers of every run that its process trains later, and threads how they round.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
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
         "precision": ("highest", ("none",) * 4)}  # fmt: skip


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
        "precision": told_products(),
    }


def _tell(torch: ModuleType | None, name: str, value: object) -> None:
    assert torch is not None
    tell: dict[str, Callable[[], object]] = {
        "dtype": lambda: torch.set_default_dtype(getattr(torch, str(value))),
        "device": lambda: torch.set_default_device(None if value == "cpu" else value),
        "grad": lambda: torch.set_grad_enabled(value),
        "threads": lambda: torch.set_num_threads(value),
        "deterministic": lambda: torch.set_deterministic_debug_mode(value),
        "precision": lambda: tell_products(value),  # type: ignore[arg-type]
    }
    tell[name]()


Products = tuple[str | None, tuple[str, ...]]
"""What products are of: of all, where torch says one, and as its backends hold it."""


def told_products() -> Products:
    """The precision that products of float32 have now. Torch refuses to say one of all where they
    were told apart."""
    import torch

    of_all = None
    with suppress(RuntimeError):
        of_all = torch.get_float32_matmul_precision()
    return of_all, tuple(each.fp32_precision for each in _holders())


def tell_products(told: Products) -> None:
    """Have products be as they were; what only had it from above has it from there again."""
    import torch

    of_all, each = told
    if of_all is not None:
        torch.set_float32_matmul_precision(of_all)
    _tell_each(each)
    if told_products()[0] != of_all:  # they were told apart before, and all have been told since
        torch.set_float32_matmul_precision("highest")
        _tell_each(each)


def _tell_each(told: Iterable[str]) -> None:
    for holder, precision in zip(_holders(), told, strict=True):
        holder.fp32_precision = "none"
        if holder.fp32_precision != precision:
            holder.fp32_precision = precision


def _holders() -> list[Any]:
    """What holds a precision, of everything, of a CPU, of a GPU's products and of a CPU's; each has
    it from one before it while it holds none."""
    import torch

    backends: Any = torch.backends
    return [backends, backends.mkldnn, backends.cuda.matmul, backends.mkldnn.matmul]
