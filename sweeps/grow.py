"""Grow a stored model outside any study: a checkpoint in, a checkpoint out.

What is written is a run's folder before its first step: ``spec.json``, ``checkpoint.safetensors``
and, with the optimizer's state carried, ``state.safetensors``. It can be grown again.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mugrow.bench import checkpoint
from mugrow.bench.checkpoints.lineage import hand_on
from mugrow.bench.checks.cases import Grown
from mugrow.bench.checksums import Damaged, sha256, write_sums
from mugrow.bench.data.batches import load, resolve_own
from mugrow.bench.files import check_new, named, temporary_of, write_bytes
from mugrow.bench.growth import GrowthMethod, blamed, check_growth, check_start, method, stages
from mugrow.bench.method_file import is_file, read_method
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.parametrization import rules_of
from mugrow.bench.record import json_bytes
from mugrow.bench.spec import ModelSpec, RunSpec, Start, UserError, canonical_json, unknown
from mugrow.bench.start import Beginning, Source, batch, beginning_from, read_source

CHECKPOINT = "checkpoint.safetensors"
MOST_TOKENS = 256  # of a sequence whose logits are compared


@dataclass(frozen=True)
class GrownModel:
    """What was grown: shapes as ``w32-d2``, width and depth. ``breaks`` is why the method says that
    the logits are not the source's, ``None`` where it says that they are, and ``logit_error`` their
    relative difference on random tokens. ``optimizer`` is ``carried`` or ``fresh``."""

    method: str
    source_run_id: str
    run_id: str
    source_shape: str
    target_shape: str
    preserves: str
    breaks: str | None
    logit_error: float
    optimizer: str


def grow(
    source: str | Path,
    out: str | Path,
    start: Start | str,
    *,
    width: int | None = None,
    depth: int | None = None,
    head_size: int | None = None,
    mlp_ratio: float | None = None,
    kv_heads: int | None = None,
    query_heads: int | None = None,
    mlp_units: int | None = None,
    seed: int | None = None,
    corpus: str | None = None,
) -> GrownModel:
    """Grow a stored model and write it to the new folder ``out``.

    ``source`` is a run's folder, STUDY/RUN_ID, or a checkpoint; ``start`` is a growth method by
    name or by its Python file's path, or with its parameters and what becomes of the optimizer's
    state and the symmetry: the run and step that it lacks are filled in. The target has the
    source's shape where none is given. ``seed`` draws what is random, the source's by default;
    ``corpus`` is where the source's lies, for a method that learns; of an import, any text. Raises
    ``UserError``, with nothing written, for what cannot be found, read or grown.

    >>> import mugrow
    >>> source = "results/quick/e9430cb212463235"  # of `mugrow run quick`
    >>> grown = mugrow.grow(source, "wide", "hypercloning", width=64)  # doctest: +SKIP
    >>> grown.target_shape, grown.breaks  # doctest: +SKIP
    ('w64-d2', None)
    """
    source, out = Path(source), Path(out)
    start = Start(method=start) if isinstance(start, str) else start
    check_new(out)
    if is_file(start.method):
        start = replace(start, method=read_method(Path(start.method)).name)
    entry, params = method(start.method), dict(start.params)
    path = find(source)
    home, (grown_from, run) = path.parent, _read(path, start.optimizer)
    shape = {"width": width, "depth": depth, "head_size": head_size, "mlp_ratio": mlp_ratio}
    shape |= {"kv_heads": kv_heads, "query_heads": query_heads, "mlp_units": mlp_units}
    target = replace(run.model, **_given(shape))
    _check(entry, run.model, target, start)
    spec = _run(run, target, seed, start)
    if entry.learning_steps and run.data.tokenizer == "imported":
        if corpus is None:
            raise UserError(
                f"method {entry.name!r} trains on text, and an import comes with none; give it "
                "--corpus FILE"
            )
        spec = replace(spec, data=resolve_own(corpus, home, run.model, val_tokens=1))
    batches = _batches(spec, corpus, home) if entry.learning_steps else _no_batches
    grown = beginning_from(spec, grown_from, batches)
    error = logit_error(grown_from, spec, grown)
    with blamed(entry.name):
        breaks = entry.breaks(run.model, target, {**entry.params, **params})
    result = GrownModel(
        method=entry.name,
        source_run_id=run.run_id,
        run_id=spec.run_id,
        source_shape=_shape(run.model),
        target_shape=_shape(target),
        preserves=entry.preserves,
        breaks=breaks,
        logit_error=error,
        optimizer="carried" if grown.carried else "fresh",
    )
    _write(
        out, spec, grown, lambda folder: hand_on(home, folder, {"step": "grow", **asdict(result)})
    )
    return result


def _given(shape: dict[str, float | None]) -> dict[str, Any]:
    return {name: value for name, value in shape.items() if value is not None}


def _check(entry: GrowthMethod, small: ModelSpec, big: ModelSpec, start: Start) -> None:
    """Raise the ``UserError`` of what cannot be done."""
    check_growth(entry, small, big, dict(start.params))
    if not entry.needs_source:
        raise UserError(f"method {entry.name!r} grows no source")
    check_start(entry, start)
    first, *more = stages(entry, small, big, dict(start.params))
    if more:
        raise UserError(
            f"method {entry.name!r} reaches {_shape(big)} in {1 + len(more)} stages, with "
            f"training between them; the first is {_shape(first)}"
        )


def find(path: Path) -> Path:
    """The checkpoint meant: a file, a run's folder, or a study's folder and a run's id."""
    study, run_id = path.parent, path.name
    for found in (path, path / CHECKPOINT, study / "runs" / run_id / CHECKPOINT):
        if found.is_file():
            return found
    if (path / "spec.json").exists() or (study / "runs" / run_id).exists():
        raise UserError(f"run {run_id} left no checkpoint: only sources and targets do")
    if (study / "runs").is_dir():
        stored = (folder.parent.name for folder in (study / "runs").glob(f"*/{CHECKPOINT}"))
        raise unknown("run", run_id, stored)
    raise UserError(f"{path} is neither a checkpoint, nor a run's folder, nor STUDY/RUN_ID")


