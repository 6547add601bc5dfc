"""One update of a stack: K members, each with its own learning rate, decay, betas and eps.

``lr``, ``decay`` and ``eps`` are a member's hyperparameter times its tensor's rule, so they vary
over both axes of the ``(K, P)`` storage. One update of AdamW is a dozen passes over that storage
however many tensors the model has; a loop over tensors pays its overhead for each of them. With
torch's decay a weight shrinks by ``lr * weight_decay`` a step; with independent decay (Wortsman et
al., arXiv 2309.14322) by ``weight_decay`` wherever a tensor decays at all; both under the schedule.

Every tensor has its optimizer (``mugrow.bench.optim``). What steps by coordinates is taken in
columns of whatever tensors are side by side, what steps by matrices in batches of one shape.

Gradients are clipped to each member's own norm. Clipping the norm of the stack would couple the
trials: one that diverges would silence the others.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from torch import Tensor

from mugrow.bench.optim import Members, Trainer, Update
from mugrow.bench.parametrization import Rules
from mugrow.bench.spec import HyperSpec

CACHED = 1 << 18  # numbers of each tensor that an update works on at a time


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


class ColumnSpan(NamedTuple):
    """Neighbouring coordinates, whatever tensors they are of."""

    where: slice

    def take(self, all_KP: Tensor) -> Tensor:
        """Views, ``(K, C)``."""
        return all_KP[:, self.where]

    def put(self, all_KP: Tensor, part: Tensor) -> None:
        """Nothing to do: ``take`` gave a view."""

    def spread(self, of_members_K1: Tensor) -> Tensor:
        """A member's number, to be multiplied with what ``take`` gave."""
        return of_members_K1


class MatrixBatch(NamedTuple):
    """MatrixBatch of one shape ``(..., out, in)``, and where they lie in the ``P`` axis."""

    where: tuple[slice, ...]
    shape: tuple[int, ...]

    def take(self, all_KP: Tensor) -> Tensor:
        """Copies, ``(K, n, ..., out, in)``."""
        together = torch.stack([all_KP[:, columns] for columns in self.where], dim=1)
        return together.view(*together.shape[:2], *self.shape)

    def put(self, all_KP: Tensor, part: Tensor) -> None:
        """Write the copies back."""
        for i, columns in enumerate(self.where):
            all_KP[:, columns] = part[:, i].flatten(1)

    def spread(self, of_members_K1: Tensor) -> Tensor:
        """A member's number, to be multiplied with what ``take`` gave."""
        return of_members_K1.view(-1, *[1] * (1 + len(self.shape)))


class Part(NamedTuple):
    """The coordinates that one optimizer trains."""

    trainer: Trainer
    pieces: tuple[ColumnSpan | MatrixBatch, ...]

    def in_pieces(self, columns: int) -> Iterator[ColumnSpan | MatrixBatch]:
        """All of them, at most so many columns at a time."""
        for piece in self.pieces:
            if isinstance(piece, MatrixBatch):
                yield piece
                continue
            for first in range(piece.where.start, piece.where.stop, columns):
                yield ColumnSpan(slice(first, min(first + columns, piece.where.stop)))


