"""A stack: K runs of one shape, and the state of their training.

The members share a model shape, a parametrization, a batch size and a number of steps; their
hyperparameters, seeds, data and starting weights are their own. The state is flat, ``(K, P)``: a
row is a member's tensors side by side. Those are the model's, unless a growth method trains others
(``mugrow.bench.growth.During``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mugrow.bench.growth import During
from mugrow.bench.model import Shapes, Weights, flatten, shapes
from mugrow.bench.optim import buffers_of
from mugrow.bench.spec import RunSpec
from mugrow.bench.split import Split
from mugrow.bench.stacked_optimizer import OptimizerState, fresh_state

Curve = list[dict[str, float | int | None]]


@dataclass(frozen=True)
class PruningStep:
    """At ``step``, keep the ``keep`` best trials."""

    step: int
    keep: int


class Carried(NamedTuple):
    """An optimizer's state that a run begins with: its buffers by name, each a tensor for every
    parameter of the model, and how many updates made them."""

    buffers: Mapping[str, Weights]
    updates: float

    def named(self) -> Weights:
        """The state as a run leaves it on disk: ``updates``, and ``m.embed.weight`` for buffer
        ``m`` of ``embed.weight``."""
        tensors = {"updates": torch.tensor(self.updates, dtype=torch.float64)}
        for buffer, of_weights in self.buffers.items():
            tensors |= {f"{buffer}.{name}": tensor for name, tensor in of_weights.items()}
        return tensors


@dataclass
class StackState:
    """A stack in flight. ``alive`` holds the members, by their place in the stack, that the rows
    of ``optimizer`` belong to; the lists have an entry for every member. ``average_KP`` is of
    weights, where the runs ask for one. ``split`` is what a step takes at once, and ``compiled``
    whether its loss and gradient are: both are kept for as long as the stack trains. ``ranks`` is
    how many processes train it."""

    step: int
    alive: list[int]
    optimizer: OptimizerState
    loss_sum_K: Tensor
    curves: list[Curve]
    status: list[str]
    wall_s: list[float]
    average_KP: Tensor | None = None
    split: Split | None = None
    ranks: int = 1
    compiled: bool = False


@dataclass(frozen=True)
class Stack:
    """Runs that train as one program. ``trials`` groups members for pruning (seeds of one trial
    stand and fall together); by default each member is its own. ``during`` are the hooks of the
    growth method of all members; ``learning_steps`` is what each member's method trained before.
    ``source_widths`` are of the members grown by whole copies, 0 for others. Without a
    ``split`` a step takes all sequences of as many members as suits the device; ``compiled`` is
    what ``mugrow.bench.compiled`` does. On a device of its own the ids of what is trained on take
    ``token_room_bytes`` at most (``mugrow.bench.data.placed``)."""

    specs: Sequence[RunSpec]
    rungs: Sequence[PruningStep] = ()
    trials: Sequence[int] = ()
    during: During | None = None
    learning_steps: Sequence[int] = ()
    source_widths: Sequence[int] = ()
    device: str = "cpu"
    split: Split | None = None
    compiled: bool = False
    token_room_bytes: float = math.inf

    def __post_init__(self) -> None:
        assert len({stack_key(spec) for spec in self.specs}) == 1, "members differ in shape"
        for each in (self.trials, self.learning_steps, self.source_widths):
            assert not each or len(each) == len(self.specs)


def stack_key(spec: RunSpec) -> tuple[object, ...]:
    """What the members of a stack must have in common."""
    return (
        spec.model,
        spec.base,
        spec.parametrization,
        spec.data,
        spec.batch_sequences,
        spec.train_steps,
        spec.log_every,
        spec.dtype,
        spec.average,
        spec.optimizer,
        spec.precision,
    )


def begin(
    stack: Stack, starts: Sequence[Weights], carried: Sequence[Carried | None] = ()
) -> StackState:
    """The state before the first step, from each member's starting weights and, where there is
    one, the optimizer state it takes over."""
    model = stack.specs[0].model
    dtype = getattr(torch, stack.specs[0].dtype)
    count = len(stack.specs)
    if stack.during is not None:
        starts = [stack.during.lift(weights) for weights in starts]
    weights_KP = torch.stack([pack(weights) for weights in starts]).to(stack.device, dtype)
    optimizer = fresh_state(weights_KP, buffers_of(stack.specs[0]))
    for row, state in enumerate(carried):
        if state is not None:
            for name, buffer_KP in optimizer.buffers.items():
                buffer_KP[row] = flatten(model, state.buffers[name]).to(weights_KP)
            optimizer.updates_K1[row] = state.updates
    return StackState(
        step=0,
        alive=list(range(count)),
        optimizer=optimizer,
        loss_sum_K=torch.zeros(count, dtype=torch.float64, device=stack.device),
        curves=[[] for _ in range(count)],
        status=["running"] * count,
        wall_s=[0.0] * count,
        average_KP=None if stack.specs[0].average.kind == "none" else weights_KP.clone(),
        split=stack.split,
        compiled=stack.compiled,
    )


def pack(weights: Weights) -> Tensor:
    """One member's tensors as a row of the storage."""
    return torch.cat([tensor.reshape(-1) for tensor in weights.values()])


def unpack(of: Shapes, row: Tensor) -> Weights:
    """The inverse of ``pack``: named views of these shapes."""
    parts = torch.split(row, [math.prod(shape) for shape in of.values()])
    return {name: part.view(of[name]) for name, part in zip(of, parts, strict=True)}


def trained_shapes(stack: Stack) -> Shapes:
    """The shapes of what the optimizer trains: the model's, unless a growth method lifts them."""
    of_model = shapes(stack.specs[0].model)
    if stack.during is None:
        return of_model
    lifted = stack.during.lift({name: torch.zeros(shape) for name, shape in of_model.items()})
    return {name: tuple(tensor.shape) for name, tensor in lifted.items()}


def model_weights(stack: Stack, state: StackState, member: int) -> Weights:
    """The weights a living member's model runs on, at validation."""
    row = state.optimizer.weights_KP[state.alive.index(member)]
    weights = unpack(trained_shapes(stack), row)
    if stack.during is None or stack.during.used is None:
        return weights
    return stack.during.used(weights, state.step, None)


def carried_state(stack: Stack, state: StackState, member: int) -> Carried | None:
    """A living member's optimizer state, if it is of the model's own tensors."""
    trained = trained_shapes(stack)
    if trained != shapes(stack.specs[0].model):
        return None
    row = state.alive.index(member)
    buffers = {
        name: unpack(trained, buffer_KP[row]) for name, buffer_KP in state.optimizer.buffers.items()
    }
    return Carried(buffers, float(state.optimizer.updates_K1[row]))
