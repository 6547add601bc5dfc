"""Growing by a method that may be somebody else's: it can spoil its own run, and nothing else.

A method is given copies, and must leave them as they are. The global generators of torch, NumPy and
Python, and those of GPUs where there are any, are seeded from the run's own before it is called and
are put back after, so that one that draws from them draws the same for the same run, and moves
nothing that others draw. Settings of torch are put back likewise. What it returns must be a model:
the target's names, shapes and types, finite numbers, in storage of their own. A method that is not
of this suite is asked twice, and must answer the same to the bit: a generator of its own, seeded by
the clock, is seen by nothing else. For what acts while a target trains see
``mugrow.bench.guarded_hooks``.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mugrow.bench.growth import (
    REGISTRY,
    GrowthMethod,
    MethodError,
    Params,
    blamed,
    grow_buffers,
)
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.optim import BufferKind
from mugrow.bench.switches import kept_switches

Generators = Callable[[], torch.Generator]
GLOBAL = ("torch", "NumPy", "Python", "CUDA")


def grown(
    entry: GrowthMethod,
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: Generators,
    given: Mapping[str, Any],
) -> Weights:
    """The source's ``weights`` grown. ``rng`` makes the run's generator anew. Raises
    ``MethodError`` for whatever the method raises or gets wrong."""

    def once() -> Weights:
        source, drawn = copies(weights), copies(init)
        with blamed(entry.name), own_generators(rng()):
            found = entry.grow(source, small, big, drawn, rng(), **given)
            _check_model(entry.name, found, init)
        check_kept(entry.name, source, weights, "the source")
        check_kept(entry.name, drawn, init, "the target's own draw")
        _check_apart(entry.name, found, source)
        return found

    return _twice(entry, once)


def grown_buffers(
    entry: GrowthMethod,
    buffers: Mapping[str, Weights],
    kinds: Mapping[str, BufferKind],
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: Generators,
    params: Params,
) -> dict[str, Weights]:
    """An optimizer's buffers grown, as ``mugrow.bench.growth.grow_buffers`` does it. Raises
    ``MethodError`` likewise."""

    def once() -> Weights:
        source = {buffer: copies(tensors) for buffer, tensors in buffers.items()}
        with blamed(entry.name), own_generators(rng()):
            found = grow_buffers(entry, source, kinds, small, big, rng, params)
            for tensors in found.values():
                _check_model(entry.name, tensors, init)
        for buffer, tensors in source.items():
            check_kept(entry.name, tensors, buffers[buffer], f"the source's {buffer}")
        return {f"{b} {name}": t for b, tensors in found.items() for name, t in tensors.items()}

    flat = _twice(entry, once)
    return {buffer: {name: flat[f"{buffer} {name}"] for name in init} for buffer in kinds}


def is_ours(entry: GrowthMethod) -> bool:
    """Whether the method is one of this suite."""
    return entry.name in REGISTRY.builtin and REGISTRY.get(entry.name) is entry


def copies(tensors: Weights) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@contextmanager
def own_generators(rng: torch.Generator, forbidden_to: str | None = None) -> Iterator[None]:
    """The global generators of torch, NumPy, Python and CUDA, seeded like the given one, and as
    they were before when this is left. Raises ``MethodError`` where a method that must not has used
    them."""
    with kept_generators(), kept_switches():
        seed_generators(rng.initial_seed() % 2**32)
        seeded = generator_states()
        yield
        if forbidden_to is not None and (used := moved(seeded)):
            raise MethodError(f"method {forbidden_to!r} {used}")


# whatever each library's own state is; of CUDA one a GPU, none where it has not been started
States = tuple[Tensor, tuple[Any, ...], tuple[Any, ...], tuple[Tensor, ...]]


def generator_states() -> States:
    """The states of the global generators: torch's, NumPy's, Python's, CUDA's. A process that has
    not used a GPU is not made to by the question."""
    of_numpy = np.random.get_state(legacy=True)  # noqa: NPY002
    assert isinstance(of_numpy, tuple)
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    of_cuda = torch.cuda.get_rng_state_all() if started else ()
    return torch.get_rng_state(), of_numpy, random.getstate(), tuple(of_cuda)


def seed_generators(seed: int) -> None:
    """Seed the global generators, below 2^32; those of GPUs when they are first used, if they have
    not been yet."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


@contextmanager
def kept_generators() -> Iterator[None]:
    """The global generators are as they were before when this is left, whatever happens."""
    before = generator_states()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
        if before[3]:
            torch.cuda.set_rng_state_all(before[3])


def moved(before: States) -> str | None:
    """Which global generators are not where they were, in words; None where all are."""
    now = generator_states()
    same = (
        torch.equal(before[0], now[0]),
        all(np.array_equal(one, other) for one, other in zip(before[1], now[1], strict=True)),
        before[2] == now[2],
        not before[3] or all(map(torch.equal, before[3], now[3])),
    )
    names = [name for name, one in zip(GLOBAL, same, strict=True) if not one]
    if not names:
        return None
    return f"moves the global generator of {' and '.join(names)}; rng is for what is random"


def _twice(entry: GrowthMethod, once: Callable[[], Weights]) -> Weights:
    found = once()
    if is_ours(entry):
        return found
    check_same(entry.name, found, once())
    return found


def check_same(method: str, once: Weights, again: Weights) -> None:
    for name, tensor in once.items():
        if name not in again or not _equal(tensor, again[name]):
            raise MethodError(
                f"method {method!r} is not the same twice: {name} differs when it is grown "
                f"again with a generator in the same state"
            )


def _check_model(method: str, tensors: object, init: Weights) -> None:
    if not isinstance(tensors, Mapping):
        raise MethodError(
            f"method {method!r} returned {type(tensors).__name__}, not tensors by name"
        )
    if tensors.keys() != init.keys():
        wrong = min(map(str, tensors.keys() ^ init.keys()))
        raise MethodError(f"method {method!r} returned other tensors than the target's: {wrong}")
    for name, want in init.items():
        got = tensors[name]
        if not isinstance(got, Tensor) or got.shape != want.shape or got.dtype != want.dtype:
            found = f"{tuple(got.shape)} {got.dtype}" if isinstance(got, Tensor) else repr(got)
            raise MethodError(
                f"method {method!r} returned {name} as {found[:60]}, "
                f"not {tuple(want.shape)} {want.dtype}"
            )
        if got.requires_grad:
            raise MethodError(f"method {method!r} returned {name} with a gradient to track")
        if not got.isfinite().all():
            raise MethodError(f"method {method!r} returned {name} with numbers not finite")


def check_kept(method: str, given: Weights, kept: Weights, what: str) -> None:
    """That what a method was given is still what it was copied from."""
    for name, tensor in kept.items():
        if name not in given or not _equal(given[name], tensor):
            raise MethodError(f"method {method!r} changed {what} that it was given: {name}")


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether all numbers are the same; nan is nan, as in a run that diverges."""
    one, other = one.detach(), other.detach()
    return torch.equal(one, other) or torch.equal(one.nan_to_num(0.5), other.nan_to_num(0.5))


def _check_apart(method: str, tensors: Weights, source: Weights) -> None:
    places = {tensor.untyped_storage().data_ptr() for tensor in source.values()}
    for name, tensor in tensors.items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in places:
            raise MethodError(f"method {method!r} returned {name} in its source's own storage")
