"""The edge between runs and the disk: start a stack, resume it, and commit what it leaves.

A study's folder holds ``runs/<run_id>/`` for what has ended and ``stacks/`` for what is in flight:

    runs/<run_id>/spec.json                 what the run is
    runs/<run_id>/checkpoint.safetensors    its weights, unless it is a proxy
    runs/<run_id>/state.safetensors         its optimizer's state, likewise
    runs/<run_id>/traceback.txt             of a failed run: where in the code it failed
    runs/<run_id>/SHA256SUMS                the checksums of these files
    runs/<run_id>/curve.parquet             its curve and its row: written last, the proof it ended
    stacks/<key>.safetensors                the whole state of a stack that has not ended
    stacks/<key>.json                       how far it is, for the progress display
    stacks/<key>.jsonl                      the rows of its curves so far, a line each

A stack saves itself as one file, so its members are never at different steps. It is composed from
the plan and not from what happens to be missing: a matrix product over seven members rounds
otherwise than one over eight, so a member that must be done again is done among its old companions,
and its curve comes out the same to the last bit.
"""

import json
import math
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from mugrow.bench import checkpoint, flops
from mugrow.bench.checkpoints.lineage import keep_lineage
from mugrow.bench.checksums import (
    SUMS,
    Damaged,
    check_sum,
    forget_sums,
    read_sums,
    sha256,
    sha256_of_file,
)
from mugrow.bench.compiled import check_compiler, why_not
from mugrow.bench.data.batches import TokenData, load_again, val_windows
from mugrow.bench.data_parallel import ALONE, Ranks, Shards, sharded, shards_of, whole
from mugrow.bench.device import device_name, memory_budget
from mugrow.bench.entries import in_one_line
from mugrow.bench.files import remove, write_bytes
from mugrow.bench.final_evaluation import final_windows
from mugrow.bench.growth import MethodError
from mugrow.bench.heap import keep_freed_memory
from mugrow.bench.live import published
from mugrow.bench.method_file import MethodFile, know
from mugrow.bench.model import Weights, count
from mugrow.bench.optim import buffers_of
from mugrow.bench.record import CURVE, json_bytes, read_run, set_aside, write_json, write_run
from mugrow.bench.saving import Saver
from mugrow.bench.spec import IMPORT, RunSpec, UserError, canonical_json
from mugrow.bench.split import Split, peak_bytes, planned
from mugrow.bench.stack import (
    Carried,
    PruningStep,
    Stack,
    StackState,
    begin,
    carried_state,
    model_weights,
)
from mugrow.bench.stacked_optimizer import OptimizerState
from mugrow.bench.start import Beginning, beginning, identify
from mugrow.bench.train import advance, final_losses

SAVE_EVERY_S = 20.0
LONGEST_SHARE = 0.02  # of the time may go into saving: a large model's state takes seconds
SHOW_EVERY_S = 1.0
TRACEBACK = "traceback.txt"
TENSORS = ("checkpoint.safetensors", "state.safetensors")
GO_ON, SAVE, LEAVE = range(3)  # what the first of several ranks says after a step
RUN_FILES = (*TENSORS, CURVE, SUMS, "spec.json", TRACEBACK)
VERSIONS = ("mugrow", "torch", "numpy", "mup", "optuna", "pyarrow")


