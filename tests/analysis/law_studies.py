"""A study with laws to find: runs at five sizes and five horizons, from scratch and grown.

Losses are formulas, with 0.2 % of noise. What it was built to say, with N in parameters and D in
tokens:

* scratch follows ``SCRATCH`` and ``szp``, always grown from half the width, ``SZP``: better than
  scratch where D is below ``BREAK_EVEN``, whatever N is;
* ``hypercloning``, at the largest size from four sources, is a parabola in ln g through scratch's
  loss: best at ``BEST[steps]``, even with scratch at its square;
* ``stack`` was tried at one size and one horizon, which identify nothing.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mugrow.analysis.advice.fitted import finals
from mugrow.analysis.advice.measured import with_origins
from mugrow.analysis.measure.arms import label_targets
from mugrow.bench.record import CURVE_SCHEMA, RUN_SCHEMA, TRIAL_SCHEMA, write_json, write_table
from mugrow.bench.spec import (
    DataSpec,
    HyperSpec,
    ModelSpec,
    RunSpec,
    ScheduleSpec,
    Start,
    canonical_json,
)

WIDTHS = (32, 64, 128, 256, 512)
STEPS = (100, 300, 1000, 3000, 10000)
SCRATCH = {"E": 1.8, "A": 60.0, "B": 100.0, "alpha": 0.35, "beta": 0.37}
SZP = {"E": 1.9, "A": 60.0, "B": 84.0, "alpha": 0.35, "beta": 0.37}
BREAK_EVEN = ((SCRATCH["B"] - SZP["B"]) / (SZP["E"] - SCRATCH["E"])) ** (1 / SZP["beta"])
BEST = dict(zip(STEPS, (3.4, 3.0, 2.6, 2.2, 1.9), strict=True))
DIP = 0.08  # nats per squared unit of ln g
NOISE = 0.002
DATA = DataSpec(corpus="stdlib", corpus_sha256="ab" * 32)


def params_of(width: int) -> int:
    return 24 * width**2 + 512 * width


def loss_of(law: dict[str, float], n: float, d: float) -> float:
    return law["E"] + law["A"] / n ** law["alpha"] + law["B"] / d ** law["beta"]


def spec_of(width: int, steps: int, start: Start, *, stop_step: int | None = None) -> RunSpec:
    return RunSpec(
        model=ModelSpec(width=width, depth=2),
        base=ModelSpec(width=32, depth=2),
        parametrization="mup",
        hyper=HyperSpec(lr=2.0**-7, init_std=0.04),
        schedule=ScheduleSpec(),
        data=DATA,
        batch_sequences=4,
        steps=steps,
        seed=0,
        data_seed=0,
        start=start,
        stop_step=stop_step,
    )


def row_of(spec: RunSpec, role: str, loss: float) -> dict[str, Any]:
    params = params_of(spec.model.width)
    return {
        "run_id": spec.run_id, "name": spec.name, "study": "laws", "role": role,
        "method": spec.start.method, "parametrization": "mup",
        "source_run_id": spec.start.source_run_id, "width": spec.model.width, "depth": 2,
        "params": params, "tokens": spec.tokens, "flops": 6.0 * params * spec.tokens,
        "flops_source": 0.0, "flops_tuning": 0.0, "lr": spec.hyper.lr, "init_std": 0.04,
        "batch_tokens": spec.batch_tokens, "seed": 0, "status": "finished",
        "final_val_loss": loss, "final_bpb": loss / math.log(2), "wall_s": 1.0, "device": "cpu",
        "threads": 1, "corpus": "stdlib", "corpus_sha256": DATA.corpus_sha256,
        "spec": canonical_json(spec), "versions": "{}",
    }  # fmt: skip


def run_rows() -> list[dict[str, Any]]:
    noise = np.random.default_rng(0)
    sources = {width: spec_of(width, 200, Start(), stop_step=160) for width in WIDTHS[:-1]}
    rows = [row_of(spec, "source", 3.5) for spec in sources.values()]

    def target(method: str, width: int, steps: int, source: int | None, loss: float) -> None:
        start = Start()
        if source is not None:
            run_id = sources[source].run_id
            start = Start(method=method, source_run_id=run_id, source_step=160)
        rows.append(row_of(spec_of(width, steps, start), "target", loss))

    def noisy(law: dict[str, float], width: int, steps: int) -> float:
        d = spec_of(width, steps, Start()).tokens
        return loss_of(law, params_of(width), d) * math.exp(noise.normal(0, NOISE))

    for width in WIDTHS:
        for steps in STEPS:
            scratch = noisy(SCRATCH, width, steps)
            target("scratch", width, steps, None, scratch)
            if width > WIDTHS[0]:
                target("szp", width, steps, width // 2, noisy(SZP, width, steps))
            if width == WIDTHS[-1]:
                for source in WIDTHS[:-1]:
                    away = math.log(params_of(width) / params_of(source) / BEST[steps])
                    dip = DIP * (math.log(BEST[steps]) ** 2 - away**2)
                    target("hypercloning", width, steps, source, scratch - dip)
    target("stack", WIDTHS[-1], STEPS[0], WIDTHS[-2], 3.0)
    return rows


def study_rows(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows that laws are fitted to."""
    table = pd.DataFrame(runs, columns=RUN_SCHEMA.names)
    return finals(table, with_origins(table, label_targets(table)))


def law_study(directory: Path) -> Path:
    """Write the study into ``directory`` and return it. It has no curves and no proxies."""
    rows = run_rows()
    curves = [
        {"run_id": row["run_id"], "step": step, "tokens": 512 * step, "flops": row["flops"] * share,
         "val_loss": row["final_val_loss"] + 1 - share, "train_loss": 3.0, "lr": 0.01}
        for row in rows
        for share, step in ((0.5, 50), (1.0, 100))
    ]  # fmt: skip
    write_table(directory / "runs.parquet", rows, RUN_SCHEMA)
    write_table(directory / "curves.parquet", curves, CURVE_SCHEMA)
    write_table(directory / "trials.parquet", [], TRIAL_SCHEMA)
    write_json(directory / "study.json", {"name": "laws", "title": "Laws of growing", "seeds": [0]})
    return directory
