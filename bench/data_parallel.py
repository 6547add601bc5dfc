"""Data parallelism: N processes train one stack, each on its share of every batch.

Every *rank*, one of the N processes, has all weights, ``(K, P)``, and of the optimizer's buffers
its *shard* of the P axis: ZeRO stage 1 (Rajbhandari et al., arXiv 1910.02054). A step is

    backward         the gradient of the loss on its own sequences, (K, P)
    reduce-scatter   rank r gets shard r of the sum of all gradients
    update           rank r steps shard r, whose buffers it alone has
    all-gather       every rank gets the new weights of shard r from rank r

and a rank keeps 8 + 8 / N bytes a parameter of AdamW in float32, where one process keeps 16; it
sends what adding gradients alone would. Reduce-scatter and all-gather are N reductions and N
broadcasts under way at once, one a shard, in place: shards need not be of one size, and there is no
second gradient.

A rank's loss counts by its share of the batch, so the batch need not divide, and the sum is one
process's to rounding. Numbers by which anything is decided (norms to clip by, losses) are added in
the order of ranks, so all ranks have the same bits and decide alike, and a stack that goes on from
its saved state with as many ranks goes on exactly. Shards are cut anywhere in what an optimizer
steps by coordinates, and only between tensors in what it steps by matrices, as Muon.

An average of the weights is kept whole by every rank, and growth and its hooks are computed by all.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import Store

from mugrow.bench.model import Shapes
from mugrow.bench.optim import Trainer, trainers_of
from mugrow.bench.stack import Stack, StackState, trained_shapes
from mugrow.bench.stacked_optimizer import (
    MatrixBatch,
    OptimizerState,
    Part,
    Segment,
    StackedOptimizer,
)

BEHIND_S = 600.0  # the longest that ranks wait for one that is slower
Shards = tuple[slice, ...]  # of the P axis, one a rank


@dataclass(frozen=True)
class Ranks:
    """The processes that train one stack together, as one of them sees them: it is number ``rank``
    of ``count``. What is read and written is the first one's business, which ``leads``."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, total: int) -> slice:
        """Which of so many sequences are this rank's."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def total(self, numbers: Tensor) -> Tensor:
        """Sums over ranks, of a few numbers: the same bits on all of them."""
        if self.count == 1:
            return numbers
        of_ranks = [torch.empty_like(numbers) for _ in range(self.count)]
        dist.all_gather(of_ranks, numbers)
        return reduce(torch.add, of_ranks)

    def told(self, number: int) -> int:
        """The first rank's number, on every rank."""
        if self.count == 1:
            return number
        said = torch.tensor([number])
        dist.broadcast(said, src=0)
        return int(said)


ALONE = Ranks()


@contextmanager
def joined(store: Store, ranks: Ranks, device: str) -> Iterator[None]:
    """Within, these ranks, who meet at a store, can talk: of what is on a CPU by gloo, of what is
    on a GPU by NCCL. Raises ``RuntimeError`` where one of them is not there, now or later."""
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend,
        store=store,
        rank=ranks.rank,
        world_size=ranks.count,
        timeout=timedelta(seconds=BEHIND_S),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


# --- shards --------------------------------------------------------------------------------------


def shards_of(stack: Stack, ranks: Ranks) -> Shards:
    """Of every rank, for what the optimizer of this stack trains."""
    spec = stack.specs[0]
    trainers = trainers_of(spec.optimizer, spec.parametrization, spec.model, spec.base)
    return cut(trained_shapes(stack), trainers, ranks.count)


