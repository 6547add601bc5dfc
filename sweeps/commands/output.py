"""What commands share at the edge: checks of flags, and tables on the terminal."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mugrow.bench.spec import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = (".svg", ".png")


def check_positive(option: str, *values: int) -> None:
    for value in values:
        if value < 1:
            raise UserError(f"--{option} must be at least 1, not {value}")


def worker_count(workers: int | None, device: str) -> int:
    """How many processes train at the same time: one a CPU core, or one on a GPU, by default."""
    if workers is None:
        return 1 if device.startswith("cuda") else (os.cpu_count() or 1)
    check_positive("workers", workers)
    return workers


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


def check_figure(path: Path | None, option: str = "--figure") -> None:
    if path is not None and path.suffix not in FIGURES:
        raise UserError(f"{option} draws {' or '.join(FIGURES)}, not {path}")


def write_figure(path: Path, draw: Callable[[], "Figure"]) -> None:
    from mugrow.analysis.figures import style
    from mugrow.bench.record import write_atomically

    figure = style.drawn(draw)
    drawn = style.png_bytes(figure) if path.suffix == ".png" else style.svg_bytes(figure, path.stem)
    write_atomically(path, lambda temporary: temporary.write_bytes(drawn))


def print_summary(folder: Path, page: Path, as_json: bool) -> None:
    if as_json:
        print((folder / "summary.json").read_text(encoding="utf-8"), end="")
    else:
        print(f"report: {page}")


def print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(rows[0] if rows else ()), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))  # nothing is markup
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
