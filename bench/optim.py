"""AdamW for a stack: K members, each with its own learning rate, decay, betas and eps.

Decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101) as torch has it:

    m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
    w <- w - lr * (wd * w + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps))

``lr``, ``wd`` and ``eps`` are a member's hyperparameter times its tensor's rule, so they vary over
both axes of the ``(K, P)`` storage. One update is a dozen passes over that storage however many
tensors the model has; a loop over tensors pays its overhead for each of them. With independent
decay (Wortsman et al., arXiv 2309.14322) it is ``w <- w - wd * w - lr * ...`` instead: wherever a
tensor decays at all, by the same share, and with ``lr`` and ``wd`` both under the schedule.

Matrices that a parametrization gives to Muon take their step in ``mugrow.bench.muon``, with their
momentum in the place of ``m`` and nothing in that of ``v``.

Gradients are clipped to each member's own norm. Clipping the norm of the stack would couple the
trials: one that diverges would silence the others.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import accumulate

import torch
from torch import Tensor

from mugrow.bench import muon
from mugrow.bench.parametrization import Rules
from mugrow.bench.spec import HyperSpec

CACHED = 1 << 18  # numbers of each tensor that an update works on at a time


@dataclass
class AdamState:
    """Weights and moments ``(K, P)``, and each member's number of updates ``(K, 1)``."""

    weights_KP: Tensor
    m_KP: Tensor
    v_KP: Tensor
    updates_K1: Tensor

    def keep(self, members: Tensor | slice) -> "AdamState":
        """The state of some members only, in the order of their indices; views for a slice."""
        return AdamState(
            self.weights_KP[members],
            self.m_KP[members],
            self.v_KP[members],
            self.updates_K1[members],
        )


def fresh_state(weights_KP: Tensor) -> AdamState:
    updates_K1 = torch.zeros(len(weights_KP), 1, dtype=torch.float64, device=weights_KP.device)
    return AdamState(
        weights_KP, torch.zeros_like(weights_KP), torch.zeros_like(weights_KP), updates_K1
    )


@dataclass(frozen=True)
class StackedAdamW:
    """The hyperparameters of K members; ``update`` is pure apart from the state it is given."""

    lr_KP: Tensor
    decay_KP: Tensor  # what a weight shrinks by in a step at the peak rate
    eps_KP: Tensor
    beta1_K1: Tensor
    beta2_K1: Tensor
    clip_K1: Tensor
    matrices: tuple[muon.Matrix, ...] = ()  # what Muon trains, in storage order

    def keep(self, members: Tensor | slice) -> "StackedAdamW":
        tensors = [field.name for field in fields(self) if field.name != "matrices"]
        return replace(self, **{name: getattr(self, name)[members] for name in tensors})

    def update(self, state: AdamState, gradient_KP: Tensor, factor_KP: Tensor) -> Tensor:
        """One step, in place, at ``factor`` times the peak rate; returns gradient norms ``(K,)``
        from before clipping. A factor is a member's, ``(K, 1)``, or every coordinate's,
        ``(K, P)``; where it is 0 nothing moves."""
        norm_K1: Tensor = torch.linalg.vector_norm(gradient_KP, dim=1, keepdim=True)
        scale_K1 = (self.clip_K1 / norm_K1).clamp(max=1)
        state.updates_K1 += 1
        bias1_K1 = (1 - self.beta1_K1.double() ** state.updates_K1).to(gradient_KP.dtype)
        bias2_K1 = (1 - self.beta2_K1.double() ** state.updates_K1).to(gradient_KP.dtype)
        factor_KP = factor_KP.expand_as(gradient_KP)
        members, size = gradient_KP.shape
        # on a CPU in columns, so that what a pass leaves is in the cache for the next
        columns = max(1, CACHED // members) if gradient_KP.device.type == "cpu" else size
        for c in self._columns(size, columns):
            clipped_KC = gradient_KP[:, c] * scale_K1
            m_KC, v_KC = state.m_KP[:, c], state.v_KP[:, c]
            m_KC.lerp_(clipped_KC, 1 - self.beta1_K1)
            v_KC.lerp_(clipped_KC.square_(), 1 - self.beta2_K1)
            denominator_KC = (v_KC / bias2_K1).sqrt_().add_(self.eps_KP[:, c])
            step_KC = (m_KC / bias1_K1).div_(denominator_KC).mul_(self.lr_KP[:, c])
            step_KC.addcmul_(self.decay_KP[:, c], state.weights_KP[:, c])
            state.weights_KP[:, c].addcmul_(step_KC, factor_KP[:, c], value=-1)
        if self.matrices:
            rates = muon.Rates(self.lr_KP * factor_KP, self.decay_KP * factor_KP)
            clipped_KP = gradient_KP * scale_K1
            muon.update(self.matrices, state.weights_KP, state.m_KP, clipped_KP, rates)
        return norm_K1.squeeze(1)

    def _columns(self, size: int, columns: int) -> Iterator[slice]:
        """All of the storage that is not Muon's, at most so many columns at a time."""
        first = 0
        for start, stop in [*((m.where.start, m.where.stop) for m in self.matrices), (size, size)]:
            for column in range(first, start, columns):
                yield slice(column, min(column + columns, start))
            first = stop


def stacked_adamw(
    shapes: Mapping[str, tuple[int, ...]], rules: Rules, hypers: list[HyperSpec], like: Tensor
) -> StackedAdamW:
    """The optimizer of members with these hyperparameters, on ``like``'s device and dtype, for
    tensors of these shapes in storage order."""

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
    ends = accumulate((math.prod(shape) for shape in shapes.values()), initial=0)
    return StackedAdamW(
        lr_KP=lr_KP,
        decay_KP=torch.where(
            independent_K1, decay_K1 * (decay_P > 0), lr_KP * (decay_K1 * decay_P)
        ),
        eps_KP=hyper_K1("eps") * rule_P("eps"),
        beta1_K1=hyper_K1("beta1"),
        beta2_K1=hyper_K1("beta2"),
        clip_K1=clip_K1.masked_fill(clip_K1 == 0, math.inf),
        matrices=tuple(
            muon.Matrix(slice(start, start + math.prod(shape)), shape)
            for start, (name, shape) in zip(ends, shapes.items(), strict=False)
            if rules.tensors[name].optimizer == "muon"
        ),
    )
