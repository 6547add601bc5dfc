"""One update of a stack: K members, each with its own learning rate, decay, betas and eps.

``lr``, ``decay`` and ``eps`` are a member's hyperparameter for a tensor times the tensor's rule.
Neighbouring tensors of one rule, of one optimizer, and in each member of the same hyperparameters
(``mugrow.bench.modules``) are a *segment*, and the numbers are kept as ``(K, S)``, one a
member and segment: as ``(K, P)``, one a coordinate, they took as much memory as the weights and
moments themselves. One update of AdamW is a dozen passes over its storage, in columns that fit a
cache, however many tensors the model has; a loop over tensors pays its overhead for each of them.
So where columns span several segments, their numbers are spread over those columns as they are
used. Beside the state an update needs a few columns, and nothing as large as the weights: of a
parameter in float32 AdamW keeps 16 bytes, the weight, two moments and the gradient.

With torch's decay a weight shrinks by ``lr * weight_decay`` a step; with independent decay
(Wortsman et al., arXiv 2309.14322) by ``weight_decay`` wherever a tensor decays at all; both under
the schedule.

Every tensor has its optimizer (``mugrow.bench.optim``). What steps by coordinates is taken in
columns of whatever tensors are side by side, what steps by matrices in batches of one shape.

Gradients are clipped to each member's own norm. Clipping the norm of the stack would couple the
trials: one that diverges would silence the others.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mugrow.bench.fused_adamw import Call, FusedAdamW
from mugrow.bench.optim import Members, Trainer, Update
from mugrow.bench.parametrization import Rule, Rules
from mugrow.bench.spec import HyperSpec

CACHED = 1 << 18  # numbers of each tensor that an update works on at a time, on a CPU
ALONE = 1 << 13  # numbers of a segment on which an update works by itself there
LAUNCHED = 1 << 24  # numbers at a time on an accelerator, where what counts is how often


@dataclass
class OptimizerState:
    """Weights and the optimizer's buffers by name, ``(K, P)`` each, and each member's number of
    updates ``(K, 1)``."""

    weights_KP: Tensor
    buffers: dict[str, Tensor]
    updates_K1: Tensor

    def keep(self, members: Tensor | slice) -> "OptimizerState":
        """The state of some members only, in the order of their indices; views for a slice."""
        return OptimizerState(
            self.weights_KP[members],
            {name: buffer_KP[members] for name, buffer_KP in self.buffers.items()},
            self.updates_K1[members],
        )


def fresh_state(weights_KP: Tensor, buffers: Iterable[str]) -> OptimizerState:
    """The state before the first update: zeros."""
    updates_K1 = torch.zeros(len(weights_KP), 1, dtype=torch.float64, device=weights_KP.device)
    return OptimizerState(
        weights_KP, {name: torch.zeros_like(weights_KP) for name in buffers}, updates_K1
    )


class Segment(NamedTuple):
    """Neighbouring coordinates of one rule and one optimizer: from where to where they lie in the
    ``P`` axis, and which column of the ``(K, S)`` hyperparameters is theirs."""

    start: int
    stop: int
    column: int


class Columns(NamedTuple):
    """Neighbouring coordinates, of one segment or several: the ``segments`` of the ``S`` axis, and
    how many of these coordinates each of them has."""

    where: slice
    segments: slice
    counts: tuple[int, ...]

    def take(self, all_KP: Tensor) -> Tensor:
        """Views, ``(K, C)``."""
        return all_KP[:, self.where]

    def put(self, all_KP: Tensor, part: Tensor) -> None:
        """Nothing to do: ``take`` gave a view."""

    def of_members(self, numbers_K1: Tensor) -> Tensor:
        """A number a member, to be multiplied with what ``take`` gave."""
        return numbers_K1

    def of_segments(self, numbers_KS: Tensor) -> Tensor:
        """A number a member and segment, likewise: ``(K, 1)`` or ``(K, C)``."""
        ours = numbers_KS[:, self.segments]
        if len(self.counts) == 1:
            return ours
        spread = zip(torch.split(ours, 1, dim=1), self.counts, strict=True)
        return torch.cat([number_K1.expand(-1, count) for number_K1, count in spread], dim=1)


class MatrixBatch(NamedTuple):
    """Matrices of one shape ``(..., out, in)``, where each lies in the ``P`` axis, and the column
    of the ``S`` axis that its segment has."""

    where: tuple[slice, ...]
    columns: tuple[int, ...]
    shape: tuple[int, ...]

    def take(self, all_KP: Tensor) -> Tensor:
        """Copies, ``(K, n, ..., out, in)``."""
        together = torch.stack([all_KP[:, place] for place in self.where], dim=1)
        return together.view(*together.shape[:2], *self.shape)

    def put(self, all_KP: Tensor, part: Tensor) -> None:
        """Write the copies back."""
        for i, place in enumerate(self.where):
            all_KP[:, place] = part[:, i].flatten(1)

    def of_members(self, numbers_K1: Tensor) -> Tensor:
        """A number a member, to be multiplied with what ``take`` gave."""
        return numbers_K1.view(-1, *[1] * (1 + len(self.shape)))

    def of_segments(self, numbers_KS: Tensor) -> Tensor:
        """A number a member and segment, likewise: ``(K, n, ..., 1, 1)``."""
        ours_Kn = numbers_KS[:, list(self.columns)]
        return ours_Kn.view(*ours_Kn.shape, *[1] * len(self.shape))


class Part(NamedTuple):
    """What one optimizer trains: by coordinates, in ``runs`` of segments that touch, or by
    ``matrices``."""

    trainer: Trainer
    runs: tuple[tuple[Segment, ...], ...] = ()
    matrices: tuple[MatrixBatch, ...] = ()

    def in_pieces(self, columns: int, alone: int) -> Iterator[Columns | MatrixBatch]:
        """All of it, at most so many columns at a time; a segment of ``alone`` columns or more by
        itself."""
        yield from self.matrices
        for run in self.runs:
            yield from _cut(run, columns, alone)


@lru_cache(maxsize=64)
def _cut(run: tuple[Segment, ...], columns: int, alone: int) -> tuple[Columns, ...]:
    """Segments that touch as pieces: large ones cut, small ones put together."""
    pieces: list[list[Segment]] = []
    room = 0  # for more columns in the last piece
    for segment in run:
        size = segment.stop - segment.start
        if size >= alone:
            starts = range(segment.start, segment.stop, columns)
            cuts = ((start, min(start + columns, segment.stop)) for start in starts)
            pieces += [[Segment(*cut, segment.column)] for cut in cuts]
            room = 0
        elif size <= room:
            pieces[-1].append(segment)
            room -= size
        else:
            pieces.append([segment])
            room = columns - size
    return tuple(
        Columns(
            slice(piece[0].start, piece[-1].stop),
            slice(piece[0].column, piece[-1].column + 1),
            tuple(segment.stop - segment.start for segment in piece),
        )
        for piece in pieces
    )


class Alike(NamedTuple):
    """Segments of the same numbers that AdamW trains, wherever they lie: their places among
    ``sizes``, how many coordinates each segment has in storage order, and their numbers' column."""

    places: tuple[int, ...]
    column: int


