"""What training a stack needs, from its shape: what an engine asks its machines for.

Memory is that of ``mugrow.bench.split``, at most the budget where one is stated, and 1 GB of a
process by itself. It is more than is used where a CPU takes a stack in groups.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mugrow.bench.spec import UserError
from mugrow.bench.split import Split, gigabytes, peak_bytes, planned, share_of
from mugrow.sweeps.engines import Needs
from mugrow.sweeps.plan import PlannedStack

PROCESS_BYTES = 1 << 30


def needs_of(
    stack: PlannedStack,
    device: str,
    threads: int,
    time_s: float,
    memory_bytes: float | None = None,
    ranks: int = 1,
) -> Needs:
    """Of a stack on a device, which is estimated to take ``time_s`` seconds, within a budget of
    each of its ranks, which are on one machine."""
    on_gpus = device.startswith("cuda")
    size: float = PROCESS_BYTES
    if not on_gpus:
        size += min(stack_bytes(stack, ranks), memory_bytes or float("inf"))
    return Needs(ranks * threads, ranks * on_gpus, int(-(-ranks * size // (1 << 20))), time_s)


def stack_bytes(stack: PlannedStack, ranks: int = 1) -> int:
    """The memory that a rank takes of a stack whose members are taken all at once."""
    spec, members = stack.runs[0].spec, len(stack.runs)
    return peak_bytes(spec, members, Split(members, share_of(spec, ranks)), ranks)


@dataclass(frozen=True)
class LargestStack:
    """The stack that takes the most, ``whole_bytes`` with all of its members and sequences at once;
    ``split`` is what a step takes at once, None where the budget does not hold even that."""

    width: int
    depth: int
    members: int
    sequences: int
    whole_bytes: int
    split: Split | None

    def in_words(self, budget_bytes: float) -> str:
        """What it takes, and how it fits."""
        said = (
            f"the largest stack, {self.members} members of width {self.width} and depth "
            f"{self.depth} on {self.sequences} sequences, takes {gigabytes(self.whole_bytes)} as a "
            f"whole; of {gigabytes(budget_bytes)}"
        )
        if self.split is None:
            return f"{said} it has not enough even in parts"
        return (
            f"{said} a step takes {self.split.members} of its members and {self.split.sequences} "
            "of their sequences at a time"
        )


def largest_stack(
    stacks: Iterable[PlannedStack], memory_bytes: float | None, recompute: bool, ranks: int = 1
) -> LargestStack | None:
    """Of those that train anything, within a budget of each rank, if there is one."""
    found = [stack for stack in stacks if stack.runs[0].spec.train_steps]
    if not found:
        return None
    stack = max(found, key=lambda one: stack_bytes(one, ranks))
    spec, members = stack.runs[0].spec, len(stack.runs)
    split: Split | None = Split(members, share_of(spec, ranks), recompute)
    if memory_bytes is not None:
        try:
            split = planned(spec, members, memory_bytes, recompute, ranks)
        except UserError:
            split = None
    model, whole = spec.model, stack_bytes(stack, ranks)
    return LargestStack(model.width, model.depth, members, spec.batch_sequences, whole, split)


def check_fits(
    stacks: Iterable[PlannedStack], memory_bytes: float | None, recompute: bool, ranks: int = 1
) -> None:
    """Raise the ``UserError`` of the first stack whose batches have less sequences than there are
    ranks, and of the first that cannot be split to fit the budget."""
    least = min((stack.runs[0].spec.batch_sequences for stack in stacks), default=ranks)
    if ranks > least:
        raise UserError(f"{ranks} ranks share a batch of {least} sequences: at most {least}")
    if memory_bytes is None:
        return
    if not memory_bytes > 0:
        raise UserError(f"memory must be above 0, not {memory_bytes:g}")
    for spec, members in dict.fromkeys((stack.runs[0].spec, len(stack.runs)) for stack in stacks):
        if spec.train_steps:
            planned(spec, members, memory_bytes, recompute, ranks)
