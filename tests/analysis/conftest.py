"""A small believable study, written through ``mugrow.bench.record`` as a real one is.

muP and SP sweeps at widths 32 and 64 (7 learning rates x 2 seeds, 3 init scales at width 32), two
sources, and targets of width 128 by scratch, szp and hypercloning. What it was built to say:

* muP's optimum stays at log2 lr = -6.8; SP's moves from -6.8 to -7.8;
* szp needs half the target FLOPs of scratch for every loss, so its speed-up is 2 (``target``);
* hypercloning ends above scratch's final loss and never reaches it, and its copies stay locked;
* one SP proxy diverged, one was pruned.

Both seeds tell the same story: a seed adds a constant to the loss.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mugrow.bench.record import (
    CURVE_SCHEMA,
    RUN_SCHEMA,
    TRIAL_SCHEMA,
    write_json,
    write_table,
)
from mugrow.bench.spec import (
    DataSpec,
    HyperSpec,
    ModelSpec,
    RunSpec,
    ScheduleSpec,
    Start,
    canonical_json,
)

SEEDS = (0, 1)
LOG2_LRS = (-10, -9, -8, -7, -6, -5, -4)
INIT_STDS = (0.02, 0.04, 0.08)
OPTIMUM = {("mup", 32): -6.8, ("mup", 64): -6.8, ("sp", 32): -6.8, ("sp", 64): -7.8}
STEPS, LOG_EVERY, BATCH = 100, 10, 4
DATA = DataSpec(corpus="stdlib", corpus_sha256="ab" * 32)


def params_of(width: int, depth: int = 2) -> int:
    return 12 * depth * width**2 + 512 * width


def spec_of(
    width: int,
    parametrization: str,
    log2_lr: float,
    init_std: float,
    seed: int,
    start: Start | None = None,
    stop_step: int | None = None,
) -> RunSpec:
    return RunSpec(
        model=ModelSpec(width=width, depth=2),
        base=ModelSpec(width=32, depth=2),
        parametrization=parametrization,
        hyper=HyperSpec(lr=2.0**log2_lr, init_std=init_std),
        schedule=ScheduleSpec(),
        data=DATA,
        batch_sequences=BATCH,
        steps=STEPS,
        seed=seed,
        data_seed=seed,
        start=start or Start(),
        stop_step=stop_step,
        log_every=LOG_EVERY,
    )


def run_row(spec: RunSpec, role: str, final_loss: float, **fields: Any) -> dict[str, Any]:
    """A row of ``runs.parquet`` for a finished run, unless ``fields`` say otherwise."""
    params = params_of(spec.model.width)
    flops = 6.0 * params * spec.tokens
    row = {
        "run_id": spec.run_id,
        "name": spec.name,
        "study": "quick",
        "role": role,
        "method": spec.start.method,
        "parametrization": spec.parametrization,
        "source_run_id": spec.start.source_run_id,
        "width": spec.model.width,
        "depth": spec.model.depth,
        "params": params,
        "params_non_embedding": params - 512 * spec.model.width,
        "tokens": spec.tokens,
        "flops": flops,
        "flops_6nd": flops,
        "flops_source": 0.0,
        "flops_tuning": 0.0,
        "lr": spec.hyper.lr,
        "init_std": spec.hyper.init_std,
        "weight_decay": spec.hyper.weight_decay,
        "batch_tokens": spec.batch_tokens,
        "seed": spec.seed,
        "status": "finished",
        "final_val_loss": final_loss,
        "final_bpb": final_loss / math.log(2) if math.isfinite(final_loss) else None,
        "wall_s": 2.5,
        "tokens_per_s": spec.tokens / 2.5,
        "device": "cpu",
        "threads": 2,
        "corpus": spec.data.corpus,
        "corpus_sha256": spec.data.corpus_sha256,
        "spec": canonical_json(spec),
        "versions": json.dumps({"python": "3.11.7", "torch": "2.13.0"}),
        "reason": None,
    }
    return row | fields


def curve_rows(row: dict[str, Any], losses: list[float]) -> list[dict[str, Any]]:
    """One row every ``LOG_EVERY`` steps, from step 0, for the losses given."""
    steps = [LOG_EVERY * index for index in range(len(losses))]
    return [
        {
            "run_id": row["run_id"],
            "step": step,
            "tokens": step * row["batch_tokens"],
            "flops": 6.0 * row["params"] * step * row["batch_tokens"],
            "lr": row["lr"],
            "train_loss": loss + 0.01,
            "val_loss": loss,
            "grad_norm": 0.5,
        }
        for step, loss in zip(steps, losses, strict=True)
    ]


def proxy_loss(parametrization: str, width: int, log2_lr: float, init_std: float) -> float:
    away = log2_lr - OPTIMUM[parametrization, width]
    init = math.log2(init_std / 0.04)
    return 2.0 + 8 / width + 0.03 * away**2 + 0.02 * init**2


def scratch_loss(step: float) -> float:
    """Falls by a constant for each doubling of compute: linear in log FLOPs."""
    return 5.5 if step == 0 else 3.5 - 0.25 * math.log2(step / LOG_EVERY)


def target_loss(method: str, step: int) -> float:
    if method == "szp":
        return scratch_loss(2 * step)
    if method == "hypercloning":
        return 3.0 - 0.05 * math.log2(1 + step / LOG_EVERY)
    return scratch_loss(step)


def asymmetry(method: str, step: int) -> float:
    return 0.0 if method == "hypercloning" else 0.01 * 2.0 ** (step / 20)


def proxies() -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of runs, curves and trials of the four sweeps."""
    runs, curves, trials = [], [], []
    for (parametrization, width), _ in OPTIMUM.items():
        inits = INIT_STDS if width == 32 else (0.04,)
        points = [(lr, init) for init in inits for lr in LOG2_LRS]
        for number, (log2_lr, init_std) in enumerate(points):
            rows = []
            for seed in SEEDS:
                spec = spec_of(width, parametrization, log2_lr, init_std, seed)
                final = proxy_loss(parametrization, width, log2_lr, init_std) + 0.01 * seed
                row = run_row(spec, "proxy", final)
                losses = [final + 3.0 * 2.0**-index for index in range(10)] + [final]
                if (parametrization, width, log2_lr, seed) == ("sp", 64, -4, 1):
                    failed = {"status": "diverged", "final_val_loss": None, "final_bpb": None}
                    row |= failed | {"reason": "loss was nan at step 30"}
                    losses = losses[:3]
                if (parametrization, width, log2_lr, init_std, seed) == ("sp", 32, -10, 0.02, 0):
                    row |= {"status": "pruned", "reason": "worst third at step 50"}
                    losses = losses[:6]
                row["flops"] *= (len(losses) - 1) / 10
                rows.append(row)
                curves += curve_rows(row, losses)
            states = {row["status"] for row in rows}
            state = next((s for s in ("diverged", "pruned") if s in states), "complete")
            trials.append(
                {
                    "study": "quick",
                    "sweep": f"{parametrization}-w{width}-d2",
                    "parametrization": parametrization,
                    "width": width,
                    "depth": 2,
                    "sampler": "grid",
                    "number": number,
                    "generation": 0,
                    "state": state,
                    "lr": 2.0**log2_lr,
                    "init_std": init_std,
                    "value": None if state != "complete" else rows[0]["final_val_loss"],
                    "flops": sum(row["flops"] for row in rows),
                    "run_ids": [row["run_id"] for row in rows],
                }
            )
            runs += rows
    return runs, curves, trials


