"""Where the ids that are trained on lie: in their file, or on the device that trains.

On a CPU they stay where they are, a file that is mapped (``mugrow.bench.data.tokens``), and a batch
is gathered from it. A GPU would have to wait in every step for a batch that comes from there. So
the whole stream is copied to it once, where it fits, in the bytes that the file takes for an id,
and a batch is one gather there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mugrow.bench.data.batches import windows
from mugrow.bench.data.tokens import Pieces, Tokens

COPIED = 1 << 24  # ids at a time


@dataclass(frozen=True, eq=False)
class HostTokens:
    """Ids that stay in a file or in memory; batches are copied to the device."""

    ids: Tokens
    device: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def asked_on(self) -> str:
        """The device of what ``windows`` is given."""
        return "cpu"

    def windows(self, begins: Tensor, context: int) -> Tensor:
        """What begins at these places (...), on the device: (..., context + 1)."""
        return torch.from_numpy(windows(self.ids, begins.numpy(), context)).to(self.device)


@dataclass(frozen=True, eq=False)
class DeviceTokens:
    """Ids (n,) on the device, in as many bytes as in their file. Torch gathers whole numbers with
    a sign alone, so what is larger than those can be stands there as if it were negative."""

    ids: Tensor
    has_sign: bool

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def asked_on(self) -> str:
        """The device of what ``windows`` is given."""
        return str(self.ids.device)

    def windows(self, begins: Tensor, context: int) -> Tensor:
        """What begins at these places (...): (..., context + 1)."""
        places = begins[..., None] + torch.arange(context + 1, device=begins.device)
        found = self.ids[places].to(torch.int64)
        bits = 8 * self.ids.itemsize
        return found if self.has_sign or bits == 64 else found & ((1 << bits) - 1)


def placed(tokens: Tokens, device: str, room_bytes: float) -> HostTokens | DeviceTokens:
    """The stream on the device that trains, if that is none of this host's memory and has the room
    for it; else where it is."""
    if device == "cpu" or len(tokens) * _type(tokens).itemsize > room_bytes:
        return HostTokens(tokens, device)
    return copied(tokens, device)


def copied(tokens: Tokens, device: str) -> DeviceTokens:
    """The stream on a device; this host has a part of it at a time."""
    kind = _type(tokens)
    with_sign = np.dtype(f"i{kind.itemsize}")
    ids = torch.empty(len(tokens), dtype=getattr(torch, with_sign.name), device=device)
    for first in range(0, len(tokens), COPIED):
        part = tokens[np.arange(first, min(first + COPIED, len(tokens)))]
        in_order = part.astype(kind.newbyteorder("="), copy=False).view(with_sign)
        ids[first : first + len(part)] = torch.from_numpy(in_order)
    return DeviceTokens(ids, has_sign=kind.kind == "i")


def _type(tokens: Tokens) -> np.dtype[np.integer]:
    return (tokens.ids if isinstance(tokens, Pieces) else tokens).dtype
