"""From run folders to the tables of a study: ``runs``, ``curves`` and ``trials``.

What a run cannot know by itself is added here: the FLOPs of its source up to the checkpoint used
(with the source's own sources, for a ladder), and the FLOPs its hyperparameters cost to tune, which
is every trial of the sweep they came from, pruned and diverged ones too.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mugrow.bench.arm import factors_json
from mugrow.bench.checksums import SUMS
from mugrow.bench.files import left_behind, remove
from mugrow.bench.record import RUN_SCHEMA, TRIAL_SCHEMA, table_of, write_tables
from mugrow.sweeps.index import Curves
from mugrow.sweeps.plan import Plan, PlannedRun

Rows = Mapping[str, Mapping[str, Any]]


def collect(folder: Path, plan: Plan, finished: Rows, study: str, curves: Curves) -> None:
    """Write the three tables of what has ended so far. A run whose source is being done again,
    because its checkpoint was damaged, is left out until that has ended.

    Readers open ``runs`` first, so it is replaced last: all that it has are in the others by then.
    What a program of this host that was killed meanwhile left half-written is removed.
    """
    runs = [
        run
        for run in plan.runs
        if {run.spec.run_id, run.spec.start.source_run_id} - {None} <= finished.keys()
    ]
    tables = {
        "curves.parquet": curves.of(run.spec.run_id for run in runs),
        "trials.parquet": table_of(plan.trials, TRIAL_SCHEMA),
        "runs.parquet": table_of(run_rows(runs, finished, study), RUN_SCHEMA),
    }
    for path in left_behind(folder, (*tables, "study.json", SUMS)):
        remove(path)
    write_tables(folder, tables, others=("study.json",))


def run_rows(runs: Iterable[PlannedRun], finished: Rows, study: str) -> list[dict[str, Any]]:
    """Rows of ``runs.parquet``, with what sources and tuning cost. A run from a pool may have been
    trained for another study, where it had another part; what an imported model cost is what this
    study says."""
    runs = list(runs)
    declared = {run.spec.run_id: run.charged_flops for run in runs if run.charged_flops is not None}
    finished = {
        run_id: {**row, "flops": declared.get(run_id, row["flops"])}
        for run_id, row in finished.items()
    }
    tuning: dict[str, float] = {}
    for run in runs:
        if run.role == "proxy":
            tuning[run.sweep] = tuning.get(run.sweep, 0.0) + finished[run.spec.run_id]["flops"]
    return [
        {
            **finished[run.spec.run_id],
            "study": study,
            "role": run.role,
            "arm": run.arm,
            "factors": factors_json(run.arm),
            "flops_source": _source_flops(run.spec.start.source_run_id, finished),
            "flops_tuning": None if run.role == "proxy" else tuning.get(run.sweep),
        }
        for run in runs
    ]


def _source_flops(source_run_id: str | None, finished: Rows) -> float:
    if source_run_id is None:
        return 0.0
    source = finished[source_run_id]
    return float(source["flops"]) + _source_flops(source["source_run_id"], finished)
