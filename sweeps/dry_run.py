"""A study's bill before it is paid: every run with its size and cost, and the time it would take.

What depends on the optimum still to be found is priced with a stand-in, which has the same shape,
tokens and FLOPs.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mugrow.bench import flops
from mugrow.bench.checkpoint import Damaged
from mugrow.bench.model import count
from mugrow.bench.run import ended
from mugrow.sweeps.display import duration
from mugrow.sweeps.estimate import Estimate
from mugrow.sweeps.execute import Experiment
from mugrow.sweeps.plan import Plan, PlannedStack, SkippedGrowth


def dry_run(experiment: Experiment, pool: Path, workers: int, *, as_json: bool) -> None:
    """Print what running the experiment would do, given the runs in ``pool``; changes nothing."""
    finished = dict(_finished(pool))
    outcome = experiment.plan(finished)
    stacks = (*outcome.stacks, *outcome.provisional)
    rows = [row for stack in stacks for row in _rows(stack, outcome, finished)]
    estimate = Estimate(workers)
    left_s = estimate.wall(estimate.left(stacks, finished, (), pool))
    skipped = [
        {"step": str(skip.step), "method": str(skip.method), "why": skip.reason}
        for skip in outcome.skipped
    ]
    if as_json:
        print(json.dumps({"runs": rows, "skipped": skipped, "estimated_s": left_s}, indent=2))
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console(width=140)
    console.print(table, markup=False)
    for (step, why), methods in _alike(outcome.skipped).items():
        console.print(f"skipped at {step}: {', '.join(methods)}: {why}", markup=False)
    total = sum(row["flops"] for row in rows)
    console.print(
        f"{len(rows)} runs, {total:.3g} FLOPs; about {duration(left_s)} with {workers} workers",
        markup=False,
    )


def _alike(skipped: Iterable[SkippedGrowth]) -> dict[tuple[str, str], list[str]]:
    """The methods that are skipped at a step for one reason, which need not name each of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for skip in skipped:
        why = skip.reason.removeprefix(f"method {skip.method.name!r} ")
        found.setdefault((str(skip.step), why), []).append(str(skip.method))
    return found


def _finished(pool: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in pool.glob("runs/*"):
        try:
            row = ended(pool, path.name)
        except Damaged:
            continue
        if row is not None and row["status"] != "failed":  # a failed run is tried again
            yield path.name, row


def _rows(stack: PlannedStack, outcome: Plan, finished: dict[str, Any]) -> Iterator[dict[str, Any]]:
    tuned = stack in outcome.stacks
    for run in stack.runs:
        spec = run.spec
        yield {
            "role": run.role,
            "run": spec.name if tuned else f"{spec.name} (stand-in)",
            "params": count(spec.model)[0],
            "tokens": spec.tokens,
            "flops": spec.tokens * flops.per_token(spec.model),
            "cached": "yes" if spec.run_id in finished else "no",
        }
