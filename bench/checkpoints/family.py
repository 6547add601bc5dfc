"""What a family is: a table of tensors, and a ``config.json`` read and written.

``Piece`` says of one of their tensors which of ours it holds. Most hold one, as it is; ``split``
and ``join`` are for those that hold several or are stored another way round, and undo each other.

A family lacks what it does not name in ``has``: a model with a feature that its ``config.json`` has
no word for is refused on the way out, as a word that ``ModelSpec`` has no field for is on the way
in.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mugrow.bench.checkpoints.config import Config
from mugrow.bench.model import parameters
from mugrow.bench.spec import ModelSpec, UserError

Tensors = tuple[Tensor, ...]


def as_it_is(held: Tensor, spec: ModelSpec) -> Tensors:
    """One tensor, stored as ours."""
    return (held,)


def the_only_one(ours: Tensors, spec: ModelSpec) -> Tensor:
    """The inverse of ``as_it_is``."""
    return ours[0]


class Piece(NamedTuple):
    """One of a family's tensors: the names of ours that it holds, ``{i}`` the number of the block,
    and how it is cut into them and put together again."""

    ours: tuple[str, ...]
    split: Callable[[Tensor, ModelSpec], Tensors] = as_it_is
    join: Callable[[Tensors, ModelSpec], Tensor] = the_only_one


@dataclass(frozen=True)
class Family:
    """One family. ``table`` has their names, without ``prefix``, which some files leave out, and
    ``{i}`` for the number of the block; ``head`` is the name of an untied readout. ``buffers`` are
    patterns of names that files hold and that say nothing. ``has`` gives the values a feature may
    have, by its name in ``features``. ``depth`` and ``init_std`` are how ``config.json`` calls the
    number of blocks and the scale of initial weights."""

    name: str
    architecture: str
    prefix: str
    head: str
    table: Mapping[str, Piece]
    has: Mapping[str, tuple[object, ...]]
    spec: Callable[[Config], ModelSpec]
    config: Callable[[ModelSpec], dict[str, Any]]
    buffers: tuple[str, ...] = ()
    depth: str = "num_hidden_layers"
    init_std: str = "initializer_range"

    def pieces(self, spec: ModelSpec) -> dict[str, Piece]:
        """Their tensors by their full names, of a model of this shape."""
        known = parameters(spec)
        found = {}
        for name, piece in self.table.items():
            for i in range(spec.depth) if "{i}" in name else (0,):
                ours = tuple(one.replace("{i}", str(i)) for one in piece.ours)
                if all(one in known for one in ours):
                    found[self.prefix + name.replace("{i}", str(i))] = piece._replace(ours=ours)
        if not spec.tied:
            found[self.head] = Piece(("head.weight",))
        return found

    def blocks(self, names: Iterable[str]) -> int:
        """How many blocks these tensors are of."""
        before = next(name for name in self.table if "{i}" in name).partition("{i}")[0]
        numbered = re.compile(rf"(?:^|\.){re.escape(before)}(\d+)\.")
        return len({found[1] for name in names if (found := numbered.search(name))})

    def shape(self, piece: Piece, spec: ModelSpec) -> tuple[int, ...]:
        """The shape of one of their tensors."""
        known = parameters(spec)
        ours = tuple(torch.empty(known[name].shape, device="meta") for name in piece.ours)
        return tuple(piece.join(ours, spec).shape)

    def is_buffer(self, name: str) -> bool:
        """Whether a tensor is none of the model's weights."""
        return any(re.search(pattern, name) for pattern in self.buffers)

    def check(self, spec: ModelSpec) -> None:
        """Raise the ``UserError`` of a model that this family cannot be."""
        for feature, value in features(spec).items():
            allowed = self.has.get(feature, (features(PLAIN)[feature],))
            if value not in allowed:
                raise UserError(
                    f"a {self.name} cannot have {feature}={value!r}, only "
                    f"{' or '.join(repr(one) for one in allowed)}"
                )


def features(spec: ModelSpec) -> dict[str, object]:
    """What a family has or has not, of a model of any size."""
    return {
        "norm": spec.norm,
        "mlp": spec.mlp,
        "positions": spec.positions,
        "tied": spec.tied,
        "bias": spec.bias,
        "qkv_bias": spec.biased_qkv,
        "grouped": spec.groups < spec.heads,
        "free_heads": spec.attention_width != spec.width,
        "rope_scaling": spec.rope_scaling.split(":")[0],
        "rotary_share": spec.rotary_fraction != 1,
        "rotary_base": spec.positions == "rope" and spec.rope_theta != PLAIN.rope_theta,
        "position_offset": spec.position_offset,
        "qk_norm": spec.qk_norm,
        "parallel": spec.parallel,
        "window": spec.window is not None,
    }


PLAIN = ModelSpec(width=16, depth=1)
EITHER = (False, True)
ROPE: dict[str, tuple[object, ...]] = {
    "positions": ("rope",),
    "rope_scaling": ("none", "linear", "llama3"),
    "rotary_base": EITHER,
}
