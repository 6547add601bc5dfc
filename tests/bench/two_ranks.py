"""Two ranks that train the same small stacks: the test's own process, and one more that follows."""

import copy
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection

import torch
from small_runs import skewed_tokens, start_of
from torch import distributed as dist

from mugrow.bench.data_parallel import Ranks, joined, sharded, shards_of, whole
from mugrow.bench.growth import method
from mugrow.bench.spec import RunSpec
from mugrow.bench.stack import PruningStep, Stack, StackState, begin
from mugrow.bench.train import advance, final_losses

Both = Callable[..., list]


@contextmanager
def two_ranks() -> Iterator[Both]:
    """``both(function, *args, **named)`` calls ``function(ranks, *args, **named)`` in both, and
    returns what each does."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=_follow, args=(store.port, theirs), daemon=True)
    other.start()

    def both(function: Callable, *args: object, **named: object) -> list:
        ours.send((function, args, named))
        mine = function(Ranks(0, 2), *args, **named)
        theirs = ours.recv()
        if isinstance(theirs, Exception):
            raise theirs
        return [mine, theirs]

    try:
        with joined(store, Ranks(0, 2), "cpu"):
            yield both
            ours.send(None)
            other.join(30)
    finally:
        other.kill()


def _follow(port: int, pipe: Connection) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    with joined(store, Ranks(1, 2), "cpu"):
        while (call := pipe.recv()) is not None:
            function, args, named = call
            try:
                found = function(Ranks(1, 2), *args, **named)
            except Exception as error:
                found = error
            pipe.send(found)


def trained(
    ranks: Ranks,
    specs: Sequence[RunSpec],
    until: int | None = None,
    from_state: StackState | None = None,
    rungs: Sequence[PruningStep] = (),
    during: str = "",
    **stack: object,
) -> tuple[StackState, dict[int, list[float]]]:
    """A stack as these ranks leave it after a step, by default its last; with its final losses.
    ``during`` is a method that acts meanwhile. It goes on from a whole state."""
    big = specs[0].model
    if during:
        axes = {"width": {"width": big.width // 2}, "depth": {"depth": big.depth // 2}}
        small = replace(big, **axes[method(during).axes[0]])
        stack["during"] = method(during).during(small, big, specs[0].train_steps)
    together = Stack(specs, rungs=rungs, **stack)
    data = skewed_tokens(big.vocab_size)
    # a copy, for tensors that go through a pipe are in memory that both processes have
    state = copy.deepcopy(from_state) or begin(together, [start_of(spec) for spec in specs])
    shards = shards_of(together, ranks)
    if ranks.count > 1:
        state = sharded(state, ranks, shards, "cpu")
    for current in advance(together, state, data, ranks):
        if current.step == until:
            break
    final = final_losses(together, state, data, ranks) if until is None else {}
    return whole(state, ranks, shards), final
