"""How many runs of a shape make a stack: what suits a CPU's caches, or what a GPU's memory holds.

    a CPU    stack_width // width, and of a sweep a generation
    a GPU    as many as fit its memory with all that a step takes, shared out among its workers

On a CPU a stack gains nothing from members whose activations leave the cache. A step of a small
model on a GPU is bound by the starts of its kernels, which are as many for a thousand members as
for one. So there a study that does not state a ``stack_width`` has as many as fit, by the plan of
``mugrow.bench.split`` and from the stated budget or the device's whole memory; and of a sweep whose
points do not depend on losses and that prunes nothing, all trials.

How runs are grouped decides how their sums are rounded, and is no part of their identity.
"""

from dataclasses import dataclass

from mugrow.bench.spec import RunSpec
from mugrow.bench.split import most_members


@dataclass(frozen=True)
class Gpus:
    """What so many ``workers`` train on, each with a budget of ``memory_bytes`` for each of its
    ``ranks``; with ``recompute`` activations are computed again."""

    memory_bytes: float
    workers: int = 1
    recompute: bool = False
    ranks: int = 1


@dataclass(frozen=True)
class StackSize:
    """The size of stacks by the ``stack_width`` that is stated, or by ``gpus``; where there is
    neither, by a width that suits a CPU."""

    stated: int | None
    gpus: Gpus | None
    on_cpu: int

    @property
    def by_memory(self) -> Gpus | None:
        """The GPUs whose memory decides, if it does."""
        return self.gpus if self.stated is None else None

    def of(self, spec: RunSpec, runs: int) -> int:
        """The most members of a stack, of so many runs of this shape."""
        gpus = self.by_memory
        if gpus is None:
            return max(1, (self.stated or self.on_cpu) // spec.model.width)
        if not spec.train_steps:
            return runs
        fit = most_members(spec, gpus.memory_bytes, gpus.recompute, gpus.ranks)
        return min(fit, -(-runs // gpus.workers))
