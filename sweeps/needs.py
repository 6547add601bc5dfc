"""What training a stack needs, from its shape: what an engine asks its machines for.

Memory, in bytes, of a stack of K members with P parameters each on S sequences of T tokens:

    44 K P                               weights, gradient, optimizer's state and temporaries
    12 K S T V                           logits, their gradient and the loss's temporaries
    4 K S T D (34 W + 5 H T)             activations, of D layers of width W with H heads

(Activations after Korthikanti et al. 2022, arXiv:2205.05198, eq. 2, with four bytes a number where
they count 34 bytes a layer in half precision.) It is more than is used where a CPU takes a stack in
groups. A process by itself has 1 GB.
"""

from mugrow.bench.model import count
from mugrow.sweeps.engines import Needs
from mugrow.sweeps.plan import PlannedStack

PROCESS_BYTES = 1 << 30
STATE_BYTES = 44  # a parameter of AdamW in float32


def needs_of(stack: PlannedStack, device: str, threads: int, time_s: float) -> Needs:
    """Of a stack on a device, which is estimated to take ``time_s`` seconds."""
    size = PROCESS_BYTES + (0 if device.startswith("cuda") else stack_bytes(stack))
    gpus = 1 if device.startswith("cuda") else 0
    return Needs(threads, gpus, -(-size // (1 << 20)), time_s)


def stack_bytes(stack: PlannedStack) -> int:
    """The memory of a stack's members, all at once."""
    spec = stack.runs[0].spec
    model = spec.model
    tokens = spec.batch_sequences * model.context
    layer = 34 * model.width + 5 * model.heads * model.context
    a_member = (
        STATE_BYTES * count(model)[0]
        + 12 * tokens * model.vocab_rows
        + 4 * tokens * model.depth * layer
    )
    return len(stack.runs) * a_member
