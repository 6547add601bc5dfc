"""Where a run begins: its own random draw, or a source's checkpoint passed through a growth method.

The operator itself is ``mugrow.bench.growth``'s. What is chosen beside it, and applied here in this
order: noise on the grown weights, the optimizer's state grown or fresh, its reset outside what the
source had, and the rate of what is there. Nothing a method returns is trusted
(``mugrow.bench.guarded``): what is no model of the target's ends this run, with the reason, and no
other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mugrow.bench import checkpoint, growth, guarded, origins
from mugrow.bench.checkpoints.imported import imported_weights
from mugrow.bench.checksums import Damaged
from mugrow.bench.data.batches import TokenData, train_batch
from mugrow.bench.growth import During, zero_pad
from mugrow.bench.guarded_hooks import guarded_hooks
from mugrow.bench.model import Decoder, Shapes, Weights, parameters, shapes
from mugrow.bench.modules import by_tensor
from mugrow.bench.optim import buffers_of
from mugrow.bench.parametrization import generator, initial_weights, rules_of
from mugrow.bench.record import CURVE, read_run
from mugrow.bench.spec import (
    IMPORT,
    ModelSpec,
    RunSpec,
    Start,
    UserError,
    is_of_run,
    run_spec_from_json,
)
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


def beginning(
    spec: RunSpec, folder: Path, data: TokenData, imported: str | None = None
) -> Beginning:
    """The state a run begins with: its own draw, its source grown, or the model ``imported`` to
    that folder.

    Raises ``ValueError`` where the source is not there, ``Damaged`` where it is not what was
    written, and ``UserError`` for a start that the method cannot have, or where it raises or
    returns what is not a model of the target's shape.
    """
    if spec.start.method == IMPORT:
        if imported is None:
            raise UserError("an imported model needs the folder that it was imported to")
        return Beginning(imported_weights(spec, Path(imported)))
    source = None if spec.start.source_run_id is None else _source(spec, folder)
    return beginning_from(spec, source, partial(batch, data, spec))


def beginning_from(
    spec: RunSpec, source: Source | None, batches: Callable[[int], Tensor]
) -> Beginning:
    """``beginning`` from a source at hand; ``batches`` are the tokens ``(B, T + 1)`` of a step."""
    rules = rules_of(spec.parametrization, spec.model, spec.base)
    dtype = getattr(torch, spec.dtype)
    init_std = {name: of.init_std for name, of in by_tensor(spec.model, spec.hyper).items()}
    init = initial_weights(spec.model, rules, init_std, spec.seed, dtype)
    if spec.start == Start():
        return Beginning(init)
    entry = growth.method(spec.start.method)
    big = Decoder(spec.model, rules.multipliers)
    params: dict[str, Any] = dict(spec.start.params)
    source = source or Source(big, init)
    small = source.decoder
    given = params if entry.learning_steps is None else params | {"batches": batches}
    growth.check_start(entry, spec.start)
    rng = partial(_rng, spec)
    grown = guarded.grown(entry, source.weights, small, big, init, rng, given)
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
        kinds = buffers_of(spec)
        if absent := sorted(kinds.keys() - buffers.keys()):
            raise UserError(f"the source's optimizer has no state {absent[0]!r} to carry")
        new = guarded.grown_buffers(entry, buffers, kinds, small, big, init, rng, params)
        if spec.start.reset:
            new = {name: _only_old(part, small.spec, big.spec) for name, part in new.items()}
        carried = Carried(new, updates)
    during = None
    if (acts := entry.during) is not None:
        with growth.blamed(entry.name), guarded.own_generators(rng()):
            during = acts(small.spec, spec.model, spec.train_steps, **params)
        during = guarded_hooks(entry, during, spec.model)
    if spec.start.new_rate != 1:
        blocks = origins.blocks_of(
            lambda weights: guarded.grown(entry, weights, small, big, init, rng, given),
            source.weights,
            small.spec,
        )
        is_old = origins.old(blocks, small.spec, spec.model)
        during = origins.with_new_rate(during, entry, is_old, spec.start.new_rate)
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
    run_id = spec.start.source_run_id
    home = folder / "runs" / run_id
    record = read_run(home)
    if record is None or record[0]["status"] != "finished":
        status = "missing" if record is None else record[0]["status"]
        raise ValueError(f"its source {run_id} is {status}")
    carry = spec.start.optimizer == "carry"
    try:
        source, run = read_source(home / "checkpoint.safetensors", spec.dtype, carry, run_id)
    except FileNotFoundError as error:
        raise Damaged(home / CURVE, f"{Path(error.filename).name} is missing") from error
    assert run.last_step == spec.start.source_step, "the checkpoint is of another step"
    theirs, ours = (one.optimizer.partition(":")[0] for one in (run, spec))
    if carry and theirs != ours:
        raise UserError(f"its source was trained by {theirs}, whose state is not {ours}'s")
    return source


def read_source(
    path: Path, dtype: str, carry: bool, run_id: str | None = None
) -> tuple[Source, RunSpec]:
    """A checkpoint, what it is of, and the optimizer's state beside it if that is to be carried.

    Raises ``Damaged`` for files that are not what was written, not of the run ``run_id`` or, where
    none is asked for, not of the one that ``spec.json`` beside them names, or that hold other
    tensors than the run has; ``FileNotFoundError``; and ``ValueError`` where there is no state.
    """
    weights, metadata = checkpoint.load(path)
    run = identify(path, metadata, run_id or _named_beside(path))
    # what was imported keeps the dtype that it was published in
    _check_tensors(path, weights, shapes(run.model), None if _as_published(run) else run.dtype)
    rules = rules_of(run.parametrization, run.model, run.base)
    kind = getattr(torch, dtype)
    carried = None
    if carry:
        beside = path.with_name("state.safetensors")
        state, metadata = checkpoint.load(beside)
        identify(beside, metadata, run.run_id)
        if not state:
            raise ValueError(f"its source {run.run_id} has no optimizer state")
        of_buffers = {
            f"{buffer}.{name}": shape
            for buffer in buffers_of(run)
            for name, shape in shapes(run.model).items()
        }
        moments = {name: tensor for name, tensor in state.items() if name != "updates"}
        _check_tensors(beside, moments, of_buffers, run.dtype)
        if "updates" not in state or not state["updates"].isfinite().all():
            raise Foreign(beside, "it does not say how many updates made it: 'updates'")
        buffers = {
            buffer: {name: state[f"{buffer}.{name}"].to(kind) for name in weights}
            for buffer in buffers_of(run)
        }
        carried = Carried(buffers, float(state["updates"]))
    weights = {name: tensor.to(kind) for name, tensor in weights.items()}
    return Source(Decoder(run.model, rules.multipliers), weights, carried), run


class Foreign(Damaged):
    """A checkpoint that this version cannot have written."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(path, reason)
        self.args = (f"{path} is no checkpoint that can be used here: {reason}",)