@dataclass(frozen=True)
class Job:
    """One stack to train: what a worker process is handed. ``key`` names it; ``roles`` and
    ``trials`` have an entry for every run. ``methods`` are those that come from a file;
    ``source_path`` is the folder of the imported model that the runs begin with. A stack begins
    with what fits ``memory_bytes``: by default the most that there can be of a GPU, and no limit on
    a CPU; with ``recompute`` activations are computed again. ``compile`` is whether a stack that
    begins is compiled, where that can be (``mugrow.bench.compiled``). It is trained by so many
    ``ranks`` (``mugrow.bench.data_parallel``), which this process starts or, as it says,
    ``torchrun`` has; what is said of threads, device and memory is of each of them."""

    folder: str
    study: str
    key: str
    runs: tuple[RunSpec, ...]
    roles: tuple[str, ...]
    trials: tuple[int, ...] = ()
    rungs: tuple[PruningStep, ...] = ()
    corpus_path: str | None = None
    source_path: str | None = None
    device: str = "cpu"
    threads: int = 1
    methods: tuple[MethodFile, ...] = ()
    memory_bytes: float | None = None
    recompute: bool = False
    ranks: int = 1
    torchrun: bool = False
    compile: bool = False


def ended(folder: Path, run_id: str) -> dict[str, Any] | None:
    """The row of an ended run, or ``None``. Raises ``Damaged`` when its record is not what was
    written, or when it promises a checkpoint that cannot be read; ``verify`` reads those whole."""
    record = record_of(folder, run_id)
    return None if record is None else record[0]


def record_of(folder: Path, run_id: str) -> tuple[dict[str, Any], pa.Table] | None:
    """``ended``, and the run's curve."""
    home = folder / "runs" / run_id
    record = read_run(home)
    if record is None:
        return None
    for name in _promised(record[0]):
        try:
            checkpoint.check(home / name)
        except FileNotFoundError as error:
            raise Damaged(home / CURVE, f"{name} is missing") from error
    return record