def sources_and_targets(flops_tuning: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    runs, curves = [], []
    points = STEPS // LOG_EVERY + 1
    for seed in SEEDS:
        source_spec = spec_of(64, "mup", -7, 0.04, seed, stop_step=80)
        losses = [scratch_loss(LOG_EVERY * i) + 0.2 + 0.01 * seed for i in range(9)]
        source = run_row(source_spec, "source", losses[-1], flops_tuning=flops_tuning)
        runs.append(source)
        curves += curve_rows(source, losses)
        for method in ("scratch", "szp", "hypercloning"):
            start = Start()
            if method != "scratch":
                params = (("shrink", 0.4),) if method == "szp" else ()
                start = Start(
                    method=method,
                    source_run_id=source_spec.run_id,
                    source_step=80,
                    params=params,
                )
            spec = spec_of(128, "mup", -7, 0.04, seed, start)
            losses = [target_loss(method, LOG_EVERY * i) + 0.01 * seed for i in range(points)]
            row = run_row(
                spec,
                "target",
                losses[-1],
                flops_source=0.0 if method == "scratch" else source["flops"],
                flops_tuning=flops_tuning,
            )
            runs.append(row)
            logged = curve_rows(row, losses)
            if method != "scratch":
                logged = [
                    point | {"asymmetry": asymmetry(method, point["step"])} for point in logged
                ]
            curves += logged
    return runs, curves


def fake_study(directory: Path) -> Path:
    """Write the study into ``directory`` and return it."""
    runs, curves, trials = proxies()
    mup_32 = [t["flops"] for t in trials if (t["parametrization"], t["width"]) == ("mup", 32)]
    more_runs, more_curves = sources_and_targets(sum(mup_32))
    write_table(directory / "runs.parquet", runs + more_runs, RUN_SCHEMA)
    write_table(directory / "curves.parquet", curves + more_curves, CURVE_SCHEMA)
    write_table(directory / "trials.parquet", trials, TRIAL_SCHEMA)
    study = {
        "name": "quick",
        "title": "What does growing save after transfer?",
        "seeds": list(SEEDS),
        "corpus": "stdlib",
    }
    write_json(directory / "study.json", study)
    return directory


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    return fake_study(tmp_path / "quick")
