"""Growing by a method that may be somebody else's: it can spoil its own run, and nothing else.

A method is given copies, and must leave them as they are. The global generators of torch, NumPy and
Python are seeded from the run's own before it is called and are put back after, so that one that
draws from them draws the same for the same run, and moves nothing that others draw. What it returns
must be a model: the target's names, shapes and types, finite numbers, in storage of their own. A
method that is not of this suite is asked twice, and must answer the same to the bit: a generator of
its own, seeded by the clock, is seen by nothing else.
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

Generators = Callable[[], torch.Generator]


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
        _check_kept(entry.name, source, weights, "the source")
        _check_kept(entry.name, drawn, init, "the target's own draw")
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
            _check_kept(entry.name, tensors, buffers[buffer], f"the source's {buffer}")
        return {f"{b} {name}": t for b, tensors in found.items() for name, t in tensors.items()}

    flat = _twice(entry, once)
    return {buffer: {name: flat[f"{buffer} {name}"] for name in init} for buffer in kinds}


def is_ours(entry: GrowthMethod) -> bool:
    """Whether the method is one of this suite."""
    return entry.name in REGISTRY.builtin and REGISTRY.get(entry.name) is entry


def copies(tensors: Weights) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@contextmanager
def own_generators(rng: torch.Generator) -> Iterator[None]:
    """The global generators of torch, NumPy and Python, seeded like the given one, and as they were
    before when this is left."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    seed = rng.initial_seed() % 2**32
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


def _twice(entry: GrowthMethod, once: Callable[[], Weights]) -> Weights:
    found = once()
    if is_ours(entry):
        return found
    again = once()
    for name, tensor in found.items():
        if not torch.equal(tensor, again[name]):
            raise MethodError(
                f"method {entry.name!r} is not the same twice: {name} differs when it is grown "
                f"again with a generator in the same state"
            )
    return found


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


def _check_kept(method: str, given: Weights, kept: Weights, what: str) -> None:
    """That what a method was given is still what it was copied from."""
    for name, tensor in kept.items():
        if name not in given or not torch.equal(given[name], tensor):
            raise MethodError(f"method {method!r} changed {what} that it was given: {name}")


def _check_apart(method: str, tensors: Weights, source: Weights) -> None:
    places = {tensor.untyped_storage().data_ptr() for tensor in source.values()}
    for name, tensor in tensors.items():
        if tensor.numel() and tensor.untyped_storage().data_ptr() in places:
            raise MethodError(f"method {method!r} returned {name} in its source's own storage")
