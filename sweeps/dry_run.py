"""A bill on the terminal, or as JSON: what ``--dry-run`` prints."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from mugrow.sweeps.commands.output import print_notes
from mugrow.sweeps.display import duration
from mugrow.sweeps.plan import SkippedGrowth
from mugrow.sweeps.price import Bill, PricedRun
from mugrow.sweeps.rates import DEVICES


def print_bill(found: Bill, *, as_json: bool) -> None:
    """A line a run, the growths that are skipped with their reasons, and what it costs in all."""
    rows = [_row(run) for run in found.runs]
    print_notes(found.claims)
    if as_json:
        skipped = [
            {"step": str(skip.step), "method": str(skip.method), "why": skip.reason}
            for skip in found.skipped
        ]
        whole = {
            "runs": rows,
            "skipped": skipped,
            "estimated_s": found.estimated_s,
            "device_s": found.device_s,
            "price": found.price,
            "sources": found.sources,
            "memory_bytes": found.memory_bytes,
            "largest_stack_bytes": found.largest_bytes,
            "largest_stack": None if found.largest is None else asdict(found.largest),
            "least_flops": found.flops,
            "most_flops": found.most_flops,
        }
        print(json.dumps(whole, indent=2))
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console(width=140)
    console.print(table, markup=False)
    for (step, why), methods in _alike(found.skipped).items():
        console.print(f"skipped at {step}: {', '.join(methods)}: {why}", markup=False)
    if found.largest is not None and found.memory_bytes is not None:
        console.print(found.largest.in_words(found.memory_bytes), markup=False)
    console.print(f"{len(rows)} runs, {found.flops:.3g} FLOPs; {_time(found)}", markup=False)
    if found.most_flops > found.flops:
        console.print(
            f"at least that; at most {found.most_flops:.3g} FLOPs, if losses ask for all of its "
            "budgets and looks",
            markup=False,
        )


def _time(found: Bill) -> str:
    """How long it takes, and on what; of a device of the table, from where that is known."""
    if found.estimated_s is None or found.device_s is None:
        return f"for a time say on what: --price {' or '.join(DEVICES)}"
    workers = "1 worker" if found.workers == 1 else f"{found.workers} workers"
    about = f"about {duration(found.estimated_s)} with {workers}"
    if not found.sources:
        return about
    hours = f"{found.device_s / 3600:.3g} hours of {found.price}"
    lines = [f"{about} on {found.price}, {hours} in all, by a table, not measured:"]
    lines += [f"  {source}" for source in found.sources]
    return "\n".join(lines)


def _row(run: PricedRun) -> dict[str, str | float]:
    return {
        "role": run.role,
        "run": f"{run.name} (stand-in)" if run.stand_in else run.name,
        "params": run.params,
        "tokens": run.tokens,
        "flops": run.flops,
        "cached": "yes" if run.cached else "no",
    }


def _alike(skipped: Iterable[SkippedGrowth]) -> dict[tuple[str, str], list[str]]:
    """The methods that are skipped at a step for one reason, which need not name each of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for skip in skipped:
        why = skip.reason.removeprefix(f"method {skip.method.name!r} ")
        found.setdefault((str(skip.step), why), []).append(str(skip.method))
    return found