def identify(path: Path, metadata: Mapping[str, str], run_id: str | None) -> RunSpec:
    """The run that a file of tensors says it is of. Raises ``Damaged`` where that is none, or not
    ``run_id``."""
    if "spec" not in metadata:
        raise Foreign(path, "it does not say of which model it is; its metadata lacks 'spec'")
    try:
        run = run_spec_from_json(metadata["spec"])
        known = run_id is None or is_of_run(metadata["spec"], run_id)
    except UserError as error:
        raise Foreign(path, error) from error
    if not known:
        raise Damaged(path, f"it is of run {run.run_id}, not {run_id}")
    return run


def _named_beside(path: Path) -> str | None:
    """The run that ``spec.json`` beside a checkpoint is of, if there is one that can be read."""
    try:
        return run_spec_from_json(path.with_name("spec.json").read_text(encoding="utf-8")).run_id
    except (FileNotFoundError, NotADirectoryError, UserError, UnicodeDecodeError):
        return None


def _as_published(run: RunSpec) -> bool:
    return run.start.method == IMPORT


def _check_tensors(path: Path, tensors: Weights, wanted: Shapes, dtype: str | None) -> None:
    """Raise ``Damaged`` where a file has other tensors than a run of that shape and, where it is
    given, type leaves."""
    for name, shape in wanted.items():
        if name not in tensors:
            raise Foreign(path, f"it has no tensor {name!r} {shape}")
        tensor = tensors[name]
        found = str(tensor.dtype).removeprefix("torch.")
        if tuple(tensor.shape) != shape or found != (dtype or found):
            raise Foreign(
                path, f"{name} is {found} {tuple(tensor.shape)}, not {dtype or found} {shape}"
            )
        if not tensor.isfinite().all():
            raise Damaged(path, f"{name} holds numbers that are not finite")
    if more := sorted(tensors.keys() - wanted.keys()):
        raise Foreign(path, f"it has a tensor {more[0]!r} that its model has not")


def _only_old(tensors: Weights, small: ModelSpec, big: ModelSpec) -> Weights:
    """The tensors with zeros at all coordinates that the source did not have."""
    ones = {name: torch.ones(shape) for name, shape in shapes(small).items()}
    return {
        name: tensor * zero_pad.pad(name, ones[name], small, big, fill=0.0).to(tensor)
        if name in ones
        else torch.zeros_like(tensor)
        for name, tensor in tensors.items()
    }
