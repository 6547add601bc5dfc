"""The tables of a report, each defined once and rendered twice: on the page and in LaTeX.

A table is text in cells, made from the summary; the HTML template and ``latex`` both print it as it
is, so the paper cannot disagree with the page.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from mugrow.analysis import words as fmt
from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.report import equal_compute, modules, origins
from mugrow.analysis.report.table import Table
from mugrow.analysis.summary import AT_FINAL, Summary


def of_summary(summary: Summary, scratch: bool = True) -> list[Table]:
    """The tables of a study; without ``scratch`` those that say something without it."""
    every = [
        equal_compute.table(summary.equal_compute),
        equal_compute.looks_table(summary.looks),
        modules.table(summary.modules),
        origins.table(summary.origins),
        *(make(summary) for make in TABLES),
    ]
    if scratch:
        return every
    return [without_scratch(one) for one in every if one.name not in ("methods", "savings")]


def without_scratch(table: Table) -> Table:
    """A table with no column on scratch, and no sentence on it in its note."""
    kept = [place for place, column in enumerate(table.columns) if "scratch" not in column]
    said = (part for part in re.split(r"(?<=[.;]) ", table.note) if "scratch" not in part)
    note = re.sub(";$", ".", " ".join(said))
    return replace(
        table,
        note=note,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
    )


def methods(summary: Summary) -> Table:
    """A row a method, the lowest final loss first; the savings of all accountings side by side."""
    saved = {
        (row.target, row.label, row.accounting): fmt.speedup_short(row)
        for row in summary.savings
        if row.at == AT_FINAL
    }
    grown = [
        row
        for row in summary.finals
        if row.method != BASELINE and (math.isfinite(row.loss.value) or summary.savings)
    ]
    targets = list(dict.fromkeys(row.target for row in grown))
    grown.sort(key=lambda row: (targets.index(row.target), math.isnan(row.loss.value),
                                row.loss.value))  # fmt: skip
    return Table(
        "methods",
        "What each method saves",
        "Speed-up over scratch at scratch's final loss, counted three ways; the lowest final loss "
        "first. Negative differences from scratch, paired by seed, are better.",
        ("target", "method", "final minus scratch (nats)", *fmt.ACCOUNTINGS.values()),
        tuple(
            (row.target, row.label, fmt.interval(row.minus_scratch, fmt.loss),
             *(saved.get((row.target, row.label, name), fmt.MISSING)
               for name in fmt.ACCOUNTINGS))
            for row in grown
        ),
    )  # fmt: skip


def finals(summary: Summary) -> Table:
    return Table(
        "finals",
        "Final losses",
        "Mean over seeds; the difference from scratch is paired by seed, negative is better.",
        ("target", "method", "seeds", "loss (nats/token)", "bits/byte", "minus scratch (nats)",
         "target FLOPs", "source FLOPs", "tuning FLOPs", "diverged"),
        tuple(
            (row.target, row.label, str(row.n_seeds), fmt.interval(row.loss, fmt.loss),
             fmt.interval(row.bpb, fmt.loss), fmt.interval(row.minus_scratch, fmt.loss),
             fmt.flops(row.flops), fmt.flops(row.flops_source), fmt.flops(row.flops_tuning),
             str(row.diverged))
            for row in summary.finals
        ),
    )  # fmt: skip


def savings(summary: Summary) -> Table:
    return Table(
        "savings",
        "Compute saved at matched loss",
        "Speed-up s = FLOPs of scratch / FLOPs of the method to reach the loss; saving = 1 − 1/s.",
        ("target", "method", "counted", "at loss", "which is", "speed-up", "saving",
         "seeds reached"),
        tuple(
            (row.target, row.label, fmt.ACCOUNTINGS[row.accounting], fmt.loss(row.at_loss), row.at,
             fmt.speedup(row), fmt.interval(row.saving, fmt.percent_of_one),
             f"{row.seeds_reached} of {row.seeds}")
            for row in summary.savings
        ),
    )  # fmt: skip


def recovery(summary: Summary) -> Table:
    return Table(
        "recovery",
        "The loss after growth",
        "Nats per token over the source's loss: right after growth (spike) and at most (peak). "
        "Back: at the source's loss again, after the peak; given where all seeds came.",
        ("target", "method", "source", "source's loss", "spike", "peak", "tokens until back",
         "seeds back"),
        tuple(
            (row.target, row.label, row.source, fmt.interval(row.source_loss, fmt.loss),
             fmt.interval(row.spike, fmt.loss), fmt.interval(row.peak, fmt.loss),
             fmt.interval(row.tokens, fmt.tokens), f"{row.back} of {row.seeds}")
            for row in summary.recovery
        ),
    )  # fmt: skip


def optima(summary: Summary) -> Table:
    return Table(
        "optima",
        "Optima of the sweeps",
        "Hyperparameters at the base shape. An optimum on the grid's edge is not an optimum: "
        "the grid should be widened that way.",
        ("parametrization", "shape", "variant", "learning rate", "log2", "init std", "loss",
         "grid's edge", "complete", "pruned", "diverged", "compute"),
        tuple(
            (fmt.parametrization(row.parametrization), f"w{row.width}-d{row.depth}", row.variant,
             f"{row.lr:.3g}", fmt.log2(row.log2_lr), f"{row.init_std:.3g}", fmt.loss(row.loss),
             row.edge or "no", str(row.trials.complete), str(row.trials.pruned),
             str(row.trials.diverged), fmt.flops(row.flops_tuning))
            for row in summary.optima
        ),
    )  # fmt: skip


def costs(summary: Summary) -> Table:
    cost = summary.costs
    counts = ", ".join(f"{count} {status}" for status, count in cost.runs.items())
    row = (
        fmt.flops(cost.proxy_flops), fmt.flops(cost.source_flops), fmt.flops(cost.target_flops),
        fmt.flops(cost.baseline_flops), fmt.seconds(cost.wall_s), counts,
    )  # fmt: skip
    return Table(
        "costs",
        "What the study cost",
        "All runs together, pruned and diverged ones too; wall time is the sum over runs.",
        ("proxies", "sources", "targets", "compared with", "wall time", "runs"),
        (row,) if any(cost.runs.values()) else (),
    )


def runs(rows: pd.DataFrame) -> Table:
    """Every run of the store, a row each."""
    return Table(
        "runs",
        "All runs",
        "",
        ("role", "name", "status", "loss", "bits/byte", "params", "tokens", "compute", "wall",
         "run id", "reason"),
        tuple(run_cells(rows)),
    )  # fmt: skip


def run_cells(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """The texts of every run's row, in the order of the columns of ``runs``."""
    texts: dict[str, Callable[[Any], str]] = {
        "role": str, "name": str, "status": str, "final_val_loss": fmt.loss, "final_bpb": fmt.loss,
        "params": partial(fmt.si, unit=""), "tokens": partial(fmt.si, unit=""), "flops": fmt.flops,
        "wall_s": fmt.seconds, "run_id": str, "reason": str,
    }  # fmt: skip
    absent = {name: "" if text is str else fmt.MISSING for name, text in texts.items()}
    for values in zip(*(rows[name] for name in texts), strict=True):
        yield tuple(
            absent[name] if pd.isna(value) else text(value)
            for (name, text), value in zip(texts.items(), values, strict=True)
        )


TABLES = (methods, finals, savings, recovery, optima, costs)


def nonempty(tables: Iterable[Table]) -> list[Table]:
    return [table for table in tables if table.rows]
