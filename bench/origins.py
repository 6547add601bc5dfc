"""What of a grown model its source had, and the learning rate of what it had not.

A coordinate is *old* if the source had it, and else *new*. In width the source's units are the
first of every axis, whether the others are random, zeros or copies (``zero_pad.pad`` says where in
heads). In depth a method may put new blocks on top or between, so it is asked: it grows once more
for each block of a source in which that block alone is another. The first block of the target that
changes, and is not an earlier block's, is where the block went on; a further one is a copy, and
one that never changes is random. Copies and random blocks are new.

With ``new_rate`` in a run's start new coordinates train at that multiple of the rate of old ones.
Torch's decay, which is by the rate, follows.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mugrow.bench.growth import During, GrowthMethod, zero_pad
from mugrow.bench.model import Weights, shapes
from mugrow.bench.spec import ModelSpec, UserError

CHANGED = 1.5  # what a block is multiplied by to see where it went


def blocks_of(
    grow: Callable[[Weights], Weights], weights: Weights, small: ModelSpec
) -> dict[int, int]:
    """The target's blocks that go on from one of the source's, and that one. ``grow`` is pure."""
    before, found = grow(weights), dict[int, int]()
    for block in range(small.depth):
        other = {
            name: CHANGED * tensor if _block(name) == block else tensor
            for name, tensor in weights.items()
        }
        changed = {_block(name) for name, tensor in grow(other).items()
                   if not torch.equal(tensor, before[name])}  # fmt: skip
        places = sorted(place for place in changed if place is not None and place not in found)
        if places:
            found[places[0]] = block
    return found


def old(blocks: Mapping[int, int], small: ModelSpec, big: ModelSpec) -> Weights:
    """Of every parameter of the target where it is old: 1 there and 0 where it is new."""
    ones = {name: torch.ones(shape) for name, shape in shapes(small).items()}
    found = {}
    for name, shape in shapes(big).items():
        block = _block(name)
        if block is None:
            theirs = name
        else:
            theirs = name.replace(f".{block}.", f".{blocks.get(block, -1)}.", 1)
        found[name] = (
            zero_pad.pad(name, ones[theirs], small, big, fill=0.0)
            if theirs in ones
            else torch.zeros(shape)
        )
    return found


def with_new_rate(
    during: During | None, entry: GrowthMethod, is_old: Weights, new_rate: float
) -> During:
    """The hooks of a method, with the rate of what is new multiplied. Raises ``UserError`` where
    nothing is new, and of a method that trains other tensors than the model's."""
    hooks = during or During()
    lifted = {name: one.shape for name, one in hooks.lift(is_old).items()}
    if hooks.used is not None or lifted != {name: one.shape for name, one in is_old.items()}:
        raise UserError(f"method {entry.name!r} trains other tensors than the model's; no new_rate")
    if all(bool(one.all()) for one in is_old.values()):
        raise UserError(f"new_rate is of what the source had not, and {entry.name!r} added nothing")
    times = {name: one + new_rate * (1 - one) for name, one in is_old.items()}

    def rates(t: int) -> Mapping[str, float | Tensor]:
        given = hooks.rates(t) if hooks.rates else {}
        return {name: one * given.get(name, 1.0) for name, one in times.items()}

    return replace(hooks, rates=rates)


def _block(name: str) -> int | None:
    return int(name.split(".")[1]) if name.startswith("blocks.") else None
