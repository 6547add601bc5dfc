"""Engines: what starts the processes that train stacks, here or on many machines.

    submit   hand over stacks to train, each as the path of a file in the pool
    done     whether a process has ended, one way or another
    result   what ``mugrow.sweeps.worker.obey`` returned there
    cancel   end a process, or take it out of the queue

An engine knows nothing of runs. A worker reads its *order*, trains, and leaves its results in the
pool, which all machines see under the same path; whatever happens to a process, the pool says what
has ended. So a process that was lost is submitted again, and goes on from its saved state.

Engines are entries: ours are files of this package, others an entry point of the group
``mugrow.engines`` or the word ``MODULE:FACTORY``; what either names is an ``EngineKind``, or a
function of no arguments that makes one. Options follow, as in ``slurm:partition=a,time=2:00:00``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from mugrow.bench.entries import Registry, assigned, in_one_line
from mugrow.bench.spec import UserError, unknown

AT_ONCE = 256  # orders that an engine elsewhere takes at the same time, by default


class WorkerLost(Exception):
    """A process ended without a word: its machine failed, or it was killed, pre-empted or out of
    time. The reason is one line."""


@dataclass(frozen=True)
class Needs:
    """What training a stack takes, as far as the plan can tell: CPU threads, GPUs, memory of the
    process in megabytes, and time in seconds."""

    cpus: int
    gpus: int
    memory_mb: int
    time_s: float


@dataclass(frozen=True)
class Order:
    """A stack to train: the ``path`` of the file that says so, whole; its ``title`` in a few words;
    and what it needs."""

    path: str
    title: str
    needs: Needs


class Engine(Protocol):
    """Starts processes that train stacks. Each is known by a text that the engine gives it."""

    @property
    def slots(self) -> int:
        """How many orders it takes at the same time, running or waiting in its queue."""

    def submit(self, orders: Sequence[Order]) -> Sequence[str]:
        """Have ``mugrow.sweeps.worker.obey(path)`` called for each order in a process of its own,
        now or when there is room. Returns their ids, in the same order. Raises ``UserError`` where
        they cannot be."""

    def done(self, process: str) -> bool:
        """Whether it has ended. Asked many times a second."""

    def result(self, process: str) -> str:
        """Of one that is done: what ``obey`` returned. Raises ``WorkerLost`` where it did not."""

    def cancel(self, process: str) -> None:
        """End it as soon as may be; one that is done already, and one that only ends when its order
        is removed, which comes next, may be left alone."""


@dataclass(frozen=True)
class Asked:
    """What an engine is started with: its ``options``, the ``pool``, and how many ``workers`` of
    how many CPU ``threads`` are wanted here, each the first of so many ``ranks``."""

    options: Mapping[str, str]
    pool: Path
    workers: int
    threads: int
    ranks: int = 1


@dataclass(frozen=True)
class EngineKind:
    """An engine that can be asked for: ``start`` connects to it, having checked all that can be
    checked, and at the end of the context leaves nothing running that it started. ``options`` says
    what each means. On an engine that is ``elsewhere`` a device is looked for where it trains.
    ``summary`` is what it is in a few words, ``package`` what it imports."""

    name: str
    start: Callable[[Asked], AbstractContextManager[Engine]]
    options: Mapping[str, str] = field(default_factory=dict)
    elsewhere: bool = True
    summary: str = ""
    package: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether its package can be imported here."""
        return not self.package or find_spec(self.package) is not None

    def check_installed(self) -> None:
        """Raise the ``UserError`` of an engine whose package is not there."""
        if not self.is_installed:
            raise UserError(
                f"engine {self.name!r} needs {self.package}, which is not installed: "
                f"pip install 'mugrow[{self.name}]'"
            )


REGISTRY: Registry[EngineKind] = Registry(
    noun="engine",
    type=EngineKind,
    package="mugrow.sweeps.engines",
    constant="ENGINE",
    builtin=("local", "slurm", "ray", "dask"),
    group="mugrow.engines",
)
FACTORY = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)(?::(.*))?")


def engine(word: str) -> tuple[EngineKind, dict[str, str]]:
    """What ``--on`` names, and its options by name. Raises ``UserError``."""
    name, _, rest = word.partition(":")
    if name in REGISTRY.names():
        kind = REGISTRY.get(name)
    elif (factory := FACTORY.fullmatch(word)) and "=" not in factory[1]:
        kind, rest = _imported(factory[1]), factory[2] or ""
    else:
        raise unknown("engine", name, REGISTRY.names())
    given = assigned(
        rest.split(",") if rest else (), f"behind engine {kind.name!r} go options as OPTION=VALUE"
    )
    for option in given:
        if not kind.options:
            raise UserError(f"engine {kind.name!r} has no options, so no {option!r}")
        if option not in kind.options:
            raise unknown(f"option of engine {kind.name!r}:", option, kind.options)
    return kind, given


def _imported(word: str) -> EngineKind:
    """The engine of ``MODULE:FACTORY``."""
    module, _, name = word.partition(":")
    try:
        found = getattr(import_module(module), name)
        kind = found() if callable(found) and not isinstance(found, EngineKind) else found
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # somebody else's module may raise anything, and may exit
        raise UserError(f"engine {word!r} cannot be loaded: {in_one_line(error)}") from error
    if not isinstance(kind, EngineKind):
        raise UserError(f"engine {word!r}: {name} is no EngineKind and makes none")
    return kind


def whole_number(kind: str, options: Mapping[str, str], name: str, default: int) -> int:
    """An option that is a whole number, at least 0. Raises ``UserError``."""
    text = options.get(name, str(default))
    if not text.isdecimal():
        raise UserError(f"{name} of engine {kind!r} must be a whole number, not {text!r}")
    return int(text)


def first_line(error: BaseException, otherwise: str | None = None) -> str:
    """Of what a library says of an error; where it says nothing ``otherwise``, or its type."""
    silent = type(error).__name__ if otherwise is None else otherwise
    return next(iter(str(error).strip().splitlines()), silent)
