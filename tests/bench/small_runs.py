"""Runs small enough to train inside a test, tokens to train them on, and what a job leaves."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mugrow.bench.data.batches import TokenData
from mugrow.bench.model import Weights
from mugrow.bench.parametrization import initial_weights, parametrization
from mugrow.bench.record import read_run
from mugrow.bench.run import Job
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec

BASE = ModelSpec(width=8, depth=1, head_size=8, context=8, vocab_size=32)
RUN = RunSpec(
    model=replace(BASE, width=16),
    base=BASE,
    parametrization="mup",
    hyper=HyperSpec(lr=2**-6, init_std=0.1),
    schedule=ScheduleSpec(),
    data=DataSpec(corpus="skewed", corpus_sha256="0", val_tokens=256),
    batch_sequences=4,
    steps=20,
    seed=0,
    data_seed=0,
    log_every=5,
)
HYPERS = {field.name for field in fields(HyperSpec)}


def vary(run: RunSpec = RUN, **changes: object) -> RunSpec:
    """A run with some fields, of its own or of its hyperparameters, changed."""
    hyper = {name: changes.pop(name) for name in list(changes) if name in HYPERS}
    return replace(run, hyper=replace(run.hyper, **hyper), **changes)


def skewed_tokens(vocab_size: int = 32) -> TokenData:
    """Independent draws of which the low ids are the more likely: there is something to learn."""
    uniform = np.random.Generator(np.random.Philox(1)).random(5000)
    tokens = (vocab_size * uniform**3).astype(np.uint16)
    return TokenData("skewed", "0", tokens[:4000], tokens[4000:], vocab_size, None)


def start_of(run: RunSpec) -> Weights:
    rules = parametrization(run.parametrization).rules(run.model, run.base)
    dtype = getattr(torch, run.dtype)
    return initial_weights(run.model, rules, run.hyper.init_std, run.seed, dtype)


def job_of(
    folder: Path, corpus: str, runs: tuple[RunSpec, ...], role: str = "proxy", **fields: object
) -> Job:
    key = fields.pop("key", "a-stack")
    roles = (role,) * len(runs)
    return Job(str(folder), "a study", key, runs, roles, corpus_path=corpus, **fields)


def home(job: Job, member: int) -> Path:
    return Path(job.folder) / "runs" / job.runs[member].run_id


def row(job: Job, member: int) -> dict:
    return read_run(home(job, member))[0]


def curve(job: Job, member: int) -> list[dict]:
    return read_run(home(job, member))[1].to_pylist()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_same_curves(a: list[dict], b: list[dict], tolerance: float) -> None:
    """Losses within the tolerance, gradient norms too but relative to their size."""
    assert column(a, "step") == column(b, "step")
    for name in ("train_loss", "val_loss"):
        assert_close(column(a, name), column(b, name), abs=tolerance, rel=0)
    assert_close(column(a, "grad_norm"), column(b, "grad_norm"), rel=10 * tolerance)


def column(curve: list[dict], name: str) -> list[float | None]:
    return [row[name] for row in curve]


def assert_close(a: list[float | None], b: list[float | None], **tolerance: float) -> None:
    assert [value is None for value in a] == [value is None for value in b]
    expected = [value for value in b if value is not None]
    assert [value for value in a if value is not None] == pytest.approx(expected, **tolerance)
