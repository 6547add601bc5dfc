"""What commands share at the edge: checks of flags, and tables on the terminal."""

import sys
from pathlib import Path
from typing import Any

from bench.spec import UserError


def check_positive(option: str, *values: int) -> None:
    for value in values:
        if value < 1:
            raise UserError(f"--{option} must be at least 1, not {value}")


def check_device(device: str) -> None:
    import torch

    if device == "cpu":
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); 'cpu' can"
        ) from None


def print_summary(folder: Path, page: Path, as_json: bool) -> None:
    if as_json:
        print((folder / "summary.json").read_text(encoding="utf-8"), end="")
    else:
        print(f"report: {page}")


def print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*(rows[0] if rows else ()), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table, markup=False)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "–"
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))
