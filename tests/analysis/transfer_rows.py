"""Rows of sweeps with planted optima, along any axis and grown, as a study's runs are."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from conftest import DATA, run_row

from mugrow.bench.record import RUN_SCHEMA
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, ScheduleSpec, Start

LOG2_LRS = tuple(-10 + 0.5 * place for place in range(13))
SEEDS = (0, 1, 2)
NARROW = ModelSpec(width=32, depth=2)


def spec_of(**fields: Any) -> RunSpec:
    """A spec; ``model_width`` and the like are fields of its parts."""
    parts: dict[str, Any] = {
        "model": NARROW,
        "hyper": HyperSpec(lr=2.0**-7, init_std=0.1),
        "schedule": ScheduleSpec(),
    }
    for name in list(fields):
        part, _, field = name.partition("_")
        if part in parts and field:
            parts[part] = dataclasses.replace(parts[part], **{field: fields.pop(name)})
    defaults: dict[str, Any] = {
        "base": NARROW,
        "data": DATA,
        "parametrization": "mup",
        "batch_sequences": 8,
        "steps": 100,
        "seed": 0,
        "data_seed": 0,
    }
    return RunSpec(**(defaults | parts | fields))


def bowl(best: float, floor: float = 2.0, square: float = 0.02) -> Callable[[float], float]:
    """Loss against log2 lr, twice as steep above its optimum as below."""
    return lambda log2_lr: floor + square * (log2_lr - best) ** 2 * (1 + (log2_lr > best))


def sweep_rows(
    loss: Callable[[float], float],
    *,
    log2_lrs: Iterable[float] = LOG2_LRS,
    seeds: Sequence[int] = SEEDS,
    noise: float = 0.0,
    draw: int = 0,
    role: str = "proxy",
    starts: dict[int, Start] | None = None,
    row: dict[str, Any] | None = None,
    **fields: Any,
) -> list[dict[str, Any]]:
    """A row for each learning rate and seed; a seed adds a constant, and ``noise`` its own."""
    random = np.random.default_rng(draw)
    rows = []
    for log2_lr in log2_lrs:
        for seed in seeds:
            start = {} if starts is None else {"start": starts[seed]}
            spec = spec_of(hyper_lr=2.0**log2_lr, seed=seed, data_seed=seed, **start, **fields)
            value = loss(log2_lr) + 0.01 * seed + noise * random.normal()
            rows.append(run_row(spec, role, value, **(row or {})))
    return rows


def source_rows(log2_lr: float, **fields: Any) -> list[dict[str, Any]]:
    """The sources of all seeds, whose search cost 1e12 FLOPs."""
    specs = [
        spec_of(hyper_lr=2.0**log2_lr, seed=seed, data_seed=seed + 1_000_000, **fields)
        for seed in SEEDS
    ]
    return [run_row(spec, "source", 2.5, flops_tuning=1e12) for spec in specs]


def starts(sources: Iterable[dict[str, Any]], method: str, **params: float) -> dict[int, Start]:
    return {
        row["seed"]: Start(
            method=method,
            source_run_id=row["run_id"],
            source_step=80,
            params=tuple(params.items()),
        )
        for row in sources
    }


def table(*rows: list[dict[str, Any]]) -> pd.DataFrame:
    """``runs.parquet`` as it is read."""
    return pd.DataFrame([one for group in rows for one in group], columns=RUN_SCHEMA.names)