@dataclass(frozen=True)
class StackedOptimizer:
    """The hyperparameters of K members; ``update`` is pure apart from the state it is given.
    ``alike`` is there where AdamW trains everything, by coordinates."""

    lr_KS: Tensor
    decay_KS: Tensor  # what a weight shrinks by in a step at the peak rate
    eps_KS: Tensor
    beta1_KS: Tensor  # (K, 1) where all segments have the same
    beta2_KS: Tensor
    clip_K1: Tensor
    parts: tuple[Part, ...]
    sizes: tuple[int, ...] = ()
    alike: tuple[Alike, ...] = ()

    def keep(self, members: Tensor | slice) -> "StackedOptimizer":
        """Of some members only, as ``OptimizerState.keep``."""
        tensors = [field.name for field in fields(self) if "_K" in field.name]
        return replace(self, **{name: getattr(self, name)[members] for name in tensors})

    def update(
        self,
        state: OptimizerState,
        gradient_KP: Tensor,
        factor_KP: Tensor,
        norm_K1: Tensor | None = None,
    ) -> Tensor:
        """One step, in place, at ``factor`` times the peak rate; returns gradient norms ``(K,)``
        from before clipping. A factor is a member's, ``(K, 1)``, or every coordinate's,
        ``(K, P)``; where it is 0 nothing moves. The norms are given where this is a shard of the
        gradient (``mugrow.bench.data_parallel``)."""
        on_cpu = gradient_KP.device.type == "cpu"
        if norm_K1 is None:
            norm_K1 = torch.linalg.vector_norm(gradient_KP, dim=1, keepdim=True)
        scale_K1 = (self.clip_K1 / norm_K1).clamp(max=1)
        state.updates_K1 += 1
        bias1_KS = (1 - self.beta1_KS.double() ** state.updates_K1).to(gradient_KP.dtype)
        bias2_KS = (1 - self.beta2_KS.double() ** state.updates_K1).to(gradient_KP.dtype)
        of_members = Members(self.beta1_KS, self.beta2_KS, bias1_KS, bias2_KS, state.updates_K1)
        by_coordinate = factor_KP.shape[1] > 1
        count = len(gradient_KP)
        columns = max(1, (CACHED if on_cpu else LAUNCHED) // count)
        alone = min(columns, max(1, ALONE // count)) if on_cpu else columns
        for part in self.parts:
            optimizer, params = part.trainer
            for piece in part.in_pieces(columns, alone):
                buffers = {name: piece.take(state.buffers[name]) for name in optimizer.buffers}
                of_segments = self.beta1_KS.shape[1] > 1
                members = _of_piece(of_members, piece) if of_segments else of_members
                given = Update(
                    piece.take(gradient_KP) * piece.of_members(scale_K1),
                    buffers,
                    piece.of_segments(self.eps_KS),
                    members,
                )
                moved = optimizer.step(given, **params).mul_(piece.of_segments(self.lr_KS))
                weights = piece.take(state.weights_KP)
                moved.addcmul_(piece.of_segments(self.decay_KS), weights)
                factor = piece.take(factor_KP) if by_coordinate else piece.of_members(factor_KP)
                weights.addcmul_(moved, factor, value=-1)
                piece.put(state.weights_KP, weights)
                for name, buffer in buffers.items():
                    piece.put(state.buffers[name], buffer)
        return norm_K1.squeeze(1)

    def kernel(self, state: OptimizerState, gradient_KP: Tensor) -> FusedAdamW | None:
        """What updates this state by this gradient in one kernel for each member and rule, for as
        long as both lie where they lie; it rounds otherwise and writes on the gradient. ``None``
        where there is no such kernel."""
        single = gradient_KP.dtype == torch.float32  # what the kernel clips by
        if not self.alike or gradient_KP.device.type != "cpu" or not single:
            return None
        names = "lr", "decay", "beta1", "beta2", "eps"
        all_KS = {name: getattr(self, f"{name}_KS").expand_as(self.lr_KS) for name in names}
        numbers = {name: each_KS.tolist() for name, each_KS in all_KS.items()}
        stored = state.weights_KP, gradient_KP, state.buffers["m"], state.buffers["v"]

        def calls(k: int) -> list[Call]:
            rows = [torch.split(each_KP[k], list(self.sizes)) for each_KP in stored]
            found = []
            for places, column in self.alike:
                weights, gradients, m, v = ([row[at] for at in places] for row in rows)
                updates = [state.updates_K1[k]] * len(places)
                ours = {name: each[k][column] for name, each in numbers.items()}
                found.append(Call(weights, gradients, m, v, updates, **ours))
            return found

        members = range(len(gradient_KP))
        return FusedAdamW([*map(calls, members)], gradient_KP, self.clip_K1, state.updates_K1)


def _of_piece(members: Members, piece: Columns | MatrixBatch) -> Members:
    """Betas and biases, a number a segment, as what is multiplied with the piece."""
    return members._replace(
        beta1_K1=piece.of_segments(members.beta1_K1),
        beta2_K1=piece.of_segments(members.beta2_K1),
        bias1_K1=piece.of_segments(members.bias1_K1),
        bias2_K1=piece.of_segments(members.bias2_K1),
    )


def stacked_optimizer(
    shapes: Mapping[str, tuple[int, ...]],
    rules: Rules,
    trainers: Mapping[str, Trainer],
    hypers: Sequence[Mapping[str, HyperSpec]],
    like: Tensor,
) -> StackedOptimizer:
    """The optimizer of members with these hyperparameters, each by tensor, on ``like``'s device and
    dtype, for tensors of these shapes in storage order, each with what trains it."""
    numbers = {
        name: (_numbers(rules.tensors[name]), *(each[name] for each in hypers)) for name in shapes
    }
    segments, parts = _segments(shapes, numbers, trainers)

    def rule_S(name: str) -> Tensor:
        of_tensors = [getattr(rules.tensors[tensor], name) for tensor in segments]
        return torch.tensor(of_tensors, dtype=torch.float64).to(like)

    def hyper_KS(name: str) -> Tensor:
        of_members = [[getattr(each[tensor], name) for tensor in segments] for each in hypers]
        return torch.tensor(of_members, dtype=torch.float64).to(like)

    lr_KS, clip_K1 = hyper_KS("lr") * rule_S("lr"), hyper_KS("clip")[:, :1]
    decay_KS, decay_S = hyper_KS("weight_decay"), rule_S("weight_decay")
    independent_K1 = torch.tensor(
        [[each[segments[0]].decay == "independent"] for each in hypers], device=like.device
    )
    beta1_KS, beta2_KS = hyper_KS("beta1"), hyper_KS("beta2")
    alike = all(bool((beta == beta[:, :1]).all()) for beta in (beta1_KS, beta2_KS))
    return StackedOptimizer(
        lr_KS=lr_KS,
        decay_KS=torch.where(
            independent_K1, decay_KS * (decay_S > 0), lr_KS * (decay_KS * decay_S)
        ),
        eps_KS=hyper_KS("eps") * rule_S("eps"),
        beta1_KS=beta1_KS[:, :1] if alike else beta1_KS,
        beta2_KS=beta2_KS[:, :1] if alike else beta2_KS,
        clip_K1=clip_K1.masked_fill(clip_K1 == 0, math.inf),
        parts=parts,
        **_alike([numbers[tensor] for tensor in segments], parts),
    )


def _alike(numbers: Sequence[Hashable], parts: tuple[Part, ...]) -> dict[str, Any]:
    """Segments of the same numbers, where AdamW trains everything."""
    if [part.trainer.optimizer.name for part in parts] != ["adamw"]:
        return {}
    segments = [segment for run in parts[0].runs for segment in run]
    places: dict[Hashable, list[int]] = {}
    for place, segment in enumerate(segments):
        places.setdefault(numbers[segment.column], []).append(place)
    return {
        "sizes": tuple(segment.stop - segment.start for segment in segments),
        "alike": tuple(Alike(tuple(each), segments[each[0]].column) for each in places.values()),
    }


def _segments(
    shapes: Mapping[str, tuple[int, ...]],
    numbers: Mapping[str, Hashable],
    trainers: Mapping[str, Trainer],
) -> tuple[list[str], tuple[Part, ...]]:
    """A tensor of each segment, whose numbers are all of the segment's; and who trains what."""
    firsts: list[str] = []
    runs: dict[str, list[list[Segment]]] = {}  # by optimizer: segments that touch
    matrices: dict[str, list[tuple[tuple[int, ...], slice, int]]] = {}
    used = {trainers[name].optimizer.name: trainers[name] for name in shapes}
    start, before = 0, ""
    for name, shape in shapes.items():
        trainer, stop = trainers[name], start + math.prod(shape)
        touches = bool(before) and trainers[before] == trainer
        alike = touches and numbers[before] == numbers[name]
        if not alike:
            firsts.append(name)
        column = len(firsts) - 1
        if trainer.optimizer.step_size == "spectral":
            found = matrices.setdefault(trainer.optimizer.name, [])
            found.append((shape, slice(start, stop), column))
        else:
            ours = runs.setdefault(trainer.optimizer.name, [])
            if not touches:
                ours.append([])
            first = ours[-1].pop().start if alike else start
            ours[-1].append(Segment(first, stop, column))
        start, before = stop, name
    return firsts, tuple(
        Part(trainer, tuple(map(tuple, runs.get(name, ()))), _batches(matrices.get(name, ())))
        for name, trainer in used.items()
    )


def _numbers(rule: Rule) -> tuple[float, float, float]:
    return rule.lr, rule.weight_decay, rule.eps


def _batches(
    matrices: Iterable[tuple[tuple[int, ...], slice, int]],
) -> tuple[MatrixBatch, ...]:
    """Matrices of one shape together."""
    alike = groupby(sorted(matrices, key=lambda each: each[0]), key=lambda each: each[0])
    grouped = ((shape, list(each)) for shape, each in alike)
    return tuple(
        MatrixBatch(tuple(where for _, where, _ in each), tuple(c for _, _, c in each), shape)
        for shape, each in grouped
    )