def cut(shapes: Shapes, trainers: Mapping[str, Trainer], count: int) -> Shards:
    """As even as can be, and through no tensor that is stepped as a matrix: what would cut one is
    moved to its nearer end. Where those are few and large, shards may be empty."""
    stop, matrices = 0, []
    for name, shape in shapes.items():
        start, stop = stop, stop + math.prod(shape)
        if trainers[name].optimizer.step_size == "spectral":
            matrices.append((start, stop))
    cuts = [rank * stop // count for rank in range(count + 1)]
    for first, last in matrices:
        cuts = [
            (first if at - first <= last - at else last) if first < at < last else at for at in cuts
        ]
    return tuple(map(slice, cuts[:-1], cuts[1:]))


def within(optimizer: StackedOptimizer, shard: slice) -> StackedOptimizer:
    """The optimizer of a shard's coordinates alone, which count from 0."""
    return replace(optimizer, parts=tuple(_part_within(part, shard) for part in optimizer.parts))


def _part_within(part: Part, shard: slice) -> Part:
    first, last = shard.start, shard.stop

    def segments(run: tuple[Segment, ...]) -> tuple[Segment, ...]:
        both = (
            Segment(max(one.start, first) - first, min(one.stop, last) - first, one.column)
            for one in run
        )
        return tuple(one for one in both if one.start < one.stop)

    def matrices(batch: MatrixBatch) -> MatrixBatch:
        ours = [
            (slice(place.start - first, place.stop - first), column)
            for place, column in zip(batch.where, batch.columns, strict=True)
            if first <= place.start and place.stop <= last
        ]
        return MatrixBatch(
            tuple(place for place, _ in ours), tuple(column for _, column in ours), batch.shape
        )

    return Part(
        part.trainer,
        tuple(filter(None, map(segments, part.runs))),
        tuple(batch for batch in map(matrices, part.matrices) if batch.where),
    )


def sharded(state: StackState, ranks: Ranks, shards: Shards, device: str) -> StackState:
    """What this rank keeps of a whole state, on its device; the weights are one rank's or another's
    of those that have them, and then the same on all."""
    optimizer, ours = state.optimizer, shards[ranks.rank]
    weights_KP = optimizer.weights_KP.to(device)
    all_gather(weights_KP, shards)
    buffers = {
        name: buffer_KP[:, ours].clone().to(device) for name, buffer_KP in optimizer.buffers.items()
    }
    average_KP = state.average_KP
    return replace(
        state,
        optimizer=OptimizerState(weights_KP, buffers, optimizer.updates_K1.to(device)),
        loss_sum_K=state.loss_sum_K.to(device),
        average_KP=None if average_KP is None else average_KP.to(device),
    )


def whole(state: StackState, ranks: Ranks, shards: Shards) -> StackState:
    """The state with the buffers of all shards, on the first rank's CPU, as that of one process;
    other ranks give it theirs, and get nothing that they had not."""
    if ranks.count == 1:
        return state
    optimizer = state.optimizer
    buffers = {
        name: _gathered(buffer_KS, ranks, shards) for name, buffer_KS in optimizer.buffers.items()
    }
    return replace(
        state, optimizer=OptimizerState(optimizer.weights_KP, buffers, optimizer.updates_K1)
    )


def _gathered(part_KS: Tensor, ranks: Ranks, shards: Shards) -> Tensor:
    part_KS = part_KS.cpu()
    if not ranks.leads:
        for row_S in part_KS if part_KS.shape[1] else ():
            dist.send(row_S, dst=0)
        return part_KS
    whole_KP = part_KS.new_empty(len(part_KS), shards[-1].stop)
    whole_KP[:, shards[0]] = part_KS
    for rank, shard in enumerate(shards[1:], 1):
        for row_P in whole_KP if shard.start < shard.stop else ():
            dist.recv(row_P[shard], src=rank)
    return whole_KP


# --- a step --------------------------------------------------------------------------------------


def update(
    optimizer: StackedOptimizer,
    state: OptimizerState,
    gradient_KP: Tensor,
    factor_KP: Tensor,
    loss_K: Tensor,
    ranks: Ranks,
    shards: Shards,
) -> tuple[Tensor, Tensor]:
    """One step of all ranks, in place, by the optimizer of this one's shard, given each one's part
    of the gradient and of the loss; the losses of the whole batch, and gradient norms from before
    clipping, ``(K,)``."""
    shard = shards[ranks.rank]
    reduce_scatter(gradient_KP, shards)
    ours_KS = gradient_KP[:, shard]
    square_K = torch.linalg.vector_norm(ours_KS, dim=1).double().square()
    loss_K, square_K = ranks.total(torch.stack([loss_K.double(), square_K]))
    norm_K = square_K.sqrt().to(gradient_KP.dtype)
    kept = OptimizerState(state.weights_KP[:, shard], state.buffers, state.updates_K1)
    by_coordinate = factor_KP.shape[1] > 1
    factor_KS = factor_KP[:, shard] if by_coordinate else factor_KP
    optimizer.update(kept, ours_KS, factor_KS, norm_K[:, None])
    all_gather(state.weights_KP, shards)
    return loss_K, norm_K


def reduce_scatter(numbers_KP: Tensor, shards: Shards) -> None:
    """Every rank gets, in the place of its shard, the sum over ranks; elsewhere nothing is said of
    what it has then."""
    _wait(
        dist.reduce(row_P[shard], dst=rank, async_op=True)
        for row_P in numbers_KP
        for rank, shard in enumerate(shards)
        if shard.start < shard.stop
    )


def all_gather(numbers_KP: Tensor, shards: Shards) -> None:
    """Every rank gets each shard of the rank that has it."""
    _wait(
        dist.broadcast(row_P[shard], src=rank, async_op=True)
        for row_P in numbers_KP
        for rank, shard in enumerate(shards)
        if shard.start < shard.stop
    )


def _wait(begun: Iterable[dist.Work]) -> None:
    for one in list(begun):  # all are under way before the first is waited for
        one.wait()
