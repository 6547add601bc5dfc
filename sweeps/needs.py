"""What training a stack needs, from its shape: what an engine asks its machines for.

Memory is that of ``mugrow.bench.split``, at most the budget where one is stated, and 1 GB of a
process by itself. It is more than is used where a CPU takes a stack in groups.
"""

from collections.abc import Iterable

from mugrow.bench.spec import UserError
from mugrow.bench.split import Split, peak_bytes, planned, share_of
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