@dataclass(frozen=True)
class StackedOptimizer:
    """The hyperparameters of K members; ``update`` is pure apart from the state it is given."""

    lr_KP: Tensor
    decay_KP: Tensor  # what a weight shrinks by in a step at the peak rate
    eps_KP: Tensor
    beta1_K1: Tensor
    beta2_K1: Tensor
    clip_K1: Tensor
    parts: tuple[Part, ...]

    def keep(self, members: Tensor | slice) -> "StackedOptimizer":
        """Of some members only, as ``OptimizerState.keep``."""
        tensors = [field.name for field in fields(self) if field.name != "parts"]
        return replace(self, **{name: getattr(self, name)[members] for name in tensors})

    def update(self, state: OptimizerState, gradient_KP: Tensor, factor_KP: Tensor) -> Tensor:
        """One step, in place, at ``factor`` times the peak rate; returns gradient norms ``(K,)``
        from before clipping. A factor is a member's, ``(K, 1)``, or every coordinate's,
        ``(K, P)``; where it is 0 nothing moves."""
        norm_K1: Tensor = torch.linalg.vector_norm(gradient_KP, dim=1, keepdim=True)
        scale_K1 = (self.clip_K1 / norm_K1).clamp(max=1)
        state.updates_K1 += 1
        bias1_K1 = (1 - self.beta1_K1.double() ** state.updates_K1).to(gradient_KP.dtype)
        bias2_K1 = (1 - self.beta2_K1.double() ** state.updates_K1).to(gradient_KP.dtype)
        members = Members(self.beta1_K1, self.beta2_K1, bias1_K1, bias2_K1, state.updates_K1)
        factor_KP = factor_KP.expand_as(gradient_KP)
        count, size = gradient_KP.shape
        # on a CPU in columns, so that what a pass leaves is in the cache for the next
        columns = max(1, CACHED // count) if gradient_KP.device.type == "cpu" else size
        for part in self.parts:
            optimizer, params = part.trainer
            for piece in part.in_pieces(columns):
                buffers = {name: piece.take(state.buffers[name]) for name in optimizer.buffers}
                given = Update(
                    piece.take(gradient_KP) * piece.spread(scale_K1),
                    buffers,
                    piece.take(self.eps_KP),
                    members,
                )
                moved = optimizer.step(given, **params).mul_(piece.take(self.lr_KP))
                weights = piece.take(state.weights_KP)
                moved.addcmul_(piece.take(self.decay_KP), weights)
                weights.addcmul_(moved, piece.take(factor_KP), value=-1)
                piece.put(state.weights_KP, weights)
                for name, buffer in buffers.items():
                    piece.put(state.buffers[name], buffer)
        return norm_K1.squeeze(1)


def stacked_optimizer(
    shapes: Mapping[str, tuple[int, ...]],
    rules: Rules,
    trainers: Mapping[str, Trainer],
    hypers: list[HyperSpec],
    like: Tensor,
) -> StackedOptimizer:
    """The optimizer of members with these hyperparameters, on ``like``'s device and dtype, for
    tensors of these shapes in storage order, each with what trains it."""

    def rule_P(name: str) -> Tensor:
        return torch.cat(
            [
                torch.full(shape, getattr(rules.tensors[tensor], name), dtype=torch.float64).view(
                    -1
                )
                for tensor, shape in shapes.items()
            ]
        ).to(like)

    def hyper_K1(name: str) -> Tensor:
        return torch.tensor([[getattr(h, name)] for h in hypers], dtype=torch.float64).to(like)

    lr_KP = hyper_K1("lr") * rule_P("lr")
    decay_K1, decay_P = hyper_K1("weight_decay"), rule_P("weight_decay")
    independent_K1 = torch.tensor([[h.decay == "independent"] for h in hypers], device=like.device)
    clip_K1 = hyper_K1("clip")
    return StackedOptimizer(
        lr_KP=lr_KP,
        decay_KP=torch.where(
            independent_K1, decay_K1 * (decay_P > 0), lr_KP * (decay_K1 * decay_P)
        ),
        eps_KP=hyper_K1("eps") * rule_P("eps"),
        beta1_K1=hyper_K1("beta1"),
        beta2_K1=hyper_K1("beta2"),
        clip_K1=clip_K1.masked_fill(clip_K1 == 0, math.inf),
        parts=_parts(shapes, trainers),
    )


def _parts(
    shapes: Mapping[str, tuple[int, ...]], trainers: Mapping[str, Trainer]
) -> tuple[Part, ...]:
    """Who trains which coordinates."""
    ends = accumulate((math.prod(shape) for shape in shapes.values()), initial=0)
    where = {
        name: slice(start, start + math.prod(shape))
        for start, (name, shape) in zip(ends, shapes.items(), strict=False)
    }
    parts = []
    for trainer in {trainers[name].optimizer.name: trainers[name] for name in shapes}.values():
        trained = [name for name in shapes if trainers[name] == trainer]
        if trainer.optimizer.step_size == "spectral":
            alike = groupby(sorted(trained, key=shapes.__getitem__), key=shapes.__getitem__)
            batches = ((shape, tuple(where[name] for name in names)) for shape, names in alike)
            pieces = tuple(MatrixBatch(places, shape) for shape, places in batches)
            parts.append(Part(trainer, pieces))
        else:
            parts.append(Part(trainer, tuple(_neighbours(where[name] for name in trained))))
    return tuple(parts)


def _neighbours(slices: Iterable[slice]) -> Iterator[ColumnSpan]:
    """Slices in storage order, those that touch made one."""
    first, *others = slices
    for other in others:
        if other.start == first.stop:
            first = slice(first.start, other.stop)
        else:
            yield ColumnSpan(first)
            first = other
    yield ColumnSpan(first)