def _read(path: Path, optimizer: str) -> tuple[Source, RunSpec]:
    try:
        return read_source(path, "float32", carry=optimizer == "carry")
    except FileNotFoundError as error:
        raise UserError(f"no optimizer state to carry beside {path}") from error
    except Damaged as error:
        raise UserError(str(error)) from error


def _run(run: RunSpec, target: ModelSpec, seed: int | None, start: Start) -> RunSpec:
    """The target as a run of its source's settings, from the first step."""
    return replace(
        run,
        model=target,
        seed=run.seed if seed is None else seed,
        start=replace(start, source_run_id=run.run_id, source_step=run.last_step),
        stop_step=None,
        first_step=0,
        rewarm_steps=0,
        first_batch=0,
        dtype="float32",
    )


def _batches(spec: RunSpec, corpus: str | None, home: Path) -> Callable[[int], Tensor]:
    data = load(spec.data, corpus, str(home))
    return partial(batch, data, spec)


def _no_batches(step: int) -> Tensor:
    raise AssertionError("only a method that learns asks for batches")


@torch.no_grad()
def logit_error(source: Source, spec: RunSpec, grown: Beginning) -> float:
    """Relative difference of the logits on random tokens, as the target runs before its first
    step; computed in float64 from weights that were rounded to float32."""
    rng = torch.Generator().manual_seed(0)
    length = min(spec.model.context, MOST_TOKENS)
    tokens = torch.randint(spec.model.vocab_size, (4, length), generator=rng)
    rules = rules_of(spec.parametrization, spec.model, spec.base)
    decoder = Decoder(spec.model, rules.multipliers)
    decoder, weights = Grown(grown.weights, grown.during).at_start(decoder)
    want = source.decoder(_double(source.weights), tokens)
    return float((decoder(_double(weights), tokens) - want).norm() / want.norm())


def growth_again(run: RunSpec, path: Path) -> tuple[str | None, float]:
    """What the growth that a run began with preserved: why its logits are not the source's,
    ``None`` where the method says that they are, and their relative difference.

    The growth is made again, from the source's checkpoint at ``path``. Raises ``UserError`` for a
    method that learns, which had the study's text, and for a file that cannot be read.
    """
    entry = method(run.start.method)
    if entry.learning_steps:
        raise UserError(f"{entry.name!r} trains on the study's text while it grows")
    try:
        source, of_source = read_source(path, run.dtype, carry=False)
    except Damaged as error:
        raise UserError(str(error)) from error
    plain = replace(run, start=replace(run.start, optimizer="fresh", reset=False))
    grown = beginning_from(plain, source, _no_batches)
    params = {**entry.params, **dict(run.start.params)}
    with blamed(entry.name):
        breaks = entry.breaks(of_source.model, run.model, params)
    return breaks, logit_error(source, plain, grown)


def _double(weights: Weights) -> Weights:
    return {name: tensor.double() for name, tensor in weights.items()}


def _write(
    out: Path, spec: RunSpec, grown: Beginning, write_beside: Callable[[Path], object]
) -> None:
    """Write the folder, whole or not at all."""
    about, making = {"spec": canonical_json(spec)}, temporary_of(out)
    described = json_bytes(asdict(spec))
    try:
        with named(out):
            sums = {CHECKPOINT: checkpoint.save(making / CHECKPOINT, grown.weights, about)}
            if grown.carried is not None:
                state = making / "state.safetensors"
                sums[state.name] = checkpoint.save(state, grown.carried.named(), about)
            write_bytes(making / "spec.json", described)
            write_beside(making)
            write_sums(making, sums | {"spec.json": sha256(described)})
            making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _shape(model: ModelSpec) -> str:
    return f"w{model.width}-d{model.depth}"
