"""The machine that runs are trained on: how many processes, how many threads, which device.

Never part of a run's identity: the same study gives the same numbers wherever it is trained.
"""

import os
import re
from collections.abc import Sequence

from mugrow.bench.device import memory_budget
from mugrow.bench.spec import UserError
from mugrow.sweeps.engines import EngineKind
from mugrow.sweeps.torchrun import World

DEVICES = re.compile(r"(?P<kind>\w+):(?P<first>\d+)\.\.(?P<last>\d+)")
MOST_DEVICES = 64


def check_positive(name: str, *values: int) -> None:
    """Raise the ``UserError`` of what must be at least 1."""
    for value in values:
        if value < 1:
            raise UserError(f"{name} must be at least 1, not {value}")


def worker_count(workers: int | None, device: str, ranks: int = 1) -> int:
    """How many stacks train at the same time: by default one on a GPU, or so many that their
    ``ranks`` are one a CPU core. Raises ``UserError`` for less than one."""
    if workers is None:
        return 1 if device.startswith("cuda") else max(1, (os.cpu_count() or 1) // ranks)
    check_positive("workers", workers)
    return workers


def devices_of_ranks(device: str, ranks: int) -> list[str]:
    """The devices of a stack's ranks: of ``cuda`` the first ones. Raises ``UserError`` for one GPU
    that several would share."""
    if ranks > 1 and device.startswith("cuda:"):
        number = int(device.removeprefix("cuda:") or 0) if device[5:].isdecimal() else 0
        raise UserError(
            f"device {device!r} is one, and {ranks} ranks need one each: --devices "
            f"cuda:{number}..{number + ranks - 1}"
        )
    return (
        [f"cuda:{index}" for index in range(ranks)] if ranks > 1 and device == "cuda" else [device]
    )


def shared_out(devices: Sequence[str], ranks: int) -> tuple[str, ...]:
    """Devices in groups of ``ranks``, each one stack's, with commas between. Raises ``UserError``
    where some would be left over."""
    if len(devices) % ranks:
        most = len(devices) // ranks * ranks
        raise UserError(
            f"{len(devices)} devices cannot be shared out among stacks of {ranks} ranks: name "
            f"{most or ranks}"
        )
    return tuple(",".join(devices[at : at + ranks]) for at in range(0, len(devices), ranks))


def least_budget(devices: Sequence[str]) -> float | None:
    """The bytes that a stack may take of any of these devices of this machine, or groups of them
    with commas between; ``None`` is no limit."""
    budgets = [memory_budget(one) for group in devices for one in group.split(",")]
    return min((one for one in budgets if one is not None), default=None)


def check_under_torchrun(
    world: World, ranks: int | None, workers: int | None, devices: str | None, kind: EngineKind
) -> None:
    """Raise the ``UserError`` of what cannot be said beside torchrun, whose processes train one
    stack at a time, each on its own device."""
    if world.rank:
        raise UserError(f"RANK is {world.rank}: torchrun starts the program, -m mugrow run STUDY")
    if ranks not in (None, world.size):
        raise UserError(f"ranks {ranks}, where torchrun has started {world.size}: leave it out")
    for name, value, only in (("workers", workers, 1), ("devices", devices, None)):
        if value not in (None, only):
            raise UserError(
                f"{name} {value}, where torchrun has started the processes: leave it out"
            )
    if kind.name != "local":
        raise UserError(f"engine {kind.name!r}, where torchrun starts the processes: leave it out")


def device_list(text: str | None) -> tuple[str, ...]:
    """The devices of a list as people type it, ``cuda:0..7`` or ``cuda:0,cuda:3``; none of
    ``None``. Raises ``UserError`` for one that is no list, and for the first device of it that
    cannot be used here."""
    found = listed_devices(text)
    for device in found:
        check_device(device)
    return found


def listed_devices(text: str | None) -> tuple[str, ...]:
    """The same of devices that need not be here."""
    if text is None:
        return ()
    found: list[str] = []
    for word in text.split(","):
        if (several := DEVICES.fullmatch(word)) is None:
            found.append(word)
            continue
        first, last = int(several["first"]), int(several["last"])
        if not first <= last < first + MOST_DEVICES:
            raise UserError(f"devices {word!r} are no range, which is as cuda:0..7")
        found += [f"{several['kind']}:{number}" for number in range(first, last + 1)]
    for device in found:
        if not device or found.count(device) > 1:
            raise UserError(f"devices {text!r} are no list of devices, which is as cuda:0..7")
        check_device_name(device)
    return tuple(found)


def of_this_machine(engine: str) -> UserError:
    """The error of ``--devices`` for an engine elsewhere."""
    return UserError(
        f"--devices are of this machine; what engine {engine!r} gives a stack are its options"
    )


def check_device_name(device: str) -> None:
    """Raise the ``UserError`` of a word that torch knows no device by, here or anywhere."""
    import torch

    try:
        torch.device(device)
    except RuntimeError:
        raise UserError(f"device {device!r} is none; devices are as cpu, cuda or cuda:1") from None


def check_device(device: str) -> None:
    """Raise the ``UserError`` of a device, named as torch names it, that cannot be used here."""
    import torch

    if device == "cpu":
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count() if device.startswith("cuda") else 0
        can = f"cuda:0..{count - 1}" if count > 1 else "cuda:0" if count else "'cpu'"
        raise UserError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); {can} can"
        ) from None
