"""How long a study will take: a few steps of each shape are timed, and the rest is arithmetic.

The rate of a shape is measured once, with one member and one thread, which is how workers run on a
CPU; validation adds a third of a training pass for each of its tokens. Once stacks have reported
how fast they really are, the estimate of what is in flight follows them.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import torch

from bench.spec import ModelSpec
from bench.throughput import probe
from sweeps.display import reports
from sweeps.plan import Stack


class Estimate:
    def __init__(self, batch_sequences: int, workers: int) -> None:
        self.batch_sequences, self.workers = batch_sequences, workers

    def seconds(self, stack: Stack) -> float:
        """The seconds one worker needs for a stack."""
        return sum(_tokens(stack)) / _rate(stack.runs[0].spec.model, self.batch_sequences)

    def left(self, stacks: Iterable[Stack], running: Sequence[Stack], folder: Path) -> float:
        """Seconds until all of ``stacks`` have ended: the work over the workers, but no less than
        the longest stack takes alone."""
        shares = {
            stack.key: 1 - report["step"] / report["steps"]
            for stack, report in zip(running, reports(folder, running), strict=True)
        }
        left_s = [self.seconds(stack) * shares.get(stack.key, 1.0) for stack in stacks]
        return max(sum(left_s) / self.workers, max(left_s, default=0.0))


def _tokens(stack: Stack) -> Iterable[float]:
    """Each member's tokens, those of its validations at a third; pruned members stop early."""
    spec = stack.runs[0].spec
    whole = spec.tokens + spec.last_step / spec.log_every * spec.data.val_tokens / 3
    alive, began = len(stack.runs), 0
    members_of_a_trial = len(stack.runs) / len(set(stack.trials))
    for step, keep in (*stack.rungs, (spec.last_step, 0)):
        yield whole * alive * (step - began) / spec.last_step
        alive, began = min(alive, round(keep * members_of_a_trial)), step


@cache
def _rate(model: ModelSpec, sequences: int) -> float:
    """Tokens/s of one member on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rate: float = probe(model, sequences, members=1)
    torch.set_num_threads(threads)
    return rate