def _promised(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The files of tensors that an ended run has beside its curve."""
    return TENSORS if row["status"] == "finished" and row["role"] != "proxy" else ()


def verify(folder: Path, run_id: str) -> dict[str, Any] | None:
    """``ended``, and all of the run's files read: raises ``Damaged`` for a checkpoint or state that
    is not what was written, by checksum and by the run that the file says it is of."""
    record = verified(folder, run_id)
    return None if record is None else record[0]


def verified(folder: Path, run_id: str) -> tuple[dict[str, Any], pa.Table] | None:
    """``verify``, and the run's curve."""
    record, home = record_of(folder, run_id), folder / "runs" / run_id
    if record is None:
        return None
    described, sums = home / "spec.json", read_sums(home)
    if sums is not None and described.exists():
        check_sum(described, sha256_of_file(described), sums)
    for name in _promised(record[0]):
        checkpoint.verify(home / name)
        identify(home / name, checkpoint.metadata(home / name), run_id)
    return record


class StackLeft(Exception):
    """A stack was saved and left before its end, as it was asked to be."""


def run_stack(
    job: Job, leave: Callable[[], bool] = lambda: False, ranks: Ranks = ALONE
) -> str | None:
    """Train a stack to its end and commit each member that has not been committed yet. Raises
    ``Damaged`` where a source is not what was written, with nothing trained, and ``StackLeft``
    where ``leave``, which is asked after every step, says so: the stack is saved then. Of several
    ``ranks`` all call this, and the first one is asked and writes. Returns what is to be told of
    it."""
    torch.set_num_threads(job.threads)
    keep_freed_memory()
    folder = Path(job.folder)
    for file in job.methods:
        know(file)
    data = load_again(job.runs[0].data, job.corpus_path, job.source_path)
    starts, failures = _starts(job, folder, data)
    for index, error in failures.items() if ranks.leads else ():
        _fail(job, folder, index, data, error)
    members = [index for index in range(len(job.runs)) if index not in failures]
    if not members:
        return None
    try:
        return _train(job, folder, data, members, starts, leave, ranks)
    except MethodError as error:  # of what the method does while its target trains
        if not ranks.leads:
            return None
        _forget_state(stack_files(folder, job.key)[0])  # a mended method must not go on from here
        for index in members:
            _fail(job, folder, index, data, error)
    return None


def _train(
    job: Job,
    folder: Path,
    data: TokenData,
    members: list[int],
    starts: Mapping[int, Beginning],
    leave: Callable[[], bool],
    ranks: Ranks,
) -> str | None:
    """Train these members of a stack together, and commit them."""
    during, split = starts[members[0]].during, _split(job, len(members))
    reason = why_not(during, split) if job.runs[0].train_steps else "nothing is trained"
    stack = Stack(
        specs=[job.runs[i] for i in members],
        rungs=job.rungs,
        trials=[job.trials[i] for i in members] if job.trials else (),
        device=job.device,
        during=during,
        learning_steps=[starts[i].learning_steps for i in members],
        source_widths=[starts[i].source_width for i in members],
        split=split,
        compiled=job.compile and reason is None,
        token_room_bytes=_token_room(job, len(members), split),
    )
    state_path, _, rows_path = stack_files(folder, job.key)
    shards = shards_of(stack, ranks) if ranks.count > 1 else ()
    state = _begun(state_path, stack, [starts[i] for i in members], ranks, shards)
    before, state.ranks = state.ranks, ranks.count
    state.compiled = state.compiled and ranks.count == 1
    if not ranks.leads:
        _follow(stack, state, data, ranks, shards)
        return None
    if state.compiled:
        check_compiler(job.device)
    watch = _Watch(stack, state_path)
    run_ids = [spec.run_id for spec in stack.specs]
    with Saver(SAVE_EVERY_S, LONGEST_SHARE, _state_bytes(state)) as save:
        states = advance(stack, state, data, ranks)
        for current in published(states, rows_path, run_ids, state.curves):
            watch(current)
            said = ranks.told(LEAVE if leave() else SAVE if save.is_due() else GO_ON)
            if said == LEAVE:
                save.wait()
                data.check_unchanged()
                _save_state(state_path, stack, whole(state, ranks, shards))
                raise StackLeft(job.key)
            if said == SAVE:
                save.begin(partial(_copied_state, state_path, stack, state, data, ranks, shards))
    data.check_unchanged()
    state = whole(state, ranks, shards)
    if stack.specs[0].train_steps:  # what was only evaluated has nothing to lose
        _save_state(state_path, stack, state)
    final = final_losses(stack, state, data, ranks)
    data.check_unchanged()
    for place, index in enumerate(members):
        keep = state.status[place] == "finished" and job.roles[index] != "proxy"
        weights = model_weights(stack, state, place) if keep else None
        trained = keep and job.runs[index].start.method != IMPORT
        carried = carried_state(stack, state, place) if trained else None
        curve = [{"run_id": job.runs[index].run_id, **row} for row in state.curves[place]]
        status, wall_s = state.status[place], state.wall_s[place]
        row = _row(job, index, status, wall_s, curve, data, None, final.get(place))
        row["compile"] = "on" if state.compiled else "off"
        if job.compile and reason is not None:
            row["compile"] = f"off: {reason}"
        _commit(job, folder, index, row, curve, weights, carried)
    _forget_state(state_path)
    if before == ranks.count:
        return None
    return f"ranks: {before} had trained it to where {ranks.count} went on, the same to rounding"


def _begun(
    path: Path, stack: Stack, starts: Sequence[Beginning], ranks: Ranks, shards: Shards
) -> StackState:
    """The state that a stack goes on from, or begins with. The first of several ranks looks before
    the others do, for it may set a damaged file aside."""

    def found(stack: Stack) -> StackState:
        return _resume(path, stack) or replace(
            begin(stack, [one.weights for one in starts], [one.carried for one in starts]),
            ranks=ranks.count,
        )

    if ranks.count == 1:
        return found(stack)
    in_memory = replace(stack, device="cpu")
    if ranks.leads:
        state = found(in_memory)
        ranks.told(state.step)
    else:
        step = ranks.told(0)
        state = found(in_memory)
        if state.step != step:
            raise UserError(
                f"rank {ranks.rank} sees {path} at step {state.step}, and the first at {step}: "
                "they must see one folder"
            )
    return sharded(state, ranks, shards, stack.device)


def _follow(stack: Stack, state: StackState, data: TokenData, ranks: Ranks, shards: Shards) -> None:
    """Train as a rank that is not the first, which asks for this one's part of what it writes."""
    for _ in advance(stack, state, data, ranks):
        if (said := ranks.told(GO_ON)) != GO_ON:
            whole(state, ranks, shards)
        if said == LEAVE:
            raise StackLeft
    whole(state, ranks, shards)
    final_losses(stack, state, data, ranks)


def _split(job: Job, members: int) -> Split | None:
    """What a step of a stack that begins takes at once. Raises ``UserError`` where nothing fits."""
    spec, memory_bytes = job.runs[0], _budget(job)
    if not spec.train_steps or (memory_bytes is None and not job.recompute):
        return None
    if memory_bytes is None:
        return Split(members, spec.batch_sequences, job.recompute)
    return planned(spec, members, memory_bytes, job.recompute, job.ranks)


def _budget(job: Job) -> float | None:
    """The bytes that a stack may take; ``None`` is no limit."""
    return memory_budget(job.device) if job.memory_bytes is None else job.memory_bytes


def _token_room(job: Job, members: int, split: Split | None) -> float:
    """The bytes that are left for the ids of what is trained on, beside the stack."""
    budget = _budget(job)
    if budget is None:
        return math.inf
    return budget - peak_bytes(job.runs[0], members, split, job.ranks) if split else 0.0


def stack_files(folder: Path, key: str) -> tuple[Path, Path, Path]:
    """Of a stack in flight: its state, how far it is, and its rows so far."""
    stacks = folder / "stacks"
    return stacks / f"{key}.safetensors", stacks / f"{key}.json", stacks / f"{key}.jsonl"


def _forget_state(path: Path) -> None:
    for one in stack_files(path.parents[1], path.stem):
        remove(one)


def _starts(
    job: Job, folder: Path, data: TokenData
) -> tuple[dict[int, Beginning], dict[int, Exception]]:
    """Where every run begins, and what stopped those that cannot."""
    starts: dict[int, Beginning] = {}
    failures: dict[int, Exception] = {}
    for index, spec in enumerate(job.runs):
        try:
            starts[index] = beginning(spec, folder, data, job.source_path)
        except (Damaged, OSError, MemoryError):  # not the run's fault: it can be done later
            raise
        except Exception as error:  # a method's mistake ends its own runs, not the study
            failures[index] = error
    return starts, failures


def _fail(job: Job, folder: Path, index: int, data: TokenData, error: Exception) -> None:
    reason = str(error) if isinstance(error, UserError) else in_one_line(error)
    row = _row(job, index, "failed", 0.0, [], data, reason)
    _commit(job, folder, index, row, [], error=error)


class _Watch:
    """Called after every step: shows progress, every so many seconds."""

    def __init__(self, stack: Stack, path: Path) -> None:
        self.stack, self.path = stack, path
        self.shown_s = time.monotonic()
        self.shown_tokens = 0
        self.tokens = 0

    def __call__(self, state: StackState) -> None:
        now = time.monotonic()
        self.tokens += len(state.alive) * self.stack.specs[0].batch_tokens
        if now - self.shown_s > SHOW_EVERY_S:
            rate = (self.tokens - self.shown_tokens) / (now - self.shown_s)
            self.shown_s, self.shown_tokens = now, self.tokens
            write_json(self.path.with_suffix(".json"), self.progress(state, rate))

    def progress(self, state: StackState, tokens_per_s: float) -> dict[str, Any]:
        losses = [curve[-1]["val_loss"] for curve in state.curves if curve]
        best = min((float(loss) for loss in losses if loss is not None), default=None)
        return {
            "step": state.step,
            "steps": self.stack.specs[0].train_steps,
            "members": len(state.alive),
            "tokens_per_s": tokens_per_s,
            "best_val_loss": best,
        }


def _save_state(path: Path, stack: Stack, state: StackState) -> None:
    _write_state(path, *_saved(stack, state))


def _state_bytes(state: StackState) -> int:
    optimizer = state.optimizer
    return optimizer.weights_KP.nbytes * (1 + len(optimizer.buffers))


def _copied_state(
    path: Path,
    stack: Stack,
    state: StackState,
    data: TokenData,
    ranks: Ranks = ALONE,
    shards: Shards = (),
) -> Callable[[], None]:
    """What writes the state as it is now."""
    data.check_unchanged()
    tensors, text = _saved(stack, whole(state, ranks, shards))
    gathered = state.optimizer.buffers if ranks.count > 1 else ()  # copies already
    copies = {name: tensor.to("cpu", copy=name not in gathered) for name, tensor in tensors.items()}
    return partial(_write_state, path, copies, text)


def _saved(stack: Stack, state: StackState) -> tuple[dict[str, Tensor], str]:
    """The tensors of a stack's state, and all else as text."""
    optimizer = state.optimizer
    tensors = {
        "weights": optimizer.weights_KP,
        **optimizer.buffers,  # none has the name of another entry
        "updates": optimizer.updates_K1,
        "loss_sum": state.loss_sum_K,
    }
    if state.average_KP is not None:
        tensors["average"] = state.average_KP
    rest = {
        "runs": [spec.run_id for spec in stack.specs],
        "step": state.step,
        "alive": state.alive,
        "curves": state.curves,
        "status": state.status,
        "wall_s": state.wall_s,
        "split": None if state.split is None else asdict(state.split),
        "ranks": state.ranks,
        "compiled": state.compiled,
    }
    return tensors, json.dumps(rest)


def _write_state(path: Path, tensors: Mapping[str, Tensor], text: str) -> None:
    checkpoint.save(path, tensors, {"state": text, "sha256": checkpoint.digest(tensors, text)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a stack's saved state and what else it has, by name. Raises ``Damaged`` for
    one that is not what was saved, and ``OSError``."""
    tensors, metadata = checkpoint.load(path)
    try:
        text = metadata["state"]
        if metadata.get("sha256", found := checkpoint.digest(tensors, text)) != found:
            raise Damaged(path, "its content does not match its checksum")
        rest: dict[str, Any] = json.loads(text)
        rest["runs"], rest["step"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise Damaged(path, f"it is no state of a stack: {error!r}") from error
    return tensors, rest


def _resume(path: Path, stack: Stack) -> StackState | None:
    """The saved state of a stack, if there is one that can be read and is of these very runs: a
    member whose source had failed joins the stack when that source is there."""
    try:
        tensors, rest = load_state(path)
        if rest.pop("runs") != [spec.run_id for spec in stack.specs]:
            return None
        if absent := [name for name in buffers_of(stack.specs[0]) if name not in tensors]:
            raise Damaged(path, f"it has no tensors {absent[0]!r}")
    except FileNotFoundError:
        return None
    except Damaged:
        set_aside(path)
        return None
    tensors = {name: tensor.to(stack.device) for name, tensor in tensors.items()}
    buffers = {name: tensors[name] for name in buffers_of(stack.specs[0])}
    split, compiled = rest.pop("split", None), rest.pop("compiled", False)  # earlier have none
    return StackState(
        optimizer=OptimizerState(tensors["weights"], buffers, tensors["updates"]),
        loss_sum_K=tensors["loss_sum"],
        average_KP=tensors.get("average"),
        split=None if split is None else Split(**split),
        compiled=compiled,
        **rest,
    )


def _commit(
    job: Job,
    folder: Path,
    index: int,
    row: Mapping[str, Any],
    curve: list[dict[str, Any]],
    weights: Weights | None = None,
    carried: Carried | None = None,
    error: Exception | None = None,
) -> None:
    spec = job.runs[index]
    home = folder / "runs" / spec.run_id
    if is_committed(folder, spec.run_id):
        return
    remove(home / CURVE)  # while it is written again it has not ended
    forget_sums(home)
    described = json_bytes(asdict(spec))
    write_bytes(home / "spec.json", described)
    sums = {"spec.json": sha256(described)}
    if error is None:
        remove(home / TRACEBACK)
    else:
        text = "".join(traceback.format_exception(error))
        write_bytes(home / TRACEBACK, text.encode("utf-8", errors="backslashreplace"))
    # One key of metadata, since several are written in no fixed order: equal runs, equal files.
    about = {"spec": canonical_json(spec)}
    if spec.start.method == IMPORT and job.source_path is not None:
        keep_lineage(Path(job.source_path), home)
    if weights is not None:
        # what is imported has no state, and a method that trains other tensors hands on none
        state = {} if carried is None else carried.named()
        for name, tensors in zip(TENSORS, (weights, state), strict=True):
            sums[name] = checkpoint.save(home / name, tensors, about)
    write_run(home, row, curve, sums)


def is_committed(folder: Path, run_id: str) -> bool:
    """Whether a run has ended, and is not to be tried again."""
    try:
        row = ended(folder, run_id)
    except Damaged:
        return False
    return row is not None and row["status"] != "failed"


def _row(
    job: Job,
    index: int,
    status: str,
    wall_s: float,
    curve: Sequence[Mapping[str, Any]],
    data: TokenData,
    reason: str | None,
    final_block_losses: Sequence[float] | None = None,
) -> dict[str, Any]:
    """A run's row of ``runs.parquet``; what its source and its tuning cost is added when a study
    is collected."""
    spec = job.runs[index]
    params, non_embedding = count(spec.model)
    tokens = int(curve[-1]["tokens"]) if curve else 0
    loss = curve[-1]["val_loss"] if curve and status in ("finished", "pruned") else None
    windows = val_windows(data.val, spec.model.context, spec.data.val_tokens)
    if final_block_losses is not None:
        loss = statistics.fmean(final_block_losses)
        windows = final_windows(data.val, spec.model.context, spec.data.final_val_tokens)
        windows = windows.reshape(-1, windows.shape[-1])
    bpb = data.bits_per_byte(loss, windows) if loss is not None else math.nan
    return {
        "run_id": spec.run_id,
        "name": spec.name,
        "study": job.study,
        "role": job.roles[index],
        "method": spec.start.method,
        "parametrization": spec.parametrization,
        "source_run_id": spec.start.source_run_id,
        "width": spec.model.width,
        "depth": spec.model.depth,
        "params": params,
        "params_non_embedding": non_embedding,
        "tokens": tokens,
        "flops": tokens * flops.per_token(spec.model),
        "flops_6nd": tokens * flops.per_token_6n(spec.model),
        "lr": spec.hyper.lr,
        "init_std": spec.hyper.init_std,
        "weight_decay": spec.hyper.weight_decay,
        "batch_tokens": spec.batch_tokens,
        "seed": spec.seed,
        "status": status,
        "final_val_loss": loss,
        "final_bpb": bpb if math.isfinite(bpb) else None,
        "final_val_tokens": None if final_block_losses is None else windows[:, 1:].size,
        "final_block_losses": final_block_losses,
        "wall_s": wall_s,
        "tokens_per_s": tokens / wall_s if wall_s else None,
        "device": device_name(job.device),
        "threads": job.threads,
        "corpus": spec.data.corpus,
        "corpus_sha256": spec.data.corpus_sha256,
        "spec": canonical_json(spec),
        "versions": json.dumps(versions(), sort_keys=True),
        "reason": reason,
        "ranks": job.ranks,
    }


def versions() -> dict[str, str]:
    """Of this package and what it computes with, by name."""
    return {name: _installed(name) for name in VERSIONS} | {"python": platform.python_version()}


_installed = cache(version)  # read from files, and asked for every run
