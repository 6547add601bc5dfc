"""A fit as a person reads it: its status first, then what the rows say, then what they predict."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from mugrow.sweeps.commands.output import print_table

Row = dict[str, Any]


def show(row: Row, reasons: Mapping[str, int]) -> None:
    """Print what ``mugrow fit --json`` prints, as text; ``reasons`` count the rows left out."""
    for line in lines(row, reasons):
        _print(line)
    for title, rows in tables(row).items():
        if rows:
            _print(f"\n{title}")
            print_table(rows)


def lines(row: Row, reasons: Mapping[str, int]) -> list[str]:
    """The status, and in what way the fit is to be doubted."""
    said = [f"{row['form']}: {row['status']}" + (f" ({row['reason']})" if row["reason"] else "")]
    said += [f"left out {count} rows: {why}" for why, count in reasons.items()]
    if row["undecayed"]:
        said.append(f"{row['undecayed']} rows are undecayed: their learning rate was still high")
    counts = f"{row['n_rows']} rows in {row['n_groups']} groups"
    facts = {
        "objective": row["objective"],
        "delta": row["delta"],
        "starts": row["starts"],
        "starts at the optimum": row["starts_at_optimum"],
        "condition": row["condition"],
        "residual rms": row.get("residual_rms"),
    }
    shown = [f"{name} {value:.6g}" for name, value in facts.items() if value is not None]
    said.append("; ".join([counts, *shown]))
    resampled = row["bootstrap"]
    if resampled["resamples"]:
        said.append(f"{resampled['converged']} of {resampled['resamples']} resamples converged")
    return said


def tables(row: Row) -> dict[str, list[Row]]:
    """Tables by title; an empty one has nothing to show."""
    slopes = [{f"against ln {name}": slope for name, slope in row["slopes"].items()}]
    comparison = row.get("selection")
    return {
        "forms, fitted without the largest runs": _comparison(comparison) if comparison else [],
        "parameters": [_parameter(row, name) for name in row["params"]],
        "slopes of the residuals": slopes if row["slopes"] else [],
        "predicted loss": [
            _with_ends(one, {"loss": one["interval"]}) for one in row["predictions"]
        ],
        "lowest loss for the compute": [
            _with_ends(one, one["interval"] or {}) for one in row["optimal"]
        ],
    }


def _comparison(comparison: Row) -> list[Row]:
    small = {"form": "the best small model", "status": "", "ARE": comparison["baseline_are"]}
    forms = [
        {
            "form": one["form"] + (" ← winner" if one["form"] == comparison["winner"] else ""),
            "status": one["status"],
            "ARE": one["are"],
        }
        for one in comparison["scores"]
    ]
    return [*forms, small]


def _parameter(row: Row, name: str) -> Row:
    shown: Row = {"parameter": name, "value": f"{row['params'][name]:.6g}"}
    if name in row["standard_errors"]:
        low, high = row["intervals"].get(name) or (None, None)
        shown |= {"standard error": row["standard_errors"][name], "95 % from": low, "to": high}
    return shown


def _with_ends(shown: Row, ends: Mapping[str, Any]) -> Row:
    """The row with the ends of its intervals, by name, in place of ``interval``."""
    plain = {key: value for key, value in shown.items() if key != "interval"}
    known = {name: pair for name, pair in ends.items() if pair}
    return plain | {
        f"{name} {side}": pair[place]
        for name, pair in known.items()
        for place, side in enumerate(("from", "to"))
    }


def _print(text: str) -> None:
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(escape(text))
