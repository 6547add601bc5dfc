"""The options of every command that trains: what a run costs here, and where and by what it trains.

None of them is part of what a run is: the same study gives the same run ids on every machine.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from tyro.conf import arg


class Priced(TypedDict):
    """Keywords of ``mugrow.bill`` that say where a plan would be trained."""

    workers: int | None
    device: str
    devices: str | None
    on: str
    ranks: int | None
    memory_bytes: float | None
    recompute: bool


class Trained(Priced):
    """Keywords of ``mugrow.run`` that say where it is trained."""

    threads: int
    log: str | None
    compile: Literal["off", "on", "auto"]


@dataclass(frozen=True)
class MachineOptions:
    """Where a command trains, and what a step may take there."""

    workers: int | None = None
    """Processes that train at the same time; one a CPU core, or one on a GPU, by default."""
    threads: int = 1
    """CPU threads of each process."""
    device: str = "cpu"
    """Where to train: cpu, cuda, cuda:1, ..."""
    devices: str | None = None
    """Several devices of this machine, as cuda:0..7: a process on each, by default."""
    on: Annotated[str, arg(metavar="ENGINE[:OPTION=VALUE,...]")] = "local"
    """What starts the processes: local, slurm, ray, dask, or MODULE:FACTORY."""
    log: Annotated[str | None, arg(metavar="TRACKER")] = None
    """Show the curves live in an experiment tracker: tensorboard, trackio, wandb."""
    ranks: int | None = None
    """Processes that train each stack together, data-parallel, with so many threads and a device
    each; 1 by default, and all of them under torchrun."""
    memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """What a stack may take, as 40GB: members and batches are split to fit. By default nine tenths
    of a GPU, and no limit on a CPU."""
    recompute: bool = False
    """Compute activations again in the backward pass: a third more compute, and less memory."""
    compile: Literal["off", "on", "auto"] = "off"
    """Have torch compile the training step of every shape, or with auto of those whose runs win it
    back; needs a C++ compiler."""

    def priced(self) -> Priced:
        """What a bill is told. Raises ``UserError`` for a memory that is no size, and for threads
        that are none."""
        from mugrow.bench.split import bytes_of
        from mugrow.sweeps.machine import check_positive

        check_positive("threads", self.threads)
        return {
            "workers": self.workers,
            "device": self.device,
            "devices": self.devices,
            "on": self.on,
            "ranks": self.ranks,
            "memory_bytes": None if self.memory is None else bytes_of(self.memory),
            "recompute": self.recompute,
        }

    def trained(self) -> Trained:
        """What training is told. Raises ``UserError`` as ``priced`` does."""
        return {
            **self.priced(),
            "threads": self.threads,
            "log": self.log,
            "compile": self.compile,
        }


HERE = MachineOptions()  # on the cores of this machine
