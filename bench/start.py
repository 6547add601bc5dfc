"""Where a run begins: its own random draw, or a source's checkpoint passed through a growth method.

The operator itself is ``mugrow.bench.growth``'s. What is chosen beside it, and applied here in this
order: noise on the grown weights, the optimizer's state grown or fresh, and its reset outside what
the source had. Nothing a method returns is trusted: other names, shapes or types than the
target's end this run, with the reason, and no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mugrow.bench import checkpoint, growth
from mugrow.bench.data.batches import TokenData, train_batch
from mugrow.bench.growth import During, MethodError, zero_pad
from mugrow.bench.model import Decoder, Weights, parameters, shapes
from mugrow.bench.optim import buffers_of
from mugrow.bench.parametrization import generator, initial_weights, rules_of
from mugrow.bench.record import read_run
from mugrow.bench.spec import ModelSpec, RunSpec, Start, UserError, run_spec_from_json
from mugrow.bench.stack import Carried

LEARNING_DATA_SEEDS = 2_000_000


@dataclass(frozen=True)
class Beginning:
    """What a run starts from. ``carried`` is the optimizer's state, ``during`` the growth method's
    hooks, ``learning_steps`` the steps that the method itself trained. ``source_width`` is the
    source's where the target's is a larger multiple of it."""

    weights: Weights
    carried: Carried | None = None
    during: During | None = None
    learning_steps: int = 0
    source_width: int = 0


@dataclass(frozen=True)
class Source:
    """What is grown; ``carried`` where the optimizer's state is wanted."""

    decoder: Decoder
    weights: Weights
    carried: Carried | None = None


def beginning(spec: RunSpec, folder: Path, data: TokenData) -> Beginning:
    """The state a run begins with: its own draw, or its source grown.

    Raises ``ValueError`` where the source is not there, and ``UserError`` for a start that the
    method cannot have, or where it raises or returns what is not a model of the target's shape.
    """
    source = None if spec.start.source_run_id is None else _source(spec, folder)
    return beginning_from(spec, source, partial(batch, data, spec))


def beginning_from(
    spec: RunSpec, source: Source | None, batches: Callable[[int], Tensor]
) -> Beginning:
    """``beginning`` from a source at hand; ``batches`` are the tokens ``(B, T + 1)`` of a step."""
    rules = rules_of(spec.parametrization, spec.model, spec.base)
    dtype = getattr(torch, spec.dtype)
    init = initial_weights(spec.model, rules, spec.hyper.init_std, spec.seed, dtype)
    if spec.start == Start():
        return Beginning(init)
    entry = growth.method(spec.start.method)
    big = Decoder(spec.model, rules.multipliers)
    params: dict[str, Any] = dict(spec.start.params)
    source = source or Source(big, init)
    small = source.decoder
    given = params if entry.learning_steps is None else params | {"batches": batches}
    growth.check_start(entry, spec.start)
    with growth.blamed(entry.name):
        grown = entry.grow(source.weights, small, big, init, _rng(spec), **given)
        _check_shapes(entry.name, grown, init)
    if spec.start.noise:
        grown = {
            name: grown[name] + spec.start.noise * init[name]
            if kind not in ("gain", "bias")
            else grown[name]
            for name, (_, kind) in parameters(spec.model).items()
        }
    carried = None
    if spec.start.optimizer == "carry":
        assert source.carried is not None
        buffers, updates = source.carried
        kinds, rng = buffers_of(spec), partial(_rng, spec)
        if absent := sorted(kinds.keys() - buffers.keys()):
            raise UserError(f"the source's optimizer has no state {absent[0]!r} to carry")
        with growth.blamed(entry.name):
            new = growth.grow_buffers(entry, buffers, kinds, small, big, rng, params)
            for tensors in new.values():
                _check_shapes(entry.name, tensors, init)
        if spec.start.reset:
            new = {name: _only_old(part, small.spec, big.spec) for name, part in new.items()}
        carried = Carried(new, updates)
    with growth.blamed(entry.name):
        acts = entry.during
        during = acts(small.spec, spec.model, spec.train_steps, **params) if acts else None
    width = small.spec.width
    return Beginning(
        weights={name: grown[name] for name in init},  # in storage order
        carried=carried,
        during=during,
        learning_steps=(entry.params | params)[entry.learning_steps] if entry.learning_steps else 0,
        source_width=0 if spec.model.width % width or spec.model.width == width else width,
    )


