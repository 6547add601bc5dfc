"""What a large pool costs the program that schedules it: CPU seconds to start, plan and collect.

A pool of ended runs is made, of a study's own specs, with curves but nothing trained. Then, in
turns:

    before    every run's files are read at the start, and every curve again for the tables
    after     rows and curves come from the index; the tables are written from memory

Planning is timed once for a study that this process has not planned, and again: it is planned anew
whenever a stack has ended. CPU seconds and not the clock, as other programs may run.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mugrow.bench.record import read_run, write_run
from mugrow.bench.run import verified
from mugrow.bench.spec import DataSpec, RunSpec, canonical_json
from mugrow.sweeps.collect import collect
from mugrow.sweeps.ended import Ended
from mugrow.sweeps.index import Curves
from mugrow.sweeps.plan import plan
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.study import Study

Result = TypeVar("Result")
ROWS = 20  # of a curve
DATA = DataSpec(corpus="stdlib", corpus_sha256="0" * 64)


@dataclass(frozen=True)
class PoolSpeed:
    """CPU seconds on ``runs`` ended runs, before and after, and their ratio over all."""

    runs: int
    start_before_s: float
    start_s: float
    tables_before_s: float
    tables_s: float
    plan_first_s: float
    plan_s: float
    ratio: float


def pool_speed(runs: int = 10_000, rounds: int = 3) -> PoolSpeed:
    """Measure on a pool of about so many runs, in a temporary folder; the least of the rounds."""
    study = _study(runs)
    planned, first_s = _timed(lambda: plan(study, DATA, {}))
    rows = {run.spec.run_id: _row(run.spec) for run in planned.runs}
    with tempfile.TemporaryDirectory() as name:
        pool = Path(name)
        for run_id, row in rows.items():
            write_run(pool / "runs" / run_id, row, _curve(run_id))
        Ended(pool, print).write_index(whole=True)
        least = map(min, zip(*(_round(pool, study, rows) for _ in range(rounds)), strict=True))
    start_before_s, start_s, tables_before_s, tables_s, plan_s = least
    return PoolSpeed(
        runs=len(rows),
        start_before_s=start_before_s,
        start_s=start_s,
        tables_before_s=tables_before_s,
        tables_s=tables_s,
        plan_first_s=first_s,
        plan_s=plan_s,
        ratio=(start_before_s + tables_before_s) / (start_s + tables_s),
    )


def _round(pool: Path, study: Study, rows: dict[str, dict[str, Any]]) -> tuple[float, ...]:
    current, plan_s = _timed(lambda: plan(study, DATA, rows))
    _, start_before_s = _timed(lambda: [verified(pool, run_id) for run_id in rows])
    finished, start_s = _timed(lambda: Ended(pool, print))
    assert finished.rows == rows
    _, tables_before_s = _timed(
        lambda: collect(pool, current, rows, study.name, _read_each(pool, rows))
    )
    _, tables_s = _timed(lambda: collect(pool, current, rows, study.name, finished.curves))
    return start_before_s, start_s, tables_before_s, tables_s, plan_s


def _study(runs: int) -> Study:
    """One sweep, on a grid as large as it takes."""
    study = recipe("quick")
    axis = tuple(-12 + place / 8 for place in range(max(1, runs // 100)))
    return replace(
        study,
        parametrizations=("mup",),
        proxy_widths=(study.model.width,),
        sampler="grid",
        log2_lr=axis,
        init_std=tuple(0.01 * (place + 1) for place in range(10)),
        seeds=tuple(range(10)),
        generation=20,
        ladder=(),
        rungs=(),
    )


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def _row(spec: RunSpec) -> dict[str, Any]:
    """As a run leaves it, of the columns that are long or read here."""
    return {
        "run_id": spec.run_id,
        "name": spec.name,
        "role": "proxy",
        "status": "finished",
        "final_val_loss": 2.0 + spec.hyper.lr,
        "source_run_id": None,
        "tokens": spec.tokens,
        "flops": float(spec.tokens),
        "spec": canonical_json(spec),
    }


def _curve(run_id: str) -> list[dict[str, Any]]:
    return [
        {"run_id": run_id, "step": step, "tokens": step, "train_loss": 3.0, "val_loss": 2.0 + step}
        for step in range(ROWS)
    ]


def _read_each(pool: Path, run_ids: Iterable[str]) -> Curves:
    curves = Curves()
    for run_id in run_ids:
        record = read_run(pool / "runs" / run_id)
        assert record is not None
        curves.add(run_id, record[1])
    return curves
