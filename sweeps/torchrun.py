"""What torchrun says of this process, in the environment: which one of how many it is.

    torchrun --nproc-per-node 2 -m mugrow run STUDY

Every process runs the same words. The first one runs the command, and the others train with it what
it trains (``mugrow.sweeps.ranks``), until it has ended. Whoever starts processes otherwise may set
the same variables: ``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``.

Nothing large is imported here, since every command asks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mugrow.bench.spec import UserError


@dataclass(frozen=True)
class World:
    """Process ``rank`` of ``size``, number ``local_rank`` of ``local_size`` on its machine, and
    where all meet."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    port: int


def world() -> World | None:
    """The processes that torchrun has started with this one, if it has started others. Raises
    ``UserError`` for what torchrun does not say."""
    if "WORLD_SIZE" not in os.environ or _number("WORLD_SIZE", least=1) == 1:
        return None
    size = _number("WORLD_SIZE", least=1)
    here = "LOCAL_WORLD_SIZE"  # by default all are on one machine
    found = World(
        rank=_number("RANK"),
        size=size,
        local_rank=_number("LOCAL_RANK"),
        local_size=_number(here, least=1) if here in os.environ else size,
        host=_said("MASTER_ADDR"),
        port=_number("MASTER_PORT", least=1),
    )
    if found.rank >= found.size:
        raise UserError(f"RANK must be at most {found.size - 1}, not {found.rank}: WORLD_SIZE is "
                        f"{found.size}")  # fmt: skip
    return found


def _said(name: str) -> str:
    if not (text := os.environ.get(name, "")):
        raise UserError(
            f"WORLD_SIZE is set, as torchrun does, but not {name}: unset it, or set both"
        )
    return text


def _number(name: str, least: int = 0) -> int:
    text = _said(name)
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name} must be a whole number of at least {least}, not {text!r}")
    return int(text)


@contextmanager
def under_torchrun() -> Iterator[bool]:
    """Whether this process is to run the command: where torchrun has started several, the first one
    is, and the others have then done their part. Raises ``UserError``."""
    found = world()
    if found is None:
        yield True
        return
    from mugrow.sweeps.ranks import follow, followed, meeting
    from mugrow.sweeps.worker import train_as

    store = meeting(found, hosts=found.rank == 0)
    if found.rank == 0:
        with followed(store, found.size):
            yield True
    else:
        follow(store, found, train_as)
        yield False