def _rng(spec: RunSpec) -> torch.Generator:
    return generator("growth", spec.seed)


def batch(data: TokenData, spec: RunSpec, step: int) -> Tensor:
    """Tokens ``(B, T + 1)`` for a method that learns, of a data seed that no run trains on."""
    seed = spec.data_seed + LEARNING_DATA_SEEDS
    tokens = train_batch(data.train, seed, step, spec.batch_sequences, spec.model.context)
    return torch.from_numpy(tokens)


def _source(spec: RunSpec, folder: Path) -> Source:
    """A run's source, from the folder of its study."""
    assert spec.start.source_run_id is not None
    home = folder / "runs" / spec.start.source_run_id
    record = read_run(home)
    if record is None or record[0]["status"] != "finished":
        status = "missing" if record is None else record[0]["status"]
        raise ValueError(f"its source {spec.start.source_run_id} is {status}")
    carry = spec.start.optimizer == "carry"
    source, run = read_source(home / "checkpoint.safetensors", spec.dtype, carry)
    assert run.last_step == spec.start.source_step, "the checkpoint is of another step"
    theirs, ours = (one.optimizer.partition(":")[0] for one in (run, spec))
    if carry and theirs != ours:
        raise UserError(f"its source was trained by {theirs}, whose state is not {ours}'s")
    return source


def read_source(path: Path, dtype: str, carry: bool) -> tuple[Source, RunSpec]:
    """A checkpoint, what it is of, and the optimizer's state beside it if that is to be carried.

    Raises ``Damaged``, ``FileNotFoundError``, and ``ValueError`` where there is no such state.
    """
    weights, metadata = checkpoint.load(path)
    run = run_spec_from_json(metadata["spec"])
    rules = rules_of(run.parametrization, run.model, run.base)
    kind = getattr(torch, dtype)
    carried = None
    if carry:
        state, _ = checkpoint.load(path.with_name("state.safetensors"))
        if not state:
            raise ValueError(f"its source {run.run_id} has no optimizer state")
        buffers = {
            buffer: {name: state[f"{buffer}.{name}"].to(kind) for name in weights}
            for buffer in buffers_of(run)
        }
        carried = Carried(buffers, float(state["updates"]))
    weights = {name: tensor.to(kind) for name, tensor in weights.items()}
    return Source(Decoder(run.model, rules.multipliers), weights, carried), run


def _check_shapes(name: str, tensors: Weights, init: Weights) -> None:
    if tensors.keys() != init.keys():
        wrong = sorted(tensors.keys() ^ init.keys())[0]
        raise MethodError(f"method {name!r} returned other tensors than the target's: {wrong}")
    for tensor, want in init.items():
        got = tensors[tensor]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise MethodError(
                f"method {name!r} returned {tensor} as {tuple(got.shape)} {got.dtype}, "
                f"not {tuple(want.shape)} {want.dtype}"
            )


def _only_old(tensors: Weights, small: ModelSpec, big: ModelSpec) -> Weights:
    """The tensors with zeros at all coordinates that the source did not have."""
    ones = {name: torch.ones(shape) for name, shape in shapes(small).items()}
    return {
        name: tensor * zero_pad.pad(name, ones[name], small, big, fill=0.0).to(tensor)
        if name in ones
        else torch.zeros_like(tensor)
        for name, tensor in tensors.items()
    }
